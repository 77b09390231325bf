/* SPDX-License-Identifier: Apache-2.0 */
/*
 * context.c: making and freeing a context; host memory.
 */
#include <stdlib.h>
#include <string.h>

#include "misses.h"
#include "records.h"

static void *default_alloc(void *user, size_t size)
{
    (void)user;
    return malloc(size);
}

static void default_release(void *user, void *p)
{
    (void)user;
    free(p);
}

void *clg_alloc(const clgaze_context *ctx, size_t size)
{
    void *p = ctx->alloc(ctx->alloc_user, size ? size : 1);

    if (p)
        memset(p, 0, size);
    return p;
}

void clg_release(const clgaze_context *ctx, void *p)
{
    if (p)
        ctx->release(ctx->alloc_user, p);
}

char *clg_copy_text(const clgaze_context *ctx, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = clg_alloc(ctx, size);

    if (copy)
        memcpy(copy, text, size);
    return copy;
}

/* The device of a context that the caller made. */
static clgaze_status borrowed_device(const clgaze_context *ctx, cl_context cl, cl_device_id *device)
{
    clgaze_status st = CLGAZE_OK;
    cl_device_id ids[64];
    size_t bytes = 0, n;

    TRY_CL(clGetContextInfo(cl, CL_CONTEXT_DEVICES, sizeof ids, ids, &bytes));
    n = bytes / sizeof ids[0];
    NEED(*device || n == 1, CLGAZE_ERR_CONTEXT,
         "options.device is NULL but options.context has %zu devices: name one", n);
    for (size_t i = 0; i < n; i++)
        if (!*device || ids[i] == *device) {
            *device = ids[i];
            goto out;
        }
    NEED(false, CLGAZE_ERR_CONTEXT, "options.device is not a device of options.context");
out:
    return st;
}

static clgaze_status open_device(clgaze_context *ctx, const clgaze_context_options *o)
{
    clgaze_status st = CLGAZE_OK;
    char zeros[1024] = {0}; /* lengths of 0: warming reads nothing that was never written */
    cl_device_id id = o->device;
    cl_int err = CL_SUCCESS;

    if (o->context) {
        TRY(borrowed_device(ctx, o->context, &id));
        TRY_CL(clRetainContext(o->context));
        ctx->cl = o->context;
    } else {
        if (!id)
            TRY(clg_device_pick(ctx, o->pick, &id));
        ctx->cl = clCreateContext(NULL, 1, &id, NULL, NULL, &err);
        NEED(err == CL_SUCCESS, CLGAZE_ERR_OPENCL, "clCreateContext answered %d", (int)err);
    }
    TRY(clg_device_read(ctx, id, &ctx->device));
    ctx->queue = clCreateCommandQueue(ctx->cl, id, 0, &err);
    NEED(err == CL_SUCCESS, CLGAZE_ERR_OPENCL, "clCreateCommandQueue answered %d", (int)err);
    ctx->dummy = clCreateBuffer(ctx->cl, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, sizeof zeros, zeros, &err);
    NEED(err == CL_SUCCESS, CLGAZE_ERR_OPENCL, "clCreateBuffer answered %d for 1024 bytes", (int)err);
out:
    return st;
}

/* A context that can log and allocate, but has no device yet; NULL when memory ran out. */
static clgaze_context *blank(const clgaze_context_options *o)
{
    clgaze_context seed;
    clgaze_context *ctx;

    memset(&seed, 0, sizeof seed);
    seed.alloc = o->alloc ? o->alloc : default_alloc;
    seed.release = o->release ? o->release : default_release;
    seed.alloc_user = o->alloc_user;
    seed.log = o->log;
    seed.log_user = o->log_user;
    seed.log_level = o->log_level;
    ctx = clg_alloc(&seed, sizeof *ctx);
    if (ctx) {
        *ctx = seed;
        ctx->kernels = clg_kernels;
        ctx->sources = clg_sources;
        ctx->slice_bytes = CLG_SLICE_BYTES;
        if (clg_store_open(ctx))
            return ctx;
        clg_release(&seed, ctx);
    }
    clg_fail(&seed, CLGAZE_ERR_NO_MEMORY, "no memory for a context");
    return NULL;
}

static clgaze_status read_policy(clgaze_context *ctx, const clgaze_context_options *o)
{
    static const int nearest[] = {
        [CLGAZE_TUNING_NEAREST] = 4, [CLGAZE_TUNING_STORED] = 2, [CLGAZE_TUNING_NONE] = -1, [CLGAZE_TUNING_PLAN] = 4};
    const bool tunes = o->tuning == CLGAZE_TUNING_PLAN;
    clgaze_status st = CLGAZE_OK;

    NEED((int)o->tuning >= 0 && (size_t)o->tuning < CLG_COUNT(nearest), CLGAZE_ERR_VALUE,
         "options.tuning is %d: it must be 0..%zu", (int)o->tuning, CLG_COUNT(nearest) - 1);
    NEED(!tunes || (o->tuning_ms >= 1 && o->tuning_ms <= 600000), CLGAZE_ERR_VALUE,
         "options.tuning_ms is %d: with CLGAZE_TUNING_PLAN it must be 1..600000", (int)o->tuning_ms);
    NEED(o->remember == 0 || o->remember == 1, CLGAZE_ERR_VALUE, "options.remember is %d: it must be 0 or 1",
         (int)o->remember);
    ctx->nearest = nearest[o->tuning];
    ctx->tuning_seconds = tunes ? 1e-3 * o->tuning_ms : 0;
    if (tunes || o->remember)
        TRY(clg_misses_open(ctx, o->remember));
out:
    return st;
}

clgaze_status clgaze_context_create(const clgaze_context_options *options, clgaze_context **context)
{
    clgaze_context_options o;
    clgaze_context *ctx;
    clgaze_status st = CLGAZE_OK;

    memset(&o, 0, sizeof o);
    if (options)
        o = *options;
    if (!context || !o.alloc != !o.release) {
        clgaze_context voice = {.log = o.log, .log_user = o.log_user, .log_level = o.log_level};

        if (context)
            *context = NULL;
        return clg_fail(&voice, CLGAZE_ERR_NULL, "%s",
                        context ? "options.alloc and options.release must be set both or neither"
                                : "context is NULL");
    }
    *context = NULL;
    ctx = blank(&o);
    if (!ctx)
        return CLGAZE_ERR_NO_MEMORY;
    TRY(read_policy(ctx, &o));
    TRY(open_device(ctx, &o));
    TRY(clg_bincache_open(ctx, o.cache_dir));
    TRY(clg_tuning_open(ctx, o.cache_dir));
    clg_log(ctx, CLGAZE_LOG_INFO, CLGAZE_OK, "device %s, %s, driver %s", ctx->device.platform, ctx->device.name,
            ctx->device.driver);
    *context = ctx;
    ctx = NULL;
out:
    clgaze_context_free(ctx);
    return st;
}

void clgaze_context_free(clgaze_context *ctx)
{
    if (!ctx)
        return;
    clg_store_close(ctx);
    clg_misses_close(ctx);
    clg_tuning_close(ctx);
    if (ctx->dummy)
        clReleaseMemObject(ctx->dummy);
    if (ctx->queue)
        clReleaseCommandQueue(ctx->queue);
    if (ctx->cl)
        clReleaseContext(ctx->cl);
    clg_release(ctx, ctx->cache_dir);
    clg_release(ctx, ctx);
}

cl_context clgaze_context_cl(const clgaze_context *context)
{
    return context ? context->cl : NULL;
}

cl_device_id clgaze_context_device(const clgaze_context *context)
{
    return context ? context->device.id : NULL;
}
