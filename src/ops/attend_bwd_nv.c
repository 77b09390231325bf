/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attend_bwd_nv.c: launcher of cl/attend_bwd_nv.cl, gradients of attention on
 * NVIDIA's matrix units.
 */
#include "attend_bwd.h"
#include "attend_nv.h"

static const struct clg_param space[] = {
    {"STAGES", 2, {1, 2, 3}}, /* places for pairs of tiles */
    {NULL, 0, {0}},
};
enum { STAGES };

static void define(const clgaze_problem *p, const int *values, struct clg_text *text)
{
    clg_attend_nv_define(p, values, text);
    clg_define(text, "ROWS", 1);
    clg_define(text, "HEADS", 1);
}

static const char *fits(const struct clg_device *device, const clgaze_problem *p, const int *values, bool wgmma)
{
    const int as_attend[] = {values[STAGES] + 1, 1, 1}; /* own rows are a pair of tiles, too */

    if (p->head_dim > 128)
        return "head_dim must be at most 128";
    return clg_attend_nv_fits(device, p, as_attend, wgmma);
}

static const char *fits_mma(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    return fits(device, p, values, false);
}

static const char *fits_wgmma(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    return fits(device, p, values, true);
}

static clgaze_status launch(struct clg_run *run)
{
    return clg_bwd_launch(run, (struct clg_cut){64, 1, 128});
}

#define RECORD(kind, tile, how)                                                                                      \
    const struct clg_kernel clg_kernel_attend_bwd_nv_##kind = {                                                      \
        .op = "attend_bwd",                                                                                          \
        .name = "attend_bwd_nv_" #kind,                                                                              \
        .space = space,                                                                                              \
        .sources = (const char *const[]){"common.cl", "nv.cl", "nv_tile.cl", tile, "nv_walk.cl", "bwd.cl",           \
                                         "attend_bwd_nv.cl", NULL},                                                  \
        .entries = (const char *const[]){"bwd_map", "bwd_delta", "bwd_kv_nv", "bwd_q_nv", NULL},                     \
        .options = "-cl-fast-relaxed-math -cl-nv-verbose",                                                           \
        .rework = (how),                                                                                             \
        .prove = true,                                                                                               \
        .key = clg_attend_key,                                                                                       \
        .define = define,                                                                                            \
        .fits = fits_##kind,                                                                                         \
        .launch = launch,                                                                                            \
    }
RECORD(wgmma, "nv_wgmma.cl", clg_ptx_rework);
RECORD(mma, "nv_mma.cl", NULL);
