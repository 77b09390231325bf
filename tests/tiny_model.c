/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tiny_model.c: a small random model in the Hugging Face layout, and what it
 * gives in plain double arithmetic.
 */
#include "tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

/* ---- making and writing --------------------------------------------------- */

static void add(struct tiny_model *m, struct rng *rng, const char *name, int64_t rows, int64_t cols, float mean)
{
    static const clgaze_dtype dtypes[] = {[ST_F32] = CLGAZE_F32, [ST_F16] = CLGAZE_F16, [ST_BF16] = CLGAZE_BF16};
    st_tensor *t = &m->tensors[m->n];
    const clgaze_dtype dtype = dtypes[m->kind.dtype];
    const size_t size = st_dtype_size(m->kind.dtype);
    const float spread = cols ? 1.2f / sqrtf((float)cols) : 0.3f;

    assert_true(m->n < TINY_TENSORS);
    snprintf(m->names[m->n], sizeof m->names[m->n], "%s", name);
    t->name = m->names[m->n++];
    t->dtype = m->kind.dtype;
    t->rank = cols ? 2 : 1;
    t->shape[0] = rows;
    t->shape[1] = cols;
    assert_int_equal(st_size(t->dtype, t->rank, t->shape, &t->elements, &t->bytes), 0);
    unsigned char *data = malloc(t->bytes);
    assert_non_null(data);
    for (size_t i = 0; i < t->elements; i++)
        put_float(data + i * size, mean + spread * normal(rng), dtype);
    t->data = data;
}

static void add_layer(struct tiny_model *m, struct rng *rng, int layer)
{
    const struct tiny_kind *k = &m->kind;
    const struct {
        const char *name;
        int64_t rows, cols;
        int there;
    } rows[] = {
        {"input_layernorm.weight", TINY_HIDDEN, 0, 1},
        {"post_attention_layernorm.weight", TINY_HIDDEN, 0, 1},
        {"self_attn.q_proj.weight", TINY_QUERY, TINY_HIDDEN, 1},
        {"self_attn.k_proj.weight", TINY_KEY, TINY_HIDDEN, 1},
        {"self_attn.v_proj.weight", TINY_KEY, TINY_HIDDEN, 1},
        {"self_attn.o_proj.weight", TINY_HIDDEN, TINY_QUERY, 1},
        {"self_attn.q_proj.bias", TINY_QUERY, 0, k->qkv_bias},
        {"self_attn.k_proj.bias", TINY_KEY, 0, k->qkv_bias},
        {"self_attn.v_proj.bias", TINY_KEY, 0, k->qkv_bias},
        {"self_attn.o_proj.bias", TINY_HIDDEN, 0, k->o_bias},
        {"self_attn.q_norm.weight", TINY_DIM, 0, k->qk_norm},
        {"self_attn.k_norm.weight", TINY_DIM, 0, k->qk_norm},
        {"mlp.gate_proj.weight", TINY_INNER, TINY_HIDDEN, 1},
        {"mlp.up_proj.weight", TINY_INNER, TINY_HIDDEN, 1},
        {"mlp.down_proj.weight", TINY_HIDDEN, TINY_INNER, 1},
        {"mlp.gate_proj.bias", TINY_INNER, 0, k->mlp_bias},
        {"mlp.up_proj.bias", TINY_INNER, 0, k->mlp_bias},
        {"mlp.down_proj.bias", TINY_HIDDEN, 0, k->mlp_bias},
    };
    char name[96];

    for (size_t i = 0; i < CLG_COUNT(rows); i++)
        if (rows[i].there) {
            snprintf(name, sizeof name, "model.layers.%d.%s", layer, rows[i].name);
            add(m, rng, name, rows[i].rows, rows[i].cols, strstr(name, "norm") ? 1.0f : 0.0f);
        }
}

void tiny_make(struct tiny_model *m, const struct tiny_kind *kind)
{
    struct rng rng = seeded(0x11a3a);

    memset(m, 0, sizeof *m);
    m->kind = *kind;
    add(m, &rng, "model.embed_tokens.weight", TINY_VOCAB, TINY_HIDDEN, 0.0f);
    add(m, &rng, "model.norm.weight", TINY_HIDDEN, 0, 1.0f);
    if (!kind->tied)
        add(m, &rng, "lm_head.weight", TINY_VOCAB, TINY_HIDDEN, 0.0f);
    for (int l = 0; l < TINY_LAYERS; l++)
        add_layer(m, &rng, l);
}

void tiny_free(struct tiny_model *m)
{
    for (int i = 0; i < m->n; i++)
        free((void *)(uintptr_t)m->tensors[i].data);
    m->n = 0;
}

st_tensor *tiny_find(struct tiny_model *m, const char *name)
{
    for (int i = 0; i < m->n; i++)
        if (strcmp(m->tensors[i].name, name) == 0)
            return &m->tensors[i];
    fail_msg("there is no tensor %s", name);
    return NULL;
}

void tiny_write_config(const struct tiny_model *m, const char *folder, const char *more)
{
    char path[768];
    const struct tiny_kind *k = &m->kind;

    snprintf(path, sizeof path, "%s/config.json", folder);
    FILE *to = fopen(path, "w");
    assert_non_null(to);
    fprintf(to,
            "{\"model_type\": \"%s\", \"architectures\": [\"%s\"], \"vocab_size\": %d, \"hidden_size\": %d,\n"
            " \"intermediate_size\": %d, \"num_hidden_layers\": %d, \"num_attention_heads\": %d,\n"
            " \"num_key_value_heads\": %d, \"head_dim\": %d, \"max_position_embeddings\": 64,\n"
            " \"rms_norm_eps\": 1e-5, \"hidden_act\": \"silu\", \"tie_word_embeddings\": %s%s%s}\n",
            k->type, k->class, TINY_VOCAB, TINY_HIDDEN, TINY_INNER, TINY_LAYERS, TINY_HEADS, TINY_KV, TINY_DIM,
            k->tied ? "true" : "false", k->more, more);
    assert_int_equal(fclose(to), 0);
}

static void write_part(const char *folder, const char *file, const st_tensor *tensors, int n)
{
    char path[768], why[ST_WHY];

    snprintf(path, sizeof path, "%s/%s", folder, file);
    if (st_write(path, tensors, (size_t)n, NULL, 0, why, sizeof why))
        fail_msg("%s: %s", path, why);
}

static void write_shards(const struct tiny_model *m, const char *folder)
{
    char path[768];
    const int half = m->n / 2;

    write_part(folder, "model-1.safetensors", m->tensors, half);
    write_part(folder, "model-2.safetensors", m->tensors + half, m->n - half);
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", folder);
    FILE *to = fopen(path, "w");
    assert_non_null(to);
    size_t bytes = 0;
    for (int i = 0; i < m->n; i++)
        bytes += m->tensors[i].bytes;
    fprintf(to, "{\"metadata\": {\"total_size\": %zu}, \"weight_map\": {", bytes);
    for (int i = 0; i < m->n; i++)
        fprintf(to, "%s\"%s\": \"model-%d.safetensors\"", i ? "," : "", m->tensors[i].name, i < half ? 1 : 2);
    fputs("}}\n", to);
    assert_int_equal(fclose(to), 0);
}

void tiny_write(const struct tiny_model *m, const char *folder)
{
    char path[768];

    snprintf(path, sizeof path, "%s/model.safetensors.index.json", folder);
    remove(path);
    tiny_write_config(m, folder, "");
    if (m->kind.shards)
        write_shards(m, folder);
    else
        write_part(folder, "model.safetensors", m->tensors, m->n);
}

/* ---- the model in double --------------------------------------------------- */

/* y = x w^T + bias, one row; a bias that is not in the model is none. */
static void linear(struct tiny_model *m, const char *stem, int layer, const double *x, double *y)
{
    char name[96];
    const st_tensor *w, *bias = NULL;

    snprintf(name, sizeof name, "model.layers.%d.%s.bias", layer, stem);
    for (int i = 0; i < m->n; i++)
        if (strcmp(m->tensors[i].name, name) == 0)
            bias = &m->tensors[i];
    snprintf(name, sizeof name, "model.layers.%d.%s.weight", layer, stem);
    w = tiny_find(m, name);
    for (int64_t r = 0; r < w->shape[0]; r++) {
        y[r] = bias ? st_value(bias, (size_t)r) : 0;
        for (int64_t c = 0; c < w->shape[1]; c++)
            y[r] += x[c] * st_value(w, (size_t)(r * w->shape[1] + c));
    }
}

static void rms(const st_tensor *w, const double *x, int n, double *y)
{
    double sum = 0;

    for (int i = 0; i < n; i++)
        sum += x[i] * x[i];
    for (int i = 0; i < n; i++)
        y[i] = x[i] / sqrt(sum / n + 1e-5) * st_value(w, (size_t)i);
}

static const st_tensor *of_layer(struct tiny_model *m, int layer, const char *stem)
{
    char name[96];

    snprintf(name, sizeof name, "model.layers.%d.%s.weight", layer, stem);
    return tiny_find(m, name);
}

void tiny_turn(const struct tiny_model *m, int t, const double *x, double *y)
{
    const double factor = m->kind.frequency ? m->kind.factor : 1;

    for (int j = 0; j < TINY_DIM / 2; j++) {
        const double plain = pow(1e4, -2.0 * j / TINY_DIM);
        const double f = m->kind.frequency ? m->kind.frequency(j, plain) : plain;
        const double c = cos(t * f) * factor, s = sin(t * f) * factor, a = x[j], b = x[j + TINY_DIM / 2];

        y[j] = a * c - b * s;
        y[j + TINY_DIM / 2] = b * c + a * s;
    }
}

/* One query head at place t over the keys up to it of the blocks kept. */
static void attend(const double *q, double k[][TINY_KEY], double v[][TINY_KEY], int t, int hk, const int *keep,
                   double *out)
{
    double s[TINY_SEQ], high = -INFINITY, sum = 0;

    for (int u = 0; u <= t; u++) {
        s[u] = 0;
        for (int d = 0; d < TINY_DIM; d++)
            s[u] += q[d] * k[u][hk * TINY_DIM + d] / sqrt(TINY_DIM);
        if (!keep[u / TINY_BLOCK])
            s[u] = -INFINITY;
        high = fmax(high, s[u]);
    }
    for (int u = 0; u <= t; u++)
        sum += s[u] = exp(s[u] - high);
    for (int d = 0; d < TINY_DIM; d++) {
        out[d] = 0;
        for (int u = 0; u <= t; u++)
            out[d] += s[u] / sum * v[u][hk * TINY_DIM + d];
    }
}

/* Before RoPE: bias, and norm where the model has it. */
static void project_heads(struct tiny_model *m, int l, const char *stem, const char *norm, const double *x, int heads,
                          double *y)
{
    linear(m, stem, l, x, y);
    for (int h = 0; h < heads && m->kind.qk_norm && norm; h++)
        rms(of_layer(m, l, norm), y + h * TINY_DIM, TINY_DIM, y + h * TINY_DIM);
}

static void project(struct tiny_model *m, int l, int t, const double *x, struct tiny_layer *to)
{
    double normed[TINY_HIDDEN];

    rms(of_layer(m, l, "input_layernorm"), x, TINY_HIDDEN, normed);
    project_heads(m, l, "self_attn.q_proj", "self_attn.q_norm", normed, TINY_HEADS, to->q_gate[t]);
    project_heads(m, l, "self_attn.k_proj", "self_attn.k_norm", normed, TINY_KV, to->k_gate[t]);
    project_heads(m, l, "self_attn.v_proj", NULL, normed, TINY_KV, to->v[t]);
    for (int h = 0; h < TINY_HEADS; h++)
        tiny_turn(m, t, to->q_gate[t] + h * TINY_DIM, to->q[t] + h * TINY_DIM);
    for (int h = 0; h < TINY_KV; h++)
        tiny_turn(m, t, to->k_gate[t] + h * TINY_DIM, to->k[t] + h * TINY_DIM);
}

static void layer_attend(struct tiny_model *m, int l, int seq, double x[][TINY_HIDDEN])
{
    static double out[TINY_SEQ][TINY_QUERY];
    struct tiny_layer *of = &m->of[l];
    const int n = (seq + TINY_BLOCK - 1) / TINY_BLOCK;
    int keep[TINY_BLOCKS][TINY_BLOCKS];
    double y[TINY_HIDDEN];

    for (int t = 0; t < seq; t++)
        project(m, l, t, x[t], of);
    for (int h = 0; h < TINY_HEADS; h++) {
        const int hk = h / (TINY_HEADS / TINY_KV);

        m->kept += tiny_keep(&m->rule, seq, of->q[0] + h * TINY_DIM, of->k[0] + hk * TINY_DIM, keep);
        m->visible += n * (n + 1) / 2;
        for (int t = 0; t < seq; t++)
            attend(of->q[t] + h * TINY_DIM, of->k, of->v, t, hk, keep[t / TINY_BLOCK], out[t] + h * TINY_DIM);
    }
    for (int t = 0; t < seq; t++) {
        linear(m, "self_attn.o_proj", l, out[t], y);
        for (int i = 0; i < TINY_HIDDEN; i++)
            x[t][i] += y[i];
    }
}

static void layer_mlp(struct tiny_model *m, int l, double *x)
{
    double normed[TINY_HIDDEN], gate[TINY_INNER], up[TINY_INNER], y[TINY_HIDDEN];

    rms(of_layer(m, l, "post_attention_layernorm"), x, TINY_HIDDEN, normed);
    linear(m, "mlp.gate_proj", l, normed, gate);
    linear(m, "mlp.up_proj", l, normed, up);
    for (int i = 0; i < TINY_INNER; i++)
        gate[i] *= up[i] / (1 + exp(-gate[i]));
    linear(m, "mlp.down_proj", l, gate, y);
    for (int i = 0; i < TINY_HIDDEN; i++)
        x[i] += y[i];
}

/* Of one token, from the last layer's x. */
static void logits_of(struct tiny_model *m, const double *x, double *logits)
{
    const st_tensor *head = tiny_find(m, m->kind.tied ? "model.embed_tokens.weight" : "lm_head.weight");
    double normed[TINY_HIDDEN];

    rms(tiny_find(m, "model.norm.weight"), x, TINY_HIDDEN, normed);
    for (int w = 0; w < TINY_VOCAB; w++) {
        logits[w] = 0;
        for (int i = 0; i < TINY_HIDDEN; i++)
            logits[w] += normed[i] * st_value(head, (size_t)w * TINY_HIDDEN + (size_t)i);
    }
}

void tiny_logits(struct tiny_model *m, const uint16_t *tokens, int seq, double *logits)
{
    static double x[TINY_SEQ][TINY_HIDDEN];
    const st_tensor *embedding = tiny_find(m, "model.embed_tokens.weight");

    assert_true(seq <= TINY_SEQ);
    for (int t = 0; t < seq; t++)
        for (int i = 0; i < TINY_HIDDEN; i++)
            x[t][i] = st_value(embedding, (size_t)tokens[t] * TINY_HIDDEN + (size_t)i);
    for (int l = 0; l < TINY_LAYERS; l++) {
        layer_attend(m, l, seq, x);
        for (int t = 0; t < seq; t++)
            layer_mlp(m, l, x[t]);
    }
    for (int t = 0; t < seq; t++)
        logits_of(m, x[t], logits + t * TINY_VOCAB);
}

double tiny_perplexity(struct tiny_model *m, const uint16_t *tokens, int seq, int count)
{
    static double logits[TINY_SEQ * TINY_VOCAB];
    const int from = seq / 4, counted = seq - from;
    double mean = 0;

    for (int s = 0; s < count; s++, tokens += seq) {
        tiny_logits(m, tokens, seq, logits);
        for (int t = from; t < seq; t++) {
            double sum = 0;

            for (int w = 0; w < TINY_VOCAB; w++)
                sum += exp(logits[t * TINY_VOCAB + w]);
            mean += (log(sum) - logits[t * TINY_VOCAB + tokens[t + 1]]) / counted / count;
        }
    }
    return exp(mean);
}
