/* SPDX-License-Identifier: Apache-2.0 */
/*
 * advise.c: which size of key blocks is quickest at equal density, --advise-block.
 *
 * Attend alone is timed, on lists that keep the same share of the visible blocks
 * for every size.  A gate is trained for its block size and another changes
 * answers, so this is said and never applied.
 */
#include "tune.h"

#include "fail.h"
#include "search.h"
#include "tune_data.h"
#include "tune_subject.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

enum { SIZES = 4, ROUNDS = 9, SHARE = 8 /* one block in so many is kept */ };
static const double LAUNCH_US = 5e3, SAMPLE_US = 3e3;

struct trial {
    clgaze_problem problem;
    char name[96];
    clgaze_plan *plan; /* NULL: it cannot run here */
    struct tune_data data;
    cl_mem workspace;
    int repeats;
    double density, sample[ROUNDS], us, spread;
};

/* ---- equal density ------------------------------------------------------------ */

/* Keep `keep` of `see` blocks, the last among them, ascending. */
static void choose(uint64_t *random, int see, int keep, int32_t *blocks)
{
    for (int j = 0, kept = 0; kept < keep; j++)
        if (j == see - 1 || (int)(clg_random(random) % (uint32_t)(see - 1 - j)) < keep - 1 - kept)
            blocks[kept++] = j;
}

/* Write lists over those that the data came with. */
static clgaze_status put_lists(struct trial *t, cl_command_queue queue)
{
    const clgaze_context *ctx = t->data.ctx;
    const int64_t *v = t->data.check.value;
    const size_t nq = (size_t)v[NQ], rows = (size_t)v[HL] * nq, width = (size_t)v[WIDTH];
    int32_t *counts = clg_alloc(ctx, rows * sizeof *counts);
    int32_t *blocks = clg_alloc(ctx, rows * width * sizeof *blocks);
    double kept = 0, visible = 0, owed = 0; /* a row that keeps one block too many is paid for by later ones */
    clgaze_status st = CLGAZE_OK;

    NEED(counts && blocks, CLGAZE_ERR_NO_MEMORY, "no memory for lists of blocks");
    memset(blocks, 0xff, rows * width * sizeof *blocks);
    for (size_t row = 0; row < rows; row++) {
        const int see = clg_tune_data_visible(&t->data, (int)(row % nq));

        owed += (double)see / SHARE;
        counts[row] = owed < 1.5 ? 1 : owed < see ? (int32_t)(owed + 0.5) : see;
        owed -= counts[row];
        choose(&t->data.random, see, counts[row], blocks + row * width);
        kept += counts[row];
        visible += see;
    }
    t->density = kept / visible;
    TRY_CL(clEnqueueWriteBuffer(queue, t->data.buffer[COUNTS], CL_TRUE, 0, rows * sizeof *counts, counts, 0, NULL,
                                NULL));
    TRY_CL(clEnqueueWriteBuffer(queue, t->data.buffer[BLOCKS], CL_TRUE, 0, rows * width * sizeof *blocks, blocks, 0,
                                NULL, NULL));
out:
    clg_release(ctx, counts);
    clg_release(ctx, blocks);
    return st;
}

/* ---- timing ------------------------------------------------------------------------ */

static double run(const struct trial *t, cl_command_queue queue, int times)
{
    return clg_time_calls(t->plan, CLGAZE_ATTEND, &t->data.t, queue, t->workspace, times);
}

/* The last `sq` query tokens; warmed up, and how often to repeat found. */
static clgaze_status open_data(struct trial *t, clgaze_context *ctx, cl_command_queue queue, int sq)
{
    clgaze_status st = CLGAZE_OK;
    double us;

    TRY(clg_tune_data_open(&t->data, ctx, CLGAZE_ATTEND, &t->problem, sq));
    TRY(put_lists(t, queue));
    us = run(t, queue, 1);
    us = us > 0 ? run(t, queue, 1) : us;
    NEED(us > 0, CLGAZE_ERR_OPENCL, "%s does not run", t->name);
    t->us = us;
    t->repeats = us > SAMPLE_US ? 1 : (int)(SAMPLE_US / us) + 1;
out:
    return st;
}

static clgaze_status open_trial(struct trial *t, clgaze_context *ctx, const clgaze_problem *p, int size)
{
    char reason[MAX_WHY];
    size_t bytes;
    clgaze_status st = CLGAZE_OK;
    cl_int err = CL_SUCCESS;

    t->data.ctx = ctx;
    t->problem = clg_tune_problem(CLGAZE_ATTEND, p);
    t->problem.block_k = size;
    TRY(clgaze_tuning_problem(ctx, CLGAZE_ATTEND, &t->problem, t->name, sizeof t->name));
    if (clgaze_supports(ctx, CLGAZE_ATTEND, &t->problem, reason, sizeof reason)) {
        fprintf(stderr, "clgaze-tune: %s is left out: %s\n", t->name, reason);
        goto out;
    }
    TRY(clgaze_plan_create(ctx, CLGAZE_ATTEND, &t->problem, &t->plan));
    bytes = clgaze_plan_workspace(t->plan);
    if (bytes)
        t->workspace = clCreateBuffer(ctx->cl, CL_MEM_READ_WRITE, bytes, NULL, &err);
    NEED(err == CL_SUCCESS, CLGAZE_ERR_OPENCL, "clCreateBuffer answered %d", (int)err);
out:
    return st;
}

static void close_trial(struct trial *t)
{
    clg_tune_data_close(&t->data);
    if (t->workspace)
        clReleaseMemObject(t->workspace);
    clgaze_plan_free(t->plan);
}

/* As many query tokens as make a launch of some milliseconds, the same for every size. */
static clgaze_status open_all(struct trial *trials, clgaze_context *ctx, cl_command_queue queue)
{
    const clgaze_problem *p = &trials[0].problem;
    int sq = 4 * p->block_q < p->max_q ? 4 * p->block_q : p->max_q;
    clgaze_status st = CLGAZE_OK;

    for (int i = 0; i < SIZES; i++) {
        struct trial *t = &trials[i];

        if (!t->plan)
            continue;
        TRY(open_data(t, ctx, queue, sq));
        if (t->us < LAUNCH_US && sq < p->max_q) { /* all anew */
            sq = 4 * sq < p->max_q ? 4 * sq : p->max_q;
            for (int j = 0; j <= i; j++)
                clg_tune_data_close(&trials[j].data);
            i = -1;
        }
    }
out:
    return st;
}

/* In turn, so that what changes with time changes for all. */
static clgaze_status measure(struct trial *trials, const clgaze_context *ctx, cl_command_queue queue)
{
    clgaze_status st = CLGAZE_OK;

    for (int k = 0; k < ROUNDS; k++)
        for (int i = 0; i < SIZES; i++) {
            struct trial *t = &trials[i];

            t->sample[k] = t->plan ? run(t, queue, t->repeats) : 1;
            NEED(t->sample[k] > 0, CLGAZE_ERR_OPENCL, "%s does not run", t->name);
        }
    for (int i = 0; i < SIZES; i++)
        trials[i].us = clg_median(trials[i].sample, ROUNDS, &trials[i].spread);
out:
    return st;
}

/* ---- what came of it --------------------------------------------------------------------- */

static const struct trial *quickest(const struct trial *trials)
{
    const struct trial *best = NULL;

    for (int i = 0; i < SIZES; i++)
        if (trials[i].plan && (!best || trials[i].us < best->us))
            best = &trials[i];
    return best;
}

static void print(const struct trial *trials)
{
    const struct trial *best = quickest(trials);

    printf("%-30s %8s %10s %7s  %s\n", "problem", "density", "us", "spread", "kernel");
    for (int i = 0; i < SIZES; i++)
        if (trials[i].plan)
            printf("%-30s %8.3f %10.1f %6.1f%%  %s\n", trials[i].name, trials[i].density, trials[i].us,
                   100 * trials[i].spread, clgaze_plan_kernel(trials[i].plan, CLGAZE_ATTEND));
    if (best)
        printf(
            "key blocks of %d are quickest in attend. Nothing is changed: a gate is trained for its block size, and "
            "the cost of scoring grows as blocks shrink\n",
            (int)best->problem.block_k);
}

static void fill(const struct trial *trials, cJSON *advice)
{
    const struct trial *best = quickest(trials);
    cJSON *one = cJSON_CreateObject(), *blocks = cJSON_AddArrayToObject(one, "blocks");

    for (int i = 0; i < SIZES; i++) {
        cJSON *block = trials[i].plan ? cJSON_CreateObject() : NULL;

        if (!block)
            continue;
        cJSON_AddStringToObject(block, "problem", trials[i].name);
        cJSON_AddNumberToObject(block, "block_k", trials[i].problem.block_k);
        cJSON_AddNumberToObject(block, "density", trials[i].density);
        cJSON_AddNumberToObject(block, "us", trials[i].us);
        cJSON_AddNumberToObject(block, "spread", trials[i].spread);
        cJSON_AddStringToObject(block, "kernel", clgaze_plan_kernel(trials[i].plan, CLGAZE_ATTEND));
        cJSON_AddItemToArray(blocks, block);
    }
    if (best)
        cJSON_AddNumberToObject(one, "quickest", best->problem.block_k);
    cJSON_AddItemToArray(advice, one);
}

static clgaze_status advise(clgaze_context *ctx, const clgaze_problem *p, cJSON *advice)
{
    static const int sizes[SIZES] = {16, 32, 64, 128};
    static struct trial trials[SIZES];
    cl_int err = CL_SUCCESS;
    cl_command_queue queue = clCreateCommandQueue(ctx->cl, ctx->device.id, 0, &err);
    clgaze_status st = CLGAZE_OK;

    memset(trials, 0, sizeof trials);
    NEED(err == CL_SUCCESS, CLGAZE_ERR_OPENCL, "clCreateCommandQueue answered %d", (int)err);
    for (int i = 0; i < SIZES; i++)
        TRY(open_trial(&trials[i], ctx, p, sizes[i]));
    TRY(open_all(trials, ctx, queue));
    TRY(measure(trials, ctx, queue));
    if (advice)
        fill(trials, advice);
    else
        print(trials);
out:
    for (int i = 0; i < SIZES; i++)
        close_trial(&trials[i]);
    if (queue)
        clReleaseCommandQueue(queue);
    return st;
}

int tune_advise(clgaze_context *context, const struct tune_problems *problems, int most, cJSON *into)
{
    cJSON *advice = into ? cJSON_AddArrayToObject(into, "advice") : NULL;
    clgaze_status st = CLGAZE_OK;
    int n = 0;

    for (int i = 0; i < problems->n && !st && n < most; i++)
        if (problems->at[i].op == CLGAZE_ATTEND) {
            st = advise(context, &problems->at[i].problem, advice);
            n++;
        }
    if (n == 0)
        return fail(EXIT_INPUT, "--advise-block is about attend, which no --problem names");
    return st ? fail_library(st) : 0;
}
