/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tiny_kinds.c: the layouts that clgaze-llama reads, one tiny model each.
 */
#include "tiny_model.h"

#include <math.h>

static double by_four(int pair, double plain)
{
    (void)pair;
    return plain / 4;
}

/* factor 4, low 1, high 4, original 32: waves below 8 stay, above 32 are divided. */
static double llama3(int pair, double plain)
{
    const double wave = 2 * acos(-1) / plain, part = (32 / wave - 1) / 3;

    (void)pair;
    return wave < 8 ? plain : wave > 32 ? plain / 4 : (1 - part) * plain / 4 + part * plain;
}

/* factor 4, original 32, base 10000, 8 channels: 32 turns lie at pair -0.80 and 1 turn at
 * 0.71, so the ramp runs from pair 0 to pair 1. */
static double yarn(int pair, double plain)
{
    return pair < 1 ? plain : plain / 4;
}

/* With beta_slow 0.01 instead of 1 the ramp ends at 2.71, so at pair 3. */
static double yarn_ramp(int pair, double plain)
{
    return plain * (1 - pair / 3.0) + plain / 4 * pair / 3.0;
}

const struct tiny_kind tiny_kinds[TINY_KINDS] = {
    {"llama f32 tied", TINY_LLAMA, "", ST_F32, 0, 1, 0, 0, 0, 0, NULL, 1},
    {"llama f16 shards", TINY_LLAMA, "", ST_F16, 1, 0, 0, 0, 0, 0, NULL, 1},
    {"llama biases", TINY_LLAMA, ", \"attention_bias\": true, \"mlp_bias\": true", ST_F32, 0, 0, 1, 1, 1, 0, NULL, 1},
    {"mistral bf16", TINY_MISTRAL, ", \"sliding_window\": null", ST_BF16, 1, 0, 0, 0, 0, 0, NULL, 1},
    {"qwen2", TINY_QWEN2, ", \"use_sliding_window\": false, \"sliding_window\": 32", ST_F32, 0, 1, 1, 0, 0, 0, NULL,
     1},
    {"qwen3", TINY_QWEN3, "", ST_BF16, 0, 0, 0, 0, 0, 1, NULL, 1},
    {"linear", TINY_LLAMA, TINY_ROPE "{\"type\": \"linear\", \"factor\": 4}", ST_F32, 0, 1, 0, 0, 0, 0, by_four, 1},
    {"llama3", TINY_LLAMA,
     TINY_ROPE "{\"rope_type\": \"llama3\", \"factor\": 4, \"low_freq_factor\": 1, \"high_freq_factor\": 4, "
               "\"original_max_position_embeddings\": 32}",
     ST_F32, 0, 1, 0, 0, 0, 0, llama3, 1},
    /* 0.1 ln 4 + 1 */
    {"yarn", TINY_LLAMA,
     TINY_ROPE "{\"rope_type\": \"yarn\", \"factor\": 4, \"original_max_position_embeddings\": 32}", ST_F32, 0, 1, 0,
     0, 0, 0, yarn, 1.1386294361119891},
    {"yarn attention_factor", TINY_LLAMA,
     TINY_ROPE "{\"rope_type\": \"yarn\", \"factor\": 4, \"original_max_position_embeddings\": 32, "
               "\"attention_factor\": 1.5}",
     ST_F32, 0, 1, 0, 0, 0, 0, yarn, 1.5},
    {"yarn ramp", TINY_LLAMA,
     TINY_ROPE "{\"rope_type\": \"yarn\", \"factor\": 4, \"original_max_position_embeddings\": 32, "
               "\"beta_slow\": 0.01}",
     ST_F32, 0, 1, 0, 0, 0, 0, yarn_ramp, 1.1386294361119891},
};
