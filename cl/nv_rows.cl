/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nv_rows: the rows of attention that a warp group computes, on NVIDIA's matrix
 * units: which they are, which keys they walk, and how they are written.
 */
#ifndef LSE
#define LSE 0
#endif

/* What clg_attend_args() gives, in its order. */
#define ATTEND_ARGS                                                                                                  \
    __global const elem *q, ulong4 q_at, __global const elem *k, ulong4 k_at, __global const elem *v, ulong4 v_at,   \
        __global const int *counts, ulong counts_at, __global const int *blocks, ulong blocks_at, int width,         \
        int list_heads, __global elem *out, ulong4 out_at, __global float *lse, ulong lse_at,                        \
        __global const int *seqs, ulong seqs_from, int sequences, int sq, int sk, int rows, int block_q,             \
        int block_k, int q_heads, int group, float fold, float unit

/* Rows of a warp group: n_q from query t0 on, of block i and head h. */
typedef struct {
    seq_t at;
    int i, h, t0, n_q, end; /* end: rows of block i, n_q may be 0 before it */
} place_t;

/* `last`: tile of ROWS * 64 rows. */
static inline place_t place_of(int last, int heads, int s, __global const int *seqs, int sequences, int sq, int sk,
                               int block_q)
{
    const int warp_group = get_local_id(0) / 128, parts = (block_q + ROWS * 64 - 1) / (ROWS * 64);
    const int live = s < sequences, i = last / max(parts, 1), first = (last - i * max(parts, 1)) * ROWS * 64;
    const int mine = first + warp_group / HEADS * 64;
    place_t x;

    x.at = seq_at(seqs, live ? s : 0, sq, sk);
    x.i = i;
    x.h = heads * HEADS + warp_group % HEADS;
    x.t0 = i * block_q + mine;
    x.end = live ? min(block_q, x.at.sq - i * block_q) - first : 0;
    x.n_q = clamp(x.end - (mine - first), 0, 64);
    return x;
}

/* Place of work w: a tile of rows of `across` a head, the last first, of one of `heads` groups of HEADS, of a
 * sequence. */
#define PLACE_OF(w, heads)                                                                                           \
    place_of(across - 1 - (w) % across, (w) / across % (heads), (w) / across / (heads), seqs + seqs_from, sequences, \
             sq, sk, block_q)

/* The keys of a place; `lists` of all rows, `counts` of their entries. */
static inline walk_t walk_of(place_t x, __global const int *counts, __global const int *lists, int width,
                             int list_heads, int rows, int block_q, int block_k, int q_heads)
{
    const int row =
        LISTED ? (x.at.batch * list_heads + x.h * list_heads / max(q_heads, 1)) * rows + x.at.row0 + x.i : 0;
    const int see = x.end > 0 ? visible_blocks(CAUSAL, x.i, block_q, block_k, x.at.sq, x.at.sk) : 0;

    return (walk_t){lists + (ulong)row * width, LISTED && see > 0 ? min(counts[row], width) : see, width,
                    (x.at.sk + BLOCK_K - 1) / BLOCK_K, x.at.sk};
}

/* Fragments of a place's queries, `from` being its head's first channel, the sign of scores in them: hide() knows
 * none. */
static inline void take_queries(place_t x, __global const elem *from, ulong stride, float fold, uint *q)
{
    const int row = get_local_id(0) / 32 % 4 * 16 + LANE / 4;

    from += (row < x.n_q ? (ulong)row * stride : 0) + LANE % 4 * 2;
    if ((((ulong)from | stride * 2) & 3) == 0)
        load_queries(from, stride, x.n_q - row, 1, q);
    else
        load_queries(from, stride, x.n_q - row, 0, q);
    if (fold < 0.0f)
#pragma unroll
        for (int e = 0; e < D / 4; e++)
            q[e] ^= 0x80008000u;
}

/* What the sums o and l of a place's rows, with their maxima m, give: `high`, their lse in log2 units (-SMALL: a row
 * without keys, or none), lse of its head, and out, from its first row on. */
static inline void finish_rows(place_t x, const float *o, const float *m, const float *l, float scale, int with_out,
                               __global elem *out, ulong stride, __global float *lse, float *high)
{
    const int row = get_local_id(0) / 32 % 4 * 16 + LANE / 4;

#pragma unroll
    for (int e = 0; e < 2; e++) {
        const int r = row + e * 8;
        const float sum = quad_sum(l[e]);
        const bool any = m[e] > 0.5f * SMALL;
        const float share = any ? 1.0f / sum : 0.0f;
        __global elem *to = out + (r < x.n_q ? (ulong)r * stride : 0) + LANE % 4 * 2;
        const int aligned = ((ulong)to & 3) == 0;

        high[e] = r < x.n_q && any ? m[e] * scale + log2(sum) : -SMALL;
        if (with_out && r < x.n_q) {
#pragma unroll
            for (int c = 0; c < D / 8; c++)
                store2(pack2(o[c * 4 + e * 2] * share, o[c * 4 + e * 2 + 1] * share), to + c * 8, aligned);
        }
        if (LSE && r < x.n_q && LANE % 4 == 0)
            lse[x.at.q0 + x.t0 + r] = any ? high[e] * LN2 : NEG_INF;
    }
}

/* Where a place's rows begin in out, and its head's lse. */
#define OUT_OF(x) (out + token_at(out_at, (x).at.batch, (x).n_q > 0 ? (x).at.q0 + (x).t0 : 0, (x).h))
#define LSE_OF(x) (lse + lse_at + ((ulong)(x).at.batch * q_heads + (x).h) * sq)
