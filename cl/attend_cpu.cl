/*
 * attend_cpu: block-sparse flash attention, one work-item per BM query rows.
 *
 * Idea      The transposed products: S^T = K Q^T and O^T = V^T P^T.  Q is
 *           transposed once per work-item, NR queries wide, and stays in
 *           cache; the rows of K and V are read as they lie, one scalar against
 *           NR queries.  So nothing is packed per block, and the softmax runs
 *           down the keys with a query in each vector lane: no reductions.
 * Grid      (query blocks * tiles of BM rows, query heads, sequences) groups of 1
 * Local     none; private (2 * BM + KT) * D + BM * KT floats
 * Assumes   D % 8 == 0, BM % NR == 0, KT % MR == 0, 8 % MR == 0
 * Edges     short blocks are filled with zeros; keys that a query may not see
 *           score SMALL; a row without a key writes 0 and LSE -inf
 * Numerics  scores in log2 units: scale * log2(e) is folded into Q
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

#define NR              (VEC * NV)
#define PANELS          (BM / NR)
#define SMALL           -1e30f /* finite: fast-math knows no infinity */
#define LOG2E           1.4426950408889634f
#define LN2             0.6931471805599453f

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

/* `to` [MR][NR]: to * fade + sum over c of a[c][x + r] * b[c][NR]. */
static inline void add_tile(const float *a, const float *b, const float *fade, float *to)
{
    vec sum[MR][NV];

#pragma unroll
    for (int r = 0; r < MR; r++)
#pragma unroll
        for (int v = 0; v < NV; v++)
            sum[r][v] = LOAD_VEC(to + r * NR + v * VEC) * LOAD_VEC(fade + v * VEC);
    for (int c = 0; c < KT; c++) {
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

/* Copy `n` rows of K or V into the tile, the rest zero. */
static inline void load_tile(__global const elem *from, ulong stride, int n, float *tile)
{
    for (int c = 0; c < n; c++)
        for (int x = 0; x < D; x += 8)
            vstore8(LOAD8(from, (ulong)c * stride + x), 0, tile + c * D + x);
    for (int c = n; c < KT; c++)
        for (int x = 0; x < D; x += 8)
            vstore8((float8)(0.0f), 0, tile + c * D + x);
}

/* Softmax step of one panel: scores to weights; m, l and fade per query. */
static inline void soften(float *s, float *m, float *l, float *fade)
{
#pragma unroll
    for (int v = 0; v < NV; v++) {
        const vec old = LOAD_VEC(m + v * VEC);
        vec high = old, sum = (vec)(0.0f), f;

        for (int c = 0; c < KT; c++)
            high = fmax(high, LOAD_VEC(s + c * NR + v * VEC));
        for (int c = 0; c < KT; c++) {
            const vec e = exp2_neg(LOAD_VEC(s + c * NR + v * VEC) - high);

            sum += e;
            STORE_VEC(e, s + c * NR + v * VEC);
        }
        f = exp2_neg(old - high);
        STORE_VEC(f, fade + v * VEC);
        STORE_VEC(fma(LOAD_VEC(l + v * VEC), f, sum), l + v * VEC);
        STORE_VEC(high, m + v * VEC);
    }
}

/* Scores of keys that a query may not see; `keys` of the tile are valid and
 * lane 0 sees those below `limit`, each further lane one more. */
static inline void hide(float *s, int keys, int limit)
{
    for (int c = 0; c < KT; c++)
#pragma unroll
        for (int v = 0; v < NV; v++) {
            const ivec last = CAUSAL ? min(LANES + (limit + v * VEC), (ivec)(keys)) : (ivec)(keys);
            const vec x = LOAD_VEC(s + c * NR + v * VEC);

            STORE_VEC((ivec)(c) < last ? x : (vec)(SMALL), s + c * NR + v * VEC);
        }
}

__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void
attend_cpu(__global const elem *q, ulong4 q_at, __global const elem *k, ulong4 k_at, __global const elem *v,
           ulong4 v_at, __global const int *counts, ulong counts_at, __global const int *blocks, ulong blocks_at,
           int width, int list_heads, __global elem *out, ulong4 out_at, __global float *lse, ulong lse_at,
           __global const int *seqs, ulong seqs_from, int sequences, int sq, int sk, int rows, int block_q,
           int block_k, int q_heads, int group, float scale)
{
    const int tiles = (block_q + BM - 1) / BM;
    const int last = (int)get_num_groups(0) - 1 - (int)get_group_id(0); /* longest rows first */
    const int i = last / tiles, part = last % tiles, h = get_group_id(1), s = get_group_id(2);
    const seq_t at = seq_at(seqs + seqs_from, s < sequences ? s : 0, sq, sk);
    const int t0 = i * block_q + part * BM;
    const int n_q = min(min((part + 1) * BM, block_q) - part * BM, at.sq - t0);

    if (s < sequences && n_q > 0) {
        float qt[PANELS * D * NR] __attribute__((aligned(64))), ot[PANELS * D * NR] __attribute__((aligned(64)));
        float st[PANELS * KT * NR] __attribute__((aligned(64))), tile[KT * D] __attribute__((aligned(64)));
        float m[BM] __attribute__((aligned(64))), l[BM] __attribute__((aligned(64)));
        float fade[BM] __attribute__((aligned(64)));
        const int nk = (at.sk + block_k - 1) / block_k;
        const int see = visible_blocks(CAUSAL, i, block_q, block_k, at.sq, at.sk);
        const int first_limit = t0 + at.sk - at.sq + 1; /* keys that the first row sees */
        const int list_row = (at.batch * list_heads + h * list_heads / max(q_heads, 1)) * rows + at.row0 + i;
        const int n = LISTED ? min(counts[counts_at + list_row], width) : see;
        const ulong from_q = token_at(q_at, at.batch, at.q0 + t0, h);
        const int hk = h / group;

        for (int p = 0; p < PANELS; p++)
            for (int x = 0; x < D; x++)
                for (int r = 0; r < NR; r++) {
                    const int row = p * NR + r;

                    qt[(p * D + x) * NR + r] =
                        row < n_q ? LOAD1(q, from_q + (ulong)row * q_at.z + x) * (scale * LOG2E) : 0.0f;
                    ot[(p * D + x) * NR + r] = 0.0f;
                }
        for (int r = 0; r < BM; r++) {
            m[r] = SMALL;
            l[r] = 0.0f;
        }

        for (int e = 0; e < n; e++) {
            const int block = LISTED ? blocks[blocks_at + (ulong)list_row * width + e] : e;
            const int end = block < 0 || block >= nk ? 0 : min(block_k, at.sk - block * block_k);

            for (int c0 = 0; c0 < end; c0 += KT) {
                const int key = block * block_k + c0, n_k = min(end - c0, KT);
                const int limit = first_limit - key;

                if (CAUSAL && limit + n_q - 1 <= 0)
                    break; /* no row sees these keys */
                load_tile(k + token_at(k_at, at.batch, at.k0 + key, hk), k_at.z, n_k, tile);
                for (int c = 0; c < KT; c += MR)
                    for (int p = 0; p < PANELS; p++)
                        dot_tile(tile + c * D, qt + p * D * NR, st + (p * KT + c) * NR);
                load_tile(v + token_at(v_at, at.batch, at.k0 + key, hk), v_at.z, n_k, tile);
                for (int p = 0; p < PANELS; p++) {
                    if (n_k < KT || (CAUSAL && limit + p * NR < KT))
                        hide(st + p * KT * NR, n_k, limit + p * NR);
                    soften(st + p * KT * NR, m + p * NR, l + p * NR, fade + p * NR);
                }
                for (int x = 0; x < D; x += MR)
                    for (int p = 0; p < PANELS; p++)
                        add_tile(tile + x, st + p * KT * NR, fade + p * NR, ot + (p * D + x) * NR);
            }
        }

        for (int r = 0; r < n_q; r++) {
            const ulong to = token_at(out_at, at.batch, at.q0 + t0 + r, h);
            const int p = r / NR;
            const bool any = m[r] > 0.5f * SMALL;
            const float share = any ? 1.0f / l[r] : 0.0f;

            for (int x = 0; x < D; x += 4) {
                const float *o = ot + (p * D + x) * NR + r % NR;
                const float4 y = (float4)(o[0], o[NR], o[2 * NR], o[3 * NR]) * share;

                STORE4(y, out, to + x);
            }
            if (LSE)
                lse[lse_at + ((ulong)at.batch * q_heads + h) * sq + at.q0 + t0 + r] =
                    any ? (m[r] + log2(l[r])) * LN2 : NEG_INF;
        }
    }
}
