/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sparse_compare.c: two results beside each other, noise taken into account.
 */
#include <math.h>
#include <string.h>

#include "sparse.h"

/* Two runs of the same thing differ by at least so much: clocks, memory's layout. */
static const double least_noise = .02;

/* Files of before there was a choice say nothing. */
static const char *scope_of(const struct row *r)
{
    return *r->scope ? r->scope : "q";
}

static bool same_row(const struct row *a, const struct row *b)
{
    return strcmp(a->op, b->op) == 0 && strcmp(a->dtype, b->dtype) == 0 && strcmp(a->pattern, b->pattern) == 0 &&
           strcmp(scope_of(a), scope_of(b)) == 0 && strcmp(a->rule, b->rule) == 0 &&
           strcmp(a->forced, b->forced) == 0 && a->seq == b->seq && a->heads == b->heads &&
           a->kv_heads == b->kv_heads && a->head_dim == b->head_dim && a->block == b->block && a->value == b->value;
}

/* Half of the middle half, as a share of the median. */
static double spread(const struct stats *s)
{
    return s->median > 0 ? (s->q3 - s->q1) / 2 / s->median : 0;
}

double compare_noise(const struct stats *a, const struct stats *b)
{
    return fmax(least_noise, 2 * hypot(spread(a), spread(b)));
}

int compare_verdict(const struct stats *a, const struct stats *b)
{
    double ratio = b->median / a->median, bound = 1 + compare_noise(a, b);

    return ratio > bound ? 1 : ratio < 1 / bound ? -1 : 0;
}

static int compare_row(FILE *f, const struct row *a, const struct row *b)
{
    static const char *const words[] = {"quicker", "no difference beyond noise", "SLOWER"};
    int verdict = compare_verdict(&a->ms, &b->ms);

    fprintf(f, "%-8s %8d %3d %3d %4d %6g %10.3f %10.3f %+6.1f%% +-%.1f%%  %s\n", b->op, b->seq, b->heads, b->head_dim,
            b->block, b->value, a->ms.median, b->ms.median, 100 * (b->ms.median / a->ms.median - 1),
            100 * compare_noise(&a->ms, &b->ms), words[verdict + 1]);
    if (strcmp(a->kernel, b->kernel) != 0)
        say(f, "  by %s, before by %s", b->kernel, a->kernel);
    return verdict;
}

int compare(FILE *f, const struct result *a, const struct result *b, int *slower)
{
    int n = 0, quicker = 0, alone = 0;

    *slower = 0;
    if (strcmp(a->machine.name, b->machine.name) != 0 || strcmp(a->machine.driver, b->machine.driver) != 0)
        say(f, "The device or its driver is another: before %s, driver %s; now %s, driver %s.", a->machine.name,
            a->machine.driver, b->machine.name, b->machine.driver);
    fprintf(f, "\n%-8s %8s %3s %3s %4s %6s %10s %10s\n", "op", "seq", "H", "D", "blk", "value", "before ms",
            "now ms");
    for (const struct row *y = b->rows; y < b->rows + b->n; y++) {
        const struct row *x = a->rows;

        while (x < a->rows + a->n && !(same_row(x, y) && x->state == ROW_DONE))
            x++;
        if (y->state != ROW_DONE || x == a->rows + a->n) {
            alone++;
            continue;
        }
        int verdict = compare_row(f, x, y);

        n++;
        quicker += verdict < 0;
        *slower += verdict > 0;
    }
    if (!quicker && !*slower && n)
        say(f, "No difference beyond noise in %d row%s.", n, n > 1 ? "s" : "");
    else
        say(f, "%d of %d rows quicker, %d slower.", quicker, n, *slower);
    if (alone)
        say(f, "%d row%s without a partner.", alone, alone > 1 ? "s" : "");
    return 0;
}
