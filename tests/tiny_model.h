/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tiny_model.h: a small random model in the Hugging Face layout, and what it
 * gives in plain double arithmetic.
 */
#ifndef CLG_TESTS_TINY_MODEL_H
#define CLG_TESTS_TINY_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "safetensors.h"

enum {
    TINY_LAYERS = 2,
    TINY_VOCAB = 50,
    TINY_HIDDEN = 40,
    TINY_INNER = 72,
    TINY_HEADS = 4,
    TINY_KV = 2,
    TINY_DIM = 8
};
enum { TINY_TENSORS = 64, TINY_QUERY = TINY_HEADS * TINY_DIM, TINY_KEY = TINY_KV * TINY_DIM };

/* How the model differs from a plain Llama. */
struct tiny_kind {
    const char *name, *type, *class;
    const char *more; /* further keys of config.json, each begins with a comma            */
    st_dtype dtype;
    int shards, tied, qkv_bias, o_bias, mlp_bias, qk_norm;
    /* The frequency of a pair from the plain one, and the factor of cos and sin; NULL: plain. */
    double (*frequency)(int pair, double plain);
    double factor;
};

/* The first words of a kind. */
#define TINY_LLAMA   "llama", "LlamaForCausalLM"
#define TINY_MISTRAL "mistral", "MistralForCausalLM"
#define TINY_QWEN2   "qwen2", "Qwen2ForCausalLM"
#define TINY_QWEN3   "qwen3", "Qwen3ForCausalLM"
#define TINY_ROPE    ", \"rope_scaling\": "

enum { TINY_KINDS = 11 };
extern const struct tiny_kind tiny_kinds[TINY_KINDS];

enum { TINY_BLOCK = 8, TINY_SEQ = 128, TINY_BLOCKS = TINY_SEQ / TINY_BLOCK };

/* Weights of the blocks of one query head; q and k after RoPE, of `seq` tokens, strides in numbers. */
typedef void (*tiny_weigh)(int seq, const double *q, const double *k, double w[TINY_BLOCKS][TINY_BLOCKS]);

/* Which blocks a query block keeps: the `top` heaviest of those it sees, the first `sink` and
 * the last `local`. */
struct tiny_rule {
    tiny_weigh weigh; /* NULL: dense */
    int top, sink, local;
};
void tiny_oracle(int seq, const double *q, const double *k, double w[TINY_BLOCKS][TINY_BLOCKS]);
void tiny_meanpool(int seq, const double *q, const double *k, double w[TINY_BLOCKS][TINY_BLOCKS]);
void tiny_window(int seq, const double *q, const double *k, double w[TINY_BLOCKS][TINY_BLOCKS]);
void tiny_lines(int seq, const double *q, const double *k, double w[TINY_BLOCKS][TINY_BLOCKS]);

/* keep[i][j] of one query head. @return How many. */
int tiny_keep(const struct tiny_rule *rule, int seq, const double *q, const double *k,
              int keep[TINY_BLOCKS][TINY_BLOCKS]);

/* What a layer's attention and its gate read, by tokens. */
struct tiny_layer {
    double q[TINY_SEQ][TINY_QUERY], k[TINY_SEQ][TINY_KEY], v[TINY_SEQ][TINY_KEY];
    double q_gate[TINY_SEQ][TINY_QUERY], k_gate[TINY_SEQ][TINY_KEY];
};

struct tiny_model {
    struct tiny_kind kind;
    struct tiny_rule rule;             /* zero: dense */
    int kept, visible;                 /* blocks, since tiny_make() */
    struct tiny_layer of[TINY_LAYERS]; /* of the last sequence */
    st_tensor tensors[TINY_TENSORS];
    char names[TINY_TENSORS][96];
    int n;
};

/* Random weights, rounded to the type. */
void tiny_make(struct tiny_model *m, const struct tiny_kind *kind);
void tiny_free(struct tiny_model *m);

/* The tensor of that name; fails the test where there is none. */
st_tensor *tiny_find(struct tiny_model *m, const char *name);

/* Write config.json and the weights into a folder that is there. */
void tiny_write(const struct tiny_model *m, const char *folder);
void tiny_write_config(const struct tiny_model *m, const char *folder, const char *more);

/* RoPE of one head at place t. */
void tiny_turn(const struct tiny_model *m, int t, const double *x, double *y);

/* The logits after each token of a sequence, [seq][TINY_VOCAB]. */
void tiny_logits(struct tiny_model *m, const uint16_t *tokens, int seq, double *logits);

/* exp of the mean over the sequences of the mean loss of the last three quarters. */
double tiny_perplexity(struct tiny_model *m, const uint16_t *tokens, int seq, int count);

#endif
