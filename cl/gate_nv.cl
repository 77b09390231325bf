/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate_nv: the gate's matrices on the matrix units of NVIDIA GPUs since Ampere;
 * rope.cl does the rest.
 *
 * Idea      64 rows x 64 channels a work-group, see nv_tf32.cl; three panels of x
 *           in turn, copied without waiting, and two of the matrix, which go
 *           through registers, where they become f32
 * Grid      (tiles of channels, tiles of rows, heads) groups of WG
 * Local     42 KB
 * Assumes   DG % 8 == 0, k % 8 == 0
 */
#ifndef DG
#define DG 64
#endif
#ifndef WTYPE
#define WTYPE 0 /* storage of the matrices, as DTYPE */
#endif
/* The matrix is read through the same macros as tokens, whose type DTYPE names. */
#if WTYPE != DTYPE
#error "the launcher passes the matrices' type as DTYPE"
#endif

#define PITCH  (TILE + 8) /* numbers: the 4 x 8 of a fragment lie in 32 banks */
#define PIECES (32 * TILE / 8 / WG)

/* This work-item's piece e of a panel of the matrix: x its depth, y its first channel. */
static inline int2 piece_at(int e)
{
    const int x = (int)get_local_id(0) + e * WG;

    return (int2)(x / (TILE / 8), x % (TILE / 8) * 8);
}

/* Begin to load a panel of the matrix, `deep` rows from `from` on. */
static inline void load_matrix(__global const elem *from, int deep, int c0, int whole, float8 *x)
{
    if (whole) {
#pragma unroll
        for (int e = 0; e < PIECES; e++) {
            const int2 at = piece_at(e);

            x[e] = WHOLE8(from + (ulong)min(at.x, deep - 1) * DG + min(c0 + at.y, DG - 8));
        }
    } else {
        for (int e = 0; e < PIECES; e++) {
            const int2 at = piece_at(e);

            x[e] = LOAD8(from, (ulong)min(at.x, deep - 1) * DG + min(c0 + at.y, DG - 8));
        }
    }
}

/* Rows beyond `deep` become zeros, here: a load is not to be waited for where it begins. */
static inline void store_matrix(const float8 *x, int deep, __local float *to)
{
#pragma unroll
    for (int e = 0; e < PIECES; e++) {
        const int2 at = piece_at(e);

        const float8 y = at.x < deep ? x[e] : (float8)(0.0f);

        *(__local float4 *)(to + at.x * PITCH + at.y) = y.lo;
        *(__local float4 *)(to + at.x * PITCH + at.y + 4) = y.hi;
    }
}

/* sum [32 x 32] += a b over a panel; b: the warp's channels of it. */
static inline void add_panel(float *sum, uint a, __local const float *b)
{
    b += LANE % 4 * PITCH + LANE / 4;
#pragma unroll
    for (int step = 0; step < 4; step++) {
        uint x[8], y[8];

        fetch_rows(x, a, step);
#pragma unroll
        for (int e = 0; e < 8; e++)
            y[e] = as_uint(b[(step * 8 + e % 2 * 4) * PITCH + e / 2 * 8]);
        add_product(sum, x, y, WTYPE != 0);
    }
}

/* y[row][head] = x[row][head / share] * w[head]: x has `heads / share` heads of `k` channels. */
__attribute__((reqd_work_group_size(WG, 1, 1))) __kernel void gate_nv(__global const float *x, ulong x_at,
                                                                      __global const elem *w, ulong w_at,
                                                                      __global float *y, ulong y_at, int rows,
                                                                      int heads, int share, int k)
{
    __local uint4 places[3 * PLACE / 16] __attribute__((aligned(1024)));
    __local float matrix[2 * 32 * PITCH] __attribute__((aligned(16)));
    const uint place = local_address(places);
    const int c0 = GROUP(0) * TILE, i0 = GROUP(1) * TILE, h = GROUP(2);
    const int from_heads = heads / max(share, 1), panels = i0 < rows ? (k + 31) / 32 : 0;
    __global const float *from = x + x_at + (ulong)(h / max(share, 1)) * k;
    __global const elem *from_w = w + w_at + (ulong)h * k * DG;
    const int aligned = ((ulong)from & 15) == 0, whole = ((ulong)from_w & (8 * sizeof(elem) - 1)) == 0;
    const int warp = get_local_id(0) / 32, r_warp = warp / 2 * 32, c_warp = warp % 2 * 32;
    float sum[32];

#pragma unroll
    for (int e = 0; e < 32; e++)
        sum[e] = 0.0f;
    if (panels > 0)
        copy_panel(from, (ulong)from_heads * k, i0, rows, k, 0, aligned, place);
    COPIES_COMMIT();
    for (int p = 0; p <= panels; p++) {
        float8 piece[PIECES];

        if (p < panels)
            load_matrix(from_w + (ulong)p * 32 * DG, k - p * 32, c0, whole, piece);
        COPIES_WAIT(1);
        barrier(CLK_LOCAL_MEM_FENCE); /* panels p - 1 are there, panels p - 2 have been used */
        if (p + 1 < panels)
            copy_panel(from, (ulong)from_heads * k, i0, rows, k, p + 1, aligned, place + (p + 1) % 3 * PLACE);
        COPIES_COMMIT();
        if (p > 0)
            add_panel(sum, place + (p - 1) % 3 * PLACE + r_warp * 128, matrix + (p - 1) % 2 * 32 * PITCH + c_warp);
        if (p < panels)
            store_matrix(piece, k - p * 32, matrix + p % 2 * 32 * PITCH);
    }
#pragma unroll
    for (int e = 0; e < 16; e++) {
        const int i = i0 + r_warp + e / 8 * 16 + e % 2 * 8 + LANE / 4;
        const int c = c0 + c_warp + e / 2 % 4 * 8 + LANE % 4 * 2, at_sum = (e / 8 * 4 + e / 2 % 4) * 4 + e % 2 * 2;

        if (i < rows && c < DG)
            vstore2((float2)(sum[at_sum], sum[at_sum + 1]), 0, y + y_at + ((ulong)i * heads + h) * DG + c);
    }
}
