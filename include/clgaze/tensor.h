/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clgaze/tensor.h: a tensor is a view of a caller's cl_mem.
 *
 * Shapes are written in the order of docs/interface.md, whatever the memory
 * layout: token tensors are [batch, token, head, channel] and the strides say
 * where they lie, so [B,S,H,D], [B,H,S,D] and slices of a larger buffer work
 * without a copy.
 */
#ifndef CLGAZE_TENSOR_H
#define CLGAZE_TENSOR_H

#include "context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum clgaze_dtype {
    CLGAZE_F32 = 0,  /**< IEEE single                                  */
    CLGAZE_F16 = 1,  /**< IEEE half; storage only, arithmetic is f32   */
    CLGAZE_BF16 = 2, /**< bfloat16; storage only, arithmetic is f32    */
    CLGAZE_I32 = 3,  /**< counts, blocks, indptr, indices, cu_seqlens  */
    CLGAZE_U8 = 4    /**< mask                                         */
} clgaze_dtype;

/** A view.  Borrowed during a call; OpenCL itself keeps the buffer alive until
 *  what was enqueued has run.  `buffer` NULL: the tensor is absent.  Where a
 *  dimension is 1 its stride does not matter; 0 repeats an input. */
typedef struct clgaze_tensor {
    cl_mem buffer;
    size_t offset; /**< elements from the start of the buffer             */
    clgaze_dtype dtype;
    int32_t rank;      /**< 1..4                                              */
    int64_t shape[4];  /**< elements; entries beyond `rank` are ignored       */
    int64_t stride[4]; /**< elements between neighbours, >= 0; the last is 1  */
} clgaze_tensor;

/** Bytes of one element: 4, 2 or 1; 0 for a number that is no dtype. @since 1.0 */
CLGAZE_API size_t clgaze_dtype_size(clgaze_dtype dtype);

/** Name a dtype: "f32", "f16", "bf16", "i32", "u8"; "?" otherwise. @since 1.0 */
CLGAZE_API const char *clgaze_dtype_name(clgaze_dtype dtype);

/**
 * Describe a compact row-major tensor of `rank` dimensions.
 *
 * @param shape  `rank` sizes, copied.
 * @since 1.0
 */
CLGAZE_API clgaze_tensor clgaze_tensor_compact(cl_mem buffer, size_t offset, clgaze_dtype dtype, int32_t rank,
                                               const int64_t *shape);

/** Describe a token tensor that lies as [batch][token][head][channel]. @since 1.0 */
CLGAZE_API clgaze_tensor clgaze_tensor_bshd(cl_mem buffer, size_t offset, clgaze_dtype dtype, int64_t batch,
                                            int64_t tokens, int64_t heads, int64_t channels);

/** Describe a token tensor that lies as [batch][head][token][channel]; its
 *  shape is still written [batch, token, head, channel]. @since 1.0 */
CLGAZE_API clgaze_tensor clgaze_tensor_bhsd(cl_mem buffer, size_t offset, clgaze_dtype dtype, int64_t batch,
                                            int64_t tokens, int64_t heads, int64_t channels);

#ifdef __cplusplus
}
#endif
#endif
