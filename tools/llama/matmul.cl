/* SPDX-License-Identifier: Apache-2.0 */
/*
 * matmul: y = x w^T (+ y) for processors, w as checkpoints hold it, [out][in].
 *
 * Idea      A work-item owns BM rows and BN columns of y, in register tiles of MR x 16.
 *           w comes packed: f32, 16 columns wide, so that a step of the inner loop
 *           reads one line of w and MR numbers of x.
 * Grid      (ceil(rows / BM), ceil(columns / BN), 1) groups of 1; pack and turn: an item
 *           16 columns of PACKED terms, or 16 rows of TURNED; widen: an item four numbers
 * Local     none
 * Edges     rows beyond the last are computed from the last and not stored;
 *           columns beyond the last are packed as zeros
 */
#define MR     6
#define NR     16
#define BM     96 /* these as in product.c */
#define BN     64
#define PACKED 256
#define TURNED 64

/* Element i of a matrix of that type: 0 f32, 1 f16, 2 bf16. */
inline float weight(__global const void *w, int dtype, ulong i)
{
    if (dtype == 1)
        return vload_half(i, (__global const half *)w);
    if (dtype == 2)
        return as_float((uint)((__global const ushort *)w)[i] << 16);
    return ((__global const float *)w)[i];
}

/* n columns of k terms, as panels [k][NR]: column c of term i lies at + c * over_column + i * over_term. */
__kernel void pack(__global const void *w, int dtype, ulong at, ulong over_column, ulong over_term, int n, int k,
                   __global float *to)
{
    const int c0 = (int)get_global_id(0) * NR, i0 = (int)get_global_id(1) * PACKED, i1 = min(i0 + PACKED, k);

    if (c0 < n) {
        __global float *panel = to + (ulong)c0 * k;

        for (int i = i0; i < i1; i++)
            for (int c = 0; c < NR; c++)
                panel[(ulong)i * NR + c] =
                    c0 + c < n ? weight(w, dtype, at + (c0 + c) * over_column + i * over_term) : 0.0f;
    }
}

/* to [rows][n] = from [n][rows]. */
__kernel void turn(__global const float *from, ulong from_at, int rows, int n, __global float *to, ulong to_at)
{
    const int r0 = (int)get_global_id(0) * NR, r1 = min(r0 + NR, rows);
    const int i0 = (int)get_global_id(1) * TURNED, i1 = min(i0 + TURNED, n);

    for (int r = r0; r < r1; r++)
        for (int i = i0; i < i1; i++)
            to[to_at + (ulong)r * n + i] = from[from_at + (ulong)i * rows + r];
}

/* n numbers of w times `scale`, in f32; four an item. */
__kernel void widen(__global const void *w, int dtype, ulong at, ulong n, float scale, __global float *to)
{
    const ulong four = get_global_id(0), i = four * 4, from = at / 4 + four;

    if (i + 4 <= n && at % 4 == 0) {
        const float4 x = dtype == 1   ? vloada_half4(from, (__global const half *)w)
                         : dtype == 2 ? as_float4(convert_uint4(((__global const ushort4 *)w)[from]) << 16)
                                      : ((__global const float4 *)w)[from];

        ((__global float4 *)to)[four] = scale * x;
    } else {
        for (ulong e = i; e < min(i + 4, n); e++)
            to[e] = scale * weight(w, dtype, at + e);
    }
}

/* One register tile: `rows` <= MR rows of x against a panel. */
inline void tile(__global const float *x, int stride, int k, int rows, __global const float *panel, __global float *y,
                 int n, int columns, int add)
{
    __global const float *a[MR];
    float8 sum[MR][2];

#pragma unroll
    for (int r = 0; r < MR; r++) {
        a[r] = x + (ulong)min(r, rows - 1) * stride;
        sum[r][0] = sum[r][1] = (float8)(0.0f);
    }
#pragma unroll 4
    for (int i = 0; i < k; i++) {
        const float8 b0 = vload8(0, panel + (ulong)i * NR), b1 = vload8(1, panel + (ulong)i * NR);

#pragma unroll
        for (int r = 0; r < MR; r++) {
            sum[r][0] = fma((float8)(a[r][i]), b0, sum[r][0]);
            sum[r][1] = fma((float8)(a[r][i]), b1, sum[r][1]);
        }
    }
#pragma unroll
    for (int r = 0; r < MR; r++)
        if (r < rows) {
            __global float *to = y + (ulong)r * n;

            if (columns >= NR) {
                vstore8(add ? sum[r][0] + vload8(0, to) : sum[r][0], 0, to);
                vstore8(add ? sum[r][1] + vload8(1, to) : sum[r][1], 1, to);
            } else {
                float edge[NR];

                vstore8(sum[r][0], 0, edge);
                vstore8(sum[r][1], 1, edge);
                for (int c = 0; c < columns; c++)
                    to[c] = add ? edge[c] + to[c] : edge[c];
            }
        }
}

__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void matmul(__global const float *x, ulong x_at, int stride,
                                                                    int m, int k, __global const float *packed, int n,
                                                                    __global float *y, ulong y_at, int add)
{
    const int r0 = (int)get_group_id(0) * BM, r1 = min(r0 + BM, m);
    const int c0 = (int)get_group_id(1) * BN, c1 = min(c0 + BN, n);

    for (int c = c0; c < c1; c += NR)
        for (int r = r0; r < r1; r += MR)
            tile(x + x_at + (ulong)r * stride, stride, k, min(MR, r1 - r), packed + (ulong)c * k,
                 y + y_at + (ulong)r * n + c, n, n - c, add);
}
