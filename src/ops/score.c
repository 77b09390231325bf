/* SPDX-License-Identifier: Apache-2.0 */
/*
 * score.c: launcher of cl/score.cl, for any device, of cl/score_cpu.cl and of
 * cl/score_nv.cl.
 */
#include <math.h>

#include "tile.h"

static void key(const clgaze_problem *p, struct clg_text *text)
{
    clg_put(text, "f32 dg%d", clg_gate_dim(p));
}

static void define(const clgaze_problem *p, const int *values, struct clg_text *text)
{
    (void)values;
    clg_define(text, "PACKED", p->packed);
    clg_define(text, "DG", clg_gate_dim(p));
    clg_define(text, "CAUSAL", p->causal);
}

/* All take the same arguments. */
static clgaze_status enqueue(struct clg_run *run, const size_t groups[3], size_t items)
{
    const clgaze_problem *p = run->p;
    const struct clg_sizes *n = &run->n;
    const clgaze_tensors *t = &run->t;
    const cl_ulong q_at = t->q_gated.offset, k_at = t->k_gated.offset, s_at = t->scores.offset;
    const cl_ulong seqs_from = clg_seqs_from(run);
    const cl_int sequences = n->sequences, sq = n->sq, sk = n->sk, rows = n->rows, blocks_k = n->blocks_k;
    const cl_int cols = n->seen, heads = p->q_heads, share = p->gate_double ? p->q_heads / p->kv_heads : 1;
    const cl_int block_q = p->block_q, block_k = p->block_k, first = n->first, count = n->count;
    const cl_float scale = 1.0f / sqrtf((float)clg_gate_dim(p));
    const size_t local[3] = {items, 1, 1};
    const struct clg_arg args[] = {CLG_ARG(t->q_gated.buffer),
                                   CLG_ARG(q_at),
                                   CLG_ARG(t->k_gated.buffer),
                                   CLG_ARG(k_at),
                                   CLG_ARG(t->scores.buffer),
                                   CLG_ARG(s_at),
                                   CLG_ARG(run->workspace),
                                   CLG_ARG(seqs_from),
                                   CLG_ARG(sequences),
                                   CLG_ARG(sq),
                                   CLG_ARG(sk),
                                   CLG_ARG(rows),
                                   CLG_ARG(blocks_k),
                                   CLG_ARG(cols),
                                   CLG_ARG(heads),
                                   CLG_ARG(share),
                                   CLG_ARG(block_q),
                                   CLG_ARG(block_k),
                                   CLG_ARG(scale),
                                   CLG_ARG(first),
                                   CLG_ARG(count)};

    return clg_enqueue(run, 0, groups, local, args, CLG_COUNT(args));
}

/* ---- any device ---------------------------------------------------------- */

static const char *fits(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    return clg_tile_fits(device, clg_gate_dim(p), values);
}

/* In tiles of work-groups of `items`. */
static clgaze_status enqueue_tiles(struct clg_run *run, size_t items)
{
    const size_t groups[3] = {clg_tiles(run->n.seen), clg_tiles(clg_slice_rows_seq(&run->n)),
                              (size_t)run->p->q_heads * (size_t)run->n.sequences};

    return enqueue(run, groups, items);
}

static clgaze_status launch(struct clg_run *run)
{
    return enqueue_tiles(run, clg_tile_items(run->stage->values));
}

const struct clg_kernel clg_kernel_score = {
    .op = "score",
    .name = "score",
    .space = clg_tile_space,
    .sources = (const char *const[]){"common.cl", "tile.cl", "score.cl", NULL},
    .entries = (const char *const[]){"score", NULL},
    .options = "",
    .key = key,
    .define = define,
    .fits = fits,
    .launch = launch,
};

/* ---- CPUs ------------------------------------------------------------------ */

static const struct clg_param cpu_space[] = {
    {"WG", 64, {16, 32, 64, 128}}, /* work-items in a group      */
    {"RM", 4, {1, 2, 4}},          /* query blocks a work-item   */
    {"CN", 4, {1, 2, 4}},          /* key blocks a work-item     */
    {"VEC", 8, {4, 8}},            /* channels at a time         */
    {NULL, 0, {0}},
};
enum { WG, RM, CN };

static const char *fits_cpu(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    (void)p;
    if (!device->cpu)
        return "the device is not a CPU";
    return (size_t)values[WG] > device->max_group ? "the device's work-groups are smaller than WG" : NULL;
}

static clgaze_status launch_cpu(struct clg_run *run)
{
    const int *values = run->stage->values;
    const size_t wg = (size_t)values[WG],
                 row_tiles = (size_t)((clg_slice_rows_seq(&run->n) + values[RM] - 1) / values[RM]);
    const size_t items = row_tiles * (size_t)((run->n.seen + values[CN] - 1) / values[CN]);
    const size_t groups[3] = {(items + wg - 1) / wg, (size_t)run->p->q_heads, (size_t)run->n.sequences};

    return enqueue(run, groups, wg);
}

const struct clg_kernel clg_kernel_score_cpu = {
    .op = "score",
    .name = "score_cpu",
    .cpu = true,
    .space = cpu_space,
    .sources = (const char *const[]){"common.cl", "score_cpu.cl", NULL},
    .entries = (const char *const[]){"score_cpu", NULL},
    .options = "",
    .key = key,
    .define = define,
    .fits = fits_cpu,
    .launch = launch_cpu,
};

/* ---- NVIDIA ---------------------------------------------------------------- */

static const char *fits_nv(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    (void)p;
    (void)values;
    return clg_nv_tile_fits(device, 32768);
}

static clgaze_status launch_nv(struct clg_run *run)
{
    return enqueue_tiles(run, CLG_NV_TILE_ITEMS);
}

const struct clg_kernel clg_kernel_score_nv = {
    .op = "score",
    .name = "score_nv",
    .sources = (const char *const[]){"common.cl", "nv.cl", "nv_tile.cl", "nv_tf32.cl", "score_nv.cl", NULL},
    .entries = (const char *const[]){"score_nv", NULL},
    .options = "-cl-nv-verbose",
    .prove = true,
    .key = key,
    .define = define,
    .fits = fits_nv,
    .launch = launch_nv,
};
