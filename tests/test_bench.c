/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_bench.c: what bench_sparse is made of: numbers, lists, statistics.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

/* The parts under test, compiled in, so that the test needs no bench library. */
#include "../bench/bench.h"
#include "../bench/data.c"
#include "../bench/stats.c"

/* ---- statistics ---- */

static void median_of_odd_and_even(void **state)
{
    double one[] = {3}, odd[] = {9, 1, 5}, even[] = {8, 2, 4, 6};
    struct stats s = stats_of(one, 1);

    (void)state;
    assert_true(s.median == 3 && s.min == 3 && s.max == 3);
    s = stats_of(odd, 3);
    assert_true(s.median == 5 && s.min == 1 && s.max == 9);
    s = stats_of(even, 4);
    assert_true(s.median == 5 && s.min == 2 && s.max == 8);
    assert_true(s.q1 == 3.5 && s.q3 == 6.5); /* between neighbours, in proportion */
}

static void quartiles_hold_the_middle_half(void **state)
{
    double values[101], one[] = {7};
    struct stats s;

    (void)state;
    for (int i = 0; i < 101; i++)
        values[i] = (i * 37) % 101; /* 0 .. 100, mixed */
    s = stats_of(values, 101);
    assert_true(s.median == 50 && s.q1 == 25 && s.q3 == 75 && s.min == 0 && s.max == 100);
    s = stats_of(one, 1);
    assert_true(s.q1 == 7 && s.q3 == 7);
}

static void digits_are_significant(void **state)
{
    (void)state;
    assert_true(significant(0, 6) == 0);
    assert_true(significant(1234567.4, 6) == 1234570);
    assert_true(significant(0.00012345678, 3) == 0.000123);
    assert_true(significant(-2.5, 6) == -2.5);
}

/* ---- random data ---- */

static void numbers_look_normal(void **state)
{
    enum { N = 1 << 16 };
    double sum = 0, square = 0, same = 0;

    (void)state;
    for (uint64_t i = 0; i < N; i++) {
        double x = (double)random_number(1, i), y = (double)random_number(2, i);

        assert_true(fabs(x) <= 3.5);
        sum += x;
        square += x * x;
        same += x * y;
    }
    assert_true(fabs(sum / N) < .02);
    assert_true(fabs(square / N - 1) < .03);
    assert_true(fabs(same / N) < .02); /* streams are independent */
    assert_true(random_number(7, 123456789) == random_number(7, 123456789));
}

static void numbers_round_as_formats_say(void **state)
{
    static const float some[] = {0, 1, -1, .1f, 65504, 65519, 65520, 1e9f, 6e-8f, 2.9e-8f, 3e-8f, 6.1e-5f, -6.09e-5f};
    const clgaze_dtype types[] = {CLGAZE_F32, CLGAZE_F16, CLGAZE_BF16};

    (void)state;
    for (size_t t = 0; t < CLG_COUNT(types); t++)
        for (uint64_t i = 0; i < 20000; i++) {
            float x = i < CLG_COUNT(some) ? some[i] : ldexpf(random_number(3, i), (int)(i % 40) - 28), stored;
            unsigned char at[4];
            uint32_t place[1];

            put_number(place, 0, types[t], x);
            stored = get_number(place, 0, types[t]);
            put_float(at, x, types[t]); /* the tests' own rounding */
            assert_true(stored == get_float(at, types[t]));
            assert_true(stored == round_number(x, types[t]));
        }
}

/* ---- lists ---- */

static void check_row(const struct lists *l, int h, int i, double density)
{
    const int32_t *blocks = l->blocks + ((size_t)h * (size_t)l->rows + (size_t)i) * (size_t)l->width;
    int n = l->counts[h * l->rows + i], want = (int)floor(density * (i + 1));

    assert_int_equal(n, want < 1 ? 1 : want);
    for (int k = 0; k < n; k++)
        assert_true(blocks[k] > (k ? blocks[k - 1] : -1));
    assert_int_equal(blocks[n - 1], i); /* the diagonal is the last that a row sees */
    for (int k = n; k < l->width; k++)
        assert_int_equal(blocks[k], -1);
}

static void lists_are_as_promised(void **state)
{
    static const double densities[] = {1e-6, .1, .25, .5, .999, 1};

    (void)state;
    for (size_t d = 0; d < CLG_COUNT(densities); d++)
        for (int rows = 1; rows <= 65; rows += 8) {
            struct lists l;

            assert_int_equal(lists_make(&l, 3, rows, densities[d], 5), 0);
            assert_int_equal(l.heads, 3);
            assert_int_equal(l.rows, rows);
            for (int at = 0; at < 3 * rows; at++)
                check_row(&l, at / rows, at % rows, densities[d]);
            assert_true(lists_visible(&l) == 3.0 * rows * (rows + 1) / 2);
            assert_true(lists_kept(&l) <= lists_visible(&l) && lists_kept(&l) >= 3.0 * rows);
            lists_free(&l);
            assert_null(l.blocks);
        }
}

static void lists_are_random_and_even(void **state)
{
    enum { ROWS = 128, HEADS = 64 };
    double near_half = 0, far_half = 0;
    struct lists l, again;

    (void)state;
    assert_int_equal(lists_make(&l, HEADS, ROWS, .25, 5), 0);
    assert_int_equal(lists_make(&again, HEADS, ROWS, .25, 5), 0);
    size_t bytes = sizeof(int32_t) * HEADS * ROWS * (size_t)l.width, head = bytes / HEADS;
    assert_memory_equal(l.blocks, again.blocks, bytes);
    assert_memory_not_equal(l.blocks, l.blocks + head / sizeof(int32_t), head);
    for (int h = 0; h < HEADS; h++) {
        const int32_t *last = l.blocks + ((size_t)h * ROWS + ROWS - 1) * (size_t)l.width;

        for (int k = 0; k < l.counts[h * ROWS + ROWS - 1] - 1; k++)
            *(last[k] < (ROWS - 1) / 2 ? &far_half : &near_half) += 1;
    }
    assert_true(fabs(far_half / (far_half + near_half) - .5) < .05);
    assert_true(fabs(lists_kept(&l) / lists_visible(&l) - .25) < .02);
    lists_free(&l);
    lists_free(&again);
}

static void check_pattern(const struct lists *l)
{
    for (int at = 0; at < l->heads * l->rows; at++) {
        const int32_t *row = l->blocks + (size_t)at * (size_t)l->width;
        int n = l->counts[at];

        assert_int_equal(row[n - 1], at % l->rows); /* the diagonal */
        for (int e = 0; e < n; e++)
            assert_true(row[e] >= 0 && (e == 0 || row[e] > row[e - 1]));
    }
}

static void patterns_keep_counts_order_and_diagonal(void **state)
{
    static const double densities[] = {.01, .1, .3, .5, 1};

    (void)state;
    for (size_t d = 0; d < CLG_COUNT(densities); d++) {
        struct lists l;

        assert_int_equal(lists_make(&l, 2, 40, densities[d], 5), 0);
        double kept = lists_kept(&l);

        lists_local(&l);
        check_pattern(&l);
        if (l.counts[39] > 1)
            assert_int_equal(l.blocks[39 * l.width], 0); /* the sink */
        lists_strided(&l);
        check_pattern(&l);
        assert_true(lists_kept(&l) == kept);
        lists_free(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(median_of_odd_and_even),       cmocka_unit_test(quartiles_hold_the_middle_half),
        cmocka_unit_test(digits_are_significant),       cmocka_unit_test(numbers_look_normal),
        cmocka_unit_test(numbers_round_as_formats_say), cmocka_unit_test(lists_are_as_promised),
        cmocka_unit_test(lists_are_random_and_even),    cmocka_unit_test(patterns_keep_counts_order_and_diagonal),
    };

    return TEST_MAIN(tests);
}
