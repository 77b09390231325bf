/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune.c: clgaze_tune(): problem by problem, each given its share of the budget.
 *
 * search.c decides what to try; tune_subject.c is what trying means.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "records.h"
#include "tune_subject.h"

/* ---- names -------------------------------------------------------------------- */

/* "f16 d128 b64 g4 n32k" of an operation's problem. */
void clg_problem_key(const struct clg_kernel *kernel, const clgaze_problem *p, struct clg_text *text)
{
    const int longest = p->max_q > p->max_k ? p->max_q : p->max_k;
    int n = 64;

    while (n < longest)
        n *= 2;
    kernel->key(p, text);
    if (n >= 1024)
        clg_put(text, " n%dk", n / 1024);
    else
        clg_put(text, " n%d", n);
}

clgaze_status clgaze_tuning_problem(clgaze_context *ctx, clgaze_op op, const clgaze_problem *problem, char *text,
                                    size_t capacity)
{
    const struct clg_kernel *const *kernel = clg_kernels;
    struct clg_text out = {text, capacity, 0};
    clgaze_status st = CLGAZE_OK;

    if (!ctx)
        return CLGAZE_ERR_NULL;
    NEED(problem && text, CLGAZE_ERR_NULL, "%s is NULL", problem ? "text" : "problem");
    TRY(clg_problem_check(ctx, op, problem));
    while (*kernel && strcmp((*kernel)->op, clg_op_name(op)) != 0)
        kernel++;
    clg_put(&out, "%s ", clg_op_name(op));
    clg_problem_key(*kernel ? *kernel : &clg_kernel_dense, problem, &out);
out:
    return st;
}

/* ---- one problem -------------------------------------------------------------------- */

static void today(char *text, size_t size)
{
    const time_t now = time(NULL);
    struct tm day;

    text[0] = '\0';
    if (gmtime_r(&now, &day))
        strftime(text, size, "%Y-%m-%d", &day);
}

static clgaze_status keep(struct subject *s, const struct clg_search *found)
{
    const struct candidate *best = &s->at[found->best];
    struct clg_record record;
    clgaze_tune_result result;
    clgaze_status st = CLGAZE_OK;

    memset(&record, 0, sizeof record);
    memset(&result, 0, sizeof result);
    record.device = clg_signature_of(&s->ctx->device);
    record.kernel = best->kernel;
    memcpy(record.values, best->values, sizeof record.values);
    snprintf(record.problem, sizeof record.problem, "%s", strchr(s->name, ' ') + 1);
    record.us = found->best_time;
    record.default_us = found->first_time;
    record.finished = found->finished;
    today(record.note, sizeof record.note);
    record.origin = CLG_FROM_TUNER;
    snprintf(result.problem, sizeof result.problem, "%s", s->name);
    clg_candidate_name(&s->at[0], result.before);
    clg_candidate_name(best, result.best);
    result.before_us = found->first_time;
    result.best_us = found->best_time;
    result.noise = found->noise;
    result.tried = found->tried;
    result.refused = found->refused;
    result.finished = found->finished;
    if (found->finished || found->tried > 1) /* else nothing was compared: there is nothing to remember */
        TRY(clg_records_put(s->ctx, s->ctx->records, &record));
    if (s->options->found)
        s->options->found(s->options->user, &result);
out:
    return st;
}

/* ---- all problems --------------------------------------------------------------------- */

#define STOPPED "tuning was stopped by the caller; what was found is kept"
static const double MOST_OF_ALL = 0.5, WANDER_SHARE = 0.25;
enum { FEW_BUILDS = 6 }; /* or so many, if there is hardly time for more */

struct item {
    clgaze_op op;
    const clgaze_problem *problem;
    char name[CLG_TUNE_TEXT];
};

struct session {
    clgaze_context *ctx;
    const clgaze_tune_options *options;
    struct clg_journal journal;
    double start, building[CLG_STAGES]; /* seconds; to open a candidate of each operation, 0: not known */
    struct item *at;                    /* of each name one */
    size_t total, done;
    bool opened; /* one was tried: others only if there is time for more than to open them */
};

bool clg_tune_known(const clgaze_context *ctx, clgaze_tune_again again, clgaze_op op, const char *name)
{
    struct clg_record known;

    return clg_records_find(ctx->records, &ctx->device, clg_op_name(op), strchr(name, ' ') + 1, 0, &known) &&
           known.origin != CLG_FROM_LIBRARY && !known.untried &&
           (again == CLGAZE_TUNE_NEW || (again == CLGAZE_TUNE_UNFINISHED && known.finished));
}

static bool is_known(const struct session *all, size_t i)
{
    return clg_tune_known(all->ctx, all->options->again, all->at[i].op, all->at[i].name);
}

/* Problems that are still to be tuned, this one included. */
static size_t count_open(const struct session *all)
{
    size_t open = 1;

    for (size_t i = all->done + 1; i < all->total; i++)
        open += !is_known(all, i);
    return open;
}

/* Have the operations of a prefill been tuned? A break-even of what will change soon is worth nothing,
 * and in a hurry there is no time to compile all of them. */
static bool parts_known(const struct session *all, const struct item *item)
{
    bool known = true;

    for (int op = 0; op < CLG_OPS && known; op++) {
        char name[CLG_TUNE_TEXT];

        known = clgaze_tuning_problem(all->ctx, (clgaze_op)op, item->problem, name, sizeof name) == CLGAZE_OK &&
                clg_tune_known(all->ctx, CLGAZE_TUNE_NEW, (clgaze_op)op, name);
    }
    return known;
}

/* From `start` on it may take half of what is left to come to the best of its neighbourhood, so that problems are
 * rather finished one by one than none; a quarter of its equal share to look further. */
static clgaze_status search_best(const struct session *all, struct subject *s, double start, double *building)
{
    const clgaze_context *ctx = s->ctx;
    const size_t open = count_open(all);
    const double left = all->start + all->options->budget - start;
    struct clg_search search = clg_subject_search(s);
    clgaze_status st = CLGAZE_OK;
    bool *seen = clg_alloc(ctx, (size_t)s->n * sizeof *seen);

    NEED(seen, CLGAZE_ERR_NO_MEMORY, "no memory for tuning");
    search.deadline = start + (open > 1 ? fmin(left, fmax(MOST_OF_ALL * left, FEW_BUILDS * *building)) : left);
    search.wander = start + WANDER_SHARE * left / (double)open;
    search.building = *building;
    NEED(clg_search_run(&search, seen), CLGAZE_ERR_OPENCL, "%s: what is used now does not run: %s", s->name,
         s->ear.reason);
    *building = search.building;
    TRY(keep(s, &search));
    NEED(!search.stopped, CLGAZE_ERR_CANCELLED, STOPPED);
out:
    clg_release(ctx, seen);
    return st;
}

static clgaze_status find_break_even(struct subject *s, double deadline)
{
    struct clg_search search = clg_subject_search(s);
    const clgaze_context *ctx = s->ctx;
    clgaze_status st = CLGAZE_OK;

    if (clg_journal_refuses(s->journal, s->name, clg_kernel_dense.name)) {
        clg_log(ctx, CLGAZE_LOG_WARN, CLGAZE_OK, "%s is skipped, because the process ended while it ran before",
                s->name);
        goto out;
    }
    TRY(clg_subject_begin(s));
    search.deadline = deadline;
    st = clg_dense_search(s, &search);
    NEED(st != CLGAZE_ERR_CANCELLED, st, STOPPED);
    TRY(st);
    TRY(keep(s, &search));
out:
    return st;
}

/* What opening a candidate may take: as long as the slowest, where nobody has opened one yet. */
static double *building_of(struct session *all, clgaze_op op)
{
    double *at = &all->building[op == CLGAZE_PREFILL ? CLGAZE_ATTEND : op], most = all->ctx->building;

    for (int i = 0; i < CLG_STAGES; i++)
        most = fmax(most, all->building[i]);
    *at = *at > 0 ? *at : most;
    return at;
}

static clgaze_status tune_one(struct session *all, const struct item *item)
{
    clgaze_context *ctx = all->ctx;
    const double now = clg_seconds(), end = all->start + all->options->budget, left = end - now;
    double *building = building_of(all, item->op);
    struct subject s;
    clgaze_status st = CLGAZE_OK;

    memset(&s, 0, sizeof s);
    s.ctx = ctx;
    s.options = all->options;
    s.op = item->op;
    s.problem = clg_tune_problem(item->op, item->problem);
    memcpy(s.name, item->name, sizeof s.name);
    s.journal = &all->journal;
    s.start = all->start;
    s.progress = (clgaze_tune_progress){.problem = s.name,
                                        .problems = all->total,
                                        .problems_done = all->done,
                                        .seconds = now - all->start,
                                        .budget = all->options->budget};
    if ((all->opened ? 2 : 1) * *building > left || is_known(all, all->done) ||
        (item->op == CLGAZE_PREFILL && !parts_known(all, item)))
        goto out;
    NEED(!s.options->progress || !s.options->progress(s.options->user, &s.progress), CLGAZE_ERR_CANCELLED, STOPPED);
    if (s.op == CLGAZE_PREFILL) {
        TRY(find_break_even(&s, end));
        goto out;
    }
    all->opened = true;
    TRY(clg_subject_open(&s));
    if (s.n == 0)
        goto out;
    *building = fmax(*building, clg_seconds() - now);
    TRY(search_best(all, &s, now, building));
out:
    all->done++;
    clg_subject_close(&s);
    return st;
}

/* One more to tune, unless one of its name is there. */
static clgaze_status add(struct session *all, clgaze_op op, const clgaze_problem *problem)
{
    struct item *item = &all->at[all->total];
    clgaze_status st = CLGAZE_OK;
    size_t same = 0;

    item->op = op;
    item->problem = problem;
    TRY(clgaze_tuning_problem(all->ctx, op, problem, item->name, sizeof item->name));
    while (strcmp(all->at[same].name, item->name) != 0)
        same++;
    all->total += same == all->total;
out:
    return st;
}

/* Prefill is its operations, and itself. */
static clgaze_status list(struct session *all, size_t n, const clgaze_request *requests)
{
    const clgaze_context *ctx = all->ctx;
    clgaze_status st = CLGAZE_OK;

    all->at = clg_alloc(ctx, (n * (CLG_OPS + 1) + 1) * sizeof *all->at);
    NEED(all->at, CLGAZE_ERR_NO_MEMORY, "no memory for a list of problems");
    for (size_t i = 0; i < n; i++) {
        NEED(requests[i].problem, CLGAZE_ERR_NULL, "requests[%zu].problem is NULL", i);
        for (int op = 0; op < CLG_OPS && requests[i].op == CLGAZE_PREFILL; op++)
            TRY(add(all, (clgaze_op)op, requests[i].problem));
        TRY(add(all, requests[i].op, requests[i].problem));
    }
out:
    return st;
}

clgaze_status clgaze_tune(clgaze_context *ctx, size_t n, const clgaze_request *requests,
                          const clgaze_tune_options *options)
{
    struct session all = {.ctx = ctx, .options = options, .start = clg_seconds()};
    clgaze_status st = CLGAZE_OK;

    if (!ctx)
        return CLGAZE_ERR_NULL;
    NEED(options && (requests || !n), CLGAZE_ERR_NULL, "%s is NULL", options ? "requests" : "options");
    NEED(options->budget > 0, CLGAZE_ERR_VALUE, "options.budget is %g; it must be more than 0 seconds",
         options->budget);
    TRY(list(&all, n, requests));
    clg_journal_open(ctx, &all.journal, options->journal);
    for (size_t i = 0; i < all.total; i++)
        TRY(tune_one(&all, &all.at[i]));
out:
    clg_release(ctx, all.at);
    clg_journal_close(&all.journal);
    return st;
}
