/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_tuning.c: the tuned records of a context: the user's file, forgetting, and what
 * a save must never lose.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tuned.h"

#define TITLE  "clgaze-tuning 1\n"
#define FUTURE "clgaze-tuning 2\nwho knows\n"

/* ---- help ------------------------------------------------------------------ */

static void write_text(const char *file, const char *text)
{
    write_file(file, text, strlen(text));
}

static void same_text(const char *file, const char *text)
{
    char now[4096];
    FILE *f = fopen(file, "r");
    size_t n;

    assert_non_null(f);
    n = fread(now, 1, sizeof now - 1, f);
    now[n] = '\0';
    fclose(f);
    assert_string_equal(now, text);
}

/* ---- the context ------------------------------------------------------------- */

static void records_outlive_the_context(void **state)
{
    clgaze_context *ctx = tuned_in(under("home"));

    (void)state;
    assert_ok(clgaze_tuning_load(ctx, NULL)); /* that there is none is no error */
    tuned_put(ctx, tuned_record(ctx, "f16 d64 n8k", 5));
    assert_ok(clgaze_tuning_save(ctx, NULL));
    clgaze_context_free(ctx);

    ctx = tuned_in(under("home"));
    assert_true(tuned_time(ctx, "f16 d64 n8k") == 5);
    assert_ok(clgaze_tuning_clear(ctx));
    assert_true(tuned_time(ctx, "f16 d64 n8k") == 0);
    assert_ok(clgaze_tuning_load(ctx, NULL)); /* the file stayed */
    assert_true(tuned_time(ctx, "f16 d64 n8k") == 5);
    assert_int_equal(heard.warned, 0);
    clgaze_context_free(ctx);
}

/* What tuning replaced comes back. */
static void clear_leaves_the_librarys(void **state)
{
    clgaze_context *ctx = tuned_in(under("home"));
    const size_t n = ctx->records->n;
    struct clg_record better;

    (void)state;
    assert_true(n > 0);
    better = ctx->records->at[0];
    assert_int_equal(better.origin, CLG_FROM_LIBRARY);
    better.us = 0.25; /* as none of the library's */
    better.origin = CLG_FROM_TUNER;
    tuned_put(ctx, better);
    tuned_put(ctx, tuned_record(ctx, "f16 d64 n8k", 5));
    assert_ok(clgaze_tuning_clear(ctx));
    assert_int_equal(ctx->records->n, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(ctx->records->at[i].origin, CLG_FROM_LIBRARY);
        assert_true(ctx->records->at[i].us != better.us || ctx->records->at[i].kernel != better.kernel);
    }
    clgaze_context_free(ctx);
}

/* Another card's records, loaded to learn from, do not come to lie in this one's file. */
static void save_keeps_to_this_device(void **state)
{
    clgaze_context *ctx = tuned_in(under("home"));
    struct clg_record other = tuned_record(ctx, "f16 d64 n16k", 6);

    (void)state;
    memset(other.device.uuid, 'e', sizeof other.device.uuid - 1);
    other.origin = CLG_FROM_FILE;
    tuned_put(ctx, other);
    tuned_put(ctx, tuned_record(ctx, "f16 d64 n8k", 5));
    assert_ok(clgaze_tuning_save(ctx, under("mine.tuning")));
    assert_ok(clgaze_tuning_clear(ctx));
    assert_ok(clgaze_tuning_load(ctx, under("mine.tuning")));
    for (size_t i = 0; i < ctx->records->n; i++)
        assert_string_not_equal(ctx->records->at[i].device.uuid, other.device.uuid);
    assert_true(tuned_time(ctx, "f16 d64 n8k") == 5);
    clgaze_context_free(ctx);
}

/* Load and save are merge, export and import: two files become one, of one problem the later. */
static void files_are_merged(void **state)
{
    clgaze_context *ctx = tuned_in(under("home"));
    const char *one = under("one.tuning"), *two = under("two.tuning"), *both = under("both.tuning");

    (void)state;
    tuned_put(ctx, tuned_record(ctx, "f16 d64 n8k", 5));
    tuned_put(ctx, tuned_record(ctx, "f16 d64 n16k", 6));
    assert_ok(clgaze_tuning_save(ctx, NULL));
    clgaze_context_free(ctx);
    ctx = tuned_in(under("home"));
    assert_ok(clgaze_tuning_save(ctx, one)); /* of the user's file, too */
    assert_ok(clgaze_tuning_clear(ctx));
    tuned_put(ctx, tuned_record(ctx, "f16 d64 n8k", 4));
    tuned_put(ctx, tuned_record(ctx, "f16 d64 n32k", 7));
    assert_ok(clgaze_tuning_save(ctx, two));
    assert_ok(clgaze_tuning_clear(ctx));
    assert_ok(clgaze_tuning_load(ctx, one));
    assert_true(tuned_time(ctx, "f16 d64 n8k") == 5);
    assert_ok(clgaze_tuning_load(ctx, two));
    assert_ok(clgaze_tuning_save(ctx, both));
    clgaze_context_free(ctx);

    ctx = tuned_in("");
    assert_ok(clgaze_tuning_load(ctx, both));
    assert_true(tuned_time(ctx, "f16 d64 n8k") == 4);
    assert_true(tuned_time(ctx, "f16 d64 n16k") == 6);
    assert_true(tuned_time(ctx, "f16 d64 n32k") == 7);
    clgaze_context_free(ctx);
}

/* A file of another device teaches, and is not this device's. */
static void a_file_of_another_device(void **state)
{
    clgaze_context *ctx = tuned_in("");
    struct clg_records *others = clg_records_new(ctx);
    struct clg_record r = tuned_record(ctx, "f16 d64 n8k", 6);
    const char *file = under("other.tuning");

    (void)state;
    assert_non_null(others);
    memset(r.device.uuid, 'e', sizeof r.device.uuid - 1);
    assert_ok(clg_records_put(ctx, others, &r));
    assert_ok(clg_records_save(ctx, others, CLG_FROM_TUNER, file));
    assert_ok(clgaze_tuning_load(ctx, file));
    assert_true(tuned_time(ctx, "f16 d64 n8k") == 0);
    assert_true(clg_records_find(ctx->records, &ctx->device, "attend", "f16 d64 n8k", 3, &r));
    assert_true(r.us == 6);
    assert_int_equal(heard.warned, 0);
    clg_records_free(ctx, others);
    clgaze_context_free(ctx);
}

/* Whatever lies there: a context, a warning at most, and the file as it was. */
static void a_bad_file_of_the_users(void **state)
{
    static const char *const texts[] = {"", "\177ELF", FUTURE, TITLE "attend\n"};
    clgaze_context *ctx = tuned_in(under("home"));
    char path[CLG_MAX_PATH];

    (void)state;
    tuned_put(ctx, tuned_record(ctx, "f16 d64 n8k", 5));
    assert_ok(clgaze_tuning_save(ctx, NULL));
    assert_true(clg_tuning_file(ctx, path));
    clgaze_context_free(ctx);
    for (size_t i = 0; i < CLG_COUNT(texts); i++) {
        write_text(path, texts[i]);
        ctx = tuned_in(under("home"));
        assert_int_equal(heard.warned, 1);
        assert_int_equal(heard.errors, 0);
        assert_true(tuned_time(ctx, "f16 d64 n8k") == 0);
        clgaze_context_free(ctx);
        same_text(path, texts[i]);
    }
}

/* A context that takes its folder from this HOME. */
static clgaze_context *context_at(const char *home)
{
    const char *const names[] = {"CLGAZE_CACHE_DIR", "XDG_CACHE_HOME", "HOME"};
    clgaze_context *ctx;
    char *kept[3];

    for (int i = 0; i < 3; i++) {
        const char *old = getenv(names[i]);

        kept[i] = old ? strdup(old) : NULL;
        assert_int_equal(i == 2 && home ? setenv(names[i], home, 1) : unsetenv(names[i]), 0);
    }
    ctx = tuned_in(NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kept[i] ? setenv(names[i], kept[i], 1) : unsetenv(names[i]), 0);
        free(kept[i]);
    }
    return ctx;
}

static void no_home(void **state)
{
    clgaze_context *ctx = context_at(NULL);

    (void)state;
    tuned_put(ctx, tuned_record(ctx, "f16 d64 n8k", 5));
    assert_ok(clgaze_tuning_load(ctx, NULL));
    assert_int_equal(clgaze_tuning_save(ctx, NULL), CLGAZE_ERR_CACHE);
    assert_says("the log", heard.error[0], "there is no folder to keep tuned records in");
    clgaze_context_free(ctx);

    write_text(under("plain"), "x");
    ctx = context_at(under("plain/home")); /* cannot exist, cannot be made */
    tuned_put(ctx, tuned_record(ctx, "f16 d64 n8k", 5));
    assert_int_equal(clgaze_tuning_save(ctx, NULL), CLGAZE_ERR_CACHE);
    assert_says("the log", heard.error[0], "cannot hold tuned records: it cannot be made");
    clgaze_context_free(ctx);

    ctx = context_at(under("new")); /* is made when there is something to keep */
    assert_int_equal(heard.warned, 0);
    tuned_put(ctx, tuned_record(ctx, "f16 d64 n8k", 5));
    assert_ok(clgaze_tuning_save(ctx, NULL));
    assert_int_equal(access(under("new/.cache/clgaze"), F_OK), 0);
    clgaze_context_free(ctx);
}

/* ---- saving --------------------------------------------------------------------- */

static void the_future_is_kept(void **state)
{
    clgaze_context *ctx = tuned_in("");
    const char *file = under("x.tuning");

    (void)state;
    tuned_put(ctx, tuned_record(ctx, "f16 d64 n8k", 5));
    write_text(file, FUTURE);
    assert_int_equal(clgaze_tuning_save(ctx, file), CLGAZE_ERR_CACHE);
    assert_says("the log", heard.error[0], "a later version");
    same_text(file, FUTURE);
    clgaze_context_free(ctx);
}

static int left; /* allocations before the one that fails */

static void *scarce(void *user, size_t size)
{
    (void)user;
    return left-- == 0 ? NULL : malloc(size);
}

static void freed(void *user, void *p)
{
    (void)user;
    free(p);
}

/* Records that memory did not suffice to read are still there. */
static void no_memory_loses_nothing(void **state)
{
    const char *file = under("x.tuning");
    clgaze_context_options o = test_options();
    clgaze_context *ctx = NULL;
    clgaze_status st;

    (void)state;
    o.log = hear;
    o.alloc = scarce;
    o.release = freed;
    left = 1 << 30;
    assert_ok(clgaze_context_create(&o, &ctx));
    tuned_put(ctx, tuned_record(ctx, "f16 d64 n8k", 5));
    assert_ok(clgaze_tuning_save(ctx, file));
    assert_ok(clgaze_tuning_clear(ctx));
    tuned_put(ctx, tuned_record(ctx, "f16 d64 n16k", 6));
    left = -1;
    for (int n = 0; left < 0; n++) { /* until none fails */
        left = n;
        st = clgaze_tuning_save(ctx, file);
        assert_int_equal(st, left < 0 ? CLGAZE_ERR_NO_MEMORY : CLGAZE_OK);
    }
    left = 1 << 30;
    assert_ok(clgaze_tuning_clear(ctx));
    assert_ok(clgaze_tuning_load(ctx, file));
    assert_true(tuned_time(ctx, "f16 d64 n8k") == 5 && tuned_time(ctx, "f16 d64 n16k") == 6);
    clgaze_context_free(ctx);
}

/* Save in a process of its own after `limit`; it must fail and leave the file. */
static void fails_under(clgaze_context *ctx, const char *file, void (*limit)(void))
{
    int status;
    const pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        limit();
        _exit(clgaze_tuning_save(ctx, file) == CLGAZE_ERR_CACHE ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void full_disk(void)
{
    const struct rlimit few = {16, 16};

    signal(SIGXFSZ, SIG_IGN); /* the write says EFBIG, then */
    if (setrlimit(RLIMIT_FSIZE, &few) != 0)
        _exit(2);
}

static void nobody(void)
{
    if (geteuid() == 0 && seteuid(65534) != 0) /* root may write anywhere */
        _exit(2);
}

static void full_or_read_only(void **state)
{
    clgaze_context *ctx = tuned_in("");
    char file[CACHE_PATH + 16], last[CACHE_PATH];
    const char *folder = under("folder");

    (void)state;
    snprintf(file, sizeof file, "%s/x.tuning", folder);
    assert_int_equal(mkdir(folder, 0755), 0);
    assert_int_equal(chmod(base, 0755), 0);
    write_text(file, TITLE);
    tuned_put(ctx, tuned_record(ctx, "f16 d64 n8k", 5));
    fails_under(ctx, file, full_disk);
    same_text(file, TITLE);
    assert_int_equal(entries(folder, last), 2); /* it and its lock: nothing half written */
    assert_int_equal(chmod(folder, 0555), 0);
    fails_under(ctx, file, nobody);
    same_text(file, TITLE);
    assert_int_equal(chmod(folder, 0755), 0);
    assert_ok(clgaze_tuning_save(ctx, file)); /* it was for these reasons */
    clgaze_context_free(ctx);
}

static void links_are_not_followed(void **state)
{
    clgaze_context *ctx = tuned_in("");
    const char *file = under("x.tuning"), *victim = under("victim");

    (void)state;
    tuned_put(ctx, tuned_record(ctx, "f16 d64 n8k", 5));
    write_text(victim, TITLE "# dear\n");
    assert_int_equal(symlink(victim, file), 0);
    assert_int_equal(clgaze_tuning_load(ctx, file), CLGAZE_ERR_CACHE);
    assert_ok(clgaze_tuning_save(ctx, file)); /* in the link's place */
    same_text(victim, TITLE "# dear\n");
    assert_int_equal(unlink(under("x.tuning.lock")), 0);
    assert_int_equal(symlink(under("not yet"), under("x.tuning.lock")), 0);
    assert_int_equal(clgaze_tuning_save(ctx, file), CLGAZE_ERR_CACHE);
    assert_int_equal(access(under("not yet"), F_OK), -1);
    clgaze_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CACHE_TEST(records_outlive_the_context),
        CACHE_TEST(clear_leaves_the_librarys),
        CACHE_TEST(save_keeps_to_this_device),
        CACHE_TEST(files_are_merged),
        CACHE_TEST(a_file_of_another_device),
        CACHE_TEST(a_bad_file_of_the_users),
        CACHE_TEST(no_home),
        CACHE_TEST(the_future_is_kept),
        CACHE_TEST(no_memory_loses_nothing),
        CACHE_TEST(full_or_read_only),
        CACHE_TEST(links_are_not_followed),
    };

    return TEST_MAIN(tests);
}
