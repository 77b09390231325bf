/* SPDX-License-Identifier: Apache-2.0 */
/*
 * truth_nv.c: launcher of cl/truth_nv.cl, the walk of attend_nv with the block map,
 * on NVIDIA's matrix units: once by mma.sync and once by wgmma.
 */
#include <string.h>

#include "attend_nv.h"

static const struct clg_param space[] = {
    {"STAGES", 2, {1, 2, 3, 4}}, /* places for tiles of K, and of V */
    {NULL, 0, {0}},
};
enum { STAGES };

enum { ROWS = 64, PER_UNIT = 4 }; /* query rows a work-group; places for what it keeps for each compute unit */
enum { ATTEND, BEGIN };           /* the entries */

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

/* Places in the room. */
static int most_places(const clgaze_context *ctx)
{
    return (int)ctx->device.compute_units * PER_UNIT;
}

int64_t clg_truth_nv_tiles(const clgaze_problem *p)
{
    return ((int64_t)clg_max_cols(p) * p->block_k + 63) / 64;
}

void clg_truth_nv_fill(struct clg_run *run)
{
    const int64_t shape[3] = {run->n.batch, run->p->q_heads, run->n.sq};

    if (!run->t.lse.buffer)
        run->t.lse = clg_scratch(run, CLG_AT_LSE, 0, CLGAZE_F32, 3, shape);
    if (!run->t.v.buffer)
        run->t.v = run->t.k; /* read, and no output is made of it */
}

/* Bytes before the room: two numbers and one a place. */
static size_t before_room(const clgaze_context *ctx)
{
    return ((2 + (size_t)most_places(ctx)) * sizeof(cl_int) + 255) / 256 * 256;
}

/* Room for the greatest scores of the rows of as many groups as there are places. */
static clgaze_status prepare(clgaze_context *ctx, const clgaze_problem *p, struct clg_stage *stage)
{
    stage->workspace =
        before_room(ctx) + (size_t)most_places(ctx) * (size_t)clg_truth_nv_tiles(p) * ROWS * sizeof(float);
    return CLGAZE_OK;
}

static clgaze_status launch(struct clg_run *run)
{
    const clgaze_problem *p = run->p, d = clg_attend_dense(p);
    const struct clg_sizes *n = &run->n;
    const int64_t one[1] = {1};
    const cl_int with_out = run->t.out.buffer != NULL, across = n->rows_seq ? n->rows_seq : 1;
    const cl_int cols = n->cols, map_k = p->block_k;
    const cl_int places = run->warming ? 0 : most_places(run->plan->ctx), room_tiles = (cl_int)clg_truth_nv_tiles(p);
    const size_t groups[3] = {(size_t)n->rows_seq * (size_t)p->q_heads * (size_t)n->sequences, 1, 1};
    const size_t begin_groups[3] = {((size_t)places + 63) / 64, 1, 1};
    const size_t local[3] = {128, 1, 1}, begin_local[3] = {64, 1, 1};
    const clgaze_tensor spare = clg_scratch(run, CLG_AT_STAGE, 0, CLGAZE_I32, 1, one);
    const clgaze_tensor room = clg_scratch(run, CLG_AT_STAGE, before_room(run->plan->ctx), CLGAZE_F32, 1, one);
    const cl_ulong truth_at = run->t.truth.offset, spare_at = spare.offset, room_at = room.offset;
    const struct clg_arg begin[] = {CLG_ARG(spare.buffer), CLG_ARG(spare_at), CLG_ARG(places)};
    const struct clg_arg more[] = {CLG_ARG(with_out),     CLG_ARG(run->t.truth.buffer),
                                   CLG_ARG(truth_at),     CLG_ARG(room.buffer),
                                   CLG_ARG(room_at),      CLG_ARG(room_tiles),
                                   CLG_ARG(spare.buffer), CLG_ARG(spare_at),
                                   CLG_ARG(places),       CLG_ARG(across),
                                   CLG_ARG(cols),         CLG_ARG(map_k)};
    clgaze_status st = CLGAZE_OK;
    struct clg_attend_args args;

    clg_truth_nv_fill(run);
    run->p = &d;
    clg_attend_args(run, p->block_q, 64, &args);
    memcpy(args.list + CLG_ATTEND_ARGS, more, sizeof more);
    TRY(clg_enqueue(run, BEGIN, begin_groups, begin_local, begin, CLG_COUNT(begin)));
    TRY(clg_enqueue_long(run, ATTEND, groups, local, args.list, CLG_ATTEND_ARGS + (int)CLG_COUNT(more),
                         2 * clg_attention_macs(run)));
out:
    run->p = p;
    return st;
}

#define RECORD(kind, tile, how)                                                                                      \
    const struct clg_kernel clg_kernel_truth_nv_##kind = {                                                           \
        .op = "truth",                                                                                               \
        .name = "truth_nv_" #kind,                                                                                   \
        .space = space,                                                                                              \
        .sources = (const char *const[]){"common.cl", "nv.cl", "nv_tile.cl", tile, "nv_walk.cl", "nv_rows.cl",       \
                                         "nv_tops.cl", "truth_nv.cl", "attend_nv.cl", NULL},                         \
        .entries = (const char *const[]){"attend_nv", "truth_begin", NULL},                                          \
        .options = "-cl-fast-relaxed-math -cl-nv-verbose",                                                           \
        .rework = (how),                                                                                             \
        .prove = true,                                                                                               \
        .key = clg_attend_key,                                                                                       \
        .define = define,                                                                                            \
        .fits = fits_##kind,                                                                                         \
        .prepare = prepare,                                                                                          \
        .launch = launch,                                                                                            \
    }
RECORD(wgmma, "nv_wgmma.cl", clg_ptx_rework);
RECORD(mma, "nv_mma.cl", NULL);
