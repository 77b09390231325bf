/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_matrix_units.c: attention of 16-bit numbers, its truth and its gradients against ref/, on the
 * problems that matrix units take: heads of 64 and more, tiles of 64 rows and of 64 keys, and their edges.
 * Any other device computes them too.  Label: unit.
 */
#include <stdlib.h>

#include "harness.h"

static const struct shape square[] = {
    {.batch = 1, .sq = 1, .sk = 2}, /* the gradient of a softmax of one key is 0, and its rounding is not */
    {.batch = 2, .sq = 63, .sk = 63},
    {.batch = 1, .sq = 64, .sk = 64},
    {.batch = 1, .sq = 193, .sk = 193},
};

/* One query of many keys, queries at the end of the keys, queries that see no key, more tiles than places. */
static const struct shape oblong[] = {
    {.batch = 2, .sq = 1, .sk = 130},
    {.batch = 1, .sq = 70, .sk = 17},
    {.batch = 1, .sq = 65, .sk = 640},
};

static const struct shape several[] = {
    {.sequences = 5, .q = {9, 0, 1, 130, 64}, .k = {9, 0, 30, 65, 64}},
    {.sequences = 3, .q = {0, 129, 5}, .k = {4, 129, 0}},
};

static void check(clgaze_op op, const clgaze_problem *p)
{
    if (p->packed) {
        check_op(op, p, several, CLG_COUNT(several), NULL);
        return;
    }
    check_op(op, p, square, CLG_COUNT(square), NULL);
    check_op(op, p, oblong, CLG_COUNT(oblong), NULL);
}

/* Lists of each head, of heads that share, and none: different strategies take them. */
static void forms(void **state)
{
    static const clgaze_dtype dtypes[] = {CLGAZE_F16, CLGAZE_BF16};

    (void)state;
    for (int form = 0; form < 3; form++) {
        clgaze_problem p = problem(dtypes[form % 2], 4, 2, 128, 64, 64);

        p.lse = 1;
        p.scope = form == 1 ? CLGAZE_SCOPE_KV : CLGAZE_SCOPE_Q;
        p.lists = form == 2 ? CLGAZE_LISTS_DENSE : CLGAZE_LISTS_BLOCKS;
        check(CLGAZE_ATTEND, &p);
    }
}

static void blocks(void **state)
{
    static const int sizes[][2] = {{128, 128}, {64, 16}, {128, 32}, {16, 192}};

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(sizes); i++) {
        clgaze_problem p = problem(CLGAZE_F16, 4, 2, 96, sizes[i][0], sizes[i][1]);

        p.scope = i % 2 ? CLGAZE_SCOPE_ONE : CLGAZE_SCOPE_Q;
        p.lse = 1;
        check(CLGAZE_ATTEND, &p);
    }
}

static void head_sizes(void **state)
{
    static const int sizes[] = {64, 80, 256};

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(sizes); i++) {
        const clgaze_problem p = problem(CLGAZE_BF16, 2, 1, sizes[i], 64, 64);

        check(CLGAZE_ATTEND, &p);
    }
}

static void packed(void **state)
{
    (void)state;
    for (int form = 0; form < 2; form++) {
        clgaze_problem p = problem(CLGAZE_F16, 4, 2, 128, 64, 64);

        p.packed = 1;
        p.lse = 1;
        p.scope = CLGAZE_SCOPE_KV;
        p.lists = form ? CLGAZE_LISTS_DENSE : CLGAZE_LISTS_BLOCKS;
        check(CLGAZE_ATTEND, &p);
    }
}

static void not_causal(void **state)
{
    clgaze_problem p = problem(CLGAZE_F16, 4, 1, 128, 64, 64);

    (void)state;
    p.causal = 0;
    p.scale = -0.2f;
    p.scope = CLGAZE_SCOPE_ONE;
    check(CLGAZE_ATTEND, &p);
    p.lists = CLGAZE_LISTS_DENSE;
    check(CLGAZE_ATTEND, &p);
}

static void truths(void **state)
{
    static const struct {
        clgaze_dtype dtype;
        int dim, block_k, packed, causal;
    } maps[] = {{CLGAZE_F16, 128, 64, 0, 1},
                {CLGAZE_BF16, 64, 128, 0, 1},
                {CLGAZE_BF16, 96, 192, 0, 0},
                {CLGAZE_F16, 128, 128, 1, 1}};

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(maps); i++) {
        clgaze_problem p = problem(maps[i].dtype, 2, 1, maps[i].dim, 64, maps[i].block_k);

        p.lse = 1;
        p.packed = maps[i].packed;
        p.causal = maps[i].causal;
        check(CLGAZE_TRUTH, &p);
    }
}

static void gradients(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        clgaze_problem p = problem(i ? CLGAZE_BF16 : CLGAZE_F16, 4, 2, i ? 64 : 128, 64, 64);

        p.lse = 1;
        p.scope = i ? CLGAZE_SCOPE_KV : CLGAZE_SCOPE_Q;
        check(CLGAZE_ATTEND_BWD, &p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),     cmocka_unit_test(blocks),     cmocka_unit_test(head_sizes),
        cmocka_unit_test(packed),    cmocka_unit_test(not_causal), cmocka_unit_test(truths),
        cmocka_unit_test(gradients),
    };

    if (test_context()->device.nv_arch == 0)
        setenv("CLGAZE_TEST_CONFIGS", "0", 0); /* the tunables of others have tests of their own */
    return TEST_MAIN(tests);
}
