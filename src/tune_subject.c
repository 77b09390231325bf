/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune_subject.c: what it means to try a candidate: build it, compare it with ref/
 * on a small problem and with what is used now on the real one, time it.
 */
#include "tune_subject.h"

#include <string.h>
#include <time.h>

enum { MOST_REPEATS = 64 };
static const double WANTED_US = 3e3, SLICE_US = 2e4; /* of a sample; of a launch that stands for the class */

double clg_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- candidates ----------------------------------------------------------------- */

static bool is_mine(const struct subject *s, const struct clg_kernel *kernel)
{
    return strcmp(kernel->op, clg_op_name(s->op)) == 0;
}

/* Does a strategy that is made for CPUs fit? */
static bool cpu_fits(const struct subject *s)
{
    for (const struct clg_kernel *const *k = s->ctx->kernels; *k; k++) {
        int values[CLG_MAX_PARAMS] = {0};

        clg_space_default(*k, values);
        if ((*k)->cpu && is_mine(s, *k) && !clg_nearest(&s->ctx->device, *k, &s->problem, values))
            return true;
    }
    return false;
}

/* Every configuration of a strategy that fits. */
static void add_candidates(struct subject *s, const struct clg_kernel *kernel)
{
    for (int c = 0; c < clg_space_size(kernel); c++) {
        struct candidate *next = &s->at[s->n];

        memset(next->values, 0, sizeof next->values);
        clg_space_get(kernel, c, next->values);
        next->kernel = kernel;
        s->n += !kernel->fits || !kernel->fits(&s->ctx->device, &s->problem, next->values);
    }
}

static clgaze_status list_candidates(struct subject *s)
{
    const struct clg_kernel *const *k = s->ctx->kernels;
    clgaze_context *ctx = s->ctx;
    const bool cpu = cpu_fits(s);
    clgaze_status st = CLGAZE_OK;
    int room = 0;

    for (int i = 0; k[i]; i++)
        room += is_mine(s, k[i]) ? clg_space_size(k[i]) : 0;
    s->at = clg_alloc(ctx, (size_t)room * sizeof *s->at);
    NEED(s->at, CLGAZE_ERR_NO_MEMORY, "no memory for %d candidates", room);
    for (int i = 0; k[i]; i++)
        if (is_mine(s, k[i]) && (k[i]->cpu || !cpu))
            add_candidates(s, k[i]);
out:
    return st;
}

static void swap_first(struct subject *s, int i)
{
    const struct candidate first = s->at[0];

    s->at[0] = s->at[i];
    s->at[i] = first;
}

/* Make what a stage uses candidate 0, also if it is none of those worth a try: then there is room. */
static void put_first(struct subject *s, const struct clg_stage *stage)
{
    int i = 0;

    while (i < s->n && (s->at[i].kernel != stage->kernel ||
                        clg_space_distance(stage->kernel, s->at[i].values, stage->values) != 0))
        i++;
    if (i == s->n) {
        s->at[s->n].kernel = stage->kernel;
        memcpy(s->at[s->n++].values, stage->values, sizeof stage->values);
    }
    swap_first(s, i);
}

/* The default of another strategy is one step away, all else of it far. */
static int distance(void *user, int a, int b)
{
    const struct subject *s = user;
    const struct candidate *from = &s->at[a], *to = &s->at[b];
    int start[CLG_MAX_PARAMS] = {0};

    if (from->kernel == to->kernel)
        return clg_space_distance(from->kernel, from->values, to->values);
    clg_space_default(to->kernel, start);
    return 1 + 4 * clg_space_distance(to->kernel, start, to->values);
}

static bool refused(struct subject *s, int i)
{
    clg_candidate_name(&s->at[i], s->what);
    return clg_journal_refuses(s->journal, s->name, s->what);
}

/* Candidate 0 is what plans use now, or the nearest to it that has not ended the process;
 * s->n is 0 if there is none.  `forced`: it is not what plans use. */
static clgaze_status choose_first(struct subject *s, bool *forced)
{
    struct clg_stage now;
    clgaze_status st;
    int best = -1;

    memset(&now, 0, sizeof now);
    st = clg_choose(&s->ear.ctx, s->op, &s->problem, NULL, &now);
    if (st == CLGAZE_OK)
        put_first(s, &now);
    clg_stage_free(s->ctx, &now);
    *forced = st == CLGAZE_OK && refused(s, 0);
    if (!*forced)
        return st;
    clg_log(s->ctx, CLGAZE_LOG_WARN, CLGAZE_OK,
            "%s: %s, which plans use now, is skipped, because the process ended while it ran before", s->name,
            s->what);
    for (int i = 1; i < s->n; i++)
        if (!refused(s, i) && (best < 0 || distance(s, 0, i) < distance(s, 0, best)))
            best = i;
    if (best > 0)
        swap_first(s, best);
    else
        s->n = 0;
    return st;
}

void clg_candidate_name(const struct candidate *c, char text[CLG_TUNE_TEXT])
{
    struct clg_text out = {text, CLG_TUNE_TEXT, 0};

    clg_space_print(c->kernel, c->values, &out);
}

/* ---- one candidate: built, checked, timed -------------------------------------------- */

double clg_time_calls(const clgaze_plan *plan, clgaze_op op, const clgaze_tensors *t, cl_command_queue queue,
                      cl_mem workspace, int times)
{
    const clgaze_call call = {.queue = queue, .workspace = workspace};
    const double from = clg_seconds();

    for (int i = 0; i < times; i++)
        if (clgaze_run(plan, op, t, &call) != CLGAZE_OK)
            return -1;
    return clFinish(queue) == CL_SUCCESS ? 1e6 * (clg_seconds() - from) / times : -1;
}

static double run(const struct subject *s, const struct candidate *c, int times)
{
    return clg_time_calls(c->plan, s->op, &s->data.t, s->queue, s->workspace, times);
}

clgaze_status clg_subject_room(struct subject *s, const clgaze_plan *plan)
{
    const clgaze_context *ctx = &s->ear.ctx;
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

    s->progress.candidates_done++;
    if (refused(s, i)) {
        clg_log(s->ctx, CLGAZE_LOG_WARN, CLGAZE_OK,
                "%s: %s is skipped, because the process ended while it ran before", s->name, s->what);
        return false;
    }
    clg_journal_begin(s->journal, s->name, s->what);
    s->ear.reason[0] = '\0'; /* that of an earlier one */
    p.kernel = s->what;
    good = clgaze_plan_create(&s->ear.ctx, s->op, &p, &c->plan) == CLGAZE_OK &&
           clg_selftest(&s->ear.ctx, &s->problem, &c->plan->stage[s->op]) == CLGAZE_OK &&
           clg_subject_room(s, c->plan) == CLGAZE_OK && clg_tune_data_spoil(&s->data, s->queue) && run(s, c, 1) > 0 &&
           clg_tune_data_agrees(&s->data, s->queue);
    us = good ? run(s, c, 1) : -1; /* the first was to warm up */
    clg_journal_end(s->journal);
    if (!(us > 0)) {
        clg_log(s->ctx, CLGAZE_LOG_DEBUG, CLGAZE_OK, "%s: %s was refused: %s", s->name, s->what,
                s->ear.reason[0] ? s->ear.reason : "its results differ from those of what is used now");
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

static double clock_of(void *user)
{
    (void)user;
    return clg_seconds();
}

static bool stop(void *user)
{
    struct subject *s = user;

    s->progress.candidate = s->what;
    s->progress.seconds = clg_seconds() - s->start;
    return s->options->progress && s->options->progress(s->options->user, &s->progress);
}

/* ---- opening and closing ---------------------------------------------------- */

/* Plan candidate 0; make as many of the last query tokens as take it some milliseconds, and no more. */
static clgaze_status open_data(struct subject *s, bool forced)
{
    clgaze_context *ctx = &s->ear.ctx;
    clgaze_problem p = s->problem;
    int sq = s->problem.block_q; /* slow devices are that slow */
    clgaze_status st = CLGAZE_OK;
    clgaze_plan *plan = NULL;

    clg_candidate_name(&s->at[0], s->what);
    clg_journal_begin(s->journal, s->name, s->what);
    p.kernel = forced ? s->what : NULL;
    TRY(clgaze_plan_create(ctx, s->op, &p, &plan));
    put_first(s, &plan->stage[s->op]); /* a strategy that fails its proof has given way to the next */
    TRY(clg_subject_room(s, plan));
    for (;;) {
        struct candidate c = {.plan = plan};
        double us;

        sq = sq < s->problem.max_q ? sq : s->problem.max_q;
        TRY(clg_tune_data_open(&s->data, ctx, s->op, &s->problem, sq));
        us = run(s, &c, 1);
        us = us > 0 ? run(s, &c, 1) : us;
        NEED(us > 0, CLGAZE_ERR_OPENCL, "what is used now does not run: %s", s->ear.reason);
        if (us > SLICE_US / 4 || sq == s->problem.max_q)
            break;
        clg_tune_data_close(&s->data);
        sq *= 4;
    }
out:
    clg_journal_end(s->journal);
    clgaze_plan_free(plan);
    return st;
}

clgaze_status clg_subject_begin(struct subject *s)
{
    clgaze_context *ctx = s->ctx;
    clgaze_status st = CLGAZE_OK;
    cl_int err = CL_SUCCESS;

    clg_ear_open(&s->ear, ctx);
    s->ear.ctx.misses = NULL; /* plans made here are none of the caller's */
    s->data.ctx = ctx;
    s->queue = clCreateCommandQueue(ctx->cl, ctx->device.id, 0, &err);
    NEED(err == CL_SUCCESS, CLGAZE_ERR_OPENCL, "clCreateCommandQueue answered %d", (int)err);
out:
    return st;
}

clgaze_status clg_subject_open(struct subject *s)
{
    clgaze_context *ctx = s->ctx;
    clgaze_status st = CLGAZE_OK;
    bool forced;

    TRY(clg_subject_begin(s));
    TRY(list_candidates(s));
    st = choose_first(s, &forced);
    if (st == CLGAZE_OK && s->n)
        st = open_data(s, forced);
    NEED(st == CLGAZE_OK, st, "%s: %s", s->name, s->ear.reason);
    s->progress.candidates = (size_t)s->n;
out:
    return st;
}

void clg_subject_close(struct subject *s)
{
    clg_tune_data_close(&s->data);
    clg_release(s->ctx, s->at);
    if (s->workspace)
        clReleaseMemObject(s->workspace);
    if (s->queue)
        clReleaseCommandQueue(s->queue);
}

struct clg_search clg_subject_search(struct subject *s)
{
    return (struct clg_search){.n = s->n,
                               .cap = (int)s->options->max_candidates,
                               .user = s,
                               .clock = clock_of,
                               .open = open_candidate,
                               .measure = measure,
                               .close = close_candidate,
                               .distance = distance,
                               .stop = stop};
}
