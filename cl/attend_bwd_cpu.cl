/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attend_bwd_cpu: gradients of block-sparse attention, one work-item per BM rows,
 * after attend_cpu.cl, whose micro-tiles it takes, and bwd.cl.
 *
 * Idea      The transposed products of attend_cpu in two kernels.  bwd_kv_cpu has
 *           BM keys and values transposed in private memory, a key in each vector
 *           lane, and walks the queries that keep them; bwd_q_cpu has BM queries
 *           and their dout, and walks their lists.  The rows of the others are
 *           read as they lie, one scalar against NR lanes
 * Grid      bwd_kv_cpu (key blocks * tiles of BM rows, key-value heads, sequences),
 *           bwd_q_cpu (query blocks * tiles of BM rows, query heads, sequences) groups of 1
 * Local     none; private (4 * BM + 2 * KT) * D + 2 * BM * KT floats
 * Assumes   as attend_cpu
 * Edges     short blocks are filled with zeros; pairs that attend does not take
 *           weigh 0; a row without lse (-inf) weighs 0
 * Numerics  P = exp2(x * fold - lse in log2 units), fold = scale * log2(e); sums in f32
 */
#define LOG2E   1.4426950408889634f
#define NEVER   0x1p100f /* an lse that no score reaches */

#define ALIGNED __attribute__((aligned(64)))

/* lse in log2 units and delta of `n` queries; up to `most` of none. */
static inline void load_numbers(__global const float *lse, __global const float *delta, int n, int most, float *low,
                                float *mean)
{
    for (int r = 0; r < most; r++) {
        const float x = r < n ? lse[r] : SMALL;

        low[r] = x > 0.5f * SMALL ? x * LOG2E : NEVER;
        mean[r] = r < n ? delta[r] : 0.0f;
    }
}

/* Both products of rows `from` .. `to` - 1 of two tiles with one panel of each. */
static inline void dot_rows(const float *a, const float *b, const float *panel_a, const float *panel_b, int from,
                            int to, float *s, float *d)
{
    for (int c = from; c < to; c += MR) {
        dot_tile(a + c * D, panel_a, s + c * NR);
        dot_tile(b + c * D, panel_b, d + c * NR);
    }
}

/* Rows are queries, lanes are keys: scores to weights in s, dS in d.  Row c sees the lanes below limit + c. */
static inline void weigh_keys(float *s, float *d, int from, int to, int limit, float fold, const float *low,
                              const float *mean)
{
    for (int c = from; c < to; c++)
#pragma unroll
        for (int v = 0; v < NV; v++) {
            float *at = s + c * NR + v * VEC, *to_d = d + c * NR + v * VEC;
            vec w = exp2_neg(fma(LOAD_VEC(at), (vec)(fold), (vec)(-low[c])));

            if (CAUSAL)
                w = LANES + v * VEC < (ivec)(limit + c) ? w : (vec)(0.0f);
            STORE_VEC(w, at);
            STORE_VEC(w * (LOAD_VEC(to_d) - (vec)(mean[c])), to_d);
        }
}

/* Rows are keys, lanes are queries: dS in d.  Lane 0 sees the rows below `limit`, each further lane one more. */
static inline void weigh_queries(const float *s, float *d, int keys, int seen, int limit, float fold,
                                 const float *low, const float *mean)
{
#pragma unroll
    for (int v = 0; v < NV; v++) {
        const vec lo = LOAD_VEC(low + v * VEC), me = LOAD_VEC(mean + v * VEC);
        const ivec last = CAUSAL ? min(LANES + (limit + v * VEC), (ivec)(keys)) : (ivec)(keys);

        for (int c = 0; c < seen; c++) {
            const vec w = exp2_neg(fma(LOAD_VEC(s + c * NR + v * VEC), (vec)(fold), -lo));

            STORE_VEC((ivec)(c) < last ? w * (LOAD_VEC(d + c * NR + v * VEC) - me) : (vec)(0.0f),
                      d + c * NR + v * VEC);
        }
    }
}

static inline void clear(float *to, int n)
{
    for (int x = 0; x < n; x += VEC)
        STORE_VEC((vec)(0.0f), to + x);
}

static inline void fill(float *to, int n, float with)
{
    for (int x = 0; x < n; x++)
        to[x] = with;
}

__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void
bwd_kv_cpu(__global const elem *q, ulong4 q_at, __global const elem *k, ulong4 k_at, __global const elem *v,
           ulong4 v_at, __global const elem *dout, ulong4 dout_at, __global const float *lse, ulong lse_at,
           __global const float *delta, ulong delta_at, __global const int *map, ulong map_at, int list_heads,
           int cols, __global elem *dk, ulong4 dk_at, __global elem *dv, ulong4 dv_at, __global const int *seqs,
           ulong seqs_from, int sequences, int sq, int sk, int rows, int block_q, int block_k, int q_heads, int group,
           float fold, float scale)
{
    const int tiles = (block_k + BM - 1) / BM, words = (rows + 31) / 32;
    const int j = GROUP(0) / tiles, part = GROUP(0) - j * tiles;
    const int hk = GROUP(1), s = GROUP(2);
    const seq_t at = seq_at(seqs + seqs_from, s < sequences ? s : 0, sq, sk);
    const int key = j * block_k + part * BM, ahead = at.sk - at.sq; /* the first query sees key `ahead` */
    const int n_k = min(min(block_k - part * BM, BM), at.sk - key);

    if (s < sequences && n_k > 0) {
        float kt[PANELS * D * NR] ALIGNED, vt[PANELS * D * NR] ALIGNED;
        float dkt[PANELS * D * NR] ALIGNED, dvt[PANELS * D * NR] ALIGNED;
        float tq[KT * D] ALIGNED, to[KT * D] ALIGNED, st[PANELS * KT * NR] ALIGNED, dt[PANELS * KT * NR] ALIGNED;
        float low[KT], mean[KT], ones[NR] ALIGNED, shares[NR] ALIGNED;
        const int first = CAUSAL ? max(key - ahead, 0) : 0; /* query that sees a key */
        const int nq = (at.sq + block_q - 1) / block_q;
        __global const elem *from_k = k + token_at(k_at, at.batch, at.k0 + key, hk);
        __global const elem *from_v = v + token_at(v_at, at.batch, at.k0 + key, hk);
        __global elem *to_k = dk + token_at(dk_at, at.batch, at.k0 + key, hk);
        __global elem *to_v = dv + token_at(dv_at, at.batch, at.k0 + key, hk);

        for (int p = 0; p < PANELS; p++) {
            load_queries(from_k + (ulong)(p * NR) * k_at.z, k_at.z, n_k - p * NR, 1.0f, kt + p * D * NR);
            load_queries(from_v + (ulong)(p * NR) * v_at.z, v_at.z, n_k - p * NR, 1.0f, vt + p * D * NR);
        }
        clear(dkt, PANELS * D * NR);
        clear(dvt, PANELS * D * NR);
        fill(ones, NR, 1.0f);
        fill(shares, NR, scale);

        for (int h = hk * group; h < (hk + 1) * group; h++) {
            const ulong head = (ulong)at.batch * list_heads + h * list_heads / q_heads;
            __global const int *bits = map + map_at + (head * cols + j) * words;
            const ulong number = ((ulong)at.batch * q_heads + h) * sq + at.q0;
            int i = LISTED ? next_row(bits, at.row0, first / block_q, nq) : first / block_q;

            for (; i < nq; i = LISTED ? next_row(bits, at.row0, i + 1, nq) : i + 1) {
                const int end = min((i + 1) * block_q, at.sq);

                for (int t = max(i * block_q, first); t < end; t += KT) {
                    const int n_q = min(KT, end - t), all = whole_tiles(n_q);
                    int from[PANELS]; /* the first query that sees a key of the panel, in whole micro-tiles */

                    load_tile(q + token_at(q_at, at.batch, at.q0 + t, h), q_at.z, n_q, tq);
                    load_tile(dout + token_at(dout_at, at.batch, at.q0 + t, h), dout_at.z, n_q, to);
                    load_numbers(lse + lse_at + number + t, delta + delta_at + number + t, n_q, all, low, mean);
                    for (int p = 0; p < PANELS; p++) {
                        const int sees = CAUSAL ? clamp(key + p * NR - ahead - t, 0, all) : 0;

                        from[p] = p * NR < n_k ? sees & -MR : all;
                        dot_rows(tq, to, kt + p * D * NR, vt + p * D * NR, from[p], all, st + p * KT * NR,
                                 dt + p * KT * NR);
                        weigh_keys(st + p * KT * NR, dt + p * KT * NR, from[p], all, t + ahead + 1 - key - p * NR,
                                   fold, low, mean);
                    }
                    for (int x = 0; x < D; x += MR)
                        for (int p = 0; p < PANELS; p++) {
                            const int c = from[p];

                            add_tile(tq + c * D + x, dt + (p * KT + c) * NR, all - c, ones, dkt + (p * D + x) * NR);
                            add_tile(to + c * D + x, st + (p * KT + c) * NR, all - c, ones, dvt + (p * D + x) * NR);
                        }
                }
            }
        }

        for (int p = 0; p < PANELS; p++) {
            store_rows(dkt + p * D * NR, shares, n_k - p * NR, to_k + (ulong)(p * NR) * dk_at.z, dk_at.z);
            store_rows(dvt + p * D * NR, ones, n_k - p * NR, to_v + (ulong)(p * NR) * dv_at.z, dv_at.z);
        }
    }
}

__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void
bwd_q_cpu(__global const elem *q, ulong4 q_at, __global const elem *k, ulong4 k_at, __global const elem *v,
          ulong4 v_at, __global const elem *dout, ulong4 dout_at, __global const float *lse, ulong lse_at,
          __global const float *delta, ulong delta_at, __global const int *counts, ulong counts_at,
          __global const int *blocks, ulong blocks_at, int width, int list_heads, __global elem *dq, ulong4 dq_at,
          __global const int *seqs, ulong seqs_from, int sequences, int sq, int sk, int rows, int block_q,
          int block_k, int q_heads, int group, float fold, float scale)
{
    const int tiles = (block_q + BM - 1) / BM;
    const int last = GROUP_BACKWARDS(0); /* longest rows first */
    const int i = last / tiles, part = last - i * tiles, h = GROUP(1), s = GROUP(2);
    const seq_t at = seq_at(seqs + seqs_from, s < sequences ? s : 0, sq, sk);
    const int t = i * block_q + part * BM, n_q = min(min(block_q - part * BM, BM), at.sq - t);

    if (s < sequences && n_q > 0) {
        float qt[PANELS * D * NR] ALIGNED, ot[PANELS * D * NR] ALIGNED, dqt[PANELS * D * NR] ALIGNED;
        float tk[KT * D] ALIGNED, tv[KT * D] ALIGNED, st[PANELS * KT * NR] ALIGNED, dt[PANELS * KT * NR] ALIGNED;
        float low[BM] ALIGNED, mean[BM] ALIGNED, ones[NR] ALIGNED, shares[NR] ALIGNED;
        const int nk = (at.sk + block_k - 1) / block_k, hk = h / group, first_limit = t + at.sk - at.sq + 1;
        const int list_row = (at.batch * list_heads + h * list_heads / q_heads) * rows + at.row0 + i;
        __global const int *list = blocks + blocks_at + (ulong)list_row * width;
        const int see = visible_blocks(CAUSAL, i, block_q, block_k, at.sq, at.sk);
        const int n = LISTED ? min(counts[counts_at + list_row], width) : see;
        const ulong number = ((ulong)at.batch * q_heads + h) * sq + at.q0 + t;
        __global const elem *from_q = q + token_at(q_at, at.batch, at.q0 + t, h);
        __global const elem *from_o = dout + token_at(dout_at, at.batch, at.q0 + t, h);
        __global const elem *from_k = k + token_at(k_at, at.batch, at.k0, hk);
        __global const elem *from_v = v + token_at(v_at, at.batch, at.k0, hk);
        __global elem *to = dq + token_at(dq_at, at.batch, at.q0 + t, h);

        for (int p = 0; p < PANELS; p++) {
            load_queries(from_q + (ulong)(p * NR) * q_at.z, q_at.z, n_q - p * NR, 1.0f, qt + p * D * NR);
            load_queries(from_o + (ulong)(p * NR) * dout_at.z, dout_at.z, n_q - p * NR, 1.0f, ot + p * D * NR);
        }
        clear(dqt, PANELS * D * NR);
        fill(ones, NR, 1.0f);
        fill(shares, NR, scale);
        load_numbers(lse + lse_at + number, delta + delta_at + number, n_q, BM, low, mean);

        for (int e = 0; e < n; e++) {
            const int block = LISTED ? list[e] : e;
            const int end = block < 0 || block >= nk ? 0 : min(block_k, at.sk - block * block_k);

            for (int c0 = 0; c0 < end; c0 += KT) {
                const int key = block * block_k + c0, n_k = min(end - c0, KT), limit = first_limit - key;
                int seen[PANELS]; /* keys that any query of the panel sees, in whole micro-tiles */

                if (CAUSAL && limit + n_q - 1 <= 0)
                    break; /* no row sees these keys */
                load_tile(from_k + (ulong)key * k_at.z, k_at.z, n_k, tk);
                load_tile(from_v + (ulong)key * v_at.z, v_at.z, n_k, tv);
                for (int p = 0; p < PANELS; p++) {
                    const int most = whole_tiles(CAUSAL ? min(n_k, limit + (p + 1) * NR - 1) : n_k);

                    seen[p] = p * NR < n_q ? most : 0;
                    dot_rows(tk, tv, qt + p * D * NR, ot + p * D * NR, 0, seen[p], st + p * KT * NR,
                             dt + p * KT * NR);
                    weigh_queries(st + p * KT * NR, dt + p * KT * NR, n_k, seen[p], limit + p * NR, fold,
                                  low + p * NR, mean + p * NR);
                }
                for (int x = 0; x < D; x += MR)
                    for (int p = 0; p < PANELS; p++)
                        add_tile(tk + x, dt + p * KT * NR, seen[p], ones, dqt + (p * D + x) * NR);
            }
        }
        for (int p = 0; p < PANELS; p++)
            store_rows(dqt + p * D * NR, shares, n_q - p * NR, to + (ulong)(p * NR) * dq_at.z, dq_at.z);
    }
}
