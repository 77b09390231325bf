/*
 * tile.h: the search space of cl/tile.cl, whose products gate and score share.
 */
#ifndef CLG_TILE_H
#define CLG_TILE_H

#include "internal.h"

enum { CLG_TILE = 64 }; /* rows and columns a work-group */

extern const struct clg_param clg_tile_space[];
size_t clg_tile_items(const int *values); /* a work-group */
size_t clg_tiles(int n);                  /* that cover n rows or columns */
/* `depth` divides the depth of every product. */
const char *clg_tile_fits(const struct clg_device *device, int depth, const int *values);

#endif
