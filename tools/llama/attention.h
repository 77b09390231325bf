/*
 * attention.h: attention of a layer by the library, dense or through block lists.
 */
#ifndef CLGAZE_LLAMA_ATTENTION_H
#define CLGAZE_LLAMA_ATTENTION_H

#include "gates.h"
#include "rules.h"

struct attention {
    enum source source;
    clgaze_problem problem;
    clgaze_plan *plan;         /**< prefill through gates, else attend             */
    const struct gates *gates; /**< of a file or the mean's; NULL: none            */
    struct rules rules;        /**< of sources without gates                       */
    cl_mem workspace, counts;
    size_t workspace_bytes;
    int32_t *counted;     /**< the counts of a layer                                   */
    double kept, visible; /**< blocks, of all layers so far                       */
};

/** The arrays of a layer, [1][seq][heads][D]; the gate's are needed by FROM_GATES alone. */
struct attended {
    cl_mem q, k, v, q_gate, k_gate, out;
};

/**
 * Plan attention over `seq` tokens; compiles.
 *
 * @param[in] problem  What options and gates say; the shape is set here.
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

/** Kept blocks over visible ones of all calls. */
double attention_density(const struct attention *a);

#endif
