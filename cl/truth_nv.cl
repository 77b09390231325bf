/* SPDX-License-Identifier: Apache-2.0 */
/*
 * truth_nv: the greatest softmax weight of each block of keys, by the walk of
 * attend_nv.cl, which this comes before.
 *
 * Idea      attention's walk keeps the greatest score of each row in each tile,
 *           64 numbers a tile in room of the work-group's own; when the rows' lse
 *           are known, a work-item takes a block of keys, goes through its rows'
 *           greatest scores less lse, a logarithm until the block is done: one
 *           exp2 a block
 * Grid      works: (query blocks, heads that go together, the others and sequences) in a row,
 *           as many at a time as there is room for
 * Assumes   as attend_nv without lists; ROWS = HEADS = 1, block_q <= 64, map_k % 64 == 0
 * Edges     a row without a key, or beyond the last, has no part; columns that no
 *           row sees are 0
 * Numerics  as attend_nv; a sum has one order whatever the run
 */
#define TRUTH_ARGS                                                                                                   \
    , int with_out, __global float *truth, ulong truth_at, __global float *room, ulong room_at, int room_tiles,      \
        int from, int across, int together, int cols, int map_k
#define WITH_OUT with_out
#define TOPS     (room + room_at + (ulong)GROUP(0) * room_tiles * 64)
#define WORK     (from + GROUP(0))
/* Heads go `together`: of each the last block, then of each the one before. */
#define LINE(w)  ((w) / (across * together) * together + (w) % together)
#define PLACE_OF(w)                                                                                                  \
    place_of(across - 1 - (w) % (across * together) / together, LINE(w) % q_heads, LINE(w) / q_heads,                \
             seqs + seqs_from, sequences, sq, sk, block_q)
#define PLACE       PLACE_OF(WORK)
#define PLACE_AGAIN PLACE_OF(work)

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

/* The map's row of a query block that sees `see` of `cols` blocks, each `per` tiles; it has walked `tiles`. */
static inline void make_row(__global const float *tops, __local const float4 *low, float scale, int per, int see,
                            int tiles, int cols, __local float *all, __global float *row)
{
    float sum = 0.0f, share;

    for (int j = get_local_id(0); j < see; j += WG) {
        float top = SMALL;

        for (int x = j * per * 16; x < min((j + 1) * per, tiles) * 16; x++) {
            const float4 y = fma(((__global const float4 *)tops)[x], (float4)(scale), -low[x % 16]);

            top = fmax(top, fmax(fmax(y.x, y.y), fmax(y.z, y.w)));
        }
        row[j] = exp2_fast(top);
        sum += row[j];
    }
    sum = meet(sum, 1, all);
    share = sum > 0.0f ? 1.0f / sum : 0.0f;
    for (int j = get_local_id(0); j < cols; j += WG)
        row[j] = j < see ? row[j] * share : 0.0f;
}
