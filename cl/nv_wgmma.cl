/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nv_wgmma: the two products of attention on Hopper's matrix units: 4 warps
 * (a warp group), 64 rows, the left operand in registers, the right one read
 * from local memory by the unit itself.
 *
 * OpenCL's compiler targets sm_90, to which these instructions do not belong:
 * each stands in a PTX comment that begins with //@, and src/ptx.c takes the
 * comment away and turns the target into sm_90a.
 */
#define WGMMA_FENCE()     __asm__ volatile("//@wgmma.fence.sync.aligned;" ::: "memory")
#define WGMMA_COMMIT()    __asm__ volatile("//@wgmma.commit_group.sync.aligned;" ::: "memory")

/* What copies wrote must be seen by the unit, which reads past the cores. */
#define TILES_READY()     __asm__ volatile("fence.proxy.async.shared::cta;" ::: "memory")

/* The same for what this work-item has stored itself. */
#define STORES_READY()    __asm__ volatile("fence.proxy.async.shared::cta;\nmembar.cta;" ::: "memory")

/* Each work-item of this warp group gives registers back, or waits for more, so that it has n, a multiple of 8. */
#define REGISTERS_LESS(n) __asm__ volatile("//@setmaxnreg.dec.sync.aligned.u32 " #n ";" ::: "memory")
#define REGISTERS_MORE(n) __asm__ volatile("//@setmaxnreg.inc.sync.aligned.u32 " #n ";" ::: "memory")

#define SUM8(x, i)                                                                                                   \
    "+f"((x)[i]), "+f"((x)[i + 1]), "+f"((x)[i + 2]), "+f"((x)[i + 3]), "+f"((x)[i + 4]), "+f"((x)[i + 5]),          \
        "+f"((x)[i + 6]), "+f"((x)[i + 7])
#define SUM16(x, i) SUM8(x, i), SUM8(x, i + 8)
#define SUM32(x, i) SUM16(x, i), SUM16(x, i + 16)
#define SUM64(x, i) SUM32(x, i), SUM32(x, i + 32)
#define NAMES16     "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define NAMES32     NAMES16 ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define NAMES64                                                                                                      \
    NAMES32 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, " \
            "%52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"

/* sum [64 x N] = or += a [64 x 16] * b [16 x N]; MORE and TURNED are 0 or 1. */
#define WGMMA(N, sums, names, a0, a1, a2, a3, right, sum, a, b, MORE, TURNED)                                        \
    __asm__ volatile("//@wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." KIND "." KIND " {" names "}, {" a0 ", " a1 \
                     ", " a2 ", " a3 "}, " right ", " #MORE ", 1, 1, " #TURNED ";"                                   \
                     : sums(sum, 0)                                                                                  \
                     : "r"((a)[0]), "r"((a)[1]), "r"((a)[2]), "r"((a)[3]), "l"(b)                                    \
                     : "memory")
#define WGMMA32(sum, a, b, MORE, TURNED)                                                                             \
    WGMMA(32, SUM16, NAMES16, "%16", "%17", "%18", "%19", "%20", sum, a, b, MORE, TURNED)
#define WGMMA64(sum, a, b, MORE, TURNED)                                                                             \
    WGMMA(64, SUM32, NAMES32, "%32", "%33", "%34", "%35", "%36", sum, a, b, MORE, TURNED)
#define WGMMA128(sum, a, b, MORE, TURNED)                                                                            \
    WGMMA(128, SUM64, NAMES64, "%64", "%65", "%66", "%67", "%68", sum, a, b, MORE, TURNED)

/* How the unit finds a tile: address, distance of panels, distance of 8 rows
 * (all in 16 bytes), 128-byte swizzle. */
static inline ulong describe(uint tile, uint panel)
{
    return (ulong)((tile & 0x3ffff) >> 4) | (ulong)(panel >> 4) << 16 | 64ul << 32 | 1ul << 62;
}

/* sum [64 x 64] = or += a [64 x 16] * b [16 x 64], both in local memory. */
#define WGMMA_TILES(sum, a, b, MORE)                                                                                 \
    __asm__ volatile("//@wgmma.mma_async.sync.aligned.m64n64k16.f32." KIND "." KIND " {" NAMES32                     \
                     "}, %32, %33, " #MORE ", 1, 1, 0, 0;"                                                           \
                     : SUM32(sum, 0)                                                                                 \
                     : "l"(a), "l"(b)                                                                                \
                     : "memory")

/* Products run on when their functions end.  The sums are there, but for those of the `later` products that were
 * begun last: what follows may not be moved before it. */
#define WGMMA_WAIT(later, sums, x, i)                                                                                \
    __asm__ volatile("//@wgmma.wait_group.sync.aligned " #later ";" : sums(x, i) : : "memory")
#define DOT_END(later, s) WGMMA_WAIT(later, SUM32, s, 0)

/* s [64 x 64] = q k^T */
static inline void dot_tile(float *s, const uint *q, uint k)
{
    const ulong tile = describe(k, 16);

    WGMMA_FENCE();
    WGMMA64(s, q, tile, 0, 0);
#pragma unroll
    for (int x = 1; x < D / 16; x++)
        WGMMA64(s, q + x * 4, tile + (ulong)(x / 4 * 512 + x % 4 * 2), 1, 0);
    WGMMA_COMMIT();
}

/* s [64 x 64] = a b^T of two tiles */
static inline void dot_tiles(float *s, uint a, uint b)
{
    const ulong left = describe(a, 16), right = describe(b, 16);

    WGMMA_FENCE();
    WGMMA_TILES(s, left, right, 0);
#pragma unroll
    for (int x = 1; x < D / 16; x++)
        WGMMA_TILES(s, left + (ulong)(x / 4 * 512 + x % 4 * 2), right + (ulong)(x / 4 * 512 + x % 4 * 2), 1);
    WGMMA_COMMIT();
}

/* o [64 x D] += p v */
static inline void add_tile(float *o, const uint *p, uint v)
{
    const ulong tile = describe(v, 64 * 128);

    WGMMA_FENCE();
#pragma unroll
    for (int c = 0; c < 4; c++) {
        const ulong rows = tile + (ulong)(c * 128);

#pragma unroll
        for (int x = 0; x + 128 <= D; x += 128)
            WGMMA128(o + x / 2, p + c * 4, rows + (ulong)(x / 64 * 512), 1, 1);
#if D % 128 >= 64
        WGMMA64(o + D / 128 * 64, p + c * 4, rows + (ulong)(D / 128 * 1024), 1, 1);
#endif
#if D % 64 == 32
        WGMMA32(o + D / 64 * 32, p + c * 4, rows + (ulong)(D / 64 * 512), 1, 1);
#endif
    }
    WGMMA_COMMIT();
}

/* All sums are there. */
static inline void add_tile_end(float *o)
{
#pragma unroll
    for (int x = 0; x + 32 <= D / 2; x += 32)
        WGMMA_WAIT(0, SUM32, o, x);
#if D % 64 == 32
    WGMMA_WAIT(0, SUM16, o, D / 64 * 32);
#endif
}
