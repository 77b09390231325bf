/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_journal.c: the journal of the tuner: processes at once, one that ends, and files that
 * are none.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "journal.h"
#include "tuned.h"

static struct clg_journal one, two, three;

static void open_it(struct clg_journal *journal)
{
    clg_journal_open(test_context(), journal, under("journal"));
    assert_true(journal->held);
}

/* As if the process had ended: the system closes its files. */
static void die(struct clg_journal *journal)
{
    close(journal->fd);
}

static int files(void)
{
    char path[CACHE_PATH];

    return entries(under(""), path);
}

/* ---- two at once ------------------------------------------------------------------- */

/* What the other is at is none of mine, and what I end with is none of the other's. */
static void two_at_once(void **state)
{
    (void)state;
    open_it(&one);
    clg_journal_begin(&one, "pool a", "x");
    open_it(&two);
    assert_int_equal(two.n, 0);
    assert_false(clg_journal_refuses(&two, "pool a", "x"));
    clg_journal_begin(&two, "pool b", "y");
    clg_journal_end(&one);
    clg_journal_begin(&one, "pool a", "z");
    die(&two);
    open_it(&three); /* the first still lives */
    assert_true(clg_journal_refuses(&three, "pool b", "y"));
    assert_false(clg_journal_refuses(&three, "pool a", "z"));
    assert_false(clg_journal_refuses(&three, "pool a", "x")); /* which ended well */
    assert_int_equal(three.n, 1);
    clg_journal_close(&three);
    clg_journal_end(&one);
    clg_journal_close(&one);
    open_it(&one);
    assert_true(clg_journal_refuses(&one, "pool b", "y")); /* for good */
    assert_int_equal(one.n, 1);
    clg_journal_close(&one);
}

/* What ended an earlier run is known to those that come while another tunes. */
static void old_lines_are_everybodys(void **state)
{
    (void)state;
    write_file(under("journal"), "pool a: x\n", 10);
    open_it(&one);
    open_it(&two);
    assert_true(clg_journal_refuses(&one, "pool a", "x"));
    assert_true(clg_journal_refuses(&two, "pool a", "x"));
    clg_journal_begin(&one, "pool a", "y");
    open_it(&three);
    assert_true(clg_journal_refuses(&three, "pool a", "x"));
    assert_false(clg_journal_refuses(&three, "pool a", "y"));
    clg_journal_close(&three);
    clg_journal_close(&two);
    clg_journal_close(&one);
}

static void nothing_stays(void **state)
{
    (void)state;
    open_it(&one);
    open_it(&two);
    clg_journal_begin(&two, "pool a", "x");
    clg_journal_end(&two);
    clg_journal_close(&one);
    open_it(&three); /* where the first was */
    clg_journal_close(&two);
    clg_journal_close(&three);
    assert_int_equal(files(), 0);
}

/* ---- one that ends ------------------------------------------------------------------- */

/* A process of its own, killed: not even a handler may run. */
static void killed(const char *candidate)
{
    const pid_t child = fork();
    int status;

    if (child == 0) {
        clg_journal_open(test_context(), &two, under("journal"));
        clg_journal_begin(&two, "pool a", candidate);
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void killed_one_after_another(void **state)
{
    char line[CLG_JOURNAL_LINE];

    (void)state;
    assert_false(clg_journal_last(under("journal"), line));
    for (int i = 0; i < 5; i++) {
        const char name[] = {(char)('u' + i), '\0'};
        char wanted[] = "pool a: ?";

        killed(name);
        wanted[8] = name[0];
        assert_true(clg_journal_last(under("journal"), line));
        assert_string_equal(line, wanted);
    }
    open_it(&one);
    assert_int_equal(one.n, 5);
    clg_journal_begin(&one, "pool a", "z");
    assert_false(clg_journal_last(under("journal"), line)); /* that one lives */
    killed("t");
    assert_true(clg_journal_last(under("journal"), line));
    assert_string_equal(line, "pool a: t");
    clg_journal_close(&one);
}

/* ---- files that are none ---------------------------------------------------------------- */

static void any_bytes(void **state)
{
    struct rng random = seeded(11);
    static char junk[1 << 15];

    (void)state;
    for (int i = 0; i < 20; i++) {
        const size_t n = below(&random, sizeof junk);

        for (size_t at = 0; at < n; at++)
            junk[at] = (char)(below(&random, 8) ? 32 + below(&random, 96) : below(&random, 256));
        write_file(under("journal"), junk, n);
        open_it(&one);
        clg_journal_begin(&one, "pool a", "x");
        die(&one);
        open_it(&one);
        assert_true(one.n == CLG_JOURNAL_LINES || clg_journal_refuses(&one, "pool a", "x"));
        clg_journal_close(&one);
        unlink(under("journal"));
    }
}

static void cannot_be(void **state)
{
    static const char *const words[] = {"it is a symbolic link", "others may write to it", "it is not a plain file",
                                        "its folder does not exist"};
    clgaze_context *ctx = tuned_in("");
    struct stat s;

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(words); i++) {
        if (i == 0)
            assert_int_equal(symlink(under("victim"), under("journal")), 0);
        if (i == 1)
            write_file(under("journal"), "dear\n", 5);
        if (i == 1)
            assert_int_equal(chmod(under("journal"), 0666), 0);
        if (i == 2)
            assert_int_equal(mkfifo(under("journal"), 0600), 0);
        forget_heard();
        clg_journal_open(ctx, &one, i == 3 ? under("nosuch/journal") : under("journal"));
        assert_int_equal(heard.warned, 1);
        assert_says("the log", heard.warning, "cannot be written");
        assert_says("the log", heard.warning, words[i]);
        assert_false(one.held);
        clg_journal_begin(&one, "pool a", "x");
        clg_journal_end(&one);
        clg_journal_close(&one);
        assert_int_not_equal(stat(under("victim"), &s), 0);
        unlink(under("journal"));
    }
    clgaze_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CACHE_TEST(two_at_once),   CACHE_TEST(old_lines_are_everybodys),
        CACHE_TEST(nothing_stays), CACHE_TEST(killed_one_after_another),
        CACHE_TEST(any_bytes),     CACHE_TEST(cannot_be),
    };

    return TEST_MAIN(tests);
}
