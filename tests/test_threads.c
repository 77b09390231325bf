/* SPDX-License-Identifier: Apache-2.0 */
/* Threads: every call gives the bits of the first, which ref/ has checked.  Label: unit. */
#include "crowd.h"

enum { CALLS = 30, PLANS = 6, CONTEXTS = 3 };

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

/* In turn all threads make a plan of the same problem, and of different ones. */
static bool plan_often(struct worker *w)
{
    for (int i = 0; i < PLANS; i++) {
        struct load *l = &w->load[(i / 2 + (i % 2) * w->index) % JOBS];
        clgaze_plan *plan = NULL;
        bool ok;

        if (clgaze_plan_create(w->context, l->job->op, &l->job->p, &plan) != CLGAZE_OK)
            return load_failed(l, "clgaze_plan_create");
        ok = call_in_order(l, plan, w->queue);
        clgaze_plan_free(plan);
        if (!ok)
            return false;
        for (int j = 0; j < JOBS; j++) /* while others build */
            if (clgaze_supports(w->context, jobs[j].op, &jobs[j].p, NULL, 0) != CLGAZE_OK)
                return load_failed(l, "clgaze_supports");
    }
    return true;
}

static void plans_are_made_at_once(void **state)
{
    clgaze_context *context = NULL;

    (void)state;
    assert_ok(borrow(&context)); /* which has no program yet: all threads need the same one first */
    in_threads(plan_often, context);
    clgaze_context_free(context);
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
