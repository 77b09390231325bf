/*
 * plan.c: making plans: check, choose, build, warm.
 */
#include <stdio.h>
#include <string.h>

#include "internal.h"

/* ---- stages ---------------------------------------------------------------- */

/* The -D of a kernel: from the problem and from its values. */
static void options_of(const clgaze_context *ctx, const clgaze_problem *p, const struct clg_stage *stage,
                       struct clg_text *text)
{
    const struct clg_kernel *kernel = stage->kernel;

    clg_put(text, "-cl-std=CL1.2%s%s%s", kernel->options[0] ? " " : "", kernel->options, ctx->device.options);
    if (kernel->define)
        kernel->define(p, stage->values, text);
    else
        clg_define(text, "PACKED", p->packed);
    for (int i = 0; kernel->space && kernel->space[i].name; i++)
        clg_define(text, kernel->space[i].name, stage->values[i]);
}

clgaze_status clg_stage_build(clgaze_context *ctx, const clgaze_problem *p, struct clg_stage *stage)
{
    clgaze_status st = CLGAZE_OK;
    char buffer[1024];
    struct clg_text options = {buffer, sizeof buffer, 0};
    cl_int err = CL_SUCCESS;

    NEED(pthread_mutex_init(&stage->lock, NULL) == 0, CLGAZE_ERR_NO_MEMORY, "no memory for a lock");
    stage->locked = true;
    options_of(ctx, p, stage, &options);
    TRY(clg_program_get(ctx, stage->kernel, buffer, &stage->program));
    for (int i = 0; stage->kernel->entries[i]; i++) {
        stage->entry[i] = clCreateKernel(stage->program, stage->kernel->entries[i], &err);
        NEED(err == CL_SUCCESS, CLGAZE_ERR_OPENCL, "clCreateKernel answered %d for %s", (int)err,
             stage->kernel->entries[i]);
    }
    if (stage->kernel->prepare)
        TRY(stage->kernel->prepare(ctx, p, stage));
    if (stage->kernel->workspace)
        stage->workspace = stage->kernel->workspace(p, stage->values);
out:
    return st;
}

void clg_stage_free(const clgaze_context *ctx, struct clg_stage *stage)
{
    for (int i = 0; i < CLG_MAX_ENTRIES; i++)
        if (stage->entry[i])
            clReleaseKernel(stage->entry[i]);
    if (stage->constants)
        clReleaseMemObject(stage->constants);
    if (stage->program)
        clReleaseProgram(stage->program);
    if (stage->locked)
        pthread_mutex_destroy(&stage->lock);
    clg_release(ctx, stage->name);
    clg_release(ctx, stage->reason);
}

/* Run one group of each kernel on lengths of 0: drivers that compile at the
 * first launch do it now, on a queue of ours. */
static clgaze_status warm(clgaze_plan *plan, struct clg_stage *stage)
{
    const clgaze_context *ctx = plan->ctx;
    clgaze_tensor *t;
    struct clg_run run;
    clgaze_status st = CLGAZE_OK;

    memset(&run, 0, sizeof run);
    t = (clgaze_tensor *)&run.t;
    for (size_t i = 0; i < sizeof run.t / sizeof *t; i++) {
        t[i].buffer = ctx->dummy;
        t[i].shape[0] = 1;
    }
    run.plan = plan;
    run.stage = stage;
    run.p = &plan->problem;
    run.workspace = ctx->dummy;
    run.queue = ctx->queue;
    run.warming = true;
    TRY(stage->kernel->launch(&run));
    TRY_CL(clFlush(run.queue));
    if (run.last)
        TRY_CL(clWaitForEvents(1, &run.last));
out:
    if (run.last)
        clReleaseEvent(run.last);
    return st;
}

/* ---- plans ----------------------------------------------------------------- */

static bool holds(clgaze_op plan, int op)
{
    return plan == CLGAZE_PREFILL || (int)plan == op;
}

static bool makes_lists(clgaze_op op, const clgaze_problem *p)
{
    return op == CLGAZE_ATTEND && (p->lists >= CLGAZE_LISTS_MASK || (p->lists == CLGAZE_LISTS_BLOCKS && p->validate));
}

static clgaze_status copy_problem(const clgaze_context *ctx, const clgaze_problem *p, clgaze_problem *copy)
{
    clgaze_status st = CLGAZE_OK;

    *copy = *p;
    copy->values = NULL;
    copy->kernel = NULL;
    if (p->values) {
        size_t bytes = (size_t)clg_list_heads(p) * sizeof *p->values;
        float *values = clg_alloc(ctx, bytes);

        NEED(values, CLGAZE_ERR_NO_MEMORY, "no memory for problem.values");
        memcpy(values, p->values, bytes);
        copy->values = values;
    }
    if (p->kernel) {
        copy->kernel = clg_copy_text(ctx, p->kernel);
        NEED(copy->kernel, CLGAZE_ERR_NO_MEMORY, "no memory for problem.kernel");
    }
out:
    return st;
}

static clgaze_status build_stages(clgaze_context *ctx, clgaze_plan *plan)
{
    const clgaze_problem *p = &plan->problem;
    clgaze_status st = CLGAZE_OK;

    if (p->packed) {
        plan->seqs.kernel = &clg_kernel_seqs;
        TRY(clg_stage_build(ctx, p, &plan->seqs));
    }
    if (makes_lists(plan->op, p)) {
        plan->lists.kernel = &clg_kernel_lists;
        TRY(clg_stage_build(ctx, p, &plan->lists));
    }
    for (int op = 0; op < CLG_OPS; op++)
        if (plan->stage[op].kernel)
            TRY(clg_stage_build(ctx, p, &plan->stage[op]));
    TRY(clg_place_workspace(ctx, plan));
    if (plan->seqs.kernel)
        TRY(warm(plan, &plan->seqs));
    if (plan->lists.kernel)
        TRY(warm(plan, &plan->lists));
    for (int op = 0; op < CLG_OPS; op++)
        if (plan->stage[op].kernel)
            TRY(warm(plan, &plan->stage[op]));
out:
    return st;
}

clgaze_status clgaze_plan_create(clgaze_context *ctx, clgaze_op op, const clgaze_problem *problem,
                                 clgaze_plan **result)
{
    clgaze_status st = CLGAZE_OK;
    clgaze_plan *plan = NULL;

    if (result)
        *result = NULL;
    if (!ctx)
        return CLGAZE_ERR_NULL;
    NEED(problem && result, CLGAZE_ERR_NULL, "%s is NULL", problem ? "plan" : "problem");
    NEED(op >= CLGAZE_POOL && op <= CLGAZE_PREFILL, CLGAZE_ERR_VALUE, "operation %d is not 0..%d", (int)op,
         (int)CLGAZE_PREFILL);
    TRY(clg_problem_check(ctx, op, problem));
    plan = clg_alloc(ctx, sizeof *plan);
    NEED(plan, CLGAZE_ERR_NO_MEMORY, "no memory for a plan");
    plan->ctx = ctx;
    plan->op = op;
    TRY(copy_problem(ctx, problem, &plan->problem));
    TRY(clg_limits_check(ctx, op, &plan->problem));
    for (int i = 0; i < CLG_OPS; i++)
        if (holds(op, i))
            TRY(clg_choose(ctx, (clgaze_op)i, &plan->problem, &plan->stage[i]));
    TRY(build_stages(ctx, plan));
    *result = plan;
    plan = NULL;
out:
    clgaze_plan_free(plan);
    return st;
}

void clgaze_plan_free(clgaze_plan *plan)
{
    const clgaze_context *ctx;

    if (!plan)
        return;
    ctx = plan->ctx;
    for (int op = 0; op < CLG_OPS; op++)
        clg_stage_free(ctx, &plan->stage[op]);
    clg_stage_free(ctx, &plan->seqs);
    clg_stage_free(ctx, &plan->lists);
    clg_release(ctx, (void *)(uintptr_t)plan->problem.values);
    clg_release(ctx, (void *)(uintptr_t)plan->problem.kernel);
    clg_release(ctx, plan);
}

#define PLAN(name, OP)                                                                                               \
    clgaze_status clgaze_##name##_plan(clgaze_context *context, const clgaze_problem *problem, clgaze_plan **plan)   \
    {                                                                                                                \
        return clgaze_plan_create(context, CLGAZE_##OP, problem, plan);                                              \
    }
PLAN(pool, POOL)
PLAN(gate, GATE)
PLAN(score, SCORE)
PLAN(select, SELECT)
PLAN(attend, ATTEND)
PLAN(prefill, PREFILL)
#undef PLAN

size_t clgaze_plan_workspace(const clgaze_plan *plan)
{
    return plan ? plan->workspace : 0;
}

int32_t clgaze_plan_width(const clgaze_plan *plan)
{
    return plan && holds(plan->op, CLGAZE_SELECT) ? clg_list_width(&plan->problem) : 0;
}

static const struct clg_stage *stage_of(const clgaze_plan *plan, clgaze_op op)
{
    return plan && op >= CLGAZE_POOL && op <= CLGAZE_ATTEND ? &plan->stage[op] : NULL;
}

const char *clgaze_plan_kernel(const clgaze_plan *plan, clgaze_op op)
{
    const struct clg_stage *stage = stage_of(plan, op);

    return stage ? stage->name : NULL;
}

const char *clgaze_plan_reason(const clgaze_plan *plan, clgaze_op op)
{
    const struct clg_stage *stage = stage_of(plan, op);

    return stage ? stage->reason : NULL;
}

/* ---- asking and warming ------------------------------------------------------ */

/* Keeps the first error sentence of a call on its way to the caller's log. */
struct listener {
    char *reason;
    size_t capacity;
};

static void listen(void *user, clgaze_log_level level, clgaze_status st, const char *message)
{
    struct listener *l = user;

    (void)st;
    if (level == CLGAZE_LOG_ERROR && l->capacity && !l->reason[0])
        snprintf(l->reason, l->capacity, "%s", message);
}

clgaze_status clgaze_supports(clgaze_context *ctx, clgaze_op op, const clgaze_problem *problem, char *reason,
                              size_t capacity)
{
    struct listener l = {reason, reason ? capacity : 0};
    struct clg_stage stage;
    clgaze_context ear;
    clgaze_status st;

    if (l.capacity)
        reason[0] = '\0';
    if (!ctx || !problem || op < CLGAZE_POOL || op > CLGAZE_PREFILL) {
        if (l.capacity)
            snprintf(reason, capacity, "context or problem is NULL, or the operation is unknown");
        return CLGAZE_ERR_NULL;
    }
    ear = *ctx; /* the same device with another ear; its lock is not used */
    ear.log = listen;
    ear.log_user = &l;
    ear.log_level = CLGAZE_LOG_ERROR;
    st = clg_problem_check(&ear, op, problem);
    if (st == CLGAZE_OK)
        st = clg_limits_check(&ear, op, problem);
    for (int i = 0; i < CLG_OPS && st == CLGAZE_OK; i++)
        if (holds(op, i)) {
            memset(&stage, 0, sizeof stage);
            st = clg_choose(&ear, (clgaze_op)i, problem, &stage);
            if (st == CLGAZE_OK && reason && strlen(reason) + strlen(stage.name) + 3 < capacity)
                snprintf(reason + strlen(reason), capacity - strlen(reason), "%s%s", reason[0] ? ", " : "",
                         stage.name);
            clg_stage_free(&ear, &stage);
        }
    return st;
}

clgaze_status clgaze_warm(clgaze_context *ctx, size_t n, clgaze_request *requests,
                          int (*progress)(void *user, size_t done, size_t total), void *user)
{
    clgaze_status first = CLGAZE_OK;

    if (!ctx || (n && !requests))
        return ctx ? clg_fail(ctx, CLGAZE_ERR_NULL, "requests is NULL") : CLGAZE_ERR_NULL;
    for (size_t i = 0; i < n; i++)
        requests[i].plan = NULL;
    for (size_t i = 0; i < n; i++) {
        clgaze_status st;

        if (progress && progress(user, i, n))
            return clg_fail(ctx, CLGAZE_ERR_CANCELLED, "stopped by the caller after %zu of %zu plans", i, n);
        st = clgaze_plan_create(ctx, requests[i].op, requests[i].problem, &requests[i].plan);
        first = first == CLGAZE_OK ? st : first;
    }
    return first;
}
