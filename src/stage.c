/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stage.c: one operation of a plan: its kernel chosen, built, proved, warmed.
 */
#include <string.h>

#include "internal.h"

void clg_stage_options(const clgaze_context *ctx, const clgaze_problem *p, const struct clg_stage *stage,
                       struct clg_text *text)
{
    const struct clg_kernel *kernel = stage->kernel;

    clg_put(text, "%s%s%s", ctx->device.options, kernel->options[0] ? " " : "", kernel->options);
    if (kernel->define)
        kernel->define(p, stage->values, text);
    else
        clg_define(text, "PACKED", p->packed);
    for (int i = 0; kernel->space && kernel->space[i].name; i++)
        clg_define(text, kernel->space[i].name, stage->values[i]);
}

/* Release what was made from the stage's program. */
static void empty(struct clg_stage *stage)
{
    for (int i = 0; i < CLG_MAX_ENTRIES; i++)
        if (stage->entry[i])
            clReleaseKernel(stage->entry[i]);
    if (stage->constants)
        clReleaseMemObject(stage->constants);
    if (stage->program)
        clReleaseProgram(stage->program);
    memset(stage->entry, 0, sizeof stage->entry);
    stage->constants = NULL;
    stage->program = NULL;
}

/* Make what a stage has beside its program. */
static clgaze_status furnish(clgaze_context *ctx, const clgaze_problem *p, struct clg_stage *stage)
{
    clgaze_status st = CLGAZE_OK;
    cl_int err = CL_SUCCESS;

    for (int i = 0; stage->kernel->entries[i]; i++) {
        stage->entry[i] = clCreateKernel(stage->program, stage->kernel->entries[i], &err);
        NEED(err == CL_SUCCESS, CLGAZE_ERR_OPENCL, "clCreateKernel answered %d for %s", (int)err,
             stage->kernel->entries[i]);
    }
    if (stage->kernel->prepare)
        TRY(stage->kernel->prepare(ctx, p, stage));
out:
    return st;
}

/* Furnish a stage, and believe its program only after a test if there is doubt.
 * `again`: it came from disk and is not right; compile it. */
static clgaze_status furnish_and_test(clgaze_context *ctx, const clgaze_problem *p, struct clg_stage *stage,
                                      bool *again)
{
    bool loaded = false, doubted = clg_program_doubted(ctx, stage->built, stage->program, &loaded);
    struct clg_ear ear;
    clgaze_status st;

    *again = false;
    if (!doubted)
        return furnish(ctx, p, stage);
    clg_ear_open(&ear, ctx);
    st = furnish(&ear.ctx, p, stage);
    if (st == CLGAZE_OK)
        st = clg_selftest(&ear.ctx, p, stage);
    if (st == CLGAZE_OK) {
        clg_program_judge(ctx, stage->built, stage->program, NULL);
        return st;
    }
    if (st == CLGAZE_ERR_NO_MEMORY)
        return clg_fail(ctx, st, "%s", ear.reason);
    clg_program_judge(ctx, stage->built, stage->program, ear.reason);
    *again = loaded;
    return loaded ? CLGAZE_OK
                  : clg_fail(ctx, CLGAZE_ERR_UNSUPPORTED, "kernel %s failed its self-test: %s", stage->kernel->name,
                             ear.reason);
}

clgaze_status clg_stage_build(clgaze_context *ctx, const clgaze_problem *p, struct clg_stage *stage)
{
    clgaze_status st = CLGAZE_OK;
    char buffer[1024];
    struct clg_text options = {buffer, sizeof buffer, 0};
    bool again;

    NEED(pthread_mutex_init(&stage->lock, NULL) == 0, CLGAZE_ERR_NO_MEMORY, "no memory for a lock");
    stage->locked = true;
    clg_stage_options(ctx, p, stage, &options);
    TRY(clg_program_get(ctx, stage->kernel, buffer, &stage->built, &stage->program));
    TRY(furnish_and_test(ctx, p, stage, &again));
    if (again) {
        empty(stage);
        TRY(clg_program_renew(ctx, stage->built, &stage->program));
        TRY(furnish_and_test(ctx, p, stage, &again));
    }
out:
    return st;
}

/* Build what must be proved before use; the self-test of a .prove strategy is part of that. */
static clgaze_status build_proved(clgaze_context *ctx, const clgaze_problem *p, struct clg_stage *stage)
{
    const clgaze_status st = clg_stage_build(ctx, p, stage);

    return st == CLGAZE_OK && !stage->kernel->prove ? clg_selftest(ctx, p, stage) : st;
}

clgaze_status clg_stage_open(clgaze_context *ctx, clgaze_op op, const clgaze_problem *p, struct clg_stage *stage)
{
    clgaze_status st = CLGAZE_OK;

    for (;;) {
        const struct clg_kernel *after = stage->untried ? NULL : stage->kernel;
        struct clgaze_context tried = *ctx;
        struct clg_ear ear;

        if (!stage->kernel->prove && !stage->untried)
            return clg_stage_build(ctx, p, stage);
        clg_ear_open(&ear, ctx);
        st = build_proved(&ear.ctx, p, stage);
        if (st == CLGAZE_OK)
            return st;
        NEED(st != CLGAZE_ERR_NO_MEMORY, st, "%s", ear.reason);
        NEED(!p->kernel || clg_kernel_in(ctx->kernels, p->kernel) != stage->kernel, CLGAZE_ERR_UNSUPPORTED,
             "problem.kernel \"%s\" cannot serve here: %s", p->kernel, ear.reason);
        clg_log(ctx, CLGAZE_LOG_WARN, st, "%s: %s was passed over: %s%s", stage->kernel->op,
                stage->untried ? stage->name : stage->kernel->name,
                stage->untried ? "it was untried, and did not pass its self-test: " : "", ear.reason);
        clg_stage_free(ctx, stage);
        memset(stage, 0, sizeof *stage);
        tried.tried_only = true;
        TRY(clg_choose(&tried, op, p, after, stage));
    }
out:
    return st;
}

void clg_stage_free(const clgaze_context *ctx, struct clg_stage *stage)
{
    empty(stage);
    if (stage->locked)
        pthread_mutex_destroy(&stage->lock);
    clg_release(ctx, stage->name);
    clg_release(ctx, stage->reason);
}

/* Run one group of each kernel on lengths of 0: drivers that compile at the
 * first launch do it now, on a queue of ours. */
clgaze_status clg_stage_warm(clgaze_plan *plan, struct clg_stage *stage)
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
