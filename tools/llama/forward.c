/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forward.c: a model over one sequence.
 */
#include "forward.h"

#include "fail.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of logits at once; the vocabulary is taken in parts of as many columns. */
static const size_t logits_bytes = (size_t)32 << 20;

static size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}

void forward_plan(struct forward *f, const struct config *c, cl_int seq, int gated)
{
    const size_t n = (size_t)seq, d = (size_t)c->head_dim, number = sizeof(float);
    const size_t q = n * (size_t)c->q_heads * d * number, k = n * (size_t)c->kv_heads * d * number;
    const size_t hidden = n * (size_t)c->hidden * number;
    const size_t inner = (n * (size_t)c->inner + 3) / 4 * 4 * number; /* swiglu takes four at once */
    const int64_t whole = ((int64_t)c->vocab + PANEL - 1) / PANEL * PANEL;
    int64_t columns = (int64_t)(logits_bytes / (n * number)) / PANEL * PANEL;
    columns = columns < PANEL ? PANEL : columns > whole ? whole : columns;
    size_t room = product_room((int64_t)c->q_heads * c->head_dim, c->hidden);
    room = most(room, product_room(c->hidden, (int64_t)c->q_heads * c->head_dim));
    room = most(room, product_room(c->inner, c->hidden));
    room = most(room, product_room(c->hidden, c->inner));
    room = most(room, product_room(columns, c->hidden));
    const size_t bytes[N_BUFFERS] = {
        [B_TOKENS] = (n + 1) * sizeof(cl_int),
        [B_ROTATION] = n * d * number,
        [B_X] = hidden,
        [B_NORMED] = hidden,
        [B_Q] = q,
        [B_K] = k,
        [B_V] = k,
        [B_Q_GATE] = gated ? q : 0,
        [B_K_GATE] = gated ? k : 0,
        [B_ATTENDED] = q,
        [B_INNER] = inner,
        [B_UP] = inner,
        [B_ROOM] = room,
        [B_LOGITS] = n * (size_t)columns * number,
        [B_STATE] = n * 3 * number,
    };
    memset(f, 0, sizeof *f);
    f->seq = seq;
    f->columns = (cl_int)columns;
    for (int i = 0; i < N_BUFFERS; i++)
        f->sum += f->bytes[i] = bytes[i];
}

/* cos and sin of every token, in double from the frequencies in float. */
static int rotation_make(struct forward *f)
{
    const struct config *c = &f->model->config;
    const cl_int half = c->head_dim / 2;
    float inv_freq[128];
    float *table = malloc(f->bytes[B_ROTATION]);
    if (!table)
        return fail(EXIT_INPUT, "there is no memory for the rotations of %d tokens", (int)f->seq);
    const double factor = rope_frequencies(&c->rope, c->head_dim, inv_freq);
    for (cl_int t = 0; t < f->seq; t++)
        for (cl_int j = 0; j < half; j++) {
            float *at = table + (size_t)t * (size_t)c->head_dim + j;
            at[0] = (float)(cos((double)t * (double)inv_freq[j]) * factor);
            at[half] = (float)(sin((double)t * (double)inv_freq[j]) * factor);
        }
    int code = buffer_write(f->machine, f->buffers[B_ROTATION], f->bytes[B_ROTATION], table);
    free(table);
    return code;
}

int forward_make(struct forward *f)
{
    int code = 0;
    for (int i = 0; i < N_BUFFERS && !code; i++)
        if (f->bytes[i])
            code = buffer_make(f->machine, f->bytes[i], "activations", &f->buffers[i]);
    return code ? code : rotation_make(f);
}

void forward_free(struct forward *f)
{
    for (int i = 0; i < N_BUFFERS; i++)
        if (f->buffers[i])
            clReleaseMemObject(f->buffers[i]);
    memset(f, 0, sizeof *f);
}

/* ------------------------------------------------------------------------ */
/* The parts of a layer                                                     */
/* ------------------------------------------------------------------------ */

int forward_embed(struct forward *f, const cl_int *tokens)
{
    const struct matrix *e = &f->model->embedding;
    const struct arg args[] = {ARG(e->buffer), ARG(e->type), ARG(f->buffers[B_TOKENS]),
                               ARG(e->cols),   ARG(f->seq),  ARG(f->buffers[B_X])};
    int code = buffer_write(f->machine, f->buffers[B_TOKENS], f->bytes[B_TOKENS], tokens);
    return code ? code : launch(f->machine, K_EMBED, (size_t)e->cols, (size_t)f->seq, 64, args, 6);
}

/* `rows` rows of `width`; `to` may be `from`. */
static int rms(struct forward *f, cl_mem from, cl_mem weight, cl_int rows, cl_int width, cl_mem to)
{
    const cl_float eps = (cl_float)f->model->config.eps;
    const struct arg args[] = {ARG(from), ARG(weight), ARG(eps), ARG(width), ARG(to)};
    const size_t lanes = (size_t)f->machine->lanes;
    return launch(f->machine, K_RMS, (size_t)rows * lanes, 1, lanes, args, 5);
}

int forward_norm(struct forward *f, cl_mem weight)
{
    int code = rms(f, f->buffers[B_X], weight, f->seq, f->model->config.hidden, f->buffers[B_NORMED]);
    return code ? code : spend(f->machine, SPENT_NORM);
}

int forward_linear(struct forward *f, cl_mem x, const struct linear *l, int add, cl_mem y)
{
    const cl_int into = add || l->bias;
    int code = 0;
    if (l->bias) {
        const struct arg args[] = {ARG(l->bias), ARG(l->w.rows), ARG(f->seq), ARG(add), ARG(y)};
        code = launch(f->machine, K_SPREAD, (size_t)l->w.rows, (size_t)f->seq, 64, args, 5);
    }
    return code ? code : product(f->machine, x, 0, f->seq, &l->w, 0, l->w.rows, f->buffers[B_ROOM], into, y);
}

int forward_rotate(struct forward *f, cl_mem from, cl_int heads, cl_float sign, cl_mem to)
{
    const cl_int half = f->model->config.head_dim / 2;
    const struct arg args[] = {ARG(from), ARG(f->buffers[B_ROTATION]), ARG(heads), ARG(half), ARG(f->seq), ARG(sign),
                               ARG(to)};
    return launch(f->machine, K_ROTATE, (size_t)heads * (size_t)half, (size_t)f->seq, 64, args, 7);
}

/* q, k and v; what the gate reads, before RoPE, is kept where there are gates. */
int forward_heads(struct forward *f, cl_int index)
{
    const struct config *c = &f->model->config;
    const struct layer *l = &f->model->layers[index];
    const cl_mem *b = f->buffers;
    cl_mem q = b[B_Q_GATE] ? b[B_Q_GATE] : b[B_Q], k = b[B_K_GATE] ? b[B_K_GATE] : b[B_K];
    cl_mem raw_q = b[B_Q_RAW] ? b[B_Q_RAW] : q, raw_k = b[B_K_RAW] ? b[B_K_RAW] : k;
    int code = forward_norm(f, l->norm_attend);
    if (!code)
        code = forward_linear(f, b[B_NORMED], &l->q, 0, raw_q);
    if (!code)
        code = forward_linear(f, b[B_NORMED], &l->k, 0, raw_k);
    if (!code)
        code = forward_linear(f, b[B_NORMED], &l->v, 0, b[B_V]);
    if (!code)
        code = spend(f->machine, SPENT_PRODUCTS);
    if (!code && l->norm_q)
        code = rms(f, raw_q, l->norm_q, f->seq * c->q_heads, c->head_dim, q);
    if (!code && l->norm_k)
        code = rms(f, raw_k, l->norm_k, f->seq * c->kv_heads, c->head_dim, k);
    if (!code)
        code = spend(f->machine, SPENT_NORM);
    if (!code)
        code = forward_rotate(f, q, c->q_heads, 1, b[B_Q]);
    if (!code)
        code = forward_rotate(f, k, c->kv_heads, 1, b[B_K]);
    return code ? code : spend(f->machine, SPENT_ROPE);
}

struct attended forward_attended(const struct forward *f)
{
    const cl_mem *b = f->buffers;
    return (struct attended){
        .q = b[B_Q], .k = b[B_K], .v = b[B_V], .q_gate = b[B_Q_GATE], .k_gate = b[B_K_GATE], .out = b[B_ATTENDED]};
}

int forward_attend(struct forward *f, cl_int l, const struct attended *at)
{
    int code = forward_heads(f, l);
    if (!code)
        code = f->attend(f->user, l, f->seq, at);
    if (!code)
        code = spend(f->machine, SPENT_ATTEND);
    if (!code)
        code = forward_linear(f, at->out, &f->model->layers[l].o, 1, f->buffers[B_X]);
    return code ? code : spend(f->machine, SPENT_PRODUCTS);
}

int forward_gate_up(struct forward *f, cl_int index)
{
    const struct layer *l = &f->model->layers[index];
    int code = forward_norm(f, l->norm_mlp);
    if (!code)
        code = forward_linear(f, f->buffers[B_NORMED], &l->gate, 0, f->buffers[B_INNER]);
    if (!code)
        code = forward_linear(f, f->buffers[B_NORMED], &l->up, 0, f->buffers[B_UP]);
    return code ? code : spend(f->machine, SPENT_PRODUCTS);
}

int forward_swiglu(struct forward *f, cl_mem to)
{
    const cl_ulong n = ((cl_ulong)f->seq * (cl_ulong)f->model->config.inner + 3) / 4;
    const struct arg args[] = {ARG(f->buffers[B_INNER]), ARG(f->buffers[B_UP]), ARG(n), ARG(to)};
    int code = launch(f->machine, K_SWIGLU, (size_t)n, 1, 64, args, 4);
    return code ? code : spend(f->machine, SPENT_SWIGLU);
}

int forward_mlp(struct forward *f, cl_int l)
{
    cl_mem inner = f->buffers[B_INNER];
    int code = forward_gate_up(f, l);
    if (!code)
        code = forward_swiglu(f, inner);
    if (!code)
        code = forward_linear(f, inner, &f->model->layers[l].down, 1, f->buffers[B_X]);
    return code ? code : spend(f->machine, SPENT_PRODUCTS);
}

int forward_run(struct forward *f, const cl_int *tokens, cl_int layers)
{
    const struct attended at = forward_attended(f);
    spend_from_now(f->machine);
    int code = forward_embed(f, tokens);
    for (cl_int l = 0; l < layers && !code; l++) {
        code = forward_attend(f, l, &at);
        if (!code)
            code = forward_mlp(f, l);
    }
    return code;
}

/* ------------------------------------------------------------------------ */
/* The loss                                                                 */
/* ------------------------------------------------------------------------ */

static int fold(struct forward *f, cl_int from, cl_int first, cl_int count)
{
    const struct matrix *head = model_head(f->model);
    const cl_ulong targets_at = (cl_ulong)from + 1;
    const struct arg args[] = {ARG(f->buffers[B_LOGITS]), ARG(first),      ARG(count),
                               ARG(f->buffers[B_TOKENS]), ARG(targets_at), ARG(f->buffers[B_STATE])};
    const size_t lanes = (size_t)f->machine->lanes;
    const cl_int rows = f->seq - from;
    int code = product(f->machine, f->buffers[B_NORMED], (size_t)from * (size_t)head->cols, rows, head, first, count,
                       f->buffers[B_ROOM], 0, f->buffers[B_LOGITS]);
    if (!code)
        code = spend(f->machine, SPENT_PRODUCTS);
    if (!code)
        code = launch(f->machine, K_FOLD, (size_t)rows * lanes, 1, lanes, args, 6);
    return code ? code : spend(f->machine, SPENT_LOSS);
}

int forward_loss(struct forward *f, cl_int from, double *loss)
{
    const cl_int vocab = f->model->config.vocab, rows = f->seq - from;
    float *state = malloc((size_t)rows * 3 * sizeof *state);
    int code = state ? 0 : fail(EXIT_INPUT, "there is no memory for the losses of %d tokens", (int)rows);
    if (!code)
        code = forward_norm(f, f->model->norm);
    for (cl_int first = 0; first < vocab && !code; first += f->columns)
        code = fold(f, from, first, vocab - first < f->columns ? vocab - first : f->columns);
    if (!code)
        code = buffer_read(f->machine, f->buffers[B_STATE], (size_t)rows * 3 * sizeof *state, state);
    *loss = 0;
    for (cl_int r = 0; state && r < rows && !code; r++)
        *loss += ((double)state[3 * r] - (double)state[3 * r + 2] + log((double)state[3 * r + 1])) / rows;
    free(state);
    return code;
}
