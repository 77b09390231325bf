/* Threads: every call gives the bits of the first, which ref/ has checked.  Label: unit. */
#include <stdio.h>
#include <stdlib.h>

#include "load.h"

enum { THREADS = 8, CALLS = 30, PLANS = 6, CONTEXTS = 3 };

/* A call on an in-order queue: no event at all. */
static bool call_in_order(struct load *l, const clgaze_plan *plan, cl_command_queue queue)
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

struct worker {
    pthread_t thread;
    int index;
    cl_command_queue queue;
    clgaze_context *context; /* that the threads share */
    struct load load[JOBS];
    bool (*work)(struct worker *w);
    bool ok;
};

static void *begin(void *argument)
{
    struct worker *w = argument;

    w->ok = w->work(w);
    return NULL;
}

static void in_threads(bool (*work)(struct worker *w), clgaze_context *context)
{
    struct worker *w = calloc(THREADS, sizeof *w);

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

static bool call_often(struct worker *w)
{
    for (int i = 0; i < CALLS * JOBS; i++) {
        struct load *l = &w->load[(w->index + i) % JOBS];

        if (!call_in_order(l, l->job->plan, w->queue))
            return false;
    }
    return true;
}

static void plans_are_shared(void **state)
{
    (void)state;
    in_threads(call_often, NULL);
}

static bool say(struct load *l, const char *what)
{
    snprintf(l->c.why, sizeof l->c.why, "%s: %.600s", what, last_error());
    return false;
}

/* In turn all threads make a plan of the same problem, and of different ones. */
static bool plan_often(struct worker *w)
{
    for (int i = 0; i < PLANS; i++) {
        struct load *l = &w->load[(i / 2 + (i % 2) * w->index) % JOBS];
        clgaze_plan *plan = NULL;
        bool ok;

        if (clgaze_plan_create(w->context, l->job->op, &l->job->p, &plan) != CLGAZE_OK)
            return say(l, "clgaze_plan_create");
        ok = call_in_order(l, plan, w->queue);
        clgaze_plan_free(plan);
        if (!ok)
            return false;
        for (int j = 0; j < JOBS; j++) /* while others build */
            if (clgaze_supports(w->context, jobs[j].op, &jobs[j].p, NULL, 0) != CLGAZE_OK)
                return say(l, "clgaze_supports");
    }
    return true;
}

/* A context of ours on the cl_context under test; its binary cache is the same folder each time. */
static clgaze_status borrow(clgaze_context **context)
{
    clgaze_context_options o = test_options();

    o.context = clgaze_context_cl(test_context());
    o.device = clgaze_context_device(test_context());
    o.cache_dir = CLGAZE_TEST_BUILD_DIR "/test-work/threads";
    return clgaze_context_create(&o, context);
}

static void plans_are_made_at_once(void **state)
{
    clgaze_context *context = NULL;

    (void)state;
    assert_ok(borrow(&context)); /* which has no program yet: all threads need the same one first */
    in_threads(plan_often, context);
    clgaze_context_free(context);
}

/* On a context and cl_context of its own. */
static bool call_apart(struct load *l)
{
    clgaze_context_options o = test_options();
    clgaze_context *context = NULL;
    cl_command_queue queue = NULL;
    clgaze_plan *plan = NULL;
    cl_int err;
    bool ok;

    if (clgaze_context_create(&o, &context) != CLGAZE_OK)
        return say(l, "clgaze_context_create");
    queue = clCreateCommandQueue(clgaze_context_cl(context), clgaze_context_device(context), 0, &err);
    ok = queue && clgaze_plan_create(context, l->job->op, &l->job->p, &plan) == CLGAZE_OK;
    ok = ok ? run_case(&l->c, l->job->op, plan, context, queue) && same(l) : say(l, "no queue or plan");
    clgaze_plan_free(plan);
    if (queue)
        clReleaseCommandQueue(queue);
    clgaze_context_free(context);
    return ok;
}

static bool call_borrowed(struct load *l, cl_command_queue queue)
{
    clgaze_context *context = NULL;
    clgaze_plan *plan = NULL;
    bool ok;

    if (borrow(&context) != CLGAZE_OK)
        return say(l, "clgaze_context_create");
    ok = clgaze_plan_create(context, l->job->op, &l->job->p, &plan) == CLGAZE_OK;
    ok = ok ? call_in_order(l, plan, queue) : say(l, "clgaze_plan_create");
    clgaze_plan_free(plan);
    clgaze_context_free(context);
    return ok;
}

static bool contexts_often(struct worker *w)
{
    bool ok = true;

    for (int i = 0; ok && i < CONTEXTS; i++) {
        struct load *l = &w->load[(w->index + i) % JOBS];

        ok = (w->index + i) % 2 ? call_apart(l) : call_borrowed(l, w->queue);
    }
    return ok;
}

static void contexts_are_made_at_once(void **state)
{
    (void)state;
    in_threads(contexts_often, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(plans_are_shared, make_jobs),
        cmocka_unit_test(plans_are_made_at_once),
        cmocka_unit_test_teardown(contexts_are_made_at_once, free_jobs),
    };

    return TEST_MAIN(tests);
}
