/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attend_nv.c: launcher of cl/attend_nv.cl, attention on NVIDIA's matrix
 * units, once with the instructions of Ampere and later (mma.sync) and once
 * with those of Hopper (wgmma).
 */
#include "attend_nv.h"

/* Both spaces begin so. */
enum { STAGES, ROWS, HEADS };

static const struct clg_param mma_space[] = {
    {"STAGES", 1, {1, 2, 3, 4}}, /* places for tiles of K, and of V       */
    {"ROWS", 1, {1, 2, 3, 4}},   /* tiles of 64 query rows a work-group   */
    {"HEADS", 1, {1, 2, 4}},     /* query heads a work-group              */
    {NULL, 0, {0}},
};
static const struct clg_param wgmma_space[] = {
    {"STAGES", 2, {1, 2, 3, 4}},
    {"ROWS", 1, {1, 2, 3}},
    {"HEADS", 1, {1, 2, 4}},
    {NULL, 0, {0}},
};

static int block_of_keys(const clgaze_problem *p)
{
    return p->lists == CLGAZE_LISTS_DENSE ? 64 : p->block_k;
}

void clg_attend_nv_define(const clgaze_problem *p, const int *values, struct clg_text *text)
{
    clg_attend_define(p, values, text);
    clg_define(text, "BLOCK_K", block_of_keys(p));
}

/* May `heads` query heads share tiles and a list? */
static bool share(const clgaze_problem *p, int heads)
{
    return p->q_heads / p->kv_heads % heads == 0 &&
           (heads == 1 || p->lists == CLGAZE_LISTS_DENSE || p->scope != CLGAZE_SCOPE_Q);
}

static const char *fits(const struct clg_device *device, const clgaze_problem *p, const int *values, int most_local)
{
    const int panels = (p->head_dim + 63) / 64, local = values[STAGES] * 2 * panels * 64 * 128;
    const int groups = values[ROWS] * values[HEADS];

    if (p->dtype == CLGAZE_F32)
        return "matrix units take f16 and bf16";
    if (p->head_dim < 64)
        return "head_dim must be 64 or more";
    if (block_of_keys(p) % 16 != 0)
        return "block_k must be a multiple of 16";
    if (!share(p, values[HEADS]))
        return "HEADS query heads do not share a list";
    if (p->lists != CLGAZE_LISTS_DENSE && p->block_q < 64 * values[ROWS] && values[ROWS] > 1)
        return "block_q is less than ROWS tiles of 64";
    if (groups > (p->head_dim > 128 ? 2 : 4))
        return "the work-group needs more registers than the device has";
    if (local > most_local)
        return "the tiles need more local memory than the device has";
    return (size_t)groups * 128 > device->max_group ? "the device's work-groups are too small" : NULL;
}

const char *clg_attend_nv_fits(const struct clg_device *device, const clgaze_problem *p, const int *values,
                               bool wgmma)
{
    /* What a work-group may have, which CL_DEVICE_LOCAL_MEM_SIZE does not say. */
    const int local = device->nv_arch == 80 || device->nv_arch == 87 ? 163 : device->nv_arch >= 90 ? 227 : 99;

    if (wgmma && device->nv_arch != 90)
        return "the device is not an NVIDIA GPU of compute capability 9.0";
    if (device->nv_arch < 80)
        return "the device is not an NVIDIA GPU of compute capability 8.0 or more";
    if (wgmma && p->head_dim % 32 != 0)
        return "head_dim must be a multiple of 32";
    if (p->head_dim % 16 != 0)
        return "head_dim must be a multiple of 16";
    return fits(device, p, values, local * 1024);
}

static const char *fits_mma(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    return clg_attend_nv_fits(device, p, values, false);
}

static const char *fits_wgmma(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    return clg_attend_nv_fits(device, p, values, true);
}

static clgaze_status launch(struct clg_run *run)
{
    const int *values = run->stage->values;

    return clg_attend_enqueue(
        run, (struct clg_cut){values[ROWS] * 64, values[HEADS], (size_t)(values[ROWS] * values[HEADS]) * 128});
}

const struct clg_kernel clg_kernel_attend_nv_mma = {
    .op = "attend",
    .name = "attend_nv_mma",
    .space = mma_space,
    .sources = (const char *const[]){"common.cl", "nv.cl", "nv_tile.cl", "nv_mma.cl", "nv_walk.cl", "nv_rows.cl",
                                     "attend_nv.cl", NULL},
    .entries = (const char *const[]){"attend_nv", NULL},
    .options = "-cl-fast-relaxed-math -cl-nv-verbose", /* registers and spills, for the debug log */
    .prove = true,
    .key = clg_attend_form_key,
    .define = clg_attend_nv_define,
    .fits = fits_mma,
    .launch = launch,
};

const struct clg_kernel clg_kernel_attend_nv_wgmma = {
    .op = "attend",
    .name = "attend_nv_wgmma",
    .space = wgmma_space,
    .sources = (const char *const[]){"common.cl", "nv.cl", "nv_tile.cl", "nv_wgmma.cl", "nv_walk.cl", "nv_rows.cl",
                                     "attend_nv.cl", NULL},
    .entries = (const char *const[]){"attend_nv", NULL},
    .options = "-cl-fast-relaxed-math -cl-nv-verbose", /* registers and spills, for the debug log */
    .rework = clg_ptx_rework,
    .prove = true,
    .key = clg_attend_form_key,
    .define = clg_attend_nv_define,
    .fits = fits_wgmma,
    .launch = launch,
};
