/*
 * plot.h: a loss curve as SVG.
 */
#ifndef CLGAZE_TOOLS_PLOT_H
#define CLGAZE_TOOLS_PLOT_H

#include <stddef.h>

/**
 * Draw `n` losses over their steps.
 *
 * @return 0, or an exit code after a sentence on stderr.
 */
int plot_losses(const char *path, const float *losses, size_t n);

#endif
