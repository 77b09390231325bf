/* SPDX-License-Identifier: Apache-2.0 */
/*
 * score: dot(query block, key block) / sqrt(DG), -inf where invisible.
 *
 * Idea      64 query blocks x 64 key blocks a work-group, see tile.cl
 * Grid      (tiles of key blocks, tiles of query blocks, heads * sequences) groups of WG
 * Assumes   DG % STEP == 0
 * Edges     `scores` holds `count` rows of blocks from `first` on; every element
 *           of a sequence's rows among them is written, also beyond its own
 *           key blocks; a tile that no row sees reads nothing
 */
#ifndef DG
#define DG 64
#endif
#ifndef CAUSAL
#define CAUSAL 1
#endif

/* `share` query heads read one head of k_gated. */
__attribute__((reqd_work_group_size(WG, 1, 1))) __kernel void
score(__global const float *q, ulong q_at, __global const float *k, ulong k_at, __global float *scores,
      ulong scores_at, __global const int *seqs, ulong seqs_from, int sequences, int sq, int sk, int rows,
      int blocks_k, int cols, int heads, int share, int block_q, int block_k, float scale, int first, int count)
{
    __local float a[2 * STEP * PITCH] __attribute__((aligned(16))), b[2 * STEP * PITCH] __attribute__((aligned(16)));
    const int j0 = get_group_id(0) * TILE;
    const int h = get_group_id(2) % max(heads, 1), s = get_group_id(2) / max(heads, 1);
    const bool live = s < sequences;
    const seq_t at = seq_at(seqs + seqs_from, live ? s : 0, sq, sk);
    const int i0 = max(first - at.row0, 0) + (int)get_group_id(1) * TILE;
    const int n = live ? min((at.sq + block_q - 1) / block_q, first + count - at.row0) : 0;
    const int k_heads = heads / max(share, 1);
    const int most = n > 0 ? visible_blocks(CAUSAL, min(i0 + TILE, n) - 1, block_q, block_k, at.sq, at.sk) : 0;
    const int steps = i0 < n && j0 < most ? DG / STEP : 0;
    __global const float *from_q = q + q_at + (((ulong)at.batch * rows + at.row0) * heads + h) * DG;
    __global const float *from_k =
        k + k_at + (((ulong)at.batch * blocks_k + at.col0) * k_heads + h / max(share, 1)) * DG;
    const int whole_q = WHOLE(from_q), whole_k = WHOLE(from_k),
              whole_to = WHOLE(scores + scores_at) & (cols % 4 == 0);
    float4 sum[TM * TN / 4];

#pragma unroll
    for (int x = 0; x < TM * TN / 4; x++)
        sum[x] = (float4)(0.0f);
    for (int step = 0; step <= steps; step++) { /* fill one, multiply the one before */
        float4 x[EACH_LOAD], y[EACH_LOAD];

        if (step < steps) {
            load_rows(from_q + step * STEP, heads * DG, i0, n, whole_q, x);
            load_rows(from_k + step * STEP, k_heads * DG, j0, most, whole_k, y);
        }
        if (step > 0)
            multiply(a + (step - 1) % 2 * STEP * PITCH, b + (step - 1) % 2 * STEP * PITCH, sum);
#pragma unroll
        for (int e = 0; e < EACH_LOAD; e++)
            if (step < steps && LOADING(e)) {
                store_along(x[e], load_along(e), a + step % 2 * STEP * PITCH);
                store_along(y[e], load_along(e), b + step % 2 * STEP * PITCH);
            }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
#pragma unroll
    for (int r = 0; r < TM; r++) {
        const int i = i0 + sum_row(r), see = i < n ? visible_blocks(CAUSAL, i, block_q, block_k, at.sq, at.sk) : 0;
        __global float *to =
            scores + scores_at + (((ulong)at.batch * heads + h) * count + (at.row0 + i - first)) * cols;

        if (i < n) {
#pragma unroll
            for (int c = 0; c < TN / 4; c++) {
                const float4 x = sum[r * (TN / 4) + c] * scale;
                const int j = j0 + sum_col(c * 4);
                const float4 y = (float4)(j < see ? x.x : NEG_INF, j + 1 < see ? x.y : NEG_INF,
                                          j + 2 < see ? x.z : NEG_INF, j + 3 < see ? x.w : NEG_INF);

                if (j + 4 <= cols) {
                    store4(y, to + j, whole_to);
                } else {
                    if (j < cols)
                        to[j] = y.x;
                    if (j + 1 < cols)
                        to[j + 1] = y.y;
                    if (j + 2 < cols)
                        to[j + 2] = y.z;
                }
            }
        }
    }
}
