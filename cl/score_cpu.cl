/* SPDX-License-Identifier: Apache-2.0 */
/*
 * score_cpu: dot(query block, key block) / sqrt(DG), -inf where invisible.
 *
 * Idea      a work-item owns RM query blocks and CN key blocks; partial sums
 *           stay in vectors along the channels until the end
 * Grid      (ceil(rows / RM) * ceil(cols / CN), heads, sequences), groups of WG
 * Assumes   DG % 8 == 0
 * Edges     `scores` holds `count` rows of blocks from `first` on; every element
 *           of a sequence's rows among them is written, also beyond its own
 *           key blocks
 */
#ifndef DG
#define DG 64
#endif
#ifndef CAUSAL
#define CAUSAL 1
#endif
#ifndef RM
#define RM 4 /* query blocks a work-item */
#endif
#ifndef CN
#define CN 4 /* key blocks a work-item */
#endif
#ifndef VEC
#define VEC 4 /* channels at a time */
#endif

#define CAT_(a, b)  a##b
#define CAT(a, b)   CAT_(a, b)
#define vec         CAT(float, VEC)
#define LOAD_VEC(p) CAT(vload, VEC)(0, p)

static inline float sum4(float4 x)
{
    return x.x + x.y + (x.z + x.w);
}
#if VEC == 4
#define SUM(x) sum4(x)
#else
#define SUM(x) sum4((x).lo + (x).hi)
#endif

/* `share` query heads read one head of k_gated. */
__kernel void score_cpu(__global const float *q, ulong q_at, __global const float *k, ulong k_at,
                        __global float *scores, ulong scores_at, __global const int *seqs, ulong seqs_from,
                        int sequences, int sq, int sk, int rows, int blocks_k, int cols, int heads, int share,
                        int block_q, int block_k, float scale, int first, int count)
{
    const int tiles = max((cols + CN - 1) / CN, 1);
    const int tile_row = get_global_id(0) / tiles, j0 = get_global_id(0) % tiles * CN;
    const int h = get_global_id(1), s = get_global_id(2);

    if (s < sequences && j0 < cols) {
        const seq_t at = seq_at(seqs + seqs_from, s, sq, sk);
        const int i0 = max(first - at.row0, 0) + tile_row * RM;
        const int n = min((at.sq + block_q - 1) / block_q, first + count - at.row0);
        const int k_heads = heads / max(share, 1);

        if (i0 < n) {
            int see[RM], most = 0;
            vec sum[RM][CN];

            for (int r = 0; r < RM; r++) {
                see[r] = visible_blocks(CAUSAL, min(i0 + r, n - 1), block_q, block_k, at.sq, at.sk);
                most = max(most, see[r]);
                for (int c = 0; c < CN; c++)
                    sum[r][c] = (vec)(0.0f);
            }
            if (j0 < most) {
                __global const float *a[RM], *b[CN];

                for (int r = 0; r < RM; r++)
                    a[r] = q + q_at + (((ulong)at.batch * rows + at.row0 + min(i0 + r, n - 1)) * heads + h) * DG;
                for (int c = 0; c < CN; c++)
                    b[c] =
                        k + k_at +
                        (((ulong)at.batch * blocks_k + at.col0 + min(j0 + c, most - 1)) * k_heads + h / share) * DG;
                for (int x = 0; x < DG; x += VEC) {
                    vec y[CN];

#pragma unroll
                    for (int c = 0; c < CN; c++)
                        y[c] = LOAD_VEC(b[c] + x);
#pragma unroll
                    for (int r = 0; r < RM; r++) {
                        const vec z = LOAD_VEC(a[r] + x);

#pragma unroll
                        for (int c = 0; c < CN; c++)
                            sum[r][c] = fma(z, y[c], sum[r][c]);
                    }
                }
            }
            for (int r = 0; r < RM && i0 + r < n; r++)
                for (int c = 0; c < CN && j0 + c < cols; c++)
                    scores[scores_at + (((ulong)at.batch * heads + h) * count + (at.row0 + i0 + r - first)) * cols +
                           j0 + c] = j0 + c < see[r] ? SUM(sum[r][c]) * scale : NEG_INF;
        }
    }
}
