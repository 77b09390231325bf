/* SPDX-License-Identifier: Apache-2.0 */
/*
 * walk.c: every kernel of an operation, in several configurations, over a list of shapes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

static const char *const op_names[] = {"pool",    "gate",  "score",   "select",    "attend",
                                       "prefill", "truth", "distill", "attend_bwd"};

/* What was done, for the last line of a test program. */
static struct {
    int runs, configurations, problems, offered, too_large;
    double error;
    char worst[256];
    struct {
        char text[160];
        int times;
    } skipped[32];
} done;

static void pass_over(const char *kernel, const char *reason)
{
    char text[sizeof done.skipped[0].text];
    size_t i = 0;

    snprintf(text, sizeof text, "%s: %s", kernel, reason);
    while (i < CLG_COUNT(done.skipped) - 1 && done.skipped[i].times && strcmp(done.skipped[i].text, text) != 0)
        i++;
    memcpy(done.skipped[i].text, text, sizeof text);
    done.skipped[i].times++;
}

int print_summary(void **state)
{
    (void)state;
    if (!done.problems)
        return 0;
    printf("%d problems, %d configurations of kernels, %d calls compared with ref/\n", done.problems,
           done.configurations, done.runs);
    if (done.error > 0)
        printf("greatest error: %.0f %% of what is allowed, by %s\n", 100 * done.error, done.worst);
    if (done.too_large)
        printf("skipped %d shapes: too large for CLGAZE_TEST_SIZE=tiny\n", done.too_large);
    for (size_t i = 0; i < CLG_COUNT(done.skipped) && done.skipped[i].times; i++)
        printf("skipped %d times: %s\n", done.skipped[i].times, done.skipped[i].text);
    return 0;
}

clgaze_plan *plan_of(clgaze_op op, const clgaze_problem *p)
{
    clgaze_plan *plan = NULL;

    forget();
    assert_ok(clgaze_plan_create(test_context(), op, p, &plan));
    return plan;
}

void run_or_fail(struct test_case *c, clgaze_op op, const clgaze_plan *plan)
{
    if (!run_case(c, op, plan, test_context(), test_queue()))
        fail_msg("%s: %s", clgaze_plan_kernel(plan, op) ? clgaze_plan_kernel(plan, op) : op_names[op], c->why);
}

void every_kernel(clgaze_op op, const clgaze_problem *p, void (*law)(const clgaze_problem *p))
{
    int served = 0;

    for (int i = 0; test_context()->kernels[i]; i++) {
        clgaze_problem forced = *p;
        char why[256];

        if (strcmp(test_context()->kernels[i]->op, op_names[op]) != 0)
            continue;
        forced.kernel = test_context()->kernels[i]->name;
        if (clgaze_supports(test_context(), op, &forced, why, sizeof why) == CLGAZE_OK) {
            law(&forced);
            served++;
        } else {
            printf("skipped: %s\n", why);
        }
    }
    assert_true(served > 0);
}

/* About how many multiplications a call is. */
static int64_t work(clgaze_op op, const clgaze_problem *p, const struct shape *n)
{
    int64_t sq = n->sq, sk = n->sk, batch = n->batch ? n->batch : 1, nq, nk;

    for (int s = 0; s < n->sequences; s++) {
        sq += n->q[s];
        sk += n->k[s];
    }
    nq = (sq + p->block_q - 1) / p->block_q;
    nk = (sk + p->block_k - 1) / p->block_k;
    switch (op) {
    case CLGAZE_POOL:
        return batch * (sq * p->q_heads + sk * p->kv_heads) * p->head_dim;
    case CLGAZE_GATE:
        return batch * (nq + nk) * p->q_heads * 3 * p->head_dim * clg_gate_dim(p);
    case CLGAZE_SCORE:
        return batch * nq * nk * p->q_heads * clg_gate_dim(p);
    case CLGAZE_DISTILL:
        return batch * (nq + nk) * p->q_heads * (6 * p->head_dim + 3 * nk) * clg_gate_dim(p);
    case CLGAZE_SELECT: /* a row clears and walks its digits whatever its length */
        return batch * nq * (nk + 600) * p->q_heads;
    default:
        return batch * sq * sk * p->q_heads * p->head_dim;
    }
}

/* Programs of attention take a second each to compile: every second problem has one, with the label long all. */
static int random_configurations(clgaze_op op)
{
    const bool slow = op == CLGAZE_ATTEND || op == CLGAZE_TRUTH || op == CLGAZE_ATTEND_BWD;

    return number_from("CLGAZE_TEST_CONFIGS", tiny() ? 0 : slow ? (int)(done.problems % 2) : 1);
}

static void run_plan(clgaze_op op, const clgaze_problem *p, const char *kernel, struct test_case *cases, int n)
{
    clgaze_plan *plan = NULL;

    forget();
    if (clgaze_plan_create(test_context(), op, p, &plan) != CLGAZE_OK)
        fail_msg("%s: no plan: %s", kernel, last_error());
    for (int i = 0; i < n; i++) {
        char text[512] = "";
        struct clg_text print = {text, sizeof text, 0};

        case_print(&cases[i], &print);
        if (!run_case(&cases[i], op, plan, test_context(), test_queue()) || !check_results(&cases[i], op))
            fail_msg("%s, %s, CLGAZE_TEST_SEED=%llu\n    %s", kernel, text, (unsigned long long)test_seed(),
                     cases[i].why);
        done.runs++;
        if (cases[i].error > done.error) {
            done.error = cases[i].error;
            snprintf(done.worst, sizeof done.worst, "%s", kernel);
        }
    }
    done.configurations++;
    clgaze_plan_free(plan);
}

static void run_values(clgaze_op op, const clgaze_problem *p, const struct clg_kernel *kernel, const int *values,
                       struct test_case *cases, int n)
{
    clgaze_problem forced = *p;
    char text[256];
    struct clg_text print = {text, sizeof text, 0};

    clg_space_print(kernel, values, &print);
    forced.kernel = text;
    run_plan(op, &forced, text, cases, n);
}

static const char *unfit(const struct clg_kernel *kernel, const clgaze_problem *p, const int *values)
{
    return kernel->fits ? kernel->fits(&test_context()->device, p, values) : NULL;
}

/* Problems that compile alike share their random configurations: compiling is what takes time. */
static struct rng configuration_rng(const clgaze_problem *p, const struct clg_kernel *kernel, const int *values)
{
    char text[512] = "";
    struct clg_text print = {text, sizeof text, 0};

    if (kernel->define)
        kernel->define(p, values, &print);
    return seeded(clg_hash(clg_hash(CLG_HASH_SEED, text, strlen(text)), kernel->name, strlen(kernel->name)));
}

/* The configuration that a plan would have, then random ones that fit; each only once. */
static void run_kernel(clgaze_op op, const clgaze_problem *p, const struct clg_kernel *kernel,
                       struct test_case *cases, int n)
{
    struct rng r;
    int values[CLG_MAX_PARAMS] = {0}, first[CLG_MAX_PARAMS] = {0}, left = random_configurations(op);
    const char *reason;

    clg_space_default(kernel, values);
    r = configuration_rng(p, kernel, values);
    reason = clg_nearest(&test_context()->device, kernel, p, values);
    memcpy(first, values, sizeof first);
    if (reason)
        pass_over(kernel->name, reason);
    else
        run_values(op, p, kernel, values, cases, n);
    for (int tries = 0; kernel->space && left > 0 && tries < 24; tries++) {
        clg_space_get(kernel, (int)below(&r, (uint32_t)clg_space_size(kernel)), values);
        if (memcmp(values, first, sizeof first) == 0)
            continue;
        reason = unfit(kernel, p, values);
        if (reason) {
            pass_over(kernel->name, reason);
            continue;
        }
        run_values(op, p, kernel, values, cases, n);
        left--;
    }
}

/* What tiny is: the most work of a shape, and which share of a problem's small
 * shapes is taken; problems take turns, so that each shape serves some of them. */
static const struct {
    int64_t work;
    int every;
} tiny_limits[] = {{60000, 1},  {400000, 3}, {60000, 3}, {14500, 3}, {150000, 3},
                   {100000, 1}, {150000, 3}, {60000, 2}, {60000, 4}};

/* Cases of the shapes that are small enough; answers how many. */
static int make_cases(clgaze_op op, clgaze_problem *p, const struct shape *shapes, int n, tweak_fn tweak,
                      struct test_case *cases)
{
    const int share = number_from("CLGAZE_TEST_SHARE", 1);
    int made = 0, small = 0;

    fit_maxima(p, shapes, n);
    done.problems++;
    for (int i = 0; i < n; i++) {
        if (tiny() && work(op, p, &shapes[i]) > tiny_limits[op].work) {
            done.too_large++;
            continue;
        }
        if (tiny() && (small++ + done.problems) % tiny_limits[op].every != 0)
            continue;
        if (done.offered++ % share != 0)
            continue;
        case_make(&cases[made++], op, p, &shapes[i], tweak, (uint64_t)done.problems * 64 + (uint64_t)i);
    }
    return made;
}

static struct test_case *new_cases(int n)
{
    struct test_case *cases = calloc((size_t)n, sizeof *cases);

    assert_non_null(cases);
    return cases;
}

static void free_cases(struct test_case *cases, int n)
{
    for (int i = 0; i < n; i++)
        case_free(&cases[i]);
    free(cases);
}

/* CLBlast compiles for many seconds; test_gate_clblast pays that once. */
static bool has_own_test(const struct clg_kernel *kernel)
{
    return strcmp(kernel->name, "gate_clblast") == 0;
}

void check_op(clgaze_op op, const clgaze_problem *p, const struct shape *shapes, int n, tweak_fn tweak)
{
    struct test_case *cases = new_cases(n);
    clgaze_problem q = *p;
    int made = make_cases(op, &q, shapes, n, tweak, cases), kernels = 0;

    for (int i = 0; made && test_context()->kernels[i]; i++)
        if (strcmp(test_context()->kernels[i]->op, op_names[op]) == 0 && !has_own_test(test_context()->kernels[i])) {
            run_kernel(op, &q, test_context()->kernels[i], cases, made);
            kernels++;
        }
    if (made)
        assert_true(kernels > 0);
    free_cases(cases, n);
}

void check_auto(clgaze_op op, const clgaze_problem *p, const struct shape *shapes, int n, tweak_fn tweak)
{
    struct test_case *cases = new_cases(n);
    clgaze_problem q = *p;
    int made = make_cases(op, &q, shapes, n, tweak, cases);

    if (made)
        run_plan(op, &q, "automatic choice", cases, made);
    free_cases(cases, n);
}

clgaze_problem problem(clgaze_dtype dtype, int q_heads, int kv_heads, int dim, int block_q, int block_k)
{
    clgaze_problem p = clgaze_problem_default();

    p.dtype = dtype;
    p.q_heads = q_heads;
    p.kv_heads = kv_heads;
    p.head_dim = dim;
    p.block_q = block_q;
    p.block_k = block_k;
    p.rule = CLGAZE_TOP_K;
    p.value = 3;
    return p;
}
