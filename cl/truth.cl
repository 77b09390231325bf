/* SPDX-License-Identifier: Apache-2.0 */
/*
 * truth: the greatest softmax weight of each block of keys, after attend.cl,
 * whose tiles it takes and whose kernel makes out and lse where there is a v.
 *
 * Idea      two passes over the keys: lse first (attend, or truth_lse without v),
 *           then maxima of score - lse, a logarithm until the block is done: one
 *           exp2 a block.  Nothing is kept beside the map itself and lse
 * Grid      truth_lse (tiles of BM rows, query heads, sequences), truth_map (query
 *           blocks, query heads, sequences) groups of WG
 * Local     less than attend
 * Assumes   as attend; WG is a power of two
 * Edges     every group runs the same number of barriers; a row without a key has
 *           lse -inf and no part in the map; columns that no row sees are 0
 * Numerics  as attend.  Maxima do not depend on their order, and the sum of a row
 *           has one order whatever the run
 */
#define LOG2E 1.4426950408889634f

/* A group's rows of one head, and the keys that it walks. */
typedef struct {
    int t0, n_q;  /* first row and rows, at most BM  */
    int key, n_k; /* first key and keys, at most BN  */
    int limit;    /* keys that the first row sees    */
} tile_t;

/* Scores of a tile in log2 units before `scale`; what a row may not see, and rows beyond the last, SMALL. */
static inline void score_tile(__local const float *qs, __local const float *ks, tile_t t, float sc[RM][CN])
{
    const int tx = get_local_id(0) % TX, ty = get_local_id(0) / TX;

    dot_tile(qs, ks, sc);
#pragma unroll
    for (int r = 0; r < RM; r++)
#pragma unroll
        for (int c = 0; c < CN; c++) {
            const int row = ty + r * TY, most = CAUSAL ? min(t.n_k, t.limit + row - t.key) : t.n_k;

            sc[r][c] = row < t.n_q && tx + c * TX < most ? sc[r][c] : SMALL;
        }
}

/* Each item keeps maximum and sum of its own keys; the eight of a row meet at the end. */
__attribute__((reqd_work_group_size(WG, 1, 1))) __kernel void
truth_lse(__global const elem *q, ulong4 q_at, __global const elem *k, ulong4 k_at, __global float *lse, ulong lse_at,
          __global const int *seqs, ulong seqs_from, int sequences, int sq, int sk, int q_heads, int group,
          float fold, float scale)
{
    __local float qs[BM * DS] __attribute__((aligned(16))), ks[BN * DS] __attribute__((aligned(16))), all[BM * TX];
    const int tx = get_local_id(0) % TX, ty = get_local_id(0) / TX;
    const int h = GROUP(1), s = GROUP(2);
    const seq_t at = seq_at(seqs + seqs_from, s < sequences ? s : 0, sq, sk);
    const int t0 = GROUP_BACKWARDS(0) * BM; /* longest rows first */
    const int n_q = s < sequences ? clamp(at.sq - t0, 0, BM) : 0;
    const int limit = t0 + at.sk - at.sq + 1, hk = h / max(group, 1);
    const int keys = n_q > 0 ? (CAUSAL ? min(at.sk, limit + n_q - 1) : at.sk) : 0;
    float m[RM], l[RM];

#pragma unroll
    for (int r = 0; r < RM; r++) {
        m[r] = SMALL;
        l[r] = 0.0f;
    }
    load_rows(q + token_at(q_at, at.batch, at.q0 + t0, h), q_at.z, n_q, BM, fold, qs);
    for (int key = 0; key < keys; key += BN) {
        const tile_t t = {t0, n_q, key, min(BN, keys - key), limit};
        float sc[RM][CN];

        load_rows(k + token_at(k_at, at.batch, at.k0 + key, hk), k_at.z, t.n_k, BN, 1.0f, ks);
        barrier(CLK_LOCAL_MEM_FENCE);
        score_tile(qs, ks, t, sc);
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
        for (int r = 0; r < RM; r++) {
            float high = m[r];

#pragma unroll
            for (int c = 0; c < CN; c++)
                high = fmax(high, sc[r][c] * scale);
            l[r] *= exp2(m[r] - high);
#pragma unroll
            for (int c = 0; c < CN; c++)
                l[r] += exp2(fma(sc[r][c], scale, -high));
            m[r] = high;
        }
    }
#pragma unroll
    for (int r = 0; r < RM; r++)
        all[(ty + r * TY) * TX + tx] = m[r];
    barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
    for (int r = 0; r < RM; r++) {
        const float own = m[r];

        for (int x = 0; x < TX; x++)
            m[r] = fmax(m[r], all[(ty + r * TY) * TX + x]);
        l[r] *= exp2(own - m[r]);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
    for (int r = 0; r < RM; r++)
        all[(ty + r * TY) * TX + tx] = l[r];
    barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
    for (int r = 0; r < RM; r++) {
        const int row = ty + r * TY;
        float sum = 0.0f;

        for (int x = 0; x < TX; x++)
            sum += all[row * TX + x];
        if (row < n_q && tx == 0)
            lse[lse_at + ((ulong)at.batch * q_heads + h) * sq + at.q0 + t0 + row] =
                m[r] > 0.5f * SMALL ? (m[r] + log2(sum)) * LN2 : NEG_INF;
    }
}

__attribute__((reqd_work_group_size(WG, 1, 1))) __kernel void
truth_map(__global const elem *q, ulong4 q_at, __global const elem *k, ulong4 k_at, __global const float *lse,
          ulong lse_at, __global float *truth, ulong truth_at, __global const int *seqs, ulong seqs_from,
          int sequences, int sq, int sk, int rows, int cols, int block_q, int block_k, int q_heads, int group,
          float fold, float scale)
{
    __local float qs[BM * DS] __attribute__((aligned(16))), ks[BN * DS] __attribute__((aligned(16))), all[WG];
    const int item = get_local_id(0), ty = item / TX;
    const int i = GROUP_BACKWARDS(0), h = GROUP(1), s = GROUP(2);
    const seq_t at = seq_at(seqs + seqs_from, s < sequences ? s : 0, sq, sk);
    const int n_rows = s < sequences ? clamp(at.sq - i * block_q, 0, block_q) : 0, hk = h / max(group, 1);
    const int see = n_rows > 0 ? min(max(visible_blocks(CAUSAL, i, block_q, block_k, at.sq, at.sk), 0), cols) : 0;
    const ulong head = (ulong)at.batch * q_heads + h;
    __global float *row = truth + truth_at + (head * rows + at.row0 + i) * cols;
    float sum = 0.0f, share;

    for (int part = 0; part < n_rows; part += BM) {
        const int t0 = i * block_q + part, n_q = min(BM, n_rows - part);
        float low[RM];

#pragma unroll
        for (int r = 0; r < RM; r++) {
            const float x = ty + r * TY < n_q ? lse[lse_at + head * sq + at.q0 + t0 + ty + r * TY] : 0.0f;

            low[r] = x > 0.5f * SMALL ? x * LOG2E : 0.0f;
        }
        load_rows(q + token_at(q_at, at.batch, at.q0 + t0, h), q_at.z, n_q, BM, fold, qs);
        for (int j = 0; j < see; j++) {
            float top = SMALL;

            for (int key = j * block_k; key < min((j + 1) * block_k, at.sk); key += BN) {
                const tile_t t = {t0, n_q, key, min(BN, min((j + 1) * block_k, at.sk) - key), t0 + at.sk - at.sq + 1};
                float sc[RM][CN];

                load_rows(k + token_at(k_at, at.batch, at.k0 + key, hk), k_at.z, t.n_k, BN, 1.0f, ks);
                barrier(CLK_LOCAL_MEM_FENCE);
                score_tile(qs, ks, t, sc);
                barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
                for (int r = 0; r < RM; r++)
#pragma unroll
                    for (int c = 0; c < CN; c++)
                        top = fmax(top, fma(sc[r][c], scale, -low[r]));
            }
            top = exp2(meet(top, 0, all));
            if (item == 0)
                row[j] = part ? fmax(row[j], top) : top;
        }
    }
    barrier(CLK_GLOBAL_MEM_FENCE);
    for (int j = item; j < see; j += WG)
        sum += row[j];
    sum = meet(sum, 1, all);
    share = sum > 0.0f ? 1.0f / sum : 0.0f;
    if (n_rows > 0)
        for (int j = item; j < cols; j += WG)
            row[j] = j < see ? row[j] * share : 0.0f;
}
