/* SPDX-License-Identifier: Apache-2.0 */
/*
 * safetensors_value.c: what both reader and writer know of tensors.
 */
#include "safetensors.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* In the order of st_dtype. */
static const struct {
    const char *name;
    size_t size;
} dtypes[] = {{"F64", 8}, {"I64", 8}, {"F32", 4}, {"I32", 4}, {"F16", 2}, {"BF16", 2}, {"U8", 1}, {"BOOL", 1}};

enum { N_DTYPES = sizeof dtypes / sizeof *dtypes };

size_t st_dtype_size(st_dtype dtype)
{
    return dtypes[dtype].size;
}

const char *st_dtype_name(st_dtype dtype)
{
    return dtypes[dtype].name;
}

int st_dtype_find(const char *name)
{
    for (int i = 0; i < N_DTYPES; i++)
        if (strcmp(dtypes[i].name, name) == 0)
            return i;
    return -1;
}

void st_turn(unsigned char *bytes, size_t size, size_t elements)
{
    const uint16_t one = 1;
    const size_t width = elements ? size / elements : 0;

    if (*(const unsigned char *)&one == 1)
        return;
    for (unsigned char *at = bytes; width > 1 && at < bytes + size; at += width)
        for (size_t i = 0; i < width / 2; i++) {
            const unsigned char kept = at[i];

            at[i] = at[width - 1 - i];
            at[width - 1 - i] = kept;
        }
}

int st_size(st_dtype dtype, int rank, const int64_t *shape, size_t *elements, size_t *bytes)
{
    size_t n = 1, size = dtypes[dtype].size;
    int empty = 0;
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0)
            return -1;
        empty |= shape[i] == 0;
    }
    for (int i = 0; i < rank && !empty; i++) {
        if ((uint64_t)shape[i] > SIZE_MAX / n)
            return -1;
        n *= (size_t)shape[i];
    }
    n = empty ? 0 : n;
    if (n > SIZE_MAX / size)
        return -1;
    *elements = n;
    *bytes = n * size;
    return 0;
}

const char *st_shape_text(const st_tensor *tensor, char *text, size_t capacity)
{
    size_t at = 0;
    snprintf(text, capacity, "[]");
    for (int i = 0; i < tensor->rank && at < capacity; i++)
        at += (size_t)snprintf(text + at, capacity - at, "%s%" PRId64 "%s", i ? "," : "[", tensor->shape[i],
                               i == tensor->rank - 1 ? "]" : "");
    return text;
}

const st_tensor *st_find(const st_file *file, const char *name)
{
    for (size_t i = 0; i < file->n_tensors; i++)
        if (strcmp(file->tensors[i].name, name) == 0)
            return &file->tensors[i];
    return NULL;
}

const char *st_meta(const st_file *file, const char *key)
{
    for (size_t i = 0; i < file->n_meta; i++)
        if (strcmp(file->meta[i].key, key) == 0)
            return file->meta[i].value;
    return NULL;
}

static double half_value(uint16_t h)
{
    int exponent = h >> 10 & 31, mantissa = h & 1023;
    double v;
    if (exponent == 31)
        v = mantissa ? NAN : INFINITY;
    else if (exponent == 0)
        v = ldexp(mantissa, -24);
    else
        v = ldexp(1024 + mantissa, exponent - 25);
    return h >> 15 ? -v : v;
}

/* memcpy because the bytes of a file may lie at any address. */
#define LOAD(type, to) memcpy(&(to), (const unsigned char *)t->data + i * sizeof(type), sizeof(type))

double st_value(const st_tensor *t, size_t i)
{
    union {
        double d;
        int64_t l;
        float f;
        int32_t i;
        uint32_t u;
        uint16_t h;
        uint8_t b;
    } x;
    switch (t->dtype) {
    case ST_F64:
        return LOAD(double, x.d), x.d;
    case ST_I64:
        return LOAD(int64_t, x.l), (double)x.l;
    case ST_F32:
        return LOAD(float, x.f), (double)x.f;
    case ST_I32:
        return LOAD(int32_t, x.i), (double)x.i;
    case ST_F16:
        return LOAD(uint16_t, x.h), half_value(x.h);
    case ST_BF16:
        LOAD(uint16_t, x.h);
        x.u = (uint32_t)x.h << 16;
        return (double)x.f;
    case ST_U8:
    case ST_BOOL:
    default:
        return LOAD(uint8_t, x.b), (double)x.b;
    }
}
