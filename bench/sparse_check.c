/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sparse_check.c: samples of what a step made, against ref/.
 */
#include <math.h>

#include "internal.h"
#include "sample.h"

enum { TOKENS = 8, ROWS = 6 };

double check_tolerance(clgaze_dtype dtype)
{
    return dtype == CLGAZE_F32 ? 1e-5 : dtype == CLGAZE_F16 ? 1e-3 : 8e-3;
}

/* ---- attend ---- */

int check_attend(struct bench *b, const clgaze_problem *p, const clgaze_tensors *t, const struct lists *lists,
                 struct verdict *v)
{
    size_t d = (size_t)p->head_dim;
    int code = 0;

    v->what = "attend";
    for (int n = 0; n < TOKENS && !code; n++) {
        struct gap out = {0}, lse = {0};
        struct sample s;
        int token, head;

        pick_token(t, n, &token, &head);
        sample_open(&s, b, p, t, head, token, 1);
        read_qkv(&s);
        take_list(&s, lists);
        s.t.out = room(&s, d);
        s.t.lse = room(&s, 1);
        if (!s.code)
            clg_ref_attend(&s.p, &s.t);
        gap_add(&out, read_heads(&s, &t->out, head, 1, token, 1), s.t.out, d);
        if (t->lse.buffer)
            gap_add(&lse, read_part(&s, &t->lse, (size_t)head * (size_t)s.seq + (size_t)token, 1), s.t.lse, 1);
        raise_error(v, &out);
        raise_error(v, &lse);
        code = sample_close(&s);
    }
    return code;
}

/* ---- pool, gate, score, select ---- */

/* What ref/ makes of the tokens: pools, gate vectors and scores of the sample's row. */
static void ref_scores(struct sample *s)
{
    const clgaze_tensors *t = s->from;
    size_t cols = (size_t)(s->t.sk + s->p.block_k - 1) / (size_t)s->p.block_k,
           all = (size_t)(s->seq + s->p.block_k - 1) / (size_t)s->p.block_k;
    size_t qp = (size_t)clg_pools(s->p.q_pool) * (size_t)s->p.head_dim, dg = (size_t)clg_gate_dim(&s->p);
    size_t kp = (size_t)clg_pools(s->p.k_pool) * (size_t)s->p.head_dim;
    int w_head = s->p.gate_double ? s->kv : s->head;

    s->t.q_gate = read_heads(s, &t->q_gate, s->head, 1, s->first, s->t.sq);
    s->t.k_gate = read_heads(s, &t->k_gate, s->kv, 1, 0, s->t.sk);
    s->t.w_k = read_part(s, &t->w_k, (size_t)w_head * kp * dg, kp * dg);
    if (s->p.gate_double)
        s->t.w_q = read_part(s, &t->w_q, (size_t)s->head * qp * dg, qp * dg);
    if (s->p.rope_pairs)
        s->t.rope_inv_freq = read_part(s, &t->rope_inv_freq, 0, (size_t)s->p.rope_pairs);
    s->t.q_pooled = room(s, qp);
    s->t.k_pooled = room(s, cols * kp);
    s->t.q_gated = room(s, dg);
    s->t.k_gated = room(s, cols * dg);
    s->t.scores = room(s, all);
    if (s->code)
        return;
    clg_ref_pool(&s->p, &s->t);
    clg_ref_gate(&s->p, &s->t);
    clg_ref_score(&s->p, &s->t);
    for (size_t j = cols; j < all; j++)
        s->t.scores[j] = -INFINITY;
}

/* The sample's row and its last block, as ref/ and as the step of `op` made them. */
static void compare_stage(struct sample *s, clgaze_op op, struct gap *g)
{
    const clgaze_tensors *t = s->from;
    int i = s->first / s->p.block_q, k_head = op == CLGAZE_GATE && !s->p.gate_double ? s->head : s->kv;
    const clgaze_tensor *q = op == CLGAZE_POOL ? &t->q_pooled : &t->q_gated;
    const clgaze_tensor *k = op == CLGAZE_POOL ? &t->k_pooled : &t->k_gated;
    size_t n = (size_t)(s->seq + s->p.block_k - 1) / (size_t)s->p.block_k, qn = (size_t)q->shape[3],
           kn = (size_t)k->shape[3];

    if (op == CLGAZE_SCORE) {
        gap_add(g, read_part(s, &t->scores, ((size_t)s->head * n + (size_t)i) * n, n), s->t.scores, n);
        return;
    }
    gap_add(g, read_heads(s, q, s->head, 1, i, 1), op == CLGAZE_POOL ? s->t.q_pooled : s->t.q_gated, qn);
    gap_add(g, read_heads(s, k, k_head, 1, i, 1), (op == CLGAZE_POOL ? s->t.k_pooled : s->t.k_gated) + (size_t)i * kn,
            kn);
}

/* A made list is ref's, but that blocks whose scores are within `slack` may stand for each other. */
static bool same_list(const struct sample *s, const int32_t *got, int count, float slack)
{
    const float *x = s->t.scores;
    float worst = INFINITY; /* the least score that ref/ kept */
    int e = 0;

    for (int i = 0; i < *s->t.counts; i++)
        worst = fminf(worst, x[s->t.blocks[i]]);
    for (int i = 0; i < count; i++) {
        if (got[i] < 0 || got[i] >= s->t.width || (i && got[i] <= got[i - 1]))
            return false;
        while (e < *s->t.counts && s->t.blocks[e] < got[i])
            e++;
        bool missed = e == *s->t.counts || s->t.blocks[e] != got[i];

        if (missed && !(slack > 0 && x[got[i]] >= worst - slack))
            return false;
    }
    return count == *s->t.counts;
}

/* The row's list from its scores; thresholds and sums may fall to either side within `near`. */
static bool list_agrees(struct sample *s, const struct lists *lists, double near)
{
    size_t row = (size_t)s->head * (size_t)lists->rows + (size_t)(s->first / s->p.block_q);
    bool bounded = s->p.rule == CLGAZE_THRESHOLD || s->p.rule == CLGAZE_TOP_P, agrees = false;
    int last = lists->rows - s->first / s->p.block_q;

    s->t.sk = s->seq; /* rules count the blocks of the whole row */
    s->t.width = lists->rows;
    s->t.counts = room(s, 1);
    s->t.blocks = room(s, (size_t)lists->rows);
    s->p.last_rows = last <= s->p.last_rows;
    for (int i = 0; i < (bounded ? 3 : 1) && !agrees && !s->code; i++) {
        s->p.value = s->whole->value + near * (i == 2 ? -1 : i);
        clg_ref_select(&s->p, &s->t);
        agrees = same_list(s, lists->blocks + row * (size_t)lists->width, lists->counts[row],
                           near > 1e-6 ? (float)near : 0);
    }
    return agrees;
}

/* Stages are fed what the step before them made; prefill shows only its lists. */
static int check_stage(struct work *w, const struct step *step, struct verdict *v)
{
    const clgaze_tensors *t = &step->tensors;
    bool chosen = step->op == CLGAZE_SELECT || step->op == CLGAZE_PREFILL;
    struct gap g = {0}; /* of all samples: a single score may be small beside what it is a sum of */
    int code = 0;

    v->allowed = chosen ? 0 : 1e-5;
    for (int n = 0; n < ROWS && !code; n++) {
        struct sample s;
        int first, tokens, head, i = pick_row(&w->problem, t, n, &first, &tokens, &head);

        sample_open(&s, w->b, &w->problem, t, head, first, tokens);
        if (step->op == CLGAZE_SELECT)
            s.t.scores = read_part(&s, &t->scores, ((size_t)head * (size_t)w->rows + (size_t)i) * (size_t)w->rows,
                                   (size_t)w->rows);
        else
            ref_scores(&s);
        if (!s.code && chosen)
            v->error = list_agrees(&s, &w->lists, step->op == CLGAZE_SELECT ? 1e-6 : 1e-4) ? v->error : 1;
        else if (!s.code)
            compare_stage(&s, step->op, &g);
        code = sample_close(&s);
    }
    raise_error(v, &g);
    return code;
}

/* ---- one step ---- */

int check_step(struct work *w, const struct step *step, const struct lists *lists, struct verdict *v)
{
    int code = 0;

    v->what = op_names[OP_ATTEND];
    switch (step->op) {
    case CLGAZE_ATTEND:
        return check_attend(w->b, &w->problem, &step->tensors, lists, v);
    case CLGAZE_PREFILL:
        v->what = "the lists of prefill";
        if ((code = check_stage(w, step, v)) || v->error > 0)
            return code;
        v->allowed = check_tolerance(w->problem.dtype);
        return check_attend(w->b, &w->problem, &step->tensors, lists, v);
    case CLGAZE_TRUTH:
        v->what = "truth";
        return check_truth(w, &step->tensors, v);
    case CLGAZE_DISTILL:
        v->what = "distill";
        return check_distill(w, &step->tensors, v);
    case CLGAZE_ATTEND_BWD:
        v->what = "attend_bwd";
        return check_attend_bwd(w, &step->tensors, lists, v);
    default:
        v->what = stage_names[step->op];
        return check_stage(w, step, v);
    }
}
