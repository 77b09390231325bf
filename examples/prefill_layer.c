/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prefill_layer.c: a layer from a safetensors file, RoPE applied.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "prefill.h"

static const char *const rules[] = {[CLGAZE_TOP_K] = "topk",
                                    [CLGAZE_RATIO] = "ratio",
                                    [CLGAZE_BUDGET] = "budget",
                                    [CLGAZE_THRESHOLD] = "threshold",
                                    [CLGAZE_TOP_P] = "topp"};

enum { RULES = sizeof rules / sizeof *rules };

const char *rule_name(clgaze_rule rule)
{
    return rules[rule];
}

int layer_rule(struct layer *layer, const char *rule, const char *value)
{
    char *end;
    int i = 0;

    if (rule) {
        while (i < RULES && strcmp(rules[i], rule) != 0)
            i++;
        if (i == RULES)
            return fail(EXIT_INPUT, "rule is \"%.40s\", but must be topk, ratio, budget, threshold or topp", rule);
        layer->problem.rule = (clgaze_rule)i;
    }
    if (value) {
        layer->problem.value = strtod(value, &end);
        if (end == value || *end || !isfinite(layer->problem.value))
            return fail(EXIT_INPUT, "value is \"%.40s\", but must be a number", value);
    }
    return 0;
}

/* ---- number formats ---- */

/* The nearest half, ties to even. */
static uint16_t half_of(double x)
{
    double a = fabs(x);
    int exponent;

    if (isnan(x))
        return 0x7e00;
    if (a >= 65520)
        return signbit(x) ? 0xfc00 : 0x7c00;
    frexp(a, &exponent);
    exponent = exponent - 1 < -14 ? -14 : exponent - 1;
    return (uint16_t)((signbit(x) ? 0x8000 : 0) + (exponent + 14) * 1024 + (int)nearbyint(ldexp(a, 10 - exponent)));
}

static uint16_t bf16_of(double x)
{
    float f = (float)x;
    uint32_t u;

    memcpy(&u, &f, sizeof u);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static void put(void *data, size_t i, st_dtype dtype, double x)
{
    if (dtype == ST_F32)
        ((float *)data)[i] = (float)x;
    else
        ((uint16_t *)data)[i] = dtype == ST_F16 ? half_of(x) : bf16_of(x);
}

/* ---- RoPE ---- */

/* Rotate the channels (j, j + n) of every token by position * inv_freq[j]; the
 * channels from 2n on stay. */
static void *rotated(const st_tensor *x, const st_tensor *inv_freq)
{
    size_t n = inv_freq->data ? inv_freq->elements : 0, dim = (size_t)x->shape[3], heads = (size_t)x->shape[2];
    void *y = malloc(x->bytes);

    if (!y)
        return NULL;
    for (size_t i = 0; i < x->elements; i++) {
        size_t channel = i % dim, token = i / dim / heads, j = channel % (n ? n : 1);
        double angle = channel < 2 * n ? (double)token * st_value(inv_freq, j) : 0;
        size_t first = i - channel + j;
        double value = st_value(x, i);

        if (channel < n)
            value = st_value(x, first) * cos(angle) - st_value(x, first + n) * sin(angle);
        else if (channel < 2 * n)
            value = st_value(x, first + n) * cos(angle) + st_value(x, first) * sin(angle);
        put(y, i, x->dtype, value);
    }
    return y;
}

/* ---- the file ---- */

static const struct {
    st_dtype file;
    clgaze_dtype dtype;
} dtypes[] = {{ST_F32, CLGAZE_F32}, {ST_F16, CLGAZE_F16}, {ST_BF16, CLGAZE_BF16}};

static int dtype_of(const st_tensor *t, clgaze_dtype *dtype)
{
    for (int i = 0; i < 3; i++)
        if (dtypes[i].file == t->dtype)
            return *dtype = dtypes[i].dtype, 0;
    return fail(EXIT_INPUT, "tensor %s is %s, but must be F32, F16 or BF16", t->name, st_dtype_name(t->dtype));
}

static int find(const struct layer *layer, const char *name, int rank, st_tensor *to)
{
    const st_tensor *t = st_find(layer->file, name);
    char shape[128];

    if (!t)
        return fail(EXIT_INPUT, "there is no tensor %s", name);
    if (t->rank != rank || t->elements == 0)
        return fail(EXIT_INPUT, "tensor %s has shape %s, but must have %d dimensions, none of them 0", name,
                    st_shape_text(t, shape, sizeof shape), rank);
    *to = *t;
    return 0;
}

/* All token tensors are [1, tokens, heads, D] of one type. */
static int check_tokens(const struct layer *layer, const st_tensor *t, int heads)
{
    char shape[128];

    if (t->shape[0] != 1 || t->shape[1] != layer->tokens || t->shape[2] != heads ||
        t->shape[3] != layer->problem.head_dim)
        return fail(EXIT_INPUT, "tensor %s has shape %s, but must be [1,%d,%d,%d] beside the others", t->name,
                    st_shape_text(t, shape, sizeof shape), layer->tokens, heads, layer->problem.head_dim);
    if (t->dtype != layer->q_gate.dtype)
        return fail(EXIT_INPUT, "tensor %s is %s, but must be of q_gate's type %s", t->name, st_dtype_name(t->dtype),
                    st_dtype_name(layer->q_gate.dtype));
    return 0;
}

/* The rotated twin of `gate`: the file's own, or made here. */
static int take_rotated(struct layer *layer, const char *name, const st_tensor *gate, st_tensor *to, void **own)
{
    if (st_find(layer->file, name))
        return find(layer, name, 4, to);
    *to = *gate;
    to->name = name;
    to->data = *own = rotated(gate, &layer->rope_inv_freq);
    return *own ? 0 : fail(EXIT_INPUT, "host memory ran out");
}

static int take_tensors(struct layer *layer)
{
    int code = 0;

    if ((code = find(layer, "q_gate", 4, &layer->q_gate)) || (code = find(layer, "k_gate", 4, &layer->k_gate)) ||
        (code = find(layer, "v", 4, &layer->v)) || (code = find(layer, "w_k", 3, &layer->w_k)))
        return code;
    if (st_find(layer->file, "rope_inv_freq") && (code = find(layer, "rope_inv_freq", 1, &layer->rope_inv_freq)))
        return code;
    if (layer->rope_inv_freq.data &&
        (layer->rope_inv_freq.dtype != ST_F32 || 2 * layer->rope_inv_freq.shape[0] > layer->q_gate.shape[3]))
        return fail(EXIT_INPUT, "tensor rope_inv_freq must be F32 with at most D/2 numbers");
    for (int i = 1; i < 4; i++)
        if (layer->q_gate.shape[i] > 1 << 24 || layer->k_gate.shape[i] > 1 << 24)
            return fail(EXIT_INPUT, "tensor q_gate or k_gate is larger than this example reads");
    return 0;
}

static int read_problem(struct layer *layer)
{
    clgaze_problem *p = &layer->problem;
    const char *block = st_meta(layer->file, "block"), *causal = st_meta(layer->file, "causal");
    int code;

    *p = clgaze_problem_default();
    layer->tokens = (int)layer->q_gate.shape[1];
    p->q_heads = (int32_t)layer->q_gate.shape[2];
    p->kv_heads = (int32_t)layer->k_gate.shape[2];
    p->head_dim = (int32_t)layer->q_gate.shape[3];
    p->block_q = p->block_k = block ? (int32_t)strtol(block, NULL, 10) : 64;
    p->causal = !causal || strtol(causal, NULL, 10) != 0;
    p->max_q = p->max_k = layer->tokens;
    p->rope_pairs = layer->rope_inv_freq.data ? (int32_t)layer->rope_inv_freq.shape[0] : 0;
    p->value = .7;
    if ((code = dtype_of(&layer->q_gate, &p->dtype)) || (code = dtype_of(&layer->w_k, &p->weight_dtype)))
        return code;
    return layer_rule(layer, st_meta(layer->file, "rule"), st_meta(layer->file, "value"));
}

int layer_open(const char *path, struct layer *layer)
{
    char why[ST_WHY];
    int code;

    memset(layer, 0, sizeof *layer);
    fail_about(path);
    if (st_open(path, &layer->file, why, sizeof why))
        return fail(EXIT_INPUT, "%s", why);
    if ((code = take_tensors(layer)) || (code = read_problem(layer)) ||
        (code = check_tokens(layer, &layer->q_gate, layer->problem.q_heads)) ||
        (code = check_tokens(layer, &layer->k_gate, layer->problem.kv_heads)) ||
        (code = check_tokens(layer, &layer->v, layer->problem.kv_heads)) ||
        (code = take_rotated(layer, "q", &layer->q_gate, &layer->q, &layer->own[0])) ||
        (code = take_rotated(layer, "k", &layer->k_gate, &layer->k, &layer->own[1])) ||
        (code = check_tokens(layer, &layer->q, layer->problem.q_heads)) ||
        (code = check_tokens(layer, &layer->k, layer->problem.kv_heads)))
        return code;
    fail_about(NULL);
    return 0;
}

void layer_close(struct layer *layer)
{
    free(layer->own[0]);
    free(layer->own[1]);
    st_close(layer->file);
}
