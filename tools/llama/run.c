/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run.c: all that a run over a text needs.
 */
#include "run.h"

#include "course.h"
#include "fail.h"
#include "product_nv.h"

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

/* Bytes of the device. */
struct needs {
    size_t held, learnt, activations, workspace, largest;
};

static size_t greater(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Weights that train are f32, with a gradient and two moments each. */
static struct needs needs_of(const struct run *r, const struct weights *weights)
{
    const int trains = r->want == WANT_TRAIN;
    struct needs n = {.held = (trains ? weights->wide : weights->bytes) + r->gates.bytes,
                      .workspace = r->teach.bytes + (r->attention.plan ? attention_bytes(&r->attention) : 0),
                      .largest = trains ? weights->widest : weights->largest};
    if (trains) {
        n.learnt = r->backward.grads_bytes + optimizer_bytes(&r->config);
        n.activations = backward_bytes(&r->backward) - r->backward.grads_bytes;
        n.largest = greater(n.largest, backward_largest(&r->backward));
    } else {
        n.activations = r->forward.sum;
        for (int i = 0; i < N_BUFFERS; i++)
            n.largest = greater(n.largest, r->forward.bytes[i]);
    }
    return n;
}

/* In which types attention and products compute, and by which strategies. */
static void compute_tell(const struct run *r)
{
    const clgaze_plan *plans[] = {r->attention.plan, r->attention.back, r->teach.truth};
    static const clgaze_op ops[] = {CLGAZE_ATTEND, CLGAZE_ATTEND_BWD, CLGAZE_TRUTH};
    const char *between = " by";
    fprintf(stderr, "attention: %s", clgaze_dtype_name(r->problem.dtype));
    for (size_t i = 0; i < CLG_COUNT(ops); i++)
        if (plans[i]) {
            fprintf(stderr, "%s %s", between, clgaze_plan_kernel(plans[i], ops[i]));
            between = ",";
        }
    fprintf(stderr, "; products: %s\n", clgaze_dtype_name((clgaze_dtype)r->machine.matrix));
}

/* Compare what the run needs with what the device has, and say both. */
static int memory_check(const struct run *r, const struct weights *weights)
{
    const double mib = 1 << 20;
    const struct command *c = r->command;
    const struct needs n = needs_of(r, weights);
    const size_t all = n.held + n.learnt + n.activations + n.workspace;
    const cl_ulong limit = c->memory ? (cl_ulong)c->memory << 20 : r->machine.memory;
    if (all > limit)
        return fail(EXIT_INPUT, "the model needs %.1f MiB (weights %.1f), but %s%.1f", (double)all / mib,
                    (double)n.held / mib, c->memory ? "--memory allows " : "the device has ", (double)limit / mib);
    if (n.largest > r->machine.largest)
        return fail(EXIT_INPUT, "a buffer of %.1f MiB is needed, but the device's largest is %.1f",
                    (double)n.largest / mib, (double)r->machine.largest / mib);
    compute_tell(r);
    fprintf(stderr, "memory: weights %.1f MiB, ", (double)n.held / mib);
    if (n.learnt)
        fprintf(stderr, "gradients and moments %.1f, ", (double)n.learnt / mib);
    fprintf(stderr, "activations %.1f, workspace %.1f, of %.1f\n", (double)n.activations / mib,
            (double)n.workspace / mib, (double)limit / mib);
    return 0;
}

static void hash(struct run *r)
{
    const st_file *gates = r->gates.file;
    const struct checkpoint *c = &r->checkpoint;
    r->hash = r->weights_hash = 0;
    course_hash(&r->hash, r->tokens, ((size_t)r->sequences * (size_t)r->command->seq + 1) * sizeof *r->tokens);
    for (size_t i = 0; gates && i < gates->n_tensors; i++)
        course_hash(&r->hash, gates->tensors[i].data, gates->tensors[i].bytes);
    for (int f = 0; f < c->n; f++)
        for (size_t i = 0; i < c->files[f]->n_tensors; i++)
            course_hash(&r->weights_hash, c->files[f]->tensors[i].data, c->files[f]->tensors[i].bytes);
}

/* What can be refused without a device. */
static int files_read(struct run *r, struct weights *weights)
{
    const struct command *c = r->command;
    int code = config_read(c->model, &r->config);
    if (!code && c->rope_scaling)
        code = rope_stretch(&r->config, c->factor);
    if (!code && c->layer >= r->config.layers)
        code = fail(EXIT_INPUT, "--layer is %d, but the model has layers 0 to %d", (int)c->layer,
                    (int)r->config.layers - 1);
    if (!code)
        code = tokens_read(r);
    if (!code)
        code = checkpoint_open(c->model, &r->checkpoint);
    if (!code)
        code = model_check(&r->config, &r->checkpoint, weights);
    if (!code && c->source == FROM_GATES)
        code = gates_open(c->gates, &r->config, &r->problem, &r->gates);
    if (!code && c->source == FROM_MEANPOOL)
        gates_identity(&r->config, &r->problem, &r->gates);
    if (!code && r->want >= WANT_TEACH)
        hash(r);
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

static int by_watch(void *user, cl_int l, cl_int seq, const struct attended *at)
{
    struct run *r = user;
    struct attended dense = *at; /* the truth is of q and k alone */
    dense.v = dense.out = NULL;
    return teach_run(&r->machine, &r->teach, l, seq, &dense);
}

/* The type that each array has in the files. */
static int dtypes_note(struct run *r)
{
    struct parameter a;
    size_t n = 0;
    while (model_parameter(&r->model, n, &a))
        n++;
    r->dtypes = calloc(n + 1, sizeof *r->dtypes);
    for (size_t i = 0; r->dtypes && i < n; i++) {
        model_parameter(&r->model, i, &a);
        r->dtypes[i] = checkpoint_find(&r->checkpoint, a.name)->dtype;
    }
    return r->dtypes ? 0 : fail(EXIT_INPUT, "there is no memory for %zu types", n);
}

/* What runs over the model. */
static int passes_make(struct run *r)
{
    struct machine *m = &r->machine;
    const int trains = r->want == WANT_TRAIN;
    struct forward *f = trains ? &r->backward.forward : &r->forward;
    int code = r->attention.plan ? attention_make(m, &r->attention) : 0;
    f->machine = m;
    f->model = &r->model;
    r->forward.attend = r->want == WANT_TEACH ? by_teach : by_attention;
    r->forward.user = r->backward.user = r;
    r->backward.watch = r->teach.layers ? by_watch : NULL;
    if (!code)
        code = trains ? backward_make(&r->backward) : forward_make(f);
    return code || !trains ? code : optimizer_make(m, &r->model, &r->optimizer);
}

static int load(struct run *r)
{
    struct machine *m = &r->machine;
    const int trains = r->want == WANT_TRAIN;
    int code = model_load(m, &r->config, &r->checkpoint, trains, &r->model);
    if (!code && trains)
        code = dtypes_note(r);
    checkpoint_close(&r->checkpoint);
    if (!code && r->gates.layers)
        code = gates_load(m, &r->config, &r->problem, &r->gates);
    if (!code && r->teach.layers)
        code = teach_make(m, &r->config, r->command->seed, &r->teach);
    if (!code && r->teach.layers && r->gates.layers)
        code = teach_from(m, &r->teach, &r->gates);
    if (!code)
        code = passes_make(r);
    return code ? code : spend(m, SPENT_LOAD);
}

/* What compiles, but for what machine_build() does. */
static int plan(struct run *r)
{
    const struct command *c = r->command;
    struct machine *m = &r->machine;
    const int trains = r->want == WANT_TRAIN, teaches = r->want == WANT_TEACH || (trains && c->teach);
    const int gated = r->want != WANT_OUT && (!trains || c->teach);
    r->problem.lists = c->source ? CLGAZE_LISTS_BLOCKS : CLGAZE_LISTS_DENSE;
    r->problem.lse = trains;
    int code = compute_choose(m, &r->config, c->seq, c->compute, r->want, &r->problem);
    if (!code)
        product_nv_open(m, r->problem.dtype, trains);
    if (!code && teaches)
        code = teach_plan(m, &r->config, c->seq, c->batch, &r->problem, !c->no_gate_rope, !trains, &r->teach);
    if (teaches) /* attention goes through what they are by then */
        r->problem.weight_dtype = CLGAZE_F32;
    if (!code && r->want != WANT_TEACH)
        code = attention_plan(m, &r->config, c->seq, &r->problem, c->source, &r->gates, &r->attention);
    if (code)
        return code;
    if (trains)
        backward_plan(&r->backward, &r->config, c->seq, &r->attention, gated || c->source == FROM_GATES);
    else
        forward_plan(&r->forward, &r->config, c->seq, gated || c->source == FROM_GATES);
    return 0;
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
    if (!code)
        code = machine_build(m);
    if (!code)
        code = plan(r);
    if (!code)
        code = memory_check(r, &weights);
    if (!code)
        code = spend(m, SPENT_COMPILE);
    return code ? code : load(r);
}

void run_close(struct run *r)
{
    optimizer_free(&r->optimizer);
    backward_free(&r->backward);
    forward_free(&r->forward);
    model_free(&r->model);
    attention_free(&r->attention);
    gates_free(&r->gates);
    teach_free(&r->teach);
    machine_close(&r->machine);
    checkpoint_close(&r->checkpoint);
    free(r->tokens);
    free(r->dtypes);
}
