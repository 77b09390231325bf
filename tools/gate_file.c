/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate_file.c: write gates under SeerAttention's names.
 */
#include "gate_file.h"

#include "fail.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *gate_name(int32_t layer, char side, char name[GATE_NAME])
{
    snprintf(name, GATE_NAME, "model.layers.%" PRId32 ".self_attn.attn_gate.mask_linear_%c.weight", layer, side);
    return name;
}

static int64_t pools(uint32_t set)
{
    return (set & 1) + (set >> 1 & 1) + (set >> 2 & 1);
}

/* Round to nearest even; a NaN stays one. */
static uint16_t to_bf16(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 64u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

/* One matrix as a tensor that owns name and data; -1: no memory. */
static int fill(st_tensor *t, const clgaze_problem *p, const struct layer_gate *g, char side, int bf16)
{
    const float *from = side == 'k' ? g->w_k : g->w_q;
    const int64_t shape[3] = {side == 'k' && p->gate_double ? p->kv_heads : p->q_heads,
                              pools(side == 'k' ? p->k_pool : p->q_pool) * p->head_dim,
                              p->gate_dim ? p->gate_dim : p->head_dim};
    char *name = malloc(GATE_NAME);
    memset(t, 0, sizeof *t);
    t->name = name;
    t->dtype = bf16 ? ST_BF16 : ST_F32;
    t->rank = 3;
    memcpy(t->shape, shape, sizeof shape);
    if (!name || st_size(t->dtype, 3, shape, &t->elements, &t->bytes))
        return -1;
    gate_name(g->layer, side, name);
    unsigned char *data = malloc(t->bytes);
    t->data = data;
    for (size_t i = 0; data && i < t->elements; i++) {
        const uint16_t half = to_bf16(from[i]);
        memcpy(data + i * (bf16 ? 2 : 4), bf16 ? (const void *)&half : (const void *)&from[i], bf16 ? 2 : 4);
    }
    return data ? 0 : -1;
}

static void pools_text(uint32_t set, char text[16])
{
    snprintf(text, 16, "%s%s%s", set & CLGAZE_MAX ? "max" : "", set & CLGAZE_MIN ? "min" : "",
             set & CLGAZE_AVG ? "avg" : "");
}

static int put(const char *path, const clgaze_problem *p, const st_tensor *tensors, size_t n)
{
    char q[16], k[16], type[48], block[16], hidden[16], why[ST_WHY];
    pools_text(p->q_pool, q);
    pools_text(p->k_pool, k);
    snprintf(type, sizeof type, "Q%s_K%s", q, k);
    snprintf(block, sizeof block, "%" PRId32, p->block_q);
    snprintf(hidden, sizeof hidden, "%" PRId32, p->gate_dim ? p->gate_dim : p->head_dim);
    const st_pair pairs[] = {{"format", "pt"},
                             {"seerattn_gate_type", type},
                             {"seerattn_gate_block_size", block},
                             {"seerattn_gate_hidden_size", hidden},
                             {"seerattn_use_rope", "False"}}; /* left out where RoPE turns them */
    const size_t n_pairs = sizeof pairs / sizeof *pairs - (p->rope_pairs > 0);
    if (!st_write(path, tensors, n, pairs, n_pairs, why, sizeof why))
        return 0;
    fail_about(path);
    return fail(EXIT_INPUT, "%s", why);
}

int gates_write(const char *path, const clgaze_problem *problem, const struct layer_gate *gates, size_t n, int bf16)
{
    st_tensor *tensors = calloc(2 * n + 1, sizeof *tensors);
    size_t made = 0;
    int bad = !tensors;
    for (size_t i = 0; i < n && !bad; i++) {
        bad = fill(&tensors[made++], problem, &gates[i], 'k', bf16);
        if (!bad && problem->gate_double)
            bad = fill(&tensors[made++], problem, &gates[i], 'q', bf16);
    }
    const int code = bad ? fail(EXIT_INPUT, "memory ran out") : put(path, problem, tensors, made);
    for (size_t i = 0; i < made; i++) {
        free((void *)tensors[i].name);
        free((void *)tensors[i].data);
    }
    free(tensors);
    return code;
}
