/*
 * clgaze_tune.c: the quickest configuration of each kernel, found once a device.
 */
#include "tune.h"

#include "fail.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct own {
    const char *key;
    enum { TEXT, FLAG } kind;
    size_t offset;
} owns[] = {
    {"device", TEXT, offsetof(struct tune_args, device)},   {"out", TEXT, offsetof(struct tune_args, out)},
    {"import", TEXT, offsetof(struct tune_args, import)},   {"export", TEXT, offsetof(struct tune_args, export)},
    {"again", FLAG, offsetof(struct tune_args, again)},     {"resume", FLAG, offsetof(struct tune_args, resume)},
    {"list", FLAG, offsetof(struct tune_args, list)},       {"show", FLAG, offsetof(struct tune_args, show)},
    {"dry-run", FLAG, offsetof(struct tune_args, dry_run)}, {"verbose", FLAG, offsetof(struct tune_args, verbose)},
    {"help", FLAG, offsetof(struct tune_args, help)},       {"version", FLAG, offsetof(struct tune_args, version)},
};

static int help(void)
{
    puts("clgaze-tune [options]\n"
         "\n"
         "  --device TEXT     index, or part of platform, vendor or device name\n"
         "  --budget SECONDS  60 if not given\n"
         "  --quick           --budget 5\n"
         "  --problem TEXT    \"attend f16 d128 b64 g4 n32k\"; parts left out mean all; may be repeated\n"
         "  --again           also what has a record of this driver\n"
         "  --resume          also what an earlier run had no time to finish\n"
         "  --out FILE        instead of the user's file\n"
         "  --import FILE, --export FILE   add records, write them; nothing is tuned\n"
         "  --list, --show, --dry-run      the kernels; what is used here; what would be tuned\n"
         "  --verbose, --help, --version\n"
         "\n"
         "Exit: 0 done, 2 wrong usage or input, 3 OpenCL failed.");
    return EXIT_DONE;
}

static int set_budget(struct tune_args *args, const char *text)
{
    char *end;

    args->budget = strtod(text, &end);
    if (end == text || *end || !isfinite(args->budget) || args->budget <= 0)
        return fail(EXIT_INPUT, "--budget is \"%.40s\", but must be a number of seconds above 0", text);
    return 0;
}

static int set_text(struct tune_args *args, const char *key, const struct own *own, const char *text)
{
    if (own)
        *(const char **)(void *)((char *)args + own->offset) = text;
    else if (strcmp(key, "budget") == 0)
        return set_budget(args, text);
    else if (args->n_problems == MAX_PROBLEMS)
        return fail(EXIT_INPUT, "--problem may be given %d times", MAX_PROBLEMS);
    else
        args->problem[args->n_problems++] = text;
    return 0;
}

static int read_args(int argc, char **argv, struct tune_args *args)
{
    for (int i = 1; i < argc; i++) {
        const char *key = strncmp(argv[i], "--", 2) == 0 ? argv[i] + 2 : "";
        const struct own *own = NULL;
        int code;

        for (size_t j = 0; j < sizeof owns / sizeof *owns; j++)
            own = strcmp(owns[j].key, key) == 0 ? &owns[j] : own;
        if (strcmp(key, "quick") == 0)
            args->budget = 5;
        else if (own && own->kind == FLAG)
            *(int *)(void *)((char *)args + own->offset) = 1;
        else {
            if (!own && strcmp(key, "budget") != 0 && strcmp(key, "problem") != 0)
                return fail(EXIT_INPUT, "%.40s is not an option; see --help", argv[i]);
            if (i + 1 == argc)
                return fail(EXIT_INPUT, "--%s needs a value", key);
            code = set_text(args, key, own, argv[++i]);
            if (code)
                return code;
        }
    }
    return 0;
}

int tune_open(const struct tune_args *args, clgaze_context **context, struct tune_problems *problems)
{
    clgaze_context_options o;
    cl_device_type type = 0;
    clgaze_status st;
    int code = 0;

    memset(&o, 0, sizeof o);
    o.pick = args->device;
    o.log = fail_log;
    o.log_level = args->verbose ? CLGAZE_LOG_DEBUG : CLGAZE_LOG_ERROR;
    if (clgaze_device_list(NULL, 0) == 0)
        return fail_no_device();
    st = clgaze_context_create(&o, context);
    if (st)
        return fail_library(st);
    clGetDeviceInfo(clgaze_context_device(*context), CL_DEVICE_TYPE, sizeof type, &type, NULL);
    for (int i = 0; i < args->n_problems && !code; i++)
        code = tune_problems_add(problems, args->problem[i], (type & CL_DEVICE_TYPE_GPU) != 0);
    if (args->n_problems == 0)
        tune_problems_usual(problems, (type & CL_DEVICE_TYPE_GPU) != 0);
    return code;
}

/* What needs a device but no child: nothing is tuned. */
static int without_tuning(const struct tune_args *args)
{
    static struct tune_problems problems;
    clgaze_context *context = NULL;
    clgaze_status st = CLGAZE_OK;
    int code = tune_open(args, &context, &problems);

    if (!code && args->import) {
        st = clgaze_tuning_load(context, args->import);
        st = st ? st : clgaze_tuning_save(context, args->out);
    }
    if (!code && !st && args->export)
        st = clgaze_tuning_save(context, args->export);
    if (!code && st)
        code = fail_library(st);
    if (!code && (args->show || args->dry_run))
        code = tune_show(context, &problems, args->show);
    clgaze_context_free(context);
    return code;
}

int main(int argc, char **argv)
{
    static struct tune_args args = {.budget = 60};
    static struct tune_problems scratch;
    int code;

    fail_setup("clgaze-tune", 0);
    code = read_args(argc, argv, &args);
    for (int i = 0; i < args.n_problems && !code; i++) /* refused before anything is opened */
        code = tune_problems_add(&scratch, args.problem[i], 0);
    if (code)
        return code;
    fail_setup("clgaze-tune", args.verbose);
    if (args.help)
        return help();
    if (args.version)
        return printf("clgaze-tune %s\n", clgaze_version()) < 0;
    if (args.list)
        return tune_list();
    return args.import || args.export || args.show || args.dry_run ? without_tuning(&args) : tune_watched(&args);
}
