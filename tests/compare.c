/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compare.c: what the device made against what ref/ makes.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

double out_tolerance(clgaze_dtype dtype)
{
    return dtype == CLGAZE_F32 ? 1e-5 : dtype == CLGAZE_F16 ? 1e-3 : 8e-3;
}

static bool alike(float a, float b)
{
    return isnan(b) ? isnan(a) : a == b;
}

bool near(struct test_case *c, const char *name, const float *got, const float *want, size_t n, double tolerance)
{
    double diff = 0, norm = 0, largest = 0, worst = 0;
    size_t at = 0;

    tolerance *= c->slack > 0 ? c->slack : 1;
    for (size_t i = 0; i < n; i++) {
        double d = (double)got[i] - (double)want[i], w = fabs((double)want[i]);

        if (!isfinite(want[i]) || !isfinite(got[i])) {
            if (alike(got[i], want[i]))
                continue;
            snprintf(c->why, sizeof c->why, "%s[%zu] is %g, not %g", name, i, (double)got[i], (double)want[i]);
            return false;
        }
        if (fabs(d) > worst) {
            worst = fabs(d);
            at = i;
        }
        diff += d * d;
        norm += w * w;
        largest = w > largest ? w : largest;
    }
    if (norm > 0)
        c->error = fmax(c->error, fmax(sqrt(diff / norm) / tolerance, worst / (50 * tolerance * largest)));
    if (sqrt(diff) <= tolerance * sqrt(norm) && worst <= 50 * tolerance * largest)
        return true;
    snprintf(c->why, sizeof c->why, "%s: relative error %.2e, allowed %.0e; worst [%zu] is %.9g, not %.9g", name,
             norm > 0 ? sqrt(diff / norm) : sqrt(diff), tolerance, at, n ? (double)got[at] : 0,
             n ? (double)want[at] : 0);
    return false;
}

void assert_near(struct test_case *c, enum array id, const float *want)
{
    if (!near(c, array_names[id], c->data[id], want, array_count(c, id), 1e-5))
        fail_msg("%s: %s", c->p.kernel ? c->p.kernel : "the kernel chosen", c->why);
}

/* ---- lists -------------------------------------------------------------------------- */

struct list {
    const int32_t *block;
    int n;
};

static struct list row_of(const struct test_case *c, const int32_t *counts, const int32_t *blocks, size_t row)
{
    return (struct list){blocks + row * (size_t)c->width, counts[row]};
}

static bool holds(struct list a, int block)
{
    for (int i = 0; i < a.n; i++)
        if (a.block[i] == block)
            return true;
    return false;
}

static bool inside(struct list a, struct list b)
{
    for (int i = 0; i < a.n; i++)
        if (!holds(b, a.block[i]))
            return false;
    return true;
}

/* Ascending, then -1, nothing else. */
static bool well_formed(const struct test_case *c, struct list a, int cols)
{
    if (a.n < 0 || a.n > c->width)
        return false;
    for (int i = 0; i < c->width; i++) {
        int32_t block = a.block[i];

        if (i >= a.n ? block != -1 : block < 0 || block >= cols || (i > 0 && block <= a.block[i - 1]))
            return false;
    }
    return true;
}

/* e^(x - top); NaN weighs nothing, +inf beside numbers everything. */
static double weight(float x, double top)
{
    if (isnan(x) || (double)x == -INFINITY)
        return 0;
    return top == INFINITY ? (double)x == INFINITY : exp((double)x - top);
}

/* The greatest softmax of block j over the heads that share row `row`. */
static double shared_p(const struct test_case *c, const float *scores, size_t row, int j)
{
    struct clg_ref t = as_ref(c, c->data);
    size_t rows = (size_t)clg_ref_rows(&c->p, &t), cols = (size_t)clg_ref_cols(&c->p, &t);
    size_t share = (size_t)c->score_heads / (size_t)clg_ref_list_heads(&c->p);
    double best = 0;

    for (size_t e = 0; e < share; e++) {
        const float *x = scores + ((row / rows * share + e) * rows + row % rows) * cols;
        double sum = 0, top = -INFINITY;

        for (size_t i = 0; i < cols; i++)
            top = fmax(top, (double)x[i]);
        for (size_t i = 0; i < cols; i++)
            sum += weight(x[i], top);
        best = fmax(best, sum > 0 ? weight(x[j], top) / sum : 0);
    }
    return best;
}

/* Do the P of two blocks agree but for rounding? */
static bool near_p(const struct test_case *c, const float *scores, size_t row, int a, int b)
{
    double p = shared_p(c, scores, row, a), q = shared_p(c, scores, row, b);

    return fabs(p - q) <= 2e-5 * fmax(p, q) + 1e-8;
}

/* Is block j one of the first `sink` or of the last `local` that row `row` sees? */
static bool forced(const struct test_case *c, const float *scores, size_t row, int j)
{
    struct clg_ref t = as_ref(c, c->data);
    size_t rows = (size_t)clg_ref_rows(&c->p, &t), cols = (size_t)clg_ref_cols(&c->p, &t);
    size_t share = (size_t)c->score_heads / (size_t)clg_ref_list_heads(&c->p);
    int end = 0;

    for (size_t e = 0; e < share; e++)
        for (size_t i = 0; i < cols; i++)
            if ((double)scores[((row / rows * share + e) * rows + row % rows) * cols + i] != -INFINITY &&
                (int)i >= end)
                end = (int)i + 1;
    return j < c->p.sink || j >= end - c->p.local;
}

/* Blocks of `a` that `b` lacks. */
static struct list lacking(struct list a, struct list b, int32_t *room)
{
    struct list lone = {room, 0};

    for (int i = 0; i < a.n; i++)
        if (!holds(b, a.block[i]))
            room[lone.n++] = a.block[i];
    return lone;
}

/* Where heads are merged, blocks whose P agree but for rounding may stand in for each other: of two
 * such one is chosen.  Where the one left out is forced it stays in the list all the same. */
static bool tied(const struct test_case *c, const float *scores, size_t row, struct list got, struct list want)
{
    int32_t *room = calloc((size_t)(got.n + want.n) + 1, sizeof *room);
    struct list more, less;
    bool good = true;

    assert_non_null(room);
    more = lacking(got, want, room);
    less = lacking(want, got, room + got.n);
    if (more.n < less.n) {
        struct list swap = more;

        more = less;
        less = swap;
    }
    int unpaired = more.n - less.n;
    for (int i = 0; i < more.n; i++)
        for (int e = 0; e < less.n; e++)
            good = good && near_p(c, scores, row, more.block[i], less.block[e]);
    for (int e = 0; e < got.n && unpaired > 0; e++) {
        bool stands_in = holds(want, got.block[e]) && forced(c, scores, row, got.block[e]);

        for (int i = 0; i < more.n && stands_in; i++)
            stands_in = near_p(c, scores, row, more.block[i], got.block[e]);
        unpaired -= stands_in;
    }
    free(room);
    return good && unpaired == 0;
}

/* The lists of ref/ with the rule's values moved by `nudge`. */
static void nudged_lists(const struct test_case *c, const float *scores, double nudge, int32_t *counts,
                         int32_t *blocks)
{
    void *arrays[ARRAYS];
    clgaze_problem p = c->p;
    float *values = NULL;
    struct clg_ref t;

    memcpy(arrays, c->data, sizeof arrays);
    memcpy(&arrays[A_SCORES], &scores, sizeof scores); /* drops const: ref/ only reads them */
    arrays[A_COUNTS] = counts;
    arrays[A_BLOCKS] = blocks;
    t = as_ref(c, arrays);
    p.value += nudge;
    if (p.values && nudge != 0) {
        int n = clg_ref_list_heads(&p);

        values = malloc((size_t)n * sizeof *values);
        assert_non_null(values);
        for (int i = 0; i < n; i++)
            values[i] = (float)((double)p.values[i] + nudge);
        p.values = values;
    }
    clg_ref_select(&p, &t);
    free(values);
}

static bool bad_row(struct test_case *c, size_t row, struct list got, struct list want)
{
    struct clg_text text = {c->why, sizeof c->why, 0};

    clg_put(&text, "row %zu lists %d:", row, got.n);
    for (int i = 0; i < got.n && i < c->width && i < 40; i++)
        clg_put(&text, " %d", got.block[i]);
    clg_put(&text, "; wanted %d:", want.n);
    for (int i = 0; i < want.n && i < 40; i++)
        clg_put(&text, " %d", want.block[i]);
    return false;
}

bool check_lists(struct test_case *c, const float *scores)
{
    struct clg_ref t = as_ref(c, c->data);
    size_t rows = array_count(c, A_COUNTS), size = rows * (size_t)(c->width + 1);
    bool bounded = c->p.rule == CLGAZE_THRESHOLD || c->p.rule == CLGAZE_TOP_P;
    bool merged = c->score_heads != clg_ref_list_heads(&c->p), ok = true;
    int32_t *lists = calloc(3 * size + 1, sizeof *lists), *low = lists + size, *high = low + size;

    assert_non_null(lists);
    nudged_lists(c, scores, 0, lists, lists + rows);
    nudged_lists(c, scores, bounded ? -1e-6 : 0, low, low + rows);
    nudged_lists(c, scores, bounded ? 1e-6 : 0, high, high + rows);
    for (size_t row = 0; ok && row < rows; row++) {
        struct list got = row_of(c, c->data[A_COUNTS], c->data[A_BLOCKS], row);
        struct list want = row_of(c, lists, lists + rows, row);
        struct list least = row_of(c, low, low + rows, row), most = row_of(c, high, high + rows, row);

        ok = well_formed(c, got, clg_ref_cols(&c->p, &t)) &&
             ((inside(least, got) && inside(got, most)) || (inside(most, got) && inside(got, least)) ||
              (merged && tied(c, scores, row, got, want)));
        if (!ok)
            bad_row(c, row, got, want);
    }
    free(lists);
    return ok;
}

/* On one device lists do not depend on the kernel: those of later ones equal the first one's. */
static bool same_as_first(struct test_case *c)
{
    size_t counts = array_count(c, A_COUNTS) * sizeof(int32_t), blocks = array_count(c, A_BLOCKS) * sizeof(int32_t);
    char *first = (char *)c->first;

    if (!first) {
        first = malloc(counts + blocks);
        assert_non_null(first);
        memcpy(first, c->data[A_COUNTS], counts);
        memcpy(first + counts, c->data[A_BLOCKS], blocks);
        c->first = (int32_t *)(void *)first;
        return true;
    }
    if (memcmp(first, c->data[A_COUNTS], counts) == 0 && memcmp(first + counts, c->data[A_BLOCKS], blocks) == 0)
        return true;
    snprintf(c->why, sizeof c->why, "the lists are allowed, but not those of the first kernel");
    return false;
}

/* ---- operations ---------------------------------------------------------------------- */

static bool near_array(struct test_case *c, enum array id)
{
    double tolerance = id == A_OUT || (id >= A_DOUT && id <= A_DV) ? out_tolerance(c->p.dtype) : 1e-5;

    /* Scores that are off by 1e-5 move a divergence x by up to sqrt(2 x) 1e-5, as Pinsker says of the
     * distance of two distributions: much of a small one. */
    if (id == A_LOSS)
        tolerance = fmin(1e-4, tolerance * (1 + sqrt(2 / fmax(*(float *)c->want[id], 1e-3))));
    return near(c, array_names[id], c->data[id], c->want[id], array_count(c, id), tolerance);
}

/* Lists against ref/ on the device's scores, the output against ref/ on the device's lists; where
 * those are not given, all against ref/ (choose inputs whose scores are far apart). */
static bool check_prefill(struct test_case *c)
{
    clgaze_problem p = c->p;
    void *arrays[ARRAYS];
    struct clg_ref t;

    for (enum array id = A_Q_POOLED; id <= A_SCORES; id++)
        if (!(c->absent & BIT(id)) && !near_array(c, id))
            return false;
    if (c->absent & (BIT(A_SCORES) | BIT(A_BLOCKS)))
        return near_array(c, A_OUT) && (!p.lse || near_array(c, A_LSE));
    if (!check_lists(c, c->data[A_SCORES]))
        return false;
    memcpy(arrays, c->data, sizeof arrays);
    arrays[A_OUT] = c->want[A_OUT];
    arrays[A_LSE] = c->want[A_LSE];
    p.lists = CLGAZE_LISTS_BLOCKS;
    t = as_ref(c, arrays);
    clg_ref_attend(&p, &t);
    return near_array(c, A_OUT) && (!p.lse || near_array(c, A_LSE));
}

bool check_results(struct test_case *c, clgaze_op op)
{
    if (op == CLGAZE_PREFILL)
        return check_prefill(c);
    if (op == CLGAZE_SELECT)
        return check_lists(c, c->data[A_SCORES]) && same_as_first(c);
    for (int id = 0; id < ARRAYS; id++)
        if ((op_outputs(c, op) & BIT(id)) && !near_array(c, (enum array)id))
            return false;
    return true;
}
