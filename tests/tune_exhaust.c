/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune_exhaust.c: how good the tuner is on this device, a program for people: it asserts nothing.
 *
 *   tune_exhaust search KERNEL PROBLEM   every configuration of a strategy is timed, then the tuner
 *                                        starts from the worst; what it finds meets the best
 *   tune_exhaust compare                 what plans use without records against what they use with
 *                                        the user's, for the usual problems, in turn
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../tuning/tune.h"
#include "records.h"
#include "tune_subject.h"

enum { WALK = 3, DUEL = 15, MOST = 3, MOST_KERNELS = 63 };
static const double SHARE = 30; /* seconds that the tuner gets for a problem */

static clgaze_tune_options options;
static struct clg_journal no_journal;

static void die(const char *what)
{
    fprintf(stderr, "tune_exhaust: %s\n", what);
    exit(2);
}

static clgaze_context *context(const char *folder)
{
    clgaze_context_options o;
    clgaze_context *ctx;

    memset(&o, 0, sizeof o);
    o.pick = getenv("CLGAZE_TEST_DEVICE");
    o.cache_dir = folder;
    if (clgaze_context_create(&o, &ctx) != CLGAZE_OK)
        die("no device");
    return ctx;
}

static void open_subject(struct subject *s, clgaze_context *ctx, const struct tune_item *item)
{
    memset(s, 0, sizeof *s);
    s->ctx = ctx;
    s->op = item->op;
    s->options = &options;
    s->journal = &no_journal;
    s->problem = clg_tune_problem(item->op, &item->problem);
    clgaze_tuning_problem(ctx, item->op, &item->problem, s->name, sizeof s->name);
    if (clg_subject_open(s) != CLGAZE_OK)
        die(s->ear.reason);
}

/* Medians of candidates measured in turn; those that are the same are measured once each all the same. */
static void duel(struct subject *s, const int *which, int n, int rounds, double *us, double *spread)
{
    static double sample[MOST][DUEL];
    const struct clg_search search = clg_subject_search(s);

    for (int k = 0; k < rounds; k++)
        for (int i = 0; i < n; i++)
            sample[i][k] = search.measure(s, which[i]);
    for (int i = 0; i < n; i++)
        us[i] = clg_median(sample[i], rounds, &spread[i]);
}

static int index_of(const struct subject *s, const struct candidate *c)
{
    for (int i = 0; i < s->n; i++)
        if (s->at[i].kernel == c->kernel && memcmp(s->at[i].values, c->values, sizeof c->values) == 0)
            return i;
    return -1;
}

/* ---- search ----------------------------------------------------------------------- */

/* Every configuration against candidate 0: the best and the worst. */
static void walk(struct subject *s, struct candidate *best, struct candidate *worst, int *timed)
{
    const struct clg_search search = clg_subject_search(s);
    double least = 1, most = 1;

    *best = *worst = s->at[0];
    *timed = 1;
    if (!search.open(s, 0))
        die("what is used now does not run");
    for (int i = 1; i < s->n; i++) {
        const int both[] = {0, i};
        double us[2], spread[2];

        if (!search.open(s, i))
            continue;
        duel(s, both, 2, WALK, us, spread);
        search.close(s, i);
        ++*timed;
        if (us[1] < least * us[0])
            *best = s->at[i];
        if (us[1] > most * us[0])
            *worst = s->at[i];
        least = us[1] / us[0] < least ? us[1] / us[0] : least;
        most = us[1] / us[0] > most ? us[1] / us[0] : most;
        fprintf(stderr, "\r%d of %d", i + 1, s->n);
    }
    search.close(s, 0);
}

/* From now on plans use this, as far as the tuner can tell. */
static void use(struct subject *s, const struct candidate *c)
{
    struct clg_record r;

    memset(&r, 0, sizeof r);
    r.device = clg_signature_of(&s->ctx->device);
    r.kernel = c->kernel;
    memcpy(r.values, c->values, sizeof r.values);
    snprintf(r.problem, sizeof r.problem, "%s", strchr(s->name, ' ') + 1);
    r.us = r.default_us = 1;
    r.origin = CLG_FROM_TUNER;
    if (clg_records_put(s->ctx, s->ctx->records, &r) != CLGAZE_OK)
        die("no memory");
}

static void print(const char *what, const struct candidate *c, double us, double spread)
{
    char name[CLG_TUNE_TEXT];

    clg_candidate_name(c, name);
    printf("  %-8s %10.1f us +-%4.1f %%  %s\n", what, us, 50 * spread, name);
}

/* The tuner's turn, from the worst there is; then what it found, the best and the worst in turn. */
static void search_from(clgaze_context *ctx, const struct tune_item *item, struct candidate *best,
                        const struct candidate *worst, int timed)
{
    struct clg_search search;
    struct subject s;
    double us[MOST], spread[MOST], from;
    int three[MOST];
    bool *seen;

    open_subject(&s, ctx, item);
    search = clg_subject_search(&s);
    seen = calloc((size_t)s.n, sizeof *seen);
    from = clg_seconds();
    search.deadline = from + SHARE;
    search.wander = from + SHARE / 4; /* as for one of a few problems */
    if (!seen || !clg_search_run(&search, seen))
        die("what is used now does not run");
    free(seen);
    printf("%s, %s: %d configurations; the tuner tried %zu in %.1f s%s\n", s.name, worst->kernel->name, timed,
           search.tried, clg_seconds() - from, search.finished ? "" : ", unfinished");
    three[0] = search.best;
    three[1] = index_of(&s, best);
    three[2] = index_of(&s, worst);
    for (int i = 0; i < MOST; i++)
        if (!s.at[three[i]].plan && !search.open(&s, three[i]))
            die("a configuration does not run again");
    duel(&s, three, MOST, DUEL, us, spread);
    print("worst", &s.at[three[2]], us[2], spread[2]);
    print("found", &s.at[three[0]], us[0], spread[0]);
    print("best", &s.at[three[1]], us[1], spread[1]);
    printf("  found / best %.3f\n", us[0] / us[1]);
    for (int i = 0; i < MOST; i++)
        search.close(&s, three[i]);
    clg_subject_close(&s);
}

static int search_all(const struct clg_kernel *kernel, const struct tune_item *item)
{
    const struct clg_kernel *only[MOST_KERNELS + 1] = {kernel};
    clgaze_context *ctx = context("");
    struct candidate best, worst;
    struct subject s;
    int timed;

    clg_records_forget(ctx->records, CLG_FROM_LIBRARY);
    for (int i = 0, n = 1; clg_kernels[i] && n < MOST_KERNELS; i++) /* distill is made of other operations, too */
        if (strcmp(clg_kernels[i]->op, kernel->op) != 0)
            only[n++] = clg_kernels[i];
    ctx->kernels = only;
    open_subject(&s, ctx, item);
    walk(&s, &best, &worst, &timed);
    use(&s, &worst);
    clg_subject_close(&s);
    fputs("\r", stderr);
    search_from(ctx, item, &best, &worst, timed);
    clgaze_context_free(ctx);
    return 0;
}

/* ---- compare ------------------------------------------------------------------------ */

static void compare_one(clgaze_context *ctx, const struct tune_item *item)
{
    const int nearest = ctx->nearest;
    struct clg_search search;
    struct clg_stage stage;
    struct candidate tuned;
    struct subject s;
    double us[2], spread[2];
    int both[2] = {0, 0};

    memset(&stage, 0, sizeof stage);
    memset(&tuned, 0, sizeof tuned);
    if (clg_choose(ctx, item->op, &item->problem, NULL, &stage) != CLGAZE_OK)
        return;
    tuned.kernel = stage.kernel;
    memcpy(tuned.values, stage.values, sizeof tuned.values);
    clg_stage_free(ctx, &stage);
    ctx->nearest = -1; /* as without records */
    open_subject(&s, ctx, item);
    ctx->nearest = nearest;
    search = clg_subject_search(&s);
    both[1] = index_of(&s, &tuned);
    if (both[1] <= 0) {
        printf("%-32s the same\n", s.name);
    } else if (search.open(&s, 0) && search.open(&s, both[1])) {
        duel(&s, both, 2, DUEL, us, spread);
        printf("%-32s %10.1f %10.1f us  %.3f, noise %.3f\n", s.name, us[0], us[1], us[1] / us[0],
               spread[0] > spread[1] ? spread[0] : spread[1]);
        search.close(&s, 0);
        search.close(&s, both[1]);
    }
    fflush(stdout);
    clg_subject_close(&s);
}

static int usual(clgaze_context *ctx, struct tune_problems *all)
{
    tune_problems_usual(all, !ctx->device.cpu);
    printf("%-32s %10s %10s     tuned / without records\n", "problem", "without", "tuned");
    for (int i = 0; i < all->n; i++)
        if (all->at[i].op < CLGAZE_PREFILL)
            compare_one(ctx, &all->at[i]);
    clgaze_context_free(ctx);
    return 0;
}

int main(int argc, char **argv)
{
    static struct tune_problems all;
    char why[MAX_WHY];

    if (argc == 2 && strcmp(argv[1], "compare") == 0)
        return usual(context(NULL), &all);
    if (argc != 4 || strcmp(argv[1], "search") != 0 || !clg_kernel_find(argv[2]))
        die("give \"search KERNEL PROBLEM\" or \"compare\"");
    if (tune_problems_add(&all, argv[3], 0, why))
        die(why);
    return search_all(clg_kernel_find(argv[2]), &all.at[0]);
}
