/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nv_mma: the two products of attention on the matrix units of any NVIDIA GPU
 * since Ampere: one warp, 16 rows, operands fetched by ldmatrix.
 */

/* Nothing to order: these instructions read local memory as loads do. */
#define TILES_READY()

/* Nor to wait for: a product is done when its function ends. */
#define DOT_END(later, s)
#define add_tile_end(o)

/* s [64 x 64] = q k^T */
static inline void dot_tile(float *s, const uint *q, uint k)
{
    const int row = LANE % 8 + LANE / 16 * 8, chunk = LANE / 8 % 2;

#pragma unroll
    for (int i = 0; i < 32; i++)
        s[i] = 0.0f;
#pragma unroll
    for (int x = 0; x < D / 16; x++)
#pragma unroll
        for (int c = 0; c < 4; c++) {
            uint b[4];

            fetch4(b, k + chunk_at(c * 16 + row, x * 2 + chunk));
            mma_16(s + c * 8, q + x * 4, b);
            mma_16(s + c * 8 + 4, q + x * 4, b + 2);
        }
}

/* s [64 x 64] = a b^T of two tiles */
static inline void dot_tiles(float *s, uint a, uint b)
{
    const int row = LANE % 8 + LANE / 16 * 8, chunk = LANE / 8 % 2;

    a += chunk_at(get_local_id(0) / 32 * 16, 0);
#pragma unroll
    for (int i = 0; i < 32; i++)
        s[i] = 0.0f;
#pragma unroll
    for (int x = 0; x < D / 16; x++) {
        uint own[4];

        fetch4(own, a + chunk_at(LANE % 16, x * 2 + LANE / 16));
#pragma unroll
        for (int c = 0; c < 4; c++) {
            uint y[4];

            fetch4(y, b + chunk_at(c * 16 + row, x * 2 + chunk));
            mma_16(s + c * 8, own, y);
            mma_16(s + c * 8 + 4, own, y + 2);
        }
    }
}

/* o [64 x D] += p v */
static inline void add_tile(float *o, const uint *p, uint v)
{
    const int row = LANE % 16, chunk = LANE / 16;

#pragma unroll
    for (int c = 0; c < 4; c++)
#pragma unroll
        for (int x = 0; x < D / 16; x++) {
            uint b[4];

            fetch4_turned(b, v + chunk_at(c * 16 + row, x * 2 + chunk));
            mma_16(o + x * 8, p + c * 4, b);
            mma_16(o + x * 8 + 4, p + c * 4, b + 2);
        }
}
