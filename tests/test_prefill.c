/* SPDX-License-Identifier: Apache-2.0 */
/* prefill: the five operations as one call.  Label: unit. */
#include <stdio.h>
#include <string.h>

#include "harness.h"

static const struct shape shapes[] = {
    {.batch = 1, .sq = 1, .sk = 1},    {.batch = 2, .sq = 33, .sk = 33}, {.batch = 1, .sq = 130, .sk = 130},
    {.batch = 1, .sq = 17, .sk = 101}, {.batch = 1, .sq = 40, .sk = 9},
};

static const struct shape several[] = {
    {.sequences = 4, .q = {9, 0, 1, 70}, .k = {9, 0, 30, 5}},
    {.sequences = 2, .q = {65, 7}, .k = {65, 100}},
};

static clgaze_problem pipeline(clgaze_rule rule, double value)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 32, 8, 8);

    p.rope_pairs = 16;
    p.rule = rule;
    p.value = value;
    p.lse = 1;
    return p;
}

static void check(const clgaze_problem *p, tweak_fn tweak)
{
    if (p->packed)
        check_auto(CLGAZE_PREFILL, p, several, CLG_COUNT(several), tweak);
    else
        check_auto(CLGAZE_PREFILL, p, shapes, CLG_COUNT(shapes), tweak);
}

static void every_rule(void **state)
{
    static const double values[] = {3, 0.4, 24, 0.1, 0.7};

    (void)state;
    for (int rule = CLGAZE_TOP_K; rule <= CLGAZE_TOP_P; rule++) {
        clgaze_problem p = pipeline((clgaze_rule)rule, values[rule]);

        check(&p, NULL);
        p.sink = 1;
        p.local = 1;
        p.last_rows = 2;
        check(&p, NULL);
    }
}

static void every_form(void **state)
{
    clgaze_problem p = pipeline(CLGAZE_TOP_P, 0.6);

    (void)state;
    p.gate_double = 1;
    p.gate_dim = 16;
    p.rope_pairs = 8;
    p.rope_interleaved = 1;
    p.q_pool = CLGAZE_MAX | CLGAZE_MIN;
    p.k_pool = CLGAZE_AVG;
    check(&p, NULL);
    p.scope = CLGAZE_SCOPE_KV;
    p.causal = 0;
    check(&p, NULL);
    p.scope = CLGAZE_SCOPE_ONE;
    p.block_q = 16;
    p.block_k = 5;
    check(&p, NULL);
}

static void dtypes(void **state)
{
    clgaze_problem p = pipeline(CLGAZE_RATIO, 0.5);

    (void)state;
    p.dtype = CLGAZE_F16;
    p.weight_dtype = CLGAZE_F16;
    check(&p, NULL);
    p.dtype = CLGAZE_BF16;
    check(&p, NULL);
}

static void packed(void **state)
{
    clgaze_problem p = pipeline(CLGAZE_RATIO, 0.5);

    (void)state;
    p.packed = 1;
    check(&p, NULL);
    p.rule = CLGAZE_TOP_P;
    p.scope = CLGAZE_SCOPE_KV;
    p.local = 1;
    check(&p, NULL);
}

/* Everything between the inputs and the output stays in the workspace. */
static void only_out(struct test_case *c)
{
    for (int id = A_Q_POOLED; id <= A_BLOCKS; id++)
        c->absent |= BIT(id);
}

static void only_scores(struct test_case *c)
{
    only_out(c);
    c->absent &= ~BIT(A_SCORES);
}

static void only_lists(struct test_case *c)
{
    only_out(c);
    c->absent &= ~(BIT(A_COUNTS) | BIT(A_BLOCKS));
}

static void intermediates_left_out(void **state)
{
    clgaze_problem p = pipeline(CLGAZE_TOP_K, 3);

    (void)state;
    check(&p, only_out);
    check(&p, only_scores);
    check(&p, only_lists);
    p.packed = 1;
    check(&p, only_out);
}

/* A kernel forced by name serves its own operation; the others are chosen as ever. */
static void forced_kernels(void **state)
{
    (void)state;
    for (int i = 0; clg_kernels[i]; i++) {
        clgaze_problem p = pipeline(CLGAZE_TOP_P, 0.6);
        int values[CLG_MAX_PARAMS] = {0};
        const char *why;

        clg_space_default(clg_kernels[i], values);
        fit_maxima(&p, shapes, CLG_COUNT(shapes));
        why = clg_nearest(&test_context()->device, clg_kernels[i], &p, values);
        if (why) {
            printf("skipped %s: %s\n", clg_kernels[i]->name, why);
            continue;
        }
        p.kernel = clg_kernels[i]->name;
        check(&p, NULL);
    }
}

/* Each operation alone may also use a prefill plan that holds it. */
static void stages_of_a_prefill_plan(void **state)
{
    clgaze_problem p = pipeline(CLGAZE_TOP_P, 0.6);
    struct shape s = {.batch = 2, .sq = 33, .sk = 33};
    clgaze_plan *plan = NULL;

    (void)state;
    fit_maxima(&p, &s, 1);
    assert_ok(clgaze_prefill_plan(test_context(), &p, &plan));
    for (int op = CLGAZE_POOL; op <= CLGAZE_ATTEND; op++) {
        struct test_case c;
        bool ok;

        case_make(&c, (clgaze_op)op, &p, &s, NULL, (uint64_t)op);
        ok = run_case(&c, (clgaze_op)op, plan, test_context(), test_queue()) && check_results(&c, (clgaze_op)op);
        if (!ok)
            fail_msg("operation %d of a prefill plan: %s", op, c.why);
        case_free(&c);
    }
    clgaze_plan_free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule),
        cmocka_unit_test(every_form),
        cmocka_unit_test(dtypes),
        cmocka_unit_test(packed),
        cmocka_unit_test(intermediates_left_out),
        cmocka_unit_test(forced_kernels),
        cmocka_unit_test(stages_of_a_prefill_plan),
    };

    return TEST_MAIN(tests);
}
