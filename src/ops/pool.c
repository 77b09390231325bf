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

static clgaze_status side(struct clg_run *run, int is_k)
{
    const clgaze_problem *p = run->p;
    const struct clg_sizes *n = &run->n;
    const clgaze_tensor *x = is_k ? &run->t.k_gate : &run->t.q_gate;
    const clgaze_tensor *y = is_k ? &run->t.k_pooled : &run->t.q_pooled;
    const cl_ulong4 x_at = clg_at(x);
    const cl_ulong y_at = y->offset, seqs_from = clg_seqs_from(run);
    const cl_int sequences = n->sequences, tokens = is_k ? n->sk : n->sq, rows = is_k ? n->blocks_k : n->rows;
    const cl_int heads = is_k ? p->kv_heads : p->q_heads, block = is_k ? p->block_k : p->block_q, which = is_k;
    const cl_int pools = (cl_int)(is_k ? p->k_pool : p->q_pool), n_pools = clg_pools((uint32_t)pools);
    const size_t wg = (size_t)run->stage->values[WG];
    const size_t items = (size_t)heads * (size_t)(p->head_dim / run->stage->values[VEC]);
    const size_t groups[3] = {(items + wg - 1) / wg, (size_t)(is_k ? n->blocks_k_seq : n->rows_seq),
                              (size_t)sequences};
    const size_t local[3] = {wg, 1, 1};
    const struct clg_arg args[] = {CLG_ARG(x->buffer),      CLG_ARG(x_at),      CLG_ARG(y->buffer), CLG_ARG(y_at),
                                   CLG_ARG(run->workspace), CLG_ARG(seqs_from), CLG_ARG(sequences), CLG_ARG(tokens),
                                   CLG_ARG(rows),           CLG_ARG(heads),     CLG_ARG(which),     CLG_ARG(block),
                                   CLG_ARG(pools),          CLG_ARG(n_pools)};

    return clg_enqueue(run, 0, groups, local, args, CLG_COUNT(args));
}

static clgaze_status launch(struct clg_run *run)
{
    clgaze_status st = CLGAZE_OK;

    if (run->t.q_gate.buffer)
        st = side(run, 0);
    if (st == CLGAZE_OK && run->t.k_gate.buffer)
        st = side(run, 1);
    return st;
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
