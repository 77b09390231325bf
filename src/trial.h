/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trial.h: a small problem for the self-test of a stage, with arrays on host and
 * device; made by trial.c and trial_fill.c, run by selftest.c.
 */
#ifndef CLG_TRIAL_H
#define CLG_TRIAL_H

#include "check.h"
#include "ref.h"

enum { TRIAL_SEQS = 2 };

struct trial {
    clgaze_context *ctx;
    clgaze_plan plan;      /* holds the small problem, and what lies where in the workspace */
    struct clg_stage twin; /* the stage, with constants and workspace of the small problem  */
    struct clg_run run;
    struct check check; /* the shapes                                                      */
    bool seqs, lists;   /* the stage is one of the helpers                                 */
    int sq[TRIAL_SEQS], sk[TRIAL_SEQS], longest_q, longest_k;
    int32_t cu[2][TRIAL_SEQS + 1];
    void *host[FIELDS]; /* inputs, and what ref/ makes of them; floats, i32 or u8        */
    void *got[FIELDS];  /* results of the device                                           */
    cl_mem buffer[FIELDS];
    uint64_t random;
};

/* Choose the problem of a stage that runs `op` (helpers: that an operation needs), its lengths and shapes. */
clgaze_status clg_trial_open(struct trial *t, const clgaze_problem *p, clgaze_op op, const struct clg_stage *stage);
/* Make inputs and outputs on host and device. */
clgaze_status clg_trial_put(struct trial *t);
/* Read the results. */
clgaze_status clg_trial_get(struct trial *t);
void clg_trial_close(struct trial *t);
/* The arrays on the host as ref/ wants them, and where each sequence lies. */
struct clg_ref clg_trial_ref(const struct trial *t);
void clg_trial_seqs(const struct trial *t, cl_int table[TRIAL_SEQS * CLG_SEQ_INTS]);
bool clg_trial_result(const struct trial *t, int f); /* does the stage write this tensor? */

/* trial_fill.c: the floats of an input; block lists and what the causal rule hides in scores. */
void clg_trial_floats(struct trial *t, int f, size_t n);
void clg_trial_rows(struct trial *t);

#endif
