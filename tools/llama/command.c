/*
 * command.c: the command line of clgaze-llama.
 */
#include "command.h"

#include "fail.h"
#include "options.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { TEXT, NUMBER, FLAG, LIBRARY };

static const struct row {
    const char *key;
    enum kind kind;
    size_t offset;
    const char *help;
} rows[] = {
#define TO(field) offsetof(struct command, field)
    {"model", TEXT, TO(model), "DIR   config.json and model.safetensors or its shards"},
    {"tokens", TEXT, TO(tokens), "FILE  token numbers, 16 bits each, little endian"},
    {"seq", NUMBER, TO(seq), "N     tokens of a sequence (8192)"},
    {"count", NUMBER, TO(count), "N     sequences from the start of the file (4)"},
    {"device", TEXT, TO(device), "TEXT  index, or part of platform, vendor or device name"},
    {"memory", NUMBER, TO(memory), "MIB   most memory of the device to use (all)"},
    {"json", FLAG, TO(json), "      one JSON value on stdout"},
    {"verbose", FLAG, TO(verbose), "      the library's log on stderr"},
    {"help", FLAG, TO(help), ""},
    {"version", FLAG, TO(version), ""},
#undef TO
};

enum { N_ROWS = sizeof rows / sizeof *rows };

static int number(const struct row *r, const char *text, struct command *c)
{
    char *end;
    errno = 0;
    const long v = strtol(text, &end, 10);
    if (end == text || *end || errno || v < 1 || v > 1 << 24)
        return fail(EXIT_INPUT, "--%s is \"%.40s\", but must be a whole number from 1 to %d", r->key, text, 1 << 24);
    *(int32_t *)(void *)((char *)c + r->offset) = (int32_t)v;
    return 0;
}

static int take(char **argv, int argc, int *at, struct command *c)
{
    const char *name = argv[*at] + 2;
    const struct row *r = NULL;
    for (int i = 0; i < N_ROWS; i++)
        if (strcmp(rows[i].key, name) == 0)
            r = &rows[i];
    if (!r)
        return fail(EXIT_INPUT, "--%.40s is not an option; see --help", name);
    if (r->kind == FLAG) {
        *(int32_t *)(void *)((char *)c + r->offset) = 1;
        return 0;
    }
    const char *text = *at + 1 < argc ? argv[++*at] : NULL;
    if (!text)
        return fail(EXIT_INPUT, "--%s needs a value", name);
    if (r->kind == NUMBER)
        return number(r, text, c);
    *(const char **)(void *)((char *)c + r->offset) = text;
    return 0;
}

int command_read(int argc, char **argv, struct command *c)
{
    memset(c, 0, sizeof *c);
    c->seq = 8192;
    c->count = 4;
    c->problem = clgaze_problem_default();
    for (int i = 1; i < argc; i++) {
        int code = 0;
        if (strncmp(argv[i], "--", 2) == 0)
            code = take(argv, argc, &i, c);
        else if (!c->name)
            c->name = argv[i];
        else
            code = fail(EXIT_INPUT, "\"%.40s\" is one word too many; see --help", argv[i]);
        if (code)
            return code;
    }
    return 0;
}

void command_help(void)
{
    for (int i = 0; i < N_ROWS; i++)
        printf("  --%-10s %s\n", rows[i].key, rows[i].help);
}
