/*
 * program.c: from embedded sources to a built program, once a context.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* Programs that this context has built; plans of the same options share them. */
struct clg_program {
    struct clg_program *next;
    const struct clg_kernel *kernel;
    char *options;
    cl_program program;
};

enum { MAX_SOURCES = 8 };

static const struct clg_source *find_source(const char *name)
{
    const struct clg_source *s = clg_sources;

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
    const char *part[2 * MAX_SOURCES];
    size_t size[2 * MAX_SOURCES];
    char line[MAX_SOURCES][80];
    cl_uint n = 0;
    cl_int err = CL_SUCCESS;

    for (int i = 0; kernel->sources[i]; i++) {
        const struct clg_source *s = find_source(kernel->sources[i]);

        NEED(s && i < MAX_SOURCES, CLGAZE_ERR_BUILD, "kernel %s needs cl/%s, which is not embedded", kernel->name,
             kernel->sources[i]);
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
        const struct clg_source *s = find_source(kernel->sources[i]);

        if (s)
            key = clg_hash(key, s->text, s->size);
    }
    return key;
}

static cl_program find_built(clgaze_context *ctx, const struct clg_kernel *kernel, const char *options)
{
    cl_program found = NULL;

    pthread_mutex_lock(&ctx->lock);
    for (struct clg_program *e = ctx->programs; e && !found; e = e->next)
        if (e->kernel == kernel && strcmp(e->options, options) == 0 && clRetainProgram(e->program) == CL_SUCCESS)
            found = e->program;
    pthread_mutex_unlock(&ctx->lock);
    return found;
}

/* Two threads may build the same program at once; both copies are good. */
static clgaze_status remember(clgaze_context *ctx, const struct clg_kernel *kernel, const char *options,
                              cl_program program)
{
    clgaze_status st = CLGAZE_OK;
    struct clg_program *entry = clg_alloc(ctx, sizeof *entry);

    NEED(entry && (entry->options = clg_copy_text(ctx, options)), CLGAZE_ERR_NO_MEMORY,
         "no memory to remember a program");
    TRY_CL(clRetainProgram(program));
    entry->kernel = kernel;
    entry->program = program;
    pthread_mutex_lock(&ctx->lock);
    entry->next = ctx->programs;
    ctx->programs = entry;
    pthread_mutex_unlock(&ctx->lock);
    entry = NULL;
out:
    if (entry)
        clg_release(ctx, entry->options);
    clg_release(ctx, entry);
    return st;
}

clgaze_status clg_program_get(clgaze_context *ctx, const struct clg_kernel *kernel, const char *options,
                              cl_program *result)
{
    clgaze_status st = CLGAZE_OK;
    uint64_t key;
    cl_program program = find_built(ctx, kernel, options);

    *result = NULL;
    if (!program) {
        key = binary_key(ctx, kernel, options);
        if (!clg_bincache_load(ctx, key, &program, options)) {
            clg_log(ctx, CLGAZE_LOG_DEBUG, CLGAZE_OK, "compiling %s with %s", kernel->name, options);
            TRY(compile(ctx, kernel, options, &program));
            clg_bincache_save(ctx, key, program);
        }
        TRY(remember(ctx, kernel, options, program));
    }
    *result = program;
    program = NULL;
out:
    if (program)
        clReleaseProgram(program);
    return st;
}

void clg_program_drop_all(clgaze_context *ctx)
{
    while (ctx->programs) {
        struct clg_program *entry = ctx->programs;

        ctx->programs = entry->next;
        clReleaseProgram(entry->program);
        clg_release(ctx, entry->options);
        clg_release(ctx, entry);
    }
}
