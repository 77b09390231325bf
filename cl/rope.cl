/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rope: RoPE of gated blocks at each block's first token; without a matrix in
 * between it also copies.  Second half of gate.
 *
 * Idea      a work-item owns one pair of channels, or one that stays, of `span` heads
 * Grid      (DG - pairs, blocks, sides * sequences * ceil(heads / span)), groups of 32
 * Numerics  the angle position * inv_freq is kept in two floats and reduced in
 *           three steps, since 131072 radians in one float are 8e-3 off
 */
#ifndef DG
#define DG 64
#endif
#ifndef INTERLEAVED
#define INTERLEAVED 0
#endif
#ifndef CAUSAL
#define CAUSAL 1
#endif

#define HEADS_AHEAD 4 /* heads read before the first is written */

/* cos and sin of position * freq. */
static inline float2 turn(int position, float freq)
{
    const float high = (float)position * freq, low = fma((float)position, freq, -high);
    const float turns = rint(high * 0.15915494309189535f);
    float angle = fma(-turns, 6.28318548202514648f, high);

    angle = fma(turns, 1.74845553146951715e-7f, angle) + low;
    return (float2)(cos(angle), sin(angle));
}

/* Sides 0, queries, .. sides - 1, keys.  `scale` multiplies cos and sin: a negative second turns back,
 * which takes gradients back.  x and y of a side may be the same tensor. */
__kernel void rope(__global const float *q, ulong q_at, __global float *q_to, ulong q_to_at, __global const float *k,
                   ulong k_at, __global float *k_to, ulong k_to_at, __global const float *inv_freq, ulong inv_freq_at,
                   __global const int *seqs, ulong seqs_from, int sequences, int sq, int sk, int rows, int blocks_k,
                   int q_heads, int k_heads, int pairs, int block_q, int block_k, int span, float2 scale)
{
    const int spans = (max(q_heads, k_heads) + span - 1) / max(span, 1);
    const int c = get_global_id(0), i = get_global_id(1), z = get_global_id(2);
    const int s = z / max(spans, 1) % max(sequences, 1), keys = z / max(spans * sequences, 1);
    const int heads = keys ? k_heads : q_heads, block = keys ? block_k : block_q;
    const int first_head = z % max(spans, 1) * span, end = min(first_head + span, heads);

    if (s < sequences && c < DG - pairs && first_head < end) {
        const seq_t at = seq_at(seqs + seqs_from, s, sq, sk);
        const int row = (keys ? at.col0 : at.row0) + i, length = keys ? at.sk : at.sq;

        if (row < (keys ? blocks_k : rows) && i * block < length) {
            const ulong place = ((ulong)at.batch * (keys ? blocks_k : rows) + row) * heads * DG;
            __global const float *from = (keys ? k + k_at : q + q_at) + place;
            __global float *to = (keys ? k_to + k_to_at : q_to + q_to_at) + place;

            if (c < pairs) {
                const int first = INTERLEAVED ? 2 * c : c, second = INTERLEAVED ? 2 * c + 1 : c + pairs;
                const int position = i * block + (CAUSAL && !keys ? at.sk - at.sq : 0);
                const float2 cs = turn(position, inv_freq[inv_freq_at + c]) * scale;

                for (int h0 = first_head; h0 < end; h0 += HEADS_AHEAD) {
                    float a[HEADS_AHEAD], b[HEADS_AHEAD];

#pragma unroll
                    for (int e = 0; e < HEADS_AHEAD; e++) {
                        const int h = min(h0 + e, end - 1);

                        a[e] = from[h * DG + first];
                        b[e] = from[h * DG + second];
                    }
#pragma unroll
                    for (int e = 0; e < HEADS_AHEAD; e++)
                        if (h0 + e < end) {
                            to[(h0 + e) * DG + first] = a[e] * cs.x - b[e] * cs.y;
                            to[(h0 + e) * DG + second] = b[e] * cs.x + a[e] * cs.y;
                        }
                }
            } else {
                for (int h = first_head; h < end; h++)
                    to[h * DG + c + pairs] = from[h * DG + c + pairs];
            }
        }
    }
}
