/* SPDX-License-Identifier: Apache-2.0 */
/*
 * truth_nv.c: launcher of cl/truth_nv.cl, the walk of attend_nv with the block map,
 * on NVIDIA's matrix units: once by mma.sync and once by wgmma.
 */
#include <string.h>

#include "attend_nv.h"

static const struct clg_param space[] = {
    {"STAGES", 1, {1, 2, 3, 4}}, /* places for tiles of K, and of V */
    {NULL, 0, {0}},
};
enum { STAGES };

enum { ROWS = 64, PER_UNIT = 8 }; /* query rows a work-group; work-groups at a time for each compute unit */

static void define(const clgaze_problem *p, const int *values, struct clg_text *text)
{
    const clgaze_problem d = clg_attend_dense(p);

    clg_attend_nv_define(&d, values, text);
    clg_define(text, "ROWS", 1);
    clg_define(text, "HEADS", 1);
    clg_define(text, "TRUTH", 1);
}

static const char *fits(const struct clg_device *device, const clgaze_problem *p, const int *values, bool wgmma)
{
    const clgaze_problem d = clg_attend_dense(p);
    const int as_attend[] = {values[STAGES], 1, 1};

    if (p->block_q > ROWS)
        return "block_q must be at most 64";
    if (p->block_k % 64 != 0)
        return "block_k must be a multiple of 64";
    return clg_attend_nv_fits(device, &d, as_attend, wgmma);
}

static const char *fits_mma(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    return fits(device, p, values, false);
}

static const char *fits_wgmma(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    return fits(device, p, values, true);
}

/* Work-groups that there is room for, and tiles of keys that one may walk. */
static size_t most_groups(const clgaze_context *ctx)
{
    return ctx->device.compute_units * PER_UNIT;
}

static int64_t most_tiles(const clgaze_problem *p)
{
    return ((int64_t)clg_max_cols(p) * p->block_k + 63) / 64;
}

/* Room for the greatest scores of each group's rows. */
static clgaze_status prepare(clgaze_context *ctx, const clgaze_problem *p, struct clg_stage *stage)
{
    stage->workspace = most_groups(ctx) * (size_t)most_tiles(p) * ROWS * sizeof(float);
    return CLGAZE_OK;
}

/* Heads whose rows a launch takes, all of them where there is room: the longest rows of each come first, and the
 * short ones fill the end. */
static size_t heads_together(size_t heads, size_t across, size_t most)
{
    const size_t whole = most / across, n = whole < heads ? whole : heads;

    return n ? n : 1;
}

static clgaze_status launch(struct clg_run *run)
{
    const clgaze_problem *p = run->p, d = clg_attend_dense(p);
    const struct clg_sizes *n = &run->n;
    const int64_t shape[3] = {n->batch, p->q_heads, n->sq};
    const cl_int with_out = run->t.out.buffer != NULL, across = n->rows_seq ? n->rows_seq : 1;
    const cl_int cols = n->cols, map_k = p->block_k;
    const cl_int room_tiles = (cl_int)most_tiles(p);
    const size_t most = most_groups(run->plan->ctx), local[3] = {128, 1, 1};
    const size_t heads = (size_t)p->q_heads * (size_t)n->sequences;
    const size_t together = heads_together(heads, (size_t)across, most);
    const size_t works = (heads + together - 1) / together * together * (size_t)across;
    const clgaze_tensor room = clg_scratch(run, CLG_AT_STAGE, 0, CLGAZE_F32, 1, (int64_t[]){1});
    const cl_ulong truth_at = run->t.truth.offset, room_at = room.offset;
    clgaze_status st = CLGAZE_OK;
    struct clg_attend_args args;
    double macs; /* a work-group's */
    cl_int from = 0, side = (cl_int)together;

    if (!run->t.lse.buffer)
        run->t.lse = clg_scratch(run, CLG_AT_LSE, 0, CLGAZE_F32, 3, shape);
    if (!run->t.v.buffer)
        run->t.v = run->t.k; /* read, and no output is made of it */
    run->p = &d;
    clg_attend_args(run, p->block_q, 64, &args);
    macs = 2 * clg_attention_macs(run) / (double)(works ? works : 1);
    {
        const struct clg_arg more[] = {CLG_ARG(with_out), CLG_ARG(run->t.truth.buffer),
                                       CLG_ARG(truth_at), CLG_ARG(room.buffer),
                                       CLG_ARG(room_at),  CLG_ARG(room_tiles),
                                       CLG_ARG(from),     CLG_ARG(across),
                                       CLG_ARG(side),     CLG_ARG(cols),
                                       CLG_ARG(map_k)};

        memcpy(args.list + CLG_ATTEND_ARGS, more, sizeof more);
        do {
            const size_t left = works - (size_t)from, groups[3] = {left < most ? left : most, 1, 1};

            TRY(clg_enqueue_long(run, 0, groups, local, args.list, CLG_ATTEND_ARGS + (int)CLG_COUNT(more),
                                 macs * (double)groups[0]));
            from += (cl_int)groups[0];
        } while ((size_t)from < works);
    }
out:
    run->p = p;
    return st;
}

#define RECORD(kind, how)                                                                                            \
    const struct clg_kernel clg_kernel_truth_nv_##kind = {                                                           \
        .op = "truth",                                                                                               \
        .name = "truth_nv_" #kind,                                                                                   \
        .space = space,                                                                                              \
        .sources = (const char *const[]){"common.cl", "nv.cl", "nv_tile.cl", "nv_" #kind ".cl", "nv_walk.cl",        \
                                         "meet.cl", "truth_nv.cl", "attend_nv.cl", NULL},                            \
        .entries = (const char *const[]){"attend_nv", NULL},                                                         \
        .options = "-cl-fast-relaxed-math -cl-nv-verbose",                                                           \
        .rework = how,                                                                                               \
        .prove = true,                                                                                               \
        .key = clg_attend_key,                                                                                       \
        .define = define,                                                                                            \
        .fits = fits_##kind,                                                                                         \
        .prepare = prepare,                                                                                          \
        .launch = launch,                                                                                            \
    }
RECORD(wgmma, clg_ptx_rework);
RECORD(mma, NULL);
