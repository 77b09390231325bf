/*
 * rope: RoPE of gated blocks at each block's first token; without a matrix in
 * between it also copies.  Second half of gate.
 *
 * Idea      a work-item owns one pair of channels, or one that stays, of `span` heads
 * Grid      (DG - pairs, blocks, sequences * ceil(heads / span)), groups of 32
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

/* cos and sin of position * freq. */
static inline float2 turn(int position, float freq)
{
    const float high = (float)position * freq, low = fma((float)position, freq, -high);
    const float turns = rint(high * 0.15915494309189535f);
    float angle = fma(-turns, 6.28318548202514648f, high);

    angle = fma(turns, 1.74845553146951715e-7f, angle) + low;
    return (float2)(cos(angle), sin(angle));
}

/* `side`: 0 queries, 1 keys.  `scale` multiplies cos and sin: a negative second turns back,
 * which takes gradients back.  x and y may be the same tensor. */
__kernel void rope(__global const float *x, ulong x_at, __global float *y, ulong y_at, __global const float *inv_freq,
                   ulong inv_freq_at, __global const int *seqs, ulong seqs_from, int sequences, int sq, int sk,
                   int rows, int heads, int pairs, int side, int block, int span, float2 scale)
{
    const int spans = (heads + span - 1) / max(span, 1);
    const int c = get_global_id(0), i = get_global_id(1), s = get_global_id(2) / max(spans, 1);
    const int first_head = ((int)get_global_id(2) - s * spans) * span, end = min(first_head + span, heads);

    if (s < sequences && c < DG - pairs) {
        const seq_t at = seq_at(seqs + seqs_from, s, sq, sk);
        const int row = (side ? at.col0 : at.row0) + i, length = side ? at.sk : at.sq;

        if (row < rows && i * block < length) {
            const ulong place = ((ulong)at.batch * rows + row) * heads * DG;
            __global const float *from = x + x_at + place;
            __global float *to = y + y_at + place;

            if (c < pairs) {
                const int first = INTERLEAVED ? 2 * c : c, second = INTERLEAVED ? 2 * c + 1 : c + pairs;
                const int position = i * block + (CAUSAL && !side ? at.sk - at.sq : 0);
                const float2 cs = turn(position, inv_freq[inv_freq_at + c]) * scale;

                for (int h = first_head; h < end; h++) {
                    const float a = from[h * DG + first], b = from[h * DG + second];

                    to[h * DG + first] = a * cs.x - b * cs.y;
                    to[h * DG + second] = b * cs.x + a * cs.y;
                }
            } else {
                for (int h = first_head; h < end; h++)
                    to[h * DG + c + pairs] = from[h * DG + c + pairs];
            }
        }
    }
}
