/* SPDX-License-Identifier: Apache-2.0 */
/* truth against ref/truth.c, and laws of the map.  Label: unit. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

static const struct shape square[] = {
    {.batch = 1, .sq = 1, .sk = 1},   {.batch = 2, .sq = 15, .sk = 15}, {.batch = 1, .sq = 33, .sk = 33},
    {.batch = 1, .sq = 64, .sk = 64}, {.batch = 1, .sq = 97, .sk = 97},
};

/* Queries at the end of the keys, and queries that see no key at all. */
static const struct shape oblong[] = {
    {.batch = 2, .sq = 1, .sk = 77},
    {.batch = 1, .sq = 31, .sk = 130},
    {.batch = 1, .sq = 70, .sk = 17},
};

static const struct shape several[] = {
    {.sequences = 5, .q = {9, 0, 1, 70, 8}, .k = {9, 0, 30, 5, 64}},
    {.sequences = 2, .q = {65, 7}, .k = {65, 100}},
    {.sequences = 3, .q = {0, 33, 5}, .k = {4, 33, 0}},
};

static void check(const clgaze_problem *p, tweak_fn tweak)
{
    struct shape s[MAX_SHAPES];

    if (p->packed) {
        check_op(CLGAZE_TRUTH, p, several, CLG_COUNT(several), tweak);
        return;
    }
    memcpy(s, square, sizeof square);
    memcpy(s + CLG_COUNT(square), oblong, sizeof oblong);
    check_op(CLGAZE_TRUTH, p, s, CLG_COUNT(square) + CLG_COUNT(oblong), tweak);
}

static void alone(struct test_case *c)
{
    c->absent = BIT(A_V) | BIT(A_OUT) | BIT(A_LSE);
}

static void with_lse(struct test_case *c)
{
    c->absent = BIT(A_V) | BIT(A_OUT);
}

/* out is wanted, lse is not: it passes through the workspace. */
static void without_lse(struct test_case *c)
{
    c->absent = BIT(A_LSE);
}

static void block_sizes(void **state)
{
    static const int sizes[][2] = {{64, 64}, {16, 16}, {4, 8}, {5, 12}, {12, 5}, {128, 32}, {32, 256}, {256, 4}};

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(sizes); i++) {
        clgaze_problem p = problem(CLGAZE_F32, i % 2 ? 4 : 3, i % 2 ? 4 : 1, 32, sizes[i][0], sizes[i][1]);

        check(&p, i % 2 ? NULL : alone);
    }
}

static void head_sizes(void **state)
{
    static const int sizes[] = {8, 40, 128, 256};

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(sizes); i++) {
        clgaze_problem p = problem(CLGAZE_F32, 2, 1, sizes[i], 16, 32);

        check(&p, i % 2 ? alone : NULL);
    }
}

static void dtypes(void **state)
{
    (void)state;
    for (int dtype = CLGAZE_F16; dtype <= CLGAZE_BF16; dtype++) {
        clgaze_problem p = problem((clgaze_dtype)dtype, 8, 1, 64, 32, 16);

        check(&p, NULL);
        check(&p, alone);
    }
}

static void tensors_left_out(void **state)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 32, 16, 8);

    (void)state;
    check(&p, NULL);
    check(&p, alone);
    check(&p, with_lse);
    check(&p, without_lse);
}

static void not_causal(void **state)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 32, 16, 8);

    (void)state;
    p.causal = 0;
    check(&p, NULL);
    check(&p, alone);
}

static void packed(void **state)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 32, 16, 8);

    (void)state;
    p.packed = 1;
    check(&p, NULL);
    check(&p, alone);
    check(&p, without_lse);
}

/* Lists are those of attend; truth does not look at them. */
static void lists_play_no_part(void **state)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 32, 16, 8);

    (void)state;
    p.lists = CLGAZE_LISTS_MASK;
    p.scope = CLGAZE_SCOPE_ONE;
    p.validate = 1;
    check(&p, NULL);
}

static void own_scale(void **state)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 32, 16, 8);

    (void)state;
    p.scale = 0.031f;
    check(&p, alone);
    p.scale = -0.3f;
    check(&p, NULL);
}

static void far_below_zero_alone(struct test_case *c)
{
    far_below_zero(c);
    alone(c);
}

static void hard_logits(void **state)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 32, 16, 8);

    (void)state;
    check(&p, far_below_zero);
    check(&p, far_below_zero_alone);
}

/* Rows of the laws' calls, which at tiny sizes would be more work than all the rest. */
static int few_or(int rows)
{
    return tiny() ? 13 : rows;
}

/* All keys alike: every block that the whole row sees has the same share. */
static void even(const clgaze_problem *p)
{
    const struct shape s = {.batch = 2, .sq = few_or(45), .sk = 61};
    clgaze_plan *plan = plan_of(CLGAZE_TRUTH, p);
    struct test_case c;
    const float *map;

    case_make(&c, CLGAZE_TRUTH, p, &s, alone, 3);
    memset(c.data[A_K], 0, array_bytes(&c, A_K));
    run_or_fail(&c, CLGAZE_TRUTH, plan);
    map = c.data[A_TRUTH];
    for (size_t row = 0; row < array_count(&c, A_TRUTH) / 8; row++)
        for (int j = 0; j < 8; j++)
            assert_true(fabsf(map[row * 8 + (size_t)j] - 0.125f) < 1e-6f);
    clgaze_plan_free(plan);
    case_free(&c);
}

/* Rows sum to 1, and hold 0 where the causal rule hides the block. */
static void shares(const clgaze_problem *p)
{
    const struct shape s = {.batch = 1, .sq = few_or(45), .sk = 61};
    clgaze_plan *plan = plan_of(CLGAZE_TRUTH, p);
    struct test_case c;
    struct clg_ref t;
    struct clg_ref_seq seq;
    const float *map;

    case_make(&c, CLGAZE_TRUTH, p, &s, NULL, 4);
    run_or_fail(&c, CLGAZE_TRUTH, plan);
    t = as_ref(&c, c.data);
    seq = clg_ref_seq(p, &t, 0);
    map = c.data[A_TRUTH];
    for (int row = 0; row < p->q_heads * seq.nq; row++, map += seq.nk) {
        double sum = 0;

        for (int j = 0; j < seq.nk; j++) {
            sum += (double)map[j];
            if (j < clg_ref_visible(p, &seq, row % seq.nq))
                assert_true(map[j] > 0);
            else
                assert_true(map[j] == 0);
        }
        assert_true(fabs(sum - 1) < 1e-6);
    }
    clgaze_plan_free(plan);
    case_free(&c);
}

/* The same bits again. */
static void same_bits(const clgaze_problem *p)
{
    const struct shape s = {.batch = 1, .sq = few_or(97), .sk = 97};
    clgaze_plan *plan = plan_of(CLGAZE_TRUTH, p);
    struct test_case c;
    void *first;

    case_make(&c, CLGAZE_TRUTH, p, &s, NULL, 5);
    run_or_fail(&c, CLGAZE_TRUTH, plan);
    first = array_copy(&c, A_TRUTH);
    memset(c.data[A_TRUTH], 0, array_bytes(&c, A_TRUTH));
    run_or_fail(&c, CLGAZE_TRUTH, plan);
    assert_memory_equal(first, c.data[A_TRUTH], array_bytes(&c, A_TRUTH));
    free(first);
    clgaze_plan_free(plan);
    case_free(&c);
}

static void laws(void **state)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 32, 16, 8);

    (void)state;
    p.max_batch = 2;
    p.max_q = p.max_k = 97;
    every_kernel(CLGAZE_TRUTH, &p, shares);
    every_kernel(CLGAZE_TRUTH, &p, same_bits);
    p.causal = 0;
    every_kernel(CLGAZE_TRUTH, &p, even);
}

/* One of v and out without the other is refused by name. */
static void v_and_out_go_together(void **state)
{
    static const struct shape s = {.batch = 1, .sq = 33, .sk = 33};
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 32, 16, 8);
    const enum array left_out[] = {A_V, A_OUT};
    clgaze_plan *plan;

    (void)state;
    fit_maxima(&p, &s, 1);
    plan = plan_of(CLGAZE_TRUTH, &p);
    for (int i = 0; i < 2; i++) {
        struct placed_case x;
        struct test_case c;

        case_make(&c, CLGAZE_TRUTH, &p, &s, NULL, 6);
        c.absent = BIT(left_out[i]);
        assert_true(place_case(&c, CLGAZE_TRUTH, plan, test_context(), test_queue(), &x));
        forget();
        assert_refused("truth", clgaze_truth(plan, &x.tensors, &x.call), CLGAZE_ERR_NULL,
                       i ? "out|missing" : "v|missing");
        unplace_case(&x);
        case_free(&c);
    }
    clgaze_plan_free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(block_sizes),
        cmocka_unit_test(head_sizes),
        cmocka_unit_test(dtypes),
        cmocka_unit_test(tensors_left_out),
        cmocka_unit_test(not_causal),
        cmocka_unit_test(packed),
        cmocka_unit_test(own_scale),
        cmocka_unit_test(lists_play_no_part),
        cmocka_unit_test(hard_logits),
        cmocka_unit_test(laws),
        cmocka_unit_test(v_and_out_go_together),
    };

    return TEST_MAIN(tests);
}
