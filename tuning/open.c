/* SPDX-License-Identifier: Apache-2.0 */
/*
 * open.c: a device with its records, and what is to be tuned on it.
 */
#include "tune.h"

#include "fail.h"

#include <stdio.h>
#include <string.h>

clgaze_tune_again tune_again(const struct tune_args *args)
{
    return args->again ? CLGAZE_TUNE_ALL : args->resume ? CLGAZE_TUNE_UNFINISHED : CLGAZE_TUNE_NEW;
}

const char *tune_nothing(const struct tune_args *args)
{
    return args->stale ? "no record of this device is of another driver"
                       : "each problem has a record (--resume, --again)";
}

static int open_device(const struct tune_args *args, clgaze_context **context)
{
    clgaze_context_options o;
    clgaze_status st;
    int code;

    memset(&o, 0, sizeof o);
    o.pick = args->device;
    o.log = tune_log;
    o.log_level = args->verbose ? CLGAZE_LOG_DEBUG : CLGAZE_LOG_WARN;
    if (clgaze_device_list(NULL, 0) == 0)
        return fail_no_device();
    st = clgaze_context_create(&o, context);
    if (!st)
        return 0;
    code = fail_library(st);
    return st == CLGAZE_ERR_NO_DEVICE ? EXIT_INPUT : code; /* there are some: --device names none of them */
}

/* Of the problems from the from-th on keep those that can run here.  A part that was left out may
 * stand for values that this device does not have, so only that none is left is an error; without
 * `text`, which a person wrote, nothing is. */
static int keep_supported(clgaze_context *context, struct tune_problems *all, int from, const char *text)
{
    char reason[MAX_WHY] = "", last[MAX_WHY] = "";
    int kept = from;

    for (int i = from; i < all->n; i++) {
        const clgaze_status st = clgaze_supports(context, all->at[i].op, &all->at[i].problem, reason, sizeof reason);

        if (st && st != CLGAZE_ERR_UNSUPPORTED && text)
            return fail(EXIT_INPUT, "--problem \"%s\": %s", text, reason);
        if (st)
            memcpy(last, reason, sizeof last);
        else
            all->at[kept++] = all->at[i];
    }
    all->n = kept;
    return kept > from || !text ? 0 : fail(EXIT_INPUT, "--problem \"%s\": %s", text, last);
}

/* First what plans missed, then the usual. */
static void list_usual(clgaze_context *context, struct tune_problems *problems, int gpu)
{
    static clgaze_problem missed[MAX_PROBLEMS / 2];
    static clgaze_op ops[MAX_PROBLEMS / 2];
    const size_t n = clgaze_tuning_misses(context, ops, missed, MAX_PROBLEMS / 2);

    for (size_t i = 0; i < n && i < MAX_PROBLEMS / 2; i++) {
        problems->at[problems->n].op = ops[i];
        problems->at[problems->n].stale[0] = '\0';
        problems->at[problems->n++].problem = missed[i];
    }
    tune_problems_usual(problems, gpu);
}

/* Of problems with one name keep the first. */
static void keep_one_of_each(clgaze_context *context, struct tune_problems *all)
{
    static char names[MAX_PROBLEMS][96];
    int kept = 0;

    for (int i = 0; i < all->n; i++) {
        int same = 0;

        clgaze_tuning_problem(context, all->at[i].op, &all->at[i].problem, names[kept], sizeof names[kept]);
        while (strcmp(names[same], names[kept]) != 0)
            same++;
        if (same == kept)
            all->at[kept++] = all->at[i];
    }
    all->n = kept;
}

static int list_problems(const struct tune_args *args, clgaze_context *context, struct tune_problems *problems)
{
    cl_device_type type = 0;
    char why[MAX_WHY];
    int gpu, code = 0;

    clGetDeviceInfo(clgaze_context_device(context), CL_DEVICE_TYPE, sizeof type, &type, NULL);
    gpu = (type & CL_DEVICE_TYPE_GPU) != 0;
    for (int i = 0; i < args->n_problems && !code; i++) {
        const int from = problems->n;

        if (tune_problems_add(problems, args->problem[i], gpu, why))
            return fail(EXIT_INPUT, "--problem \"%s\": %s", args->problem[i], why);
        code = keep_supported(context, problems, from, args->problem[i]);
    }
    if (code)
        return code;
    if (args->n_problems > 0) {
        keep_one_of_each(context, problems);
        return 0;
    }
    if (args->stale)
        tune_stale(context, problems, gpu);
    else
        list_usual(context, problems, gpu);
    code = keep_supported(context, problems, 0, NULL);
    keep_one_of_each(context, problems);
    return code;
}

/* Records of --out count from the start. */
static int read_out(const struct tune_args *args, clgaze_context *context)
{
    FILE *there = args->out ? fopen(args->out, "r") : NULL;
    clgaze_status st;

    if (!there)
        return 0; /* it will be made */
    fclose(there);
    st = clgaze_tuning_load(context, args->out);
    return st ? fail_library(st) : 0;
}

int tune_open(const struct tune_args *args, clgaze_context **context, struct tune_problems *problems)
{
    int code = open_device(args, context);

    code = code ? code : read_out(args, *context);
    return code ? code : list_problems(args, *context, problems);
}
