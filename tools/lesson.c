/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lesson.c: what one file teaches a gate.
 */
#include "lesson.h"

#include "fail.h"

#include <string.h>

/* A tensor of the file, if it is there. */
static int put(struct device *device, const struct job *job, const char *name, cl_mem *buffer, clgaze_tensor *tensor)
{
    const st_tensor *t = st_find(job->file, name);
    clgaze_dtype dtype;
    if (!t)
        return 0;
    if (library_dtype(t->dtype, &dtype))
        return fail(EXIT_INPUT, "tensor %s is %s, which no operation takes", name, st_dtype_name(t->dtype));
    const int code = device_buffer(device, t->bytes, t->data, name, buffer);
    if (!code)
        *tensor = clgaze_tensor_compact(*buffer, 0, dtype, t->rank, t->shape);
    return code;
}

static int room(struct device *device, const char *name, const int64_t shape[4], cl_mem *buffer,
                clgaze_tensor *tensor)
{
    const size_t bytes = (size_t)(shape[0] * shape[1] * shape[2] * shape[3]) * sizeof(float);
    const int code = device_buffer(device, bytes, NULL, name, buffer);
    if (!code)
        *tensor = clgaze_tensor_compact(*buffer, 0, CLGAZE_F32, 4, shape);
    return code;
}

/* Plan and run one operation, and wait. */
static int run(struct device *device, const struct job *job, clgaze_op op, const clgaze_tensors *tensors)
{
    clgaze_plan *plan = NULL;
    cl_mem workspace = NULL;
    clgaze_status status = clgaze_plan_create(device->context, op, &job->problem, &plan);
    const size_t bytes = clgaze_plan_workspace(plan);
    int code = status ? fail_library(status) : 0;
    if (!code && bytes)
        code = device_buffer(device, bytes, NULL, "a workspace", &workspace);
    if (!code) {
        const clgaze_call call = {
            .queue = device->queue, .workspace = workspace, .longest_q = job->longest_q, .longest_k = job->longest_k};
        status = clgaze_run(plan, op, tensors, &call);
        code = status ? fail_library(status) : 0;
    }
    const cl_int err = clFinish(device->queue);
    if (!code && err)
        code = fail(EXIT_OPENCL, "clFinish answered %d", (int)err);
    if (workspace)
        clReleaseMemObject(workspace);
    clgaze_plan_free(plan);
    return code;
}

/* Two tensors of the file and what `op` makes of them; they are released at once. */
static int compute(struct device *device, const struct job *job, clgaze_op op, clgaze_tensors *t)
{
    const char *const names[] = {op == CLGAZE_POOL ? "q_gate" : "q", op == CLGAZE_POOL ? "k_gate" : "k"};
    clgaze_tensor *const to[] = {op == CLGAZE_POOL ? &t->q_gate : &t->q, op == CLGAZE_POOL ? &t->k_gate : &t->k};
    cl_mem in[2] = {NULL, NULL};
    int code = 0;
    for (int i = 0; i < 2 && !code; i++)
        code = put(device, job, names[i], &in[i], to[i]);
    code = code ? code : run(device, job, op, t);
    for (int i = 0; i < 2; i++) {
        if (in[i])
            clReleaseMemObject(in[i]);
        memset(to[i], 0, sizeof *to[i]);
    }
    return code;
}

/* Tensors that tell how many tokens there are: every element is the same one. */
static int tell_lengths(struct device *device, const struct job *job, struct lesson *lesson)
{
    const char zeros[256 * sizeof(float)] = {0};
    const int64_t *d = job->dims;
    const int code = device_buffer(device, sizeof zeros, zeros, "lengths", &lesson->lengths);
    for (int keys = 0; keys < 2 && !code; keys++) {
        clgaze_tensor t = clgaze_tensor_bshd(lesson->lengths, 0, job->problem.dtype, d[DIM_B],
                                             d[keys ? DIM_SK : DIM_SQ], d[keys ? DIM_HK : DIM_HQ], d[DIM_D]);
        memset(t.stride, 0, sizeof t.stride);
        t.stride[3] = 1;
        *(keys ? &lesson->tensors.k_gate : &lesson->tensors.q_gate) = t;
    }
    return code;
}

int lesson_make(struct device *device, const struct job *job, struct lesson *lesson)
{
    const int64_t *d = job->dims;
    const int64_t q[4] = {d[DIM_B], d[DIM_NQ], d[DIM_HQ], d[DIM_QP]};
    const int64_t k[4] = {d[DIM_B], d[DIM_NK], d[DIM_HK], d[DIM_KP]};
    const int64_t truth[4] = {d[DIM_B], d[DIM_HQ], d[DIM_NQ], d[DIM_COLUMNS]};
    clgaze_tensors *t = &lesson->tensors;
    memset(lesson, 0, sizeof *lesson);
    lesson->longest_q = job->longest_q;
    lesson->longest_k = job->longest_k;
    int code = put(device, job, "rope_inv_freq", &lesson->rope, &t->rope_inv_freq);
    code = code ? code : put(device, job, "cu_seqlens_q", &lesson->cu_q, &t->cu_seqlens_q);
    code = code ? code : put(device, job, "cu_seqlens_k", &lesson->cu_k, &t->cu_seqlens_k);
    code = code ? code : room(device, "q_pooled", q, &lesson->q_pooled, &t->q_pooled);
    code = code ? code : room(device, "k_pooled", k, &lesson->k_pooled, &t->k_pooled);
    code = code ? code : compute(device, job, CLGAZE_POOL, t);
    code = code ? code : put(device, job, "truth", &lesson->truth, &t->truth);
    if (!code && !lesson->truth) {
        code = room(device, "truth", truth, &lesson->truth, &t->truth);
        code = code ? code : compute(device, job, CLGAZE_TRUTH, t);
    }
    return code ? code : tell_lengths(device, job, lesson);
}

void lesson_free(struct lesson *lesson)
{
    cl_mem *const all[] = {&lesson->q_pooled, &lesson->k_pooled, &lesson->truth,  &lesson->rope,
                           &lesson->cu_q,     &lesson->cu_k,     &lesson->lengths};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (*all[i])
            clReleaseMemObject(*all[i]);
    memset(lesson, 0, sizeof *lesson);
}
