/*
 * pool: max, min and average of each block of tokens.
 *
 * Idea      a work-item owns VEC channels of one block and walks its tokens
 * Grid      (heads * D / VEC, blocks, sequences) items, groups of WG: a token's
 *           heads are read together, as they mostly lie
 * Assumes   D % VEC == 0
 * Edges     the last block pools its valid tokens only
 */
#ifndef D
#define D 64
#endif
#ifndef VEC
#define VEC 4 /* channels a work-item */
#endif

#define CAT_(a, b) a##b
#define CAT(a, b)  CAT_(a, b)
#define vec        CAT(float, VEC)
#define LOAD_VEC   CAT(LOAD, VEC)
#define STORE_VEC  CAT(vstore, VEC)
#define AHEAD      8 /* tokens loaded at once */

#if VEC == 8
#define LOAD(p, i, whole) ((whole) ? WHOLE8((p) + (i)) : LOAD_VEC(p, i))
#else
#define LOAD(p, i, whole) LOAD_VEC(p, i)
#endif

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

/* `side`: 0 queries, 1 keys.  `tokens` and `rows` are those of the shapes. */
__kernel void pool(__global const elem *x, ulong4 x_at, __global float *pooled, ulong pooled_at,
                   __global const int *seqs, ulong seqs_from, int sequences, int tokens, int rows, int heads,
                   int side, int block, int pools, int n_pools)
{
    const int h = get_global_id(0) / (D / VEC), c = get_global_id(0) % (D / VEC) * VEC;
    const int i = get_global_id(1), s = get_global_id(2);

    if (s < sequences && h < heads) {
        const seq_t at = seq_at(seqs + seqs_from, s, tokens, tokens);
        const int length = side ? at.sk : at.sq, row = (side ? at.col0 : at.row0) + i;
        const int first = i * block, n = min(block, length - first);

        if (n > 0 && row < rows) {
            __global const elem *from = x + token_at(x_at, at.batch, (side ? at.k0 : at.q0) + first, h) + c;
            __global float *to =
                pooled + pooled_at + (((ulong)at.batch * rows + row) * heads + h) * (n_pools * D) + c;
            vec high, low, sum;

            if (VEC == 8 && (((ulong)from | x_at.z * sizeof(elem)) & (8 * sizeof(elem) - 1)) == 0)
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
}
