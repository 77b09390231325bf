/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text.c: a bounded string that grows by printf, and a hash.
 */
#include <stdarg.h>
#include <stdio.h>

#include "internal.h"

void clg_put(struct clg_text *text, const char *format, ...)
{
    bool room = text->used < text->size;
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(room ? text->at + text->used : NULL, room ? text->size - text->used : 0, format, args);
    va_end(args);
    if (n > 0)
        text->used += (size_t)n;
}

void clg_define(struct clg_text *text, const char *name, long value)
{
    clg_put(text, " -D%s=%ld", name, value);
}

uint64_t clg_hash(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *byte = data;

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ byte[i]) * 0x100000001b3ull;
    return hash;
}
