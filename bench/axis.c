/* SPDX-License-Identifier: Apache-2.0 */
/*
 * axis.c: a logarithmic axis of a drawing.
 */
#include "axis.h"

#include <math.h>

double axis_pixel(const struct axis *a, double value)
{
    return a->from + log(value / a->low) / log(a->high / a->low) * (a->to - a->from);
}

void axis_widen(struct axis *a, double value)
{
    a->low = a->low > 0 ? fmin(a->low, value) : value;
    a->high = fmax(a->high, value);
}

/* Marks of an axis: how many a decade, and where; 0 ends them. */
static const double leads[][10] = {
    {1}, {1, 2, 5}, {1, 1.5, 2, 3, 5, 7}, {1, 1.1, 1.2, 1.3, 1.5, 1.7, 2, 2.5, 3.5, 6}};

/* Mark i, counted from below the axis: powers of two, or of ten with what is between them. */
static double tick_at(const struct axis *a, bool doubling, int fine, int i)
{
    int n = 0;

    if (doubling)
        return exp2(floor(log2(a->low)) + i);
    while (n < 10 && leads[fine][n] > 0)
        n++;
    return pow(10, floor(log10(a->low)) + i / n) * leads[fine][i % n]; /* NOLINT: whole decades */
}

/* The coarsest marks of which three are on the axis, or the finest. */
static int fineness(const struct axis *a)
{
    for (int fine = 0; fine < 3; fine++) {
        int n = 0;

        for (int i = 0; tick_at(a, false, fine, i) <= a->high; i++)
            n += tick_at(a, false, fine, i) >= a->low;
        if (n >= 3)
            return fine;
    }
    return 3;
}

void axis_put(FILE *f, const struct axis *x, const struct axis *y, bool across, bool doubling)
{
    const struct axis *a = across ? x : y;
    int fine = fineness(a);
    double tick;

    for (int i = 0; (tick = tick_at(a, doubling, fine, i)) <= a->high; i++) {
        double at = axis_pixel(a, tick);

        if (tick < a->low)
            continue;
        fprintf(f, "<path class=\"grid\" d=\"M%.1f %.1f%c%.1f\"/>", across ? at : x->from, across ? y->from : at,
                across ? 'V' : 'H', across ? y->to : x->to);
        fprintf(f, "<text class=\"faint\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%g</text>\n",
                across ? at : x->from - 6, across ? y->from + 16 : at + 4, across ? "middle" : "end", tick);
    }
}
