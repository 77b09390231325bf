/* SPDX-License-Identifier: Apache-2.0 */
/*
 * score_nv: score on the matrix units of NVIDIA GPUs since Ampere.
 *
 * Idea      64 query blocks x 64 key blocks a work-group, see nv_tf32.cl; two
 *           panels of each in turn, copied without waiting
 * Grid      (tiles of key blocks, tiles of query blocks, heads * sequences) groups of WG
 * Local     32 KB
 * Assumes   DG % 8 == 0
 * Edges     as score
 */
#ifndef DG
#define DG 64
#endif
#ifndef CAUSAL
#define CAUSAL 1
#endif

#define PANELS_DEEP ((DG + 31) / 32)

/* sum [32 x 32] += a b^T over a panel; a, b: the warp's rows of the two panels. */
static inline void add_panel(float *sum, uint a, uint b)
{
#pragma unroll
    for (int step = 0; step < 4; step++) {
        uint x[8], y[8];

        fetch_rows(x, a, step);
#pragma unroll
        for (int e = 0; e < 2; e++)
            fetch4(y + e * 4, b + chunk_at(e * 16 + LANE % 8 + LANE / 16 * 8, step * 2 + LANE / 8 % 2));
        add_product(sum, x, y, 0);
    }
}

/* A row's numbers of this lane, of blocks j0 + 8 x and the next; it sees `see` blocks. */
static inline void store_row(const float2 *x, int j0, int see, int cols, int aligned, __global float *to)
{
#pragma unroll
    for (int e = 0; e < 4; e++) {
        const int j = j0 + e * 8;
        const float2 y = (float2)(j < see ? x[e].x : NEG_INF, j + 1 < see ? x[e].y : NEG_INF);

        if (aligned) { /* so is the whole tile */
            *(__global float2 *)(to + j) = y;
        } else {
            if (j < cols)
                to[j] = y.x;
            if (j + 1 < cols)
                to[j + 1] = y.y;
        }
    }
}

/* `share` query heads read one head of k_gated. */
__attribute__((reqd_work_group_size(WG, 1, 1))) __kernel void
score_nv(__global const float *q, ulong q_at, __global const float *k, ulong k_at, __global float *scores,
         ulong scores_at, __global const int *seqs, ulong seqs_from, int sequences, int sq, int sk, int rows,
         int blocks_k, int cols, int heads, int share, int block_q, int block_k, float scale, int first, int count)
{
    __local uint4 places[4 * PLACE / 16] __attribute__((aligned(1024)));
    const uint place = local_address(places);
    const int j0 = get_group_id(0) * TILE;
    const int h = get_group_id(2) % max(heads, 1), s = get_group_id(2) / max(heads, 1);
    const bool live = s < sequences;
    const seq_t at = seq_at(seqs + seqs_from, live ? s : 0, sq, sk);
    const int i0 = max(first - at.row0, 0) + (int)get_group_id(1) * TILE;
    const int n = live ? min((at.sq + block_q - 1) / block_q, first + count - at.row0) : 0;
    const int k_heads = heads / max(share, 1);
    const int most = n > 0 ? visible_blocks(CAUSAL, min(i0 + TILE, n) - 1, block_q, block_k, at.sq, at.sk) : 0;
    const int panels = i0 < n && j0 < most ? PANELS_DEEP : 0;
    __global const float *from_q = q + q_at + (((ulong)at.batch * rows + at.row0) * heads + h) * DG;
    __global const float *from_k =
        k + k_at + (((ulong)at.batch * blocks_k + at.col0) * k_heads + h / max(share, 1)) * DG;
    const ulong pitch_q = (ulong)heads * DG, pitch_k = (ulong)k_heads * DG;
    const int aligned_q = ((ulong)from_q & 15) == 0, aligned_k = ((ulong)from_k & 15) == 0;
    const int aligned_to = ((ulong)(scores + scores_at) & 7) == 0 && cols % 2 == 0 && j0 + TILE <= cols;
    /* Most tiles are seen by all of their rows, or by none. */
    const int all = i0 < n && visible_blocks(CAUSAL, i0, block_q, block_k, at.sq, at.sk) >= j0 + TILE;
    const int warp = get_local_id(0) / 32, r_warp = warp / 2 * 32, c_warp = warp % 2 * 32;
    float sum[32];

#pragma unroll
    for (int e = 0; e < 32; e++)
        sum[e] = 0.0f;
    for (int p = 0; p < panels + 2; p++) {
        if (p >= 2) { /* the panels before the newest are there */
            const uint from = place + p % 2 * 2 * PLACE;

            COPIES_WAIT(1);
            barrier(CLK_LOCAL_MEM_FENCE);
            add_panel(sum, from + r_warp * 128, from + PLACE + c_warp * 128);
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        if (p < panels) {
            copy_panel(from_q, pitch_q, i0, n, DG, p, aligned_q, place + p % 2 * 2 * PLACE);
            copy_panel(from_k, pitch_k, j0, most, DG, p, aligned_k, place + p % 2 * 2 * PLACE + PLACE);
        }
        COPIES_COMMIT();
    }
#pragma unroll
    for (int e = 0; e < 4; e++) {
        const int i = i0 + r_warp + e * 8 + LANE / 4;
        int see = all ? cols : 0;
        float2 x[4];

#pragma unroll
        for (int c = 0; c < 4; c++)
            x[c] = (float2)(sum[(e / 2 * 4 + c) * 4 + e % 2 * 2], sum[(e / 2 * 4 + c) * 4 + e % 2 * 2 + 1]) * scale;
        if (i < n) {
            if (!all && j0 < most)
                see = visible_blocks(CAUSAL, i, block_q, block_k, at.sq, at.sk);
            store_row(x, j0 + c_warp + LANE % 4 * 2, see, cols, aligned_to,
                      scores + scores_at + (((ulong)at.batch * heads + h) * count + (at.row0 + i - first)) * cols);
        }
    }
}
