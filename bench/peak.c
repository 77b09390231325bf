/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peak.c: what this device can do at most, measured by two tiny kernels.
 */
#include <math.h>

#include "bench.h"

/* Eight independent chains of vectors keep two pipelines of latency four busy.
 * fma where the device has it: some compilers make a multiplication and an
 * addition of mad. */
static const char source[] = "__kernel void multiply_add(__global float *out, float a, int n)\n"
                             "{\n"
                             "    const float16 c = (float16)(a);\n"
                             "    float16 w = (float16)(get_global_id(0)), x = w + 1, y = w + 2, z = w + 3;\n"
                             "    float16 p = w + 4, q = w + 5, r = w + 6, s = w + 7;\n"
                             "    for (int i = 0; i < n; i++) {\n"
                             "        w = OP(w, c, c); x = OP(x, c, c); y = OP(y, c, c); z = OP(z, c, c);\n"
                             "        p = OP(p, c, c); q = OP(q, c, c); r = OP(r, c, c); s = OP(s, c, c);\n"
                             "    }\n"
                             "    w += x + y + z + p + q + r + s;\n"
                             "    out[get_global_id(0)] = dot(w.s0123 + w.s4567, w.s89ab + w.scdef);\n"
                             "}\n"
                             "__kernel void copy(__global const float4 *from, __global float4 *to)\n"
                             "{\n"
                             "    to[get_global_id(0)] = from[get_global_id(0)];\n"
                             "}\n";

enum { LANES = 128, TIMES = 5, COPY_BYTES = 64 << 20 };

/* The least of several times of one kernel; group 0: the driver chooses. */
static int least_ms(struct bench *b, cl_kernel kernel, size_t items, size_t group, double *ms)
{
    int code = 0;

    *ms = 0;
    for (int i = 0; i < TIMES && !code; i++) {
        cl_ulong from = 0, to = 0;
        cl_event done = NULL;
        const double start = bench_now();
        double seconds, took;

        if ((code = bench_cl(
                 b, clEnqueueNDRangeKernel(b->queue, kernel, 1, NULL, &items, group ? &group : NULL, 0, NULL, &done),
                 "clEnqueueNDRangeKernel")))
            return code;
        code = bench_cl(b, clFinish(b->queue), "clFinish");
        clGetEventProfilingInfo(done, CL_PROFILING_COMMAND_START, sizeof from, &from, NULL);
        clGetEventProfilingInfo(done, CL_PROFILING_COMMAND_END, sizeof to, &to, NULL);
        clReleaseEvent(done);
        seconds = bench_now() - start;
        took = to > from ? (double)(to - from) * 1e-6 : 0;
        took = bench_clockless(took, seconds) ? 1e3 * seconds : took;
        *ms = i == 0 || took < *ms ? took : *ms;
    }
    return code;
}

int peak_now(struct bench *b, struct peak *peak, double *gflops)
{
    const float a = .5f;
    double ms = 0;
    int code;

    *gflops = 0;
    if (!peak->out)
        return 0;
    clSetKernelArg(peak->fma, 0, sizeof peak->out, &peak->out);
    clSetKernelArg(peak->fma, 1, sizeof a, &a);
    clSetKernelArg(peak->fma, 2, sizeof peak->n, &peak->n);
    code = least_ms(b, peak->fma, peak->items, b->type & CL_DEVICE_TYPE_CPU ? 1 : 64, &ms);
    if (code || ms <= 0)
        return code;
    *gflops = significant(2.0 * LANES * peak->n * (double)peak->items / ms * 1e-6, 6);
    peak->gflops = fmax(peak->gflops, *gflops);
    peak->least = peak->least > 0 ? fmin(peak->least, *gflops) : *gflops;
    return 0;
}

/* The loop grows until the kernel takes long enough to be timed. */
static int measure_fma(struct bench *b, struct peak *peak)
{
    const double enough = 2; /* ms */
    double now, ms = 0;
    int code;

    peak->items = (size_t)b->units * (b->type & CL_DEVICE_TYPE_CPU ? 16 : 2048);
    if ((code = bench_buffer(b, peak->items * sizeof(float), "the peak's output", &peak->out)))
        return code;
    for (peak->n = 64; !code && ms < enough && peak->n < 1 << 20;) {
        peak->n *= 4;
        peak->gflops = peak->least = 0;
        if (!(code = peak_now(b, peak, &now)) && now > 0)
            ms = 2.0 * LANES * peak->n * (double)peak->items / now * 1e-6;
    }
    return code;
}

static int measure_copy(struct bench *b, struct peak *peak)
{
    cl_mem from = NULL, to = NULL;
    double ms = 0;
    int code = bench_buffer(b, COPY_BYTES, "the copy's source", &from);

    if (!code)
        code = bench_buffer(b, COPY_BYTES, "the copy's target", &to);
    if (!code) {
        clSetKernelArg(peak->copy, 0, sizeof from, &from);
        clSetKernelArg(peak->copy, 1, sizeof to, &to);
        code = least_ms(b, peak->copy, COPY_BYTES / sizeof(cl_float4), 0, &ms);
    }
    if (!code && ms > 0)
        peak->gbytes = significant(2.0 * COPY_BYTES / ms * 1e-6, 6);
    bench_release(b, &from);
    bench_release(b, &to);
    return code;
}

static int build(struct bench *b, struct peak *peak)
{
    const char *text = source, *options = "-cl-mad-enable -DOP=mad";
    cl_device_fp_config config = 0;
    cl_int err;
    int code;

    clGetDeviceInfo(b->id, CL_DEVICE_SINGLE_FP_CONFIG, sizeof config, &config, NULL);
    if (config & CL_FP_FMA)
        options = "-DOP=fma";
    peak->program = clCreateProgramWithSource(b->cl, 1, &text, NULL, &err);
    if ((code = bench_cl(b, err, "clCreateProgramWithSource")) ||
        (code = bench_cl(b, clBuildProgram(peak->program, 1, &b->id, options, NULL, NULL), "clBuildProgram")))
        return code;
    peak->fma = clCreateKernel(peak->program, "multiply_add", &err);
    if ((code = bench_cl(b, err, "clCreateKernel")))
        return code;
    peak->copy = clCreateKernel(peak->program, "copy", &err);
    return bench_cl(b, err, "clCreateKernel");
}

int peak_open(struct bench *b, struct peak *peak)
{
    int code;

    *peak = (struct peak){0};
    code = build(b, peak);
    if (!code)
        code = measure_fma(b, peak);
    if (!code)
        code = measure_copy(b, peak);
    return code == REFUSED ? 0 : code; /* without a peak its shares are left out */
}

void peak_close(struct bench *b, struct peak *peak)
{
    bench_release(b, &peak->out);
    if (peak->copy)
        clReleaseKernel(peak->copy);
    if (peak->fma)
        clReleaseKernel(peak->fma);
    if (peak->program)
        clReleaseProgram(peak->program);
    peak->copy = peak->fma = NULL;
    peak->program = NULL;
}
