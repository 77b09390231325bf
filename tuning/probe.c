/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe.c: one small problem that is timed before and after tuning.
 */
#include "tune.h"

#include "power.h"
#include "tune_subject.h"

#include <string.h>

/* Lengths of the probe: a launch of some hundred microseconds to some milliseconds. */
enum { LONGEST = 2048 };
static const double WARM = 0.05;   /* seconds, until a device that slept is awake */
static const double SLOWEST = 1e5; /* microseconds: beyond that a look costs more than it tells */

static struct {
    struct subject subject;
    struct clg_search search;
    struct clg_journal journal; /* of no file: what is used now is not in doubt */
    clgaze_tune_options options;
    struct power_times before;
    int open;
} probe;

static void sample(struct power_times *times)
{
    const double until = clg_seconds() + WARM;

    times->n = 0;
    while (clg_seconds() < until)
        if (!(probe.search.measure(&probe.subject, 0) > 0))
            return;
    while (times->n < POWER_SAMPLES) {
        const double us = probe.search.measure(&probe.subject, 0);

        if (!(us > 0)) {
            times->n = 0;
            return;
        }
        times->us[times->n++] = us;
    }
}

double tune_probe_open(clgaze_context *context, const struct tune_item *item)
{
    struct subject *s = &probe.subject;
    clgaze_problem p = item->problem;
    double from = clg_seconds();

    p.max_q = p.max_q < LONGEST ? p.max_q : LONGEST;
    p.max_k = p.max_k < LONGEST ? p.max_k : LONGEST;
    memset(&probe, 0, sizeof probe);
    s->ctx = context;
    s->op = item->op == CLGAZE_PREFILL ? CLGAZE_ATTEND : item->op; /* which is most of it */
    s->options = &probe.options;
    s->journal = &probe.journal;
    s->problem = clg_tune_problem(s->op, &p);
    probe.open = clg_subject_open(s) == CLGAZE_OK;
    if (!probe.open)
        return 0;
    context->building = 0.5 * (clg_seconds() - from); /* the first build of a process starts the compiler, too */
    probe.search = clg_subject_search(s);
    probe.open = probe.search.open(s, 0);
    from = clg_seconds();
    if (probe.open && probe.search.measure(s, 0) < SLOWEST)
        sample(&probe.before);
    return clg_seconds() - from;
}

double tune_probe_slower(void)
{
    struct power_times after = {.n = 0};

    if (probe.open && probe.before.n > 0)
        sample(&after);
    return power_slower(&probe.before, &after);
}

void tune_probe_close(void)
{
    if (probe.open)
        probe.search.close(&probe.subject, 0);
    if (probe.subject.ctx)
        clg_subject_close(&probe.subject);
    memset(&probe, 0, sizeof probe);
}
