/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate: the gate's matrices; rope.cl does the rest.
 *
 * Idea      64 rows x 64 channels a work-group, see tile.cl
 * Grid      (tiles of channels, tiles of rows, heads) groups of WG
 * Assumes   DG % 8 == 0, k % STEP == 0
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

/* y[row][head] = x[row][head / share] * w[head]: x has `heads / share` heads of `k` channels. */
__attribute__((reqd_work_group_size(WG, 1, 1))) __kernel void gate(__global const float *x, ulong x_at,
                                                                   __global const elem *w, ulong w_at,
                                                                   __global float *y, ulong y_at, int rows, int heads,
                                                                   int share, int k)
{
    __local float a[2 * STEP * PITCH] __attribute__((aligned(16))), b[2 * STEP * PITCH] __attribute__((aligned(16)));
    const int c0 = GROUP(0) * TILE, i0 = GROUP(1) * TILE, h = GROUP(2);
    const int from_heads = heads / max(share, 1), steps = i0 < rows ? k / STEP : 0;
    __global const float *from = x + x_at + (ulong)(h / max(share, 1)) * k;
    const ulong matrix = w_at + (ulong)h * k * DG;
    const int whole_x = WHOLE(from), whole_y = WHOLE(y + y_at);
    float4 sum[TM * TN / 4];

#pragma unroll
    for (int e = 0; e < TM * TN / 4; e++)
        sum[e] = (float4)(0.0f);
    for (int step = 0; step <= steps; step++) { /* fill one, multiply the one before */
        float4 p[EACH_LOAD], q[EACH_LOAD];

#pragma unroll
        for (int e = 0; e < EACH_LOAD; e++) {
            const int2 across = load_across(e);

            if (step < steps && LOADING(e))
                q[e] = LOAD4(w, matrix + (ulong)(step * STEP + across.y) * DG + min(c0 + across.x, DG - 4));
        }
        if (step < steps)
            load_rows(from + step * STEP, from_heads * k, i0, rows, whole_x, p);
        if (step > 0)
            multiply(a + (step - 1) % 2 * STEP * PITCH, b + (step - 1) % 2 * STEP * PITCH, sum);
#pragma unroll
        for (int e = 0; e < EACH_LOAD; e++)
            if (step < steps && LOADING(e)) {
                store_along(p[e], load_along(e), a + step % 2 * STEP * PITCH);
                store_across(q[e], load_across(e), b + step % 2 * STEP * PITCH);
            }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
#pragma unroll
    for (int r = 0; r < TM; r++) {
        const int i = i0 + sum_row(r);

        if (i < rows) {
#pragma unroll
            for (int c = 0; c < TN / 4; c++)
                if (c0 + sum_col(c * 4) < DG)
                    store4(sum[r * (TN / 4) + c], y + y_at + ((ulong)i * heads + h) * DG + c0 + sum_col(c * 4),
                           whole_y);
        }
    }
}
