/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules: scores of block pairs for the rules that need no gates, [heads][n][n] f32,
 * -inf where block i may not see block j.  The logarithm of a weight, so that the
 * softmax of select is the weight's share of its row.
 *
 * Grid      last_weights: groups of LANES, one a query; the others: one item a number
 */
#define LEAST 1e-30f /* a weight that f32 lost still is of a visible block */

/* In place: blocks of the truth. */
__kernel void log_truth(__global float *map, int n, int rows)
{
    const int j = get_global_id(0), row = get_global_id(1);

    if (j < n && row < rows)
        map[(ulong)row * n + j] = j <= row % n ? log(fmax(map[(ulong)row * n + j], LEAST)) : -INFINITY;
}

/* The later a block, the better: with one to choose, the diagonal. */
__kernel void late(__global float *scores, int n)
{
    const int j = get_global_id(0), i = get_global_id(1);

    if (j < n && i < n)
        scores[(ulong)i * n + j] = j <= i ? (float)j : -INFINITY;
}

/* Softmax over all keys of each of the last `count` queries: p [heads][count][seq]. */
__kernel void last_weights(__global const void *q, __global const void *k, int dtype, int heads, int group_heads,
                           int d, int seq, int count, __global float *p)
{
    __local float part[LANES];
    const int h = get_group_id(0) / count, r = get_group_id(0) % count, lane = get_local_id(0);
    const int t = seq - count + r;
    const ulong from = ((ulong)t * heads + h) * d;
    __global float *to = p + (ulong)get_group_id(0) * seq;
    const float scale = 1.0f / sqrt((float)d);
    float high = -MAXFLOAT, sum = 0.0f;

    for (int u = lane; u < seq; u += LANES) {
        const ulong key = ((ulong)u * (heads / group_heads) + h / group_heads) * d;
        float dot_of = 0.0f;

        for (int c = 0; c < d && u <= t; c++)
            dot_of = fma(weight(q, dtype, from + c), weight(k, dtype, key + c), dot_of);
        to[u] = dot_of * scale;
        high = u <= t ? fmax(high, to[u]) : high;
    }
    high = together(high, 1, part);
    for (int u = lane; u < seq; u += LANES) {
        to[u] = u <= t ? exp(to[u] - high) : 0.0f;
        sum += to[u];
    }
    sum = together(sum, 0, part);
    for (int u = lane; u < seq; u += LANES)
        to[u] /= sum;
}

/* Mean weight of the key block b, lines[h][0][b], and of the diagonal of blocks b,
 * lines[h][1][b].  A token at distance b * block + f lies f / block of the way from
 * that diagonal to the next. */
__kernel void lines_of(__global const float *p, int heads, int n, int block, int seq, int count,
                       __global float *lines)
{
    const int b = get_global_id(0), h = get_global_id(1);
    float vertical = 0.0f, slash = 0.0f;

    if (b >= n || h >= heads)
        return;
    for (int r = 0; r < count; r++) {
        __global const float *row = p + ((ulong)h * count + r) * seq;
        const int t = seq - count + r;

        for (int u = b * block; u < min((b + 1) * block, seq); u++)
            vertical += row[u];
        for (int f = 1 - block; f < block; f++) {
            const int u = t - b * block - f;

            if (u >= 0 && u <= t)
                slash = fma(row[u], 1.0f - (float)abs(f) / block, slash);
        }
    }
    lines[((ulong)h * 2) * n + b] = vertical / count;
    lines[((ulong)h * 2 + 1) * n + b] = slash / count;
}

/* A pair of blocks weighs what the greater of its two lines does. */
__kernel void log_lines(__global const float *lines, int heads, int n, __global float *scores)
{
    const int j = get_global_id(0), row = get_global_id(1), h = row / n, i = row % n;

    if (j < n && h < heads) {
        __global const float *of = lines + (ulong)h * 2 * n;

        scores[(ulong)row * n + j] = j <= i ? log(fmax(fmax(of[j], of[n + i - j]), LEAST)) : -INFINITY;
    }
}
