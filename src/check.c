/*
 * check.c: checking the tensors of a call, and reading its lengths off them.
 *
 * The shapes of clgaze_tensors are a table: each dimension has a letter, each
 * letter one value a call.  A letter takes its value from the problem or from
 * the first tensor that has it; every other tensor must agree.
 */
#include <string.h>

#include "internal.h"

/* ---- the table ---------------------------------------------------------- */

/* Letters of dimensions. */
enum dim {
    NONE,
    B,     /* batch                                      */
    SQ,    /* query tokens of the shapes                 */
    SK,    /* key tokens of the shapes                   */
    HQ,    /* query heads                                */
    HK,    /* key-value heads                            */
    HL,    /* heads of the lists                         */
    HS,    /* heads of the scores: Hq or the lists'      */
    HW,    /* heads of w_k and k_gated: Hq or Hk         */
    CH,    /* D                                          */
    DG,    /* gate size                                  */
    QP,    /* pooled query channels                      */
    KP,    /* pooled key channels                        */
    RN,    /* rope pairs                                 */
    NQ,    /* query blocks of the shapes                 */
    NK,    /* key blocks of a row of scores              */
    NB,    /* key blocks of k_pooled                     */
    WIDTH, /* entries of a row of blocks                 */
    S1,    /* sequences + 1                              */
    ROWS1, /* B * HL * NQ + 1                            */
    ENTS,  /* entries of indices                         */
    DIMS
};

enum type { T_DATA, T_WEIGHT, T_F32, T_I32, T_U8 };

struct field {
    const char *name;
    size_t at;
    enum type type;
    bool strided; /* a token tensor                      */
    enum dim dim[4];
};
#define FIELD(name, type, strided, ...)                                                                              \
    {                                                                                                                \
#name, offsetof(clgaze_tensors, name), type, strided,                                                        \
        {                                                                                                            \
            __VA_ARGS__                                                                                              \
        }                                                                                                            \
    }

/* In the order of clgaze_tensors. */
static const struct field fields[] = {
    FIELD(q, T_DATA, true, B, SQ, HQ, CH),
    FIELD(k, T_DATA, true, B, SK, HK, CH),
    FIELD(v, T_DATA, true, B, SK, HK, CH),
    FIELD(q_gate, T_DATA, true, B, SQ, HQ, CH),
    FIELD(k_gate, T_DATA, true, B, SK, HK, CH),
    FIELD(rope_inv_freq, T_F32, false, RN, NONE, NONE, NONE),
    FIELD(w_k, T_WEIGHT, false, HW, KP, DG, NONE),
    FIELD(w_q, T_WEIGHT, false, HQ, QP, DG, NONE),
    FIELD(q_pooled, T_F32, false, B, NQ, HQ, QP),
    FIELD(k_pooled, T_F32, false, B, NB, HK, KP),
    FIELD(q_gated, T_F32, false, B, NQ, HQ, DG),
    FIELD(k_gated, T_F32, false, B, NB, HW, DG),
    FIELD(scores, T_F32, false, B, HS, NQ, NK),
    FIELD(counts, T_I32, false, B, HL, NQ, NONE),
    FIELD(blocks, T_I32, false, B, HL, NQ, WIDTH),
    FIELD(mask, T_U8, false, B, HL, NQ, NK),
    FIELD(indptr, T_I32, false, ROWS1, NONE, NONE, NONE),
    FIELD(indices, T_I32, false, ENTS, NONE, NONE, NONE),
    FIELD(cu_seqlens_q, T_I32, false, S1, NONE, NONE, NONE),
    FIELD(cu_seqlens_k, T_I32, false, S1, NONE, NONE, NONE),
    FIELD(out, T_DATA, true, B, SQ, HQ, CH),
    FIELD(lse, T_F32, false, B, HQ, SQ, NONE),
};
enum {
    Q,
    K,
    V,
    Q_GATE,
    K_GATE,
    INV_FREQ,
    W_K,
    W_Q,
    Q_POOLED,
    K_POOLED,
    Q_GATED,
    K_GATED,
    SCORES,
    COUNTS,
    BLOCKS,
    MASK,
    INDPTR,
    INDICES,
    CU_Q,
    CU_K,
    OUT,
    LSE,
    FIELDS
};
_Static_assert(CLG_COUNT(fields) == FIELDS, "one line for each tensor");

/* What an operation does with a tensor. */
enum role { UNUSED, LENGTH /* its shape is read if it is there */, OPTIONAL_OUT, INPUT, OUTPUT };

struct check {
    const clgaze_context *ctx;
    const clgaze_problem *p;
    clgaze_tensors *t;
    int64_t value[DIMS], most[DIMS]; /* value 0: not known yet */
    const char *from[DIMS];          /* the tensor that gave it */
    enum role role[FIELDS];
};

static clgaze_tensor *field_of(const struct check *c, int f)
{
    return (clgaze_tensor *)(void *)((char *)c->t + fields[f].at);
}

static bool given(const struct check *c, int f)
{
    return field_of(c, f)->buffer != NULL;
}

static void set_roles(struct check *c, clgaze_op op)
{
    const clgaze_problem *p = c->p;
    enum role *r = c->role;
    enum role middle = op == CLGAZE_PREFILL ? OPTIONAL_OUT : UNUSED;

    for (int f = Q_POOLED; f <= BLOCKS; f++)
        r[f] = middle;
    if (p->packed)
        r[CU_Q] = r[CU_K] = INPUT;
    if (op == CLGAZE_GATE || op == CLGAZE_SCORE || op == CLGAZE_SELECT)
        r[Q] = r[K] = r[Q_GATE] = r[K_GATE] = LENGTH;
    if (op == CLGAZE_POOL) {
        bool q_side = given(c, Q_GATE) || given(c, Q_POOLED), k_side = given(c, K_GATE) || given(c, K_POOLED);

        r[Q_GATE] = q_side || !k_side ? INPUT : UNUSED;
        r[Q_POOLED] = q_side || !k_side ? OUTPUT : UNUSED;
        r[K_GATE] = k_side || !q_side ? INPUT : UNUSED;
        r[K_POOLED] = k_side || !q_side ? OUTPUT : UNUSED;
    }
    if (op == CLGAZE_PREFILL)
        r[Q_GATE] = r[K_GATE] = INPUT;
    if (op == CLGAZE_GATE || op == CLGAZE_PREFILL) {
        r[W_K] = INPUT;
        r[W_Q] = p->gate_double ? INPUT : UNUSED;
        r[INV_FREQ] = p->rope_pairs ? INPUT : UNUSED;
    }
    if (op == CLGAZE_GATE) {
        r[Q_POOLED] = r[K_POOLED] = INPUT;
        r[Q_GATED] = r[K_GATED] = OUTPUT;
    }
    if (op == CLGAZE_SCORE) {
        r[Q_GATED] = r[K_GATED] = INPUT;
        r[SCORES] = OUTPUT;
    }
    if (op == CLGAZE_SELECT) {
        r[SCORES] = INPUT;
        r[COUNTS] = r[BLOCKS] = OUTPUT;
    }
    if (op == CLGAZE_ATTEND || op == CLGAZE_PREFILL) {
        r[Q] = r[K] = r[V] = INPUT;
        r[OUT] = OUTPUT;
        r[LSE] = p->lse ? OUTPUT : UNUSED;
    }
    if (op == CLGAZE_ATTEND) {
        r[COUNTS] = r[BLOCKS] = p->lists == CLGAZE_LISTS_BLOCKS ? INPUT : UNUSED;
        r[MASK] = p->lists == CLGAZE_LISTS_MASK ? INPUT : UNUSED;
        r[INDPTR] = r[INDICES] = p->lists == CLGAZE_LISTS_CSR ? INPUT : UNUSED;
    }
}

static void set_dims(struct check *c, clgaze_op op)
{
    const clgaze_problem *p = c->p;
    int64_t *v = c->value, *most = c->most;

    v[HQ] = p->q_heads;
    v[HK] = p->kv_heads;
    v[HL] = clg_list_heads(p);
    v[HW] = p->gate_double ? p->kv_heads : p->q_heads;
    v[CH] = p->head_dim;
    v[DG] = clg_gate_dim(p);
    v[QP] = (int64_t)clg_pools(p->q_pool) * p->head_dim;
    v[KP] = (int64_t)clg_pools(p->k_pool) * p->head_dim;
    v[RN] = p->rope_pairs;
    v[HS] = op == CLGAZE_SELECT ? 0 : p->q_heads;
    v[B] = p->packed ? 1 : 0;
    most[B] = p->max_batch;
    most[SQ] = p->max_q;
    most[SK] = p->max_k;
    most[HS] = p->q_heads;
    most[NQ] = clg_max_rows(p);
    most[NK] = clg_max_cols(p);
    most[NB] = clg_max_blocks_k(p);
    most[WIDTH] = 32768;
    most[S1] = (int64_t)p->max_batch + 1;
    most[ENTS] = INT32_MAX;
    most[ROWS1] = INT32_MAX;
}

/* Block counts follow from lengths, where those are known. */
static void derive(struct check *c, const clgaze_call *call)
{
    const clgaze_problem *p = c->p;
    int64_t *v = c->value;

    if (p->packed) {
        v[NK] = ((int64_t)call->longest_k + p->block_k - 1) / p->block_k;
        return;
    }
    if (v[SQ] && !v[NQ])
        v[NQ] = (v[SQ] + p->block_q - 1) / p->block_q;
    if (v[SK] && !v[NK])
        v[NK] = v[NB] = (v[SK] + p->block_k - 1) / p->block_k;
    if (v[NK] && !v[NB])
        v[NB] = v[NK];
    if (v[NB] && !v[NK])
        v[NK] = v[NB];
}

/* ---- one tensor ---------------------------------------------------------- */

static clgaze_dtype wanted_dtype(const struct check *c, enum type type)
{
    static const clgaze_dtype fixed[] = {CLGAZE_F32, CLGAZE_F32, CLGAZE_F32, CLGAZE_I32, CLGAZE_U8};

    return type == T_DATA ? c->p->dtype : type == T_WEIGHT ? c->p->weight_dtype : fixed[type];
}

static int rank_of(const struct field *f)
{
    int n = 0;

    while (n < 4 && f->dim[n])
        n++;
    return n;
}

static clgaze_status check_shape(struct check *c, const struct field *f, const clgaze_tensor *t)
{
    const clgaze_context *ctx = c->ctx;
    clgaze_status st = CLGAZE_OK;

    for (int i = 0; i < rank_of(f); i++) {
        enum dim d = f->dim[i];
        clgaze_status code = d >= HQ && d <= HW ? CLGAZE_ERR_HEADS : CLGAZE_ERR_SIZE;

        if (c->value[d]) {
            NEED(t->shape[i] == c->value[d], code, "%s.shape[%d] is %lld: it must be %lld%s%s", f->name, i,
                 (long long)t->shape[i], (long long)c->value[d], c->from[d] ? ", as in " : "",
                 c->from[d] ? c->from[d] : "");
        } else {
            NEED(t->shape[i] >= 1 && t->shape[i] <= c->most[d], code, "%s.shape[%d] is %lld: this plan takes 1..%lld",
                 f->name, i, (long long)t->shape[i], (long long)c->most[d]);
            NEED(d != HS || t->shape[i] == c->value[HQ] || t->shape[i] == c->value[HL], code,
                 "%s.shape[%d] is %lld heads: it must be %lld (query heads) or %lld (lists)", f->name, i,
                 (long long)t->shape[i], (long long)c->value[HQ], (long long)c->value[HL]);
            c->value[d] = t->shape[i];
            c->from[d] = f->name;
        }
    }
out:
    return st;
}

/* Strides: any for tokens as long as elements of outputs do not meet. */
static clgaze_status check_strides(const struct check *c, const struct field *f, const clgaze_tensor *t, bool output)
{
    const clgaze_context *ctx = c->ctx;
    clgaze_tensor compact = clgaze_tensor_compact(t->buffer, 0, t->dtype, t->rank, t->shape);
    clgaze_status st = CLGAZE_OK;

    for (int i = 0; i < t->rank; i++) {
        bool same = t->stride[i] == compact.stride[i] || t->shape[i] == 1;

        NEED(same || (f->strided && i < t->rank - 1), CLGAZE_ERR_STRIDE, "%s.stride[%d] is %lld: it must be %lld%s",
             f->name, i, (long long)t->stride[i], (long long)compact.stride[i],
             f->strided ? "" : ", as the tensor must be compact");
        NEED(t->stride[i] >= 0 && t->stride[i] <= INT64_MAX / t->shape[i] / 8, CLGAZE_ERR_STRIDE,
             "%s.stride[%d] is %lld: it must be 0 or more, and less than the buffer", f->name, i,
             (long long)t->stride[i]);
        for (int j = 0; output && j < t->rank; j++) {
            bool inner = t->stride[j] < t->stride[i] || (t->stride[j] == t->stride[i] && j > i);

            NEED(i == j || t->shape[i] == 1 || t->shape[j] == 1 || !inner ||
                     t->stride[i] >= t->stride[j] * t->shape[j],
                 CLGAZE_ERR_STRIDE, "%s.stride[%d] is %lld: elements of an output would lie on top of each other",
                 f->name, i, (long long)t->stride[i]);
        }
    }
out:
    return st;
}

/* Elements from the first to one past the last. */
static int64_t extent(const clgaze_tensor *t)
{
    int64_t end = 1;

    for (int i = 0; i < t->rank; i++)
        end += (t->shape[i] - 1) * t->stride[i];
    return end;
}

static clgaze_status check_buffer(const struct check *c, const struct field *f, const clgaze_tensor *t)
{
    const clgaze_context *ctx = c->ctx;
    clgaze_status st = CLGAZE_OK;
    size_t bytes = 0, size = clgaze_dtype_size(t->dtype);
    cl_context owner = NULL;
    cl_int err = clGetMemObjectInfo(t->buffer, CL_MEM_SIZE, sizeof bytes, &bytes, NULL);

    NEED(err == CL_SUCCESS, CLGAZE_ERR_OPENCL, "%s.buffer is not an OpenCL buffer (%d)", f->name, (int)err);
    TRY_CL(clGetMemObjectInfo(t->buffer, CL_MEM_CONTEXT, sizeof owner, &owner, NULL));
    NEED(owner == ctx->cl, CLGAZE_ERR_CONTEXT, "%s.buffer belongs to another OpenCL context", f->name);
    NEED(t->offset <= bytes / size && (uint64_t)extent(t) <= bytes / size - t->offset, CLGAZE_ERR_BOUNDS,
         "%s reaches to element %llu, but its buffer holds %zu", f->name,
         (unsigned long long)t->offset + (unsigned long long)extent(t), bytes / size);
out:
    return st;
}

static clgaze_status check_tensor(struct check *c, int at)
{
    const clgaze_context *ctx = c->ctx;
    const struct field *f = &fields[at];
    clgaze_tensor *t = field_of(c, at);
    clgaze_dtype dtype = wanted_dtype(c, f->type);
    clgaze_status st = CLGAZE_OK;

    NEED(t->buffer || c->role[at] < INPUT, CLGAZE_ERR_NULL, "%s is missing: this operation needs it", f->name);
    if (!t->buffer)
        goto out;
    NEED(t->dtype == dtype, CLGAZE_ERR_DTYPE, "%s is %s: this plan takes %s", f->name, clgaze_dtype_name(t->dtype),
         clgaze_dtype_name(dtype));
    NEED(t->rank == rank_of(f), CLGAZE_ERR_RANK, "%s has %d dimensions: it must have %d", f->name, (int)t->rank,
         rank_of(f));
    TRY(check_shape(c, f, t));
    TRY(check_strides(c, f, t, c->role[at] == OUTPUT || c->role[at] == OPTIONAL_OUT));
    TRY(check_buffer(c, f, t));
out:
    return st;
}

/* ---- all of a call ------------------------------------------------------- */

static clgaze_status check_overlap(const struct check *c)
{
    const clgaze_context *ctx = c->ctx;
    clgaze_status st = CLGAZE_OK;

    for (int i = 0; i < FIELDS; i++) {
        const clgaze_tensor *a = field_of(c, i);
        size_t size = clgaze_dtype_size(a->dtype);

        if (!a->buffer || (c->role[i] != OUTPUT && c->role[i] != OPTIONAL_OUT))
            continue;
        for (int j = 0; j < FIELDS; j++) {
            const clgaze_tensor *b = field_of(c, j);
            size_t other = clgaze_dtype_size(b->dtype);

            if (i == j || c->role[j] == UNUSED || c->role[j] == LENGTH || b->buffer != a->buffer)
                continue;
            NEED((a->offset + (size_t)extent(a)) * size <= b->offset * other ||
                     (b->offset + (size_t)extent(b)) * other <= a->offset * size,
                 CLGAZE_ERR_OVERLAP, "%s overlaps %s: an output needs memory of its own", fields[i].name,
                 fields[j].name);
        }
    }
out:
    return st;
}

/* What check_tensor() cannot know: sizes that depend on several others. */
static clgaze_status check_sizes(struct check *c, clgaze_op op)
{
    const clgaze_context *ctx = c->ctx;
    const clgaze_problem *p = c->p;
    const int64_t *v = c->value;
    clgaze_status st = CLGAZE_OK;

    NEED(!c->role[INDPTR] || v[ROWS1] == v[B] * v[HL] * v[NQ] + 1, CLGAZE_ERR_SIZE,
         "indptr.shape[0] is %lld: it must be rows + 1, %lld", (long long)v[ROWS1],
         (long long)(v[B] * v[HL] * v[NQ] + 1));
    if (c->role[BLOCKS] == OUTPUT || (c->role[BLOCKS] == OPTIONAL_OUT && given(c, BLOCKS))) {
        NEED(v[WIDTH] >= v[NK] || v[WIDTH] >= p->sink + p->local, CLGAZE_ERR_SIZE,
             "blocks.shape[3] is %lld: a row must hold sink + local, %d + %d", (long long)v[WIDTH], (int)p->sink,
             (int)p->local);
        NEED(op != CLGAZE_PREFILL || (given(c, COUNTS) && given(c, BLOCKS)), CLGAZE_ERR_NULL,
             "counts and blocks must be given both or neither");
    }
out:
    return st;
}

static void read_sizes(const struct check *c, struct clg_sizes *n, const clgaze_call *call)
{
    const clgaze_problem *p = c->p;
    const int64_t *v = c->value;

    n->batch = v[B] ? (int)v[B] : 1;
    n->sequences = p->packed ? (int)v[S1] - 1 : n->batch;
    n->rows = v[NQ] ? (int)v[NQ] : clg_max_rows(p);
    n->cols = (int)v[NK];
    n->blocks_k = v[NB] ? (int)v[NB] : clg_max_blocks_k(p);
    n->sq = v[SQ] ? (int)v[SQ] : n->rows * p->block_q;
    n->sk = v[SK] ? (int)v[SK] : n->blocks_k * p->block_k;
    n->longest_q = p->packed ? call->longest_q : n->sq;
    n->longest_k = p->packed ? call->longest_k : n->sk;
    n->rows_seq = (n->longest_q + p->block_q - 1) / p->block_q;
    n->blocks_k_seq = (n->longest_k + p->block_k - 1) / p->block_k;
    n->score_heads = v[HS] ? (int)v[HS] : p->q_heads;
    n->list_heads = (int)v[HL];
    n->width = (int)v[WIDTH];
}

clgaze_status clg_tensors_check(struct clg_run *run, clgaze_op op, const clgaze_call *call)
{
    const clgaze_context *ctx = run->plan->ctx;
    const clgaze_problem *p = run->p;
    clgaze_status st = CLGAZE_OK;
    struct check c;

    memset(&c, 0, sizeof c);
    c.ctx = ctx;
    c.p = p;
    c.t = &run->t;
    set_roles(&c, op);
    set_dims(&c, op);
    if (p->packed) {
        NEED(call->longest_q >= 1 && call->longest_q <= p->max_q, CLGAZE_ERR_SIZE,
             "call.longest_q is %d: this plan takes 1..%d", (int)call->longest_q, (int)p->max_q);
        NEED(call->longest_k >= 1 && call->longest_k <= p->max_k, CLGAZE_ERR_SIZE,
             "call.longest_k is %d: this plan takes 1..%d", (int)call->longest_k, (int)p->max_k);
    }
    for (int f = 0; f < FIELDS; f++)
        if (c.role[f] != UNUSED) {
            derive(&c, call);
            TRY(check_tensor(&c, f));
        }
    derive(&c, call);
    TRY(check_sizes(&c, op));
    TRY(check_overlap(&c));
    read_sizes(&c, &run->n, call);
    for (int f = 0; f < FIELDS; f++) /* what an operation does not use it does not see */
        if (c.role[f] == UNUSED || c.role[f] == LENGTH)
            memset(field_of(&c, f), 0, sizeof(clgaze_tensor));
out:
    return st;
}
