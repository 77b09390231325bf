/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_selftest.c: the self-test of a built strategy, and what a plan makes of its verdict.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

/* ---- a context with strategies of our own ----------------------------------------- */

/* What the log of the context at hand has said. */
static struct {
    int compiled, warned, errors;
    char warning[512], error[512];
} heard;

static void hear(void *user, clgaze_log_level level, clgaze_status status, const char *message)
{
    test_log(user, level, status, message);
    heard.compiled += strncmp(message, "compiling ", 10) == 0;
    if (level == CLGAZE_LOG_WARN) {
        heard.warned++;
        snprintf(heard.warning, sizeof heard.warning, "%s", message);
    }
    if (level == CLGAZE_LOG_ERROR) {
        heard.errors++;
        snprintf(heard.error, sizeof heard.error, "%s", message);
    }
}

static clgaze_context *context_of(const struct clg_kernel *const *kernels)
{
    clgaze_context_options o = test_options();
    clgaze_context *ctx = NULL;

    o.log = hear;
    o.log_level = CLGAZE_LOG_DEBUG;
    memset(&heard, 0, sizeof heard);
    assert_ok(clgaze_context_create(&o, &ctx));
    ctx->kernels = kernels;
    return ctx;
}

/* ---- every strategy passes --------------------------------------------------------- */

static clgaze_problem usual(clgaze_dtype dtype, int dim, int block_q, int block_k, int group)
{
    clgaze_problem p = problem(dtype, 3 * group, 3, dim, block_q, block_k);

    p.max_batch = 2;
    p.max_q = p.max_k = 300;
    p.lse = 1;
    return p;
}

static void assert_passes(const clgaze_plan *plan, const struct clg_stage *stage)
{
    clgaze_status st = CLGAZE_OK;

    forget();
    if (stage->kernel)
        st = clg_selftest(plan->ctx, &plan->problem, stage);
    if (st != CLGAZE_OK)
        fail_msg("%s: %s", stage->kernel->name, last_error());
}

/* Every strategy of the operations `first` .. `last`, and the helpers of their plans. */
static void pass(const clgaze_problem *p, clgaze_op first, clgaze_op last)
{
    for (int i = 0; clg_kernels[i]; i++) {
        clgaze_problem q = *p;
        int op = (int)first;

        q.kernel = clg_kernels[i]->name;
        while (op <= (int)last && strcmp(clg_op_name((clgaze_op)op), clg_kernels[i]->op) != 0)
            op++;
        if (op > (int)last || strcmp(q.kernel, "gate_clblast") == 0 ||
            clgaze_supports(test_context(), (clgaze_op)op, &q, NULL, 0) != CLGAZE_OK)
            continue;
        clgaze_plan *plan = NULL;
        assert_ok(clgaze_plan_create(test_context(), (clgaze_op)op, &q, &plan));
        assert_passes(plan, &plan->stage[op]);
        assert_passes(plan, &plan->seqs);
        assert_passes(plan, &plan->lists);
        clgaze_plan_free(plan);
    }
}

static void test_plain(void **state)
{
    const int n = simulated(test_context()) ? 16 : 64; /* what oclgrind can do in minutes */
    clgaze_problem p = usual(CLGAZE_F32, n, n, n, n / 16);

    (void)state;
    p.rope_pairs = n / 2;
    pass(&p, CLGAZE_POOL, CLGAZE_ATTEND);
    pass(&p, CLGAZE_DISTILL, CLGAZE_DISTILL);
    p.max_q = p.max_k = 1; /* what a plan may be called with does not bound its test */
    p.max_batch = 1;
    pass(&p, CLGAZE_POOL, CLGAZE_ATTEND);
    pass(&p, CLGAZE_TRUTH, CLGAZE_ATTEND_BWD);
}

static void test_narrow_packed(void **state)
{
    clgaze_problem p = usual(CLGAZE_F16, 8, 16, 32, 1);

    (void)state;
    p.packed = 1;
    p.causal = 0;
    p.gate_double = 1;
    p.q_pool = CLGAZE_MAX | CLGAZE_AVG;
    p.gate_dim = 16;
    p.rope_pairs = 3;
    p.rope_interleaved = 1;
    pass(&p, CLGAZE_DISTILL, CLGAZE_DISTILL);
    p.weight_dtype = CLGAZE_F16;
    pass(&p, CLGAZE_POOL, CLGAZE_ATTEND);
    pass(&p, CLGAZE_TRUTH, CLGAZE_ATTEND_BWD);
}

static void test_wide(void **state)
{
    clgaze_problem p = usual(CLGAZE_BF16, 256, 8, 4, 3);

    (void)state;
    if (tiny())
        skip();
    p.weight_dtype = CLGAZE_BF16;
    pass(&p, CLGAZE_POOL, CLGAZE_GATE);
    pass(&p, CLGAZE_ATTEND, CLGAZE_ATTEND);
    p.packed = 1;
    p.lists = CLGAZE_LISTS_DENSE;
    pass(&p, CLGAZE_ATTEND, CLGAZE_ATTEND);
}

static void test_lists(void **state)
{
    clgaze_problem p = usual(CLGAZE_F32, 8, 16, 16, 2);

    (void)state;
    p.scope = CLGAZE_SCOPE_KV;
    for (int lists = CLGAZE_LISTS_BLOCKS; lists <= CLGAZE_LISTS_CSR; lists++) {
        p.lists = (clgaze_lists)lists;
        p.validate = 1;
        pass(&p, CLGAZE_ATTEND, CLGAZE_ATTEND);
    }
    p.packed = 1;
    pass(&p, CLGAZE_ATTEND, CLGAZE_ATTEND);
}

static void test_rules(void **state)
{
    const double values[] = {3, 0.2, 40, 0.01, 0.9};
    const float by_head[] = {0.9f, 0.8f, 0.7f, 0.6f, 0.5f, 0.4f};
    clgaze_problem p = usual(CLGAZE_F32, 8, 16, 16, 2);

    (void)state;
    for (int rule = CLGAZE_TOP_K; rule <= CLGAZE_TOP_P; rule++)
        for (int scope = CLGAZE_SCOPE_Q; scope <= CLGAZE_SCOPE_ONE; scope++) {
            if (tiny() && (rule + scope) % 3 != 2) /* each compiles; each rule and each scope is there */
                continue;
            p.rule = (clgaze_rule)rule;
            p.scope = (clgaze_scope)scope;
            p.value = values[rule];
            p.values = rule == CLGAZE_RATIO || rule == CLGAZE_TOP_P ? by_head : NULL;
            p.packed = rule == CLGAZE_TOP_P && scope == CLGAZE_SCOPE_KV;
            pass(&p, CLGAZE_SELECT, CLGAZE_SELECT);
        }
}

/* ---- a broken one fails --------------------------------------------------------------- */

/* The -D values of another problem make a program that computes something else. */
static const struct clg_kernel *spoilt_base;

static void spoil(const clgaze_problem *p, const int *values, struct clg_text *text)
{
    clgaze_problem q = *p;

    q.causal = !p->causal;
    q.dtype = p->dtype == CLGAZE_F16 ? CLGAZE_BF16 : CLGAZE_F16;
    if (strcmp(spoilt_base->op, "attend") == 0)
        q.dtype = p->dtype;
    q.rope_interleaved = !p->rope_interleaved;
    q.rule = p->rule == CLGAZE_TOP_K ? CLGAZE_TOP_P : CLGAZE_TOP_K;
    spoilt_base->define(&q, values, text);
}

/* A strategy of the operation that serves any device. */
static struct clg_kernel copy_of(const char *name, const char *new_name)
{
    struct clg_kernel copy = *clg_kernel_find(name);

    copy.name = new_name;
    copy.prove = true;
    return copy;
}

static void test_broken(void **state)
{
    static const char *const names[] = {"pool", "gate", "score", "select", "attend"};
    clgaze_problem p = usual(CLGAZE_F16, 8, 16, 16, 2);

    (void)state;
    p.rope_pairs = 4;
    for (int op = CLGAZE_POOL; op <= CLGAZE_ATTEND; op++) {
        struct clg_kernel bad = copy_of(names[op], "bad"), good = copy_of(names[op], "good");
        const struct clg_kernel *const table[] = {&bad, &good, NULL};
        clgaze_context *ctx = context_of(table);
        clgaze_plan *plan = NULL;

        spoilt_base = clg_kernel_find(names[op]);
        bad.define = spoil;
        assert_ok(clgaze_plan_create(ctx, (clgaze_op)op, &p, &plan));
        assert_string_equal(plan->stage[op].kernel->name, "good");
        assert_says("the reason", clgaze_plan_reason(plan, (clgaze_op)op), "the next in the table");
        assert_int_equal(heard.errors, 0);
        assert_int_equal(heard.warned, 1);
        assert_says("the log", heard.warning, "bad was passed over: kernel bad failed its self-test: ");
        clgaze_plan_free(plan);
        clgaze_context_free(ctx);
    }
}

/* ---- what a plan makes of the verdict ---------------------------------------------------- */

static int launches;

static clgaze_status counted(struct clg_run *run)
{
    launches++;
    return spoilt_base->launch(run);
}

static void refuse_to_compile(const clgaze_problem *p, const int *values, struct clg_text *text)
{
    (void)p;
    (void)values;
    clg_put(text, " -DD=+");
}

static void test_verdict_is_kept(void **state)
{
    clgaze_problem p = usual(CLGAZE_F32, 8, 16, 16, 2);
    struct clg_kernel bad = copy_of("attend", "bad"), good = copy_of("attend", "good");
    const struct clg_kernel *const table[] = {&bad, &good, NULL};
    clgaze_context *ctx = context_of(table);

    (void)state;
    spoilt_base = clg_kernel_find("attend");
    bad.define = spoil;
    good.launch = counted;
    launches = 0;
    for (int i = 0; i < 3; i++) {
        clgaze_plan *plan = NULL;

        assert_ok(clgaze_plan_create(ctx, CLGAZE_ATTEND, &p, &plan));
        assert_string_equal(plan->stage[CLGAZE_ATTEND].kernel->name, "good");
        assert_int_equal(launches, 2 + i); /* proved once, warmed for each plan */
        assert_int_equal(heard.compiled, 2);
        assert_int_equal(heard.warned, 1 + i);
        assert_says("the log", heard.warning,
                    i ? "bad failed here before: out has" : "bad failed its self-test: out has");
        clgaze_plan_free(plan);
        p.max_q += 64; /* another plan of the same programs */
    }
    clgaze_context_free(ctx);
}

/* A strategy that does not compile, and one that the driver refuses. */
static void test_unusable(void **state)
{
    static const char *const no_entries[] = {"nothing", NULL};
    clgaze_problem p = usual(CLGAZE_F32, 8, 16, 16, 2);
    struct clg_kernel bad = copy_of("attend", "bad"), none = copy_of("attend", "none");
    const struct clg_kernel *const table[] = {&bad, &none, clg_kernel_find("attend"), NULL};
    clgaze_context *ctx = context_of(table);

    (void)state;
    bad.define = refuse_to_compile;
    none.entries = no_entries;
    for (int i = 0; i < 2; i++) {
        clgaze_plan *plan = NULL;

        assert_ok(clgaze_plan_create(ctx, CLGAZE_ATTEND, &p, &plan));
        assert_string_equal(plan->stage[CLGAZE_ATTEND].kernel->name, "attend");
        assert_int_equal(heard.errors, 0);
        assert_int_equal(heard.warned, 2 + 2 * i);
        assert_int_equal(heard.compiled, 3); /* what did not compile is not tried again */
        assert_says("the log", heard.warning, "none was passed over: ");
        clgaze_plan_free(plan);
    }
    clgaze_context_free(ctx);
}

/* Nothing is left that fits; or the strategy was asked for by name. */
static void test_no_way_out(void **state)
{
    clgaze_problem p = usual(CLGAZE_F32, 8, 16, 16, 2);
    struct clg_kernel bad = copy_of("attend", "bad"), worse = copy_of("attend", "worse");
    const struct clg_kernel *const table[] = {&bad, &worse, NULL};
    clgaze_context *ctx = context_of(table);
    clgaze_plan *plan = NULL;

    (void)state;
    spoilt_base = clg_kernel_find("attend");
    bad.define = spoil;
    worse.define = refuse_to_compile;
    assert_int_equal(clgaze_plan_create(ctx, CLGAZE_ATTEND, &p, &plan), CLGAZE_ERR_UNSUPPORTED);
    assert_null(plan);
    assert_says("the log", heard.error, "no kernel of operation attend");
    for (int i = 0; i < 2; i++) {
        p.kernel = i ? "worse" : "bad WG=128";
        assert_int_equal(clgaze_plan_create(ctx, CLGAZE_ATTEND, &p, &plan), CLGAZE_ERR_UNSUPPORTED);
        assert_null(plan);
        assert_says("the log", heard.error, i ? "problem.kernel \"worse\" cannot serve here: " : "bad WG=128");
        assert_says("the log", heard.error, i ? "does not compile" : "failed here before: out has");
    }
    worse.prove = false; /* an ordinary strategy: the compiler's own words, and an error */
    assert_int_equal(clgaze_plan_create(ctx, CLGAZE_ATTEND, &p, &plan), CLGAZE_ERR_UNSUPPORTED);
    clgaze_context_free(ctx);
    ctx = context_of(table);
    assert_int_equal(clgaze_plan_create(ctx, CLGAZE_ATTEND, &p, &plan), CLGAZE_ERR_BUILD);
    clgaze_context_free(ctx);
}

/* ---- no memory ------------------------------------------------------------------------- */

static long left, held;

static void *scarce(void *user, size_t size)
{
    void *p = left > 0 ? malloc(size) : NULL;

    (void)user;
    left--;
    held += p != NULL;
    return p;
}

static void give_back(void *user, void *p)
{
    (void)user;
    held -= p != NULL;
    free(p);
}

static void test_no_memory(void **state)
{
    clgaze_problem p = usual(CLGAZE_F32, 8, 16, 16, 2);
    clgaze_context poor = *test_context();
    clgaze_status st = CLGAZE_ERR_NO_MEMORY;
    clgaze_plan *plan = NULL;
    long n = 0;

    (void)state;
    assert_ok(clgaze_plan_create(test_context(), CLGAZE_ATTEND, &p, &plan));
    poor.alloc = scarce;
    poor.release = give_back;
    for (; st != CLGAZE_OK; n++) {
        left = n;
        forget();
        st = clg_selftest(&poor, &p, &plan->stage[CLGAZE_ATTEND]);
        assert_int_equal(held, 0);
        if (st != CLGAZE_OK)
            assert_int_equal(st, CLGAZE_ERR_NO_MEMORY);
        assert_int_equal(last_status(), st);
    }
    assert_true(n > 10);
    clgaze_plan_free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_narrow_packed),
        cmocka_unit_test(test_wide),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_verdict_is_kept),
        cmocka_unit_test(test_unusable),
        cmocka_unit_test(test_no_way_out),
        cmocka_unit_test(test_no_memory),
    };

    return TEST_MAIN(tests);
}
