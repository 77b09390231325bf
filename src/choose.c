/* SPDX-License-Identifier: Apache-2.0 */
/*
 * choose.c: which strategy, with which values, serves an operation here.
 *
 * A record decides, if there is one that fits.  Else the table's order does: the
 * first strategy that fits, with its default values, or, where those do not fit,
 * the nearest that do.
 */
#include <string.h>

#include "records.h"

const char *clg_op_name(clgaze_op op)
{
    static const char *const names[] = {"pool",    "gate",  "score",   "select",    "attend",
                                        "prefill", "truth", "distill", "attend_bwd"};

    return (size_t)op < CLG_COUNT(names) ? names[op] : "?";
}

const char *clg_nearest(const struct clg_device *device, const struct clg_kernel *kernel, const clgaze_problem *p,
                        int *values)
{
    const char *why = kernel->fits ? kernel->fits(device, p, values) : NULL;
    int best[CLG_MAX_PARAMS], best_distance = -1;

    if (!why)
        return NULL;
    for (int i = 0; i < clg_space_size(kernel); i++) {
        int candidate[CLG_MAX_PARAMS], steps;

        clg_space_get(kernel, i, candidate);
        steps = clg_space_distance(kernel, values, candidate);
        if ((best_distance < 0 || steps < best_distance) && !kernel->fits(device, p, candidate)) {
            memcpy(best, candidate, sizeof best);
            best_distance = steps;
        }
    }
    if (best_distance < 0)
        return why;
    memcpy(values, best, sizeof best);
    return NULL;
}

/* A strategy and values that a record of this problem's name names and that fit, the nearest record first; `how`
 * says in words where they come from. */
static const struct clg_kernel *recorded_as(clgaze_context *ctx, const char *op, const char *name,
                                            const clgaze_problem *p, struct clg_stage *stage, const char **how)
{
    static const char *const words[] = {"tuned on this device", "tuned on this device with another driver",
                                        "tuned on this device for another length",
                                        "tuned on a device of the same vendor", "tuned on a device of the same kind"};

    for (int nearness = 0; nearness <= ctx->nearest; nearness++) {
        const struct clg_kernel *kernel;
        struct clg_record record;

        if (!clg_records_find(ctx->records, &ctx->device, op, name, nearness, &record) ||
            (record.untried && ctx->tried_only))
            continue;
        kernel = clg_kernel_in(ctx->kernels, record.kernel->name); /* a test's table has its own */
        memcpy(stage->values, record.values, sizeof record.values);
        if (kernel && (!kernel->fits || !kernel->fits(&ctx->device, p, stage->values))) {
            *how =
                record.untried ? "from the documents of such devices, untried but for a self-test" : words[nearness];
            stage->untried = record.untried;
            return kernel;
        }
    }
    return NULL;
}

/* The same; a form of lists that nobody tuned takes what lists of each query head were tuned to. */
static const struct clg_kernel *recorded(clgaze_context *ctx, const char *op, const clgaze_problem *p,
                                         struct clg_stage *stage, const char **how)
{
    clgaze_problem form = *p;
    const struct clg_kernel *first = NULL, *kernel;
    char own[128] = "", plain[128] = "";
    struct clg_text own_key = {own, sizeof own, 0}, plain_key = {plain, sizeof plain, 0};

    for (int i = 0; ctx->kernels[i] && !first; i++)
        if (strcmp(ctx->kernels[i]->op, op) == 0)
            first = ctx->kernels[i];
    if (!first || !first->key)
        return NULL;
    form.lists = CLGAZE_LISTS_BLOCKS;
    form.scope = CLGAZE_SCOPE_Q;
    clg_problem_key(first, p, &own_key);
    clg_problem_key(first, &form, &plain_key);
    kernel = recorded_as(ctx, op, own, p, stage, how);
    if (!kernel && strcmp(own, plain) != 0 && (kernel = recorded_as(ctx, op, plain, p, stage, how)))
        *how = stage->untried ? *how : "tuned for lists of each query head";
    return kernel;
}

/* Keep what was decided, in words too. */
static clgaze_status decide(clgaze_context *ctx, const struct clg_kernel *kernel, const char *reason,
                            struct clg_stage *stage)
{
    clgaze_status st = CLGAZE_OK;
    char buffer[256];
    struct clg_text text = {buffer, sizeof buffer, 0};

    stage->kernel = kernel;
    clg_space_print(kernel, stage->values, &text);
    stage->name = clg_copy_text(ctx, buffer);
    stage->reason = clg_copy_text(ctx, reason);
    NEED(stage->name && stage->reason, CLGAZE_ERR_NO_MEMORY, "no memory for a plan");
    clg_log(ctx, CLGAZE_LOG_INFO, CLGAZE_OK, "%s: %s, %s", kernel->op, buffer, reason);
out:
    return st;
}

static clgaze_status forced(clgaze_context *ctx, const clgaze_problem *p, const struct clg_kernel *kernel,
                            struct clg_stage *stage)
{
    const char *options = p->kernel + strcspn(p->kernel, " ");
    clgaze_status st = CLGAZE_OK;
    const char *why;

    clg_space_default(kernel, stage->values);
    TRY(clg_space_parse(ctx, kernel, options, stage->values));
    if (strspn(options, " ") == strlen(options))
        why = clg_nearest(&ctx->device, kernel, p, stage->values);
    else
        why = kernel->fits ? kernel->fits(&ctx->device, p, stage->values) : NULL;
    NEED(!why, CLGAZE_ERR_UNSUPPORTED, "problem.kernel \"%s\" cannot serve here: %s", p->kernel, why);
    TRY(decide(ctx, kernel, "forced by problem.kernel", stage));
out:
    return st;
}

clgaze_status clg_choose(clgaze_context *ctx, clgaze_op op, const clgaze_problem *p, const struct clg_kernel *after,
                         struct clg_stage *stage)
{
    const struct clg_kernel *wanted = p->kernel && p->kernel[0] ? clg_kernel_in(ctx->kernels, p->kernel) : NULL;
    const char *name = clg_op_name(op);
    const struct clg_kernel *known;
    bool passed = !after;
    const char *how;

    if (p->kernel && p->kernel[0] && !wanted)
        return clg_fail(ctx, CLGAZE_ERR_VALUE, "problem.kernel \"%s\" is not a strategy that this library knows",
                        p->kernel);
    if (wanted && strcmp(wanted->op, name) == 0)
        return forced(ctx, p, wanted, stage);
    known = after ? NULL : recorded(ctx, name, p, stage, &how);
    if (known)
        return decide(ctx, known, how, stage);
    for (int i = 0; ctx->kernels[i]; i++) {
        const struct clg_kernel *kernel = ctx->kernels[i];
        const char *why;

        if (kernel == after)
            passed = true;
        if (!passed || kernel == after || strcmp(kernel->op, name) != 0)
            continue;
        clg_space_default(kernel, stage->values);
        why = clg_nearest(&ctx->device, kernel, p, stage->values);
        if (!why)
            return decide(ctx, kernel,
                          after ? "the next in the table that fits this device"
                                : "the first in the table that fits this device",
                          stage);
        clg_log(ctx, CLGAZE_LOG_DEBUG, CLGAZE_OK, "%s: %s was passed over: %s", name, kernel->name, why);
    }
    return clg_fail(ctx, CLGAZE_ERR_UNSUPPORTED,
                    "no kernel of operation %s can run this problem on %s; the log at debug level says why not", name,
                    ctx->device.name);
}
