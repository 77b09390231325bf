/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_hostile.c: what others may have put where the library keeps its files: compiled
 * programs, tuned records, problems to tune, the journal.  None is believed unless every
 * check passes, and nothing is written but in its own place.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "journal.h"
#include "tuned.h"

enum { NOBODY = 65534 };
#define DEAR "of another, and dear\n"

/* ---- what may lie there ------------------------------------------------------------------- */

/* Put something in the place of a good file; false: that takes root. */
typedef bool (*damage_fn)(const char *path);

static bool of_another_user(const char *path)
{
    return geteuid() == 0 && chown(path, NOBODY, NOBODY) == 0;
}

static bool others_may_write(const char *path)
{
    return chmod(path, 0602) == 0;
}

static bool the_group_may_write(const char *path)
{
    return chmod(path, 0620) == 0;
}

static bool a_link(const char *path)
{
    return rename(path, under("elsewhere")) == 0 && symlink(under("elsewhere"), path) == 0;
}

static bool a_link_to_nothing(const char *path)
{
    return unlink(path) == 0 && symlink(under("nothing"), path) == 0;
}

static bool a_pipe(const char *path)
{
    return unlink(path) == 0 && mkfifo(path, 0600) == 0;
}

/* A terabyte that takes no room: whoever reads it does not come back. */
static bool huge(const char *path)
{
    return truncate(path, (off_t)1 << 40) == 0;
}

static const struct damage {
    const char *name;
    damage_fn make;
    const char *why;
} damages[] = {
    {"of another user", of_another_user, "it belongs to another user"},
    {"others may write", others_may_write, "others may write to it"},
    {"the group may write", the_group_may_write, "others may write to it"},
    {"a link", a_link, "it is a symbolic link"},
    {"a link to nothing", a_link_to_nothing, "it is a symbolic link"},
    {"a pipe", a_pipe, "it is not a plain file"},
    {"huge", huge, ""},
};

/* Make it; false: it cannot be made here. */
static bool made(const struct damage *d, const char *path)
{
    if (d->make(path))
        return true;
    printf("SKIPPED: %s takes root\n", d->name);
    return false;
}

/* A file of another, and links to it from every name that is written. */
static void set_traps(const char *const *names, size_t n)
{
    write_file(under("victim"), DEAR, sizeof DEAR - 1);
    for (size_t i = 0; i < n; i++) {
        unlink(names[i]);
        assert_int_equal(symlink(under("victim"), names[i]), 0);
    }
}

static void victim_is_well(void)
{
    char text[64];
    FILE *f = fopen(under("victim"), "rb");
    size_t n;

    assert_non_null(f);
    n = fread(text, 1, sizeof text, f);
    fclose(f);
    assert_int_equal(n, sizeof DEAR - 1);
    assert_memory_equal(text, DEAR, sizeof DEAR - 1);
}

/* ---- compiled programs ----------------------------------------------------------------------- */

static void programs(void **state)
{
    char path[CACHE_PATH];
    const char *folder = cache_filled(path);
    struct bytes good = read_file(path);

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(damages); i++) {
        struct stat s;

        write_file(path, good.at, good.n);
        if (!made(&damages[i], path))
            continue;
        cache_plan_once(folder, NULL, 8);
        if (heard.compiled != 1 || heard.warned != 1 || heard.errors)
            fail_msg("%s: compiled %d times, warned %d times", damages[i].name, heard.compiled, heard.warned);
        assert_says(damages[i].name, heard.warning, "is not usable and is dropped");
        assert_int_equal(lstat(path, &s), 0);
        assert_true(S_ISREG(s.st_mode) && s.st_uid == geteuid() && (s.st_mode & 0777) == 0600);
    }
    set_traps((const char *const[]){path}, 1);
    cache_plan_once(folder, NULL, 8);
    victim_is_well();
    free(good.at);
}

/* Each bit of the header, bits of the rest, and each length: none reaches the driver. */
static void every_bit(void **state)
{
    char path[CACHE_PATH];
    clgaze_context *ctx = cache_in(cache_filled(path));
    struct bytes good = read_file(path);
    const uint64_t key = strtoull(strrchr(path, '/') + 1, NULL, 16);
    const size_t stride = good.n / 64 + 1;
    cl_program program = NULL;

    (void)state;
    for (size_t at = 0; at < good.n; at += at < CACHE_HEADER ? 1 : stride)
        for (int bit = 0; bit < 8; bit++) {
            good.at[at] ^= (unsigned char)(1 << bit);
            write_file(path, good.at, good.n);
            good.at[at] ^= (unsigned char)(1 << bit);
            if (clg_bincache_load(ctx, key, &program, "") || access(path, F_OK) == 0)
                fail_msg("bit %d of byte %zu", bit, at);
        }
    for (size_t n = 0; n < good.n; n += n < CACHE_HEADER ? 1 : stride) {
        write_file(path, good.at, n);
        if (clg_bincache_load(ctx, key, &program, "") || access(path, F_OK) == 0)
            fail_msg("%zu of %zu bytes", n, good.n);
    }
    assert_null(program);
    free(good.at);
    clgaze_context_free(ctx);
}

/* Plan as on a card of this name; how often it compiled. */
static int on_card(const char *folder, const char *card)
{
    clgaze_context *ctx = cache_in(folder);

    snprintf(ctx->device.name, sizeof ctx->device.name, "%s", card);
    clgaze_plan_free(cache_plan(ctx, 8));
    clgaze_context_free(ctx);
    return heard.compiled;
}

/* What one card's driver made under the name of another's, and of another version's. */
static void swapped(void **state)
{
    char one[CACHE_PATH], two[CACHE_PATH];
    const char *folder = cache_filled(one);
    struct bytes first = read_file(one);

    (void)state;
    unlink(one);
    assert_int_equal(on_card(folder, "Another card"), 1); /* it does not take the first one's */
    assert_int_equal(entries(folder, two), 1);
    assert_string_not_equal(one, two);
    write_file(two, first.at, first.n);
    assert_int_equal(on_card(folder, "Another card"), 1);
    assert_int_equal(heard.warned, 1);
    assert_int_equal(on_card(folder, "Another card"), 0); /* a good one has taken its place */
    first.at[6]++;                                        /* of "clgaze1" */
    write_file(one, first.at, first.n);
    cache_plan_once(folder, NULL, 8);
    assert_int_equal(heard.compiled, 1);
    assert_int_equal(heard.warned, 1);
    free(first.at);
}

/* ---- tuned records --------------------------------------------------------------------------- */

static const char good_text[] = "clgaze-tuning 1\n";

/* The user's file of a context here, made by a save. */
static const char *stored(char path[CLG_MAX_PATH])
{
    clgaze_context *ctx = tuned_in(under("home"));

    tuned_put(ctx, tuned_record(ctx, "f16 d64 n8k", 5));
    assert_ok(clgaze_tuning_save(ctx, NULL));
    assert_true(clg_tuning_file(ctx, path));
    clgaze_context_free(ctx);
    return path;
}

static void records(void **state)
{
    char path[CLG_MAX_PATH];

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(damages); i++) {
        clgaze_context *ctx;

        unlink(under("elsewhere"));
        if (!made(&damages[i], stored(path)))
            continue;
        ctx = tuned_in(under("home"));
        if (heard.warned != 1 || heard.errors || tuned_time(ctx, "f16 d64 n8k") != 0)
            fail_msg("%s: warned %d times: %s", damages[i].name, heard.warned, heard.warning);
        assert_says(damages[i].name, heard.warning, damages[i].why);
        assert_int_equal(clgaze_tuning_load(ctx, path), CLGAZE_ERR_CACHE);
        assert_says(damages[i].name, heard.error[0], damages[i].why);
        clgaze_context_free(ctx);
        unlink(path);
    }
}

/* Links in the place of each file that a save writes. */
static void saving(void **state)
{
    char path[CLG_MAX_PATH], lock[CLG_MAX_PATH + 8], misses[CLG_MAX_PATH + 8];
    clgaze_context *ctx;

    (void)state;
    stored(path);
    snprintf(lock, sizeof lock, "%s.lock", path);
    snprintf(misses, sizeof misses, "%s.misses", path);
    ctx = tuned_in(under("home"));
    tuned_put(ctx, tuned_record(ctx, "f16 d64 n16k", 6));
    set_traps((const char *const[]){path, misses}, 2);
    assert_ok(clgaze_tuning_save(ctx, NULL)); /* in the link's place */
    victim_is_well();
    set_traps((const char *const[]){path, lock, misses}, 3);
    assert_int_equal(clgaze_tuning_save(ctx, NULL), CLGAZE_ERR_CACHE);
    victim_is_well();
    clgaze_context_free(ctx);
}

/* A folder that others may write to is not written to. */
static void shared_folders(void **state)
{
    static const mode_t modes[] = {0770, 0707, 01777};
    char path[CACHE_PATH];

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(modes); i++) {
        clgaze_context *ctx = cache_none();

        clg_release(ctx, ctx->tuning_dir);
        ctx->tuning_dir = clg_copy_text(ctx, under("shared"));
        assert_true(mkdir(under("shared"), 0700) == 0 || i > 0);
        assert_int_equal(chmod(under("shared"), modes[i]), 0);
        assert_int_equal(clg_bincache_open(ctx, under("shared")), CLGAZE_ERR_CACHE);
        assert_says("the log", heard.error[0], "others may write to it");
        tuned_put(ctx, tuned_record(ctx, "f16 d64 n8k", 5));
        assert_int_equal(clgaze_tuning_save(ctx, NULL), CLGAZE_ERR_CACHE);
        assert_says("the log", heard.error[1], "others may write to it");
        assert_int_equal(entries(under("shared"), path), 0);
        clgaze_context_free(ctx);
    }
}

/* ---- a file that cannot be read now -------------------------------------------------------------- */

/* In a child that is no longer root: 0, or the check that failed. */
static int save_unread(clgaze_context *ctx, const char *path)
{
    static struct clg_journal journal;

    if (geteuid() == 0 && (setgid(NOBODY) != 0 || setuid(NOBODY) != 0))
        return 8;
    forget_heard();
    if (clgaze_tuning_save(ctx, path) != CLGAZE_ERR_CACHE)
        return 1;
    if (!strstr(heard.error[0], "it cannot be opened; it is not written"))
        return 2;
    clg_journal_open(ctx, &journal, path);
    return journal.held || journal.n ? 3 : 0;
}

/* It may be good: neither a save nor a journal takes its place. */
static void unreadable(void **state)
{
    clgaze_context *ctx = tuned_in("");
    const char *path = under("open/x.tuning");
    struct stat s;
    int status = 0;
    pid_t child;

    (void)state;
    tuned_put(ctx, tuned_record(ctx, "f16 d64 n8k", 5));
    assert_int_equal(chmod(base, 0755), 0);
    assert_int_equal(mkdir(under("open"), 0700), 0);
    write_file(path, good_text, sizeof good_text - 1);
    assert_int_equal(chmod(path, 0), 0);
    if (geteuid() == 0)
        assert_true(chown(path, NOBODY, NOBODY) == 0 && chown(under("open"), NOBODY, NOBODY) == 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(save_unread(ctx, path)); /* nothing of the parent's is flushed or freed */
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 8)
        printf("SKIPPED: root may not become another user here\n");
    else
        assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(stat(path, &s), 0);
    assert_true((s.st_mode & 0777) == 0 && s.st_size == sizeof good_text - 1);
    clgaze_context_free(ctx);
}

/* ---- the journal ----------------------------------------------------------------------------------- */

static void journals(void **state)
{
    static struct clg_journal journal;
    clgaze_context *ctx = tuned_in("");
    const char *path = under("journal");

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(damages) - 1; i++) { /* of a huge one the beginning is read */
        unlink(path);
        write_file(path, "attend n8k: attend BM=8\n", 24);
        if (!made(&damages[i], path))
            continue;
        forget_heard();
        clg_journal_open(ctx, &journal, path);
        if (journal.n != 0 || heard.warned != 1)
            fail_msg("%s: %d lines, warned %d times", damages[i].name, journal.n, heard.warned);
        assert_says(damages[i].name, heard.warning, damages[i].why);
        clg_journal_close(&journal);
    }
    clgaze_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CACHE_TEST(programs), CACHE_TEST(every_bit),      CACHE_TEST(swapped),    CACHE_TEST(records),
        CACHE_TEST(saving),   CACHE_TEST(shared_folders), CACHE_TEST(unreadable), CACHE_TEST(journals),
    };

    return TEST_MAIN(tests);
}
