/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prefill_run.c: the five operations, one call, and dense attention, timed.
 *
 * Everything runs on one in-order queue, so a stage took the time between the
 * end of the stage before it and its own end, by the device's clock.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "prefill.h"

const char *const stage_names[STAGES] = {"dense", "pool", "gate", "score", "select", "attend", "prefill"};

static const clgaze_op ops[STAGES] = {CLGAZE_ATTEND, CLGAZE_POOL,   CLGAZE_GATE,   CLGAZE_SCORE,
                                      CLGAZE_SELECT, CLGAZE_ATTEND, CLGAZE_PREFILL};

enum { MAX_MEMS = 32 };

struct run {
    clgaze_context *ctx;
    cl_command_queue queue;
    clgaze_plan *plan[STAGES];
    clgaze_tensors tensors[STAGES];
    cl_mem mem[MAX_MEMS], workspace;
    int mems;
};

static int try_cl(cl_int err, const char *call)
{
    return err == CL_SUCCESS ? 0 : fail(EXIT_OPENCL, "%s answered %d", call, err);
}

static int try_gaze(clgaze_status status)
{
    return status == CLGAZE_OK ? 0 : fail_library(status);
}

/* ---- the device and the plans ---- */

static int open_device(struct run *run, const char *device, struct result *result)
{
    clgaze_context_options options = {.pick = device, .log = fail_log, .log_level = CLGAZE_LOG_WARN};
    char name[128] = "", platform_name[128] = "";
    cl_platform_id platform = NULL;
    cl_int err;
    int code;

    if ((code = try_gaze(clgaze_context_create(&options, &run->ctx))))
        return code;
    cl_device_id id = clgaze_context_device(run->ctx);
    clGetDeviceInfo(id, CL_DEVICE_NAME, sizeof name - 1, name, NULL);
    clGetDeviceInfo(id, CL_DRIVER_VERSION, sizeof result->driver - 1, result->driver, NULL);
    clGetDeviceInfo(id, CL_DEVICE_PLATFORM, sizeof(cl_platform_id), &platform, NULL);
    clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof platform_name - 1, platform_name, NULL);
    snprintf(result->device, sizeof result->device, "%s (%s)", name, platform_name);
    run->queue = clCreateCommandQueue(clgaze_context_cl(run->ctx), id, CL_QUEUE_PROFILING_ENABLE, &err);
    return try_cl(err, "clCreateCommandQueue");
}

static int make_plans(struct run *run, const struct layer *layer, struct result *result)
{
    size_t most = 0;
    cl_int err;
    int code;

    for (int i = 0; i < STAGES; i++) {
        clgaze_problem p = layer->problem;

        p.lse = 1;
        p.lists = i == DENSE ? CLGAZE_LISTS_DENSE : CLGAZE_LISTS_BLOCKS;
        if ((code = try_gaze(clgaze_plan_create(run->ctx, ops[i], &p, &run->plan[i]))))
            return code;
        if (i != WHOLE)
            snprintf(result->kernel[i], sizeof result->kernel[i], "%s", clgaze_plan_kernel(run->plan[i], ops[i]));
        if (clgaze_plan_workspace(run->plan[i]) > most)
            most = clgaze_plan_workspace(run->plan[i]);
    }
    result->rows = (layer->tokens + layer->problem.block_q - 1) / layer->problem.block_q;
    result->cols = (layer->tokens + layer->problem.block_k - 1) / layer->problem.block_k;
    result->width = clgaze_plan_width(run->plan[SELECT]);
    if (most == 0)
        return 0;
    run->workspace = clCreateBuffer(clgaze_context_cl(run->ctx), CL_MEM_READ_WRITE, most, NULL, &err);
    return try_cl(err, "clCreateBuffer of the workspace");
}

/* ---- buffers ---- */

/* A compact tensor in a buffer of its own, filled from `data` where given. */
static int make(struct run *run, clgaze_tensor *t, clgaze_dtype dtype, int rank, const int64_t *shape,
                const void *data)
{
    size_t bytes = clgaze_dtype_size(dtype);
    cl_int err;

    for (int i = 0; i < rank; i++)
        bytes *= (size_t)shape[i];
    cl_mem mem = clCreateBuffer(clgaze_context_cl(run->ctx), CL_MEM_READ_WRITE, bytes, NULL, &err);
    if (err != CL_SUCCESS)
        return try_cl(err, "clCreateBuffer");
    run->mem[run->mems++] = mem;
    *t = clgaze_tensor_compact(mem, 0, dtype, rank, shape);
    if (!data)
        return 0;
    return try_cl(clEnqueueWriteBuffer(run->queue, mem, CL_TRUE, 0, bytes, data, 0, NULL, NULL),
                  "clEnqueueWriteBuffer");
}

static int make_inputs(struct run *run, const struct layer *layer, clgaze_tensors *t)
{
    const clgaze_problem *p = &layer->problem;
    const struct {
        const st_tensor *from;
        clgaze_tensor *to;
        clgaze_dtype dtype;
    } inputs[] = {{&layer->q, &t->q, p->dtype},
                  {&layer->k, &t->k, p->dtype},
                  {&layer->v, &t->v, p->dtype},
                  {&layer->q_gate, &t->q_gate, p->dtype},
                  {&layer->k_gate, &t->k_gate, p->dtype},
                  {&layer->w_k, &t->w_k, p->weight_dtype},
                  {&layer->rope_inv_freq, &t->rope_inv_freq, CLGAZE_F32}};
    int code = 0;

    for (size_t i = 0; i < sizeof inputs / sizeof *inputs && !code; i++)
        if (inputs[i].from->data)
            code = make(run, inputs[i].to, inputs[i].dtype, inputs[i].from->rank, inputs[i].from->shape,
                        inputs[i].from->data);
    return code;
}

static int make_results(struct run *run, const struct layer *layer, const struct result *r)
{
    const clgaze_problem *p = &layer->problem;
    clgaze_tensors t = run->tensors[DENSE];
    int64_t h = p->q_heads, s = layer->tokens, d = p->head_dim, nq = r->rows, nk = r->cols;
    int64_t pools = 3; /* of keys: max, min, avg; of queries: avg */
    const struct {
        clgaze_tensor *to;
        clgaze_dtype dtype;
        int rank;
        int64_t shape[4];
    } results[] = {{&t.q_pooled, CLGAZE_F32, 4, {1, nq, h, d}},
                   {&t.k_pooled, CLGAZE_F32, 4, {1, nk, p->kv_heads, pools * d}},
                   {&t.q_gated, CLGAZE_F32, 4, {1, nq, h, d}},
                   {&t.k_gated, CLGAZE_F32, 4, {1, nk, h, d}},
                   {&t.scores, CLGAZE_F32, 4, {1, h, nq, nk}},
                   {&t.counts, CLGAZE_I32, 3, {1, h, nq}},
                   {&t.blocks, CLGAZE_I32, 4, {1, h, nq, r->width}},
                   {&t.out, p->dtype, 4, {1, s, h, d}},
                   {&t.lse, CLGAZE_F32, 3, {1, h, s}}};
    int code = 0;

    for (size_t i = 0; i < sizeof results / sizeof *results && !code; i++)
        code = make(run, results[i].to, results[i].dtype, results[i].rank, results[i].shape, NULL);
    for (int i = 0; i < STAGES; i++)
        run->tensors[i] = t;
    /* Dense attention and the single call write to places of their own. */
    for (int i = 0; i < STAGES && !code; i++)
        if (i == DENSE || i == WHOLE)
            (void)((code = make(run, &run->tensors[i].out, p->dtype, 4, t.out.shape, NULL)) ||
                   (code = make(run, &run->tensors[i].lse, CLGAZE_F32, 3, t.lse.shape, NULL)));
    return code;
}

/* ---- running ---- */

static double end_ms(cl_event event)
{
    cl_ulong ns = 0;

    clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof ns, &ns, NULL);
    return (double)ns * 1e-6;
}

/* Run every stage once.  A small write comes first: its end is the start. */
static int round_of(struct run *run, double ms[STAGES])
{
    cl_event done[STAGES + 1] = {NULL};
    const clgaze_tensor *out = &run->tensors[WHOLE].out;
    uint32_t zero = 0;
    int code;

    code = try_cl(clEnqueueWriteBuffer(run->queue, out->buffer, CL_FALSE, 0, 4, &zero, 0, NULL, &done[0]),
                  "clEnqueueWriteBuffer");
    for (int i = 0; i < STAGES && !code; i++) {
        clgaze_call call = {.queue = run->queue, .workspace = run->workspace, .done = &done[i + 1]};

        code = try_gaze(clgaze_run(run->plan[i], ops[i], &run->tensors[i], &call));
    }
    int late = try_cl(clFinish(run->queue), "clFinish"); /* also when a stage failed: `zero` is in use */
    code = code ? code : late;
    for (int i = 0; i < STAGES && !code; i++)
        ms[i] = end_ms(done[i + 1]) - end_ms(done[i]);
    for (int i = 0; i <= STAGES; i++)
        if (done[i])
            clReleaseEvent(done[i]);
    return code;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* One round to warm up, then `repeat` of which the medians count. */
static int run_rounds(struct run *run, int repeat, double ms[STAGES])
{
    double one[STAGES], *all = malloc((size_t)repeat * STAGES * sizeof *all);
    int code;

    if (!all)
        return fail(EXIT_INPUT, "host memory ran out");
    code = round_of(run, one);
    for (int n = 0; n < repeat && !code; n++) {
        code = round_of(run, one);
        for (int i = 0; i < STAGES && !code; i++)
            all[i * repeat + n] = one[i];
    }
    for (int i = 0; i < STAGES && !code; i++) {
        double *at = all + (size_t)i * (size_t)repeat;

        qsort(at, (size_t)repeat, sizeof *at, ascending);
        ms[i] = (at[repeat / 2] + at[(repeat - 1) / 2]) / 2;
    }
    free(all);
    return code;
}

/* Read a tensor whole into new memory; does nothing once a step has failed. */
static void *read_back(const struct run *run, const clgaze_tensor *t, int *code)
{
    size_t bytes = clgaze_dtype_size(t->dtype);
    void *host;

    if (*code)
        return NULL;
    for (int i = 0; i < t->rank; i++)
        bytes *= (size_t)t->shape[i];
    host = malloc(bytes);
    if (!host)
        *code = fail(EXIT_INPUT, "host memory ran out");
    else
        *code = try_cl(clEnqueueReadBuffer(run->queue, t->buffer, CL_TRUE, 0, bytes, host, 0, NULL, NULL),
                       "clEnqueueReadBuffer");
    return host;
}

static int read_results(const struct run *run, struct result *r)
{
    const clgaze_tensors *t = &run->tensors[ATTEND];
    int code = 0;

    r->scores = read_back(run, &t->scores, &code);
    r->counts = read_back(run, &t->counts, &code);
    r->blocks = read_back(run, &t->blocks, &code);
    r->lse = read_back(run, &t->lse, &code);
    r->lse_dense = read_back(run, &run->tensors[DENSE].lse, &code);
    r->out = read_back(run, &t->out, &code);
    r->out_dense = read_back(run, &run->tensors[DENSE].out, &code);
    r->out_whole = read_back(run, &run->tensors[WHOLE].out, &code);
    return code;
}

int run_layer(const struct layer *layer, const char *device, int repeat, struct result *result)
{
    struct run run;
    int code;

    memset(&run, 0, sizeof run);
    memset(result, 0, sizeof *result);
    (void)((code = open_device(&run, device, result)) || (code = make_plans(&run, layer, result)) ||
           (code = make_inputs(&run, layer, &run.tensors[DENSE])) || (code = make_results(&run, layer, result)) ||
           (code = run_rounds(&run, repeat, result->ms)) || (code = read_results(&run, result)));
    for (int i = 0; i < STAGES; i++)
        clgaze_plan_free(run.plan[i]);
    for (int i = 0; i < run.mems; i++)
        clReleaseMemObject(run.mem[i]);
    if (run.workspace)
        clReleaseMemObject(run.workspace);
    if (run.queue)
        clReleaseCommandQueue(run.queue);
    clgaze_context_free(run.ctx);
    return code;
}

void result_free(struct result *r)
{
    void *all[] = {r->scores, r->counts, r->blocks, r->lse, r->lse_dense, r->out, r->out_dense, r->out_whole};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}
