/* SPDX-License-Identifier: Apache-2.0 */
/* attend against ref/attend.c.  Label: unit. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

/* Lengths around the edges of tiles of 16, 32 and 64 and of the problem's blocks; no length recompiles. */
static const struct shape square[] = {
    {.batch = 1, .sq = 1, .sk = 1},   {.batch = 2, .sq = 15, .sk = 15}, {.batch = 1, .sq = 33, .sk = 33},
    {.batch = 1, .sq = 64, .sk = 64}, {.batch = 1, .sq = 97, .sk = 97}, {.batch = 1, .sq = 193, .sk = 193},
};

/* One query of many keys, queries at the end of the keys, and queries that see no key at all. */
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
    const size_t n_square = CLG_COUNT(square), n_oblong = CLG_COUNT(oblong);

    if (p->packed) {
        check_op(CLGAZE_ATTEND, p, several, CLG_COUNT(several), tweak);
        return;
    }
    memcpy(s, square, sizeof square);
    memcpy(s + n_square, oblong, sizeof oblong);
    check_op(CLGAZE_ATTEND, p, s, (int)(n_square + n_oblong), tweak);
}

/* The same kernel serves all block sizes. */
static void block_sizes(void **state)
{
    static const int sizes[][2] = {{64, 64}, {16, 16}, {4, 8}, {5, 12}, {12, 5}, {128, 32}, {32, 256}, {256, 4}};

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(sizes); i++) {
        clgaze_problem p = problem(CLGAZE_F32, i % 2 ? 4 : 3, i % 2 ? 4 : 1, 32, sizes[i][0], sizes[i][1]);

        p.lse = 1;
        check(&p, NULL);
    }
}

static void head_sizes(void **state)
{
    static const int sizes[] = {8, 40, 72, 128, 256};

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(sizes); i++) {
        clgaze_problem p = problem(CLGAZE_F32, 2, 1, sizes[i], 16, 32);

        p.lse = 1;
        check(&p, NULL);
    }
}

static void dtypes(void **state)
{
    (void)state;
    for (int dtype = CLGAZE_F16; dtype <= CLGAZE_BF16; dtype++) {
        clgaze_problem p = problem((clgaze_dtype)dtype, 8, 1, 64, 32, 16);

        p.lse = 1;
        check(&p, NULL);
        p.lse = 0;
        p.causal = 0;
        p.lists = CLGAZE_LISTS_DENSE;
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
            p.lse = 1;
            if (scope == CLGAZE_SCOPE_Q || lists != CLGAZE_LISTS_DENSE)
                check(&p, NULL);
        }
}

static void not_causal(void **state)
{
    clgaze_problem p = problem(CLGAZE_F32, 2, 2, 32, 16, 8);

    (void)state;
    p.causal = 0;
    p.lse = 1;
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
        p.lse = 1;
        p.lists = (clgaze_lists)lists;
        p.scope = lists == CLGAZE_LISTS_MASK ? CLGAZE_SCOPE_KV : CLGAZE_SCOPE_Q;
        check(&p, NULL);
    }
}

static void own_scale(void **state)
{
    clgaze_problem p = problem(CLGAZE_F32, 2, 2, 32, 16, 8);

    (void)state;
    p.lse = 1;
    p.scale = 0.031f;
    check(&p, NULL);
    p.scale = -0.3f;
    check(&p, NULL);
}

/* One key takes nearly all the mass, at any place of the row. */
static void sharp(struct test_case *c)
{
    float *q = c->data[A_Q];

    for (size_t i = 0; i < array_count(c, A_Q); i++)
        q[i] *= 2;
}

static void hard_logits(void **state)
{
    clgaze_problem p = problem(CLGAZE_F32, 2, 2, 32, 16, 8);

    (void)state;
    p.lse = 1;
    check(&p, far_below_zero);
    check(&p, sharp);
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

static void whole_lists(struct test_case *c)
{
    int32_t *blocks = c->data[A_BLOCKS], *counts = c->data[A_COUNTS];

    for (size_t i = 0; i < array_count(c, A_BLOCKS); i++)
        blocks[i] = (int32_t)(i % (size_t)c->width);
    for (size_t i = 0; i < array_count(c, A_COUNTS); i++)
        counts[i] = c->width;
}

static void odd_lists(void **state)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 32, 16, 8);

    (void)state;
    p.lse = 1;
    check(&p, empty_lists);
    check(&p, whole_lists); /* also the blocks that a row may not see */
    check(&p, wild_lists);
    p.causal = 0;
    check(&p, wild_lists);
    p.packed = 1;
    p.causal = 1;
    check(&p, wild_lists);
}

static void wild_indices(struct test_case *c)
{
    static const int32_t wild[] = {-1, INT32_MIN, INT32_MAX, 1000000, 100};
    int32_t *indices = c->data[A_INDICES];

    for (size_t i = 0; i < array_count(c, A_INDICES); i++)
        if (below(&c->rng, 4) == 0)
            indices[i] = wild[below(&c->rng, CLG_COUNT(wild))];
}

static void wild_csr(void **state)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 32, 16, 8);

    (void)state;
    p.lse = 1;
    p.lists = CLGAZE_LISTS_CSR;
    check(&p, wild_indices);
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
    p.lse = 1;
    check_op(CLGAZE_ATTEND, &p, s, CLG_COUNT(s), NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(block_sizes), cmocka_unit_test(head_sizes),  cmocka_unit_test(dtypes),
        cmocka_unit_test(list_forms),  cmocka_unit_test(not_causal),  cmocka_unit_test(packed),
        cmocka_unit_test(own_scale),   cmocka_unit_test(hard_logits), cmocka_unit_test(odd_lists),
        cmocka_unit_test(wild_csr),    cmocka_unit_test(widths),
    };

    return TEST_MAIN(tests);
}
