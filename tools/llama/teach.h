/* SPDX-License-Identifier: Apache-2.0 */
/*
 * teach.h: attention of a layer that also teaches the layer's gate.
 */
#ifndef CLGAZE_LLAMA_TEACH_H
#define CLGAZE_LLAMA_TEACH_H

#include "attention.h"
#include "learner.h"

struct teach {
    clgaze_problem problem; /**< of the gates; max_batch: sequences of a step         */
    cl_int layers;
    cl_int at;            /**< the sequence of the step that runs now, from 0       */
    clgaze_adamw step;    /**< made with the last sequence                          */
    float *losses;        /**< a layer, of the last step                            */
    struct halves halves; /**< for the truth                                        */
    clgaze_plan *pool, *truth;
    struct learner *learners; /**< a layer                                            */
    size_t workspace_bytes, bytes;
    cl_mem workspace, inv_freq;
    cl_mem q_pooled, k_pooled, maps; /**< of the sequences of a step, a layer or all  */
};

/** Plan for gates of the problem's blocks and pools, the truth in its dtype; compiles.
 *  `turns`: RoPE turns what new gates pool; `apart`: teach_run() is to write at->out. */
int teach_plan(struct machine *m, const struct config *config, cl_int seq, cl_int batch,
               const clgaze_problem *problem, int turns, int apart, struct teach *t);

/** Make the buffers, and gates that begin as normal(0, .02). */
int teach_make(struct machine *m, const struct config *config, cl_int seed, struct teach *t);
void teach_free(struct teach *t);

/** Begin with gates that are loaded instead; from then on they are what is learnt, in f32. */
int teach_from(struct machine *m, struct teach *t, struct gates *g);

/** Enqueue layer `l`; with the last sequence of a step its gate learns.  Without at->out it is not written. */
int teach_run(struct machine *m, struct teach *t, cl_int l, cl_int seq, const struct attended *at);

#endif
