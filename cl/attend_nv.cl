/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attend_nv: block-sparse flash attention on NVIDIA's matrix units; what the
 * products are made of is in nv_mma.cl or nv_wgmma.cl.
 *
 * Idea      A warp group (4 warps) owns 64 query rows of one head, whose
 *           fragments stay in registers.  Tiles of 64 keys go through local
 *           memory, STAGES of K and of V, copied without waiting: a place of K
 *           is filled again while the softmax runs, one of V during the next
 *           scores.  A work-group is ROWS * HEADS warp groups, which share the
 *           tiles: neighbouring rows, and query heads of one key-value head.
 *           Blocks of less than 64 keys are gathered, several to a tile.
 * Grid      (query blocks * tiles of 64 * ROWS rows, query heads / HEADS, sequences)
 * Local     STAGES * 2 tiles
 * Assumes   D % 32 == 0 (D % 16 with mma.sync), D >= 64; BLOCK_K % 16 == 0
 * Edges     rows of no key are zeros; keys that a query may not see score SMALL;
 *           a row without a key writes 0 and LSE -inf; tensors that 16-byte
 *           copies cannot take go element by element
 * Numerics  products of 16-bit numbers in f32; weights rounded to 16 bits; the
 *           maximum that weights refer to is raised only when a row exceeds it
 *           by 2^8, so weights and their sums stay below 2^8 times the row's
 */
#ifndef LSE
#define LSE 0
#endif
#ifndef TRUTH
#define TRUTH 0 /* truth_nv.cl gives the rest */
#endif

/* Rows of a warp group: n_q from query t0 on, of block i and head h. */
typedef struct {
    seq_t at;
    int i, h, t0, n_q, end; /* end: rows of block i, n_q may be 0 before it */
} place_t;

/* `last`: tile of ROWS * 64 rows. */
static inline place_t place_of(int last, int heads, int s, __global const int *seqs, int sequences, int sq, int sk,
                               int block_q)
{
    const int warp_group = get_local_id(0) / 128, parts = (block_q + ROWS * 64 - 1) / (ROWS * 64);
    const int live = s < sequences, i = last / max(parts, 1), first = (last - i * max(parts, 1)) * ROWS * 64;
    const int mine = first + warp_group / HEADS * 64;
    place_t x;

    x.at = seq_at(seqs, live ? s : 0, sq, sk);
    x.i = i;
    x.h = heads * HEADS + warp_group % HEADS;
    x.t0 = i * block_q + mine;
    x.end = live ? min(block_q, x.at.sq - i * block_q) - first : 0;
    x.n_q = clamp(x.end - (mine - first), 0, 64);
    return x;
}

#if !TRUTH
#define TRUTH_ARGS
/* Longest rows first. */
#define PLACE       place_of(GROUP_BACKWARDS(0), GROUP(1), GROUP(2), seqs + seqs_from, sequences, sq, sk, block_q)
#define PLACE_AGAIN x
#define WITH_OUT    1
#endif

__attribute__((reqd_work_group_size(WG, 1, 1))) __kernel void
attend_nv(__global const elem *q, ulong4 q_at, __global const elem *k, ulong4 k_at, __global const elem *v,
          ulong4 v_at, __global const int *counts, ulong counts_at, __global const int *blocks, ulong blocks_at,
          int width, int list_heads, __global elem *out, ulong4 out_at, __global float *lse, ulong lse_at,
          __global const int *seqs, ulong seqs_from, int sequences, int sq, int sk, int rows, int block_q,
          int block_k, int q_heads, int group, float fold, float unit TRUTH_ARGS)
{
    __local tile_t ring[RING]; /* tile x is at x % RING */
    __local uint4 tiles[STAGES * 2 * TILE_BYTES / 16] __attribute__((aligned(1024)));
    const uint k_place = local_address(tiles), v_place = k_place + STAGES * TILE_BYTES;
    const int row = get_local_id(0) / 32 % 4 * 16 + LANE / 4;
    const float scale = fabs(fold) * unit; /* of scores, in log2 units */
#if TRUTH
    __local held_t held;
    __local float4 low[16]; /* lse in log2 units */
    __local float all[WG];  /* of meet() */
#endif

    const place_t x = PLACE;
    const seq_t at = x.at;
    const int hk = x.h / max(group, 1);
    const int list_row = (at.batch * list_heads + x.h * list_heads / max(q_heads, 1)) * rows + at.row0 + x.i;
    const int see = x.end > 0 ? visible_blocks(CAUSAL, x.i, block_q, block_k, at.sq, at.sk) : 0;
    const walk_t walk = {blocks + blocks_at + (ulong)(LISTED ? list_row : 0) * width,
                         LISTED && see > 0 ? min(counts[counts_at + list_row], width) : see, width,
                         (at.sk + BLOCK_K - 1) / BLOCK_K, at.sk};
    const int n = (walk.n * STEPS + ENTRIES - 1) / ENTRIES;
    const int limit = x.t0 + at.sk - at.sq + 1; /* keys that the first row sees */
    __global const elem *from_k = k + token_at(k_at, at.batch, at.k0, hk) + get_local_id(0) % 8 * 8;
    __global const elem *from_v = v + token_at(v_at, at.batch, at.k0, hk) + get_local_id(0) % 8 * 8;
    const int aligned_k = (((ulong)from_k | k_at.z * 2) & 15) == 0,
              aligned_v = (((ulong)from_v | v_at.z * 2) & 15) == 0;
    __global const elem *from_q = q + token_at(q_at, at.batch, x.n_q > 0 ? at.q0 + x.t0 : 0, x.h) + LANE % 4 * 2;
    const int aligned_q = (((ulong)from_q | q_at.z * 2) & 3) == 0;
    int ahead[ENTRIES];
    uint qf[D / 4];
    float o[D / 2], m[2] = {SMALL, SMALL}, l[2] = {0.0f, 0.0f};

    if (get_local_id(0) < STAGES && n > 0) {
        look_up(walk, get_local_id(0), ahead);
        note_down(walk, get_local_id(0), ahead, &ring[get_local_id(0)]);
    }
#if TRUTH
    if (get_local_id(0) == 0) {
        held.work = GROUP(0);
        held.place = places > 0 ? take_place(spare + spare_at, places) : 0;
    }
#endif
    barrier(CLK_LOCAL_MEM_FENCE);
#if TRUTH
    __global float *tops = TOPS;
#endif
#pragma unroll
    for (int tile = 0; tile < STAGES; tile++) {
        if (tile < n)
            copy_tile(&ring[tile], from_k, k_at.z, aligned_k, k_place + tile * TILE_BYTES);
        COPIES_COMMIT();
        if (tile + 1 < STAGES) {
            if (tile < n)
                copy_tile(&ring[tile], from_v, v_at.z, aligned_v, v_place + tile * TILE_BYTES);
            COPIES_COMMIT();
        }
    }
    from_q += row < x.n_q ? (ulong)row * q_at.z : 0;
    if (aligned_q)
        load_queries(from_q, q_at.z, x.n_q - row, 1, qf);
    else
        load_queries(from_q, q_at.z, x.n_q - row, 0, qf);
    if (fold < 0.0f)
#pragma unroll
        for (int e = 0; e < D / 4; e++)
            qf[e] ^= 0x80008000u;
#pragma unroll
    for (int e = 0; e < D / 2; e++)
        o[e] = 0.0f;

    for (int tile = 0, place = 0, at_ring = 0; tile < n; tile++) {
        const int before = place == 0 ? STAGES - 1 : place - 1;
        const int newest = at_ring + STAGES < RING ? at_ring + STAGES : at_ring + STAGES - RING;
        float sc[32], top[2];
        uint p[16];

        COPIES_WAIT(NEWEST);
        TILES_READY();
        barrier(CLK_LOCAL_MEM_FENCE); /* this tile of K is there, the V before has been used */
        if (tile + STAGES - 1 < n)
            copy_tile(&ring[newest == 0 ? RING - 1 : newest - 1], from_v, v_at.z, aligned_v,
                      v_place + before * TILE_BYTES);
        COPIES_COMMIT();
        if (get_local_id(0) == 0)
            look_up(walk, tile + STAGES, ahead);
        dot_tile(sc, qf, k_place + place * TILE_BYTES);
        if (get_local_id(0) == 0)
            note_down(walk, tile + STAGES, ahead, &ring[newest]);
        DOT_END(0, sc);
        if (!CAUSAL ? ring[at_ring].reach == INT_MAX : ring[at_ring].reach > limit)
            hide(&ring[at_ring], limit + row, sc);
        top_scores(sc, top);
#if TRUTH
        keep_tops(top, tops + tile * 64 + row);
#endif
        soften(sc, top, scale, m, l, o, p);
        COPIES_WAIT(NEWEST);
        TILES_READY();
        barrier(CLK_LOCAL_MEM_FENCE); /* this tile of V is there, K has been used */
        if (tile + STAGES < n)
            copy_tile(&ring[newest], from_k, k_at.z, aligned_k, k_place + place * TILE_BYTES);
        COPIES_COMMIT();
        add_tile(o, p, v_place + place * TILE_BYTES);
        add_tile_end(o);
        place = place + 1 == STAGES ? 0 : place + 1;
        at_ring = at_ring + 1 == RING ? 0 : at_ring + 1;
    }
    COPIES_WAIT(0);

    const place_t y = PLACE_AGAIN; /* no register keeps it */
#pragma unroll
    for (int e = 0; e < 2; e++) {
        const int r = row + e * 8;
        const float sum = quad_sum(l[e]);
        const bool any = m[e] > 0.5f * SMALL;
        const float share = any ? 1.0f / sum : 0.0f, high = m[e] * scale + log2(sum);
        const int token = y.at.q0 + y.t0 + (r < y.n_q ? r : 0);
        __global elem *to = out + token_at(out_at, y.at.batch, token, y.h) + LANE % 4 * 2;
        const int aligned = ((ulong)to & 3) == 0;

        if (WITH_OUT && r < y.n_q) {
#pragma unroll
            for (int c = 0; c < D / 8; c++)
                store2(pack2(o[c * 4 + e * 2] * share, o[c * 4 + e * 2 + 1] * share), to + c * 8, aligned);
        }
        if (LSE && r < y.n_q && LANE % 4 == 0)
            lse[lse_at + ((ulong)y.at.batch * q_heads + y.h) * sq + token] = any ? high * LN2 : NEG_INF;
#if TRUTH
        if (LANE % 4 == 0)
            ((__local float *)low)[r] = r < y.n_q && any ? high : -SMALL;
#endif
    }
#if TRUTH
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
    make_row(tops, low, scale, map_k / 64,
             y.n_q > 0 ? visible_blocks(CAUSAL, y.i, block_q, map_k, y.at.sq, y.at.sk) : 0,
             visible_blocks(CAUSAL, y.i, block_q, 64, y.at.sq, y.at.sk), y.n_q > 0 ? cols : 0, all,
             truth + truth_at + (((ulong)y.at.batch * q_heads + y.h) * rows + y.at.row0 + y.i) * cols);
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE); /* the room has been read */
    if (get_local_id(0) == 0 && places > 0)
        give_place(spare + spare_at, places, held.place);
#endif
}
