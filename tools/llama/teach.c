/* SPDX-License-Identifier: Apache-2.0 */
/*
 * teach.c: attention of a layer that also teaches the layer's gate.
 */
#include "teach.h"

#include "fail.h"
#include "lesson.h"

#include <stdlib.h>
#include <string.h>

static size_t rows_of(const struct teach *t)
{
    return ((size_t)t->problem.max_q + (size_t)t->problem.block_q - 1) / (size_t)t->problem.block_q;
}

/* Numbers that a sequence leaves for the step: pooled queries, pooled keys, the truth. */
static void left_by_sequence(const struct teach *t, size_t left[3])
{
    const clgaze_problem *p = &t->problem;
    const size_t n = rows_of(t), d = (size_t)p->head_dim;
    left[0] = n * (size_t)p->q_heads * gates_pools(p->q_pool) * d;
    left[1] = n * (size_t)p->kv_heads * gates_pools(p->k_pool) * d;
    left[2] = (size_t)p->q_heads * n * n;
}

/* A step of one sequence is made layer by layer; one of several keeps all layers. */
static size_t kept_sequences(const struct teach *t)
{
    const size_t batch = (size_t)t->problem.max_batch;
    return batch > 1 ? batch * (size_t)t->layers : 1;
}

static void problem_set(const struct config *config, cl_int seq, cl_int batch, int turns, clgaze_problem *p)
{
    compute_shape(config, seq, p);
    p->dtype = p->weight_dtype = CLGAZE_F32;
    p->max_batch = batch;
    if (!p->gate_dim) { /* no file of gates says so */
        p->gate_dim = config->head_dim;
        p->gate_double = gates_pools(p->q_pool) > 1;
        p->rope_pairs = turns ? config->head_dim / 2 : 0;
    }
}

int teach_plan(struct machine *m, const struct config *config, cl_int seq, cl_int batch,
               const clgaze_problem *problem, int turns, int apart, struct teach *t)
{
    clgaze_plan *distill = NULL;
    size_t left[3];
    memset(t, 0, sizeof *t);
    t->problem = *problem;
    t->layers = config->layers;
    problem_set(config, seq, batch, turns, &t->problem);
    halves_plan(&t->halves, config, seq, problem->dtype, apart ? HALVES_ATTEND | HALVES_OUT : HALVES_KEYS);
    clgaze_problem one = t->problem;
    one.max_batch = 1;
    clgaze_status status = clgaze_pool_plan(m->device.context, &one, &t->pool);
    one.dtype = problem->dtype;
    if (!status)
        status = clgaze_truth_plan(m->device.context, &one, &t->truth);
    if (!status)
        status = clgaze_distill_plan(m->device.context, &t->problem, &distill);
    if (status)
        return fail_library(status);
    const size_t d = (size_t)config->head_dim * (size_t)t->problem.gate_dim, pool = clgaze_plan_workspace(t->pool);
    const size_t heads = (size_t)(t->problem.gate_double ? config->kv_heads : config->q_heads);
    size_t weights = heads * gates_pools(t->problem.k_pool) * d;
    weights += t->problem.gate_double ? (size_t)config->q_heads * gates_pools(t->problem.q_pool) * d : 0;
    t->workspace_bytes = clgaze_plan_workspace(t->truth);
    t->workspace_bytes = pool > t->workspace_bytes ? pool : t->workspace_bytes;
    left_by_sequence(t, left);
    /* Of each learner: the weights, their gradient, two moments, and a workspace. */
    t->bytes = (size_t)t->layers * (4 * weights * sizeof(float) + clgaze_plan_workspace(distill));
    t->bytes += halves_bytes(&t->halves) + t->workspace_bytes +
                kept_sequences(t) * (left[0] + left[1] + left[2]) * sizeof(float);
    clgaze_plan_free(distill);
    return 0;
}

static int learners_make(struct machine *m, cl_int seed, struct teach *t)
{
    uint64_t state = (uint64_t)seed;
    int code = 0;
    t->learners = calloc((size_t)t->layers, sizeof *t->learners);
    t->losses = calloc((size_t)t->layers, sizeof *t->losses);
    if (!t->learners || !t->losses)
        return fail(EXIT_INPUT, "there is no memory for %d gates", (int)t->layers);
    for (cl_int l = 0; l < t->layers && !code; l++) {
        code = learner_open(&m->device, &t->problem, &t->learners[l]);
        if (!code)
            code = learner_start(&t->learners[l], &state);
    }
    return code;
}

int teach_make(struct machine *m, const struct config *config, cl_int seed, struct teach *t)
{
    size_t left[3];
    const size_t kept = kept_sequences(t) * sizeof(float);
    left_by_sequence(t, left);
    int code = learners_make(m, seed, t);
    if (!code)
        code = halves_make(m, &t->halves);
    if (!code)
        code = gates_frequencies(m, config, t->problem.rope_pairs, &t->inv_freq);
    if (!code)
        code = buffer_make(m, t->workspace_bytes, "workspace", &t->workspace);
    if (!code)
        code = buffer_make(m, kept * left[0], "pooled queries", &t->q_pooled);
    if (!code)
        code = buffer_make(m, kept * left[1], "pooled keys", &t->k_pooled);
    return code ? code : buffer_make(m, kept * left[2], "the truth", &t->maps);
}

/* A matrix of f32 that is the learner's own takes the place of one in a type of the file. */
static int adopt(struct machine *m, cl_int gate_dim, cl_mem own, struct matrix *w)
{
    const cl_ulong n = (cl_ulong)w->rows * (cl_ulong)w->cols * (cl_ulong)gate_dim;
    int code = widen(m, w->buffer, w->type, 0, n, 1, own);
    if (code)
        return code;
    clReleaseMemObject(w->buffer);
    clRetainMemObject(own);
    w->buffer = own;
    w->type = 0;
    return 0;
}

int teach_from(struct machine *m, struct teach *t, struct gates *g)
{
    int code = 0;
    for (cl_int l = 0; l < t->layers && !code; l++) {
        code = adopt(m, t->problem.gate_dim, t->learners[l].buffers[W_K], &g->w_k[l]);
        if (!code && g->w_q)
            code = adopt(m, t->problem.gate_dim, t->learners[l].buffers[W_Q], &g->w_q[l]);
    }
    return code;
}

void teach_free(struct teach *t)
{
    const cl_mem buffers[] = {t->workspace, t->inv_freq, t->q_pooled, t->k_pooled, t->maps};
    for (cl_int l = 0; t->learners && l < t->layers; l++)
        learner_free(&t->learners[l]);
    for (size_t i = 0; i < CLG_COUNT(buffers); i++)
        if (buffers[i])
            clReleaseMemObject(buffers[i]);
    halves_free(&t->halves);
    clgaze_plan_free(t->pool);
    clgaze_plan_free(t->truth);
    free(t->learners);
    free(t->losses);
    memset(t, 0, sizeof *t);
}

/* What `batch` sequences from number `first` on leave. */
static void views(const struct teach *t, size_t first, cl_int batch, clgaze_tensors *to)
{
    const clgaze_problem *p = &t->problem;
    const int64_t n = (int64_t)rows_of(t), d = p->head_dim;
    const int64_t q[] = {batch, n, p->q_heads, (int64_t)gates_pools(p->q_pool) * d};
    const int64_t k[] = {batch, n, p->kv_heads, (int64_t)gates_pools(p->k_pool) * d};
    const int64_t map[] = {batch, p->q_heads, n, n};
    size_t left[3];
    left_by_sequence(t, left);
    to->q_pooled = clgaze_tensor_compact(t->q_pooled, first * left[0], CLGAZE_F32, 4, q);
    to->k_pooled = clgaze_tensor_compact(t->k_pooled, first * left[1], CLGAZE_F32, 4, k);
    to->truth = clgaze_tensor_compact(t->maps, first * left[2], CLGAZE_F32, 4, map);
}

/* Only the shape of q and k is looked at, so every sequence may be the same. */
static void learn_from(const struct teach *t, size_t first, cl_int seq, const struct attended *at,
                       struct lesson *lesson)
{
    const clgaze_problem *p = &t->problem;
    const int64_t pairs = p->rope_pairs;
    memset(lesson, 0, sizeof *lesson);
    views(t, first, p->max_batch, &lesson->tensors);
    if (pairs)
        lesson->tensors.rope_inv_freq = clgaze_tensor_compact(t->inv_freq, 0, CLGAZE_F32, 1, &pairs);
    lesson->tensors.q_gate =
        clgaze_tensor_bshd(at->q_gate, 0, CLGAZE_F32, p->max_batch, seq, p->q_heads, p->head_dim);
    lesson->tensors.k_gate =
        clgaze_tensor_bshd(at->k_gate, 0, CLGAZE_F32, p->max_batch, seq, p->kv_heads, p->head_dim);
    lesson->tensors.q_gate.stride[0] = lesson->tensors.k_gate.stride[0] = 0;
}

/* Truth of q and k, and the output of dense attention where it is wanted. */
static int truth(struct machine *m, struct teach *t, const struct attended *at, clgaze_tensors *x,
                 const clgaze_call *call)
{
    const struct halves *h = &t->halves;
    int code = halves_take(m, h, H_Q, at->q, &x->q);
    if (!code)
        code = halves_take(m, h, H_K, at->k, &x->k);
    if (!code && at->out)
        code = halves_take(m, h, H_V, at->v, &x->v);
    if (code)
        return code;
    if (at->out)
        x->out = halves_tensor(h, H_OUT, at->out);
    const clgaze_status status = clgaze_truth(t->truth, x, call);
    if (status)
        return fail_library(status);
    return at->out ? halves_give(m, h, H_OUT, &x->out, at->out) : 0;
}

int teach_run(struct machine *m, struct teach *t, cl_int l, cl_int seq, const struct attended *at)
{
    const clgaze_problem *p = &t->problem;
    const size_t first = p->max_batch > 1 ? (size_t)l * (size_t)p->max_batch : 0;
    const clgaze_call call = {.queue = m->device.queue, .workspace = t->workspace};
    clgaze_tensors x;
    memset(&x, 0, sizeof x);
    views(t, first + (size_t)t->at, 1, &x);
    const int code = truth(m, t, at, &x, &call);
    if (code)
        return code;
    x.q_gate = clgaze_tensor_bshd(at->q_gate, 0, CLGAZE_F32, 1, seq, p->q_heads, p->head_dim);
    x.k_gate = clgaze_tensor_bshd(at->k_gate, 0, CLGAZE_F32, 1, seq, p->kv_heads, p->head_dim);
    const clgaze_status status = clgaze_pool(t->pool, &x, &call);
    if (status)
        return fail_library(status);
    if (t->at + 1 < p->max_batch)
        return 0;
    struct lesson lesson;
    learn_from(t, first, seq, at, &lesson);
    return learner_step(&t->learners[l], &lesson, &t->step, &t->losses[l]);
}
