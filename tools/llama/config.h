/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.h: what a model's config.json says.
 */
#ifndef CLGAZE_LLAMA_CONFIG_H
#define CLGAZE_LLAMA_CONFIG_H

#include <stdint.h>

/** What a layer has beside the plain matrices; or-ed together. */
enum parts { PART_QKV_BIAS = 1, PART_O_BIAS = 2, PART_MLP_BIAS = 4, PART_QK_NORM = 8, PART_HEAD = 16 };

enum rope_kind { ROPE_PLAIN, ROPE_LINEAR, ROPE_LLAMA3, ROPE_YARN };

struct rope {
    enum rope_kind kind;
    double theta, factor;
    double original;             /**< length of the first training: llama3, yarn    */
    double low_freq, high_freq;  /**< llama3                                        */
    double beta_fast, beta_slow; /**< yarn                                          */
    double mscale, mscale_all;   /**< yarn; 0: not given                            */
    double attention_factor;     /**< yarn; 0: not given                            */
    int32_t truncate;            /**< yarn: the ramp begins and ends at whole pairs */
};

struct config {
    const char *family; /**< "llama", "mistral", "qwen2", "qwen3"               */
    int32_t vocab, hidden, inner, layers, q_heads, kv_heads, head_dim, longest;
    int32_t explicit_head_dim;
    double eps;
    unsigned parts;
    struct rope rope;
};

/**
 * Read DIR/config.json.  Keys that would change the model and are not
 * understood are refused by name.
 *
 * @return 0, or an exit code after a sentence on stderr.
 */
int config_read(const char *dir, struct config *config);

/**
 * Make the inverse frequencies of `dim` / 2 pairs, rounded to float as they are made.
 *
 * @return The factor of cos and sin.
 */
double rope_frequencies(const struct rope *rope, int32_t dim, float *inv_freq);

/** Read a whole text; freed by the caller. @return NULL after a sentence on stderr. */
char *text_read(const char *path);

struct cJSON;
/** Read a "rope_scaling" or "rope_parameters". @return 0, or an exit code after a sentence. */
int rope_read(const struct cJSON *object, struct config *config);

/** Stretch a model without rope_scaling to `factor` times its length by YaRN. @return as above. */
int rope_stretch(struct config *config, double factor);

#endif
