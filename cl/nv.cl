/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nv: instructions of NVIDIA GPUs since Ampere as words of OpenCL C; tests have
 * the same words for any device.
 *
 * Fragment of a warp's 16 rows: element (g, 2t), (g, 2t + 1), (g + 8, 2t),
 *          (g + 8, 2t + 1) of each 8 columns, g = lane / 4, t = lane % 4.
 *          Sums of matrix instructions lie so, and two neighbouring pieces
 *          rounded to 16 bits are a left operand.
 */
#define LANE ((int)(get_local_id(0) % 32)) /* signed: it is taken from signed numbers */

/* The address of local memory as matrix instructions take it. */
static inline uint local_address(__local const void *p)
{
    return (uint)(size_t)p;
}

/* Copy 16 bytes, or write zeros where bytes is 0, without waiting. */
static inline void copy16(uint to, __global const void *from, int bytes)
{
    __asm__ volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}

static inline void copy4(uint to, __global const void *from)
{
    __asm__ volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(to), "l"(from) : "memory");
}

/* Copies are waited for by groups: all but the newest N. */
#define COPIES_COMMIT() __asm__ volatile("cp.async.commit_group;" ::: "memory")
#define COPIES_WAIT_(n) __asm__ volatile("cp.async.wait_group " #n ";" ::: "memory")
#define COPIES_WAIT(n)  COPIES_WAIT_(n)

/* A post of 8 bytes in local memory: a round of it is over when `all` have come by, and the next begins. */
static inline void post_begin(uint at, int all)
{
    __asm__ volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(at), "r"(all) : "memory");
}

static inline void post_arrive(uint at)
{
    __asm__ volatile("{\n.reg .b64 none;\nmbarrier.arrive.shared.b64 none, [%0];\n}" ::"r"(at) : "memory");
}

/* Come by as soon as the copies are done that this work-item has begun. */
static inline void post_copied(uint at)
{
    __asm__ volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(at) : "memory");
}

/* Wait until a round is over, whose number is even or odd as `round` says. */
static inline void post_wait(uint at, int round)
{
    int over;

    do
        __asm__ volatile(
            "{\n.reg .pred p;\nmbarrier.try_wait.parity.shared.b64 p, [%1], %2;\nselp.s32 %0, 1, 0, p;\n}"
            : "=r"(over)
            : "r"(at), "r"(round)
            : "memory");
    while (!over);
}

/* Let the warp's lanes see what others of it have written. */
static inline void meet_warp(void)
{
    __asm__ volatile("bar.warp.sync 0xffffffff;" ::: "memory");
}

/* The same of a warp group, 128 work-items, in all memory. */
static inline void meet_group(void)
{
    __asm__ volatile("bar.sync %0, 128;" ::"r"((uint)get_local_id(0) / 128 + 1) : "memory");
}

static inline void store16(uint to, uint4 x)
{
    __asm__ volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(x.x), "r"(x.y), "r"(x.z), "r"(x.w)
                     : "memory");
}

/* Four tiles of 8 rows of 16 bytes; each lane says where one row is, and gets 4 bytes of each tile. */
static inline void fetch4(uint *x, uint from)
{
    __asm__ volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                     : "r"(from)
                     : "memory");
}

/* The same of 16-bit numbers, each tile turned: rows become columns. */
static inline void fetch4_turned(uint *x, uint from)
{
    __asm__ volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                     : "r"(from)
                     : "memory");
}

/* 2^x; 0 for what hidden scores give. */
static inline float exp2_fast(float x)
{
    float y;

    __asm__("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* Of the lane whose number differs in the bits of `mask`. */
static inline float of_lane(float x, int mask)
{
    float other;

    __asm__ volatile("shfl.sync.bfly.b32 %0, %1, %2, 31, 0xffffffff;" : "=f"(other) : "f"(x), "r"(mask));
    return other;
}

/* A number that all lanes of the warp have, so that the compiler knows it too: what depends on it alone needs no
 * register a lane, and addresses of matrix instructions need no detour. */
static inline int same(int x)
{
    int y;

    __asm__ volatile("redux.sync.max.s32 %0, %1, 0xffffffff;" : "=r"(y) : "r"(x) : "memory");
    return y;
}

/* Does any lane of the warp say so? */
static inline int any_lane(int yes)
{
    int any;

    __asm__ volatile("{\n.reg .pred p, q;\nsetp.ne.s32 p, %1, 0;\nvote.sync.any.pred q, p, 0xffffffff;\n"
                     "selp.s32 %0, 1, 0, q;\n}"
                     : "=r"(any)
                     : "r"(yes));
    return any;
}

/* Two numbers rounded to 16 bits, `low` in the low half. */
#if DTYPE == 1
#define KIND "f16"
#else
#define KIND "bf16"
#endif
static inline uint pack2(float low, float high)
{
    uint y;

    __asm__("cvt.rn." KIND "x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}

/* sum [16 x 8] += a [16 x 16] * b [16 x 8], of 16-bit numbers */
static inline void mma_16(float *sum, const uint *a, const uint *b)
{
    __asm__ volatile("mma.sync.aligned.m16n8k16.row.col.f32." KIND "." KIND ".f32 "
                     "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* sum [16 x 8] += a [16 x 8] * b [8 x 8], of f32 numbers of which 11 bits count */
static inline void mma_tf32(float *sum, const uint *a, const uint *b)
{
    __asm__ volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                     "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
