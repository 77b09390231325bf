/*
 * gate: the gate's matrices, then RoPE at each block's first token.
 *
 * Idea      gate: a work-item owns RM rows and VEC channels; the matrix's rows
 *           are read as vectors, the pooled values as scalars
 *           rope: a work-item owns one pair of channels, or one that stays, of
 *           all heads
 * Grid      gate: (ceil(rows / RM) * DG / VEC, heads, 1), groups of WG
 *           rope: (DG - pairs, blocks, sequences), groups of 32
 * Assumes   DG % VEC == 0
 * Numerics  the angle position * inv_freq is kept in two floats and reduced in
 *           three steps, since 131072 radians in one float are 8e-3 off
 */
#ifndef DG
#define DG 64
#endif
#ifndef WTYPE
#define WTYPE 0 /* storage of the matrices, as DTYPE */
#endif
#ifndef RM
#define RM 4 /* rows a work-item */
#endif
#ifndef VEC
#define VEC 8 /* channels a work-item */
#endif
#ifndef INTERLEAVED
#define INTERLEAVED 0
#endif
#ifndef CAUSAL
#define CAUSAL 1
#endif

#define CAT_(a, b) a##b
#define CAT(a, b)  CAT_(a, b)
#define vec        CAT(float, VEC)
#define STORE_VEC  CAT(vstore, VEC)

/* The matrix is read through the same macros as tokens, whose type DTYPE names. */
#if WTYPE != DTYPE
#error "the launcher passes the matrices' type as DTYPE"
#endif

/* y[row][head] = x[row][head / share] * w[head]: x has `heads / share` heads of `k` channels. */
__kernel void gate(__global const float *x, ulong x_at, __global const elem *w, ulong w_at, __global float *y,
                   ulong y_at, int rows, int heads, int share, int k)
{
    const int r0 = get_global_id(0) / (DG / VEC) * RM, c = get_global_id(0) % (DG / VEC) * VEC;
    const int h = get_global_id(1), from_heads = heads / max(share, 1);

    if (r0 < rows) {
        __global const float *a[RM];
        vec sum[RM];

        for (int r = 0; r < RM; r++) {
            a[r] = x + x_at + ((ulong)min(r0 + r, rows - 1) * from_heads + h / share) * k;
            sum[r] = (vec)(0.0f);
        }
        for (int i = 0; i < k; i++) {
            const vec b = CAT(LOAD, VEC)(w, w_at + ((ulong)h * k + i) * DG + c);

#pragma unroll
            for (int r = 0; r < RM; r++)
                sum[r] = fma((vec)(a[r][i]), b, sum[r]);
        }
        for (int r = 0; r < RM; r++)
            if (r0 + r < rows)
                STORE_VEC(sum[r], 0, y + y_at + ((ulong)(r0 + r) * heads + h) * DG + c);
    }
}

/* cos and sin of position * freq. */
static inline float2 turn(int position, float freq)
{
    const float high = (float)position * freq, low = fma((float)position, freq, -high);
    const float turns = rint(high * 0.15915494309189535f);
    float angle = fma(-turns, 6.28318548202514648f, high);

    angle = fma(turns, 1.74845553146951715e-7f, angle) + low;
    return (float2)(cos(angle), sin(angle));
}

/* `side`: 0 queries, 1 keys.  x and y may be the same tensor. */
__kernel void rope(__global const float *x, ulong x_at, __global float *y, ulong y_at, __global const float *inv_freq,
                   ulong inv_freq_at, __global const int *seqs, ulong seqs_from, int sequences, int sq, int sk,
                   int rows, int heads, int pairs, int side, int block, float scale)
{
    const int c = get_global_id(0), i = get_global_id(1), s = get_global_id(2);

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

                for (int h = 0; h < heads; h++) {
                    const float a = from[h * DG + first], b = from[h * DG + second];

                    to[h * DG + first] = a * cs.x - b * cs.y;
                    to[h * DG + second] = b * cs.x + a * cs.y;
                }
            } else {
                for (int h = 0; h < heads; h++)
                    to[h * DG + c + pairs] = from[h * DG + c + pairs];
            }
        }
    }
}
