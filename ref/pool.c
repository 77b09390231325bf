/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool.c: blocks of tokens become one token each.
 *
 *     max[i, c] = max over t of x[t, c],  min alike,  avg[i, c] = sum over t of x[t, c] / count
 *
 * over the tokens t of block i that exist, so a partial last block pools fewer.
 * Several pools lie one after another on the channel axis: max, min, avg.
 */
#include "ref.h"

static int pools_of(uint32_t set)
{
    return !!(set & CLGAZE_MAX) + !!(set & CLGAZE_MIN) + !!(set & CLGAZE_AVG);
}

/* One side of the problem. */
struct side {
    int heads, dim, block;
    uint32_t pools;
};

/* `n` tokens at x, `stride` elements apart -> the pools of one head of one block. */
static void pool_block(const struct side *a, const float *x, int64_t stride, int n, float *y)
{
    for (int c = 0; c < a->dim; c++) {
        float top = x[c], low = x[c], *at = y + c;
        double sum = 0;

        for (int i = 0; i < n; i++) {
            float e = x[i * stride + c];

            top = e > top ? e : top;
            low = e < low ? e : low;
            sum += (double)e;
        }
        if (a->pools & CLGAZE_MAX) {
            *at = top;
            at += a->dim;
        }
        if (a->pools & CLGAZE_MIN) {
            *at = low;
            at += a->dim;
        }
        if (a->pools & CLGAZE_AVG)
            *at = (float)(sum / n);
    }
}

/* All blocks of `tokens` tokens at x. */
static void pool_tokens(const struct side *a, const float *x, int tokens, float *y)
{
    int64_t stride = (int64_t)a->heads * a->dim;

    for (int t = 0; t < tokens; t += a->block) {
        int n = tokens - t < a->block ? tokens - t : a->block;

        for (int h = 0; h < a->heads; h++) {
            pool_block(a, x + t * stride + (int64_t)h * a->dim, stride, n, y);
            y += (int64_t)pools_of(a->pools) * a->dim;
        }
    }
}

void clg_ref_pool(const clgaze_problem *p, struct clg_ref *t)
{
    struct side q = {p->q_heads, p->head_dim, p->block_q, p->q_pool};
    struct side k = {p->kv_heads, p->head_dim, p->block_k, p->k_pool};
    int64_t q_row = (int64_t)q.heads * q.dim, k_row = (int64_t)k.heads * k.dim;
    int rows = clg_ref_rows(p, t), cols = clg_ref_blocks_k(p, t);

    for (int i = 0; i < clg_ref_sequences(p, t); i++) {
        struct clg_ref_seq s = clg_ref_seq(p, t, i);
        int64_t q_token = (int64_t)s.batch * t->sq + s.q0, q_block = (int64_t)s.batch * rows + s.row0;
        int64_t k_token = (int64_t)s.batch * t->sk + s.k0, k_block = (int64_t)s.batch * cols + s.col0;

        if (t->q_gate)
            pool_tokens(&q, t->q_gate + q_token * q_row, s.sq, t->q_pooled + q_block * pools_of(q.pools) * q_row);
        if (t->k_gate)
            pool_tokens(&k, t->k_gate + k_token * k_row, s.sk, t->k_pooled + k_block * pools_of(k.pools) * k_row);
    }
}
