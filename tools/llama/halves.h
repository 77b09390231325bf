/* SPDX-License-Identifier: Apache-2.0 */
/*
 * halves.h: a layer's arrays as attention computes with them: themselves in f32, else copies in f16 or bf16.
 */
#ifndef CLGAZE_LLAMA_HALVES_H
#define CLGAZE_LLAMA_HALVES_H

#include "config.h"
#include "kernels.h"

enum half_id { H_Q, H_K, H_V, H_Q_GATE, H_K_GATE, H_OUT, H_DOUT, H_DQ, H_DK, H_DV, N_HALVES };

/** Sets of them, to be or-ed. */
enum {
    HALVES_KEYS = 1 << H_Q | 1 << H_K,
    HALVES_ATTEND = HALVES_KEYS | 1 << H_V,
    HALVES_OUT = 1 << H_OUT,
    HALVES_GATE = 1 << H_Q_GATE | 1 << H_K_GATE,
    HALVES_BACK = 1 << H_DOUT | 1 << H_DQ | 1 << H_DK | 1 << H_DV
};

struct halves {
    clgaze_dtype dtype;
    cl_int seq, dim, heads[2]; /**< of keys, of queries                                 */
    size_t bytes[N_HALVES];    /**< 0: no copy                                          */
    cl_mem buffers[N_HALVES];
};

/** Set the sizes of the copies of a `set`; in f32 there are none. */
void halves_plan(struct halves *h, const struct config *config, cl_int seq, clgaze_dtype dtype, unsigned set);
size_t halves_bytes(const struct halves *h);

/** Make the copies; free with halves_free() whatever is returned. */
int halves_make(struct machine *m, struct halves *h);
void halves_free(struct halves *h);

/** Bytes of an array of queries as attention computes with it. */
size_t halves_queries(const struct halves *h);

/** The array as the library sees it: its copy, or `own` where there is none. */
clgaze_tensor halves_tensor(const struct halves *h, enum half_id id, cl_mem own);

/** Enqueue the copy of `own`, f32. */
int halves_take(struct machine *m, const struct halves *h, enum half_id id, cl_mem own, clgaze_tensor *t);

/** Enqueue what halves_tensor() was written to as f32 to `own`. */
int halves_give(struct machine *m, const struct halves *h, enum half_id id, const clgaze_tensor *t, cl_mem own);

#endif
