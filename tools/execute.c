/* SPDX-License-Identifier: Apache-2.0 */
/*
 * execute.c: run a job on a device.
 */
#include "execute.h"

#include "fail.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TENSORS = 32 };

/* What a run holds until it ends. */
struct run {
    struct device *device;
    struct job *job;
    const char *kernel;
    cl_mem buffers[MAX_TENSORS]; /* one a row of tensor_rows                     */
    clgaze_tensors tensors;
    clgaze_plan *plans[MAX_STAGES];
    clgaze_op ops[MAX_STAGES];
    int n_plans;
    cl_mem workspace;
};

/* ------------------------------------------------------------------------ */
/* The device                                                               */
/* ------------------------------------------------------------------------ */

int device_open(const char *pick, int verbose, struct device *device)
{
    cl_int err;
    clgaze_context_options o;
    memset(device, 0, sizeof *device);
    memset(&o, 0, sizeof o);
    if (clgaze_device_list(NULL, 0) == 0)
        return fail_no_device();
    o.pick = pick;
    o.log = fail_log;
    o.log_level = verbose ? CLGAZE_LOG_DEBUG : CLGAZE_LOG_ERROR;
    clgaze_status status = clgaze_context_create(&o, &device->context);
    if (status)
        return fail_library(status);
    cl_device_id id = clgaze_context_device(device->context);
    clGetDeviceInfo(id, CL_DEVICE_NAME, sizeof device->name - 1, device->name, NULL);
    device->queue = clCreateCommandQueue(clgaze_context_cl(device->context), id, CL_QUEUE_PROFILING_ENABLE, &err);
    return err ? fail(EXIT_OPENCL, "clCreateCommandQueue answered %d", (int)err) : 0;
}

void device_close(struct device *device)
{
    if (device->queue)
        clReleaseCommandQueue(device->queue);
    clgaze_context_free(device->context);
    memset(device, 0, sizeof *device);
}

int device_buffer(struct device *device, size_t bytes, const void *data, const char *what, cl_mem *buffer)
{
    cl_int err;
    const cl_mem_flags flags = CL_MEM_READ_WRITE | (data ? CL_MEM_COPY_HOST_PTR : 0);
    *buffer = clCreateBuffer(clgaze_context_cl(device->context), flags, bytes, (void *)data, &err);
    return err ? fail(EXIT_OPENCL, "clCreateBuffer answered %d for the %zu bytes of %s", (int)err, bytes, what) : 0;
}

/* ------------------------------------------------------------------------ */
/* Plans                                                                    */
/* ------------------------------------------------------------------------ */

/* A forced kernel is of one operation; the others choose for themselves.  A
 * name that nobody knows goes to all, so that the library refuses it. */
static const char *kernel_for(const char *kernel, clgaze_op op)
{
    const char *names[64], *ops[64];
    size_t n = clgaze_kernel_list(names, ops, 64), length = kernel ? strcspn(kernel, " ") : 0;
    for (size_t i = 0; kernel && i < n && i < 64 && op != CLGAZE_PREFILL; i++)
        if (strlen(names[i]) == length && strncmp(names[i], kernel, length) == 0)
            return strcmp(ops[i], stage_name(op)) == 0 ? kernel : NULL;
    return kernel;
}

static void drop_plans(struct run *r)
{
    for (int i = 0; i < r->n_plans; i++)
        clgaze_plan_free(r->plans[i]);
    r->n_plans = 0;
    if (r->workspace)
        clReleaseMemObject(r->workspace);
    r->workspace = NULL;
}

/* After attend comes what follows from it, or nothing. */
static int next_op(int op, clgaze_op last)
{
    return op == CLGAZE_ATTEND && last > CLGAZE_ATTEND ? (int)last : op + 1;
}

/* Plan the operations first..last, with a workspace that serves each. */
static int make_plans(struct run *r, clgaze_op first, clgaze_op last)
{
    size_t most = 0;
    int forced = 0;
    for (int op = (int)first; op <= (int)last; op = next_op(op, last)) {
        clgaze_problem p = r->job->problem;
        p.kernel = kernel_for(r->kernel, (clgaze_op)op);
        forced |= p.kernel != NULL;
        clgaze_status status = clgaze_plan_create(r->device->context, (clgaze_op)op, &p, &r->plans[r->n_plans]);
        if (status)
            return fail_library(status);
        size_t size = clgaze_plan_workspace(r->plans[r->n_plans]);
        most = size > most ? size : most;
        r->ops[r->n_plans++] = (clgaze_op)op;
    }
    if (r->kernel && !forced)
        return fail(EXIT_INPUT, "--kernel is %.60s, which is of no operation that %s runs", r->kernel,
                    r->job->operation->name);
    return most ? device_buffer(r->device, most, NULL, "a workspace", &r->workspace) : 0;
}

/* ------------------------------------------------------------------------ */
/* Tensors                                                                  */
/* ------------------------------------------------------------------------ */

static int put(struct run *r, int row, const st_tensor *t, cl_mem_flags flags)
{
    cl_int err;
    clgaze_dtype dtype = CLGAZE_F32;
    char nothing[8] = {0};
    size_t bytes = t->bytes ? t->bytes : sizeof nothing;
    void *data = t->bytes ? (void *)t->data : nothing;
    library_dtype(t->dtype, &dtype);
    r->buffers[row] =
        clCreateBuffer(clgaze_context_cl(r->device->context), flags | CL_MEM_COPY_HOST_PTR, bytes, data, &err);
    if (err)
        return fail(EXIT_OPENCL, "clCreateBuffer answered %d for the %zu bytes of tensor %s", (int)err, bytes,
                    t->name);
    clgaze_tensor *to = (clgaze_tensor *)(void *)((char *)&r->tensors + tensor_rows[row].offset);
    *to = clgaze_tensor_compact(r->buffers[row], 0, dtype, t->rank, t->shape);
    if (!t->bytes) /* rows without any block: a buffer cannot be empty, indices can */
        to->shape[0] = 1;
    return 0;
}

/* Inputs from the file; outputs full of NaN, so that nothing unwritten passes
 * for a result. */
static int put_all(struct run *r, int timed, struct result *result)
{
    for (int i = 0; i < n_tensor_rows; i++) {
        const st_tensor *input = job_input(r->job, &tensor_rows[i]);
        st_tensor output;
        int code = input ? put(r, i, input, CL_MEM_READ_ONLY) : 0;
        if (code)
            return code;
        if (input || !job_output(r->job, &tensor_rows[i], timed))
            continue;
        if ((code = job_describe(r->job, &tensor_rows[i], &output)) != 0)
            return code;
        void *data = malloc(output.bytes + 1);
        if (!data)
            return fail(EXIT_INPUT, "no memory for the %zu bytes of tensor %s", output.bytes, output.name);
        output.data = memset(data, 0xff, output.bytes);
        result->tensors[result->n_tensors++] = output;
        if ((code = put(r, i, &output, CL_MEM_READ_WRITE)) != 0)
            return code;
    }
    return 0;
}

static int get_all(struct run *r, struct result *result)
{
    for (int n = 0; n < result->n_tensors; n++) {
        st_tensor *t = &result->tensors[n];
        for (int i = 0; i < n_tensor_rows; i++) {
            if (strcmp(tensor_rows[i].name, t->name) != 0)
                continue;
            cl_int err = clEnqueueReadBuffer(r->device->queue, r->buffers[i], CL_TRUE, 0, t->bytes, (void *)t->data,
                                             0, NULL, NULL);
            if (err)
                return fail(EXIT_OPENCL, "clEnqueueReadBuffer answered %d for tensor %s", (int)err, t->name);
        }
    }
    return 0;
}

/* ------------------------------------------------------------------------ */
/* Runs                                                                     */
/* ------------------------------------------------------------------------ */

/* Of a bad list the library says where it is bad; the tensors are ours to name. */
static int fail_run(const struct job *job, clgaze_status status)
{
    if (status == CLGAZE_ERR_LIST)
        fail_prefix(job->problem.lists == CLGAZE_LISTS_CSR ? "tensors indptr and indices: "
                                                           : "tensors counts and blocks: ");
    return fail_library(status);
}

/* Enqueue every plan; `events`, if given, gets the end of each. */
static int enqueue(struct run *r, cl_event *events)
{
    for (int i = 0; i < r->n_plans; i++) {
        clgaze_call call;
        memset(&call, 0, sizeof call);
        call.queue = r->device->queue;
        call.workspace = r->workspace;
        call.done = events ? &events[i] : NULL;
        call.longest_q = r->job->longest_q;
        call.longest_k = r->job->longest_k;
        clgaze_status status = clgaze_run(r->plans[i], r->ops[i], &r->tensors, &call);
        if (status)
            return fail_run(r->job, status);
    }
    return 0;
}

static int finish(struct run *r)
{
    cl_int err = clFinish(r->device->queue);
    return err ? fail(EXIT_OPENCL, "clFinish answered %d", (int)err) : 0;
}

static int ended(cl_event event, cl_ulong *ns)
{
    cl_int err = clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof *ns, ns, NULL);
    return err ? fail(EXIT_OPENCL, "clGetEventProfilingInfo answered %d", (int)err) : 0;
}

/* One timed run: ms[i] of each plan, from the end of what came before it. */
static int time_once(struct run *r, double *ms)
{
    cl_event events[MAX_STAGES + 1] = {NULL};
    cl_ulong before = 0, end = 0;
    cl_int err = clEnqueueMarkerWithWaitList(r->device->queue, 0, NULL, &events[0]);
    int code = err ? fail(EXIT_OPENCL, "clEnqueueMarkerWithWaitList answered %d", (int)err) : 0;
    code = code ? code : enqueue(r, events + 1);
    code = code ? code : finish(r);
    code = code ? code : ended(events[0], &before);
    for (int i = 0; i < r->n_plans && !code; i++) {
        code = ended(events[i + 1], &end);
        ms[i] = end > before ? (double)(end - before) * 1e-6 : 0;
        before = end;
    }
    for (int i = 0; i <= r->n_plans; i++)
        if (events[i])
            clReleaseEvent(events[i]);
    return code;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int time_stages(struct run *r, int repeat, struct result *result)
{
    double ms[MAX_STAGES];
    double *all = malloc((size_t)repeat * MAX_STAGES * sizeof *all);
    if (!all)
        return fail(EXIT_INPUT, "no memory for %d times", repeat);
    int code = time_once(r, ms); /* warm up */
    for (int n = 0; n < repeat && !code; n++) {
        code = time_once(r, ms);
        for (int i = 0; i < r->n_plans && !code; i++)
            all[i * repeat + n] = ms[i];
    }
    for (int i = 0; i < r->n_plans && !code; i++) {
        double *one = all + (ptrdiff_t)i * repeat;
        qsort(one, (size_t)repeat, sizeof *one, by_value);
        result->stages[i].ms = (one[(repeat - 1) / 2] + one[repeat / 2]) / 2;
        result->stages[i].ms_min = one[0];
        result->stages[i].ms_max = one[repeat - 1];
    }
    free(all);
    return code;
}

void stages_name(struct result *result, const clgaze_plan *plan)
{
    for (int op = CLGAZE_POOL; op <= CLGAZE_ATTEND_BWD; op++) {
        const char *kernel = clgaze_plan_kernel(plan, (clgaze_op)op);
        if (!kernel || result->n_stages == MAX_STAGES)
            continue;
        struct stage *s = &result->stages[result->n_stages++];
        memset(s, 0, sizeof *s);
        s->name = stage_name((clgaze_op)op);
        snprintf(s->kernel, sizeof s->kernel, "%s", kernel);
    }
}

static void name_stages(const struct run *r, struct result *result)
{
    result->n_stages = 0;
    for (int i = 0; i < r->n_plans; i++)
        stages_name(result, r->plans[i]);
}

/* The lists were checked in the first run; checking makes the host wait. */
static int retime(struct run *r, int repeat, struct result *result)
{
    const struct operation *o = r->job->operation;
    int32_t validate = r->job->problem.validate;
    r->job->problem.validate = 0;
    drop_plans(r);
    int code = make_plans(r, o->first_timed, o->last_timed);
    r->job->problem.validate = validate;
    if (code)
        return code;
    name_stages(r, result);
    return time_stages(r, repeat, result);
}

int job_run(struct device *device, struct job *job, const char *kernel, int repeat, struct result *result)
{
    struct run r;
    memset(&r, 0, sizeof r);
    memset(result, 0, sizeof *result);
    if (job->operation->last == CLGAZE_DISTILL)
        return repeat ? fail(EXIT_INPUT, "--repeat is not of distill, whose every step changes the gate")
                      : job_teach(device, job, kernel, result);
    r.device = device;
    r.job = job;
    r.kernel = kernel;
    const struct operation *o = job->operation;
    int code = make_plans(&r, o->last == CLGAZE_ATTEND_BWD && job_has_all(job) ? o->last : o->first, o->last);
    for (int i = 0; i < r.n_plans && !code; i++)
        if (clgaze_plan_width(r.plans[i]))
            job->dims[DIM_W] = clgaze_plan_width(r.plans[i]);
    code = code ? code : put_all(&r, repeat > 0, result);
    code = code ? code : enqueue(&r, NULL);
    code = code ? code : finish(&r);
    code = code ? code : get_all(&r, result);
    if (!code) {
        name_stages(&r, result);
        code = repeat ? retime(&r, repeat, result) : 0;
    }
    clFinish(device->queue); /* nothing may run on what is released now */
    drop_plans(&r);
    for (int i = 0; i < MAX_TENSORS; i++)
        if (r.buffers[i])
            clReleaseMemObject(r.buffers[i]);
    return code;
}

void result_drop(struct result *result, int n)
{
    free((void *)result->tensors[n].data);
    memmove(&result->tensors[n], &result->tensors[n + 1], (size_t)(--result->n_tensors - n) * sizeof(st_tensor));
}

void result_free(struct result *result)
{
    for (int i = 0; i < result->n_tensors; i++)
        free((void *)result->tensors[i].data);
    result->n_tensors = 0;
}
