/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_break_even.c: the density above which a prefill is dense: solving for it, plans that use
 * it, what they compute and refuse, and measuring it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "break_even.h"
#include "tuned.h"

/* ---- solving ------------------------------------------------------------------- */

/* From the times of a slice to the least density of the table at which dense wins. */
static void solves(void **state)
{
    static const struct {
        struct clg_dense_times t;
        int from;
        double sparse, dense; /* of a whole call, at FROM */
    } rows[] = {
        /* few low high  densities  dense noise keys more all */
        {{1, 11, 51, {.1, .5}, 45.5, 0, 1, 1, 1}, 50, 51, 45.5},     /* 1 + 100 x: equal at .445 */
        {{1, 11, 51, {.1, .5}, 41, 0, 1, 1, 1}, 50, 51, 41},         /* equal at .4 is no gain     */
        {{1, 11, 51, {.1, .5}, 40.9, 0, 1, 1, 1}, 40, 41, 40.9},     /* but less is                */
        {{1, 11, 51, {.1, .5}, 45.5, .2, 1, 1, 1}, 60, 61, 45.5},    /* by more than the noise     */
        {{1, 11, 51, {.1, .5}, 200, 0, 1, 1, 1}, 100, 101, 200},     /* never                      */
        {{1, 11, 51, {.1, .5}, 5, 0, 1, 1, 1}, 10, 11, 5},           /* always                     */
        {{1, 11, 51, {.1, .5}, 45.5, 0, 2, 10, 11}, 50, 542, 500.5}, /* ten slices, and the keys twice */
        {{40, 50, 90, {.1, .5}, 45.5, 0, 2, 10, 11}, 40, 510, 500.5},
        {{13, 19, 43, {.1, .5}, 34, 0, 2, 14.5, 10},
         50,
         353,
         340},                                                   /* keys 10, a block of rows 1 + 20 x; few: 1 of 3 */
        {{1, 30, 20, {.1, .5}, 29, 0, 1, 1, 1}, 10, 30, 29},     /* noise alone makes more blocks quicker */
        {{40, 20, 30, {.1, .5}, .3, 0, 1, 10, 11}, 10, 40, 3.3}, /* or a slice quicker than one block */
        {{1, 30, 30, {1, 1}, 40, 0, 1, 1, 1}, 100, 30, 40},      /* one block is all that there is  */
    };

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(rows); i++) {
        double sparse, dense;
        const int from = clg_break_even_solve(&rows[i].t, &sparse, &dense);

        if (from != rows[i].from || !(sparse > rows[i].sparse - 1e-9 && sparse < rows[i].sparse + 1e-9) ||
            !(dense > rows[i].dense - 1e-9 && dense < rows[i].dense + 1e-9))
            fail_msg("row %zu: from %d, %g against %g", i, from, sparse, dense);
    }
}

/* ---- plans ----------------------------------------------------------------------- */

enum { LONGEST = 64 };

static clgaze_problem prefill_of(double density)
{
    clgaze_problem p = problem(CLGAZE_F32, 2, 1, 16, 8, 8);

    p.max_q = p.max_k = LONGEST;
    p.rule = CLGAZE_RATIO;
    p.value = 0.3;
    p.lse = 1;
    p.auto_density = density;
    return p;
}

static struct clg_record record_of(clgaze_context *ctx, int from)
{
    struct clg_record r = tuned_record(ctx, "f32 d16 b8 g2 dg16 single count n64", 5);

    r.kernel = &clg_kernel_dense;
    memset(r.values, 0, sizeof r.values);
    r.values[0] = from;
    return r;
}

/* Plan, and say whether it is dense. */
static bool is_dense(clgaze_context *ctx, double density, const char *why)
{
    const clgaze_problem p = prefill_of(density);
    clgaze_plan *plan = NULL;
    char reason[512];
    bool dense;

    assert_ok(clgaze_prefill_plan(ctx, &p, &plan));
    dense = strcmp(clgaze_plan_kernel(plan, CLGAZE_PREFILL), "dense") == 0;
    assert_says("the reason", clgaze_plan_reason(plan, CLGAZE_PREFILL), why);
    for (int op = CLGAZE_POOL; op < CLGAZE_ATTEND; op++)
        assert_int_equal(clgaze_plan_kernel(plan, (clgaze_op)op) == NULL, dense);
    assert_non_null(clgaze_plan_kernel(plan, CLGAZE_ATTEND));
    assert_int_equal(clgaze_plan_width(plan) == 0, dense);
    clgaze_plan_free(plan);
    assert_ok(clgaze_supports(ctx, CLGAZE_PREFILL, &p, reason, sizeof reason));
    assert_says("clgaze_supports()", reason, dense ? "dense" : "sparse");
    return dense;
}

static void decides_by_the_record(void **state)
{
    clgaze_context *ctx = tuned_in("");

    (void)state;
    assert_false(is_dense(ctx, 1, "expected density 1.00, but no break-even of this device is known"));
    tuned_put(ctx, record_of(ctx, 40));
    assert_false(is_dense(ctx, 0.39, "expected density 0.39, break-even 0.40 on this device"));
    assert_true(is_dense(ctx, 0.4, "expected density 0.40, break-even 0.40 on this device"));
    assert_true(is_dense(ctx, 1, "expected density 1.00, break-even 0.40"));
    tuned_put(ctx, record_of(ctx, 100));
    assert_false(is_dense(ctx, 0.99, "break-even 1.00"));
    assert_true(is_dense(ctx, 1, "break-even 1.00")); /* all blocks are all keys */
    clgaze_context_free(ctx);
}

/* A record of another device is no guide; of this one, with another driver or length, it is. */
static void whose_record(void **state)
{
    clgaze_context *ctx = tuned_in("");
    struct clg_record r = record_of(ctx, 10);

    (void)state;
    memset(r.device.uuid, 'e', sizeof r.device.uuid - 1);
    tuned_put(ctx, r);
    assert_false(is_dense(ctx, 1, "no break-even of this device"));
    r = record_of(ctx, 60);
    snprintf(r.problem, sizeof r.problem, "f32 d16 b8 g2 dg16 single mass n64"); /* of another rule */
    tuned_put(ctx, r);
    assert_false(is_dense(ctx, 1, "no break-even of this device"));
    snprintf(r.problem, sizeof r.problem, "f32 d16 b8 g2 dg16 single count n1k");
    tuned_put(ctx, r);
    assert_true(is_dense(ctx, 0.6, "break-even 0.60 on this device, for another length"));
    r = record_of(ctx, 50);
    snprintf(r.device.driver, sizeof r.device.driver, "old");
    tuned_put(ctx, r);
    assert_true(is_dense(ctx, 0.5, "break-even 0.50 on this device, with another driver"));
    ctx->nearest = -1; /* the policy that uses no records */
    assert_false(is_dense(ctx, 1, "no break-even of this device"));
    clgaze_context_free(ctx);
}

/* Nobody asked: it is as if there were no record. */
static void must_be_asked_for(void **state)
{
    clgaze_context *ctx = tuned_in("");
    const clgaze_problem p = prefill_of(0);
    clgaze_problem one = prefill_of(1);
    clgaze_plan *plan = NULL;

    (void)state;
    tuned_put(ctx, record_of(ctx, 10));
    assert_ok(clgaze_prefill_plan(ctx, &p, &plan));
    assert_null(clgaze_plan_kernel(plan, CLGAZE_PREFILL));
    assert_non_null(clgaze_plan_kernel(plan, CLGAZE_SELECT));
    clgaze_plan_free(plan);
    assert_ok(clgaze_attend_plan(ctx, &one, &plan)); /* which obeys the lists that it is given */
    assert_null(clgaze_plan_kernel(plan, CLGAZE_PREFILL));
    assert_int_equal(plan->problem.lists, CLGAZE_LISTS_BLOCKS);
    clgaze_plan_free(plan);
    one.auto_density = -2;
    assert_ok(clgaze_attend_plan(ctx, &one, &plan));
    clgaze_plan_free(plan);
    clgaze_context_free(ctx);
}

/* A line like any other, after those of attend; one that says what cannot be is skipped. */
static void as_text(void **state)
{
    static const char *const wrong[][2] = {
        {"FROM=40", "FROM=45"}, {"FROM=40", "TO=40"}, {"prefill dense", "attend dense"}};
    clgaze_context *ctx = tuned_in("");
    char *text, *at, line[1024];

    (void)state;
    clg_records_forget(ctx->records, CLG_FROM_LIBRARY);
    tuned_put(ctx, record_of(ctx, 40));
    tuned_put(ctx, tuned_record(ctx, "f32 d16 b8 g2 n64", 5));
    text = tuned_text(ctx->records);
    at = strstr(text, "\nprefill dense \"f32 d16 b8 g2 dg16 single count n64\" ");
    assert_non_null(at);
    assert_true(at > strstr(text, "\nattend attend "));
    assert_string_equal(strstr(at, " FROM="), " FROM=40\n");
    assert_ok(clgaze_tuning_clear(ctx));
    assert_ok(clg_records_parse(ctx, ctx->records, text, strlen(text), CLG_FROM_FILE));
    assert_true(is_dense(ctx, 0.4, "break-even 0.40 on this device"));
    for (size_t i = 0; i < CLG_COUNT(wrong); i++) {
        const char *from = strstr(text, wrong[i][0]);

        snprintf(line, sizeof line, "%.*s%s%s", (int)(from - text), text, wrong[i][1], from + strlen(wrong[i][0]));
        assert_ok(clgaze_tuning_clear(ctx));
        assert_ok(clg_records_parse(ctx, ctx->records, line, strlen(line), CLG_FROM_FILE));
        assert_false(is_dense(ctx, 1, "no break-even"));
        assert_true(tuned_time(ctx, "f32 d16 b8 g2 n64") == 5); /* the others are read */
    }
    free(text);
    clgaze_context_free(ctx);
}

/* ---- calls ------------------------------------------------------------------------- */

/* Dense attention, of lengths below the maximum and of packed sequences. */
static void computes_dense(void **state)
{
    static const struct shape shapes[] = {{.batch = 1, .sq = 40, .sk = 61},
                                          {.sequences = 2, .q = {21, 29}, .k = {21, 29}}};
    clgaze_context *ctx = tuned_in("");
    cl_command_queue queue = clCreateCommandQueue(ctx->cl, ctx->device.id, 0, NULL);

    (void)state;
    tuned_put(ctx, record_of(ctx, 40));
    for (size_t i = 0; i < CLG_COUNT(shapes); i++) {
        clgaze_problem p = prefill_of(0.5);
        clgaze_plan *plan = NULL, *attend = NULL;
        struct placed_case x;
        struct test_case c;

        p.packed = shapes[i].sequences > 0;
        p.max_batch = 2;
        assert_ok(clgaze_prefill_plan(ctx, &p, &plan));
        assert_string_equal(clgaze_plan_kernel(plan, CLGAZE_PREFILL), "dense");
        p.lists = CLGAZE_LISTS_DENSE;
        case_make(&c, CLGAZE_ATTEND, &p, &shapes[i], NULL, 3);
        assert_true(place_case(&c, CLGAZE_ATTEND, plan, ctx, queue, &x)); /* q, k, v, out and lse, no more */
        assert_ok(clgaze_prefill(plan, &x.tensors, &x.call));
        if (!fetch_case(&c, CLGAZE_ATTEND, plan, queue, &x) || !check_results(&c, CLGAZE_ATTEND))
            fail_msg("shape %zu: %s", i, c.why);
        unplace_case(&x);
        case_free(&c);
        assert_ok(clgaze_attend_plan(ctx, &p, &attend));
        assert_int_equal(clgaze_plan_workspace(plan), clgaze_plan_workspace(attend));
        clgaze_plan_free(attend);
        clgaze_plan_free(plan);
    }
    clReleaseCommandQueue(queue);
    clgaze_context_free(ctx);
}

/* What it does not write, and what it does not hold. */
static void refuses_what_it_does_not_do(void **state)
{
    static const struct {
        const char *name;
        size_t at;
    } lists[] = {
        {"q_pooled", offsetof(clgaze_tensors, q_pooled)}, {"k_pooled", offsetof(clgaze_tensors, k_pooled)},
        {"q_gated", offsetof(clgaze_tensors, q_gated)},   {"k_gated", offsetof(clgaze_tensors, k_gated)},
        {"scores", offsetof(clgaze_tensors, scores)},     {"counts", offsetof(clgaze_tensors, counts)},
        {"blocks", offsetof(clgaze_tensors, blocks)},
    };
    clgaze_context *ctx = tuned_in("");
    const clgaze_problem p = prefill_of(0.5);
    clgaze_call call;
    clgaze_plan *plan = NULL;
    char words[64];

    (void)state;
    memset(&call, 0, sizeof call);
    tuned_put(ctx, record_of(ctx, 40));
    assert_ok(clgaze_prefill_plan(ctx, &p, &plan));
    for (size_t i = 0; i < CLG_COUNT(lists); i++) {
        clgaze_tensors t;

        memset(&t, 0, sizeof t);
        ((clgaze_tensor *)(void *)((char *)&t + lists[i].at))->buffer = ctx->dummy;
        forget_heard();
        assert_int_equal(clgaze_prefill(plan, &t, &call), CLGAZE_ERR_VALUE);
        snprintf(words, sizeof words, "%s is given|dense|auto_density", lists[i].name);
        assert_says(lists[i].name, heard.error[0], words);
    }
    for (int op = CLGAZE_POOL; op <= CLGAZE_ATTEND_BWD; op++) {
        const clgaze_tensors t = {.q = {.buffer = NULL}};

        if (op == CLGAZE_PREFILL)
            continue;
        forget_heard();
        assert_int_equal(clgaze_run(plan, (clgaze_op)op, &t, &call), CLGAZE_ERR_VALUE);
        assert_says("the log", heard.error[0], "does not run by a plan of prefill that is dense");
    }
    clgaze_plan_free(plan);
    clgaze_context_free(ctx);
}

/* ---- measuring ---------------------------------------------------------------------- */

static struct {
    int found, reports, cancel_at;
    clgaze_tune_result last;
} run;

static void on_found(void *user, const clgaze_tune_result *result)
{
    (void)user;
    run.found++;
    run.last = *result;
}

static int on_progress(void *user, const clgaze_tune_progress *progress)
{
    (void)user;
    assert_int_equal(progress->problems, CLG_OPS + 1);
    return ++run.reports == run.cancel_at;
}

static clgaze_status tune(clgaze_context *ctx, clgaze_tune_again again, int cancel_at, const char *journal)
{
    const clgaze_problem p = prefill_of(0.5);
    const clgaze_request twice[] = {{.op = CLGAZE_PREFILL, .problem = &p}, {.op = CLGAZE_PREFILL, .problem = &p}};
    const clgaze_tune_options o = {.budget = 1000,
                                   .max_candidates = 2,
                                   .again = again,
                                   .journal = journal,
                                   .progress = on_progress,
                                   .found = on_found};

    memset(&run, 0, sizeof run);
    run.cancel_at = cancel_at;
    forget_heard();
    return clgaze_tune(ctx, CLG_COUNT(twice), twice, &o);
}

static int known_from(clgaze_context *ctx)
{
    const clgaze_problem p = prefill_of(0);
    struct clg_record r;

    return clg_break_even_find(ctx, &p, &r) == 0 ? r.values[0] : 0;
}

/* After the five operations, once a name; plans use it; it is not measured again. */
static void measures_it(void **state)
{
    clgaze_context *ctx = tuned_in("");
    char text[96];
    int from;

    (void)state;
    assert_ok(tune(ctx, CLGAZE_TUNE_NEW, 0, NULL));
    assert_int_equal(heard.errors + heard.warned, 0);
    assert_int_equal(run.found, CLG_OPS + 1);
    assert_string_equal(run.last.problem, "prefill f32 d16 b8 g2 dg16 single count n64");
    assert_string_equal(run.last.before, "dense FROM=100"); /* as if never */
    from = known_from(ctx);
    snprintf(text, sizeof text, "dense FROM=%d", from);
    assert_string_equal(run.last.best, text);
    assert_true(run.last.before_us > 0 && run.last.best_us > 0);
    assert_int_equal(run.last.finished, run.last.noise <= 0.25); /* of a machine in use it may not be the last word */
    assert_true(is_dense(ctx, 0.01 * from, "on this device"));
    assert_int_equal(is_dense(ctx, 0.01 * from - 0.001, "on this device"), from == 0);
    assert_ok(tune(ctx, CLGAZE_TUNE_NEW, 0, NULL));
    assert_int_equal(run.found, 0);
    clgaze_context_free(ctx);
}

/* Stopped while it is measured there is no record; the next run makes it. */
static void is_stopped_and_resumed(void **state)
{
    clgaze_context *ctx = tuned_in("");
    int reports, stopped = 0;

    (void)state;
    assert_ok(tune(ctx, CLGAZE_TUNE_NEW, 0, NULL)); /* the five are known from here on */
    for (int n = 1;; n++) {
        struct clg_records *all = ctx->records;
        size_t kept = 0;

        for (size_t i = 0; i < all->n; i++)
            if (all->at[i].kernel != &clg_kernel_dense)
                all->at[kept++] = all->at[i];
        all->n = kept;
        if (tune(ctx, CLGAZE_TUNE_NEW, n, NULL) == CLGAZE_OK)
            break;
        reports = run.reports;
        assert_int_equal(reports, n);
        assert_says("the log", heard.error[0], "stopped by the caller");
        assert_int_equal(heard.errors, 1);
        assert_int_equal(known_from(ctx), 0);
        stopped++;
    }
    assert_true(stopped > 3);
    assert_true(known_from(ctx) > 0);
    clgaze_context_free(ctx);
}

/* It ended the process before: it is left out, and said. */
static void is_named_by_the_journal(void **state)
{
    static const char line[] = "prefill f32 d16 b8 g2 dg16 single count n64: dense\n";
    clgaze_context *ctx = tuned_in("");

    (void)state;
    write_file(under("journal"), line, sizeof line - 1);
    assert_ok(tune(ctx, CLGAZE_TUNE_NEW, 0, under("journal")));
    assert_int_equal(run.found, CLG_OPS);
    assert_int_equal(known_from(ctx), 0);
    assert_int_equal(heard.warned, 2); /* when it is read, when it is skipped */
    clgaze_context_free(ctx);
}

/* A prefill that may be dense and has no break-even is remembered, as what it is. */
static void a_miss_like_others(void **state)
{
    clgaze_context_options o = test_options();
    clgaze_problem p = prefill_of(0.5), listed[8];
    clgaze_op ops[8];
    clgaze_context *ctx = NULL;
    clgaze_plan *plan = NULL;
    int prefills = 0;

    (void)state;
    o.cache_dir = under("home");
    o.remember = 1;
    assert_ok(clgaze_context_create(&o, &ctx));
    assert_ok(clgaze_prefill_plan(ctx, &p, &plan));
    clgaze_plan_free(plan);
    p.max_q = p.max_k = 128; /* nobody asked here */
    p.auto_density = 0;
    assert_ok(clgaze_prefill_plan(ctx, &p, &plan));
    clgaze_plan_free(plan);
    clgaze_context_free(ctx);
    o.remember = 0;
    assert_ok(clgaze_context_create(&o, &ctx));
    for (size_t i = 0, n = clgaze_tuning_misses(ctx, ops, listed, 8); i < n && i < 8; i++)
        if (ops[i] == CLGAZE_PREFILL) {
            assert_int_equal(listed[i].max_q, LONGEST);
            prefills++;
        }
    assert_int_equal(prefills, 1);
    tuned_put(ctx, record_of(ctx, 50));
    for (size_t i = 0, n = clgaze_tuning_misses(ctx, ops, listed, 8); i < n && i < 8; i++)
        assert_int_not_equal(ops[i], CLGAZE_PREFILL);
    clgaze_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(solves),
        cmocka_unit_test(decides_by_the_record),
        cmocka_unit_test(whose_record),
        cmocka_unit_test(must_be_asked_for),
        cmocka_unit_test(as_text),
        cmocka_unit_test(computes_dense),
        cmocka_unit_test(refuses_what_it_does_not_do),
        cmocka_unit_test(measures_it),
        cmocka_unit_test(is_stopped_and_resumed),
        CACHE_TEST(is_named_by_the_journal),
        CACHE_TEST(a_miss_like_others),
    };

    return TEST_MAIN(tests);
}
