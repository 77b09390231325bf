/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seqs: where each packed sequence lies, from cu_seqlens.
 *
 * Grid      one work-item; the sums run along the sequences
 * Edges     lengths are clamped to the shapes of the call, so that no kernel
 *           reads or writes outside them whatever cu_seqlens holds
 */
__kernel void seqs(__global const int *cu_q, ulong cu_q_at, __global const int *cu_k, ulong cu_k_at,
                   __global int *table, ulong table_at, int n, int sq, int sk, int longest_q, int longest_k, int rows,
                   int cols, int block_q, int block_k)
{
    int row = 0, col = 0;

    table += table_at;

    for (int s = 0; s < n; s++) {
        const int q0 = clamp(cu_q[cu_q_at + s], 0, sq), q1 = clamp(cu_q[cu_q_at + s + 1], q0, sq);
        const int k0 = clamp(cu_k[cu_k_at + s], 0, sk), k1 = clamp(cu_k[cu_k_at + s + 1], k0, sk);
        const int q_len = min(min(q1 - q0, longest_q), (rows - row) * block_q);
        const int k_len = min(min(k1 - k0, longest_k), (cols - col) * block_k);

        table[s * SEQ_INTS] = q0;
        table[s * SEQ_INTS + 1] = q_len;
        table[s * SEQ_INTS + 2] = k0;
        table[s * SEQ_INTS + 3] = k_len;
        table[s * SEQ_INTS + 4] = row;
        table[s * SEQ_INTS + 5] = col;
        row += (q_len + block_q - 1) / block_q;
        col += (k_len + block_k - 1) / block_k;
    }
}
