/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sparse_lists.c: lists and the gate's tensors of a row.
 */
#include <stdlib.h>

#include "fail.h"
#include "internal.h"
#include "sparse.h"

/* ---- lists of a pattern ---- */

/* The buffers come first: what the device refuses is not made on the host. */
int make_lists(struct work *w, clgaze_tensors *t)
{
    const struct row *row = w->row;
    int64_t h = clg_list_heads(&w->problem), rows = w->rows, width = lists_count(row->value, w->rows - 1);
    size_t n = (size_t)(h * rows) * sizeof(int32_t);
    int code;

    if ((code = make_tensor(w, &t->counts, "counts", CLGAZE_I32, 3, (int64_t[]){1, h, rows})) ||
        (code = make_tensor(w, &t->blocks, "blocks", CLGAZE_I32, 4, (int64_t[]){1, h, rows, width})))
        return code;
    if (lists_make(&w->lists, (int)h, w->rows, row->value, SEED_LISTS))
        return fail(EXIT_INPUT, "host memory ran out");
    if (w->o->pattern == LOCAL)
        lists_local(&w->lists);
    if (w->o->pattern == STRIDED)
        lists_strided(&w->lists);
    if ((code = bench_write(w->b, t->counts.buffer, w->lists.counts, n)))
        return code;
    if ((code = bench_write(w->b, t->blocks.buffer, w->lists.blocks, n * (size_t)width)))
        return code;
    return lists_spread(&w->lists, row->heads) ? fail(EXIT_INPUT, "host memory ran out") : 0;
}

/* ---- lists by the gate ---- */

/* The first `count` of what stages hand on; one call of prefill keeps it in its workspace. */
static int make_between(struct work *w, size_t count, clgaze_tensors *t)
{
    const clgaze_problem *p = &w->problem;
    int64_t h = p->q_heads, kv = p->kv_heads, d = p->head_dim, dg = clg_gate_dim(p), n = w->rows;
    int64_t gated = p->gate_double ? kv : h;
    const struct {
        const char *name;
        clgaze_tensor *to;
        int64_t shape[4];
    } tensors[] = {{"q_pooled", &t->q_pooled, {1, n, h, clg_pools(p->q_pool) * d}},
                   {"k_pooled", &t->k_pooled, {1, n, kv, clg_pools(p->k_pool) * d}},
                   {"q_gated", &t->q_gated, {1, n, h, dg}},
                   {"k_gated", &t->k_gated, {1, n, gated, dg}},
                   {"scores", &t->scores, {1, h, n, n}}};
    int code = 0;

    for (size_t i = 0; i < count && !code; i++)
        code = make_tensor(w, tensors[i].to, tensors[i].name, CLGAZE_F32, 4, tensors[i].shape);
    return code;
}

/* What pool reads, and the weights. */
static int make_inputs(struct work *w, clgaze_tensors *t)
{
    const clgaze_problem *p = &w->problem;
    int64_t h = p->q_heads, kv = p->kv_heads, dg = clg_gate_dim(p), pairs = p->rope_pairs;
    int64_t k[] = {p->gate_double ? kv : h, clg_pools(p->k_pool) * p->head_dim, dg};
    int64_t q[] = {h, clg_pools(p->q_pool) * p->head_dim, dg};
    int code = 0;

    t->q_gate = t->q; /* random numbers are as good before RoPE as after it */
    t->k_gate = t->k;
    if (w->o->input)
        (void)((code = make_tensor(w, &t->q_gate, "q_gate", p->dtype, 4, t->q.shape)) ||
               (code = make_tensor(w, &t->k_gate, "k_gate", p->dtype, 4, t->k.shape)));
    if (!code)
        code = make_tensor(w, &t->w_k, "w_k", p->weight_dtype, 3, k);
    if (!code && p->gate_double)
        code = make_tensor(w, &t->w_q, "w_q", p->weight_dtype, 3, q);
    if (!code && pairs)
        code = make_tensor(w, &t->rope_inv_freq, "rope_inv_freq", CLGAZE_F32, 1, &pairs);
    return code ? code : input_fill_gate(w, t);
}

int make_gate(struct work *w, clgaze_tensors *t)
{
    bool prefill = w->o->op == OP_PREFILL;
    int64_t h = w->row->heads, n = w->rows, width = clgaze_plan_width(w->plans[prefill ? 1 : 4]);
    int code = make_between(w, prefill ? 0 : 5, t);

    if (!code)
        code = make_tensor(w, &t->counts, "counts", CLGAZE_I32, 3, (int64_t[]){1, h, n});
    if (!code)
        code = make_tensor(w, &t->blocks, "blocks", CLGAZE_I32, 4, (int64_t[]){1, h, n, width});
    return code ? code : make_inputs(w, t);
}

int make_lesson(struct work *w, clgaze_tensors *t)
{
    int code = make_between(w, 2, t);

    if (!code && !(code = make_inputs(w, t)))
        code = make_tensor(w, &t->dw_k, "dw_k", CLGAZE_F32, 3, t->w_k.shape);
    if (!code && t->w_q.buffer)
        code = make_tensor(w, &t->dw_q, "dw_q", CLGAZE_F32, 3, t->w_q.shape);
    return code ? code : make_tensor(w, &t->loss, "loss", CLGAZE_F32, 1, (int64_t[]){1});
}

int read_lists(struct work *w)
{
    const clgaze_tensors *t = &w->steps[w->n - 1].tensors;
    size_t n = (size_t)w->row->heads * (size_t)w->rows, width = (size_t)t->blocks.shape[3];
    int code;

    w->lists = (struct lists){w->row->heads, w->rows, (int)width, malloc(n * sizeof(int32_t)),
                              malloc(n * width * sizeof(int32_t))};
    if (!w->lists.counts || !w->lists.blocks)
        return fail(EXIT_INPUT, "host memory ran out");
    if ((code = bench_read(w->b, t->counts.buffer, 0, w->lists.counts, n * sizeof(int32_t))))
        return code;
    return bench_read(w->b, t->blocks.buffer, 0, w->lists.blocks, n * width * sizeof(int32_t));
}
