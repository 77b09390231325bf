/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model.c: which tensors a model has, and their way to the device.
 */
#include "model.h"

#include "fail.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum extent { NONE, VOCAB, HIDDEN, INNER, QUERY, KEY, HEAD };

/* One line a tensor: its name, its place, its shape; a vector has no columns. */
struct slot {
    const char *name;
    size_t offset;
    enum extent rows, cols;
    unsigned part; /* only in models with that part; 0: in all */
};

#define TO(field) offsetof(struct layer, field)
static const struct slot of_layer[] = {
    {"input_layernorm.weight", TO(norm_attend), HIDDEN, NONE, 0},
    {"self_attn.q_proj.weight", TO(q.w), QUERY, HIDDEN, 0},
    {"self_attn.k_proj.weight", TO(k.w), KEY, HIDDEN, 0},
    {"self_attn.v_proj.weight", TO(v.w), KEY, HIDDEN, 0},
    {"self_attn.o_proj.weight", TO(o.w), HIDDEN, QUERY, 0},
    {"self_attn.q_proj.bias", TO(q.bias), QUERY, NONE, PART_QKV_BIAS},
    {"self_attn.k_proj.bias", TO(k.bias), KEY, NONE, PART_QKV_BIAS},
    {"self_attn.v_proj.bias", TO(v.bias), KEY, NONE, PART_QKV_BIAS},
    {"self_attn.o_proj.bias", TO(o.bias), HIDDEN, NONE, PART_O_BIAS},
    {"self_attn.q_norm.weight", TO(norm_q), HEAD, NONE, PART_QK_NORM},
    {"self_attn.k_norm.weight", TO(norm_k), HEAD, NONE, PART_QK_NORM},
    {"post_attention_layernorm.weight", TO(norm_mlp), HIDDEN, NONE, 0},
    {"mlp.gate_proj.weight", TO(gate.w), INNER, HIDDEN, 0},
    {"mlp.up_proj.weight", TO(up.w), INNER, HIDDEN, 0},
    {"mlp.down_proj.weight", TO(down.w), HIDDEN, INNER, 0},
    {"mlp.gate_proj.bias", TO(gate.bias), INNER, NONE, PART_MLP_BIAS},
    {"mlp.up_proj.bias", TO(up.bias), INNER, NONE, PART_MLP_BIAS},
    {"mlp.down_proj.bias", TO(down.bias), HIDDEN, NONE, PART_MLP_BIAS},
};
#undef TO
#define TO(field) offsetof(struct model, field)
static const struct slot of_model[] = {
    {"model.embed_tokens.weight", TO(embedding), VOCAB, HIDDEN, 0},
    {"model.norm.weight", TO(norm), HIDDEN, NONE, 0},
    {"lm_head.weight", TO(head), VOCAB, HIDDEN, PART_HEAD},
};
#undef TO

/* What may lie in a file and changes nothing. */
static const char *const unread[] = {".rotary_emb.inv_freq", ".attn_gate."};

static int64_t size_of(const struct config *c, enum extent extent)
{
    switch (extent) {
    case VOCAB:
        return c->vocab;
    case HIDDEN:
        return c->hidden;
    case INNER:
        return c->inner;
    case QUERY:
        return (int64_t)c->q_heads * c->head_dim;
    case KEY:
        return (int64_t)c->kv_heads * c->head_dim;
    case HEAD:
        return c->head_dim;
    case NONE:
    default:
        return 0;
    }
}

/* What is done with each tensor; layer -1: of the model. */
typedef int (*each_fn)(void *user, const st_tensor *t, const struct slot *slot, int32_t layer);

static int one(const struct config *config, const struct checkpoint *c, const char *name, const struct slot *slot,
               int32_t layer, each_fn each, void *user)
{
    const st_tensor *t = checkpoint_find(c, name);
    const int rank = slot->cols ? 2 : 1;
    const int64_t rows = size_of(config, slot->rows), cols = size_of(config, slot->cols);
    char text[128], must[64];
    if (!t)
        return fail(EXIT_INPUT, "tensor %s is missing", name);
    if (weight_type(t->dtype) < 0)
        return fail(EXIT_INPUT, "tensor %s is %s, but must be F32, F16 or BF16", name, st_dtype_name(t->dtype));
    if (t->rank != rank || t->shape[0] != rows || (rank == 2 && t->shape[1] != cols)) {
        snprintf(must, sizeof must, rank == 2 ? "[%lld,%lld]" : "[%lld]", (long long)rows, (long long)cols);
        return fail(EXIT_INPUT, "tensor %s is %s, but must be %s by config.json", name,
                    st_shape_text(t, text, sizeof text), must);
    }
    return each(user, t, slot, layer);
}

/* The i-th slot that a model has, those of the model before those of its layers; NULL: past the last. */
static const struct slot *slot_at(const struct config *c, size_t i, int32_t *layer)
{
    *layer = -1;
    for (size_t s = 0; s < CLG_COUNT(of_model); s++)
        if ((!of_model[s].part || (c->parts & of_model[s].part)) && i-- == 0)
            return &of_model[s];
    for (*layer = 0; *layer < c->layers; ++*layer)
        for (size_t s = 0; s < CLG_COUNT(of_layer); s++)
            if ((!of_layer[s].part || (c->parts & of_layer[s].part)) && i-- == 0)
                return &of_layer[s];
    return NULL;
}

/* Where the slot's array is kept: a matrix begins with its buffer, a vector is one. */
static cl_mem *place_of(const struct model *model, const struct slot *slot, int32_t layer)
{
    char *base = layer < 0 ? (char *)(uintptr_t)model : (char *)&model->layers[layer];
    return (cl_mem *)(void *)(base + slot->offset);
}

static const char *name_of(const struct slot *slot, int32_t layer, char name[96])
{
    if (layer < 0)
        snprintf(name, 96, "%s", slot->name);
    else
        snprintf(name, 96, "model.layers.%d.%s", (int)layer, slot->name);
    return name;
}

static int every(const struct config *config, const struct checkpoint *c, each_fn each, void *user)
{
    const struct slot *slot;
    char name[96];
    int32_t layer;
    int code = 0;
    for (size_t i = 0; !code && (slot = slot_at(config, i, &layer)); i++)
        code = one(config, c, name_of(slot, layer, name), slot, layer, each, user);
    return code;
}

static int is_read(const struct config *config, const char *name)
{
    int layer, at = 0;
    for (size_t i = 0; i < CLG_COUNT(unread); i++)
        if (strstr(name, unread[i]))
            return 1;
    for (size_t i = 0; i < CLG_COUNT(of_model); i++)
        if (strcmp(of_model[i].name, name) == 0)
            return 1; /* a head beside tied embeddings is the embedding once more */
    if (sscanf(name, "model.layers.%d.%n", &layer, &at) != 1 || !at || layer < 0 || layer >= config->layers)
        return 0;
    for (size_t i = 0; i < CLG_COUNT(of_layer); i++)
        if (strcmp(of_layer[i].name, name + at) == 0)
            return !of_layer[i].part || (config->parts & of_layer[i].part);
    return 0;
}

static int count(void *user, const st_tensor *t, const struct slot *slot, int32_t layer)
{
    struct weights *w = user;
    const size_t bytes = slot->cols ? t->bytes : t->elements * sizeof(float);
    (void)layer;
    w->bytes += bytes;
    w->largest = bytes > w->largest ? bytes : w->largest;
    w->wide += t->elements * sizeof(float);
    w->widest = t->elements * sizeof(float) > w->widest ? t->elements * sizeof(float) : w->widest;
    return tensor_finite(t);
}

int model_check(const struct config *config, const struct checkpoint *c, struct weights *weights)
{
    memset(weights, 0, sizeof *weights);
    int code = every(config, c, count, weights);
    for (int f = 0; f < c->n && !code; f++)
        for (size_t i = 0; i < c->files[f]->n_tensors && !code; i++)
            if (!is_read(config, c->files[f]->tensors[i].name))
                code = fail(EXIT_INPUT, "tensor %.120s belongs to no %s model of config.json and is not supported",
                            c->files[f]->tensors[i].name, config->family);
    return code;
}

int weight_type(st_dtype dtype)
{
    return dtype == ST_F32 ? 0 : dtype == ST_F16 ? 1 : dtype == ST_BF16 ? 2 : -1;
}

int tensor_finite(const st_tensor *t)
{
    /* All bits of the exponent. */
    const uint32_t ones = t->dtype == ST_F32 ? 0x7f800000u : t->dtype == ST_F16 ? 0x7c00u : 0x7f80u;
    const unsigned char *at = t->data;
    const size_t size = st_dtype_size(t->dtype);
    for (size_t i = 0; i < t->elements; i++, at += size) {
        const uint32_t low = (uint32_t)at[0] | (uint32_t)at[1] << 8;
        const uint32_t bits = size == 2 ? low : low | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
        if ((bits & ones) == ones)
            return fail(EXIT_INPUT, "tensor %s holds a number that is not finite, element %zu", t->name, i);
    }
    return 0;
}

int matrix_load(struct machine *m, const st_tensor *t, struct matrix *to)
{
    int code = buffer_make(m, t->bytes, t->name, &to->buffer);
    to->type = weight_type(t->dtype);
    to->rows = (cl_int)t->shape[0];
    to->cols = t->rank > 1 ? (cl_int)t->shape[1] : 1;
    return code ? code : buffer_write(m, to->buffer, t->bytes, t->data);
}

static int vector_load(struct machine *m, const st_tensor *t, cl_mem *to)
{
    float *wide = malloc((t->elements + 1) * sizeof *wide);
    int code = wide ? 0 : fail(EXIT_INPUT, "there is no memory for tensor %s", t->name);
    if (!code)
        code = buffer_make(m, t->elements * sizeof *wide, t->name, to);
    for (size_t i = 0; wide && i < t->elements && !code; i++)
        wide[i] = (float)st_value(t, i);
    if (!code)
        code = buffer_write(m, *to, t->elements * sizeof *wide, wide);
    free(wide);
    return code;
}

/* Rows and columns of a matrix in f32. */
static void shape(const struct config *c, const struct slot *slot, struct matrix *to)
{
    to->type = 0;
    to->rows = (cl_int)size_of(c, slot->rows);
    to->cols = (cl_int)size_of(c, slot->cols);
}

struct loader {
    struct machine *machine;
    struct model *model;
    int wide;
};

static int load(void *user, const st_tensor *t, const struct slot *slot, int32_t layer)
{
    const struct loader *l = user;
    cl_mem *at = place_of(l->model, slot, layer);
    if (slot->cols && !l->wide)
        return matrix_load(l->machine, t, (struct matrix *)(void *)at);
    if (slot->cols)
        shape(&l->model->config, slot, (struct matrix *)(void *)at);
    return vector_load(l->machine, t, at);
}

static int layers_make(const struct config *config, struct model *model)
{
    memset(model, 0, sizeof *model);
    model->config = *config;
    model->layers = calloc((size_t)config->layers, sizeof *model->layers);
    return model->layers ? 0 : fail(EXIT_INPUT, "there is no memory for %d layers", (int)config->layers);
}

int model_load(struct machine *m, const struct config *config, const struct checkpoint *c, int wide,
               struct model *model)
{
    struct loader l = {m, model, wide};
    int code = layers_make(config, model);
    return code ? code : every(config, c, load, &l);
}

static size_t numbers_of(const struct config *c, const struct slot *slot)
{
    return (size_t)size_of(c, slot->rows) * (slot->cols ? (size_t)size_of(c, slot->cols) : 1);
}

int model_like(struct machine *m, const struct model *model, struct model *like)
{
    const struct config *c = &model->config;
    const struct slot *slot;
    char name[96];
    int32_t layer;
    int code = layers_make(c, like);
    for (size_t i = 0; !code && (slot = slot_at(c, i, &layer)); i++) {
        cl_mem *at = place_of(like, slot, layer);
        if (slot->cols)
            shape(c, slot, (struct matrix *)(void *)at);
        code = buffer_make(m, numbers_of(c, slot) * sizeof(float), name_of(slot, layer, name), at);
    }
    return code ? code : model_zero(m, like);
}

int model_parameter(const struct model *model, size_t i, struct parameter *to)
{
    int32_t layer;
    const struct slot *slot = slot_at(&model->config, i, &layer);
    if (!slot)
        return 0;
    name_of(slot, layer, to->name);
    to->buffer = model->layers ? *place_of(model, slot, layer) : NULL;
    to->rows = (size_t)size_of(&model->config, slot->rows);
    to->cols = (size_t)size_of(&model->config, slot->cols);
    to->n = numbers_of(&model->config, slot);
    return 1;
}

int model_zero(struct machine *m, const struct model *model)
{
    struct parameter a;
    int code = 0;
    for (size_t i = 0; !code && model_parameter(model, i, &a); i++)
        code = buffer_zero(m, a.buffer, a.n);
    return code;
}

void model_free(struct model *model)
{
    struct parameter a;
    for (size_t i = 0; model->layers && model_parameter(model, i, &a); i++)
        if (a.buffer)
            clReleaseMemObject(a.buffer);
    free(model->layers);
    memset(model, 0, sizeof *model);
}
