/* SPDX-License-Identifier: Apache-2.0 */
/*
 * select: a row of scores to a list of blocks, one work-group a row.
 *
 * Idea      the k-th highest key by radix, 8 bits a pass from the highest bit in
 *           which keys of the row differ, counting keys or adding masses in
 *           local memory, where the row's first CACHE keys are too; then each
 *           work-item writes its stretch of the row, in block order
 * Grid      (rows of one sequence, list heads, sequences) groups of WG
 * Local     4 KB + 4 * CACHE + 4 * WG bytes
 * Edges     see docs/pipeline.md#select
 */
#ifndef WG
#define WG 64 /* work-items in a group */
#endif
#define CACHE     2048
#define INVISIBLE 0x007fffffu /* the key of -inf */
#define BARRIER   barrier(CLK_LOCAL_MEM_FENCE)

/* Sums of a row.  A mass has 31 bits and a row 2^15 of them: halves of 16 bits
 * keep every sum in 32 bits, where all devices have atomics. */
typedef struct {
    uint count[256], low[256], high[256];
    uint part_count[16], part_low[16], part_high[16];
    uint prefix, taken, mass_low, mass_high; /* mass: high * 65536 + low */
    int range, visible, forced, over, chosen_free, ties;
    uint most, least, total_low, total_high;
    uint before[WG]; /* keys of earlier stretches: above the lowest chosen, equal to it << 16 */
    uint key[CACHE];
} board_t;

/* The key of block j, from local memory where it is there. */
static inline uint key_at(__global const float *s, int j, __local const board_t *b)
{
    return j < CACHE ? b->key[j] : key_of(s[j]);
}

static inline ulong mass_sum(uint low, uint high)
{
    return ((ulong)high << 16) + low;
}

/* One work-item: the digit at which the count or mass is reached. */
static void pick_digit(__local board_t *b, int want, ulong bound, int shift)
{
    ulong mass = mass_sum(b->mass_low, b->mass_high);
    uint taken = b->taken;
    int part = 15, digit;

    while (part > 0 && (bound ? mass + mass_sum(b->part_low[part], b->part_high[part]) < bound
                              : taken + b->part_count[part] < (uint)want)) {
        mass += mass_sum(b->part_low[part], b->part_high[part]);
        taken += b->part_count[part--];
    }
    digit = part * 16 + 15;
    while (digit > 0 &&
           (bound ? mass + mass_sum(b->low[digit], b->high[digit]) < bound : taken + b->count[digit] < (uint)want)) {
        mass += mass_sum(b->low[digit], b->high[digit]);
        taken += b->count[digit--];
    }
    b->prefix |= (uint)digit << shift;
    b->taken = taken;
    b->mass_low = (uint)(mass & 0xffffu);
    b->mass_high = (uint)(mass >> 16);
}

/* The highest `want` keys, or, where `bound` is not 0, the fewest highest whose
 * masses reach it: prefix becomes the lowest key among them, taken how many
 * are above it, ties how many with that key. */
static void find_top(__global const float *s, int n, int want, ulong bound, float most, int merged, forced_t f,
                     int lift, __local board_t *b)
{
    const int l = get_local_id(0);
    const uint high = lift ? 0xffffffffu : b->most;
    int shift = max(24 - (int)clz((high ^ b->least) | 1u), 0), done = 0;
    uint mask = 0;

    if (l == 0) {
        b->prefix = high & ~(uint)((1ul << (shift + 8)) - 1ul);
        b->taken = b->mass_low = b->mass_high = 0;
    }
    while (!done) {
        for (int d = l; d < 256; d += WG)
            b->count[d] = b->low[d] = b->high[d] = 0;
        BARRIER;
        for (int j = l; j < n; j += WG) {
            const uint own = key_at(s, j, b), key = lifted(own, j, f, lift);

            if (own != INVISIBLE && (key & mask) == (b->prefix & mask)) {
                atomic_inc(&b->count[key >> shift & 255]);
                if (bound) {
                    const uint mass = mass_of(score_of(own), most, merged);

                    atomic_add(&b->low[key >> shift & 255], mass & 0xffffu);
                    atomic_add(&b->high[key >> shift & 255], mass >> 16);
                }
            }
        }
        BARRIER;
        for (int d = l; d < 16; d += WG) {
            uint count = 0, low = 0, high = 0;

            for (int e = d * 16; e < d * 16 + 16; e++) {
                count += b->count[e];
                low += b->low[e] & 0xffffu;
                high += b->high[e] + (b->low[e] >> 16);
            }
            b->part_count[d] = count;
            b->part_low[d] = low;
            b->part_high[d] = high;
        }
        BARRIER;
        if (l == 0)
            pick_digit(b, want, bound, shift);
        BARRIER;
        done = shift == 0;
        mask = 0xffffffffu << shift;
        shift = max(shift - 8, 0);
    }
    if (l == 0) {
        const uint each = bound ? mass_of(score_of(b->prefix), most, merged) : 1u;
        const ulong rest = bound ? bound - mass_sum(b->mass_low, b->mass_high) : (ulong)((uint)want - b->taken);

        b->ties = (int)min((ulong)b->count[b->prefix & 255], each ? (rest + each - 1) / each : 1ul);
    }
    BARRIER;
}

/* Count, in this work-item's stretch, the keys above the top's lowest and equal
 * to it; then let each work-item know those of the stretches before its own. */
static void count_stretches(__global const float *s, int from, int to, forced_t f, int lift, __local board_t *b)
{
    const int l = get_local_id(0);
    uint both = 0;

    for (int j = from; j < to; j++) {
        const uint own = key_at(s, j, b), key = lifted(own, j, f, lift);

        if (own != INVISIBLE)
            both += key > b->prefix ? 1u : key == b->prefix ? 0x10000u : 0u;
    }
    b->before[l] = both;
    BARRIER;
    if (l == 0) {
        both = 0;
#pragma unroll 8
        for (int e = 0; e < WG; e++) {
            const uint x = b->before[e];

            b->before[e] = both;
            both += x;
        }
    }
    BARRIER;
}

/* Range, visible and forced blocks, greatest score, and the sum of masses. */
static void survey(__global const float *s, int cols, int sink, int local_n, int merged, __local board_t *b)
{
    const int l = get_local_id(0);
    int range = 0, visible = 0, forced = 0, n;
    uint most = 0, least = 0xffffffffu, low = 0, high = 0;
    forced_t f;

    if (l == 0) {
        b->range = b->visible = b->forced = b->over = b->chosen_free = 0;
        b->most = b->total_low = b->total_high = 0;
        b->least = 0xffffffffu;
    }
    BARRIER;
    for (int j = l; j < cols; j += WG) {
        const uint key = key_of(s[j]);

        if (j < CACHE)
            b->key[j] = key;
        if (key != INVISIBLE) {
            range = j + 1;
            visible++;
            most = max(most, key);
            least = min(least, key);
        }
    }
    atomic_max(&b->range, range);
    atomic_add(&b->visible, visible);
    atomic_max(&b->most, most);
    atomic_min(&b->least, least);
    BARRIER;
    n = b->range;
    f.sink_end = min(sink, n);
    f.local_at = max(n - local_n, 0);
    for (int j = BY_MASS || sink > 0 || local_n > 0 ? l : n; j < n; j += WG) {
        const uint key = key_at(s, j, b);

        if (key != INVISIBLE) {
            const uint mass = BY_MASS ? mass_of(score_of(key), score_of(b->most), merged) : 0u;

            forced += is_forced(f, j);
            low += mass & 0xffffu;
            high += mass >> 16;
        }
    }
    atomic_add(&b->forced, forced);
    atomic_add(&b->total_low, low);
    atomic_add(&b->total_high, high);
    BARRIER;
}

/* The number that the rule chose, within its bounds; a row to be kept dense keeps all. */
static inline int bound_count(int k, int dense, int min_k, int max_k, int visible)
{
    return dense ? visible : clamp(min(max(k, min_k), max_k), 1, max(visible, 1));
}

__attribute__((reqd_work_group_size(WG, 1, 1))) __kernel void
select_rows(__global const float *scores, ulong scores_at, __global const int *limits, int limit_stride,
            int limit_last, __global int *counts, ulong counts_at, __global int *blocks, ulong blocks_at,
            __global const int *seqs, ulong seqs_from, int sequences, int sq, int sk, int rows, int cols,
            int blocks_k, int heads, int width, int block_q, int block_k, int sink, int local_n, int last_rows,
            int min_k, int max_k, int merged, int first, int count, int pitch)
{
    __local board_t b;
    const int h = get_group_id(1), s = get_group_id(2), l = get_local_id(0);
    const seq_t at = seq_at(seqs + seqs_from, s < sequences ? s : 0, sq, sk);
    const int i = max(first - at.row0, 0) + (int)get_group_id(0);
    const int nq = PACKED ? (at.sq + block_q - 1) / block_q : rows;
    const int nk = PACKED ? (at.sk + block_k - 1) / block_k : blocks_k;
    const int live = s < sequences && i < nq && at.row0 + i < first + count, dense = live && i >= nq - last_rows;
    const ulong row = live ? ((ulong)at.batch * heads + h) * rows + at.row0 + i : 0;
    __global const float *x =
        scores + scores_at + (live ? ((ulong)at.batch * heads + h) * pitch + (at.row0 + i - first) : 0) * cols;
    __global int *list = blocks + blocks_at + row * width;
    const int limit = live ? limits[h * limit_stride + min(nk, limit_last)] : 1;
    int n, k = limit, kept, lift, stretch, from, to;
    float high;
    ulong total, bound;
    forced_t f;

    survey(x, live ? cols : 0, sink, local_n, merged, &b);
    n = b.range;
    high = score_of(b.most);
    total = mass_sum(b.total_low, b.total_high);
    f.visible = b.visible;
    f.sink_end = min(sink, n);
    f.local_at = max(n - local_n, 0);
    stretch = (n + WG - 1) / WG;
    from = min(l * stretch, n);
    to = min(from + stretch, n);
    bound = mul_hi(total << 8, (ulong)(uint)limit << 24);
    if (RULE == 3) {
        int over = 0;

        for (int j = from; j < to; j++) {
            const uint key = key_at(x, j, &b);

            over += key != INVISIBLE && mass_of(score_of(key), high, merged) > bound;
        }
        atomic_add(&b.over, over);
        BARRIER;
        k = b.over;
    }
    k = bound_count(k, dense, min_k, max_k, f.visible);
    lift = RULE != 4 && (b.forced > 0 || k > width);
    /* Pass -1: how many blocks top_p needs.  Pass 0: what the rule chooses.  Pass 1, where something is forced or
     * the list is too narrow: that again with the forced blocks on top.  One loop, since PoCL 3.1 breaks on a second
     * call of a function with barriers. */
    for (int pass = RULE == 4 ? -1 : 0; pass <= lift; pass++) {
        int left, chosen = 0;

        find_top(x, n, pass > 0 ? min(b.forced + b.chosen_free, width) : k, pass < 0 ? max(bound, 1ul) : 0ul, high,
                 merged, f, pass > 0, &b);
        if (pass < 0) {
            k = bound_count(total ? (int)b.taken + b.ties : 1, dense, min_k, max_k, f.visible);
            lift = b.forced > 0 || k > width;
        }
        count_stretches(x, from, to, f, pass > 0, &b);
        left = b.ties - (int)(b.before[l] >> 16);
        for (int j = pass == 0 && lift ? from : to; j < to; j++) {
            const uint key = key_at(x, j, &b);

            if (key != INVISIBLE) {
                const int in = key > b.prefix || (key == b.prefix && left-- > 0);

                chosen += in && !is_forced(f, j);
            }
        }
        if (pass == 0)
            atomic_add(&b.chosen_free, chosen);
        BARRIER;
    }
    if (live) {
        const int equal = (int)(b.before[l] >> 16);
        int left = b.ties - equal;
        int e = (int)(b.before[l] & 0xffffu) + min(equal, b.ties);

        kept = f.visible > 0 ? (int)b.taken + b.ties : 0;
        for (int j = from; j < to; j++) {
            const uint own = key_at(x, j, &b), key = lifted(own, j, f, lift);

            if (own != INVISIBLE) {
                if ((key > b.prefix || (key == b.prefix && left-- > 0)) && e < width)
                    list[e++] = j;
            }
        }
        if (l == 0)
            counts[counts_at + row] = min(kept, width);
        for (int j = kept + l; j < width; j += WG)
            list[j] = -1;
    }
}
