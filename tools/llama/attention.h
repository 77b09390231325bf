/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attention.h: attention of a layer by the library, dense or through block lists.
 */
#ifndef CLGAZE_LLAMA_ATTENTION_H
#define CLGAZE_LLAMA_ATTENTION_H

#include "compute.h"
#include "gates.h"
#include "halves.h"
#include "rules.h"

struct attention {
    enum source source;
    clgaze_problem problem;
    clgaze_plan *plan;         /**< prefill through gates, else attend             */
    clgaze_plan *back;         /**< attend_bwd; NULL: not planned                  */
    const struct gates *gates; /**< of a file or the mean's; NULL: none            */
    struct rules rules;        /**< of sources without gates                       */
    struct halves halves;      /**< what is computed with                          */
    cl_mem workspace, counts;
    size_t workspace_bytes;
    int32_t *counted;     /**< the counts of a layer                                   */
    double kept, visible; /**< blocks, of all layers so far                       */
};

/**
 * The arrays of a layer, [1][seq][heads][D] in f32; the gate's are needed by FROM_GATES alone.
 * made, lse, counts and blocks are what attention_back() needs again: written with problem.lse.
 */
struct attended {
    cl_mem q, k, v, q_gate, k_gate, out;
    cl_mem made; /**< out as attention computes it; in f32 out itself, or NULL: nobody keeps it */
    cl_mem lse, counts, blocks;
};

/** Gradients of a layer's arrays. */
struct attended_back {
    cl_mem out, q, k, v;
};

/** Bytes of what a layer keeps for attention_back(). */
struct attended_bytes {
    size_t made, lse, counts, blocks;
};

/**
 * Plan attention over `seq` tokens; compiles.
 *
 * @param[in] problem  What options and gates say, and the type to compute in; the shape is set
 *                     here.  With `lse` 1
 *                     attention_back() is planned too.
 * @param[in] gates    Of FROM_GATES and FROM_MEANPOOL; borrowed until attention_free().
 */
int attention_plan(struct machine *m, const struct config *config, cl_int seq, const clgaze_problem *problem,
                   enum source source, const struct gates *gates, struct attention *a);
/** Bytes that attention_make() takes of the device. */
size_t attention_bytes(const struct attention *a);

int attention_make(struct machine *m, struct attention *a);
void attention_free(struct attention *a);

/** Enqueue layer `l`. */
int attention_run(struct machine *m, struct attention *a, cl_int l, cl_int seq, const struct attended *at);

/** Enqueue at->out again from at->made. */
int attention_again(struct machine *m, const struct attention *a, const struct attended *at);

/** Enqueue the gradients of a layer, whose lists are those of attention_run(): d->out -> d->q, k, v. */
int attention_back(struct machine *m, struct attention *a, cl_int seq, const struct attended *at,
                   const struct attended_back *d);
struct attended_bytes attention_kept(const struct attention *a);

/** Kept blocks over visible ones of all calls. */
double attention_density(const struct attention *a);

#endif
