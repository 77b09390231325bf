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
#ifndef TRUTH
#define TRUTH 0 /* truth_nv.cl gives the rest */
#endif

#if !TRUTH
#define TRUTH_ARGS
/* Longest rows first. */
#define PLACE       place_of(GROUP_BACKWARDS(0), GROUP(1), GROUP(2), seqs + seqs_from, sequences, sq, sk, block_q)
#define PLACE_AGAIN x
#define WITH_OUT    1
#endif

__attribute__((reqd_work_group_size(WG, 1, 1))) __kernel void attend_nv(ATTEND_ARGS TRUTH_ARGS)
{
    __local tile_t ring[RING]; /* tile x is at x % RING */
    __local uint4 tiles[STAGES * 2 * TILE_BYTES / 16] __attribute__((aligned(1024)));
    const uint k_place = local_address(tiles), v_place = k_place + STAGES * TILE_BYTES;
    const int row = get_local_id(0) / 32 % 4 * 16 + LANE / 4;
    const float scale = fabs(fold) * unit; /* of scores, in log2 units */
#if TRUTH
    __local held_t held;
    __local float4 low[16]; /* lse in log2 units */
    __local float sums[HALVES];
#endif

    const place_t x = PLACE;
    const seq_t at = x.at;
    const int hk = x.h / max(group, 1);
    const walk_t walk =
        walk_of(x, counts + counts_at, blocks + blocks_at, width, list_heads, rows, block_q, block_k, q_heads);
    const int n = tiles_in(walk);
    const int limit = x.t0 + at.sk - at.sq + 1; /* keys that the first row sees */
    __global const elem *from_k = k + token_at(k_at, at.batch, at.k0, hk) + get_local_id(0) % 8 * 8;
    __global const elem *from_v = v + token_at(v_at, at.batch, at.k0, hk) + get_local_id(0) % 8 * 8;
    const int aligned_k = (((ulong)from_k | k_at.z * 2) & 15) == 0,
              aligned_v = (((ulong)from_v | v_at.z * 2) & 15) == 0;
    int ahead[ENTRIES];
    uint qf[D / 4];
    float o[D / 2], m[2] = {SMALL, SMALL}, l[2] = {0.0f, 0.0f}, high[2];

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
    take_queries(x, q + token_at(q_at, at.batch, x.n_q > 0 ? at.q0 + x.t0 : 0, x.h), q_at.z, fold, qf);
#pragma unroll
    for (int e = 0; e < D / 2; e++)
        o[e] = 0.0f;

    for (int tile = 0, place = 0, at_ring = 0; tile < n; tile++) {
        const int before = place == 0 ? STAGES - 1 : place - 1;
        const int newest = at_ring + STAGES < RING ? at_ring + STAGES : at_ring + STAGES - RING;
        float sc[32], top[2], fade[2];
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
        DOT_END(0, sc);
        if (!CAUSAL ? ring[at_ring].reach == INT_MAX : ring[at_ring].reach > limit)
            hide(&ring[at_ring], limit + row, sc);
        top_scores(sc, top);
#if TRUTH
        keep_tops(top, tops + tile * 64 + row);
#endif
        if (raise(top, scale, m, l, fade))
            scale_sums(o, fade);
        soften(sc, scale, m, l);
        pack_all(sc, p);
        if (get_local_id(0) == 0) /* not before: the list has come by now */
            note_down(walk, tile + STAGES, ahead, &ring[newest]);
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
    finish_rows(y, o, m, l, scale, WITH_OUT, OUT_OF(y), out_at.z, LSE_OF(y), high);
#if TRUTH
    make_map(y, y.i, block_q, high, low, sums, tops, scale, map_k, cols, q_heads, rows, truth + truth_at);
    if (get_local_id(0) == 0 && places > 0)
        give_place(spare + spare_at, places, held.place);
#endif
}
