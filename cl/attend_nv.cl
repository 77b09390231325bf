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
#ifndef D
#define D 128
#endif
#ifndef BLOCK_K
#define BLOCK_K 64 /* keys a block; 64 where there are no lists */
#endif
#ifndef STAGES
#define STAGES 2 /* places for tiles of K, and of V */
#endif
#ifndef ROWS
#define ROWS 1 /* tiles of 64 query rows a work-group */
#endif
#ifndef HEADS
#define HEADS 1 /* query heads a work-group; more share a list */
#endif
#ifndef LISTED
#define LISTED 1
#endif
#ifndef CAUSAL
#define CAUSAL 1
#endif
#ifndef LSE
#define LSE 0
#endif

#define WG      (ROWS * HEADS * 128)
#define PASS    (WG / 8)                                 /* rows that all work-items copy at once */
#define RING    (STAGES + 2)                             /* tiles looked up                */
#define ENTRIES (BLOCK_K < 64 ? 64 / BLOCK_K : 1)        /* blocks a tile                 */
#define PART    (BLOCK_K < 64 ? BLOCK_K : 64)            /* keys of a block in a tile     */
#define STEPS   (BLOCK_K < 64 ? 1 : (BLOCK_K + 63) / 64) /* tiles a block            */
#define NEWEST  (2 * (STAGES - 1))                       /* copies that nobody waits for yet */
#define EVEN    ((ENTRIES == 1) & (D % 64 == 0) & (64 % PASS == 0))
#define SMALL   -0x1p100f /* finite: fast-math knows no infinity; exact times a scale */
#define LN2     0.6931471805599453f

/* What the work-group walks: keys of one head, by list or all. */
typedef struct {
    __global const int *list;
    int n, width, nk, sk; /* entries, room for entries, key blocks, keys */
} walk_t;

/* A tile of keys: of each block in it the first key and how many count; every
 * query that sees `reach` keys or more sees the whole tile. */
typedef struct {
    int2 keys[ENTRIES];
    int reach;
} tile_t;

/* Read the list well before the tile's first use ... */
static inline void look_up(walk_t walk, int tile, int *block)
{
#pragma unroll
    for (int e = 0; e < ENTRIES; e++) {
        const int entry = BLOCK_K < 64 ? tile * ENTRIES + e : tile / STEPS;

        block[e] = LISTED ? walk.list[min(entry, walk.width - 1)] : entry;
        block[e] = entry < walk.n ? block[e] : -1;
    }
}

/* ... and let the work-group know.  Both by one work-item. */
static inline void note_down(walk_t walk, int tile, const int *block, __local tile_t *to)
{
    const int c0 = BLOCK_K < 64 ? 0 : tile % STEPS * 64;
    int reach = ENTRIES * PART < 64 ? INT_MAX : 0;

#pragma unroll
    for (int e = 0; e < ENTRIES; e++) {
        const int known = block[e] >= 0 && block[e] < walk.nk, key = known ? block[e] * BLOCK_K + c0 : 0;
        const int n = known ? clamp(min(BLOCK_K - c0, walk.sk - key), 0, PART) : 0;

        to->keys[e] = (int2)(key, n);
        reach = max(reach, n < PART ? INT_MAX : key + PART);
    }
    to->reach = reach;
}

/* 16 bytes from anywhere. */
static inline uint4 gather16(__global const elem *p)
{
    __global const ushort *e = (__global const ushort *)p;

    return (uint4)(e[0] | (uint)e[1] << 16, e[2] | (uint)e[3] << 16, e[4] | (uint)e[5] << 16,
                   e[6] | (uint)e[7] << 16);
}

/* Begin to copy a tile of K or V, `mine` being this work-item's chunk of row
 * 0; rows that are no keys become zeros. */
static inline void copy_tile(__local const tile_t *tile, __global const elem *mine, ulong stride, int aligned,
                             uint to)
{
    const int row = get_local_id(0) / 8, chunk = get_local_id(0) % 8;
    const int2 whole = tile->keys[0];

    if (EVEN && aligned && whole.y == 64) { /* most tiles */
        __global const elem *from = mine + (ulong)(whole.x + row) * stride;

        to += chunk_at(row, chunk);
#pragma unroll
        for (int i = 0; i < 64 / PASS; i++) {
#pragma unroll
            for (int x = 0; x < PANELS; x++)
                copy16(to + x * 64 * 128 + i * PASS * 128, from + x * 64, 16);
            from += PASS * stride;
        }
        return;
    }
    for (int r = row; r < 64; r += PASS) {
        const int2 keys = ENTRIES == 1 ? whole : r / PART < ENTRIES ? tile->keys[r / PART] : (int2)(0);
        const int at = ENTRIES == 1 ? r : r % PART, there = at < keys.y;
        __global const elem *from = mine + (ulong)(keys.x + (there ? at : 0)) * stride;

#pragma unroll
        for (int x = 0; x < PANELS; x++)
            if (x * 8 + chunk < D / 8) {
                if (aligned)
                    copy16(to + x * 64 * 128 + chunk_at(r, chunk), from + x * 64, there ? 16 : 0);
                else
                    store16(to + x * 64 * 128 + chunk_at(r, chunk), there ? gather16(from + x * 64) : (uint4)(0));
            }
    }
}

/* Two neighbours, `aligned` to 4 bytes or not. */
static inline uint load2(__global const elem *from, int aligned)
{
    __global const ushort *e = (__global const ushort *)from;

    return aligned ? *(__global const uint *)from : e[0] | (uint)e[1] << 16;
}

static inline void store2(uint x, __global elem *to, int aligned)
{
    __global ushort *e = (__global ushort *)to;

    if (aligned) {
        *(__global uint *)to = x;
    } else {
        e[0] = (ushort)(x & 0xffffu);
        e[1] = (ushort)(x >> 16);
    }
}

/* Left operand fragments of the warp's 16 rows of Q: `from` is column 2t of
 * row g, and n rows count from there. */
static inline void load_queries(__global const elem *from, ulong stride, int n, int aligned, uint *q)
{
    const ulong low = n > 8 ? 8 * stride : 0;

#pragma unroll
    for (int x = 0; x < D / 8; x++) {
        q[x * 2] = load2(from + x * 8, aligned);
        q[x * 2 + 1] = load2(from + low + x * 8, aligned);
    }
}

/* Hide what the rows may not see; row 0 of the fragments sees keys < limit. */
static inline void hide(__local const tile_t *tile, int limit, float *s)
{
    const int column = LANE % 4 * 2;

#pragma unroll
    for (int e = 0; e < ENTRIES; e++) {
        const int2 keys = tile->keys[e];
        const int most = CAUSAL ? min(keys.y, limit - keys.x) : keys.y,
                  most8 = CAUSAL ? min(keys.y, limit + 8 - keys.x) : keys.y;

#pragma unroll
        for (int i = e * PART / 8; i < (e + 1) * PART / 8; i++) {
            const int c = i * 8 - e * PART + column;

            s[i * 4] = c < most ? s[i * 4] : SMALL;
            s[i * 4 + 1] = c + 1 < most ? s[i * 4 + 1] : SMALL;
            s[i * 4 + 2] = c < most8 ? s[i * 4 + 2] : SMALL;
            s[i * 4 + 3] = c + 1 < most8 ? s[i * 4 + 3] : SMALL;
        }
    }
#pragma unroll
    for (int i = ENTRIES * PART / 8 * 4; i < 32; i++)
        s[i] = SMALL;
}

/* Scores to weights, two of 16 bits in each p.  m, l: per row, l of this lane's
 * columns alone.  m only has to be near the row's maximum: it is raised, and o
 * and l scaled, when a score of the warp exceeds it by 2^8. */
static inline void soften(float *s, float scale, float *m, float *l, float *o, uint *p)
{
    float high0 = m[0], high1 = m[1];

#pragma unroll
    for (int i = 0; i < 32; i += 4) {
        high0 = fmax(high0, fmax(s[i], s[i + 1]));
        high1 = fmax(high1, fmax(s[i + 2], s[i + 3]));
    }
    if (any_lane(fmax(high0 - m[0], high1 - m[1]) * scale > 8.0f)) {
        high0 = quad_max(high0);
        high1 = quad_max(high1);
        const float fade0 = exp2_fast((m[0] - high0) * scale), fade1 = exp2_fast((m[1] - high1) * scale);

        m[0] = high0;
        m[1] = high1;
        l[0] *= fade0;
        l[1] *= fade1;
#pragma unroll
        for (int i = 0; i < D / 2; i += 4) {
            o[i] *= fade0;
            o[i + 1] *= fade0;
            o[i + 2] *= fade1;
            o[i + 3] *= fade1;
        }
    }
    const float less0 = m[0] * scale, less1 = m[1] * scale;

#pragma unroll
    for (int i = 0; i < 32; i += 4) {
        s[i] = exp2_fast(fma(s[i], scale, -less0));
        s[i + 1] = exp2_fast(fma(s[i + 1], scale, -less0));
        s[i + 2] = exp2_fast(fma(s[i + 2], scale, -less1));
        s[i + 3] = exp2_fast(fma(s[i + 3], scale, -less1));
        l[0] += s[i] + s[i + 1];
        l[1] += s[i + 2] + s[i + 3];
        p[i / 2] = pack2(s[i], s[i + 1]);
        p[i / 2 + 1] = pack2(s[i + 2], s[i + 3]);
    }
}

__attribute__((reqd_work_group_size(WG, 1, 1))) __kernel void
attend_nv(__global const elem *q, ulong4 q_at, __global const elem *k, ulong4 k_at, __global const elem *v,
          ulong4 v_at, __global const int *counts, ulong counts_at, __global const int *blocks, ulong blocks_at,
          int width, int list_heads, __global elem *out, ulong4 out_at, __global float *lse, ulong lse_at,
          __global const int *seqs, ulong seqs_from, int sequences, int sq, int sk, int rows, int block_q,
          int block_k, int q_heads, int group, float fold, float unit)
{
    __local tile_t ring[RING]; /* tile x is at x % RING */
    __local uint4 tiles[STAGES * 2 * TILE_BYTES / 16] __attribute__((aligned(1024)));
    const uint k_place = local_address(tiles), v_place = k_place + STAGES * TILE_BYTES;
    const int warp_group = get_local_id(0) / 128;
    const int parts = (block_q + ROWS * 64 - 1) / (ROWS * 64);
    const int last = GROUP_BACKWARDS(0); /* longest rows first */
    const int i = last / max(parts, 1), part = last - i * max(parts, 1), s = GROUP(2);
    const int h = GROUP(1) * HEADS + warp_group % HEADS, hk = h / max(group, 1);
    const bool live = s < sequences;
    const seq_t at = seq_at(seqs + seqs_from, live ? s : 0, sq, sk);
    const int first = part * ROWS * 64, mine = first + warp_group / HEADS * 64;
    const int end = min(block_q, at.sq - i * block_q); /* rows of this query block */
    const int t0 = i * block_q + mine, n_q = live ? clamp(end - mine, 0, 64) : 0;
    const int list_row = (at.batch * list_heads + h * list_heads / max(q_heads, 1)) * rows + at.row0 + i;
    const int see = live && end > first ? visible_blocks(CAUSAL, i, block_q, block_k, at.sq, at.sk) : 0;
    const walk_t walk = {blocks + blocks_at + (ulong)(LISTED ? list_row : 0) * width,
                         LISTED && see > 0 ? min(counts[counts_at + list_row], width) : see, width,
                         (at.sk + BLOCK_K - 1) / BLOCK_K, at.sk};
    const int n = (walk.n * STEPS + ENTRIES - 1) / ENTRIES;
    const int limit = t0 + at.sk - at.sq + 1; /* keys that the first row sees */
    const int row = get_local_id(0) / 32 % 4 * 16 + LANE / 4;
    __global const elem *from_k = k + token_at(k_at, at.batch, at.k0, hk) + get_local_id(0) % 8 * 8;
    __global const elem *from_v = v + token_at(v_at, at.batch, at.k0, hk) + get_local_id(0) % 8 * 8;
    const int aligned_k = (((ulong)from_k | k_at.z * 2) & 15) == 0,
              aligned_v = (((ulong)from_v | v_at.z * 2) & 15) == 0;
    __global const elem *from_q = q + token_at(q_at, at.batch, n_q > 0 ? at.q0 + t0 : 0, h) + LANE % 4 * 2;
    const int aligned_q = (((ulong)from_q | q_at.z * 2) & 3) == 0;
    const float scale = fabs(fold) * unit; /* of scores, in log2 units */
    int ahead[ENTRIES];
    uint qf[D / 4];
    float o[D / 2], m[2] = {SMALL, SMALL}, l[2] = {0.0f, 0.0f};

    if (get_local_id(0) < STAGES && n > 0) {
        look_up(walk, get_local_id(0), ahead);
        note_down(walk, get_local_id(0), ahead, &ring[get_local_id(0)]);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
    for (int x = 0; x < STAGES; x++) {
        if (x < n)
            copy_tile(&ring[x], from_k, k_at.z, aligned_k, k_place + x * TILE_BYTES);
        COPIES_COMMIT();
        if (x + 1 < STAGES) {
            if (x < n)
                copy_tile(&ring[x], from_v, v_at.z, aligned_v, v_place + x * TILE_BYTES);
            COPIES_COMMIT();
        }
    }
    from_q += row < n_q ? (ulong)row * q_at.z : 0;
    if (aligned_q)
        load_queries(from_q, q_at.z, n_q - row, 1, qf);
    else
        load_queries(from_q, q_at.z, n_q - row, 0, qf);
    if (fold < 0.0f)
#pragma unroll
        for (int x = 0; x < D / 4; x++)
            qf[x] ^= 0x80008000u;
#pragma unroll
    for (int x = 0; x < D / 2; x++)
        o[x] = 0.0f;

    for (int tile = 0, place = 0, at_ring = 0; tile < n; tile++) {
        const int before = place == 0 ? STAGES - 1 : place - 1;
        const int newest = at_ring + STAGES < RING ? at_ring + STAGES : at_ring + STAGES - RING;
        float sc[32];
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
        if (!CAUSAL ? ring[at_ring].reach == INT_MAX : ring[at_ring].reach > limit)
            hide(&ring[at_ring], limit + row, sc);
        soften(sc, scale, m, l, o, p);
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

#pragma unroll
    for (int e = 0; e < 2; e++) {
        const int r = row + e * 8;
        const float sum = quad_sum(l[e]);
        const bool any = m[e] > 0.5f * SMALL;
        const float share = any ? 1.0f / sum : 0.0f;
        __global elem *to = out + token_at(out_at, at.batch, at.q0 + t0 + (r < n_q ? r : 0), h) + LANE % 4 * 2;
        const int aligned = ((ulong)to & 3) == 0;

        if (r < n_q) {
#pragma unroll
            for (int x = 0; x < D / 8; x++)
                store2(pack2(o[x * 4 + e * 2] * share, o[x * 4 + e * 2 + 1] * share), to + x * 8, aligned);
            if (LSE && LANE % 4 == 0)
                lse[lse_at + ((ulong)at.batch * q_heads + h) * sq + at.q0 + t0 + r] =
                    any ? (m[e] * scale + log2(sum)) * LN2 : NEG_INF;
        }
    }
}
