/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_tune.c: clgaze_tune() on the device: ended at every step and resumed, candidates that
 * are wrong, and what it refuses.  The kernel is pool, the quickest to compile.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "spied.h"

enum { PROBLEMS = 2, MOST_TEXT = 4096 };

/* ---- help ------------------------------------------------------------------ */

static clgaze_context *spied_in(const char *folder)
{
    clgaze_context *ctx = tuned_in(folder);

    spy_on(ctx);
    return ctx;
}

/* What a run said. */
static struct run {
    clgaze_context *ctx;
    int reports, cancel_at; /* 0: never */
    int between;            /* reports between problems */
    int found;
    clgaze_tune_result result[PROBLEMS];
    bool save, saved_wrong;
    char avoid[CLG_COUNT(((clgaze_tune_result *)0)->best)];
} run;

static int on_progress(void *user, const clgaze_tune_progress *p)
{
    (void)user;
    run.reports++;
    run.between += !p->candidate;
    assert_true(p->problems == PROBLEMS && p->problems_done < PROBLEMS);
    if (run.avoid[0] && p->candidate)
        assert_string_not_equal(p->candidate, run.avoid);
    return run.reports == run.cancel_at;
}

static void on_found(void *user, const clgaze_tune_result *result)
{
    (void)user;
    assert_true(run.found < PROBLEMS);
    run.result[run.found++] = *result;
    if (run.save)
        run.saved_wrong = clgaze_tuning_save(run.ctx, NULL) != CLGAZE_OK;
}

/* Two problems that share their programs: lengths are arguments. */
static clgaze_problem problem_of(int i)
{
    return spy_problem(64 << i);
}

static const char *name_of(int i)
{
    return i ? "f32 d8 b8x8 n128" : "f32 d8 b8x8 n64";
}

static clgaze_status tune(clgaze_context *ctx, clgaze_tune_again again, int cancel_at, const char *journal)
{
    const clgaze_tune_options o = {
        .budget = 1000, .again = again, .journal = journal, .progress = on_progress, .found = on_found};
    const clgaze_problem p[PROBLEMS] = {problem_of(0), problem_of(1)};
    const clgaze_request requests[PROBLEMS] = {{.op = CLGAZE_POOL, .problem = &p[0]},
                                               {.op = CLGAZE_POOL, .problem = &p[1]}};
    char avoid[sizeof run.avoid];
    const bool save = ctx->tuning_dir != NULL;

    memcpy(avoid, run.avoid, sizeof avoid);
    memset(&run, 0, sizeof run);
    memcpy(run.avoid, avoid, sizeof avoid);
    run.ctx = ctx;
    run.cancel_at = cancel_at;
    run.save = save;
    forget_heard();
    return clgaze_tune(ctx, PROBLEMS, requests, &o);
}

/* The record of problem i, made by the tuner here or in an earlier run. */
static bool record_of(clgaze_context *ctx, int i, struct clg_record *r)
{
    return spy_record(ctx, name_of(i), r);
}

static void text_of(const struct clg_record *r, char text[96])
{
    struct clg_text out = {text, 96, 0};

    clg_space_print(r->kernel, r->values, &out);
}

/* ---- ended at every step ------------------------------------------------------ */

/* What is known after a run that was cancelled, then what a resumed run makes of it. */
static void resume(clgaze_context *ctx, const char *journal)
{
    struct clg_record before[PROBLEMS], after;
    bool known[PROBLEMS];
    int open = 0, turn = 0;
    char text[96];

    assert_ok(clgaze_tuning_clear(ctx)); /* a new process has what was saved */
    assert_ok(clgaze_tuning_load(ctx, NULL));
    for (int i = 0; i < PROBLEMS; i++) {
        known[i] = record_of(ctx, i, &before[i]);
        open += !known[i] || !before[i].finished;
    }
    assert_ok(tune(ctx, CLGAZE_TUNE_UNFINISHED, 0, journal));
    assert_int_equal(run.found, open); /* what was finished is not tuned again */
    for (int i = 0; i < PROBLEMS; i++) {
        assert_true(record_of(ctx, i, &after));
        assert_true(after.finished);
        if (known[i] && before[i].finished)
            continue;
        if (known[i]) { /* it goes on from what was found */
            text_of(&before[i], text);
            assert_string_equal(run.result[turn].before, text);
        }
        assert_int_equal(run.result[turn].tried, SPY_CANDIDATES);
        text_of(&after, text);
        assert_string_equal(run.result[turn++].best, text);
        spy_plan(ctx, 64 << i, text, NULL);
    }
}

static void cancelled_at_every_report(void **state)
{
    clgaze_context *ctx = spied_in(under("home"));
    char journal[CACHE_PATH], path[CACHE_PATH];
    clgaze_status st;
    int n = 1;

    (void)state;
    memcpy(journal, under("journal"), sizeof journal);
    for (;; n++) {
        assert_ok(clgaze_tuning_clear(ctx));
        st = tune(ctx, CLGAZE_TUNE_NEW, n, journal);
        assert_int_equal(access(journal, F_OK), -1); /* it names nothing */
        if (st == CLGAZE_OK)
            break;
        assert_int_equal(st, CLGAZE_ERR_CANCELLED);
        assert_says("the log", heard.error[0], "stopped by the caller");
        assert_int_equal(heard.errors, 1);
        assert_int_equal(run.reports, n);
        assert_false(run.saved_wrong);
        resume(ctx, journal);
        while (entries(under("home"), path) > 0)
            assert_int_equal(unlink(path), 0);
    }
    assert_true(n > PROBLEMS * (1 + SPY_CANDIDATES)); /* one before each candidate, one before each problem */
    assert_int_equal(run.between, PROBLEMS);
    assert_int_equal(run.found, PROBLEMS);
    clgaze_context_free(ctx);
}

/* ---- ended by a candidate --------------------------------------------------------- */

/* The journal and the store as they were while a candidate ran: what a crash leaves. */
static struct {
    const char *journal;
    int at, seen; /* take the at-th state of the journal */
    char last[MOST_TEXT], kept[MOST_TEXT];
} crash;

static void read_text(const char *path, char text[MOST_TEXT])
{
    FILE *f = fopen(path, "r");

    text[f ? fread(text, 1, MOST_TEXT - 1, f) : 0] = '\0';
    if (f)
        fclose(f);
}

static clgaze_status launch_and_look(struct clg_run *r)
{
    char now[MOST_TEXT];

    read_text(crash.journal, now);
    if (!r->warming && now[0] && strcmp(now, crash.last) != 0) {
        memcpy(crash.last, now, sizeof now);
        if (++crash.seen == crash.at)
            memcpy(crash.kept, now, sizeof now);
    }
    return clg_kernel_find("pool")->launch(r);
}

/* After a crash in the named candidate of the named problem. */
static void restart(clgaze_context *ctx, const char *journal)
{
    char line[MOST_TEXT], *problem = line + 5, *candidate;
    struct clg_record r;
    char text[96];

    memcpy(line, crash.kept, sizeof line);
    line[strcspn(line, "\n")] = '\0';
    candidate = strstr(line, ": ");
    assert_non_null(candidate);
    *candidate = '\0';
    candidate += 2;
    write_file(journal, crash.kept, strlen(crash.kept));
    assert_ok(clgaze_tuning_clear(ctx));
    assert_ok(tune(ctx, CLGAZE_TUNE_UNFINISHED, 0, journal));
    assert_true(heard.warned >= 2); /* when it is read, when it is skipped */
    assert_says("the log", heard.warning, "1 candidate ended an earlier run and is skipped");
    assert_int_equal(run.found, PROBLEMS);
    for (int i = 0; i < PROBLEMS; i++) {
        assert_true(record_of(ctx, i, &r));
        text_of(&r, text);
        if (strcmp(name_of(i), problem) == 0)
            assert_string_not_equal(text, candidate);
        spy_plan(ctx, 64 << i, text, NULL);
    }
    read_text(journal, line);
    assert_int_equal(line[strlen(line) - 1], '\n'); /* it is no longer under way */
    line[strlen(line) - 1] = '\0';
    assert_string_equal(line, crash.kept); /* for the run after, too */
}

static void crashed_at_every_candidate(void **state)
{
    clgaze_context *ctx = spied_in("");
    char journal[CACHE_PATH];

    (void)state;
    memcpy(journal, under("journal"), sizeof journal);
    spy.launch = launch_and_look;
    for (int at = 1;; at++) {
        assert_ok(clgaze_tuning_clear(ctx));
        unlink(journal);
        memset(&crash, 0, sizeof crash);
        crash.journal = journal;
        crash.at = at;
        assert_ok(tune(ctx, CLGAZE_TUNE_NEW, 0, journal));
        assert_int_equal(crash.seen, PROBLEMS * SPY_CANDIDATES); /* each was named before it ran */
        if (!crash.kept[0])
            break;
        restart(ctx, journal);
    }
    clgaze_context_free(ctx);
}

/* All that there is has ended the process before: the problem is left as it is. */
static void nothing_is_left(void **state)
{
    static const char text[] = "pool f32 d8 b8x8 n64: pool WG=64 VEC=8\n"
                               "pool f32 d8 b8x8 n64: pool WG=128 VEC=8\n"
                               "pool f32 d8 b8x8 n64: pool WG=256 VEC=8\n";
    clgaze_context *ctx = spied_in("");
    struct clg_record r;

    (void)state;
    write_file(under("journal"), text, sizeof text - 1);
    assert_ok(tune(ctx, CLGAZE_TUNE_NEW, 0, under("journal")));
    assert_int_equal(run.found, 1);
    assert_false(record_of(ctx, 0, &r));
    assert_true(record_of(ctx, 1, &r));
    spy_plan(ctx, 64, NULL, NULL);
    clgaze_context_free(ctx);
}

/* A journal is no place to follow a link from, and need not be one that can be written. */
static void journals_that_cannot_be(void **state)
{
    clgaze_context *ctx = spied_in("");

    (void)state;
    write_file(under("victim"), "dear\n", 5);
    assert_int_equal(symlink(under("victim"), under("journal")), 0);
    assert_ok(tune(ctx, CLGAZE_TUNE_NEW, 0, under("journal")));
    assert_says("the log", heard.warning, "it is a symbolic link");
    read_text(under("victim"), crash.last);
    assert_string_equal(crash.last, "dear\n");
    assert_ok(tune(ctx, CLGAZE_TUNE_ALL, 0, under("no folder/journal")));
    assert_says("the log", heard.warning, "cannot be written");
    assert_int_equal(run.found, PROBLEMS);
    clgaze_context_free(ctx);
}

/* ---- candidates that are wrong ----------------------------------------------------- */

static clgaze_status launch_some(struct clg_run *r)
{
    return r->n.sk > 60 && !r->warming ? CLGAZE_OK : clg_kernel_find("pool")->launch(r);
}

static clgaze_status launch_half(struct clg_run *r)
{
    struct clg_run half = *r;
    clgaze_status st;

    half.t.k_gate.buffer = NULL;
    st = clg_kernel_find("pool")->launch(&half);
    r->last = half.last;
    return st;
}

static clgaze_status launch_none(struct clg_run *r)
{
    return r->warming ? CLGAZE_OK : CLGAZE_ERR_OPENCL;
}

static const char *one(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    return values[0] != 64 ? "the test wants one" : spy_fits(device, p, values);
}

/* Quick for they do nothing: at the real size, on one side, at all; and one that does not build. */
static void the_wrong_are_never_chosen(void **state)
{
    static struct clg_kernel wrong[4];
    static const char *const names[] = {"pool_some", "pool_half", "pool_none", "pool_missing"};
    clgaze_context *ctx = spied_in("");

    (void)state;
    for (int i = 0; i < 4; i++) {
        wrong[i] = spy;
        wrong[i].name = names[i];
        wrong[i].fits = one;
        spy_table[1 + i] = &wrong[i];
    }
    wrong[0].launch = launch_some;
    wrong[1].launch = launch_half;
    wrong[2].launch = launch_none;
    wrong[3].entries = (const char *const[]){"no_such_kernel", NULL};
    assert_ok(tune(ctx, CLGAZE_TUNE_NEW, 0, NULL));
    for (int i = 0; i < PROBLEMS; i++) {
        assert_int_equal(run.result[i].refused, 4);
        assert_int_equal(run.result[i].tried, SPY_CANDIDATES);
        assert_memory_equal(run.result[i].best, "pool WG=", 8);
        spy_plan(ctx, 64 << i, run.result[i].best, NULL);
    }
    assert_int_equal(heard.errors, 0); /* it is news, not a failure */
    clgaze_context_free(ctx);
}

/* ---- a store that fails --------------------------------------------------------------- */

static void random_store(void **state)
{
    clgaze_context *ctx = spied_in(under("home"));
    struct rng random = seeded(5);
    char path[CLG_MAX_PATH], junk[3000];

    (void)state;
    assert_ok(tune(ctx, CLGAZE_TUNE_NEW, 0, NULL));
    assert_true(clg_tuning_file(ctx, path));
    clgaze_context_free(ctx);
    for (size_t i = 0; i < sizeof junk; i++)
        junk[i] = (char)below(&random, 256);
    write_file(path, junk, sizeof junk);

    ctx = spied_in(under("home"));
    assert_int_equal(heard.warned, 1);
    assert_says("the log", heard.warning, "it is not a tuning file of this version");
    spy_plan(ctx, 64, NULL, NULL);
    assert_ok(tune(ctx, CLGAZE_TUNE_NEW, 0, NULL));
    assert_int_equal(run.found, PROBLEMS);
    assert_false(run.saved_wrong);
    clgaze_context_free(ctx);

    ctx = spied_in(under("home")); /* it was written anew */
    assert_int_equal(heard.warned, 0);
    assert_ok(tune(ctx, CLGAZE_TUNE_NEW, 0, NULL));
    assert_int_equal(run.found, 0);
    clgaze_context_free(ctx);
}

/* Nothing can be written: what was found is used as long as the context lives. */
static void no_place_to_save(void **state)
{
    clgaze_context *ctx = spied_in(under("home"));
    struct rlimit was, few_bytes;

    (void)state;
    for (int i = 0; i < PROBLEMS; i++)
        spy_plan(ctx, 64 << i, NULL, NULL);
    assert_ok(tune(ctx, CLGAZE_TUNE_NEW, 0, NULL)); /* all is compiled now: compilers write, too */
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    signal(SIGXFSZ, SIG_IGN); /* the write says EFBIG, then */
    few_bytes = (struct rlimit){16, was.rlim_max};
    assert_ok(clgaze_tuning_clear(ctx));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &few_bytes), 0);
    assert_ok(tune(ctx, CLGAZE_TUNE_NEW, 0, under("journal")));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    assert_true(run.saved_wrong);
    assert_says("the log", heard.error[0], "cannot be written: the disk is full");
    assert_int_equal(run.found, PROBLEMS);
    for (int i = 0; i < PROBLEMS; i++)
        spy_plan(ctx, 64 << i, run.result[i].best, NULL);
    clgaze_context_free(ctx);
}

/* ---- what it refuses -------------------------------------------------------------------- */

static void bad_arguments(void **state)
{
    const clgaze_problem good = problem_of(0);
    clgaze_problem bad = good;
    const clgaze_request requests[] = {{.op = CLGAZE_POOL, .problem = &good},
                                       {.op = CLGAZE_POOL, .problem = NULL},
                                       {.op = CLGAZE_POOL, .problem = &bad}};
    const clgaze_tune_options o = {.budget = 5}, none = {.budget = 0}, nan = {.budget = 0.0 / 0.0};
    const struct {
        size_t first;
        const clgaze_tune_options *options;
        clgaze_status st;
        const char *words;
    } rows[] = {
        {0, NULL, CLGAZE_ERR_NULL, "options is NULL"},
        {0, &none, CLGAZE_ERR_VALUE, "options.budget is 0|more than 0"},
        {0, &nan, CLGAZE_ERR_VALUE, "options.budget is|more than 0"},
        {1, &o, CLGAZE_ERR_NULL, "requests[0].problem is NULL"},
        {2, &o, CLGAZE_ERR_SIZE, "problem.head_dim is 7"},
    };

    (void)state;
    bad.head_dim = 7;
    for (size_t i = 0; i < CLG_COUNT(rows); i++) {
        forget();
        assert_refused("clgaze_tune", clgaze_tune(test_context(), 1, requests + rows[i].first, rows[i].options),
                       rows[i].st, rows[i].words);
    }
    assert_int_equal(clgaze_tune(NULL, 0, NULL, &o), CLGAZE_ERR_NULL);
    assert_ok(clgaze_tune(test_context(), 0, NULL, &o));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CACHE_TEST(cancelled_at_every_report),
        CACHE_TEST(crashed_at_every_candidate),
        CACHE_TEST(nothing_is_left),
        CACHE_TEST(journals_that_cannot_be),
        cmocka_unit_test(the_wrong_are_never_chosen),
        CACHE_TEST(random_store),
        CACHE_TEST(no_place_to_save),
        cmocka_unit_test(bad_arguments),
    };

    return TEST_MAIN(tests);
}
