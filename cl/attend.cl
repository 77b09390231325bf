/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attend: block-sparse flash attention for any device.
 *
 * Idea      a work-group owns BM query rows; tiles of BN keys go through local
 *           memory, first K, then V in the same place; 8 work-items share a
 *           row, each owning every 8th key and every 8th chunk of 4 channels
 * Grid      (query blocks * tiles of BM rows, query heads, sequences) groups of WG
 * Local     4 * (BM * (D + 4) + BN * (D + 4) + BM * (BN + 1)) bytes
 * Assumes   D % 8 == 0, BM % (WG / 8) == 0, BN % 8 == 0
 * Edges     every group runs the same number of barriers; keys that a query may
 *           not see score SMALL; a row without a key writes 0 and LSE -inf
 * Numerics  scores in log2 units: scale * log2(e) = fold * scale, a signed power
 *           of two that Q takes exactly, and 1 <= scale < 2 for the softmax
 */
#ifndef D
#define D 64
#endif
#ifndef WG
#define WG 128 /* work-items in a group */
#endif
#ifndef BM
#define BM 32 /* query rows a group */
#endif
#ifndef BN
#define BN 16 /* keys a tile */
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

#define TX      8                        /* work-items a row                           */
#define TY      (WG / TX)                /* rows at a time                             */
#define RM      (BM / TY)                /* rows a work-item                           */
#define CN      (BN / TX)                /* keys a work-item                           */
#define CHUNKS  (D / 4)                  /* of 4 channels                              */
#define EM      ((CHUNKS + TX - 1) / TX) /* chunks a work-item                    */
#define DS      (D + 4)                  /* a local row: the 4 keep 8 rows in 8 banks  */
#define PS      (BN + 1)
#define SMALL   -0x1p100f /* times a scale it is exact: no residue reaches exp2 */
#define LN2     0.6931471805599453f

/* Four numbers of a local tile, whose rows begin at multiples of 16 bytes. */
#define FOUR(p) (*(__local float4 *)(p))

/* Copy `n` rows of D into `rows` local ones, the rest zero, times `scale`. */
static inline void load_rows(__global const elem *from, ulong stride, int n, int rows, float scale, __local float *to)
{
    const int whole = (((ulong)from | stride * sizeof(elem)) & (4 * sizeof(elem) - 1)) == 0;

    for (int x = get_local_id(0); x < rows * CHUNKS; x += WG) {
        const int r = x / CHUNKS, c = x % CHUNKS * 4;
        __global const elem *at = from + (ulong)(r < n ? r : 0) * stride + c;
        float4 y = (float4)(0.0f);

        if (r < n)
            y = (whole ? WHOLE4(at) : LOAD4(at, 0)) * scale;
        FOUR(to + r * DS + c) = y;
    }
}

/* This work-item's products of BM rows of queries and BN of keys. */
static inline void dot_tile(__local const float *qs, __local const float *ks, float sc[RM][CN])
{
    const int tx = get_local_id(0) % TX, ty = get_local_id(0) / TX;

#pragma unroll
    for (int r = 0; r < RM; r++)
#pragma unroll
        for (int c = 0; c < CN; c++)
            sc[r][c] = 0.0f;
#pragma unroll 2 /* all of D would keep hundreds of registers in memory on AMD */
    for (int x = 0; x < D; x += 4) {
        float4 y[CN];

#pragma unroll
        for (int c = 0; c < CN; c++)
            y[c] = FOUR(ks + (tx + c * TX) * DS + x);
#pragma unroll
        for (int r = 0; r < RM; r++) {
            const float4 z = FOUR(qs + (ty + r * TY) * DS + x);

#pragma unroll
            for (int c = 0; c < CN; c++)
                sc[r][c] += dot(z, y[c]);
        }
    }
}

__attribute__((reqd_work_group_size(WG, 1, 1))) __kernel void
attend(__global const elem *q, ulong4 q_at, __global const elem *k, ulong4 k_at, __global const elem *v, ulong4 v_at,
       __global const int *counts, ulong counts_at, __global const int *blocks, ulong blocks_at, int width,
       int list_heads, __global elem *out, ulong4 out_at, __global float *lse, ulong lse_at, __global const int *seqs,
       ulong seqs_from, int sequences, int sq, int sk, int rows, int block_q, int block_k, int q_heads, int group,
       float fold, float scale)
{
    __local float qs[BM * DS] __attribute__((aligned(16))), kv[BN * DS] __attribute__((aligned(16)));
    __local float ps[BM * PS];
    const int tx = get_local_id(0) % TX, ty = get_local_id(0) / TX;
    const int tiles = (block_q + BM - 1) / BM;
    const int last = GROUP_BACKWARDS(0); /* longest rows first */
    const int i = last / max(tiles, 1), part = last - i * max(tiles, 1), h = GROUP(1), s = GROUP(2);
    const bool live = s < sequences;
    const seq_t at = seq_at(seqs + seqs_from, live ? s : 0, sq, sk);
    const int t0 = i * block_q + part * BM;
    const int n_q = live ? max(min(min((part + 1) * BM, block_q) - part * BM, at.sq - t0), 0) : 0;
    const int nk = live ? (at.sk + block_k - 1) / block_k : 0;
    const int list_row = (at.batch * list_heads + h * list_heads / max(q_heads, 1)) * rows + at.row0 + i;
    const int see = n_q > 0 ? visible_blocks(CAUSAL, i, block_q, block_k, at.sq, at.sk) : 0;
    const int n = n_q > 0 && LISTED ? min(counts[counts_at + list_row], width) : see;
    const int limit = t0 + at.sk - at.sq + 1; /* keys that the first row sees */
    const int hk = h / max(group, 1);
    const int steps = (block_k + BN - 1) / BN; /* tiles a block */
    float4 o[RM][EM];
    float m[RM], l[RM];

#pragma unroll
    for (int r = 0; r < RM; r++) {
        m[r] = SMALL;
        l[r] = 0.0f;
#pragma unroll
        for (int e = 0; e < EM; e++)
            o[r][e] = (float4)(0.0f);
    }
    load_rows(q + token_at(q_at, at.batch, at.q0 + t0, h), q_at.z, n_q, BM, fold, qs);
    barrier(CLK_LOCAL_MEM_FENCE);

    for (int step = 0; step < n * steps; step++) {
        const int entry = step / steps, block = LISTED ? blocks[blocks_at + (ulong)list_row * width + entry] : entry;
        const int c0 = (step - entry * steps) * BN;
        const int known = block >= 0 && block < nk;
        const int key = known ? block * block_k + c0 : 0;
        const int n_k = known ? max(min(min(block_k - c0, BN), at.sk - key), 0) : 0;
        const ulong from = token_at(k_at, at.batch, at.k0 + key, hk),
                    from_v = token_at(v_at, at.batch, at.k0 + key, hk);
        float sc[RM][CN], fade[RM];

        load_rows(k + from, k_at.z, n_k, BN, 1.0f, kv);
        barrier(CLK_LOCAL_MEM_FENCE);
        dot_tile(qs, kv, sc);
#pragma unroll
        for (int r = 0; r < RM; r++)
#pragma unroll
            for (int c = 0; c < CN; c++) {
                const int kc = tx + c * TX;
                const int most = CAUSAL ? min(n_k, limit + ty + r * TY - key) : n_k;

                sc[r][c] = kc < most ? sc[r][c] : SMALL;
                ps[(ty + r * TY) * PS + kc] = sc[r][c];
            }
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
        for (int r = 0; r < RM; r++) {
            float high = SMALL;

            for (int c = 0; c < BN; c++)
                high = fmax(high, ps[(ty + r * TY) * PS + c]);
            high = fmax(m[r], high * scale);
            fade[r] = exp2(m[r] - high);
            m[r] = high;
        }
        load_rows(v + from_v, v_at.z, n_k, BN, 1.0f, kv);
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
        for (int r = 0; r < RM; r++) {
#pragma unroll
            for (int c = 0; c < CN; c++)
                ps[(ty + r * TY) * PS + tx + c * TX] = exp2(fma(sc[r][c], scale, -m[r]));
            l[r] *= fade[r];
#pragma unroll
            for (int e = 0; e < EM; e++)
                o[r][e] *= fade[r];
        }
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll 2
        for (int c = 0; c < BN; c++) {
            float4 y[EM];

#pragma unroll
            for (int e = 0; e < EM; e++)
                y[e] = FOUR(kv + c * DS + min(tx + e * TX, CHUNKS - 1) * 4);
#pragma unroll
            for (int r = 0; r < RM; r++) {
                const float weight = ps[(ty + r * TY) * PS + c];

                l[r] += weight;
#pragma unroll
                for (int e = 0; e < EM; e++)
                    o[r][e] = fma((float4)(weight), y[e], o[r][e]);
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

#pragma unroll
    for (int r = 0; r < RM; r++) {
        const int row = ty + r * TY;
        const bool any = m[r] > 0.5f * SMALL;
        const float share = any ? 1.0f / l[r] : 0.0f;
        const ulong to = token_at(out_at, at.batch, at.q0 + t0 + row, h);

        if (row < n_q) {
#pragma unroll
            for (int e = 0; e < EM; e++)
                if (tx + e * TX < CHUNKS)
                    STORE4(o[r][e] * share, out, to + (tx + e * TX) * 4);
            if (LSE && tx == 0)
                lse[lse_at + ((ulong)at.batch * q_heads + h) * sq + at.q0 + t0 + row] =
                    any ? (m[r] + log2(l[r])) * LN2 : NEG_INF;
        }
    }
}
