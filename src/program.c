/* SPDX-License-Identifier: Apache-2.0 */
/*
 * program.c: from embedded sources to a built program, once a context.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* A program of a context; plans of the same options share it. */
struct clg_program {
    struct clg_program *next;
    const struct clg_kernel *kernel;
    char *options;
    uint64_t key;       /* of its file                              */
    cl_program program; /* NULL: it does not compile                */
    bool loaded;        /* from disk                                */
    enum { UNTESTED, PASSED, FAILED } verdict;
    char *why; /* FAILED: why                              */
};

/* Lives apart from the context, so that its doubles (struct clg_ear) share it. */
struct clg_store {
    pthread_mutex_t lock; /* guards the list, and what changes in its entries */
    pthread_mutex_t turn; /* of clg_turn_begin()                              */
    struct clg_program *first;
};

static const struct clg_source *find_source(const clgaze_context *ctx, const char *name)
{
    const struct clg_source *s = ctx->sources;

    while (s->name && strcmp(s->name, name) != 0)
        s++;
    return s->name ? s : NULL;
}

/* Pass the compiler's own words on; they may be long. */
static void pass_on(const clgaze_context *ctx, cl_program program, clgaze_log_level level, clgaze_status st)
{
    size_t size = 0;
    char *text = NULL;

    if (!ctx->log || level > ctx->log_level)
        return;
    if (clGetProgramBuildInfo(program, ctx->device.id, CL_PROGRAM_BUILD_LOG, 0, NULL, &size) == CL_SUCCESS &&
        size > 1)
        text = clg_alloc(ctx, size + 1);
    if (text && clGetProgramBuildInfo(program, ctx->device.id, CL_PROGRAM_BUILD_LOG, size, text, NULL) == CL_SUCCESS)
        ctx->log(ctx->log_user, level, st, text);
    clg_release(ctx, text);
}

static clgaze_status report_build(const clgaze_context *ctx, const struct clg_kernel *kernel, const char *options,
                                  cl_program program)
{
    clg_fail(ctx, CLGAZE_ERR_BUILD, "kernel %s does not compile on %s with %s", kernel->name, ctx->device.name,
             options);
    pass_on(ctx, program, CLGAZE_LOG_ERROR, CLGAZE_ERR_BUILD);
    return CLGAZE_ERR_BUILD;
}

/* Each source is preceded by a #line, so that compilers name our files. */
static clgaze_status compile(clgaze_context *ctx, const struct clg_kernel *kernel, const char *options,
                             cl_program *result)
{
    clgaze_status st = CLGAZE_OK;
    cl_program program = NULL;
    const char *part[2 * CLG_MAX_SOURCES];
    size_t size[2 * CLG_MAX_SOURCES];
    char line[CLG_MAX_SOURCES][80];
    cl_uint n = 0;
    cl_int err = CL_SUCCESS;

    for (int i = 0; kernel->sources[i]; i++) {
        const struct clg_source *s = find_source(ctx, kernel->sources[i]);

        NEED(s && i < CLG_MAX_SOURCES, CLGAZE_ERR_BUILD, "kernel %s needs cl/%s, which is not embedded, or too many",
             kernel->name, kernel->sources[i]);
        size[n] = (size_t)snprintf(line[i], sizeof line[i], "#line 1 \"cl/%s\"\n", s->name);
        part[n++] = line[i];
        size[n] = s->size;
        part[n++] = (const char *)s->text;
    }
    program = clCreateProgramWithSource(ctx->cl, n, part, size, &err);
    NEED(err == CL_SUCCESS, CLGAZE_ERR_OPENCL, "clCreateProgramWithSource answered %d for kernel %s", (int)err,
         kernel->name);
    err = clBuildProgram(program, 1, &ctx->device.id, options, NULL, NULL);
    if (err == CL_BUILD_PROGRAM_FAILURE)
        TRY(report_build(ctx, kernel, options, program));
    TRY_CL(err);
    if (kernel->rework)
        TRY(kernel->rework(ctx, options, &program));
    pass_on(ctx, program, CLGAZE_LOG_DEBUG, CLGAZE_OK);
    *result = program;
    program = NULL;
out:
    if (program)
        clReleaseProgram(program);
    return st;
}

/* All that decides what a compiler makes of a kernel. */
static uint64_t binary_key(const clgaze_context *ctx, const struct clg_kernel *kernel, const char *options)
{
    const struct clg_device *d = &ctx->device;
    const char *words[] = {CLGAZE_VERSION_STRING, kernel->name, options, d->platform,
                           d->platform_version,   d->vendor,    d->name, d->driver};
    uint64_t key = CLG_HASH_SEED;

    for (size_t i = 0; i < CLG_COUNT(words); i++)
        key = clg_hash(key, words[i], strlen(words[i]) + 1);
    for (int i = 0; kernel->sources[i]; i++) {
        const struct clg_source *s = find_source(ctx, kernel->sources[i]);

        if (s)
            key = clg_hash(key, s->text, s->size);
    }
    return key;
}

/* ---- the store ------------------------------------------------------------ */

bool clg_store_open(clgaze_context *ctx)
{
    ctx->store = clg_alloc(ctx, sizeof *ctx->store);
    if (ctx->store && pthread_mutex_init(&ctx->store->lock, NULL) == 0) {
        if (pthread_mutex_init(&ctx->store->turn, NULL) == 0)
            return true;
        pthread_mutex_destroy(&ctx->store->lock);
    }
    clg_release(ctx, ctx->store);
    ctx->store = NULL;
    return false;
}

void clg_store_close(clgaze_context *ctx)
{
    struct clg_program *next;

    for (struct clg_program *e = ctx->store->first; e; e = next) {
        next = e->next;
        if (e->program)
            clReleaseProgram(e->program);
        clg_release(ctx, e->options);
        clg_release(ctx, e->why);
        clg_release(ctx, e);
    }
    pthread_mutex_destroy(&ctx->store->lock);
    pthread_mutex_destroy(&ctx->store->turn);
    clg_release(ctx, ctx->store);
}

/* Mesa 22.3 spoils the heap when threads use one queue at the same time. */
void clg_turn_begin(const clgaze_context *ctx)
{
    if (ctx->device.rusticl)
        pthread_mutex_lock(&ctx->store->turn);
}

void clg_turn_end(const clgaze_context *ctx)
{
    if (ctx->device.rusticl)
        pthread_mutex_unlock(&ctx->store->turn);
}

static struct clg_program *find(clgaze_context *ctx, const struct clg_kernel *kernel, const char *options,
                                cl_program *program)
{
    struct clg_program *e;

    pthread_mutex_lock(&ctx->store->lock);
    for (e = ctx->store->first; e; e = e->next)
        if (e->kernel == kernel && strcmp(e->options, options) == 0)
            break;
    if (e && e->program && clRetainProgram(e->program) == CL_SUCCESS)
        *program = e->program;
    pthread_mutex_unlock(&ctx->store->lock);
    return e;
}

/* A copy of `made` in the store, or NULL when memory ran out.  Two threads may build the
 * same program at once; both copies are good. */
static struct clg_program *remember(clgaze_context *ctx, const struct clg_program *made, const char *options)
{
    struct clg_program *entry = clg_alloc(ctx, sizeof *entry);
    char *copy = clg_copy_text(ctx, options);

    if (!entry || !copy || (made->program && clRetainProgram(made->program) != CL_SUCCESS)) {
        clg_fail(ctx, CLGAZE_ERR_NO_MEMORY, "no memory to remember a program");
        clg_release(ctx, copy);
        clg_release(ctx, entry);
        return NULL;
    }
    *entry = *made;
    entry->options = copy;
    pthread_mutex_lock(&ctx->store->lock);
    entry->next = ctx->store->first;
    ctx->store->first = entry;
    pthread_mutex_unlock(&ctx->store->lock);
    return entry;
}

/* From disk, or by the compiler. */
static clgaze_status make(clgaze_context *ctx, struct clg_program *made, const char *options)
{
    clgaze_status st = CLGAZE_OK;

    made->loaded = clg_bincache_load(ctx, made->key, &made->program, options);
    if (made->loaded)
        return st;
    clg_log(ctx, CLGAZE_LOG_DEBUG, CLGAZE_OK, "compiling %s with %s", made->kernel->name, options);
    TRY(compile(ctx, made->kernel, options, &made->program));
    clg_bincache_save(ctx, made->key, made->program);
out:
    return st;
}

/* An optional path that does not compile is not tried again for each plan. */
static void remember_failure(clgaze_context *ctx, const struct clg_program *made, const char *options)
{
    struct clg_program *entry = remember(ctx, made, options);

    if (entry)
        clg_program_judge(ctx, entry, NULL, "it does not compile here");
}

/* NULL, or why the program may not be used. */
static const char *failure(clgaze_context *ctx, const struct clg_program *entry)
{
    const char *why = NULL;

    pthread_mutex_lock(&ctx->store->lock);
    if (entry->verdict == FAILED)
        why = entry->why ? entry->why : "it failed"; /* never changes from now on */
    pthread_mutex_unlock(&ctx->store->lock);
    return why;
}

clgaze_status clg_program_get(clgaze_context *ctx, const struct clg_kernel *kernel, const char *options,
                              struct clg_program **entry, cl_program *program)
{
    struct clg_program made = {.kernel = kernel, .key = binary_key(ctx, kernel, options)};
    clgaze_status st = CLGAZE_OK;
    const char *failed;

    *program = NULL;
    *entry = find(ctx, kernel, options, program);
    if (!*entry) {
        st = make(ctx, &made, options);
        if (st == CLGAZE_ERR_BUILD && kernel->prove)
            remember_failure(ctx, &made, options);
        TRY(st);
        *program = made.program;
        *entry = remember(ctx, &made, options);
        TRY(*entry ? CLGAZE_OK : CLGAZE_ERR_NO_MEMORY);
    }
    failed = failure(ctx, *entry);
    NEED(!failed, CLGAZE_ERR_UNSUPPORTED, "kernel %s failed here before: %s", kernel->name, failed);
    return st;
out:
    if (*program)
        clReleaseProgram(*program);
    *program = NULL;
    return st;
}

clgaze_status clg_program_renew(clgaze_context *ctx, struct clg_program *entry, cl_program *result)
{
    clgaze_status st = CLGAZE_OK;
    cl_program program = NULL, old;

    clg_log(ctx, CLGAZE_LOG_DEBUG, CLGAZE_OK, "compiling %s with %s", entry->kernel->name, entry->options);
    TRY(compile(ctx, entry->kernel, entry->options, &program));
    TRY_CL(clRetainProgram(program));
    pthread_mutex_lock(&ctx->store->lock);
    old = entry->program;
    entry->program = program;
    entry->loaded = false;
    entry->verdict = UNTESTED;
    pthread_mutex_unlock(&ctx->store->lock);
    clReleaseProgram(old);
    clg_bincache_save(ctx, entry->key, program);
    *result = program;
    program = NULL;
out:
    if (program)
        clReleaseProgram(program);
    return st;
}

/* ---- verdicts -------------------------------------------------------------- */

bool clg_program_doubted(clgaze_context *ctx, const struct clg_program *entry, cl_program program, bool *loaded)
{
    bool doubted, renewed;

    pthread_mutex_lock(&ctx->store->lock);
    renewed = entry->program != program; /* another thread has found what was loaded wrong */
    *loaded = entry->loaded || renewed;
    doubted = renewed || (entry->verdict == UNTESTED && (entry->loaded || entry->kernel->prove));
    pthread_mutex_unlock(&ctx->store->lock);
    return doubted;
}

void clg_program_judge(clgaze_context *ctx, struct clg_program *entry, cl_program program, const char *why)
{
    char *copy = why ? clg_copy_text(ctx, why) : NULL;

    pthread_mutex_lock(&ctx->store->lock);
    if (entry->program == program && entry->verdict == UNTESTED && !(why && entry->loaded)) {
        entry->verdict = why ? FAILED : PASSED;
        entry->why = copy;
        copy = NULL;
    }
    pthread_mutex_unlock(&ctx->store->lock);
    clg_release(ctx, copy);
    if (why)
        clg_bincache_drop(ctx, entry->key, why);
}
