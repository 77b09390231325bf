/*
 * plot.h: a loss curve as SVG.
 */
#ifndef CLGAZE_TOOLS_PLOT_H
#define CLGAZE_TOOLS_PLOT_H

#include <stddef.h>

/**
 * Draw `n` losses over their steps, from 0 up unless all are close together.
 *
 * @param[in] what  Stands over the axis.
 * @return 0, or an exit code after a sentence on stderr.
 */
int plot_losses(const char *path, const char *what, const float *losses, size_t n);

#endif
