/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command_check.c: clgaze-run check FILE...
 */
#include "commands.h"

#include "compare.h"
#include "fail.h"
#include "json.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

/* One line or one JSON object a tensor. */
static void tell(const struct args *args, const char *path, const char *name, const struct difference *d, cJSON *list)
{
    if (!args->json) {
        printf("%s %s max_abs %.2g rel %.2g %s\n", path, name, d->max_abs, d->relative, d->ok ? "ok" : "FAILED");
        return;
    }
    cJSON *one = cJSON_CreateObject();
    cJSON_AddStringToObject(one, "name", name);
    cJSON_AddNumberToObject(one, "max_abs", d->max_abs);
    cJSON_AddNumberToObject(one, "rel", d->relative);
    cJSON_AddBoolToObject(one, "ok", d->ok);
    cJSON_AddItemToArray(list, one);
}

static int compare_all(const struct args *args, const char *path, const struct job *job, const struct result *result,
                       cJSON *list)
{
    int code = EXIT_DONE, n = 0;
    for (size_t i = 0; i < job->file->n_tensors; i++) {
        const st_tensor *expected = &job->file->tensors[i];
        struct difference d;
        if (strncmp(expected->name, "expect.", 7) != 0)
            continue;
        int bad = compare_tensor(job, result, expected, &d);
        if (bad)
            return bad;
        tell(args, path, expected->name + 7, &d, list);
        code = d.ok ? code : EXIT_DIFFERS;
        n++;
    }
    return n ? code : fail(EXIT_INPUT, "tensor expect.* is missing: there is nothing to compare with");
}

static int check_one(const struct args *args, struct device *device, const char *path, cJSON *files)
{
    st_file *file = NULL;
    struct settings settings;
    struct job job;
    struct result result = {0};
    cJSON *entry = cJSON_CreateObject(), *list = cJSON_CreateArray();
    fail_about(path);
    int code = load_job(args, path, NULL, &file, &settings, &job);
    code = code || device->context ? code : device_open(args->device, args->verbose, device);
    code = code ? code : job_run(device, &job, args->kernel, args->repeat, &result);
    code = code ? code : compare_all(args, path, &job, &result, list);
    if (args->repeat && !args->json && code <= EXIT_DIFFERS)
        stages_print(&result, 1);
    cJSON_AddStringToObject(entry, "file", path);
    cJSON_AddStringToObject(entry, "op", job.operation ? job.operation->name : "");
    cJSON_AddItemToObject(entry, "tensors", list);
    cJSON_AddItemToObject(entry, "stages", stages_json(&result, args->repeat > 0));
    cJSON_AddBoolToObject(entry, "ok", code == EXIT_DONE);
    cJSON_AddItemToArray(files, entry);
    result_free(&result);
    job_free(&job);
    st_close(file);
    return code;
}

int command_check(const struct args *args)
{
    struct device device = {0};
    int worst = EXIT_DONE;
    if (args->in || args->out)
        return fail(EXIT_INPUT, "option --%s is not of check, which takes files alone", args->in ? "in" : "out");
    if (!args->n_files)
        return fail(EXIT_INPUT, "check needs a file");
    cJSON *root = cJSON_CreateObject(), *files = cJSON_AddArrayToObject(root, "files");
    for (int i = 0; i < args->n_files; i++) {
        int code = check_one(args, &device, args->files[i], files);
        worst = code > worst ? code : worst;
        if (code == EXIT_OPENCL)
            break; /* the next file would fail alike */
        fflush(stdout);
    }
    cJSON_AddBoolToObject(root, "ok", worst == EXIT_DONE);
    device_close(&device);
    if (args->json)
        return print_json(stdout, root, worst);
    cJSON_Delete(root);
    return worst;
}
