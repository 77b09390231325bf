/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gates.c: the gates of a model's layers, under SeerAttention's names.
 */
#include "gates.h"

#include "fail.h"
#include "gate_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct pool {
    const char *word;
    uint32_t bit;
} pools[] = {{"max", CLGAZE_MAX}, {"min", CLGAZE_MIN}, {"avg", CLGAZE_AVG}};

/* Pools one after another, in the library's order: "maxminavg". @return What follows. */
static const char *pools_read(const char *text, uint32_t *to)
{
    *to = 0;
    for (size_t i = 0; i < CLG_COUNT(pools); i++)
        if (strncmp(text, pools[i].word, strlen(pools[i].word)) == 0) {
            *to |= pools[i].bit;
            text += strlen(pools[i].word);
        }
    return text;
}

size_t gates_pools(uint32_t bits)
{
    size_t n = 0;
    for (size_t i = 0; i < CLG_COUNT(pools); i++)
        n += (bits & pools[i].bit) != 0;
    return n;
}

/* Does RoPE turn what is pooled?  Only a file that says otherwise is of gates without. */
static int meta_turns(const st_file *file, int *turns)
{
    const char *text = st_meta(file, "seerattn_use_rope");
    *turns = !text || strcmp(text, "True") == 0;
    if (*turns || strcmp(text, "False") == 0)
        return 0;
    return fail(EXIT_INPUT, "seerattn_use_rope is \"%.40s\", but must be True or False", text);
}

/* "Qavg_Kmaxminavg", and the block size. */
static int meta_read(const st_file *file, clgaze_problem *p)
{
    const char *type = st_meta(file, "seerattn_gate_type"), *block = st_meta(file, "seerattn_gate_block_size");
    if (!type || !block)
        return fail(EXIT_INPUT, "its metadata lacks %s", type ? "seerattn_gate_block_size" : "seerattn_gate_type");
    const char *at = *type == 'Q' ? pools_read(type + 1, &p->q_pool) : "";
    if (strncmp(at, "_K", 2) == 0)
        at = pools_read(at + 2, &p->k_pool);
    if (*type != 'Q' || *at || !p->q_pool || !p->k_pool)
        return fail(EXIT_INPUT,
                    "seerattn_gate_type \"%.60s\" is not supported; Q and _K with max, min, avg in this "
                    "order are",
                    type);
    char *end;
    const long size = strtol(block, &end, 10);
    if (end == block || *end || size < 4 || size > 256)
        return fail(EXIT_INPUT, "seerattn_gate_block_size is \"%.40s\", but must be a whole number from 4 to 256",
                    block);
    p->block_q = p->block_k = (int32_t)size;
    return 0;
}

static const st_tensor *find(const st_file *file, int32_t layer, char side, char name[GATE_NAME])
{
    return st_find(file, gate_name(layer, side, name));
}

static int shape_check(const char *name, const st_tensor *t, int64_t heads, int64_t rows, const clgaze_problem *p)
{
    char text[128];
    if (!t)
        return fail(EXIT_INPUT, "tensor %s is missing", name);
    if (t->rank != 3 || t->shape[0] != heads || t->shape[1] != rows || t->shape[2] != p->gate_dim)
        return fail(EXIT_INPUT, "tensor %s is %s, but must be [%" PRId64 ",%" PRId64 ",%" PRId32 "]", name,
                    st_shape_text(t, text, sizeof text), heads, rows, p->gate_dim);
    static const clgaze_dtype dtypes[] = {CLGAZE_F32, CLGAZE_F16, CLGAZE_BF16};
    const int type = weight_type(t->dtype);
    if (type < 0 || dtypes[type] != p->weight_dtype)
        return fail(EXIT_INPUT, "tensor %s is %s, but gates must all be F32, all F16 or all BF16", name,
                    st_dtype_name(t->dtype));
    return tensor_finite(t);
}

/* What layer 0 says of all. */
static int form_read(const struct config *config, struct gates *g, clgaze_problem *p)
{
    char name[GATE_NAME];
    const st_tensor *k = find(g->file, 0, 'k', name);
    if (!k || k->rank != 3 || k->shape[2] < 8 || k->shape[2] > 256)
        return fail(EXIT_INPUT, "tensor %s is missing, or not of three dimensions with a last one from 8 to 256",
                    name);
    p->gate_dim = (int32_t)k->shape[2];
    p->gate_double = find(g->file, 0, 'q', name) != NULL;
    p->weight_dtype = k->dtype == ST_F16 ? CLGAZE_F16 : k->dtype == ST_BF16 ? CLGAZE_BF16 : CLGAZE_F32;
    int turns;
    const int code = meta_turns(g->file, &turns);
    /* As SeerAttention does: the model's own frequencies where it names its head size. */
    p->rope_pairs = turns ? (config->explicit_head_dim ? config->head_dim : p->gate_dim) / 2 : 0;
    return code;
}

static int layers_check(const struct config *config, struct gates *g, const clgaze_problem *p)
{
    const int64_t d = config->head_dim, k_rows = (int64_t)gates_pools(p->k_pool) * d,
                  q_rows = (int64_t)gates_pools(p->q_pool) * d;
    char name[GATE_NAME];
    int code = 0;
    for (int32_t l = 0; l < config->layers && !code; l++) {
        const st_tensor *k = find(g->file, l, 'k', name);
        code = shape_check(name, k, p->gate_double ? config->kv_heads : config->q_heads, k_rows, p);
        g->bytes += code ? 0 : k->bytes;
        const st_tensor *q = find(g->file, l, 'q', name);
        if (!code && q && !p->gate_double)
            code = fail(EXIT_INPUT, "tensor %s is there, but layer 0 has none of this kind", name);
        if (!code && p->gate_double) {
            code = shape_check(name, q, config->q_heads, q_rows, p);
            g->bytes += code || !q ? 0 : q->bytes;
        }
    }
    return code;
}

int gates_open(const char *path, const struct config *config, clgaze_problem *problem, struct gates *g)
{
    char why[ST_WHY];
    const size_t length = strlen(path);
    memset(g, 0, sizeof *g);
    fail_about(path);
    int code = 0;
    if (length > 4 && strcmp(path + length - 4, ".pth") == 0)
        code =
            fail(EXIT_INPUT, "a .pth file is not read; docs/llama.md has the lines that convert it to safetensors");
    else if (st_open(path, &g->file, why, sizeof why))
        code = fail(EXIT_INPUT, "%s", why);
    if (!code)
        code = meta_read(g->file, problem);
    if (!code)
        code = form_read(config, g, problem);
    if (!code)
        code = layers_check(config, g, problem);
    fail_about(NULL);
    g->layers = config->layers;
    return code;
}

static int side_load(struct machine *m, struct gates *g, char side, struct matrix **to)
{
    char name[GATE_NAME];
    int code = 0;
    *to = calloc((size_t)g->layers, sizeof **to);
    if (!*to)
        return fail(EXIT_INPUT, "there is no memory for %d gates", (int)g->layers);
    for (cl_int l = 0; l < g->layers && !code; l++)
        code = matrix_load(m, find(g->file, l, side, name), &(*to)[l]);
    return code;
}

void gates_identity(const struct config *config, clgaze_problem *problem, struct gates *g)
{
    memset(g, 0, sizeof *g);
    g->layers = config->layers;
    g->bytes = (size_t)config->q_heads * (size_t)config->head_dim * (size_t)config->head_dim * sizeof(float);
    problem->q_pool = problem->k_pool = CLGAZE_AVG;
    problem->gate_dim = config->head_dim;
    problem->gate_double = 0;
    problem->weight_dtype = CLGAZE_F32;
    problem->rope_pairs = 0;
}

/* One for all layers. */
static int identity_load(struct machine *m, const struct config *config, struct gates *g)
{
    const size_t d = (size_t)config->head_dim, heads = (size_t)config->q_heads;
    float *one = calloc(heads * d * d, sizeof *one);
    struct matrix w = {.type = 0, .rows = config->q_heads, .cols = config->head_dim};
    g->w_k = calloc((size_t)g->layers, sizeof *g->w_k);
    int code = one && g->w_k ? buffer_make(m, g->bytes, "the identity", &w.buffer)
                             : fail(EXIT_INPUT, "there is no memory for %d gates", (int)g->layers);
    for (size_t i = 0; one && i < heads * d && !code; i++)
        one[i * d + i % d] = 1;
    if (!code)
        code = buffer_write(m, w.buffer, g->bytes, one);
    for (cl_int l = 0; g->w_k && w.buffer && l < g->layers; l++) {
        g->w_k[l] = w;
        if (l)
            clRetainMemObject(w.buffer);
    }
    free(one);
    return code;
}

int gates_frequencies(struct machine *m, const struct config *config, int32_t pairs, cl_mem *to)
{
    float inv_freq[128];
    const size_t bytes = (size_t)pairs * sizeof *inv_freq;
    if (!pairs)
        return 0;
    rope_frequencies(&config->rope, 2 * pairs, inv_freq);
    const int code = buffer_make(m, bytes, "the gate's frequencies", to);
    return code ? code : buffer_write(m, *to, bytes, inv_freq);
}

int gates_load(struct machine *m, const struct config *config, const clgaze_problem *problem, struct gates *g)
{
    if (!g->file)
        return identity_load(m, config, g);
    int code = side_load(m, g, 'k', &g->w_k);
    if (!code && problem->gate_double)
        code = side_load(m, g, 'q', &g->w_q);
    if (!code)
        code = gates_frequencies(m, config, problem->rope_pairs, &g->inv_freq);
    st_close(g->file);
    g->file = NULL;
    return code;
}

static void side_free(struct matrix *w, cl_int layers)
{
    for (cl_int l = 0; w && l < layers; l++)
        if (w[l].buffer)
            clReleaseMemObject(w[l].buffer);
    free(w);
}

void gates_free(struct gates *g)
{
    st_close(g->file);
    side_free(g->w_k, g->layers);
    side_free(g->w_q, g->layers);
    if (g->inv_freq)
        clReleaseMemObject(g->inv_freq);
    memset(g, 0, sizeof *g);
}
