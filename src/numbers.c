/* SPDX-License-Identifier: Apache-2.0 */
/*
 * numbers.c: random numbers, and what the three types of numbers look like in memory.
 */
#include <math.h>
#include <string.h>

#include "internal.h"

/* splitmix64 */
uint32_t clg_random(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15ull;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return (uint32_t)((x ^ (x >> 31)) >> 32);
}

void clg_encode(float x, clgaze_dtype dtype, unsigned char *at)
{
    uint32_t u;
    uint16_t h;

    memcpy(&u, &x, sizeof u);
    h = (uint16_t)(u >> 16);
    if (dtype == CLGAZE_F16)
        h = x == 0.0f ? 0 : (uint16_t)((u >> 16 & 0x8000u) | (((u & 0x7fffffffu) >> 13) - (112u << 10)));
    if (dtype == CLGAZE_F16 || dtype == CLGAZE_BF16)
        memcpy(at, &h, sizeof h);
    else
        memcpy(at, &x, sizeof x);
}

float clg_decode(const unsigned char *at, clgaze_dtype dtype)
{
    uint32_t u;
    uint16_t h;
    float x;

    if (dtype == CLGAZE_F16 || dtype == CLGAZE_BF16) {
        memcpy(&h, at, sizeof h);
        u = (uint32_t)h << 16;
        if (dtype == CLGAZE_F16)
            u = (h & 0x8000u) << 16 | (h & 0x7fffu) << 13;
        if (dtype == CLGAZE_F16 && (h & 0x7c00u) == 0x7c00u)
            u |= 0x7f800000u;
        memcpy(&x, &u, sizeof x);
        return dtype == CLGAZE_F16 && isfinite(x) ? x * 0x1p112f : x;
    }
    memcpy(&x, at, sizeof x);
    return x;
}
