/*
 * merge: the rows of several heads as one row of probabilities, where they
 * share a list: each head's softmax, the maximum over the heads.
 *
 * Idea      a work-item a row, as rows are short; the sum that the maximum is
 *           divided by is left to select, which works on shares of the row
 * Grid      (rows, list heads, batch) items, groups of 1
 * Edges     `scores` has `pitch` rows a head; a block that no head sees stays -inf; NaN weighs 0
 */
__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void merge(__global const float *scores, ulong scores_at,
                                                                   __global float *merged, ulong merged_at,
                                                                   int batches, int rows, int cols, int heads,
                                                                   int share, int pitch)
{
    const int i = get_global_id(0), h = get_global_id(1), b = get_global_id(2);

    if (b < batches && i < rows) {
        const ulong to = merged_at + (((ulong)b * heads + h) * rows + i) * cols;

        for (int j = 0; j < cols; j++)
            merged[to + j] = NEG_INF;
        for (int e = 0; e < share; e++) {
            __global const float *x =
                scores + scores_at + (((ulong)b * heads * share + h * share + e) * pitch + i) * cols;
            uint most = 0;
            ulong total = 0;
            float high, each;

            for (int j = 0; j < cols; j++)
                most = x[j] != NEG_INF ? max(most, key_of(x[j])) : most;
            high = score_of(most);
            for (int j = 0; j < cols; j++)
                total += x[j] != NEG_INF ? mass_of(x[j], high, 0) : 0u;
            each = total ? 2147483648.0f / (float)total : 0.0f;
            for (int j = 0; j < cols; j++)
                if (x[j] != NEG_INF)
                    merged[to + j] = fmax(merged[to + j], share_of(x[j], high, 0) * each);
        }
    }
}
