/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rope.c: rope_scaling, and the frequencies that it makes.
 */
#include "config.h"

#include "fail.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

static const double two_pi = 6.283185307179586476925;

enum { NEEDED = 1 };

/* The numbers that each kind reads; any other key is refused. */
static const struct number {
    const char *key;
    unsigned kinds; /* bits of enum rope_kind */
    unsigned needed;
    size_t offset;
} numbers[] = {
#define TO(field)  offsetof(struct rope, field)
#define BIT(kind)  (1u << (kind))
#define ALL_SCALED (BIT(ROPE_LINEAR) | BIT(ROPE_LLAMA3) | BIT(ROPE_YARN))
    {"rope_theta", ALL_SCALED | BIT(ROPE_PLAIN), 0, TO(theta)},
    {"factor", ALL_SCALED, NEEDED, TO(factor)},
    {"original_max_position_embeddings", BIT(ROPE_LLAMA3), NEEDED, TO(original)},
    {"original_max_position_embeddings", BIT(ROPE_YARN), 0, TO(original)},
    {"low_freq_factor", BIT(ROPE_LLAMA3), NEEDED, TO(low_freq)},
    {"high_freq_factor", BIT(ROPE_LLAMA3), NEEDED, TO(high_freq)},
    {"beta_fast", BIT(ROPE_YARN), 0, TO(beta_fast)},
    {"beta_slow", BIT(ROPE_YARN), 0, TO(beta_slow)},
    {"mscale", BIT(ROPE_YARN), 0, TO(mscale)},
    {"mscale_all_dim", BIT(ROPE_YARN), 0, TO(mscale_all)},
    {"attention_factor", BIT(ROPE_YARN), 0, TO(attention_factor)},
#undef TO
};

enum { N_NUMBERS = sizeof numbers / sizeof *numbers };

static const char *const kind_names[] = {"default", "linear", "llama3", "yarn"};

static int kind_read(const cJSON *object, enum rope_kind *kind)
{
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(object, "rope_type");
    if (!type)
        type = cJSON_GetObjectItemCaseSensitive(object, "type");
    const char *text = type ? cJSON_GetStringValue(type) : "default";
    for (int i = 0; text && i < 4; i++)
        if (strcmp(text, kind_names[i]) == 0) {
            *kind = (enum rope_kind)i;
            return 0;
        }
    return fail(EXIT_INPUT,
                "rope_type \"%.40s\" of rope_scaling is not supported; default, linear, llama3 and yarn are",
                text ? text : "?");
}

static int number_read(const cJSON *item, struct rope *rope)
{
    for (int i = 0; i < N_NUMBERS; i++) {
        if (strcmp(numbers[i].key, item->string) != 0 || !(numbers[i].kinds & BIT(rope->kind)))
            continue;
        if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble) || item->valuedouble <= 0)
            return fail(EXIT_INPUT, "key \"%s\" of rope_scaling must be a number above 0", item->string);
        *(double *)(void *)((char *)rope + numbers[i].offset) = item->valuedouble;
        return 0;
    }
    return fail(EXIT_INPUT, "key \"%.60s\" of rope_scaling is not supported with rope_type \"%s\"", item->string,
                kind_names[rope->kind]);
}

/* What the numbers must be to each other. */
static int check(const struct rope *r)
{
    if (r->kind == ROPE_LLAMA3 && r->high_freq <= r->low_freq)
        return fail(EXIT_INPUT, "high_freq_factor of rope_scaling is %g, but must be above low_freq_factor, %g",
                    r->high_freq, r->low_freq);
    if (r->kind == ROPE_YARN && r->theta <= 1)
        return fail(EXIT_INPUT, "rope_theta is %g, but must be above 1 with rope_type \"yarn\"", r->theta);
    return 0;
}

/* What yarn's keys mean where they are not given. */
static void begin(struct config *config)
{
    struct rope *r = &config->rope;
    r->beta_fast = 32;
    r->beta_slow = 1;
    r->truncate = 1;
    r->original = config->longest;
}

int rope_stretch(struct config *config, double factor)
{
    struct rope *r = &config->rope;
    if (r->kind != ROPE_PLAIN)
        return fail(EXIT_INPUT, "--rope-scaling is given, but config.json has the rope_type \"%s\" already",
                    kind_names[r->kind]);
    if (factor * config->longest > 1 << 24)
        return fail(EXIT_INPUT, "--factor is %g, which makes more than %d tokens of the model's %d", factor, 1 << 24,
                    (int)config->longest);
    begin(config);
    r->kind = ROPE_YARN;
    r->factor = factor;
    config->longest = (int32_t)(config->longest * factor);
    return check(r);
}

int rope_read(const cJSON *object, struct config *config)
{
    struct rope *r = &config->rope;
    const cJSON *item;
    if (!cJSON_IsObject(object))
        return fail(EXIT_INPUT, "rope_scaling must be null or an object");
    int code = kind_read(object, &r->kind);
    begin(config);
    cJSON_ArrayForEach(item, object)
    {
        if (code)
            return code;
        if (strcmp(item->string, "rope_type") == 0 || strcmp(item->string, "type") == 0 || cJSON_IsNull(item))
            continue;
        if (strcmp(item->string, "truncate") == 0 && cJSON_IsBool(item) && r->kind == ROPE_YARN)
            r->truncate = cJSON_IsTrue(item);
        else
            code = number_read(item, r);
    }
    for (int i = 0; i < N_NUMBERS && !code; i++)
        if (numbers[i].needed && (numbers[i].kinds & BIT(r->kind)) &&
            !cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(object, numbers[i].key)))
            code = fail(EXIT_INPUT, "rope_scaling lacks the key \"%s\" of rope_type \"%s\"", numbers[i].key,
                        kind_names[r->kind]);
    return code ? code : check(r);
}

static double llama3(const struct rope *r, double f)
{
    const double wave = two_pi / f;
    if (wave < r->original / r->high_freq)
        return f;
    if (wave > r->original / r->low_freq)
        return f / r->factor;
    const double smooth = (r->original / wave - r->low_freq) / (r->high_freq - r->low_freq);
    return (1 - smooth) * f / r->factor + smooth * f;
}

/* The pair that turns `turns` times over the original length. */
static double pair_of(const struct rope *r, int32_t dim, double turns)
{
    return dim * log(r->original / (turns * two_pi)) / (2 * log(r->theta));
}

static double yarn(const struct rope *r, int32_t dim, int32_t j, double f)
{
    double low = pair_of(r, dim, r->beta_fast), high = pair_of(r, dim, r->beta_slow);
    if (r->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, dim - 1);
    if (low == high)
        high += 0.001;
    const double ramp = fmin(fmax((j - low) / (high - low), 0), 1);
    return f / r->factor * ramp + f * (1 - ramp);
}

static double magnitude(double factor, double mscale)
{
    return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1;
}

double rope_frequencies(const struct rope *r, int32_t dim, float *inv_freq)
{
    for (int32_t j = 0; j < dim / 2; j++) {
        const double f = (double)(float)(1 / pow(r->theta, 2.0 * j / dim));
        inv_freq[j] = (float)(r->kind == ROPE_LINEAR   ? f / r->factor
                              : r->kind == ROPE_LLAMA3 ? llama3(r, f)
                              : r->kind == ROPE_YARN   ? yarn(r, dim, j, f)
                                                       : f);
    }
    if (r->kind != ROPE_YARN)
        return 1;
    if (r->attention_factor > 0)
        return r->attention_factor;
    if (r->mscale > 0 && r->mscale_all > 0)
        return magnitude(r->factor, r->mscale) / magnitude(r->factor, r->mscale_all);
    return magnitude(r->factor, 1);
}
