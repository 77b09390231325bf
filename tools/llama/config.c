/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.c: config.json of a model, as Hugging Face lays it out.
 */
#include "config.h"

#include "fail.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What sets the architectures apart. */
static const struct family {
    const char *type, *class;
    unsigned always, attention_bias, mlp_bias; /* parts; the latter where the key is true */
    int32_t head_dim, kv_heads;                /* where config.json says nothing; 0: from the others, -1: refused */
    int window;                                /* 1: a window of 4096 unless the key says null */
} families[] = {
    {"llama", "LlamaForCausalLM", 0, PART_QKV_BIAS | PART_O_BIAS, PART_MLP_BIAS, 0, 0, 0},
    {"mistral", "MistralForCausalLM", 0, 0, 0, 0, -1, 1},
    {"qwen2", "Qwen2ForCausalLM", PART_QKV_BIAS, 0, 0, 0, -1, 0},
    {"qwen3", "Qwen3ForCausalLM", PART_QK_NORM, PART_QKV_BIAS | PART_O_BIAS, 0, 128, -1, 0},
};

enum { N_FAMILIES = sizeof families / sizeof *families };
enum kind { WHOLE, REAL, NEEDED_WHOLE, HARMLESS, ELSEWHERE };

/* Every key that may hold something: numbers that are read, keys that change
 * nothing here, and keys that functions below look at. */
static const struct key {
    const char *key;
    enum kind kind;
    size_t offset;
} keys[] = {
#define TO(field) offsetof(struct config, field)
    {"vocab_size", NEEDED_WHOLE, TO(vocab)},
    {"hidden_size", NEEDED_WHOLE, TO(hidden)},
    {"intermediate_size", NEEDED_WHOLE, TO(inner)},
    {"num_hidden_layers", NEEDED_WHOLE, TO(layers)},
    {"num_attention_heads", NEEDED_WHOLE, TO(q_heads)},
    {"num_key_value_heads", WHOLE, TO(kv_heads)},
    {"head_dim", WHOLE, TO(head_dim)},
    {"max_position_embeddings", NEEDED_WHOLE, TO(longest)},
    {"rms_norm_eps", REAL, TO(eps)},
    {"rope_theta", REAL, TO(rope.theta)},
    {"model_type", ELSEWHERE, 0},
    {"architectures", ELSEWHERE, 0},
    {"hidden_act", ELSEWHERE, 0},
    {"rope_scaling", ELSEWHERE, 0},
    {"rope_parameters", ELSEWHERE, 0},
    {"tie_word_embeddings", ELSEWHERE, 0},
    {"attention_bias", ELSEWHERE, 0},
    {"mlp_bias", ELSEWHERE, 0},
    {"sliding_window", ELSEWHERE, 0},
    {"use_sliding_window", ELSEWHERE, 0},
    {"layer_types", ELSEWHERE, 0},
    {"max_window_layers", HARMLESS, 0}, /* of use_sliding_window, which is refused */
    {"partial_rotary_factor", ELSEWHERE, 0},
    {"torch_dtype", HARMLESS, 0}, /* the tensors say it */
    {"dtype", HARMLESS, 0},
    {"attention_dropout", HARMLESS, 0}, /* training */
    {"initializer_range", HARMLESS, 0},
    {"pretraining_tp", HARMLESS, 0},
    {"use_cache", HARMLESS, 0},
    {"bos_token_id", HARMLESS, 0}, /* no token is added */
    {"eos_token_id", HARMLESS, 0},
    {"pad_token_id", HARMLESS, 0},
    {"transformers_version", HARMLESS, 0},
    {"_name_or_path", HARMLESS, 0},
#undef TO
};

enum { N_KEYS = sizeof keys / sizeof *keys };

char *text_read(const char *path)
{
    FILE *in = fopen(path, "rb");
    char *text = NULL;
    long size = -1;
    if (in && fseek(in, 0, SEEK_END) == 0 && (size = ftell(in)) >= 0 && fseek(in, 0, SEEK_SET) == 0)
        text = size < 1 << 28 ? malloc((size_t)size + 1) : NULL;
    if (text && fread(text, 1, (size_t)size, in) == (size_t)size)
        text[size] = 0;
    else {
        fail(EXIT_INPUT, "%s cannot be read: %s", path, errno ? strerror(errno) : "it is too large");
        free(text);
        text = NULL;
    }
    if (in)
        fclose(in);
    return text;
}

static const cJSON *get(const cJSON *root, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, key);
    return cJSON_IsNull(item) ? NULL : item;
}

static int is_true(const cJSON *root, const char *key)
{
    return cJSON_IsTrue(get(root, key));
}

static int key_read(const cJSON *item, struct config *config)
{
    const struct key *k = NULL;
    for (int i = 0; i < N_KEYS; i++)
        if (item->string && strcmp(keys[i].key, item->string) == 0)
            k = &keys[i];
    if (cJSON_IsNull(item) || (k && (k->kind == HARMLESS || k->kind == ELSEWHERE)))
        return 0;
    if (!k)
        return fail(EXIT_INPUT, "key \"%.60s\" is not supported", item->string);
    const double v = cJSON_IsNumber(item) ? item->valuedouble : -1;
    if (k->kind == REAL) {
        if (!(v > 0 && v < 1e30))
            return fail(EXIT_INPUT, "key \"%s\" must be a number above 0", k->key);
        *(double *)(void *)((char *)config + k->offset) = v;
        return 0;
    }
    if (!(v >= 1 && v <= 1 << 24) || v != (double)(int32_t)v)
        return fail(EXIT_INPUT, "key \"%s\" must be a whole number from 1 to %d", k->key, 1 << 24);
    *(int32_t *)(void *)((char *)config + k->offset) = (int32_t)v;
    return 0;
}

static int family_read(const cJSON *root, const struct family **family)
{
    const char *type = cJSON_GetStringValue(get(root, "model_type"));
    const cJSON *classes = get(root, "architectures");
    const char *class = cJSON_GetStringValue(cJSON_GetArrayItem(classes, 0));
    for (int i = 0; type && i < N_FAMILIES; i++)
        if (strcmp(type, families[i].type) == 0)
            *family = &families[i];
    if (!*family)
        return fail(EXIT_INPUT, "model_type \"%.60s\" is not supported; llama, mistral, qwen2 and qwen3 are",
                    type ? type : "(none)");
    if (classes && (!class || strcmp(class, (*family)->class) != 0 || cJSON_GetArraySize(classes) != 1))
        return fail(EXIT_INPUT, "architecture \"%.60s\" is not supported; with model_type %s, %s is",
                    class ? class : "?", type, (*family)->class);
    return 0;
}

/* Keys that other models use to change what attention or the layers do. */
static int refuse_variants(const cJSON *root, const struct family *f)
{
    const cJSON *item, *partial = get(root, "partial_rotary_factor");
    const char *act = cJSON_GetStringValue(get(root, "hidden_act"));
    const int qwen = strncmp(f->type, "qwen", 4) == 0;
    if (act && strcmp(act, "silu") != 0)
        return fail(EXIT_INPUT, "hidden_act \"%.40s\" is not supported; silu is", act);
    if (partial && (!cJSON_IsNumber(partial) || partial->valuedouble != 1))
        return fail(EXIT_INPUT, "partial_rotary_factor is not supported, but for 1");
    if (is_true(root, "use_sliding_window") || (!qwen && get(root, "sliding_window")))
        return fail(EXIT_INPUT, "sliding_window is not supported");
    if (f->window && !cJSON_GetObjectItemCaseSensitive(root, "sliding_window"))
        return fail(EXIT_INPUT,
                    "sliding_window is missing, which means 4096 with model_type %s and is not supported; "
                    "null is",
                    f->type);
    cJSON_ArrayForEach(item, get(root, "layer_types"))
    {
        const char *type = cJSON_GetStringValue(item);
        if (!type || strcmp(type, "full_attention") != 0)
            return fail(EXIT_INPUT, "layer type \"%.40s\" is not supported; full_attention is", type ? type : "?");
    }
    if (is_true(root, "attention_bias") && !f->attention_bias)
        return fail(EXIT_INPUT, "attention_bias is not supported with model_type %s", f->type);
    if (is_true(root, "mlp_bias") && !f->mlp_bias)
        return fail(EXIT_INPUT, "mlp_bias is not supported with model_type %s", f->type);
    return 0;
}

static int needed(const cJSON *root, const struct family *f)
{
    for (int i = 0; i < N_KEYS; i++)
        if (keys[i].kind == NEEDED_WHOLE && !get(root, keys[i].key))
            return fail(EXIT_INPUT, "key \"%s\" is missing", keys[i].key);
    if (f->kv_heads < 0 && !get(root, "num_key_value_heads"))
        return fail(EXIT_INPUT, "key \"num_key_value_heads\" is missing");
    return 0;
}

static int shape_check(struct config *c, const struct family *f)
{
    if (!c->kv_heads)
        c->kv_heads = c->q_heads;
    c->explicit_head_dim = c->head_dim != 0;
    if (!c->head_dim)
        c->head_dim = f->head_dim ? f->head_dim : c->hidden / c->q_heads;
    if (!c->explicit_head_dim && !f->head_dim && c->hidden % c->q_heads)
        return fail(EXIT_INPUT, "hidden_size %d is no multiple of num_attention_heads %d", c->hidden, c->q_heads);
    if (c->q_heads % c->kv_heads)
        return fail(EXIT_INPUT, "num_attention_heads %d is no multiple of num_key_value_heads %d", c->q_heads,
                    c->kv_heads);
    if (c->head_dim % 8 || c->head_dim > 256)
        return fail(EXIT_INPUT, "head size %d is not supported; multiples of 8 up to 256 are", c->head_dim);
    return 0;
}

static int understand(const cJSON *root, struct config *c)
{
    const struct family *f = NULL;
    const cJSON *item, *rope = get(root, "rope_scaling");
    int code = cJSON_IsObject(root) ? family_read(root, &f) : fail(EXIT_INPUT, "it is no JSON object");
    if (!code && f)
        code = refuse_variants(root, f);
    if (!code && f)
        code = needed(root, f);
    if (code || !f)
        return code;
    memset(c, 0, sizeof *c);
    c->eps = 1e-6;
    c->rope.theta = 1e4;
    c->family = f->type;
    c->parts = f->always | (is_true(root, "attention_bias") ? f->attention_bias : 0) |
               (is_true(root, "mlp_bias") ? f->mlp_bias : 0) |
               (is_true(root, "tie_word_embeddings") ? 0 : (unsigned)PART_HEAD);
    cJSON_ArrayForEach(item, root)
    {
        if ((code = key_read(item, c)))
            return code;
    }
    if (rope && get(root, "rope_parameters"))
        return fail(EXIT_INPUT, "rope_scaling and rope_parameters are both given");
    rope = rope ? rope : get(root, "rope_parameters");
    if (rope && (code = rope_read(rope, c)))
        return code;
    return shape_check(c, f);
}

int config_read(const char *dir, struct config *config)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/config.json", dir);
    char *text = text_read(path);
    if (!text)
        return EXIT_INPUT;
    cJSON *root = cJSON_Parse(text);
    free(text);
    fail_about(path);
    int code = root ? understand(root, config) : fail(EXIT_INPUT, "it is not JSON");
    fail_about(NULL);
    cJSON_Delete(root);
    return code;
}
