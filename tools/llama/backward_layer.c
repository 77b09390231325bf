/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backward_layer.c: the gradients of a layer.
 */
#include "backward.h"

struct attended backward_attended(const struct backward *b, cl_int l)
{
    const cl_mem *kept = b->kept[l].buffers;
    struct attended at = forward_attended(&b->forward);
    at.made = kept[KEPT_OUT];
    if (b->attention->problem.dtype == CLGAZE_F32)
        at.out = at.made;
    at.lse = kept[KEPT_LSE];
    at.counts = kept[KEPT_COUNTS];
    at.blocks = kept[KEPT_BLOCKS];
    return at;
}

/* to += sums of the columns of dy [rows][width], each row of dy * x * scale where x is given. */
static int columns(struct backward *b, cl_mem dy, cl_mem x, cl_int rows, cl_int width, cl_mem to)
{
    struct machine *m = b->forward.machine;
    cl_mem part = b->buffers[D_PARTS], scale = b->buffers[D_SCALES];
    const cl_int least = 64, even = (rows + BACK_PARTS - 1) / BACK_PARTS, per = even > least ? even : least;
    const cl_int parts = (rows + per - 1) / per, scaled = x != NULL;
    cl_mem other = x ? x : dy;
    const struct arg sum[] = {ARG(dy),    ARG(other), ARG(scale), ARG(scaled),
                              ARG(width), ARG(rows),  ARG(per),   ARG(part)};
    const struct arg add[] = {ARG(part), ARG(width), ARG(parts), ARG(to)};
    int code = launch(m, K_COLUMNS, (size_t)width, (size_t)parts, 64, sum, 8);
    return code ? code : launch(m, K_ADD_PARTS, (size_t)width, 1, 64, add, 4);
}

int backward_norm(struct backward *b, cl_mem x, cl_mem w, cl_int rows, cl_int width, cl_mem dy, cl_int add,
                  cl_mem weight, cl_mem dx)
{
    struct machine *m = b->forward.machine;
    const cl_float eps = (cl_float)b->forward.model->config.eps;
    cl_mem scale = b->buffers[D_SCALES];
    const size_t lanes = (size_t)m->lanes;
    const struct arg scales[] = {ARG(x), ARG(eps), ARG(width), ARG(scale)};
    const struct arg back[] = {ARG(x), ARG(w), ARG(scale), ARG(dy), ARG(width), ARG(add), ARG(dx)};
    int code = launch(m, K_SCALES, (size_t)rows * lanes, 1, lanes, scales, 4);
    if (!code)
        code = columns(b, dy, x, rows, width, weight);
    if (!code)
        code = launch(m, K_RMS_BACK, (size_t)rows * lanes, 1, lanes, back, 7);
    return code ? code : spend(m, SPENT_NORM);
}

/* y = x w^T + bias: gradients of w and the bias, and dx = that of x (+ dx). */
static int linear(struct backward *b, const struct linear *l, const struct linear *grad, cl_mem x, cl_mem dy,
                  cl_int add, cl_mem dx)
{
    const struct forward *f = &b->forward;
    const struct rows of_dy = {dy, 0}, of_x = {x, 0}, of_dx = {dx, 0};
    int code = product_weights(f->machine, of_dy, of_x, f->seq, &grad->w, f->buffers[B_ROOM]);
    if (!code)
        code = product_back(f->machine, of_dy, f->seq, &l->w, f->buffers[B_ROOM], add, of_dx);
    if (!code && l->bias)
        code = columns(b, dy, NULL, f->seq, l->w.rows, grad->bias);
    return code;
}

static int swiglu(struct backward *b)
{
    struct forward *f = &b->forward;
    const cl_ulong n = ((cl_ulong)f->seq * (cl_ulong)f->model->config.inner + 3) / 4;
    const struct arg args[] = {ARG(f->buffers[B_INNER]), ARG(f->buffers[B_UP]), ARG(b->buffers[D_INNER]), ARG(n)};
    int code = launch(f->machine, K_SWIGLU_BACK, (size_t)n, 1, 64, args, 4);
    return code ? code : spend(f->machine, SPENT_SWIGLU);
}

/* B_X: what the MLP read; D_X of the layer's output becomes that of B_X. */
static int mlp(struct backward *b, cl_int index)
{
    struct forward *f = &b->forward;
    const struct layer *l = &f->model->layers[index], *g = &b->grads.layers[index];
    cl_mem dx = b->buffers[D_X], dnormed = b->buffers[D_NORMED], inner = b->buffers[D_INNER];
    cl_mem normed = f->buffers[B_NORMED];
    int code = forward_gate_up(f, index);
    if (!code)
        code = forward_swiglu(f, inner);
    if (!code)
        code = linear(b, &l->down, &g->down, inner, dx, 0, inner);
    if (!code)
        code = spend(f->machine, SPENT_PRODUCTS);
    if (!code)
        code = swiglu(b);
    if (!code)
        code = linear(b, &l->gate, &g->gate, normed, f->buffers[B_INNER], 0, dnormed);
    if (!code)
        code = linear(b, &l->up, &g->up, normed, f->buffers[B_UP], 1, dnormed);
    if (!code)
        code = spend(f->machine, SPENT_PRODUCTS);
    return code ? code
                : backward_norm(b, f->buffers[B_X], l->norm_mlp, f->seq, f->model->config.hidden, dnormed, 1,
                                g->norm_mlp, dx);
}

/* Gradients of a side's heads after RoPE become those of its product. */
static int heads(struct backward *b, cl_mem d, cl_int n, cl_mem raw, cl_mem w, cl_mem weight)
{
    struct forward *f = &b->forward;
    const cl_int dim = f->model->config.head_dim;
    int code = forward_rotate(f, d, n, -1, d);
    if (!code)
        code = spend(f->machine, SPENT_ROPE);
    return code || !w ? code : backward_norm(b, raw, w, f->seq * n, dim, d, 0, weight, d);
}

/* q, k, v and what attention made of them: D_Q, D_K, D_V from D_X. */
static int attend(struct backward *b, cl_int index, const struct attended *at)
{
    struct forward *f = &b->forward;
    const struct layer *l = &f->model->layers[index], *g = &b->grads.layers[index];
    const struct attended_back d = {f->buffers[B_ATTENDED], b->buffers[D_Q], b->buffers[D_K], b->buffers[D_V]};
    int code = linear(b, &l->o, &g->o, at->out, b->buffers[D_X], 0, d.out);
    if (!code)
        code = spend(f->machine, SPENT_PRODUCTS);
    if (!code)
        code = attention_back(f->machine, b->attention, f->seq, at, &d);
    if (!code)
        code = spend(f->machine, SPENT_ATTEND_BACK);
    if (!code)
        code = heads(b, d.q, f->model->config.q_heads, f->buffers[B_Q_RAW], l->norm_q, g->norm_q);
    if (!code)
        code = heads(b, d.k, f->model->config.kv_heads, f->buffers[B_K_RAW], l->norm_k, g->norm_k);
    return code;
}

/* D_X of the MLP's input becomes that of the layer's. */
static int attention(struct backward *b, cl_int index, const struct attended *at)
{
    struct forward *f = &b->forward;
    const struct layer *l = &f->model->layers[index], *g = &b->grads.layers[index];
    cl_mem normed = f->buffers[B_NORMED], dnormed = b->buffers[D_NORMED];
    int code = forward_heads(f, index);
    if (!code)
        code = attend(b, index, at);
    if (!code)
        code = linear(b, &l->q, &g->q, normed, b->buffers[D_Q], 0, dnormed);
    if (!code)
        code = linear(b, &l->k, &g->k, normed, b->buffers[D_K], 1, dnormed);
    if (!code)
        code = linear(b, &l->v, &g->v, normed, b->buffers[D_V], 1, dnormed);
    if (!code)
        code = spend(f->machine, SPENT_PRODUCTS);
    return code ? code
                : backward_norm(b, b->kept[index].buffers[KEPT_X], l->norm_attend, f->seq, f->model->config.hidden,
                                dnormed, 1, g->norm_attend, b->buffers[D_X]);
}

int backward_layer(struct backward *b, cl_int l)
{
    struct forward *f = &b->forward;
    const struct attended at = backward_attended(b, l);
    cl_mem x = f->buffers[B_X], kept = b->kept[l].buffers[KEPT_X];
    int code = buffer_copy(f->machine, kept, x, f->bytes[B_X]);
    if (!code)
        code = attention_again(f->machine, b->attention, &at);
    if (!code)
        code = forward_linear(f, at.out, &f->model->layers[l].o, 1, x);
    if (!code)
        code = mlp(b, l);
    if (!code)
        code = buffer_copy(f->machine, kept, x, f->bytes[B_X]);
    return code ? code : attention(b, l, &at);
}
