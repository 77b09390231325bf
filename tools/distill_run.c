/*
 * distill_run.c: clgaze-distill: captures, steps, checkpoints, the gate's file.
 */
#include "distill_command.h"

#include "fail.h"
#include "gate_file.h"
#include "json.h"
#include "learner.h"
#include "lesson.h"
#include "plot.h"
#include "saved.h"
#include "stop.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_PAIRS = MAX_OPTIONS + 8 };

/* All that a run holds. */
struct course {
    const struct distill_command *c;
    struct settings settings;
    struct device device;
    struct lesson *lessons;
    clgaze_problem problem; /* of the gate, its maxima those of all captures */
    struct learner learner;
    char checkpoint[4096];
    struct saved saved;
    uint64_t hash; /* of the captures */
    st_pair pairs[MAX_PAIRS];
    char text[MAX_OPTIONS][64], own[MAX_PAIRS - MAX_OPTIONS][64]; /* what they say */
    size_t n_own;
    double began;
    int32_t from; /* steps that were done before this run */
};

static double seconds(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- captures ------------------------------------------------------------------- */

/* The first capture says how; the command line wins. */
static int settle(struct course *r, const st_file *file)
{
    struct settings *s = &r->settings;
    int code = settings_read(&r->c->library, file, s);
    if (code)
        return code;
    s->own_gate = 1;
    s->problem.gate_double = strcmp(r->c->form, "double") == 0;
    s->problem.gate_dim = r->c->gate_dim;
    if (!settings_given(s, "schedule"))
        s->training.cosine = 1;
    if (!settings_given(s, "warmup"))
        s->training.warmup = 20;
    if (s->problem.block_q != s->problem.block_k)
        return fail(EXIT_INPUT,
                    "block_q is %" PRId32 " and block_k %" PRId32 ", but the names of gates know one block",
                    s->problem.block_q, s->problem.block_k);
    return 0;
}

static int32_t larger(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

/* What one plan can serve. */
static int join(struct course *r, const clgaze_problem *p, int first)
{
    clgaze_problem *all = &r->problem;
    if (first) {
        *all = *p;
        return 0;
    }
    if (p->q_heads != all->q_heads || p->kv_heads != all->kv_heads || p->head_dim != all->head_dim ||
        p->dtype != all->dtype || p->rope_pairs != all->rope_pairs || p->packed != all->packed)
        return fail(EXIT_INPUT, "its heads, head size, type, RoPE or packing are not those of the first capture");
    all->max_batch = larger(all->max_batch, p->max_batch);
    all->max_q = larger(all->max_q, p->max_q);
    all->max_k = larger(all->max_k, p->max_k);
    return 0;
}

static void stir(struct course *r, const st_file *file)
{
    for (size_t i = 0; i < file->n_tensors; i++)
        for (size_t b = 0; b < file->tensors[i].bytes; b++)
            r->hash = (r->hash ^ ((const unsigned char *)file->tensors[i].data)[b]) * 0x100000001b3u;
}

static int load(struct course *r, int i)
{
    st_file *file = NULL;
    struct job job = {0};
    char why[ST_WHY];
    fail_about(r->c->in[i]);
    int code = st_open(r->c->in[i], &file, why, sizeof why) ? fail(EXIT_INPUT, "%s", why) : 0;
    if (!code && i == 0)
        code = settle(r, file);
    code = code ? code : job_make(operation_find("distill"), file, &r->settings, &job);
    code = code ? code : join(r, &job.problem, i == 0);
    code = code || r->device.context ? code : device_open(r->c->device, r->c->verbose, &r->device);
    code = code ? code : lesson_make(&r->device, &job, &r->lessons[i]);
    if (!code)
        stir(r, file);
    job_free(&job);
    st_close(file);
    fail_about(NULL);
    return code;
}

/* ---- the state --------------------------------------------------------------------- */

static void pair(struct course *r, const char *key, const char *value)
{
    char *text = r->own[r->n_own++];
    snprintf(text, sizeof r->own[0], "%s", value);
    r->pairs[r->saved.n_pairs++] = (st_pair){key, text};
}

static void pair_number(struct course *r, const char *key, int32_t value)
{
    char text[16];
    snprintf(text, sizeof text, "%" PRId32, value);
    pair(r, key, text);
}

static void drop_pair(struct course *r, const char *key)
{
    size_t n = 0;
    for (size_t i = 0; i < r->saved.n_pairs; i++)
        if (strcmp(r->pairs[i].key, key) != 0)
            r->pairs[n++] = r->pairs[i];
    r->saved.n_pairs = n;
}

/* What a checkpoint must agree with: the options, the captures, where it began. */
static void describe(struct course *r)
{
    const struct training *t = &r->settings.training;
    const clgaze_problem *p = &r->problem;
    char hash[24];
    snprintf(hash, sizeof hash, "%016" PRIx64, r->hash);
    r->saved.n_pairs = settings_pairs(&r->settings, r->pairs, r->text);
    drop_pair(r, "steps"); /* they follow, given or not */
    drop_pair(r, "schedule");
    drop_pair(r, "warmup");
    pair(r, "schedule", t->cosine ? "cosine" : "constant");
    pair_number(r, "warmup", t->warmup);
    pair_number(r, "gate_double", p->gate_double);
    pair_number(r, "seed", r->c->seed);
    pair(r, "captures", hash);
    if (t->cosine) /* with a constant rate more steps only follow */
        pair_number(r, "steps", t->steps);
    r->saved.pairs = r->pairs;
}

static int start(struct course *r)
{
    uint64_t state = (uint64_t)r->c->seed;
    for (int which = W_K; which <= W_Q; which++) {
        const st_tensor *s = &r->learner.shapes[which];
        if (!s->elements)
            continue;
        float *x = malloc(s->bytes);
        if (!x)
            return fail(EXIT_INPUT, "memory ran out");
        training_start(&state, x, s->elements);
        const int code = learner_put(&r->learner, which, x);
        free(x);
        if (code)
            return code;
    }
    return 0;
}

static int get(void *user, size_t which, float *to)
{
    return learner_get(user, (int)which, to);
}

static int put(void *user, size_t which, const float *from)
{
    return learner_put(user, (int)which, from);
}

static int prepare(struct course *r)
{
    const int32_t steps = r->settings.training.steps;
    const char *suffix = ".checkpoint";
    if ((size_t)snprintf(r->checkpoint, sizeof r->checkpoint, "%s%s", r->c->out, suffix) >= sizeof r->checkpoint)
        return fail(EXIT_INPUT, "--out is longer than a path may be");
    describe(r);
    r->saved.losses = calloc((size_t)steps + 1, sizeof *r->saved.losses);
    if (!r->saved.losses)
        return fail(EXIT_INPUT, "there is no memory for %" PRId32 " losses", steps);
    int code = learner_open(&r->device, &r->problem, &r->learner);
    r->saved.shapes = r->learner.shapes;
    r->saved.n_shapes = N_STATE;
    r->saved.get = get;
    r->saved.put = put;
    r->saved.user = &r->learner;
    if (!code)
        code = r->c->resume ? saved_read(r->checkpoint, &r->saved, steps) : start(r);
    r->from = r->saved.done;
    return code;
}

/* ---- steps --------------------------------------------------------------------------- */

static void tell(const struct course *r, double *told)
{
    const int32_t done = r->saved.done, steps = r->settings.training.steps;
    const double now = seconds(), each = (now - r->began) / (done - r->from);
    if (now - *told < 1 && done < steps && done > r->from + 1)
        return;
    *told = now;
    fprintf(stderr, "step %" PRId32 "/%" PRId32 "  loss %.5f  %.0f s left\n", done, steps,
            (double)r->saved.losses[done - 1], each * (steps - done));
}

/* A loss that is no number: the library has left the gate as it was, the file stays as it is. */
static int refuse(const struct course *r, int32_t step, float loss, int32_t kept)
{
    const char *in = r->c->in[(step - 1) % r->c->n_in];
    if (kept)
        return fail(EXIT_INPUT, "the loss of step %" PRId32 " is %g, on %s; %s keeps the gate of step %" PRId32, step,
                    (double)loss, in, r->checkpoint, kept);
    return fail(EXIT_INPUT, "the loss of step %" PRId32 " is %g, on %s; nothing was saved before", step, (double)loss,
                in);
}

static int save(struct course *r, int32_t *kept)
{
    *kept = r->saved.done;
    return saved_write(r->checkpoint, &r->saved);
}

static int steps(struct course *r)
{
    const struct training *t = &r->settings.training;
    const int32_t last = r->c->stop_after && r->c->stop_after < t->steps ? r->c->stop_after : t->steps;
    int32_t kept = r->from;
    double told = 0;
    int code = 0;
    r->began = seconds();
    while (r->saved.done < last && !stop_asked() && !code) {
        const int32_t step = r->saved.done + 1;
        const clgaze_adamw o = training_step(t, step);
        float loss;
        code = learner_step(&r->learner, &r->lessons[(step - 1) % r->c->n_in], &o, &loss);
        if (!code && !isfinite(loss))
            code = refuse(r, step, loss, kept);
        if (code)
            return code;
        r->saved.losses[step - 1] = loss;
        r->saved.done = step;
        tell(r, &told);
        if (step % r->c->save_every == 0 && step < last)
            code = save(r, &kept);
    }
    return code || r->saved.done == kept ? code : save(r, &kept);
}

/* ---- the end -------------------------------------------------------------------------- */

static int write_gate(struct course *r)
{
    struct layer_gate gate = {.layer = r->c->layer};
    float *x[2] = {NULL, NULL};
    int code = 0;
    for (int which = W_K; which <= W_Q && !code; which++) {
        const st_tensor *s = &r->learner.shapes[which];
        if (!s->elements)
            continue;
        x[which] = malloc(s->bytes);
        code = x[which] ? learner_get(&r->learner, which, x[which]) : fail(EXIT_INPUT, "memory ran out");
    }
    gate.w_k = x[0];
    gate.w_q = x[1];
    if (!code)
        code = gates_write(r->c->out, &r->problem, &gate, 1, strcmp(r->c->dtype, "bf16") == 0);
    free(x[0]);
    free(x[1]);
    return code;
}

static int report(const struct course *r)
{
    const int32_t done = r->saved.done;
    const double took = seconds() - r->began;
    if (!r->c->json) {
        printf("%" PRId32 " steps, loss %.5f, at first %.5f, %.1f s\n", done, (double)r->saved.losses[done - 1],
               (double)r->saved.losses[0], took);
        return 0;
    }
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "device", r->device.name);
    cJSON_AddNumberToObject(root, "steps", done);
    cJSON_AddNumberToObject(root, "first_loss", (double)r->saved.losses[0]);
    cJSON_AddNumberToObject(root, "loss", (double)r->saved.losses[done - 1]);
    cJSON_AddNumberToObject(root, "seconds", took);
    return print_json(stdout, root, 0);
}

static int finish(struct course *r)
{
    const int whole = r->saved.done == r->settings.training.steps;
    int code = whole ? write_gate(r) : 0;
    if (!code && r->c->plot && r->saved.done)
        code = plot_losses(r->c->plot, "loss (KL divergence from the truth)", r->saved.losses, (size_t)r->saved.done);
    if (!whole)
        fprintf(stderr, "stopped after step %" PRId32 ": --resume goes on from %s\n", r->saved.done, r->checkpoint);
    return code || !r->saved.done ? code : report(r);
}

int distill_run(const struct distill_command *command)
{
    struct course r = {.c = command};
    int code = 0;
    r.lessons = calloc((size_t)command->n_in, sizeof *r.lessons);
    if (!r.lessons)
        return fail(EXIT_INPUT, "memory ran out");
    for (int i = 0; i < command->n_in && !code; i++)
        code = load(&r, i);
    code = code ? code : prepare(&r);
    stop_listen();
    code = code ? code : steps(&r);
    code = code ? code : finish(&r);
    learner_free(&r.learner);
    for (int i = 0; i < command->n_in; i++)
        lesson_free(&r.lessons[i]);
    free(r.lessons);
    free(r.saved.losses);
    device_close(&r.device);
    if (!code)
        stop_now();
    return code;
}
