/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cases.c: a problem with every array of the pipeline on the host.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

const char *const array_names[ARRAYS] = {
    "q",
    "k",
    "v",
    "q_gate",
    "k_gate",
    "rope_inv_freq",
    "w_k",
    "w_q",
    "q_pooled",
    "k_pooled",
    "q_gated",
    "k_gated",
    "scores",
    "counts",
    "blocks",
    "mask",
    "indptr",
    "indices",
    "cu_seqlens_q",
    "cu_seqlens_k",
    "out",
    "lse",
    "truth",
    "dout",
    "dq",
    "dk",
    "dv",
    "dw_k",
    "dw_q",
    "moments_k",
    "moments_q",
    "loss",
};

_Static_assert(sizeof(clgaze_tensors) == ARRAYS * sizeof(clgaze_tensor), "enum array names every tensor");

bool is_float(enum array id)
{
    return id <= A_SCORES || id >= A_OUT;
}

struct clg_ref as_ref(const struct test_case *c, void *const r[ARRAYS])
{
    void *const *d = c->data;
    struct clg_ref t = {
        .batch = c->n.batch,
        .sq = c->n.sq,
        .sk = c->n.sk,
        .sequences = c->n.sequences,
        .cu_seqlens_q = d[A_CU_Q],
        .cu_seqlens_k = d[A_CU_K],
        .q = d[A_Q],
        .k = d[A_K],
        .v = d[A_V],
        .q_gate = d[A_Q_GATE],
        .k_gate = d[A_K_GATE],
        .rope_inv_freq = d[A_INV_FREQ],
        .w_k = d[A_W_K],
        .w_q = d[A_W_Q],
        .q_pooled = r[A_Q_POOLED],
        .k_pooled = r[A_K_POOLED],
        .q_gated = r[A_Q_GATED],
        .k_gated = r[A_K_GATED],
        .scores = r[A_SCORES],
        .score_heads = c->score_heads,
        .counts = r[A_COUNTS],
        .blocks = r[A_BLOCKS],
        .width = c->width,
        .mask = d[A_MASK],
        .indptr = d[A_INDPTR],
        .indices = d[A_INDICES],
        .out = r[A_OUT],
        .lse = r[A_LSE],
        .truth = r[A_TRUTH],
        .dout = d[A_DOUT],
        .dq = r[A_DQ],
        .dk = r[A_DK],
        .dv = r[A_DV],
    };

    return t;
}

/* ---- which arrays, and their shapes ------------------------------------------ */

static uint32_t inputs(const struct test_case *c, clgaze_op op)
{
    const clgaze_problem *p = &c->p;
    uint32_t cu = p->packed ? BIT(A_CU_Q) | BIT(A_CU_K) : 0;
    uint32_t gate = BIT(A_W_K) | (p->gate_double ? BIT(A_W_Q) : 0) | (p->rope_pairs ? BIT(A_INV_FREQ) : 0);
    uint32_t tokens = BIT(A_Q_GATE) | BIT(A_K_GATE), lengths = p->packed ? 0 : tokens;
    static const uint32_t lists[] = {0, BIT(A_COUNTS) | BIT(A_BLOCKS), BIT(A_MASK), BIT(A_INDPTR) | BIT(A_INDICES)};

    switch (op) {
    case CLGAZE_POOL:
        return cu | tokens;
    case CLGAZE_GATE:
        return cu | gate | lengths | BIT(A_Q_POOLED) | BIT(A_K_POOLED);
    case CLGAZE_SCORE:
        return cu | lengths | BIT(A_Q_GATED) | BIT(A_K_GATED);
    case CLGAZE_SELECT:
        return cu | BIT(A_SCORES);
    case CLGAZE_ATTEND:
        return cu | BIT(A_Q) | BIT(A_K) | BIT(A_V) | lists[p->lists];
    case CLGAZE_TRUTH:
        return cu | BIT(A_Q) | BIT(A_K) | BIT(A_V);
    case CLGAZE_DISTILL:
        return cu | gate | lengths | BIT(A_Q_POOLED) | BIT(A_K_POOLED) | BIT(A_TRUTH);
    case CLGAZE_ATTEND_BWD:
        return cu | BIT(A_Q) | BIT(A_K) | BIT(A_V) | lists[p->lists] | BIT(A_OUT) | BIT(A_LSE) | BIT(A_DOUT);
    default:
        return cu | gate | tokens | BIT(A_Q) | BIT(A_K) | BIT(A_V);
    }
}

static uint32_t outputs(const struct test_case *c, clgaze_op op)
{
    static const uint32_t made[] = {BIT(A_Q_POOLED) | BIT(A_K_POOLED),
                                    BIT(A_Q_GATED) | BIT(A_K_GATED),
                                    BIT(A_SCORES),
                                    BIT(A_COUNTS) | BIT(A_BLOCKS),
                                    BIT(A_OUT),
                                    0,
                                    BIT(A_TRUTH) | BIT(A_OUT) | BIT(A_LSE),
                                    BIT(A_DW_K) | BIT(A_LOSS),
                                    BIT(A_DQ) | BIT(A_DK) | BIT(A_DV)};
    uint32_t lse = c->p.lse ? BIT(A_LSE) : 0;

    if (op == CLGAZE_PREFILL)
        return made[0] | made[1] | made[2] | made[3] | made[4] | lse;
    if (op == CLGAZE_DISTILL && c->p.gate_double)
        return made[op] | BIT(A_DW_Q);
    return made[op] | (op == CLGAZE_ATTEND ? lse : 0);
}

uint32_t op_inputs(const struct test_case *c, clgaze_op op)
{
    return inputs(c, op) & ~c->absent;
}

uint32_t op_outputs(const struct test_case *c, clgaze_op op)
{
    return outputs(c, op) & ~c->absent;
}

static int token_shape(const struct test_case *c, enum array id, int64_t *shape)
{
    bool query = id == A_Q || id == A_Q_GATE || id == A_OUT || id == A_DOUT || id == A_DQ;

    shape[0] = c->n.batch;
    shape[1] = query ? c->n.sq : c->n.sk;
    shape[2] = query ? c->p.q_heads : c->p.kv_heads;
    shape[3] = c->p.head_dim;
    return 4;
}

/* q_pooled, k_pooled, q_gated, k_gated, w_q, w_k, dw_q, dw_k. */
static int gate_shape(const struct test_case *c, enum array id, int64_t *shape)
{
    const clgaze_problem *p = &c->p;
    struct clg_ref t = as_ref(c, c->data);
    bool query = id == A_Q_POOLED || id == A_Q_GATED || id == A_W_Q || id == A_DW_Q;
    int width = clg_pools(query ? p->q_pool : p->k_pool) * p->head_dim;
    bool weight = id == A_W_Q || id == A_W_K || id == A_DW_Q || id == A_DW_K;
    int heads = query || ((id == A_K_GATED || weight) && !p->gate_double) ? p->q_heads : p->kv_heads;

    if (weight) {
        shape[0] = heads;
        shape[1] = width;
        shape[2] = clg_gate_dim(p);
        return 3;
    }
    shape[0] = c->n.batch;
    shape[1] = query ? clg_ref_rows(p, &t) : clg_ref_blocks_k(p, &t);
    shape[2] = heads;
    shape[3] = id == A_Q_POOLED || id == A_K_POOLED ? width : clg_gate_dim(p);
    return 4;
}

static int list_shape(const struct test_case *c, enum array id, int64_t *shape)
{
    struct clg_ref t = as_ref(c, c->data);
    int64_t rows = clg_ref_rows(&c->p, &t), heads = clg_ref_list_heads(&c->p);
    const int32_t *indptr = c->data[A_INDPTR];

    shape[0] = c->n.batch;
    shape[1] = id == A_SCORES ? c->score_heads : id == A_TRUTH ? c->p.q_heads : heads;
    shape[2] = rows;
    shape[3] = id == A_BLOCKS ? c->width : clg_ref_cols(&c->p, &t);
    if (id == A_INDPTR)
        shape[0] = c->n.batch * heads * rows + 1;
    if (id == A_INDICES)
        shape[0] = indptr && indptr[c->n.batch * heads * rows] ? indptr[c->n.batch * heads * rows] : 1;
    return id == A_COUNTS ? 3 : id == A_INDPTR || id == A_INDICES ? 1 : 4;
}

int array_shape(const struct test_case *c, enum array id, int64_t shape[4], clgaze_dtype *dtype)
{
    *dtype = id == A_MASK ? CLGAZE_U8 : is_float(id) ? CLGAZE_F32 : CLGAZE_I32;
    switch (id) {
    case A_Q:
    case A_K:
    case A_V:
    case A_Q_GATE:
    case A_K_GATE:
    case A_OUT:
    case A_DOUT:
    case A_DQ:
    case A_DK:
    case A_DV:
        *dtype = c->p.dtype;
        return token_shape(c, id, shape);
    case A_INV_FREQ:
        shape[0] = c->p.rope_pairs;
        return 1;
    case A_CU_Q:
    case A_CU_K:
        shape[0] = c->n.sequences + 1;
        return 1;
    case A_LSE:
        shape[0] = c->n.batch;
        shape[1] = c->p.q_heads;
        shape[2] = c->n.sq;
        return 3;
    case A_MOMENTS_K:
    case A_MOMENTS_Q:
        shape[0] = 2;
        return 1 + gate_shape(c, id == A_MOMENTS_K ? A_W_K : A_W_Q, shape + 1);
    case A_LOSS:
        shape[0] = 1;
        return 1;
    case A_W_K:
    case A_W_Q:
        *dtype = c->p.weight_dtype;
        return gate_shape(c, id, shape);
    case A_Q_POOLED:
    case A_K_POOLED:
    case A_Q_GATED:
    case A_K_GATED:
    case A_DW_K:
    case A_DW_Q:
        return gate_shape(c, id, shape);
    default:
        return list_shape(c, id, shape);
    }
}

size_t array_count(const struct test_case *c, enum array id)
{
    int64_t shape[4];
    clgaze_dtype dtype;
    int rank = array_shape(c, id, shape, &dtype);
    size_t n = 1;

    for (int i = 0; i < rank; i++)
        n *= (size_t)shape[i];
    return n;
}

/* Floats and ints on the host, whatever the type on the device. */
size_t array_bytes(const struct test_case *c, enum array id)
{
    return array_count(c, id) * (id == A_MASK ? 1 : 4);
}

void *array_copy(const struct test_case *c, enum array id)
{
    void *copy = malloc(array_bytes(c, id));

    assert_non_null(copy);
    memcpy(copy, c->data[id], array_bytes(c, id));
    return copy;
}

/* ---- making -------------------------------------------------------------------- */

/* Zeroed; nothing is that large, so running out of memory is a failed test. */
static void *fresh(const struct test_case *c, enum array id)
{
    void *p = calloc(array_count(c, id) + 1, 4);

    assert_non_null(p);
    return p;
}

static void fill_floats(struct test_case *c, enum array id)
{
    int64_t shape[4];
    clgaze_dtype dtype;
    float *x = c->data[id], scale = 1;
    size_t n = array_count(c, id);

    array_shape(c, id, shape, &dtype);
    if (id == A_W_K || id == A_W_Q)
        scale = 1 / sqrtf((float)shape[1]);
    for (size_t i = 0; i < n; i++)
        if (id == A_INV_FREQ)
            x[i] = powf(10000.0f, -(float)i / (float)n);
        else if (id == A_TRUTH) /* a zero now and then; what is invisible has no part whatever it holds */
            x[i] = below(&c->rng, 5) ? (float)(1 + below(&c->rng, 64)) / 64 : 0;
        else
            x[i] = rounded(normal(&c->rng) * scale, dtype);
}

static void fill_cu(struct test_case *c, enum array id)
{
    int32_t *cu = c->data[id];
    const int *lengths = id == A_CU_Q ? c->n.q : c->n.k;

    for (int s = 0; s < c->n.sequences; s++)
        cu[s + 1] = cu[s] + lengths[s];
}

/* Scores that the causal rule hides are -inf. */
static void hide_scores(struct test_case *c)
{
    struct clg_ref t = as_ref(c, c->data);
    int rows = clg_ref_rows(&c->p, &t), cols = clg_ref_cols(&c->p, &t);
    float *x = c->data[A_SCORES];

    for (int s = 0; s < clg_ref_sequences(&c->p, &t); s++) {
        struct clg_ref_seq seq = clg_ref_seq(&c->p, &t, s);

        for (int h = 0; h < c->score_heads; h++)
            for (int i = 0; i < seq.nq; i++)
                for (int j = clg_ref_visible(&c->p, &seq, i); j < cols; j++)
                    x[(((int64_t)seq.batch * c->score_heads + h) * rows + seq.row0 + i) * cols + j] = -INFINITY;
    }
}

/* One row in the form that the problem names; a block is kept with probability keep / 8. */
static void fill_row(struct test_case *c, int64_t row, int visible, int cols, uint32_t keep)
{
    int32_t *counts = c->data[A_COUNTS], *blocks = c->data[A_BLOCKS];
    int32_t *indptr = c->data[A_INDPTR], *indices = c->data[A_INDICES];
    uint8_t *mask = c->data[A_MASK];
    int n = 0, at = indptr ? indptr[row] : 0;

    for (int j = 0; j < visible; j++) {
        if (below(&c->rng, 8) >= keep || (blocks && n == c->width))
            continue;
        if (blocks)
            blocks[row * c->width + n] = j;
        if (indices)
            indices[at + n] = j;
        if (mask)
            mask[row * cols + j] = (uint8_t)(1 + below(&c->rng, 255));
        n++;
    }
    if (counts)
        counts[row] = n;
    if (indptr)
        indptr[row + 1] = at + n;
    for (int e = n; blocks && e < c->width; e++)
        blocks[row * c->width + e] = -1;
}

/* Random lists: some rows empty, some full, most in between. */
static void fill_lists(struct test_case *c)
{
    struct clg_ref t = as_ref(c, c->data);
    int rows = clg_ref_rows(&c->p, &t), cols = clg_ref_cols(&c->p, &t), heads = clg_ref_list_heads(&c->p);
    static const uint32_t keeps[] = {0, 1, 3, 3, 4, 8};

    if (c->p.lists == CLGAZE_LISTS_CSR)
        c->data[A_INDICES] = calloc((size_t)c->n.batch * (size_t)(heads * rows * cols) + 1, sizeof(int32_t));
    for (int s = 0; s < c->n.batch; s++)
        for (int h = 0; h < heads; h++)
            for (int q = 0; q < clg_ref_sequences(&c->p, &t); q++) {
                struct clg_ref_seq seq = clg_ref_seq(&c->p, &t, q);

                for (int i = 0; i < seq.nq && seq.batch == s; i++)
                    fill_row(c, ((int64_t)s * heads + h) * rows + seq.row0 + i, clg_ref_visible(&c->p, &seq, i), cols,
                             keeps[below(&c->rng, CLG_COUNT(keeps))]);
            }
}

static void fill(struct test_case *c, clgaze_op op)
{
    uint32_t in = op_inputs(c, op), lists = BIT(A_COUNTS) | BIT(A_BLOCKS) | BIT(A_MASK) | BIT(A_INDPTR);

    for (int i = 0; i < ARRAYS; i++) { /* cu_seqlens first: the shapes need them */
        enum array id = (enum array)((A_CU_K + ARRAYS - i) % ARRAYS);

        if (!(in & BIT(id)) || id == A_INDICES)
            continue;
        c->data[id] = fresh(c, id);
        if (id == A_CU_Q || id == A_CU_K)
            fill_cu(c, id);
        else if (is_float(id))
            fill_floats(c, id);
    }
    if (in & BIT(A_SCORES))
        hide_scores(c);
    if (in & lists)
        fill_lists(c);
}

/* out, rounded, and lse of the inputs as they are now. */
static void fill_attended(struct test_case *c)
{
    struct clg_ref t = as_ref(c, c->data);
    float *out = c->data[A_OUT];

    clg_ref_attend(&c->p, &t);
    for (size_t i = 0; i < array_count(c, A_OUT); i++)
        out[i] = rounded(out[i], c->p.dtype);
}

void far_below_zero(struct test_case *c)
{
    float *q = c->data[A_Q], *k = c->data[A_K];

    for (size_t i = 0; i < array_count(c, A_Q); i++)
        q[i] = 4;
    for (size_t i = 0; i < array_count(c, A_K); i++)
        k[i] = -8 - (float)(i % 3);
    c->slack = 4; /* logits of -200 have an ulp of 1.5e-5 */
}

void case_make(struct test_case *c, clgaze_op op, const clgaze_problem *p, const struct shape *n, tweak_fn tweak,
               uint64_t salt)
{
    struct clg_ref t;

    memset(c, 0, sizeof *c);
    c->p = *p;
    c->n = *n;
    c->rng = seeded(salt);
    c->score_heads = n->score_heads ? n->score_heads : p->q_heads;
    for (int s = 0; s < n->sequences; s++) {
        c->n.batch = 1;
        c->n.sq += n->q[s];
        c->n.sk += n->k[s];
    }
    if (p->packed) {
        c->data[A_CU_Q] = fresh(c, A_CU_Q);
        c->data[A_CU_K] = fresh(c, A_CU_K);
        fill_cu(c, A_CU_Q);
        fill_cu(c, A_CU_K);
    }
    t = as_ref(c, c->data);
    c->width = n->width ? n->width : p->width ? p->width : clg_ref_cols(p, &t);
    free(c->data[A_CU_Q]);
    free(c->data[A_CU_K]);
    fill(c, op);
    if (tweak)
        tweak(c);
    if (op == CLGAZE_ATTEND_BWD)
        fill_attended(c);
    for (int id = 0; id < ARRAYS; id++)
        if (outputs(c, op) & BIT(id)) {
            c->data[id] = fresh(c, (enum array)id);
            c->want[id] = fresh(c, (enum array)id);
        }
    case_want(c, op);
}

static double *widened(const struct test_case *c, enum array id)
{
    const float *x = c->data[id];
    size_t n = x ? array_count(c, id) : 0;
    double *wide = calloc(n + 1, sizeof *wide);

    assert_non_null(wide);
    for (size_t i = 0; i < n; i++)
        wide[i] = (double)x[i];
    return wide;
}

static void want_distill(struct test_case *c, const clgaze_problem *p, const struct clg_ref *t)
{
    static const enum array ids[] = {A_W_K, A_W_Q, A_DW_K, A_DW_Q};
    double *x[4];

    for (int i = 0; i < 4; i++)
        x[i] = widened(c, ids[i]);
    *(float *)c->want[A_LOSS] =
        (float)clg_ref_distill(p, t, &(struct clg_ref_distill){c->data[A_TRUTH], x[0], x[1], x[2], x[3]});
    for (int i = 0; i < 4; i++) {
        for (size_t e = 0; i >= 2 && c->want[ids[i]] && e < array_count(c, ids[i]); e++)
            ((float *)c->want[ids[i]])[e] = (float)x[i][e];
        free(x[i]);
    }
}

void case_want(struct test_case *c, clgaze_op op)
{
    static void (*const ref[])(const clgaze_problem *, struct clg_ref *) = {
        clg_ref_pool, clg_ref_gate,  clg_ref_score, clg_ref_select,    clg_ref_attend,
        NULL,         clg_ref_truth, NULL,          clg_ref_attend_bwd};
    clgaze_problem p = c->p;
    void *arrays[ARRAYS];
    struct clg_ref t;

    for (int id = 0; id < ARRAYS; id++)
        arrays[id] = c->want[id] ? c->want[id] : c->data[id];
    t = as_ref(c, arrays);
    if (op == CLGAZE_DISTILL) {
        want_distill(c, &p, &t);
        return;
    }
    if (op != CLGAZE_PREFILL) {
        ref[op](&p, &t);
        return;
    }
    p.lists = CLGAZE_LISTS_BLOCKS;
    for (int i = 0; i < CLG_OPS; i++)
        ref[i](&p, &t);
}

void case_free(struct test_case *c)
{
    for (int id = 0; id < ARRAYS; id++) {
        free(c->data[id]);
        free(c->want[id]);
    }
    free(c->first);
    memset(c, 0, sizeof *c);
}

void fit_maxima(clgaze_problem *p, const struct shape *shapes, int n)
{
    p->max_batch = p->max_q = p->max_k = 1;
    for (int i = 0; i < n; i++) {
        int batch = shapes[i].sequences ? shapes[i].sequences : shapes[i].batch, sq = shapes[i].sq, sk = shapes[i].sk;

        for (int s = 0; s < shapes[i].sequences; s++) {
            sq += shapes[i].q[s];
            sk += shapes[i].k[s];
        }
        p->max_batch = batch > p->max_batch ? batch : p->max_batch;
        p->max_q = sq > p->max_q ? sq : p->max_q;
        p->max_k = sk > p->max_k ? sk : p->max_k;
    }
}

void case_print(const struct test_case *c, struct clg_text *text)
{
    const clgaze_problem *p = &c->p;

    clg_put(text, "%s Hq %d Hk %d D %d bq %d bk %d%s%s batch %d Sq %d Sk %d", clgaze_dtype_name(p->dtype), p->q_heads,
            p->kv_heads, p->head_dim, p->block_q, p->block_k, p->causal ? " causal" : "", p->lse ? " lse" : "",
            c->n.batch, c->n.sq, c->n.sk);
    clg_put(text, " rule %d value %g%s sink %d local %d last_rows %d min %d max %d width %d scope %d lists %d",
            p->rule, p->value, p->values ? " and by head" : "", p->sink, p->local, p->last_rows, p->min_k,
            p->max_k_blocks, c->width, p->scope, p->lists);
    for (int s = 0; s < c->n.sequences; s++)
        clg_put(text, "%s%dx%d", s ? " " : " packed ", c->n.q[s], c->n.k[s]);
}
