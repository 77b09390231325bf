/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tile.c: the host's side of cl/tile.cl and cl/nv_tf32.cl.
 */
#include "tile.h"

const struct clg_param clg_tile_space[] = {
    {"TM", 4, {4, 8}},        /* rows a work-item    */
    {"TN", 8, {4, 8}},        /* columns a work-item */
    {"STEP", 8, {8, 16, 32}}, /* depth of a tile     */
    {NULL, 0, {0}},
};
enum { TM, TN, STEP };

size_t clg_tile_items(const int *values)
{
    return (size_t)(CLG_TILE / values[TM]) * (size_t)(CLG_TILE / values[TN]);
}

size_t clg_tiles(int n)
{
    return (size_t)((n + CLG_TILE - 1) / CLG_TILE);
}

const char *clg_tile_fits(const struct clg_device *device, int depth, const int *values)
{
    if (depth % values[STEP] != 0)
        return "STEP does not divide the depth of the product";
    if (device->local_bytes < 16 * (size_t)values[STEP] * (CLG_TILE + 4))
        return "the device has too little local memory";
    return clg_tile_items(values) > device->max_group ? "the device's work-groups are too small" : NULL;
}

const char *clg_nv_tile_fits(const struct clg_device *device, size_t local_bytes)
{
    if (device->nv_arch < 80)
        return "the device is not an NVIDIA GPU of compute capability 8.0 or more";
    return device->local_bytes < local_bytes ? "the device has too little local memory" : NULL;
}
