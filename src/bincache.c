/*
 * bincache.c: compiled programs in a folder of the user's cache.
 *
 * A file is a header and the driver's binary.  It is believed only if it is a
 * plain file of ours that nobody else may write, header, length and checksum
 * agree and the driver takes it; anything else is a miss, never an error, and
 * the file goes.  PoCL keeps a cache of its own, and asking it for binaries
 * makes it build generic code: it gets none.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

#define MAGIC "clgaze1"
enum { MAX_PATH = 4096, MAX_BINARY = 64 << 20 };

struct header {
    char magic[8];
    uint64_t key, size, checksum;
};

/* Make a folder and its parents; 0, or errno. */
static int make_folders(const char *dir)
{
    char path[MAX_PATH];
    size_t n = strlen(dir);

    if (n == 0 || n >= sizeof path)
        return ENAMETOOLONG;
    memcpy(path, dir, n + 1);
    for (size_t i = 1; i <= n; i++)
        if (path[i] == '/' || path[i] == '\0') {
            char kept = path[i];

            path[i] = '\0';
            if (mkdir(path, 0700) != 0 && errno != EEXIST)
                return errno;
            path[i] = kept;
        }
    return 0;
}

/* NULL, or why the folder cannot hold executable code for us. */
static const char *distrust(const char *dir)
{
    struct stat s;

    if (make_folders(dir) != 0)
        return "it cannot be made";
    if (lstat(dir, &s) != 0 || !S_ISDIR(s.st_mode))
        return "it is not a folder";
    if (s.st_uid != geteuid())
        return "it belongs to another user";
    if (s.st_mode & (S_IWGRP | S_IWOTH))
        return "others may write to it";
    return access(dir, W_OK | X_OK) == 0 ? NULL : "it cannot be written";
}

/* The folder by environment: false when there is none to use. */
static bool default_folder(char *path, size_t size)
{
    const char *own = getenv("CLGAZE_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n = -1;

    if (own)
        n = strcmp(own, "0") == 0 ? 0 : snprintf(path, size, "%s", own);
    else if (xdg && xdg[0] == '/')
        n = snprintf(path, size, "%s/clgaze", xdg);
    else if (home && home[0] == '/')
        n = snprintf(path, size, "%s/.cache/clgaze", home);
    return n > 0 && (size_t)n < size;
}

clgaze_status clg_bincache_open(clgaze_context *ctx, const char *dir)
{
    clgaze_status st = CLGAZE_OK;
    char path[MAX_PATH];
    const char *why;

    if (dir && dir[0] == '\0')
        return CLGAZE_OK;
    if (!dir && (ctx->device.pocl || !default_folder(path, sizeof path)))
        return CLGAZE_OK;
    why = distrust(dir ? dir : path);
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
    int n = snprintf(path, MAX_PATH, "%s/%016llx.%s", ctx->cache_dir, (unsigned long long)key, end);

    return n > 0 && n < MAX_PATH;
}

static bool read_all(int fd, void *to, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = read(fd, (char *)to + done, size - done);

        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

static bool write_all(int fd, const void *from, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = write(fd, (const char *)from + done, size - done);

        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

/* The binary of a file that passes every check; NULL otherwise. */
static unsigned char *read_checked(const clgaze_context *ctx, int fd, uint64_t key, size_t *size)
{
    struct stat s;
    struct header h;
    unsigned char *binary = NULL;

    if (fstat(fd, &s) != 0 || !S_ISREG(s.st_mode) || s.st_uid != geteuid() || (s.st_mode & (S_IWGRP | S_IWOTH)))
        return NULL;
    if (!read_all(fd, &h, sizeof h) || memcmp(h.magic, MAGIC, sizeof h.magic) != 0 || h.key != key || h.size == 0 ||
        h.size > MAX_BINARY || (uint64_t)s.st_size != sizeof h + h.size)
        return NULL;
    binary = clg_alloc(ctx, (size_t)h.size);
    if (binary && read_all(fd, binary, (size_t)h.size) &&
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
    char path[MAX_PATH];
    unsigned char *binary;
    size_t size = 0;
    bool good = false;
    int fd;

    if (!ctx->cache_dir || !file_name(ctx, key, "bin", path))
        return false;
    fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return false;
    binary = read_checked(ctx, fd, key, &size);
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
    char path[MAX_PATH];

    if (!ctx->cache_dir || !file_name(ctx, key, "bin", path) || unlink(path) != 0)
        return;
    clg_log(ctx, CLGAZE_LOG_WARN, CLGAZE_ERR_CACHE, "cached program \"%s\" is dropped: %s", path, why);
}

/* Write under a temporary name, then rename: a reader sees all or nothing. */
static bool store(const clgaze_context *ctx, uint64_t key, const unsigned char *binary, size_t size)
{
    struct header h = {MAGIC, key, size, clg_hash(CLG_HASH_SEED, binary, size)};
    char path[MAX_PATH], temporary[MAX_PATH];
    bool good;
    int fd;

    if (!file_name(ctx, key, "bin", path) || !file_name(ctx, key, "XXXXXX", temporary))
        return false;
    fd = mkstemp(temporary); /* made with 0600 */
    if (fd < 0)
        return false;
    good = write_all(fd, &h, sizeof h) && write_all(fd, binary, size) && fsync(fd) == 0;
    good = close(fd) == 0 && good && rename(temporary, path) == 0;
    if (!good)
        unlink(temporary);
    return good;
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
