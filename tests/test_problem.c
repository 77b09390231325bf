/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_problem.c: every field of a problem, just inside and just outside its
 * range, and contexts.  Label: unit.
 *
 * A row names what is changed, the status, and words of the one sentence.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

enum {
    POOL = 1 << CLGAZE_POOL,
    GATE = 1 << CLGAZE_GATE,
    SCORE = 1 << CLGAZE_SCORE,
    SELECT = 1 << CLGAZE_SELECT,
    ATTEND = 1 << CLGAZE_ATTEND,
    PREFILL = 1 << CLGAZE_PREFILL,
    GATING = POOL | GATE | SCORE | PREFILL,
    ALL = GATING | SELECT | ATTEND
};

static const struct shape shape = {.batch = 1, .sq = 24, .sk = 24};

static clgaze_problem good(void)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 32, 8, 8);

    fit_maxima(&p, &shape, 1);
    return p;
}

/* The context still plans and selects rightly. */
static void still_works(clgaze_context *ctx)
{
    clgaze_problem p = good();
    clgaze_plan *plan = NULL;
    struct test_case c;

    assert_ok(clgaze_select_plan(ctx, &p, &plan));
    case_make(&c, CLGAZE_SELECT, &p, &shape, NULL, 1);
    if (!run_case(&c, CLGAZE_SELECT, plan, ctx, test_queue()) || !check_results(&c, CLGAZE_SELECT))
        fail_msg("afterwards: %s", c.why);
    case_free(&c);
    clgaze_plan_free(plan);
}

/* Planning and clgaze_supports() refuse alike; answers nothing that must be freed. */
static void refused(const char *row, clgaze_op op, const clgaze_problem *p, clgaze_status status, const char *words)
{
    clgaze_plan *plan = (clgaze_plan *)(uintptr_t)&shape; /* must become NULL */
    char reason[512] = "x";

    forget();
    assert_refused(row, clgaze_plan_create(test_context(), op, p, &plan), status, words);
    assert_null(plan);
    assert_int_equal(clgaze_supports(test_context(), op, p, reason, sizeof reason), status);
    assert_string_equal(reason, last_error());
    assert_int_equal(error_count(), 1); /* asking is no failure */
}

/* ---- integers --------------------------------------------------------------- */

/* One whole-number field, its range, and the operations that read it. */
struct range {
    const char *name;
    size_t at;
    int low, high, ops;
    clgaze_status status;
};
#define RANGE(field, low, high, ops, st)                                                                             \
    {                                                                                                                \
#field, offsetof(clgaze_problem, field), low, high, ops, CLGAZE_ERR_##st                                     \
    }

static const struct range ranges[] = {
    RANGE(dtype, 0, 2, ALL, DTYPE),
    RANGE(q_heads, 1, 32768, ALL, HEADS),
    RANGE(kv_heads, 1, 32768, ALL, HEADS),
    RANGE(head_dim, 8, 256, ALL, SIZE),
    RANGE(block_q, 4, 256, ALL, BLOCK),
    RANGE(block_k, 4, 256, ALL, BLOCK),
    RANGE(causal, 0, 1, ALL, VALUE),
    RANGE(packed, 0, 1, ALL, VALUE),
    RANGE(max_batch, 1, 65535, ALL, SIZE),
    RANGE(max_q, 1, 1 << 30, ALL, SIZE),
    RANGE(max_k, 1, 1 << 30, ALL, SIZE),
    RANGE(q_pool, 1, 7, GATING, VALUE),
    RANGE(k_pool, 1, 7, GATING, VALUE),
    RANGE(gate_dim, 0, 256, GATING, SIZE),
    RANGE(gate_double, 0, 1, GATING, VALUE),
    RANGE(weight_dtype, 0, 2, GATING, DTYPE),
    RANGE(rope_pairs, 0, 128, GATING, SIZE),
    RANGE(rope_interleaved, 0, 1, GATING, VALUE),
    RANGE(rule, 0, 4, SELECT | PREFILL, VALUE),
    RANGE(sink, 0, 32768, SELECT | PREFILL, VALUE),
    RANGE(local, 0, 32768, SELECT | PREFILL, VALUE),
    RANGE(last_rows, 0, 1 << 30, SELECT | PREFILL, VALUE),
    RANGE(min_k, 0, 32768, SELECT | PREFILL, VALUE),
    RANGE(max_k_blocks, 0, 32768, SELECT | PREFILL, VALUE),
    RANGE(width, 0, 32768, SELECT | PREFILL, VALUE),
    RANGE(scope, 0, 2, SELECT | ATTEND | PREFILL, VALUE),
    RANGE(lists, 0, 3, ATTEND | PREFILL, VALUE),
    RANGE(lse, 0, 1, ATTEND | PREFILL, VALUE),
    RANGE(validate, 0, 1, ALL, VALUE),
};

static clgaze_problem with_int(size_t at, int value)
{
    clgaze_problem p = good();

    memcpy((char *)&p + at, &value, sizeof value);
    return p;
}

static void outside(const struct range *r, clgaze_op op, int value)
{
    clgaze_problem p = with_int(r->at, value);
    char row[96], words[96];

    snprintf(row, sizeof row, "op %d, %s %d", (int)op, r->name, value);
    snprintf(words, sizeof words, "problem.%s is %d:|%d..%d", r->name, value, r->low, r->high);
    if (r->ops & 1 << op)
        refused(row, op, &p, r->status, words);
    else
        assert_int_equal(clgaze_supports(test_context(), op, &p, NULL, 0), CLGAZE_OK);
}

/* Another field may then be in the way, but never this one's range. */
static void inside(const struct range *r, clgaze_op op, int value)
{
    clgaze_problem p = with_int(r->at, value);
    char reason[512], words[96];

    clgaze_supports(test_context(), op, &p, reason, sizeof reason);
    snprintf(words, sizeof words, "it must be %d..%d", r->low, r->high);
    if (strstr(reason, words))
        fail_msg("%s %d is refused: %s", r->name, value, reason);
}

static void integers(void **state)
{
    (void)state;
    for (size_t i = 0; i < CLG_COUNT(ranges); i++)
        for (int op = CLGAZE_POOL; op <= CLGAZE_PREFILL; op++) {
            outside(&ranges[i], (clgaze_op)op, ranges[i].low - 1);
            outside(&ranges[i], (clgaze_op)op, ranges[i].high + 1);
            outside(&ranges[i], (clgaze_op)op, INT32_MIN);
            outside(&ranges[i], (clgaze_op)op, INT32_MAX);
            inside(&ranges[i], (clgaze_op)op, ranges[i].low);
            inside(&ranges[i], (clgaze_op)op, ranges[i].high);
        }
    still_works(test_context());
}

/* ---- fields that depend on each other ------------------------------------------ */

struct change {
    size_t at;
    int value;
};
#define SET(field, value)                                                                                            \
    {                                                                                                                \
        offsetof(clgaze_problem, field), value                                                                       \
    }

struct pair_row {
    const char *row;
    clgaze_op op;
    struct change change[3]; /* ends with 0, the dtype */
    clgaze_status status;
    const char *words;
};

// clang-format off
static const struct pair_row pairs[] = {
    {"heads do not divide", CLGAZE_SCORE, {SET(q_heads, 6), SET(kv_heads, 4)}, CLGAZE_ERR_HEADS, "problem.q_heads is 6|kv_heads, 4"},
    {"more kv heads", CLGAZE_ATTEND, {SET(q_heads, 2), SET(kv_heads, 4)}, CLGAZE_ERR_HEADS, "problem.q_heads is 2|kv_heads, 4"},
    {"head_dim", CLGAZE_POOL, {SET(head_dim, 12)}, CLGAZE_ERR_SIZE, "problem.head_dim is 12|multiple of 8"},
    {"gate_dim", CLGAZE_GATE, {SET(gate_double, 1), SET(gate_dim, 12)}, CLGAZE_ERR_SIZE, "problem.gate_dim is 12|multiple of 8"},
    {"gate_dim 4", CLGAZE_SCORE, {SET(gate_double, 1), SET(gate_dim, 4)}, CLGAZE_ERR_SIZE, "problem.gate_dim is 4|multiple of 8"},
    {"rope_pairs", CLGAZE_GATE, {SET(rope_pairs, 17)}, CLGAZE_ERR_SIZE, "problem.rope_pairs is 17|at most|16"},
    {"rope_pairs of gate_dim", CLGAZE_GATE, {SET(gate_double, 1), SET(gate_dim, 16), SET(rope_pairs, 9)}, CLGAZE_ERR_SIZE, "problem.rope_pairs is 9|8"},
    {"single with two q pools", CLGAZE_GATE, {SET(q_pool, 3)}, CLGAZE_ERR_VALUE, "problem.gate_double is 0|one q pool|given 2"},
    {"single with gate_dim", CLGAZE_PREFILL, {SET(gate_dim, 16)}, CLGAZE_ERR_VALUE, "problem.gate_double is 0|gate_dim|16 and 32"},
    {"too many blocks", CLGAZE_SELECT, {SET(block_k, 4), SET(max_k, 131073)}, CLGAZE_ERR_SIZE, "problem.max_k of 131073|32769|at most 32768"},
    {"too many blocks", CLGAZE_PREFILL, {SET(block_k, 4), SET(max_k, 131073)}, CLGAZE_ERR_SIZE, "problem.max_k of 131073|32769|at most 32768"},
    {"max_k_blocks below min_k", CLGAZE_SELECT, {SET(min_k, 3), SET(max_k_blocks, 2)}, CLGAZE_ERR_VALUE, "problem.max_k_blocks is 2|min_k, 3"},
    {"width below sink + local", CLGAZE_SELECT, {SET(width, 2), SET(sink, 2), SET(local, 1)}, CLGAZE_ERR_VALUE, "problem.width is 2|sink + local, 2 + 1"},
    {"dense prefill", CLGAZE_PREFILL, {SET(lists, 0)}, CLGAZE_ERR_VALUE, "problem.lists is 0|prefill"},
    {"masked prefill", CLGAZE_PREFILL, {SET(lists, 2)}, CLGAZE_ERR_VALUE, "problem.lists is 2|prefill"},
    {"reserved", CLGAZE_POOL, {SET(reserved[0], 1)}, CLGAZE_ERR_VALUE, "problem.reserved[0] is 1|0"},
    {"reserved", CLGAZE_ATTEND, {SET(reserved[13], 7)}, CLGAZE_ERR_VALUE, "problem.reserved[13] is 7|0"},
};
// clang-format on

static void fields_together(void **state)
{
    (void)state;
    for (size_t i = 0; i < CLG_COUNT(pairs); i++) {
        clgaze_problem p = good();

        for (int j = 0; j < 3 && pairs[i].change[j].at; j++)
            memcpy((char *)&p + pairs[i].change[j].at, &pairs[i].change[j].value, sizeof(int));
        refused(pairs[i].row, pairs[i].op, &p, pairs[i].status, pairs[i].words);
    }
    refused("operation -1", (clgaze_op)-1, &(clgaze_problem){0}, CLGAZE_ERR_VALUE, "operation -1|0..8");
    refused("operation 9", (clgaze_op)9, &(clgaze_problem){0}, CLGAZE_ERR_VALUE, "operation 9|0..8");
    still_works(test_context());
}

/* ---- real numbers ---------------------------------------------------------------- */

#define OUT NAN, INFINITY, -INFINITY, -1

static const struct {
    clgaze_rule rule;
    const char *words;
    double bad[8], fine[3];
} rules[] = {
    {CLGAZE_TOP_K, "top_k|1..32768", {OUT, 0, 0.99999999, 32768.5}, {1, 32768, 1.5}},
    {CLGAZE_RATIO, "ratio|(0, 1]", {OUT, 0, 1.0000001, -DBL_TRUE_MIN}, {DBL_TRUE_MIN, 1, 0.5}},
    {CLGAZE_BUDGET, "budget|1..2147483647 tokens", {OUT, 0, 0.99999999, 2147483647.5}, {1, 2147483647, 64}},
    {CLGAZE_THRESHOLD, "threshold|[0, 1)", {OUT, 1, 1.0000001, -DBL_TRUE_MIN}, {0, 0.99999999999, 0.5}},
    {CLGAZE_TOP_P, "top_p|(0, 1]", {OUT, 0, 1.0000001, -DBL_TRUE_MIN}, {DBL_TRUE_MIN, 1, 0.5}},
};

static void rule_values(void **state)
{
    clgaze_problem p = good();
    char words[128];

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(rules); i++) {
        p.rule = rules[i].rule;
        for (int j = 0; j < 7; j++) {
            p.value = rules[i].bad[j];
            snprintf(words, sizeof words, "problem.value is %.10g:|%s", p.value, rules[i].words);
            refused(words, j & 1 ? CLGAZE_SELECT : CLGAZE_PREFILL, &p, CLGAZE_ERR_VALUE, words);
        }
        for (int j = 0; j < 3; j++) {
            p.value = rules[i].fine[j];
            assert_int_equal(clgaze_supports(test_context(), CLGAZE_SELECT, &p, NULL, 0), CLGAZE_OK);
        }
    }
    still_works(test_context());
}

/* Every list head has its own; what lies behind them is not read. */
static void values_by_head(void **state)
{
    static const int heads[] = {4, 2, 1};
    clgaze_problem p = good();

    (void)state;
    p.rule = CLGAZE_TOP_P;
    p.value = NAN; /* not read either */
    for (int scope = 0; scope < 3; scope++)
        for (int bad = 0; bad <= heads[scope]; bad++) {
            float values[5] = {0.5f, 0.5f, 0.5f, 0.5f, 0.5f};
            char words[64];

            p.scope = (clgaze_scope)scope;
            p.values = values;
            values[bad] = 1.5f;
            snprintf(words, sizeof words, "problem.values[%d] is 1.5:|top_p|(0, 1]", bad);
            if (bad < heads[scope])
                refused(words, CLGAZE_SELECT, &p, CLGAZE_ERR_VALUE, words);
            else
                assert_int_equal(clgaze_supports(test_context(), CLGAZE_SELECT, &p, NULL, 0), CLGAZE_OK);
        }
}

static void scales(void **state)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(bad); i++) {
        clgaze_problem p = good();

        p.scale = bad[i];
        refused("scale", CLGAZE_ATTEND, &p, CLGAZE_ERR_VALUE, "problem.scale is|finite");
        refused("scale", CLGAZE_PREFILL, &p, CLGAZE_ERR_VALUE, "problem.scale is|finite");
        assert_int_equal(clgaze_supports(test_context(), CLGAZE_GATE, &p, NULL, 0), CLGAZE_OK);
        p.scale = 0;
        p.rope_scale = bad[i];
        refused("rope_scale", CLGAZE_GATE, &p, CLGAZE_ERR_VALUE, "problem.rope_scale is|finite");
        assert_int_equal(clgaze_supports(test_context(), CLGAZE_ATTEND, &p, NULL, 0), CLGAZE_OK);
    }
}

/* Read by prefill alone: attend obeys the lists that it is given. */
static void expected_density(void **state)
{
    static const double bad[] = {OUT, -DBL_TRUE_MIN, 1.0000001}, fine[] = {0, DBL_TRUE_MIN, 0.5, 1};

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(bad); i++) {
        clgaze_problem p = good();

        p.auto_density = bad[i];
        refused("auto_density", CLGAZE_PREFILL, &p, CLGAZE_ERR_VALUE, "problem.auto_density is|(0, 1]");
        assert_int_equal(clgaze_supports(test_context(), CLGAZE_ATTEND, &p, NULL, 0), CLGAZE_OK);
    }
    for (size_t i = 0; i < CLG_COUNT(fine); i++) {
        clgaze_problem p = good();

        p.auto_density = fine[i];
        assert_int_equal(clgaze_supports(test_context(), CLGAZE_PREFILL, &p, NULL, 0), CLGAZE_OK);
    }
}

/* ---- forced strategies -------------------------------------------------------------- */

static void forced(void **state)
{
    static const struct {
        const char *kernel;
        clgaze_status status;
        const char *words;
    } rows[] = {
        {"nonesuch", CLGAZE_ERR_VALUE, "problem.kernel \"nonesuch\""},
        {" attend", CLGAZE_ERR_VALUE, "problem.kernel \" attend\""},
        {"attend=", CLGAZE_ERR_VALUE, "problem.kernel \"attend=\""},
        {"attend_cpu BM=17", CLGAZE_ERR_VALUE, "attend_cpu|BM=17"},
        {"attend_cpu NONE=1", CLGAZE_ERR_VALUE, "attend_cpu|no tunable \"NONE\""},
        {"attend WG=256 BM=4", CLGAZE_ERR_UNSUPPORTED, "problem.kernel \"attend WG=256 BM=4\"|BM must be"},
        {"attend_cpu VEC=8 NV=1", CLGAZE_ERR_UNSUPPORTED, "problem.kernel \"attend_cpu VEC=8 NV=1\""},
    };

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(rows); i++) {
        clgaze_problem p = good();

        p.kernel = rows[i].kernel;
        refused(rows[i].kernel, CLGAZE_ATTEND, &p, rows[i].status, rows[i].words);
        refused(rows[i].kernel, CLGAZE_PREFILL, &p, rows[i].status, rows[i].words);
    }
    still_works(test_context());
}

/* ---- tensors larger than a buffer may be ----------------------------------------------- */

static int most(size_t x, int bound)
{
    return x < 1 ? 1 : x < (size_t)bound ? (int)x : bound;
}

static void too_large(clgaze_op op, const clgaze_problem *p, const char *name, unsigned long long bytes)
{
    unsigned long long allowed = test_context()->device.max_alloc;
    char words[128];

    if (bytes <= allowed) {
        printf("skipped %s: %llu bytes fit a buffer of this device\n", name, bytes);
        return;
    }
    snprintf(words, sizeof words, "%s of this plan|%llu bytes|at most %llu", name, bytes, allowed);
    refused(name, op, p, CLGAZE_ERR_LIMIT, words);
}

static void limits(void **state)
{
    const size_t allowed = test_context()->device.max_alloc;
    clgaze_problem p = problem(CLGAZE_F32, 1, 1, 8, 4, 4), q = p;

    (void)state;
    p.max_q = p.max_k = 1;
    q = p;
    q.q_heads = 32768;
    q.max_q = 1 << 30;
    for (int op = CLGAZE_POOL; op <= CLGAZE_PREFILL; op++)
        if (op != CLGAZE_SELECT)
            too_large((clgaze_op)op, &q, "a query tensor", (1ull << 45) * 8 * 4);
    q = p;
    q.q_heads = q.kv_heads = 32768;
    q.max_k = 1 << 20;
    too_large(CLGAZE_ATTEND, &q, "a key tensor", (1ull << 35) * 8 * 4);
    q = p;
    q.q_heads = 32768;
    q.head_dim = 256;
    too_large(CLGAZE_GATE, &q, "w_k", 32768ull * 3 * 256 * 256 * 4);
    q.gate_double = 1;
    q.q_pool = 7;
    too_large(CLGAZE_GATE, &q, "w_q", 32768ull * 3 * 256 * 256 * 4);
    q = p;
    q.q_heads = 32768;
    q.max_k = most(allowed / 32, 1 << 30);
    too_large(CLGAZE_SCORE, &q, "k_gated", ((unsigned long long)q.max_k + 3) / 4 * 32768 * 8 * 4);
    q = p;
    q.kv_heads = q.q_heads = 1;
    q.dtype = CLGAZE_BF16;
    q.max_k = most(allowed / 16, 1 << 30);
    too_large(CLGAZE_POOL, &q, "k_pooled", ((unsigned long long)q.max_k + 3) / 4 * 24 * 4);
    q = p;
    q.q_heads = 32768;
    q.max_batch = 65535;
    q.max_k = 32768 * 4;
    too_large(CLGAZE_SELECT, &q, "scores", 65535ull * 32768 * 32768 * 4);
    q = p;
    q.lists = CLGAZE_LISTS_MASK;
    q.max_q = q.max_k = most(allowed / 32, 1 << 30);
    too_large(CLGAZE_ATTEND, &q, "mask",
              (((unsigned long long)q.max_k + 3) / 4) * (((unsigned long long)q.max_q + 3) / 4));
    still_works(test_context());
}

/* On a device that has the memory: blocks are numbered with 31 bits. */
static void too_many_blocks(void **state)
{
    static const struct {
        clgaze_op op;
        int batch, heads, max_q, max_k;
        const char *words; /* NULL: that many are fine */
    } rows[] = {
        {CLGAZE_SELECT, 32768, 32768, 4, 4, NULL},
        {CLGAZE_SELECT, 32769, 32768, 4, 4, "1073774592 query blocks of all heads|at most 1073741824"},
        {CLGAZE_SELECT, 1, 4, 1 << 30, 4, NULL},
        {CLGAZE_SELECT, 1, 4, 1 << 30, 131072, NULL},
        {CLGAZE_ATTEND, 1, 5, 1 << 30, 4, "1342177280 query blocks of all heads|at most 1073741824"},
        {CLGAZE_GATE, 4, 1, 4, 1 << 30, NULL},
        {CLGAZE_GATE, 5, 1, 4, 1 << 30, "1342177280 key blocks|at most 1073741824"},
        {CLGAZE_GATE, 65535, 1, 4, 1 << 30, "key blocks|at most 1073741824"},
        {CLGAZE_TRUTH, 65535, 32768, 1 << 30, 1 << 30, "query blocks of all heads|at most 1073741824"},
    };
    clgaze_context roomy = *test_context();

    (void)state;
    roomy.device.max_alloc = SIZE_MAX;
    for (size_t i = 0; i < CLG_COUNT(rows); i++) {
        clgaze_problem p = problem(CLGAZE_F32, rows[i].heads, 1, 8, 4, 4);
        clgaze_status st;

        p.max_batch = rows[i].batch;
        p.max_q = rows[i].max_q;
        p.max_k = rows[i].max_k;
        forget();
        st = clg_limits_check(&roomy, rows[i].op, &p);
        if (rows[i].words)
            assert_refused(rows[i].words, st, CLGAZE_ERR_LIMIT, rows[i].words);
        else
            assert_ok(st);
    }
}

/* The workspace of prefill holds what is handed on; refused before anything is compiled. */
static void workspace_limit(void **state)
{
    const size_t allowed = test_context()->device.max_alloc;
    clgaze_problem p = problem(CLGAZE_F16, 1, 1, 8, 256, 256);
    char words[96];

    (void)state;
    p.q_heads = most(allowed >> 27, 32768);
    p.max_q = p.max_k = 32768 * 256;
    p.rule = CLGAZE_TOP_P; /* lists as long as rows of scores, which themselves come in slices */
    p.value = 0.5;
    snprintf(words, sizeof words, "workspace of this plan|bytes|at most %zu", allowed);
    refused("workspace", CLGAZE_PREFILL, &p, CLGAZE_ERR_LIMIT, words);
    still_works(test_context());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers),        cmocka_unit_test(fields_together), cmocka_unit_test(rule_values),
        cmocka_unit_test(values_by_head),  cmocka_unit_test(scales),          cmocka_unit_test(expected_density),
        cmocka_unit_test(forced),          cmocka_unit_test(limits),          cmocka_unit_test(too_many_blocks),
        cmocka_unit_test(workspace_limit),
    };

    return TEST_MAIN(tests);
}
