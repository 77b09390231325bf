/*
 * tune.c: clgaze_tune(): the candidates of a problem, built, checked and timed.
 *
 * search.c decides what to try; here is what trying means.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "journal.h"
#include "records.h"
#include "search.h"
#include "tune_data.h"

enum { MOST_REPEATS = 64, DESCRIBED = 96 };
static const double WANTED_US = 3e3, SLICE_US = 2e4; /* of a sample; of a launch that stands for the class */

struct candidate {
    const struct clg_kernel *kernel;
    int values[CLG_MAX_PARAMS];
    clgaze_plan *plan;
    int repeats;
};

/* One problem being tuned. */
struct subject {
    clgaze_context *ctx;
    struct clg_ear *ear; /* candidates that fail are news, not errors */
    const clgaze_tune_options *options;
    clgaze_tune_progress progress;
    clgaze_op op;
    clgaze_problem problem;
    char name[DESCRIBED], what[DESCRIBED];
    struct candidate *at;
    int n;
    struct tune_data data;
    cl_command_queue queue;
    cl_mem workspace;
    struct clg_journal *journal;
    double start;
};

static double seconds(void)
{
    struct timespec t;

    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

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
    struct clg_text out = {text, capacity, 0};
    clgaze_status st = CLGAZE_OK;

    if (!ctx)
        return CLGAZE_ERR_NULL;
    NEED(problem && text, CLGAZE_ERR_NULL, "%s is NULL", problem ? "text" : "problem");
    NEED(op >= CLGAZE_POOL && op <= CLGAZE_ATTEND, CLGAZE_ERR_VALUE,
         "op is %d; what is tuned are the operations of a prefill one by one", (int)op);
    TRY(clg_problem_check(ctx, op, problem));
    for (int i = 0; clg_kernels[i]; i++)
        if (strcmp(clg_kernels[i]->op, clg_op_name(op)) == 0) {
            clg_put(&out, "%s ", clg_op_name(op));
            clg_problem_key(clg_kernels[i], problem, &out);
            break;
        }
out:
    return st;
}

/* ---- candidates ----------------------------------------------------------------- */

static const char *misfit(const struct subject *s, const struct clg_kernel *kernel, const int *values)
{
    return kernel->fits ? kernel->fits(&s->ctx->device, &s->problem, values) : NULL;
}

/* Every configuration of every strategy that fits; first what plans use now. */
static clgaze_status list_candidates(struct subject *s)
{
    clgaze_context *ctx = s->ctx;
    struct clg_stage now;
    clgaze_status st = CLGAZE_OK;
    int room = 1;

    memset(&now, 0, sizeof now);
    TRY(clg_choose(&s->ear->ctx, s->op, &s->problem, NULL, &now));
    for (int i = 0; ctx->kernels[i]; i++)
        if (strcmp(ctx->kernels[i]->op, clg_op_name(s->op)) == 0)
            room += clg_space_size(ctx->kernels[i]);
    s->at = clg_alloc(ctx, (size_t)room * sizeof *s->at);
    NEED(s->at, CLGAZE_ERR_NO_MEMORY, "no memory for %d candidates", room);
    s->at[0].kernel = now.kernel;
    memcpy(s->at[0].values, now.values, sizeof now.values);
    s->n = 1;
    for (int i = 0; ctx->kernels[i]; i++) {
        const struct clg_kernel *kernel = ctx->kernels[i];

        for (int c = 0; strcmp(kernel->op, clg_op_name(s->op)) == 0 && c < clg_space_size(kernel); c++) {
            struct candidate *next = &s->at[s->n];

            memset(next->values, 0, sizeof next->values);
            clg_space_get(kernel, c, next->values);
            next->kernel = kernel;
            if (!misfit(s, kernel, next->values) &&
                (kernel != now.kernel || clg_space_distance(kernel, now.values, next->values) > 0))
                s->n++;
        }
    }
out:
    clg_stage_free(ctx, &now);
    return st;
}

static void describe(const struct candidate *c, char *text)
{
    struct clg_text out = {text, DESCRIBED, 0};

    clg_space_print(c->kernel, c->values, &out);
}

/* ---- one candidate: built, checked, timed -------------------------------------------- */

/* Enqueue a candidate some times and wait: microseconds each; negative: it failed. */
static double run(struct subject *s, const struct candidate *c, int times)
{
    const clgaze_call call = {.queue = s->queue, .workspace = s->workspace};
    const double from = seconds();

    for (int i = 0; i < times; i++)
        if (clgaze_run(c->plan, s->op, &s->data.t, &call) != CLGAZE_OK)
            return -1;
    if (clFinish(s->queue) != CL_SUCCESS)
        return -1;
    return 1e6 * (seconds() - from) / times;
}

static clgaze_status make_room(struct subject *s, const clgaze_plan *plan)
{
    const clgaze_context *ctx = &s->ear->ctx;
    const size_t bytes = clgaze_plan_workspace(plan);
    clgaze_status st = CLGAZE_OK;
    size_t have = 0;
    cl_int err = CL_SUCCESS;

    if (s->workspace)
        TRY_CL(clGetMemObjectInfo(s->workspace, CL_MEM_SIZE, sizeof have, &have, NULL));
    if (have >= bytes)
        goto out;
    if (s->workspace)
        clReleaseMemObject(s->workspace);
    s->workspace = clCreateBuffer(ctx->cl, CL_MEM_READ_WRITE, bytes, NULL, &err);
    NEED(err == CL_SUCCESS, CLGAZE_ERR_OPENCL, "clCreateBuffer answered %d for tuning", (int)err);
out:
    return st;
}

static void close_candidate(void *user, int i)
{
    struct subject *s = user;

    clgaze_plan_free(s->at[i].plan);
    s->at[i].plan = NULL;
}

/* Build it, compare it with ref/ on a small problem and with candidate 0 at the end of the real one. */
static bool open_candidate(void *user, int i)
{
    struct subject *s = user;
    struct candidate *c = &s->at[i];
    clgaze_problem p = s->problem;
    double us;
    bool good;

    describe(c, s->what);
    s->progress.candidates_done++;
    if (clg_journal_refuses(s->journal, s->name, s->what)) {
        clg_log(s->ctx, CLGAZE_LOG_WARN, CLGAZE_OK,
                "%s: %s is skipped, because the process ended while it ran before", s->name, s->what);
        return false;
    }
    clg_journal_begin(s->journal, s->name, s->what);
    p.kernel = s->what;
    good = clgaze_plan_create(&s->ear->ctx, s->op, &p, &c->plan) == CLGAZE_OK &&
           clg_selftest(&s->ear->ctx, &s->problem, &c->plan->stage[s->op]) == CLGAZE_OK &&
           make_room(s, c->plan) == CLGAZE_OK && run(s, c, 1) > 0 && clg_tune_data_agrees(&s->data, s->queue);
    us = good ? run(s, c, 1) : -1; /* the first was to warm up */
    clg_journal_end(s->journal);
    if (!(us > 0)) {
        clg_log(s->ctx, CLGAZE_LOG_DEBUG, CLGAZE_OK, "%s: %s was refused: %s", s->name, s->what,
                s->ear->reason[0] ? s->ear->reason : "its results differ from those of what is used now");
        close_candidate(s, i);
        return false;
    }
    c->repeats = us > WANTED_US ? 1 : (int)(WANTED_US / us) + 1;
    c->repeats = c->repeats > MOST_REPEATS ? MOST_REPEATS : c->repeats;
    return true;
}

static double measure(void *user, int i)
{
    struct subject *s = user;

    return run(s, &s->at[i], s->at[i].repeats);
}

/* Another strategy is far, its default configuration the nearest of it. */
static int distance(void *user, int a, int b)
{
    const struct subject *s = user;
    const struct candidate *from = &s->at[a], *to = &s->at[b];
    int start[CLG_MAX_PARAMS] = {0};

    if (from->kernel == to->kernel)
        return clg_space_distance(from->kernel, from->values, to->values);
    clg_space_default(to->kernel, start);
    return 2 + 4 * clg_space_distance(to->kernel, start, to->values);
}

static double clock_of(void *user)
{
    (void)user;
    return seconds();
}

static bool stop(void *user)
{
    struct subject *s = user;

    s->progress.candidate = s->what;
    s->progress.seconds = seconds() - s->start;
    return s->options->progress && s->options->progress(s->options->user, &s->progress);
}

/* ---- one problem -------------------------------------------------------------------- */

/* As many of the last query tokens as make a launch of some milliseconds, and no more. */
static clgaze_status open_data(struct subject *s)
{
    clgaze_context *ctx = &s->ear->ctx;
    int sq = s->problem.block_q * 4;
    clgaze_status st = CLGAZE_OK;
    clgaze_plan *plan = NULL;

    TRY(clgaze_plan_create(ctx, s->op, &s->problem, &plan));
    TRY(make_room(s, plan));
    for (;;) {
        struct candidate c = {.plan = plan};
        double us;

        sq = sq < s->problem.max_q ? sq : s->problem.max_q;
        TRY(clg_tune_data_open(&s->data, ctx, s->op, &s->problem, sq));
        us = run(s, &c, 1);
        us = us > 0 ? run(s, &c, 1) : us;
        NEED(us > 0, CLGAZE_ERR_OPENCL, "%s: what is used now does not run: %s", s->name, s->ear->reason);
        if (us > SLICE_US / 4 || sq == s->problem.max_q)
            break;
        clg_tune_data_close(&s->data);
        sq *= 4;
    }
out:
    clgaze_plan_free(plan);
    return st;
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
    record.origin = CLG_FROM_TUNER;
    snprintf(result.problem, sizeof result.problem, "%s", s->name);
    describe(&s->at[0], result.before);
    describe(best, result.best);
    result.before_us = found->first_time;
    result.best_us = found->best_time;
    result.noise = found->noise;
    result.tried = found->tried;
    result.refused = found->refused;
    result.finished = found->finished;
    TRY(clg_records_put(s->ctx, s->ctx->records, &record));
    if (s->options->found)
        s->options->found(s->options->user, &result);
out:
    return st;
}

static clgaze_status search_best(struct subject *s, double deadline)
{
    clgaze_context *ctx = s->ctx;
    struct clg_search search = {.cap = (int)s->options->max_candidates,
                                .deadline = deadline,
                                .user = s,
                                .clock = clock_of,
                                .open = open_candidate,
                                .measure = measure,
                                .close = close_candidate,
                                .distance = distance,
                                .stop = stop};
    clgaze_status st = CLGAZE_OK;
    bool *seen = NULL;

    TRY(open_data(s));
    TRY(list_candidates(s));
    seen = clg_alloc(ctx, (size_t)s->n * sizeof *seen);
    NEED(seen, CLGAZE_ERR_NO_MEMORY, "no memory for tuning");
    search.n = s->n;
    s->progress.candidates = (size_t)s->n;
    NEED(clg_search_run(&search, seen), CLGAZE_ERR_OPENCL, "%s: what is used now does not run: %s", s->name,
         s->ear->reason);
    TRY(keep(s, &search));
    NEED(!search.stopped, CLGAZE_ERR_CANCELLED, "tuning was stopped by the caller; what was found is kept");
out:
    clg_release(ctx, seen);
    return st;
}

static void close_subject(struct subject *s)
{
    clg_tune_data_close(&s->data);
    clg_release(s->ctx, s->at);
    if (s->workspace)
        clReleaseMemObject(s->workspace);
    if (s->queue)
        clReleaseCommandQueue(s->queue);
}

/* ---- all problems --------------------------------------------------------------------- */

struct session {
    clgaze_context *ctx;
    const clgaze_tune_options *options;
    struct clg_journal journal;
    double start;
    size_t total, done;
};

static clgaze_status tune_one(struct session *all, clgaze_op op, const clgaze_problem *problem)
{
    clgaze_context *ctx = all->ctx;
    const double now = seconds(), end = all->start + all->options->budget;
    struct clg_record known;
    struct clg_ear ear;
    struct subject s;
    clgaze_status st = CLGAZE_OK;
    cl_int err = CL_SUCCESS;

    memset(&s, 0, sizeof s);
    s.ctx = ctx;
    s.ear = &ear;
    s.options = all->options;
    s.op = op;
    s.problem = clg_tune_problem(op, problem);
    s.journal = &all->journal;
    s.start = all->start;
    s.progress = (clgaze_tune_progress){.problem = s.name,
                                        .problems = all->total,
                                        .problems_done = all->done,
                                        .seconds = now - all->start,
                                        .budget = all->options->budget};
    clg_ear_open(&ear, ctx);
    s.data.ctx = ctx;
    TRY(clgaze_tuning_problem(ctx, op, problem, s.name, sizeof s.name));
    if (now >= end ||
        (!all->options->again &&
         clg_records_find(ctx->records, &ctx->device, clg_op_name(op), strchr(s.name, ' ') + 1, 0, &known) &&
         known.finished))
        goto out;
    s.queue = clCreateCommandQueue(ctx->cl, ctx->device.id, 0, &err);
    NEED(err == CL_SUCCESS, CLGAZE_ERR_OPENCL, "clCreateCommandQueue answered %d", (int)err);
    TRY(search_best(&s, now + (end - now) / (double)(all->total - all->done)));
out:
    all->done++;
    close_subject(&s);
    return st;
}

static bool holds(clgaze_op plan, int op)
{
    return plan == CLGAZE_PREFILL || (int)plan == op;
}

clgaze_status clgaze_tune(clgaze_context *ctx, size_t n, const clgaze_request *requests,
                          const clgaze_tune_options *options)
{
    struct session all = {.ctx = ctx, .options = options, .start = seconds()};
    clgaze_status st = CLGAZE_OK;

    if (!ctx)
        return CLGAZE_ERR_NULL;
    NEED(options && (requests || !n), CLGAZE_ERR_NULL, "%s is NULL", options ? "requests" : "options");
    NEED(options->budget > 0, CLGAZE_ERR_VALUE, "options.budget is %g; it must be more than 0 seconds",
         options->budget);
    clg_journal_open(ctx, &all.journal, options->journal);
    for (size_t i = 0; i < n; i++) {
        NEED(requests[i].problem, CLGAZE_ERR_NULL, "requests[%zu].problem is NULL", i);
        all.total += requests[i].op == CLGAZE_PREFILL ? CLG_OPS : 1;
    }
    for (size_t i = 0; i < n; i++)
        for (int op = 0; op < CLG_OPS; op++)
            if (holds(requests[i].op, op))
                TRY(tune_one(&all, (clgaze_op)op, requests[i].problem));
out:
    clg_journal_close(&all.journal);
    return st;
}
