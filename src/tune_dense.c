/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune_dense.c: measures the break-even of a prefill: choosing blocks and attending to them
 * against dense attention.
 *
 * A whole call may be too long for one launch, and a slice of its rows would be charged with
 * the pooling of all keys.  So four are timed in turn: prefill of one block of rows, prefill of
 * a slice at two densities, dense attention of the slice.  The last rows see the most; with as
 * many keys as the rows of a call see on average, they stand for all of it.  The two densities
 * are one block in eight and all of them, so that what lies between is not guessed.
 */
#include "break_even.h"
#include "tune_subject.h"

#include <stdio.h>
#include <string.h>

enum { FEW, LOW, HIGH, DENSE, RUNNERS };
enum { ROUNDS = 9, HURRIED = 3, MOST_REPEATS = 16, LOW_SHARE = 8 };
static const double WANTED_US = 1e3, SLICE_US = 2e4, LEAST_NOISE = 0.02;
static const double MOST_NOISE = 0.25; /* beyond it what was found is to be measured anew when there is time */

struct runner {
    clgaze_plan *plan;
    const struct tune_data *data;
    int repeats, n;
    double sample[ROUNDS], us, spread;
};

struct contest {
    struct subject *s;
    const struct clg_search *clock; /* its clock, deadline and stop */
    struct tune_data few;           /* the rows of one block; those of the slice are s->data */
    struct runner at[RUNNERS];      /* FEW and LOW share a plan */
    struct clg_dense_times times;
    int keep[2]; /* blocks a row, at the two densities */
};

static double run(const struct contest *c, const struct runner *r, int times)
{
    const clgaze_op op = r == &c->at[DENSE] ? CLGAZE_ATTEND : CLGAZE_PREFILL;

    return clg_time_calls(r->plan, op, &r->data->t, c->s->queue, c->s->workspace, times);
}

/* ---- plans and data ---------------------------------------------------------------- */

/* Of the causal triangle a row sees half the keys on average. */
static clgaze_problem with_fewer_keys(const clgaze_problem *p)
{
    const int32_t least = p->max_q < p->max_k ? p->max_q : p->max_k;
    clgaze_problem some = *p;

    some.max_k = p->causal ? p->max_k - least / 2 : p->max_k;
    return some;
}

static int most_rows(const struct subject *s)
{
    const clgaze_problem some = with_fewer_keys(&s->problem);

    return some.max_q < some.max_k ? some.max_q : some.max_k;
}

/* Whoever watches hears of us before each. */
static clgaze_status open_plan(struct contest *c, clgaze_op op, const clgaze_problem *p, int runner)
{
    clgaze_status st = CLGAZE_ERR_CANCELLED;

    if (c->clock->stop(c->s))
        goto out;
    TRY(clgaze_plan_create(&c->s->ear.ctx, op, p, &c->at[runner].plan));
    TRY(clg_subject_room(c->s, c->at[runner].plan));
out:
    return st;
}

/* Exactly so many blocks a row, whatever the rule and its value. */
static clgaze_status open_plans(struct contest *c)
{
    const clgaze_problem some = with_fewer_keys(&c->s->problem);
    const int nk = (some.max_k + some.block_k - 1) / some.block_k;
    clgaze_problem p = c->s->problem;
    clgaze_status st = CLGAZE_OK;

    c->keep[0] = nk > LOW_SHARE ? nk / LOW_SHARE : 1;
    c->keep[1] = nk;
    p.sink = p.local = p.last_rows = 0;
    for (int i = 0; i < 2; i++) {
        p.min_k = p.max_k_blocks = c->keep[i];
        TRY(open_plan(c, CLGAZE_PREFILL, &p, LOW + i));
    }
    c->at[FEW].plan = c->at[LOW].plan;
    p.lists = CLGAZE_LISTS_DENSE;
    TRY(open_plan(c, CLGAZE_ATTEND, &p, DENSE));
out:
    return st;
}

/* As many rows as dense attention works on for some milliseconds. */
static clgaze_status open_slice(struct contest *c)
{
    struct subject *s = c->s;
    const clgaze_context *ctx = &s->ear.ctx;
    const clgaze_problem some = with_fewer_keys(&s->problem);
    const int most = most_rows(s);
    clgaze_status st = CLGAZE_OK;
    double us;

    for (int sq = 4 * some.block_q;; sq *= 4) {
        TRY(clg_tune_data_open(&s->data, &s->ear.ctx, CLGAZE_PREFILL, &some, sq < most ? sq : most));
        us = run(c, &c->at[DENSE], 1);
        us = us > 0 ? run(c, &c->at[DENSE], 1) : us;
        NEED(us > 0, CLGAZE_ERR_OPENCL, "dense attention does not run: %s", s->ear.reason);
        if (us > SLICE_US || sq >= most)
            break;
        clg_tune_data_close(&s->data);
    }
out:
    return st;
}

static clgaze_status open_all(struct contest *c)
{
    struct subject *s = c->s;
    const clgaze_problem some = with_fewer_keys(&s->problem);
    const int most = most_rows(s);
    clgaze_status st = CLGAZE_OK;

    for (int i = 0; i < RUNNERS; i++)
        c->at[i].data = i == FEW ? &c->few : &s->data;
    TRY(open_plans(c));
    TRY(open_slice(c));
    TRY(clg_tune_data_open(&c->few, &s->ear.ctx, CLGAZE_PREFILL, &some, some.block_q < most ? some.block_q : most));
out:
    return st;
}

static void close_all(struct contest *c)
{
    clg_tune_data_close(&c->few);
    for (int i = LOW; i < RUNNERS; i++)
        clgaze_plan_free(c->at[i].plan);
}

/* ---- timing -------------------------------------------------------------------------- */

/* The first call is to warm up; the second says how often to repeat a short one. */
static clgaze_status warm(struct contest *c)
{
    const clgaze_context *ctx = &c->s->ear.ctx;
    clgaze_status st = CLGAZE_OK;

    for (int i = 0; i < RUNNERS; i++) {
        struct runner *r = &c->at[i];
        const double us = run(c, r, 1) > 0 ? run(c, r, 1) : -1;
        const double repeats = WANTED_US / us;

        NEED(us > 0, CLGAZE_ERR_OPENCL, "what is used now does not run: %s", c->s->ear.reason);
        r->repeats = repeats < MOST_REPEATS ? (int)repeats + 1 : MOST_REPEATS;
    }
out:
    return st;
}

/* Medians, of the others as their ratio to dense attention round by round: what slows all down leaves it alone. */
static void compare(struct contest *c, int rounds)
{
    struct runner *dense = &c->at[DENSE];
    double median;

    for (int i = 0; i < DENSE; i++)
        for (int k = 0; k < rounds; k++)
            c->at[i].sample[k] /= dense->sample[k];
    median = clg_median(dense->sample, rounds, NULL);
    for (int i = 0; i < DENSE; i++)
        c->at[i].us = median * clg_median(c->at[i].sample, rounds, &c->at[i].spread);
    dense->us = median;
}

/* In turn, so that what changes with time changes for all. */
static clgaze_status measure(struct contest *c)
{
    const clgaze_context *ctx = &c->s->ear.ctx;
    clgaze_status st = CLGAZE_OK;
    int rounds = 0;

    for (; rounds < ROUNDS && (rounds < HURRIED || c->clock->clock(c->s) < c->clock->deadline); rounds++) {
        if (c->clock->stop(c->s))
            return CLGAZE_ERR_CANCELLED;
        for (int i = 0; i < RUNNERS; i++) {
            c->at[i].sample[rounds] = run(c, &c->at[i], c->at[i].repeats);
            NEED(c->at[i].sample[rounds] > 0, CLGAZE_ERR_OPENCL, "what is used now does not run: %s",
                 c->s->ear.reason);
        }
    }
    compare(c, rounds);
out:
    return st;
}

/* The share of what the rows of the slice see that so many blocks are. */
static double density_of(const struct tune_data *d, int keep)
{
    const int rows = (int)d->check.value[NQ];
    double kept = 0, all = 0;

    for (int row = 0; row < rows; row++) {
        const int see = clg_tune_data_visible(d, row);

        kept += keep < see ? keep : see;
        all += see;
    }
    return kept / all;
}

/* How a whole call is made of the slice. */
static struct clg_dense_times scale(const struct contest *c)
{
    const struct subject *s = c->s;
    const clgaze_problem *p = &s->problem;
    const double slice = s->data.sq, few = c->few.sq;
    struct clg_dense_times t = {.few = c->at[FEW].us,
                                .low = c->at[LOW].us,
                                .high = c->at[HIGH].us,
                                .dense = c->at[DENSE].us,
                                .noise = LEAST_NOISE};

    for (int i = 0; i < 2; i++)
        t.density[i] = density_of(&s->data, c->keep[i]);
    for (int i = LOW; i < DENSE; i++)
        t.noise = c->at[i].spread > t.noise ? c->at[i].spread : t.noise;
    t.keys = (double)p->max_k / s->data.sk;
    t.more = slice > few ? (p->max_q - few) / (slice - few) : 1;
    t.all = p->max_q / slice;
    return t;
}

/* ---- the search -------------------------------------------------------------------------- */

/* Two candidates: what is known now, which may be that dense is never quicker, and what is found. */
static clgaze_status list_candidates(struct subject *s)
{
    const clgaze_context *ctx = s->ctx;
    clgaze_status st = CLGAZE_OK;
    struct clg_record now;

    s->n = 2;
    s->at = clg_alloc(ctx, 2 * sizeof *s->at);
    NEED(s->at, CLGAZE_ERR_NO_MEMORY, "no memory for 2 candidates");
    s->at[0].kernel = s->at[1].kernel = &clg_kernel_dense;
    clg_space_default(&clg_kernel_dense, s->at[0].values);
    if (clg_break_even_find(s->ctx, &s->problem, &now) >= 0)
        memcpy(s->at[0].values, now.values, sizeof now.values);
out:
    return st;
}

clgaze_status clg_dense_search(struct subject *s, struct clg_search *found)
{
    clgaze_context *ctx = s->ctx;
    struct contest *c = clg_alloc(ctx, sizeof *c);
    clgaze_status st = CLGAZE_OK;
    struct clg_dense_times t;

    NEED(c, CLGAZE_ERR_NO_MEMORY, "no memory for tuning");
    c->s = s;
    c->clock = found;
    c->few.ctx = s->ctx;
    TRY(list_candidates(s));
    snprintf(s->what, sizeof s->what, "%s", clg_kernel_dense.name);
    clg_journal_begin(s->journal, s->name, s->what);
    st = open_all(c);
    st = st ? st : warm(c);
    st = st ? st : measure(c);
    clg_journal_end(s->journal);
    NEED(st == CLGAZE_OK || st == CLGAZE_ERR_CANCELLED, st, "%s: %s", s->name, s->ear.reason);
    TRY(st);
    t = scale(c);
    s->at[1].values[0] = clg_break_even_solve(&t, &found->first_time, &found->best_time);
    found->best = s->at[1].values[0] != s->at[0].values[0];
    found->noise = t.noise;
    found->tried = 2;
    found->finished = t.noise <= MOST_NOISE;
out:
    if (c)
        close_all(c);
    clg_release(ctx, c);
    return st;
}
