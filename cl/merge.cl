/* SPDX-License-Identifier: Apache-2.0 */
/*
 * merge: the rows of several heads as one row of probabilities, where they
 * share a list: each head's softmax, the maximum over the heads.
 *
 * Idea      a work-group a row; the sum that the maximum is divided by is left
 *           to select, which works on shares of the row
 * Grid      (rows, list heads, batch) groups of MERGE_WG
 * Local     12 * MERGE_WG bytes
 * Edges     `scores` has `pitch` rows a head; a block that no head sees stays -inf; NaN weighs 0
 */
#ifndef MERGE_WG
#define MERGE_WG 64
#endif

/* The greatest key of the group's row; `parts` is room. */
static inline uint group_max(uint x, __local uint *parts)
{
    if (MERGE_WG > 1) {
        parts[get_local_id(0)] = x;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int e = 0; e < MERGE_WG; e++)
            x = max(x, parts[e]);
    }
    return x;
}

static inline ulong group_sum(ulong x, __local ulong *parts)
{
    if (MERGE_WG > 1) {
        parts[get_local_id(0)] = x;
        barrier(CLK_LOCAL_MEM_FENCE);
        x = 0;
        for (int e = 0; e < MERGE_WG; e++)
            x += parts[e];
    }
    return x;
}

__attribute__((reqd_work_group_size(MERGE_WG, 1, 1))) __kernel void merge(__global const float *scores,
                                                                          ulong scores_at, __global float *merged,
                                                                          ulong merged_at, int batches, int rows,
                                                                          int cols, int heads, int share, int pitch)
{
    __local uint keys[MERGE_WG];
    __local ulong sums[MERGE_WG];
    const int i = get_group_id(0), h = get_group_id(1), b = get_group_id(2), l = get_local_id(0);

    if (b < batches && i < rows) {
        __global float *to = merged + merged_at + (((ulong)b * heads + h) * rows + i) * cols;

        for (int e = 0; e < share; e++) {
            __global const float *x =
                scores + scores_at + (((ulong)b * heads * share + h * share + e) * pitch + i) * cols;
            uint most = 0;
            ulong total = 0;
            float high, each;

            for (int j = l; j < cols; j += MERGE_WG)
                most = x[j] != NEG_INF ? max(most, key_of(x[j])) : most;
            high = score_of(group_max(most, keys));
            for (int j = l; j < cols; j += MERGE_WG)
                total += x[j] != NEG_INF ? mass_of(x[j], high, 0) : 0u;
            total = group_sum(total, sums);
            each = total ? 2147483648.0f / (float)total : 0.0f;
            for (int j = l; j < cols; j += MERGE_WG) {
                const float before = e > 0 ? to[j] : NEG_INF;

                to[j] = x[j] != NEG_INF ? fmax(before, share_of(x[j], high, 0) * each) : before;
            }
        }
    }
}
