/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command_operation.c: clgaze-run OP --in FILE --out FILE.
 */
#include "commands.h"

#include "fail.h"
#include "json.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

int load_job(const struct args *args, const char *path, const char *name, st_file **file, struct settings *settings,
             struct job *job)
{
    char why[ST_WHY];
    *file = NULL;
    memset(job, 0, sizeof *job);
    if (st_open(path, file, why, sizeof why))
        return fail(EXIT_INPUT, "%s", why);
    int code = settings_read(args, *file, settings);
    if (code)
        return code;
    name = name ? name : st_meta(*file, "op");
    if (!name)
        return fail(EXIT_INPUT, "key op of __metadata__ is missing: nothing says which operation to check");
    const struct operation *operation = operation_find(name);
    return operation ? job_make(operation, *file, settings, job) : EXIT_INPUT;
}

cJSON *stages_json(const struct result *result, int timed)
{
    cJSON *list = cJSON_CreateArray();
    for (int i = 0; i < result->n_stages; i++) {
        const struct stage *s = &result->stages[i];
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "stage", s->name);
        cJSON_AddStringToObject(one, "kernel", s->kernel);
        if (timed) {
            cJSON_AddNumberToObject(one, "ms", s->ms);
            cJSON_AddNumberToObject(one, "ms_min", s->ms_min);
            cJSON_AddNumberToObject(one, "ms_max", s->ms_max);
        }
        cJSON_AddItemToArray(list, one);
    }
    return list;
}

void stages_print(const struct result *result, int timed)
{
    double sum = 0;
    for (int i = 0; i < result->n_stages; i++) {
        const struct stage *s = &result->stages[i];
        sum += s->ms;
        if (timed)
            printf("%-8s %10.3f ms  (%.3f .. %.3f)  %s\n", s->name, s->ms, s->ms_min, s->ms_max, s->kernel);
        else
            printf("%-8s %s\n", s->name, s->kernel);
    }
    if (timed && result->n_stages > 1)
        printf("%-8s %10.3f ms\n", "sum", sum);
}

static cJSON *tensors_json(const struct result *result)
{
    cJSON *list = cJSON_CreateArray();
    for (int i = 0; i < result->n_tensors; i++) {
        const st_tensor *t = &result->tensors[i];
        cJSON *one = cJSON_CreateObject(), *shape = cJSON_CreateArray();
        cJSON_AddStringToObject(one, "name", t->name);
        cJSON_AddStringToObject(one, "dtype", st_dtype_name(t->dtype));
        for (int d = 0; d < t->rank; d++)
            cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)t->shape[d]));
        cJSON_AddItemToObject(one, "shape", shape);
        cJSON_AddItemToArray(list, one);
    }
    return list;
}

/* The results, and the options that made them. */
static int write_result(const char *path, const struct job *job, const struct settings *settings,
                        const struct result *result)
{
    char text[MAX_OPTIONS][64], why[ST_WHY];
    st_pair pairs[MAX_OPTIONS + 2];
    size_t n = settings_pairs(settings, pairs, text);
    pairs[n++] = (st_pair){"op", job->operation->name};
    pairs[n++] = (st_pair){"clgaze", clgaze_version()};
    if (!st_write(path, result->tensors, (size_t)result->n_tensors, pairs, n, why, sizeof why))
        return 0;
    fail_about(path);
    return fail(EXIT_INPUT, "%s", why);
}

static int report(const struct args *args, const struct device *device, const struct job *job,
                  const struct result *result)
{
    int timed = args->repeat > 0;
    if (!args->json) {
        stages_print(result, timed);
        return 0;
    }
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "op", job->operation->name);
    cJSON_AddStringToObject(root, "device", device->name);
    cJSON_AddNumberToObject(root, "repeat", args->repeat);
    cJSON_AddItemToObject(root, "stages", stages_json(result, timed));
    cJSON_AddItemToObject(root, "tensors", tensors_json(result));
    return print_json(stdout, root, 0);
}

/* Stages that only --repeat asked for are no result. */
static void keep_given(const struct job *job, struct result *result)
{
    for (int i = 0; i < n_tensor_rows; i++)
        for (int n = 0; n < result->n_tensors; n++)
            if (strcmp(result->tensors[n].name, tensor_rows[i].name) == 0 && tensor_rows[i].scratch &&
                !job_output(job, &tensor_rows[i], 0))
                result_drop(result, n);
}

int command_operation(const struct args *args)
{
    st_file *file = NULL;
    struct settings settings;
    struct job job;
    struct device device = {0};
    struct result result = {0};
    if (!operation_find(args->command))
        return EXIT_INPUT;
    if (args->n_files)
        return fail(EXIT_INPUT, "\"%.60s\" is one word too many: files are given by --in and --out", args->files[0]);
    if (!args->in || (!args->out && !args->repeat))
        return fail(EXIT_INPUT, "option --%s is missing: %s needs it", args->in ? "out" : "in", args->command);
    fail_about(args->in);
    int code = load_job(args, args->in, args->command, &file, &settings, &job);
    code = code ? code : device_open(args->device, args->verbose, &device);
    code = code ? code : job_run(&device, &job, args->kernel, args->repeat, &result);
    if (!code) {
        keep_given(&job, &result);
        code = args->out ? write_result(args->out, &job, &settings, &result) : 0;
    }
    code = code ? code : report(args, &device, &job, &result);
    result_free(&result);
    device_close(&device);
    job_free(&job);
    st_close(file);
    return code;
}
