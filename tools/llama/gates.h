/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gates.h: the gates of a model's layers, under SeerAttention's names.
 */
#ifndef CLGAZE_LLAMA_GATES_H
#define CLGAZE_LLAMA_GATES_H

#include "model.h"

struct gates {
    st_file *file; /**< until gates_load(); NULL: the identity                         */
    size_t bytes;  /**< on the device                                              */
    cl_int layers;
    struct matrix *w_k, *w_q; /**< one a layer; w_q: NULL in the single form        */
    cl_mem inv_freq;
};

/**
 * Open a file of gates, and check one a layer against the model.
 *
 * @param[in,out] problem  Gets blocks, pools, form, sizes and RoPE of the gate.
 * @return 0, or an exit code after a sentence; free with gates_free() either way.
 */
int gates_open(const char *path, const struct config *config, clgaze_problem *problem, struct gates *g);

/** Put them on the device; those of a file, or the identity. */
int gates_load(struct machine *m, const struct config *config, const clgaze_problem *problem, struct gates *g);

/**
 * Make gates that pass the mean query and the mean key of a block on as they are.
 *
 * @param[in,out] problem  Gets pools, form, sizes and no RoPE.
 */
void gates_identity(const struct config *config, clgaze_problem *problem, struct gates *g);

/** The frequencies of a gate whose RoPE turns `pairs` pairs, on the device; of none, no buffer. @return as above. */
int gates_frequencies(struct machine *m, const struct config *config, int32_t pairs, cl_mem *to);

/** Pools of a set. */
size_t gates_pools(uint32_t set);

void gates_free(struct gates *g);

#endif
