/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune_data.c: tensors for timing.  Numbers are random but tame; lists keep one
 * visible block in ten and the diagonal.
 */
#include <math.h>
#include <string.h>

#include "tune_data.h"

enum { TAIL = 4096, PATTERN = 1 << 16, ONE_IN = 10 };
static const double MOST_BYTES = 256.0 * 1024 * 1024;

clgaze_problem clg_tune_problem(clgaze_op op, const clgaze_problem *p)
{
    const int group = p->q_heads / p->kv_heads;
    const double sq = p->max_q, sk = p->max_k, nq = sq / p->block_q + 1, nk = sk / p->block_k + 1;
    const double head = (double)(sq + sk) * p->head_dim * (double)clgaze_dtype_size(p->dtype);
    const double pooled = (nq + nk) * 4.0 * p->head_dim * sizeof(float), map = nq * nk * sizeof(float);
    const double bytes[] = {[CLGAZE_POOL] = head + pooled,
                            [CLGAZE_GATE] = 2 * pooled,
                            [CLGAZE_SCORE] = pooled + map,
                            [CLGAZE_SELECT] = 2 * map,
                            [CLGAZE_ATTEND] = 2 * head + map / ONE_IN,
                            [CLGAZE_PREFILL] = 3 * head + 2 * pooled + map,
                            [CLGAZE_TRUTH] = 2 * head + map,
                            [CLGAZE_DISTILL] = 2 * pooled + 2 * map,
                            [CLGAZE_ATTEND_BWD] = 4 * head + map / ONE_IN};
    const double heads = MOST_BYTES / (bytes[op] * group);
    clgaze_problem s = *p;

    s.packed = s.validate = 0;
    s.max_batch = 1;
    s.value = p->values ? (double)p->values[0] : p->value;
    s.values = NULL;
    s.scale = 0; /* made-up scores stay small */
    s.auto_density = 0;
    s.kernel = NULL;
    s.width = 0;
    if (s.lists > CLGAZE_LISTS_BLOCKS)
        s.lists = CLGAZE_LISTS_BLOCKS;
    if (heads < s.kv_heads)
        s.kv_heads = heads < 1 ? 1 : (int32_t)heads;
    s.q_heads = group * s.kv_heads;
    return s;
}

int clg_tune_data_visible(const struct tune_data *d, int row)
{
    const clgaze_problem *p = &d->problem;
    const int nk = (d->sk + p->block_k - 1) / p->block_k, end = (row + 1) * p->block_q;
    const int last = (end < d->sq ? end : d->sq) - 1 + d->sk - d->sq;

    return p->causal && last / p->block_k + 1 < nk ? last / p->block_k + 1 : nk;
}

static void fill_lists(struct tune_data *d, int32_t *counts, int32_t *blocks, size_t rows, int nq, int width)
{
    for (size_t row = 0; row < rows; row++) {
        const int see = clg_tune_data_visible(d, (int)(row % (size_t)nq));
        int n = 0;

        for (int j = 0; j < see && n < width; j++)
            if (j == see - 1 || clg_random(&d->random) % ONE_IN == 0)
                blocks[row * (size_t)width + (size_t)n++] = j;
        counts[row] = n;
        while (n < width)
            blocks[row * (size_t)width + (size_t)n++] = -1;
    }
}

static void fill_scores(struct tune_data *d, float *scores, size_t rows, int nq, int nk)
{
    for (size_t row = 0; row < rows; row++) {
        const int see = clg_tune_data_visible(d, (int)(row % (size_t)nq));

        for (int j = 0; j < nk; j++)
            scores[row * (size_t)nk + (size_t)j] = j < see ? (float)clg_random(&d->random) * 0x1p-29f : -INFINITY;
    }
}

static clgaze_tensor shape_of(const struct tune_data *d, int f, size_t *n)
{
    static const clgaze_dtype types[] = {[T_F32] = CLGAZE_F32, [T_I32] = CLGAZE_I32, [T_U8] = CLGAZE_U8};
    const struct field *field = &clg_fields[f];
    int64_t shape[4];
    int rank = 0;

    *n = 1;
    for (; rank < 4 && field->dim[rank]; rank++)
        *n *= (size_t)(shape[rank] = d->check.value[field->dim[rank]]);
    return clgaze_tensor_compact(NULL, 0,
                                 field->type == T_DATA     ? d->problem.dtype
                                 : field->type == T_WEIGHT ? d->problem.weight_dtype
                                                           : types[field->type],
                                 rank, shape);
}

/* Write a pattern of random numbers over a whole buffer. */
static clgaze_status put_numbers(struct tune_data *d, int f, clgaze_dtype dtype, size_t n)
{
    const clgaze_context *ctx = d->ctx;
    const size_t size = clgaze_dtype_size(dtype), most = n < PATTERN ? n : PATTERN;
    unsigned char *raw = clg_alloc(ctx, most * size);
    clgaze_status st = CLGAZE_OK;

    NEED(raw, CLGAZE_ERR_NO_MEMORY, "no memory for tuning");
    for (size_t i = 0; i < most; i++)
        clg_encode((float)(int)(clg_random(&d->random) >> 25) * 0x1p-6f - 1.0f, dtype, raw + i * size);
    for (size_t at = 0; at < n; at += most) {
        const size_t part = n - at < most ? n - at : most;

        TRY_CL(clEnqueueWriteBuffer(ctx->queue, d->buffer[f], CL_TRUE, at * size, part * size, raw, 0, NULL, NULL));
    }
out:
    clg_release(ctx, raw);
    return st;
}

static clgaze_status put_rows(struct tune_data *d)
{
    const clgaze_context *ctx = d->ctx;
    const int64_t *v = d->check.value;
    const bool lists = d->check.role[BLOCKS] == INPUT;
    const int nq = (int)v[NQ], width = (int)(lists ? v[WIDTH] : v[NK]);
    const size_t rows = (size_t)(lists ? v[HL] : v[HS]) * (size_t)nq, bytes = rows * (size_t)width * sizeof(float);
    int32_t *counts = clg_alloc(ctx, rows * sizeof *counts), *room = clg_alloc(ctx, bytes);
    clgaze_status st = CLGAZE_OK;

    NEED(counts && room, CLGAZE_ERR_NO_MEMORY, "no memory for tuning");
    if (lists)
        fill_lists(d, counts, room, rows, nq, width);
    else
        fill_scores(d, (float *)(void *)room, rows, nq, width);
    if (lists)
        TRY_CL(clEnqueueWriteBuffer(ctx->queue, d->buffer[COUNTS], CL_TRUE, 0, rows * sizeof *counts, counts, 0, NULL,
                                    NULL));
    TRY_CL(
        clEnqueueWriteBuffer(ctx->queue, d->buffer[lists ? BLOCKS : SCORES], CL_TRUE, 0, bytes, room, 0, NULL, NULL));
out:
    clg_release(ctx, counts);
    clg_release(ctx, room);
    return st;
}

/* Weights are exp(score - lse): as small as of some hundred keys that are alike. */
static clgaze_status put_lse(struct tune_data *d, size_t n)
{
    static const cl_float lse = 6.0f;
    const clgaze_context *ctx = d->ctx;
    clgaze_status st = CLGAZE_OK;

    TRY_CL(clEnqueueFillBuffer(ctx->queue, d->buffer[LSE], &lse, sizeof lse, 0, n * sizeof lse, 0, NULL, NULL));
    TRY_CL(clFinish(ctx->queue));
out:
    return st;
}

static clgaze_status put(struct tune_data *d, int f)
{
    const clgaze_context *ctx = d->ctx;
    clgaze_status st = CLGAZE_OK;
    cl_int err = CL_SUCCESS;
    size_t n;
    clgaze_tensor x = shape_of(d, f, &n);

    d->buffer[f] = clCreateBuffer(ctx->cl, CL_MEM_READ_WRITE, n * clgaze_dtype_size(x.dtype), NULL, &err);
    NEED(err == CL_SUCCESS, CLGAZE_ERR_OPENCL, "clCreateBuffer answered %d for tuning", (int)err);
    x.buffer = d->buffer[f];
    *clg_field_of(&d->check, f) = x;
    if (d->check.role[f] != INPUT || clg_fields[f].type >= T_I32 || f == SCORES)
        goto out;
    TRY(f == LSE ? put_lse(d, n) : put_numbers(d, f, x.dtype, n));
out:
    return st;
}

static void dimensions(struct tune_data *d)
{
    const clgaze_problem *p = &d->problem;
    int64_t *v = d->check.value;

    d->check.ctx = d->ctx;
    d->check.p = p;
    d->check.t = &d->t;
    clg_fields_dims(&d->check, d->op);
    v[B] = 1;
    v[SQ] = d->sq;
    v[SK] = d->sk;
    v[HS] = p->q_heads;
    v[NQ] = (d->sq + p->block_q - 1) / p->block_q;
    v[NK] = v[NB] = (d->sk + p->block_k - 1) / p->block_k;
}

/* Gradients of keys come from the queries that keep them: few queries of many keys would be all
 * beginnings, so both are cut alike. */
static int keys_of(const clgaze_problem *p, int sq)
{
    return (int)(((int64_t)p->max_k * sq + p->max_q - 1) / p->max_q);
}

clgaze_status clg_tune_data_open(struct tune_data *d, clgaze_context *ctx, clgaze_op op, const clgaze_problem *p,
                                 int sq)
{
    clgaze_status st = CLGAZE_OK;

    memset(d, 0, sizeof *d);
    d->ctx = ctx;
    d->op = op;
    d->problem = *p;
    d->sq = sq;
    d->sk = op == CLGAZE_ATTEND_BWD ? keys_of(p, sq) : p->max_k;
    dimensions(d);
    d->t.q_gate.buffer = d->t.k_gate.buffer = ctx->dummy; /* pool does the sides that are there: both */
    clg_fields_roles(&d->check, op, NULL);
    d->check.value[WIDTH] = d->check.role[BLOCKS] == INPUT ? d->check.value[NK] : clg_list_width(p);
    d->t.q_gate.buffer = d->t.k_gate.buffer = NULL;
    for (int f = 0; f < FIELDS; f++)
        if (d->check.role[f] >= INPUT)
            TRY(put(d, f));
    if (d->buffer[SCORES] && d->check.role[SCORES] == INPUT)
        TRY(put_rows(d));
    if (d->buffer[BLOCKS] && d->check.role[BLOCKS] == INPUT)
        TRY(put_rows(d));
out:
    return st;
}

bool clg_tune_data_spoil(struct tune_data *d, cl_command_queue queue)
{
    static const unsigned char nan = 0xff; /* of every type of floats, if all bytes are that; of integers -1 */
    bool good = true;

    for (int f = 0; f < FIELDS; f++)
        if (d->check.role[f] == OUTPUT) {
            size_t n;
            const size_t size = clgaze_dtype_size(shape_of(d, f, &n).dtype), part = n < TAIL ? n : TAIL;

            good = good && clEnqueueFillBuffer(queue, d->buffer[f], &nan, 1, (n - part) * size, part * size, 0, NULL,
                                               NULL) == CL_SUCCESS;
        }
    return good;
}

/* The last elements of a result as floats; NULL: no memory, or the driver refused. */
static float *tail_of(struct tune_data *d, cl_command_queue queue, int f, size_t *count)
{
    size_t n;
    const clgaze_tensor x = shape_of(d, f, &n);
    const size_t size = clgaze_dtype_size(x.dtype), part = n < TAIL ? n : TAIL;
    unsigned char *raw = clg_alloc(d->ctx, part * size + sizeof(int32_t)); /* halves are read as if whole */
    float *tail = clg_alloc(d->ctx, part * sizeof *tail);
    const bool read = raw && tail &&
                      clEnqueueReadBuffer(queue, d->buffer[f], CL_TRUE, (n - part) * size, part * size, raw, 0, NULL,
                                          NULL) == CL_SUCCESS;

    for (size_t i = 0; read && i < part; i++) {
        int32_t whole;

        memcpy(&whole, raw + i * size, sizeof whole);
        tail[i] = x.dtype == CLGAZE_I32 ? (float)whole : clg_decode(raw + i * size, x.dtype);
    }
    clg_release(d->ctx, raw);
    if (!read) {
        clg_release(d->ctx, tail);
        return NULL;
    }
    *count = part;
    return tail;
}

/* Two correct results differ by rounding; lists not at all. */
static bool near(const float *a, const float *b, size_t n, clgaze_dtype dtype)
{
    static const double of[] = {[CLGAZE_F32] = 1e-4, [CLGAZE_F16] = 4e-3, [CLGAZE_BF16] = 3e-2, [CLGAZE_I32] = 0};
    double diff = 0, norm = 0;

    for (size_t i = 0; i < n; i++) {
        const double e = (double)a[i] - (double)b[i];

        if (a[i] == b[i])
            continue;
        if (!isfinite(e))
            return false;
        diff += e * e;
        norm += (double)b[i] * (double)b[i];
    }
    for (size_t i = 0; i < n; i++)
        norm += a[i] == b[i] && isfinite(b[i]) ? (double)b[i] * (double)b[i] : 0;
    return sqrt(diff) <= of[dtype] * sqrt(norm);
}

bool clg_tune_data_agrees(struct tune_data *d, cl_command_queue queue)
{
    bool agrees = true;

    for (int f = 0; f < FIELDS && agrees; f++) {
        size_t n = 0;
        float *tail = d->check.role[f] == OUTPUT ? tail_of(d, queue, f, &n) : NULL;

        if (d->check.role[f] != OUTPUT)
            continue;
        if (!tail)
            return false;
        if (d->kept[f])
            agrees = near(tail, d->kept[f], n, clg_field_of(&d->check, f)->dtype);
        else
            d->kept[f] = tail;
        if (d->kept[f] != tail)
            clg_release(d->ctx, tail);
    }
    return agrees;
}

void clg_tune_data_close(struct tune_data *d)
{
    for (int f = 0; f < FIELDS; f++) {
        if (d->buffer[f])
            clReleaseMemObject(d->buffer[f]);
        clg_release(d->ctx, d->kept[f]);
    }
}
