/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate_cpu: the gate's matrices; rope.cl does the rest.
 *
 * Idea      a work-item owns RM rows and VEC channels; the matrix's rows are
 *           read as vectors, the pooled values as scalars
 * Grid      (ceil(rows / RM) * DG / VEC, heads, 1), groups of WG
 * Assumes   DG % VEC == 0
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

#define CAT_(a, b) a##b
#define CAT(a, b)  CAT_(a, b)
#define vec        CAT(float, VEC)
#define STORE_VEC  CAT(vstore, VEC)

/* The matrix is read through the same macros as tokens, whose type DTYPE names. */
#if WTYPE != DTYPE
#error "the launcher passes the matrices' type as DTYPE"
#endif

/* y[row][head] = x[row][head / share] * w[head]: x has `heads / share` heads of `k` channels. */
__kernel void gate_cpu(__global const float *x, ulong x_at, __global const elem *w, ulong w_at, __global float *y,
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
