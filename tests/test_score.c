/* SPDX-License-Identifier: Apache-2.0 */
/* score against ref/score.c.  Label: unit. */
#include "harness.h"

/* Tokens around the edges of blocks of b; more queries than keys: rows that see nothing. */
static int edges(int b, struct shape *s)
{
    const struct shape all[] = {
        {.batch = 1, .sq = 1, .sk = 1},
        {.batch = 2, .sq = b, .sk = b + 1},
        {.batch = 1, .sq = 3 * b + 1, .sk = 3 * b + 1},
        {.batch = 1, .sq = 2 * b - 1, .sk = 9 * b},
        {.batch = 3, .sq = 5 * b - 1, .sk = 2 * b},
        {.batch = 1, .sq = 17 * b + 1, .sk = 16 * b - 1},
    };

    for (size_t i = 0; i < CLG_COUNT(all); i++)
        s[i] = all[i];
    return CLG_COUNT(all);
}

static void check(clgaze_problem p, int causal, int gate_double)
{
    struct shape s[MAX_SHAPES];
    int n = edges(p.block_q, s);

    p.causal = causal;
    p.gate_double = gate_double;
    check_op(CLGAZE_SCORE, &p, s, n, NULL);
}

static void causal(void **state)
{
    (void)state;
    check(problem(CLGAZE_F32, 2, 2, 32, 8, 8), 1, 0);
    check(problem(CLGAZE_F16, 8, 1, 32, 8, 5), 1, 0);
    check(problem(CLGAZE_F32, 6, 2, 32, 12, 8), 1, 1);
    check(problem(CLGAZE_F32, 3, 1, 32, 5, 64), 1, 1);
}

static void not_causal(void **state)
{
    (void)state;
    check(problem(CLGAZE_F32, 2, 1, 32, 8, 8), 0, 0);
    check(problem(CLGAZE_F32, 8, 1, 32, 8, 12), 0, 1);
}

static void gate_sizes(void **state)
{
    clgaze_problem p = problem(CLGAZE_F32, 3, 1, 8, 8, 8);

    (void)state;
    check(p, 1, 0);
    p.gate_dim = 40;
    check(p, 1, 1);
    p.gate_dim = 256;
    check(p, 1, 1);
}

static void packed(void **state)
{
    static const struct shape s[] = {
        {.sequences = 5, .q = {9, 0, 1, 40, 8}, .k = {9, 0, 30, 3, 64}},
        {.sequences = 2, .q = {16, 7}, .k = {5, 64}},
        {.sequences = 2, .q = {0, 7}, .k = {8, 8}},
    };
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 32, 8, 8);

    (void)state;
    p.packed = 1;
    check_op(CLGAZE_SCORE, &p, s, CLG_COUNT(s), NULL);
    p.causal = 0;
    p.gate_double = 1;
    p.block_k = 5;
    check_op(CLGAZE_SCORE, &p, s, CLG_COUNT(s), NULL);
}

static void no_lengths(struct test_case *c)
{
    c->absent = BIT(A_Q_GATE) | BIT(A_K_GATE);
}

static void whole_blocks(void **state)
{
    static const struct shape s[] = {{.batch = 2, .sq = 16, .sk = 40}, {.batch = 1, .sq = 24, .sk = 8}};
    clgaze_problem p = problem(CLGAZE_F32, 2, 2, 32, 8, 8);

    (void)state;
    check_op(CLGAZE_SCORE, &p, s, CLG_COUNT(s), no_lengths);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(causal), cmocka_unit_test(not_causal),   cmocka_unit_test(gate_sizes),
        cmocka_unit_test(packed), cmocka_unit_test(whole_blocks),
    };

    return TEST_MAIN(tests);
}
