/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unfused.c: dense attention by CLBlast, GEMM, softmax, GEMM, so that nobody
 * must trust our dense attention as the only yardstick.
 *
 * All scores lie in memory: heads * seq * seq floats, so it fits short
 * sequences only.
 */
#include <math.h>
#include <stdlib.h>

#include "fail.h"
#include "sparse.h"

#ifdef CLGAZE_HAVE_CLBLAST
#include <clblast_c.h>

/* One work-item a row: fewer tricks than a tuned softmax, but GEMM takes most of the time. */
static const char source[] = "__kernel void soften(__global float *s, int n)\n"
                             "{\n"
                             "    const int row = get_global_id(0), keys = row % n + 1;\n"
                             "    __global float *x = s + (ulong)row * n;\n"
                             "    float most = x[0], sum = 0;\n"
                             "    for (int j = 1; j < keys; j++) most = fmax(most, x[j]);\n"
                             "    for (int j = 0; j < keys; j++) { x[j] = native_exp(x[j] - most); sum += x[j]; }\n"
                             "    for (int j = 0; j < keys; j++) x[j] /= sum;\n"
                             "    for (int j = keys; j < n; j++) x[j] = 0;\n"
                             "}\n";

struct unfused {
    struct bench *b;
    const struct data *d;
    cl_program program;
    cl_kernel soften;
    cl_mem scores;
};

static int blast(const struct unfused *u, CLBlastStatusCode status)
{
    if (status == CLBlastSuccess)
        return 0;
    snprintf(u->b->sentence, sizeof u->b->sentence, "CLBlast answered %d", (int)status);
    return REFUSED;
}

static int build(struct unfused *u)
{
    const char *text = source;
    cl_int err;
    int code;

    u->program = clCreateProgramWithSource(u->b->cl, 1, &text, NULL, &err);
    if ((code = bench_cl(u->b, err, "clCreateProgramWithSource")) ||
        (code = bench_cl(u->b, clBuildProgram(u->program, 1, &u->b->id, "", NULL, NULL), "clBuildProgram")))
        return code;
    u->soften = clCreateKernel(u->program, "soften", &err);
    return bench_cl(u->b, err, "clCreateKernel");
}

/* S = Q K^T / sqrt(D), P = softmax(S), O = P V, each head a GEMM of its own. */
static int run_once(struct unfused *u)
{
    const struct data *d = u->d;
    size_t n = (size_t)d->seq, dim = (size_t)d->head_dim, h = (size_t)d->heads, kv = (size_t)d->kv_heads;
    size_t rows = h * n;
    int code = 0;

    for (size_t i = 0; i < h && !code; i++)
        code = blast(u, CLBlastSgemm(CLBlastLayoutRowMajor, CLBlastTransposeNo, CLBlastTransposeYes, n, n, dim,
                                     (float)(1 / sqrt((double)dim)), d->q, i * dim, h * dim, d->k, i / (h / kv) * dim,
                                     kv * dim, 0, u->scores, i * n * n, n, &u->b->queue, NULL));
    if (!code) {
        clSetKernelArg(u->soften, 0, sizeof u->scores, &u->scores);
        clSetKernelArg(u->soften, 1, sizeof d->seq, &d->seq);
        code = bench_cl(u->b, clEnqueueNDRangeKernel(u->b->queue, u->soften, 1, NULL, &rows, NULL, 0, NULL, NULL),
                        "clEnqueueNDRangeKernel");
    }
    for (size_t i = 0; i < h && !code; i++)
        code = blast(u, CLBlastSgemm(CLBlastLayoutRowMajor, CLBlastTransposeNo, CLBlastTransposeNo, n, dim, n, 1,
                                     u->scores, i * n * n, n, d->v, i / (h / kv) * dim, kv * dim, 0, d->out, i * dim,
                                     h * dim, &u->b->queue, NULL));
    int late = bench_cl(u->b, clFinish(u->b->queue), "clFinish");
    return code ? code : late;
}

/* By the host's clock: CLBlast enqueues several kernels a call. */
static int time_it(struct unfused *u, double seconds, double *ms)
{
    enum { MOST = 100 };
    double times[MOST], spent = 0;
    int n = 0, code = 0;

    while (!code && n < MOST && !bench_stop && (n < 3 || spent < 1e3 * seconds)) {
        double from = bench_now();

        code = run_once(u);
        times[n] = 1e3 * (bench_now() - from);
        spent += times[n++];
    }
    if (!code && n)
        *ms = significant(stats_of(times, n).median, 6);
    return code;
}

int unfused_measure(struct bench *b, const struct options *o, const struct data *d, double *ms)
{
    struct unfused u = {.b = b, .d = d};
    size_t bytes = (size_t)d->heads * (size_t)d->seq * (size_t)d->seq * sizeof(float);
    struct row shape = {.heads = d->heads, .kv_heads = d->kv_heads, .head_dim = d->head_dim, .block = 64};
    const clgaze_tensors t = data_tensors(o, d);
    struct verdict v = {0};
    clgaze_problem p;
    int code;

    shape.seq = d->seq;
    p = row_problem(o, &shape);
    *ms = 0;
    if (o->dtype != (int)CLGAZE_F32) {
        snprintf(b->sentence, sizeof b->sentence, "CLBlast is measured with f32 only");
        return REFUSED;
    }
    if (!(code = bench_buffer(b, bytes, "the scores of unfused attention", &u.scores)) && !(code = build(&u)) &&
        !(code = run_once(&u)) && !(code = check_attend(b, &p, &t, NULL, &v))) {
        if (v.error <= check_tolerance(CLGAZE_F32))
            code = time_it(&u, o->min_time, ms);
        else {
            snprintf(b->sentence, sizeof b->sentence, "CLBlast's attention is off by %.3g", v.error);
            code = REFUSED;
        }
    }
    bench_release(b, &u.scores);
    if (u.soften)
        clReleaseKernel(u.soften);
    if (u.program)
        clReleaseProgram(u.program);
    CLBlastClearCache(); /* it holds the context */
    return code;
}

#else

int unfused_measure(struct bench *b, const struct options *o, const struct data *d, double *ms)
{
    (void)o;
    (void)d;
    *ms = 0;
    snprintf(b->sentence, sizeof b->sentence, "this build has no CLBlast");
    return REFUSED;
}

#endif
