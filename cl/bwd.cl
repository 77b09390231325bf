/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bwd: what every strategy of attend_bwd begins with: delta, and the lists turned
 * round, from query block -> key blocks to key block -> query blocks.
 *
 * Idea      the turned lists are a bit map: a row of words for each list head and
 *           key block, a bit for each query block.  An entry is one atomic or, so
 *           lists may be in any order, and bits read upwards are ascending
 * Grid      bwd_map (words of 32 query blocks, list heads * batch) groups of 32;
 *           bwd_delta (query tokens * heads / 64, batch) groups of 64
 * Edges     block numbers outside 0 .. cols - 1 are left out; counts are held to
 *           0 .. width.  Packed: bits count the rows of all sequences
 */
#ifndef D
#define D 64
#endif

__attribute__((reqd_work_group_size(32, 1, 1))) __kernel void bwd_map(__global const int *counts, ulong counts_at,
                                                                      __global const int *blocks, ulong blocks_at,
                                                                      int width, int rows, int cols,
                                                                      __global int *map, ulong map_at)
{
    const int w = get_group_id(0), head = get_group_id(1), item = get_local_id(0), words = (rows + 31) / 32;
    const int n = clamp(rows - w * 32, 0, 32); /* this group alone writes word w of each key block */
    __global volatile int *to = map + map_at + (ulong)head * cols * words + w;

    for (int j = item; n > 0 && j < cols; j += 32)
        to[(ulong)j * words] = 0;
    barrier(CLK_GLOBAL_MEM_FENCE);
    for (int r = 0; r < n; r++) {
        const ulong row = (ulong)head * rows + w * 32 + r;

        for (int e = item; e < min(counts[counts_at + row], width); e += 32) {
            const int j = blocks[blocks_at + row * width + e];

            if (j >= 0 && j < cols)
                atomic_or(to + (ulong)j * words, 1 << r);
        }
    }
}

/* The first query block of `i` .. n - 1 that has its bit, or n; the bit of block 0 is `row0`. */
static inline int next_row(__global const int *bits, int row0, int i, int n)
{
    for (int at = row0 + i; at < row0 + n; at = (at | 31) + 1) {
        const uint left = (uint)bits[at / 32] >> (at % 32);

        if (left)
            return min(at - row0 + 31 - (int)clz(left & -left), n);
    }
    return n;
}

/* delta = out . dout of each query token and head. */
__attribute__((reqd_work_group_size(64, 1, 1))) __kernel void bwd_delta(__global const elem *out, ulong4 out_at,
                                                                        __global const elem *dout, ulong4 dout_at,
                                                                        __global float *delta, ulong delta_at, int sq,
                                                                        int q_heads)
{
    const int t = get_global_id(0) / q_heads, h = get_global_id(0) % q_heads, batch = get_group_id(1);

    if (t < sq) {
        __global const elem *a = out + token_at(out_at, batch, t, h), *b = dout + token_at(dout_at, batch, t, h);
        float8 sum = (float8)(0.0f);

        for (int c = 0; c < D; c += 8)
            sum = fma(LOAD8(a, c), LOAD8(b, c), sum);
        delta[delta_at + ((ulong)batch * q_heads + h) * sq + t] = dot(sum.lo + sum.hi, (float4)(1.0f));
    }
}
