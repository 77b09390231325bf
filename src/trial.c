/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trial.c: a small problem that uses the very program that a plan has built.
 *
 * Lengths are arguments, so a few blocks and a ragged end will do.  Outputs begin as NaN.
 */
#include <math.h>
#include <string.h>

#include "trial.h"

/* ---- the problem and its arrays ------------------------------------------- */

struct clg_ref clg_trial_ref(const struct trial *t)
{
    void *const *d = t->host;
    const int64_t *v = t->check.value;
    struct clg_ref r = {.batch = t->plan.problem.packed ? 1 : TRIAL_SEQS,
                        .sq = (int)v[SQ],
                        .sk = (int)v[SK],
                        .sequences = TRIAL_SEQS,
                        .cu_seqlens_q = t->cu[0],
                        .cu_seqlens_k = t->cu[1],
                        .q = d[Q],
                        .k = d[K],
                        .v = d[V],
                        .q_gate = d[Q_GATE],
                        .k_gate = d[K_GATE],
                        .rope_inv_freq = d[INV_FREQ],
                        .w_k = d[W_K],
                        .w_q = d[W_Q],
                        .q_pooled = d[Q_POOLED],
                        .k_pooled = d[K_POOLED],
                        .q_gated = d[Q_GATED],
                        .k_gated = d[K_GATED],
                        .scores = d[SCORES],
                        .score_heads = t->plan.problem.q_heads,
                        .counts = d[COUNTS],
                        .blocks = d[BLOCKS],
                        .width = (int)v[WIDTH],
                        .mask = d[MASK],
                        .indptr = d[INDPTR],
                        .indices = d[INDICES],
                        .out = d[OUT],
                        .lse = d[LSE],
                        .truth = d[TRUTH],
                        .dout = d[DOUT],
                        .dq = d[DQ],
                        .dk = d[DK],
                        .dv = d[DV]};

    return r;
}

/* The same -D values, few heads, short sequences; a rule's value is no -D. */
static clgaze_problem small(const struct trial *t, const clgaze_problem *p, clgaze_op op)
{
    const double values[] = {2, 0.5, 2.0 * p->block_k, 0.2, 0.62};
    clgaze_problem s = *p;

    s.kv_heads = p->kv_heads < 2 ? p->kv_heads : 2;
    s.q_heads = p->q_heads / p->kv_heads * s.kv_heads;
    s.values = NULL;
    s.kernel = NULL;
    s.value = op == CLGAZE_SELECT ? values[p->rule] : 0;
    s.local = 1;
    s.sink = s.last_rows = s.min_k = s.max_k_blocks = s.width = 0;
    s.scale = 0;
    if (!t->lists && s.lists > CLGAZE_LISTS_BLOCKS)
        s.lists = CLGAZE_LISTS_BLOCKS; /* what the helper makes of a mask */
    return s;
}

/* Sequences of whole blocks and five tokens; packed: the second shorter than a block. */
static void lengths(struct trial *t, clgaze_op op, clgaze_problem *p)
{
    static const int whole[CLG_STAGES] = {1, 1, 4, 4, 1, 0, 1, 4, 1}; /* where ref/ is slow, few */
    const int sq = whole[op] * p->block_q, sk = (whole[op] + 1) * p->block_k;

    t->longest_q = sq + 5;
    t->longest_k = (sk > sq ? sk : sq) + 5;
    for (int s = 0; s < TRIAL_SEQS; s++) {
        t->sq[s] = p->packed && s ? 3 : t->longest_q;
        t->sk[s] = p->packed && s ? p->block_k / 2 + 2 : t->longest_k;
        t->cu[0][s + 1] = t->cu[0][s] + t->sq[s];
        t->cu[1][s + 1] = t->cu[1][s] + t->sk[s];
    }
    p->max_batch = TRIAL_SEQS;
    p->max_q =
        t->cu[0][TRIAL_SEQS]; /* more than the longest: gate_clblast, for one, is another path at the maximum */
    p->max_k = t->cu[1][TRIAL_SEQS];
}

static void dimensions(struct trial *t, clgaze_op op)
{
    const clgaze_problem *p = &t->plan.problem;
    int64_t *v = t->check.value;
    struct clg_ref r;

    clg_fields_roles(&t->check, op, NULL);
    clg_fields_dims(&t->check, op);
    v[B] = p->packed ? 1 : TRIAL_SEQS;
    v[SQ] = p->packed ? t->cu[0][TRIAL_SEQS] : t->longest_q;
    v[SK] = p->packed ? t->cu[1][TRIAL_SEQS] : t->longest_k;
    v[HS] = p->q_heads;
    r = clg_trial_ref(t);
    v[NQ] = clg_ref_rows(p, &r);
    v[NB] = clg_ref_blocks_k(p, &r);
    v[NK] = v[WIDTH] = clg_ref_cols(p, &r);
    v[S1] = TRIAL_SEQS + 1;
    v[ROWS1] = v[B] * v[HL] * v[NQ] + 1;
    v[ENTS] = v[B] * v[HL] * v[NQ] * v[NK];
}

static bool is_int(int f)
{
    return clg_fields[f].type >= T_I32;
}

/* What the stage writes. */
bool clg_trial_result(const struct trial *t, int f)
{
    if (t->seqs)
        return false;
    return t->lists ? f == COUNTS || f == BLOCKS : t->check.role[f] == OUTPUT;
}

/* What a call must be given; of lengths those of the gate's tokens, where they matter. */
static bool is_given(const struct trial *t, int f)
{
    if (t->lists && t->check.role[f] == OUTPUT)
        return true; /* attend's own, which the check of its tensors asks for */
    return t->check.role[f] >= INPUT || (t->check.role[f] == LENGTH && (f == Q_GATE || f == K_GATE));
}

static clgaze_tensor shape_of(const struct trial *t, int f, size_t *n)
{
    static const clgaze_dtype types[] = {[T_F32] = CLGAZE_F32, [T_I32] = CLGAZE_I32, [T_U8] = CLGAZE_U8};
    const struct field *field = &clg_fields[f];
    const clgaze_problem *p = &t->plan.problem;
    int64_t shape[4];
    int rank = 0;

    *n = 1;
    for (; rank < 4 && field->dim[rank]; rank++)
        *n *= (size_t)(shape[rank] = t->check.value[field->dim[rank]]);
    return clgaze_tensor_compact(NULL, 0,
                                 field->type == T_DATA     ? p->dtype
                                 : field->type == T_WEIGHT ? p->weight_dtype
                                                           : types[field->type],
                                 rank, shape);
}

/* ---- arrays --------------------------------------------------------------- */

static clgaze_status make_arrays(struct trial *t)
{
    const clgaze_context *ctx = t->ctx;
    clgaze_status st = CLGAZE_OK;

    for (int f = 0; f < FIELDS; f++) {
        size_t n;

        if (!is_given(t, f) && !clg_trial_result(t, f))
            continue;
        shape_of(t, f, &n);
        t->host[f] = clg_alloc(ctx, n * sizeof(float));
        t->got[f] = clg_trial_result(t, f) ? clg_alloc(ctx, n * sizeof(float)) : NULL;
        NEED(t->host[f] && (!clg_trial_result(t, f) || t->got[f]), CLGAZE_ERR_NO_MEMORY, "no memory for a self-test");
        if (f == CU_Q || f == CU_K)
            memcpy(t->host[f], t->cu[f - CU_Q], sizeof t->cu[0]);
        else if (t->check.role[f] == INPUT && !is_int(f))
            clg_trial_floats(t, f, n);
    }
    if (t->host[SCORES] || t->host[BLOCKS])
        clg_trial_rows(t);
out:
    return st;
}

/* An input, or NaN; integers that no list holds. */
static clgaze_status put(struct trial *t, int f)
{
    const clgaze_context *ctx = t->ctx;
    clgaze_status st = CLGAZE_OK;
    size_t n;
    clgaze_tensor x = shape_of(t, f, &n);
    const size_t size = clgaze_dtype_size(x.dtype);
    unsigned char *raw = clg_alloc(ctx, n * size);
    cl_int err = CL_SUCCESS;

    NEED(raw, CLGAZE_ERR_NO_MEMORY, "no memory for a self-test");
    memset(raw, is_int(f) ? 0x7e : 0xff, n * size);
    if (t->check.role[f] == INPUT && is_int(f))
        memcpy(raw, t->host[f], n * size);
    for (size_t i = 0; t->check.role[f] == INPUT && !is_int(f) && i < n; i++)
        clg_encode(((float *)t->host[f])[i], x.dtype, raw + i * size);
    t->buffer[f] = clCreateBuffer(ctx->cl, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, n * size, raw, &err);
    NEED(err == CL_SUCCESS, CLGAZE_ERR_OPENCL, "clCreateBuffer answered %d for a self-test", (int)err);
    x.buffer = t->buffer[f];
    *clg_field_of(&t->check, f) = x;
out:
    clg_release(ctx, raw);
    return st;
}

void clg_trial_seqs(const struct trial *t, cl_int table[TRIAL_SEQS * CLG_SEQ_INTS])
{
    struct clg_ref r = clg_trial_ref(t);

    for (int s = 0; s < TRIAL_SEQS; s++) {
        struct clg_ref_seq q = clg_ref_seq(&t->plan.problem, &r, s);
        const cl_int entry[CLG_SEQ_INTS] = {q.q0, q.sq, q.k0, q.sk, q.row0, q.col0};

        memcpy(table + (size_t)s * CLG_SEQ_INTS, entry, sizeof entry);
    }
}

/* What gate and score hand to distill. */
static void put_scores(const struct trial *t, unsigned char *raw)
{
    const clgaze_problem *p = &t->plan.problem;
    struct clg_ref r = clg_trial_ref(t);

    r.q_gated = (float *)(void *)(raw + t->plan.at[CLG_AT_Q_GATED]);
    r.k_gated = (float *)(void *)(raw + t->plan.at[CLG_AT_K_GATED]);
    r.scores = (float *)(void *)(raw + t->plan.at[CLG_AT_SCORES]);
    clg_ref_gate(p, &r);
    clg_ref_score(p, &r);
}

/* Full of NaN, but for what comes before the stage: the table of sequences, scores. */
static clgaze_status put_workspace(struct trial *t)
{
    const clgaze_context *ctx = t->ctx;
    const size_t bytes = t->plan.workspace;
    unsigned char *raw = clg_alloc(ctx, bytes);
    cl_int table[TRIAL_SEQS * CLG_SEQ_INTS];
    clgaze_status st = CLGAZE_OK;
    cl_int err = CL_SUCCESS;

    NEED(raw, CLGAZE_ERR_NO_MEMORY, "no memory for a self-test");
    memset(raw, 0xff, bytes);
    clg_trial_seqs(t, table);
    if (t->plan.problem.packed && !t->seqs)
        memcpy(raw + t->plan.at[CLG_AT_SEQS], table, sizeof table);
    if (t->plan.op == CLGAZE_DISTILL)
        put_scores(t, raw);
    if (bytes)
        t->run.workspace = clCreateBuffer(ctx->cl, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, bytes, raw, &err);
    NEED(err == CL_SUCCESS, CLGAZE_ERR_OPENCL, "clCreateBuffer answered %d for a self-test", (int)err);
out:
    clg_release(ctx, raw);
    return st;
}

clgaze_status clg_trial_put(struct trial *t)
{
    clgaze_status st = CLGAZE_OK;

    TRY(make_arrays(t));
    for (int f = 0; f < FIELDS; f++)
        if (is_given(t, f))
            TRY(put(t, f));
    TRY(put_workspace(t));
out:
    return st;
}

static clgaze_status get(struct trial *t, int f)
{
    const clgaze_context *ctx = t->ctx;
    const clgaze_tensor *x = clg_field_of(&t->check, f);
    const size_t size = clgaze_dtype_size(x->dtype);
    clgaze_status st = CLGAZE_OK;
    unsigned char *raw;
    size_t n;

    shape_of(t, f, &n);
    raw = clg_alloc(ctx, n * size);
    NEED(raw, CLGAZE_ERR_NO_MEMORY, "no memory for a self-test");
    TRY_CL(clEnqueueReadBuffer(ctx->queue, x->buffer, CL_TRUE, x->offset * size, n * size, raw, 0, NULL, NULL));
    if (is_int(f))
        memcpy(t->got[f], raw, n * size);
    for (size_t i = 0; !is_int(f) && i < n; i++)
        ((float *)t->got[f])[i] = clg_decode(raw + i * size, x->dtype);
out:
    clg_release(ctx, raw);
    return st;
}

clgaze_status clg_trial_get(struct trial *t)
{
    clgaze_status st = CLGAZE_OK;

    for (int f = 0; f < FIELDS; f++)
        if (clg_trial_result(t, f))
            TRY(get(t, f));
out:
    return st;
}

/* ---- opening and closing ------------------------------------------------------ */

/* Do the problems compile to the same options? */
static bool alike(const struct trial *t, const clgaze_problem *a, const clgaze_problem *b)
{
    char one[1024] = "", two[1024] = "";
    struct clg_text first = {one, sizeof one, 0}, second = {two, sizeof two, 0};

    clg_stage_options(t->ctx, a, &t->twin, &first);
    clg_stage_options(t->ctx, b, &t->twin, &second);
    return strcmp(one, two) == 0;
}

/* The program and kernels of a stage, the rest for the small problem. */
static clgaze_status copy_stage(struct trial *t, const struct clg_stage *stage)
{
    const clgaze_context *ctx = t->ctx;
    const clgaze_problem *p = &t->plan.problem;
    clgaze_status st = CLGAZE_OK;

    t->twin = *stage;
    t->twin.constants = NULL;
    t->twin.locked = false;
    NEED(pthread_mutex_init(&t->twin.lock, NULL) == 0, CLGAZE_ERR_NO_MEMORY, "no memory for a lock");
    t->twin.locked = true;
    t->twin.workspace = 0;
    if (stage->kernel->prepare)
        TRY(stage->kernel->prepare(t->ctx, p, &t->twin));
out:
    return st;
}

clgaze_status clg_trial_open(struct trial *t, const clgaze_problem *p, clgaze_op op, const struct clg_stage *stage)
{
    clgaze_problem *s = &t->plan.problem;
    clgaze_status st = CLGAZE_OK;

    t->twin.kernel = stage->kernel;
    memcpy(t->twin.values, stage->values, sizeof t->twin.values);
    *s = small(t, p, op);
    lengths(t, op, s);
    if (!alike(t, p, s)) { /* the heads are compiled in */
        s->q_heads = p->q_heads;
        s->kv_heads = p->kv_heads;
    }
    t->check.ctx = t->ctx;
    t->check.p = s;
    t->check.t = &t->run.t;
    dimensions(t, op);
    TRY(copy_stage(t, stage));
    t->plan.ctx = t->ctx;
    t->plan.op = op;
    t->plan.stage[op].workspace = t->twin.workspace;
    t->plan.lists.kernel = t->lists ? stage->kernel : NULL;
    TRY(clg_place_workspace(t->ctx, &t->plan));
    t->run.plan = &t->plan;
    t->run.stage = &t->twin;
    t->run.p = s;
    t->run.queue = t->ctx->queue;
out:
    return st;
}

void clg_trial_close(struct trial *t)
{
    for (int f = 0; f < FIELDS; f++) {
        clg_release(t->ctx, t->host[f]);
        clg_release(t->ctx, t->got[f]);
        if (t->buffer[f])
            clReleaseMemObject(t->buffer[f]);
    }
    if (t->run.last)
        clReleaseEvent(t->run.last);
    if (t->run.workspace)
        clReleaseMemObject(t->run.workspace);
    if (t->twin.constants)
        clReleaseMemObject(t->twin.constants);
    if (t->twin.locked)
        pthread_mutex_destroy(&t->twin.lock);
}
