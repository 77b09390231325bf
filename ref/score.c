/* SPDX-License-Identifier: Apache-2.0 */
/*
 * score.c: gate vectors become block scores.
 *
 *     A[h, i, j] = Qg[i, h] . Kg[j, h'] / sqrt(dg)      where row i sees block j
 *                = -inf                                 elsewhere
 *
 * h' = h in the single form of the gate, h / (Hq / Hk) in the double form.
 * Packed: block numbers count from their own sequence's first key; columns
 * beyond its last are -inf.
 */
#include <math.h>

#include "ref.h"

static float dot(const float *a, const float *b, int n)
{
    double sum = 0;

    for (int i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return (float)(sum / sqrt(n));
}

static void score_seq(const clgaze_problem *p, struct clg_ref *t, const struct clg_ref_seq *s)
{
    int dg = p->gate_dim ? p->gate_dim : p->head_dim;
    int k_heads = p->gate_double ? p->kv_heads : p->q_heads, shared = p->q_heads / k_heads;
    int rows = clg_ref_rows(p, t), cols = clg_ref_cols(p, t);
    int64_t row0 = (int64_t)s->batch * rows + s->row0;
    int64_t col0 = (int64_t)s->batch * clg_ref_blocks_k(p, t) + s->col0;

    for (int h = 0; h < p->q_heads; h++)
        for (int i = 0; i < s->nq; i++) {
            const float *q = t->q_gated + ((row0 + i) * p->q_heads + h) * dg;
            float *y = t->scores + (((int64_t)s->batch * p->q_heads + h) * rows + s->row0 + i) * cols;
            int visible = clg_ref_visible(p, s, i);

            for (int j = 0; j < cols; j++)
                y[j] = j < visible ? dot(q, t->k_gated + ((col0 + j) * k_heads + h / shared) * dg, dg) : -INFINITY;
        }
}

void clg_ref_score(const clgaze_problem *p, struct clg_ref *t)
{
    for (int i = 0; i < clg_ref_sequences(p, t); i++) {
        struct clg_ref_seq s = clg_ref_seq(p, t, i);

        score_seq(p, t, &s);
    }
}
