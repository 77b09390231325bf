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

struct stats stats_of(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, ascending);
    return (struct stats){(values[n / 2] + values[(n - 1) / 2]) / 2, values[0], values[n - 1]};
}

double significant(double x, int digits)
{
    char text[64];

    snprintf(text, sizeof text, "%.*e", digits - 1, x);
    return strtod(text, NULL);
}
