/* SPDX-License-Identifier: Apache-2.0 */
/*
 * break_even.h: the density above which dense attention is quicker than choosing blocks.
 */
#ifndef CLG_BREAK_EVEN_H
#define CLG_BREAK_EVEN_H

#include "records.h"

/* The record of this device that is nearest to a problem of prefill: which, or -1.  Another
 * device's says nothing. */
int clg_break_even_find(clgaze_context *ctx, const clgaze_problem *p, struct clg_record *record);
/* Make a plan of prefill dense, if its problem allows it and the device's record says so. */
clgaze_status clg_break_even_decide(clgaze_context *ctx, clgaze_plan *plan);

/* Microseconds of a slice of the rows, and how a whole call is made of them. */
struct clg_dense_times {
    double few;        /* prefill of the rows of one block, at the first density: above all, what the keys cost */
    double low, high;  /* prefill of the slice at two densities                           */
    double density[2]; /* which                                                           */
    double dense;      /* dense attention of the slice                                    */
    double noise;      /* relative: what a gain must exceed                               */
    /* A call is keys * few + more * (low - few), and all * what a slice takes for more blocks; dense all * dense. */
    double keys, more, all;
};
/* The least percentage that clg_kernel_dense may have at which dense is quicker by more than the
 * noise; 100 if there is none.  Sets what both take there. */
int clg_break_even_solve(const struct clg_dense_times *t, double *sparse_us, double *dense_us);

#endif
