/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command_selftest.c: clgaze-run selftest: every kernel that fits, against ref/.
 *
 * Plans are made as a user makes them; then the library's own self-test runs each
 * stage on a small problem with the same program.
 */
#include "commands.h"

#include "fail.h"
#include "internal.h"
#include "json.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* No kernel is begun after this: the last may take the compiler some seconds, and CLBlast's
 * kernels, the last of each kind, take it half a minute once. */
static const double LAST_BEGIN = 50, LAST_CLBLAST = 30;

static const struct kind {
    const char *name;
    clgaze_dtype dtype;
    int32_t head_dim, packed;
    clgaze_rule rule;
    double value;
    clgaze_lists lists;
} kinds[] = {
    {"f32 d64 top_p", CLGAZE_F32, 64, 0, CLGAZE_TOP_P, 0.7, CLGAZE_LISTS_BLOCKS},
    {"f16 d128 top_k packed", CLGAZE_F16, 128, 1, CLGAZE_TOP_K, 4, CLGAZE_LISTS_BLOCKS},
    {"bf16 d128 threshold mask", CLGAZE_BF16, 128, 0, CLGAZE_THRESHOLD, 0.01, CLGAZE_LISTS_MASK},
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static const char *const outcomes[] = {"passed", "failed", "unfit", "late"};
enum outcome { PASSED, FAILED, UNFIT, LATE, OUTCOMES };

struct session {
    clgaze_context *context;
    double start;
    int n[OUTCOMES];
    char said[512]; /* the library's first error since it was emptied */
    int as_json;
    cJSON *list;
};

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void listen(void *user, clgaze_log_level level, clgaze_status status, const char *message)
{
    struct session *s = user;

    fail_log(NULL, level, status, message);
    if (level == CLGAZE_LOG_ERROR && !s->said[0])
        snprintf(s->said, sizeof s->said, "%s", message);
}

static clgaze_problem problem_of(const struct kind *k)
{
    clgaze_problem p = clgaze_problem_default();

    p.dtype = k->dtype;
    p.q_heads = 8;
    p.kv_heads = 2;
    p.head_dim = k->head_dim;
    p.max_q = p.max_k = 1024;
    p.rope_pairs = k->head_dim / 2;
    p.packed = k->packed;
    p.rule = k->rule;
    p.value = k->value;
    p.lists = k->lists;
    return p;
}

static void report(struct session *s, const char *op, const char *kernel, const struct kind *k, enum outcome outcome,
                   const char *why)
{
    s->n[outcome]++;
    if (!s->as_json) {
        printf("%-7s %-10s %-40s %s%s%s\n", outcomes[outcome], op, kernel, k->name, why[0] ? ": " : "", why);
        fflush(stdout);
        return;
    }
    cJSON *one = cJSON_CreateObject();
    cJSON_AddStringToObject(one, "op", op);
    cJSON_AddStringToObject(one, "kernel", kernel);
    cJSON_AddStringToObject(one, "problem", k->name);
    cJSON_AddStringToObject(one, "outcome", outcomes[outcome]);
    cJSON_AddStringToObject(one, "reason", why);
    cJSON_AddItemToArray(s->list, one);
}

static void test_stage(struct session *s, const clgaze_problem *p, const struct kind *k,
                       const struct clg_stage *stage)
{
    if (!stage->kernel)
        return;
    s->said[0] = '\0';
    const clgaze_status st = clg_selftest(s->context, p, stage);
    report(s, stage->kernel->op, stage->name ? stage->name : stage->kernel->name, k, st ? FAILED : PASSED,
           st ? s->said : "");
}

static bool is_clblast(const struct clg_kernel *kernel)
{
    return strstr(kernel->name, "_clblast") != NULL;
}

static bool late(const struct session *s, const struct clg_kernel *kernel)
{
    return seconds() - s->start > (is_clblast(kernel) ? LAST_CLBLAST : LAST_BEGIN);
}

static void test_kernel(struct session *s, const struct clg_kernel *kernel, const struct kind *k)
{
    clgaze_problem p = problem_of(k);
    clgaze_plan *plan = NULL;
    char why[256] = "";
    int op = CLGAZE_POOL;

    while (op < CLGAZE_ATTEND_BWD && strcmp(stage_name((clgaze_op)op), kernel->op) != 0)
        op++;
    p.kernel = kernel->name;
    s->said[0] = '\0';
    if (clgaze_supports(s->context, (clgaze_op)op, &p, why, sizeof why) != CLGAZE_OK)
        report(s, kernel->op, kernel->name, k, UNFIT, strstr(why, ": ") ? strstr(why, ": ") + 2 : why);
    else if (late(s, kernel))
        report(s, kernel->op, kernel->name, k, LATE, "");
    else if (s->said[0] = '\0', clgaze_plan_create(s->context, (clgaze_op)op, &p, &plan) != CLGAZE_OK)
        report(s, kernel->op, kernel->name, k, FAILED, s->said);
    else
        test_stage(s, &plan->problem, k, &plan->stage[op]);
    if (plan && op == CLGAZE_ATTEND) { /* the helpers are the same under every strategy: once a kind */
        test_stage(s, &plan->problem, k, &plan->seqs);
        test_stage(s, &plan->problem, k, &plan->lists);
    }
    clgaze_plan_free(plan);
}

static clgaze_status open_context(struct session *s, const struct args *args)
{
    clgaze_context_options o;

    memset(&o, 0, sizeof o);
    o.pick = args->device;
    o.log = listen;
    o.log_user = s;
    o.log_level = args->verbose ? CLGAZE_LOG_DEBUG : CLGAZE_LOG_ERROR;
    o.cache_dir = ""; /* the compiler is tested too */
    return clgaze_context_create(&o, &s->context);
}

static void title(const struct session *s, cJSON *root)
{
    const struct clg_device *d = &s->context->device;
    const char *const pairs[][2] = {
        {"clgaze", clgaze_version()},     {"device", d->name},  {"vendor", d->vendor}, {"platform", d->platform},
        {"version", d->platform_version}, {"driver", d->driver}};

    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (s->as_json)
            cJSON_AddStringToObject(root, pairs[i][0], pairs[i][1]);
        else
            printf("%-9s %s\n", pairs[i][0], pairs[i][1]);
    }
}

int command_selftest(const struct args *args)
{
    struct session s;
    clgaze_status st;

    memset(&s, 0, sizeof s);
    s.as_json = args->json;
    s.start = seconds();
    if (args->n_files || args->in || args->out || args->kernel)
        return fail(EXIT_INPUT, "selftest takes no file and no kernel: it runs all that fit");
    if (clgaze_device_list(NULL, 0) == 0)
        return fail_no_device();
    st = open_context(&s, args);
    if (st != CLGAZE_OK)
        return fail_library(st);
    cJSON *root = cJSON_CreateObject();
    title(&s, root);
    s.list = cJSON_AddArrayToObject(root, "results");
    for (int k = 0; k < N_KINDS; k++)
        for (int last = 0; last <= 1; last++)
            for (int i = 0; clg_kernels[i]; i++)
                if (is_clblast(clg_kernels[i]) == last)
                    test_kernel(&s, clg_kernels[i], &kinds[k]);
    clgaze_context_free(s.context);
    const double taken = seconds() - s.start;
    if (args->json) {
        for (int i = 0; i < OUTCOMES; i++)
            cJSON_AddNumberToObject(root, outcomes[i], s.n[i]);
        cJSON_AddNumberToObject(root, "seconds", taken);
        return print_json(stdout, root, s.n[FAILED] ? EXIT_DIFFERS : EXIT_DONE);
    }
    cJSON_Delete(root);
    printf("%d passed, %d failed, %d do not fit this device, %d not reached in %.0f s\n", s.n[PASSED], s.n[FAILED],
           s.n[UNFIT], s.n[LATE], taken);
    return s.n[FAILED] ? EXIT_DIFFERS : EXIT_DONE;
}
