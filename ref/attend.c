/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attend.c: attention over the chosen blocks.
 *
 *     out[t] = sum over s of exp(x[s] - lse) v[s]
 *     lse[t] = log(sum over s of exp(x[s])),   x[s] = scale q[t] . k[s]
 *
 * over the keys s that token t may see (causal: s <= t + Sk - Sq) and whose
 * block is in the list of t's block.  Block numbers out of range are skipped.
 * No key: out 0, lse -inf.
 */
#include <math.h>

#include "ref.h"

enum { MAX_DIM = 256 };

bool clg_ref_listed(const clgaze_problem *p, const struct clg_ref *t, int64_t row, int j)
{
    const int32_t *list = t->blocks + row * t->width;
    int n;

    switch (p->lists) {
    case CLGAZE_LISTS_DENSE:
        return true;
    case CLGAZE_LISTS_MASK:
        return t->mask[row * clg_ref_cols(p, t) + j] != 0;
    case CLGAZE_LISTS_CSR:
        list = t->indices + t->indptr[row];
        n = t->indptr[row + 1] - t->indptr[row];
        break;
    default:
        n = t->counts[row] < t->width ? t->counts[row] : t->width;
    }
    for (int i = 0; i < n; i++)
        if (list[i] == j)
            return true;
    return false;
}

/* Where one query token of one head finds its keys. */
struct view {
    const float *q, *k, *v; /* the token; the sequence's first key and value, of the head */
    int64_t stride;         /* from key to key                                            */
    int keys;               /* keys 0 .. keys - 1 are visible                             */
    int64_t row;            /* its list                                                   */
    double scale;
};

static double logit(const struct view *a, int dim, int s)
{
    const float *k = a->k + s * a->stride;
    double sum = 0;

    for (int c = 0; c < dim; c++)
        sum += (double)a->q[c] * (double)k[c];
    return sum * a->scale;
}

static void attend_token(const clgaze_problem *p, const struct clg_ref *t, const struct view *a, float *out,
                         float *lse)
{
    double top = -INFINITY, sum = 0, acc[MAX_DIM] = {0};

    for (int pass = 0; pass < 2; pass++)
        for (int s = 0; s < a->keys; s++) {
            double x;

            if (s % p->block_k == 0 && !clg_ref_listed(p, t, a->row, s / p->block_k)) {
                s += p->block_k - 1;
                continue;
            }
            x = logit(a, p->head_dim, s);
            if (pass == 0) {
                top = x > top ? x : top;
                continue;
            }
            x = exp(x - top);
            sum += x;
            for (int c = 0; c < p->head_dim; c++)
                acc[c] += x * (double)a->v[s * a->stride + c];
        }
    for (int c = 0; c < p->head_dim; c++)
        out[c] = sum != 0 ? (float)(acc[c] / sum) : 0;
    if (lse)
        *lse = (float)(top + log(sum));
}

static void attend_head(const clgaze_problem *p, struct clg_ref *t, const struct clg_ref_seq *s, int h)
{
    int D = p->head_dim, group = p->q_heads / p->kv_heads, heads = clg_ref_list_heads(p);
    int64_t q_token = (int64_t)s->batch * t->sq + s->q0, k_token = (int64_t)s->batch * t->sk + s->k0;
    int64_t first_row = ((int64_t)s->batch * heads + (int64_t)h * heads / p->q_heads) * clg_ref_rows(p, t) + s->row0;
    struct view a = {.stride = (int64_t)p->kv_heads * D};

    a.scale = p->scale != 0 ? (double)p->scale : 1 / sqrt(D);
    a.k = t->k + (k_token * p->kv_heads + h / group) * D;
    a.v = t->v + (k_token * p->kv_heads + h / group) * D;
    for (int i = 0; i < s->sq; i++) {
        int64_t at = (q_token + i) * p->q_heads + h;
        int last = i + s->sk - s->sq;

        a.q = t->q + at * D;
        a.keys = p->causal ? last + 1 : s->sk;
        a.row = first_row + i / p->block_q;
        attend_token(p, t, &a, t->out + at * D,
                     t->lse ? t->lse + ((int64_t)s->batch * p->q_heads + h) * t->sq + s->q0 + i : NULL);
    }
}

void clg_ref_attend(const clgaze_problem *p, struct clg_ref *t)
{
    for (int i = 0; i < clg_ref_sequences(p, t); i++) {
        struct clg_ref_seq s = clg_ref_seq(p, t, i);

        for (int h = 0; h < p->q_heads; h++)
            attend_head(p, t, &s, h);
    }
}
