/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune_subject.h: one problem being tuned: its candidates, built, checked and timed.
 */
#ifndef CLG_TUNE_SUBJECT_H
#define CLG_TUNE_SUBJECT_H

#include "journal.h"
#include "search.h"
#include "tune_data.h"

enum { CLG_TUNE_TEXT = 96 };

struct candidate {
    const struct clg_kernel *kernel;
    int values[CLG_MAX_PARAMS];
    clgaze_plan *plan; /* NULL: not open */
    int repeats;       /* calls that make one sample */
};

struct subject {
    clgaze_context *ctx;
    struct clg_ear ear; /* candidates that fail are news, not errors */
    const clgaze_tune_options *options;
    clgaze_tune_progress progress;
    clgaze_op op;
    clgaze_problem problem;
    char name[CLG_TUNE_TEXT], what[CLG_TUNE_TEXT]; /* the problem, the candidate under way */
    struct candidate *at;                          /* the first is what plans use now      */
    int n;
    struct tune_data data;
    cl_command_queue queue;
    cl_mem workspace;
    struct clg_journal *journal;
    double start; /* of clgaze_tune() */
};

double clg_seconds(void); /* of a clock that nobody sets */
/* Enqueue an operation some times and wait: microseconds each; negative: it failed. */
double clg_time_calls(const clgaze_plan *plan, clgaze_op op, const clgaze_tensors *t, cl_command_queue queue,
                      cl_mem workspace, int times);
/* The ear and the queue; then workspace that a plan needs. */
clgaze_status clg_subject_begin(struct subject *s);
clgaze_status clg_subject_room(struct subject *s, const clgaze_plan *plan);
/* Make data and list the candidates of s->problem; s->n is 0 if all have ended the process before. */
clgaze_status clg_subject_open(struct subject *s);
void clg_subject_close(struct subject *s);
/* The calls by which search.c tries them; `user` is the subject. */
struct clg_search clg_subject_search(struct subject *s);
/* tune_dense.c: measure the break-even of s->problem, of prefill; candidate 0 is what is known now. */
clgaze_status clg_dense_search(struct subject *s, struct clg_search *found);
void clg_candidate_name(const struct candidate *c, char text[CLG_TUNE_TEXT]);

#endif
