/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weights: what training does to the arrays of a model.  All are f32 and compact.
 *
 * Grid      squares: groups of LANES, one for each PER numbers; the others: one item a number, or four
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

/* scale * x as f16 (dtype 1) or bf16 (2), rounded to nearest even; four an item.  What is no number stays none. */
__kernel void narrow(__global const float *x, ulong n, int dtype, float scale, __global ushort *to)
{
    const ulong four = get_global_id(0), i = four * 4;
    const int left = i < n ? (int)min(n - i, (ulong)4) : 0;
    float4 y = (float4)(0.0f);

    if (left == 4) {
        y = scale * ((__global const float4 *)x)[four];
    } else {
        y.x = left > 0 ? scale * x[i] : 0.0f;
        y.y = left > 1 ? scale * x[i + 1] : 0.0f;
        y.z = left > 2 ? scale * x[i + 2] : 0.0f;
    }
    ushort4 bits;
    if (dtype == 1) {
        vstorea_half4_rte(y, 0, (__private half *)&bits);
    } else {
        const uint4 u = as_uint4(y), up = (u + 0x7fffu + (u >> 16 & 1u)) >> 16;

        bits = convert_ushort4(select(up, (uint4)(0x7fc0u), isnan(y)));
    }
    if (left == 4) {
        ((__global ushort4 *)to)[four] = bits;
    } else {
        if (left > 0)
            to[i] = bits.x;
        if (left > 1)
            to[i + 1] = bits.y;
        if (left > 2)
            to[i + 2] = bits.z;
    }
}
