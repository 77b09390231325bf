/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.c: making plans: check, choose, open the stages, warm.
 */
#include <string.h>

#include "break_even.h"
#include "misses.h"

/* ---- plans ----------------------------------------------------------------- */

bool clg_plan_holds(clgaze_op plan, int op)
{
    if (plan == CLGAZE_PREFILL)
        return op < CLG_OPS;
    return (int)plan == op || (plan == CLGAZE_DISTILL && (op == CLGAZE_GATE || op == CLGAZE_SCORE));
}

static bool makes_lists(clgaze_op op, const clgaze_problem *p)
{
    return (op == CLGAZE_ATTEND || op == CLGAZE_ATTEND_BWD) &&
           (p->lists >= CLGAZE_LISTS_MASK || (p->lists == CLGAZE_LISTS_BLOCKS && p->validate));
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

/* All that can be decided, or refused, without compiling. */
static clgaze_status choose_stages(clgaze_context *ctx, clgaze_plan *plan)
{
    const clgaze_problem *p = &plan->problem;
    clgaze_status st = CLGAZE_OK;

    TRY(clg_break_even_decide(ctx, plan));
    TRY(clg_limits_check(ctx, plan->op, p));
    if (p->packed)
        plan->seqs.kernel = &clg_kernel_seqs;
    if (makes_lists(plan->op, p))
        plan->lists.kernel = &clg_kernel_lists;
    for (int op = 0; op < CLG_STAGES; op++) {
        if (clg_plan_holds(plan->op, op))
            TRY(clg_choose(ctx, (clgaze_op)op, p, NULL, &plan->stage[op]));
    }
    TRY(clg_place_workspace(ctx, plan));
out:
    return st;
}

static clgaze_status warm_stages(clgaze_plan *plan)
{
    clgaze_status st = CLGAZE_OK;

    if (plan->seqs.kernel)
        TRY(clg_stage_warm(plan, &plan->seqs));
    if (plan->lists.kernel)
        TRY(clg_stage_warm(plan, &plan->lists));
    for (int op = 0; op < CLG_STAGES; op++)
        if (plan->stage[op].kernel)
            TRY(clg_stage_warm(plan, &plan->stage[op]));
out:
    return st;
}

static clgaze_status build_stages(clgaze_context *ctx, clgaze_plan *plan)
{
    const clgaze_problem *p = &plan->problem;
    clgaze_status st = CLGAZE_OK;

    if (plan->seqs.kernel)
        TRY(clg_stage_build(ctx, p, &plan->seqs));
    if (plan->lists.kernel)
        TRY(clg_stage_build(ctx, p, &plan->lists));
    for (int op = 0; op < CLG_STAGES; op++)
        if (plan->stage[op].kernel)
            TRY(clg_stage_open(ctx, (clgaze_op)op, p, &plan->stage[op]));
    TRY(clg_place_workspace(ctx, plan)); /* again: a stage may need more, or be of another strategy */
    TRY(warm_stages(plan));
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
    TRY(clg_problem_check(ctx, op, problem));
    clg_misses_note(ctx, op, problem);
    plan = clg_alloc(ctx, sizeof *plan);
    NEED(plan, CLGAZE_ERR_NO_MEMORY, "no memory for a plan");
    plan->ctx = ctx;
    plan->op = op;
    TRY(copy_problem(ctx, problem, &plan->problem));
    TRY(choose_stages(ctx, plan));
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
    for (int op = 0; op < CLG_STAGES; op++)
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
PLAN(truth, TRUTH)
PLAN(distill, DISTILL)
PLAN(attend_bwd, ATTEND_BWD)
#undef PLAN

size_t clgaze_plan_workspace(const clgaze_plan *plan)
{
    return plan ? plan->workspace : 0;
}

int32_t clgaze_plan_width(const clgaze_plan *plan)
{
    return plan && clg_plan_holds(plan->op, CLGAZE_SELECT) ? clg_list_width(&plan->problem) : 0;
}

static const struct clg_stage *stage_of(const clgaze_plan *plan, clgaze_op op)
{
    return plan && (int)op >= 0 && (int)op < CLG_STAGES ? &plan->stage[op] : NULL;
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

clgaze_status clgaze_supports(clgaze_context *ctx, clgaze_op op, const clgaze_problem *problem, char *reason,
                              size_t capacity)
{
    struct clg_text text = {reason, reason ? capacity : 0, 0};
    struct clg_ear ear;
    clgaze_plan plan;
    clgaze_status st;

    clg_put(&text, "%s", "");
    if (!ctx || !problem) {
        clg_put(&text, "%s is NULL", ctx ? "problem" : "context");
        return CLGAZE_ERR_NULL;
    }
    clg_ear_open(&ear, ctx);
    ear.ctx.log_level = CLGAZE_LOG_ERROR;
    memset(&plan, 0, sizeof plan);
    plan.op = op;
    plan.problem = *problem; /* its values and kernel stay the caller's */
    st = clg_problem_check(&ear.ctx, op, problem);
    if (st == CLGAZE_OK)
        st = choose_stages(&ear.ctx, &plan);
    for (int i = 0; i < CLG_STAGES; i++) {
        if (st == CLGAZE_OK && plan.stage[i].name)
            clg_put(&text, "%s%s", text.used ? ", " : "", plan.stage[i].name);
        clg_stage_free(ctx, &plan.stage[i]);
    }
    if (st != CLGAZE_OK)
        clg_put(&text, "%s", ear.reason);
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
