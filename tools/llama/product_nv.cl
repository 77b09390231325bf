/* SPDX-License-Identifier: Apache-2.0 */
/*
 * product_nv: y = a b (+ y) on the matrix units of NVIDIA GPUs since Ampere, in the words of the library's nv.cl.
 *
 * Idea      A work-group of 8 warps owns 128 x 128 numbers of y, a warp 64 x 32. Panels of 32 terms, two in turn:
 *           numbers are loaded as f32 while the panel before is multiplied, and rounded to 16 bits on their way
 *           into local memory.  A side lies ALONG if its terms are neighbours, else across; each has an order of
 *           16-byte chunks in which neither stores nor fetches meet in a bank
 * Grid      (tiles of columns, tiles of rows * parts) groups of 256; a part is the next `per` terms, and writes
 *           behind the part before
 * Local     32 KB
 * Assumes   wholes of 8 in the direction in which a side lies; 16-byte alignment
 * Edges     what is beyond a side's end is zero; results beyond are not stored
 * Order     every sum has one: the same bits in every run
 */
#ifndef ALONG_A
#define ALONG_A 1
#define ALONG_B 1
#endif
#define TILE           128
#define TERMS          32
#define PLACE          (TILE * TERMS * 2) /* bytes of a panel */
#define ITEMS_OF_GROUP 256
#define CHUNKS         (TILE * TERMS / 8 / ITEMS_OF_GROUP) /* of an item, of each side */

/* Chunk e of this work-item in a panel: x the row or column, y the term. */
static inline int2 chunk_of(int e, int along)
{
    const int c = (int)get_local_id(0) + e * ITEMS_OF_GROUP;

    return along ? (int2)(c / 4, c % 4 * 8) : (int2)(c % 16 * 8, c / 16);
}

/* Where 8 numbers from (row or column, term) on lie in local memory. */
static inline uint place_along(int x, int term)
{
    return (uint)(x * 64 + ((term / 8) ^ (x / 2 % 4)) * 16);
}

static inline uint place_across(int x, int term)
{
    return (uint)(term * 256 + ((x / 8) ^ (term % 8)) * 16);
}

/* 16 x 16 from (x, term) on, as a left operand; as a right one 0, 2 and 1, 3 are columns of 8. */
static inline void fetch_along(uint *to, uint panel, int x, int term)
{
    fetch4(to, panel + place_along(x + LANE % 16, term + LANE / 16 * 8));
}

static inline void fetch_across(uint *to, uint panel, int x, int term)
{
    fetch4_turned(to, panel + place_across(x + LANE / 8 % 2 * 8, term + LANE % 8 + LANE / 16 * 8));
}
#if ALONG_A
#define FETCH_A fetch_along
#else
#define FETCH_A fetch_across
#endif
#if ALONG_B
#define FETCH_B fetch_along
#else
#define FETCH_B fetch_across
#endif

/* A side of the product: `n` rows or columns from `first` on, terms from .. end - 1. */
typedef struct {
    __global const char *at;
    int size; /* bytes of a number: 4, or 2 of the type that is multiplied */
    ulong stride;
    int along, first, n, end;
} side_t;

/* Begin to load a panel; numbers of 2 bytes take half of the room. */
static inline void load(const side_t s, int first, float4 *x)
{
#pragma unroll
    for (int e = 0; e < CHUNKS; e++) {
        const int2 at = chunk_of(e, s.along);
        const int i = s.first + at.x, term = first + at.y;
        __global const char *from = s.at + (s.along ? i * s.stride + term : term * s.stride + i) * s.size;

        x[e * 2] = x[e * 2 + 1] = (float4)(0.0f);
        if (i < s.n && term < s.end) {
            x[e * 2] = *(__global const float4 *)from;
            x[e * 2 + 1] = *(__global const float4 *)(from + (s.size == 4 ? 16 : 0));
        }
    }
}

/* Round it into local memory. */
static inline void store(const side_t s, const float4 *x, float gain, uint panel)
{
#pragma unroll
    for (int e = 0; e < CHUNKS; e++) {
        const int2 at = chunk_of(e, s.along);
        const float4 low = x[e * 2] * gain, high = x[e * 2 + 1] * gain;
        const uint4 packed =
            (uint4)(pack2(low.x, low.y), pack2(low.z, low.w), pack2(high.x, high.y), pack2(high.z, high.w));

        store16(panel + (s.along ? place_along(at.x, at.y) : place_across(at.x, at.y)),
                s.size == 2 ? as_uint4(x[e * 2]) : packed);
    }
}

/* sum [64 x 32] += a b over a panel, each 16 terms in turn. */
static inline void multiply(float *sum, uint a, uint b, int row, int column)
{
#pragma unroll
    for (int term = 0; term < TERMS; term += 16) {
        uint x[4], y[8];

#pragma unroll
        for (int j = 0; j < 2; j++)
            FETCH_B(y + j * 4, b, column + j * 16, term);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            FETCH_A(x, a, row + i * 16, term);
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const uint of[2] = {y[j / 2 * 4 + j % 2], y[j / 2 * 4 + j % 2 + 2]};

                mma_16(sum + (i * 4 + j) * 4, x, of);
            }
        }
    }
}

static inline void put(__global float *y, float2 x, int add, int both)
{
    if (both) {
        __global float2 *to = (__global float2 *)y;

        *to = add ? *to + x : x;
    } else {
        *y = add ? *y + x.x : x.x;
    }
}

/* `gain` times a is rounded, a power of two: the gradients of a mean are below what f16 holds. */
__attribute__((reqd_work_group_size(ITEMS_OF_GROUP, 1, 1))) __kernel void
product_nv(__global const float *a, ulong a_at, __global const void *b, ulong b_at, int b_size, __global float *y,
           ulong y_at, int rows, int cols, int depth, int per, int add, float gain)
{
    __local uint4 places[4 * PLACE / 16] __attribute__((aligned(1024)));
    const uint of_a = local_address(places), of_b = of_a + 2 * PLACE;
    const int tiles = (rows + TILE - 1) / TILE, part = (int)get_group_id(1) / tiles;
    const int r0 = (int)get_group_id(1) % tiles * TILE, c0 = (int)get_group_id(0) * TILE;
    const int from = part * per, end = min(from + per, depth), panels = (end - from + TERMS - 1) / TERMS;
    const side_t left = {(__global const char *)(a + a_at), 4, ALONG_A ? depth : rows, ALONG_A, r0, rows, end};
    const side_t right = {
        (__global const char *)b + b_at * b_size, b_size, ALONG_B ? depth : cols, ALONG_B, c0, cols, end};
    const int warp = get_local_id(0) / 32, row = warp / 4 * 64, column = warp % 4 * 32;
    float4 next_a[2 * CHUNKS], next_b[2 * CHUNKS];
    const float share = 1.0f / gain;
    float sum[64];

#pragma unroll
    for (int e = 0; e < 64; e++)
        sum[e] = 0.0f;
    load(left, from, next_a);
    load(right, from, next_b);
    store(left, next_a, gain, of_a);
    store(right, next_b, 1.0f, of_b);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int p = 0; p < panels; p++) {
        if (p + 1 < panels) {
            load(left, from + (p + 1) * TERMS, next_a);
            load(right, from + (p + 1) * TERMS, next_b);
        }
        multiply(sum, of_a + p % 2 * PLACE, of_b + p % 2 * PLACE, row, column);
        if (p + 1 < panels) {
            store(left, next_a, gain, of_a + (p + 1) % 2 * PLACE);
            store(right, next_b, 1.0f, of_b + (p + 1) % 2 * PLACE);
        }
        barrier(CLK_LOCAL_MEM_FENCE); /* panel p + 1 is there, panel p has been used */
    }
#pragma unroll
    for (int e = 0; e < 32; e++) {
        const int i = r0 + row + e / 8 * 16 + e % 2 * 8 + (int)LANE / 4;
        const int c = c0 + column + e / 2 % 4 * 8 + (int)LANE % 4 * 2, at = e / 2 * 4 + e % 2 * 2;
        __global float *to = y + y_at + (ulong)part * rows * cols + (ulong)i * cols + c;
        const float2 x = (float2)(sum[at], sum[at + 1]) * share;

        if (i < rows && c < cols) {
            if (cols % 2 == 0 && y_at % 2 == 0) {
                put(to, x, add, 1);
            } else {
                put(to, x, add, 0);
                if (c + 1 < cols)
                    put(to + 1, x.yy, add, 0);
            }
        }
    }
}
