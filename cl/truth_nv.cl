/* SPDX-License-Identifier: Apache-2.0 */
/*
 * truth_nv: the greatest softmax weight of each block of keys, by the walk of
 * attend_nv.cl, which this comes before.
 *
 * Idea      attention's walk keeps the greatest score of each row in each tile in
 *           room of the work-group's own: nv_tops.cl
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
