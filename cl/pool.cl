/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool: max, min and average of each block of tokens.
 *
 * Idea      a work-item owns VEC channels of one block and walks its tokens
 * Grid      (heads * D / VEC, blocks, sequences * sides) items, groups of WG: a
 *           token's heads are read together, as they mostly lie
 * Assumes   D % VEC == 0
 * Edges     the last block pools its valid tokens only
 */
#ifndef D
#define D 64
#endif
#ifndef VEC
#define VEC 4 /* channels a work-item */
#endif
#ifndef WG
#define WG 64 /* work-items side by side in a group */
#endif

#define CAT_(a, b)        a##b
#define CAT(a, b)         CAT_(a, b)
#define vec               CAT(float, VEC)
#define LOAD_VEC          CAT(LOAD, VEC)
#define STORE_VEC         CAT(vstore, VEC)
#define AHEAD             8 /* tokens loaded at once */

#define LOAD(p, i, whole) ((whole) ? CAT(WHOLE, VEC)((p) + (i)) : LOAD_VEC(p, i))

/* Maximum, minimum and sum of n >= 1 tokens; `whole`: addresses are those of whole vectors. */
static inline void reduce(__global const elem *from, ulong stride, int n, int whole, vec *high, vec *low, vec *sum)
{
    int t = 0;

    *high = *low = LOAD(from, 0, whole);
    *sum = (vec)(0.0f);
    for (; t + AHEAD <= n; t += AHEAD) {
        vec y[AHEAD];

#pragma unroll
        for (int e = 0; e < AHEAD; e++)
            y[e] = LOAD(from, (ulong)(t + e) * stride, whole);
#pragma unroll
        for (int e = 0; e < AHEAD; e++) {
            *high = fmax(*high, y[e]);
            *low = fmin(*low, y[e]);
            *sum += y[e];
        }
    }
    for (; t < n; t++) {
        const vec y = LOAD(from, (ulong)t * stride, whole);

        *high = fmax(*high, y);
        *low = fmin(*low, y);
        *sum += y;
    }
}

enum { POOL_MAX = 1, POOL_MIN = 2, POOL_AVG = 4 };

/* Sides `first_side` .. are pooled: 0 queries, 1 keys. */
__attribute__((reqd_work_group_size(WG, 1, 1))) __kernel void
pool(__global const elem *q, ulong4 q_at, __global float *q_pooled, ulong q_pooled_at, __global const elem *k,
     ulong4 k_at, __global float *k_pooled, ulong k_pooled_at, __global const int *seqs, ulong seqs_from,
     int sequences, int first_side, int sq, int sk, int rows, int blocks_k, int q_heads, int kv_heads, int block_q,
     int block_k, int q_pools, int k_pools, int q_n, int k_n)
{
    const int s = (int)get_group_id(2) % max(sequences, 1);
    const int keys = first_side + (int)get_group_id(2) / max(sequences, 1);
    const int heads = keys ? kv_heads : q_heads, block = keys ? block_k : block_q;
    const int h = (int)get_global_id(0) / (D / VEC), c = (int)get_global_id(0) % (D / VEC) * VEC;
    const int i = get_group_id(1);
    const seq_t at = seq_at(seqs + seqs_from, s, sq, sk);
    const int length = keys ? at.sk : at.sq, there = h < heads && i < (length + block - 1) / block;
    const int first = there ? i * block : 0, n = there ? min(block, length - first) : 0;

    if (s < sequences && n > 0) {
        const ulong4 x_at = keys ? k_at : q_at;
        const int pools = keys ? k_pools : q_pools, row = (keys ? at.col0 : at.row0) + i;
        const ulong place = ((ulong)at.batch * (keys ? blocks_k : rows) + row) * heads + h;
        __global const elem *from = (keys ? k : q) + token_at(x_at, at.batch, (keys ? at.k0 : at.q0) + first, h) + c;
        __global float *to =
            (keys ? k_pooled + k_pooled_at : q_pooled + q_pooled_at) + place * ((keys ? k_n : q_n) * D) + c;
        vec high, low, sum;

        if ((((ulong)from | x_at.z * sizeof(elem)) & (VEC * sizeof(elem) - 1)) == 0)
            reduce(from, x_at.z, n, 1, &high, &low, &sum);
        else
            reduce(from, x_at.z, n, 0, &high, &low, &sum);
        if (pools & POOL_MAX) {
            STORE_VEC(high, 0, to);
            to += D;
        }
        if (pools & POOL_MIN) {
            STORE_VEC(low, 0, to);
            to += D;
        }
        if (pools & POOL_AVG)
            STORE_VEC(sum / (float)n, 0, to);
    }
}
