/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool_plain: an example of a strategy: max, min and average of each block, one channel a work-item.
 *
 * Grid      (heads * D, blocks, sequences) groups of WG, one side a launch
 * Edges     the last block pools its valid tokens only
 */
#ifndef D
#define D 64
#endif

/* `keys`: 0 the queries' side of the sequences, 1 that of the keys. */
__attribute__((reqd_work_group_size(WG, 1, 1))) __kernel void
pool_plain(__global const elem *x, ulong4 x_at, __global float *pooled, ulong pooled_at, __global const int *seqs,
           ulong seqs_from, int sequences, int keys, int sq, int sk, int blocks, int heads, int block, int pools,
           int n)
{
    const int h = get_global_id(0) / D, c = get_global_id(0) % D, i = get_group_id(1), s = get_group_id(2);

    if (h < heads && s < sequences) {
        const seq_t at = seq_at(seqs + seqs_from, s, sq, sk);
        const int length = keys ? at.sk : at.sq, from = keys ? at.k0 : at.q0, row = keys ? at.col0 : at.row0;

        if (i < (length + block - 1) / block) {
            const int end = min((i + 1) * block, length);
            __global float *to = pooled + pooled_at + (((ulong)at.batch * blocks + row + i) * heads + h) * n * D + c;
            float high = NEG_INF, low = -NEG_INF, sum = 0.0f;

            for (int t = i * block; t < end; t++) {
                const float y = LOAD1(x, token_at(x_at, at.batch, from + t, h) + c);

                high = fmax(high, y);
                low = fmin(low, y);
                sum += y;
            }
            if (pools & 1) {
                *to = high;
                to += D;
            }
            if (pools & 2) {
                *to = low;
                to += D;
            }
            if (pools & 4)
                *to = sum / (float)(end - i * block);
        }
    }
}
