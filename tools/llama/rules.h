/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules.h: scores of block pairs for the rules that need no gates.
 */
#ifndef CLGAZE_LLAMA_RULES_H
#define CLGAZE_LLAMA_RULES_H

#include "kernels.h"

/** Where attention's block lists come from. */
enum source {
    FROM_NOTHING,  /**< none: dense                                                     */
    FROM_GATES,    /**< of a file                                                       */
    FROM_MEANPOOL, /**< the mean query and the mean key of a block, after RoPE          */
    FROM_TRUTH,    /**< dense attention's own greatest weights: an oracle               */
    FROM_WINDOW,   /**< place alone: sink and local                                     */
    FROM_LINES,    /**< columns and diagonals that the last 64 queries attend to most   */
    N_SOURCES
};

/** What the scores of one layer are made in. */
struct rules {
    enum source source;
    clgaze_problem problem;
    clgaze_plan *select, *truth;
    cl_int n; /**< blocks of the sequence                                           */
    cl_mem scores, blocks, weights, lines;
    size_t scores_bytes, blocks_bytes, weights_bytes, lines_bytes;
};

/** Plan for the lists of the problem, whose shape and scope are set; compiles. */
int rules_plan(struct machine *m, enum source source, const clgaze_problem *problem, struct rules *r);
/** Bytes of workspace that its calls need, and of its buffers. */
size_t rules_workspace(const struct rules *r);
size_t rules_bytes(const struct rules *r);

int rules_make(struct machine *m, struct rules *r);
void rules_free(struct rules *r);

/** Enqueue q, k -> counts, blocks of `seq` tokens; sets t->blocks, whose buffer may be given. */
int rules_run(struct machine *m, struct rules *r, cl_int seq, clgaze_tensors *t, const clgaze_call *call);

#endif
