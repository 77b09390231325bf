/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ppl.c: clgaze-llama ppl.
 */
#include "run.h"

#include "fail.h"
#include "json.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int sequences(struct run *r, double *losses)
{
    const struct command *c = r->command;
    int code = 0;
    for (int32_t s = 0; s < c->count && !code; s++) {
        code = forward_run(&r->forward, r->tokens + (size_t)s * (size_t)c->seq, r->config.layers);
        if (!code)
            code = forward_loss(&r->forward, c->seq / 4, &losses[s]);
        if (!code && !isfinite(losses[s]))
            code = fail(EXIT_INPUT, "the loss of sequence %d is not finite", (int)s + 1);
        if (!code)
            fprintf(stderr, "sequence %d of %d: perplexity %.4f\n", (int)s + 1, (int)c->count, exp(losses[s]));
    }
    return code;
}

static int report(const struct run *r, const double *losses)
{
    const struct command *c = r->command;
    const double density = attention_density(&r->attention);
    double mean = 0;
    for (int32_t s = 0; s < c->count; s++)
        mean += losses[s] / c->count;
    if (!c->json) {
        printf("device %s, %s in %s\n", r->machine.device.name, clgaze_plan_kernel(r->attention.plan, CLGAZE_ATTEND),
               clgaze_dtype_name(r->problem.dtype));
        for (int i = 0; i < N_SPENT; i++)
            printf("%-10s %8.3f s\n", spent_names[i], r->machine.seconds[i]);
        printf("perplexity %.4f density %.4f\n", exp(mean), density);
        return 0;
    }
    cJSON *root = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(root, "per_sequence");
    cJSON *seconds = cJSON_AddObjectToObject(root, "seconds");
    cJSON_AddStringToObject(root, "rule", c->source ? c->rule : "dense");
    cJSON_AddStringToObject(root, "compute", clgaze_dtype_name(r->problem.dtype));
    cJSON_AddNumberToObject(root, "perplexity", exp(mean));
    cJSON_AddNumberToObject(root, "density", density);
    for (int32_t s = 0; s < c->count; s++)
        cJSON_AddItemToArray(list, cJSON_CreateNumber(exp(losses[s])));
    for (int i = 0; i < N_SPENT; i++)
        cJSON_AddNumberToObject(seconds, spent_names[i], r->machine.seconds[i]);
    return print_json(stdout, root, 0);
}

int command_ppl(const struct command *c)
{
    struct run r;
    if (!c->model || !c->tokens)
        return fail(EXIT_INPUT, "ppl needs --model and --tokens");
    double *losses = calloc((size_t)c->count, sizeof *losses);
    if (!losses)
        return fail(EXIT_INPUT, "there is no memory for %d losses", (int)c->count);
    int code = run_open(c, WANT_OUT, &r);
    if (!code)
        code = sequences(&r, losses);
    if (!code)
        code = report(&r, losses);
    run_close(&r);
    free(losses);
    return code;
}
