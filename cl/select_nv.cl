/*
 * select_nv: a row of scores to a list of blocks, one warp of an NVIDIA GPU a
 * row.
 *
 * Idea      a lane holds every 32nd key of the row in registers; the k-th
 *           highest is found bit by bit, from the highest bit in which keys of
 *           the row differ, each bit one count (or sum of masses) over the warp;
 *           then each lane writes its blocks where votes say
 * Grid      (ceil(rows of one sequence / 4), list heads, sequences) groups of 128
 * Local     none
 * Assumes   at most 32 * KEYS key blocks a row; 32 lanes in a warp
 * Edges     see docs/pipeline.md#select
 */
#ifndef KEYS
#define KEYS 16 /* a lane */
#endif

#define WARPS 4

/* Over the lanes of the warp; all get the answer. */
#define WARP_WORD(name, op)                                                                                          \
    static inline uint name(uint x)                                                                                  \
    {                                                                                                                \
        uint y;                                                                                                      \
                                                                                                                     \
        __asm__ volatile("redux.sync." op ".u32 %0, %1, 0xffffffff;" : "=r"(y) : "r"(x));                            \
        return y;                                                                                                    \
    }
WARP_WORD(warp_sum, "add")
WARP_WORD(warp_max, "max")
WARP_WORD(warp_min, "min")

/* A bit a lane. */
static inline uint votes(int yes)
{
    uint y;

    __asm__ volatile("{\n.reg .pred p;\nsetp.ne.s32 p, %1, 0;\nvote.sync.ballot.b32 %0, p, 0xffffffff;\n}"
                     : "=r"(y)
                     : "r"(yes));
    return y;
}

/* A sum of less than 2^38 a lane. */
static inline ulong warp_sum_long(ulong x)
{
    return ((ulong)warp_sum((uint)(x >> 20)) << 20) + warp_sum((uint)x & 0xfffffu);
}

/* A lane's part of a row: of block c * 32 + lane the key of rank.cl plus 1, or
 * 0 where the block is not visible. */
typedef struct {
    uint key[KEYS];
#if BY_MASS
    uint mass[KEYS];
#endif
    int lane, chunks;
    uint most, least; /* over the row's visible keys */
} row_t;

typedef struct {
    uint key;
    int ties, count; /* with that key; in all */
} top_t;

static inline uint lifted_at(const row_t *row, int c, forced_t f, int lift)
{
    return row->key[c] ? lifted(row->key[c], c * 32 + row->lane, f, lift) : 0u;
}

static inline int count_from(const row_t *row, uint least, forced_t f, int lift)
{
    uint n = 0;

#pragma unroll
    for (int c = 0; c < KEYS; c++)
        n += lifted_at(row, c, f, lift) >= least ? 1u : 0u;
    return (int)warp_sum(n);
}

static inline ulong mass_from(const row_t *row, uint least)
{
    ulong sum = 0;

#if BY_MASS
#pragma unroll
    for (int c = 0; c < KEYS; c++)
        sum += row->key[c] >= least ? row->mass[c] : 0u;
#endif
    return warp_sum_long(sum);
}

/* The highest `want` keys, or, where `bound` is not 0, the fewest highest whose
 * masses reach it: the lowest key among them, and how many with that key. */
static inline top_t find_top(const row_t *row, int want, ulong bound, float most, int merged, forced_t f, int lift)
{
    const uint high = lift ? 0xffffffffu : row->most, differ = high ^ row->least;
    const int bits = 32 - (int)clz(differ);
    top_t top = {bits < 32 ? high & (0xffffffffu << bits) : 0u, 0, 0};

    for (int bit = bits - 1; bit >= 0; bit--) {
        const uint next = top.key | 1u << bit;

        if (bound ? mass_from(row, next) >= bound : count_from(row, next, f, lift) >= want)
            top.key = next;
    }
    const int above = top.key == 0xffffffffu ? 0 : count_from(row, top.key + 1, f, lift);
    const uint each = bound ? mass_of(score_of(top.key - 1), most, merged) : 1u;
    const ulong rest =
        bound ? bound - (top.key == 0xffffffffu ? 0 : mass_from(row, top.key + 1)) : (ulong)(want - above);

    top.ties = (int)min((ulong)(count_from(row, top.key, f, lift) - above), each ? (rest + each - 1) / each : 1ul);
    top.count = above + top.ties;
    return top;
}

/* Of the top's blocks in block order: how many are not forced, or, where `list`, write them there. */
static inline int walk_top(const row_t *row, top_t top, forced_t f, int lift, __global int *list, int width)
{
    const uint before = (1u << row->lane) - 1u;
    int ties = 0, kept = 0;

#pragma unroll
    for (int c = 0; c < KEYS; c++)
        if (c < row->chunks) {
            const uint key = lifted_at(row, c, f, lift), equal = votes(key == top.key);
            const int in = key > top.key || (key == top.key && ties + (int)popcount(equal & before) < top.ties);
            const uint chosen = votes(in && (list || !is_forced(f, c * 32 + row->lane)));
            const int e = kept + (int)popcount(chosen & before);

            if (list && in && e < width)
                list[e] = c * 32 + row->lane;
            ties += (int)popcount(equal);
            kept += (int)popcount(chosen);
        }
    return kept;
}

/* Read a row; answers one more than its last visible block. */
static inline int read_row(__global const float *s, int cols, row_t *row)
{
    uint most = 0, least = 0xffffffffu, range = 0;

#pragma unroll
    for (int c = 0; c < KEYS; c++) {
        const int j = c * 32 + row->lane;
        const float x = j < cols ? s[j] : NEG_INF;

        row->key[c] = x == NEG_INF ? 0u : key_of(x) + 1u;
        if (row->key[c]) {
            most = max(most, row->key[c]);
            least = min(least, row->key[c]);
            range = (uint)j + 1u;
        }
    }
    row->most = warp_max(most);
    row->least = warp_min(least);
    range = warp_max(range);
    row->chunks = ((int)range + 31) / 32;
    return (int)range;
}

__attribute__((reqd_work_group_size(WARPS * 32, 1, 1))) __kernel void
select_nv(__global const float *scores, ulong scores_at, __global const int *limits, int limit_stride, int limit_last,
          __global int *counts, ulong counts_at, __global int *blocks, ulong blocks_at, __global const int *seqs,
          ulong seqs_from, int sequences, int sq, int sk, int rows, int cols, int heads, int width, int block_q,
          int block_k, int sink, int local_n, int last_rows, int min_k, int max_k, int merged, int first, int count,
          int pitch)
{
    const int h = get_group_id(1), s = get_group_id(2);
    const seq_t at = seq_at(seqs + seqs_from, s < sequences ? s : 0, sq, sk);
    const int i = max(first - at.row0, 0) + (int)get_group_id(0) * WARPS + (int)get_local_id(0) / 32;
    const int nq = PACKED ? (at.sq + block_q - 1) / block_q : rows;
    const int nk = PACKED ? (at.sk + block_k - 1) / block_k : cols;

    if (s < sequences && i < nq && at.row0 + i < first + count) {
        const ulong place = ((ulong)at.batch * heads + h) * rows + at.row0 + i;
        __global int *list = blocks + blocks_at + place * width;
        row_t own, *row = &own;
        forced_t f;
        int kept = 0, n;

        own.lane = get_local_id(0) % 32;
        n = read_row(scores + scores_at + (((ulong)at.batch * heads + h) * pitch + (at.row0 + i - first)) * cols,
                     cols, row);
        f.sink_end = f.local_at = 0;
        f.visible = n > 0 ? count_from(row, 1, f, 0) : 0;
        f.sink_end = min(sink, n);
        f.local_at = max(n - local_n, 0);
        if (f.visible > 0) {
            const int limit = limits[h * limit_stride + min(nk, limit_last)];
            const float high = score_of(own.most - 1u);
            int k = limit, forced = 0;
            top_t top;

#if BY_MASS
#pragma unroll
            for (int c = 0; c < KEYS; c++)
                own.mass[c] = own.key[c] ? mass_of(score_of(own.key[c] - 1u), high, merged) : 0u;
            const ulong total = mass_from(row, 1), bound = mul_hi(total << 8, (ulong)(uint)limit << 24);
#if RULE == 3
            uint over = 0;

#pragma unroll
            for (int c = 0; c < KEYS; c++)
                if (c < row->chunks)
                    over += own.key[c] && own.mass[c] > bound;
            k = (int)warp_sum(over);
#else
            k = total ? find_top(row, 0, max(bound, 1ul), high, merged, f, 0).count : 1;
#endif
#endif
            k = i >= nq - last_rows ? f.visible : clamp(min(max(k, min_k), max_k), 1, f.visible);
            if (sink > 0 || local_n > 0) {
                uint x = 0;

#pragma unroll
                for (int c = 0; c < KEYS; c++)
                    if (c < row->chunks)
                        x += own.key[c] && is_forced(f, c * 32 + own.lane);
                forced = (int)warp_sum(x);
            }
            top = find_top(row, k, 0, high, merged, f, 0);
            if (forced > 0 || k > width) {
                const int chosen = walk_top(row, top, f, 0, NULL, 0);

                top = find_top(row, min(forced + chosen, width), 0, high, merged, f, 1);
            }
            kept = min(walk_top(row, top, f, forced > 0 || k > width, list, width), width);
        }
        if (own.lane == 0)
            counts[counts_at + place] = kept;
        for (int e = kept + own.lane; e < width; e += 32)
            list[e] = -1;
    }
}
