/* SPDX-License-Identifier: Apache-2.0 */
/*
 * truth_cpu: attention that also tells the greatest softmax weight of each block of
 * keys, after attend_cpu.cl, whose work on BM rows it takes.
 *
 * Idea      one pass: while attention walks the keys, the greatest score of each
 *           row in each block is kept, and weighed when the row's lse is known.
 *           That is BM * nk numbers a work-item, so the work-items are few and
 *           each does many query blocks, every n-th: long ones first, so that
 *           all have as much to do
 * Grid      as many groups of 1 as there is scratch for
 * Local     none; private as attend_cpu
 * Assumes   as attend_cpu
 * Edges     a row without a key has lse -inf and no part in the map; columns that no
 *           row sees are 0
 * Numerics  as attend_cpu.  The sum of a row of the map has one order
 */
#define NEVER 0x1p100f /* an lse that no score reaches */

static inline float lanes_max(vec x)
{
    float all[VEC], most;

    STORE_VEC(x, all);
    most = all[0];
    for (int r = 1; r < VEC; r++)
        most = fmax(most, all[r]);
    return most;
}

/* Divide n numbers by their sum. */
static inline void share_row(__global float *row, int n)
{
    vec part = (vec)(0.0f);
    float all[VEC], sum = 0.0f, share;
    int j = 0;

    for (; j + VEC <= n; j += VEC)
        part += LOAD_VEC(row + j);
    for (; j < n; j++)
        sum += row[j];
    STORE_VEC(part, all);
    for (int r = 0; r < VEC; r++)
        sum += all[r];
    share = sum > 0.0f ? 1.0f / sum : 0.0f;
    for (j = 0; j < n; j++)
        row[j] *= share;
}

/* Raise the row's numbers to the greatest weights of `n` blocks, from the greatest scores. */
static inline void weigh_blocks(__global const float *tops, int n, float scale, const float *low, __global float *row)
{
    for (int j = 0; j < n; j++) {
        vec high = (vec)(SMALL);

        for (int r = 0; r < BM; r += VEC)
            high = fmax(high, fma(LOAD_VEC(tops + (ulong)j * BM + r), (vec)(scale), -LOAD_VEC(low + r)));
        row[j] = fmax(row[j], exp2(lanes_max(high)));
    }
}

__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void
truth_cpu(__global const elem *q, ulong4 q_at, __global const elem *k, ulong4 k_at, __global const elem *v,
          ulong4 v_at, __global elem *out, ulong4 out_at, int with_v, __global float *lse, ulong lse_at, int with_lse,
          __global float *truth, ulong truth_at, __global float *tops, ulong tops_at, __global const int *seqs,
          ulong seqs_from, int sequences, int sq, int sk, int rows, int rows_seq, int cols, int block_q, int block_k,
          int q_heads, int group, float fold, float scale)
{
    const int each = q_heads * sequences;

    for (long x = get_group_id(0); x < (long)rows_seq * each; x += get_num_groups(0)) {
        const int i = rows_seq - 1 - (int)(x / each), h = (int)(x % q_heads), s = (int)(x % each) / q_heads;
        const seq_t at = seq_at(seqs + seqs_from, s, sq, sk);
        const int n_rows = min(at.sq - i * block_q, block_q);
        const int see = max(visible_blocks(CAUSAL, i, block_q, block_k, at.sq, at.sk), 0);
        const int hk = h / group;
        const ulong head = (ulong)at.batch * q_heads + h;
        __global float *row = truth + truth_at + (head * rows + at.row0 + i) * cols;

        for (int j = 0; n_rows > 0 && j < cols; j++)
            row[j] = 0.0f;
        for (int part = 0; part < n_rows; part += BM) {
            const int t0 = i * block_q + part, n_q = min(BM, n_rows - part), limit = t0 + at.sk - at.sq + 1;
            /* Blocks that these rows see: of rows before the last, fewer than `see`. */
            const int n = CAUSAL ? clamp((limit + n_q - 2 + block_k) / block_k, 0, see) : see;
            float m[BM] __attribute__((aligned(64))), l[BM] __attribute__((aligned(64)));
            float low[BM] __attribute__((aligned(64)));
            const rows_t a = {q + token_at(q_at, at.batch, at.q0 + t0, h),
                              k + token_at(k_at, at.batch, at.k0, hk),
                              v + token_at(v_at, at.batch, at.k0, hk),
                              out + token_at(out_at, at.batch, at.q0 + t0, h),
                              q_at.z,
                              k_at.z,
                              v_at.z,
                              out_at.z,
                              0,
                              n,
                              block_k,
                              at.sk,
                              n_q,
                              limit,
                              with_v,
                              0,
                              0,
                              tops + tops_at + (ulong)get_group_id(0) * cols * BM};

            attend_rows(a, fold, scale, m, l);
            for (int r = 0; r < BM; r++)
                low[r] = r < n_q && m[r] > 0.5f * SMALL ? m[r] + log2(l[r]) : NEVER;
            weigh_blocks(a.tops, n, scale, low, row);
            for (int r = 0; with_lse && r < n_q; r++)
                lse[lse_at + head * sq + at.q0 + t0 + r] = lse_of(m[r], l[r]);
        }
        if (n_rows > 0)
            share_row(row, see);
    }
}
