/*
 * peak.c: what this device can do at most, measured by two tiny kernels.
 */
#include "bench.h"

static const char source[] = "__kernel void multiply_add(__global float *out, float a, int n)\n"
                             "{\n"
                             "    float16 w = (float16)(get_global_id(0)), x = w + 1, y = w + 2, z = w + 3;\n"
                             "    float16 p = w + 4, q = w + 5, r = w + 6, s = w + 7;\n"
                             "    for (int i = 0; i < n; i++) {\n"
                             "        w = mad(w, a, a); x = mad(x, a, a); y = mad(y, a, a); z = mad(z, a, a);\n"
                             "        p = mad(p, a, a); q = mad(q, a, a); r = mad(r, a, a); s = mad(s, a, a);\n"
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
static int least_ms(struct bench *b, cl_kernel kernel, size_t items, size_t group, int times, double *ms)
{
    int code = 0;

    *ms = 0;
    for (int i = 0; i < times && !code; i++) {
        cl_ulong from = 0, to = 0;
        cl_event done = NULL;

        if ((code = bench_cl(
                 b, clEnqueueNDRangeKernel(b->queue, kernel, 1, NULL, &items, group ? &group : NULL, 0, NULL, &done),
                 "clEnqueueNDRangeKernel")))
            return code;
        code = bench_cl(b, clFinish(b->queue), "clFinish");
        clGetEventProfilingInfo(done, CL_PROFILING_COMMAND_START, sizeof from, &from, NULL);
        clGetEventProfilingInfo(done, CL_PROFILING_COMMAND_END, sizeof to, &to, NULL);
        clReleaseEvent(done);
        if (i == 0 || (double)(to - from) * 1e-6 < *ms)
            *ms = (double)(to - from) * 1e-6;
    }
    return code;
}

/* The loop grows until the kernel takes long enough to be timed. */
static int measure_fma(struct bench *b, cl_kernel kernel, double *gflops)
{
    size_t items = (size_t)b->units * (b->type & CL_DEVICE_TYPE_CPU ? 64 : 2048);
    const float a = .5f;
    cl_mem out;
    double ms = 0;
    int code = bench_buffer(b, items * sizeof(float), "the peak's output", &out);

    for (cl_int n = 256; !code && n <= 1 << 20 && ms < 5; n *= 4) {
        clSetKernelArg(kernel, 0, sizeof out, &out);
        clSetKernelArg(kernel, 1, sizeof a, &a);
        clSetKernelArg(kernel, 2, sizeof n, &n);
        code = least_ms(b, kernel, items, b->type & CL_DEVICE_TYPE_CPU ? 1 : 64, TIMES, &ms);
        if (!code && ms > 0)
            *gflops = significant(2.0 * LANES * n * (double)items / ms * 1e-6, 6);
    }
    bench_release(b, &out);
    return code;
}

static int measure_copy(struct bench *b, cl_kernel kernel, double *gbytes)
{
    cl_mem from = NULL, to = NULL;
    double ms = 0;
    int code = bench_buffer(b, COPY_BYTES, "the copy's source", &from);

    if (!code)
        code = bench_buffer(b, COPY_BYTES, "the copy's target", &to);
    if (!code) {
        clSetKernelArg(kernel, 0, sizeof from, &from);
        clSetKernelArg(kernel, 1, sizeof to, &to);
        code = least_ms(b, kernel, COPY_BYTES / sizeof(cl_float4), 0, TIMES + 1, &ms);
    }
    if (!code && ms > 0)
        *gbytes = significant(2.0 * COPY_BYTES / ms * 1e-6, 6);
    bench_release(b, &from);
    bench_release(b, &to);
    return code;
}

int bench_peak(struct bench *b, struct peak *peak)
{
    const char *text = source;
    cl_int err;
    cl_program program = clCreateProgramWithSource(b->cl, 1, &text, NULL, &err);
    cl_kernel fma = NULL, copy = NULL;
    int code = bench_cl(b, err, "clCreateProgramWithSource");

    *peak = (struct peak){0};
    if (!code)
        code = bench_cl(b, clBuildProgram(program, 1, &b->id, "-cl-mad-enable", NULL, NULL), "clBuildProgram");
    if (!code) {
        fma = clCreateKernel(program, "multiply_add", &err);
        code = bench_cl(b, err, "clCreateKernel");
    }
    if (!code) {
        copy = clCreateKernel(program, "copy", &err);
        code = bench_cl(b, err, "clCreateKernel");
    }
    if (!code)
        code = measure_fma(b, fma, &peak->gflops);
    if (!code)
        code = measure_copy(b, copy, &peak->gbytes);
    if (copy)
        clReleaseKernel(copy);
    if (fma)
        clReleaseKernel(fma);
    if (program)
        clReleaseProgram(program);
    return code == REFUSED ? 0 : code; /* without a peak its shares are left out */
}
