/* SPDX-License-Identifier: Apache-2.0 */
/*
 * distill.c: one step of teaching the gate.
 *
 *     L = mean over batch, heads and rows i >= floor(nq / 4) of
 *         sum_j T[h, i, j] (log T[h, i, j] - log softmax(A[h, i])[j])
 *     dA = (softmax(A) sum_j T - T) / rows
 *
 * T = 0 adds nothing.  The gradient goes back through A = Qg . Kg / sqrt(dg), the
 * transposed RoPE and x w; the pooled x are data.  A packed sequence drops the
 * first quarter of its own rows; the mean is over the rows left of all of them.
 *
 *     AdamW: m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g g
 *            w = w (1 - lr decay) - lr (m / (1 - b1^n)) / (sqrt(v / (1 - b2^n)) + eps)
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ref.h"

/* One query head of one sequence. */
struct head {
    const clgaze_problem *p;
    const float *inv_freq;
    int dg;
    double *q, *k, *dq, *dk, *a; /* gated, their gradients, a row of scores */
};

static int pools_of(uint32_t set)
{
    return !!(set & CLGAZE_MAX) + !!(set & CLGAZE_MIN) + !!(set & CLGAZE_AVG);
}

/* sign -1: the transposed turn, which takes gradients back. */
static void rope(const struct head *g, double position, double sign, double *x)
{
    int n = g->inv_freq ? g->p->rope_pairs : 0;

    for (int f = 0; f < n; f++) {
        double *a = g->p->rope_interleaved ? x + 2 * f : x + f;
        double *b = g->p->rope_interleaved ? a + 1 : a + n;
        double angle = position * (double)g->inv_freq[f], scale = (double)g->p->rope_scale;
        double c = cos(angle) * scale, s = sign * sin(angle) * scale, a0 = *a;

        *a = a0 * c - *b * s;
        *b = *b * c + a0 * s;
    }
}

/* y = RoPE(x w); w NULL: RoPE(x). */
static void forward(const struct head *g, const float *x, int width, const double *w, double position, double *y)
{
    for (int c = 0; c < g->dg; c++)
        y[c] = w ? 0 : (double)x[c];
    for (int e = 0; w && e < width; e++)
        for (int c = 0; c < g->dg; c++)
            y[c] += (double)x[e] * w[(int64_t)e * g->dg + c];
    rope(g, position, 1, y);
}

/* dw += x (RoPE' dy); dy is used up. */
static void backward(const struct head *g, const float *x, int width, double *dw, double position, double *dy)
{
    rope(g, position, -1, dy);
    for (int e = 0; e < width; e++)
        for (int c = 0; c < g->dg; c++)
            dw[(int64_t)e * g->dg + c] += (double)x[e] * dy[c];
}

/* The loss of row i; `share` is 1 / rows of the mean. */
static double row_loss(const struct head *g, const float *truth, int i, int visible, double share)
{
    double *q = g->q + (int64_t)i * g->dg, *dq = g->dq + (int64_t)i * g->dg;
    double top = -INFINITY, sum = 0, mass = 0, loss = 0, root = sqrt(g->dg);

    for (int j = 0; j < visible; j++) {
        g->a[j] = 0;
        for (int c = 0; c < g->dg; c++)
            g->a[j] += q[c] * g->k[(int64_t)j * g->dg + c] / root;
        top = fmax(top, g->a[j]);
        mass += (double)truth[j];
    }
    for (int j = 0; j < visible; j++)
        sum += exp(g->a[j] - top);
    for (int j = 0; j < visible; j++) {
        double t = (double)truth[j], logp = g->a[j] - top - log(sum);
        double da = (exp(logp) * mass - t) * share / root;

        loss += t > 0 ? t * (log(t) - logp) : 0;
        for (int c = 0; c < g->dg; c++) {
            dq[c] += da * g->k[(int64_t)j * g->dg + c];
            g->dk[(int64_t)j * g->dg + c] += da * q[c];
        }
    }
    return loss * share;
}

static double head_loss(const clgaze_problem *p, const struct clg_ref *t, const struct clg_ref_seq *s, int h,
                        double share, const struct clg_ref_distill *d)
{
    int dg = p->gate_dim ? p->gate_dim : p->head_dim, rows = clg_ref_rows(p, t), cols = clg_ref_cols(p, t);
    int qw = pools_of(p->q_pool) * p->head_dim, kw = pools_of(p->k_pool) * p->head_dim;
    int kv = h / (p->q_heads / p->kv_heads), kh = p->gate_double ? kv : h;
    int64_t row0 = (int64_t)s->batch * rows + s->row0, col0 = (int64_t)s->batch * clg_ref_blocks_k(p, t) + s->col0;
    int64_t atq = (int64_t)h * qw * dg, atk = (int64_t)kh * kw * dg;
    int64_t nq = (int64_t)s->nq * dg, nk = (int64_t)s->nk * dg;
    double *room = calloc((size_t)(2 * nq + 2 * nk + s->nk + 1), sizeof *room), loss = 0;
    struct head g = {p, t->rope_inv_freq, dg, room, room + nq, NULL, NULL, NULL};
    int shift = p->causal ? s->sk - s->sq : 0;

    if (!room)
        return NAN;
    g.dq = g.k + nk, g.dk = g.dq + nq, g.a = g.dk + nk;
    for (int i = 0; i < s->nq; i++)
        forward(&g, t->q_pooled + ((row0 + i) * p->q_heads + h) * qw, qw, p->gate_double ? d->w_q + atq : NULL,
                (double)i * p->block_q + shift, g.q + (int64_t)i * dg);
    for (int j = 0; j < s->nk; j++)
        forward(&g, t->k_pooled + ((col0 + j) * p->kv_heads + kv) * kw, kw, d->w_k + atk, (double)j * p->block_k,
                g.k + (int64_t)j * dg);
    for (int i = s->nq / 4; i < s->nq; i++)
        loss += row_loss(&g, d->truth + (((int64_t)s->batch * p->q_heads + h) * rows + s->row0 + i) * cols, i,
                         clg_ref_visible(p, s, i), share);
    for (int i = 0; p->gate_double && i < s->nq; i++)
        backward(&g, t->q_pooled + ((row0 + i) * p->q_heads + h) * qw, qw, d->dw_q + atq,
                 (double)i * p->block_q + shift, g.dq + (int64_t)i * dg);
    for (int j = 0; j < s->nk; j++)
        backward(&g, t->k_pooled + ((col0 + j) * p->kv_heads + kv) * kw, kw, d->dw_k + atk, (double)j * p->block_k,
                 g.dk + (int64_t)j * dg);
    free(room);
    return loss;
}

double clg_ref_distill(const clgaze_problem *p, const struct clg_ref *t, const struct clg_ref_distill *d)
{
    int dg = p->gate_dim ? p->gate_dim : p->head_dim, k_heads = p->gate_double ? p->kv_heads : p->q_heads;
    int n = clg_ref_sequences(p, t);
    double rows = 0, loss = 0;

    memset(d->dw_k, 0, sizeof(double) * (size_t)(k_heads * pools_of(p->k_pool) * p->head_dim * dg));
    if (p->gate_double)
        memset(d->dw_q, 0, sizeof(double) * (size_t)(p->q_heads * pools_of(p->q_pool) * p->head_dim * dg));
    for (int i = 0; i < n; i++) {
        struct clg_ref_seq s = clg_ref_seq(p, t, i);
        const int left = s.nq - s.nq / 4;

        rows += (double)left * p->q_heads;
    }
    for (int i = 0; i < n && rows > 0; i++) {
        struct clg_ref_seq s = clg_ref_seq(p, t, i);

        for (int h = 0; h < p->q_heads; h++)
            loss += head_loss(p, t, &s, h, 1 / rows, d);
    }
    return loss;
}

void clg_ref_adamw(const struct clg_ref_adamw *o, int step, int64_t n, double *w, const double *dw, double *m,
                   double *v)
{
    double one = 1 - pow(o->beta1, step), two = 1 - pow(o->beta2, step);

    for (int64_t i = 0; i < n; i++) {
        m[i] = o->beta1 * m[i] + (1 - o->beta1) * dw[i];
        v[i] = o->beta2 * v[i] + (1 - o->beta2) * dw[i] * dw[i];
        w[i] = w[i] * (1 - o->lr * o->weight_decay) - o->lr * (m[i] / one) / (sqrt(v[i] / two) + o->eps);
    }
}
