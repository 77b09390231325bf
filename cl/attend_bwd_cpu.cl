/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attend_bwd_cpu: gradients of block-sparse attention in one pass, after
 * attend_cpu.cl, whose micro-tiles it takes, and bwd.cl.
 *
 * Idea      The transposed products of attend_cpu.  A work-item has BM keys and values
 *           transposed in private memory, a key in each vector lane, and walks the
 *           queries that keep them, whose rows are read as they lie, one scalar
 *           against NR lanes.  Then dS meets the rows of the keys, a channel in each
 *           lane, and is added to the sums of dq, which lie in the workspace.
 *           So that no two work-items add to the same sum, blocks of queries and of
 *           keys are dealt to `rounds` shares.  In round n, a launch of its own, share
 *           c of the keys meets share (c + n) % rounds of the queries.  With one
 *           round, a head is one work-item and dk and dv stay private; with more,
 *           their sums, too, lie in the workspace between rounds
 * Grid      (1 + rounds, key-value heads, sequences) groups of 1.  Group 0 has nothing
 *           to do: PoCL hands 1 + n / threads of n groups to the thread that comes first
 * Local     none; private (5 * BM + 2 * KT) * D + 2 * BM * KT floats
 * Assumes   as attend_cpu
 * Edges     short blocks are filled with zeros; pairs that attend does not take
 *           weigh 0; a row without lse (-inf) weighs 0
 * Numerics  P = exp2(x * fold - lse in log2 units), fold = scale * log2(e); sums in f32,
 *           whose order depends on the lists and on `rounds` alone
 */
#define LOG2E   1.4426950408889634f
#define NEVER   0x1p100f                 /* an lse that no score reaches */
#define WIDTH   ((D + NR - 1) / NR * NR) /* of a row of channels in whole micro-tiles */

#define ALIGNED __attribute__((aligned(64)))

static inline void fill(float *to, int n, float with)
{
    for (int x = 0; x < n; x += VEC)
        STORE_VEC((vec)(with), to + x);
}

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

/* BM keys of a work-item's. */
typedef struct {
    float kt[PANELS * D * NR] ALIGNED, vt[PANELS * D * NR] ALIGNED;   /* panels of NR keys, a key in each lane */
    float dkt[PANELS * D * NR] ALIGNED, dvt[PANELS * D * NR] ALIGNED; /* the same */
    float rows[BM * WIDTH] ALIGNED; /* scale * k in panels of NR channels, a channel in each lane */
    int n;                          /* that there are */
} keys_t;

static inline void load_keys(__global const elem *k, ulong k_step, __global const elem *v, ulong v_step, float scale,
                             keys_t *own)
{
    for (int p = 0; p < PANELS; p++) {
        load_queries(k + (ulong)(p * NR) * k_step, k_step, own->n - p * NR, 1.0f, own->kt + p * D * NR);
        load_queries(v + (ulong)(p * NR) * v_step, v_step, own->n - p * NR, 1.0f, own->vt + p * D * NR);
    }
    for (int r = 0; r < own->n; r++)
        for (int x = 0; x < WIDTH; x += 8)
            vstore8(x < D ? LOAD8(k, (ulong)r * k_step + x) * scale : (float8)(0.0f), 0,
                    own->rows + (x / NR * BM + r) * NR + x % NR);
    fill(own->dkt, PANELS * D * NR, 0.0f);
    fill(own->dvt, PANELS * D * NR, 0.0f);
}

/* `to` [MR][NR], rows of WIDTH of which `n` are there: to + sum over c < keys of ds[r][c] * k[c][NR].
 * ds lies in panels of KT rows and NR keys. */
static inline void add_rows(const float *ds, const float *k, int keys, int n, __global float *to)
{
    vec sum[MR][NV];

#pragma unroll
    for (int r = 0; r < MR; r++)
#pragma unroll
        for (int v = 0; v < NV; v++)
            sum[r][v] = r < n ? LOAD_VEC(to + r * WIDTH + v * VEC) : (vec)(0.0f);
    for (; keys > 0; keys -= NR, ds += KT * NR, k += NR * NR)
        for (int c = 0; c < min(keys, NR); c++) {
#pragma unroll
            for (int r = 0; r < MR; r++)
#pragma unroll
                for (int v = 0; v < NV; v++)
                    sum[r][v] = fma((vec)(ds[r * NR + c]), LOAD_VEC(k + c * NR + v * VEC), sum[r][v]);
        }
#pragma unroll
    for (int r = 0; r < MR; r++)
        if (r < n)
#pragma unroll
            for (int v = 0; v < NV; v++)
                STORE_VEC(sum[r][v], to + r * WIDTH + v * VEC);
}

/* At most KT queries that keep the keys. */
typedef struct {
    __global const elem *q, *dout;
    ulong q_step, dout_step; /* from token to token */
    __global const float *lse, *delta;
    __global float *dq; /* sums, rows of WIDTH */
    int n, limit;       /* queries; keys that the first one sees */
} queries_t;

/* Add what the queries give to the keys' sums and the keys to the queries'. */
static inline void meet(const queries_t a, float fold, const float *ones, keys_t *own)
{
    float tq[KT * D] ALIGNED, to[KT * D] ALIGNED, st[PANELS * KT * NR] ALIGNED, dt[PANELS * KT * NR] ALIGNED;
    float low[KT], mean[KT];
    const int all = whole_tiles(a.n);
    int from[PANELS]; /* the first query that sees a key of the panel, in whole micro-tiles */

    load_tile(a.q, a.q_step, a.n, tq);
    load_tile(a.dout, a.dout_step, a.n, to);
    load_numbers(a.lse, a.delta, a.n, all, low, mean);
    for (int p = 0; p < PANELS; p++) {
        const int sees = CAUSAL ? clamp(p * NR - a.limit + 1, 0, all) : 0;

        from[p] = p * NR < own->n ? sees & -MR : all;
        dot_rows(tq, to, own->kt + p * D * NR, own->vt + p * D * NR, from[p], all, st + p * KT * NR,
                 dt + p * KT * NR);
        weigh_keys(st + p * KT * NR, dt + p * KT * NR, from[p], all, a.limit - p * NR, fold, low, mean);
    }
    for (int x = 0; x < D; x += MR)
        for (int p = 0; p < PANELS; p++) {
            const int c = from[p];

            add_tile(tq + c * D + x, dt + (p * KT + c) * NR, all - c, ones, own->dkt + (p * D + x) * NR);
            add_tile(to + c * D + x, st + (p * KT + c) * NR, all - c, ones, own->dvt + (p * D + x) * NR);
        }
    for (int c = 0, p = 0; c < all; c += MR) {
        while (p < PANELS && from[p] <= c)
            p++; /* panels that these queries see */
        for (int x = 0; x < WIDTH; x += NR)
            add_rows(dt + c * NR, own->rows + x * BM, min(p * NR, own->n), a.n - c, a.dq + (ulong)c * WIDTH + x);
    }
}

/* Add n rows of one panel, each times `share`, to `sums`, which begin with the `first`; the `last` go on to `to`. */
static inline void put_rows(const float *from, float share, int n, __global float *sums, int first, int last,
                            __global elem *to, ulong stride)
{
    for (int r = 0; r < min(n, NR); r += 4)
        for (int x = 0; x < D; x += 4) {
            float4 a[4];

            take4(from, r, x, a);
#pragma unroll
            for (int e = 0; e < 4; e++)
                if (r + e < n) {
                    __global float *at = sums + (ulong)(r + e) * D + x;
                    const float4 y = a[e] * share + (first ? (float4)(0.0f) : vload4(0, at));

                    if (last)
                        STORE4(y, to, (ulong)(r + e) * stride + x);
                    else
                        vstore4(y, 0, at);
                }
        }
}

static inline void put_keys(const keys_t *own, float scale, int first, int last, __global float *dk_sums,
                            __global float *dv_sums, __global elem *dk, ulong dk_step, __global elem *dv,
                            ulong dv_step)
{
    for (int p = 0, r = 0; p < PANELS; p++, r += NR) {
        put_rows(own->dkt + r * D, scale, own->n - r, dk_sums + r * D, first, last, dk + r * dk_step, dk_step);
        put_rows(own->dvt + r * D, 1.0f, own->n - r, dv_sums + r * D, first, last, dv + r * dv_step, dv_step);
    }
}

/* Sums of dq of n queries begin. */
static inline void clear(__global float *sums, int n)
{
    for (int x = 0; x < n * WIDTH; x += VEC)
        STORE_VEC((vec)(0.0f), sums + x);
}

/* They are complete. */
static inline void put_queries(__global const float *sums, int n, __global elem *to, ulong stride)
{
    for (int r = 0; r < n; r++)
        for (int x = 0; x < D; x += 4)
            STORE4(vload4(0, sums + r * WIDTH + x), to, (ulong)r * stride + x);
}

__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void
bwd_cpu(__global const elem *q, ulong4 q_at, __global const elem *k, ulong4 k_at, __global const elem *v, ulong4 v_at,
        __global const elem *dout, ulong4 dout_at, __global const float *lse, ulong lse_at,
        __global const float *delta, ulong delta_at, __global const int *map, ulong map_at, int list_heads, int cols,
        __global elem *dk, ulong4 dk_at, __global elem *dv, ulong4 dv_at, __global const int *seqs, ulong seqs_from,
        int sequences, int sq, int sk, int rows, int block_q, int block_k, int q_heads, int group, float fold,
        float scale, __global elem *dq, ulong4 dq_at, __global float *sums, ulong dq_sums, ulong dk_sums,
        ulong dv_sums, int round, int rounds)
{
    const int share = GROUP(0) - 1, hk = GROUP(1), s = GROUP(2), words = (rows + 31) / 32;
    const seq_t at = seq_at(seqs + seqs_from, s < sequences ? s : 0, sq, sk);

    if (share >= 0 && s < sequences) {
        const int met = (share + round) % rounds, first = round == 0, last = round == rounds - 1;
        const int nq = (at.sq + block_q - 1) / block_q, ahead = at.sk - at.sq; /* the first query sees key `ahead` */
        keys_t own;
        float ones[NR] ALIGNED;

        fill(ones, NR, 1.0f);
        for (int h = hk * group; first && h < (hk + 1) * group; h++)
            for (int t = met * block_q; t < at.sq; t += rounds * block_q)
                clear(sums + dq_sums + (((ulong)at.batch * q_heads + h) * sq + at.q0 + t) * WIDTH,
                      min(block_q, at.sq - t));
        for (int j = share; j * block_k < at.sk; j += rounds)
            for (int key = j * block_k; key < min((j + 1) * block_k, at.sk); key += BM) {
                const int k_token = at.k0 + key, seen = CAUSAL ? max(key - ahead, 0) : 0; /* query that sees a key */
                const ulong k_row = ((ulong)at.batch * (q_heads / group) + hk) * sk + k_token;

                own.n = min(min((j + 1) * block_k, at.sk) - key, BM);
                load_keys(k + token_at(k_at, at.batch, k_token, hk), k_at.z,
                          v + token_at(v_at, at.batch, k_token, hk), v_at.z, scale, &own);
                for (int h = hk * group; h < (hk + 1) * group; h++) {
                    const ulong list = (ulong)at.batch * list_heads + h * list_heads / q_heads;
                    __global const int *bits = map + map_at + (list * cols + j) * words;

                    for (int i = seen / block_q; i < nq; i++) {
                        i = LISTED ? next_row(bits, at.row0, i, nq) : i;
                        if (i % rounds != met)
                            continue;
                        for (int t = max(i * block_q, seen); t < min((i + 1) * block_q, at.sq); t += KT) {
                            const ulong row = ((ulong)at.batch * q_heads + h) * sq + at.q0 + t;
                            const queries_t a = {q + token_at(q_at, at.batch, at.q0 + t, h),
                                                 dout + token_at(dout_at, at.batch, at.q0 + t, h),
                                                 q_at.z,
                                                 dout_at.z,
                                                 lse + lse_at + row,
                                                 delta + delta_at + row,
                                                 sums + dq_sums + row * WIDTH,
                                                 min(min((i + 1) * block_q, at.sq) - t, KT),
                                                 t + ahead + 1 - key};

                            meet(a, fold, ones, &own);
                        }
                    }
                }
                put_keys(&own, scale, first, last, sums + dk_sums + k_row * D, sums + dv_sums + k_row * D,
                         dk + token_at(dk_at, at.batch, k_token, hk), dk_at.z,
                         dv + token_at(dv_at, at.batch, k_token, hk), dv_at.z);
            }
        for (int h = hk * group; last && h < (hk + 1) * group; h++)
            for (int t = met * block_q; t < at.sq; t += rounds * block_q)
                put_queries(sums + dq_sums + (((ulong)at.batch * q_heads + h) * sq + at.q0 + t) * WIDTH,
                            min(block_q, at.sq - t), dq + token_at(dq_at, at.batch, at.q0 + t, h), dq_at.z);
    }
}
