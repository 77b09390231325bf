/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check.c: checking the tensors of a call, and reading its lengths off them.
 */
#include <math.h>
#include <string.h>

#include "check.h"

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
            int least = d == S1 ? 2 : 1; /* one sequence has two ends */

            NEED(t->shape[i] >= least && t->shape[i] <= c->most[d], code,
                 "%s.shape[%d] is %lld: this plan takes %d..%lld", f->name, i, (long long)t->shape[i], least,
                 (long long)c->most[d]);
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

/* Does no step along dimension i end on an element of the steps shorter than it? */
static bool own_memory(const clgaze_tensor *t, int i)
{
    bool own = t->shape[i] == 1 || t->stride[i] > 0;

    for (int j = 0; j < t->rank; j++) {
        bool inner = t->stride[j] < t->stride[i] || (t->stride[j] == t->stride[i] && j > i);

        if (i != j && t->shape[i] > 1 && t->shape[j] > 1 && inner)
            own = own && t->stride[i] >= t->stride[j] * t->shape[j];
    }
    return own;
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
    }
    for (int i = 0; output && i < t->rank; i++)
        NEED(own_memory(t, i), CLGAZE_ERR_STRIDE,
             "%s.stride[%d] is %lld: elements of an output would lie on top of each other", f->name, i,
             (long long)t->stride[i]);
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
    const struct field *f = &clg_fields[at];
    clgaze_tensor *t = clg_field_of(c, at);
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

/* The bytes of a buffer that something covers. */
struct span {
    cl_mem buffer;
    size_t begin, end;
};

/* In terms of the whole buffer where this one was made by clCreateSubBuffer. */
static struct span span_in(cl_mem buffer, size_t begin, size_t end)
{
    cl_mem whole = NULL;
    size_t at = 0;
    struct span s = {buffer, begin, end};

    if (begin == end || clGetMemObjectInfo(buffer, CL_MEM_ASSOCIATED_MEMOBJECT, sizeof whole, &whole, NULL) ||
        !whole || clGetMemObjectInfo(buffer, CL_MEM_OFFSET, sizeof at, &at, NULL))
        return s;
    s.buffer = whole;
    s.begin += at;
    s.end += at;
    return s;
}

static struct span span_of(const clgaze_tensor *t)
{
    size_t size = clgaze_dtype_size(t->dtype);

    return span_in(t->buffer, t->offset * size, (t->offset + (size_t)extent(t)) * size);
}

static bool meet(struct span a, struct span b)
{
    return a.buffer == b.buffer && a.begin < b.end && b.begin < a.end;
}

static bool touched(const struct check *c, int f)
{
    return clg_field_given(c, f) && c->role[f] >= OPTIONAL_OUT;
}

static clgaze_status check_overlap(const struct check *c, const struct clg_run *run)
{
    const clgaze_context *ctx = c->ctx;
    const struct span work = span_in(run->workspace, run->base, run->base + run->plan->workspace);
    struct span spans[FIELDS];
    clgaze_status st = CLGAZE_OK;

    for (int i = 0; i < FIELDS; i++)
        if (touched(c, i))
            spans[i] = span_of(clg_field_of(c, i));
    for (int i = 0; i < FIELDS; i++) {
        if (!touched(c, i))
            continue;
        NEED(!run->workspace || !meet(spans[i], work), CLGAZE_ERR_OVERLAP, "%s overlaps the workspace",
             clg_fields[i].name);
        for (int j = 0; j < FIELDS && c->role[i] != INPUT; j++)
            NEED(i == j || !touched(c, j) || !meet(spans[i], spans[j]), CLGAZE_ERR_OVERLAP,
                 "%s overlaps %s: an output needs memory of its own", clg_fields[i].name, clg_fields[j].name);
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
    if (c->role[BLOCKS] == OUTPUT || (c->role[BLOCKS] == OPTIONAL_OUT && clg_field_given(c, BLOCKS))) {
        NEED(v[WIDTH] >= v[NK] || v[WIDTH] >= p->sink + p->local, CLGAZE_ERR_SIZE,
             "blocks.shape[3] is %lld: a row must hold sink + local, %d + %d", (long long)v[WIDTH], (int)p->sink,
             (int)p->local);
        NEED(op != CLGAZE_PREFILL || (clg_field_given(c, COUNTS) && clg_field_given(c, BLOCKS)), CLGAZE_ERR_NULL,
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
    n->count = n->rows;
    n->cols = n->seen = (int)v[NK];
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

/* The gate needs no lengths: without them those of the plan serve. */
static clgaze_call with_lengths(const clgaze_call *call, clgaze_op op, const clgaze_problem *p)
{
    clgaze_call with = *call;

    if (op == CLGAZE_GATE) {
        with.longest_q = with.longest_q ? with.longest_q : p->max_q;
        with.longest_k = with.longest_k ? with.longest_k : p->max_k;
    }
    return with;
}

static clgaze_status check_update(const clgaze_context *ctx, clgaze_op op, const clgaze_adamw *o)
{
    clgaze_status st = CLGAZE_OK;

    if (op != CLGAZE_DISTILL || !o)
        return st;
    NEED(isfinite(o->lr) && o->lr >= 0, CLGAZE_ERR_VALUE, "update.lr is %g: it must be 0 or more", o->lr);
    NEED(o->beta1 >= 0 && o->beta1 < 1, CLGAZE_ERR_VALUE, "update.beta1 is %g: it must be in [0, 1)", o->beta1);
    NEED(o->beta2 >= 0 && o->beta2 < 1, CLGAZE_ERR_VALUE, "update.beta2 is %g: it must be in [0, 1)", o->beta2);
    NEED(isfinite(o->eps) && o->eps > 0, CLGAZE_ERR_VALUE, "update.eps is %g: it must be more than 0", o->eps);
    NEED(isfinite(o->weight_decay) && o->weight_decay >= 0, CLGAZE_ERR_VALUE,
         "update.weight_decay is %g: it must be 0 or more", o->weight_decay);
    NEED(o->step >= 1, CLGAZE_ERR_VALUE, "update.step is %lld: the first is 1", (long long)o->step);
out:
    return st;
}

clgaze_status clg_tensors_check(struct clg_run *run, clgaze_op op, const clgaze_call *given)
{
    const clgaze_context *ctx = run->plan->ctx;
    const clgaze_problem *p = run->p;
    const clgaze_call with = with_lengths(given, op, p), *call = &with;
    clgaze_status st = CLGAZE_OK;
    struct check c;

    memset(&c, 0, sizeof c);
    c.ctx = ctx;
    c.p = p;
    c.t = &run->t;
    clg_fields_roles(&c, op, given->update);
    TRY(check_update(ctx, op, given->update));
    clg_fields_dims(&c, op);
    if (p->packed) {
        NEED(call->longest_q >= 1 && call->longest_q <= p->max_q, CLGAZE_ERR_SIZE,
             "call.longest_q is %d: this plan takes 1..%d", (int)call->longest_q, (int)p->max_q);
        NEED(call->longest_k >= 1 && call->longest_k <= p->max_k, CLGAZE_ERR_SIZE,
             "call.longest_k is %d: this plan takes 1..%d", (int)call->longest_k, (int)p->max_k);
    }
    for (int f = 0; f < FIELDS; f++)
        if (c.role[f] != UNUSED) {
            clg_fields_derive(&c, call);
            TRY(check_tensor(&c, f));
        }
    clg_fields_derive(&c, call);
    TRY(check_sizes(&c, op));
    TRY(check_overlap(&c, run));
    read_sizes(&c, &run->n, call);
    for (int f = 0; f < FIELDS; f++) /* what an operation does not use it does not see */
        if (c.role[f] == UNUSED || c.role[f] == LENGTH)
            memset(clg_field_of(&c, f), 0, sizeof(clgaze_tensor));
out:
    return st;
}
