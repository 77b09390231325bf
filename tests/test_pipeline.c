/* SPDX-License-Identifier: Apache-2.0 */
/* Laws of the pipeline: the same numbers by another way are the same bits.  Label: unit. */
#include <stdlib.h>
#include <string.h>

#include "harness.h"

static const struct shape small = {.batch = 2, .sq = 33, .sk = 45};
static const struct shape several = {.sequences = 3, .q = {9, 1, 30}, .k = {9, 20, 33}};

static clgaze_problem pipeline(int packed)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 32, 8, 8);

    p.packed = packed;
    p.rope_pairs = 16;
    p.rule = CLGAZE_RATIO; /* the number that it keeps depends on the length */
    p.value = 0.5;
    p.lse = 1;
    fit_maxima(&p, packed ? &several : &small, 1);
    return p;
}

static void make(struct test_case *c, clgaze_op op, const clgaze_problem *p, tweak_fn tweak)
{
    case_make(c, op, p, p->packed ? &several : &small, tweak, 21);
}

/* Do both hold the same bits where both have a result? */
static void assert_same(const struct test_case *a, const struct test_case *b, clgaze_op op, const char *what)
{
    uint32_t results = op_outputs(a, op) & op_outputs(b, op);

    assert_true(results != 0);
    for (int id = 0; id < ARRAYS; id++)
        if ((results & BIT(id)) && memcmp(a->data[id], b->data[id], array_bytes(a, (enum array)id)) != 0)
            fail_msg("%s: other bits in %s", what, array_names[id]);
}

/* Everything between the inputs and the output stays in the workspace. */
static void hand_on(struct test_case *c)
{
    for (int id = A_Q_POOLED; id <= A_BLOCKS; id++)
        c->absent |= BIT(id);
}

static void check_prefill(int packed)
{
    clgaze_problem p = pipeline(packed);
    clgaze_plan *plan = plan_of(CLGAZE_PREFILL, &p);
    struct test_case whole, steps, hidden;

    make(&whole, CLGAZE_PREFILL, &p, NULL);
    make(&steps, CLGAZE_PREFILL, &p, NULL);
    make(&hidden, CLGAZE_PREFILL, &p, hand_on);
    run_or_fail(&whole, CLGAZE_PREFILL, plan);
    if (!check_results(&whole, CLGAZE_PREFILL))
        fail_msg("%s", whole.why);
    for (int op = CLGAZE_POOL; op <= CLGAZE_ATTEND; op++) /* each reads what the one before wrote */
        run_or_fail(&steps, (clgaze_op)op, plan);
    assert_same(&whole, &steps, CLGAZE_PREFILL, "five calls");
    run_or_fail(&hidden, CLGAZE_PREFILL, plan);
    assert_same(&whole, &hidden, CLGAZE_PREFILL, "through the workspace");
    case_free(&whole);
    case_free(&steps);
    case_free(&hidden);
    clgaze_plan_free(plan);
}

static void prefill_is_the_five(void **state)
{
    (void)state;
    check_prefill(0);
    check_prefill(1);
}

static clgaze_plan *plan_of_more(clgaze_op op, clgaze_problem p)
{
    p.max_batch += 3;
    p.max_q += 100;
    p.max_k += 301;
    return plan_of(op, &p);
}

static void check_maximum(clgaze_op op, int packed)
{
    clgaze_problem p = pipeline(packed);
    clgaze_plan *exact = plan_of(op, &p), *more = plan_of_more(op, p);
    struct test_case a, b;

    make(&a, op, &p, NULL);
    make(&b, op, &p, NULL);
    run_or_fail(&a, op, exact);
    run_or_fail(&b, op, more);
    if (!check_results(&a, op))
        fail_msg("%s", a.why);
    for (int i = CLGAZE_POOL; i <= CLGAZE_ATTEND; i++)
        if (clgaze_plan_kernel(exact, (clgaze_op)i))
            assert_string_equal(clgaze_plan_kernel(exact, (clgaze_op)i), clgaze_plan_kernel(more, (clgaze_op)i));
    assert_same(&a, &b, op, "a plan of a larger maximum");
    case_free(&a);
    case_free(&b);
    clgaze_plan_free(exact);
    clgaze_plan_free(more);
}

static void the_maximum_changes_nothing(void **state)
{
    (void)state;
    for (int op = CLGAZE_POOL; op <= CLGAZE_PREFILL; op++)
        for (int packed = 0; packed < 2; packed++)
            check_maximum((clgaze_op)op, packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefill_is_the_five),
        cmocka_unit_test(the_maximum_changes_nothing),
    };

    return TEST_MAIN(tests);
}
