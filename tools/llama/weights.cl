/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weights: what training does to the arrays of a model.  All are f32 and compact.
 *
 * Grid      squares: groups of LANES, one for each PER numbers; the others: one item a number
 * Order     every sum has one: the same bits in every run
 */
#define PER 4096 /* as in optimizer.c */

/* Sums of squares, of each PER numbers, to part[at ..]. */
__kernel void squares(__global const float *x, ulong n, ulong at, __global float *part)
{
    __local float room[LANES];
    const ulong first = (ulong)get_group_id(0) * PER, end = min(first + PER, n);
    const int lane = get_local_id(0);
    float sum = 0.0f;

    for (ulong i = first + lane; i < end; i += LANES)
        sum = fma(x[i], x[i], sum);
    sum = together(sum, 0, room);
    if (lane == 0)
        part[at + get_group_id(0)] = sum;
}

/* AdamW; g becomes 0 for the next step.  `keep` is 1 - rate * decay, `rate` and `unbias` are
 * those of the step: rate / (1 - beta1^t), 1 / sqrt(1 - beta2^t). */
__kernel void adamw(__global float *g, __global float *first, __global float *second, __global float *w, ulong n,
                    float scale, float beta1, float beta2, float keep, float rate, float unbias, float eps)
{
    const ulong i = get_global_id(0);

    if (i < n) {
        const float d = g[i] * scale;
        const float m = beta1 * first[i] + (1.0f - beta1) * d, v = beta2 * second[i] + (1.0f - beta2) * d * d;

        first[i] = m;
        second[i] = v;
        w[i] = w[i] * keep - rate * m / (sqrt(v) * unbias + eps);
        g[i] = 0.0f;
    }
}

/* scale * x as f16 (dtype 1) or bf16 (2), rounded to nearest even; what is no number stays none. */
__kernel void narrow(__global const float *x, ulong n, int dtype, float scale, __global ushort *to)
{
    const ulong i = get_global_id(0);

    if (i < n) {
        const float y = scale * x[i];
        const uint u = as_uint(y);

        if (dtype == 1)
            vstore_half_rte(y, i, (__global half *)to);
        else
            to[i] = isnan(y) ? (ushort)0x7fc0u : (ushort)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
    }
}
