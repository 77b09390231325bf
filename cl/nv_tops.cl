/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nv_tops: the block map of 64 rows, from what a warp group that walks their keys
 * keeps: the greatest score of each row in each tile.
 *
 * Idea      64 numbers a tile; when the rows' lse are known, half a warp takes a block
 *           of keys, goes through its rows' greatest scores less lse, a logarithm until
 *           the block is done: one exp2 a block
 * Local     8 numbers and 64 lse a warp group
 * Numerics  a sum has one order whatever the run
 */
#define ITEM   ((int)get_local_id(0) % 128) /* of the warp group */
#define HALVES 8                            /* half warps a warp group */

/* The greatest scores of rows r and r + 8 of a tile: from now on of all 4 lanes. */
static inline void keep_tops(float *top, __global float *to)
{
    top[0] = quad_max(top[0]);
    top[1] = quad_max(top[1]);
    if (LANE % 4 == 0) {
        to[0] = top[0];
        to[8] = top[1];
    }
}

/* The map's row of a query block that sees `see` of `cols` blocks, each `per` tiles; it has walked `tiles`.
 * Half a warp takes a block, a lane 4 of its rows.  All of the warp group, which has met at its end. */
static inline void make_row(__global const float *tops, __local const float4 *low, float scale, int per, int see,
                            int tiles, int cols, __local float *sums, __global float *row)
{
    const float4 mine = low[ITEM % 16];
    float sum = 0.0f, share;

    for (int first = 0; first < see; first += HALVES) { /* both halves of a warp as often */
        const int j = first + ITEM / 16;
        float top = SMALL;

        for (int x = j * per; x < min((j + 1) * per, tiles); x++) {
            const float4 y = fma(((__global const float4 *)tops)[x * 16 + ITEM % 16], (float4)(scale), -mine);

            top = fmax(top, fmax(fmax(y.x, y.y), fmax(y.z, y.w)));
        }
#pragma unroll
        for (int mask = 1; mask < 16; mask *= 2)
            top = fmax(top, of_lane(top, mask));
        if (ITEM % 16 == 0 && j < see) {
            row[j] = exp2_fast(top);
            sum += row[j];
        }
    }
    if (ITEM % 16 == 0)
        sums[ITEM / 16] = sum;
    meet_group();
    sum = 0.0f;
    for (int i = 0; i < HALVES; i++)
        sum += sums[i];
    share = sum > 0.0f ? 1.0f / sum : 0.0f;
    if (ITEM % 16 == 0) /* who wrote it */
        for (int j = ITEM / 16; j < see; j += HALVES)
            row[j] *= share;
    for (int j = see + ITEM; j < cols; j += 128)
        row[j] = 0.0f;
    meet_group();
}

/* Row i of the map of x's head, where query blocks are of block_q rows; `high` of its rows is as finish_rows() gives
 * it.  All of the warp group; `low` and `sums` may be written again after it. */
static inline void make_map(place_t x, int i, int block_q, const float *high, __local float4 *low,
                            __local float *sums, __global const float *tops, float scale, int map_k, int cols,
                            int q_heads, int rows, __global float *truth)
{
    const int row = ITEM / 32 * 16 + LANE / 4, live = x.n_q > 0;

    if (LANE % 4 == 0)
        for (int e = 0; e < 2; e++)
            ((__local float *)low)[row + e * 8] = high[e];
    meet_group();
    make_row(tops, low, scale, map_k / 64, live ? visible_blocks(CAUSAL, i, block_q, map_k, x.at.sq, x.at.sk) : 0,
             visible_blocks(CAUSAL, i, block_q, 64, x.at.sq, x.at.sk), live ? cols : 0, sums,
             truth + (((ulong)x.at.batch * q_heads + x.h) * rows + x.at.row0 + i) * cols);
}
