/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nv_walk: keys of one head, by list or all, go through local memory in tiles of
 * 64, and scores become weights; what attention on NVIDIA's matrix units is
 * made of.
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

#ifndef LOADERS
#define LOADERS 0 /* work-items that copy tiles; 0: all do */
#endif

#define WG      (ROWS * HEADS * 128 + LOADERS)
#define PASS    ((LOADERS > 0 ? LOADERS : WG) / 8)       /* rows that all who copy do at once  */
#define COPIER  ((int)get_local_id(0) % (PASS * 8))      /* this work-item among them          */
#define RING    (STAGES + 2)                             /* tiles looked up                */
#define ENTRIES (BLOCK_K < 64 ? 64 / BLOCK_K : 1)        /* blocks a tile                 */
#define PART    (BLOCK_K < 64 ? BLOCK_K : 64)            /* keys of a block in a tile     */
#define STEPS   (BLOCK_K < 64 ? 1 : (BLOCK_K + 63) / 64) /* tiles a block            */
#define NEWEST  (2 * (STAGES - 1))                       /* copies that nobody waits for yet */
#define EVEN    (64 % PASS == 0)
#define SMALL   -0x1p100f /* finite: fast-math knows no infinity; exact times a scale */
#define LN2     0.6931471805599453f

/* What the work-group walks: keys of one head, by list or all. */
typedef struct {
    __global const int *list;
    int n, width, nk, sk; /* entries, room for entries, key blocks, keys */
} walk_t;

static inline int tiles_in(walk_t walk)
{
    return (walk.n * STEPS + ENTRIES - 1) / ENTRIES;
}

/* A tile of keys: of each block in it the first key and how many count; every
 * query that sees `reach` keys or more sees the whole tile. */
typedef struct {
    int2 keys[ENTRIES];
    int reach;
} tile_t;

/* The list's entry that is number e of a tile. */
#define ENTRY(tile, e) (BLOCK_K < 64 ? (tile)*ENTRIES + (e) : (tile) / STEPS)

/* Read the list well before the tile's first use: here nothing may look at what was read ... */
static inline void look_up(walk_t walk, int tile, int *block)
{
#pragma unroll
    for (int e = 0; e < ENTRIES; e++)
        block[e] = LISTED ? walk.list[min(ENTRY(tile, e), walk.width - 1)] : ENTRY(tile, e);
}

/* ... and let the work-group know.  Both by one work-item. */
static inline void note_down(walk_t walk, int tile, const int *block, __local tile_t *to)
{
    const int c0 = BLOCK_K < 64 ? 0 : tile % STEPS * 64;
    int reach = ENTRIES * PART < 64 ? INT_MAX : 0;

#pragma unroll
    for (int e = 0; e < ENTRIES; e++) {
        const int known = ENTRY(tile, e) < walk.n && block[e] >= 0 && block[e] < walk.nk;
        const int key = known ? block[e] * BLOCK_K + c0 : 0;
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

/* Begin to copy a row, `from` being this work-item's chunk; zeros if it is not there. */
static inline void copy_row(__global const elem *from, int there, int aligned, uint to)
{
#pragma unroll
    for (int x = 0; x < PANELS; x++)
        if (x * 8 + COPIER % 8 < D / 8) {
            if (aligned)
                copy16(to + x * 64 * 128, from + x * 64, there ? 16 : 0);
            else
                store16(to + x * 64 * 128, there ? gather16(from + x * 64) : (uint4)(0));
        }
}

/* The same of 64 rows, where EVEN; `from` is the chunk of the first that is this work-item's. */
static inline void copy_even(__global const elem *from, ulong stride, uint to)
{
    to += chunk_at(COPIER / 8, COPIER % 8);
#pragma unroll
    for (int i = 0; i < 64 / PASS; i++) {
#pragma unroll
        for (int x = 0; x < PANELS; x++)
            if (x * 8 + COPIER % 8 < D / 8)
                copy16(to + x * 64 * 128 + i * PASS * 128, from + x * 64, 16);
        from += PASS * stride;
    }
}

/* Begin to copy a tile of K or V, `mine` being this work-item's chunk of row
 * 0; rows that are no keys become zeros. */
static inline void copy_tile(__local const tile_t *tile, __global const elem *mine, ulong stride, int aligned,
                             uint to)
{
    const int row = COPIER / 8, chunk = COPIER % 8;
    const int2 whole = tile->keys[0];

    if ((EVEN & (ENTRIES == 1)) && aligned && whole.y == 64) { /* most tiles */
        copy_even(mine + (ulong)(whole.x + row) * stride, stride, to);
        return;
    }
    for (int r = row; r < 64; r += PASS) {
        const int2 keys = ENTRIES == 1 ? whole : r / PART < ENTRIES ? tile->keys[r / PART] : (int2)(0);
        const int at = ENTRIES == 1 ? r : r % PART, there = at < keys.y;

        copy_row(mine + (ulong)(keys.x + (there ? at : 0)) * stride, there, aligned, to + chunk_at(r, chunk));
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

/* The greatest score of each row among this lane's columns. */
static inline void top_scores(const float *s, float *top)
{
    top[0] = fmax(s[0], s[1]);
    top[1] = fmax(s[2], s[3]);
#pragma unroll
    for (int i = 4; i < 32; i += 4) {
        top[0] = fmax(top[0], fmax(s[i], s[i + 1]));
        top[1] = fmax(top[1], fmax(s[i + 2], s[i + 3]));
    }
}

/* What the rows' maxima m and sums l of this lane's columns must become before weights of scores up to `top` are
 * added.  m only has to be near the row's maximum: it is raised when a score of the warp exceeds it by 2^8, and l is
 * scaled.  True: o must be scaled by `fade` as well. */
static inline bool raise(const float *top, float scale, float *m, float *l, float *fade)
{
    float high0 = fmax(m[0], top[0]), high1 = fmax(m[1], top[1]);
    const bool raised = any_lane(fmax(high0 - m[0], high1 - m[1]) * scale > 8.0f);

    if (raised) {
        high0 = quad_max(high0);
        high1 = quad_max(high1);
        fade[0] = exp2_fast((m[0] - high0) * scale);
        fade[1] = exp2_fast((m[1] - high1) * scale);
        m[0] = high0;
        m[1] = high1;
        l[0] *= fade[0];
        l[1] *= fade[1];
    }
    return raised;
}

static inline void scale_sums(float *o, const float *fade)
{
#pragma unroll
    for (int i = 0; i < D / 2; i++)
        o[i] *= fade[i / 2 % 2];
}

/* Scores to weights. */
static inline void soften(float *s, float scale, const float *m, float *l)
{
    const float less0 = m[0] * scale, less1 = m[1] * scale;

#pragma unroll
    for (int i = 0; i < 32; i += 4) {
        s[i] = exp2_fast(fma(s[i], scale, -less0));
        s[i + 1] = exp2_fast(fma(s[i + 1], scale, -less0));
        s[i + 2] = exp2_fast(fma(s[i + 2], scale, -less1));
        s[i + 3] = exp2_fast(fma(s[i + 3], scale, -less1));
        l[0] += s[i] + s[i + 1];
        l[1] += s[i + 2] + s[i + 3];
    }
}

/* Sums as a left operand. */
static inline void pack_all(const float *x, uint *packed)
{
#pragma unroll
    for (int e = 0; e < 16; e++)
        packed[e] = pack2(x[e * 2], x[e * 2 + 1]);
}
