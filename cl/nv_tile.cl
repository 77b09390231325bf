/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nv_tile: tiles in local memory as NVIDIA's matrix units take them; common to
 * the kernels that use them.
 *
 * A tile   64 rows (keys) of D 16-bit channels, in panels of 64 channels; a
 *          row of a panel is 128 bytes, its 16-byte chunks permuted by the
 *          row (xor), which is what wgmma calls 128-byte swizzle and what
 *          keeps ldmatrix free of bank conflicts.
 */
#define PANELS     ((D + 63) / 64)
#define TILE_BYTES (PANELS * 64 * 128)

static inline uint chunk_at(int row, int chunk)
{
    return (uint)(chunk / 8 * 64 * 128 + row * 128 + ((chunk % 8) ^ (row % 8)) * 16);
}

/* The greatest, or the sum, over the 4 lanes that share a row. */
static inline float quad_max(float x)
{
    x = fmax(x, of_lane(x, 1));
    return fmax(x, of_lane(x, 2));
}

static inline float quad_sum(float x)
{
    x += of_lane(x, 1);
    return x + of_lane(x, 2);
}
