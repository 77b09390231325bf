/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_tuning_db.c: the records that come with the library, and that no tuning changes an answer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tuned.h"

/* ---- tuning/db ----------------------------------------------------------------- */

static bool is_record(const char *line)
{
    return line[0] && line[0] != '#' && strncmp(line, "device ", 7) != 0;
}

/* Every line is understood, and lies in the pipeline's order, as the store writes it. */
static void every_line_is_a_record(void **state)
{
    clgaze_context *ctx = tuned_in("");
    size_t files = 0;

    (void)state;
    for (int i = 0; clg_sources[i].name; i++) {
        const char *text = (const char *)clg_sources[i].text, *end = strrchr(clg_sources[i].name, '.');
        struct clg_records *all;
        size_t lines = 0;

        if (strcmp(end, ".conf") != 0)
            continue;
        all = clg_records_new(ctx);
        assert_non_null(all);
        for (size_t at = 0; at < clg_sources[i].size; at++)
            lines += at > 0 && text[at - 1] == '\n' && is_record(text + at);
        forget_heard();
        assert_ok(clg_records_parse(ctx, all, text, clg_sources[i].size, CLG_FROM_LIBRARY));
        if (heard.warned || all->n != lines)
            fail_msg("%s: %zu of %zu lines are records: %s", clg_sources[i].name, all->n, lines, heard.warning);
        for (size_t r = 0; r < all->n; r++)
            assert_string_equal(all->at[r].device.uuid, ""); /* nobody's very card */
        clg_records_free(ctx, all);
        files++;
    }
    assert_true(files > 0);
    clgaze_context_free(ctx);
}

static int number_after(const char *text, const char *letters, int otherwise)
{
    for (const char *at = strstr(text, letters); at; at = strstr(at + 1, letters))
        if (at[strlen(letters)] >= '0' && at[strlen(letters)] <= '9')
            return atoi(at + strlen(letters));
    return otherwise;
}

/* "attend f16 d128 b64x32 g4 n32k" as a problem, of lengths that ref/ can do. */
static clgaze_problem problem_of(const struct clg_record *r)
{
    const char *text = r->problem, *cross = strchr(text, 'x');
    const int group = number_after(text, " g", 2), bq = number_after(text, " b", 64);
    const bool half = strncmp(text, "f16", 3) == 0, brain = strncmp(text, "bf16", 4) == 0;
    clgaze_problem p = problem(half    ? CLGAZE_F16
                               : brain ? CLGAZE_BF16
                                       : CLGAZE_F32,
                               group, 1, number_after(text, " d", number_after(text, " dg", 64)), bq,
                               cross && cross[-1] >= '0' && cross[-1] <= '9' ? atoi(cross + 1) : bq);

    p.gate_dim = number_after(text, " dg", 0);
    p.gate_double = strstr(text, " double") != NULL;
    p.lists = strstr(text, " dense") ? CLGAZE_LISTS_DENSE : p.lists;
    p.scope = strstr(text, " shared") ? CLGAZE_SCOPE_KV : p.scope;
    if (strstr(text, " mass")) {
        p.rule = CLGAZE_TOP_P;
        p.value = 0.7;
    }
    return p;
}

/* Does the text of the problem say what we read from it? Lengths are of other classes. */
static void assert_read(const struct clg_record *r, const clgaze_problem *p)
{
    char buffer[96];
    struct clg_text text = {buffer, sizeof buffer, 0};
    const char *length = strrchr(r->problem, ' ');

    assert_non_null(length);
    r->kernel->key(p, &text);
    assert_int_equal(text.used, length - r->problem);
    assert_memory_equal(buffer, r->problem, text.used);
}

static clgaze_op op_of(const struct clg_kernel *kernel)
{
    int op = 0;

    while (strcmp(clg_op_name((clgaze_op)op), kernel->op) != 0)
        op++;
    return (clgaze_op)op;
}

/* Was one like it compared already? Compiling takes seconds; type and head size have tests of their own. */
static bool compared(const struct clg_records *all, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (all->at[j].kernel == all->at[i].kernel &&
            clg_space_distance(all->at[i].kernel, all->at[i].values, all->at[j].values) == 0)
            return true;
    return false;
}

static void meets_ref(const struct clg_record *r, clgaze_problem *p)
{
    const struct shape shapes[] = {{.batch = 1, .sq = tiny() ? 20 : 70, .sk = tiny() ? 70 : 150}};
    const clgaze_op op = op_of(r->kernel);
    char kernel[128];
    struct clg_text text = {kernel, sizeof kernel, 0};
    struct test_case c;
    clgaze_plan *plan;

    clg_space_print(r->kernel, r->values, &text);
    p->kernel = kernel;
    fit_maxima(p, shapes, 1);
    plan = plan_of(op, p);
    assert_string_equal(clgaze_plan_kernel(plan, op), kernel);
    case_make(&c, op, p, &shapes[0], NULL, 1);
    run_or_fail(&c, op, plan);
    if (!check_results(&c, op))
        fail_msg("%s of \"%s\": %s", kernel, r->problem, c.why);
    case_free(&c);
    clgaze_plan_free(plan);
}

static void every_choice_meets_ref(void **state)
{
    clgaze_context *ctx = tuned_in("");
    const struct clg_records *all = ctx->records;
    size_t met = 0, other = 0;

    (void)state;
    assert_true(all->n > 0);
    for (size_t i = 0; i < all->n; i++) {
        const struct clg_record *r = &all->at[i];
        clgaze_problem p = problem_of(r);

        assert_read(r, &p);
        if (r->kernel->fits && r->kernel->fits(&ctx->device, &p, r->values)) {
            other++;
        } else if (!compared(all, i)) {
            meets_ref(r, &p);
            met++;
        }
    }
    printf("%zu choices compared with ref/, %zu do not run on this device\n", met, other);
    clgaze_context_free(ctx);
}

/* ---- what nobody measured ---------------------------------------------------------- */

static clgaze_status wrong_at_256(struct clg_run *r)
{
    struct clg_run half = *r;
    clgaze_status st;

    if (r->stage->values[0] != 256)
        return clg_kernel_find("pool")->launch(r);
    half.t.k_gate.buffer = NULL; /* one side of two */
    st = clg_kernel_find("pool")->launch(&half);
    r->last = half.last;
    return st;
}

/* A store's line for this device: an untried choice of WG. */
static void put_untried(clgaze_context *ctx, const char *vendor, int wg)
{
    char text[512];

    snprintf(text, sizeof text,
             "clgaze-tuning 1\ndevice \"any\" vendor=%s type=%s\n"
             "pool pool \"f32 d8 b8x8 n8k\" %08llx - - untried \"by its documents\" WG=%d VEC=8\n",
             vendor, ctx->device.cpu ? "cpu" : "gpu",
             (unsigned long long)(clg_space_id(clg_kernel_find("pool")) & 0xffffffffu), wg);
    assert_ok(clg_records_parse(ctx, ctx->records, text, strlen(text), CLG_FROM_LIBRARY));
}

/* It is used if it passes the self-test; else what would have been chosen without it is. */
static void untried_is_proved(void **state)
{
    static const struct {
        int wg, warned;
        const char *kernel, *reason;
    } rows[] = {{128, 0, "pool WG=128 VEC=8", "untried but for a self-test"},
                {256, 1, "pool WG=64 VEC=8", "first in the table"}};
    struct clg_kernel spied = *clg_kernel_find("pool");
    const struct clg_kernel *const table[] = {&spied, NULL};
    clgaze_problem p = problem(CLGAZE_F32, 2, 1, 8, 8, 8);

    (void)state;
    p.max_q = p.max_k = 64;
    spied.launch = wrong_at_256;
    for (size_t i = 0; i < CLG_COUNT(rows); i++) {
        clgaze_context *ctx = tuned_in("");
        clgaze_plan *plan = NULL;
        char *text;

        ctx->kernels = table;
        clg_records_forget(ctx->records, CLG_FROM_LIBRARY);
        put_untried(ctx, "generic", rows[i].wg);
        assert_int_equal(heard.warned, 0);
        assert_ok(clgaze_plan_create(ctx, CLGAZE_POOL, &p, &plan));
        assert_string_equal(clgaze_plan_kernel(plan, CLGAZE_POOL), rows[i].kernel);
        assert_says("the reason", clgaze_plan_reason(plan, CLGAZE_POOL), rows[i].reason);
        assert_int_equal(heard.warned, rows[i].warned);
        if (rows[i].warned)
            assert_says("the log", heard.warning, "pool WG=256 VEC=8 was passed over|self-test|k_pooled");
        assert_int_equal(heard.errors, 0);
        clgaze_plan_free(plan);
        ctx->records->at[0].origin = CLG_FROM_TUNER; /* as if to be saved: it stays what it is */
        text = tuned_text(ctx->records);
        assert_says("the text", text, " - - untried \"by its documents\" WG=");
        free(text);
        clgaze_context_free(ctx);
    }
}

static void untried_lines(void **state)
{
    static const char *const bad[] = {"- - done",      "- - part",      "1.0 2.0 untried",
                                      "- 2.0 untried", "1.0 - untried", "- -"};
    clgaze_context *ctx = tuned_in("");

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(bad); i++) {
        struct clg_records *all = clg_records_new(ctx);
        char text[512];

        assert_non_null(all);
        snprintf(text, sizeof text,
                 "clgaze-tuning 1\ndevice \"any\" vendor=amd type=gpu\n"
                 "pool pool \"f32 d8 b8x8 n8k\" %08llx %s WG=64 VEC=8\n",
                 (unsigned long long)(clg_space_id(clg_kernel_find("pool")) & 0xffffffffu), bad[i]);
        assert_ok(clg_records_parse(ctx, all, text, strlen(text), CLG_FROM_FILE));
        if (all->n)
            fail_msg("\"%s\" is a record", bad[i]);
        clg_records_free(ctx, all);
    }
    clgaze_context_free(ctx);
}

/* ---- tuning changes times alone -------------------------------------------------- */

static int32_t *lists_before;
static char before[CLG_STAGES][96];
static int changed;

/* Each operation by the plan that there is now, against ref/; the lists of select as they were. */
static void answers(clgaze_context *ctx, cl_command_queue queue, const clgaze_problem *p)
{
    static const struct shape n = {.batch = 1, .sq = 61, .sk = 125};

    for (int op = 0; op < CLG_STAGES; op++) {
        clgaze_plan *plan = NULL;
        struct test_case c;

        if (op == CLGAZE_PREFILL)
            continue;
        assert_ok(clgaze_plan_create(ctx, (clgaze_op)op, p, &plan));
        case_make(&c, (clgaze_op)op, p, &n, NULL, 7);
        if (!run_case(&c, (clgaze_op)op, plan, ctx, queue) || !check_results(&c, (clgaze_op)op))
            fail_msg("%s: %s", clgaze_plan_kernel(plan, (clgaze_op)op), c.why);
        if (op == CLGAZE_SELECT) {
            if (lists_before)
                assert_memory_equal(lists_before, c.data[A_BLOCKS], array_bytes(&c, A_BLOCKS));
            else
                lists_before = array_copy(&c, A_BLOCKS);
        }
        changed += before[op][0] && strcmp(before[op], clgaze_plan_kernel(plan, (clgaze_op)op)) != 0;
        snprintf(before[op], sizeof before[op], "%s", clgaze_plan_kernel(plan, (clgaze_op)op));
        case_free(&c);
        clgaze_plan_free(plan);
    }
}

static void on_found(void *user, const clgaze_tune_result *result)
{
    char(*best)[96] = user;

    for (int op = 0; op < CLG_STAGES; op++) {
        const char *name = clg_op_name((clgaze_op)op), *end = strchr(result->problem, ' ');

        if (strncmp(result->problem, name, strlen(name)) == 0 && end == result->problem + strlen(name))
            memcpy(best[op], result->best, sizeof best[op]);
    }
}

/* A record by hand that says: the last strategy that fits, its first values. */
static void put_last(clgaze_context *ctx, const clgaze_problem *p)
{
    for (int op = 0; op < CLG_STAGES; op++) {
        struct clg_record r = tuned_record(ctx, "", 1);
        char name[96];
        bool fits = false;

        if (op == CLGAZE_PREFILL)
            continue;
        assert_ok(clgaze_tuning_problem(ctx, (clgaze_op)op, p, name, sizeof name));
        for (int i = 0; clg_kernels[i]; i++) {
            if (strcmp(clg_kernels[i]->op, clg_op_name((clgaze_op)op)) != 0 ||
                strcmp(clg_kernels[i]->name, "gate_clblast") == 0)
                continue;
            clg_space_get(clg_kernels[i], 0, r.values);
            r.kernel = clg_nearest(&ctx->device, clg_kernels[i], p, r.values) ? r.kernel : clg_kernels[i];
            fits = fits || r.kernel == clg_kernels[i];
        }
        assert_true(fits);
        clg_space_get(r.kernel, 0, r.values);
        assert_null(clg_nearest(&ctx->device, r.kernel, p, r.values));
        snprintf(r.problem, sizeof r.problem, "%s", strchr(name, ' ') + 1);
        tuned_put(ctx, r);
    }
}

static void answers_stay(void **state)
{
    clgaze_context *ctx = tuned_in("");
    cl_command_queue queue = clCreateCommandQueue(ctx->cl, ctx->device.id, 0, NULL);
    clgaze_problem p = problem(CLGAZE_F32, 2, 1, 16, 16, 16);
    const clgaze_request all[] = {{.op = CLGAZE_PREFILL, .problem = &p},
                                  {.op = CLGAZE_TRUTH, .problem = &p},
                                  {.op = CLGAZE_DISTILL, .problem = &p},
                                  {.op = CLGAZE_ATTEND_BWD, .problem = &p}};
    char best[CLG_STAGES][96];
    const clgaze_tune_options o = {
        .budget = 1000, .max_candidates = 2, .again = CLGAZE_TUNE_ALL, .found = on_found, .user = best};

    (void)state;
    p.max_q = p.max_k = 128;
    p.rule = CLGAZE_TOP_P;
    p.value = 0.7;
    memset(best, 0, sizeof best);
    answers(ctx, queue, &p);
    assert_ok(clgaze_tune(ctx, CLG_COUNT(all), all, &o));
    answers(ctx, queue, &p);
    for (int op = 0; op < CLG_STAGES; op++) /* what was found is what is used */
        if (op != CLGAZE_PREFILL)
            assert_string_equal(before[op], best[op]);
    changed = 0;
    put_last(ctx, &p);
    answers(ctx, queue, &p);
    assert_true(changed > 0);
    free(lists_before);
    clReleaseCommandQueue(queue);
    clgaze_context_free(ctx);
}

static void assert_reason(clgaze_context *ctx, const clgaze_problem *p, const char *reason)
{
    clgaze_plan *plan;

    assert_ok(clgaze_plan_create(ctx, CLGAZE_ATTEND, p, &plan));
    assert_string_equal(clgaze_plan_reason(plan, CLGAZE_ATTEND), reason);
    clgaze_plan_free(plan);
}

/* Shared lists, and none, are problems of their own in 16-bit types; until tuned they are as lists of each head. */
static void forms_fall_back(void **state)
{
    clgaze_context *ctx = tuned_in("");
    clgaze_problem p = problem(CLGAZE_F16, 2, 1, 64, 64, 64), shared, dense;
    struct clg_record r = tuned_record(ctx, "f16 d64 b64 g2 n128", 5);

    (void)state;
    p.max_q = p.max_k = 128;
    shared = dense = p;
    shared.scope = CLGAZE_SCOPE_KV;
    dense.lists = CLGAZE_LISTS_DENSE;
    clg_records_forget(ctx->records, CLG_FROM_LIBRARY);
    clg_space_get(r.kernel, 0, r.values);
    tuned_put(ctx, r);
    assert_reason(ctx, &p, "tuned on this device");
    assert_reason(ctx, &shared, "tuned for lists of each query head");
    assert_reason(ctx, &dense, "tuned for lists of each query head");
    snprintf(r.problem, sizeof r.problem, "f16 d64 b64 g2 dense n128");
    tuned_put(ctx, r);
    assert_reason(ctx, &shared, "tuned for lists of each query head");
    assert_reason(ctx, &dense, "tuned on this device");
    clgaze_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_line_is_a_record), cmocka_unit_test(every_choice_meets_ref),
        cmocka_unit_test(untried_is_proved),      cmocka_unit_test(untried_lines),
        cmocka_unit_test(answers_stay),           cmocka_unit_test(forms_fall_back),
    };

    return TEST_MAIN(tests);
}
