/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seq.c: sequences, and which key blocks a row of them sees.
 *
 * Packed: sequence s holds the query tokens cu_seqlens_q[s] .. cu_seqlens_q[s + 1] - 1, its
 * blocks follow those of the sequences before it.  Else a sequence is an entry of the batch.
 */
#include "ref.h"

static int ceil_div(int n, int d)
{
    return (n + d - 1) / d;
}

int clg_ref_sequences(const clgaze_problem *p, const struct clg_ref *t)
{
    return p->packed ? t->sequences : t->batch;
}

static struct clg_ref_seq packed_seq(const clgaze_problem *p, const struct clg_ref *t, int s)
{
    const int32_t *q = t->cu_seqlens_q, *k = t->cu_seqlens_k;
    struct clg_ref_seq seq = {.q0 = q[s], .sq = q[s + 1] - q[s], .k0 = k[s], .sk = k[s + 1] - k[s]};

    for (int i = 0; i < s; i++) {
        seq.row0 += ceil_div(q[i + 1] - q[i], p->block_q);
        seq.col0 += ceil_div(k[i + 1] - k[i], p->block_k);
    }
    return seq;
}

struct clg_ref_seq clg_ref_seq(const clgaze_problem *p, const struct clg_ref *t, int s)
{
    struct clg_ref_seq seq = {.batch = s, .sq = t->sq, .sk = t->sk};

    if (p->packed)
        seq = packed_seq(p, t, s);
    seq.nq = ceil_div(seq.sq, p->block_q);
    seq.nk = ceil_div(seq.sk, p->block_k);
    return seq;
}

int clg_ref_rows(const clgaze_problem *p, const struct clg_ref *t)
{
    int rows = 0;

    if (!p->packed)
        return ceil_div(t->sq, p->block_q);
    for (int s = 0; s < t->sequences; s++)
        rows += clg_ref_seq(p, t, s).nq;
    return rows;
}

int clg_ref_blocks_k(const clgaze_problem *p, const struct clg_ref *t)
{
    int blocks = 0;

    if (!p->packed)
        return ceil_div(t->sk, p->block_k);
    for (int s = 0; s < t->sequences; s++)
        blocks += clg_ref_seq(p, t, s).nk;
    return blocks;
}

int clg_ref_cols(const clgaze_problem *p, const struct clg_ref *t)
{
    int cols = 0;

    if (!p->packed)
        return ceil_div(t->sk, p->block_k);
    for (int s = 0; s < t->sequences; s++) {
        int nk = clg_ref_seq(p, t, s).nk;

        cols = nk > cols ? nk : cols;
    }
    return cols;
}

int clg_ref_list_heads(const clgaze_problem *p)
{
    return p->scope == CLGAZE_SCOPE_Q ? p->q_heads : p->scope == CLGAZE_SCOPE_KV ? p->kv_heads : 1;
}

/*
 * Causal: query token t sees the keys 0 .. t + Sk - Sq; block j is visible to
 * row i if its first key is visible to the row's last token.
 */
int clg_ref_visible(const clgaze_problem *p, const struct clg_ref_seq *s, int i)
{
    int end = (i + 1) * p->block_q;
    int keys;

    if (!p->causal)
        return s->nk;
    end = end < s->sq ? end : s->sq;
    keys = end + s->sk - s->sq;
    return keys > 0 ? ceil_div(keys, p->block_k) : 0;
}
