/* SPDX-License-Identifier: Apache-2.0 */
/*
 * search.c: descent, halving, duel.
 *
 * Building a candidate costs far more than timing it, so the order matters:
 * always the nearest to the best so far.  What is clearly slower leaves at once,
 * the rest is halved with interleaved repeats, and the winner meets what is used
 * now in a duel of fresh measurements, which selection cannot have biased.
 */
#include <stdlib.h>
#include <string.h>

#include "search.h"

enum { PATIENCE = 24, DUEL = 9, HURRIED = 5 };
static const double CLEARLY = 1.3, LEAST_NOISE = 0.02, BUILD_SHARE = 0.75;

struct runner {
    int candidate, n;
    double sample[CLG_SEARCH_SAMPLES], time;
};

struct field {
    struct clg_search *s;
    struct runner at[CLG_SEARCH_KEEP + 1]; /* the first is candidate 0 */
    int n;
    double start, longest; /* seconds that opening one took at most */
};

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double clg_median(double *x, int n, double *spread)
{
    double median;

    qsort(x, (size_t)n, sizeof *x, by_size);
    median = 0.5 * (x[(n - 1) / 2] + x[n / 2]);
    if (spread)
        *spread = median > 0 ? (x[(3 * n) / 4 < n ? (3 * n) / 4 : n - 1] - x[n / 4]) / median : 0;
    return median;
}

/* Measure a runner once; false: it failed. */
static bool sample(struct field *f, struct runner *r)
{
    const double x = f->s->measure(f->s->user, r->candidate);

    if (!(x > 0))
        return false;
    if (r->n < CLG_SEARCH_SAMPLES)
        r->sample[r->n++] = x;
    r->time = clg_median(r->sample, r->n, NULL);
    return true;
}

static void drop(struct field *f, int i)
{
    f->s->close(f->s->user, f->at[i].candidate);
    f->at[i] = f->at[--f->n];
}

static int quickest(const struct field *f)
{
    int best = 0;

    for (int i = 1; i < f->n; i++)
        if (f->at[i].time < f->at[best].time)
            best = i;
    return best;
}

/* The slowest but candidate 0, which stays. */
static int slowest(const struct field *f)
{
    int worst = 1;

    for (int i = 2; i < f->n; i++)
        if (f->at[i].time > f->at[worst].time)
            worst = i;
    return worst;
}

static int nearest(const struct clg_search *s, const bool *seen, int to)
{
    int best = -1, least = 0;

    for (int i = 1; i < s->n; i++) {
        const int d = seen[i] ? 0 : s->distance(s->user, to, i);

        if (!seen[i] && (best < 0 || d < least)) {
            best = i;
            least = d;
        }
    }
    return best;
}

static bool over(const struct field *f, double share)
{
    return f->s->clock(f->s->user) > f->start + share * (f->s->deadline - f->start);
}

/* Open a candidate, and note how long that took. */
static bool open_one(struct field *f, int candidate)
{
    const double from = f->s->clock(f->s->user);
    const bool opened = f->s->open(f->s->user, candidate);
    const double took = f->s->clock(f->s->user) - from;

    f->longest = took > f->longest ? took : f->longest;
    return opened;
}

/* Would opening one more end too late? */
static bool late(const struct field *f)
{
    const double end = f->start + BUILD_SHARE * (f->s->deadline - f->start);

    return f->s->clock(f->s->user) + f->longest > end;
}

static bool stopped(struct clg_search *s)
{
    s->stopped = s->stopped || (s->stop && s->stop(s->user));
    return s->stopped;
}

/* Open one candidate and see whether it may stay. */
static void enter(struct field *f, int candidate)
{
    struct clg_search *s = f->s;
    struct runner r = {.candidate = candidate};
    const double best = f->at[quickest(f)].time;

    if (!open_one(f, candidate)) {
        s->refused++;
        return;
    }
    if (!sample(f, &r)) {
        s->refused++;
        s->close(s->user, candidate);
        return;
    }
    s->tried++;
    if (r.time > CLEARLY * best || !sample(f, &r)) {
        s->close(s->user, candidate);
        return;
    }
    f->at[f->n++] = r;
    if (f->n > CLG_SEARCH_KEEP)
        drop(f, slowest(f));
}

static void descend(struct field *f, bool *seen)
{
    struct clg_search *s = f->s;
    int idle = 0;

    while (!stopped(s)) {
        const int best = f->at[quickest(f)].candidate, next = nearest(s, seen, best);

        if (next < 0 || idle > PATIENCE) {
            s->finished = true;
            return;
        }
        if (late(f) || (s->cap && s->tried + s->refused >= (size_t)s->cap))
            return;
        seen[next] = true;
        enter(f, next);
        idle = f->at[quickest(f)].candidate == best ? idle + 1 : 0;
    }
}

/* Interleaved repeats until candidate 0 and one other are left. */
static void halve(struct field *f)
{
    for (int repeats = 2; f->n > 2; repeats += 2) {
        const int leave = f->n / 2;

        for (int k = 0; k < repeats && !over(f, 0.9) && !stopped(f->s); k++)
            for (int i = f->n - 1; i >= 0; i--)
                if (!sample(f, &f->at[i]) && i > 0)
                    drop(f, i);
        for (int i = 0; i < leave && f->n > 2; i++)
            drop(f, slowest(f));
    }
}

static void duel(struct field *f)
{
    struct clg_search *s = f->s;
    const int repeats = over(f, 0.95) || s->stopped ? HURRIED : DUEL;
    double spread[2] = {0, 0};

    for (int i = 0; i < f->n; i++)
        f->at[i].n = 0;
    for (int k = 0; k < repeats; k++)
        for (int i = f->n - 1; i >= 0; i--)
            if (!sample(f, &f->at[i]) && i > 0)
                drop(f, i);
    for (int i = 0; i < f->n; i++)
        f->at[i].time = clg_median(f->at[i].sample, f->at[i].n, &spread[i]);
    s->noise = 1.5 * (spread[0] > spread[1] ? spread[0] : spread[1]);
    s->noise = s->noise > LEAST_NOISE ? s->noise : LEAST_NOISE;
    s->first_time = s->best_time = f->at[0].time;
    if (f->n > 1 && f->at[1].time < (1 - s->noise) * f->at[0].time) {
        s->best = f->at[1].candidate;
        s->best_time = f->at[1].time;
    }
}

bool clg_search_run(struct clg_search *s, bool *seen)
{
    struct field f = {.s = s, .n = 1, .longest = s->building};
    bool failed = false;

    s->best = 0;
    s->tried = s->refused = 0;
    s->finished = s->stopped = false;
    f.start = s->clock(s->user);
    seen[0] = true;
    if (!open_one(&f, 0))
        return false;
    for (int i = 0; i < 2; i++)
        if (!sample(&f, &f.at[0]))
            failed = true;
    if (failed) {
        s->close(s->user, 0);
        return false;
    }
    s->tried = 1;
    descend(&f, seen);
    halve(&f);
    duel(&f);
    while (f.n > 0)
        drop(&f, f.n - 1);
    return true;
}
