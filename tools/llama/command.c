/* SPDX-License-Identifier: Apache-2.0 */
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

enum kind { TEXT, NUMBER, INDEX, REAL, FLAG, RULE, COMPUTE, LIBRARY, SHAPE }; /* NUMBER: from 1, INDEX: from 0 */

enum { ALL = COMMAND_ALL, GATES = COMMAND_DISTILL | COMMAND_FINETUNE, TUNE = COMMAND_FINETUNE };

static const struct row {
    const char *key;
    enum kind kind;
    unsigned only; /* the commands that take it */
    size_t offset;
    const char *help;
} rows[] = {
#define TO(field) offsetof(struct command, field)
    {"model", TEXT, ALL, TO(model), "DIR   config.json and model.safetensors or its shards"},
    {"tokens", TEXT, ALL, TO(tokens), "FILE  token numbers, 16 bits each, little endian"},
    {"seq", NUMBER, ALL, TO(seq), "N     tokens of a sequence (8192)"},
    {"count", NUMBER, ALL, TO(count), "N     sequences from the start of the file (ppl 4, capture 1, else all)"},
    {"steps", NUMBER, ALL, TO(steps), "N     of distill and finetune"},
    {"batch", NUMBER, ALL, TO(batch), "N     sequences of a step (1)"},
    {"seed", INDEX, ALL, TO(seed), "N     of the first gates and of the order of sequences (0)"},
    {"lr", REAL, ALL, TO(lr),
     "X     greatest rate: of distill (0.002) it grows for 20 steps, then falls along a cosine;\n"
     "                       of finetune (0.0001) it grows for 10 steps, then falls along a line"},
    {"rope-scaling", TEXT, ALL, TO(rope_scaling), "KIND  yarn: stretch a model that has no rope_scaling yet"},
    {"factor", REAL, ALL, TO(factor), "X     of --rope-scaling, 1 or more"},
    {"teach-gates", FLAG, TUNE, TO(teach),
     "      finetune also teaches the gates: those of --gates, else random ones"},
    {"plot", TEXT, COMMAND_DISTILL, TO(plot), "FILE  the loss curve of distill, as SVG"},
    {"save-every", NUMBER, GATES, TO(save_every), "N     steps between checkpoints (50)"},
    {"stop-after", NUMBER, GATES, TO(stop_after),
     "N     save after that step and end, without the gates or the model"},
    {"resume", FLAG, GATES, TO(resume), "      go on from the checkpoint, to the same bits"},
    {"force", FLAG, TUNE, TO(force), "      finetune may overwrite the model in the folder --out"},
    {"q-pool", SHAPE, GATES, 0,
     "LIST  pools of the queries of new gates, of max,min,avg (avg); more than one: double form"},
    {"k-pool", SHAPE, GATES, 0, "LIST  pools of the keys of new gates (max,min,avg)"},
    {"no-gate-rope", FLAG, GATES, TO(no_gate_rope), "      new gates do not know where blocks lie"},
    {"layer", INDEX, ALL, TO(layer), "N     of capture, from 0"},
    {"out", TEXT, ALL, TO(out), "FILE  of capture, distill and plot; of finetune a folder"},
    {"rows", TEXT, COMMAND_PLOT, TO(rows), "FILE  of plot: what ppl --json printed, as often as one likes"},
    {"gates", TEXT, ALL, TO(gates),
     "FILE  a gate a layer, under SeerAttention's names; without it attention is dense"},
    {"rule", RULE, ALL, 0,
     "RULE  topk ratio budget threshold topp (topp), by the gates; without --gates also\n"
     "                       oracle meanpool vertslash, alone or as oracle,ratio; or window"},
    {"block", SHAPE, ALL, 0, "N     tokens a block of new gates and of rules without gates (64)"},
    {"value", LIBRARY, ALL, 0, "X     of the rule: blocks, share, tokens, bound or probability"},
    {"sink", LIBRARY, ALL, 0, "N     first blocks always kept (0)"},
    {"local", LIBRARY, ALL, 0, "N     last visible blocks always kept, at least the diagonal (1)"},
    {"last-rows", LIBRARY, ALL, 0, "N     last query blocks that keep all (0)"},
    {"min-k", LIBRARY, ALL, 0, "N     least number that the rule chooses (0)"},
    {"max-k", LIBRARY, ALL, 0, "N     greatest number that the rule chooses (none)"},
    {"head-scope", LIBRARY, ALL, 0, "S     q kv one: which heads share a list (q)"},
    {"compute", COMPUTE, ALL, 0,
     "KIND  f32, f16 or bf16: what attention computes in; auto: half the width where matrix\n"
     "                       units take it, bf16 for finetune, f16 for ppl and distill (auto)"},
    {"device", TEXT, ALL, TO(device), "TEXT  index, or part of platform, vendor or device name"},
    {"memory", NUMBER, ALL, TO(memory), "MIB   most memory of the device to use (all)"},
    {"json", FLAG, ALL, TO(json), "      one JSON value on stdout"},
    {"verbose", FLAG, ALL, TO(verbose), "      the library's log on stderr"},
    {"help", FLAG, ALL, TO(help), ""},
    {"version", FLAG, ALL, TO(version), ""},
#undef TO
};

enum { N_ROWS = sizeof rows / sizeof *rows };

static int number(const struct row *r, const char *text, struct command *c)
{
    const int least = r->kind == NUMBER;
    char *end;
    errno = 0;
    const long v = strtol(text, &end, 10);
    if (end == text || *end || errno || v < least || v > 1 << 24)
        return fail(EXIT_INPUT, "--%s is \"%.40s\", but must be a whole number from %d to %d", r->key, text, least,
                    1 << 24);
    *(int32_t *)(void *)((char *)c + r->offset) = (int32_t)v;
    return 0;
}

static int real(const struct row *r, const char *text, struct command *c)
{
    char *end;
    const double v = strtod(text, &end);
    if (end == text || *end || !(v > 0 && v < 1e3))
        return fail(EXIT_INPUT, "--%s is \"%.40s\", but must be a number above 0", r->key, text);
    *(double *)(void *)((char *)c + r->offset) = v;
    return 0;
}

/* Words that --rule has beside the library's. */
static const struct word {
    const char *name;
    enum source source;
} words[] = {{"oracle", FROM_TRUTH}, {"meanpool", FROM_MEANPOOL}, {"window", FROM_WINDOW}, {"vertslash", FROM_LINES}};

/* One of ours, one of the library's, or both with a comma between. */
static int rule(const char *text, struct command *c)
{
    const size_t n = strcspn(text, ",");
    c->list_option = "rule";
    c->rule = text;
    for (size_t i = 0; i < CLG_COUNT(words); i++)
        if (strlen(words[i].name) == n && strncmp(words[i].name, text, n) == 0) {
            c->source = words[i].source;
            return text[n] ? option_set("rule", text + n + 1, &c->problem) : 0;
        }
    return option_set("rule", text, &c->problem);
}

/* The library's options are written with _ in files, with - here. */
static int library(const struct row *r, const char *text, struct command *c)
{
    char key[32];
    size_t i = 0;
    for (; r->key[i] && i + 1 < sizeof key; i++)
        key[i] = r->key[i] == '-' ? '_' : r->key[i];
    key[i] = 0;
    if (r->kind == LIBRARY) {
        c->list_option = r->key;
        if (strcmp(r->key, "sink") != 0 && strcmp(r->key, "local") != 0)
            c->no_window_option = r->key;
        c->has_value |= strcmp(r->key, "value") == 0;
    } else
        c->has_block |= strcmp(r->key, "block") == 0;
    return option_set(key, text, &c->problem);
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
    if (c->only & ~r->only)
        c->only_option = r->key;
    c->only &= r->only;
    if (r->kind == FLAG) {
        *(int32_t *)(void *)((char *)c + r->offset) = 1;
        return 0;
    }
    const char *text = *at + 1 < argc ? argv[++*at] : NULL;
    if (!text)
        return fail(EXIT_INPUT, "--%s needs a value", name);
    if (r->kind == RULE)
        return rule(text, c);
    if (r->kind == COMPUTE)
        return compute_read(text, &c->compute);
    if (r->kind == REAL)
        return real(r, text, c);
    if (r->kind == LIBRARY || r->kind == SHAPE)
        return library(r, text, c);
    if (r->kind == NUMBER || r->kind == INDEX)
        return number(r, text, c);
    *(const char **)(void *)((char *)c + r->offset) = text;
    return 0;
}

/* Which options go with which source of block lists. */
static int lists_check(struct command *c)
{
    const char *source = "--gates";
    for (size_t i = 0; i < CLG_COUNT(words); i++)
        if (words[i].source == c->source)
            source = words[i].name;
    if (c->gates && c->source)
        return fail(EXIT_INPUT, "--rule %s needs no --gates, and cannot use them", source);
    if (c->gates && c->has_block)
        return fail(EXIT_INPUT, "--block is not to be given with --gates, which were trained for one");
    if (c->gates)
        c->source = FROM_GATES;
    if (c->list_option && !c->source)
        return fail(EXIT_INPUT, "--%s needs --gates, or a --rule without them", c->list_option);
    if (c->source == FROM_WINDOW && c->no_window_option)
        return fail(EXIT_INPUT, "--%s is of no use with --rule window, which has --sink and --local",
                    c->no_window_option);
    if (c->source && c->source != FROM_WINDOW && !c->has_value)
        return fail(EXIT_INPUT, "%s needs --value, and --rule unless it is topp", source);
    if (c->problem.local < 1)
        c->problem.local = 1; /* the diagonal */
    return 0;
}

static int rope_check(const struct command *c)
{
    if (c->rope_scaling && strcmp(c->rope_scaling, "yarn") != 0)
        return fail(EXIT_INPUT, "--rope-scaling is \"%.40s\", but must be yarn", c->rope_scaling);
    if (!c->rope_scaling != !(c->factor > 0))
        return fail(EXIT_INPUT, "--%s needs --%s", c->factor > 0 ? "factor" : "rope-scaling",
                    c->factor > 0 ? "rope-scaling yarn" : "factor");
    if (c->rope_scaling && c->factor < 1)
        return fail(EXIT_INPUT, "--factor is %g, but must be 1 or more", c->factor);
    return 0;
}

int command_read(int argc, char **argv, struct command *c)
{
    memset(c, 0, sizeof *c);
    c->seq = 8192;
    c->only = COMMAND_ALL;
    c->count = -1;
    c->layer = -1;
    c->batch = 1;
    c->compute = COMPUTE_AUTO;
    c->rule = "topp";
    c->save_every = 50;
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
    const int code = rope_check(c);
    return code ? code : lists_check(c);
}

void command_help(void)
{
    for (int i = 0; i < N_ROWS; i++)
        printf("  --%-12s %s\n", rows[i].key, rows[i].help);
}
