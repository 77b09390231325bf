/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench.c: a device, its buffers, and the timing loop.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"
#include "fail.h"

/* ---- errors ---- */

static void keep_sentence(void *user, clgaze_log_level level, clgaze_status status, const char *message)
{
    struct bench *b = user;

    (void)status;
    if (level == CLGAZE_LOG_ERROR)
        snprintf(b->sentence, sizeof b->sentence, "%s", message);
}

int bench_cl(struct bench *b, cl_int err, const char *call)
{
    if (err == CL_SUCCESS)
        return 0;
    snprintf(b->sentence, sizeof b->sentence, "%s answered %d", call, err);
    if (err == CL_MEM_OBJECT_ALLOCATION_FAILURE || err == CL_OUT_OF_RESOURCES || err == CL_OUT_OF_HOST_MEMORY ||
        err == CL_INVALID_BUFFER_SIZE)
        return REFUSED;
    return fail(EXIT_OPENCL, "%s", b->sentence);
}

int bench_gaze(struct bench *b, clgaze_status status)
{
    if (status == CLGAZE_OK)
        return 0;
    if (status == CLGAZE_ERR_LIMIT || status == CLGAZE_ERR_NO_MEMORY)
        return REFUSED;
    int opencl = status == CLGAZE_ERR_OPENCL || status == CLGAZE_ERR_BUILD || status == CLGAZE_ERR_NO_DEVICE;
    return fail(opencl ? EXIT_OPENCL : EXIT_INPUT, "%s", *b->sentence ? b->sentence : clgaze_status_text(status));
}

/* ---- the device ---- */

static void read_names(struct bench *b)
{
    struct machine *m = &b->machine;
    cl_platform_id platform = NULL;

    clGetDeviceInfo(b->id, CL_DEVICE_PLATFORM, sizeof(cl_platform_id), &platform, NULL);
    clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof m->platform - 1, m->platform, NULL);
    clGetDeviceInfo(b->id, CL_DEVICE_VENDOR, sizeof m->vendor - 1, m->vendor, NULL);
    clGetDeviceInfo(b->id, CL_DEVICE_NAME, sizeof m->name - 1, m->name, NULL);
    clGetDeviceInfo(b->id, CL_DRIVER_VERSION, sizeof m->driver - 1, m->driver, NULL);
    clGetDeviceInfo(b->id, CL_DEVICE_TYPE, sizeof b->type, &b->type, NULL);
    clGetDeviceInfo(b->id, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof b->units, &b->units, NULL);
    clGetDeviceInfo(b->id, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof b->max_alloc, &b->max_alloc, NULL);
    clGetDeviceInfo(b->id, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof b->memory, &b->memory, NULL);
    snprintf(m->type, sizeof m->type, "%s",
             b->type & CL_DEVICE_TYPE_CPU   ? "cpu"
             : b->type & CL_DEVICE_TYPE_GPU ? "gpu"
                                            : "accelerator");
}

static void limit_memory(struct bench *b, cl_ulong limit)
{
    if (limit && limit < b->memory)
        b->memory = limit;
    if (b->max_alloc > b->memory)
        b->max_alloc = b->memory;
    b->machine.units = b->units;
    b->machine.memory = (double)b->memory;
    b->machine.max_alloc = (double)b->max_alloc;
}

int bench_open(struct bench *b, const char *pick, cl_ulong limit)
{
    clgaze_context_options options = {.pick = pick, .log = keep_sentence, .log_user = b};
    cl_int err;
    int code;

    memset(b, 0, sizeof *b);
    clgaze_status status = clgaze_context_create(&options, &b->ctx);

    if (status == CLGAZE_ERR_NO_DEVICE && clgaze_device_list(NULL, 0) == 0)
        return fail_no_device();
    if ((code = bench_gaze(b, status)))
        return code;
    b->cl = clgaze_context_cl(b->ctx);
    b->id = clgaze_context_device(b->ctx);
    read_names(b);
    limit_memory(b, limit);
    b->queue = clCreateCommandQueue(b->cl, b->id, CL_QUEUE_PROFILING_ENABLE, &err);
    code = bench_cl(b, err, "clCreateCommandQueue");
    if (!code)
        code = bench_buffer(b, sizeof(cl_uint), "anchor", &b->anchor);
    return code == REFUSED ? fail(EXIT_OPENCL, "%s", b->sentence) : code;
}

void bench_close(struct bench *b)
{
    bench_release(b, &b->anchor);
    if (b->queue)
        clReleaseCommandQueue(b->queue);
    clgaze_context_free(b->ctx);
    memset(b, 0, sizeof *b);
}

/* ---- buffers ---- */

static int refuse(struct bench *b, const char *what, double bytes, double limit, const char *of)
{
    snprintf(b->sentence, sizeof b->sentence, "%s needs %.0f MB, but the device has %.0f MB %s", what, bytes * 1e-6,
             limit * 1e-6, of);
    return REFUSED;
}

int bench_buffer(struct bench *b, size_t bytes, const char *what, cl_mem *mem)
{
    cl_int err;
    int code;

    *mem = NULL;
    if (bytes == 0)
        return 0;
    if (bytes > b->max_alloc)
        return refuse(b, what, (double)bytes, (double)b->max_alloc, "for one buffer");
    /* A tenth is left for the driver and for whoever else uses the device. */
    if (b->used + bytes > b->memory / 10 * 9)
        return refuse(b, what, (double)(b->used + bytes), (double)b->memory, "in all (all buffers counted)");
    *mem = clCreateBuffer(b->cl, CL_MEM_READ_WRITE, bytes, NULL, &err);
    if (!(code = bench_cl(b, err, "clCreateBuffer")))
        b->used += bytes;
    return code;
}

void bench_release(struct bench *b, cl_mem *mem)
{
    size_t bytes = 0;

    if (!*mem)
        return;
    clGetMemObjectInfo(*mem, CL_MEM_SIZE, sizeof bytes, &bytes, NULL);
    clReleaseMemObject(*mem);
    b->used -= bytes;
    *mem = NULL;
}

int bench_write(struct bench *b, cl_mem mem, const void *from, size_t bytes)
{
    return bench_cl(b, clEnqueueWriteBuffer(b->queue, mem, CL_TRUE, 0, bytes, from, 0, NULL, NULL),
                    "clEnqueueWriteBuffer");
}

int bench_read(struct bench *b, cl_mem mem, size_t offset, void *to, size_t bytes)
{
    return bench_cl(b, clEnqueueReadBuffer(b->queue, mem, CL_TRUE, offset, bytes, to, 0, NULL, NULL),
                    "clEnqueueReadBuffer");
}

int bench_fill(struct bench *b, cl_mem mem, size_t n, clgaze_dtype dtype, uint64_t seed, float scale)
{
    enum { PIECE = 1 << 20 };
    size_t size = clgaze_dtype_size(dtype);
    void *piece = malloc(PIECE * size);
    int code = piece ? 0 : fail(EXIT_INPUT, "host memory ran out");

    for (size_t at = 0; at < n && !code; at += PIECE) {
        size_t count = n - at < PIECE ? n - at : PIECE;

        for (size_t i = 0; i < count; i++)
            put_number(piece, i, dtype, scale * random_number(seed, at + i));
        code =
            bench_cl(b, clEnqueueWriteBuffer(b->queue, mem, CL_TRUE, at * size, count * size, piece, 0, NULL, NULL),
                     "clEnqueueWriteBuffer");
    }
    free(piece);
    return code;
}

/* ---- timing ---- */

volatile sig_atomic_t bench_stop;

double bench_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int enqueue(struct bench *b, const struct step *step, cl_event *done)
{
    clgaze_call call = {.queue = b->queue, .workspace = step->workspace, .done = done};

    return bench_gaze(b, clgaze_run(step->plan, step->op, &step->tensors, &call));
}

int bench_run(struct bench *b, const struct step *step)
{
    int code = enqueue(b, step, NULL), late = bench_cl(b, clFinish(b->queue), "clFinish");

    return code ? code : late;
}

static int end_ms(struct bench *b, cl_event event, double *ms)
{
    cl_ulong ns = 0;
    int code = bench_cl(b, clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof ns, &ns, NULL),
                        "clGetEventProfilingInfo");

    *ms = (double)ns * 1e-6;
    return code;
}

/* Enqueue `total` steps in turn, an event each after the first event, which is
 * the end of a small write; wait for all. */
static int enqueue_batch(struct bench *b, const struct step *steps, int n, int total, cl_event *done)
{
    static const cl_uint zero;
    int code =
        bench_cl(b, clEnqueueWriteBuffer(b->queue, b->anchor, CL_FALSE, 0, sizeof zero, &zero, 0, NULL, &done[0]),
                 "clEnqueueWriteBuffer");

    for (int i = 0; i < total && !code; i++)
        code = enqueue(b, &steps[i % n], &done[i + 1]);
    int late = bench_cl(b, clFinish(b->queue), "clFinish");
    return code ? code : late;
}

bool bench_clockless(double event_ms, double seconds)
{
    return event_ms < 1e-5 * 1e3 * seconds;
}

/* By the host's clock, each step waited for. */
static int run_each(struct bench *b, const struct step *steps, int n, int rounds, double *ms)
{
    int code = 0;

    for (int i = 0; i < rounds * n && !code; i++) {
        const double from = bench_now();

        code = bench_run(b, &steps[i % n]);
        ms[i] = 1e3 * (bench_now() - from);
    }
    return code;
}

/* Run `rounds` rounds without a pause, so that the device never waits for us.
 * A step takes from the end of what was before it to its own end. */
static int run_events(struct bench *b, const struct step *steps, int n, int rounds, double *ms)
{
    int total = rounds * n, code;
    cl_event *done = calloc((size_t)total + 1, sizeof(cl_event));
    double before = 0, end = 0, first;
    const double start = bench_now();

    if (!done)
        return fail(EXIT_INPUT, "host memory ran out");
    code = enqueue_batch(b, steps, n, total, done);
    if (!code)
        code = end_ms(b, done[0], &before);
    first = before;
    for (int i = 0; i < total && !code; i++) {
        code = end_ms(b, done[i + 1], &end);
        ms[i] = end - before;
        before = end;
    }
    for (int i = 0; i <= total; i++)
        if (done[i])
            clReleaseEvent(done[i]);
    free(done);
    b->clockless = !code && bench_clockless(end - first, bench_now() - start);
    return code;
}

static int run_batch(struct bench *b, const struct step *steps, int n, int rounds, double *ms)
{
    int code = b->clockless ? 0 : run_events(b, steps, n, rounds, ms);

    return !code && b->clockless ? run_each(b, steps, n, rounds, ms) : code;
}

static int make_room(struct samples *s, int rounds)
{
    double *ms;

    if (s->rounds + rounds <= s->room)
        return 0;
    s->room = 2 * (s->rounds + rounds);
    ms = realloc(s->ms, (size_t)s->room * (size_t)s->steps * sizeof *ms);
    if (!ms)
        return fail(EXIT_INPUT, "host memory ran out");
    s->ms = ms;
    return 0;
}

/* Compiles what is compiled late and wakes the device; says how long a round takes. */
static int warm_up(struct bench *b, const struct step *steps, int n, double seconds, double *round)
{
    double from = bench_now(), ms[MAX_STEPS];
    int code = 0;

    do {
        double start = bench_now();

        code = run_batch(b, steps, n, 1, ms);
        *round = bench_now() - start;
    } while (!code && !bench_stop && bench_now() - from < seconds / 10);
    return code;
}

int bench_time(struct bench *b, const struct step *steps, int n, double seconds, struct samples *s)
{
    enum { MOST_ROUNDS = 10000, BATCH = 64 };
    const double slice = .05; /* seconds of a batch: short enough for a desktop */
    double round = 0, from;
    int least = seconds > 0 ? 3 : 1;
    int code = warm_up(b, steps, n, seconds, &round);

    *s = (struct samples){.steps = n};
    from = bench_now();
    while (!code && (s->rounds < 1 || (!bench_stop && s->rounds < least) ||
                     (!bench_stop && bench_now() - from < seconds && s->rounds < MOST_ROUNDS))) {
        int rounds = round * BATCH < slice ? BATCH : (int)(slice / round);

        rounds = rounds < 1 || seconds <= 0 ? 1 : rounds;
        double start = bench_now();

        if (!(code = make_room(s, rounds)))
            code = run_batch(b, steps, n, rounds, s->ms + (size_t)s->rounds * (size_t)n);
        s->host += 1e3 * (bench_now() - start);
        for (int i = 0; i < rounds * n && !code; i++)
            s->device += s->ms[s->rounds * n + i];
        if (!code)
            s->rounds += rounds;
    }
    return code;
}

void samples_free(struct samples *s)
{
    free(s->ms);
    *s = (struct samples){0};
}

struct stats samples_stats(const struct samples *s, int first, int last)
{
    double *sums = calloc((size_t)s->rounds, sizeof *sums);
    struct stats stats = {0};

    if (!sums || s->rounds < 1) {
        free(sums);
        return stats;
    }
    for (int r = 0; r < s->rounds; r++)
        for (int i = first; i <= last; i++)
            sums[r] += s->ms[r * s->steps + i];
    stats = stats_of(sums, s->rounds);
    free(sums);
    return stats;
}
