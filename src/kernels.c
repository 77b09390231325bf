/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernels.c: the table of strategies and what can be said about a search space
 * without knowing the strategy.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define KERNEL(op, name) extern const struct clg_kernel clg_kernel_##name;
#include "kernels.def"
#undef KERNEL

const struct clg_kernel *const clg_kernels[] = {
#define KERNEL(op, name) &clg_kernel_##name,
#include "kernels.def"
#undef KERNEL
    NULL};

size_t clgaze_kernel_list(const char **names, const char **ops, size_t capacity)
{
    size_t n = 0;

    for (; clg_kernels[n]; n++) {
        if (names && n < capacity)
            names[n] = clg_kernels[n]->name;
        if (ops && n < capacity)
            ops[n] = clg_kernels[n]->op;
    }
    return n;
}

const struct clg_kernel *clg_kernel_in(const struct clg_kernel *const *table, const char *name)
{
    size_t length = strcspn(name, " ");

    for (size_t i = 0; table[i]; i++)
        if (strlen(table[i]->name) == length && strncmp(table[i]->name, name, length) == 0)
            return table[i];
    return NULL;
}

const struct clg_kernel *clg_kernel_find(const char *name)
{
    return strcmp(name, clg_kernel_dense.name) == 0 ? &clg_kernel_dense : clg_kernel_in(clg_kernels, name);
}

static int params(const struct clg_kernel *kernel)
{
    int n = 0;

    while (kernel->space && kernel->space[n].name)
        n++;
    return n;
}

static int choices(const struct clg_param *param)
{
    int n = 0;

    while (n < (int)CLG_COUNT(param->allowed) && param->allowed[n])
        n++;
    return n;
}

int clg_space_size(const struct clg_kernel *kernel)
{
    int size = 1;

    for (int i = 0; i < params(kernel); i++)
        size *= choices(&kernel->space[i]);
    return size;
}

void clg_space_get(const struct clg_kernel *kernel, int index, int *values)
{
    for (int i = 0; i < params(kernel); i++) {
        int n = choices(&kernel->space[i]);

        values[i] = kernel->space[i].allowed[index % n];
        index /= n;
    }
}

void clg_space_default(const struct clg_kernel *kernel, int *values)
{
    for (int i = 0; i < params(kernel); i++)
        values[i] = kernel->space[i].value;
}

int clg_space_value(const struct clg_kernel *kernel, const int *values, const char *name)
{
    for (int i = 0; i < params(kernel); i++)
        if (strcmp(kernel->space[i].name, name) == 0)
            return values[i];
    return 0;
}

static bool allows(const struct clg_param *param, long value)
{
    for (int i = 0; i < choices(param); i++)
        if (param->allowed[i] == value)
            return true;
    return false;
}

clgaze_status clg_space_parse(const clgaze_context *ctx, const struct clg_kernel *kernel, const char *text,
                              int *values)
{
    while (*text) {
        size_t name = strcspn(text, "= ");
        char *end = NULL;
        long value;
        int i = 0;

        if (*text == ' ') {
            text++;
            continue;
        }
        value = text[name] == '=' && isdigit((unsigned char)text[name + 1]) ? strtol(text + name + 1, &end, 10) : 0;
        while (i < params(kernel) &&
               (strlen(kernel->space[i].name) != name || strncmp(kernel->space[i].name, text, name) != 0))
            i++;
        if (i == params(kernel))
            return clg_fail(ctx, CLGAZE_ERR_VALUE, "kernel %s has no tunable \"%.*s\"", kernel->name, (int)name,
                            text);
        if (!end || (*end && *end != ' ') || !allows(&kernel->space[i], value))
            return clg_fail(ctx, CLGAZE_ERR_VALUE, "kernel %s: \"%.*s\" is not a value that %s may have",
                            kernel->name, (int)strcspn(text, " "), text, kernel->space[i].name);
        values[i] = (int)value;
        text = end;
    }
    return CLGAZE_OK;
}

void clg_space_print(const struct clg_kernel *kernel, const int *values, struct clg_text *text)
{
    clg_put(text, "%s", kernel->name);
    for (int i = 0; i < params(kernel); i++)
        clg_put(text, " %s=%d", kernel->space[i].name, values[i]);
}

uint64_t clg_space_id(const struct clg_kernel *kernel)
{
    uint64_t id = clg_hash(CLG_HASH_SEED, kernel->name, strlen(kernel->name));

    for (int i = 0; i < params(kernel); i++) {
        const struct clg_param *param = &kernel->space[i];

        id = clg_hash(id, param->name, strlen(param->name) + 1);
        for (int c = 0; c < choices(param); c++) { /* the same on every machine: records travel */
            const uint32_t v = (uint32_t)param->allowed[c];
            const unsigned char bytes[4] = {(unsigned char)v, (unsigned char)(v >> 8), (unsigned char)(v >> 16),
                                            (unsigned char)(v >> 24)};

            id = clg_hash(id, bytes, sizeof bytes);
        }
    }
    return id;
}

int clg_space_distance(const struct clg_kernel *kernel, const int *a, const int *b)
{
    int steps = 0;

    for (int i = 0; kernel->space && kernel->space[i].name; i++) {
        int at = 0, to = 0;

        while (kernel->space[i].allowed[at] != a[i])
            at++;
        while (kernel->space[i].allowed[to] != b[i])
            to++;
        steps += abs(at - to);
    }
    return steps;
}
