/* SPDX-License-Identifier: Apache-2.0 */
/*
 * show.c: what is known, without tuning: --list, --show, --dry-run.
 */
#include "tune.h"

#include "break_even.h"
#include "fail.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- kernels ---------------------------------------------------------------- */

static cJSON *kernel_json(const struct clg_kernel *kernel)
{
    cJSON *one = cJSON_CreateObject(), *space;

    cJSON_AddStringToObject(one, "op", kernel->op);
    cJSON_AddStringToObject(one, "kernel", kernel->name);
    cJSON_AddNumberToObject(one, "configurations", clg_space_size(kernel));
    space = cJSON_AddArrayToObject(one, "space");
    for (int j = 0; kernel->space && kernel->space[j].name; j++) {
        cJSON *param = cJSON_CreateObject(), *allowed;

        cJSON_AddStringToObject(param, "name", kernel->space[j].name);
        cJSON_AddNumberToObject(param, "default", kernel->space[j].value);
        allowed = cJSON_AddArrayToObject(param, "allowed");
        for (const int *v = kernel->space[j].allowed; *v; v++)
            cJSON_AddItemToArray(allowed, cJSON_CreateNumber(*v));
        cJSON_AddItemToArray(space, param);
    }
    return one;
}

static void print_kernel(const struct clg_kernel *kernel)
{
    printf("%-8s %s, %d configurations\n", kernel->op, kernel->name, clg_space_size(kernel));
    for (int j = 0; kernel->space && kernel->space[j].name; j++) {
        printf("           %-6s", kernel->space[j].name);
        for (const int *v = kernel->space[j].allowed; *v; v++)
            printf(" %d%s", *v, *v == kernel->space[j].value ? "*" : "");
        printf("\n");
    }
}

int tune_list(cJSON *into)
{
    cJSON *kernels = into ? cJSON_AddArrayToObject(into, "kernels") : NULL;

    for (int i = 0; clg_kernels[i]; i++)
        if (into)
            cJSON_AddItemToArray(kernels, kernel_json(clg_kernels[i]));
        else
            print_kernel(clg_kernels[i]);
    if (!into)
        puts("* the default");
    return 0;
}

/* ---- what is used, and why ------------------------------------------------------- */

/* The record that the choice came from; false: none did. */
static bool record_of(clgaze_context *context, const char *name, const struct clg_stage *stage,
                      struct clg_record *record)
{
    for (int nearness = 0; nearness < 5; nearness++)
        if (clg_records_find(context->records, &context->device, stage->kernel->op, strchr(name, ' ') + 1, nearness,
                             record) &&
            record->kernel == stage->kernel && memcmp(record->values, stage->values, sizeof record->values) == 0)
            return true;
    return false;
}

/* Days since the day that a note begins with; negative: it begins with none. */
static int days_since(const char *note)
{
    const time_t now = time(NULL);
    struct tm then, today;

    memset(&then, 0, sizeof then);
    if (sscanf(note, "%4d-%2d-%2d", &then.tm_year, &then.tm_mon, &then.tm_mday) != 3 || !gmtime_r(&now, &today))
        return -1;
    then.tm_year -= 1900;
    then.tm_mon--;
    then.tm_hour = 12;
    today.tm_hour = 12;
    today.tm_min = today.tm_sec = 0;
    return (int)(difftime(mktime(&today), mktime(&then)) / 86400 + 0.5);
}

/* Where a record was read. */
static const char *file_of(const clgaze_context *context, const struct clg_record *r, const char *out,
                           char path[CLG_MAX_PATH])
{
    if (r->origin == CLG_FROM_LIBRARY)
        snprintf(path, CLG_MAX_PATH, "built in, %s", r->source ? r->source : "?");
    else if (r->origin == CLG_FROM_FILE)
        snprintf(path, CLG_MAX_PATH, "%s", out ? out : "?");
    else if (!clg_tuning_file(context, path))
        path[0] = '\0';
    return path;
}

static void print_record(const struct clg_record *r, const char *file)
{
    const int days = days_since(r->note);

    printf("    %s, line %d: ", file, r->line);
    if (r->note[0])
        printf("%s", r->note);
    if (days >= 0)
        printf(" (%d %s ago)", days, days == 1 ? "day" : "days");
    printf("%s%s, driver %s; ", r->note[0] ? ", " : "", r->device.name,
           r->device.driver[0] ? r->device.driver : "any");
    if (r->untried)
        printf("untried, self-tested before use\n");
    else
        printf("%.1f us, %.2fx%s\n", r->us, r->default_us / r->us, r->finished ? "" : ", unfinished");
}

static cJSON *record_json(const struct clg_record *r, const char *file)
{
    cJSON *one = cJSON_CreateObject();
    char problem[96];
    const int days = days_since(r->note);

    cJSON_AddStringToObject(one, "file", file);
    cJSON_AddNumberToObject(one, "line", r->line);
    cJSON_AddStringToObject(one, "note", r->note);
    if (days >= 0)
        cJSON_AddNumberToObject(one, "days", days);
    cJSON_AddStringToObject(one, "device", r->device.name);
    cJSON_AddStringToObject(one, "driver", r->device.driver);
    snprintf(problem, sizeof problem, "%s %s", r->kernel->op, r->problem);
    cJSON_AddStringToObject(one, "problem", problem);
    if (r->untried) {
        cJSON_AddBoolToObject(one, "untried", 1);
    } else {
        cJSON_AddNumberToObject(one, "us", r->us);
        cJSON_AddNumberToObject(one, "before_us", r->default_us);
        cJSON_AddBoolToObject(one, "finished", r->finished);
    }
    return one;
}

static void show(const clgaze_context *context, const char *name, const struct clg_stage *stage,
                 const struct clg_record *record, const char *out, cJSON *list)
{
    char path[CLG_MAX_PATH];

    if (!list) {
        printf("%-30s %s: %s\n", name, stage->name, stage->reason);
        if (record)
            print_record(record, file_of(context, record, out, path));
        return;
    }
    cJSON *one = cJSON_CreateObject();
    cJSON_AddStringToObject(one, "problem", name);
    cJSON_AddStringToObject(one, "kernel", stage->name);
    cJSON_AddStringToObject(one, "reason", stage->reason);
    cJSON_AddItemToObject(one, "record",
                          record ? record_json(record, file_of(context, record, out, path)) : cJSON_CreateNull());
    cJSON_AddItemToArray(list, one);
}

/* From which density a prefill may be dense: what a plan with problem.auto_density asks. */
static void show_break_even(clgaze_context *context, const char *name, const clgaze_problem *p, const char *out,
                            cJSON *list)
{
    static const char *const words[] = {"measured on this device", "measured on this device with another driver",
                                        "measured on this device for another length"};
    struct clg_record record;
    const int near = clg_break_even_find(context, p, &record);
    const char *reason =
        near < 0 ? "no break-even is known: blocks are chosen, whatever density is expected" : words[near];
    char text[64] = "sparse";
    struct clg_text name_text = {text, sizeof text, 0};
    const struct clg_stage stage = {.name = text, .reason = (char *)(uintptr_t)reason};

    if (near >= 0)
        clg_space_print(&clg_kernel_dense, record.values, &name_text);
    show(context, name, &stage, near < 0 ? NULL : &record, out, list);
}

int tune_show(clgaze_context *context, const struct tune_problems *problems, const char *out, cJSON *into)
{
    cJSON *list = into ? cJSON_AddArrayToObject(into, "problems") : NULL;
    clgaze_status st = CLGAZE_OK;

    for (int i = 0; i < problems->n && !st; i++) {
        const clgaze_op op = problems->at[i].op;
        const clgaze_problem *p = &problems->at[i].problem;
        struct clg_stage stage;
        struct clg_record record;
        char name[96] = "";

        memset(&stage, 0, sizeof stage);
        st = clgaze_tuning_problem(context, op, p, name, sizeof name);
        st = st || op == CLGAZE_PREFILL ? st : clg_choose(context, op, p, NULL, &stage);
        if (!st && op == CLGAZE_PREFILL)
            show_break_even(context, name, p, out, list);
        else if (!st)
            show(context, name, &stage, record_of(context, name, &stage, &record) ? &record : NULL, out, list);
        clg_stage_free(context, &stage);
    }
    return st ? fail_library(st) : 0;
}

/* ---- what would be tuned ------------------------------------------------------------ */

int tune_dry_run(clgaze_context *context, const struct tune_problems *problems, clgaze_tune_again again,
                 const char *nothing, cJSON *into)
{
    cJSON *list = into ? cJSON_AddArrayToObject(into, "problems") : NULL;
    int n = 0;

    for (int i = 0; i < problems->n; i++) {
        char name[96] = "";

        clgaze_tuning_problem(context, problems->at[i].op, &problems->at[i].problem, name, sizeof name);
        if (clg_tune_known(context, again, problems->at[i].op, name))
            continue;
        n++;
        if (into)
            cJSON_AddItemToArray(list, cJSON_CreateString(name));
        else
            printf("%s%s%s\n", name, problems->at[i].stale[0] ? ", " : "", problems->at[i].stale);
    }
    if (n == 0)
        fprintf(stderr, "nothing would be tuned: %s\n", nothing);
    return 0;
}
