/* SPDX-License-Identifier: Apache-2.0 */
/*
 * args.c: the command line of clgaze-tune.
 */
#include "tune.h"

#include "fail.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { TEXT, FLAG, SECONDS, COUNT, PROBLEM, QUICK };

static const struct row {
    const char *key;
    enum kind kind;
    size_t offset;
} rows[] = {
#define TO(field) offsetof(struct tune_args, field)
    {"device", TEXT, TO(device)},
    {"budget", SECONDS, TO(budget)},
    {"quick", QUICK, TO(budget)},
    {"problem", PROBLEM, 0},
    {"again", FLAG, TO(again)},
    {"resume", FLAG, TO(resume)},
    {"stale", FLAG, TO(stale)},
    {"all-devices", FLAG, TO(all_devices)},
    {"advise-block", FLAG, TO(advise_block)},
    {"cap", COUNT, TO(cap)},
    {"out", TEXT, TO(out)},
    {"import", TEXT, TO(import)},
    {"export", TEXT, TO(export)},
    {"list", FLAG, TO(list)},
    {"show", FLAG, TO(show)},
    {"dry-run", FLAG, TO(dry_run)},
    {"json", FLAG, TO(json)},
    {"verbose", FLAG, TO(verbose)},
    {"help", FLAG, TO(help)},
    {"version", FLAG, TO(version)},
#undef TO
};

enum { N_ROWS = sizeof rows / sizeof *rows };

int tune_help(void)
{
    puts("clgaze-tune [options]\n"
         "\n"
         "  --device TEXT     index, or part of platform, vendor or device name\n"
         "  --all-devices     one after another; they share the budget\n"
         "  --budget SECONDS  60 if not given\n"
         "  --quick           --budget 5\n"
         "  --problem TEXT    \"attend f16 d128 b64 g4 n32k\"; parts left out mean all; may be repeated;\n"
         "                    truth, distill and attend_bwd, of training, are tuned only if named here\n"
         "  --again           also what has a record of this driver\n"
         "  --resume          also what an earlier run had no time to finish\n"
         "  --stale           list what was tuned with another driver, and tune only that\n"
         "  --cap N           try N configurations a problem at most\n"
         "  --out FILE        instead of the user's file; read at the start, written after each problem\n"
         "  --import FILE     take the records of this device, all or none; nothing is tuned\n"
         "  --export FILE     write the records of this device; nothing is tuned\n"
         "  --list            every kernel and its tunables, in pipeline order\n"
         "  --show            what is used here, and why: which record, of which file, how old\n"
         "  --dry-run         what would be tuned\n"
         "  --advise-block    time key blocks of 16, 32, 64, 128 at equal density; nothing is changed\n"
         "  --json            one JSON value on standard output\n"
         "  --verbose, --help, --version\n"
         "\n"
         "Ctrl-C keeps what was found; a second one ends it at once.\n"
         "Exit: 0 done, 2 wrong usage or input, 3 OpenCL failed, 130 interrupted.");
    return EXIT_DONE;
}

static int read_seconds(const char *text, double *seconds)
{
    char *end;

    *seconds = strtod(text, &end);
    if (end == text || *end || !isfinite(*seconds) || *seconds <= 0)
        return fail(EXIT_INPUT, "--budget is \"%.40s\", but must be a number of seconds above 0", text);
    return 0;
}

static int read_count(const char *key, const char *text, int *count)
{
    char *end;
    long n;

    errno = 0;
    n = strtol(text, &end, 10);
    if (end == text || *end || errno || n < 1 || n > 1000000)
        return fail(EXIT_INPUT, "--%s is \"%.40s\", but must be a whole number from 1 to 1000000", key, text);
    *count = (int)n;
    return 0;
}

static int set(struct tune_args *args, const struct row *row, const char *text)
{
    void *to = (char *)args + row->offset;

    switch (row->kind) {
    case TEXT:
        if (!*text)
            return fail(EXIT_INPUT, "--%s is empty", row->key);
        *(const char **)to = text;
        return 0;
    case FLAG:
        *(int *)to = 1;
        return 0;
    case QUICK:
        *(double *)to = 5;
        return 0;
    case SECONDS:
        return read_seconds(text, to);
    case COUNT:
        return read_count(row->key, text, to);
    default:
        if (args->n_problems == MAX_PROBLEMS)
            return fail(EXIT_INPUT, "--problem may be given %d times", MAX_PROBLEMS);
        args->problem[args->n_problems++] = text;
        return 0;
    }
}

int tune_args_read(int argc, char **argv, struct tune_args *args)
{
    for (int i = 1; i < argc; i++) {
        const char *key = strncmp(argv[i], "--", 2) == 0 ? argv[i] + 2 : "";
        const struct row *row = rows;
        int code;

        while (row < rows + N_ROWS && strcmp(row->key, key) != 0)
            row++;
        if (row == rows + N_ROWS)
            return fail(EXIT_INPUT, "%.40s is not an option; see --help", argv[i]);
        if (row->kind != FLAG && row->kind != QUICK && ++i == argc)
            return fail(EXIT_INPUT, "--%s needs a value", key);
        code = set(args, row, argv[i]);
        if (code)
            return code;
    }
    return 0;
}
