/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate_clblast against ref/gate.c.  Label: unit.
 *
 * CLBlast multiplies small shapes by one kernel and needs no temporary
 * matrices; the tests run so first, then with CLBlast told to call every shape
 * large, which is how it uses our workspace.  Its first calls compile for some
 * seconds, so all of it runs in one context.
 */
#include "harness.h"

#include <stdio.h>
#include <string.h>

static const struct shape longest = {.batch = 2, .sq = 150, .sk = 150};

static clgaze_problem gate(bool twice)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 16, 16, 16);

    p.gate_double = twice;
    p.gate_dim = twice ? 24 : 0;
    p.rope_pairs = 8;
    p.kernel = "gate_clblast";
    fit_maxima(&p, &longest, 1);
    return p;
}

static void refused(void **state)
{
    clgaze_problem p = gate(false);
    char reason[256];
#ifdef CLGAZE_HAVE_CLBLAST
    int values[CLG_MAX_PARAMS] = {0};
    const char *why;
#endif

    (void)state;
    p.weight_dtype = CLGAZE_F16;
    assert_int_equal(clgaze_supports(test_context(), CLGAZE_GATE, &p, reason, sizeof reason), CLGAZE_ERR_UNSUPPORTED);
#ifndef CLGAZE_HAVE_CLBLAST
    assert_non_null(strstr(reason, "this build has no CLBlast"));
#else
    assert_non_null(strstr(reason, "CLBlast multiplies only f32 matrices here"));
    p = gate(false);
    p.packed = 1;
    assert_int_equal(clgaze_supports(test_context(), CLGAZE_GATE, &p, reason, sizeof reason), CLGAZE_ERR_UNSUPPORTED);
    assert_non_null(strstr(reason, "packed sequences"));
    p = problem(CLGAZE_F32, 1024, 1, 8, 4, 4); /* k_gated: 2^18 blocks of 1024 heads of 8 channels */
    p.max_q = 4;
    p.max_k = 1 << 20;
    clg_space_default(clg_kernel_find("gate_clblast"),
                      values); /* the record itself: few devices have such a buffer */
    why = clg_kernel_find("gate_clblast")->fits(&test_context()->device, &p, values);
    assert_non_null(why);
    assert_non_null(strstr(why, "more elements than CLBlast can count"));
#endif
}

/* Never chosen unasked. */
static void not_preferred(void **state)
{
    clgaze_problem p = gate(false);
    char reason[256];

    (void)state;
    p.kernel = NULL;
    assert_ok(clgaze_supports(test_context(), CLGAZE_GATE, &p, reason, sizeof reason));
    assert_null(strstr(reason, "clblast"));
}

#ifndef CLGAZE_HAVE_CLBLAST

static void products(void **state)
{
    (void)state;
    printf("SKIPPED: this build has no CLBlast\n");
    skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused),
        cmocka_unit_test(not_preferred),
        cmocka_unit_test(products),
    };

    return TEST_MAIN(tests);
}

#else

#include <stdatomic.h>

#include <clblast_c.h>

static const struct shape shorter = {.batch = 2, .sq = 40, .sk = 90};
static clgaze_context *context;
static atomic_int own; /* products that our own kernel made in CLBlast's place */

static void count_own(void *user, clgaze_log_level level, clgaze_status status, const char *message)
{
    if (strstr(message, "our own product serves instead of CLBlast's"))
        atomic_fetch_add(&own, 1);
    test_log(user, level, status, message);
}

static clgaze_context *clblast_context(void)
{
    clgaze_context_options o = test_options();

    o.log = count_own;
    o.log_level = CLGAZE_LOG_DEBUG;
    if (!context)
        assert_ok(clgaze_context_create(&o, &context));
    return context;
}

static cl_command_queue new_queue(cl_command_queue_properties properties)
{
    clgaze_context *ctx = clblast_context();
    cl_int err = CL_SUCCESS;
    cl_command_queue queue =
        clCreateCommandQueue(clgaze_context_cl(ctx), clgaze_context_device(ctx), properties, &err);

    return err == CL_SUCCESS ? queue : NULL;
}

static clgaze_plan *new_plan(clgaze_op op, const clgaze_problem *p)
{
    clgaze_plan *plan = NULL;

    forget();
    assert_ok(clgaze_plan_create(clblast_context(), op, p, &plan));
    return plan;
}

static void run_one(clgaze_op op, const clgaze_plan *plan, const clgaze_problem *p, const struct shape *n,
                    cl_command_queue queue, tweak_fn tweak)
{
    struct test_case c;

    case_make(&c, op, p, n, tweak, 77);
    if (!run_case(&c, op, plan, clblast_context(), queue) || !check_results(&c, op))
        fail_msg("%s", c.why);
    case_free(&c);
}

/* CLBlast serves at the plan's maximum, our own product at other lengths. */
static void check_lengths(bool twice)
{
    clgaze_problem p = gate(twice);
    clgaze_plan *plan = new_plan(CLGAZE_GATE, &p);
    cl_command_queue queue = new_queue(0);

    assert_non_null(queue);
    for (int i = 0; i < 3; i++) {
        atomic_store(&own, 0);
        run_one(CLGAZE_GATE, plan, &p, &longest, queue, NULL);
        assert_int_equal(atomic_load(&own), 0);
    }
    run_one(CLGAZE_GATE, plan, &p, &shorter, queue, NULL);
    assert_int_equal(atomic_load(&own), twice ? 2 : 1);
    clReleaseCommandQueue(queue);
    clgaze_plan_free(plan);
}

static void single_form(void **state)
{
    (void)state;
    check_lengths(false);
}

static void double_form(void **state)
{
    (void)state;
    check_lengths(true);
}

/* ---- events --------------------------------------------------------------------- */

/* k_pooled is NaN until `gate_open` is set; the call waits for the event of its writing. */
static cl_event write_late(cl_command_queue queue, const struct placed *x, cl_event gate_open)
{
    const cl_uint nan = 0xffffffffu;
    cl_event written = NULL;

    assert_int_equal(clEnqueueFillBuffer(queue, x->mem, &nan, sizeof nan, 0, x->bytes / 4 * 4, 0, NULL, NULL),
                     CL_SUCCESS);
    assert_int_equal(clFinish(queue), CL_SUCCESS);
    assert_int_equal(clEnqueueWriteBuffer(queue, x->mem, CL_FALSE, 0, x->bytes, x->before, 1, &gate_open, &written),
                     CL_SUCCESS);
    return written;
}

/* Call the gate before its input is there; let the input come; wait. */
static void run_late(const clgaze_plan *plan, const clgaze_tensors *t, cl_mem workspace, const struct placed *x,
                     cl_command_queue queue)
{
    cl_int err = CL_SUCCESS;
    cl_command_queue writer = new_queue(0);
    cl_event gate_open = clCreateUserEvent(clgaze_context_cl(clblast_context()), &err), done = NULL;
    cl_event written = write_late(writer, x, gate_open);
    const clgaze_call call = {.queue = queue, .workspace = workspace, .n_wait = 1, .wait = &written, .done = &done};

    assert_int_equal(err, CL_SUCCESS);
    forget();
    assert_ok(clgaze_gate(plan, t, &call));
    assert_int_equal(clFlush(writer), CL_SUCCESS);
    assert_int_equal(clFlush(queue), CL_SUCCESS);
    assert_int_equal(clSetUserEventStatus(gate_open, CL_COMPLETE), CL_SUCCESS);
    assert_int_equal(clWaitForEvents(1, &done), CL_SUCCESS);
    clReleaseEvent(done);
    clReleaseEvent(written);
    clReleaseEvent(gate_open);
    clReleaseCommandQueue(writer);
}

/* One call with that workspace, whose input comes late. */
static void check_late(bool twice, cl_command_queue queue, const clgaze_plan *plan, cl_mem workspace)
{
    clgaze_problem p = gate(twice);
    struct placed at[ARRAYS];
    clgaze_tensor each[ARRAYS];
    clgaze_tensors t;
    struct test_case c;
    uint32_t out, all;

    case_make(&c, CLGAZE_GATE, &p, &longest, NULL, 78);
    out = op_outputs(&c, CLGAZE_GATE);
    all = out | op_inputs(&c, CLGAZE_GATE);
    memset(each, 0, sizeof each);
    for (int id = 0; id < ARRAYS; id++)
        if (all & BIT(id)) {
            assert_true(place(&c, clblast_context(), queue, (enum array)id, (out & BIT(id)) != 0, &at[id]));
            each[id] = at[id].t;
        }
    memcpy(&t, each, sizeof t);
    run_late(plan, &t, workspace, &at[A_K_POOLED], queue);
    for (int id = 0; id < ARRAYS; id++)
        if (all & BIT(id)) {
            if (!fetch(&c, queue, (enum array)id, (out & BIT(id)) != 0, &at[id]))
                fail_msg("%s", c.why);
            unplace(&at[id]);
        }
    if (!check_results(&c, CLGAZE_GATE))
        fail_msg("%s", c.why);
    case_free(&c);
}

static cl_mem new_buffer(size_t bytes)
{
    cl_int err = CL_SUCCESS;
    cl_mem buffer =
        bytes ? clCreateBuffer(clgaze_context_cl(clblast_context()), CL_MEM_READ_WRITE, bytes, NULL, &err) : NULL;

    assert_int_equal(err, CL_SUCCESS);
    return buffer;
}

static void check_queues(cl_command_queue_properties properties)
{
    cl_command_queue queue = new_queue(properties);

    if (!queue) {
        printf("SKIPPED: the device has no out-of-order queues\n");
        skip();
    }
    for (int twice = 0; twice < 2; twice++) {
        clgaze_problem p = gate(twice);
        clgaze_plan *plan = new_plan(CLGAZE_GATE, &p);
        cl_mem workspace = new_buffer(clgaze_plan_workspace(plan));

        atomic_store(&own, 0);
        for (int i = 0; i < 8; i++)
            check_late(twice, queue, plan, workspace);
        assert_int_equal(atomic_load(&own), 0);
        if (workspace)
            clReleaseMemObject(workspace);
        clgaze_plan_free(plan);
    }
    clReleaseCommandQueue(queue);
}

static void in_order(void **state)
{
    (void)state;
    check_queues(0);
}

static void out_of_order(void **state)
{
    (void)state;
    check_queues(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
}

/* ---- threads -------------------------------------------------------------------- */

enum { THREADS = 4, CALLS = 6 };

struct worker {
    pthread_t thread;
    struct test_case c[CALLS];
    cl_command_queue queue;
    const clgaze_plan *plan;
    bool ok;
};

static void *work(void *argument)
{
    struct worker *w = argument;
    clgaze_plan *another = NULL;

    w->ok = clgaze_gate_plan(context, &w->c[0].p, &another) == CLGAZE_OK; /* warms while others call */
    for (int i = 0; i < CALLS && w->ok; i++)
        w->ok = run_case(&w->c[i], CLGAZE_GATE, i % 2 ? w->plan : another, context, w->queue) &&
                check_results(&w->c[i], CLGAZE_GATE);
    clgaze_plan_free(another);
    return NULL;
}

static void threads(void **state)
{
    static struct worker workers[THREADS];
    clgaze_problem p = gate(true);
    clgaze_plan *plan = new_plan(CLGAZE_GATE, &p);

    (void)state;
    atomic_store(&own, 0);
    for (int i = 0; i < THREADS; i++) {
        struct worker *w = &workers[i];

        for (int k = 0; k < CALLS; k++)
            case_make(&w->c[k], CLGAZE_GATE, &p, &longest, NULL, (uint64_t)i * CALLS + (uint64_t)k);
        w->queue = new_queue(0);
        w->plan = plan;
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(workers[i].thread, NULL);
    for (int i = 0; i < THREADS; i++)
        for (int k = 0; k < CALLS; k++) {
            if (!workers[i].ok && workers[i].c[k].why[0])
                fail_msg("thread %d: %s", i, workers[i].c[k].why);
            case_free(&workers[i].c[k]);
        }
    for (int i = 0; i < THREADS; i++) {
        assert_true(workers[i].ok);
        clReleaseCommandQueue(workers[i].queue);
    }
    assert_int_equal(atomic_load(&own), 0);
    clgaze_plan_free(plan);
}

/* ---- the workspace ---------------------------------------------------------------- */

/* From here on CLBlast takes every shape for a large one. */
static void call_all_large(void **state)
{
    const char *name = "XGEMM_MIN_INDIRECT_SIZE";
    const size_t value = 1;
    clgaze_problem p = gate(false);
    clgaze_plan *plan = new_plan(CLGAZE_GATE, &p);

    (void)state;
    assert_int_equal(clgaze_plan_workspace(plan), 0);
    clgaze_plan_free(plan);
    assert_int_equal(CLBlastOverrideParameters(clgaze_context_device(clblast_context()), "GemmRoutine",
                                               CLBlastPrecisionSingle, 1, &name, &value),
                     CLBlastSuccess);
    plan = new_plan(CLGAZE_GATE, &p);
    assert_true(clgaze_plan_workspace(plan) > 0);
    clgaze_plan_free(plan);
}

/* Where a workspace that is itself a part of a buffer cannot be cut again, our own product serves. */
static void part_of_a_buffer(void **state)
{
    clgaze_problem p = gate(true);
    clgaze_plan *plan = new_plan(CLGAZE_GATE, &p);
    const cl_buffer_region region = {0, clgaze_plan_workspace(plan)};
    cl_mem parent = new_buffer(region.size), part, cut;
    cl_command_queue queue = new_queue(0);
    cl_int err = CL_SUCCESS;

    (void)state;
    part = clCreateSubBuffer(parent, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &err);
    assert_int_equal(err, CL_SUCCESS);
    cut = clCreateSubBuffer(part, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &err); /* NVIDIA's driver does it */
    atomic_store(&own, 0);
    check_late(true, queue, plan, part);
    assert_int_equal(atomic_load(&own), cut ? 0 : 2);
    if (cut)
        clReleaseMemObject(cut);
    clReleaseMemObject(part);
    clReleaseMemObject(parent);
    clReleaseCommandQueue(queue);
    clgaze_plan_free(plan);
}

static void hand_on(struct test_case *c)
{
    c->absent = BIT(A_Q_POOLED) | BIT(A_K_POOLED) | BIT(A_Q_GATED) | BIT(A_K_GATED);
}

/* Prefill hands on through the workspace, in which CLBlast then may not write. */
static void check_prefill(int want_own)
{
    clgaze_problem p = gate(true);
    clgaze_plan *plan = new_plan(CLGAZE_PREFILL, &p);
    cl_command_queue queue = new_queue(0);

    atomic_store(&own, 0);
    run_one(CLGAZE_PREFILL, plan, &p, &longest, queue, NULL);
    assert_int_equal(atomic_load(&own), 0);
    run_one(CLGAZE_PREFILL, plan, &p, &longest, queue, hand_on);
    assert_int_equal(atomic_load(&own), want_own);
    clReleaseCommandQueue(queue);
    clgaze_plan_free(plan);
}

static void prefill(void **state)
{
    (void)state;
    check_prefill(0);
}

static void prefill_large(void **state)
{
    (void)state;
    check_prefill(2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused),
        cmocka_unit_test(not_preferred),
        cmocka_unit_test(single_form),
        cmocka_unit_test(double_form),
        cmocka_unit_test(in_order),
        cmocka_unit_test(out_of_order),
        cmocka_unit_test(threads),
        cmocka_unit_test(prefill),
        cmocka_unit_test(call_all_large),
        {"single_form_large", single_form, NULL, NULL, NULL},
        {"double_form_large", double_form, NULL, NULL, NULL},
        {"in_order_large", in_order, NULL, NULL, NULL},
        {"out_of_order_large", out_of_order, NULL, NULL, NULL},
        {"threads_large", threads, NULL, NULL, NULL},
        cmocka_unit_test(prefill_large),
        cmocka_unit_test(part_of_a_buffer),
    };
    int failed = TEST_MAIN(tests);

    clgaze_context_free(context);
    return failed;
}

#endif
