/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernels.c: the device, this program's own kernels, and the time that is spent.
 */
#include "kernels.h"

#include "fail.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { GPU_LANES = 64, MAX_SOURCES = 8 };

const char *const spent_names[N_SPENT] = {"load", "compile", "products", "attend", "attend_bwd",
                                          "norm", "rope",    "swiglu",   "loss",   "update"};

static const char *const entries[N_KERNELS] = {
    "pack",  "widen",     "matmul",     "embed",        "rms",       "rotate_heads", "swiglu",  "spread",
    "fold",  "log_truth", "late",       "last_weights", "lines_of",  "log_lines",    "zero",    "turn",
    "blame", "scales",    "rms_back",   "swiglu_back",  "columns",   "add_parts",    "scatter", "squares",
    "adamw", "narrow",    "product_nv", "product_nv",   "product_nv"};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int machine_open(const char *pick, int verbose, struct machine *m)
{
    cl_device_type type = 0;
    memset(m, 0, sizeof *m);
    int code = device_open(pick, verbose, &m->device);
    if (code)
        return code;
    cl_device_id id = clgaze_context_device(m->device.context);
    clGetDeviceInfo(id, CL_DEVICE_TYPE, sizeof type, &type, NULL);
    clGetDeviceInfo(id, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof m->memory, &m->memory, NULL);
    clGetDeviceInfo(id, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof m->largest, &m->largest, NULL);
    m->processor = (type & CL_DEVICE_TYPE_CPU) != 0;
    m->lanes = m->processor ? 1 : GPU_LANES;
    return 0;
}

static int build_failed(struct machine *m, cl_int err)
{
    static char log[2048];
    *log = 0;
    clGetProgramBuildInfo(m->program, clgaze_context_device(m->device.context), CL_PROGRAM_BUILD_LOG, sizeof log - 1,
                          log, NULL);
    return fail(EXIT_OPENCL, "the kernels of this program cannot be built: clBuildProgram answered %d: %s", (int)err,
                log);
}

int machine_build(struct machine *m)
{
    /* Each uses functions of those before it; the table is in no certain order. */
    static const char *const order[] = {"matmul.cl", "layer.cl", "rules.cl", "backward.cl", "weights.cl"};
    const char *texts[MAX_SOURCES];
    size_t sizes[MAX_SOURCES];
    cl_uint n = 0;
    char options[128];
    cl_int err;
    for (size_t o = 0; o < CLG_COUNT(order); o++)
        for (const struct clg_source *s = llama_kernels; s->name; s++)
            if (strcmp(s->name, order[o]) == 0) {
                texts[n] = (const char *)s->text;
                sizes[n++] = s->size;
            }
    m->program = clCreateProgramWithSource(clgaze_context_cl(m->device.context), n, texts, sizes, &err);
    if (err)
        return fail(EXIT_OPENCL, "clCreateProgramWithSource answered %d", (int)err);
    snprintf(options, sizeof options, "-DLANES=%d", (int)m->lanes);
    cl_device_id id = clgaze_context_device(m->device.context);
    err = clBuildProgram(m->program, 1, &id, options, NULL, NULL);
    if (err)
        return build_failed(m, err);
    for (int i = 0; i < N_BUILT; i++) {
        m->kernels[i] = clCreateKernel(m->program, entries[i], &err);
        if (err)
            return fail(EXIT_OPENCL, "clCreateKernel answered %d to %s", (int)err, entries[i]);
    }
    return 0;
}

void machine_close(struct machine *m)
{
    for (int i = 0; i < N_KERNELS; i++)
        if (m->kernels[i])
            clReleaseKernel(m->kernels[i]);
    if (m->program)
        clReleaseProgram(m->program);
    device_close(&m->device);
}

int launch(struct machine *m, enum kernel_id id, size_t nx, size_t ny, size_t group, const struct arg *args, int n)
{
    const size_t global[2] = {(nx + group - 1) / group * group, ny}, local[2] = {group, 1};
    cl_int err = CL_SUCCESS;
    for (int i = 0; i < n && !err; i++)
        err = clSetKernelArg(m->kernels[id], (cl_uint)i, args[i].size, args[i].at);
    if (!err)
        err = clEnqueueNDRangeKernel(m->device.queue, m->kernels[id], 2, NULL, global, local, 0, NULL, NULL);
    return err ? fail(EXIT_OPENCL, "kernel %s cannot run: OpenCL answered %d", entries[id], (int)err) : 0;
}

int buffer_make(struct machine *m, size_t bytes, const char *what, cl_mem *buffer)
{
    return device_buffer(&m->device, bytes ? bytes : 4, NULL, what, buffer);
}

int buffer_write(struct machine *m, cl_mem buffer, size_t bytes, const void *from)
{
    cl_int err =
        bytes ? clEnqueueWriteBuffer(m->device.queue, buffer, CL_TRUE, 0, bytes, from, 0, NULL, NULL) : CL_SUCCESS;
    return err ? fail(EXIT_OPENCL, "clEnqueueWriteBuffer answered %d", (int)err) : 0;
}

int buffer_read(struct machine *m, cl_mem buffer, size_t bytes, void *to)
{
    cl_int err = clEnqueueReadBuffer(m->device.queue, buffer, CL_TRUE, 0, bytes, to, 0, NULL, NULL);
    return err ? fail(EXIT_OPENCL, "clEnqueueReadBuffer answered %d", (int)err) : 0;
}

int buffer_copy(struct machine *m, cl_mem from, cl_mem to, size_t bytes)
{
    const cl_int err = clEnqueueCopyBuffer(m->device.queue, from, to, 0, 0, bytes, 0, NULL, NULL);
    return err ? fail(EXIT_OPENCL, "clEnqueueCopyBuffer answered %d", (int)err) : 0;
}

int buffer_zero(struct machine *m, cl_mem buffer, size_t n)
{
    const cl_ulong numbers = n;
    const struct arg args[] = {ARG(buffer), ARG(numbers)};
    return launch(m, K_ZERO, n, 1, 64, args, 2);
}

int narrow(struct machine *m, cl_mem from, cl_ulong n, cl_int type, cl_float scale, cl_mem to)
{
    const struct arg args[] = {ARG(from), ARG(n), ARG(type), ARG(scale), ARG(to)};
    return launch(m, K_NARROW, (size_t)(n + 3) / 4, 1, 64, args, 5);
}

int widen(struct machine *m, cl_mem from, cl_int type, cl_ulong at, cl_ulong n, cl_float scale, cl_mem to)
{
    const struct arg args[] = {ARG(from), ARG(type), ARG(at), ARG(n), ARG(scale), ARG(to)};
    return launch(m, K_WIDEN, (size_t)(n + 3) / 4, 1, 64, args, 6);
}

void spend_from_now(struct machine *m)
{
    m->since = now();
}

int spend(struct machine *m, enum spent what)
{
    const cl_int err = clFinish(m->device.queue);
    const double t = now();
    m->seconds[what] += t - m->since;
    m->since = t;
    return err ? fail(EXIT_OPENCL, "clFinish answered %d after %s", (int)err, spent_names[what]) : 0;
}
