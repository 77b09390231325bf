/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clgaze_tune.c: the quickest configuration of each kernel, found once a device.
 */
#include "tune.h"

#include "fail.h"
#include "json.h"

#include <cjson/cJSON.h>
#include <stdio.h>

/* Name the device: in JSON always, in text where there may be several. */
static void head(const struct tune_args *args, clgaze_context *context, cJSON *into)
{
    cl_device_id id = clgaze_context_device(context);
    char name[128] = "", driver[128] = "";

    clGetDeviceInfo(id, CL_DEVICE_NAME, sizeof name - 1, name, NULL);
    clGetDeviceInfo(id, CL_DRIVER_VERSION, sizeof driver - 1, driver, NULL);
    if (into) {
        cJSON_AddStringToObject(into, "device", name);
        cJSON_AddStringToObject(into, "driver", driver);
    } else if (args->all_devices && (args->show || args->dry_run || args->advise_block)) {
        printf("%s, driver %s\n", name, driver);
    }
}

/* What needs a device but no child: nothing is tuned. */
static int without_tuning(const struct tune_args *args, cJSON *into)
{
    static struct tune_problems problems;
    clgaze_context *context = NULL;
    int code;

    problems.n = 0;
    code = tune_open(args, &context, &problems);
    if (!code)
        head(args, context, into);
    if (!code && args->import) {
        code = tune_store_check(context, "--out", args->out);
        code = code ? code : tune_import(context, args->import);
        if (!code) {
            const clgaze_status st = clgaze_tuning_save(context, args->out);

            code = st ? fail_library(st) : 0;
        }
    }
    if (!code && args->export)
        code = tune_export(context, args->export);
    if (!code && args->show)
        code = tune_show(context, &problems, args->out, into);
    if (!code && args->dry_run)
        code = tune_dry_run(context, &problems, tune_again(args), tune_nothing(args), into);
    if (!code && args->advise_block)
        code = tune_advise(context, &problems, args->n_problems ? MAX_PROBLEMS : 1, into);
    clgaze_context_free(context);
    return code;
}

static int on_device(const struct tune_args *args, cJSON *devices)
{
    cJSON *into = devices ? cJSON_CreateObject() : NULL;

    if (into)
        cJSON_AddItemToArray(devices, into);
    if (args->import || args->export || args->show || args->dry_run || args->advise_block)
        return without_tuning(args, into);
    return tune_watched(args, into);
}

static int on_devices(const struct tune_args *args, cJSON *devices)
{
    const double end = tune_now() + args->budget;
    const int n = args->all_devices ? tune_count_devices() : 1;
    int worst = 0;

    if (n == 0)
        return fail_no_device();
    for (int i = 0; i < n && worst <= EXIT_OPENCL; i++) {
        struct tune_args one = *args;
        char index[16];
        int code;

        snprintf(index, sizeof index, "%d", i);
        if (args->all_devices)
            one.device = index;
        one.budget = (end - tune_now()) / (n - i); /* below 0: what is used now is timed all the same */
        code = on_device(&one, devices);
        worst = code > worst ? code : worst;
    }
    return worst;
}

/* What can be refused before any device is opened. */
static int check(const struct tune_args *args)
{
    static struct tune_problems scratch;
    char why[MAX_WHY];

    if (args->all_devices && (args->device || args->import))
        return fail(EXIT_INPUT, "--all-devices and --%s exclude each other", args->device ? "device" : "import");
    if (args->stale && args->n_problems)
        return fail(EXIT_INPUT, "--stale and --problem exclude each other");
    for (int i = 0; i < args->n_problems; i++)
        if (tune_problems_add(&scratch, args->problem[i], 0, why))
            return fail(EXIT_INPUT, "--problem \"%.120s\": %s", args->problem[i], why);
    return 0;
}

int main(int argc, char **argv)
{
    static struct tune_args args = {.budget = 60};
    cJSON *json;
    int code, printed = 0;

    fail_setup("clgaze-tune", 0);
    code = tune_args_read(argc, argv, &args);
    code = code ? code : check(&args);
    if (code)
        return code;
    fail_setup("clgaze-tune", args.verbose);
    if (args.help)
        return tune_help();
    if (args.version)
        return printf("clgaze-tune %s\n", clgaze_version()) < 0;
    json = args.json ? cJSON_CreateObject() : NULL;
    code = args.list ? tune_list(json) : on_devices(&args, json ? cJSON_AddArrayToObject(json, "devices") : NULL);
    if (json && (code == 0 || code > EXIT_OPENCL))
        printed = print_json(stdout, json, 0);
    else
        cJSON_Delete(json);
    return code ? code : printed;
}
