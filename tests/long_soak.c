/* SPDX-License-Identifier: Apache-2.0 */
/* 8 threads for CLGAZE_SOAK_SECONDS, 600: plans shared, plans and contexts made and freed, one folder of programs
 * for all; answers stay those of the first call, memory does not grow.  Label: long. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "crowd.h"

enum { SAMPLES = 8, CALLS = 20 };

static double start, length;
static long kilobytes[SAMPLES + 1], rounds[THREADS];

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Resident memory of this process; 0: this system does not say. */
static long resident(void)
{
    long pages = 0, all;
    FILE *f = fopen("/proc/self/statm", "r");

    if (f && fscanf(f, "%ld %ld", &all, &pages) != 2)
        pages = 0;
    if (f)
        fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static bool plan_and_call(struct worker *w, struct load *l)
{
    clgaze_plan *plan = NULL;
    bool ok = clgaze_plan_create(w->context, l->job->op, &l->job->p, &plan) == CLGAZE_OK;

    ok = ok ? call_in_order(l, plan, w->queue) : load_failed(l, "clgaze_plan_create");
    clgaze_plan_free(plan);
    return ok;
}

static bool one_round(struct worker *w, struct load *l, long round)
{
    bool ok = true;

    for (int i = 0; ok && i < CALLS; i++)
        ok = call_in_order(l, l->job->plan, w->queue);
    switch (ok ? (w->index + round / JOBS) % 3 : -1) {
    case 0:
        return plan_and_call(w, l);
    case 1:
        return call_borrowed(l, w->queue);
    case 2:
        return call_apart(l);
    default:
        return ok;
    }
}

static bool soak(struct worker *w)
{
    int sample = 0;
    bool ok = true;

    while (ok && now() < start + length) {
        const long round = rounds[w->index]++;

        ok = one_round(w, &w->load[(w->index + round) % JOBS], round);
        if (w->index == 0 && now() >= start + length * sample / SAMPLES)
            kilobytes[sample++] = resident();
    }
    return ok;
}

static void nothing_changes(void **state)
{
    const char *seconds = getenv("CLGAZE_SOAK_SECONDS");
    clgaze_context *context = NULL;
    long all = 0, most = 0;

    (void)state;
    start = now();
    length = seconds ? atof(seconds) : 600;
    assert_ok(borrow(&context));
    in_threads(soak, context);
    clgaze_context_free(context);
    kilobytes[SAMPLES] = resident();
    for (int i = 0; i < THREADS; i++) {
        assert_true(rounds[i] > 0);
        all += rounds[i];
    }
    printf("%ld rounds in %.0f s; resident kilobytes:", all, now() - start);
    for (int i = 0; i <= SAMPLES; i++) {
        printf(" %ld", kilobytes[i]);
        most = i < SAMPLES - 2 && kilobytes[i] > most ? kilobytes[i] : most;
    }
    printf("\n");
    assert_true(kilobytes[SAMPLES] <= most + most / 20); /* the end against the most of the first two thirds */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_changes, make_jobs, free_jobs),
    };

    return TEST_MAIN(tests);
}
