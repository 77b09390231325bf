/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attend_nv_team: attention of two warp groups that share their keys, on Hopper's
 * matrix units.
 *
 * Idea      A work-group is a team: LOADERS work-items fetch tiles of 64 keys, two
 *           warp groups compute, neighbouring rows (ROWS = 2) or query heads that
 *           share a list (HEADS = 2).  Nobody waits for others but where they must
 *           have met: a tile is there when it has been copied (k_there, v_there),
 *           and its place is free when all warps have used it (used).  The scores
 *           of the next tile are begun before the weights of this one are made, so
 *           the matrix units have work while the softmax runs.  Loaders give
 *           registers back, which the others take.  A team stays, takes the next
 *           piece of the work from a counter, the longest rows of each head first,
 *           and its loaders are ahead in the next one.
 *           With TRUTH each warp group also makes the block map of its rows.
 * Grid      teams; team_reset: one item
 * Local     STAGES * 2 tiles
 * Assumes   as attend_nv; ROWS * HEADS = 2, D <= 128
 * Edges     as attend_nv
 * Numerics  as attend_nv
 */
#ifndef TRUTH
#define TRUTH 0
#endif
#define TEAM_ARGS      , int across, int heads, int works, int teams, __global int *counter, ulong counter_at
#define GROUP_OF_WARPS (get_local_id(0) / 128)

#if TRUTH
/* The map that nv_tops.cl makes; room for room_tiles tiles a warp group of a launch; map_k: keys a block. */
#define TRUTH_ARGS                                                                                                   \
    , int with_out, __global float *truth, ulong truth_at, __global float *room, ulong room_at, int room_tiles,      \
        int cols, int map_k
#define WITH_OUT with_out
#define TOPS     (room + room_at + (get_group_id(0) * 2 + GROUP_OF_WARPS) * room_tiles * 64)
#else
#define TRUTH_ARGS
#define WITH_OUT 1
#define TOPS     0
#define keep_tops(top, to)
#endif

#define WARPS  (ROWS * HEADS * 4)
#define LOADER (get_local_id(0) / 32 >= WARPS)

typedef struct {
    ulong k_there[STAGES], v_there[STAGES], used[STAGES], work_there[2], work_known[2]; /* posts */
    tile_t ring[LOADERS / 32][STAGES]; /* what each loading warp knows of the tiles, in their places */
    int work[2];
} team_t;

#define THERE_K(i) (posts + (i)*8)
#define THERE_V(i) (posts + (STAGES + (i)) * 8)
#define USED(i)    (posts + (2 * STAGES + (i)) * 8)
#define WORK(i)    (posts + (3 * STAGES + (i)) * 8)
#define KNOWN(i)   (posts + (3 * STAGES + 2 + (i)) * 8)

/* Place and round of a tile, or of a piece of work. */
typedef struct {
    int place, round;
} turn_t;

static inline turn_t turn_after(turn_t x, int places)
{
    const int last = x.place + 1 == places;

    return (turn_t){last ? 0 : x.place + 1, x.round ^ last};
}

/* By one work-item. */
static inline void team_begin(uint posts)
{
    for (int i = 0; i < STAGES; i++) {
        post_begin(THERE_K(i), LOADERS + LOADERS / 32); /* a tile of K comes with its entry of the ring */
        post_begin(THERE_V(i), LOADERS);
        post_begin(USED(i), WARPS);
    }
    for (int i = 0; i < 2; i++) {
        post_begin(WORK(i), 1);
        post_begin(KNOWN(i), WG / 32);
    }
}

/* A warp has done with what the post is of. */
static inline void team_done(uint post)
{
    if (LANE == 0)
        post_arrive(post);
}

/* The next piece of work, which all warps ask for. */
static inline int team_work(__local const team_t *team, uint posts, turn_t of)
{
    post_wait(WORK(of.place), of.round);
    const int work = same(team->work[of.place]);

    team_done(KNOWN(of.place));
    return work;
}

/* ---- loaders --------------------------------------------------------------------- */

/* Where tiles come from and go: this work-item's chunk of key 0, and the first place. */
typedef struct {
    __global const elem *from;
    ulong stride;
    int aligned;
    uint to;
} tiles_t;

static inline tiles_t tiles_of(__global const elem *x, ulong4 at, seq_t seq, int head, uint to)
{
    __global const elem *from = x + token_at(at, seq.batch, seq.k0, head) + get_local_id(0) % 8 * 8;

    return (tiles_t){from, at.z, (((ulong)from | at.z * 2) & 15) == 0, to};
}

static inline void team_copy(__local const tile_t *tile, tiles_t from, int place, uint post)
{
    copy_tile(tile, from.from, from.stride, from.aligned, from.to + place * TILE_BYTES);
    if (!from.aligned)
        STORES_READY();
    post_copied(post);
}

/* The tiles of a walk, and the turn after it. */
static inline turn_t team_load(__local team_t *team, uint posts, walk_t walk, int n, tiles_t k, tiles_t v, turn_t now)
{
    __local tile_t *ring = team->ring[get_local_id(0) / 32 - WARPS];
    int ahead[ENTRIES];

    if (n > 0)
        look_up(walk, 0, ahead);
    for (int tile = 0; tile < n; tile++) {
        post_wait(USED(now.place), now.round ^ 1); /* the round before the first is over */
        if (LANE == 0) {
            note_down(walk, tile, ahead, &ring[now.place]);
            post_arrive(THERE_K(now.place));
        }
        meet_warp();
        look_up(walk, tile + 1, ahead);
        team_copy(&ring[now.place], k, now.place, THERE_K(now.place));
        team_copy(&ring[now.place], v, now.place, THERE_V(now.place));
        now = turn_after(now, STAGES);
    }
    return now;
}

/* ---- warp groups ------------------------------------------------------------------- */

/* Scores of a tile to weights; true: o must be scaled by `fade`.  Row 0 of the fragments sees keys before `sees`. */
static inline bool team_soften(__local const tile_t *tile, int sees, float scale, float *s, float *m, float *l,
                               float *fade, __global float *tops)
{
    float top[2];
    bool raised;

    if (!CAUSAL ? tile->reach == INT_MAX : tile->reach > sees - LANE / 4)
        hide(tile, sees, s);
    top_scores(s, top);
    if (TRUTH)
        keep_tops(top, tops);
    raised = raise(top, scale, m, l, fade);
    soften(s, scale, m, l);
    return raised;
}

/* o += weights of tile `of` times its values; not waited for. */
static inline void team_add(float *o, const uint *p, uint posts, uint v, turn_t of)
{
    post_wait(THERE_V(of.place), of.round);
    TILES_READY();
    add_tile(o, p, v + of.place * TILE_BYTES);
}

static inline void team_dot(float *s, const uint *q, uint posts, uint k, turn_t of)
{
    post_wait(THERE_K(of.place), of.round);
    TILES_READY();
    dot_tile(s, q, k + of.place * TILE_BYTES);
}

/* A walk of n > 0 tiles, and the turn after it. */
static inline turn_t team_walk(__local const tile_t *ring, uint posts, int n, int sees, uint k, uint v, float scale,
                               const uint *q, float *o, float *m, float *l, __global float *tops, turn_t now)
{
    int used = 0;
    float s[32], fade[2];
    uint p[16];
    bool raised;

    team_dot(s, q, posts, k, now);
    DOT_END(0, s);
    raised = team_soften(&ring[now.place], sees, scale, s, m, l, fade, tops);
    for (int tile = 1; tile < n; tile++) {
        const turn_t before = now;

        add_tile_end(o); /* here, so that it is not waited for before the weights are made */
        if (tile > 1)
            team_done(USED(used));
        used = before.place;
        if (raised)
            scale_sums(o, fade);
        pack_all(s, p);
        now = turn_after(now, STAGES);
        team_dot(s, q, posts, k, now);
        team_add(o, p, posts, v, before);
        DOT_END(1, s);
        raised = team_soften(&ring[now.place], sees, scale, s, m, l, fade, tops + tile * 64);
    }
    add_tile_end(o);
    if (n > 1)
        team_done(USED(used));
    if (raised)
        scale_sums(o, fade);
    pack_all(s, p);
    team_add(o, p, posts, v, now);
    add_tile_end(o);
    team_done(USED(now.place));
    return turn_after(now, STAGES);
}

#define WALK(x) walk_of(x, counts + counts_at, blocks + blocks_at, width, list_heads, rows, block_q, block_k, q_heads)

/* The counter that pieces of work are taken from. */
__kernel void team_reset(__global int *counter, ulong counter_at, int works)
{
    if (works > 0)
        counter[counter_at] = 0;
}

/* Work w is a tile of rows, of `across` a head, of one of `heads` groups of HEADS, of a sequence.  This launch's
 * groups are some of `teams`, of which the highest numbers are launched first, and do their share of `works`; a group
 * of earlier launches asked once in vain. */
__attribute__((reqd_work_group_size(WG, 1, 1))) __kernel void attend_nv_team(ATTEND_ARGS TEAM_ARGS TRUTH_ARGS)
{
    __local team_t team;
#if TRUTH
    __local float4 low[2][16]; /* lse in log2 units */
    __local float sums[2][HALVES];
#endif
    __local uint4 tiles[STAGES * 2 * TILE_BYTES / 16] __attribute__((aligned(1024)));
    const uint k_place = local_address(tiles), v_place = k_place + STAGES * TILE_BYTES, posts = local_address(&team);
    const int mine = get_num_groups(0), before = max(teams - (int)FIRST_GROUP(0) - mine, 0);
    const int end = (int)((long)works * (before + mine) / teams);
    turn_t now = {0, 0}, of = {0, 0};

    if (get_local_id(0) == 0)
        team_begin(posts);
    barrier(CLK_LOCAL_MEM_FENCE);
    if (LOADER) {
        REGISTERS_LESS(72); /* 72 + 2 * 216: what three warp groups of 168 have */
        for (;; of = turn_after(of, 2)) {
            if (get_local_id(0) == WARPS * 32) {
                post_wait(KNOWN(of.place), of.round ^ 1);
                team.work[of.place] = works > 0 ? atomic_inc(counter + counter_at) - before : 0;
                post_arrive(WORK(of.place));
            }
            const int w = team_work(&team, posts, of);

            if (w >= end)
                return;
            const place_t x = PLACE_OF(w, heads);
            const walk_t walk = WALK(x);
            const int hk = x.h / max(group, 1);

            now = team_load(&team, posts, walk, same(tiles_in(walk)), tiles_of(k, k_at, x.at, hk, k_place),
                            tiles_of(v, v_at, x.at, hk, v_place), now);
        }
    }
    REGISTERS_MORE(216);
    __global float *tops = TOPS;
    for (;; of = turn_after(of, 2)) {
        const int w = team_work(&team, posts, of);

        if (w >= end)
            return;
        const place_t x = PLACE_OF(w, heads);
        const int n = same(tiles_in(WALK(x))), row = get_local_id(0) / 32 % 4 * 16 + LANE / 4;
        const float scale = fabs(fold) * unit; /* of scores, in log2 units */
        uint qf[D / 4];
        float o[D / 2], m[2] = {SMALL, SMALL}, l[2] = {0.0f, 0.0f}, high[2];

        take_queries(x, q + token_at(q_at, x.at.batch, x.n_q > 0 ? x.at.q0 + x.t0 : 0, x.h), q_at.z, fold, qf);
#pragma unroll
        for (int e = 0; e < D / 2; e++)
            o[e] = 0.0f;
        if (n > 0)
            now = team_walk(team.ring[0], posts, n, x.t0 + x.at.sk - x.at.sq + 1 + row, k_place, v_place, scale, qf,
                            o, m, l, tops + row, now);
        finish_rows(x, o, m, l, scale, WITH_OUT, OUT_OF(x), out_at.z, LSE_OF(x), high);
#if TRUTH
        make_map(x, x.t0 / 64, 64, high, low[GROUP_OF_WARPS], sums[GROUP_OF_WARPS], tops, scale, map_k, cols, q_heads,
                 rows, truth + truth_at);
#endif
    }
}
