/*
 * gate.c: launcher of cl/gate.cl.
 */
#include "gate.h"

const struct clg_param clg_gate_space[] = {
    {"WG", 64, {16, 32, 64, 128}, 0}, /* work-items in a group   */
    {"RM", 4, {2, 4, 8}, 8},          /* rows a work-item        */
    {"VEC", 8, {4, 8, 16}, 16},       /* channels a work-item    */
    {NULL, 0, {0}, 0},
};
enum { WG, RM, VEC };
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
    if (clg_gate_dim(p) % values[VEC] != 0)
        return "VEC does not divide the channels";
    return (size_t)values[WG] > device->max_group ? "the device's work-groups are smaller than WG" : NULL;
}

clgaze_status clg_gate_multiply(struct clg_run *run, const struct clg_gate_side *s)
{
    const int *values = run->stage->values;
    const cl_ulong x_at = s->x->offset, w_at = s->w->offset, y_at = s->y->offset;
    const cl_int rows = s->rows * run->n.batch;
    const size_t wg = (size_t)values[WG];
    const size_t items =
        (size_t)((rows + values[RM] - 1) / values[RM]) * (size_t)(clg_gate_dim(run->p) / values[VEC]);
    const size_t groups[3] = {(items + wg - 1) / wg, (size_t)s->heads, 1}, local[3] = {wg, 1, 1};
    const struct clg_arg args[] = {CLG_ARG(s->x->buffer), CLG_ARG(x_at), CLG_ARG(s->w->buffer), CLG_ARG(w_at),
                                   CLG_ARG(s->y->buffer), CLG_ARG(y_at), CLG_ARG(rows),         CLG_ARG(s->heads),
                                   CLG_ARG(s->share),     CLG_ARG(s->k)};

    return clg_enqueue(run, GATE, groups, local, args, CLG_COUNT(args));
}

static clgaze_status turn(struct clg_run *run, const struct clg_gate_side *s, const clgaze_tensor *x)
{
    const clgaze_problem *p = run->p;
    const struct clg_sizes *n = &run->n;
    const cl_ulong x_at = x->offset, y_at = s->y->offset, f_at = run->t.rope_inv_freq.offset;
    const cl_ulong seqs_from = clg_seqs_from(run);
    const cl_int sequences = n->sequences, sq = n->sq, sk = n->sk, pairs = p->rope_pairs;
    const cl_float scale = p->rope_scale;
    const size_t wg = 32, items = (size_t)(clg_gate_dim(p) - pairs);
    const size_t groups[3] = {(items + wg - 1) / wg, (size_t)s->rows_seq, (size_t)sequences}, local[3] = {wg, 1, 1};
    const struct clg_arg args[] = {CLG_ARG(x->buffer),
                                   CLG_ARG(x_at),
                                   CLG_ARG(s->y->buffer),
                                   CLG_ARG(y_at),
                                   CLG_ARG(run->t.rope_inv_freq.buffer),
                                   CLG_ARG(f_at),
                                   CLG_ARG(run->workspace),
                                   CLG_ARG(seqs_from),
                                   CLG_ARG(sequences),
                                   CLG_ARG(sq),
                                   CLG_ARG(sk),
                                   CLG_ARG(s->rows),
                                   CLG_ARG(s->heads),
                                   CLG_ARG(pairs),
                                   CLG_ARG(s->which),
                                   CLG_ARG(s->block),
                                   CLG_ARG(scale)};

    return clg_enqueue(run, ROPE, groups, local, args, CLG_COUNT(args));
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
        1,
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
        0,
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
    clgaze_status st = CLGAZE_OK;

    for (int keys = 1; keys >= 0; keys--) {
        const struct clg_gate_side s = clg_gate_side(run, keys);

        if (s.w)
            TRY(multiply(run, &s));
        if (!s.w || run->p->rope_pairs || run->warming)
            TRY(turn(run, &s, s.w ? s.y : s.x)); /* without a matrix it also copies */
    }
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
    .space = clg_gate_space,
    .sources = (const char *const[]){"common.cl", "gate.cl", NULL},
    .entries = (const char *const[]){"gate", "rope", NULL},
    .options = "",
    .key = clg_gate_key,
    .define = clg_gate_define,
    .fits = clg_gate_fits,
    .launch = launch,
};
