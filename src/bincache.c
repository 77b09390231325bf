/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bincache.c: compiled programs in a folder of the user's cache.
 *
 * A file is a header and the driver's binary.  It is believed only if it is a
 * plain file of ours that nobody else may write, header, length and checksum
 * agree and the driver takes it; anything else is a miss, never an error, and
 * the file goes.  PoCL keeps a cache of its own, and asking it for binaries
 * makes it build generic code: it gets none.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "files.h"
#include "internal.h"

#define MAGIC "clgaze1"
enum { MAX_BINARY = 64 << 20 };

struct header {
    char magic[8];
    uint64_t key, size, checksum;
};

clgaze_status clg_bincache_open(clgaze_context *ctx, const char *dir)
{
    clgaze_status st = CLGAZE_OK;
    char path[CLG_MAX_PATH];
    const char *why;

    if (dir && dir[0] == '\0')
        return CLGAZE_OK;
    if (!dir && (ctx->device.pocl || !clg_folder_default(path, sizeof path)))
        return CLGAZE_OK;
    why = clg_folder_distrust(dir ? dir : path);
    NEED(!why || !dir, CLGAZE_ERR_CACHE, "options.cache_dir \"%s\" cannot be used: %s", dir, why);
    if (why) {
        clg_log(ctx, CLGAZE_LOG_WARN, CLGAZE_ERR_CACHE, "no binary cache: folder \"%s\": %s", path, why);
    } else if (!ctx->device.pocl) {
        ctx->cache_dir = clg_copy_text(ctx, dir ? dir : path);
        NEED(ctx->cache_dir, CLGAZE_ERR_NO_MEMORY, "no memory for the name of the cache folder");
    }
out:
    return st;
}

static bool file_name(const clgaze_context *ctx, uint64_t key, const char *end, char *path)
{
    int n = snprintf(path, CLG_MAX_PATH, "%s/%016llx.%s", ctx->cache_dir, (unsigned long long)key, end);

    return n > 0 && n < CLG_MAX_PATH;
}

/* The binary of a file that passes every check; NULL otherwise. */
static unsigned char *read_checked(const clgaze_context *ctx, int fd, uint64_t key, size_t length, size_t *size)
{
    struct header h;
    unsigned char *binary = NULL;

    if (!clg_read_all(fd, &h, sizeof h) || memcmp(h.magic, MAGIC, sizeof h.magic) != 0 || h.key != key ||
        h.size == 0 || h.size > MAX_BINARY || length != sizeof h + h.size)
        return NULL;
    binary = clg_alloc(ctx, (size_t)h.size);
    if (binary && clg_read_all(fd, binary, (size_t)h.size) &&
        clg_hash(CLG_HASH_SEED, binary, (size_t)h.size) == h.checksum) {
        *size = (size_t)h.size;
        return binary;
    }
    clg_release(ctx, binary);
    return NULL;
}

static bool take(clgaze_context *ctx, const unsigned char *binary, size_t size, const char *options,
                 cl_program *result)
{
    cl_int err = CL_SUCCESS, status = CL_SUCCESS;
    cl_program program = clCreateProgramWithBinary(ctx->cl, 1, &ctx->device.id, &size, &binary, &status, &err);

    if (err == CL_SUCCESS && status == CL_SUCCESS &&
        clBuildProgram(program, 1, &ctx->device.id, options, NULL, NULL) == CL_SUCCESS) {
        *result = program;
        return true;
    }
    if (program)
        clReleaseProgram(program);
    return false;
}

bool clg_bincache_load(clgaze_context *ctx, uint64_t key, cl_program *program, const char *options)
{
    char path[CLG_MAX_PATH];
    unsigned char *binary;
    size_t size = 0, length = 0;
    const char *why;
    bool good = false;
    int fd;

    if (!ctx->cache_dir || !file_name(ctx, key, "bin", path))
        return false;
    fd = clg_file_open(path, &length, &why);
    if (fd < 0 && !why)
        return false;
    binary = fd < 0 ? NULL : read_checked(ctx, fd, key, length, &size);
    if (fd >= 0)
        close(fd);
    if (binary)
        good = take(ctx, binary, size, options, program);
    clg_release(ctx, binary);
    if (!good) {
        clg_log(ctx, CLGAZE_LOG_WARN, CLGAZE_ERR_CACHE, "cached program \"%s\" is not usable and is dropped", path);
        unlink(path);
    }
    return good;
}

void clg_bincache_drop(const clgaze_context *ctx, uint64_t key, const char *why)
{
    char path[CLG_MAX_PATH];

    if (!ctx->cache_dir || !file_name(ctx, key, "bin", path) || unlink(path) != 0)
        return;
    clg_log(ctx, CLGAZE_LOG_WARN, CLGAZE_ERR_CACHE, "cached program \"%s\" is dropped: %s", path, why);
}

static bool store(const clgaze_context *ctx, uint64_t key, const unsigned char *binary, size_t size)
{
    struct header h = {MAGIC, key, size, clg_hash(CLG_HASH_SEED, binary, size)};
    const void *const parts[] = {&h, binary};
    const size_t sizes[] = {sizeof h, size};
    char path[CLG_MAX_PATH];

    return file_name(ctx, key, "bin", path) && clg_file_replace(path, parts, sizes, 2);
}

void clg_bincache_save(clgaze_context *ctx, uint64_t key, cl_program program)
{
    size_t size = 0;
    unsigned char *binary;

    if (!ctx->cache_dir)
        return;
    if (clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL) != CL_SUCCESS || size == 0 ||
        size > MAX_BINARY)
        return;
    binary = clg_alloc(ctx, size);
    if (!binary || clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL) != CL_SUCCESS ||
        !store(ctx, key, binary, size))
        clg_log(ctx, CLGAZE_LOG_WARN, CLGAZE_ERR_CACHE, "a program could not be kept in \"%s\"", ctx->cache_dir);
    clg_release(ctx, binary);
}
