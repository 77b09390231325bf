/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault_life.h: what the parts of fault_calls share: a life and its steps.
 */
#ifndef CLG_TESTS_FAULT_LIFE_H
#define CLG_TESTS_FAULT_LIFE_H

#include "cache.h"

extern struct fault_self {
    const char *folder;
    enum { COLD, WARM, STORE, TUNE } kind;
    char now[160]; /* the fault under way */
    int asked, lives, faults, refused, done_without, wrong;
    int every;   /* of so many lives one is led */
    long blocks; /* of memory that the library holds */
} self;

/* The log since it was forgotten. */
extern struct fault_told {
    int errors;
    clgaze_status status;
    char text[512];
} told;

void wrong(const char *step, const char *what);

enum { CALLS = 2 };

extern struct life_call {
    const char *name;
    clgaze_op op;
    clgaze_problem p;
    struct shape n;
    struct test_case c;
    void *first[ARRAYS]; /* results of a life without a fault */
} calls[CALLS];

struct life {
    clgaze_context *ctx;
    clgaze_plan *plan[CALLS];
    cl_command_queue queue;
    struct placed_case x[CALLS];
    int at; /* the call of the step */
};

typedef clgaze_status (*step_fn)(struct life *l);

/* fault_store.c: what is done with tuned records, in order; ends with a NULL name. */
struct life_step {
    const char *name;
    step_fn work;
};
extern const struct life_step life_storing[], life_tuning[];
/* A write that failed has left the files as they were and nothing beside them. */
void check_folder(void);

#endif
