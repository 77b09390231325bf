/* SPDX-License-Identifier: Apache-2.0 */
/*
 * truth_nv: the greatest softmax weight of each block of keys, by the walk of
 * attend_nv.cl, which this comes before.
 *
 * Idea      attention's walk keeps the greatest score of each row in each tile,
 *           64 numbers a tile in room of the work-group's own; when the rows' lse
 *           are known, half a warp takes a block of keys, goes through its rows'
 *           greatest scores less lse, a logarithm until the block is done: one
 *           exp2 a block
 * Grid      (query blocks * query heads * sequences), the longest rows of each head first;
 *           truth_begin: an item a place
 * Assumes   as attend_nv without lists; ROWS = HEADS = 1, block_q <= 64, map_k % 64 == 0
 * Edges     a row without a key, or beyond the last, has no part; columns that no
 *           row sees are 0
 * Numerics  as attend_nv; a sum has one order whatever the run
 */
#define TRUTH_ARGS                                                                                                   \
    , int with_out, __global float *truth, ulong truth_at, __global float *room, ulong room_at, int room_tiles,      \
        __global int *spare, ulong spare_at, int places, int across, int cols, int map_k
#define WITH_OUT    with_out
#define TOPS        (room + room_at + (ulong)held.place * room_tiles * 64)
#define PLACE       PLACE_OF(GROUP(0), q_heads)
#define PLACE_AGAIN PLACE_OF(held.work, q_heads)

/* What a work-group holds. */
typedef struct {
    int work, place; /* its number; its room */
} held_t;

/* Free places of the room in a ring, after the numbers of those who took and who gave: a work-group takes one when
 * it begins and gives it back at its end, so there need not be more places than groups run at once.  -1: taken. */
__kernel void truth_begin(__global int *spare, ulong spare_at, int places)
{
    const int i = get_global_id(0);

    spare += spare_at;
    if (i < 2 && places > 0)
        spare[i] = 0;
    if (i < places)
        spare[2 + i] = i;
}

/* By one work-item.  Whoever took, or gave, the place of the ring before does so soon. */
static inline int take_place(__global int *spare, int places)
{
    __global volatile int *at = spare + 2 + (uint)atomic_inc((__global volatile int *)spare) % (uint)places;
    int place;

    do
        place = atomic_xchg(at, -1);
    while (place < 0);
    return place;
}

static inline void give_place(__global int *spare, int places, int place)
{
    __global volatile int *at = spare + 2 + (uint)atomic_inc((__global volatile int *)spare + 1) % (uint)places;

    while (atomic_cmpxchg(at, -1, place) != -1)
        ;
}

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
 * Half a warp takes a block, a lane 4 of its rows. */
static inline void make_row(__global const float *tops, __local const float4 *low, float scale, int per, int see,
                            int tiles, int cols, __local float *all, __global float *row)
{
    const float4 mine = low[get_local_id(0) % 16];
    float sum = 0.0f, share;

    for (int first = 0; first < see; first += WG / 16) {
        const int j = first + (int)get_local_id(0) / 16;
        float top = SMALL;

        for (int x = j * per; x < min((j + 1) * per, tiles); x++) {
            const float4 y =
                fma(((__global const float4 *)tops)[x * 16 + get_local_id(0) % 16], (float4)(scale), -mine);

            top = fmax(top, fmax(fmax(y.x, y.y), fmax(y.z, y.w)));
        }
#pragma unroll
        for (int mask = 1; mask < 16; mask *= 2)
            top = fmax(top, of_lane(top, mask));
        if (get_local_id(0) % 16 == 0 && j < see) {
            row[j] = exp2_fast(top);
            sum += row[j];
        }
    }
    sum = meet(sum, 1, all);
    share = sum > 0.0f ? 1.0f / sum : 0.0f;
    if (get_local_id(0) % 16 == 0) /* who wrote it */
        for (int j = (int)get_local_id(0) / 16; j < see; j += WG / 16)
            row[j] *= share;
    for (int j = see + (int)get_local_id(0); j < cols; j += WG)
        row[j] = 0.0f;
}
