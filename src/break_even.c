/* SPDX-License-Identifier: Apache-2.0 */
/*
 * break_even.c: whether a plan of prefill is dense, which changes answers and so must be asked
 * for: problem.auto_density.
 *
 * The break-even is a record like any other, of a strategy that has no kernel; tune_dense.c
 * measures it.
 */
#include "break_even.h"

#include <stdio.h>
#include <string.h>

static const struct clg_param space[] = {
    {"FROM", 100, {10, 20, 30, 40, 50, 60, 80, 100}}, /* per cent of the visible blocks */
    {NULL, 0, {0}},
};

/* What matters to attend, gate and select together. */
static void key(const clgaze_problem *p, struct clg_text *text)
{
    clg_kernel_find("attend")->key(p, text);
    clg_put(text, " dg%d %s %s", clg_gate_dim(p), p->gate_double ? "double" : "single",
            p->rule >= CLGAZE_THRESHOLD ? "mass" : "count");
}

const struct clg_kernel clg_kernel_dense = {.op = "prefill", .name = "dense", .space = space, .key = key};

/* ---- deciding ------------------------------------------------------------------ */

int clg_break_even_find(clgaze_context *ctx, const clgaze_problem *p, struct clg_record *record)
{
    enum { THIS_DEVICE = 2 };
    char buffer[128] = "";
    struct clg_text text = {buffer, sizeof buffer, 0};

    clg_problem_key(&clg_kernel_dense, p, &text);
    for (int nearness = 0; nearness <= ctx->nearest && nearness <= THIS_DEVICE; nearness++)
        if (clg_records_find(ctx->records, &ctx->device, clg_kernel_dense.op, buffer, nearness, record) &&
            !record->untried)
            return nearness;
    return -1;
}

clgaze_status clg_break_even_decide(clgaze_context *ctx, clgaze_plan *plan)
{
    static const char *const words[] = {"", ", with another driver", ", for another length"};
    const double density = plan->problem.auto_density;
    struct clg_stage *stage = &plan->stage[CLGAZE_PREFILL];
    clgaze_status st = CLGAZE_OK;
    struct clg_record record;
    char reason[128];
    int near;

    if (plan->op != CLGAZE_PREFILL || !(density > 0))
        goto out;
    near = clg_break_even_find(ctx, &plan->problem, &record);
    plan->dense = near >= 0 && 100 * density >= record.values[0];
    if (near >= 0)
        snprintf(reason, sizeof reason, "expected density %.2f, break-even %.2f on this device%s", density,
                 0.01 * record.values[0], words[near]);
    else
        snprintf(reason, sizeof reason, "expected density %.2f, but no break-even of this device is known", density);
    stage->name = clg_copy_text(ctx, plan->dense ? "dense" : "sparse");
    stage->reason = clg_copy_text(ctx, reason);
    NEED(stage->name && stage->reason, CLGAZE_ERR_NO_MEMORY, "no memory for a plan");
    clg_log(ctx, CLGAZE_LOG_INFO, CLGAZE_OK, "prefill: %s, %s", stage->name, reason);
    if (plan->dense) {
        plan->op = CLGAZE_ATTEND;
        plan->problem.lists = CLGAZE_LISTS_DENSE;
    }
out:
    return st;
}

/* ---- solving -------------------------------------------------------------------- */

/* On a busy machine the slice may have been quicker than one block of its rows. */
static double sparse_at(const struct clg_dense_times *t, double density)
{
    const double run = t->density[1] - t->density[0], rise = t->high - t->low;
    const double slope = run > 0 && rise > 0 ? rise / run : 0;
    const double rows = t->low > t->few ? t->low - t->few : 0;

    return t->keys * t->few + t->more * rows + t->all * slope * (density - t->density[0]);
}

int clg_break_even_solve(const struct clg_dense_times *t, double *sparse_us, double *dense_us)
{
    const int *from = space[0].allowed, last = space[0].value;

    *dense_us = t->all * t->dense;
    while (*from < last && *dense_us >= (1 - t->noise) * sparse_at(t, 0.01 * *from))
        from++;
    *sparse_us = sparse_at(t, 0.01 * *from);
    return *from;
}
