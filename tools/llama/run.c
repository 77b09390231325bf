/*
 * run.c: all that a run over a text needs.
 */
#include "run.h"

#include "course.h"
#include "fail.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Tokens of a file; -1: it has no size. */
static long long size_of(FILE *in)
{
    const long long bytes = fseek(in, 0, SEEK_END) == 0 ? (long long)ftell(in) : -1;
    return bytes < 0 || fseek(in, 0, SEEK_SET) ? -1 : bytes / 2;
}

static int tokens_take(struct run *r, FILE *in, size_t need)
{
    unsigned char pair[2];
    for (size_t i = 0; i < need; i++) {
        if (fread(pair, 1, 2, in) != 2)
            return fail(EXIT_INPUT, "%s cannot be read", r->command->tokens);
        if ((r->tokens[i] = pair[0] | pair[1] << 8) >= r->config.vocab)
            return fail(EXIT_INPUT, "%s: token %zu is %d, but the vocabulary has %d", r->command->tokens, i,
                        (int)r->tokens[i], (int)r->config.vocab);
    }
    return 0;
}

/* sequences * seq tokens and the one after them. */
static int tokens_read(struct run *r)
{
    const struct command *c = r->command;
    FILE *in = fopen(c->tokens, "rb");
    const long long there = in ? size_of(in) : -1;
    int code = 0;
    if (there < 0)
        code = fail(EXIT_INPUT, "%s cannot be read: %s", c->tokens, strerror(errno));
    const long long all = (there - 1) / c->seq;
    r->sequences = c->count ? c->count : all > 1 << 24 ? 1 << 24 : all > 1 ? (int32_t)all : 1;
    const size_t need = (size_t)r->sequences * (size_t)c->seq + 1;
    if (!code && (long long)need > there)
        code = fail(EXIT_INPUT, "%s holds %lld tokens, but %d sequences of %d need %zu", c->tokens, there,
                    (int)r->sequences, (int)c->seq, need);
    if (!code && !(r->tokens = malloc(need * sizeof *r->tokens)))
        code = fail(EXIT_INPUT, "there is no memory for %zu tokens", need);
    if (!code && r->tokens)
        code = tokens_take(r, in, need);
    if (in)
        fclose(in);
    return code;
}

/* Compare what the run needs with what the device has, and say both. */
static int memory_check(struct run *r, const struct weights *weights)
{
    const double mib = 1 << 20;
    const struct command *c = r->command;
    const size_t workspace = r->want == WANT_TEACH ? r->teach.bytes : attention_bytes(&r->attention),
                 held = weights->bytes + r->gates.bytes;
    const size_t all = held + r->forward.sum + workspace;
    const cl_ulong limit = c->memory ? (cl_ulong)c->memory << 20 : r->machine.memory;
    size_t largest = weights->largest;
    for (int i = 0; i < N_BUFFERS; i++)
        largest = r->forward.bytes[i] > largest ? r->forward.bytes[i] : largest;
    if (all > limit)
        return fail(EXIT_INPUT, "the model needs %.1f MiB (weights %.1f), but %s%.1f", (double)all / mib,
                    (double)held / mib, c->memory ? "--memory allows " : "the device has ", (double)limit / mib);
    if (largest > r->machine.largest)
        return fail(EXIT_INPUT, "a buffer of %.1f MiB is needed, but the device's largest is %.1f",
                    (double)largest / mib, (double)r->machine.largest / mib);
    fprintf(stderr, "memory: weights %.1f MiB, activations %.1f, workspace %.1f, of %.1f\n", (double)held / mib,
            (double)r->forward.sum / mib, (double)workspace / mib, (double)limit / mib);
    return 0;
}

static uint64_t hash_of(const struct checkpoint *c)
{
    uint64_t hash = 0;
    for (int f = 0; f < c->n; f++)
        for (size_t i = 0; i < c->files[f]->n_tensors; i++)
            course_hash(&hash, c->files[f]->tensors[i].data, c->files[f]->tensors[i].bytes);
    return hash;
}

/* What can be refused without a device. */
static int files_read(struct run *r, struct weights *weights)
{
    const struct command *c = r->command;
    int code = config_read(c->model, &r->config);
    if (!code && c->layer >= r->config.layers)
        code = fail(EXIT_INPUT, "--layer is %d, but the model has layers 0 to %d", (int)c->layer,
                    (int)r->config.layers - 1);
    if (!code)
        code = tokens_read(r);
    if (!code)
        code = checkpoint_open(c->model, &r->checkpoint);
    if (!code)
        code = model_check(&r->config, &r->checkpoint, weights);
    if (!code && r->want == WANT_TEACH)
        r->weights_hash = hash_of(&r->checkpoint);
    if (!code && c->source == FROM_GATES)
        code = gates_open(c->gates, &r->config, &r->problem, &r->gates);
    if (!code && c->source == FROM_MEANPOOL)
        gates_identity(&r->config, &r->problem, &r->gates);
    return code;
}

static int by_attention(void *user, cl_int l, cl_int seq, const struct attended *at)
{
    struct run *r = user;
    return attention_run(&r->machine, &r->attention, l, seq, at);
}

static int by_teach(void *user, cl_int l, cl_int seq, const struct attended *at)
{
    struct run *r = user;
    return teach_run(&r->machine, &r->teach, l, seq, at);
}

static int load(struct run *r)
{
    struct machine *m = &r->machine;
    int code = model_load(m, &r->config, &r->checkpoint, 0, &r->model);
    checkpoint_close(&r->checkpoint);
    if (!code && r->gates.layers)
        code = gates_load(m, &r->config, &r->problem, &r->gates);
    r->forward.machine = m;
    r->forward.model = &r->model;
    r->forward.attend = r->want == WANT_TEACH ? by_teach : by_attention;
    r->forward.user = r;
    if (!code)
        code = r->want == WANT_TEACH ? teach_make(m, &r->config, r->command->seed, &r->teach)
                                     : attention_make(m, &r->attention);
    if (!code)
        code = forward_make(&r->forward);
    return code ? code : spend(m, SPENT_LOAD);
}

int run_open(const struct command *c, enum want want, struct run *r)
{
    struct machine *m = &r->machine;
    struct weights weights;
    memset(r, 0, sizeof *r);
    r->command = c;
    r->want = want;
    r->problem = c->problem;
    int code = files_read(r, &weights);
    if (!code)
        code = machine_open(c->device, c->verbose, m);
    spend_from_now(m);
    if (!code && want == WANT_TEACH)
        code = teach_plan(m, &r->config, c->seq, c->batch, &r->problem, &r->teach);
    else if (!code)
        code = attention_plan(m, &r->config, c->seq, &r->problem, c->source, &r->gates, &r->attention);
    if (code)
        return code;
    forward_plan(&r->forward, &r->config, c->seq, want != WANT_OUT || c->source == FROM_GATES);
    code = memory_check(r, &weights);
    if (!code)
        code = machine_build(m);
    if (!code)
        code = spend(m, SPENT_COMPILE);
    return code ? code : load(r);
}

void run_close(struct run *r)
{
    forward_free(&r->forward);
    model_free(&r->model);
    attention_free(&r->attention);
    teach_free(&r->teach);
    gates_free(&r->gates);
    machine_close(&r->machine);
    checkpoint_close(&r->checkpoint);
    free(r->tokens);
}
