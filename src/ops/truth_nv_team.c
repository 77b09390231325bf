/* SPDX-License-Identifier: Apache-2.0 */
/*
 * truth_nv_team.c: launcher of the walk of cl/attend_nv_team.cl with the block map of
 * cl/nv_tops.cl: neighbouring rows of a head share its keys.
 */
#include "attend_nv.h"

static const struct clg_param space[] = {
    {"STAGES", 4, {3, 4, 5, 6}}, /* places for tiles of K, and of V */
    {NULL, 0, {0}},
};
enum { STAGES };

enum { ROWS = 64 }; /* query rows a warp group, of which a team has two */

static void define(const clgaze_problem *p, const int *values, struct clg_text *text)
{
    const clgaze_problem d = clg_attend_dense(p);
    const int as_team[] = {values[STAGES], 1};

    clg_attend_team_define(&d, as_team, text);
    clg_define(text, "TRUTH", 1);
}

static const char *fits(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    const clgaze_problem d = clg_attend_dense(p);
    const int as_team[] = {values[STAGES], 1};

    if (p->block_q != ROWS)
        return "block_q must be 64";
    if (p->block_k % 64 != 0)
        return "block_k must be a multiple of 64";
    return clg_attend_team_fits(device, &d, as_team);
}

/* The counter, and room for the greatest scores of the rows of the groups of a launch. */
static clgaze_status prepare(clgaze_context *ctx, const clgaze_problem *p, struct clg_stage *stage)
{
    stage->workspace = CLG_TEAM_COUNTER +
                       (size_t)clg_attend_team_groups(ctx) * 2 * (size_t)clg_truth_nv_tiles(p) * ROWS * sizeof(float);
    return CLGAZE_OK;
}

static clgaze_status launch(struct clg_run *run)
{
    const clgaze_problem *p = run->p, d = clg_attend_dense(p);
    const int64_t one[1] = {1};
    const clgaze_tensor room = clg_scratch(run, CLG_AT_STAGE, CLG_TEAM_COUNTER, CLGAZE_F32, 1, one);
    const cl_int with_out = run->t.out.buffer != NULL, room_tiles = (cl_int)clg_truth_nv_tiles(p);
    const cl_int cols = run->n.cols, map_k = p->block_k;
    const cl_ulong truth_at = run->t.truth.offset, room_at = room.offset;
    const struct clg_arg more[] = {
        CLG_ARG(with_out), CLG_ARG(run->t.truth.buffer), CLG_ARG(truth_at), CLG_ARG(room.buffer),
        CLG_ARG(room_at),  CLG_ARG(room_tiles),          CLG_ARG(cols),     CLG_ARG(map_k)};
    clgaze_status st;

    clg_truth_nv_fill(run);
    run->p = &d;
    st = clg_attend_team_enqueue(run, 1, more, CLG_COUNT(more));
    run->p = p;
    return st;
}

const struct clg_kernel clg_kernel_truth_nv_team = {
    .op = "truth",
    .name = "truth_nv_team",
    .space = space,
    .sources = (const char *const[]){"common.cl", "nv.cl", "nv_tile.cl", "nv_wgmma.cl", "nv_walk.cl", "nv_rows.cl",
                                     "nv_tops.cl", "attend_nv_team.cl", NULL},
    .entries = (const char *const[]){"attend_nv_team", "team_reset", NULL},
    .options = "-cl-fast-relaxed-math -cl-nv-verbose",
    .rework = clg_ptx_rework,
    .prove = true,
    .key = clg_attend_key,
    .define = define,
    .fits = fits,
    .prepare = prepare,
    .launch = launch,
};
