/* SPDX-License-Identifier: Apache-2.0 */
/*
 * select_cpu: a row of scores to a list of blocks, one work-item a row.
 *
 * Idea      the k-th highest key by radix, 8 bits a pass, counting keys or
 *           adding masses; then one walk in block order writes the list
 * Grid      (rows of one sequence, list heads, sequences) groups of 1
 * Local     none; 3 KB private
 * Edges     see docs/pipeline.md#select
 */

/* The highest `want` keys, or, where `bound` is not 0, the fewest highest whose
 * masses reach it: the lowest key among them, and how many with that key. */
typedef struct {
    uint key;
    int ties, count;
} top_t;

static top_t find_top(__global const float *s, int n, int want, ulong bound, float most, int merged, forced_t f,
                      int lift)
{
    uint prefix = 0, mask = 0;
    int taken = 0;
    ulong mass = 0;
    top_t top;

    for (int shift = 24; shift >= 0; shift -= 8) {
        int count[256];
        ulong sum[256];
        int digit = 255;

        for (int d = 0; d < 256; d++) {
            count[d] = 0;
            sum[d] = 0;
        }
        for (int j = 0; j < n; j++) {
            const float x = s[j];
            const uint key = lifted(key_of(x), j, f, lift);

            if (x != NEG_INF && (key & mask) == prefix) {
                count[key >> shift & 255]++;
                if (bound)
                    sum[key >> shift & 255] += mass_of(x, most, merged);
            }
        }
        while (digit > 0 && (bound ? mass + sum[digit] < bound : taken + count[digit] < want)) {
            mass += sum[digit];
            taken += count[digit];
            digit--;
        }
        prefix |= (uint)digit << shift;
        mask |= 255u << shift;
        if (shift == 0) {
            const uint each = bound ? mass_of(score_of(prefix), most, merged) : 1u;
            const ulong rest = bound ? bound - mass : (ulong)(want - taken);

            top.ties = (int)min((ulong)count[digit], each ? (rest + each - 1) / each : 1ul);
            top.key = prefix;
            top.count = taken + top.ties;
        }
    }
    return top;
}

__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void
select_cpu(__global const float *scores, ulong scores_at, __global const int *limits, int limit_stride,
           int limit_last, __global int *counts, ulong counts_at, __global int *blocks, ulong blocks_at,
           __global const int *seqs, ulong seqs_from, int sequences, int sq, int sk, int rows, int cols, int blocks_k,
           int heads, int width, int block_q, int block_k, int sink, int local_n, int last_rows, int min_k, int max_k,
           int merged, int first, int count, int pitch)
{
    const int h = get_group_id(1), s = get_group_id(2);
    const seq_t at = seq_at(seqs + seqs_from, s < sequences ? s : 0, sq, sk);
    const int i = max(first - at.row0, 0) + (int)get_group_id(0);
    const int nq = PACKED ? (at.sq + block_q - 1) / block_q : rows;
    const int nk = PACKED ? (at.sk + block_k - 1) / block_k : blocks_k;

    if (s < sequences && i < nq && at.row0 + i < first + count) {
        const ulong row = ((ulong)at.batch * heads + h) * rows + at.row0 + i;
        __global const float *x =
            scores + scores_at + (((ulong)at.batch * heads + h) * pitch + (at.row0 + i - first)) * cols;
        __global int *list = blocks + blocks_at + row * width;
        int n = cols, k, kept = 0, ties, chosen_free = 0, n_forced = 0;
        uint most = 0;
        ulong total = 0;
        forced_t f;
        top_t top;

        while (n > 0 && x[n - 1] == NEG_INF)
            n--;
        f.visible = 0;
        f.sink_end = min(sink, n);
        f.local_at = max(n - local_n, 0);
        for (int j = 0; j < n; j++)
            if (x[j] != NEG_INF) {
                f.visible++;
                n_forced += is_forced(f, j);
                most = max(most, key_of(x[j]));
            }
        top.count = 0;
        top.key = 0xffffffffu;
        top.ties = 0;
        if (f.visible > 0) {
            const int limit = limits[h * limit_stride + min(nk, limit_last)];
            const float high = score_of(most);
            ulong bound = 0;

            k = limit;
            if (BY_MASS) {
                for (int j = 0; j < n; j++)
                    if (x[j] != NEG_INF)
                        total += mass_of(x[j], high, merged);
                bound = mul_hi(total << 8, (ulong)(uint)limit << 24);
                if (RULE == 3) {
                    k = 0;
                    for (int j = 0; j < n; j++)
                        k += x[j] != NEG_INF && mass_of(x[j], high, merged) > bound;
                } else {
                    k = total ? find_top(x, n, 0, max(bound, 1ul), high, merged, f, 0).count : 1;
                }
            }
            k = i >= nq - last_rows ? f.visible : clamp(min(max(k, min_k), max_k), 1, f.visible);
            top = find_top(x, n, k, 0, high, merged, f, 0);
            if (n_forced > 0 || k > width) {
                int left = top.ties;

                for (int j = 0; j < n; j++)
                    if (x[j] != NEG_INF) {
                        const uint key = key_of(x[j]);
                        const int in = key > top.key || (key == top.key && left-- > 0);

                        chosen_free += in && !is_forced(f, j);
                    }
                top = find_top(x, n, min(n_forced + chosen_free, width), 0, high, merged, f, 1);
            }
            ties = top.ties;
            for (int j = 0; j < n && kept < width; j++)
                if (x[j] != NEG_INF) {
                    const uint key = lifted(key_of(x[j]), j, f, n_forced > 0 || k > width);

                    if (key > top.key || (key == top.key && ties-- > 0))
                        list[kept++] = j;
                }
        }
        counts[counts_at + row] = kept;
        for (int e = kept; e < width; e++)
            list[e] = -1;
    }
}
