/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crowd.h: threads that call, plan and make contexts at once; every call gives the bits of the first.
 */
#ifndef CLG_TESTS_CROWD_H
#define CLG_TESTS_CROWD_H

#include "load.h"

enum { THREADS = 8 };

struct worker {
    pthread_t thread;
    int index;
    cl_command_queue queue;
    clgaze_context *context; /* that the threads share */
    struct load load[JOBS];
    bool (*work)(struct worker *w);
    bool ok;
};

/* work() in each of the threads, which have jobs on numbers of their own; false or a wrong bit fails the test. */
void in_threads(bool (*work)(struct worker *w), clgaze_context *context);

/* A call on an in-order queue: no event at all. */
bool call_in_order(struct load *l, const clgaze_plan *plan, cl_command_queue queue);
/* Plan and call on a context and cl_context of its own, or on a context of its own in the cl_context under test. */
bool call_apart(struct load *l);
bool call_borrowed(struct load *l, cl_command_queue queue);
/* Such a context; its binary cache is the same folder each time. */
clgaze_status borrow(clgaze_context **context);
/* Say in the load what failed; false. */
bool load_failed(struct load *l, const char *what);

#endif
