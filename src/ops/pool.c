/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool.c: launcher of cl/pool.cl.
 */
#include "internal.h"

static const struct clg_param space[] = {
    {"WG", 64, {16, 32, 64, 128, 256}}, /* work-items in a group   */
    {"VEC", 8, {4, 8}},                 /* channels a work-item    */
    {NULL, 0, {0}},
};
enum { WG, VEC };

static void key(const clgaze_problem *p, struct clg_text *text)
{
    clg_put(text, "%s d%d b%dx%d", clgaze_dtype_name(p->dtype), p->head_dim, p->block_q, p->block_k);
}

static void define(const clgaze_problem *p, const int *values, struct clg_text *text)
{
    (void)values;
    clg_define(text, "DTYPE", p->dtype);
    clg_define(text, "PACKED", p->packed);
    clg_define(text, "D", p->head_dim);
}

static const char *fits(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    if (p->head_dim % values[VEC] != 0)
        return "VEC does not divide the channels";
    return (size_t)values[WG] > device->max_group ? "the device's work-groups are smaller than WG" : NULL;
}

/* Both sides at once, or the one that is given. */
static clgaze_status launch(struct clg_run *run)
{
    const clgaze_problem *p = run->p;
    const struct clg_sizes *n = &run->n;
    const int *values = run->stage->values;
    const bool has_q = run->t.q_gate.buffer != NULL, has_k = run->t.k_gate.buffer != NULL;
    const clgaze_tensor *q = has_q ? &run->t.q_gate : &run->t.k_gate, *k = has_k ? &run->t.k_gate : &run->t.q_gate;
    const clgaze_tensor *q_to = has_q ? &run->t.q_pooled : &run->t.k_pooled;
    const clgaze_tensor *k_to = has_k ? &run->t.k_pooled : &run->t.q_pooled;
    const cl_ulong4 q_at = clg_at(q), k_at = clg_at(k);
    const cl_ulong q_to_at = q_to->offset, k_to_at = k_to->offset, seqs_from = clg_seqs_from(run);
    const cl_int sequences = n->sequences, first_side = !has_q, sq = n->sq, sk = n->sk, rows = n->rows;
    const cl_int blocks_k = n->blocks_k, q_heads = p->q_heads, kv_heads = p->kv_heads;
    const cl_int block_q = p->block_q, block_k = p->block_k;
    const cl_int q_pools = (cl_int)p->q_pool, k_pools = (cl_int)p->k_pool;
    const cl_int q_n = clg_pools(p->q_pool), k_n = clg_pools(p->k_pool);
    const size_t wg = (size_t)values[WG], per_head = (size_t)(p->head_dim / values[VEC]);
    const int heads = has_q ? q_heads : kv_heads; /* the more */
    const int blocks = !has_k || (has_q && n->rows_seq > n->blocks_k_seq) ? n->rows_seq : n->blocks_k_seq;
    const size_t groups[3] = {((size_t)heads * per_head + wg - 1) / wg, (size_t)blocks,
                              (size_t)sequences * (size_t)(has_q + has_k)};
    const size_t local[3] = {wg, 1, 1};
    const struct clg_arg args[] = {
        CLG_ARG(q->buffer),    CLG_ARG(q_at),      CLG_ARG(q_to->buffer),
        CLG_ARG(q_to_at),      CLG_ARG(k->buffer), CLG_ARG(k_at),
        CLG_ARG(k_to->buffer), CLG_ARG(k_to_at),   CLG_ARG(run->workspace),
        CLG_ARG(seqs_from),    CLG_ARG(sequences), CLG_ARG(first_side),
        CLG_ARG(sq),           CLG_ARG(sk),        CLG_ARG(rows),
        CLG_ARG(blocks_k),     CLG_ARG(q_heads),   CLG_ARG(kv_heads),
        CLG_ARG(block_q),      CLG_ARG(block_k),   CLG_ARG(q_pools),
        CLG_ARG(k_pools),      CLG_ARG(q_n),       CLG_ARG(k_n),
    };

    return clg_enqueue(run, 0, groups, local, args, CLG_COUNT(args));
}

const struct clg_kernel clg_kernel_pool = {
    .op = "pool",
    .name = "pool",
    .space = space,
    .sources = (const char *const[]){"common.cl", "pool.cl", NULL},
    .entries = (const char *const[]){"pool", NULL},
    .options = "",
    .key = key,
    .define = define,
    .fits = fits,
    .launch = launch,
};
