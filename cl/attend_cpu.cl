/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attend_cpu: block-sparse flash attention, one work-item per BM query rows.
 *
 * Idea      The transposed products: S^T = K Q^T and O^T = V^T P^T.  Q is
 *           transposed once per work-item, NR queries wide, and stays in
 *           cache; the rows of K and V are read as they lie, one scalar against
 *           NR queries.  So nothing is packed per block, and the softmax runs
 *           down the keys with a query in each vector lane: no reductions.
 *           What comes next is fetched while the current tile is worked on: the
 *           next block, or for the last block what the next work-item needs.
 * Grid      (query blocks * tiles of BM rows, query heads, sequences) groups of 1
 * Local     none; private (2 * BM + KT) * D + BM * KT floats
 * Assumes   D % 8 == 0, BM % NR == 0, KT % MR == 0, 8 % MR == 0
 * Edges     short blocks are filled with zeros; keys that a query may not see
 *           score SMALL; a row without a key writes 0 and LSE -inf
 * Numerics  scores in log2 units: scale * log2(e) = fold * scale, a signed power
 *           of two that Q takes exactly, and 1 <= scale < 2 for the softmax
 */
#ifndef D
#define D 64
#endif
#ifndef BM
#define BM 64 /* query rows a work-item */
#endif
#ifndef KT
#define KT 64 /* keys a tile */
#endif
#ifndef VEC
#define VEC 8 /* floats a vector */
#endif
#ifndef NV
#define NV 2 /* vectors of queries a micro-tile */
#endif
#ifndef MR
#define MR 4 /* keys or channels a micro-tile */
#endif
#ifndef LISTED
#define LISTED 1 /* 0: every key, block_k is ours to choose */
#endif
#ifndef CAUSAL
#define CAUSAL 1
#endif
#ifndef LSE
#define LSE 0
#endif

#define NR      (VEC * NV)
#define PANELS  (BM / NR)
#define FETCHED ((KT * MR + D - 1) / D) /* rows of V fetched for MR channels of work */
#define SMALL   -0x1p100f               /* finite: fast-math knows no infinity; exact times a scale */
#define LN2     0.6931471805599453f

/* Ask for a cache line ahead of its use; a hint that may do nothing. */
#if defined(__has_builtin) && !defined(NO_FETCH)
#if __has_builtin(__builtin_prefetch)
#define FETCH(p) __builtin_prefetch((const void *)(size_t)(p), 0, 2)
#endif
#endif
#ifndef FETCH
#define FETCH(p)
#endif

#define CAT_(a, b)      a##b
#define CAT(a, b)       CAT_(a, b)
#define vec             CAT(float, VEC)
#define ivec            CAT(int, VEC)
#define AS_VEC          CAT(as_float, VEC)
#define TO_IVEC         CAT(convert_int, VEC)
#define LOAD_VEC(p)     CAT(vload, VEC)(0, p)
#define STORE_VEC(x, p) CAT(vstore, VEC)(x, 0, p)
#if VEC == 8
#define LANES (int8)(0, 1, 2, 3, 4, 5, 6, 7)
#else
#define LANES (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#endif

/* 2^x for x <= 0, within 3e-7; the built-in of some runtimes is 2e-3 off. */
static inline vec exp2_neg(vec x)
{
    const vec y = fmax(x, (vec)(-126.0f));
    const vec whole = rint(y), f = y - whole;
    vec p = (vec)(1.5353362e-4f);

    p = fma(p, f, (vec)(1.3398874e-3f));
    p = fma(p, f, (vec)(9.6184373e-3f));
    p = fma(p, f, (vec)(5.5503324e-2f));
    p = fma(p, f, (vec)(2.4022648e-1f));
    p = fma(p, f, (vec)(6.9314720e-1f));
    p = fma(p, f, (vec)(1.0f));
    return x < (vec)(-126.0f) ? (vec)(0.0f) : AS_VEC((TO_IVEC(whole) + 127) << 23) * p;
}

/* `to` [NR wide]: sum over x of a[row + r][x] * b[x][NR], r < MR. */
static inline void dot_tile(const float *a, const float *b, float *to)
{
    vec sum[MR][NV];

#pragma unroll
    for (int r = 0; r < MR; r++)
#pragma unroll
        for (int v = 0; v < NV; v++)
            sum[r][v] = (vec)(0.0f);
    for (int x = 0; x < D; x++) {
#pragma unroll
        for (int r = 0; r < MR; r++)
#pragma unroll
            for (int v = 0; v < NV; v++)
                sum[r][v] = fma((vec)(a[r * D + x]), LOAD_VEC(b + x * NR + v * VEC), sum[r][v]);
    }
#pragma unroll
    for (int r = 0; r < MR; r++)
#pragma unroll
        for (int v = 0; v < NV; v++)
            STORE_VEC(sum[r][v], to + r * NR + v * VEC);
}

/* `to` [MR][NR]: to * fade + sum over c < keys of a[c][x + r] * b[c][NR]. */
static inline void add_tile(const float *a, const float *b, int keys, const float *fade, float *to)
{
    vec sum[MR][NV];

#pragma unroll
    for (int r = 0; r < MR; r++)
#pragma unroll
        for (int v = 0; v < NV; v++)
            sum[r][v] = LOAD_VEC(to + r * NR + v * VEC) * LOAD_VEC(fade + v * VEC);
    for (int c = 0; c < keys; c++) {
#pragma unroll
        for (int r = 0; r < MR; r++)
#pragma unroll
            for (int v = 0; v < NV; v++)
                sum[r][v] = fma((vec)(a[c * D + r]), LOAD_VEC(b + c * NR + v * VEC), sum[r][v]);
    }
#pragma unroll
    for (int r = 0; r < MR; r++)
#pragma unroll
        for (int v = 0; v < NV; v++)
            STORE_VEC(sum[r][v], to + r * NR + v * VEC);
}

/* Copy `n` rows of K or V into the tile, zeros up to a whole micro-tile. */
static inline void load_tile(__global const elem *from, ulong stride, int n, float *tile)
{
    for (int c = 0; c < n; c++)
        for (int x = 0; x < D; x += 8)
            vstore8(LOAD8(from, (ulong)c * stride + x), 0, tile + c * D + x);
    for (int c = n; c % MR; c++)
        for (int x = 0; x < D; x += 8)
            vstore8((float8)(0.0f), 0, tile + c * D + x);
}

/* The least multiple of MR that is not below n, or 0. */
static inline int whole_tiles(int n)
{
    return n <= 0 ? 0 : (n + MR - 1) & -MR;
}

static inline void fetch_rows(__global const elem *from, ulong stride, int n)
{
    for (int c = 0; c < n; c++)
        for (int x = 0; x < D; x += 64 / (int)sizeof(elem))
            FETCH(from + (ulong)c * stride + x);
}

/* Four rows of four become four columns.  Element by element: each line is one
 * shuffle to compilers, and oclgrind 21.10 faults on vectors made of vectors. */
static inline void turn4(float4 *a)
{
    const float4 b0 = (float4)(a[0].x, a[1].x, a[0].y, a[1].y), b1 = (float4)(a[0].z, a[1].z, a[0].w, a[1].w);
    const float4 b2 = (float4)(a[2].x, a[3].x, a[2].y, a[3].y), b3 = (float4)(a[2].z, a[3].z, a[2].w, a[3].w);

    a[0] = (float4)(b0.x, b0.y, b2.x, b2.y);
    a[1] = (float4)(b0.z, b0.w, b2.z, b2.w);
    a[2] = (float4)(b1.x, b1.y, b3.x, b3.y);
    a[3] = (float4)(b1.z, b1.w, b3.z, b3.w);
}

/* Transpose `n` rows of Q into one panel, the rest zero. */
static inline void load_queries(__global const elem *from, ulong stride, int n, float scale, float *to)
{
    for (int r = 0; r < NR; r += 4)
        for (int x = 0; x < D; x += 4) {
            float4 a[4];

#pragma unroll
            for (int e = 0; e < 4; e++)
                a[e] = r + e < n ? LOAD4(from, (ulong)(r + e) * stride + x) * scale : (float4)(0.0f);
            turn4(a);
#pragma unroll
            for (int e = 0; e < 4; e++)
                vstore4(a[e], 0, to + (x + e) * NR + r);
        }
}

/* Four channels from x on of four rows from r on of one panel, as four rows. */
static inline void take4(const float *panel, int r, int x, float4 *a)
{
#pragma unroll
    for (int e = 0; e < 4; e++)
        a[e] = vload4(0, panel + (x + e) * NR + r);
    turn4(a);
}

/* Write `n` rows of one panel of O^T, each times its `share`. */
static inline void store_rows(const float *from, const float *share, int n, __global elem *to, ulong stride)
{
    for (int r = 0; r < min(n, NR); r += 4) {
        for (int x = 0; x < D; x += 4) {
            float4 a[4];

            take4(from, r, x, a);
#pragma unroll
            for (int e = 0; e < 4; e++)
                if (r + e < n) {
                    const float4 y = a[e] * share[r + e];

                    STORE4(y, to, (ulong)(r + e) * stride + x);
                }
        }
    }
}

/* Softmax step of one panel: scores of `keys` keys to weights; m, l and fade per query.  `top`, if
 * given, gets the greatest score of each query, or, `more`, keeps what it has if that is greater. */
static inline void soften(float *s, int keys, float scale, float *m, float *l, float *fade, __global float *top,
                          int more)
{
#pragma unroll
    for (int v = 0; v < NV; v++) {
        const vec old = LOAD_VEC(m + v * VEC);
        vec high = (vec)(SMALL), sum = (vec)(0.0f), f;

        for (int c = 0; c < keys; c++)
            high = fmax(high, LOAD_VEC(s + c * NR + v * VEC));
        if (top)
            STORE_VEC(more ? fmax(high, LOAD_VEC(top + v * VEC)) : high, top + v * VEC);
        high = fmax(old, high * scale);
        for (int c = 0; c < keys; c++) {
            const vec e = exp2_neg(fma(LOAD_VEC(s + c * NR + v * VEC), (vec)(scale), -high));

            sum += e;
            STORE_VEC(e, s + c * NR + v * VEC);
        }
        f = exp2_neg(old - high);
        STORE_VEC(f, fade + v * VEC);
        STORE_VEC(fma(LOAD_VEC(l + v * VEC), f, sum), l + v * VEC);
        STORE_VEC(high, m + v * VEC);
    }
}

/* Scores of keys that a query may not see; of `seen` keys `keys` are valid and
 * lane 0 sees those below `limit`, each further lane one more. */
static inline void hide(float *s, int seen, int keys, int limit)
{
    for (int c = 0; c < seen; c++)
#pragma unroll
        for (int v = 0; v < NV; v++) {
            const ivec last = CAUSAL ? min(LANES + (limit + v * VEC), (ivec)(keys)) : (ivec)(keys);
            const vec x = LOAD_VEC(s + c * NR + v * VEC);

            STORE_VEC((ivec)(c) < last ? x : (vec)(SMALL), s + c * NR + v * VEC);
        }
}

/* Rows of one query head, the keys that they walk, and where the results go. */
typedef struct {
    __global const elem *q, *k, *v; /* the first row; the sequence's first key and value; v and out: if with_v */
    __global elem *out;
    ulong q_step, k_step, v_step, out_step; /* from token to token                             */
    __global const int *list;               /* n key blocks, if LISTED; else the first n       */
    int n, block_k, sk;
    int n_q, limit;       /* rows, at most BM; keys that the first one sees  */
    int with_v;           /* 0: lse alone                                     */
    int above;            /* rows before these that the next work-item has   */
    int then;             /* the first block of its list                     */
    __global float *tops; /* NULL, or BM for each key block: the greatest scores of each row */
} rows_t;

/* Attention of a's rows; m and l, BM each, get their maxima in log2 units and sums of weights. */
static inline void attend_rows(const rows_t a, float fold, float scale, float *m, float *l)
{
    float qt[PANELS * D * NR] __attribute__((aligned(64))), ot[PANELS * D * NR] __attribute__((aligned(64)));
    float st[PANELS * KT * NR] __attribute__((aligned(64))), tile[KT * D] __attribute__((aligned(64)));
    float fade[BM] __attribute__((aligned(64)));
    const int nk = (a.sk + a.block_k - 1) / a.block_k;

    for (int p = 0; p < PANELS; p++)
        load_queries(a.q + (ulong)(p * NR) * a.q_step, a.q_step, a.n_q - p * NR, fold, qt + p * D * NR);
    for (int x = 0; x < PANELS * D * NR; x += VEC)
        STORE_VEC((vec)(0.0f), ot + x);
    for (int r = 0; r < BM; r++) {
        m[r] = SMALL;
        l[r] = 0.0f;
    }

    for (int e = 0; e < a.n; e++) {
        const int block = LISTED ? a.list[e] : e;
        const int end = block < 0 || block >= nk ? 0 : min(a.block_k, a.sk - block * a.block_k);
        /* The block after this one; after the last, the first of the row that comes next. */
        const int above = e + 1 == a.n && a.above > 0;
        const int then = e + 1 < a.n ? (LISTED ? a.list[e + 1] : e + 1) : above ? a.then : -1;

        for (int c0 = 0; c0 < end; c0 += KT) {
            const int key = block * a.block_k + c0, n_k = min(end - c0, KT);
            const int limit = a.limit - key;
            const int next = c0 + KT < end ? key + KT : then * a.block_k;
            const int n_next = next < 0 || next >= a.sk ? 0 : min(KT, a.sk - next);
            const int n_above = above && c0 + KT >= end ? min(BM, a.above) : 0;
            int seen[PANELS]; /* keys that any query of the panel sees, in whole micro-tiles */

            if (CAUSAL && limit + a.n_q - 1 <= 0)
                break; /* no row sees these keys */
            for (int p = 0; p < PANELS; p++)
                seen[p] = p * NR >= a.n_q ? 0 : whole_tiles(CAUSAL ? min(n_k, limit + (p + 1) * NR - 1) : n_k);
            load_tile(a.k + (ulong)key * a.k_step, a.k_step, n_k, tile);
            for (int c = 0; c < KT; c += MR) {
                fetch_rows(a.k + (ulong)(next + c) * a.k_step, a.k_step, clamp(n_next - c, 0, MR));
                fetch_rows(a.q - (ulong)(n_above - c) * a.q_step, a.q_step, clamp(n_above - c, 0, MR));
                for (int p = 0; p < PANELS; p++)
                    if (c < seen[p])
                        dot_tile(tile + c * D, qt + p * D * NR, st + (p * KT + c) * NR);
            }
            if (a.with_v)
                load_tile(a.v + (ulong)key * a.v_step, a.v_step, n_k, tile);
            for (int p = 0; p < PANELS; p++) {
                __global float *top = a.tops ? a.tops + (ulong)block * BM + p * NR : 0;

                if ((CAUSAL ? min(n_k, limit + p * NR) : n_k) < seen[p])
                    hide(st + p * KT * NR, seen[p], n_k, limit + p * NR);
                soften(st + p * KT * NR, seen[p], scale, m + p * NR, l + p * NR, fade + p * NR, top, c0 > 0);
            }
            for (int x = 0, c = 0; a.with_v && x < D; x += MR, c += FETCHED) {
                fetch_rows(a.v + (ulong)(next + c) * a.v_step, a.v_step, clamp(n_next - c, 0, FETCHED));
                fetch_rows(a.out + (ulong)c * a.out_step, a.out_step, n_above ? clamp(a.n_q - c, 0, FETCHED) : 0);
                for (int p = 0; p < PANELS; p++)
                    add_tile(tile + x, st + p * KT * NR, seen[p], fade + p * NR, ot + (p * D + x) * NR);
            }
        }
    }

    for (int r = 0; r < BM; r++)
        fade[r] = m[r] > 0.5f * SMALL ? 1.0f / l[r] : 0.0f;
    for (int p = 0; a.with_v && p < PANELS; p++)
        store_rows(ot + p * D * NR, fade + p * NR, a.n_q - p * NR, a.out + (ulong)(p * NR) * a.out_step, a.out_step);
}

/* lse of a row from its maximum and sum of weights. */
static inline float lse_of(float m, float l)
{
    return m > 0.5f * SMALL ? (m + log2(l)) * LN2 : NEG_INF;
}

__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void
attend_cpu(__global const elem *q, ulong4 q_at, __global const elem *k, ulong4 k_at, __global const elem *v,
           ulong4 v_at, __global const int *counts, ulong counts_at, __global const int *blocks, ulong blocks_at,
           int width, int list_heads, __global elem *out, ulong4 out_at, __global float *lse, ulong lse_at,
           __global const int *seqs, ulong seqs_from, int sequences, int sq, int sk, int rows, int block_q,
           int block_k, int q_heads, int group, float fold, float scale)
{
    const int tiles = (block_q + BM - 1) / BM;
    const int last = GROUP_BACKWARDS(0); /* longest rows first */
    const int i = last / tiles, part = last - i * tiles, h = GROUP(1), s = GROUP(2);
    const seq_t at = seq_at(seqs + seqs_from, s < sequences ? s : 0, sq, sk);
    const int t0 = i * block_q + part * BM;
    const int n_q = min(min((part + 1) * BM, block_q) - part * BM, at.sq - t0);

    if (s < sequences && n_q > 0) {
        const int list_row = (at.batch * list_heads + h * list_heads / max(q_heads, 1)) * rows + at.row0 + i;
        __global const int *list = blocks + blocks_at + (ulong)list_row * width;
        const int see = visible_blocks(CAUSAL, i, block_q, block_k, at.sq, at.sk), hk = h / group;
        const int above = part == 0 ? t0 : 0;
        float m[BM] __attribute__((aligned(64))), l[BM] __attribute__((aligned(64)));
        const rows_t a = {q + token_at(q_at, at.batch, at.q0 + t0, h),
                          k + token_at(k_at, at.batch, at.k0, hk),
                          v + token_at(v_at, at.batch, at.k0, hk),
                          out + token_at(out_at, at.batch, at.q0 + t0, h),
                          q_at.z,
                          k_at.z,
                          v_at.z,
                          out_at.z,
                          list,
                          LISTED ? min(counts[counts_at + list_row], width) : see,
                          block_k,
                          at.sk,
                          n_q,
                          t0 + at.sk - at.sq + 1,
                          1,
                          above,
                          LISTED && above && counts[counts_at + list_row - 1] > 0 ? list[-width] : 0,
                          0};

        attend_rows(a, fold, scale, m, l);
        for (int r = 0; LSE && r < n_q; r++)
            lse[lse_at + ((ulong)at.batch * q_heads + h) * sq + at.q0 + t0 + r] = lse_of(m[r], l[r]);
    }
}
