/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attend_bwd.c: gradients of attend.
 *
 *     P[t, s]  = exp(scale q[t] . k[s] - lse[t])
 *     dS[t, s] = P[t, s] (dout[t] . v[s] - dout[t] . out[t])
 *     dq[t] = scale sum over s of dS[t, s] k[s]
 *     dk[s] = scale sum over t of dS[t, s] q[t]
 *     dv[s] = sum over t of P[t, s] dout[t]
 *
 * over the pairs of a query token t and a key s that attend takes; sums over t
 * run over every query head that uses the key's head.  No pair: 0.
 */
#include <math.h>

#include "ref.h"

enum { MAX_DIM = 256 };

static double dot(int dim, const float *a, const float *b)
{
    double sum = 0;

    for (int c = 0; c < dim; c++)
        sum += (double)a[c] * (double)b[c];
    return sum;
}

/* One sequence and query head. */
struct head {
    const clgaze_problem *p;
    const struct clg_ref *t;
    const struct clg_ref_seq *s;
    int h;
    double scale;
};

/* Where token i of the sequence, or key s of its key-value head, lies in q and its like, or k and its like. */
static int64_t q_at(const struct head *a, int i)
{
    return (((int64_t)a->s->batch * a->t->sq + a->s->q0 + i) * a->p->q_heads + a->h) * a->p->head_dim;
}

static int64_t k_at(const struct head *a, int s)
{
    const int hk = a->h / (a->p->q_heads / a->p->kv_heads);

    return (((int64_t)a->s->batch * a->t->sk + a->s->k0 + s) * a->p->kv_heads + hk) * a->p->head_dim;
}

/* Does attend take the pair? */
static int taken(const struct head *a, int i, int s)
{
    const clgaze_problem *p = a->p;
    const int heads = clg_ref_list_heads(p);
    const int64_t row = ((int64_t)a->s->batch * heads + (int64_t)a->h * heads / p->q_heads) * clg_ref_rows(p, a->t) +
                        a->s->row0 + i / p->block_q;

    return (!p->causal || s <= i + a->s->sk - a->s->sq) && clg_ref_listed(p, a->t, row, s / p->block_k);
}

/* P and dS of a pair. */
static double weight(const struct head *a, int i, int s, double *ds)
{
    const int D = a->p->head_dim;
    const struct clg_ref *t = a->t;
    const double lse = (double)t->lse[((int64_t)a->s->batch * a->p->q_heads + a->h) * t->sq + a->s->q0 + i];
    const float *dout = t->dout + q_at(a, i);
    const double P = exp(a->scale * dot(D, t->q + q_at(a, i), t->k + k_at(a, s)) - lse);

    *ds = P * (dot(D, dout, t->v + k_at(a, s)) - dot(D, dout, t->out + q_at(a, i)));
    return P;
}

static void query_token(const struct head *a, int i)
{
    const int D = a->p->head_dim;
    double dq[MAX_DIM] = {0}, ds;

    for (int s = 0; s < a->s->sk; s++) {
        if (!taken(a, i, s))
            continue;
        weight(a, i, s, &ds);
        for (int c = 0; c < D; c++)
            dq[c] += ds * (double)a->t->k[k_at(a, s) + c];
    }
    for (int c = 0; c < D; c++)
        a->t->dq[q_at(a, i) + c] = (float)(dq[c] * a->scale);
}

/* `a` begins as the first query head of the group. */
static void key_token(struct head a, int s)
{
    const int D = a.p->head_dim, first = a.h;
    double dk[MAX_DIM] = {0}, dv[MAX_DIM] = {0}, ds;

    for (; a.h < first + a.p->q_heads / a.p->kv_heads; a.h++)
        for (int i = 0; i < a.s->sq; i++) {
            double P;

            if (!taken(&a, i, s))
                continue;
            P = weight(&a, i, s, &ds);
            for (int c = 0; c < D; c++) {
                dk[c] += ds * (double)a.t->q[q_at(&a, i) + c];
                dv[c] += P * (double)a.t->dout[q_at(&a, i) + c];
            }
        }
    a.h = first;
    for (int c = 0; c < D; c++) {
        a.t->dk[k_at(&a, s) + c] = (float)(dk[c] * a.scale);
        a.t->dv[k_at(&a, s) + c] = (float)dv[c];
    }
}

void clg_ref_attend_bwd(const clgaze_problem *p, struct clg_ref *t)
{
    for (int n = 0; n < clg_ref_sequences(p, t); n++) {
        const struct clg_ref_seq s = clg_ref_seq(p, t, n);
        struct head a = {p, t, &s, 0, p->scale != 0 ? (double)p->scale : 1 / sqrt(p->head_dim)};

        for (; a.h < p->q_heads; a.h++) {
            for (int i = 0; i < s.sq; i++)
                query_token(&a, i);
            for (int i = 0; i < s.sk && a.h % (p->q_heads / p->kv_heads) == 0; i++)
                key_token(a, i);
        }
    }
}
