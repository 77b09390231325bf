/*
 * ppl.c: clgaze-llama ppl.
 */
#include "command.h"

#include "fail.h"
#include "forward.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All that a run holds. */
struct ppl {
    const struct command *command;
    struct config config;
    struct checkpoint checkpoint;
    struct machine machine;
    struct gates gates;
    struct attention attention;
    clgaze_problem problem; /* of the command line, then the gates */
    struct model model;
    struct forward forward;
    cl_int *tokens;
    double *losses; /* a sequence */
};

/* count * seq tokens and the one after them. */
static int tokens_read(struct ppl *p)
{
    const char *path = p->command->tokens;
    const size_t need = (size_t)p->command->count * (size_t)p->command->seq + 1;
    int code = 0;
    FILE *in = fopen(path, "rb");
    if (!in)
        return fail(EXIT_INPUT, "%s cannot be read: %s", path, strerror(errno));
    p->tokens = malloc(need * sizeof *p->tokens);
    if (!p->tokens)
        code = fail(EXIT_INPUT, "there is no memory for %zu tokens", need);
    for (size_t i = 0; i < need && !code; i++) {
        unsigned char pair[2];
        if (fread(pair, 1, 2, in) != 2)
            code = fail(EXIT_INPUT, "%s holds %zu tokens, but %d sequences of %d need %zu", path, i,
                        (int)p->command->count, (int)p->command->seq, need);
        else if ((p->tokens[i] = pair[0] | pair[1] << 8) >= p->config.vocab)
            code = fail(EXIT_INPUT, "%s: token %zu is %d, but the vocabulary has %d", path, i, (int)p->tokens[i],
                        (int)p->config.vocab);
    }
    fclose(in);
    return code;
}

/* Compare what the run needs with what the device has, and say both. */
static int memory_check(struct ppl *p, size_t weights)
{
    const double mib = 1 << 20;
    const size_t activations = forward_plan(&p->forward, &p->config, p->command->seq, p->command->gates != NULL);
    const size_t workspace = attention_bytes(&p->attention), all = weights + activations + workspace;
    const cl_ulong limit = p->command->memory ? (cl_ulong)p->command->memory << 20 : p->machine.memory;
    if (all > limit)
        return fail(EXIT_INPUT, "the model needs %.1f MiB (weights %.1f), but %s%.1f", (double)all / mib,
                    (double)weights / mib, p->command->memory ? "--memory allows " : "the device has ",
                    (double)limit / mib);
    for (int i = 0; i < N_BUFFERS; i++)
        if (p->forward.bytes[i] > p->machine.largest)
            return fail(EXIT_INPUT, "a buffer of %.1f MiB is needed, but the device's largest is %.1f",
                        (double)p->forward.bytes[i] / mib, (double)p->machine.largest / mib);
    fprintf(stderr, "memory: weights %.1f MiB, activations %.1f, workspace %.1f, of %.1f\n", (double)weights / mib,
            (double)activations / mib, (double)workspace / mib, (double)limit / mib);
    return 0;
}

/* Everything up to the first sequence. */
static int prepare(struct ppl *p)
{
    const struct command *c = p->command;
    struct machine *m = &p->machine;
    size_t weights = 0;
    int code = config_read(c->model, &p->config);
    if (!code)
        code = tokens_read(p);
    if (!code)
        code = checkpoint_open(c->model, &p->checkpoint);
    if (!code)
        code = model_check(&p->config, &p->checkpoint, &weights);
    p->problem = c->problem;
    if (!code && c->gates)
        code = gates_open(c->gates, &p->config, &p->problem, &p->gates);
    if (!code)
        code = machine_open(c->device, c->verbose, m);
    spend_from_now(m);
    if (!code)
        code = attention_plan(m, &p->config, c->seq, &p->problem, c->gates ? &p->gates : NULL, &p->attention);
    if (!code)
        code = memory_check(p, weights + p->gates.bytes);
    if (!code)
        code = machine_build(m);
    if (!code)
        code = spend(m, SPENT_COMPILE);
    if (!code)
        code = model_load(m, &p->config, &p->checkpoint, &p->model);
    checkpoint_close(&p->checkpoint);
    if (!code && c->gates)
        code = gates_load(m, &p->config, &p->problem, &p->gates);
    p->forward.machine = m;
    p->forward.model = &p->model;
    p->forward.attention = &p->attention;
    if (!code)
        code = attention_make(m, &p->attention);
    if (!code)
        code = forward_make(&p->forward);
    return code ? code : spend(m, SPENT_LOAD);
}

static int sequences(struct ppl *p)
{
    const struct command *c = p->command;
    p->losses = calloc((size_t)c->count, sizeof *p->losses);
    int code = p->losses ? 0 : fail(EXIT_INPUT, "there is no memory for %d losses", (int)c->count);
    for (int32_t s = 0; s < c->count && !code; s++) {
        code = forward_run(&p->forward, p->tokens + (size_t)s * (size_t)c->seq);
        if (!code)
            code = forward_loss(&p->forward, c->seq / 4, &p->losses[s]);
        if (!code && !isfinite(p->losses[s]))
            code = fail(EXIT_INPUT, "the loss of sequence %d is not finite", (int)s);
        if (!code)
            fprintf(stderr, "sequence %d of %d: perplexity %.4f\n", (int)s + 1, (int)c->count, exp(p->losses[s]));
    }
    return code;
}

static int report(struct ppl *p)
{
    const struct command *c = p->command;
    const double density = attention_density(&p->attention);
    double mean = 0;
    for (int32_t s = 0; s < c->count; s++)
        mean += p->losses[s] / c->count;
    if (!c->json) {
        printf("device %s, %s\n", p->machine.device.name, clgaze_plan_kernel(p->attention.plan, CLGAZE_ATTEND));
        for (int i = 0; i < N_SPENT; i++)
            printf("%-10s %8.3f s\n", spent_names[i], p->machine.seconds[i]);
        printf("perplexity %.4f density %.4f\n", exp(mean), density);
        return 0;
    }
    cJSON *root = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(root, "per_sequence");
    cJSON *seconds = cJSON_AddObjectToObject(root, "seconds");
    cJSON_AddNumberToObject(root, "perplexity", exp(mean));
    cJSON_AddNumberToObject(root, "density", density);
    for (int32_t s = 0; s < c->count; s++)
        cJSON_AddItemToArray(list, cJSON_CreateNumber(exp(p->losses[s])));
    for (int i = 0; i < N_SPENT; i++)
        cJSON_AddNumberToObject(seconds, spent_names[i], p->machine.seconds[i]);
    char *text = cJSON_Print(root);
    cJSON_Delete(root);
    if (!text)
        return fail(EXIT_INPUT, "there is no memory for the answer");
    puts(text);
    cJSON_free(text);
    return 0;
}

int command_ppl(const struct command *c)
{
    struct ppl p;
    memset(&p, 0, sizeof p);
    p.command = c;
    if (!c->model || !c->tokens)
        return fail(EXIT_INPUT, "ppl needs --model and --tokens");
    int code = prepare(&p);
    if (!code)
        code = sequences(&p);
    if (!code)
        code = report(&p);
    forward_free(&p.forward);
    model_free(&p.model);
    attention_free(&p.attention);
    gates_free(&p.gates);
    machine_close(&p.machine);
    checkpoint_close(&p.checkpoint);
    free(p.tokens);
    free(p.losses);
    return code;
}
