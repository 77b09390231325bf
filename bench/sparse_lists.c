/*
 * sparse_lists.c: lists and the gate's tensors of a row.
 */
#include <stdlib.h>

#include "fail.h"
#include "sparse.h"

/* ---- lists of a pattern ---- */

/* The buffers come first: what the device refuses is not made on the host. */
int make_lists(struct work *w, clgaze_tensors *t)
{
    const struct row *row = w->row;
    int64_t h = row->heads, rows = w->rows, width = lists_count(row->value, w->rows - 1);
    size_t n = (size_t)(h * rows) * sizeof(int32_t);
    int code;

    if ((code = make_tensor(w, &t->counts, "counts", CLGAZE_I32, 3, (int64_t[]){1, h, rows})) ||
        (code = make_tensor(w, &t->blocks, "blocks", CLGAZE_I32, 4, (int64_t[]){1, h, rows, width})))
        return code;
    if (lists_make(&w->lists, row->heads, w->rows, row->value, SEED_LISTS))
        return fail(EXIT_INPUT, "host memory ran out");
    if (w->o->pattern == LOCAL)
        lists_local(&w->lists);
    if (w->o->pattern == STRIDED)
        lists_strided(&w->lists);
    if ((code = bench_write(w->b, t->counts.buffer, w->lists.counts, n)))
        return code;
    return bench_write(w->b, t->blocks.buffer, w->lists.blocks, n * (size_t)width);
}

/* ---- lists by the gate ---- */

static int pools(uint32_t set)
{
    return !!(set & CLGAZE_MAX) + !!(set & CLGAZE_MIN) + !!(set & CLGAZE_AVG);
}

/* One call of prefill keeps what lies between in its workspace; stages hand it on. */
static int make_between(struct work *w, clgaze_tensors *t)
{
    const clgaze_problem *p = &w->problem;
    int64_t h = p->q_heads, kv = p->kv_heads, d = p->head_dim, dg = p->gate_dim ? p->gate_dim : d, n = w->rows;
    int64_t gated = p->gate_double ? kv : h;
    const struct {
        const char *name;
        clgaze_tensor *to;
        int64_t shape[4];
    } tensors[] = {{"q_pooled", &t->q_pooled, {1, n, h, pools(p->q_pool) * d}},
                   {"k_pooled", &t->k_pooled, {1, n, kv, pools(p->k_pool) * d}},
                   {"q_gated", &t->q_gated, {1, n, h, dg}},
                   {"k_gated", &t->k_gated, {1, n, gated, dg}},
                   {"scores", &t->scores, {1, h, n, n}}};
    int code = 0;

    for (size_t i = 0; i < sizeof tensors / sizeof *tensors && !code; i++)
        code = make_tensor(w, tensors[i].to, tensors[i].name, CLGAZE_F32, 4, tensors[i].shape);
    return code;
}

static int make_weights(struct work *w, clgaze_tensors *t)
{
    const clgaze_problem *p = &w->problem;
    int64_t h = p->q_heads, kv = p->kv_heads, d = p->head_dim, dg = p->gate_dim ? p->gate_dim : d;
    int64_t k[] = {p->gate_double ? kv : h, pools(p->k_pool) * d, dg}, q[] = {h, pools(p->q_pool) * d, dg};
    int64_t pairs = p->rope_pairs;
    int code = make_tensor(w, &t->w_k, "w_k", p->weight_dtype, 3, k);

    if (!code && p->gate_double)
        code = make_tensor(w, &t->w_q, "w_q", p->weight_dtype, 3, q);
    if (!code && pairs)
        code = make_tensor(w, &t->rope_inv_freq, "rope_inv_freq", CLGAZE_F32, 1, &pairs);
    return code;
}

int make_gate(struct work *w, clgaze_tensors *t)
{
    bool prefill = w->o->op == OP_PREFILL;
    clgaze_dtype dtype = (clgaze_dtype)w->o->dtype;
    int64_t h = w->row->heads, kv = w->row->kv_heads, d = w->row->head_dim, seq = w->row->seq, n = w->rows;
    int64_t width = clgaze_plan_width(w->plans[prefill ? 1 : 4]);
    int code = prefill ? 0 : make_between(w, t);

    t->q_gate = t->q; /* random numbers are as good before RoPE as after it */
    t->k_gate = t->k;
    if (!code && w->o->input)
        (void)((code = make_tensor(w, &t->q_gate, "q_gate", dtype, 4, (int64_t[]){1, seq, h, d})) ||
               (code = make_tensor(w, &t->k_gate, "k_gate", dtype, 4, (int64_t[]){1, seq, kv, d})));
    if (!code)
        code = make_weights(w, t);
    if (!code)
        code = make_tensor(w, &t->counts, "counts", CLGAZE_I32, 3, (int64_t[]){1, h, n});
    if (!code)
        code = make_tensor(w, &t->blocks, "blocks", CLGAZE_I32, 4, (int64_t[]){1, h, n, width});
    return code ? code : input_fill_gate(w, t);
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
