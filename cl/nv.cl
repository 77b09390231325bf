/*
 * nv: NVIDIA's instructions as words, and tiles in local memory.  Common to
 * nv_mma.cl and nv_wgmma.cl, which hold the two products of attention.
 *
 * A tile   64 rows (keys) of D 16-bit channels, in panels of 64 channels; a
 *          row of a panel is 128 bytes, its 16-byte chunks permuted by the
 *          row (xor), which is what wgmma calls 128-byte swizzle and what
 *          keeps ldmatrix free of bank conflicts.
 * Fragment of a warp's 16 rows: element (g, 2t), (g, 2t + 1), (g + 8, 2t),
 *          (g + 8, 2t + 1) of each 8 columns, g = lane / 4, t = lane % 4.
 *          Both kinds of matrix instruction hold their sums so, and two
 *          neighbouring pieces rounded to 16 bits are a left operand.
 */
#define PANELS     ((D + 63) / 64)
#define TILE_BYTES (PANELS * 64 * 128)
#define LANE       (get_local_id(0) % 32)

/* The address of local memory as matrix instructions take it. */
static inline uint local_address(__local const void *p)
{
    return (uint)(size_t)p;
}

static inline uint chunk_at(int row, int chunk)
{
    return (uint)(chunk / 8 * 64 * 128 + row * 128 + ((chunk % 8) ^ (row % 8)) * 16);
}

/* Copy 16 bytes, or write zeros where bytes is 0, without waiting. */
static inline void copy16(uint to, __global const void *from, int bytes)
{
    __asm__ volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}

/* Copies are waited for by groups: all but the newest N. */
#define COPIES_COMMIT() __asm__ volatile("cp.async.commit_group;" ::: "memory")
#define COPIES_WAIT_(n) __asm__ volatile("cp.async.wait_group " #n ";" ::: "memory")
#define COPIES_WAIT(n)  COPIES_WAIT_(n)

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

/* 2^x; 0 for what hidden scores give. */
static inline float exp2_fast(float x)
{
    float y;

    __asm__("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* Of the lane whose number differs in bit `mask`. */
#define OF_LANE(x, mask)                                                                                             \
    __asm__ volatile("shfl.sync.bfly.b32 %0, %1, " #mask ", 31, 0xffffffff;" : "=f"(other) : "f"(x))

/* The greatest, or the sum, over the 4 lanes that share a row. */
static inline float quad_max(float x)
{
    float other;

    OF_LANE(x, 1);
    x = fmax(x, other);
    OF_LANE(x, 2);
    return fmax(x, other);
}

static inline float quad_sum(float x)
{
    float other;

    OF_LANE(x, 1);
    x += other;
    OF_LANE(x, 2);
    return x + other;
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
