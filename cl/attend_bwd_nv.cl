/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attend_bwd_nv: gradients of block-sparse attention on NVIDIA's matrix units,
 * after nv_mma.cl or nv_wgmma.cl, nv_walk.cl and bwd.cl.
 *
 * Idea      a warp group (4 warps) owns 64 rows, 16 a warp, whose sums stay in
 *           registers; the others go through local memory, 64 rows of two tensors
 *           at a time, STAGES such pairs, copied without waiting.  bwd_q_nv owns
 *           queries (q and dout in registers) and walks their lists as attend_nv
 *           does; bwd_kv_nv owns keys (k and v in local memory) and walks the
 *           queries that keep them, head by head of the group.  Nothing is added up
 *           across groups, so the sums have one order
 * Grid      bwd_kv_nv (key blocks * tiles of 64 rows, key-value heads, sequences),
 *           bwd_q_nv (query blocks * tiles of 64 rows, query heads, sequences)
 * Local     STAGES * 2 tiles, bwd_kv_nv 2 more
 * Assumes   D % 16 == 0, 64 <= D <= 128; BLOCK_K % 16 == 0
 * Edges     pairs that attend does not take weigh 0; rows beyond the last are zeros
 *           and are not written
 * Numerics  products of 16-bit numbers in f32; weights and their gradients
 *           rounded to 16 bits
 */
#define LOG2E 1.4426950408889634f
#define NEVER 0x1p100f /* an lse that no score reaches */
#define PAIR  (2 * TILE_BYTES)
#define LATER (STAGES - 1) /* pairs that nobody waits for yet */

static inline float lse_log2(float lse)
{
    return lse > 0.5f * SMALL ? lse * LOG2E : NEVER;
}

/* Begin to copy 64 rows, `mine` being this work-item's chunk of row 0; those from n on become zeros. */
static inline void copy_rows(__global const elem *mine, ulong stride, int n, int aligned, uint to)
{
    const int row = get_local_id(0) / 8, chunk = get_local_id(0) % 8;

    if (EVEN && aligned && n == 64) {
        copy_even(mine + (ulong)row * stride, stride, to);
        return;
    }
    for (int r = row; r < 64; r += PASS)
        copy_row(mine + (ulong)(r < n ? r : 0) * stride, r < n, aligned, to + chunk_at(r, chunk));
}

/* The warp's 16 rows times `scale`; n of the group's rows count. */
static inline void write_rows(const float *sum, float scale, int row, int n, __global elem *to, ulong stride)
{
    to += LANE % 4 * 2;
#pragma unroll
    for (int e = 0; e < 2; e++) {
        __global elem *at = to + (ulong)(row + e * 8) * stride;
        const int aligned = ((ulong)at & 3) == 0;

        if (row + e * 8 < n) {
#pragma unroll
            for (int x = 0; x < D / 8; x++)
                store2(pack2(sum[x * 4 + e * 2] * scale, sum[x * 4 + e * 2 + 1] * scale), at + x * 8, aligned);
        }
    }
}

/* ---- keys ------------------------------------------------------------------------ */

/* The queries that keep the group's keys: tiles of 64 rows from query t of block i of head h on; `end`: none. */
typedef struct {
    int h, i, t;
} step_t;

typedef struct {
    __global const int *map; /* of the key block in the first list head */
    ulong head_words;        /* from one list head to the next          */
    int list_heads, q_heads, batch, row0, block_q, sq, nq;
    int first, end; /* query that sees a key; head after the last */
} turned_t;

/* The first step of block i or later, of head h or later. */
static inline step_t seek(turned_t w, int h, int i)
{
    for (; h < w.end; h++, i = w.first / w.block_q) {
        if (LISTED)
            i = next_row(w.map + (ulong)(w.batch * w.list_heads + h * w.list_heads / w.q_heads) * w.head_words,
                         w.row0, i, w.nq);
        if (i < w.nq)
            break;
    }
    return (step_t){h, i, max(i * w.block_q, w.first)};
}

static inline step_t step_after(turned_t w, step_t x)
{
    if (x.h >= w.end)
        return x;
    x.t += 64;
    return x.t < min((x.i + 1) * w.block_q, w.sq) ? x : seek(w, x.h, x.i + 1);
}

/* lse and delta of a tile's rows. */
typedef struct {
    float lse[64], delta[64];
} rows_t;

/* Scores to weights: row 0 of the fragments is seen from column `from` on, `n` columns count. */
static inline void weigh(float *s, __local const rows_t *rows, float fold, int from, int n)
{
    const int edge = n < 64 || (CAUSAL && from > -8);

    /* Of all, without a condition: the compiler would branch around each. */
#pragma unroll
    for (int i = 0; i < 32; i += 4) {
        __local const float *lse = rows->lse + i * 2 + LANE % 4 * 2;
        const float low0 = lse_log2(lse[0]), low1 = lse_log2(lse[1]);

        s[i] = exp2_fast(fma(s[i], fold, -low0));
        s[i + 1] = exp2_fast(fma(s[i + 1], fold, -low1));
        s[i + 2] = exp2_fast(fma(s[i + 2], fold, -low0));
        s[i + 3] = exp2_fast(fma(s[i + 3], fold, -low1));
    }
    if (edge)
#pragma unroll
        for (int i = 0; i < 32; i++) {
            const int c = i / 4 * 8 + LANE % 4 * 2 + i % 2;

            s[i] = c < n && (!CAUSAL || c >= from + i / 2 % 2 * 8) ? s[i] : 0.0f;
        }
}

/* Gradients of weights to gradients of scores. */
static inline void slopes(const float *s, float *d, __local const rows_t *rows)
{
#pragma unroll
    for (int i = 0; i < 32; i++)
        d[i] = s[i] * (d[i] - rows->delta[i / 4 * 8 + LANE % 4 * 2 + i % 2]);
}

__attribute__((reqd_work_group_size(WG, 1, 1))) __kernel void
bwd_kv_nv(__global const elem *q, ulong4 q_at, __global const elem *k, ulong4 k_at, __global const elem *v,
          ulong4 v_at, __global const elem *dout, ulong4 dout_at, __global const float *lse, ulong lse_at,
          __global const float *delta, ulong delta_at, __global const int *map, ulong map_at, int list_heads,
          int cols, __global elem *dk, ulong4 dk_at, __global elem *dv, ulong4 dv_at, __global const int *seqs,
          ulong seqs_from, int sequences, int sq, int sk, int rows, int block_q, int block_k, int q_heads, int group,
          float fold, float scale)
{
    __local uint4 tiles[(STAGES + 1) * PAIR / 16] __attribute__((aligned(1024)));
    __local rows_t of_rows[STAGES];
    __local step_t steps[RING]; /* step x is at x % RING */
    const uint own = local_address(tiles), pairs = own + PAIR, rows_place = local_address(of_rows);
    const int parts = (block_k + 63) / 64, words = (rows + 31) / 32;
    const int j = GROUP(0) / max(parts, 1), part = GROUP(0) - j * parts;
    const int hk = GROUP(1), s = GROUP(2), item = get_local_id(0);
    const bool live = s < sequences;
    const seq_t at = seq_at(seqs + seqs_from, live ? s : 0, sq, sk);
    const int key = j * block_k + part * 64, ahead = at.sk - at.sq; /* the first query sees key `ahead` */
    const int n_k = live ? max(min(min(block_k - part * 64, 64), at.sk - key), 0) : 0;
    const turned_t walk = {map + map_at + (ulong)j * words,
                           (ulong)cols * words,
                           list_heads,
                           max(q_heads, 1),
                           at.batch,
                           at.row0,
                           max(block_q, 1),
                           at.sq,
                           (at.sq + block_q - 1) / max(block_q, 1),
                           CAUSAL ? max(key - ahead, 0) : 0,
                           n_k > 0 ? (hk + 1) * group : 0};
    const int row = item / 32 * 16 + LANE / 4, chunk = item % 8 * 8;
    __global const elem *from_k = k + token_at(k_at, at.batch, at.k0 + key, hk) + chunk;
    __global const elem *from_v = v + token_at(v_at, at.batch, at.k0 + key, hk) + chunk;
    step_t newest;
    float sum_k[D / 2], sum_v[D / 2];

#pragma unroll
    for (int x = 0; x < D / 2; x++)
        sum_k[x] = sum_v[x] = 0.0f;
    copy_rows(from_k, k_at.z, n_k, (((ulong)from_k | k_at.z * 2) & 15) == 0, own);
    copy_rows(from_v, v_at.z, n_k, (((ulong)from_v | v_at.z * 2) & 15) == 0, own + TILE_BYTES);
    if (item == 0)
        for (int x = 0; x < STAGES; x++)
            steps[x] = newest = x == 0 ? seek(walk, hk * group, walk.first / walk.block_q) : step_after(walk, newest);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int x = 0, place = 0, at_ring = 0; x < STAGES || steps[at_ring].h < walk.end; x++) {
        const int last = at_ring + STAGES < RING ? at_ring + STAGES : at_ring + STAGES - RING;
        __local const step_t *next = &steps[x < STAGES ? x : last];

        if (x >= STAGES) {
            const step_t now = steps[at_ring];
            const uint pair = pairs + place * PAIR;
            const int n = min(min((now.i + 1) * block_q, at.sq) - now.t, 64);
            float sc[32], ds[32];
            uint p[16], dp[16];

            COPIES_WAIT(LATER);
            TILES_READY();
            barrier(CLK_LOCAL_MEM_FENCE); /* the pair is there */
            dot_tiles(sc, own, pair);
            dot_tiles(ds, own + TILE_BYTES, pair + TILE_BYTES);
            if (item == 0)
                steps[last] = newest = step_after(walk, newest);
            DOT_END(1, sc);
            weigh(sc, &of_rows[place], fold, key + row - ahead - now.t, n);
            pack_all(sc, p);
            add_tile(sum_v, p, pair + TILE_BYTES);
            DOT_END(1, ds);
            slopes(sc, ds, &of_rows[place]);
            pack_all(ds, dp);
            add_tile(sum_k, dp, pair);
            add_tile_end(sum_v);
            add_tile_end(sum_k);
            barrier(CLK_LOCAL_MEM_FENCE); /* the pair has been used */
            at_ring = at_ring + 1 == RING ? 0 : at_ring + 1;
        }
        if (next->h < walk.end) {
            const int h = next->h, t = next->t, n = min(min((next->i + 1) * block_q, at.sq) - t, 64);
            const ulong number = ((ulong)at.batch * q_heads + h) * sq + at.q0 + t + min(item % 64, n - 1);
            __global const elem *from_q = q + token_at(q_at, at.batch, at.q0 + t, h) + chunk;
            __global const elem *from_d = dout + token_at(dout_at, at.batch, at.q0 + t, h) + chunk;
            const uint pair = pairs + place * PAIR;

            copy_rows(from_q, q_at.z, n, (((ulong)from_q | q_at.z * 2) & 15) == 0, pair);
            copy_rows(from_d, dout_at.z, n, (((ulong)from_d | dout_at.z * 2) & 15) == 0, pair + TILE_BYTES);
            copy4(rows_place + place * (uint)sizeof(rows_t) + item * 4,
                  item < 64 ? lse + lse_at + number : delta + delta_at + number);
        }
        COPIES_COMMIT();
        place = place + 1 == STAGES ? 0 : place + 1;
    }
    COPIES_WAIT(0);
    write_rows(sum_k, scale, row, n_k, dk + token_at(dk_at, at.batch, at.k0 + key, hk), dk_at.z);
    write_rows(sum_v, 1.0f, row, n_k, dv + token_at(dv_at, at.batch, at.k0 + key, hk), dv_at.z);
}

/* ---- queries ---------------------------------------------------------------------- */

__attribute__((reqd_work_group_size(WG, 1, 1))) __kernel void
bwd_q_nv(__global const elem *q, ulong4 q_at, __global const elem *k, ulong4 k_at, __global const elem *v,
         ulong4 v_at, __global const elem *dout, ulong4 dout_at, __global const float *lse, ulong lse_at,
         __global const float *delta, ulong delta_at, __global const int *counts, ulong counts_at,
         __global const int *blocks, ulong blocks_at, int width, int list_heads, __global elem *dq, ulong4 dq_at,
         __global const int *seqs, ulong seqs_from, int sequences, int sq, int sk, int rows, int block_q, int block_k,
         int q_heads, int group, float fold, float scale)
{
    __local tile_t ring[RING]; /* tile x is at x % RING */
    __local uint4 tiles[STAGES * PAIR / 16] __attribute__((aligned(1024)));
    const uint pairs = local_address(tiles);
    const int parts = (block_q + 63) / 64, item = get_local_id(0);
    const int last = GROUP_BACKWARDS(0); /* longest rows first */
    const int i = last / max(parts, 1), part = last - i * parts, h = GROUP(1), s = GROUP(2);
    const bool live = s < sequences;
    const seq_t at = seq_at(seqs + seqs_from, live ? s : 0, sq, sk);
    const int t = i * block_q + part * 64, hk = h / max(group, 1);
    const int n_q = live ? clamp(min(block_q - part * 64, at.sq - t), 0, 64) : 0;
    const int list_row = (at.batch * list_heads + h * list_heads / max(q_heads, 1)) * rows + at.row0 + i;
    const int see = n_q > 0 ? visible_blocks(CAUSAL, i, block_q, block_k, at.sq, at.sk) : 0;
    const walk_t walk = {blocks + blocks_at + (ulong)(LISTED ? list_row : 0) * width,
                         LISTED && see > 0 ? min(counts[counts_at + list_row], width) : see, width,
                         (at.sk + BLOCK_K - 1) / BLOCK_K, at.sk};
    const int n = tiles_in(walk);
    const int limit = t + at.sk - at.sq + 1; /* keys that the first row sees */
    const int row = item / 32 * 16 + LANE / 4;
    __global const elem *from_k = k + token_at(k_at, at.batch, at.k0, hk) + item % 8 * 8;
    __global const elem *from_v = v + token_at(v_at, at.batch, at.k0, hk) + item % 8 * 8;
    const int aligned_k = (((ulong)from_k | k_at.z * 2) & 15) == 0,
              aligned_v = (((ulong)from_v | v_at.z * 2) & 15) == 0;
    const int own = n_q > 0 ? at.q0 + t + (row < n_q ? row : 0) : 0; /* a token that is there */
    const ulong number = ((ulong)at.batch * q_heads + h) * sq + own;
    __global const elem *from_q = q + token_at(q_at, at.batch, own, h) + LANE % 4 * 2;
    __global const elem *from_d = dout + token_at(dout_at, at.batch, own, h) + LANE % 4 * 2;
    int block[ENTRIES];
    uint qf[D / 4], df[D / 4];
    float sum[D / 2], low[2], mean[2];

    if (item < STAGES && n > 0) {
        look_up(walk, item, block);
        note_down(walk, item, block, &ring[item]);
    }
#pragma unroll
    for (int e = 0; e < 2; e++) {
        const int there = row + e * 8 < n_q;

        low[e] = there ? lse_log2(lse[lse_at + number + e * 8]) : NEVER;
        mean[e] = there ? delta[delta_at + number + e * 8] : 0.0f;
    }
    load_queries(from_q, q_at.z, n_q - row, (((ulong)from_q | q_at.z * 2) & 3) == 0, qf);
    load_queries(from_d, dout_at.z, n_q - row, (((ulong)from_d | dout_at.z * 2) & 3) == 0, df);
    if (fold < 0.0f) /* hide() knows no sign */
#pragma unroll
        for (int x = 0; x < D / 4; x++)
            qf[x] ^= 0x80008000u;
#pragma unroll
    for (int x = 0; x < D / 2; x++)
        sum[x] = 0.0f;
    barrier(CLK_LOCAL_MEM_FENCE);

    for (int x = 0, place = 0, at_ring = 0; x < n + STAGES; x++) {
        const int tile = x - STAGES, newest = at_ring + STAGES < RING ? at_ring + STAGES : at_ring + STAGES - RING;
        const uint pair = pairs + place * PAIR;

        if (tile >= 0) {
            float sc[32], ds[32];
            uint p[16];

            COPIES_WAIT(LATER);
            TILES_READY();
            barrier(CLK_LOCAL_MEM_FENCE); /* the pair is there */
            if (item == 0)
                look_up(walk, x, block);
            dot_tile(sc, qf, pair);
            dot_tile(ds, df, pair + TILE_BYTES);
            DOT_END(1, sc);
            if (!CAUSAL ? ring[at_ring].reach == INT_MAX : ring[at_ring].reach > limit)
                hide(&ring[at_ring], limit + row, sc);
#pragma unroll
            for (int e = 0; e < 32; e++)
                sc[e] = exp2_fast(fma(sc[e], fabs(fold), -low[e / 2 % 2]));
            /* The list has come by now; and a condition here keeps the compiler from waiting for ds before. */
            if (item == 0)
                note_down(walk, x, block, &ring[newest]);
            DOT_END(0, ds);
#pragma unroll
            for (int e = 0; e < 32; e++)
                ds[e] = sc[e] * (ds[e] - mean[e / 2 % 2]);
            pack_all(ds, p);
            add_tile(sum, p, pair);
            add_tile_end(sum);
            barrier(CLK_LOCAL_MEM_FENCE); /* the pair has been used */
            at_ring = at_ring + 1 == RING ? 0 : at_ring + 1;
        }
        if (x < n) {
            __local const tile_t *keys = &ring[tile >= 0 ? newest : x];

            copy_tile(keys, from_k, k_at.z, aligned_k, pair);
            copy_tile(keys, from_v, v_at.z, aligned_v, pair + TILE_BYTES);
        }
        COPIES_COMMIT();
        place = place + 1 == STAGES ? 0 : place + 1;
    }
    COPIES_WAIT(0);
    write_rows(sum, scale, row, n_q, dq + token_at(dq_at, at.batch, at.q0 + (n_q > 0 ? t : 0), h), dq_at.z);
}
