/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sparse_check_train.c: samples of what training computes, against ref/.
 */
#include <math.h>
#include <string.h>

#include "internal.h"
#include "sample.h"

enum { ROWS = 2, TOKENS = 8, KEYS = 4 };

/* ---- truth ---- */

int check_truth(struct work *w, const clgaze_tensors *t, struct verdict *v)
{
    size_t rows = (size_t)w->rows;
    int code = 0;

    v->allowed = 1e-5;
    for (int n = 0; n < ROWS && !code; n++) {
        struct gap g = {0};
        struct sample s;
        int first, tokens, head, i = pick_row(&w->problem, t, n, &first, &tokens, &head);

        sample_open(&s, w->b, &w->problem, t, head, first, tokens);
        read_qkv(&s);
        s.t.v = NULL; /* the map alone */
        s.t.truth = room(&s, rows);
        if (!s.code)
            clg_ref_truth(&s.p, &s.t);
        gap_add(&g, read_part(&s, &t->truth, ((size_t)head * rows + (size_t)i) * rows, rows), s.t.truth, rows);
        raise_error(v, &g);
        code = sample_close(&s);
    }
    return code;
}

/* ---- distill ---- */

static double *doubles(struct sample *s, const float *x, size_t n)
{
    double *y = room(s, n);

    for (size_t i = 0; i < n && !s->code; i++)
        y[i] = (double)x[i];
    return y;
}

static float *floats(struct sample *s, const double *x, size_t n, double scale)
{
    float *y = room(s, n);

    for (size_t i = 0; i < n && !s->code; i++)
        y[i] = (float)(x[i] * scale);
    return y;
}

/* The group of a key-value head: its share of the loss, and the gradients of its weights. */
static int check_group(struct work *w, const clgaze_tensors *t, int kv, double *loss, struct gap *g)
{
    const clgaze_problem *p = &w->problem;
    int group = p->q_heads / p->kv_heads, heads = p->gate_double ? 1 : group;
    size_t dg = (size_t)clg_gate_dim(p), n = (size_t)w->rows, maps = (size_t)group * n * n;
    size_t nk = (size_t)(heads * clg_pools(p->k_pool) * p->head_dim) * dg;
    size_t nq = p->gate_double ? (size_t)(group * clg_pools(p->q_pool) * p->head_dim) * dg : 0;
    struct clg_ref_distill d = {0};
    struct sample s;

    sample_open(&s, w->b, p, t, kv * group, 0, (int)t->q.shape[1]);
    s.p.q_heads = group;
    s.t.q_pooled = read_heads(&s, &t->q_pooled, kv * group, group, 0, w->rows);
    s.t.k_pooled = read_heads(&s, &t->k_pooled, kv, 1, 0, w->rows);
    if (p->rope_pairs)
        s.t.rope_inv_freq = read_part(&s, &t->rope_inv_freq, 0, (size_t)p->rope_pairs);
    d.truth = read_part(&s, &t->truth, (size_t)kv * maps, maps);
    d.w_k = doubles(&s, read_part(&s, &t->w_k, (size_t)kv * nk, nk), nk);
    d.dw_k = room(&s, nk);
    if (nq) {
        d.w_q = doubles(&s, read_part(&s, &t->w_q, (size_t)kv * nq, nq), nq);
        d.dw_q = room(&s, nq);
    }
    if (!s.code)
        *loss += clg_ref_distill(&s.p, &s.t, &d) / p->kv_heads;
    gap_add(g, read_part(&s, &t->dw_k, (size_t)kv * nk, nk), floats(&s, d.dw_k, nk, 1.0 / p->kv_heads), nk);
    if (nq)
        gap_add(g, read_part(&s, &t->dw_q, (size_t)kv * nq, nq), floats(&s, d.dw_q, nq, 1.0 / p->kv_heads), nq);
    return sample_close(&s);
}

/* All heads, where ref/ can do them in a second or two, and the loss; else one. */
int check_distill(struct work *w, const clgaze_tensors *t, struct verdict *v)
{
    const double most = 1 << 22; /* pairs of blocks */
    bool all = (double)w->rows * w->rows * w->problem.q_heads <= most;
    struct gap g = {0};
    double want = 0;
    float got = 0;
    int code = 0;

    v->allowed = 1e-3;
    for (int kv = 0; kv < (all ? w->problem.kv_heads : 1) && !code; kv++)
        code = check_group(w, t, kv, &want, &g);
    raise_error(v, &g);
    if (code || (code = bench_read(w->b, t->loss.buffer, 0, &got, sizeof got)) || !all)
        return code;
    if (!(fabs((double)got - want) <= 1e-4 * fabs(want)))
        v->error = INFINITY;
    return 0;
}

/* ---- attend_bwd ---- */

static void read_outs(struct sample *s)
{
    size_t at = (size_t)s->head * (size_t)s->seq + (size_t)s->first;

    s->t.dout = read_heads(s, &s->from->dout, s->head, 1, s->first, s->t.sq);
    s->t.out = read_heads(s, &s->from->out, s->head, 1, s->first, s->t.sq);
    s->t.lse = read_part(s, &s->from->lse, at, (size_t)s->t.sq);
    s->t.dq = room(s, (size_t)s->t.sq * (size_t)s->p.head_dim);
    s->t.dk = room(s, (size_t)s->t.sk * (size_t)s->p.head_dim);
    s->t.dv = room(s, (size_t)s->t.sk * (size_t)s->p.head_dim);
}

static int check_dq(struct bench *b, const clgaze_problem *p, const clgaze_tensors *t, const struct lists *lists,
                    struct gap *g)
{
    int code = 0;

    for (int n = 0; n < TOKENS && !code; n++) {
        struct sample s;
        int token, head;

        pick_token(t, n, &token, &head);
        sample_open(&s, b, p, t, head, token, 1);
        read_qkv(&s);
        read_outs(&s);
        take_list(&s, lists);
        if (!s.code)
            clg_ref_attend_bwd(&s.p, &s.t);
        gap_add(g, read_heads(&s, &t->dq, head, 1, token, 1), s.t.dq, (size_t)p->head_dim);
        code = sample_close(&s);
    }
    return code;
}

/* Keep the query tokens whose rows list the block of the key. */
static void keep_listed(struct sample *s, const struct lists *lists, int block)
{
    size_t d = (size_t)s->p.head_dim * sizeof(float);
    float *arrays[] = {(float *)s->t.q, (float *)s->t.dout, s->t.out};
    int n = 0;

    for (int i = 0; i < s->t.sq; i++) {
        struct sample row = {.head = s->head, .first = s->first + i, .p = s->p};

        take_list(&row, lists);
        if (!clg_ref_listed(&row.p, &row.t, 0, block))
            continue;
        for (int a = 0; a < 3; a++)
            memmove(arrays[a] + n * s->p.head_dim, arrays[a] + i * s->p.head_dim, d);
        s->t.lse[n++] = s->t.lse[i];
    }
    s->t.sq = n;
}

/* What the queries of one head add to the gradients of a key: one key alone, which all of them see. */
static int add_head(struct bench *b, const clgaze_problem *p, const clgaze_tensors *t, const struct lists *lists,
                    int head, int key, float *dk, float *dv)
{
    struct sample s;

    sample_open(&s, b, p, t, head, key, (int)t->q.shape[1] - key);
    s.t.sk = 1;
    s.p.causal = 0;
    s.t.q = read_heads(&s, &t->q, head, 1, key, s.t.sq);
    s.t.k = read_heads(&s, &t->k, s.kv, 1, key, 1);
    s.t.v = read_heads(&s, &t->v, s.kv, 1, key, 1);
    read_outs(&s);
    if (!s.code)
        keep_listed(&s, lists, key / p->block_k);
    if (!s.code)
        clg_ref_attend_bwd(&s.p, &s.t);
    for (int c = 0; c < p->head_dim && !s.code; c++) {
        dk[c] += s.t.dk[c];
        dv[c] += s.t.dv[c];
    }
    return sample_close(&s);
}

static int check_dkv(struct bench *b, const clgaze_problem *p, const clgaze_tensors *t, const struct lists *lists,
                     struct gap *g)
{
    int group = p->q_heads / p->kv_heads, code = 0;

    for (int n = 0; n < KEYS && !code; n++) {
        float dk[256] = {0}, dv[256] = {0};
        struct sample s;
        int key, head;

        pick_token(t, n, &key, &head);
        for (int h = head - head % group; h < head - head % group + group && !code; h++)
            code = add_head(b, p, t, lists, h, key, dk, dv);
        sample_open(&s, b, p, t, head, key, 1);
        s.code = code;
        gap_add(&g[0], read_heads(&s, &t->dk, s.kv, 1, key, 1), dk, (size_t)p->head_dim);
        gap_add(&g[1], read_heads(&s, &t->dv, s.kv, 1, key, 1), dv, (size_t)p->head_dim);
        code = sample_close(&s);
    }
    return code;
}

/* Gradients of single tokens may be small beside what they are sums of, so the samples count together. */
int check_attend_bwd(struct work *w, const clgaze_tensors *t, const struct lists *lists, struct verdict *v)
{
    struct gap g[3] = {{0}};
    int code = check_dq(w->b, &w->problem, t, lists, &g[0]);

    if (!code)
        code = check_dkv(w->b, &w->problem, t, lists, &g[1]);
    for (int i = 0; i < 3; i++)
        raise_error(v, &g[i]);
    return code;
}
