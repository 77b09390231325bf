/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stats.c: medians.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The value below which a share of n ascending values lies, between neighbours in proportion. */
static double part(const double *values, int n, double share)
{
    double at = share * (n - 1);
    int low = (int)at, high = low + 1 < n ? low + 1 : low;

    return values[low] + (at - low) * (values[high] - values[low]);
}

struct stats stats_of(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, ascending);
    return (struct stats){(values[n / 2] + values[(n - 1) / 2]) / 2, values[0], values[n - 1], part(values, n, .25),
                          part(values, n, .75)};
}

double significant(double x, int digits)
{
    char text[64];

    snprintf(text, sizeof text, "%.*e", digits - 1, x);
    return strtod(text, NULL);
}
