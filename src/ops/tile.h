/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tile.h: the host's side of the 64 x 64 tiles that gate and score share: of
 * cl/tile.cl, and of cl/nv_tf32.cl on NVIDIA.
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

enum { CLG_NV_TILE_ITEMS = 128 }; /* a work-group of cl/nv_tf32.cl */
const char *clg_nv_tile_fits(const struct clg_device *device, size_t local_bytes);

#endif
