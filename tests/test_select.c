/* SPDX-License-Identifier: Apache-2.0 */
/* select against ref/select.c: exact, but for what the bounds of threshold and top_p leave open.  Label: unit. */
#include <math.h>

#include "harness.h"

static const clgaze_rule rules[] = {CLGAZE_TOP_K, CLGAZE_RATIO, CLGAZE_BUDGET, CLGAZE_THRESHOLD, CLGAZE_TOP_P};
static const double usual[] = {3, 0.3, 20, 0.06, 0.8};

/* Blocks of 4 tokens: rows of 1, a few, and some tens of blocks. */
static const struct shape shapes[] = {
    {.batch = 1, .sq = 1, .sk = 1},  {.batch = 2, .sq = 33, .sk = 33},  {.batch = 1, .sq = 127, .sk = 128},
    {.batch = 2, .sq = 10, .sk = 5}, {.batch = 1, .sq = 13, .sk = 281}, {.batch = 3, .sq = 8, .sk = 64},
};

static clgaze_problem select_problem(clgaze_rule rule)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 64, 4, 4);

    p.rule = rule;
    p.value = usual[rule];
    return p;
}

static void check(const clgaze_problem *p, tweak_fn tweak)
{
    check_op(CLGAZE_SELECT, p, shapes, CLG_COUNT(shapes), tweak);
}

static void every_rule(void **state)
{
    static const double more[5][4] = {
        {1, 2, 17, 32768}, {1e-6, 0.1, 0.75, 1}, {1, 4, 7.5, 1e9}, {0, 0.01, 0.3, 0.99}, {1e-6, 0.1, 0.5, 1}};

    (void)state;
    for (size_t r = 0; r < CLG_COUNT(rules); r++) {
        clgaze_problem p = select_problem(rules[r]);

        check(&p, NULL);
        for (int i = 0; i < 4; i++) {
            p.value = more[r][i];
            p.causal = i % 2;
            check(&p, NULL);
        }
    }
}

/* ---- scores that are hard to rank ---------------------------------------------------- */

static float strange(struct rng *r, int style, float x)
{
    static const float few[] = {-1, -0.0f, 0.0f, 0.0f, 1, 2};

    switch (style) {
    case 1: /* ties, and both zeros */
        return few[below(r, CLG_COUNT(few))];
    case 2: /* all equal */
        return -7.25f;
    case 3: /* NaN among numbers */
        return below(r, 3) ? x : NAN;
    case 4: /* nothing but NaN */
        return NAN;
    case 5: /* holes in what the row sees */
        return below(r, 3) ? x : -INFINITY;
    case 6: /* infinity beside numbers */
        return below(r, 8) ? x : INFINITY;
    case 7: /* softmax under- and overflows without its maximum */
        return x * 100;
    case 8: /* denormals, of both signs */
        return x * 1e-40f;
    case 9: /* everything at once */
        return below(r, 4) ? few[below(r, CLG_COUNT(few))] : below(r, 2) ? NAN : -INFINITY;
    case 10: /* the row sees nothing */
        return -INFINITY;
    case 11: /* huge numbers of both signs */
        return x * 1e38f;
    default:
        return x;
    }
}

static void strange_rows(struct test_case *c)
{
    struct clg_ref t = as_ref(c, c->data);
    size_t cols = (size_t)clg_ref_cols(&c->p, &t), n = array_count(c, A_SCORES);
    float *x = c->data[A_SCORES];
    int style = 0;

    for (size_t i = 0; i < n; i++) {
        if (i % cols == 0)
            style = (int)below(&c->rng, 12);
        if (x[i] > -INFINITY)
            x[i] = strange(&c->rng, style, x[i]);
    }
}

static void strange_scores(void **state)
{
    (void)state;
    for (size_t r = 0; r < CLG_COUNT(rules); r++) {
        clgaze_problem p = select_problem(rules[r]);

        check(&p, strange_rows);
        p.sink = 1;
        p.local = 2;
        p.last_rows = 1;
        check(&p, strange_rows);
    }
}

static void equal_rows(struct test_case *c)
{
    float *x = c->data[A_SCORES];

    for (size_t i = 0; i < array_count(c, A_SCORES); i++)
        x[i] = x[i] > -INFINITY ? 1.5f : x[i];
}

/* Sums of equal shares meet the bound but for rounding: kernels must still agree with each other. */
static void bounds_met(void **state)
{
    static const double values[] = {0.1, 0.2, 0.25, 0.3, 0.5, 0.7, 0.75, 0.9};

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(values); i++) {
        clgaze_problem p = select_problem(CLGAZE_TOP_P);

        p.value = values[i];
        check(&p, equal_rows);
        p.rule = CLGAZE_THRESHOLD;
        p.value = 1.0 / (double)(i + 2);
        check(&p, equal_rows);
    }
}

/* ---- what is kept beside the rule's choice --------------------------------------------- */

static void forced_blocks(void **state)
{
    static const int sets[][3] = {{2, 0, 0},    {0, 3, 0},    {0, 0, 2},   {2, 3, 1},
                                  {1000, 0, 0}, {0, 1000, 0}, {1, 1, 1000}};

    (void)state;
    for (size_t r = 0; r < CLG_COUNT(rules); r++)
        for (size_t i = r % 2; i < CLG_COUNT(sets); i++) {
            clgaze_problem p = select_problem(rules[r]);

            p.sink = sets[i][0];
            p.local = sets[i][1];
            p.last_rows = sets[i][2];
            check(&p, NULL);
        }
}

static void bounded_numbers(void **state)
{
    static const int sets[][2] = {{5, 0}, {0, 2}, {4, 6}, {7, 7}};

    (void)state;
    for (size_t r = 0; r < CLG_COUNT(rules); r++)
        for (size_t i = 0; i < CLG_COUNT(sets); i++) {
            clgaze_problem p = select_problem(rules[r]);

            p.min_k = sets[i][0];
            p.max_k_blocks = sets[i][1];
            p.local = i == 3;
            check(&p, NULL);
        }
}

static void narrow_lists(void **state)
{
    (void)state;
    for (size_t r = 0; r < CLG_COUNT(rules); r++) {
        clgaze_problem p = select_problem(rules[r]);

        p.width = 4;
        p.min_k = 6;
        check(&p, NULL);
        p.sink = 2;
        p.local = 1;
        check(&p, strange_rows);
        p.width = 3; /* nothing but what is forced */
        p.last_rows = 2;
        check(&p, NULL);
        p.width = 1;
        p.sink = p.local = p.last_rows = 0;
        check(&p, NULL);
    }
}

/* ---- heads -------------------------------------------------------------------------------- */

static void per_head_values(void **state)
{
    static const float values[5][4] = {
        {1, 5, 2, 40}, {0.1f, 1, 0.5f, 0.01f}, {4, 400, 8, 9}, {0.01f, 0.2f, 0, 0.05f}, {0.9f, 0.1f, 1, 0.5f}};

    (void)state;
    for (size_t r = 0; r < CLG_COUNT(rules); r++) {
        clgaze_problem p = select_problem(rules[r]);

        p.values = values[r];
        check(&p, NULL);
        p.scope = CLGAZE_SCOPE_KV; /* the first two */
        p.sink = 1;
        check(&p, NULL);
    }
}

static void scopes(void **state)
{
    struct shape own[CLG_COUNT(shapes)];

    (void)state;
    for (size_t r = 0; r < CLG_COUNT(rules); r++)
        for (int scope = CLGAZE_SCOPE_KV; scope <= CLGAZE_SCOPE_ONE; scope++) {
            clgaze_problem p = select_problem(rules[r]);

            p.scope = (clgaze_scope)scope;
            check(&p, NULL);
            p.last_rows = 1;
            p.local = 1;
            check(&p, strange_rows);
            for (size_t i = 0; i < CLG_COUNT(shapes); i++) { /* scores that are merged already */
                own[i] = shapes[i];
                own[i].score_heads = clg_ref_list_heads(&p);
            }
            check_op(CLGAZE_SELECT, &p, own, CLG_COUNT(own), strange_rows);
        }
}

static void packed(void **state)
{
    static const struct shape s[] = {
        {.sequences = 5, .q = {9, 0, 1, 40, 8}, .k = {9, 0, 30, 3, 64}},
        {.sequences = 3, .q = {70, 7, 1}, .k = {70, 64, 1}},
        {.sequences = 2, .q = {0, 7}, .k = {8, 8}},
    };

    (void)state;
    for (size_t r = 1; r < CLG_COUNT(rules); r += 3) { /* by length, by mass */
        clgaze_problem p = select_problem(rules[r]);

        p.packed = 1;
        check_op(CLGAZE_SELECT, &p, s, CLG_COUNT(s), NULL);
        p.last_rows = 2;
        p.sink = 1;
        p.local = 1;
        p.scope = CLGAZE_SCOPE_KV;
        check_op(CLGAZE_SELECT, &p, s, CLG_COUNT(s), strange_rows);
    }
}

/* ---- long rows ---------------------------------------------------------------------------- */

static void long_rows(void **state)
{
    static const struct shape s[] = {
        {.batch = 1, .sq = 8, .sk = 4 * 32768},
        {.batch = 1, .sq = 8, .sk = 4 * 5000 + 1},
    };
    static const double values[] = {100, 0.05, 4000, 2e-4, 0.9};

    (void)state;
    for (size_t r = 0; r < CLG_COUNT(rules); r++) {
        clgaze_problem p = select_problem(rules[r]);

        p.q_heads = p.kv_heads = 1;
        p.value = values[r];
        check_op(CLGAZE_SELECT, &p, s, CLG_COUNT(s), NULL);
        p.local = 40;
        check_op(CLGAZE_SELECT, &p, s, CLG_COUNT(s), strange_rows);
    }
}

/* Rows that leave some, one or none of the warps of a team of select_nv without blocks. */
static void middling_rows(void **state)
{
    static const struct shape s[] = {
        {.batch = 2, .sq = 13, .sk = 4 * 300},
        {.batch = 1, .sq = 13, .sk = 4 * 700 - 1},
        {.batch = 1, .sq = 13, .sk = 4 * 1030},
        {.batch = 1, .sq = 13, .sk = 4 * 2048},
    };
    static const double values[] = {100, 0.05, 4000, 2e-4, 0.9};

    (void)state;
    for (size_t r = 0; r < CLG_COUNT(rules); r++) {
        clgaze_problem p = select_problem(rules[r]);

        p.q_heads = 2;
        p.kv_heads = 1;
        p.value = values[r];
        p.sink = (int32_t)r % 2;
        check_op(CLGAZE_SELECT, &p, s, CLG_COUNT(s), NULL);
        check_op(CLGAZE_SELECT, &p, s, CLG_COUNT(s), strange_rows);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule),      cmocka_unit_test(strange_scores),  cmocka_unit_test(bounds_met),
        cmocka_unit_test(forced_blocks),   cmocka_unit_test(bounded_numbers), cmocka_unit_test(narrow_lists),
        cmocka_unit_test(per_head_values), cmocka_unit_test(scopes),          cmocka_unit_test(packed),
        cmocka_unit_test(long_rows),       cmocka_unit_test(middling_rows),
    };

    return TEST_MAIN(tests);
}
