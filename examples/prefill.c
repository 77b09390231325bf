/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prefill.c: the main job of clgaze on a real attention layer.
 *
 * Reads a layer, runs pool, gate, score, select and attend, the same as one
 * call, and dense attention; prints what each took, how much of the attention
 * the chosen blocks hold and how far the output is from dense attention's, and
 * draws what the gate scored and chose.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "prefill.h"

#ifndef CLGAZE_EXAMPLES_DIR
#define CLGAZE_EXAMPLES_DIR "examples"
#endif

/* ---- the command line ---- */

struct command {
    const char *device, *in, *rule, *value, *svg, *repeat;
};

static const struct {
    const char *name;
    size_t offset;
    const char *help;
} options[] = {
    {"--device", offsetof(struct command, device), "index, or part of a name, of an OpenCL device (the first GPU)"},
    {"--in", offsetof(struct command, in), "safetensors file with q_gate, k_gate, v, w_k, rope_inv_freq"},
    {"--rule", offsetof(struct command, rule), "topk, ratio, budget, threshold or topp (the file's)"},
    {"--value", offsetof(struct command, value), "of the rule: topp .7 keeps 70 % of the gate's attention"},
    {"--svg", offsetof(struct command, svg), "where to draw the picture (prefill.svg)"},
    {"--repeat", offsetof(struct command, repeat), "runs of which the median time counts (5)"},
};

enum { OPTIONS = sizeof options / sizeof *options };

static int help(void)
{
    printf("prefill: block-sparse attention on a real layer, beside dense attention\n\n");
    for (int i = 0; i < OPTIONS; i++)
        printf("  %-9s %s\n", options[i].name, options[i].help);
    return -1; /* nothing more to do */
}

static int read_command(int argc, char **argv, struct command *command)
{
    for (int i = 1; i < argc; i++) {
        int o = 0;

        if (strcmp(argv[i], "--help") == 0)
            return help();
        while (o < OPTIONS && strcmp(argv[i], options[o].name) != 0)
            o++;
        if (o == OPTIONS)
            return fail(EXIT_INPUT, "%.40s is not an option; see --help", argv[i]);
        if (++i == argc)
            return fail(EXIT_INPUT, "%s needs a value", options[o].name);
        memcpy((char *)command + options[o].offset, &argv[i], sizeof argv[i]);
    }
    return 0;
}

/* ---- heads in numbers ---- */

int visible_blocks(const struct layer *layer, const struct result *result, int i)
{
    int last = (i + 1) * layer->problem.block_q - 1; /* queries and keys are the same tokens */

    if (!layer->problem.causal || last >= layer->tokens)
        return result->cols;
    return last / layer->problem.block_k + 1;
}

static double density(const struct layer *layer, const struct result *r, int h)
{
    double kept = 0, visible = 0;

    for (int i = 0; i < r->rows; i++) {
        kept += r->counts[h * r->rows + i];
        visible += visible_blocks(layer, r, i);
    }
    return kept / visible;
}

/* Both sums of exponentials are relative to the same scores, so the ratio of
 * the sparse one to the dense one is the kept share of the exact softmax. */
static double mass(const struct layer *layer, const struct result *r, int h)
{
    double sum = 0;

    for (int t = 0; t < layer->tokens; t++) {
        size_t at = (size_t)h * (size_t)layer->tokens + (size_t)t;

        sum += exp((double)r->lse[at] - (double)r->lse_dense[at]);
    }
    return sum / layer->tokens;
}

/* Norm of a - b over norm of b, for one head or (h < 0) all. */
static double error(const struct layer *layer, const void *a, const void *b, int h)
{
    size_t heads = (size_t)layer->problem.q_heads, dim = (size_t)layer->problem.head_dim;
    st_tensor x = layer->q, y = layer->q; /* same type and shape */
    double off = 0, all = 0;

    x.data = a;
    y.data = b;
    for (size_t i = 0; i < x.elements; i++) {
        double v = st_value(&y, i), d = st_value(&x, i) - v;

        if (h >= 0 && i / dim % heads != (size_t)h)
            continue;
        off += d * d;
        all += v * v;
    }
    return sqrt(off / all);
}

/* ---- the report ---- */

static void print_head(const struct layer *layer, const struct result *r)
{
    const clgaze_problem *p = &layer->problem;

    printf("device     %s, driver %s\n", r->device, r->driver);
    printf("layer      %d tokens, %d query heads on %d key-value head%s, D %d, %s, blocks of %d, %s\n", layer->tokens,
           p->q_heads, p->kv_heads, p->kv_heads > 1 ? "s" : "", p->head_dim, clgaze_dtype_name(p->dtype), p->block_q,
           p->causal ? "causal" : "not causal");
    printf("selection  rule %s, value %g\n\n", rule_name(p->rule), p->value);
}

static void print_times(const struct result *r, double density)
{
    double sum = 0;

    printf("%-18s %9s  %s\n", "stage", "ms", "kernel");
    for (int i = POOL; i <= ATTEND; i++) {
        printf("%-18s %9.3f  %s\n", stage_names[i], r->ms[i], r->kernel[i]);
        sum += r->ms[i];
    }
    printf("%-18s %9.3f\n", "all five", sum);
    printf("%-18s %9.3f  the same as one call\n", "prefill", r->ms[WHOLE]);
    printf("%-18s %9.3f  %s\n\n", "dense attention", r->ms[DENSE], r->kernel[DENSE]);
    printf("speed-up   %.2f times quicker than dense attention (attend alone %.2f, its blocks allow %.2f)\n\n",
           r->ms[DENSE] / r->ms[WHOLE], r->ms[DENSE] / r->ms[ATTEND], 1 / density);
}

static struct head print_heads(const struct layer *layer, const struct result *r, struct head *heads)
{
    struct head mean = {0};
    int n = layer->problem.q_heads, worst = 0;

    printf("%-6s %12s %20s %21s\n", "head", "blocks kept", "attention mass kept", "output against dense");
    for (int h = 0; h < n; h++) {
        printf("%-6d %11.1f%% %19.1f%% %21.3f\n", h, 100 * heads[h].density, 100 * heads[h].mass, heads[h].error);
        mean.density += heads[h].density / n;
        mean.mass += heads[h].mass / n;
        if (heads[h].mass < heads[worst].mass)
            worst = h;
    }
    mean.error = error(layer, r->out, r->out_dense, -1);
    printf("%-6s %11.1f%% %19.1f%% %21.3f\n", "all", 100 * mean.density, 100 * mean.mass, mean.error);
    printf("%-6s head %d keeps the least of its attention: %.1f%%\n\n", "", worst, 100 * heads[worst].mass);
    return mean;
}

/* The one call must give what the five gave. */
static int check_whole(const struct layer *layer, const struct result *r)
{
    double off = error(layer, r->out_whole, r->out, -1);

    return off <= 1e-3 ? 0 : fail(EXIT_DIFFERS, "prefill as one call differs from the five operations by %g", off);
}

static int report(const struct command *command, const struct layer *layer, const struct result *r)
{
    const char *svg = command->svg ? command->svg : "prefill.svg";
    struct head *heads = calloc((size_t)layer->problem.q_heads, sizeof *heads);
    double all = 0;
    int code;

    if (!heads)
        return fail(EXIT_INPUT, "host memory ran out");
    for (int h = 0; h < layer->problem.q_heads; h++) {
        heads[h] = (struct head){density(layer, r, h), mass(layer, r, h), error(layer, r->out, r->out_dense, h)};
        all += heads[h].density / layer->problem.q_heads;
    }
    print_head(layer, r);
    print_times(r, all);
    print_heads(layer, r, heads);
    code = check_whole(layer, r);
    if (!code && !(code = picture_write(svg, layer, r, heads)))
        printf("picture    %s (open it in a browser)\n", svg);
    free(heads);
    return code;
}

int main(int argc, char **argv)
{
    struct command command = {0};
    struct layer layer = {0};
    struct result result = {0};
    char *end = NULL;
    long repeat;
    int code;

    fail_setup("prefill", 0);
    if ((code = read_command(argc, argv, &command)))
        return code < 0 ? 0 : code;
    repeat = command.repeat ? strtol(command.repeat, &end, 10) : 5;
    if (repeat < 1 || repeat > 1000 || (end && (end == command.repeat || *end)))
        return fail(EXIT_INPUT, "--repeat is \"%.40s\", but must be a whole number from 1 to 1000", command.repeat);
    if (!(code = layer_open(command.in ? command.in : CLGAZE_EXAMPLES_DIR "/data/layer.safetensors", &layer)) &&
        !(code = layer_rule(&layer, command.rule, command.value)) &&
        !(code = run_layer(&layer, command.device, (int)repeat, &result)))
        code = report(&command, &layer, &result);
    result_free(&result);
    layer_close(&layer);
    return code;
}
