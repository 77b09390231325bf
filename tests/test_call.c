/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_call.c: all that can be wrong with a call.  Label: unit.
 *
 * Each operation has one good call.  A row changes one thing of it; the answer
 * must be the status and one sentence with the words, nothing may be enqueued
 * or written, and the good call must then still give the right results (at tiny
 * sizes after the last row and some before it: a slow runtime compiles for each call).
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

/* ---- a good call ------------------------------------------------------------- */

enum { FLOOR = 256, SPARE = 4096 };

struct stand {
    clgaze_op op;
    struct test_case c;
    clgaze_plan *plan;
    struct placed at[ARRAYS];
    clgaze_tensor t[ARRAYS];
    cl_mem workspace;
    clgaze_call call;
    cl_event done;
};

static uint32_t used(const struct stand *s)
{
    return op_inputs(&s->c, s->op) | op_outputs(&s->c, s->op);
}

static bool is_output(const struct stand *s, int id)
{
    return (op_outputs(&s->c, s->op) & BIT(id)) != 0;
}

static void set_up(struct stand *s, clgaze_op op, clgaze_problem p, const struct shape *shape)
{
    cl_int err = CL_SUCCESS;

    memset(s, 0, sizeof *s);
    s->op = op;
    fit_maxima(&p, shape, 1);
    assert_ok(clgaze_plan_create(test_context(), op, &p, &s->plan));
    case_make(&s->c, op, &p, shape, NULL, 7 + (uint64_t)op);
    for (int id = 0; id < ARRAYS; id++)
        if (used(s) & BIT(id)) {
            assert_true(place(&s->c, test_context(), test_queue(), (enum array)id, is_output(s, id), &s->at[id]));
            s->t[id] = s->at[id].t;
        }
    s->workspace =
        clCreateBuffer(test_context()->cl, CL_MEM_READ_WRITE, clgaze_plan_workspace(s->plan) + SPARE, NULL, &err);
    assert_int_equal(err, CL_SUCCESS);
    s->call.queue = test_queue();
    s->call.workspace = s->workspace;
    for (int i = 0; i < shape->sequences; i++) {
        s->call.longest_q = shape->q[i] > s->call.longest_q ? shape->q[i] : s->call.longest_q;
        s->call.longest_k = shape->k[i] > s->call.longest_k ? shape->k[i] : s->call.longest_k;
    }
}

static void tear_down(struct stand *s)
{
    for (int id = 0; id < ARRAYS; id++)
        unplace(&s->at[id]);
    clReleaseMemObject(s->workspace);
    clgaze_plan_free(s->plan);
    case_free(&s->c);
}

static clgaze_status run(struct stand *s, const clgaze_tensor *each, clgaze_call call)
{
    clgaze_tensors tensors;

    memcpy(&tensors, each, sizeof tensors);
    s->done = NULL;
    call.done = &s->done;
    forget();
    return clgaze_run(s->plan, s->op, &tensors, &call);
}

/* No buffer of the good call has changed. */
static void assert_untouched(struct stand *s, const char *row)
{
    assert_null(s->done);
    assert_int_equal(clFinish(test_queue()), CL_SUCCESS);
    for (int id = 0; id < ARRAYS; id++)
        if (s->at[id].mem && !fetch(&s->c, test_queue(), (enum array)id, false, &s->at[id]))
            fail_msg("%s: %s", row, s->c.why);
}

/* The good call gives the right results; its outputs are poisoned again. */
static void assert_works(struct stand *s, const char *row)
{
    assert_ok(run(s, s->t, s->call));
    assert_non_null(s->done);
    assert_int_equal(clWaitForEvents(1, &s->done), CL_SUCCESS);
    clReleaseEvent(s->done);
    for (int id = 0; id < ARRAYS; id++)
        if (s->at[id].mem && !fetch(&s->c, test_queue(), (enum array)id, is_output(s, id), &s->at[id]))
            fail_msg("after %s: %s", row, s->c.why);
    if (!check_results(&s->c, s->op))
        fail_msg("after %s: %s", row, s->c.why);
    for (int id = 0; id < ARRAYS; id++)
        if (is_output(s, id) && s->at[id].mem)
            assert_int_equal(clEnqueueWriteBuffer(test_queue(), s->at[id].mem, CL_TRUE, 0, s->at[id].bytes,
                                                  s->at[id].before, 0, NULL, NULL),
                             CL_SUCCESS);
}

static void refused(struct stand *s, const char *row, const clgaze_tensor *each, clgaze_call call,
                    clgaze_status status, const char *words)
{
    static int rows;

    assert_refused(row, run(s, each, call), status, words);
    assert_untouched(s, row);
    if (!tiny() || ++rows % (16 * number_from("CLGAZE_TEST_SHARE", 1)) == 0)
        assert_works(s, row);
}

/* ---- the stands: each operation, and the forms that need other tensors ------------ */

static const struct shape plain = {.batch = 2, .sq = 20, .sk = 28};
static const struct shape packs = {.sequences = 2, .q = {9, 12}, .k = {9, 20}};

static clgaze_problem usual(void)
{
    clgaze_problem p = problem(CLGAZE_F16, 4, 2, 16, 8, 8);

    p.gate_double = 1;
    p.rope_pairs = 4;
    p.lse = 1;
    return p;
}

typedef void (*stand_fn)(struct stand *s);

/* Do `what` with a stand of every operation, and of attend with each form of lists, and packed. */
static void each_stand(stand_fn what)
{
    for (int i = 0; i < 11; i++) {
        clgaze_problem p = usual();
        clgaze_op op = (clgaze_op)(i < 6 ? i : i < 9 ? CLGAZE_ATTEND : i == 9 ? CLGAZE_PREFILL : CLGAZE_GATE);
        struct stand s;

        if (i >= 6 && i < 9)
            p.lists = (clgaze_lists[]){CLGAZE_LISTS_DENSE, CLGAZE_LISTS_MASK, CLGAZE_LISTS_CSR}[i - 6];
        p.packed = i >= 9;
        set_up(&s, op, p, p.packed ? &packs : &plain);
        assert_works(&s, "nothing");
        what(&s);
        assert_works(&s, "the last row");
        tear_down(&s);
    }
}

/* ---- each tensor ------------------------------------------------------------------- */

/* What check_tensor() may only look at, or need not have. */
static bool optional(const struct stand *s, int id)
{
    bool lengths = s->op == CLGAZE_GATE || s->op == CLGAZE_SCORE;

    return (lengths && (id == A_Q_GATE || id == A_K_GATE)) ||
           (s->op == CLGAZE_PREFILL && id >= A_Q_POOLED && id <= A_BLOCKS);
}

static bool token(int id)
{
    return id <= A_K_GATE || id == A_OUT;
}

static void change_tensor(struct stand *s, int id, clgaze_tensor t, clgaze_status status, const char *words)
{
    clgaze_tensor each[ARRAYS];
    char row[256];

    snprintf(row, sizeof row, "op %d lists %d packed %d, %s, %s", (int)s->op, (int)s->c.p.lists, (int)s->c.p.packed,
             array_names[id], words);
    memcpy(each, s->t, sizeof each);
    each[id] = t;
    refused(s, row, each, s->call, status, words);
}

static void missing(struct stand *s)
{
    for (int id = 0; id < ARRAYS; id++) {
        clgaze_tensor t = s->t[id];
        char words[64];

        if (!(used(s) & BIT(id)) || optional(s, id))
            continue;
        t.buffer = NULL;
        snprintf(words, sizeof words, "%s is missing", array_names[id]);
        change_tensor(s, id, t, CLGAZE_ERR_NULL, words);
    }
}

static void types_and_ranks(struct stand *s)
{
    for (int id = 0; id < ARRAYS; id++) {
        char words[96];

        if (!(used(s) & BIT(id)))
            continue;
        for (int dtype = -1; dtype <= 5; dtype += 2) {
            clgaze_tensor t = s->t[id];

            if (dtype == (int)t.dtype)
                continue;
            t.dtype = (clgaze_dtype)dtype;
            snprintf(words, sizeof words, "%s is %s:|%s", array_names[id], clgaze_dtype_name(t.dtype),
                     clgaze_dtype_name(s->t[id].dtype));
            change_tensor(s, id, t, CLGAZE_ERR_DTYPE, words);
        }
        for (int off = -1; off <= 1; off += 2) {
            clgaze_tensor t = s->t[id];

            t.rank += off;
            snprintf(words, sizeof words, "%s has %d dimensions|%d", array_names[id], (int)t.rank,
                     (int)s->t[id].rank);
            change_tensor(s, id, t, CLGAZE_ERR_RANK, words);
        }
    }
}

/* A wrong size is heads' or another's; which tensor is named depends on which comes first. */
static void sizes(struct stand *s)
{
    for (int id = 0; id < ARRAYS; id++)
        for (int d = 0; (used(s) & BIT(id)) && d < s->t[id].rank; d++)
            for (int i = 0; i < 3; i++) {
                const int64_t values[] = {0, -1, INT64_MAX};
                clgaze_tensor each[ARRAYS], *t = &each[id];
                clgaze_status st;
                char row[96], words[96];

                memcpy(each, s->t, sizeof each);
                t->shape[d] = values[i];
                snprintf(row, sizeof row, "op %d, %s.shape[%d]", (int)s->op, array_names[id], d);
                snprintf(words, sizeof words, "%s.shape[%d] is %lld:", array_names[id], d, (long long)values[i]);
                if (id == A_SCORES && d == 1)
                    words[strlen(words) - 1] = '\0';
                st = run(s, each, s->call);
                if (st != CLGAZE_ERR_SIZE && st != CLGAZE_ERR_HEADS)
                    fail_msg("%s: %s", row, clgaze_status_name(st));
                assert_refused(row, st, st, words);
                assert_untouched(s, row);
            }
}

/* One more than the others have; of indptr, compared last, one less: oclgrind's buffers end where it does. */
static void disagreement(struct stand *s)
{
    for (int id = 0; id < ARRAYS; id++)
        for (int d = 0; (used(s) & BIT(id)) && d < s->t[id].rank; d++) {
            clgaze_tensor each[ARRAYS];
            clgaze_status st;
            char row[96];

            /* The width of blocks and the entries of indices are the caller's. */
            if ((id == A_BLOCKS && d == 3) || id == A_INDICES)
                continue;
            memcpy(each, s->t, sizeof each);
            each[id].shape[d] += id == A_INDPTR ? -1 : 1;
            snprintf(row, sizeof row, "op %d, %s.shape[%d] by one", (int)s->op, array_names[id], d);
            st = run(s, each, s->call);
            if (st != CLGAZE_ERR_SIZE && st != CLGAZE_ERR_HEADS)
                fail_msg("%s: %s", row, clgaze_status_name(st));
            assert_refused(row, st, st, ".shape[");
            assert_untouched(s, row);
        }
}

static void strides(struct stand *s)
{
    for (int id = 0; id < ARRAYS; id++)
        for (int d = 0; (used(s) & BIT(id)) && d < s->t[id].rank; d++) {
            clgaze_tensor t = s->t[id];
            char words[96];

            if (t.shape[d] == 1)
                continue;
            t.stride[d] = -t.stride[d];
            snprintf(words, sizeof words, "%s.stride[%d] is %lld:", array_names[id], d, (long long)t.stride[d]);
            change_tensor(s, id, t, CLGAZE_ERR_STRIDE, words);
            t.stride[d] = INT64_MAX;
            snprintf(words, sizeof words, "%s.stride[%d] is %lld:", array_names[id], d, (long long)t.stride[d]);
            change_tensor(s, id, t, CLGAZE_ERR_STRIDE, words);
            if (!token(id) || d == 3) { /* must be compact */
                t.stride[d] = s->t[id].stride[d] + 1;
                snprintf(words, sizeof words, "%s.stride[%d] is %lld: it must be %lld", array_names[id], d,
                         (long long)t.stride[d], (long long)s->t[id].stride[d]);
                change_tensor(s, id, t, CLGAZE_ERR_STRIDE, words);
            }
            if (token(id) && is_output(s, id) && d < 3) { /* elements on top of each other */
                for (int64_t stride = 0; stride < t.shape[3]; stride += t.shape[3] - 1) {
                    t.stride[d] = stride;
                    change_tensor(s, id, t, CLGAZE_ERR_STRIDE, "out.stride[|on top of each other");
                }
            }
        }
}

/* Its last element just fits; one further does not. */
static void bounds(struct stand *s)
{
    for (int id = 0; id < ARRAYS; id++) {
        clgaze_tensor t = s->t[id];
        size_t elements, end = 1;
        char words[128];

        if (!(used(s) & BIT(id)))
            continue;
        elements = s->at[id].bytes / clgaze_dtype_size(t.dtype);
        for (int d = 0; d < t.rank; d++)
            end += (size_t)((t.shape[d] - 1) * t.stride[d]);
        t.offset = elements - end + 1;
        snprintf(words, sizeof words, "%s reaches to element %zu|holds %zu", array_names[id], elements + 1, elements);
        change_tensor(s, id, t, CLGAZE_ERR_BOUNDS, words);
        t.offset = SIZE_MAX;
        snprintf(words, sizeof words, "%s reaches to element|holds %zu", array_names[id], elements);
        change_tensor(s, id, t, CLGAZE_ERR_BOUNDS, words);
    }
}

/* Outputs that lie on another tensor or on the workspace, in a sub-buffer too. */
static void overlap_at(struct stand *s, int id, cl_mem with, const char *name)
{
    cl_buffer_region whole = {0, 0};
    cl_int err = CL_SUCCESS;
    clgaze_tensor t = s->t[id];
    char words[64];

    assert_int_equal(clGetMemObjectInfo(with, CL_MEM_SIZE, sizeof whole.size, &whole.size, NULL), CL_SUCCESS);
    if (whole.size < s->at[id].bytes)
        return; /* it would reach beyond */
    snprintf(words, sizeof words, "overlaps|%s", name);
    t.buffer = with;
    change_tensor(s, id, t, CLGAZE_ERR_OVERLAP, words);
    t.buffer = clCreateSubBuffer(with, 0, CL_BUFFER_CREATE_TYPE_REGION, &whole, &err);
    assert_int_equal(err, CL_SUCCESS);
    change_tensor(s, id, t, CLGAZE_ERR_OVERLAP, words);
    clReleaseMemObject(t.buffer);
}

static void overlaps(struct stand *s)
{
    size_t room = clgaze_plan_workspace(s->plan);

    for (int id = 0; id < ARRAYS; id++) {
        if (!is_output(s, id))
            continue;
        for (int other = 0; other < ARRAYS; other++)
            if (other != id && (used(s) & BIT(other)) && !(optional(s, other) && !is_output(s, other)))
                overlap_at(s, id, s->at[other].mem, array_names[other]);
        if (room > s->at[id].bytes)
            overlap_at(s, id, s->workspace, "workspace");
    }
    for (int id = 0; id < ARRAYS; id++) /* what is read may not lie there either */
        if ((op_inputs(&s->c, s->op) & BIT(id)) && !optional(s, id) && room > s->at[id].bytes)
            overlap_at(s, id, s->workspace, "workspace");
}

static void tensors(void **state)
{
    (void)state;
    each_stand(missing);
    each_stand(types_and_ranks);
    each_stand(sizes);
    each_stand(disagreement);
    each_stand(strides);
    each_stand(bounds);
    each_stand(overlaps);
}

/* ---- the call itself ---------------------------------------------------------------- */

static void workspaces(struct stand *s)
{
    size_t need = clgaze_plan_workspace(s->plan);
    clgaze_call call = s->call;
    char words[96];
    cl_int err = CL_SUCCESS;

    if (!need) {
        call.workspace = NULL;
        assert_ok(run(s, s->t, call));
        assert_int_equal(clWaitForEvents(1, &s->done), CL_SUCCESS);
        clReleaseEvent(s->done);
        return;
    }
    call.workspace = NULL;
    snprintf(words, sizeof words, "call.workspace is NULL|%zu bytes", need);
    refused(s, "no workspace", s->t, call, CLGAZE_ERR_WORKSPACE, words);
    call = s->call;
    call.workspace_offset = 128;
    refused(s, "misaligned", s->t, call, CLGAZE_ERR_WORKSPACE, "call.workspace_offset is 128|256");
    call.workspace_offset = need + 2 * SPARE;
    call.workspace_offset -= call.workspace_offset % 256;
    snprintf(words, sizeof words, "call.workspace holds 0 bytes|%zu|%zu", call.workspace_offset, need);
    refused(s, "beyond", s->t, call, CLGAZE_ERR_WORKSPACE, words);
    call.workspace_offset = SIZE_MAX - 255;
    refused(s, "far beyond", s->t, call, CLGAZE_ERR_WORKSPACE, "call.workspace holds 0 bytes");
    call.workspace_offset = 0;
    call.workspace = clCreateBuffer(test_context()->cl, CL_MEM_READ_WRITE, need - 1, NULL, &err);
    assert_int_equal(err, CL_SUCCESS);
    snprintf(words, sizeof words, "call.workspace holds %zu bytes|needs %zu", need - 1, need);
    refused(s, "a byte less", s->t, call, CLGAZE_ERR_WORKSPACE, words);
    clReleaseMemObject(call.workspace);
}

static void calls(struct stand *s)
{
    cl_event event = clCreateUserEvent(test_context()->cl, NULL);
    clgaze_call call = s->call;

    call.queue = NULL;
    refused(s, "no queue", s->t, call, CLGAZE_ERR_NULL, "call.queue is NULL");
    call = s->call;
    call.n_wait = 1;
    refused(s, "n_wait without wait", s->t, call, CLGAZE_ERR_NULL, "call.n_wait is 1|call.wait is NULL");
    call.n_wait = 0;
    call.wait = &event;
    refused(s, "wait without n_wait", s->t, call, CLGAZE_ERR_NULL, "call.n_wait is 0|call.wait is given");
    clSetUserEventStatus(event, CL_COMPLETE);
    clReleaseEvent(event);
    if (s->c.p.packed && s->op != CLGAZE_GATE)
        for (int i = 0; i < 4; i++) {
            const int32_t bad[] = {0, -1, INT32_MAX, s->c.p.max_k + 1};
            char words[96];

            call = s->call;
            call.longest_k = bad[i];
            snprintf(words, sizeof words, "call.longest_k is %d:|1..%d", (int)bad[i], (int)s->c.p.max_k);
            refused(s, "longest_k", s->t, call, CLGAZE_ERR_SIZE, words);
            call = s->call;
            call.longest_q = i == 3 ? s->c.p.max_q + 1 : bad[i];
            snprintf(words, sizeof words, "call.longest_q is %d:|1..%d", (int)call.longest_q, (int)s->c.p.max_q);
            refused(s, "longest_q", s->t, call, CLGAZE_ERR_SIZE, words);
        }
}

/* The header says that the gate does not need them. */
static void gate_without_lengths(struct stand *s)
{
    if (s->op != CLGAZE_GATE || !s->c.p.packed)
        return;
    s->call.longest_q = s->call.longest_k = 0;
    assert_works(s, "no lengths");
}

/* The same device, another cl_context. */
static void foreign(struct stand *s)
{
    clgaze_context_options o = test_options();
    clgaze_context *other = NULL;
    clgaze_call call = s->call;
    cl_int err = CL_SUCCESS;
    cl_mem mem;

    assert_ok(clgaze_context_create(&o, &other));
    call.queue = clCreateCommandQueue(other->cl, other->device.id, 0, &err);
    assert_int_equal(err, CL_SUCCESS);
    refused(s, "queue", s->t, call, CLGAZE_ERR_CONTEXT, "call.queue belongs to another OpenCL context");
    clReleaseCommandQueue(call.queue);
    call = s->call;
    mem = clCreateBuffer(other->cl, CL_MEM_READ_WRITE, 1 << 20, NULL, &err);
    assert_int_equal(err, CL_SUCCESS);
    call.workspace = mem;
    if (clgaze_plan_workspace(s->plan)) /* else it is not looked at */
        refused(s, "workspace", s->t, call, CLGAZE_ERR_CONTEXT, "call.workspace belongs to another OpenCL context");
    for (int id = 0; id < ARRAYS; id++)
        if (used(s) & BIT(id)) {
            clgaze_tensor t = s->t[id];
            char words[96];

            t.buffer = mem;
            snprintf(words, sizeof words, "%s.buffer belongs to another OpenCL context", array_names[id]);
            change_tensor(s, id, t, CLGAZE_ERR_CONTEXT, words);
        }
    clReleaseMemObject(mem);
    clgaze_context_free(other);
}

static void the_call(void **state)
{
    (void)state;
    each_stand(workspaces);
    each_stand(calls);
    each_stand(gate_without_lengths);
    each_stand(foreign);
}

/* ---- NULL and the wrong operation --------------------------------------------------------- */

static void nulls(struct stand *s)
{
    static clgaze_status (*const runs[])(const clgaze_plan *, const clgaze_tensors *, const clgaze_call *) = {
        clgaze_pool, clgaze_gate, clgaze_score, clgaze_select, clgaze_attend, clgaze_prefill};
    clgaze_tensors tensors;

    memcpy(&tensors, s->t, sizeof tensors);
    for (int op = -1; op <= CLGAZE_PREFILL + 1; op++) {
        bool named = op >= CLGAZE_POOL && op <= CLGAZE_PREFILL;
        bool held = op == (int)s->op || (s->op == CLGAZE_PREFILL && named);

        forget();
        assert_int_equal(clgaze_run(NULL, (clgaze_op)op, &tensors, &s->call), CLGAZE_ERR_NULL);
        assert_int_equal(named ? runs[op](NULL, &tensors, &s->call) : CLGAZE_ERR_NULL, CLGAZE_ERR_NULL);
        assert_int_equal(error_count(), 0); /* nobody to tell */
        if (!held)
            assert_refused("operation", clgaze_run(s->plan, (clgaze_op)op, &tensors, &s->call), CLGAZE_ERR_VALUE,
                           "does not run by a plan of");
        if (!named)
            continue;
        forget();
        assert_refused("tensors", runs[op](s->plan, NULL, &s->call), CLGAZE_ERR_NULL, "tensors is NULL");
        forget();
        assert_refused("call", runs[op](s->plan, &tensors, NULL), CLGAZE_ERR_NULL, "call is NULL");
    }
}

/* `done` may be absent; the calls are then in the queue all the same. */
static void no_event(struct stand *s)
{
    clgaze_tensors tensors;

    memcpy(&tensors, s->t, sizeof tensors);
    assert_ok(clgaze_run(s->plan, s->op, &tensors, &s->call));
    assert_int_equal(clFinish(test_queue()), CL_SUCCESS);
}

static void pointers(void **state)
{
    (void)state;
    each_stand(nulls);
    each_stand(no_event);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors),
        cmocka_unit_test(the_call),
        cmocka_unit_test(pointers),
    };

    return TEST_MAIN(tests);
}
