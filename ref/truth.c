/* SPDX-License-Identifier: Apache-2.0 */
/*
 * truth.c: which blocks dense attention needs.
 *
 *     P[t, s] = exp(scale q[t] . k[s] - lse[t])       over the keys s that t may see
 *     M[i, j] = max of P[t, s] over the tokens t of query block i and s of key block j
 *     T[i, j] = M[i, j] / sum over j of M[i, j]
 *
 * 0 where nothing is visible.  Packed: block numbers count from their own
 * sequence's first key; columns beyond its last are 0.
 */
#include <math.h>

#include "ref.h"

static double logit(const clgaze_problem *p, const float *q, const float *k)
{
    double sum = 0;

    for (int c = 0; c < p->head_dim; c++)
        sum += (double)q[c] * (double)k[c];
    return sum * (p->scale != 0 ? (double)p->scale : 1 / sqrt(p->head_dim));
}

/* Raise row[j] to the greatest weight of token q's keys 0 .. n - 1; answers its lse. */
static double raise(const clgaze_problem *p, const float *q, const float *k, int n, float *row)
{
    const int64_t stride = (int64_t)p->kv_heads * p->head_dim;
    double top = -INFINITY, sum = 0;

    for (int s = 0; s < n; s++)
        top = fmax(top, logit(p, q, k + s * stride));
    for (int s = 0; s < n; s++)
        sum += exp(logit(p, q, k + s * stride) - top);
    for (int s = 0; s < n; s++)
        row[s / p->block_k] = fmaxf(row[s / p->block_k], (float)(exp(logit(p, q, k + s * stride) - top) / sum));
    return top + log(sum);
}

static void share(float *row, int n)
{
    double sum = 0;

    for (int j = 0; j < n; j++)
        sum += (double)row[j];
    for (int j = 0; j < n && sum > 0; j++)
        row[j] = (float)((double)row[j] / sum);
}

static void truth_head(const clgaze_problem *p, struct clg_ref *t, const struct clg_ref_seq *s, int h)
{
    const int D = p->head_dim, group = p->q_heads / p->kv_heads, cols = clg_ref_cols(p, t);
    const int64_t q_token = (int64_t)s->batch * t->sq + s->q0, k_token = (int64_t)s->batch * t->sk + s->k0;
    const int64_t head = (int64_t)s->batch * p->q_heads + h;
    const float *k = t->k + (k_token * p->kv_heads + h / group) * D;
    float *map = t->truth + (head * clg_ref_rows(p, t) + s->row0) * cols;

    for (int64_t e = 0; e < (int64_t)s->nq * cols; e++)
        map[e] = 0;
    for (int i = 0; i < s->sq; i++) {
        const int keys = p->causal ? i + 1 + s->sk - s->sq : s->sk;
        const double lse =
            raise(p, t->q + ((q_token + i) * p->q_heads + h) * D, k, keys, map + (int64_t)(i / p->block_q) * cols);

        if (t->lse)
            t->lse[head * t->sq + s->q0 + i] = (float)lse;
    }
    for (int i = 0; i < s->nq; i++)
        share(map + (int64_t)i * cols, cols);
}

void clg_ref_truth(const clgaze_problem *p, struct clg_ref *t)
{
    for (int i = 0; i < clg_ref_sequences(p, t); i++) {
        struct clg_ref_seq s = clg_ref_seq(p, t, i);

        for (int h = 0; h < p->q_heads; h++)
            truth_head(p, t, &s, h);
    }
    if (t->v) {
        clgaze_problem dense = *p;

        dense.lists = CLGAZE_LISTS_DENSE;
        clg_ref_attend(&dense, t);
    }
}
