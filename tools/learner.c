/* SPDX-License-Identifier: Apache-2.0 */
/*
 * learner.c: a gate on the device while it learns.
 */
#include "learner.h"

#include "fail.h"
#include "gate_file.h"
#include "lesson.h"
#include "training.h"

#include <stdlib.h>
#include <string.h>

const char *const learned_names[N_LEARNED] = {"w_k", "w_q", "moments_k", "moments_q", "dw_k", "dw_q"};

static int64_t pools(uint32_t set)
{
    return (set & 1) + (set >> 1 & 1) + (set >> 2 & 1);
}

static void shape(const clgaze_problem *p, int which, st_tensor *t)
{
    const int queries = which == W_Q || which == MOMENTS_Q || which == DW_Q;
    const int twice = which == MOMENTS_K || which == MOMENTS_Q;
    const int64_t sizes[4] = {2, queries || !p->gate_double ? p->q_heads : p->kv_heads,
                              pools(queries ? p->q_pool : p->k_pool) * p->head_dim,
                              p->gate_dim ? p->gate_dim : p->head_dim};
    memset(t, 0, sizeof *t);
    t->name = learned_names[which];
    t->dtype = ST_F32;
    t->rank = twice ? 4 : 3;
    memcpy(t->shape, sizes + !twice, (size_t)t->rank * sizeof *sizes);
    if (!queries || p->gate_double)
        st_size(ST_F32, t->rank, t->shape, &t->elements, &t->bytes);
}

static int zeros(struct learner *l, int which)
{
    clgaze_tensors *t = &l->tensors;
    clgaze_tensor *const to[] = {&t->w_k, &t->w_q, &t->moments_k, &t->moments_q, &t->dw_k, &t->dw_q};
    const st_tensor *s = &l->shapes[which];
    const float zero = 0;
    if (!s->elements)
        return 0;
    int code = device_buffer(l->device, s->bytes, NULL, s->name, &l->buffers[which]);
    if (code)
        return code;
    *to[which] = clgaze_tensor_compact(l->buffers[which], 0, CLGAZE_F32, s->rank, s->shape);
    const cl_int err =
        clEnqueueFillBuffer(l->device->queue, l->buffers[which], &zero, sizeof zero, 0, s->bytes, 0, NULL, NULL);
    return err ? fail(EXIT_OPENCL, "clEnqueueFillBuffer answered %d for %s", (int)err, s->name) : 0;
}

int learner_open(struct device *device, const clgaze_problem *problem, struct learner *l)
{
    const int64_t one = 1;
    memset(l, 0, sizeof *l);
    l->device = device;
    const clgaze_status status = clgaze_distill_plan(device->context, problem, &l->plan);
    int code = status ? fail_library(status) : 0;
    code = code ? code : device_buffer(device, clgaze_plan_workspace(l->plan), NULL, "a workspace", &l->workspace);
    code = code ? code : device_buffer(device, sizeof(float), NULL, "the loss", &l->loss);
    for (int i = 0; i < N_LEARNED && !code; i++) {
        shape(problem, i, &l->shapes[i]);
        code = zeros(l, i);
    }
    if (!code)
        l->tensors.loss = clgaze_tensor_compact(l->loss, 0, CLGAZE_F32, 1, &one);
    return code;
}

void learner_free(struct learner *l)
{
    if (l->device)
        clFinish(l->device->queue); /* nothing may run on what is released now */
    for (int i = 0; i < N_LEARNED; i++)
        if (l->buffers[i])
            clReleaseMemObject(l->buffers[i]);
    if (l->loss)
        clReleaseMemObject(l->loss);
    if (l->workspace)
        clReleaseMemObject(l->workspace);
    clgaze_plan_free(l->plan);
    memset(l, 0, sizeof *l);
}

int learner_start(struct learner *l, uint64_t *state)
{
    int code = 0;
    for (int which = W_K; which <= W_Q && !code; which++) {
        const st_tensor *s = &l->shapes[which];
        float *x = malloc(s->bytes + 1);
        if (!x)
            return fail(EXIT_INPUT, "there is no memory for the %zu numbers of a gate", s->elements);
        training_start(state, x, s->elements);
        code = s->elements ? learner_put(l, which, x) : 0;
        free(x);
    }
    return code;
}

int learner_put(struct learner *l, int which, const float *from)
{
    const st_tensor *s = &l->shapes[which];
    const cl_int err =
        clEnqueueWriteBuffer(l->device->queue, l->buffers[which], CL_TRUE, 0, s->bytes, from, 0, NULL, NULL);
    return err ? fail(EXIT_OPENCL, "clEnqueueWriteBuffer answered %d for %s", (int)err, s->name) : 0;
}

int learner_get(struct learner *l, int which, float *to)
{
    const st_tensor *s = &l->shapes[which];
    const cl_int err =
        clEnqueueReadBuffer(l->device->queue, l->buffers[which], CL_TRUE, 0, s->bytes, to, 0, NULL, NULL);
    return err ? fail(EXIT_OPENCL, "clEnqueueReadBuffer answered %d for %s", (int)err, s->name) : 0;
}

int learner_step(struct learner *l, const struct lesson *lesson, const clgaze_adamw *step, float *loss)
{
    clgaze_tensors t = lesson->tensors;
    const clgaze_call call = {.queue = l->device->queue,
                              .workspace = l->workspace,
                              .longest_q = lesson->longest_q,
                              .longest_k = lesson->longest_k,
                              .update = step};
    t.w_k = l->tensors.w_k;
    t.w_q = l->tensors.w_q;
    t.moments_k = l->tensors.moments_k;
    t.moments_q = l->tensors.moments_q;
    t.dw_k = l->tensors.dw_k;
    t.dw_q = l->tensors.dw_q;
    t.loss = l->tensors.loss;
    const clgaze_status status = clgaze_distill(l->plan, &t, &call);
    if (status)
        return fail_library(status);
    const cl_int err = clEnqueueReadBuffer(l->device->queue, l->loss, CL_TRUE, 0, sizeof *loss, loss, 0, NULL, NULL);
    return err ? fail(EXIT_OPENCL, "clEnqueueReadBuffer answered %d for the loss", (int)err) : 0;
}

/* One side of a learner's gate, for the caller to free; NULL: none in this form, or failed. */
static float *weights(struct learner *l, int which, int *code)
{
    const st_tensor *shape = &l->shapes[which];
    float *to = shape->elements && !*code ? malloc(shape->bytes) : NULL;
    if (shape->elements && !*code)
        *code = to ? learner_get(l, which, to) : fail(EXIT_INPUT, "there is no memory for a gate");
    return to;
}

int learners_write(const char *path, struct learner *learners, size_t n, const clgaze_problem *problem, int32_t layer,
                   int bf16)
{
    struct layer_gate *w = calloc(n, sizeof *w);
    int code = w ? 0 : fail(EXIT_INPUT, "there is no memory for %zu gates", n);
    for (size_t i = 0; w && i < n; i++) {
        struct learner *l = &learners[i];
        w[i] = (struct layer_gate){layer + (int32_t)i, weights(l, W_K, &code), weights(l, W_Q, &code)};
    }
    if (!code)
        code = gates_write(path, problem, w, n, bf16);
    for (size_t i = 0; w && i < n; i++) {
        free((void *)(uintptr_t)w[i].w_k);
        free((void *)(uintptr_t)w[i].w_q);
    }
    free(w);
    return code;
}
