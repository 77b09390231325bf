/* SPDX-License-Identifier: Apache-2.0 */
/*
 * search.c: descent, halving, duel.
 *
 * Building a candidate costs far more than timing it, so the order matters:
 * always the nearest to the best so far, until nothing one step from it is quicker;
 * beyond that only as long as there is time to spare.  What is clearly slower leaves
 * at once, the rest is halved with interleaved repeats, and the winner meets what is
 * used now in a duel of fresh measurements, which selection cannot have biased.
 */
#include <stdlib.h>
#include <string.h>

#include "search.h"

enum { PATIENCE = 24, MEETING = 5, DUEL = 9, HURRIED = 5, HALVING = 8 }; /* HALVING: samples of each, about */
static const double LEAVE = 4, CLEARLY = 1.3, LEAST_NOISE = 0.02, LAST_SHARE = 0.25;
static const double LONGER = 1.25; /* than expected a build may take */

struct runner {
    int candidate, n;
    double sample[CLG_SEARCH_SAMPLES], last, time;
};

struct field {
    struct clg_search *s;
    struct runner at[CLG_SEARCH_KEEP + 1]; /* the first is candidate 0 */
    int n, best;                           /* of them the best so far  */
    double start, each;                    /* seconds of a sample of candidate 0 */
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
    r->last = x;
    if (r->n < CLG_SEARCH_SAMPLES)
        r->sample[r->n++] = x;
    r->time = clg_median(r->sample, r->n, NULL);
    return true;
}

static void drop(struct field *f, int i)
{
    f->s->close(f->s->user, f->at[i].candidate);
    f->at[i] = f->at[--f->n];
    f->best = f->best == f->n ? i : f->best;
}

/* The slowest but candidate 0 and the best so far, which stay. */
static int slowest(const struct field *f)
{
    int worst = 0;

    for (int i = 1; i < f->n; i++)
        if (i != f->best && (worst == 0 || f->at[i].time > f->at[worst].time))
            worst = i;
    return worst;
}

/* The two in turn, now one first and now the other: the median of their ratio round by round, which what slows both
 * down leaves alone.  Negative: `a` failed. */
static double meet(struct field *f, struct runner *a, struct runner *b, int rounds, double *spread)
{
    double ratio[DUEL];

    for (int k = 0; k < rounds; k++) {
        for (int j = 0; j < 2; j++)
            if (!sample(f, j == k % 2 ? a : b) && j == k % 2)
                return -1;
        ratio[k] = a->last / b->last;
    }
    return clg_median(ratio, rounds, spread);
}

/* The nearest that was not seen, or -1. */
static int nearest(const struct clg_search *s, const bool *seen, int to, int *steps)
{
    int best = -1, least = 0;

    for (int i = 1; i < s->n; i++) {
        const int d = seen[i] ? 0 : s->distance(s->user, to, i);

        if (!seen[i] && (best < 0 || d < least)) {
            best = i;
            least = d;
        }
    }
    *steps = least;
    return best;
}

static bool over(const struct field *f, double share)
{
    return f->s->clock(f->s->user) > f->start + share * (f->s->deadline - f->start);
}

/* Open a candidate.  What it took to build it, if it was not built before, is what the next may take. */
static bool open_one(struct field *f, int candidate)
{
    struct clg_search *s = f->s;
    const double from = s->clock(s->user);
    const bool opened = s->open(s->user, candidate);
    const double took = s->clock(s->user) - from, mean = 0.5 * (took + s->building);

    if (took > 0.25 * s->building)
        s->building = took > mean ? took : mean;
    return opened;
}

/* Would opening one more end too late, with halving and duel to come? */
static bool late(const struct field *f)
{
    const struct clg_search *s = f->s;
    const double rest = f->each * (2 * DUEL + (f->n > 1 ? HALVING * (f->n + 1) : 0));
    const double most = LAST_SHARE * (s->deadline - f->start);

    return s->clock(s->user) + LONGER * s->building + (rest < most ? rest : most) > s->deadline;
}

static bool stopped(struct clg_search *s)
{
    s->stopped = s->stopped || (s->stop && s->stop(s->user));
    return s->stopped;
}

/* Open one candidate and see whether it may stay; true: it is the best so far. */
static bool enter(struct field *f, int candidate)
{
    struct clg_search *s = f->s;
    struct runner r = {.candidate = candidate};
    double ratio = 1, spread = 0;
    bool better;

    if (!open_one(f, candidate)) {
        s->refused++;
        return false;
    }
    if (!sample(f, &r)) {
        s->refused++;
        s->close(s->user, candidate);
        return false;
    }
    s->tried++;
    if (r.time <= LEAVE * f->at[f->best].time)
        ratio = meet(f, &r, &f->at[f->best], MEETING, &spread);
    if (r.time > LEAVE * f->at[f->best].time || ratio < 0 || ratio > CLEARLY) {
        s->close(s->user, candidate);
        return false;
    }
    f->at[f->n++] = r;
    better = ratio < 1 - (0.5 * spread > LEAST_NOISE ? 0.5 * spread : LEAST_NOISE);
    if (better)
        f->best = f->n - 1;
    if (f->n > CLG_SEARCH_KEEP)
        drop(f, slowest(f));
    return better;
}

/* To the best of its neighbourhood, and on while there is time to spare. */
static void descend(struct field *f, bool *seen)
{
    struct clg_search *s = f->s;
    int idle = 0, steps;

    while (!stopped(s)) {
        const int next = nearest(s, seen, f->at[f->best].candidate, &steps);

        s->finished = next < 0 || steps > 1;
        if (s->finished && (next < 0 || idle > PATIENCE || s->clock(s->user) > s->wander))
            return;
        if (late(f) || (s->cap && s->tried + s->refused >= (size_t)s->cap))
            return;
        seen[next] = true;
        idle = enter(f, next) ? 0 : idle + 1;
    }
}

/* Interleaved repeats, measured anew, until candidate 0 and one other are left. */
static void halve(struct field *f)
{
    f->best = 0;
    for (int i = 0; i < f->n; i++)
        f->at[i].n = 0;
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

/* What is left meets candidate 0, and must win by more than the noise. */
static void duel(struct field *f)
{
    struct clg_search *s = f->s;
    struct runner *first = &f->at[0];
    const int rounds = over(f, 0.95) || s->stopped ? HURRIED : DUEL;
    double spread = 0, won = 1;

    for (int i = 0; i < f->n; i++)
        f->at[i].n = 0;
    if (f->n > 1) {
        won = meet(f, &f->at[1], first, rounds, &spread);
    } else {
        for (int k = 0; k < rounds; k++)
            sample(f, first);
        clg_median(first->sample, first->n, &spread);
    }
    s->noise = 1.5 * spread > LEAST_NOISE ? 1.5 * spread : LEAST_NOISE;
    s->first_time = s->best_time = first->time;
    if (won > 0 && won < 1 - s->noise) {
        s->best = f->at[1].candidate;
        s->best_time = won * s->first_time;
    }
}

bool clg_search_run(struct clg_search *s, bool *seen)
{
    struct field f = {.s = s, .n = 1};
    bool failed = false;
    double from;

    s->best = 0;
    s->tried = s->refused = 0;
    s->finished = s->stopped = false;
    f.start = s->clock(s->user);
    seen[0] = true;
    if (!open_one(&f, 0))
        return false;
    from = s->clock(s->user);
    for (int i = 0; i < 2; i++)
        if (!sample(&f, &f.at[0]))
            failed = true;
    f.each = 0.5 * (s->clock(s->user) - from);
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
