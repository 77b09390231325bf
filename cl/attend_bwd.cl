/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attend_bwd: gradients of block-sparse attention for any device, after attend.cl,
 * whose tiles it takes, and bwd.cl.
 *
 * Idea      two kernels with one skeleton: a work-group owns BM rows of two
 *           tensors and walks tiles of BN rows of two others; both products of
 *           a tile give P and dS, which weigh the tile's rows.  bwd_kv owns keys
 *           and values and walks the queries that keep them, head by head of
 *           the group; bwd_q owns queries and walks their lists.  Nothing is
 *           added up across groups, so the sums have one order
 * Grid      bwd_kv (key blocks * tiles of BM rows, key-value heads, sequences),
 *           bwd_q (query blocks * tiles of BM rows, query heads, sequences) groups of WG
 * Local     8 * (BM * (D + 4) + BN * (D + 4) + BM * (BN + 1)) bytes
 * Assumes   as attend
 * Edges     every group runs the same number of barriers; pairs that attend does
 *           not take weigh 0; a row without lse (-inf) weighs 0
 * Numerics  P = exp2(x * fold - lse in log2 units), fold = scale * log2(e); sums in f32
 */
#define LOG2E 1.4426950408889634f
#define NEVER 0x1p100f /* an lse that no score reaches */

/* Scores of own rows against the tile's in both pairs of tensors. */
static inline void dot_pairs(__local const float *a, __local const float *b, float s[RM][CN], float ds[RM][CN])
{
    const int tx = get_local_id(0) % TX, ty = get_local_id(0) / TX;

#pragma unroll
    for (int r = 0; r < RM; r++)
#pragma unroll
        for (int c = 0; c < CN; c++)
            s[r][c] = ds[r][c] = 0.0f;
#pragma unroll 2 /* as in attend.cl */
    for (int x = 0; x < D; x += 4) {
        float4 y[CN], z[CN];

#pragma unroll
        for (int c = 0; c < CN; c++) {
            y[c] = FOUR(b + (tx + c * TX) * DS + x);
            z[c] = FOUR(b + (BN + tx + c * TX) * DS + x);
        }
#pragma unroll
        for (int r = 0; r < RM; r++) {
            const float4 u = FOUR(a + (ty + r * TY) * DS + x), w = FOUR(a + (BM + ty + r * TY) * DS + x);

#pragma unroll
            for (int c = 0; c < CN; c++) {
                s[r][c] += dot(u, y[c]);
                ds[r][c] += dot(w, z[c]);
            }
        }
    }
}

/* sum += weights * rows of the tile */
static inline void add_rows(__local const float *weights, __local const float *tile, float4 sum[RM][EM])
{
    const int tx = get_local_id(0) % TX, ty = get_local_id(0) / TX;

#pragma unroll 2
    for (int c = 0; c < BN; c++) {
        float4 y[EM];

#pragma unroll
        for (int e = 0; e < EM; e++)
            y[e] = FOUR(tile + c * DS + min(tx + e * TX, CHUNKS - 1) * 4);
#pragma unroll
        for (int r = 0; r < RM; r++)
#pragma unroll
            for (int e = 0; e < EM; e++)
                sum[r][e] = fma((float4)(weights[(ty + r * TY) * PS + c]), y[e], sum[r][e]);
    }
}

static inline void write_rows(float4 sum[RM][EM], float scale, int n, __global elem *to, ulong stride)
{
    const int tx = get_local_id(0) % TX, ty = get_local_id(0) / TX;

#pragma unroll
    for (int r = 0; r < RM; r++)
#pragma unroll
        for (int e = 0; e < EM; e++)
            if (ty + r * TY < n && tx + e * TX < CHUNKS)
                STORE4(sum[r][e] * scale, to, (ulong)(ty + r * TY) * stride + (tx + e * TX) * 4);
}

static inline float lse_log2(float lse)
{
    return lse > 0.5f * SMALL ? lse * LOG2E : NEVER;
}

__attribute__((reqd_work_group_size(WG, 1, 1))) __kernel void
bwd_kv(__global const elem *q, ulong4 q_at, __global const elem *k, ulong4 k_at, __global const elem *v, ulong4 v_at,
       __global const elem *dout, ulong4 dout_at, __global const float *lse, ulong lse_at,
       __global const float *delta, ulong delta_at, __global const int *map, ulong map_at, int list_heads, int cols,
       __global elem *dk, ulong4 dk_at, __global elem *dv, ulong4 dv_at, __global const int *seqs, ulong seqs_from,
       int sequences, int sq, int sk, int rows, int block_q, int block_k, int q_heads, int group, float fold,
       float scale)
{
    __local float own[2 * BM * DS] __attribute__((aligned(16))), tile[2 * BN * DS] __attribute__((aligned(16)));
    __local float ps[BM * PS], ds[BM * PS];
    const int tx = get_local_id(0) % TX, ty = get_local_id(0) / TX;
    const int tiles = (block_k + BM - 1) / BM, words = (rows + 31) / 32;
    const int j = GROUP(0) / tiles, part = GROUP(0) - j * tiles;
    const int hk = GROUP(1), s = GROUP(2);
    const bool live = s < sequences;
    const seq_t at = seq_at(seqs + seqs_from, live ? s : 0, sq, sk);
    const int key = j * block_k + part * BM, ahead = at.sk - at.sq; /* the first query sees key `ahead` */
    const int n_k = live ? max(min(min(block_k - part * BM, BM), at.sk - key), 0) : 0;
    const int first = CAUSAL ? max(key - ahead, 0) : 0; /* query that sees a key */
    const int nq = n_k > 0 ? (at.sq + block_q - 1) / block_q : 0;
    float4 sum_k[RM][EM], sum_v[RM][EM];

#pragma unroll
    for (int r = 0; r < RM; r++)
#pragma unroll
        for (int e = 0; e < EM; e++)
            sum_k[r][e] = sum_v[r][e] = (float4)(0.0f);
    load_rows(k + token_at(k_at, at.batch, at.k0 + key, hk), k_at.z, n_k, BM, 1.0f, own);
    load_rows(v + token_at(v_at, at.batch, at.k0 + key, hk), v_at.z, n_k, BM, 1.0f, own + BM * DS);
    barrier(CLK_LOCAL_MEM_FENCE);

    for (int h = hk * group; h < (hk + 1) * group; h++) {
        const ulong head = (ulong)at.batch * list_heads + h * list_heads / max(q_heads, 1);
        __global const int *bits = map + map_at + (head * cols + j) * words;
        const ulong number = ((ulong)at.batch * q_heads + h) * sq + at.q0;
        int i = first / block_q;

        i = LISTED ? next_row(bits, at.row0, i, nq) : i;
        for (; i < nq; i = LISTED ? next_row(bits, at.row0, i + 1, nq) : i + 1) {
            const int end = min((i + 1) * block_q, at.sq);

            for (int t = max(i * block_q, first); t < end; t += BN) {
                const int n_q = min(BN, end - t);
                float p[RM][CN], d[RM][CN];

                load_rows(q + token_at(q_at, at.batch, at.q0 + t, h), q_at.z, n_q, BN, 1.0f, tile);
                load_rows(dout + token_at(dout_at, at.batch, at.q0 + t, h), dout_at.z, n_q, BN, 1.0f, tile + BN * DS);
                barrier(CLK_LOCAL_MEM_FENCE);
                dot_pairs(own, tile, p, d);
#pragma unroll
                for (int c = 0; c < CN; c++) {
                    const int col = tx + c * TX;
                    const float low = col < n_q ? lse_log2(lse[lse_at + number + t + col]) : NEVER;
                    const float mean = col < n_q ? delta[delta_at + number + t + col] : 0.0f;

#pragma unroll
                    for (int r = 0; r < RM; r++) {
                        const int row = ty + r * TY;
                        const bool sees = row < n_k && (!CAUSAL || key + row <= t + col + ahead);
                        const float weight = sees ? exp2(fma(p[r][c], fold, -low)) : 0.0f;

                        ps[row * PS + col] = weight;
                        ds[row * PS + col] = weight * (d[r][c] - mean);
                    }
                }
                barrier(CLK_LOCAL_MEM_FENCE);
                add_rows(ps, tile + BN * DS, sum_v);
                add_rows(ds, tile, sum_k);
                barrier(CLK_LOCAL_MEM_FENCE);
            }
        }
    }
    write_rows(sum_k, scale, n_k, dk + token_at(dk_at, at.batch, at.k0 + key, hk), dk_at.z);
    write_rows(sum_v, 1.0f, n_k, dv + token_at(dv_at, at.batch, at.k0 + key, hk), dv_at.z);
}

__attribute__((reqd_work_group_size(WG, 1, 1))) __kernel void
bwd_q(__global const elem *q, ulong4 q_at, __global const elem *k, ulong4 k_at, __global const elem *v, ulong4 v_at,
      __global const elem *dout, ulong4 dout_at, __global const float *lse, ulong lse_at, __global const float *delta,
      ulong delta_at, __global const int *counts, ulong counts_at, __global const int *blocks, ulong blocks_at,
      int width, int list_heads, __global elem *dq, ulong4 dq_at, __global const int *seqs, ulong seqs_from,
      int sequences, int sq, int sk, int rows, int block_q, int block_k, int q_heads, int group, float fold,
      float scale)
{
    __local float own[2 * BM * DS] __attribute__((aligned(16))), tile[2 * BN * DS] __attribute__((aligned(16)));
    __local float ds[BM * PS];
    const int tx = get_local_id(0) % TX, ty = get_local_id(0) / TX;
    const int tiles = (block_q + BM - 1) / BM;
    const int last = GROUP_BACKWARDS(0); /* longest rows first */
    const int i = last / tiles, part = last - i * tiles, h = GROUP(1), s = GROUP(2);
    const bool live = s < sequences;
    const seq_t at = seq_at(seqs + seqs_from, live ? s : 0, sq, sk);
    const int t = i * block_q + part * BM, ahead = at.sk - at.sq, hk = h / group;
    const int n_q = live ? max(min(min(block_q - part * BM, BM), at.sq - t), 0) : 0;
    const int nk = live ? (at.sk + block_k - 1) / block_k : 0;
    const int list_row = (at.batch * list_heads + h * list_heads / max(q_heads, 1)) * rows + at.row0 + i;
    const int see = n_q > 0 ? visible_blocks(CAUSAL, i, block_q, block_k, at.sq, at.sk) : 0;
    const int n = n_q > 0 && LISTED ? min(counts[counts_at + list_row], width) : see;
    const int steps = (block_k + BN - 1) / BN; /* tiles a block */
    const ulong number = ((ulong)at.batch * q_heads + h) * sq + at.q0 + t;
    float4 sum[RM][EM];

#pragma unroll
    for (int r = 0; r < RM; r++)
#pragma unroll
        for (int e = 0; e < EM; e++)
            sum[r][e] = (float4)(0.0f);
    load_rows(q + token_at(q_at, at.batch, at.q0 + t, h), q_at.z, n_q, BM, 1.0f, own);
    load_rows(dout + token_at(dout_at, at.batch, at.q0 + t, h), dout_at.z, n_q, BM, 1.0f, own + BM * DS);
    barrier(CLK_LOCAL_MEM_FENCE);

    for (int step = 0; step < n * steps; step++) {
        const int entry = step / steps, block = LISTED ? blocks[blocks_at + (ulong)list_row * width + entry] : entry;
        const int c0 = (step - entry * steps) * BN;
        const bool known = block >= 0 && block < nk;
        const int key = known ? block * block_k + c0 : 0;
        const int n_k = known ? max(min(min(block_k - c0, BN), at.sk - key), 0) : 0;
        float p[RM][CN], d[RM][CN];

        load_rows(k + token_at(k_at, at.batch, at.k0 + key, hk), k_at.z, n_k, BN, 1.0f, tile);
        load_rows(v + token_at(v_at, at.batch, at.k0 + key, hk), v_at.z, n_k, BN, 1.0f, tile + BN * DS);
        barrier(CLK_LOCAL_MEM_FENCE);
        dot_pairs(own, tile, p, d);
#pragma unroll
        for (int r = 0; r < RM; r++) {
            /* Read again each time: kept across the barriers they are lost on Intel's CPU runtime. */
            const int row = ty + r * TY;
            const float low = row < n_q ? lse_log2(lse[lse_at + number + row]) : NEVER;
            const float mean = row < n_q ? delta[delta_at + number + row] : 0.0f;

#pragma unroll
            for (int c = 0; c < CN; c++) {
                const int col = tx + c * TX;
                const bool sees = col < n_k && (!CAUSAL || key + col <= t + row + ahead);

                ds[row * PS + col] = sees ? exp2(fma(p[r][c], fold, -low)) * (d[r][c] - mean) : 0.0f;
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        add_rows(ds, tile, sum);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    write_rows(sum, scale, n_q, dq + token_at(dq_at, at.batch, at.q0 + t, h), dq_at.z);
}
