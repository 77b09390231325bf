/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors beyond 2^31 elements and 4 GB: one buffer of 4.3 GB, of which little is touched.  Label: long. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

/* 2^31 elements of 2 bytes, and what lies behind them. */
static const size_t far_elements = (size_t)1 << 31, behind = (size_t)64 << 20;
static const struct shape both = {.batch = 2, .sq = 37, .sk = 45};
static cl_mem large;
static clgaze_op op;

/* The device under test must give such a buffer: PoCL does if it may take that much memory. */
static int make_large(void **state)
{
    clgaze_context *ctx = test_context();
    cl_int err;

    (void)state;
    large = clCreateBuffer(ctx->cl, CL_MEM_READ_WRITE, 2 * far_elements + behind, NULL, &err);
    if (!large)
        printf("SKIPPED: this device gives no buffer of %zu bytes (%d)\n", 2 * far_elements + behind, (int)err);
    return 0;
}

static int drop_large(void **state)
{
    (void)state;
    if (large)
        clReleaseMemObject(large);
    return 0;
}

/* ---- arrays in the large buffer ------------------------------------------------ */

enum way { FILL, SPOIL, FETCH };

/* An array of the case to or from where `t` lies, row by row of the last dimension. */
static bool move(struct test_case *c, enum array id, const clgaze_tensor *t, enum way way)
{
    const size_t width = (size_t)t->shape[t->rank - 1], n = array_count(c, id) / width;
    const size_t size = clgaze_dtype_size(t->dtype);
    unsigned char *row = malloc(width * size);
    cl_int err = row ? CL_SUCCESS : CL_OUT_OF_HOST_MEMORY;

    for (size_t r = 0; err == CL_SUCCESS && r < n; r++) {
        size_t at = t->offset, left = r;
        float *x = (float *)c->data[id] + r * width; /* or ints: as wide */

        for (int d = t->rank - 2; d >= 0; d--) {
            at += left % (size_t)t->shape[d] * (size_t)t->stride[d];
            left /= (size_t)t->shape[d];
        }
        if (way == FETCH)
            err = clEnqueueReadBuffer(test_queue(), large, CL_TRUE, at * size, width * size, row, 0, NULL, NULL);
        else
            memset(row, 0xff, width * size); /* NaN */
        for (size_t i = 0; way != SPOIL && i < width; i++)
            if (!is_float(id))
                memcpy(way == FILL ? (void *)(row + i * 4) : (void *)(x + i),
                       way == FILL ? (void *)(x + i) : (void *)(row + i * 4), 4);
            else if (way == FILL)
                put_float(row + i * size, x[i], t->dtype);
            else
                x[i] = get_float(row + i * size, t->dtype);
        if (way != FETCH)
            err = clEnqueueWriteBuffer(test_queue(), large, CL_TRUE, at * size, width * size, row, 0, NULL, NULL);
    }
    free(row);
    return err == CL_SUCCESS;
}

static bool is_token(const clgaze_tensor *t, enum array id)
{
    return t->rank == 4 && (id <= A_K_GATE || id == A_OUT || (id >= A_DOUT && id <= A_DV));
}

/* Where arrays go: dimension 0, 1 or 2 of tokens as wide as the buffer; or all behind 4 GB. */
enum { BATCHES, TOKENS, HEADS, OFFSETS, PLACES };

/* The n-th array's place; tokens lie between those of other tensors. */
static clgaze_tensor placed_at(const clgaze_tensor *from, int where, int n)
{
    const size_t each = (size_t)1 << 21, begin = where == OFFSETS ? 2 * far_elements : 0; /* bytes */
    clgaze_tensor t = clgaze_tensor_compact(large, (begin + each * (size_t)n) / clgaze_dtype_size(from->dtype),
                                            from->dtype, from->rank, from->shape);

    if (where == OFFSETS)
        return t;
    t.stride[where] = (int64_t)far_elements / (t.shape[where] - 1);
    return t;
}

/* Does array `id` go into the large buffer?  Inputs alone, or one output: outputs need memory of their own. */
static bool goes(const struct test_case *c, const clgaze_tensor *t, enum array id, int where, int output)
{
    if (where == OFFSETS)
        return t->buffer != NULL;
    return t->buffer && is_token(t, id) && (output < 0 ? !(op_outputs(c, op) & BIT(id)) : (int)id == output);
}

static const char *name_of(const clgaze_plan *plan)
{
    return op == CLGAZE_PREFILL ? "prefill" : clgaze_plan_kernel(plan, op);
}

/* A call with some arrays in the large buffer. */
static void call(const clgaze_plan *plan, const clgaze_problem *p, int where, int output)
{
    clgaze_context *ctx = test_context();
    clgaze_tensor *each;
    struct placed_case x;
    struct test_case c;
    uint32_t moved = 0;
    bool ok;

    case_make(&c, op, p, &both, NULL, 1);
    ok = place_case(&c, op, plan, ctx, test_queue(), &x);
    each = &x.tensors.q;
    for (int id = 0, n = 0; ok && id < ARRAYS; id++)
        if (goes(&c, &each[id], (enum array)id, where, output)) {
            each[id] = placed_at(&each[id], where, n++);
            moved |= BIT(id);
            ok = move(&c, (enum array)id, &each[id], op_outputs(&c, op) & BIT(id) ? SPOIL : FILL);
        }
    if (!ok)
        fail_msg("placing: %s", c.why);
    assert_true(moved != 0);
    assert_ok(clgaze_run(plan, op, &x.tensors, &x.call));
    assert_int_equal(clFinish(test_queue()), CL_SUCCESS);
    ok = fetch_case(&c, op, plan, test_queue(), &x); /* what went elsewhere stayed as it was there */
    for (int id = 0; ok && id < ARRAYS; id++)
        if (moved & op_outputs(&c, op) & BIT(id))
            ok = move(&c, (enum array)id, &each[id], FETCH);
    if (!ok || !check_results(&c, op))
        fail_msg("%s, place %d, output %d: %s", name_of(plan), where, output, c.why);
    unplace_case(&x);
    case_free(&c);
}

static void each_place(const clgaze_problem *p)
{
    clgaze_plan *plan = plan_of(op, p);
    struct test_case c;
    clgaze_tensor t = {.rank = 4};

    case_make(&c, op, p, &both, NULL, 1);
    printf("%s\n", name_of(plan));
    call(plan, p, OFFSETS, -1);
    for (int where = BATCHES; where < OFFSETS; where++) {
        if (op_inputs(&c, op) & (BIT(A_Q) | (op == CLGAZE_POOL ? BIT(A_Q_GATE) : 0)))
            call(plan, p, where, -1);
        for (int id = 0; id < ARRAYS; id++)
            if (op_outputs(&c, op) & BIT(id) && is_token(&t, (enum array)id))
                call(plan, p, where, id);
    }
    case_free(&c);
    clgaze_plan_free(plan);
}

static void every_operation(void **state)
{
    (void)state;
    if (!large)
        skip();
    for (int i = CLGAZE_POOL; i <= CLGAZE_ATTEND_BWD; i++) {
        clgaze_problem p = problem(CLGAZE_F16, 4, 2, 32, 8, 8);

        op = (clgaze_op)i;
        p.rope_pairs = 16;
        p.gate_double = 1;
        fit_maxima(&p, &both, 1);
        if (op == CLGAZE_PREFILL)
            each_place(&p);
        else
            every_kernel(op, &p, each_place);
    }
}

/* ---- counts -------------------------------------------------------------------- */

/* One side has so many blocks that a block's number times the other side's block size passes 2^31. */
static void many_blocks_beside_few(void **state)
{
    enum { KEYS = (1 << 25) + 4096, DIM = 8, BLOCKS = KEYS / 4, AFTER = 64 };
    clgaze_problem p = problem(CLGAZE_F16, 1, 1, DIM, 256, 4);
    const int64_t q_shape[] = {1, 256, 1, DIM}, k_shape[] = {1, KEYS, 1, DIM}, q_to[] = {1, 1, 1, DIM};
    const int64_t k_to[] = {1, BLOCKS, 1, DIM};
    const clgaze_call call = {.queue = test_queue()};
    unsigned char one[256 * DIM * 2];
    float nan[DIM + AFTER], got[DIM + AFTER], last[DIM];
    clgaze_tensors t;
    clgaze_plan *plan;

    (void)state;
    if (!large)
        skip();
    memset(&t, 0, sizeof t);
    memset(nan, 0xff, sizeof nan);
    for (int i = 0; i < 256 * DIM; i++)
        put_float(one + i * 2, 1, CLGAZE_F16);
    p.max_q = 256;
    p.max_k = KEYS;
    p.k_pool = CLGAZE_MAX;
    t.k_gate = clgaze_tensor_compact(large, 0, CLGAZE_F16, 4, k_shape);
    t.q_gate = clgaze_tensor_compact(large, (size_t)KEYS * DIM, CLGAZE_F16, 4, q_shape);
    t.q_pooled = clgaze_tensor_compact(large, (size_t)1 << 28, CLGAZE_F32, 4, q_to);
    t.k_pooled = clgaze_tensor_compact(large, (size_t)3 << 27, CLGAZE_F32, 4, k_to);
    plan = plan_of(CLGAZE_POOL, &p);
    for (int end = 0; end < 2; end++) /* the queries, and the last of the keys */
        assert_int_equal(clEnqueueWriteBuffer(call.queue, large, CL_TRUE,
                                              ((size_t)KEYS * DIM - (end ? 4 * DIM : 0)) * 2,
                                              end ? 4 * DIM * 2 : sizeof one, one, 0, NULL, NULL),
                         CL_SUCCESS);
    assert_int_equal(
        clEnqueueWriteBuffer(call.queue, large, CL_TRUE, (size_t)1 << 30, sizeof nan, nan, 0, NULL, NULL),
        CL_SUCCESS);
    assert_ok(clgaze_pool(plan, &t, &call));
    assert_int_equal(clEnqueueReadBuffer(call.queue, large, CL_TRUE, (size_t)1 << 30, sizeof got, got, 0, NULL, NULL),
                     CL_SUCCESS);
    assert_int_equal(clEnqueueReadBuffer(call.queue, large, CL_TRUE,
                                         (t.k_pooled.offset + (size_t)(BLOCKS - 1) * DIM) * 4, sizeof last, last, 0,
                                         NULL, NULL),
                     CL_SUCCESS);
    for (int i = 0; i < DIM; i++)
        assert_true(got[i] == 1 && last[i] == 1);
    assert_memory_equal(got + DIM, nan, AFTER * sizeof(float));
    clgaze_plan_free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_operation, make_large),
        cmocka_unit_test_teardown(many_blocks_beside_few, drop_large),
    };

    setenv("POCL_MEMORY_LIMIT", "18", 0); /* GB; PoCL gives a quarter of it, or of half the memory */
    if (clgaze_device_list(NULL, 0) > 0 && test_context()->device.max_alloc < 2 * far_elements + behind) {
        printf("SKIPPED: this device gives no buffer of %zu bytes\n", 2 * far_elements + behind);
        return 77;
    }
    return TEST_MAIN(tests);
}
