/* SPDX-License-Identifier: Apache-2.0 */
/* gate against ref/gate.c.  Label: unit. */
#include "harness.h"

static const struct shape square[] = {
    {.batch = 1, .sq = 1, .sk = 1},
    {.batch = 2, .sq = 33, .sk = 33},
    {.batch = 1, .sq = 130, .sk = 130},
};

/* Queries at the end of the keys, and more queries than keys: positions below zero. */
static const struct shape oblong[] = {
    {.batch = 1, .sq = 17, .sk = 101},
    {.batch = 3, .sq = 50, .sk = 9},
};

static const struct shape several[] = {
    {.sequences = 4, .q = {9, 0, 1, 40}, .k = {9, 0, 30, 3}},
    {.sequences = 2, .q = {16, 7}, .k = {5, 64}},
};

static void check(const clgaze_problem *p, tweak_fn tweak)
{
    struct shape s[MAX_SHAPES];
    int n = 0;

    if (p->packed)
        while (n < (int)CLG_COUNT(several)) {
            s[n] = several[n];
            n++;
        }
    else
        for (; n < (int)(CLG_COUNT(square) + CLG_COUNT(oblong)); n++)
            s[n] = n < (int)CLG_COUNT(square) ? square[n] : oblong[n - (int)CLG_COUNT(square)];
    check_op(CLGAZE_GATE, p, s, n, tweak);
}

static void single_form(void **state)
{
    static const uint32_t pools[] = {CLGAZE_AVG, CLGAZE_MAX | CLGAZE_MIN | CLGAZE_AVG, CLGAZE_MIN | CLGAZE_AVG};

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(pools); i++) {
        clgaze_problem p = problem(CLGAZE_F32, i == 2 ? 3 : 8, i == 1 ? 2 : 1, 32, 8, i == 1 ? 8 : 5);

        p.k_pool = pools[i];
        p.rope_pairs = 16;
        check(&p, NULL);
    }
}

static void no_rope(void **state)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 32, 8, 8);

    (void)state;
    check(&p, NULL);
    p.gate_double = 1;
    p.gate_dim = 24;
    check(&p, NULL);
}

static void double_form(void **state)
{
    clgaze_problem p = problem(CLGAZE_F32, 6, 2, 32, 8, 12);

    (void)state;
    p.gate_double = 1;
    p.q_pool = CLGAZE_MAX | CLGAZE_AVG;
    p.k_pool = CLGAZE_MAX | CLGAZE_MIN;
    p.gate_dim = 16;
    p.rope_pairs = 8;
    p.rope_scale = 1.1f;
    check(&p, NULL);
    p.rope_pairs = 3; /* some channels stay */
    p.causal = 0;
    check(&p, NULL);
    p.gate_dim = 64; /* wider than D */
    p.rope_pairs = 32;
    p.rope_interleaved = 1;
    check(&p, NULL);
    p.rope_pairs = 5;
    check(&p, NULL);
}

static void sizes_at_the_limits(void **state)
{
    clgaze_problem p = problem(CLGAZE_F32, 1, 1, 8, 4, 256);

    (void)state;
    p.rope_pairs = 4;
    check(&p, NULL);
    p = problem(CLGAZE_F32, 2, 1, 256, 64, 64);
    p.rope_pairs = 128;
    check(&p, NULL);
    p = problem(CLGAZE_F32, 2, 1, 8, 64, 64);
    p.gate_double = 1;
    p.gate_dim = 256;
    p.rope_pairs = 1;
    check(&p, NULL);
}

static void weight_dtypes(void **state)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 32, 8, 8);

    (void)state;
    p.rope_pairs = 16;
    p.weight_dtype = CLGAZE_F16;
    check(&p, NULL);
    p.dtype = CLGAZE_F16;
    p.weight_dtype = CLGAZE_BF16;
    p.gate_double = 1;
    check(&p, NULL);
}

static void packed(void **state)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 32, 8, 8);

    (void)state;
    p.packed = 1;
    p.rope_pairs = 16;
    check(&p, NULL);
    p.causal = 0;
    p.gate_double = 1;
    p.block_k = 5;
    check(&p, NULL);
}

/* 131072 radians: an angle in one float would be 8e-3 off. */
static void far_positions(void **state)
{
    static const struct shape s[] = {{.batch = 1, .sq = 300, .sk = 131072}};
    clgaze_problem p = problem(CLGAZE_F32, 1, 1, 8, 256, 256);

    (void)state;
    p.rope_pairs = 4;
    check_op(CLGAZE_GATE, &p, s, 1, NULL);
}

static void no_lengths(struct test_case *c)
{
    c->absent = BIT(A_Q_GATE) | BIT(A_K_GATE);
}

/* Without q_gate and k_gate the lengths are whole blocks. */
static void whole_blocks(void **state)
{
    static const struct shape s[] = {{.batch = 2, .sq = 16, .sk = 40}, {.batch = 1, .sq = 24, .sk = 8}};
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 32, 8, 8);

    (void)state;
    p.rope_pairs = 16;
    check_op(CLGAZE_GATE, &p, s, CLG_COUNT(s), no_lengths);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_form),         cmocka_unit_test(no_rope),       cmocka_unit_test(double_form),
        cmocka_unit_test(sizes_at_the_limits), cmocka_unit_test(weight_dtypes), cmocka_unit_test(packed),
        cmocka_unit_test(far_positions),       cmocka_unit_test(whole_blocks),
    };

    return TEST_MAIN(tests);
}
