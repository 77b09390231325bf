/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache.c: what tests of the binary cache share.
 */
#include "cache.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- what the log says -------------------------------------------------------------- */

struct heard heard;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void keep(char *to, size_t size, const char *message)
{
    snprintf(to, size, "%s", message);
}

void hear(void *user, clgaze_log_level level, clgaze_status status, const char *message)
{
    test_log(user, level, status, message);
    pthread_mutex_lock(&lock);
    heard.compiled += strncmp(message, "compiling ", 10) == 0;
    if (level == CLGAZE_LOG_WARN && heard.warned++ == 0)
        keep(heard.warning, sizeof heard.warning, message);
    if (level == CLGAZE_LOG_ERROR && heard.errors < 2)
        keep(heard.error[heard.errors++], sizeof heard.error[0], message);
    pthread_mutex_unlock(&lock);
}

void forget_heard(void)
{
    heard.compiled = heard.warned = heard.errors = 0;
    heard.warning[0] = heard.error[0][0] = heard.error[1][0] = '\0';
}

/* ---- folders and files ------------------------------------------------------------------ */

enum { MAX_FILE = 4 << 20 };

char base[CACHE_PATH / 4];

/* A name under `base`; one static string a call site's turn. */
const char *under(const char *name)
{
    static char paths[8][CACHE_PATH];
    static int turn;
    char *path = paths[turn++ % 8];

    snprintf(path, CACHE_PATH, "%s/%s", base, name);
    return path;
}

void remove_tree(const char *path)
{
    struct stat s;

    if (lstat(path, &s) == 0 && S_ISDIR(s.st_mode)) {
        DIR *dir = opendir(path);

        for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
            char child[2 * CACHE_PATH];

            snprintf(child, sizeof child, "%s/%s", path, e->d_name);
            if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
                remove_tree(child);
        }
        if (dir)
            closedir(dir);
        rmdir(path);
    } else {
        unlink(path);
    }
}

/* Entries of a folder; `path`: that of the last. */
int entries(const char *folder, char path[CACHE_PATH])
{
    DIR *dir = opendir(folder);
    int n = 0;

    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir))
        if (e->d_name[0] != '.') {
            snprintf(path, CACHE_PATH, "%.200s/%.200s", folder, e->d_name);
            n++;
        }
    closedir(dir);
    return n;
}

struct bytes read_file(const char *path)
{
    struct bytes b = {malloc(MAX_FILE), 0};
    FILE *f = fopen(path, "rb");

    assert_non_null(f);
    assert_non_null(b.at);
    b.n = fread(b.at, 1, MAX_FILE, f);
    fclose(f);
    assert_true(b.n > CACHE_HEADER && b.n < MAX_FILE);
    return b;
}

void write_file(const char *path, const void *at, size_t n)
{
    FILE *f;

    unlink(path);
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(fwrite(at, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* ---- contexts with a cache ---------------------------------------------------------------- */

/* Without a folder yet. */
clgaze_context *cache_none(void)
{
    clgaze_context_options o = test_options();
    clgaze_context *ctx = NULL;

    o.log = hear;
    o.log_level = CLGAZE_LOG_DEBUG;
    assert_ok(clgaze_context_create(&o, &ctx));
    ctx->device.pocl = false;
    forget_heard();
    return ctx;
}

clgaze_context *cache_in(const char *folder)
{
    clgaze_context *ctx = cache_none();

    assert_ok(clg_bincache_open(ctx, folder));
    assert_string_equal(ctx->cache_dir, folder);
    return ctx;
}

clgaze_problem small(void)
{
    clgaze_problem p = problem(CLGAZE_F32, 2, 1, 8, 8, 8);

    p.max_q = p.max_k = 64;
    return p;
}

clgaze_plan *cache_plan(clgaze_context *ctx, int dim)
{
    clgaze_problem p = small();
    clgaze_plan *plan = NULL;

    p.head_dim = dim;
    assert_ok(clgaze_plan_create(ctx, CLGAZE_POOL, &p, &plan));
    return plan;
}

/* Plan in a context of its own; what came is right, whatever lay on disk. */
void cache_plan_once(const char *folder, const struct clg_kernel *const *kernels, int dim)
{
    clgaze_context *ctx = cache_in(folder);
    clgaze_plan *plan;

    if (kernels)
        ctx->kernels = kernels;
    plan = cache_plan(ctx, dim);
    assert_ok(clg_selftest(ctx, &plan->problem, &plan->stage[CLGAZE_POOL]));
    clgaze_plan_free(plan);
    clgaze_context_free(ctx);
}

/* The folder with the program's file, made anew, and that file's path. */
const char *cache_filled(char path[CACHE_PATH])
{
    const char *folder = under("filled");

    remove_tree(folder);
    cache_plan_once(folder, NULL, 8);
    assert_int_equal(heard.compiled, 1);
    assert_int_equal(heard.warned, 0);
    if (entries(folder, path) == 0) {
        printf("SKIPPED: this driver gives no binaries\n");
        skip();
    }
    assert_int_equal(entries(folder, path), 1);
    return folder;
}

int make_base(void **state)
{
    const char *tmp = getenv("TMPDIR");

    (void)state;
    snprintf(base, sizeof base, "%.80s/clgaze-test-XXXXXX", tmp && tmp[0] == '/' ? tmp : "/tmp");
    return mkdtemp(base) ? 0 : -1;
}

int remove_base(void **state)
{
    (void)state;
    remove_tree(base);
    return 0;
}
