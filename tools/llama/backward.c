/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backward.c: the gradient of the loss in every weight of a model, over one sequence.
 */
#include "backward.h"

#include "fail.h"

#include <stdlib.h>
#include <string.h>

/* Bytes of logits at once; the tokens are taken in parts of as many rows. */
static const size_t logits_bytes = (size_t)64 << 20;

static size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* ------------------------------------------------------------------------ */
/* Buffers                                                                  */
/* ------------------------------------------------------------------------ */

/* Numbers of all arrays and of the largest, the widest row of any, and the room that products need. */
struct extents {
    size_t numbers, largest, widest, room;
};

static struct extents extents_of(const struct config *config, cl_int seq)
{
    const struct model shapes = {.config = *config};
    struct extents e = {0};
    struct parameter a;
    for (size_t i = 0; model_parameter(&shapes, i, &a); i++) {
        const int64_t rows = (int64_t)a.rows, cols = (int64_t)a.cols;
        e.numbers += a.n;
        e.largest = most(e.largest, a.n);
        e.widest = most(e.widest, cols ? a.cols : a.rows);
        if (cols)
            e.room = most(e.room, most(product_room(rows, cols), product_weights_room(rows, cols, seq)));
    }
    return e;
}

/* What forward.c leaves to us: the input of QK norm, and room for products of three directions. */
static void forward_extend(struct forward *f, const struct config *c, size_t room)
{
    const int raw = (c->parts & PART_QK_NORM) != 0;
    f->bytes[B_Q_RAW] = raw ? f->bytes[B_Q] : 0;
    f->bytes[B_K_RAW] = raw ? f->bytes[B_K] : 0;
    f->bytes[B_ROOM] = most(f->bytes[B_ROOM], room);
    f->sum = 0;
    for (int i = 0; i < N_BUFFERS; i++)
        f->sum += f->bytes[i];
}

void backward_plan(struct backward *b, const struct config *c, cl_int seq, struct attention *attention, int gated)
{
    const struct attended_bytes kept = attention_kept(attention);
    const struct extents e = extents_of(c, seq);
    const size_t n = (size_t)seq, number = sizeof(float), row = (size_t)c->vocab * number;
    const size_t chunk = most(logits_bytes / row, 1);
    memset(b, 0, sizeof *b);
    b->attention = attention;
    b->layers = c->layers;
    b->chunk = (cl_int)(chunk < n ? chunk : n);
    forward_plan(&b->forward, c, seq, gated);
    forward_extend(&b->forward, c, e.room);
    const size_t *of = b->forward.bytes;
    const size_t bytes[N_BACK] = {
        [D_X] = of[B_X],
        [D_NORMED] = of[B_NORMED],
        [D_Q] = of[B_Q],
        [D_K] = of[B_K],
        [D_V] = of[B_V],
        [D_INNER] = of[B_INNER],
        [D_SCALES] = n * (size_t)(c->parts & PART_QK_NORM ? c->q_heads : 1) * number,
        [D_PARTS] = BACK_PARTS * e.widest * number,
        [D_LOGITS] = (size_t)b->chunk * row,
        [D_LOSSES] = n * number,
        [D_PLACES] = n * sizeof(cl_int),
        [D_FIRST] = (n + 1) * sizeof(cl_int),
    };
    memcpy(b->bytes, bytes, sizeof bytes);
    const size_t of_layer[N_KEPT] = {of[B_X], kept.made, kept.lse, kept.counts, kept.blocks};
    memcpy(b->kept_bytes, of_layer, sizeof of_layer);
    b->grads_bytes = e.numbers * number;
    b->grads_largest = e.largest * number;
}

size_t backward_bytes(const struct backward *b)
{
    size_t sum = b->forward.sum + b->grads_bytes;
    for (int i = 0; i < N_BACK; i++)
        sum += b->bytes[i];
    for (int i = 0; i < N_KEPT; i++)
        sum += (size_t)b->layers * b->kept_bytes[i];
    return sum;
}

size_t backward_largest(const struct backward *b)
{
    size_t largest = b->grads_largest;
    for (int i = 0; i < N_BUFFERS; i++)
        largest = most(largest, b->forward.bytes[i]);
    for (int i = 0; i < N_BACK; i++)
        largest = most(largest, b->bytes[i]);
    for (int i = 0; i < N_KEPT; i++)
        largest = most(largest, b->kept_bytes[i]);
    return largest;
}

static int buffers_make(struct machine *m, const size_t *bytes, int n, cl_mem *buffers)
{
    int code = 0;
    for (int i = 0; i < n && !code; i++)
        if (bytes[i])
            code = buffer_make(m, bytes[i], "gradients", &buffers[i]);
    return code;
}

static void buffers_free(cl_mem *buffers, int n)
{
    for (int i = 0; i < n; i++)
        if (buffers[i])
            clReleaseMemObject(buffers[i]);
}

static int attend(void *user, cl_int l, cl_int seq, const struct attended *at)
{
    struct backward *b = user;
    int code = attention_run(b->forward.machine, b->attention, l, seq, at);
    return code || !b->watch ? code : b->watch(b->user, l, seq, at);
}

int backward_make(struct backward *b)
{
    struct machine *m = b->forward.machine;
    const size_t n = (size_t)b->forward.seq;
    b->forward.attend = attend;
    b->forward.user = b;
    b->kept = calloc((size_t)b->layers, sizeof *b->kept);
    b->losses = malloc(n * sizeof *b->losses);
    b->sorted = malloc((2 * n + 1 + (size_t)b->forward.model->config.vocab) * sizeof *b->sorted);
    int code = b->kept && b->losses && b->sorted
                   ? forward_make(&b->forward)
                   : fail(EXIT_INPUT, "there is no memory for the gradients of %zu tokens", n);
    if (!code)
        code = buffers_make(m, b->bytes, N_BACK, b->buffers);
    for (cl_int l = 0; l < b->layers && !code; l++)
        code = buffers_make(m, b->kept_bytes, N_KEPT, b->kept[l].buffers);
    return code ? code : model_like(m, b->forward.model, &b->grads);
}

void backward_free(struct backward *b)
{
    forward_free(&b->forward);
    buffers_free(b->buffers, N_BACK);
    for (cl_int l = 0; b->kept && l < b->layers; l++)
        buffers_free(b->kept[l].buffers, N_KEPT);
    model_free(&b->grads);
    free(b->kept);
    free(b->sorted);
    free(b->losses);
    memset(b, 0, sizeof *b);
}

/* ------------------------------------------------------------------------ */
/* A pass                                                                   */
/* ------------------------------------------------------------------------ */

static int forward(struct backward *b, const cl_int *tokens)
{
    struct forward *f = &b->forward;
    int code = forward_embed(f, tokens);
    for (cl_int l = 0; l < b->layers && !code; l++) {
        const struct attended at = backward_attended(b, l);
        code = buffer_copy(f->machine, f->buffers[B_X], b->kept[l].buffers[KEPT_X], f->bytes[B_X]);
        if (!code)
            code = forward_attend(f, l, &at);
        if (!code)
            code = forward_mlp(f, l);
    }
    return code;
}

/* Loss and gradients of the tokens first .. first + n - 1 at the head. */
static int head(struct backward *b, cl_int first, cl_int n, cl_float share)
{
    struct forward *f = &b->forward;
    struct machine *m = f->machine;
    const struct matrix *w = model_head(f->model), *dw = model_head(&b->grads);
    const size_t at = (size_t)first * (size_t)w->cols, lanes = (size_t)m->lanes;
    cl_mem logits = b->buffers[D_LOGITS], room = f->buffers[B_ROOM];
    const struct rows normed = {f->buffers[B_NORMED], at}, dnormed = {b->buffers[D_NORMED], at};
    const struct rows dlogits = {logits, 0};
    const cl_ulong from = (cl_ulong)first;
    const struct arg args[] = {ARG(logits), ARG(w->rows), ARG(f->buffers[B_TOKENS]),
                               ARG(from),   ARG(share),   ARG(b->buffers[D_LOSSES])};
    int code = product(m, normed.buffer, at, n, w, 0, w->rows, room, 0, logits);
    if (!code)
        code = spend(m, SPENT_PRODUCTS);
    if (!code)
        code = launch(m, K_BLAME, (size_t)n * lanes, 1, lanes, args, 6);
    if (!code)
        code = spend(m, SPENT_LOSS);
    if (!code)
        code = product_back(m, dlogits, n, w, room, 0, dnormed);
    if (!code)
        code = product_weights(m, dlogits, normed, n, dw, room);
    return code ? code : spend(m, SPENT_PRODUCTS);
}

/* The loss, and the gradient of the last layer's output. */
static int loss_run(struct backward *b, double weight, double *loss)
{
    struct forward *f = &b->forward;
    const cl_int seq = f->seq;
    const cl_float share = (cl_float)(weight / seq);
    int code = forward_norm(f, f->model->norm);
    for (cl_int first = 0; first < seq && !code; first += b->chunk)
        code = head(b, first, seq - first < b->chunk ? seq - first : b->chunk, share);
    if (!code)
        code = backward_norm(b, f->buffers[B_X], f->model->norm, seq, f->model->config.hidden, b->buffers[D_NORMED],
                             0, b->grads.norm, b->buffers[D_X]);
    if (!code)
        code = buffer_read(f->machine, b->buffers[D_LOSSES], b->bytes[D_LOSSES], b->losses);
    *loss = 0;
    for (cl_int t = 0; t < seq && !code; t++)
        *loss += (double)b->losses[t] / seq;
    return code;
}

/* Sort the tokens' places by token. @return How many different tokens there are. */
static cl_int sort(struct backward *b, const cl_int *tokens)
{
    const cl_int seq = b->forward.seq, vocab = b->forward.model->config.vocab;
    cl_int *places = b->sorted, *first = places + seq, *next = first + seq + 1, n = 0, at = 0;
    memset(next, 0, (size_t)vocab * sizeof *next);
    for (cl_int t = 0; t < seq; t++)
        next[tokens[t]]++;
    for (cl_int v = 0; v < vocab; v++) {
        const cl_int count = next[v];
        next[v] = at;
        if (count)
            first[n++] = at;
        at += count;
    }
    first[n] = at;
    for (cl_int t = 0; t < seq; t++)
        places[next[tokens[t]]++] = t;
    return n;
}

static int embedding(struct backward *b, const cl_int *tokens)
{
    struct machine *m = b->forward.machine;
    const struct matrix *table = &b->grads.embedding;
    cl_mem places = b->buffers[D_PLACES], first = b->buffers[D_FIRST];
    const cl_int n = sort(b, tokens);
    const struct arg args[] = {
        ARG(b->buffers[D_X]), ARG(b->forward.buffers[B_TOKENS]), ARG(places), ARG(first), ARG(table->cols), ARG(n),
        ARG(table->buffer)};
    int code = buffer_write(m, places, b->bytes[D_PLACES], b->sorted);
    if (!code)
        code = buffer_write(m, first, ((size_t)n + 1) * sizeof(cl_int), b->sorted + b->forward.seq);
    return code ? code : launch(m, K_SCATTER, (size_t)table->cols, (size_t)n, 64, args, 7);
}

int backward_run(struct backward *b, const cl_int *tokens, double weight, double *loss)
{
    spend_from_now(b->forward.machine);
    int code = forward(b, tokens);
    if (!code)
        code = loss_run(b, weight, loss);
    for (cl_int l = b->layers; l-- > 0 && !code;)
        code = backward_layer(b, l);
    if (!code)
        code = embedding(b, tokens);
    return code ? code : spend(b->forward.machine, SPENT_NORM);
}
