/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crowd.c: threads that call, plan and make contexts at once.
 */
#include "crowd.h"

#include <stdio.h>
#include <stdlib.h>

bool call_in_order(struct load *l, const clgaze_plan *plan, cl_command_queue queue)
{
    clgaze_call call = l->x.call;

    call.queue = queue;
    if (!spoil(l, queue))
        return false;
    if (clgaze_run(plan, l->job->op, &l->x.tensors, &call) != CLGAZE_OK) {
        snprintf(l->c.why, sizeof l->c.why, "%.700s", last_error());
        return false;
    }
    return fetch_same(l, queue);
}

static void *begin(void *argument)
{
    struct worker *w = argument;

    w->ok = w->work(w);
    return NULL;
}

void in_threads(bool (*work)(struct worker *w), clgaze_context *context)
{
    struct worker *w;

    skip_simulated("runs one kernel at a time, or aborts");
    w = calloc(THREADS, sizeof *w);
    assert_non_null(w);
    for (int i = 0; i < THREADS; i++) {
        w[i].index = i;
        w[i].queue = new_queue(0);
        w[i].context = context;
        w[i].work = work;
        for (int j = 0; j < JOBS; j++)
            load_make(&w[i].load[j], &jobs[j], (uint64_t)i * JOBS + (uint64_t)j);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&w[i].thread, NULL, begin, &w[i]), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(w[i].thread, NULL);
    for (int i = 0; i < THREADS; i++) {
        for (int j = 0; j < JOBS; j++)
            if (!w[i].ok && w[i].load[j].c.why[0])
                fail_msg("thread %d, job %d: %s", i, j, w[i].load[j].c.why);
        assert_true(w[i].ok);
        for (int j = 0; j < JOBS; j++)
            load_free(&w[i].load[j]);
        clReleaseCommandQueue(w[i].queue);
    }
    free(w);
}

bool load_failed(struct load *l, const char *what)
{
    snprintf(l->c.why, sizeof l->c.why, "%s: %.600s", what, last_error());
    return false;
}

/* A context of ours on the cl_context under test; its binary cache is the same folder each time. */
clgaze_status borrow(clgaze_context **context)
{
    clgaze_context_options o = test_options();

    o.context = clgaze_context_cl(test_context());
    o.device = clgaze_context_device(test_context());
    o.cache_dir = CLGAZE_TEST_BUILD_DIR "/test-work/threads";
    return clgaze_context_create(&o, context);
}

/* On a context and cl_context of its own. */
bool call_apart(struct load *l)
{
    clgaze_context_options o = test_options();
    clgaze_context *context = NULL;
    cl_command_queue queue = NULL;
    clgaze_plan *plan = NULL;
    cl_int err;
    bool ok;

    if (clgaze_context_create(&o, &context) != CLGAZE_OK)
        return load_failed(l, "clgaze_context_create");
    queue = clCreateCommandQueue(clgaze_context_cl(context), clgaze_context_device(context), 0, &err);
    ok = queue && clgaze_plan_create(context, l->job->op, &l->job->p, &plan) == CLGAZE_OK;
    ok = ok ? run_case(&l->c, l->job->op, plan, context, queue) && same(l) : load_failed(l, "no queue or plan");
    clgaze_plan_free(plan);
    if (queue)
        clReleaseCommandQueue(queue);
    clgaze_context_free(context);
    return ok;
}

bool call_borrowed(struct load *l, cl_command_queue queue)
{
    clgaze_context *context = NULL;
    clgaze_plan *plan = NULL;
    bool ok;

    if (borrow(&context) != CLGAZE_OK)
        return load_failed(l, "clgaze_context_create");
    ok = clgaze_plan_create(context, l->job->op, &l->job->p, &plan) == CLGAZE_OK;
    ok = ok ? call_in_order(l, plan, queue) : load_failed(l, "clgaze_plan_create");
    clgaze_plan_free(plan);
    clgaze_context_free(context);
    return ok;
}
