/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tensor.c: describing tensors.
 */
#include <string.h>

#include "internal.h"

size_t clgaze_dtype_size(clgaze_dtype dtype)
{
    static const size_t sizes[] = {4, 2, 2, 4, 1};

    return (size_t)dtype < CLG_COUNT(sizes) ? sizes[dtype] : 0;
}

const char *clgaze_dtype_name(clgaze_dtype dtype)
{
    static const char *const names[] = {"f32", "f16", "bf16", "i32", "u8"};

    return (size_t)dtype < CLG_COUNT(names) ? names[dtype] : "?";
}

clgaze_tensor clgaze_tensor_compact(cl_mem buffer, size_t offset, clgaze_dtype dtype, int32_t rank,
                                    const int64_t *shape)
{
    clgaze_tensor t;
    int64_t stride = 1;

    memset(&t, 0, sizeof t);
    t.buffer = buffer;
    t.offset = offset;
    t.dtype = dtype;
    t.rank = rank;
    for (int i = rank - 1; shape && i >= 0 && rank <= 4; i--) {
        t.shape[i] = shape[i];
        t.stride[i] = stride;
        stride *= shape[i];
    }
    return t;
}

clgaze_tensor clgaze_tensor_bshd(cl_mem buffer, size_t offset, clgaze_dtype dtype, int64_t batch, int64_t tokens,
                                 int64_t heads, int64_t channels)
{
    const int64_t shape[4] = {batch, tokens, heads, channels};

    return clgaze_tensor_compact(buffer, offset, dtype, 4, shape);
}

clgaze_tensor clgaze_tensor_bhsd(cl_mem buffer, size_t offset, clgaze_dtype dtype, int64_t batch, int64_t tokens,
                                 int64_t heads, int64_t channels)
{
    clgaze_tensor t = clgaze_tensor_bshd(buffer, offset, dtype, batch, tokens, heads, channels);

    t.stride[1] = channels;
    t.stride[2] = tokens * channels;
    return t;
}
