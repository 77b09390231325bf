/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capture.c: clgaze-llama capture.
 */
#include "run.h"

#include "fail.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A tensor of all sequences, [count][seq][heads][D]. */
struct part {
    const char *name;
    enum buffer_id buffer;
    int of_queries;
};

static const struct part parts[] = {
    {"q", B_Q, 1}, {"k", B_K, 0}, {"v", B_V, 0}, {"q_gate", B_Q_GATE, 1}, {"k_gate", B_K_GATE, 0}};

enum { N_PARTS = CLG_COUNT(parts), N_TENSORS = N_PARTS + 1 };

static int tensors_make(const struct run *r, st_tensor *tensors, float *inv_freq)
{
    const struct config *c = &r->config;
    for (int i = 0; i < N_PARTS; i++) {
        st_tensor *t = &tensors[i];
        const int64_t heads = parts[i].of_queries ? c->q_heads : c->kv_heads;
        *t = (st_tensor){.name = parts[i].name,
                         .dtype = ST_F32,
                         .rank = 4,
                         .shape = {r->command->count, r->command->seq, heads, c->head_dim}};
        if (st_size(t->dtype, t->rank, t->shape, &t->elements, &t->bytes) || !(t->data = malloc(t->bytes + 1)))
            return fail(EXIT_INPUT, "there is no memory for %s of %d sequences", t->name, (int)r->command->count);
    }
    tensors[N_PARTS] = (st_tensor){
        .name = "rope_inv_freq", .dtype = ST_F32, .rank = 1, .shape = {c->head_dim / 2}, .data = inv_freq};
    return 0;
}

static int sequences(struct run *r, const st_tensor *tensors)
{
    const struct command *c = r->command;
    int code = 0;
    for (int32_t s = 0; s < c->count && !code; s++) {
        code = forward_run(&r->forward, r->tokens + (size_t)s * (size_t)c->seq, c->layer + 1);
        for (int i = 0; i < N_PARTS && !code; i++) {
            const size_t bytes = r->forward.bytes[parts[i].buffer];
            code = buffer_read(&r->machine, r->forward.buffers[parts[i].buffer], bytes,
                               (char *)(uintptr_t)tensors[i].data + (size_t)s * bytes);
        }
    }
    return code;
}

static int capture(struct run *r)
{
    const struct command *c = r->command;
    st_tensor tensors[N_TENSORS];
    float inv_freq[128];
    char scale[32], layer[16], why[ST_WHY];
    memset(tensors, 0, sizeof tensors);
    snprintf(scale, sizeof scale, "%.9g", rope_frequencies(&r->config.rope, r->config.head_dim, inv_freq));
    snprintf(layer, sizeof layer, "%d", (int)c->layer);
    const st_pair meta[] = {{"layer", layer}, {"rope_scale", scale}};
    int code = tensors_make(r, tensors, inv_freq);
    if (!code)
        code = sequences(r, tensors);
    if (!code && st_write(c->out, tensors, N_TENSORS, meta, CLG_COUNT(meta), why, sizeof why))
        code = fail(EXIT_INPUT, "%s: %s", c->out, why);
    for (int i = 0; i < N_PARTS; i++)
        free((void *)(uintptr_t)tensors[i].data);
    return code;
}

int command_capture(const struct command *c)
{
    struct run r;
    if (!c->model || !c->tokens || !c->out || c->layer < 0)
        return fail(EXIT_INPUT, "capture needs --model, --tokens, --layer and --out");
    if (c->source)
        return fail(EXIT_INPUT, "capture runs dense, without --gates and --rule");
    int code = run_open(c, WANT_GATE_INPUTS, &r);
    if (!code)
        code = capture(&r);
    run_close(&r);
    return code;
}
