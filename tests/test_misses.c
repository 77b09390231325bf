/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_misses.c: the policy of tuned records, and problems that were planned without one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "misses.h"
#include "spied.h"

/* ---- help ------------------------------------------------------------------ */

static _Atomic int launches;

static clgaze_status launch_and_count(struct clg_run *r)
{
    launches++;
    return clg_kernel_find("pool")->launch(r);
}

/* A context that knows pool alone. */
static clgaze_context *with(const char *folder, clgaze_tuning_policy policy, int ms, int remember)
{
    clgaze_context_options o = test_options();
    clgaze_context *ctx = NULL;

    o.log = hear;
    o.log_level = CLGAZE_LOG_WARN;
    o.cache_dir = folder;
    o.tuning = policy;
    o.tuning_ms = ms;
    o.remember = remember;
    forget_heard();
    assert_ok(clgaze_context_create(&o, &ctx));
    clg_release(ctx, ctx->cache_dir); /* of records alone: no compiled programs in the folder */
    ctx->cache_dir = NULL;
    spy_on(ctx);
    spy.launch = launch_and_count;
    return ctx;
}

/* ---- the policy ----------------------------------------------------------------- */

static void which_record_is_used(void **state)
{
    static const struct {
        clgaze_tuning_policy policy;
        const char *own, *other, *likely; /* reasons: with a record of this problem, of another device, length */
    } rows[] = {
        {CLGAZE_TUNING_NEAREST, "tuned on this device", "of the same vendor", "for another length"},
        {CLGAZE_TUNING_STORED, "tuned on this device", "first in the table", "for another length"},
        {CLGAZE_TUNING_NONE, "first in the table", "first in the table", "first in the table"},
    };

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(rows); i++) {
        clgaze_context *ctx = with("", rows[i].policy, 0, 0);
        struct clg_record r = tuned_record(ctx, "f32 d8 b8x8 n64", 5), other;

        clg_records_forget(ctx->records, CLG_FROM_LIBRARY);
        r.kernel = &spy;
        r.values[0] = 128;
        r.values[1] = 8;
        other = r;
        memset(other.device.uuid, 'e', sizeof other.device.uuid - 1);
        tuned_put(ctx, other);
        spy_plan(ctx, 64, NULL, rows[i].other);
        other = r;
        snprintf(other.problem, sizeof other.problem, "f32 d8 b8x8 n1k");
        tuned_put(ctx, other);
        spy_plan(ctx, 64, NULL, rows[i].likely);
        tuned_put(ctx, r);
        spy_plan(ctx, 64, NULL, rows[i].own);
        assert_int_equal(heard.warned + heard.errors, 0);
        clgaze_context_free(ctx);
    }
}

static void options_out_of_range(void **state)
{
    static const struct {
        int policy, ms, remember;
        const char *words;
    } rows[] = {
        {4, 0, 0, "options.tuning is 4|0..3"},
        {-1, 0, 0, "options.tuning is -1"},
        {CLGAZE_TUNING_PLAN, 0, 0, "options.tuning_ms is 0|1..600000"},
        {CLGAZE_TUNING_PLAN, 600001, 0, "options.tuning_ms is 600001"},
        {CLGAZE_TUNING_NEAREST, 0, 2, "options.remember is 2"},
    };

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(rows); i++) {
        clgaze_context_options o = test_options();
        clgaze_context *ctx = NULL;

        o.tuning = (clgaze_tuning_policy)rows[i].policy;
        o.tuning_ms = rows[i].ms;
        o.remember = rows[i].remember;
        forget();
        assert_refused("context", clgaze_context_create(&o, &ctx), CLGAZE_ERR_VALUE, rows[i].words);
        assert_null(ctx);
    }
}

/* Once a problem and context, and never for a plan that says what it wants. */
static void a_plan_is_tuned(void **state)
{
    clgaze_context *ctx = with(under("home"), CLGAZE_TUNING_PLAN, 60000, 0);
    clgaze_problem p = spy_problem(64);
    struct clg_record first, r;
    clgaze_plan *plan = NULL;
    char path[CACHE_PATH], text[96];
    struct clg_text out = {text, sizeof text, 0};
    int before;

    (void)state;
    clg_records_forget(ctx->records, CLG_FROM_LIBRARY);
    p.kernel = "pool";
    assert_ok(clgaze_plan_create(ctx, CLGAZE_POOL, &p, &plan));
    clgaze_plan_free(plan);
    assert_false(spy_record(ctx, "f32 d8 b8x8 n64", &r));
    p.kernel = NULL;
    assert_ok(clgaze_supports(ctx, CLGAZE_POOL, &p, NULL, 0)); /* asks only */
    assert_false(spy_record(ctx, "f32 d8 b8x8 n64", &r));
    spy_plan(ctx, 64, NULL, "tuned on this device");
    assert_true(spy_record(ctx, "f32 d8 b8x8 n64", &first));
    assert_true(first.finished && first.origin == CLG_FROM_TUNER);
    before = launches;
    clg_space_print(first.kernel, first.values, &out);
    spy_plan(ctx, 64, text, "tuned on this device");
    assert_true(launches - before <= 2);               /* it was warmed and run */
    assert_int_equal(entries(under("home"), path), 0); /* nothing is left behind */
    assert_int_equal(heard.warned + heard.errors, 0);
    clgaze_context_free(ctx);
}

/* Too little time to compare: the plan is as it would have been, and the next does not try again. */
static void a_plan_in_a_hurry(void **state)
{
    clgaze_context *ctx = with("", CLGAZE_TUNING_PLAN, 1, 0);
    int before;

    (void)state;
    spy_plan(ctx, 64, NULL, NULL);
    before = launches;
    spy_plan(ctx, 64, NULL, NULL);
    assert_true(launches - before <= 2);
    assert_int_equal(heard.warned + heard.errors, 0);
    clgaze_context_free(ctx);
}

static void *plan_in_a_thread(void *user)
{
    const clgaze_problem p = spy_problem(64);
    clgaze_plan *plan = NULL;
    const clgaze_status st = clgaze_plan_create(user, CLGAZE_POOL, &p, &plan);

    clgaze_plan_free(plan);
    return st == CLGAZE_OK ? NULL : user;
}

/* Whoever comes first tunes. */
static void plans_in_threads(void **state)
{
    clgaze_context *ctx;
    pthread_t thread[4];
    struct clg_record r;

    (void)state;
    skip_simulated("runs one kernel at a time, or aborts");
    ctx = with("", CLGAZE_TUNING_PLAN, 60000, 1);
    for (size_t i = 0; i < CLG_COUNT(thread); i++)
        assert_int_equal(pthread_create(&thread[i], NULL, plan_in_a_thread, ctx), 0);
    for (size_t i = 0; i < CLG_COUNT(thread); i++) {
        void *failed;

        assert_int_equal(pthread_join(thread[i], &failed), 0);
        assert_null(failed);
    }
    assert_true(spy_record(ctx, "f32 d8 b8x8 n64", &r) && r.finished);
    assert_int_equal(clgaze_tuning_misses(ctx, NULL, NULL, 0), 0);
    assert_int_equal(heard.warned + heard.errors, 0);
    clgaze_context_free(ctx);
}

/* What cannot be tuned can still be planned. */
static void tuning_that_fails(void **state)
{
    static const char text[] = "pool f32 d8 b8x8 n64: pool WG=64 VEC=8\n"
                               "pool f32 d8 b8x8 n64: pool WG=128 VEC=8\n"
                               "pool f32 d8 b8x8 n64: pool WG=256 VEC=8\n";
    clgaze_context *ctx = with(under("home"), CLGAZE_TUNING_PLAN, 60000, 0);
    char path[CLG_MAX_PATH], journal[CLG_MAX_PATH + 16];
    struct clg_record r;

    (void)state;
    clg_records_forget(ctx->records, CLG_FROM_LIBRARY);
    assert_null(clg_folder_distrust(under("home")));
    assert_true(clg_tuning_file(ctx, path));
    snprintf(journal, sizeof journal, "%s.journal", path);
    write_file(journal, text, sizeof text - 1); /* all have ended the process */
    spy_plan(ctx, 64, NULL, "first in the table");
    assert_false(spy_record(ctx, "f32 d8 b8x8 n64", &r));
    assert_true(heard.warned > 0);
    assert_int_equal(heard.errors, 0);
    clgaze_context_free(ctx);
}

/* ---- what is remembered ------------------------------------------------------------ */

static size_t listed(clgaze_context *ctx, clgaze_problem *problems)
{
    clgaze_op ops[CLG_MOST_MISSES];
    const size_t n = clgaze_tuning_misses(ctx, ops, problems, CLG_MOST_MISSES);

    for (size_t i = 0; i < n; i++)
        assert_int_equal(ops[i], CLGAZE_POOL);
    return n;
}

/* From a plan in an app to the tuner in another process. */
static void missed_then_tuned(void **state)
{
    static clgaze_problem problems[CLG_MOST_MISSES];
    const clgaze_tune_options options = {.budget = 1000};
    char path[CACHE_PATH];
    clgaze_request request = {.op = CLGAZE_POOL, .problem = problems};
    clgaze_context *ctx;

    (void)state;
    ctx = with(under("home"), CLGAZE_TUNING_NEAREST, 0, 0); /* nobody asked for it */
    spy_plan(ctx, 64, NULL, NULL);
    clgaze_context_free(ctx);
    assert_int_equal(entries(under("home"), path), 0);

    ctx = with(under("home"), CLGAZE_TUNING_NEAREST, 0, 1);
    spy_plan(ctx, 64, NULL, NULL);
    spy_plan(ctx, 64, NULL, NULL);
    assert_int_equal(listed(ctx, NULL), 1);
    assert_int_equal(entries(under("home"), path), 0); /* not before it is freed */
    clgaze_context_free(ctx);
    assert_int_equal(heard.warned, 0);

    ctx = with(under("home"), CLGAZE_TUNING_NEAREST, 0, 0);
    assert_int_equal(listed(ctx, problems), 1);
    assert_int_equal(problems[0].max_q, 64);
    assert_int_equal(problems[0].head_dim, 8);
    assert_ok(clgaze_tune(ctx, 1, &request, &options));
    assert_int_equal(listed(ctx, problems), 0); /* it has a record */
    clgaze_context_free(ctx);

    ctx = with(under("home"), CLGAZE_TUNING_NEAREST, 0, 0);
    assert_int_equal(listed(ctx, problems), 1); /* that was not saved */
    assert_ok(clgaze_tune(ctx, 1, &request, &options));
    assert_ok(clgaze_tuning_save(ctx, NULL));
    clgaze_context_free(ctx);

    ctx = with(under("home"), CLGAZE_TUNING_NEAREST, 0, 1);
    assert_ok(clgaze_tuning_clear(ctx));
    assert_int_equal(listed(ctx, problems), 0); /* the file is gone */
    clgaze_context_free(ctx);
}

static void note(clgaze_context *ctx, int length)
{
    const clgaze_problem p = spy_problem(length);

    clg_misses_note(ctx, CLGAZE_POOL, &p);
}

/* A plan misses what it is made of; a miss is one of all operations, and goes when it has a record. */
static void every_operation(void **state)
{
    static const struct {
        clgaze_op op, missed[6];
        size_t n;
    } rows[] = {
        {CLGAZE_TRUTH, {CLGAZE_TRUTH}, 1},
        {CLGAZE_ATTEND_BWD, {CLGAZE_ATTEND_BWD}, 1},
        {CLGAZE_DISTILL, {CLGAZE_GATE, CLGAZE_SCORE, CLGAZE_DISTILL}, 3},
        {CLGAZE_PREFILL, {CLGAZE_POOL, CLGAZE_GATE, CLGAZE_SCORE, CLGAZE_SELECT, CLGAZE_ATTEND, CLGAZE_PREFILL}, 6},
    };

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(rows); i++) {
        clgaze_context *ctx = with(under("home"), CLGAZE_TUNING_NEAREST, 0, 1);
        clgaze_problem p = spy_problem(64), problems[6];
        clgaze_op ops[6];
        char path[CACHE_PATH], name[96];

        p.auto_density = 0.5;
        p.rule = CLGAZE_TOP_P;
        p.value = 0.7;
        clg_misses_note(ctx, rows[i].op, &p);
        clgaze_context_free(ctx);
        ctx = with(under("home"), CLGAZE_TUNING_NEAREST, 0, 1);
        clg_records_forget(ctx->records, CLG_FROM_LIBRARY);
        assert_int_equal(clgaze_tuning_misses(ctx, ops, problems, CLG_COUNT(ops)), rows[i].n);
        for (size_t j = 0; j < rows[i].n; j++) {
            struct clg_record r = tuned_record(ctx, "", 1);

            assert_int_equal(ops[j], rows[i].missed[j]);
            assert_int_equal(problems[j].max_q, 64);
            r.kernel = ops[j] == CLGAZE_PREFILL ? &clg_kernel_dense : clg_kernel_find(clg_op_name(ops[j]));
            clg_space_default(r.kernel, r.values);
            assert_ok(clgaze_tuning_problem(ctx, ops[j], &problems[j], name, sizeof name));
            snprintf(r.problem, sizeof r.problem, "%s", strchr(name, ' ') + 1);
            tuned_put(ctx, r);
            assert_int_equal(clgaze_tuning_misses(ctx, NULL, NULL, 0), rows[i].n - j - 1);
        }
        clgaze_context_free(ctx);
        while (entries(under("home"), path) > 0)
            assert_int_equal(unlink(path), 0);
    }
}

/* Two contexts at once lose nothing; of too many the newest stay. */
static void several_writers(void **state)
{
    static clgaze_problem problems[CLG_MOST_MISSES];
    clgaze_context *one = with(under("home"), CLGAZE_TUNING_NEAREST, 0, 1);
    clgaze_context *two = with(under("home"), CLGAZE_TUNING_NEAREST, 0, 1);
    clgaze_context *ctx;

    (void)state;
    note(one, 64);
    note(two, 128);
    note(two, 64);
    clgaze_context_free(one);
    clgaze_context_free(two);
    ctx = with(under("home"), CLGAZE_TUNING_NEAREST, 0, 1);
    assert_int_equal(listed(ctx, problems), 2);
    for (int dim = 8; dim <= 256; dim += 8)
        for (int length = 64; length <= 256; length *= 2) { /* 96 of them */
            clgaze_problem p = spy_problem(length);

            p.head_dim = dim;
            clg_misses_note(ctx, CLGAZE_POOL, &p);
        }
    clgaze_context_free(ctx);
    ctx = with(under("home"), CLGAZE_TUNING_NEAREST, 0, 0);
    assert_int_equal(listed(ctx, problems), CLG_MOST_MISSES);
    assert_int_equal(problems[CLG_MOST_MISSES - 1].head_dim, 256);
    assert_int_equal(problems[0].head_dim, 256 - 8 * (CLG_MOST_MISSES / 3)); /* three lengths each */
    assert_int_equal(clgaze_tuning_misses(ctx, NULL, problems, 1), CLG_MOST_MISSES);
    clgaze_context_free(ctx);
}

/* Whatever the file holds, a context works; what is no problem that can be planned is left out. */
static void a_bad_file(void **state)
{
    static const char *const texts[] = {
        "",
        "junk",
        "clgaze-misses 2\npool q_heads=2 kv_heads=1 head_dim=8 max_q=64 max_k=64\n",
        "clgaze-misses 1\npool q_heads=2\n",
        "clgaze-misses 1\npool q_heads=2 kv_heads=1 head_dim=9 max_q=64 max_k=64\n",
        "clgaze-misses 1\npool q_heads=2 kv_heads=1 head_dim=8 max_q=99999999999 max_k=64\n",
        "clgaze-misses 1\nmill q_heads=2 kv_heads=1 head_dim=8 max_q=64 max_k=64\n",
        "clgaze-misses 1\nprefill q_heads=2 kv_heads=1 head_dim=8 max_q=64 max_k=64\n",
        "clgaze-misses 1\npool q_heads=2 kv_heads=1 head_dim=8 max_q=64 max_k=6x\n",
        "clgaze-misses 1\npool q_heads=2 kv_heads=1 head_dim=8 max_q=64 max_k=64 width=\n",
        "clgaze-misses 1\npool = == q_heads\n",
    };
    clgaze_context *ctx = with(under("home"), CLGAZE_TUNING_NEAREST, 0, 0);
    char store[CLG_MAX_PATH], path[CLG_MAX_PATH + 16];

    (void)state;
    assert_null(clg_folder_distrust(under("home")));
    assert_true(clg_tuning_file(ctx, store));
    snprintf(path, sizeof path, "%s.misses", store);
    for (size_t i = 0; i < CLG_COUNT(texts); i++) {
        write_file(path, texts[i], strlen(texts[i]));
        if (listed(ctx, NULL) != 0)
            fail_msg("text %zu is a miss", i);
    }
    assert_int_equal(heard.errors, 0);
    assert_int_equal(chmod(path, 0666), 0); /* anybody's */
    assert_int_equal(listed(ctx, NULL), 0);
    assert_says("the log", heard.warning, "others may write to it");
    clgaze_context_free(ctx);

    assert_int_equal(unlink(path), 0);
    write_file(under("victim"), "dear", 4);
    assert_int_equal(symlink(under("victim"), path), 0);
    ctx = with(under("home"), CLGAZE_TUNING_NEAREST, 0, 1);
    note(ctx, 64);
    assert_int_equal(listed(ctx, NULL), 1);
    clgaze_context_free(ctx); /* in the link's place */
    ctx = with(under("home"), CLGAZE_TUNING_NEAREST, 0, 0);
    assert_int_equal(listed(ctx, NULL), 1);
    clgaze_context_free(ctx);
}

static void no_folder(void **state)
{
    clgaze_context *ctx = with("", CLGAZE_TUNING_NEAREST, 0, 1);

    (void)state;
    note(ctx, 64);
    assert_int_equal(listed(ctx, NULL), 1); /* for as long as it lives */
    clgaze_context_free(ctx);
    assert_int_equal(heard.warned, 0);
    assert_int_equal(clgaze_tuning_misses(NULL, NULL, NULL, 0), 0);

    ctx = with(under("home"), CLGAZE_TUNING_NEAREST, 0, 1);
    note(ctx, 64);
    assert_int_equal(chmod(under("home"), 0777), 0);
    clgaze_context_free(ctx);
    assert_int_equal(heard.warned, 1);
    assert_says("the log", heard.warning, "problems to tune are not kept");
}

/* ---- as text ---------------------------------------------------------------------- */

static void there_and_back(void **state)
{
    static struct clg_miss_list one, two;
    struct rng r = seeded(9);

    (void)state;
    for (int i = 0; i < 50; i++) {
        struct clg_miss miss = {.op = (clgaze_op)below(&r, CLG_STAGES), .problem = clgaze_problem_default()};
        clgaze_problem *p = &miss.problem;

        p->dtype = (clgaze_dtype)below(&r, 3);
        p->kv_heads = 1 + (int)below(&r, 4);
        p->q_heads = p->kv_heads * (1 + (int)below(&r, 4));
        p->head_dim = 8 * (1 + (int)below(&r, 32));
        p->block_q = 4 + (int)below(&r, 100);
        p->max_q = 1 + (int)below(&r, 100000);
        p->max_k = 1 + (int)below(&r, 100000);
        p->causal = (int)below(&r, 2);
        p->rule = (clgaze_rule)below(&r, 5);
        p->value = p->rule == CLGAZE_TOP_K || p->rule == CLGAZE_BUDGET ? 1 + below(&r, 1000) : 0.25;
        p->rope_pairs = p->head_dim / 2;
        assert_ok(clgaze_tuning_problem(test_context(), miss.op, p, miss.name, sizeof miss.name));
        clg_misses_add(&one, &miss);
    }
    char *text = calloc(1, 1 << 16);
    struct clg_text out = {text, 1 << 16, 0};
    assert_non_null(text);
    clg_misses_print(&one, &out);
    clg_misses_parse(test_context(), &two, text);
    assert_int_equal(one.n, two.n);
    for (size_t i = 0; i < one.n; i++) {
        assert_string_equal(one.at[i].name, two.at[i].name);
        assert_memory_equal(&one.at[i].problem, &two.at[i].problem, sizeof one.at[i].problem);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(which_record_is_used),
        cmocka_unit_test(options_out_of_range),
        CACHE_TEST(a_plan_is_tuned),
        cmocka_unit_test(a_plan_in_a_hurry),
        cmocka_unit_test(plans_in_threads),
        CACHE_TEST(tuning_that_fails),
        CACHE_TEST(missed_then_tuned),
        CACHE_TEST(every_operation),
        CACHE_TEST(several_writers),
        CACHE_TEST(a_bad_file),
        CACHE_TEST(no_folder),
        cmocka_unit_test(there_and_back),
    };

    return TEST_MAIN(tests);
}
