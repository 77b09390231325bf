/* SPDX-License-Identifier: Apache-2.0 */
/*
 * distill_run.c: clgaze-distill: captures, and the course that they teach.
 */
#include "distill_command.h"

#include "course.h"
#include "fail.h"
#include "json.h"
#include "lesson.h"
#include "stop.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All that a run holds. */
struct lessons {
    const struct distill_command *c;
    struct settings settings;
    struct device device;
    struct lesson *of;      /* each capture */
    clgaze_problem problem; /* of the gate, its maxima those of all captures */
    struct learner learner;
    uint64_t hash; /* of the captures */
};

/* ---- captures ------------------------------------------------------------------- */

/* The first capture says how; the command line wins. */
static int settle(struct lessons *r, const st_file *file)
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
static int join(struct lessons *r, const clgaze_problem *p, int first)
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

static int load(struct lessons *r, int i)
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
    code = code ? code : lesson_make(&r->device, &job, &r->of[i]);
    for (size_t t = 0; !code && t < file->n_tensors; t++)
        course_hash(&r->hash, file->tensors[t].data, file->tensors[t].bytes);
    job_free(&job);
    st_close(file);
    fail_about(NULL);
    return code;
}

/* ---- the course -------------------------------------------------------------------- */

/* What a checkpoint must agree with beside the rates: the options, the captures, the start. */
static void agree(const struct lessons *r, struct course *course)
{
    static const char *const others[] = {"steps", "schedule", "warmup"}; /* course.c's, given or not */
    st_pair pairs[MAX_OPTIONS];
    char text[MAX_OPTIONS][64];
    const size_t n = settings_pairs(&r->settings, pairs, text);
    for (size_t i = 0; i < n; i++) {
        int other = 0;
        for (size_t o = 0; o < sizeof others / sizeof *others; o++)
            other |= strcmp(pairs[i].key, others[o]) == 0;
        if (!other)
            course_agree(course, pairs[i].key, "%s", pairs[i].value);
    }
    course_agree(course, "gate_double", "%" PRId32, r->problem.gate_double);
    course_agree(course, "seed", "%" PRId32, r->c->seed);
    course_agree(course, "captures", "%016" PRIx64, r->hash);
}

static int step(void *user, const clgaze_adamw *o, float *loss, char where[COURSE_WHERE])
{
    struct lessons *r = user;
    const int32_t i = (int32_t)((o->step - 1) % r->c->n_in);
    snprintf(where, COURSE_WHERE, "on %s", r->c->in[i]);
    return learner_step(&r->learner, &r->of[i], o, loss);
}

static int report(const struct lessons *r, const struct course *course)
{
    const int32_t done = course->saved.done;
    const double first = (double)course->saved.losses[0], last = (double)course->saved.losses[done - 1];
    if (!r->c->json) {
        printf("%" PRId32 " steps, loss %.5f, at first %.5f, %.1f s\n", done, last, first, course->seconds);
        return 0;
    }
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "device", r->device.name);
    cJSON_AddNumberToObject(root, "steps", done);
    cJSON_AddNumberToObject(root, "first_loss", first);
    cJSON_AddNumberToObject(root, "loss", last);
    cJSON_AddNumberToObject(root, "seconds", course->seconds);
    return print_json(stdout, root, 0);
}

static int teach(struct lessons *r)
{
    const struct distill_command *c = r->c;
    uint64_t state = (uint64_t)c->seed;
    struct course course = {.out = c->out,
                            .plot = c->plot,
                            .save_every = c->save_every,
                            .stop_after = c->stop_after,
                            .resume = c->resume,
                            .training = r->settings.training,
                            .learners = &r->learner,
                            .n_learners = 1,
                            .step = step,
                            .user = r};
    agree(r, &course);
    int code = learner_open(&r->device, &r->problem, &r->learner);
    code = code ? code : learner_start(&r->learner, &state);
    code = code ? code : course_begin(&course);
    code = code ? code : course_run(&course);
    code = code ? code : course_finish(&course, &r->problem, c->layer, strcmp(c->dtype, "bf16") == 0);
    if (!code && course.saved.done)
        code = report(r, &course);
    course_free(&course);
    return code;
}

int distill_run(const struct distill_command *command)
{
    struct lessons r = {.c = command};
    int code = 0;
    r.of = calloc((size_t)command->n_in, sizeof *r.of);
    if (!r.of)
        return fail(EXIT_INPUT, "memory ran out");
    for (int i = 0; i < command->n_in && !code; i++)
        code = load(&r, i);
    code = code ? code : teach(&r);
    learner_free(&r.learner);
    for (int i = 0; i < command->n_in; i++)
        lesson_free(&r.of[i]);
    free(r.of);
    device_close(&r.device);
    if (!code)
        stop_now();
    return code;
}
