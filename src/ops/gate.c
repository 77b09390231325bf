/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate.c: launcher of cl/gate.cl, for any device, of cl/gate_cpu.cl and of
 * cl/gate_nv.cl: a product, then cl/rope.cl.
 */
#include "gate.h"

enum { GATE, ROPE };

void clg_gate_key(const clgaze_problem *p, struct clg_text *text)
{
    clg_put(text, "%s d%d dg%d %s", clgaze_dtype_name(p->weight_dtype), p->head_dim, clg_gate_dim(p),
            p->gate_double ? "double" : "single");
}

void clg_gate_define(const clgaze_problem *p, const int *values, struct clg_text *text)
{
    (void)values;
    clg_define(text, "DTYPE", p->weight_dtype); /* common.cl's loads read the matrices here */
    clg_define(text, "WTYPE", p->weight_dtype);
    clg_define(text, "PACKED", p->packed);
    clg_define(text, "DG", clg_gate_dim(p));
    clg_define(text, "INTERLEAVED", p->rope_interleaved);
    clg_define(text, "CAUSAL", p->causal);
}

const char *clg_gate_fits(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    return clg_tile_fits(device, p->head_dim, values);
}

double clg_gate_macs(const struct clg_run *run, const struct clg_gate_side *s)
{
    return (double)s->rows * run->n.batch * s->k * clg_gate_dim(run->p) * s->heads;
}

/* All products take the same arguments. */
static clgaze_status enqueue(struct clg_run *run, const struct clg_gate_side *s, const size_t groups[3], size_t items)
{
    const cl_ulong x_at = s->x->offset, w_at = s->w->offset, y_at = s->y->offset;
    const cl_int rows = s->rows * run->n.batch;
    const size_t local[3] = {items, 1, 1};
    const struct clg_arg args[] = {CLG_ARG(s->x->buffer), CLG_ARG(x_at), CLG_ARG(s->w->buffer), CLG_ARG(w_at),
                                   CLG_ARG(s->y->buffer), CLG_ARG(y_at), CLG_ARG(rows),         CLG_ARG(s->heads),
                                   CLG_ARG(s->share),     CLG_ARG(s->k)};

    return clg_enqueue_long(run, GATE, groups, local, args, CLG_COUNT(args), clg_gate_macs(run, s));
}

/* In tiles of work-groups of `items`. */
static clgaze_status multiply_tiles(struct clg_run *run, const struct clg_gate_side *s, size_t items)
{
    const size_t groups[3] = {clg_tiles(clg_gate_dim(run->p)), clg_tiles(s->rows * run->n.batch), (size_t)s->heads};

    return enqueue(run, s, groups, items);
}

clgaze_status clg_gate_multiply(struct clg_run *run, const struct clg_gate_side *s)
{
    return multiply_tiles(run, s, clg_tile_items(run->stage->values));
}

clgaze_status clg_gate_turn(struct clg_run *run, int entry, const struct clg_gate_side *q,
                            const struct clg_gate_side *k, int sides, bool back)
{
    const clgaze_problem *p = run->p;
    const struct clg_sizes *n = &run->n;
    const clgaze_tensor *q_from = q->w ? q->y : q->x, *k_from = k->w ? k->y : k->x;
    const cl_ulong q_at = q_from->offset, q_to_at = q->y->offset, k_at = k_from->offset, k_to_at = k->y->offset;
    const cl_ulong f_at = run->t.rope_inv_freq.offset, seqs_from = clg_seqs_from(run);
    const cl_int sequences = n->sequences, sq = n->sq, sk = n->sk, pairs = p->rope_pairs;
    const cl_int heads = q->heads > k->heads ? q->heads : k->heads;
    const cl_int span = run->plan->ctx->device.cpu ? heads : 4; /* a CPU saves sines, a GPU waits for memory */
    const cl_float2 scale = {{p->rope_scale, back ? -p->rope_scale : p->rope_scale}};
    const size_t wg = 32, items = (size_t)(clg_gate_dim(p) - pairs), spans = (size_t)((heads + span - 1) / span);
    const int blocks = sides > 1 && k->rows_seq > q->rows_seq ? k->rows_seq : q->rows_seq;
    const size_t groups[3] = {(items + wg - 1) / wg, (size_t)blocks, (size_t)sides * (size_t)sequences * spans};
    const size_t local[3] = {wg, 1, 1};
    const struct clg_arg args[] = {CLG_ARG(q_from->buffer),
                                   CLG_ARG(q_at),
                                   CLG_ARG(q->y->buffer),
                                   CLG_ARG(q_to_at),
                                   CLG_ARG(k_from->buffer),
                                   CLG_ARG(k_at),
                                   CLG_ARG(k->y->buffer),
                                   CLG_ARG(k_to_at),
                                   CLG_ARG(run->t.rope_inv_freq.buffer),
                                   CLG_ARG(f_at),
                                   CLG_ARG(run->workspace),
                                   CLG_ARG(seqs_from),
                                   CLG_ARG(sequences),
                                   CLG_ARG(sq),
                                   CLG_ARG(sk),
                                   CLG_ARG(q->rows),
                                   CLG_ARG(k->rows),
                                   CLG_ARG(q->heads),
                                   CLG_ARG(k->heads),
                                   CLG_ARG(pairs),
                                   CLG_ARG(q->block),
                                   CLG_ARG(k->block),
                                   CLG_ARG(span),
                                   CLG_ARG(scale)};

    return clg_enqueue(run, entry, groups, local, args, CLG_COUNT(args));
}

struct clg_gate_side clg_gate_side(const struct clg_run *run, bool keys)
{
    const clgaze_problem *p = run->p;
    const struct clg_sizes *n = &run->n;
    const clgaze_tensors *t = &run->t;
    const bool twice = p->gate_double;
    const struct clg_gate_side k = {
        &t->k_pooled,
        &t->w_k,
        &t->k_gated,
        true,
        n->blocks_k,
        n->blocks_k_seq,
        twice ? p->kv_heads : p->q_heads,
        twice ? 1 : p->q_heads / p->kv_heads,
        clg_pools(p->k_pool) * p->head_dim,
        p->block_k,
    };
    const struct clg_gate_side q = {
        &t->q_pooled,
        twice ? &t->w_q : NULL,
        &t->q_gated,
        false,
        n->rows,
        n->rows_seq,
        p->q_heads,
        1,
        clg_pools(p->q_pool) * p->head_dim,
        p->block_q,
    };

    return keys ? k : q;
}

clgaze_status clg_gate_launch(struct clg_run *run,
                              clgaze_status (*multiply)(struct clg_run *run, const struct clg_gate_side *s))
{
    const struct clg_gate_side q = clg_gate_side(run, false), k = clg_gate_side(run, true);
    clgaze_status st = CLGAZE_OK;

    TRY(multiply(run, &k));
    if (q.w)
        TRY(multiply(run, &q));
    if (run->p->rope_pairs || !q.w || run->warming)
        TRY(clg_gate_turn(run, ROPE, &q, &k, run->p->rope_pairs ? 2 : 1, false));
out:
    return st;
}

static clgaze_status launch(struct clg_run *run)
{
    return clg_gate_launch(run, clg_gate_multiply);
}

const struct clg_kernel clg_kernel_gate = {
    .op = "gate",
    .name = "gate",
    .space = clg_tile_space,
    .sources = (const char *const[]){"common.cl", "tile.cl", "gate.cl", "rope.cl", NULL},
    .entries = (const char *const[]){"gate", "rope", NULL},
    .options = "",
    .key = clg_gate_key,
    .define = clg_gate_define,
    .fits = clg_gate_fits,
    .launch = launch,
};

/* ---- CPUs ------------------------------------------------------------------ */

static const struct clg_param cpu_space[] = {
    {"WG", 64, {16, 32, 64, 128}}, /* work-items in a group   */
    {"RM", 8, {2, 4, 8}},          /* rows a work-item        */
    {"VEC", 16, {4, 8, 16}},       /* channels a work-item    */
    {NULL, 0, {0}},
};
enum { WG, RM, VEC };

static const char *fits_cpu(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    if (!device->cpu)
        return "the device is not a CPU";
    if (clg_gate_dim(p) % values[VEC] != 0)
        return "VEC does not divide the channels";
    return (size_t)values[WG] > device->max_group ? "the device's work-groups are smaller than WG" : NULL;
}

static clgaze_status multiply_cpu(struct clg_run *run, const struct clg_gate_side *s)
{
    const int *values = run->stage->values;
    const size_t wg = (size_t)values[WG],
                 row_tiles = (size_t)((s->rows * run->n.batch + values[RM] - 1) / values[RM]);
    const size_t items = row_tiles * (size_t)(clg_gate_dim(run->p) / values[VEC]);
    const size_t groups[3] = {(items + wg - 1) / wg, (size_t)s->heads, 1};

    return enqueue(run, s, groups, wg);
}

static clgaze_status launch_cpu(struct clg_run *run)
{
    return clg_gate_launch(run, multiply_cpu);
}

const struct clg_kernel clg_kernel_gate_cpu = {
    .op = "gate",
    .name = "gate_cpu",
    .cpu = true,
    .space = cpu_space,
    .sources = (const char *const[]){"common.cl", "gate_cpu.cl", "rope.cl", NULL},
    .entries = (const char *const[]){"gate_cpu", "rope", NULL},
    .options = "",
    .key = clg_gate_key,
    .define = clg_gate_define,
    .fits = fits_cpu,
    .launch = launch_cpu,
};

/* ---- NVIDIA ---------------------------------------------------------------- */

static const char *fits_nv(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    (void)p;
    (void)values;
    return clg_nv_tile_fits(device, 43008);
}

static clgaze_status multiply_nv(struct clg_run *run, const struct clg_gate_side *s)
{
    return multiply_tiles(run, s, CLG_NV_TILE_ITEMS);
}

static clgaze_status launch_nv(struct clg_run *run)
{
    return clg_gate_launch(run, multiply_nv);
}

const struct clg_kernel clg_kernel_gate_nv = {
    .op = "gate",
    .name = "gate_nv",
    .sources = (const char *const[]){"common.cl", "nv.cl", "nv_tile.cl", "nv_tf32.cl", "gate_nv.cl", "rope.cl", NULL},
    .entries = (const char *const[]){"gate_nv", "rope", NULL},
    .options = "-cl-nv-verbose",
    .prove = true,
    .key = clg_gate_key,
    .define = clg_gate_define,
    .fits = fits_nv,
    .launch = launch_nv,
};
