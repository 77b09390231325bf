/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.c: the command line, and the options that files carry too.
 */
#include "options.h"

#include "fail.h"

#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { WHOLE, WHOLE_OR_NONE, REAL, SINGLE, POOLS, RULE, SCOPE, SCHEDULE };

/* One line an option: where it goes in the problem, or in training, and what is allowed.  A
 * later line wins over an earlier one: block_q over block. */
static const struct row {
    const char *key;
    enum kind kind;
    uint32_t offset;
    int trains; /* offset is that of struct training */
    int32_t least, most;
    const char *help;
} rows[] = {
#define TO(field) offsetof(clgaze_problem, field), 0
    {"block", WHOLE, TO(block_q), 4, 256, "tokens of a query block and of a key block (64)"},
    {"block", WHOLE, TO(block_k), 4, 256, NULL},
    {"block_q", WHOLE, TO(block_q), 4, 256, "tokens of a query block"},
    {"block_k", WHOLE, TO(block_k), 4, 256, "tokens of a key block"},
    {"causal", WHOLE, TO(causal), 0, 1, "1: a query sees keys up to its own place (1)"},
    {"scale", SINGLE, TO(scale), 0, 0, "of q.k (1/sqrt(D))"},
    {"q_pool", POOLS, TO(q_pool), 0, 0, "pools of the query side, of max,min,avg (avg)"},
    {"k_pool", POOLS, TO(k_pool), 0, 0, "pools of the key side (max,min,avg)"},
    {"rope_scale", SINGLE, TO(rope_scale), 0, 0, "multiplies cos and sin (1)"},
    {"rope_interleaved", WHOLE, TO(rope_interleaved), 0, 1, "1: rotates channels (2j,2j+1), not (j,j+n) (0)"},
    {"rule", RULE, TO(rule), 0, 0, "topk ratio budget threshold topp (topp)"},
    {"value", REAL, TO(value), 0, 0, "of the rule: blocks, share, tokens, bound or probability"},
    {"sink", WHOLE, TO(sink), 0, INT32_MAX, "first blocks always kept (0)"},
    {"local", WHOLE, TO(local), 0, INT32_MAX, "last visible blocks always kept (0)"},
    {"last_rows", WHOLE, TO(last_rows), 0, INT32_MAX, "last query blocks that keep all (0)"},
    {"min_k", WHOLE, TO(min_k), 0, INT32_MAX, "least number that the rule chooses (0)"},
    {"max_k", WHOLE_OR_NONE, TO(max_k_blocks), 0, INT32_MAX, "greatest number that the rule chooses (none)"},
    {"head_scope", SCOPE, TO(scope), 0, 0, "q kv one: which heads share a list (as the scores are)"},
    {"kv_heads", WHOLE, TO(kv_heads), 1, INT32_MAX, "of scores without q and k, for head_scope kv"},
#undef TO
#define TO(field) offsetof(struct training, field), 1
    {"steps", WHOLE, TO(steps), 1, INT32_MAX, "distill: steps (400)"},
    {"lr", REAL, TO(step.lr), 0, 0, "distill: learning rate (0.001)"},
    {"beta1", REAL, TO(step.beta1), 0, 0, "distill: of AdamW's first mean (0.9)"},
    {"beta2", REAL, TO(step.beta2), 0, 0, "distill: of AdamW's second mean (0.999)"},
    {"eps", REAL, TO(step.eps), 0, 0, "distill: of AdamW (1e-8)"},
    {"weight_decay", REAL, TO(step.weight_decay), 0, 0, "distill: of AdamW (0)"},
    {"schedule", SCHEDULE, TO(cosine), 0, 0, "distill: constant or cosine"},
    {"warmup", WHOLE, TO(warmup), 0, INT32_MAX, "distill: steps in which the rate grows"},
#undef TO
};

enum { N_ROWS = sizeof rows / sizeof *rows };

_Static_assert((int)N_ROWS <= (int)MAX_OPTIONS, "struct args has room for every option");

/* A word and its number; POOLS or-s several. */
static const struct word {
    const char *word;
    enum kind kind;
    uint32_t number;
} words[] = {
    {"max", POOLS, CLGAZE_MAX},
    {"min", POOLS, CLGAZE_MIN},
    {"avg", POOLS, CLGAZE_AVG},
    {"topk", RULE, CLGAZE_TOP_K},
    {"ratio", RULE, CLGAZE_RATIO},
    {"budget", RULE, CLGAZE_BUDGET},
    {"threshold", RULE, CLGAZE_THRESHOLD},
    {"topp", RULE, CLGAZE_TOP_P},
    {"q", SCOPE, CLGAZE_SCOPE_Q},
    {"kv", SCOPE, CLGAZE_SCOPE_KV},
    {"one", SCOPE, CLGAZE_SCOPE_ONE},
    {"constant", SCHEDULE, 0},
    {"cosine", SCHEDULE, 1},
};

enum { N_WORDS = sizeof words / sizeof *words };

/* The same words in the order of the sentence that refuses others. */
static const char *const allowed[] = {
    [REAL] = "a finite number",
    [SINGLE] = "a finite number",
    [POOLS] = "a comma list of max, min and avg, each once",
    [RULE] = "topk, ratio, budget, threshold or topp",
    [SCOPE] = "q, kv or one",
    [SCHEDULE] = "constant or cosine",
};

static int refuse(const struct row *r, const char *text, int from_file)
{
    char key[48], must[64];
    snprintf(key, sizeof key, "%s%s", from_file ? "key " : "--", r->key);
    for (char *c = key; *c && !from_file; c++)
        *c = *c == '_' ? '-' : *c;
    if (r->kind == WHOLE || r->kind == WHOLE_OR_NONE)
        snprintf(must, sizeof must, "a whole number from %" PRId32 " to %" PRId32 "%s", r->least, r->most,
                 r->kind == WHOLE ? "" : " or none");
    else
        snprintf(must, sizeof must, "%s", allowed[r->kind]);
    return fail(EXIT_INPUT, "%s%s is \"%.40s\", but must be %s", key, from_file ? " of __metadata__" : "", text,
                must);
}

static int whole(const char *text, int32_t least, int32_t most, int32_t *to)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (end == text || *end || errno || v < least || v > most)
        return -1;
    *to = (int32_t)v;
    return 0;
}

static int real(const char *text, double most, double *to)
{
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || !isfinite(v) || fabs(v) > most)
        return -1;
    *to = v;
    return 0;
}

/* One word, or for POOLS a comma list. */
static int spoken(enum kind kind, const char *text, uint32_t *to)
{
    uint32_t all = 0;
    for (;;) {
        size_t length = kind == POOLS ? strcspn(text, ",") : strlen(text);
        int found = -1;
        for (int i = 0; i < N_WORDS; i++)
            if (words[i].kind == kind && strlen(words[i].word) == length && !strncmp(words[i].word, text, length))
                found = i;
        if (found < 0 || (kind == POOLS && (all & words[found].number)))
            return -1;
        all |= words[found].number;
        if (!text[length])
            break;
        text += length + 1;
    }
    *to = all;
    return 0;
}

/* `base`: a problem, or training. */
static int set(const struct row *r, const char *text, void *base)
{
    unsigned char *to = (unsigned char *)base + r->offset;
    double number;
    uint32_t word;
    switch (r->kind) {
    case WHOLE_OR_NONE:
        if (strcmp(text, "none") == 0)
            text = "0";
        /* fall through */
    case WHOLE:
        return whole(text, r->least, r->most, (int32_t *)(void *)to);
    case REAL:
        return real(text, DBL_MAX, (double *)(void *)to);
    case SINGLE:
        if (real(text, (double)FLT_MAX, &number))
            return -1;
        *(float *)(void *)to = (float)number;
        return 0;
    case POOLS:
        return spoken(r->kind, text, (uint32_t *)(void *)to);
    case RULE:
    case SCOPE:
    case SCHEDULE:
    default:
        if (spoken(r->kind, text, &word))
            return -1;
        if (r->kind == RULE)
            *(clgaze_rule *)(void *)to = (clgaze_rule)word;
        else if (r->kind == SCHEDULE)
            *(int32_t *)(void *)to = (int32_t)word;
        else
            *(clgaze_scope *)(void *)to = (clgaze_scope)word;
        return 0;
    }
}

int settings_read(const struct args *args, const st_file *file, struct settings *settings)
{
    memset(settings, 0, sizeof *settings);
    settings->problem = clgaze_problem_default();
    settings->training = training_default();
    for (int from_file = 1; from_file >= 0; from_file--) {
        for (int i = 0; i < N_ROWS; i++) {
            const char *text = from_file ? (file ? st_meta(file, rows[i].key) : NULL) : args->text[i];
            if (!text)
                continue;
            if (set(&rows[i], text, rows[i].trains ? (void *)&settings->training : &settings->problem))
                return refuse(&rows[i], text, from_file);
            settings->given[i] = 1;
        }
    }
    return 0;
}

static int set_one(const char *key, const char *text, int trains, void *base)
{
    for (int i = 0; i < N_ROWS; i++)
        if (strcmp(rows[i].key, key) == 0 && rows[i].trains == trains && set(&rows[i], text, base))
            return refuse(&rows[i], text, 0);
    return 0;
}

int option_set(const char *key, const char *text, clgaze_problem *problem)
{
    return set_one(key, text, 0, problem);
}

int option_set_training(const char *key, const char *text, struct training *training)
{
    return set_one(key, text, 1, training);
}

int settings_given(const struct settings *settings, const char *key)
{
    for (int i = 0; i < N_ROWS; i++)
        if (strcmp(rows[i].key, key) == 0)
            return settings->given[i];
    return 0;
}

static void format(const struct row *r, const struct settings *s, char *text, size_t capacity)
{
    const clgaze_problem *p = &s->problem;
    const unsigned char *from =
        (r->trains ? (const unsigned char *)&s->training : (const unsigned char *)p) + r->offset;
    uint32_t word;
    size_t at = 0;
    switch (r->kind) {
    case WHOLE:
    case WHOLE_OR_NONE:
        snprintf(text, capacity, "%" PRId32, *(const int32_t *)(const void *)from);
        return;
    case REAL:
        snprintf(text, capacity, "%.17g", *(const double *)(const void *)from);
        return;
    case SINGLE:
        snprintf(text, capacity, "%.9g", (double)*(const float *)(const void *)from);
        return;
    case POOLS:
    case RULE:
    case SCOPE:
    case SCHEDULE:
    default:
        word = r->kind == RULE    ? (uint32_t)p->rule
               : r->kind == SCOPE ? (uint32_t)p->scope
                                  : (uint32_t)s->training.cosine;
        if (r->kind == POOLS)
            word = *(const uint32_t *)(const void *)from;
        for (int i = 0; i < N_WORDS; i++)
            if (words[i].kind == r->kind && (r->kind == POOLS ? word & words[i].number : word == words[i].number))
                at += (size_t)snprintf(text + at, capacity - at, "%s%s", at ? "," : "", words[i].word);
    }
}

size_t settings_pairs(const struct settings *settings, st_pair *pairs, char (*text)[64])
{
    size_t n = 0;
    int block = settings_given(settings, "block"); /* is written as block_q and block_k */
    for (int i = 0; i < N_ROWS; i++) {
        int sized = strncmp(rows[i].key, "block_", 6) == 0;
        if (strcmp(rows[i].key, "block") == 0 || !(settings->given[i] || (sized && block)))
            continue;
        format(&rows[i], settings, text[n], sizeof text[n]);
        pairs[n] = (st_pair){rows[i].key, text[n]};
        n++;
    }
    return n;
}

void settings_help(void)
{
    for (int i = 0; i < N_ROWS; i++) {
        char key[32];
        snprintf(key, sizeof key, "--%s", rows[i].key);
        for (char *c = key; *c; c++)
            *c = *c == '_' ? '-' : *c;
        if (rows[i].help)
            printf("  %-20s %s\n", key, rows[i].help);
    }
}

/* ------------------------------------------------------------------------ */
/* The command line                                                         */
/* ------------------------------------------------------------------------ */

/* The program's own options. */
static const struct own {
    const char *key;
    enum { TEXT, FLAG, COUNT } kind;
    size_t offset;
} owns[] = {
    {"in", TEXT, offsetof(struct args, in)},           {"out", TEXT, offsetof(struct args, out)},
    {"device", TEXT, offsetof(struct args, device)},   {"kernel", TEXT, offsetof(struct args, kernel)},
    {"repeat", COUNT, offsetof(struct args, repeat)},  {"json", FLAG, offsetof(struct args, json)},
    {"verbose", FLAG, offsetof(struct args, verbose)}, {"help", FLAG, offsetof(struct args, help)},
    {"version", FLAG, offsetof(struct args, version)},
};

enum { N_OWNS = sizeof owns / sizeof *owns };

/* Compare what stands before '=' in an argument with a key. */
static int is_key(const char *argument, const char *key)
{
    for (; *key && *argument; key++, argument++)
        if (*argument != (*key == '_' ? '-' : *key))
            return 0;
    return !*key && (!*argument || *argument == '=');
}

static int set_own(const struct own *own, const char *text, struct args *args)
{
    unsigned char *to = (unsigned char *)args + own->offset;
    if (own->kind == TEXT)
        *(const char **)(void *)to = text;
    else if (own->kind == FLAG)
        *(int32_t *)(void *)to = 1;
    else if (whole(text, 1, 100000, (int32_t *)(void *)to))
        return fail(EXIT_INPUT, "--%s is \"%.40s\", but must be a whole number from 1 to 100000", own->key, text);
    return 0;
}

int args_option(struct args *args, const char *name, const char *text)
{
    int known = 0;
    for (int i = 0; i < N_ROWS; i++)
        if (is_key(name, rows[i].key)) {
            args->text[i] = text;
            known = 1;
        }
    return known ? 0 : fail(EXIT_INPUT, "--%.40s is not an option; see --help", name);
}

/* Take the option at argv[*at], and its value. */
static int take(char **argv, int argc, int *at, struct args *args)
{
    const char *name = argv[*at] + 2, *equals = strchr(name, '=');
    const struct own *own = NULL;
    int known = 0;
    for (int i = 0; i < N_OWNS; i++)
        if (is_key(name, owns[i].key))
            own = &owns[i];
    for (int i = 0; i < N_ROWS; i++)
        known |= is_key(name, rows[i].key);
    if (!own && !known)
        return fail(EXIT_INPUT, "--%.40s is not an option; see --help", name);
    if (own && own->kind == FLAG)
        return equals ? fail(EXIT_INPUT, "--%s takes no value", own->key) : set_own(own, "", args);
    const char *text = equals ? equals + 1 : *at + 1 < argc ? argv[++*at] : NULL;
    if (!text)
        return fail(EXIT_INPUT, "--%s needs a value", name);
    return own ? set_own(own, text, args) : args_option(args, name, text);
}

int args_read(int argc, char **argv, struct args *args)
{
    struct settings scratch;
    memset(args, 0, sizeof *args);
    args->files = argv;
    for (int i = 1; i < argc; i++) {
        int code = 0;
        if (strncmp(argv[i], "--", 2) == 0)
            code = take(argv, argc, &i, args);
        else if (argv[i][0] == '-' && argv[i][1])
            code = fail(EXIT_INPUT, "%.40s is not an option; see --help", argv[i]);
        else if (!args->command)
            args->command = argv[i];
        else
            args->files[args->n_files++] = argv[i];
        if (code)
            return code;
    }
    return settings_read(args, NULL, &scratch);
}
