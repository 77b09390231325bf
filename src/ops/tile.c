/*
 * tile.c: the host's side of cl/tile.cl.
 */
#include "tile.h"

const struct clg_param clg_tile_space[] = {
    {"TM", 4, {4, 8}}, /* rows a work-item    */
    {"TN", 8, {4, 8}}, /* columns a work-item */
    {NULL, 0, {0}},
};
enum { TM, TN };

size_t clg_tile_items(const int *values)
{
    return (size_t)(CLG_TILE / values[TM]) * (size_t)(CLG_TILE / values[TN]);
}

size_t clg_tiles(int n)
{
    return (size_t)((n + CLG_TILE - 1) / CLG_TILE);
}

const char *clg_tile_fits(const struct clg_device *device, const int *values)
{
    enum { STEP = 8, LOCAL = 4 * STEP * (CLG_TILE + 4) * 4 };

    if (device->local_bytes < LOCAL)
        return "the device has too little local memory";
    return clg_tile_items(values) > device->max_group ? "the device's work-groups are too small" : NULL;
}
