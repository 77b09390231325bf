/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command_devices.c: clgaze-run devices.
 */
#include "commands.h"

#include "fail.h"
#include "json.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

enum { MAX_DEVICES = 64, MAX_KERNELS = 64 };

/* The problems that kernels are asked about: a layer of a common model. */
static const struct standard {
    const char *name;
    clgaze_dtype dtype;
    int32_t head_dim;
} standards[] = {
    {"f32 d64", CLGAZE_F32, 64},
    {"f32 d128", CLGAZE_F32, 128},
    {"f16 d128", CLGAZE_F16, 128},
    {"bf16 d128", CLGAZE_BF16, 128},
};

enum { N_STANDARDS = sizeof standards / sizeof *standards };

static clgaze_problem problem_of(const struct standard *s)
{
    clgaze_problem p = clgaze_problem_default();
    p.dtype = s->dtype;
    p.q_heads = 32;
    p.kv_heads = 8;
    p.head_dim = s->head_dim;
    p.max_q = p.max_k = 4096;
    p.rope_pairs = s->head_dim / 2;
    p.value = 0.7;
    return p;
}

static const char *type_name(cl_device_type type)
{
    return type & CL_DEVICE_TYPE_GPU ? "GPU" : type & CL_DEVICE_TYPE_CPU ? "CPU" : "accelerator";
}

static clgaze_op op_of(const char *name)
{
    int op = CLGAZE_POOL;
    while (op < CLGAZE_ATTEND_BWD && strcmp(stage_name((clgaze_op)op), name) != 0)
        op++;
    return (clgaze_op)op;
}

/* One kernel on every standard problem. */
static void ask(clgaze_context *context, const char *op, const char *kernel, int as_json, cJSON *list)
{
    char first[256] = "";
    if (!as_json)
        printf("    %-8s %-16s", op, kernel);
    for (int i = 0; i < N_STANDARDS; i++) {
        clgaze_problem p = problem_of(&standards[i]);
        char reason[256] = "";
        p.kernel = kernel;
        int fits = clgaze_supports(context, op_of(op), &p, reason, sizeof reason) == CLGAZE_OK;
        if (!fits && !*first)
            memcpy(first, reason, sizeof first);
        if (!as_json) {
            printf(" %-9s", fits ? "yes" : "no");
            continue;
        }
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "op", op);
        cJSON_AddStringToObject(one, "kernel", kernel);
        cJSON_AddStringToObject(one, "problem", standards[i].name);
        cJSON_AddBoolToObject(one, "fits", fits);
        cJSON_AddStringToObject(one, "reason", reason);
        cJSON_AddItemToArray(list, one);
    }
    if (!as_json)
        printf("%s%s\n", *first ? " " : "", first);
}

static void ask_all(const clgaze_device *device, int as_json, cJSON *list)
{
    const char *names[MAX_KERNELS], *ops[MAX_KERNELS];
    size_t n = clgaze_kernel_list(names, ops, MAX_KERNELS);
    clgaze_context_options o;
    clgaze_context *context = NULL;
    memset(&o, 0, sizeof o);
    o.device = device->device;
    clgaze_status status = clgaze_context_create(&o, &context);
    if (status) {
        if (!as_json)
            printf("  unusable: %s\n", clgaze_status_text(status));
        return;
    }
    if (!as_json) {
        printf("  kernels that fit          ");
        for (int i = 0; i < N_STANDARDS; i++)
            printf(" %-9s", standards[i].name);
        printf("\n");
    }
    for (size_t i = 0; i < n && i < MAX_KERNELS; i++)
        ask(context, ops[i], names[i], as_json, list);
    clgaze_context_free(context);
}

static void describe(size_t index, const clgaze_device *d, int as_json, cJSON *devices)
{
    if (!as_json) {
        printf("%zu: %s, %s\n  platform %s\n  vendor   %s\n  driver   %s\n", index, type_name(d->type), d->name,
               d->platform_name, d->vendor, d->driver);
        ask_all(d, 0, NULL);
        return;
    }
    cJSON *one = cJSON_CreateObject();
    cJSON_AddNumberToObject(one, "index", (double)index);
    cJSON_AddStringToObject(one, "type", type_name(d->type));
    cJSON_AddStringToObject(one, "platform", d->platform_name);
    cJSON_AddStringToObject(one, "vendor", d->vendor);
    cJSON_AddStringToObject(one, "device", d->name);
    cJSON_AddStringToObject(one, "driver", d->driver);
    ask_all(d, 1, cJSON_AddArrayToObject(one, "kernels"));
    cJSON_AddItemToArray(devices, one);
}

int command_devices(const struct args *args)
{
    static clgaze_device devices[MAX_DEVICES];
    size_t n = clgaze_device_list(devices, MAX_DEVICES);
    if (args->n_files || args->in || args->out)
        return fail(EXIT_INPUT, "devices takes no file");
    if (n == 0)
        return fail_no_device();
    cJSON *root = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(root, "devices");
    for (size_t i = 0; i < n && i < MAX_DEVICES; i++)
        describe(i, &devices[i], args->json, list);
    if (args->json)
        return print_json(stdout, root, EXIT_DONE);
    cJSON_Delete(root);
    return EXIT_DONE;
}
