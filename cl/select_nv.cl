/* SPDX-License-Identifier: Apache-2.0 */
/*
 * select_nv: a row of scores to a list of blocks, one warp of an NVIDIA GPU a
 * row, or a team of warps where rows are long.
 *
 * Idea      a warp holds neighbouring blocks, a lane every 32nd of them as keys
 *           in registers; the k-th highest is found bit by bit, from the highest
 *           bit in which keys of the row differ until no other key is left, each
 *           bit one count (or sum of masses) over the team; then each lane
 *           writes its blocks where votes say
 * Grid      (ceil(rows of one sequence / ROWS), list heads, sequences) groups of WG
 * Local     24 * TEAM bytes
 * Assumes   at most 32 * KEYS * TEAM key blocks a row; 32 lanes in a warp
 * Edges     see docs/pipeline.md#select
 */
#ifndef KEYS
#define KEYS 16 /* a lane */
#endif
#ifndef TEAM
#define TEAM 1 /* warps a row; 2 to 32 of them are a group */
#endif

#define ROWS (TEAM == 1 ? 4 : 1) /* a group */
#define WG   (ROWS * TEAM * 32)

/* A row is walked in packs, so that one which ends early skips the rest. */
#define PACK (KEYS < 8 ? KEYS : 8)

/* ---- warps and teams ----------------------------------------------------------- */

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

/* A bit a lane. */
static inline uint votes(int yes)
{
    uint y;

    __asm__ volatile("{\n.reg .pred p;\nsetp.ne.s32 p, %1, 0;\nvote.sync.ballot.b32 %0, p, 0xffffffff;\n}"
                     : "=r"(y)
                     : "r"(yes));
    return y;
}

/* Where the warps of a team meet.  Two places in turn: a warp that is early for
 * the next meeting does not write where a late one still reads. */
typedef struct {
    uint word[2][3][TEAM];
} board_t;

typedef struct {
    __local board_t *board;
    int turn, lane, rank; /* place for the next meeting; in the warp; of the warp */
} team_t;

/* Of up to 3 numbers that each warp has, lane i of each gets those of warp i; 0 beyond. */
static inline void meet(team_t *t, uint *x, int n)
{
    for (int e = 0; e < n; e++)
        if (t->lane == 0)
            t->board->word[t->turn][e][t->rank] = x[e];
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int e = 0; e < n; e++)
        x[e] = t->lane < TEAM ? t->board->word[t->turn][e][t->lane] : 0u;
    t->turn ^= 1;
}

#define TEAM_WORDS(name, warp_word)                                                                                  \
    static inline void name(team_t *t, uint *x, int n)                                                               \
    {                                                                                                                \
        for (int e = 0; e < n; e++)                                                                                  \
            x[e] = warp_word(x[e]);                                                                                  \
        if (TEAM > 1) {                                                                                              \
            meet(t, x, n);                                                                                           \
            for (int e = 0; e < n; e++)                                                                              \
                x[e] = warp_word(x[e]);                                                                              \
        }                                                                                                            \
    }
TEAM_WORDS(team_sum, warp_sum)
TEAM_WORDS(team_max, warp_max)

/* ---- a row ---------------------------------------------------------------------- */

/* A lane's part of a row: of block first + c * 32 the key of rank.cl plus 1, or
 * 0 where the block is not visible. */
typedef struct {
    uint key[KEYS];
#if BY_MASS
    uint mass[KEYS];
#endif
    int first, chunks;
    uint most, least; /* over the row's visible keys */
} row_t;

/* Of a row's keys from a bound on: how many, and their masses. */
typedef struct {
    ulong mass;
    int count;
} sum_t;

/* The chosen blocks: all of a greater key, and `ties` of those with this one. */
typedef struct {
    uint key;
    int ties, count;
} top_t;

static inline uint lifted_at(const row_t *row, int c, forced_t f, int lift)
{
    return row->key[c] ? lifted(row->key[c], row->first + c * 32, f, lift) : 0u;
}

/* Read a row; answers one more than its last visible block. */
static inline int read_row(team_t *t, __global const float *s, int cols, row_t *row)
{
    uint x[3] = {0, 0, 0}; /* greatest key, complement of the least, range */

    row->first = t->rank * KEYS * 32 + t->lane;
#pragma unroll
    for (int c = 0; c < KEYS; c++) /* without a condition, so that no load waits for another */
        row->key[c] = as_uint(s[min(row->first + c * 32, cols - 1)]);
#pragma unroll
    for (int c = 0; c < KEYS; c++) {
        const int j = row->first + c * 32;
        const float score = as_float(row->key[c]);
        const uint key = j >= cols || score == NEG_INF ? 0u : key_of(score) + 1u;

        row->key[c] = key;
        x[0] = max(x[0], key);
        x[1] = max(x[1], key ? ~key : 0u);
        x[2] = key ? (uint)j + 1u : x[2];
    }
    team_max(t, x, 3);
    row->most = x[0];
    row->least = ~x[1];
    row->chunks = clamp(((int)x[2] - t->rank * KEYS * 32 + 31) / 32, 0, KEYS);
    return (int)x[2];
}

static inline sum_t sum_from(team_t *t, const row_t *row, uint least, forced_t f, int lift, int by_mass)
{
    uint x[3] = {0, 0, 0}; /* count, low 20 bits of the mass, the rest */
    ulong mass = 0;

#pragma unroll
    for (int c0 = 0; c0 < KEYS; c0 += PACK)
        if (c0 < row->chunks) {
#pragma unroll
            for (int c = c0; c < c0 + PACK; c++) {
                const int in = lifted_at(row, c, f, lift) >= least;

                x[0] += in ? 1u : 0u;
#if BY_MASS
                if (by_mass)
                    mass += in ? row->mass[c] : 0u;
#endif
            }
        }
    x[1] = (uint)mass & 0xfffffu;
    x[2] = (uint)(mass >> 20);
    team_sum(t, x, by_mass ? 3 : 1);
    const sum_t sum = {((ulong)x[2] << 20) + x[1], (int)x[0]};

    return sum;
}

/* The highest `want` keys, or, `by_mass`, the fewest highest whose masses reach
 * `want`, which `all` do.  Ends as soon as no key is left between the bound that
 * is enough and the one that is not. */
static inline top_t find_top(team_t *t, const row_t *row, sum_t all, ulong want, forced_t f, int lift, int by_mass,
                             int merged)
{
    const uint high = lift ? 0xffffffffu : row->most;
    const int bits = 32 - (int)clz(high ^ row->least);
    top_t top = {bits < 32 ? high & (0xffffffffu << bits) : 0u, 0, 0};
    sum_t from = all, above = {0, 0}; /* enough; not enough */

    for (int bit = bits - 1; bit >= 0; bit--) {
        const uint next = top.key | 1u << bit;

        if (by_mass ? from.count - above.count == 1 : (ulong)from.count == want)
            break;
        const sum_t sum = sum_from(t, row, next, f, lift, by_mass);

        if ((by_mass ? sum.mass : (ulong)sum.count) >= want) {
            top.key = next;
            from = sum;
        } else {
            above = sum;
        }
    }
    top.key = max(top.key, 1u); /* 0 is no key */
    top.ties = by_mass ? from.count - above.count : (int)want - above.count;
    if (by_mass && top.ties > 1) {
        const uint each = mass_of(score_of(top.key - 1u), score_of(row->most - 1u), merged);

        top.ties = each ? (int)min((ulong)top.ties, (want - above.mass + each - 1) / each) : 1;
    }
    top.count = above.count + top.ties;
    return top;
}

/* Keys in the blocks of earlier warps: x[0] above the top's, x[1] equal to it. */
static inline void count_earlier(team_t *t, const row_t *row, top_t top, forced_t f, int lift, uint *x)
{
    x[0] = x[1] = 0;
    if (TEAM > 1) {
        for (int c = 0; c < KEYS; c++) {
            const uint key = lifted_at(row, c, f, lift);

            x[0] += key > top.key;
            x[1] += key == top.key;
        }
        for (int e = 0; e < 2; e++)
            x[e] = warp_sum(x[e]);
        meet(t, x, 2);
        for (int e = 0; e < 2; e++)
            x[e] = warp_sum(t->lane < t->rank ? x[e] : 0u);
    }
}

/* Of the top's blocks in block order: how many are not forced, or, where `list`, write them there. */
static inline int walk_top(team_t *t, const row_t *row, top_t top, forced_t f, int lift, __global int *list,
                           int width)
{
    const uint before = (1u << t->lane) - 1u;
    uint earlier[2];
    int ties, kept;

    count_earlier(t, row, top, f, lift, earlier);
    ties = (int)earlier[1];
    kept = list ? (int)earlier[0] + min(ties, top.ties) : 0;
#pragma unroll
    for (int c = 0; c < KEYS; c++) { /* no condition around votes: it costs more than it saves */
        const uint key = lifted_at(row, c, f, lift), equal = votes(key == top.key);
        const int in = key > top.key || (key == top.key && ties + (int)popcount(equal & before) < top.ties);
        const uint chosen = votes(in && (list || !is_forced(f, row->first + c * 32)));
        const int e = kept + (int)popcount(chosen & before);

        if (list && in && e < width)
            list[e] = row->first + c * 32;
        ties += (int)popcount(equal);
        kept += (int)popcount(chosen);
    }
    return kept;
}

/* ---- the rule -------------------------------------------------------------------- */

/* What the rule chooses of the row; top.count is -1 where only the number, `k`, is known. */
static inline top_t ask_rule(team_t *t, row_t *row, sum_t all, int limit, forced_t f, int merged, int *k)
{
    top_t top = {0, 0, -1};

    *k = limit;
#if BY_MASS
    uint over = 0;

#pragma unroll
    for (int c = 0; c < KEYS; c++)
        row->mass[c] = row->key[c] ? mass_of(score_of(row->key[c] - 1u), score_of(row->most - 1u), merged) : 0u;
    all = sum_from(t, row, 1, f, 0, 1);
    const ulong bound = mul_hi(all.mass << 8, (ulong)(uint)limit << 24);

    if (RULE == 3) {
#pragma unroll
        for (int c = 0; c < KEYS; c++)
            over += row->key[c] && row->mass[c] > bound;
        team_sum(t, &over, 1);
        *k = (int)over;
    } else {
        if (all.mass > 0)
            top = find_top(t, row, all, max(bound, 1ul), f, 0, 1, merged);
        *k = max(top.count, 1);
    }
#endif
    return top;
}

static inline int count_forced(team_t *t, const row_t *row, forced_t f)
{
    uint n = 0;

#pragma unroll
    for (int c = 0; c < KEYS; c++)
        n += row->key[c] && is_forced(f, row->first + c * 32);
    team_sum(t, &n, 1);
    return (int)n;
}

__attribute__((reqd_work_group_size(WG, 1, 1))) __kernel void
select_nv(__global const float *scores, ulong scores_at, __global const int *limits, int limit_stride, int limit_last,
          __global int *counts, ulong counts_at, __global int *blocks, ulong blocks_at, __global const int *seqs,
          ulong seqs_from, int sequences, int sq, int sk, int rows, int cols, int blocks_k, int heads, int width,
          int block_q, int block_k, int sink, int local_n, int last_rows, int min_k, int max_k, int merged, int first,
          int count, int pitch)
{
    __local board_t board;
    team_t own_team = {&board, 0, get_local_id(0) % 32, TEAM == 1 ? 0 : get_local_id(0) / 32}, *t = &own_team;
    const int h = get_group_id(1), s = get_group_id(2);
    const seq_t at = seq_at(seqs + seqs_from, s < sequences ? s : 0, sq, sk);
    const int i = max(first - at.row0, 0) + (int)get_group_id(0) * ROWS + (TEAM == 1 ? (int)get_local_id(0) / 32 : 0);
    const int nq = PACKED ? (at.sq + block_q - 1) / block_q : rows;
    const int nk = PACKED ? (at.sk + block_k - 1) / block_k : blocks_k;

    if (s < sequences && i < nq && at.row0 + i < first + count) {
        const ulong place = ((ulong)at.batch * heads + h) * rows + at.row0 + i;
        __global int *list = blocks + blocks_at + place * width;
        row_t own, *row = &own;
        int kept = 0;
        const int n =
            read_row(t, scores + scores_at + (((ulong)at.batch * heads + h) * pitch + (at.row0 + i - first)) * cols,
                     cols, row);
        forced_t f = {0, min(sink, n), max(n - local_n, 0)};
        const sum_t all = sum_from(t, row, 1, f, 0, 0);

        f.visible = all.count;
        if (f.visible > 0) {
            const int forced = sink > 0 || local_n > 0 ? count_forced(t, row, f) : 0;
            int k, lift;
            top_t top = ask_rule(t, row, all, limits[h * limit_stride + min(nk, limit_last)], f, merged, &k);

            k = i >= nq - last_rows ? f.visible : clamp(min(max(k, min_k), max_k), 1, f.visible);
            if (k != top.count)
                top = find_top(t, row, all, (ulong)k, f, 0, 0, merged);
            lift = forced > 0 || k > width;
            if (lift) {
                uint chosen = (uint)walk_top(t, row, top, f, 0, NULL, 0);

                if (TEAM > 1) { /* each lane knows its warp's */
                    chosen = t->lane == 0 ? chosen : 0;
                    team_sum(t, &chosen, 1);
                }
                top = find_top(t, row, all, (ulong)min(forced + (int)chosen, width), f, 1, 0, merged);
                walk_top(t, row, top, f, 1, list, width);
            } else {
                walk_top(t, row, top, f, 0, list, width);
            }
            kept = min(top.count, width);
        }
        if (t->lane == 0 && t->rank == 0)
            counts[counts_at + place] = kept;
        for (int e = kept + t->rank * 32 + t->lane; e < width; e += 32 * TEAM)
            list[e] = -1;
    }
}
