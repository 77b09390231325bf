/* SPDX-License-Identifier: Apache-2.0 */
/* pool against ref/pool.c.  Label: unit. */
#include <stdlib.h>

#include "harness.h"

/* One token, one token beside each edge of blocks of `b`, several. */
static int edges(int b, int heads_apart, struct shape *s)
{
    const int tokens[] = {1, b - 1, b, b + 1, 3 * b - 1, 4 * b + 1};
    int n = 0;

    for (; n < (int)CLG_COUNT(tokens); n++)
        s[n] = (struct shape){.batch = 1 + n % 2, .sq = tokens[n], .sk = tokens[(n + heads_apart) % 6]};
    return n;
}

static void every_pool(void **state)
{
    struct shape s[MAX_SHAPES];
    int n = edges(8, 1, s);

    (void)state;
    for (uint32_t pool = 1; pool <= 7; pool++) {
        clgaze_problem p = problem(CLGAZE_F32, 2, 2, 16, 8, 8);

        p.k_pool = pool;
        p.q_pool = 1 + (pool + 2) % 7;
        check_op(CLGAZE_POOL, &p, s, n, NULL);
    }
}

static void every_dtype(void **state)
{
    static const clgaze_dtype dtypes[] = {CLGAZE_F32, CLGAZE_F16, CLGAZE_BF16};
    struct shape s[MAX_SHAPES];
    int n = edges(64, 2, s);

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(dtypes); i++) {
        clgaze_problem p = problem(dtypes[i], 8, 1, 64, 64, 64);

        check_op(CLGAZE_POOL, &p, s, n, NULL);
        p = problem(dtypes[i], 3, 1, 8, 5, 12);
        n = edges(5, 3, s);
        check_op(CLGAZE_POOL, &p, s, n, NULL);
    }
}

static void extremes(void **state)
{
    struct shape s[MAX_SHAPES];
    clgaze_problem p = problem(CLGAZE_F32, 3, 1, 256, 4, 256);

    (void)state;
    p.q_pool = CLGAZE_MAX | CLGAZE_AVG;
    check_op(CLGAZE_POOL, &p, s, edges(256, 4, s), NULL);
    p = problem(CLGAZE_F16, 1, 1, 72, 255, 7);
    check_op(CLGAZE_POOL, &p, s, edges(7, 5, s), NULL);
}

/* An empty sequence, one of a single token, and query and key lengths that differ. */
static void packed(void **state)
{
    static const struct shape s[] = {
        {.sequences = 4, .q = {9, 0, 1, 17}, .k = {9, 0, 30, 3}},
        {.sequences = 1, .q = {16}, .k = {5}},
        {.sequences = 6, .q = {1, 2, 3, 8, 9, 0}, .k = {8, 7, 1, 0, 24, 2}},
    };
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 24, 8, 8);

    (void)state;
    p.packed = 1;
    check_op(CLGAZE_POOL, &p, s, CLG_COUNT(s), NULL);
    p.dtype = CLGAZE_BF16;
    p.block_k = 5;
    check_op(CLGAZE_POOL, &p, s, CLG_COUNT(s), NULL);
}

static void all_negative(struct test_case *c)
{
    float *x[2] = {c->data[A_Q_GATE], c->data[A_K_GATE]};
    const enum array id[2] = {A_Q_GATE, A_K_GATE};

    for (int side = 0; side < 2; side++)
        for (size_t i = 0; i < array_count(c, id[side]); i++)
            x[side][i] = -1 - rounded(x[side][i] * x[side][i], CLGAZE_BF16);
}

static void all_positive(struct test_case *c)
{
    float *x[2] = {c->data[A_Q_GATE], c->data[A_K_GATE]};
    const enum array id[2] = {A_Q_GATE, A_K_GATE};

    all_negative(c);
    for (int side = 0; side < 2; side++)
        for (size_t i = 0; i < array_count(c, id[side]); i++)
            x[side][i] = -x[side][i];
}

/* A maximum that starts from 0, or a missing token that counts as 0, shows here. */
static void one_sign(void **state)
{
    struct shape s[MAX_SHAPES];
    clgaze_problem p = problem(CLGAZE_F32, 2, 1, 16, 8, 8);
    int n = edges(8, 1, s);

    (void)state;
    p.q_pool = p.k_pool = CLGAZE_MAX | CLGAZE_MIN | CLGAZE_AVG;
    check_op(CLGAZE_POOL, &p, s, n, all_negative);
    check_op(CLGAZE_POOL, &p, s, n, all_positive);
}

static void drop_queries(struct test_case *c)
{
    free(c->data[A_Q_GATE]);
    c->data[A_Q_GATE] = NULL;
    c->absent = BIT(A_Q_GATE) | BIT(A_Q_POOLED);
}

static void drop_keys(struct test_case *c)
{
    free(c->data[A_K_GATE]);
    c->data[A_K_GATE] = NULL;
    c->absent = BIT(A_K_GATE) | BIT(A_K_POOLED);
}

static void one_side(void **state)
{
    struct shape s[MAX_SHAPES];
    clgaze_problem p = problem(CLGAZE_F32, 2, 1, 16, 8, 8);
    int n = edges(8, 1, s);

    (void)state;
    check_op(CLGAZE_POOL, &p, s, n, drop_queries);
    check_op(CLGAZE_POOL, &p, s, n, drop_keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pool), cmocka_unit_test(every_dtype), cmocka_unit_test(extremes),
        cmocka_unit_test(packed),     cmocka_unit_test(one_sign),    cmocka_unit_test(one_side),
    };

    return TEST_MAIN(tests);
}
