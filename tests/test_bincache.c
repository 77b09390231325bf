/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_bincache.c: files and folders of the binary cache, which may hold anything.
 */
#include "cache.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- what lies on disk may be anything ------------------------------------------------------------ */

/* Put something in the place of a good file. */
typedef void (*damage_fn)(const char *path, struct bytes good);

static void truncated(const char *path, struct bytes b)
{
    write_file(path, b.at, b.n - 1);
}

static void header_only(const char *path, struct bytes b)
{
    write_file(path, b.at, CACHE_HEADER);
}

static void half_header(const char *path, struct bytes b)
{
    write_file(path, b.at, CACHE_HEADER / 2);
}

static void empty(const char *path, struct bytes b)
{
    write_file(path, b.at, 0);
}

static void longer(const char *path, struct bytes b)
{
    b.at[b.n] = 0;
    write_file(path, b.at, b.n + 1);
}

static void flip(const char *path, struct bytes b, size_t at)
{
    b.at[at] ^= 4;
    write_file(path, b.at, b.n);
}

static void flipped(const char *path, struct bytes b)
{
    flip(path, b, b.n - b.n / 3);
}

static void other_magic(const char *path, struct bytes b)
{
    flip(path, b, 0);
}

static void other_version(const char *path, struct bytes b)
{
    flip(path, b, 6);
}

static void other_key(const char *path, struct bytes b)
{
    flip(path, b, CACHE_KEY);
}

static void other_size(const char *path, struct bytes b)
{
    flip(path, b, 16);
}

static void huge_size(const char *path, struct bytes b)
{
    memset(b.at + 16, 0xff, 8);
    write_file(path, b.at, b.n);
}

static void other_sum(const char *path, struct bytes b)
{
    flip(path, b, 24);
}

/* All sums are right, but no driver takes it. */
static void no_binary(const char *path, struct bytes b)
{
    uint64_t size = 64, sum;

    memset(b.at + CACHE_HEADER, 0x55, 64);
    sum = clg_hash(CLG_HASH_SEED, b.at + CACHE_HEADER, 64);
    memcpy(b.at + 16, &size, 8);
    memcpy(b.at + 24, &sum, 8);
    write_file(path, b.at, CACHE_HEADER + 64);
}

static void open_to_all(const char *path, struct bytes b)
{
    (void)b;
    assert_int_equal(chmod(path, 0622), 0);
}

static void a_pipe(const char *path, struct bytes b)
{
    (void)b;
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
}

static void a_link(const char *path, struct bytes b)
{
    const char *elsewhere = under("elsewhere");

    write_file(elsewhere, b.at, b.n);
    unlink(path);
    assert_int_equal(symlink(elsewhere, path), 0);
}

static void missing(const char *path, struct bytes b)
{
    (void)b;
    unlink(path);
}

static void nothing(const char *path, struct bytes b)
{
    (void)path;
    (void)b;
}

static const struct {
    const char *name;
    damage_fn damage;
    int compiled, warned;
} damages[] = {
    {"nothing", nothing, 0, 0},
    {"missing", missing, 1, 0},
    {"truncated", truncated, 1, 1},
    {"header only", header_only, 1, 1},
    {"half a header", half_header, 1, 1},
    {"empty", empty, 1, 1},
    {"longer", longer, 1, 1},
    {"flipped bit", flipped, 1, 1},
    {"other magic", other_magic, 1, 1},
    {"other version", other_version, 1, 1},
    {"other key", other_key, 1, 1},
    {"other size", other_size, 1, 1},
    {"huge size", huge_size, 1, 1},
    {"other checksum", other_sum, 1, 1},
    {"no binary", no_binary, 1, 1},
    {"open to all", open_to_all, 1, 1},
    {"pipe", a_pipe, 1, 1},
    {"link", a_link, 1, 1},
};

static void test_damaged(void **state)
{
    char path[CACHE_PATH], again[CACHE_PATH];
    const char *folder = cache_filled(path);
    struct bytes first = read_file(path);

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(damages); i++) {
        struct bytes good = {malloc(first.n + 1), first.n};
        struct stat s;

        assert_non_null(good.at);
        if (damages[i].damage == no_binary && test_context()->device.rusticl) {
            printf("SKIPPED: %s: rusticl ends the process at a binary that is none\n", damages[i].name);
            free(good.at);
            continue;
        }
        memcpy(good.at, first.at, first.n);
        write_file(path, first.at, first.n);
        damages[i].damage(path, good);
        free(good.at);
        cache_plan_once(folder, NULL, 8);
        if (heard.compiled != damages[i].compiled || heard.warned != damages[i].warned || heard.errors)
            fail_msg("%s: compiled %d times, warned %d times: %s %s", damages[i].name, heard.compiled, heard.warned,
                     heard.warning, heard.error[0]);
        if (heard.warned)
            assert_says("the log", heard.warning, "is not usable and is dropped");
        assert_int_equal(entries(folder, again), 1); /* a good one has taken its place */
        assert_string_equal(again, path);
        assert_int_equal(lstat(path, &s), 0);
        assert_true(S_ISREG(s.st_mode) && (s.st_mode & 0777) == 0600 && s.st_size > CACHE_HEADER);
    }
    cache_plan_once(folder, NULL, 8);
    assert_int_equal(heard.compiled, 0);
    free(first.at);
}

/* A folder cannot be replaced: each start compiles, and says so. */
static void test_folder_for_file(void **state)
{
    char path[CACHE_PATH];
    const char *folder = cache_filled(path);

    (void)state;
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    for (int i = 0; i < 2; i++) {
        cache_plan_once(folder, NULL, 8);
        assert_int_equal(heard.compiled, 1);
        assert_int_equal(heard.warned, 2); /* not usable; not kept */
        assert_int_equal(heard.errors, 0);
    }
}

/* ---- folders -------------------------------------------------------------------------------------- */

static void test_folders_are_made(void **state)
{
    const char *deep = under("a/b/c");
    struct stat s;
    char path[CACHE_PATH];

    (void)state;
    cache_plan_once(deep, NULL, 8);
    assert_int_equal(stat(deep, &s), 0);
    assert_int_equal(s.st_mode & 0777, 0700);
    assert_int_equal(entries(deep, path), 1);
}

/* A folder that was named must be usable; the sentence says why it is not. */
static void refuse(const char *folder, const char *why)
{
    clgaze_context_options o = test_options();
    clgaze_context *ctx = NULL;

    o.log = hear;
    o.cache_dir = folder;
    forget_heard();
    assert_int_equal(clgaze_context_create(&o, &ctx), CLGAZE_ERR_CACHE);
    assert_null(ctx);
    assert_int_equal(heard.errors, 1);
    assert_says("the log", heard.error[0], "options.cache_dir \"");
    assert_says("the log", heard.error[0], why);
}

static void test_named_folder(void **state)
{
    char long_name[5000];

    (void)state;
    write_file(under("file"), "x", 1);
    refuse(under("file"), "cannot be used: it is not a folder");
    refuse(under("file/below"), "cannot be used: it cannot be made");
    assert_int_equal(mkdir(under("real"), 0700), 0);
    assert_int_equal(symlink(under("real"), under("link")), 0);
    refuse(under("link"), "cannot be used: it is not a folder");
    assert_int_equal(mkdir(under("shared"), 0700), 0);
    assert_int_equal(chmod(under("shared"), 0777), 0);
    refuse(under("shared"), "cannot be used: others may write to it");
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[0] = '/';
    long_name[sizeof long_name - 1] = '\0';
    refuse(long_name, "options.cache_dir");
}

/* The folder that a context takes by environment; NULL: none. */
static void by_environment(const char *own, const char *xdg, const char *home, const char *wanted, int warned)
{
    const char *const names[] = {"CLGAZE_CACHE_DIR", "XDG_CACHE_HOME", "HOME"}, *const values[] = {own, xdg, home};
    char *kept[3];
    clgaze_context *ctx = cache_none();

    for (int i = 0; i < 3; i++) {
        const char *old = getenv(names[i]);

        kept[i] = old ? strdup(old) : NULL;
        assert_int_equal(values[i] ? setenv(names[i], values[i], 1) : unsetenv(names[i]), 0);
    }
    assert_ok(clg_bincache_open(ctx, NULL));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kept[i] ? setenv(names[i], kept[i], 1) : unsetenv(names[i]), 0);
        free(kept[i]);
    }
    if (wanted)
        assert_string_equal(ctx->cache_dir ? ctx->cache_dir : "none", wanted);
    else
        assert_null(ctx->cache_dir);
    assert_int_equal(heard.warned, warned);
    assert_int_equal(heard.errors, 0);
    if (warned)
        assert_says("the log", heard.warning, "no binary cache: folder \"");
    clgaze_plan_free(cache_plan(ctx, 8)); /* all goes on */
    clgaze_context_free(ctx);
}

static void test_default_folder(void **state)
{
    clgaze_context *ctx;

    (void)state;
    by_environment(under("own"), under("xdg"), under("home"), under("own"), 0);
    by_environment(NULL, under("xdg"), under("home"), under("xdg/clgaze"), 0);
    by_environment(NULL, "relative", under("home"), under("home/.cache/clgaze"), 0);
    by_environment(NULL, NULL, NULL, NULL, 0);
    by_environment("0", under("xdg"), under("home"), NULL, 0);
    by_environment("", under("xdg"), under("home"), NULL, 0);
    write_file(under("plain"), "x", 1);
    by_environment(under("plain"), NULL, NULL, NULL, 1);
    by_environment(NULL, under("plain"), NULL, NULL, 1);
    ctx = cache_none();
    assert_ok(clg_bincache_open(ctx, "")); /* none was wanted */
    assert_null(ctx->cache_dir);
    ctx->device.pocl = true; /* PoCL has none, even where it was named */
    assert_ok(clg_bincache_open(ctx, under("own")));
    assert_null(ctx->cache_dir);
    clgaze_context_free(ctx);
}

/* A folder that goes away is no reason to fail. */
static void test_folder_goes(void **state)
{
    const char *folder = under("brief");
    clgaze_context *ctx = cache_in(folder);

    (void)state;
    assert_int_equal(rmdir(folder), 0);
    clgaze_plan_free(cache_plan(ctx, 8));
    assert_int_equal(heard.compiled, 1);
    assert_int_equal(heard.warned, 1);
    assert_says("the log", heard.warning, "could not be kept in \"");
    clgaze_context_free(ctx);
}

/* ---- permissions, as a user who is not root --------------------------------------------------------- */

/* Each answers 0 or the number of the check that failed; they call no OpenCL. */
static int unwritable(clgaze_context *ctx, const char *own)
{
    if (chmod(own, 0500) != 0 || clg_bincache_open(ctx, own) != CLGAZE_ERR_CACHE)
        return 1;
    if (!strstr(heard.error[0], "it cannot be written"))
        return 2;
    return chmod(own, 0700) == 0 && clg_bincache_open(ctx, own) == CLGAZE_OK && ctx->cache_dir ? 0 : 3;
}

static int unreadable(clgaze_context *ctx, const char *own)
{
    char path[2 * CACHE_PATH];
    cl_program program = NULL;
    int fd;

    snprintf(path, sizeof path, "%s/%016llx.bin", own, 7ull);
    fd = open(path, O_WRONLY | O_CREAT, 0000);
    if (fd < 0)
        return 4;
    close(fd);
    return clg_bincache_load(ctx, 7, &program, "") ? 5 : 0;
}

static int of_another(clgaze_context *ctx, const char *folder)
{
    if (clg_bincache_open(ctx, folder) != CLGAZE_ERR_CACHE)
        return 6;
    return strstr(heard.error[0], "it belongs to another user") ? 0 : 7;
}

/* In a child that has given its privileges up, where it had any. */
static int as_user(clgaze_context *ctx)
{
    const bool root = geteuid() == 0;
    const char *own = under("open/own");
    int failed;

    if (root && (setgid(65534) != 0 || setuid(65534) != 0))
        return 8;
    if (mkdir(own, 0700) != 0)
        return 9;
    failed = unwritable(ctx, own);
    if (!failed)
        failed = unreadable(ctx, own);
    forget_heard();
    return failed || !root ? failed : of_another(ctx, base);
}

static void test_permissions(void **state)
{
    clgaze_context *ctx = cache_none();
    int status = 0;
    pid_t child;

    (void)state;
    assert_int_equal(chmod(base, 0755), 0);
    assert_int_equal(mkdir(under("open"), 0700), 0);
    assert_int_equal(chmod(under("open"), 0777), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(as_user(ctx)); /* nothing of the parent's is flushed or freed */
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 8) {
        printf("SKIPPED: root may not become another user here\n");
        clgaze_context_free(ctx);
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
    clgaze_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CACHE_TEST(test_damaged),      CACHE_TEST(test_folder_for_file), CACHE_TEST(test_folders_are_made),
        CACHE_TEST(test_named_folder), CACHE_TEST(test_default_folder),  CACHE_TEST(test_folder_goes),
        CACHE_TEST(test_permissions),
    };

    return TEST_MAIN(tests);
}
