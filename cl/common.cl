/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common: what every kernel shares.
 *
 * DTYPE   storage of q, k, v, q_gate, k_gate and out: 0 f32, 1 f16, 2 bf16.
 *         Arithmetic is f32 throughout.
 * PACKED  1: sequences of several lengths lie one after another and `seqs`
 *         says where; 0: a batch of equal lengths.
 */
#ifndef DTYPE
#define DTYPE 0
#endif
#ifndef PACKED
#define PACKED 0
#endif

/* Made from bits, so that finite-math compilers leave them alone. */
#define NEG_INF as_float(0xff800000u)

#if DTYPE == 0
typedef float elem;
#define LOAD1(p, i)     ((p)[i])
#define LOADN(n, p, i)  vload##n(0, (p) + (i))
#define STORE1(x, p, i) ((p)[i] = (x))
#define STORE4(x, p, i) vstore4(x, 0, (p) + (i))
#elif DTYPE == 1
typedef half elem;
#define LOAD1(p, i) vload_half(0, (p) + (i))
#ifdef ALIGNED_HALF /* this runtime's vload_halfN faults on addresses that are no multiple of the vector */
#define WIDEN(n)                                                                                                     \
    static inline float##n widen##n(ushort##n x)                                                                     \
    {                                                                                                                \
        return vload_half##n(0, (const half *)&x);                                                                   \
    }
WIDEN(4)
WIDEN(8)
WIDEN(16)
#define LOADN(n, p, i) widen##n(vload##n(0, (__global const ushort *)(p) + (i)))
#else
#define LOADN(n, p, i) vload_half##n(0, (p) + (i))
#endif
#define STORE1(x, p, i) vstore_half_rte(x, 0, (p) + (i))
#define STORE4(x, p, i) vstore_half4_rte(x, 0, (p) + (i))
#else
typedef ushort elem;
#define LOAD1(p, i)     as_float((uint)(p)[i] << 16)
#define LOADN(n, p, i)  as_float##n(convert_uint##n(vload##n(0, (p) + (i))) << 16)
/* Round to nearest even; a NaN stays one. */
static inline uint bf16_bits(float x)
{
    const uint u = as_uint(x);

    return (u & 0x7fffffffu) > 0x7f800000u ? (u >> 16) | 64u : (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
}
#define STORE1(x, p, i) ((p)[i] = (ushort)bf16_bits(x))
static inline void store4_bf16(float4 v, __global ushort *to)
{
    vstore4((ushort4)((ushort)bf16_bits(v.x), (ushort)bf16_bits(v.y), (ushort)bf16_bits(v.z), (ushort)bf16_bits(v.w)),
            0, to);
}
#define STORE4(x, p, i) store4_bf16(x, (p) + (i))
#endif

/* Four or eight at once.  Compilers split vloadn, which may be given any address, into
 * single loads on some GPUs: one load of all bytes where the address allows. */
#if DTYPE == 0
#define WHOLE4(p) (*(__global const float4 *)(p))
#define WHOLE8(p) (*(__global const float8 *)(p))
#elif DTYPE == 1
#define WHOLE4(p) vloada_half4(0, p)
#define WHOLE8(p) vloada_half8(0, p)
#else
#define WHOLE4(p) as_float4(convert_uint4(*(__global const ushort4 *)(p)) << 16)
#define WHOLE8(p) as_float8(convert_uint8(*(__global const ushort8 *)(p)) << 16)
#endif
#define LOAD4(p, i)  LOADN(4, p, i)
#define LOAD8(p, i)  LOADN(8, p, i)
#define LOAD16(p, i) LOADN(16, p, i)

/* Where a sequence lies: first query token and tokens, the same for keys,
 * first query block and key block. */
typedef struct {
    int batch, q0, sq, k0, sk, row0, col0;
} seq_t;

#define SEQ_INTS 6

static inline seq_t seq_at(__global const int *seqs, int s, int sq, int sk)
{
    seq_t r;

#if PACKED
    r.batch = 0;
    r.q0 = seqs[s * SEQ_INTS];
    r.sq = seqs[s * SEQ_INTS + 1];
    r.k0 = seqs[s * SEQ_INTS + 2];
    r.sk = seqs[s * SEQ_INTS + 3];
    r.row0 = seqs[s * SEQ_INTS + 4];
    r.col0 = seqs[s * SEQ_INTS + 5];
#else
    r.batch = s;
    r.q0 = r.k0 = r.row0 = r.col0 = 0;
    r.sq = sq;
    r.sk = sk;
#endif
    return r;
}

/* A token tensor: x offset, y batch stride, z token stride, w head stride. */
static inline ulong token_at(ulong4 at, int batch, int token, int head)
{
    return at.x + (ulong)batch * at.y + (ulong)token * at.z + (ulong)head * at.w;
}

/* The group's number in all that is to be done, of which a launch may be a part; and counted from the last
 * on where that begins first.  See clg_enqueue_long(). */
#define FIRST_GROUP(d)     (get_global_offset(d) / get_local_size(d))
#define GROUP(d)           ((int)(FIRST_GROUP(d) + get_group_id(d)))
#define GROUP_BACKWARDS(d) ((int)(FIRST_GROUP(d) + get_num_groups(d) - 1 - get_group_id(d)))

/* Key blocks that query block i sees: 0 .. answer - 1.  Causal is aligned
 * bottom-right; the last valid query of the block decides. */
static inline int visible_blocks(int causal, int i, int block_q, int block_k, int sq, int sk)
{
    const int all = (sk + block_k - 1) / block_k;
    const int last = min((i + 1) * block_q, sq) - 1 + sk - sq;

    return !causal ? all : last < 0 ? 0 : min(all, last / block_k + 1);
}
