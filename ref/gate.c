/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate.c: pooled blocks become gate vectors.
 *
 *     single:  Qg[i, h] = RoPE(Qp[i, h])                Kg[j, h] = RoPE(Kp[j, h / g] Wk[h])
 *     double:  Qg[i, h] = RoPE(Qp[i, h] Wq[h])          Kg[j, h] = RoPE(Kp[j, h] Wk[h])
 *
 * with g = Hq / Hk; in the single form h runs over the query heads on both
 * sides, in the double form the h of Kg over the key-value heads.  RoPE turns
 * the pair (a, b) number f by the angle x = position * inv_freq[f]:
 *
 *     a' = (a cos x - b sin x) rope_scale,  b' = (b cos x + a sin x) rope_scale
 *
 * Position: the block's first token, j * bk; for queries i * bq, plus Sk - Sq
 * when causal; packed sequences count from their own first token.
 */
#include <math.h>
#include <stddef.h>

#include "ref.h"

enum { MAX_DIM = 256 };

static int pools_of(uint32_t set)
{
    return !!(set & CLGAZE_MAX) + !!(set & CLGAZE_MIN) + !!(set & CLGAZE_AVG);
}

static int gate_dim(const clgaze_problem *p)
{
    return p->gate_dim ? p->gate_dim : p->head_dim;
}

static void rope(const clgaze_problem *p, const float *inv_freq, double position, double *x)
{
    int n = inv_freq ? p->rope_pairs : 0;

    for (int f = 0; f < n; f++) {
        double *a = p->rope_interleaved ? x + 2 * f : x + f;
        double *b = p->rope_interleaved ? a + 1 : a + n;
        double angle = position * (double)inv_freq[f], scale = (double)p->rope_scale;
        double c = cos(angle) * scale, s = sin(angle) * scale, a0 = *a;

        *a = a0 * c - *b * s;
        *b = *b * c + a0 * s;
    }
}

/* y = RoPE(x w), w of [width, dg]; w NULL: RoPE(x). */
static void gate_block(const clgaze_problem *p, const struct clg_ref *t, const float *x, int width, const float *w,
                       double position, float *y)
{
    int dg = gate_dim(p);
    double sum[MAX_DIM] = {0};

    for (int c = 0; c < dg; c++) {
        if (!w)
            sum[c] = (double)x[c];
        for (int e = 0; w && e < width; e++)
            sum[c] += (double)x[e] * (double)w[(int64_t)e * dg + c];
    }
    rope(p, t->rope_inv_freq, position, sum);
    for (int c = 0; c < dg; c++)
        y[c] = (float)sum[c];
}

static void gate_q(const clgaze_problem *p, struct clg_ref *t, const struct clg_ref_seq *s)
{
    int width = pools_of(p->q_pool) * p->head_dim, dg = gate_dim(p);
    int64_t first = (int64_t)s->batch * clg_ref_rows(p, t) + s->row0;

    for (int i = 0; i < s->nq; i++)
        for (int h = 0; h < p->q_heads; h++) {
            int64_t at = (first + i) * p->q_heads + h;
            double position = (double)i * p->block_q + (p->causal ? s->sk - s->sq : 0);

            gate_block(p, t, t->q_pooled + at * width, width,
                       p->gate_double ? t->w_q + (int64_t)h * width * dg : NULL, position, t->q_gated + at * dg);
        }
}

static void gate_k(const clgaze_problem *p, struct clg_ref *t, const struct clg_ref_seq *s)
{
    int width = pools_of(p->k_pool) * p->head_dim, dg = gate_dim(p);
    int heads = p->gate_double ? p->kv_heads : p->q_heads, shared = heads / p->kv_heads;
    int64_t first = (int64_t)s->batch * clg_ref_blocks_k(p, t) + s->col0;

    for (int j = 0; j < s->nk; j++)
        for (int h = 0; h < heads; h++) {
            const float *x = t->k_pooled + ((first + j) * p->kv_heads + h / shared) * width;

            gate_block(p, t, x, width, t->w_k + (int64_t)h * width * dg, (double)j * p->block_k,
                       t->k_gated + ((first + j) * heads + h) * dg);
        }
}

void clg_ref_gate(const clgaze_problem *p, struct clg_ref *t)
{
    for (int i = 0; i < clg_ref_sequences(p, t); i++) {
        struct clg_ref_seq s = clg_ref_seq(p, t, i);

        gate_q(p, t, &s);
        gate_k(p, t, &s);
    }
}
