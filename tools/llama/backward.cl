/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backward: gradients of what lies between a model's products.  All arrays are f32 and compact.
 *
 * Grid      blame, scales, rms_back: groups of LANES, one a row; the others: one item a
 *           number, or a column
 * Order     every sum has one, whatever the device does first: the same bits in every run
 */

__kernel void zero(__global float *x, ulong n)
{
    const ulong i = get_global_id(0);

    if (i < n)
        x[i] = 0.0f;
}

/* Logits of a row become the gradient of share x its loss: softmax less 1 at the target. */
__kernel void blame(__global float *logits, int n, __global const int *tokens, ulong first, float share,
                    __global float *losses)
{
    __local float part[LANES];
    const ulong row = get_group_id(0);
    const int lane = get_local_id(0), target = tokens[first + row + 1];
    __global float *x = logits + row * n;
    const float wanted = x[target];
    float high = -MAXFLOAT, sum = 0.0f;

    for (int i = lane; i < n; i += LANES)
        high = fmax(high, x[i]);
    high = together(high, 1, part);
    for (int i = lane; i < n; i += LANES) {
        const float e = exp(x[i] - high);

        x[i] = e;
        sum += e;
    }
    sum = together(sum, 0, part);
    for (int i = lane; i < n; i += LANES)
        x[i] = share * (x[i] / sum - (i == target ? 1.0f : 0.0f));
    if (lane == 0)
        losses[first + row] = high - wanted + log(sum);
}

/* What rms multiplies a row with: 1 / sqrt(mean of x^2 + eps). */
__kernel void scales(__global const float *x, float eps, int width, __global float *scale)
{
    __local float part[LANES];
    const ulong row = get_group_id(0);
    const int lane = get_local_id(0);
    __global const float *from = x + row * width;
    float sum = 0.0f;

    for (int i = lane; i < width; i += LANES)
        sum = fma(from[i], from[i], sum);
    sum = together(sum, 0, part);
    if (lane == 0)
        scale[row] = 1.0f / sqrt(sum / width + eps);
}

/* dx = s (w dy - x s^2 mean(x w dy)) (+ dx), a row of scale s; dx may be dy. */
__kernel void rms_back(__global const float *x, __global const float *w, __global const float *scale,
                       __global const float *dy, int width, int add, __global float *dx)
{
    __local float part[LANES];
    const ulong row = get_group_id(0), at = row * width;
    const int lane = get_local_id(0);
    const float s = scale[row];
    float sum = 0.0f;

    for (int i = lane; i < width; i += LANES)
        sum = fma(x[at + i] * w[i], dy[at + i], sum);
    sum = together(sum, 0, part) * s * s / width;
    for (int i = lane; i < width; i += LANES) {
        const float d = s * (w[i] * dy[at + i] - x[at + i] * sum);

        dx[at + i] = add ? dx[at + i] + d : d;
    }
}

/* In place, d being the gradient of silu(gate) * up: gate and up become their gradients, n times 4 numbers. */
__kernel void swiglu_back(__global float4 *gate, __global float4 *up, __global const float4 *d, ulong n)
{
    const ulong i = get_global_id(0);

    if (i < n) {
        const float4 g = gate[i], s = 1.0f / (1.0f + exp(-g));

        gate[i] = d[i] * up[i] * s * (1.0f + g * (1.0f - s));
        up[i] = d[i] * g * s;
    }
}

/* Sums of dy, or with `scaled` of dy * x * scale, over each `per` rows: part [..][width]. */
__kernel void columns(__global const float *dy, __global const float *x, __global const float *scale, int scaled,
                      int width, int rows, int per, __global float *part)
{
    const int i = get_global_id(0), p = get_global_id(1), end = min((p + 1) * per, rows);
    float sum = 0.0f;

    if (i < width) {
        for (int r = p * per; r < end; r++) {
            const ulong at = (ulong)r * width + i;

            sum += scaled ? dy[at] * x[at] * scale[r] : dy[at];
        }
        part[(ulong)p * width + i] = sum;
    }
}

/* to += the sums of all parts. */
__kernel void add_parts(__global const float *part, int width, int parts, __global float *to)
{
    const int i = get_global_id(0);
    float sum = 0.0f;

    if (i < width) {
        for (int p = 0; p < parts; p++)
            sum += part[(ulong)p * width + i];
        to[i] += sum;
    }
}

/* Rows of the embedding += rows of dx.  places: tokens' numbers, those of one token together and
 * ascending; first[u] .. first[u + 1] - 1 are those of the u-th. */
__kernel void scatter(__global const float *dx, __global const int *tokens, __global const int *places,
                      __global const int *first, int width, int n, __global float *table)
{
    const int i = get_global_id(0), u = get_global_id(1);
    float sum = 0.0f;

    if (i < width && u < n) {
        for (int p = first[u]; p < first[u + 1]; p++)
            sum += dx[(ulong)places[p] * width + i];
        table[(ulong)tokens[places[first[u]]] * width + i] += sum;
    }
}
