/* SPDX-License-Identifier: Apache-2.0 */
/* attend_bwd against ref/attend_bwd.c, and laws of gradients.  Label: unit. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

/* Lengths around the edges of tiles and of the problem's blocks; no length recompiles. */
static const struct shape square[] = {
    {.batch = 1, .sq = 1, .sk = 2}, /* of one key alone dq and dk are 0, and a residue has no relative error */
    {.batch = 2, .sq = 15, .sk = 15},
    {.batch = 1, .sq = 64, .sk = 64},
    {.batch = 1, .sq = 97, .sk = 97},
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
        check_op(CLGAZE_ATTEND_BWD, p, several, CLG_COUNT(several), tweak);
        return;
    }
    memcpy(s, square, sizeof square);
    memcpy(s + CLG_COUNT(square), oblong, sizeof oblong);
    check_op(CLGAZE_ATTEND_BWD, p, s, CLG_COUNT(square) + CLG_COUNT(oblong), tweak);
}

/* The same kernel serves all block sizes; blocks of 4 have more than 32 query blocks. */
static void block_sizes(void **state)
{
    static const int sizes[][2] = {{64, 64}, {16, 16}, {5, 12}, {12, 5}, {128, 32}, {4, 256}};
    static const struct shape many = {.batch = 1, .sq = 261, .sk = 150};
    clgaze_problem last = problem(CLGAZE_F32, 4, 4, 32, 4, 8);

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(sizes); i++) {
        clgaze_problem p = problem(CLGAZE_F32, i % 2 ? 4 : 3, i % 2 ? 4 : 1, 32, sizes[i][0], sizes[i][1]);

        check(&p, NULL);
    }
    last.causal = 0;
    check_op(CLGAZE_ATTEND_BWD, &last, &many, 1, NULL);
}

static void head_sizes(void **state)
{
    static const int sizes[] = {8, 40, 256};

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(sizes); i++) {
        clgaze_problem p = problem(CLGAZE_F32, 2, 1, sizes[i], 16, 32);

        check(&p, NULL);
    }
}

static void dtypes(void **state)
{
    (void)state;
    for (int dtype = CLGAZE_F16; dtype <= CLGAZE_BF16; dtype++) {
        clgaze_problem p = problem((clgaze_dtype)dtype, 8, 1, 64, 32, 16);

        p.causal = dtype == CLGAZE_F16;
        p.lists = p.causal ? CLGAZE_LISTS_BLOCKS : CLGAZE_LISTS_DENSE;
        check(&p, NULL);
    }
}

static void list_forms(void **state)
{
    (void)state;
    for (int lists = CLGAZE_LISTS_DENSE; lists <= CLGAZE_LISTS_CSR; lists++)
        for (int scope = CLGAZE_SCOPE_Q; scope <= CLGAZE_SCOPE_ONE; scope++) {
            clgaze_problem p = problem(CLGAZE_F32, 6, 2, 32, 16, 8);

            p.lists = (clgaze_lists)lists;
            p.scope = (clgaze_scope)scope;
            if (scope == CLGAZE_SCOPE_Q || lists != CLGAZE_LISTS_DENSE)
                check(&p, NULL);
        }
}

static void not_causal(void **state)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 32, 16, 8);

    (void)state;
    p.causal = 0;
    check(&p, NULL);
    p.lists = CLGAZE_LISTS_DENSE;
    check(&p, NULL);
}

static void packed(void **state)
{
    (void)state;
    for (int lists = CLGAZE_LISTS_DENSE; lists <= CLGAZE_LISTS_CSR; lists++) {
        clgaze_problem p = problem(CLGAZE_F32, 4, 2, 32, 16, 8);

        p.packed = 1;
        p.lists = (clgaze_lists)lists;
        p.scope = lists == CLGAZE_LISTS_MASK ? CLGAZE_SCOPE_KV : CLGAZE_SCOPE_Q;
        check(&p, NULL);
    }
}

static void own_scale(void **state)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 32, 16, 8);

    (void)state;
    p.scale = 0.031f;
    check(&p, NULL);
    p.scale = -0.3f;
    check(&p, NULL);
}

/* Both logits and lse have the error. */
static void both_far_below_zero(struct test_case *c)
{
    far_below_zero(c);
    c->slack *= 2;
}

static void hard_logits(void **state)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 32, 16, 8);

    (void)state;
    check(&p, both_far_below_zero);
}

static void empty_lists(struct test_case *c)
{
    memset(c->data[A_COUNTS], 0, array_count(c, A_COUNTS) * sizeof(int32_t));
    memset(c->data[A_BLOCKS], 0xff, array_count(c, A_BLOCKS) * sizeof(int32_t));
}

/* Numbers that name no block, blocks that the row may not see, counts that are none. */
static void wild_lists(struct test_case *c)
{
    static const int32_t wild[] = {-1, -2, INT32_MIN, INT32_MAX, 1000000, 100};
    int32_t *blocks = c->data[A_BLOCKS], *counts = c->data[A_COUNTS];

    for (size_t i = 0; i < array_count(c, A_BLOCKS); i++)
        if (below(&c->rng, 4) == 0)
            blocks[i] = wild[below(&c->rng, CLG_COUNT(wild))];
    for (size_t i = 0; i < array_count(c, A_COUNTS); i++) {
        int32_t bad[] = {-1, INT32_MIN, c->width + 1, INT32_MAX};

        if (below(&c->rng, 4) == 0)
            counts[i] = bad[below(&c->rng, CLG_COUNT(bad))];
    }
}

/* In no order: the last block first. */
static void backward_lists(struct test_case *c)
{
    int32_t *blocks = c->data[A_BLOCKS], *counts = c->data[A_COUNTS];

    for (size_t i = 0; i < array_count(c, A_BLOCKS); i++)
        blocks[i] = c->width - 1 - (int32_t)(i % (size_t)c->width);
    for (size_t i = 0; i < array_count(c, A_COUNTS); i++)
        counts[i] = (int32_t)below(&c->rng, (uint32_t)c->width + 1);
}

static void odd_lists(void **state)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 32, 16, 8);

    (void)state;
    check(&p, empty_lists);
    check(&p, backward_lists);
    check(&p, wild_lists);
    p.packed = 1;
    check(&p, wild_lists);
}

/* Lists narrower and wider than there are key blocks. */
static void widths(void **state)
{
    static const struct shape s[] = {
        {.batch = 1, .sq = 97, .sk = 97, .width = 2},
        {.batch = 1, .sq = 97, .sk = 97, .width = 40},
        {.batch = 1, .sq = 9, .sk = 97, .width = 1},
    };
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 32, 16, 8);

    (void)state;
    check_op(CLGAZE_ATTEND_BWD, &p, s, CLG_COUNT(s), NULL);
}

/* A CPU strategy cuts heads for the processors that there are: right for any number of them. */
static void any_processors(const clgaze_problem *p)
{
    static const struct shape shapes[2][2] = {
        {{.batch = 2, .sq = 97, .sk = 110}, {.batch = 2, .sq = 9, .sk = 21}},
        {{.sequences = 5, .q = {9, 0, 1, 70, 8}, .k = {9, 0, 30, 5, 64}},
         {.sequences = 3, .q = {9, 0, 2}, .k = {9, 0, 17}}},
    };
    static const size_t processors[] = {1, 3, 5, 64};
    clgaze_context *ctx = test_context();
    const size_t there_are = ctx->device.compute_units;
    clgaze_plan *plan;
    struct test_case c;

    if (tiny() && !clg_kernel_find(p->kernel)->cpu) /* which does not ask how many there are */
        return;
    plan = plan_of(CLGAZE_ATTEND_BWD, p);
    case_make(&c, CLGAZE_ATTEND_BWD, p, &shapes[p->packed][tiny()], NULL, 11);
    for (size_t i = 0; i < CLG_COUNT(processors); i++) {
        ctx->device.compute_units = processors[i];
        if (!run_case(&c, CLGAZE_ATTEND_BWD, plan, ctx, test_queue()) || !check_results(&c, CLGAZE_ATTEND_BWD))
            fail_msg("%s, %zu processors: %s", p->kernel, processors[i], c.why);
    }
    ctx->device.compute_units = there_are;
    clgaze_plan_free(plan);
    case_free(&c);
}

static void processors(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        clgaze_problem p = problem((clgaze_dtype)(i % 3), 6, 3, 40, 8, 8);

        p.packed = i / 3;
        p.lists = i % 2 ? CLGAZE_LISTS_DENSE : CLGAZE_LISTS_BLOCKS;
        p.max_batch = p.packed ? 5 : 2;
        p.max_q = p.max_k = 128;
        every_kernel(CLGAZE_ATTEND_BWD, &p, any_processors);
    }
}

/* ---- laws ------------------------------------------------------------------ */

enum { SQ = 21, SK = 29, HQ = 4, HK = 2, DIM = 32 };
static const struct shape law_shape = {.batch = 2, .sq = SQ, .sk = SK};

static float greatest(const struct test_case *c, enum array id)
{
    const float *x = c->data[id];
    float most = 0;

    for (size_t i = 0; i < array_count(c, id); i++)
        most = fmaxf(most, fabsf(x[i]));
    return most;
}

static void one_value(struct test_case *c)
{
    float *v = c->data[A_V];

    for (size_t i = HK * DIM; i < array_count(c, A_V); i++)
        v[i] = v[i % (HK * DIM)];
}

/* All values alike: out is that value whatever the weights, so nothing changes it but v. */
static void constant_out(const clgaze_problem *p)
{
    clgaze_plan *plan = plan_of(CLGAZE_ATTEND_BWD, p);
    struct test_case c;

    case_make(&c, CLGAZE_ATTEND_BWD, p, &law_shape, one_value, 3);
    run_or_fail(&c, CLGAZE_ATTEND_BWD, plan);
    assert_true(greatest(&c, A_DQ) < 1e-5f);
    assert_true(greatest(&c, A_DK) < 1e-5f);
    assert_true(greatest(&c, A_DV) > 0.1f);
    clgaze_plan_free(plan);
    case_free(&c);
}

/* One key takes all the weight, whatever its score. */
static void one_key(const clgaze_problem *p)
{
    static const struct shape one = {.batch = 1, .sq = 1, .sk = 1};
    clgaze_plan *plan = plan_of(CLGAZE_ATTEND_BWD, p);
    struct test_case c;

    case_make(&c, CLGAZE_ATTEND_BWD, p, &one, NULL, 9);
    run_or_fail(&c, CLGAZE_ATTEND_BWD, plan);
    assert_true(greatest(&c, A_DQ) < 1e-5f);
    assert_true(greatest(&c, A_DK) < 1e-5f);
    assert_near(&c, A_DV, c.want[A_DV]);
    clgaze_plan_free(plan);
    case_free(&c);
}

static void no_gradient(struct test_case *c)
{
    memset(c->data[A_DOUT], 0, array_bytes(c, A_DOUT));
}

static void nothing_from_nothing(const clgaze_problem *p)
{
    clgaze_plan *plan = plan_of(CLGAZE_ATTEND_BWD, p);
    struct test_case c;

    case_make(&c, CLGAZE_ATTEND_BWD, p, &law_shape, no_gradient, 4);
    run_or_fail(&c, CLGAZE_ATTEND_BWD, plan);
    for (int id = A_DQ; id <= A_DV; id++)
        assert_true(greatest(&c, (enum array)id) == 0);
    clgaze_plan_free(plan);
    case_free(&c);
}

/* The same vector added to each key changes no weight, so dk sums to 0 over the keys; weights
 * sum to 1, so dv sums to what dout sums to over the queries of the group. */
static void sums(const clgaze_problem *p)
{
    clgaze_plan *plan = plan_of(CLGAZE_ATTEND_BWD, p);
    const float *dk, *dv, *dout;
    struct test_case c;

    case_make(&c, CLGAZE_ATTEND_BWD, p, &law_shape, NULL, 5);
    run_or_fail(&c, CLGAZE_ATTEND_BWD, plan);
    dk = c.data[A_DK], dv = c.data[A_DV], dout = c.data[A_DOUT];
    for (int x = 0; x < 2 * HK * DIM; x++) {
        const int b = x / (HK * DIM), hk = x / DIM % HK, d = x % DIM;
        double of_k = 0, of_v = 0, of_out = 0;

        for (int s = 0; s < SK; s++) {
            of_k += (double)dk[((b * SK + s) * HK + hk) * DIM + d];
            of_v += (double)dv[((b * SK + s) * HK + hk) * DIM + d];
        }
        for (int t = 0; t < SQ; t++)
            for (int h = hk * HQ / HK; h < (hk + 1) * HQ / HK; h++)
                of_out += (double)dout[((b * SQ + t) * HQ + h) * DIM + d];
        assert_true(fabs(of_k) < 1e-4);
        assert_true(fabs(of_v - of_out) < 1e-4);
    }
    clgaze_plan_free(plan);
    case_free(&c);
}

static void every_block(struct test_case *c)
{
    int32_t *blocks = c->data[A_BLOCKS], *counts = c->data[A_COUNTS];

    for (size_t i = 0; i < array_count(c, A_BLOCKS); i++)
        blocks[i] = (int32_t)(i % (size_t)c->width);
    for (size_t i = 0; i < array_count(c, A_COUNTS); i++)
        counts[i] = c->width;
}

/* Dense, and lists of every block: the same gradients. */
static void all_blocks_are_dense(const clgaze_problem *p)
{
    clgaze_problem q = *p;
    clgaze_plan *listed = plan_of(CLGAZE_ATTEND_BWD, p), *dense;
    struct test_case a, b;

    q.lists = CLGAZE_LISTS_DENSE;
    dense = plan_of(CLGAZE_ATTEND_BWD, &q);
    case_make(&a, CLGAZE_ATTEND_BWD, p, &law_shape, every_block, 6);
    case_make(&b, CLGAZE_ATTEND_BWD, &q, &law_shape, NULL, 6);
    for (int id = A_Q; id <= A_DOUT; id++)
        if (op_inputs(&b, CLGAZE_ATTEND_BWD) & BIT(id))
            memcpy(b.data[id], a.data[id], array_bytes(&b, (enum array)id));
    run_or_fail(&a, CLGAZE_ATTEND_BWD, listed);
    run_or_fail(&b, CLGAZE_ATTEND_BWD, dense);
    for (int id = A_DQ; id <= A_DV; id++)
        assert_near(&a, (enum array)id, b.data[id]);
    clgaze_plan_free(listed);
    clgaze_plan_free(dense);
    case_free(&a);
    case_free(&b);
}

static void same_bits(const clgaze_problem *p)
{
    clgaze_plan *plan = plan_of(CLGAZE_ATTEND_BWD, p);
    struct test_case c;
    void *first[3];

    case_make(&c, CLGAZE_ATTEND_BWD, p, &law_shape, NULL, 7);
    run_or_fail(&c, CLGAZE_ATTEND_BWD, plan);
    for (int i = 0; i < 3; i++) {
        first[i] = array_copy(&c, (enum array)(A_DQ + i));
        memset(c.data[A_DQ + i], 0, array_bytes(&c, (enum array)(A_DQ + i)));
    }
    run_or_fail(&c, CLGAZE_ATTEND_BWD, plan);
    for (int i = 0; i < 3; i++) {
        assert_memory_equal(first[i], c.data[A_DQ + i], array_bytes(&c, (enum array)(A_DQ + i)));
        free(first[i]);
    }
    clgaze_plan_free(plan);
    case_free(&c);
}

static void laws(void **state)
{
    clgaze_problem p = problem(CLGAZE_F32, HQ, HK, DIM, 16, 8);

    (void)state;
    p.max_batch = 2;
    p.max_q = SQ;
    p.max_k = SK;
    every_kernel(CLGAZE_ATTEND_BWD, &p, nothing_from_nothing);
    every_kernel(CLGAZE_ATTEND_BWD, &p, all_blocks_are_dense);
    every_kernel(CLGAZE_ATTEND_BWD, &p, same_bits);
    p.lists = CLGAZE_LISTS_DENSE;
    every_kernel(CLGAZE_ATTEND_BWD, &p, constant_out);
    every_kernel(CLGAZE_ATTEND_BWD, &p, one_key);
    every_kernel(CLGAZE_ATTEND_BWD, &p, sums);
}

/* What is missing or wrong is refused by name. */
static void refusals(void **state)
{
    static const enum array left_out[] = {A_OUT, A_LSE, A_DOUT, A_DQ, A_COUNTS};
    clgaze_problem p = problem(CLGAZE_F32, HQ, HK, DIM, 16, 8);
    clgaze_plan *plan;

    (void)state;
    fit_maxima(&p, &law_shape, 1);
    plan = plan_of(CLGAZE_ATTEND_BWD, &p);
    for (size_t i = 0; i < CLG_COUNT(left_out); i++) {
        char words[64];
        struct clg_text text = {words, sizeof words, 0};
        struct placed_case x;
        struct test_case c;

        case_make(&c, CLGAZE_ATTEND_BWD, &p, &law_shape, NULL, 8);
        c.absent = BIT(left_out[i]);
        assert_true(place_case(&c, CLGAZE_ATTEND_BWD, plan, test_context(), test_queue(), &x));
        forget();
        clg_put(&text, "%s|missing", array_names[left_out[i]]);
        assert_refused("attend_bwd", clgaze_attend_bwd(plan, &x.tensors, &x.call), CLGAZE_ERR_NULL, words);
        unplace_case(&x);
        case_free(&c);
    }
    clgaze_plan_free(plan);
    p.scope = (clgaze_scope)3;
    forget();
    assert_refused("scope", clgaze_attend_bwd_plan(test_context(), &p, &plan), CLGAZE_ERR_VALUE, "problem.scope|3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(block_sizes), cmocka_unit_test(head_sizes),  cmocka_unit_test(dtypes),
        cmocka_unit_test(list_forms),  cmocka_unit_test(not_causal),  cmocka_unit_test(packed),
        cmocka_unit_test(own_scale),   cmocka_unit_test(hard_logits), cmocka_unit_test(odd_lists),
        cmocka_unit_test(widths),      cmocka_unit_test(processors),  cmocka_unit_test(laws),
        cmocka_unit_test(refusals),
    };

    return TEST_MAIN(tests);
}
