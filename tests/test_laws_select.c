/* SPDX-License-Identifier: Apache-2.0 */
/* Laws of select: what must hold whatever the scores are.  Label: unit. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

static struct shape rows = {.batch = 2, .sq = 33, .sk = 77}; /* 9 rows of 20 blocks a head */

static clgaze_problem select_problem(clgaze_rule rule, double value)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 64, 4, 4);

    p.rule = rule;
    p.value = value;
    return p;
}

static void check(clgaze_problem p, void (*law)(const clgaze_problem *p))
{
    fit_maxima(&p, &rows, 1);
    every_kernel(CLGAZE_SELECT, &p, law);
}

/* Head h becomes head h + 1, the last the first. */
static void rotate_heads(const struct test_case *c, enum array id, void *data)
{
    const size_t heads = (size_t)c->p.q_heads, head = array_bytes(c, id) / (size_t)c->n.batch / heads;
    char *x = data, *last = malloc(head);

    assert_non_null(last);
    for (int b = 0; b < c->n.batch; b++, x += heads * head) {
        memcpy(last, x + (heads - 1) * head, head);
        memmove(x + head, x, (heads - 1) * head);
        memcpy(x, last, head);
    }
    free(last);
}

static void permuted_heads(const clgaze_problem *p)
{
    static const enum array lists[] = {A_COUNTS, A_BLOCKS};
    clgaze_plan *plan = plan_of(CLGAZE_SELECT, p);
    struct test_case c;
    void *want[2];

    case_make(&c, CLGAZE_SELECT, p, &rows, NULL, 14);
    run_or_fail(&c, CLGAZE_SELECT, plan);
    for (int i = 0; i < 2; i++) {
        want[i] = array_copy(&c, lists[i]);
        rotate_heads(&c, lists[i], want[i]);
    }
    assert_memory_not_equal(want[1], c.data[A_BLOCKS], array_bytes(&c, A_BLOCKS)); /* heads differ */
    rotate_heads(&c, A_SCORES, c.data[A_SCORES]);
    run_or_fail(&c, CLGAZE_SELECT, plan);
    for (int i = 0; i < 2; i++) {
        assert_memory_equal(c.data[lists[i]], want[i], array_bytes(&c, lists[i]));
        free(want[i]);
    }
    case_free(&c);
    clgaze_plan_free(plan);
}

static void heads_are_alike(void **state)
{
    (void)state;
    check(select_problem(CLGAZE_TOP_K, 3), permuted_heads);
    check(select_problem(CLGAZE_TOP_P, 0.7), permuted_heads);
}

/* Is every block that was listed listed still?  Answers how many are listed now. */
static int check_nested(const struct test_case *c, const int32_t *counts, const int32_t *blocks)
{
    const int32_t *n = c->data[A_COUNTS], *now = c->data[A_BLOCKS];
    int total = 0;

    for (size_t row = 0; row < array_count(c, A_COUNTS); row++) {
        const size_t at = row * (size_t)c->width;
        int found = 0;

        assert_in_range(n[row], 0, c->width);
        for (int i = 0; i < n[row]; i++) /* both ascend */
            found += found < counts[row] && now[at + (size_t)i] == blocks[at + (size_t)found];
        if (found != counts[row])
            fail_msg("%s: row %zu listed %d blocks, %d of them when the value grew", c->p.kernel, row,
                     (int)counts[row], found);
        total += n[row];
    }
    return total;
}

static void nested(const clgaze_problem *p)
{
    static const double values[][6] = {{1, 2, 3, 7, 12, 20}, {0.05, 0.3, 0.5, 0.7, 0.9, 1}};
    struct test_case c;
    int32_t *counts, *blocks;
    int before = 0;

    case_make(&c, CLGAZE_SELECT, p, &rows, NULL, 15);
    counts = calloc(array_count(&c, A_COUNTS), sizeof *counts);
    blocks = calloc(array_count(&c, A_BLOCKS), sizeof *blocks);
    assert_true(counts && blocks);
    for (int i = 0; i < 6; i++) {
        clgaze_problem larger = *p;
        clgaze_plan *plan;
        int total;

        larger.value = values[p->rule == CLGAZE_TOP_P][i];
        plan = plan_of(CLGAZE_SELECT, &larger);
        run_or_fail(&c, CLGAZE_SELECT, plan);
        total = check_nested(&c, counts, blocks);
        assert_true(total > before);
        before = total;
        memcpy(counts, c.data[A_COUNTS], array_bytes(&c, A_COUNTS));
        memcpy(blocks, c.data[A_BLOCKS], array_bytes(&c, A_BLOCKS));
        clgaze_plan_free(plan);
    }
    free(counts);
    free(blocks);
    case_free(&c);
}

static void lists_grow_with_the_value(void **state)
{
    (void)state;
    check(select_problem(CLGAZE_TOP_K, 20), nested);
    check(select_problem(CLGAZE_TOP_P, 1), nested);
}

/* Multiples of 1/1024: adding a quarter of a small number to them is exact. */
static void coarse(struct test_case *c)
{
    float *x = c->data[A_SCORES];

    for (size_t i = 0; i < array_count(c, A_SCORES); i++)
        x[i] = rintf(x[i] * 1024) / 1024;
}

static void shifted(const clgaze_problem *p)
{
    clgaze_plan *plan = plan_of(CLGAZE_SELECT, p);
    struct test_case c;
    size_t cols;
    void *counts, *blocks;
    float *x, shift = 0;

    case_make(&c, CLGAZE_SELECT, p, &rows, coarse, 16);
    run_or_fail(&c, CLGAZE_SELECT, plan);
    counts = array_copy(&c, A_COUNTS);
    blocks = array_copy(&c, A_BLOCKS);
    cols = array_count(&c, A_SCORES) / array_count(&c, A_COUNTS);
    x = c.data[A_SCORES];
    for (size_t i = 0; i < array_count(&c, A_SCORES); i++) {
        if (i % cols == 0)
            shift = ((float)below(&c.rng, 801) - 400) / 4;
        x[i] += shift;
    }
    run_or_fail(&c, CLGAZE_SELECT, plan);
    assert_memory_equal(c.data[A_COUNTS], counts, array_bytes(&c, A_COUNTS));
    assert_memory_equal(c.data[A_BLOCKS], blocks, array_bytes(&c, A_BLOCKS));
    free(counts);
    free(blocks);
    case_free(&c);
    clgaze_plan_free(plan);
}

static void a_constant_changes_no_list(void **state)
{
    (void)state;
    check(select_problem(CLGAZE_TOP_K, 5), shifted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_are_alike),
        cmocka_unit_test(lists_grow_with_the_value),
        cmocka_unit_test(a_constant_changes_no_list),
    };

    if (tiny()) {
        rows.batch = 1;
        rows.sq = 9;
    }
    return TEST_MAIN(tests);
}
