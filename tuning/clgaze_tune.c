/*
 * clgaze_tune.c: the quickest configuration of each kernel, found once a device.
 */
#include "tune.h"

#include "fail.h"

#include <cjson/cJSON.h>
#include <stdio.h>

static void add_device(cJSON *into, clgaze_context *context)
{
    cl_device_id id = clgaze_context_device(context);
    char name[128] = "", driver[128] = "";

    clGetDeviceInfo(id, CL_DEVICE_NAME, sizeof name - 1, name, NULL);
    clGetDeviceInfo(id, CL_DRIVER_VERSION, sizeof driver - 1, driver, NULL);
    cJSON_AddStringToObject(into, "device", name);
    cJSON_AddStringToObject(into, "driver", driver);
}

/* What needs a device but no child: nothing is tuned. */
static int without_tuning(const struct tune_args *args, cJSON *into)
{
    static struct tune_problems problems;
    clgaze_context *context = NULL;
    int code = tune_open(args, &context, &problems);

    if (!code && into)
        add_device(into, context);
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
        code = tune_dry_run(context, &problems, tune_again(args), into);
    clgaze_context_free(context);
    return code;
}

static int on_device(const struct tune_args *args, cJSON *devices)
{
    cJSON *into = devices ? cJSON_CreateObject() : NULL;

    if (into)
        cJSON_AddItemToArray(devices, into);
    if (args->import || args->export || args->show || args->dry_run)
        return without_tuning(args, into);
    return tune_watched(args, into);
}

/* What can be refused before any device is opened. */
static int check(const struct tune_args *args)
{
    static struct tune_problems scratch;
    char why[MAX_WHY];

    for (int i = 0; i < args->n_problems; i++)
        if (tune_problems_add(&scratch, args->problem[i], 0, why))
            return fail(EXIT_INPUT, "--problem \"%.120s\": %s", args->problem[i], why);
    return 0;
}

static int print_json(cJSON *json)
{
    char *text = cJSON_Print(json);

    if (!text)
        return fail(EXIT_INPUT, "memory ran out");
    puts(text);
    cJSON_free(text);
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
    code = args.list ? tune_list(json) : on_device(&args, json ? cJSON_AddArrayToObject(json, "devices") : NULL);
    if (json && (code == 0 || code > EXIT_OPENCL))
        printed = print_json(json);
    cJSON_Delete(json);
    return code ? code : printed;
}
