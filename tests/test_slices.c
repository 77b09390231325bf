/* SPDX-License-Identifier: Apache-2.0 */
/* prefill and select slice by slice: the same as in one piece, in less memory.  Label: unit. */
#include <stdlib.h>
#include <string.h>

#include "harness.h"

static struct shape batches = {.batch = 2, .sq = 130, .sk = 140};
static struct shape packs = {.sequences = 4, .q = {9, 0, 1, 70}, .k = {9, 0, 30, 50}};

static clgaze_problem pipeline(clgaze_rule rule, double value)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, tiny() ? 8 : 32, 8, 8);

    p.rope_pairs = p.head_dim / 2;
    p.rule = rule;
    p.value = value;
    p.last_rows = 2;
    p.lse = 1;
    return p;
}

/* A plan in which scores and merged rows have at most `limit` bytes. */
static clgaze_plan *limited(clgaze_op op, const clgaze_problem *p, size_t limit)
{
    clgaze_context *ctx = test_context();
    clgaze_plan *plan = NULL;
    clgaze_status st;

    ctx->slice_bytes = limit;
    st = clgaze_plan_create(ctx, op, p, &plan);
    ctx->slice_bytes = CLG_SLICE_BYTES;
    assert_ok(st);
    return plan;
}

/* What the plan holds of scores and merged rows. */
static size_t room(const clgaze_plan *plan)
{
    return plan->at[CLG_AT_COUNTS] - plan->at[CLG_AT_SCORES];
}

/* Run in one piece, then in slices of a row and of a third: the lists bit for bit, all else as ref/ has it. */
static void compare(clgaze_op op, const clgaze_problem *p, const struct shape *n, uint32_t absent)
{
    clgaze_problem q = *p;
    const int rows = (fit_maxima(&q, n, 1), clg_max_rows(&q));
    clgaze_plan *plan = limited(op, &q, CLG_SLICE_BYTES);
    const size_t limits[] = {1, room(plan) / 3};
    int32_t *counts, *blocks;
    struct test_case c;

    case_make(&c, op, &q, n, NULL, 1);
    c.absent |= absent;
    assert_int_equal(plan->slice, rows);
    run_or_fail(&c, op, plan);
    counts = array_copy(&c, A_COUNTS);
    blocks = array_copy(&c, A_BLOCKS);
    clgaze_plan_free(plan);
    for (size_t i = 0; i < CLG_COUNT(limits); i++) {
        plan = limited(op, &q, limits[i]);
        assert_in_range(plan->slice, 1, i ? rows / 3 + 1 : 1);
        assert_true(i == 0 || room(plan) <= CLG_ALIGN(limits[i]) + 256);
        run_or_fail(&c, op, plan);
        assert_memory_equal(c.data[A_COUNTS], counts, array_bytes(&c, A_COUNTS));
        assert_memory_equal(c.data[A_BLOCKS], blocks, array_bytes(&c, A_BLOCKS));
        if (!check_results(&c, op))
            fail_msg("slices of %d rows: %s", plan->slice, c.why);
        clgaze_plan_free(plan);
    }
    free(counts);
    free(blocks);
    case_free(&c);
}

static void every_rule(void **state)
{
    static const double values[] = {3, 0.4, 24, 0.1, 0.7};

    (void)state;
    for (int rule = CLGAZE_TOP_K; rule <= CLGAZE_TOP_P; rule++) {
        clgaze_problem p = pipeline((clgaze_rule)rule, values[rule]);

        p.sink = rule % 2;
        compare(CLGAZE_PREFILL, &p, &batches, BIT(A_SCORES));
        p.packed = 1;
        compare(CLGAZE_PREFILL, &p, &packs, BIT(A_SCORES));
    }
}

/* Merged rows are cut whether the scores are the caller's or ours. */
static void merged_heads(void **state)
{
    (void)state;
    for (int scope = CLGAZE_SCOPE_KV; scope <= CLGAZE_SCOPE_ONE; scope++)
        for (int packed = 0; packed < 2; packed++) {
            clgaze_problem p = pipeline(CLGAZE_TOP_P, 0.7);

            p.scope = (clgaze_scope)scope;
            p.packed = packed;
            compare(CLGAZE_PREFILL, &p, packed ? &packs : &batches, BIT(A_SCORES));
            compare(CLGAZE_PREFILL, &p, packed ? &packs : &batches, 0);
            compare(CLGAZE_SELECT, &p, packed ? &packs : &batches, 0);
        }
}

static void sliced(const clgaze_problem *p)
{
    compare(CLGAZE_PREFILL, p, p->packed ? &packs : &batches, BIT(A_SCORES));
}

static void every_strategy(void **state)
{
    (void)state;
    for (int packed = 0; packed < 2; packed++) {
        clgaze_problem p = pipeline(CLGAZE_TOP_P, 0.7);

        p.packed = packed;
        p.scope = CLGAZE_SCOPE_KV;
        fit_maxima(&p, packed ? &packs : &batches, 1);
        every_kernel(CLGAZE_SCORE, &p, sliced);
        every_kernel(CLGAZE_SELECT, &p, sliced);
    }
}

/* A plan's slices hold a call's at any lengths below the maximum: fewer columns or batches, more rows at a time. */
static void shorter_calls(void **state)
{
    const int sq = batches.sq, sk = batches.sk;
    const struct shape calls[] = {
        batches,
        {.batch = 1, .sq = sq, .sk = sk},
        {.batch = 2, .sq = sq - 10, .sk = 10},
        {.batch = 1, .sq = sq / 2, .sk = sk},
        {.batch = 1, .sq = 1, .sk = 1},
    };
    clgaze_problem p = pipeline(CLGAZE_TOP_K, 3);
    clgaze_plan *plan;

    (void)state;
    fit_maxima(&p, calls, CLG_COUNT(calls));
    plan = limited(CLGAZE_PREFILL, &p, tiny() ? 500 : 3000);
    assert_true(plan->slice > 1 && plan->slice < clg_max_rows(&p));
    for (size_t i = 0; i < CLG_COUNT(calls); i++) {
        struct test_case c;

        case_make(&c, CLGAZE_PREFILL, &p, &calls[i], NULL, i);
        c.absent |= BIT(A_SCORES);
        run_or_fail(&c, CLGAZE_PREFILL, plan);
        if (!check_results(&c, CLGAZE_PREFILL))
            fail_msg("call %zu: %s", i, c.why);
        case_free(&c);
    }
    clgaze_plan_free(plan);
}

/* 128K tokens of 32 heads: 537 MB of scores, in slices as few and as even as 64 MB allow. */
static void long_context(void **state)
{
    static const struct {
        clgaze_scope scope;
        int slice;
    } wanted[] = {{CLGAZE_SCOPE_Q, 256}, {CLGAZE_SCOPE_KV, 187}, {CLGAZE_SCOPE_ONE, 228}};
    clgaze_context roomy = *test_context(); /* what a small device may not have, it may plan here */

    (void)state;
    roomy.device.max_alloc = SIZE_MAX;
    for (size_t i = 0; i < CLG_COUNT(wanted); i++) {
        clgaze_plan plan;

        memset(&plan, 0, sizeof plan);
        plan.op = CLGAZE_PREFILL;
        plan.problem = problem(CLGAZE_F16, 32, 8, 128, 64, 64);
        plan.problem.max_batch = 1;
        plan.problem.max_q = plan.problem.max_k = 131072;
        plan.problem.scope = wanted[i].scope;
        assert_ok(clg_place_workspace(&roomy, &plan));
        assert_int_equal(plan.slice, wanted[i].slice);
        assert_true(room(&plan) <= (size_t)64 << 20);
        plan.problem.max_q = plan.problem.max_k = 32768; /* fits */
        assert_ok(clg_place_workspace(&roomy, &plan));
        assert_int_equal(plan.slice, 512);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule),    cmocka_unit_test(merged_heads), cmocka_unit_test(every_strategy),
        cmocka_unit_test(shorter_calls), cmocka_unit_test(long_context),
    };

    if (tiny()) { /* fewer rows, for a runtime that compiles for each launch */
        batches.sq = 30;
        batches.sk = 40;
        packs.q[3] = 20;
        packs.k[2] = 10;
        packs.k[3] = 25;
    }
    return TEST_MAIN(tests);
}
