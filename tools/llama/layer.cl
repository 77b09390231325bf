/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layer: what lies between a model's products.  All arrays are f32 and compact.
 *
 * Grid      rms, fold: groups of LANES, one a row; the others: one item a number
 *           or a pair.  LANES is 1 on processors.
 */

/* Sum, or greatest, over the group; every item gets it. */
inline float together(float x, int greatest, __local float *part)
{
#if LANES > 1
    const int lane = get_local_id(0);

    part[lane] = x;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int half_of = LANES / 2; half_of > 0; half_of /= 2) {
        if (lane < half_of)
            part[lane] = greatest ? fmax(part[lane], part[lane + half_of]) : part[lane] + part[lane + half_of];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    x = part[0];
    barrier(CLK_LOCAL_MEM_FENCE);
#endif
    return x;
}

/* Rows of the embedding. */
__kernel void embed(__global const void *table, int dtype, __global const int *tokens, int width, int n,
                    __global float *x)
{
    const int i = get_global_id(0), t = get_global_id(1);

    if (i < width && t < n)
        x[(ulong)t * width + i] = weight(table, dtype, (ulong)tokens[t] * width + i);
}

/* y = x / sqrt(mean of x^2 + eps) * w, a row; x and y may be the same. */
__kernel void rms(__global const float *x, __global const float *w, float eps, int width, __global float *y)
{
    __local float part[LANES];
    const ulong row = get_group_id(0);
    const int lane = get_local_id(0);
    __global const float *from = x + row * width;
    __global float *to = y + row * width;
    float sum = 0.0f;

    for (int i = lane; i < width; i += LANES)
        sum = fma(from[i], from[i], sum);
    sum = 1.0f / sqrt(together(sum, 0, part) / width + eps);
    for (int i = lane; i < width; i += LANES)
        to[i] = from[i] * sum * w[i];
}

/* Rotate channels (j, j + half) of every head; table: [token][cos half, sin half].  y may be x.
 * The gradient of that has sign -1. */
__kernel void rotate_heads(__global const float *x, __global const float *table, int heads, int half_dim, int n,
                           float sign, __global float *y)
{
    const int j = get_global_id(0) % half_dim, h = get_global_id(0) / half_dim, t = get_global_id(1);

    if (h < heads && t < n) {
        const ulong at = ((ulong)t * heads + h) * 2 * half_dim + j;
        const float c = table[(ulong)t * 2 * half_dim + j], s = sign * table[((ulong)t * 2 + 1) * half_dim + j];
        const float a = x[at], b = x[at + half_dim];

        y[at] = a * c - b * s;
        y[at + half_dim] = b * c + a * s;
    }
}

/* y = silu(gate) * up, n times 4 numbers; y may be gate. */
__kernel void swiglu(__global const float4 *gate, __global const float4 *up, ulong n, __global float4 *y)
{
    const ulong i = get_global_id(0);

    if (i < n) {
        const float4 g = gate[i];

        y[i] = g / (1.0f + exp(-g)) * up[i];
    }
}

/* Every row of y becomes the bias, or with `add` gets it. */
__kernel void spread(__global const float *bias, int width, int n, int add, __global float *y)
{
    const int i = get_global_id(0), t = get_global_id(1);

    if (i < width && t < n)
        y[(ulong)t * width + i] = add ? y[(ulong)t * width + i] + bias[i] : bias[i];
}

/* Take logits of the tokens first .. first + n - 1 into each row's running (greatest,
 * sum of exp, logit of the target). */
__kernel void fold(__global const float *logits, int first, int n, __global const int *targets, ulong targets_at,
                   __global float *state)
{
    __local float part[LANES];
    const ulong row = get_group_id(0);
    const int lane = get_local_id(0), target = targets[targets_at + row] - first;
    __global const float *from = logits + row * n;
    __global float *to = state + row * 3;
    const float old = first ? to[0] : -MAXFLOAT, old_sum = first ? to[1] : 0.0f;
    float high = old, sum = 0.0f;

    for (int i = lane; i < n; i += LANES)
        high = fmax(high, from[i]);
    high = together(high, 1, part);
    for (int i = lane; i < n; i += LANES)
        sum += exp(from[i] - high);
    sum = together(sum, 0, part);
    if (lane == 0) {
        to[0] = high;
        to[1] = old_sum * exp(old - high) + sum;
        if (target >= 0 && target < n)
            to[2] = from[target];
    }
}
