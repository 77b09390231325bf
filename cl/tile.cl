/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tile: f32 products of 64 x 64 through local memory, common to gate and score.
 *
 * Idea      tiles of TILE rows of both operands, STEP deep, twice in local
 *           memory: one is multiplied while the other is filled; a work-item
 *           owns TM x TN sums, in pieces of 4 x 4 that lie TILE / (TM / 4) and
 *           TILE / (TN / 4) apart, so that neighbours read neighbouring banks
 * Local     4 * STEP * (TILE + 4) * 4 bytes
 * Assumes   TM and TN are 4 or 8; the depth is a multiple of STEP; local tiles lie
 *           at multiples of 16 bytes
 */
#ifndef TM
#define TM 4 /* rows a work-item */
#endif
#ifndef TN
#define TN 8 /* columns a work-item */
#endif

#ifndef STEP
#define STEP 8 /* deep */
#endif

#define TILE  64
#define PITCH (TILE + 4)
#define NX    (TILE / TN)
#define NY    (TILE / TM)
#define WG    (NX * NY)
#define LOADS (TILE * STEP / 4 / WG) /* of 4 numbers, a work-item, operand and step; 0: half of them load */

/* Row r of this work-item's sums within the tile; the same for columns. */
static inline int sum_row(int r)
{
    return r / 4 * (TILE / (TM / 4)) + (int)get_local_id(0) / NX * 4 + r % 4;
}

static inline int sum_col(int c)
{
    return c / 4 * (TILE / (TN / 4)) + (int)get_local_id(0) % NX * 4 + c % 4;
}

/* Where the i-th load of this work-item lies: rows of an operand whose depth
 * is contiguous (x: row, y: first of 4 along the depth) ... */
static inline int2 load_along(int i)
{
    const int x = (int)get_local_id(0) + i * WG;

    return (int2)(x / (STEP / 4), x % (STEP / 4) * 4);
}

/* ... or one whose columns are (x: first of 4 columns, y: depth). */
static inline int2 load_across(int i)
{
    const int x = (int)get_local_id(0) + i * WG;

    return (int2)(x % (TILE / 4) * 4, x / (TILE / 4));
}

/* Compilers split vload4 and vstore4, which may be given any address, into
 * single moves on some GPUs: one move of 16 bytes where the address allows. */
#define WHOLE(p) (((ulong)(p)&15) == 0)

static inline void store4(float4 x, __global float *p, int whole)
{
    if (whole)
        *(__global float4 *)p = x;
    else
        vstore4(x, 0, p);
}

#define LOADING(i) (LOADS > 0 || (int)get_local_id(0) < TILE * STEP / 4)
#define EACH_LOAD  (LOADS > 0 ? LOADS : 1)

/* Rows r0 .. of n, along the depth; all loads behind one branch, so that none
 * waits for another. */
static inline void load_rows(__global const float *from, int pitch, int r0, int n, int whole, float4 *x)
{
    if (whole) {
#pragma unroll
        for (int e = 0; e < EACH_LOAD; e++) {
            const int2 at = load_along(e);

            if (LOADING(e))
                x[e] = *(__global const float4 *)(from + (ulong)min(r0 + at.x, n - 1) * pitch + at.y);
        }
    } else {
        for (int e = 0; e < EACH_LOAD; e++) {
            const int2 at = load_along(e);

            if (LOADING(e))
                x[e] = vload4(0, from + (ulong)min(r0 + at.x, n - 1) * pitch + at.y);
        }
    }
}

/* Four numbers along the depth become a column of the local tile. */
static inline void store_along(float4 x, int2 at, __local float *to)
{
    to[at.y * PITCH + at.x] = x.x;
    to[(at.y + 1) * PITCH + at.x] = x.y;
    to[(at.y + 2) * PITCH + at.x] = x.z;
    to[(at.y + 3) * PITCH + at.x] = x.w;
}

static inline void store_across(float4 x, int2 at, __local float *to)
{
    *(__local float4 *)(to + at.y * PITCH + at.x) = x;
}

/* sums += a^T b over one step. */
static inline void multiply(__local const float *a, __local const float *b, float4 *sum)
{
#pragma unroll
    for (int k = 0; k < STEP; k++) {
        float4 y[TN / 4];

#pragma unroll
        for (int c = 0; c < TN / 4; c++)
            y[c] = *(__local const float4 *)(b + k * PITCH + sum_col(c * 4));
#pragma unroll
        for (int r = 0; r < TM / 4; r++) {
            const float4 x = *(__local const float4 *)(a + k * PITCH + sum_row(r * 4));

#pragma unroll
            for (int c = 0; c < TN / 4; c++) {
                sum[(r * 4) * (TN / 4) + c] = fma((float4)(x.x), y[c], sum[(r * 4) * (TN / 4) + c]);
                sum[(r * 4 + 1) * (TN / 4) + c] = fma((float4)(x.y), y[c], sum[(r * 4 + 1) * (TN / 4) + c]);
                sum[(r * 4 + 2) * (TN / 4) + c] = fma((float4)(x.z), y[c], sum[(r * 4 + 2) * (TN / 4) + c]);
                sum[(r * 4 + 3) * (TN / 4) + c] = fma((float4)(x.w), y[c], sum[(r * 4 + 3) * (TN / 4) + c]);
            }
        }
    }
}
