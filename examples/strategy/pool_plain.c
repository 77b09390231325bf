/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool_plain.c: an example of a strategy: the launcher of pool_plain.cl.  What a strategy needs is this file,
 * that one in cl/, and a line in src/kernels.def; tests/strategy.sh adds all three to a copy and tests it.
 */
#include "internal.h"

static const struct clg_param space[] = {
    {"WG", 64, {32, 64, 128}}, /* work-items in a group */
    {NULL, 0, {0}},
};

static void key(const clgaze_problem *p, struct clg_text *text)
{
    clg_put(text, "%s d%d", clgaze_dtype_name(p->dtype), p->head_dim);
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
    (void)p;
    return (size_t)values[0] > device->max_group ? "the device's work-groups are smaller than WG" : NULL;
}

static clgaze_status pool_side(struct clg_run *run, cl_int keys)
{
    const clgaze_problem *p = run->p;
    const struct clg_sizes *n = &run->n;
    const clgaze_tensor *x = keys ? &run->t.k_gate : &run->t.q_gate;
    const clgaze_tensor *y = keys ? &run->t.k_pooled : &run->t.q_pooled;
    const cl_ulong4 x_at = clg_at(x);
    const cl_ulong y_at = y->offset, seqs_from = clg_seqs_from(run);
    const cl_int sequences = n->sequences, sq = n->sq, sk = n->sk, blocks = keys ? n->blocks_k : n->rows;
    const cl_int heads = keys ? p->kv_heads : p->q_heads, block = keys ? p->block_k : p->block_q;
    const cl_int pools = (cl_int)(keys ? p->k_pool : p->q_pool), pools_n = clg_pools((uint32_t)pools);
    const size_t wg = (size_t)run->stage->values[0], items = (size_t)heads * (size_t)p->head_dim;
    const size_t groups[3] = {(items + wg - 1) / wg, (size_t)(keys ? n->blocks_k_seq : n->rows_seq),
                              (size_t)sequences};
    const size_t local[3] = {wg, 1, 1};
    const struct clg_arg args[] = {
        CLG_ARG(x->buffer), CLG_ARG(x_at),      CLG_ARG(y->buffer), CLG_ARG(y_at),  CLG_ARG(run->workspace),
        CLG_ARG(seqs_from), CLG_ARG(sequences), CLG_ARG(keys),      CLG_ARG(sq),    CLG_ARG(sk),
        CLG_ARG(blocks),    CLG_ARG(heads),     CLG_ARG(block),     CLG_ARG(pools), CLG_ARG(pools_n),
    };

    return clg_enqueue(run, 0, groups, local, args, CLG_COUNT(args));
}

/* The sides that the call has. */
static clgaze_status launch(struct clg_run *run)
{
    clgaze_status st = CLGAZE_OK;

    if (run->t.q_gate.buffer || run->warming)
        TRY(pool_side(run, 0));
    if (run->t.k_gate.buffer)
        TRY(pool_side(run, 1));
out:
    return st;
}

const struct clg_kernel clg_kernel_pool_plain = {
    .op = "pool",
    .name = "pool_plain",
    .space = space,
    .sources = (const char *const[]){"common.cl", "pool_plain.cl", NULL},
    .entries = (const char *const[]){"pool_plain", NULL},
    .options = "",
    .key = key,
    .define = define,
    .fits = fits,
    .launch = launch,
};
