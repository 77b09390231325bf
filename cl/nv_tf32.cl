/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nv_tf32: products of f32 on the matrix units of NVIDIA GPUs since Ampere, in
 * 64 x 64 tiles; common to gate_nv and score_nv.
 *
 * Idea      4 warps of 32 x 32; panels of 32 channels go through local memory
 * Numerics  the units see 11 bits of a number, so it is taken as what they see
 *           and the rest, and three of the four products are added up: the error
 *           is that of some 21 bits
 */
#define WG    128
#define TILE  64
#define PLACE (TILE * 128) /* bytes of a panel of rows */

/* Begin to copy a panel of rows r0 .. n - 1; others are the last again, and
 * channels beyond `depth`, a multiple of 4, zeros. */
static inline void copy_panel(__global const float *from, ulong pitch, int r0, int n, int depth, int panel,
                              int aligned, uint to)
{
    const int chunk = get_local_id(0) % 8, row = get_local_id(0) / 8, c = panel * 32 + chunk * 4;

    from += min(c, depth - 4);
    to += chunk_at(row, chunk);
    if (aligned) {
#pragma unroll
        for (int r = 0; r < TILE; r += WG / 8)
            copy16(to + r * 128, from + min(r0 + row + r, n - 1) * pitch, c < depth ? 16 : 0);
    } else {
        for (int r = 0; r < TILE; r += WG / 8) {
            const uint4 x = as_uint4(vload4(0, from + min(r0 + row + r, n - 1) * pitch));

            store16(to + r * 128, c < depth ? x : (uint4)(0));
        }
    }
}

/* What the units see of n numbers, and the rest. */
static inline void split(const uint *x, int n, uint *high, uint *low)
{
#pragma unroll
    for (int e = 0; e < n; e++) {
        high[e] = x[e] & 0xffffe000u;
        low[e] = as_uint(as_float(x[e]) - as_float(high[e]));
    }
}

/* Left operand fragments of the warp's 32 rows, 8 channels from `step` * 8 on. */
static inline void fetch_rows(uint *x, uint from, int step)
{
#pragma unroll
    for (int e = 0; e < 2; e++)
        fetch4(x + e * 4, from + chunk_at(e * 16 + LANE % 16, step * 2 + LANE / 16));
}

/* sum [32 x 32] += x y */
static inline void mma_all(float *sum, const uint *x, const uint *y)
{
#pragma unroll
    for (int e = 0; e < 8; e++)
        mma_tf32(sum + e * 4, x + e / 4 * 4, y + e % 4 * 2);
}

/* The same of f32 numbers; `exact`: the units see all of y.  One product after
 * the other, since two in a row to the same sums wait for each other. */
static inline void add_product(float *sum, const uint *x, const uint *y, int exact)
{
    uint x_high[8], x_low[8], y_high[8], y_low[8];

    split(x, 8, x_high, x_low);
    split(y, 8, y_high, y_low);
    mma_all(sum, x_low, y_high);
    if (!exact)
        mma_all(sum, x_high, y_low);
    mma_all(sum, x_high, y_high);
}
