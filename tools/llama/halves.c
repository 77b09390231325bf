/* SPDX-License-Identifier: Apache-2.0 */
/*
 * halves.c: a layer's arrays as attention computes with them.
 */
#include "halves.h"

#include <string.h>

static const unsigned of_queries = 1 << H_Q | 1 << H_Q_GATE | 1 << H_OUT | 1 << H_DOUT | 1 << H_DQ;

static cl_int heads_of(const struct halves *h, enum half_id id)
{
    return h->heads[of_queries >> id & 1];
}

static size_t numbers_of(const struct halves *h, enum half_id id)
{
    return (size_t)h->seq * (size_t)heads_of(h, id) * (size_t)h->dim;
}

void halves_plan(struct halves *h, const struct config *config, cl_int seq, clgaze_dtype dtype, unsigned set)
{
    memset(h, 0, sizeof *h);
    h->dtype = dtype;
    h->seq = seq;
    h->dim = config->head_dim;
    h->heads[0] = config->kv_heads;
    h->heads[1] = config->q_heads;
    for (int i = 0; i < N_HALVES; i++)
        if (dtype != CLGAZE_F32 && (set >> i & 1))
            h->bytes[i] = numbers_of(h, (enum half_id)i) * sizeof(cl_ushort);
}

size_t halves_bytes(const struct halves *h)
{
    size_t sum = 0;
    for (int i = 0; i < N_HALVES; i++)
        sum += h->bytes[i];
    return sum;
}

int halves_make(struct machine *m, struct halves *h)
{
    int code = 0;
    for (int i = 0; i < N_HALVES && !code; i++)
        if (h->bytes[i])
            code = buffer_make(m, h->bytes[i], "what attention computes with", &h->buffers[i]);
    return code;
}

void halves_free(struct halves *h)
{
    for (int i = 0; i < N_HALVES; i++)
        if (h->buffers[i])
            clReleaseMemObject(h->buffers[i]);
    memset(h, 0, sizeof *h);
}

size_t halves_queries(const struct halves *h)
{
    return numbers_of(h, H_OUT) * (h->dtype == CLGAZE_F32 ? sizeof(float) : sizeof(cl_ushort));
}

/* The gradients of a mean over `seq` tokens lie below what f16 holds; those of the sum do not.  A power of two
 * changes no digit. */
static cl_float gain_of(const struct halves *h, enum half_id id)
{
    cl_float gain = 1;
    while (id >= H_DOUT && gain < (cl_float)h->seq)
        gain *= 2;
    return gain;
}

clgaze_tensor halves_tensor(const struct halves *h, enum half_id id, cl_mem own)
{
    return clgaze_tensor_bshd(h->buffers[id] ? h->buffers[id] : own, 0, h->dtype, 1, h->seq, heads_of(h, id), h->dim);
}

int halves_take(struct machine *m, const struct halves *h, enum half_id id, cl_mem own, clgaze_tensor *t)
{
    *t = halves_tensor(h, id, own);
    return h->buffers[id] ? narrow(m, own, numbers_of(h, id), (cl_int)h->dtype, gain_of(h, id), t->buffer) : 0;
}

int halves_give(struct machine *m, const struct halves *h, enum half_id id, const clgaze_tensor *t, cl_mem own)
{
    const cl_ulong n = numbers_of(h, id);
    return h->dtype == CLGAZE_F32 ? 0 : widen(m, t->buffer, (cl_int)h->dtype, 0, n, 1 / gain_of(h, id), own);
}
