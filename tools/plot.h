/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plot.h: curves as SVG.
 */
#ifndef CLGAZE_TOOLS_PLOT_H
#define CLGAZE_TOOLS_PLOT_H

#include <stddef.h>

enum { PLOT_LINES = 8 /* as many colours there are */ };

struct plot_line {
    const char *name; /**< in the legend; NULL: it has none                     */
    const double *x, *y;
    size_t n;
};

struct plot {
    const char *x_title, *y_title;
    struct plot_line lines[PLOT_LINES];
    size_t n_lines;
    const char *floor_name; /**< of a dashed line at height `floor`; NULL: none  */
    double floor;
};

/**
 * Draw lines through finite points, each axis from 0 up unless all are close together.
 *
 * @return 0, or an exit code after a sentence on stderr.
 */
int plot_lines(const char *path, const struct plot *plot);

/** Draw `n` losses over their steps; `what` stands over the axis. @return As plot_lines(). */
int plot_losses(const char *path, const char *what, const float *losses, size_t n);

#endif
