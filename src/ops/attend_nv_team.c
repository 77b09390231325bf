/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attend_nv_team.c: launcher of cl/attend_nv_team.cl, attention of two warp groups
 * that share their keys, on Hopper's matrix units.
 */
#include <string.h>

#include "attend_nv.h"

static const struct clg_param space[] = {
    {"STAGES", 4, {3, 4, 5, 6}}, /* places for tiles of K, and of V            */
    {"HEADS", 1, {1, 2}},        /* 2 heads with one list, or 2 tiles of 64 rows */
    {NULL, 0, {0}},
};
enum { STAGES, HEADS };
enum { ATTEND, RESET }; /* the entries */

enum { GROUPS = 2, LOADERS = 128 }; /* warp groups that compute; work-items that copy tiles for them */

void clg_attend_team_define(const clgaze_problem *p, const int *values, struct clg_text *text)
{
    clg_attend_nv_define(p, values, text);
    clg_define(text, "ROWS", GROUPS / values[HEADS]);
    clg_define(text, "LOADERS", LOADERS);
}

const char *clg_attend_team_fits(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    const int as_attend[] = {values[STAGES], GROUPS / values[HEADS], values[HEADS]};

    if (p->head_dim <= 64 || p->head_dim > 128) /* of 64 it is no quicker */
        return "head_dim must be above 64, at most 128";
    return clg_attend_nv_fits(device, p, as_attend, true);
}

int clg_attend_team_groups(const clgaze_context *ctx)
{
    return (int)ctx->device.compute_units;
}

/* Room for the counter. */
static clgaze_status prepare(clgaze_context *ctx, const clgaze_problem *p, struct clg_stage *stage)
{
    (void)ctx;
    (void)p;
    stage->workspace = CLG_TEAM_COUNTER;
    return CLGAZE_OK;
}

/* As many teams as compute units, in each launch. */
clgaze_status clg_attend_team_enqueue(struct clg_run *run, int heads_each, const struct clg_arg *more, int n_more)
{
    const clgaze_problem *p = run->p;
    const struct clg_sizes *n = &run->n;
    const int tall = GROUPS / heads_each * 64, block_q = clg_attend_block(p, p->block_q, tall);
    const cl_int across = (cl_int)clg_attend_tiles(n->longest_q, block_q, tall), heads = p->q_heads / heads_each;
    const cl_int works = run->warming ? 0 : across * heads * n->sequences;
    const double macs = 2 * clg_attention_macs(run);
    const double most = clg_launches(&run->plan->ctx->device, macs) * clg_attend_team_groups(run->plan->ctx);
    const cl_int teams = most < works ? (cl_int)most : works > 0 ? works : 1;
    const size_t one[3] = {1, 1, 1}, groups[3] = {(size_t)teams, 1, 1}, local[3] = {GROUPS * 128 + LOADERS, 1, 1};
    const int64_t shape[1] = {1};
    const clgaze_tensor counter = clg_scratch(run, CLG_AT_STAGE, 0, CLGAZE_I32, 1, shape);
    const cl_ulong counter_at = counter.offset;
    const struct clg_arg reset[] = {CLG_ARG(counter.buffer), CLG_ARG(counter_at), CLG_ARG(works)};
    const struct clg_arg own[] = {CLG_ARG(across), CLG_ARG(heads),          CLG_ARG(works),
                                  CLG_ARG(teams),  CLG_ARG(counter.buffer), CLG_ARG(counter_at)};
    clgaze_status st = CLGAZE_OK;
    struct clg_attend_args args;

    clg_attend_args(run, block_q, clg_attend_block(p, p->block_k, 64), &args);
    memcpy(args.list + CLG_ATTEND_ARGS, own, sizeof own);
    if (n_more > 0)
        memcpy(args.list + CLG_ATTEND_ARGS + CLG_COUNT(own), more, (size_t)n_more * sizeof *more);
    TRY(clg_enqueue(run, RESET, one, one, reset, CLG_COUNT(reset)));
    TRY(clg_enqueue_long(run, ATTEND, groups, local, args.list, CLG_ATTEND_ARGS + (int)CLG_COUNT(own) + n_more,
                         macs));
out:
    return st;
}

static clgaze_status launch(struct clg_run *run)
{
    return clg_attend_team_enqueue(run, run->stage->values[HEADS], NULL, 0);
}

const struct clg_kernel clg_kernel_attend_nv_team = {
    .op = "attend",
    .name = "attend_nv_team",
    .space = space,
    .sources = (const char *const[]){"common.cl", "nv.cl", "nv_tile.cl", "nv_wgmma.cl", "nv_walk.cl", "nv_rows.cl",
                                     "attend_nv_team.cl", NULL},
    .entries = (const char *const[]){"attend_nv_team", "team_reset", NULL},
    .options = "-cl-fast-relaxed-math -cl-nv-verbose", /* registers and spills, for the debug log */
    .rework = clg_ptx_rework,
    .prove = true,
    .key = clg_attend_form_key,
    .define = clg_attend_team_define,
    .fits = clg_attend_team_fits,
    .prepare = prepare,
    .launch = launch,
};
