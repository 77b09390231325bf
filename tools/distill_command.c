/* SPDX-License-Identifier: Apache-2.0 */
/*
 * distill_command.c: the command line of clgaze-distill.
 */
#include "distill_command.h"

#include "fail.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { FILES, TEXT, WORD, NUMBER, FLAG, LIBRARY };

static const struct row {
    const char *key;
    enum kind kind;
    size_t offset;
    long least, most;
    const char *help;
} rows[] = {
#define TO(field) offsetof(struct distill_command, field)
    {"in", FILES, 0, 0, 0,
     "FILE... q_gate, k_gate, q, k (or truth), rope_inv_freq of one layer, one file a sequence"},
    {"out", TEXT, TO(out), 0, 0, "FILE  the gate, under SeerAttention's names; FILE.checkpoint lies beside it"},
    {"layer", NUMBER, TO(layer), 0, 99999, "N     that the names say (0)"},
    {"dtype", WORD, TO(dtype), 0, 0, "T     f32 or bf16, of the file (f32)"},
    {"form", WORD, TO(form), 0, 0, "F     single or double (single)"},
    {"gate-dim", NUMBER, TO(gate_dim), 8, 256, "N     gate size of the double form (head size)"},
    {"seed", NUMBER, TO(seed), 0, 2147483647, "N     of the starting values, normal(0, .02) (1)"},
    {"steps", LIBRARY, 0, 0, 0, "N     steps, one file each, in turn (400)"},
    {"lr", LIBRARY, 0, 0, 0, "X     learning rate (0.001)"},
    {"schedule", LIBRARY, 0, 0, 0, "S     constant, or cosine down to 0 (cosine)"},
    {"warmup", LIBRARY, 0, 0, 0, "N     steps in which the rate grows (20)"},
    {"beta1", LIBRARY, 0, 0, 0, "X     of AdamW (0.9)"},
    {"beta2", LIBRARY, 0, 0, 0, "X     of AdamW (0.999)"},
    {"eps", LIBRARY, 0, 0, 0, "X     of AdamW (1e-8)"},
    {"weight-decay", LIBRARY, 0, 0, 0, "X     of AdamW (0)"},
    {"block", LIBRARY, 0, 0, 0, "N     tokens a block (64)"},
    {"causal", LIBRARY, 0, 0, 0, "B     1: a query sees keys up to its own place (1)"},
    {"scale", LIBRARY, 0, 0, 0, "X     of q.k (1/sqrt(D))"},
    {"q-pool", LIBRARY, 0, 0, 0, "LIST  of max,min,avg (avg)"},
    {"k-pool", LIBRARY, 0, 0, 0, "LIST  of max,min,avg (max,min,avg)"},
    {"rope-scale", LIBRARY, 0, 0, 0, "X     multiplies cos and sin (1)"},
    {"rope-interleaved", LIBRARY, 0, 0, 0, "B     1: rotates channels (2j,2j+1) (0)"},
    {"plot", TEXT, TO(plot), 0, 0, "FILE  the loss curve, as SVG"},
    {"save-every", NUMBER, TO(save_every), 1, 2147483647, "N     steps between checkpoints (50)"},
    {"stop-after", NUMBER, TO(stop_after), 1, 2147483647, "N     save after that step and end, without --out's file"},
    {"resume", FLAG, TO(resume), 0, 0, "      go on from the checkpoint, to the same bits"},
    {"device", TEXT, TO(device), 0, 0, "TEXT  index, or part of platform, vendor or device name"},
    {"json", FLAG, TO(json), 0, 0, "      one JSON value on stdout"},
    {"verbose", FLAG, TO(verbose), 0, 0, "      the library's log on stderr"},
    {"help", FLAG, TO(help), 0, 0, ""},
    {"version", FLAG, TO(version), 0, 0, ""},
#undef TO
};

enum { N_ROWS = sizeof rows / sizeof *rows };

static int number(const struct row *r, const char *text, int32_t *to)
{
    char *end;
    errno = 0;
    const long v = strtol(text, &end, 10);
    if (end == text || *end || errno || v < r->least || v > r->most)
        return fail(EXIT_INPUT, "--%s is \"%.40s\", but must be a whole number from %ld to %ld", r->key, text,
                    r->least, r->most);
    *to = (int32_t)v;
    return 0;
}

/* One of two words. */
static int word(const struct row *r, const char *text, const char **to)
{
    static const char *const words[][2] = {{"f32", "bf16"}, {"single", "double"}};
    const char *const *of = words[strcmp(r->key, "form") == 0];
    if (strcmp(text, of[0]) != 0 && strcmp(text, of[1]) != 0)
        return fail(EXIT_INPUT, "--%s is \"%.40s\", but must be %s or %s", r->key, text, of[0], of[1]);
    *to = text;
    return 0;
}

/* Take the option at argv[*at], and its value. */
static int take(char **argv, int argc, int *at, struct distill_command *c)
{
    const char *name = argv[*at] + 2;
    const struct row *r = NULL;
    for (int i = 0; i < N_ROWS; i++)
        if (strcmp(rows[i].key, name) == 0)
            r = &rows[i];
    if (!r)
        return fail(EXIT_INPUT, "--%.40s is not an option; see --help", name);
    void *to = (char *)c + r->offset;
    if (r->kind == FLAG) {
        *(int32_t *)to = 1;
        return 0;
    }
    if (*at + 1 >= argc)
        return fail(EXIT_INPUT, "--%s needs a value", name);
    if (r->kind == FILES) /* what follows counts as a file anyway */
        return 0;
    const char *text = argv[++*at];
    if (r->kind == NUMBER)
        return number(r, text, to);
    if (r->kind == WORD)
        return word(r, text, to);
    if (r->kind == LIBRARY)
        return args_option(&c->library, name, text);
    *(const char **)to = text;
    return 0;
}

int distill_command_read(int argc, char **argv, struct distill_command *c)
{
    struct settings scratch;
    memset(c, 0, sizeof *c);
    c->in = argv;
    c->seed = 1;
    c->save_every = 50;
    c->form = "single";
    c->dtype = "f32";
    for (int i = 1; i < argc; i++) {
        int code = 0;
        if (strncmp(argv[i], "--", 2) == 0)
            code = take(argv, argc, &i, c);
        else
            c->in[c->n_in++] = argv[i];
        if (code)
            return code;
    }
    if (c->help || c->version)
        return 0;
    if (!c->n_in || !c->out)
        return fail(EXIT_INPUT, "option --%s is missing; see --help", c->n_in ? "out" : "in");
    if (c->gate_dim && strcmp(c->form, "double") != 0)
        return fail(EXIT_INPUT, "--gate-dim is %d, but the single form has the head size", (int)c->gate_dim);
    return settings_read(&c->library, NULL, &scratch);
}

void distill_command_help(void)
{
    for (int i = 0; i < N_ROWS; i++)
        printf("  --%-16s %s\n", rows[i].key, rows[i].help);
}
