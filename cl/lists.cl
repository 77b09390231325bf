/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lists: from a byte mask or CSR to counts and blocks, and checking lists.
 *
 * Grid      one work-item a row
 * Edges     entries outside 0 .. nk - 1 are left out; `bad` keeps the lowest
 *           row that holds one, is out of order or has a wrong count
 */
__kernel void lists_mask(__global const uchar *mask, ulong mask_at, __global int *counts, ulong counts_at,
                         __global int *blocks, ulong blocks_at, int rows, int cols)
{
    const int row = get_global_id(0);

    if (row < rows) {
        __global const uchar *m = mask + mask_at + (ulong)row * cols;
        __global int *list = blocks + blocks_at + (ulong)row * cols;
        int n = 0;

        for (int j = 0; j < cols; j++)
            if (m[j])
                list[n++] = j;
        counts[counts_at + row] = n;
    }
}

__kernel void lists_csr(__global const int *indptr, ulong indptr_at, __global const int *indices, ulong indices_at,
                        __global int *counts, ulong counts_at, __global int *blocks, ulong blocks_at, int rows,
                        int cols, int entries, __global int *bad, ulong bad_at)
{
    const int row = get_global_id(0);

    if (row < rows) {
        const int begin = indptr[indptr_at + row], end = indptr[indptr_at + row + 1];
        const int from = clamp(begin, 0, entries), to = clamp(end, from, entries);
        __global int *list = blocks + blocks_at + (ulong)row * cols;
        int n = 0;

        for (int e = from; e < to && n < cols; e++) {
            const int block = indices[indices_at + e];

            if (block >= 0 && block < cols)
                list[n++] = block;
        }
        counts[counts_at + row] = n;
        if (from != begin || to != end || n != end - begin)
            atomic_min(bad + bad_at, row);
    }
}

__kernel void lists_check(__global const int *counts, ulong counts_at, __global const int *blocks, ulong blocks_at,
                          int rows, int cols, int width, __global int *bad, ulong bad_at)
{
    const int row = get_global_id(0);

    if (row < rows) {
        const int n = counts[counts_at + row];
        __global const int *list = blocks + blocks_at + (ulong)row * width;
        int last = -1, wrong = n < 0 || n > width;

        for (int e = 0; e < min(n, width); e++) {
            wrong |= list[e] <= last || list[e] >= cols;
            last = list[e];
        }
        if (wrong)
            atomic_min(bad + bad_at, row);
    }
}

__kernel void lists_clear(__global int *bad, ulong bad_at)
{
    bad[bad_at] = 0x7fffffff;
}
