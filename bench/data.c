/* SPDX-License-Identifier: Apache-2.0 */
/*
 * data.c: random numbers and block lists, the same on host and device.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

/* ---- numbers ---- */

/* splitmix64 at position i. */
uint64_t random_bits(uint64_t seed, uint64_t i)
{
    uint64_t z = (seed << 32) + seed + (i + 1) * 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* The sum of four uniform numbers, scaled. */
float random_number(uint64_t seed, uint64_t i)
{
    uint64_t bits = random_bits(seed, i);
    int sum = (int)(bits & 0xffff) + (int)(bits >> 16 & 0xffff) + (int)(bits >> 32 & 0xffff) + (int)(bits >> 48);

    return (float)(sum - 2 * 0xffff) * (1.7320508f / 65536);
}

static uint32_t bits_of(float x)
{
    uint32_t u;

    memcpy(&u, &x, sizeof u);
    return u;
}

static float of_bits(uint32_t u)
{
    float x;

    memcpy(&x, &u, sizeof x);
    return x;
}

/* To nearest even; our numbers are small, but subnormal and infinite ones are right, too. */
static uint16_t half_of(float x)
{
    uint32_t u = bits_of(x), sign = u >> 16 & 0x8000, a = u & 0x7fffffff;

    if (a > 0x7f800000)
        return (uint16_t)(sign | 0x7e00);
    if (a >= 0x477ff000) /* 65520 */
        return (uint16_t)(sign | 0x7c00);
    if (a < 0x38800000) /* 2^-14: adding 1/2 leaves the 24th bit worth 2^-24 */
        return (uint16_t)(sign | (bits_of(of_bits(a) + 0.5f) - bits_of(0.5f)));
    a += 0xfff + (a >> 13 & 1);
    return (uint16_t)(sign | ((a - 0x38000000) >> 13));
}

static float half_value(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 1023;
    float x;

    if (exponent == 31)
        return of_bits(sign | 0x7f800000 | mantissa << 13);
    if (exponent)
        return of_bits(sign | ((exponent + 112) << 23 | mantissa << 13));
    x = (float)mantissa / 16777216;
    return sign ? -x : x;
}

static uint16_t bf16_of(float x)
{
    uint32_t u = bits_of(x);

    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

float round_number(float x, clgaze_dtype dtype)
{
    if (dtype == CLGAZE_F16)
        return half_value(half_of(x));
    return dtype == CLGAZE_BF16 ? of_bits((uint32_t)bf16_of(x) << 16) : x;
}

void put_number(void *data, size_t i, clgaze_dtype dtype, float x)
{
    if (dtype == CLGAZE_F32)
        ((float *)data)[i] = x;
    else
        ((uint16_t *)data)[i] = dtype == CLGAZE_F16 ? half_of(x) : bf16_of(x);
}

float get_number(const void *data, size_t i, clgaze_dtype dtype)
{
    if (dtype == CLGAZE_F32)
        return ((const float *)data)[i];
    if (dtype == CLGAZE_F16)
        return half_value(((const uint16_t *)data)[i]);
    return of_bits((uint32_t)((const uint16_t *)data)[i] << 16);
}

/* ---- lists ---- */

int lists_count(double density, int i)
{
    int n = (int)floor(density * (i + 1));

    return n < 1 ? 1 : n > i + 1 ? i + 1 : n;
}

/* Choose n - 1 of the blocks 0 .. i - 1, each set as likely as any other, in
 * one pass: block j is taken with chance (still wanted) / (still to come). */
static void fill_row(int32_t *blocks, int n, int i, uint64_t seed)
{
    int at = 0;

    for (int j = 0; j < i; j++) {
        double chance = (double)(random_bits(seed, (uint64_t)j) >> 11) * 0x1p-53;

        if (chance * (i - j) < n - 1 - at)
            blocks[at++] = j;
    }
    blocks[at] = i;
}

int lists_make(struct lists *lists, int heads, int rows, double density, uint64_t seed)
{
    int width = lists_count(density, rows - 1);
    size_t n = (size_t)heads * (size_t)rows;

    *lists =
        (struct lists){heads, rows, width, malloc(n * sizeof(int32_t)), malloc(n * (size_t)width * sizeof(int32_t))};
    if (!lists->counts || !lists->blocks) {
        lists_free(lists);
        return -1;
    }
    memset(lists->blocks, -1, n * (size_t)width * sizeof(int32_t));
    for (size_t at = 0; at < n; at++) {
        int i = (int)(at % (size_t)rows);

        lists->counts[at] = lists_count(density, i);
        fill_row(lists->blocks + at * (size_t)width, lists->counts[at], i, random_bits(seed, at));
    }
    return 0;
}

void lists_local(struct lists *l)
{
    for (size_t at = 0; at < (size_t)l->heads * (size_t)l->rows; at++) {
        int i = (int)(at % (size_t)l->rows), n = l->counts[at];
        int32_t *row = l->blocks + at * (size_t)l->width;

        for (int e = 0; e < n; e++)
            row[e] = i - (n - 1) + e;
        if (n > 1) /* a sink, as learned lists have */
            row[0] = 0;
    }
}

void lists_strided(struct lists *l)
{
    for (size_t at = 0; at < (size_t)l->heads * (size_t)l->rows; at++) {
        int64_t i = (int64_t)(at % (size_t)l->rows), n = l->counts[at];
        int32_t *row = l->blocks + at * (size_t)l->width;

        for (int64_t e = 0; e < n; e++)
            row[e] = (int32_t)((e + 1) * (i + 1) / n - 1);
    }
}

void lists_free(struct lists *lists)
{
    free(lists->counts);
    free(lists->blocks);
    *lists = (struct lists){0};
}

int lists_spread(struct lists *lists, int heads)
{
    size_t rows = (size_t)lists->rows, size = sizeof(int32_t) * rows, wide = size * (size_t)lists->width;
    struct lists all = {heads, lists->rows, lists->width, malloc((size_t)heads * size), malloc((size_t)heads * wide)};

    for (int h = 0; all.counts && all.blocks && h < heads; h++) {
        size_t from = (size_t)(h * lists->heads / heads) * rows;

        memcpy(all.counts + (size_t)h * rows, lists->counts + from, size);
        memcpy(all.blocks + (size_t)h * rows * (size_t)lists->width, lists->blocks + from * (size_t)lists->width,
               wide);
    }
    lists_free(lists);
    *lists = all;
    return all.counts && all.blocks ? 0 : -1;
}

double lists_kept(const struct lists *lists)
{
    double sum = 0;

    for (size_t at = 0; at < (size_t)lists->heads * (size_t)lists->rows; at++)
        sum += lists->counts[at];
    return sum;
}

double lists_visible(const struct lists *lists)
{
    return (double)lists->heads * lists->rows * (lists->rows + 1.0) / 2;
}
