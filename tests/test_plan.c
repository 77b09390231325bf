/* SPDX-License-Identifier: Apache-2.0 */
/* plans: what they say, what they compile, what they keep; supports and warm.  Label: unit. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

/* A context whose log is listened to at debug level. */
struct ear {
    clgaze_context *ctx;
    cl_command_queue queue;
    int compiled, errors;
    char text[16384]; /* every message on a line of its own */
    struct clg_text all;
};

static void hear(void *user, clgaze_log_level level, clgaze_status status, const char *message)
{
    struct ear *e = user;

    e->compiled += level == CLGAZE_LOG_DEBUG && strncmp(message, "compiling ", 10) == 0;
    e->errors += level == CLGAZE_LOG_ERROR;
    clg_put(&e->all, "%s\n", message);
    test_log(NULL, level, status, message);
}

static void open_ear(struct ear *e)
{
    clgaze_context_options o = test_options();
    cl_int err = CL_SUCCESS;

    memset(e, 0, sizeof *e);
    e->all = (struct clg_text){e->text, sizeof e->text, 0};
    o.log = hear;
    o.log_user = e;
    o.log_level = CLGAZE_LOG_DEBUG;
    assert_ok(clgaze_context_create(&o, &e->ctx));
    e->queue = clCreateCommandQueue(e->ctx->cl, e->ctx->device.id, 0, &err);
    assert_int_equal(err, CL_SUCCESS);
}

static void close_ear(struct ear *e)
{
    clReleaseCommandQueue(e->queue);
    clgaze_context_free(e->ctx);
}

static const struct shape lengths[] = {
    {.batch = 2, .sq = 40, .sk = 40}, {.batch = 1, .sq = 1, .sk = 1},   {.batch = 1, .sq = 7, .sk = 39},
    {.batch = 2, .sq = 33, .sk = 8},  {.batch = 1, .sq = 16, .sk = 16},
};

static clgaze_problem pipeline(void)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 32, 8, 8);

    p.rope_pairs = 8;
    fit_maxima(&p, lengths, CLG_COUNT(lengths));
    return p;
}

static void check_run(const clgaze_plan *plan, clgaze_op op, const clgaze_problem *p, const struct shape *n,
                      clgaze_context *ctx, cl_command_queue queue)
{
    struct test_case c;

    case_make(&c, op, p, n, NULL, 11);
    if (!run_case(&c, op, plan, ctx, queue) || !check_results(&c, op))
        fail_msg("Sq %d Sk %d: %s", n->sq, n->sk, c.why);
    case_free(&c);
}

/* ---- compiling ----------------------------------------------------------------- */

static void lengths_never_compile(void **state)
{
    clgaze_problem p = pipeline();
    clgaze_plan *plan = NULL, *longer = NULL;
    struct ear e;
    int compiled;

    (void)state;
    open_ear(&e);
    assert_ok(clgaze_prefill_plan(e.ctx, &p, &plan));
    compiled = e.compiled;
    assert_true(compiled >= CLG_OPS);
    for (size_t i = 0; i < CLG_COUNT(lengths); i++)
        check_run(plan, CLGAZE_PREFILL, &p, &lengths[i], e.ctx, e.queue);
    p.max_q = p.max_k = 10000; /* nor do other maxima */
    p.max_batch = 3;
    assert_ok(clgaze_prefill_plan(e.ctx, &p, &longer));
    /* ... but of select_nv, whose rows lie in registers: a program for each class of lengths */
    assert_int_equal(e.compiled - compiled,
                     strcmp(plan->stage[CLGAZE_SELECT].kernel->name, "select_nv") == 0 ? 1 : 0);
    assert_int_equal(e.errors, 0);
    clgaze_plan_free(longer);
    clgaze_plan_free(plan);
    close_ear(&e);
}

/* ---- workspace and width ---------------------------------------------------------- */

static size_t workspace_of(clgaze_op op, const clgaze_problem *p)
{
    clgaze_plan *plan = NULL;
    size_t bytes;

    assert_ok(clgaze_plan_create(test_context(), op, p, &plan));
    bytes = clgaze_plan_workspace(plan);
    clgaze_plan_free(plan);
    return bytes;
}

static void workspace_grows(void **state)
{
    static const size_t maxima[] = {offsetof(clgaze_problem, max_batch), offsetof(clgaze_problem, max_q),
                                    offsetof(clgaze_problem, max_k)};
    clgaze_problem p = pipeline();
    size_t bytes = workspace_of(CLGAZE_PREFILL, &p);

    (void)state;
    assert_true(bytes > 0 && bytes % 256 == 0);
    for (size_t i = 0; i < CLG_COUNT(maxima); i++) {
        clgaze_problem more = p;
        int32_t *most = (int32_t *)(void *)((char *)&more + maxima[i]);

        *most *= 4;
        assert_true(workspace_of(CLGAZE_PREFILL, &more) > bytes);
        for (int op = CLGAZE_POOL; op <= CLGAZE_ATTEND; op++)
            assert_true(workspace_of((clgaze_op)op, &more) >= workspace_of((clgaze_op)op, &p));
    }
    assert_int_equal(clgaze_plan_workspace(NULL), 0);
}

/* run_case() gives exactly the bytes that the plan asks for, with a guard behind: at the
 * maximum they must do.  test_call refuses one less. */
static void workspace_suffices(void **state)
{
    (void)state;
    for (int packed = 0; packed < 2; packed++)
        for (int scope = 0; scope < 3; scope++) {
            static const struct shape packs = {.sequences = 3, .q = {9, 1, 30}, .k = {9, 30, 1}};
            clgaze_problem p = pipeline();
            const struct shape *n = packed ? &packs : &lengths[0];
            clgaze_plan *plan = NULL;

            p.packed = packed;
            p.scope = (clgaze_scope)scope;
            fit_maxima(&p, n, 1);
            assert_ok(clgaze_prefill_plan(test_context(), &p, &plan));
            check_run(plan, CLGAZE_PREFILL, &p, n, test_context(), test_queue());
            clgaze_plan_free(plan);
        }
}

static const float by_head[] = {1, 2, 7, 1};

static const struct {
    clgaze_rule rule;
    double value;
    const float *values;
    clgaze_scope scope;
    int noncausal, sink, local, last_rows, min_k, max_k, width, want;
} widths[] = {
    /* of 10 key blocks */
    {.rule = CLGAZE_TOP_K, .value = 3, .want = 3},
    {.rule = CLGAZE_TOP_K, .value = 3, .sink = 1, .local = 2, .want = 6},
    {.rule = CLGAZE_TOP_K, .value = 100, .want = 10},
    {.rule = CLGAZE_TOP_K, .value = 9, .local = 5, .want = 10},
    {.rule = CLGAZE_TOP_K, .value = 2, .min_k = 5, .want = 5},
    {.rule = CLGAZE_TOP_K, .value = 7, .max_k = 4, .want = 4},
    {.rule = CLGAZE_TOP_K, .value = 2, .last_rows = 1, .want = 10},
    {.rule = CLGAZE_TOP_K, .value = 5, .width = 3, .want = 3},
    {.rule = CLGAZE_TOP_K, .values = by_head, .want = 7},
    {.rule = CLGAZE_TOP_K, .values = by_head, .scope = CLGAZE_SCOPE_KV, .want = 2},
    {.rule = CLGAZE_TOP_K, .values = by_head, .scope = CLGAZE_SCOPE_ONE, .want = 1},
    {.rule = CLGAZE_RATIO, .value = 0.5, .want = 2}, /* (1 - sqrt(.5)) 10 */
    {.rule = CLGAZE_RATIO, .value = 0.5, .noncausal = 1, .want = 5},
    {.rule = CLGAZE_RATIO, .value = 1, .want = 10},
    {.rule = CLGAZE_RATIO, .value = 1e-9, .want = 1},
    {.rule = CLGAZE_BUDGET, .value = 24, .want = 3},
    {.rule = CLGAZE_BUDGET, .value = 31, .want = 3},
    {.rule = CLGAZE_BUDGET, .value = 7, .want = 1},
    {.rule = CLGAZE_BUDGET, .value = 2147483647, .want = 10},
    {.rule = CLGAZE_THRESHOLD, .value = 0.9, .want = 10},
    {.rule = CLGAZE_TOP_P, .value = 0.1, .want = 10},
    {.rule = CLGAZE_TOP_P, .value = 0.1, .max_k = 4, .want = 4},
    {.rule = CLGAZE_TOP_P, .value = 0.1, .max_k = 4, .sink = 2, .local = 1, .want = 7},
    {.rule = CLGAZE_TOP_P, .value = 0.1, .width = 6, .want = 6},
    {.rule = CLGAZE_TOP_P, .value = 0.1, .width = 99, .want = 10},
};

static void width_by_rule(void **state)
{
    (void)state;
    for (size_t i = 0; i < CLG_COUNT(widths); i++)
        for (int op = CLGAZE_SELECT; op <= CLGAZE_ATTEND; op++) {
            clgaze_problem p = pipeline();
            clgaze_plan *plan = NULL;

            p.max_k = 79;
            p.rule = widths[i].rule;
            p.value = widths[i].value;
            p.values = widths[i].values;
            p.scope = widths[i].scope;
            p.causal = !widths[i].noncausal;
            p.sink = widths[i].sink;
            p.local = widths[i].local;
            p.last_rows = widths[i].last_rows;
            p.min_k = widths[i].min_k;
            p.max_k_blocks = widths[i].max_k;
            p.width = widths[i].width;
            assert_ok(clgaze_plan_create(test_context(), (clgaze_op)op, &p, &plan));
            if (clgaze_plan_width(plan) != (op == CLGAZE_SELECT ? widths[i].want : 0))
                fail_msg("row %zu: width %d, not %d", i, (int)clgaze_plan_width(plan), widths[i].want);
            clgaze_plan_free(plan);
        }
    assert_int_equal(clgaze_plan_width(NULL), 0);
}

/* ---- what was chosen ------------------------------------------------------------------ */

static void names_and_reasons(void **state)
{
    clgaze_problem p = pipeline();

    (void)state;
    for (int op = CLGAZE_POOL; op <= CLGAZE_PREFILL; op++) {
        clgaze_plan *plan = NULL;

        assert_ok(clgaze_plan_create(test_context(), (clgaze_op)op, &p, &plan));
        for (int of = -1; of <= CLGAZE_PREFILL + 1; of++) {
            const char *name = clgaze_plan_kernel(plan, (clgaze_op)of),
                       *why = clgaze_plan_reason(plan, (clgaze_op)of);
            bool held = of >= CLGAZE_POOL && of <= CLGAZE_ATTEND && (op == of || op == CLGAZE_PREFILL);

            assert_int_equal(name != NULL, held);
            assert_int_equal(why != NULL, held);
            if (held) {
                assert_string_equal(clg_kernel_find(name)->op, clg_op_name((clgaze_op)of));
                assert_non_null(strstr(why, "first in the table"));
            }
        }
        clgaze_plan_free(plan);
    }
    assert_null(clgaze_plan_kernel(NULL, CLGAZE_POOL));
    assert_null(clgaze_plan_reason(NULL, CLGAZE_POOL));
}

static void forced_by_name(void **state)
{
    clgaze_problem p = pipeline();
    clgaze_plan *plan = NULL;

    (void)state;
    p.kernel = "attend BM=16 BN=32";
    assert_ok(clgaze_attend_plan(test_context(), &p, &plan));
    assert_string_equal(clgaze_plan_kernel(plan, CLGAZE_ATTEND), "attend WG=128 BM=16 BN=32");
    assert_non_null(strstr(clgaze_plan_reason(plan, CLGAZE_ATTEND), "forced"));
    clgaze_plan_free(plan);
}

/* Asking answers what planning does, in words too, and compiles nothing. */
static void supports_is_planning(void **state)
{
    clgaze_problem p = pipeline();
    struct ear e;

    (void)state;
    open_ear(&e);
    for (int op = CLGAZE_POOL; op <= CLGAZE_PREFILL; op++) {
        char reason[1024], want[1024] = "", cut[12];
        struct clg_text names = {want, sizeof want, 0};
        clgaze_plan *plan = NULL;
        int compiled = e.compiled;
        size_t said = e.all.used;

        assert_int_equal(clgaze_supports(e.ctx, (clgaze_op)op, &p, reason, sizeof reason), CLGAZE_OK);
        assert_int_equal(clgaze_supports(e.ctx, (clgaze_op)op, &p, NULL, 99), CLGAZE_OK);
        assert_int_equal(clgaze_supports(e.ctx, (clgaze_op)op, &p, cut, 0), CLGAZE_OK);
        memset(cut, 'x', sizeof cut);
        assert_int_equal(clgaze_supports(e.ctx, (clgaze_op)op, &p, cut, 4), CLGAZE_OK);
        assert_int_equal(e.compiled, compiled);
        assert_int_equal(e.all.used, said);
        assert_ok(clgaze_plan_create(e.ctx, (clgaze_op)op, &p, &plan));
        for (int of = CLGAZE_POOL; of <= CLGAZE_ATTEND; of++)
            if (clgaze_plan_kernel(plan, (clgaze_op)of))
                clg_put(&names, "%s%s", names.used ? ", " : "", clgaze_plan_kernel(plan, (clgaze_op)of));
        assert_string_equal(reason, want);
        assert_int_equal(strncmp(cut, want, 3), 0);
        assert_int_equal(cut[3], '\0');
        assert_int_equal(cut[4], 'x');
        clgaze_plan_free(plan);
    }
    close_ear(&e);
}

/* On a device that lacks something each strategy says what. */
static void passed_over(void **state)
{
    clgaze_problem p = pipeline();
    clgaze_plan *plan = NULL;
    struct ear e;

    (void)state;
    open_ear(&e);
    e.ctx->device.cpu = false;
    e.ctx->device.nv_arch = 0;
    assert_ok(clgaze_prefill_plan(e.ctx, &p, &plan));
    assert_says("no CPU", e.text,
                "select: select_cpu was passed over: the device is not a CPU|"
                "attend: attend_cpu was passed over: the device is not a CPU|select: select WG=|attend: attend WG=");
    clgaze_plan_free(plan);
    e.ctx->device.max_group = 1;
    e.ctx->device.local_bytes = 1024;
    for (int op = CLGAZE_POOL; op <= CLGAZE_PREFILL; op++) {
        const char *name = clg_op_name((clgaze_op)(op == CLGAZE_PREFILL ? CLGAZE_POOL : op));
        char words[256], reason[256];

        forget();
        e.all.used = 0;
        snprintf(words, sizeof words, "no kernel of operation %s |%s|debug level", name, e.ctx->device.name);
        assert_refused(name, clgaze_plan_create(e.ctx, (clgaze_op)op, &p, &plan), CLGAZE_ERR_UNSUPPORTED, words);
        assert_null(plan);
        for (int i = 0; clg_kernels[i]; i++)
            if (strcmp(clg_kernels[i]->op, name) == 0) {
                snprintf(words, sizeof words, "%s: %s was passed over: ", name, clg_kernels[i]->name);
                assert_says(name, e.text, words);
            }
        assert_int_equal(clgaze_supports(e.ctx, (clgaze_op)op, &p, reason, sizeof reason), CLGAZE_ERR_UNSUPPORTED);
        assert_string_equal(reason, last_error());
    }
    p.kernel = "attend_cpu";
    forget();
    assert_refused("forced", clgaze_attend_plan(e.ctx, &p, &plan), CLGAZE_ERR_UNSUPPORTED,
                   "problem.kernel \"attend_cpu\"|not a CPU");
    close_ear(&e);
}

/* ---- what a plan keeps --------------------------------------------------------------------- */

static void problem_is_copied(void **state)
{
    clgaze_problem p = pipeline(), kept;
    float *values = malloc(4 * sizeof *values);
    char *kernel = malloc(64);
    clgaze_plan *plan = NULL;

    (void)state;
    assert_true(values && kernel);
    memcpy(values, by_head, sizeof by_head);
    snprintf(kernel, 64, "attend BM=16");
    p.values = values;
    p.kernel = kernel;
    kept = p;
    assert_ok(clgaze_prefill_plan(test_context(), &p, &plan));
    memset(values, 0xff, 4 * sizeof *values);
    memset(kernel, 'x', 63);
    free(values);
    free(kernel);
    memset(&p, 0xff, sizeof p);
    kept.values = by_head;
    kept.kernel = NULL;
    check_run(plan, CLGAZE_PREFILL, &kept, &lengths[0], test_context(), test_queue());
    clgaze_plan_free(plan);
}

/* ---- warm -------------------------------------------------------------------------------------- */

struct progress {
    size_t calls, stop_at;
};

static int watch(void *user, size_t done, size_t total)
{
    struct progress *p = user;

    assert_int_equal(done, p->calls);
    assert_int_equal(total, 3);
    return p->calls++ == p->stop_at;
}

static void warming(void **state)
{
    clgaze_problem p = pipeline(), bad = p;
    clgaze_request requests[3] = {{CLGAZE_POOL, &p, NULL}, {CLGAZE_SELECT, &p, NULL}, {CLGAZE_ATTEND, &p, NULL}};
    struct progress all = {0, 99}, some = {0, 2};

    (void)state;
    bad.block_q = 3;
    forget();
    assert_ok(clgaze_warm(test_context(), 3, requests, watch, &all));
    assert_int_equal(all.calls, 3);
    check_run(requests[2].plan, CLGAZE_ATTEND, &p, &lengths[0], test_context(), test_queue());
    for (int i = 0; i < 3; i++)
        clgaze_plan_free(requests[i].plan);
    forget();
    assert_refused("cancelled", clgaze_warm(test_context(), 3, requests, watch, &some), CLGAZE_ERR_CANCELLED,
                   "stopped|2 of 3");
    assert_true(requests[0].plan && requests[1].plan && !requests[2].plan);
    for (int i = 0; i < 2; i++)
        clgaze_plan_free(requests[i].plan);
    requests[0].problem = &bad;
    requests[1].problem = NULL;
    forget();
    assert_int_equal(clgaze_warm(test_context(), 3, requests, NULL, NULL), CLGAZE_ERR_BLOCK); /* the first */
    assert_int_equal(error_count(), 2);
    assert_true(!requests[0].plan && !requests[1].plan && requests[2].plan);
    clgaze_plan_free(requests[2].plan);
    assert_ok(clgaze_warm(test_context(), 0, NULL, NULL, NULL));
}

/* ---- NULL ------------------------------------------------------------------------------------------ */

static void pointers(void **state)
{
    static clgaze_status (*const plans[])(clgaze_context *, const clgaze_problem *, clgaze_plan **) = {
        clgaze_pool_plan,   clgaze_gate_plan,   clgaze_score_plan,
        clgaze_select_plan, clgaze_attend_plan, clgaze_prefill_plan};
    clgaze_problem p = pipeline();
    clgaze_request request = {CLGAZE_POOL, &p, NULL};
    char reason[64];

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(plans); i++) {
        clgaze_plan *plan = (clgaze_plan *)(uintptr_t)&p;

        forget();
        assert_int_equal(plans[i](NULL, &p, &plan), CLGAZE_ERR_NULL);
        assert_null(plan);
        assert_int_equal(error_count(), 0); /* nobody to tell */
        plan = (clgaze_plan *)(uintptr_t)&p;
        assert_refused("problem", plans[i](test_context(), NULL, &plan), CLGAZE_ERR_NULL, "problem is NULL");
        assert_null(plan);
        forget();
        assert_refused("plan", plans[i](test_context(), &p, NULL), CLGAZE_ERR_NULL, "plan is NULL");
    }
    assert_int_equal(clgaze_supports(NULL, CLGAZE_POOL, &p, reason, sizeof reason), CLGAZE_ERR_NULL);
    assert_string_equal(reason, "context is NULL");
    assert_int_equal(clgaze_supports(test_context(), CLGAZE_POOL, NULL, reason, sizeof reason), CLGAZE_ERR_NULL);
    assert_string_equal(reason, "problem is NULL");
    assert_int_equal(clgaze_supports(NULL, CLGAZE_POOL, NULL, NULL, 0), CLGAZE_ERR_NULL);
    assert_int_equal(clgaze_warm(NULL, 1, &request, NULL, NULL), CLGAZE_ERR_NULL);
    forget();
    assert_refused("requests", clgaze_warm(test_context(), 1, NULL, NULL, NULL), CLGAZE_ERR_NULL, "requests is NULL");
    clgaze_plan_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_never_compile),
        cmocka_unit_test(workspace_grows),
        cmocka_unit_test(workspace_suffices),
        cmocka_unit_test(width_by_rule),
        cmocka_unit_test(names_and_reasons),
        cmocka_unit_test(forced_by_name),
        cmocka_unit_test(supports_is_planning),
        cmocka_unit_test(passed_over),
        cmocka_unit_test(problem_is_copied),
        cmocka_unit_test(warming),
        cmocka_unit_test(pointers),
    };

    return TEST_MAIN(tests);
}
