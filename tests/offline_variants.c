/* SPDX-License-Identifier: Apache-2.0 */
/*
 * offline_variants.c: what to compile for a device that is not here.
 *
 *   offline_variants FOLDER gpu|cpu LOCAL GROUP
 *
 * writes FOLDER/<kernel>.cl, the sources of each strategy that such a device may
 * run joined as the library joins them, and prints a line for each set of
 * options to compile them with, with tabs between:
 *
 *   default|sample  kernel  values and problem  options
 *
 * default: what a plan would build untuned, for problems of many kinds; sample:
 * other values of the space.  A line "# kernel: why" names one that cannot run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { SAMPLES = 4, TRIES = 256, MOST = 1024 };

static char *seen[MOST];
static int n_seen;

static bool is_new(const char *kernel, const char *options)
{
    char text[1200];

    snprintf(text, sizeof text, "%s%s", kernel, options);
    for (int i = 0; i < n_seen; i++)
        if (strcmp(seen[i], text) == 0)
            return false;
    if (n_seen == MOST || !(seen[n_seen] = malloc(strlen(text) + 1))) {
        fprintf(stderr, "more than %d variants, or no memory\n", MOST);
        exit(2);
    }
    memcpy(seen[n_seen++], text, strlen(text) + 1);
    return true;
}

/* False: printed before. */
static bool print(const clgaze_context *ctx, const char *kind, const struct clg_kernel *kernel,
                  const clgaze_problem *p, const int *values)
{
    struct clg_stage stage = {.kernel = kernel};
    char options[1024], name[256];
    struct clg_text o = {options, sizeof options, 0}, n = {name, sizeof name, 0};

    memcpy(stage.values, values, sizeof stage.values);
    clg_stage_options(ctx, p, &stage, &o);
    if (!is_new(kernel->name, options))
        return false;
    clg_space_print(kernel, values, &n);
    if (kernel->key) {
        clg_put(&n, ", ");
        kernel->key(p, &n);
    }
    printf("%s\t%s\t%s\t%s\n", kind, kernel->name, name, options);
    return true;
}

/* Every dtype, rule, form of gate and lists, some head sizes. */
static int problems(clgaze_problem *p)
{
    enum { DENSE = CLGAZE_LISTS_DENSE, BLOCKS = CLGAZE_LISTS_BLOCKS };
    static const struct {
        clgaze_dtype dtype;
        int head_dim, causal, packed, lists, lse;
        clgaze_rule rule;
        double value;
    } kinds[] = {
        {CLGAZE_F32, 64, 1, 0, BLOCKS, 0, CLGAZE_TOP_P, 0.9},
        {CLGAZE_F16, 128, 1, 0, BLOCKS, 1, CLGAZE_BUDGET, 2048},
        {CLGAZE_BF16, 256, 0, 1, BLOCKS, 0, CLGAZE_THRESHOLD, 0.01},
        {CLGAZE_F16, 64, 1, 1, BLOCKS, 0, CLGAZE_TOP_K, 8},
        {CLGAZE_F16, 128, 1, 0, DENSE, 0, CLGAZE_RATIO, 0.5},
        {CLGAZE_F32, 80, 0, 0, BLOCKS, 0, CLGAZE_TOP_K, 8},
    };

    for (size_t i = 0; i < CLG_COUNT(kinds); i++) {
        p[i] = clgaze_problem_default();
        p[i].dtype = p[i].weight_dtype = kinds[i].dtype;
        p[i].q_heads = 8;
        p[i].kv_heads = 2;
        p[i].max_q = p[i].max_k = 32768;
        p[i].head_dim = kinds[i].head_dim;
        p[i].causal = kinds[i].causal;
        p[i].packed = kinds[i].packed;
        p[i].lists = (clgaze_lists)kinds[i].lists;
        p[i].lse = kinds[i].lse;
        p[i].rule = kinds[i].rule;
        p[i].value = kinds[i].value;
        p[i].gate_double = i & 1;
        p[i].rope_pairs = i & 1 ? kinds[i].head_dim / 2 : 0;
    }
    return (int)CLG_COUNT(kinds);
}

/* Some configurations that fit, at random. */
static void samples(const clgaze_context *ctx, const struct clg_kernel *kernel, const clgaze_problem *p)
{
    const uint32_t size = (uint32_t)clg_space_size(kernel);
    uint64_t state = 1;
    int n = 0;

    for (int i = 0; i < TRIES && n < SAMPLES; i++) {
        int values[CLG_MAX_PARAMS] = {0};

        clg_space_get(kernel, (int)(clg_random(&state) % size), values);
        if (!kernel->fits(&ctx->device, p, values))
            n += print(ctx, "sample", kernel, p, values);
    }
}

static bool write_sources(const struct clg_kernel *kernel, const char *folder)
{
    char path[1024];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s.cl", folder, kernel->name);
    f = fopen(path, "wb");
    if (!f)
        return false;
    for (int i = 0; kernel->sources[i]; i++)
        for (const struct clg_source *s = clg_sources; s->name; s++)
            if (strcmp(s->name, kernel->sources[i]) == 0) {
                fprintf(f, "#line 1 \"cl/%s\"\n", s->name);
                fwrite(s->text, 1, s->size, f);
            }
    return fclose(f) == 0;
}

static bool list(const clgaze_context *ctx, const struct clg_kernel *kernel, const char *folder)
{
    clgaze_problem p[8];
    const int n = problems(p);
    const char *why = NULL;
    int served = 0;

    for (int i = 0; i < n; i++) {
        int values[CLG_MAX_PARAMS] = {0};

        clg_space_default(kernel, values);
        if ((why = clg_nearest(&ctx->device, kernel, &p[i], values)))
            continue;
        print(ctx, "default", kernel, &p[i], values);
        if (++served <= 2 && kernel->space)
            samples(ctx, kernel, &p[i]);
    }
    if (!served)
        printf("# %s: %s\n", kernel->name, why);
    return !served || write_sources(kernel, folder);
}

int main(int argc, char **argv)
{
    clgaze_context ctx;
    bool ok = true;

    if (argc != 5) {
        fprintf(stderr, "usage: offline_variants FOLDER gpu|cpu LOCAL GROUP\n");
        return 2;
    }
    memset(&ctx, 0, sizeof ctx);
    ctx.device.options = "";
    ctx.device.cpu = strcmp(argv[2], "cpu") == 0;
    ctx.device.local_bytes = strtoul(argv[3], NULL, 10);
    ctx.device.max_group = ctx.device.max_item[0] = ctx.device.max_item[1] = ctx.device.max_item[2] =
        strtoul(argv[4], NULL, 10);
    ctx.device.max_alloc = (size_t)1 << 32;
    ctx.device.compute_units = 64;
    for (int i = 0; clg_kernels[i]; i++)
        ok = list(&ctx, clg_kernels[i], argv[1]) && ok;
    ok = list(&ctx, &clg_kernel_seqs, argv[1]) && list(&ctx, &clg_kernel_lists, argv[1]) && ok;
    for (int i = 0; i < n_seen; i++)
        free(seen[i]);
    if (!ok || fflush(stdout)) {
        fprintf(stderr, "cannot write to %s\n", argv[1]);
        return 2;
    }
    return 0;
}
