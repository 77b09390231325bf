/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load.h: calls of a few operations whose every repetition must give the same
 * bits, for the tests of threads and events.
 */
#ifndef CLG_TESTS_LOAD_H
#define CLG_TESTS_LOAD_H

#include "harness.h"

enum { JOBS = 3 };

/* What is called, by a plan that all share. */
struct job {
    clgaze_op op;
    clgaze_problem p;
    struct shape n;
    clgaze_plan *plan;
};

/* One kernel; lists made in the workspace; every operation, and the table of packed sequences. */
extern struct job jobs[JOBS];
int make_jobs(void **state);
int free_jobs(void **state);

/* A job on numbers of its own: the arrays on the device, and its first results. */
struct load {
    const struct job *job;
    struct test_case c;
    struct placed_case x;
    void *first[ARRAYS];
};

void load_make(struct load *l, const struct job *job, uint64_t salt); /* or the test fails */
void load_free(struct load *l);
bool is_output(const struct load *l, int id);
/* Outputs become NaN or poison again. */
bool spoil(const struct load *l, cl_command_queue queue);
/* Are the results in c->data those of the first call, bit for bit?  If not, c->why says so. */
bool same(struct load *l);
bool fetch_same(struct load *l, cl_command_queue queue);

/* A queue of the context under test. */
cl_command_queue new_queue(cl_command_queue_properties properties);

#endif
