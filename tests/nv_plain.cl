/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nv_plain: the words of cl/nv.cl in plain OpenCL C, for any device: what a lane
 * needs of another goes over a board in global memory.  Slow, but the same
 * sums: so the kernels built of these words can be tested, and looked at by
 * oclgrind, where there is no NVIDIA GPU.
 *
 * Every word that lanes say together meets the whole work-group: its warps must
 * go the same way.  any_lane() asks them all, so that they do.
 */
#define LANE       ((int)(get_local_id(0) % 32))

/* PoCL 3.1 lacks these where variables at program scope are allowed. */
#define OVERLOADED static inline __attribute__((overloadable))
#define MOVES(space, type)                                                                                           \
    OVERLOADED type##4 get4(size_t i, const space type *p)                                                           \
    {                                                                                                                \
        return (type##4)(p[i * 4], p[i * 4 + 1], p[i * 4 + 2], p[i * 4 + 3]);                                        \
    }                                                                                                                \
    OVERLOADED type##8 get8(size_t i, const space type *p)                                                           \
    {                                                                                                                \
        return (type##8)(get4(i * 2, p), get4(i * 2 + 1, p));                                                        \
    }                                                                                                                \
    OVERLOADED type##16 get16(size_t i, const space type *p)                                                         \
    {                                                                                                                \
        return (type##16)(get8(i * 2, p), get8(i * 2 + 1, p));                                                       \
    }                                                                                                                \
    OVERLOADED void put2(type##2 x, size_t i, space type *p)                                                         \
    {                                                                                                                \
        p[i * 2] = x.x;                                                                                              \
        p[i * 2 + 1] = x.y;                                                                                          \
    }                                                                                                                \
    OVERLOADED void put4(type##4 x, size_t i, space type *p)                                                         \
    {                                                                                                                \
        put2(x.lo, i * 2, p);                                                                                        \
        put2(x.hi, i * 2 + 1, p);                                                                                    \
    }
MOVES(__global, float)
MOVES(__global, ushort)
MOVES(__local, float)
#undef vload4
#define vload4 get4
#undef vload8
#define vload8 get8
#undef vload16
#define vload16 get16
#undef vstore2
#define vstore2 put2
#undef vstore4
#define vstore4 put4

typedef union {
    uint word[8];
    ushort small[16];
    float number[8];
} lane_t;

enum { ITEMS = 1 << 15 }; /* most work-items of a launch */
__global lane_t board[ITEMS];
__global uint upper[ITEMS]; /* of the work-item's addresses of local memory */

static inline size_t my_place(void)
{
    const size_t group =
        get_group_id(0) + get_num_groups(0) * (get_group_id(1) + get_num_groups(1) * get_group_id(2));

    return group * get_local_size(0) + get_local_id(0);
}

#define MEET() barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE)

static inline uint local_address(__local const void *p)
{
    upper[my_place()] = (uint)((size_t)p >> 32);
    return (uint)(size_t)p;
}

static inline __local uint *at_address(uint address)
{
    return (__local uint *)(((size_t)upper[my_place()] << 32) | address);
}

static inline void store16(uint to, uint4 x)
{
    __local uint *at = at_address(to);

    at[0] = x.x;
    at[1] = x.y;
    at[2] = x.z;
    at[3] = x.w;
}

static inline void copy16(uint to, __global const void *from, int bytes)
{
    __global const uint *x = from;

    store16(to, bytes ? (uint4)(x[0], x[1], x[2], x[3]) : (uint4)(0));
}

static inline void copy4(uint to, __global const void *from)
{
    *at_address(to) = *(__global const uint *)from;
}

#define COPIES_COMMIT()
#define COPIES_WAIT(n)

static inline void fetch4(uint *x, uint from)
{
    const size_t me = my_place(), warp = me - LANE;

    board[me].word[0] = from;
    MEET();
    for (int e = 0; e < 4; e++)
        x[e] = *at_address(board[warp + e * 8 + LANE / 4].word[0] + LANE % 4 * 4);
    MEET();
}

static inline void fetch4_turned(uint *x, uint from)
{
    const size_t me = my_place(), warp = me - LANE;

    board[me].word[0] = from;
    MEET();
    for (int e = 0; e < 4; e++) {
        uint y[2];

        for (int r = 0; r < 2; r++)
            y[r] = *(__local ushort *)at_address(board[warp + e * 8 + LANE % 4 * 2 + r].word[0] + LANE / 4 * 2);
        x[e] = y[0] | y[1] << 16;
    }
    MEET();
}

static inline float exp2_fast(float x)
{
    return exp2(x);
}

static inline float of_lane(float x, int mask)
{
    const size_t me = my_place();
    float other;

    board[me].number[0] = x;
    MEET();
    other = board[me ^ mask].number[0];
    MEET();
    return other;
}

static inline void meet_group(void)
{
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
}

static inline int any_lane(int yes)
{
    const size_t me = my_place(), first = me - get_local_id(0);
    int any = 0;

    board[me].word[0] = yes != 0;
    MEET();
    for (size_t i = 0; i < get_local_size(0); i++)
        any |= board[first + i].word[0];
    MEET();
    return any;
}

#if DTYPE == 1
static inline float half_at(__global const ushort *at)
{
    const ushort x = *at;

    return vload_half(0, (const __private half *)&x);
}

static inline uint rounded(float x)
{
    ushort y;

    vstore_half_rte(x, 0, (__private half *)&y);
    return y;
}
#else
static inline float half_at(__global const ushort *at)
{
    return as_float((uint)*at << 16);
}

static inline uint rounded(float x)
{
    const uint y = as_uint(x);

    return (y + 0x7fffu + (y >> 16 & 1)) >> 16;
}
#endif

static inline uint pack2(float low, float high)
{
    return rounded(low) | rounded(high) << 16;
}

/* What the warp multiplies: rows g and g + 8 of a, columns 2t and 2t + 1 of b. */
static inline void show(const uint *a, const uint *b)
{
    const size_t me = my_place();

    for (int e = 0; e < 4; e++)
        board[me].word[e] = a[e];
    for (int e = 0; e < 2; e++)
        board[me].word[4 + e] = b[e];
    MEET();
}

static inline void mma_16(float *sum, const uint *a, const uint *b)
{
    const size_t warp = my_place() - LANE;

    show(a, b);
    for (int e = 0; e < 4; e++)
        for (int k = 0; k < 16; k++) {
            const size_t row = warp + LANE / 4 * 4 + k % 8 / 2,
                         column = warp + (LANE % 4 * 2 + e % 2) * 4 + k % 8 / 2;

            sum[e] += half_at(&board[row].small[(e / 2 + k / 8 * 2) * 2 + k % 2]) *
                      half_at(&board[column].small[(4 + k / 8) * 2 + k % 2]);
        }
    MEET();
}

static inline void mma_tf32(float *sum, const uint *a, const uint *b)
{
    const size_t warp = my_place() - LANE;

    show(a, b);
    for (int e = 0; e < 4; e++)
        for (int k = 0; k < 8; k++) {
            const size_t row = warp + LANE / 4 * 4 + k % 4, column = warp + (LANE % 4 * 2 + e % 2) * 4 + k % 4;

            sum[e] += as_float(board[row].word[e / 2 + k / 4 * 2] & 0xffffe000u) *
                      as_float(board[column].word[4 + k / 4] & 0xffffe000u);
        }
    MEET();
}
