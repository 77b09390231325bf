/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compare.c: a computed tensor against the one that was expected.
 */
#include "compare.h"

#include "fail.h"

#include <math.h>
#include <string.h>

#define PREFIX 7 /* "expect." */

static const st_tensor *computed(const struct result *result, const char *name)
{
    for (int i = 0; i < result->n_tensors; i++)
        if (strcmp(result->tensors[i].name, name) == 0)
            return &result->tensors[i];
    return NULL;
}

/* ------------------------------------------------------------------------ */
/* Numbers                                                                  */
/* ------------------------------------------------------------------------ */

/* Only what is stored in the inputs' type is as coarse as they are. */
static double tolerance(const struct job *job, const char *name)
{
    if (job->operation->last == CLGAZE_DISTILL)
        return strcmp(name, "losses") == 0 ? 1e-4 : 1e-3;
    static const double of[] = {[CLGAZE_F32] = 1e-5, [CLGAZE_F16] = 1e-3, [CLGAZE_BF16] = 8e-3};
    return of[strcmp(name, "out") == 0 ? job->problem.dtype : CLGAZE_F32];
}

static void compare_numbers(const st_tensor *want, const st_tensor *got, double allowed, struct difference *d)
{
    double sum = 0, norm = 0, largest = 0;
    int same = 1; /* infinities coincide, nothing is NaN */
    memset(d, 0, sizeof *d);
    for (size_t i = 0; i < want->elements; i++) {
        double w = st_value(want, i), g = st_value(got, i);
        if (!isfinite(w) || !isfinite(g)) {
            same &= isinf(w) && isinf(g) && (w > 0) == (g > 0);
            continue;
        }
        double off = fabs(w - g);
        sum += off * off;
        norm += w * w;
        d->max_abs = fmax(d->max_abs, off);
        largest = fmax(largest, fabs(w));
    }
    d->relative = sum > 0 ? sqrt(sum / norm) : 0; /* inf where zeros were expected */
    if (!same)
        d->max_abs = d->relative = NAN;
    d->ok = same && d->relative <= allowed && d->max_abs <= 50 * allowed * largest;
}

/* ------------------------------------------------------------------------ */
/* Lists                                                                    */
/* ------------------------------------------------------------------------ */

/* One row of a list: -1 ends it. */
struct row {
    const st_tensor *tensor;
    size_t begin, width;
};

static struct row row_of(const st_tensor *t, size_t i)
{
    size_t width = t->rank ? (size_t)t->shape[t->rank - 1] : 0;
    return (struct row){t, i * width, width};
}

static double entry(struct row row, size_t i)
{
    return i < row.width ? st_value(row.tensor, row.begin + i) : -1;
}

static int holds(struct row row, double block)
{
    for (size_t i = 0; i < row.width; i++)
        if (entry(row, i) == block)
            return 1;
    return 0;
}

/* What the rows of a list disagree on: how many blocks only one of them has,
 * and the span of those blocks' scores. */
struct dispute {
    size_t missing, extra;
    double low, high;
};

static void dispute_side(struct row a, struct row b, const st_tensor *scores, size_t row, size_t *n,
                         struct dispute *d)
{
    for (size_t i = 0; i < a.width; i++) {
        double block = entry(a, i);
        if (block < 0 || holds(b, block))
            continue;
        double s = NAN;
        if (scores && block < (double)scores->shape[3])
            s = st_value(scores, row * (size_t)scores->shape[3] + (size_t)block);
        d->low = isnan(s) ? -INFINITY : fmin(d->low, s); /* NaN is close to nothing */
        d->high = isnan(s) ? INFINITY : fmax(d->high, s);
        ++*n;
    }
}

/* A row of the lists of prefill may differ between scores that are as good as
 * equal: blocks exchanged, or where the rule chooses the number, one more. */
static int excusable(const struct job *job, const struct result *result, size_t row, struct row want, struct row got)
{
    const st_tensor *scores = st_find(job->file, "expect.scores");
    const st_tensor *own = computed(result, "scores");
    int64_t lists = job->dims[DIM_H], group = job->dims[DIM_HQ] / lists, rows = job->dims[DIM_NQ];
    int own_number = job->problem.rule == CLGAZE_THRESHOLD || job->problem.rule == CLGAZE_TOP_P;
    if (!own || own->rank != 4)
        return 0;
    if (!scores || scores->rank != 4 || scores->elements != own->elements || scores->shape[3] != own->shape[3])
        scores = own;
    int64_t head = (int64_t)row / rows, i = (int64_t)row % rows;
    for (int64_t h = head * group; h < (head + 1) * group; h++) {
        struct dispute d = {0, 0, INFINITY, -INFINITY};
        size_t at = (size_t)(h * rows + i);
        dispute_side(want, got, scores, at, &d.missing, &d);
        dispute_side(got, want, scores, at, &d.extra, &d);
        if (d.missing + d.extra && d.high - d.low < 1e-4 && (d.missing == d.extra || own_number))
            return 1;
    }
    return 0;
}

/* The lists of row `i` of a result and of what was expected. */
static int lists_differ(const struct job *job, const struct result *result, size_t i, int *excused)
{
    const st_tensor *want = st_find(job->file, "expect.blocks"), *got = computed(result, "blocks");
    *excused = 0;
    if (!want || !got || want->rank != 4 || got->rank != 4)
        return 0;
    struct row w = row_of(want, i), g = row_of(got, i);
    size_t width = w.width > g.width ? w.width : g.width;
    for (size_t n = 0; n < width; n++)
        if (entry(w, n) != entry(g, n)) {
            *excused = excusable(job, result, i, w, g);
            return 1;
        }
    return 0;
}

/* counts and blocks: exact for select; of prefill 1 row in 1000 may differ
 * where scores are as good as equal. */
static void compare_lists(const struct job *job, const struct result *result, const st_tensor *want,
                          const st_tensor *got, struct difference *d)
{
    int is_blocks = strcmp(got->name, "blocks") == 0;
    size_t rows = got->elements, differ = 0, wrong = 0;
    memset(d, 0, sizeof *d);
    if (is_blocks)
        rows = got->shape[3] ? rows / (size_t)got->shape[3] : 0;
    for (size_t i = 0; i < rows; i++) {
        struct row w = is_blocks ? row_of(want, i) : (struct row){want, i, 1};
        struct row g = is_blocks ? row_of(got, i) : (struct row){got, i, 1};
        size_t width = w.width > g.width ? w.width : g.width;
        double most = 0;
        for (size_t n = 0; n < width; n++)
            most = fmax(most, fabs(entry(w, n) - entry(g, n)));
        if (most == 0)
            continue;
        int excused = 0;
        lists_differ(job, result, i, &excused);
        d->max_abs = fmax(d->max_abs, most);
        differ++;
        wrong += !excused;
    }
    d->relative = rows ? (double)differ / (double)rows : 0;
    d->ok = differ == 0 || (job->operation->last == CLGAZE_PREFILL && !wrong && differ * 1000 <= rows);
}

/* ------------------------------------------------------------------------ */

static int same_shape(const st_tensor *a, const st_tensor *b)
{
    int free = strcmp(b->name, "blocks") == 0; /* the width may differ */
    if (a->rank != b->rank)
        return 0;
    for (int i = 0; i < a->rank - free; i++)
        if (a->shape[i] != b->shape[i])
            return 0;
    return 1;
}

int compare_tensor(const struct job *job, const struct result *result, const st_tensor *expected,
                   struct difference *difference)
{
    const char *name = expected->name + PREFIX;
    const st_tensor *got = computed(result, name);
    char want_text[128], got_text[128];
    if (!got)
        return fail(EXIT_INPUT, "tensor expect.%.60s: %s writes no %.60s", name, job->operation->name, name);
    if (!same_shape(expected, got))
        return fail(EXIT_INPUT, "tensor expect.%s has shape %s, but %s is %s", name,
                    st_shape_text(expected, want_text, sizeof want_text), name,
                    st_shape_text(got, got_text, sizeof got_text));
    if (strcmp(name, "counts") == 0 || strcmp(name, "blocks") == 0)
        compare_lists(job, result, expected, got, difference);
    else
        compare_numbers(expected, got, tolerance(job, name), difference);
    return 0;
}
