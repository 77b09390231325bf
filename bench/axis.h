/* SPDX-License-Identifier: Apache-2.0 */
/*
 * axis.h: a logarithmic axis of a drawing.
 */
#ifndef CLGAZE_BENCH_AXIS_H
#define CLGAZE_BENCH_AXIS_H

#include <stdbool.h>
#include <stdio.h>

/* Values low .. high, above 0, at pixels from .. to. */
struct axis {
    double low, high, from, to;
};

double axis_pixel(const struct axis *a, double value);
void axis_widen(struct axis *a, double value);
/* Draw the lines and numbers of x (`across`) or y; `doubling`: at powers of two. */
void axis_put(FILE *f, const struct axis *x, const struct axis *y, bool across, bool doubling);

#endif
