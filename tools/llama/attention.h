/*
 * attention.h: attention of a layer by the library, dense or through gates.
 */
#ifndef CLGAZE_LLAMA_ATTENTION_H
#define CLGAZE_LLAMA_ATTENTION_H

#include "model.h"

struct attention {
    clgaze_problem problem;
    clgaze_plan *plan;
    cl_mem workspace;
    size_t workspace_bytes;
    double kept, visible; /**< blocks, of all layers so far                       */
};

/** The arrays of a layer, [1][seq][heads][D]; the gate's may be NULL. */
struct attended {
    cl_mem q, k, v, q_gate, k_gate, out;
};

/**
 * Plan attention over `seq` tokens; compiles.
 *
 * @param[in] problem  What the options say of blocks, rule and kernel.
 */
int attention_plan(struct machine *m, const struct config *config, cl_int seq, const clgaze_problem *problem,
                   struct attention *a);
int attention_make(struct machine *m, struct attention *a);
void attention_free(struct attention *a);

/** Enqueue layer `l`. */
int attention_run(struct machine *m, struct attention *a, cl_int l, cl_int seq, const struct attended *at);

/** Kept blocks over visible ones of all calls. */
double attention_density(const struct attention *a);

#endif
