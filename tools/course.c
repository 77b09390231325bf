/* SPDX-License-Identifier: Apache-2.0 */
/*
 * course.c: steps of learning.
 */
#include "course.h"

#include "fail.h"
#include "plot.h"
#include "stop.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- the state --------------------------------------------------------------------- */

void course_agree(struct course *c, const char *key, const char *format, ...)
{
    char *text = c->text[c->saved.n_pairs];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof c->text[0], format, args);
    va_end(args);
    c->pairs[c->saved.n_pairs++] = (st_pair){key, text};
}

void course_hash(uint64_t *hash, const void *data, size_t bytes)
{
    const unsigned char *at = data;
    for (size_t i = 0; i < bytes; i += sizeof *hash) {
        uint64_t word = 0;
        memcpy(&word, at + i, bytes - i < sizeof word ? bytes - i : sizeof word);
        *hash = (*hash ^ word) * 0x9e3779b97f4a7c15u + 1;
        *hash ^= *hash >> 32;
    }
}

/* What says how fast it learns; with a constant rate more steps only follow. */
static void agree_training(struct course *c)
{
    const struct training *t = &c->training;
    course_agree(c, "schedule", "%s", t->cosine ? "cosine" : "constant");
    course_agree(c, "warmup", "%" PRId32, t->warmup);
    if (t->cosine)
        course_agree(c, "steps", "%" PRId32, t->steps);
}

static int get(void *user, size_t which, float *to)
{
    struct course *c = user;
    return learner_get(&c->learners[which / N_STATE], (int)(which % N_STATE), to);
}

static int put(void *user, size_t which, const float *from)
{
    struct course *c = user;
    return learner_put(&c->learners[which / N_STATE], (int)(which % N_STATE), from);
}

/* The arrays of all gates; of one gate they have the plain word, of several "3.w_k". */
static int arrays_make(struct course *c)
{
    const size_t n = c->n_learners * N_STATE;
    c->shapes = calloc(n + 1, sizeof *c->shapes);
    c->names = calloc(n + 1, sizeof *c->names);
    if (!c->shapes || !c->names)
        return fail(EXIT_INPUT, "memory ran out");
    for (size_t i = 0; i < n; i++) {
        const char *word = learned_names[i % N_STATE];
        c->shapes[i] = c->learners[i / N_STATE].shapes[i % N_STATE];
        c->shapes[i].name = c->names[i];
        if (c->n_learners > 1)
            snprintf(c->names[i], COURSE_NAME, "%zu.%s", i / N_STATE, word);
        else
            snprintf(c->names[i], COURSE_NAME, "%s", word);
    }
    return 0;
}

int course_begin(struct course *c)
{
    const char *suffix = ".checkpoint";
    if ((size_t)snprintf(c->checkpoint, sizeof c->checkpoint, "%s%s", c->out, suffix) >= sizeof c->checkpoint)
        return fail(EXIT_INPUT, "--out is longer than a path may be");
    agree_training(c);
    int code = arrays_make(c);
    struct saved *saved = &c->saved;
    saved->pairs = c->pairs;
    saved->shapes = c->shapes;
    saved->n_shapes = c->n_learners * N_STATE;
    saved->get = get;
    saved->put = put;
    saved->user = c;
    saved->losses = calloc((size_t)c->training.steps + 1, sizeof *saved->losses);
    if (!code && !saved->losses)
        code = fail(EXIT_INPUT, "there is no memory for %" PRId32 " losses", c->training.steps);
    if (!code && c->resume)
        code = saved_read(c->checkpoint, saved, c->training.steps);
    c->from = saved->done;
    stop_listen();
    return code;
}

void course_free(struct course *c)
{
    free(c->saved.losses);
    free(c->shapes);
    free(c->names);
    c->saved.losses = NULL;
    c->shapes = NULL;
    c->names = NULL;
}

/* ---- steps --------------------------------------------------------------------------- */

static void tell(const struct course *c, double *told)
{
    const int32_t done = c->saved.done, steps = c->training.steps;
    const double now = seconds(), each = (now - c->began) / (done - c->from);
    if (now - *told < 1 && done < steps && done > c->from + 1)
        return;
    *told = now;
    fprintf(stderr, "step %" PRId32 "/%" PRId32 "  loss %.5f  %.0f s left\n", done, steps,
            (double)c->saved.losses[done - 1], each * (steps - done));
}

/* A loss that is no number: the library has left the gate as it was, the file stays as it is. */
static int refuse(const struct course *c, int32_t step, float loss, const char *where, int32_t kept)
{
    if (kept)
        return fail(EXIT_INPUT, "the loss of step %" PRId32 " is %g, %s; %s keeps the gate of step %" PRId32, step,
                    (double)loss, where, c->checkpoint, kept);
    return fail(EXIT_INPUT, "the loss of step %" PRId32 " is %g, %s; nothing was saved before", step, (double)loss,
                where);
}

static int save(struct course *c, int32_t *kept)
{
    *kept = c->saved.done;
    return saved_write(c->checkpoint, &c->saved);
}

int course_run(struct course *c)
{
    const int32_t all = c->training.steps, last = c->stop_after && c->stop_after < all ? c->stop_after : all;
    char where[COURSE_WHERE] = "";
    int32_t kept = c->from;
    double told = 0;
    int code = 0;
    c->began = seconds();
    while (c->saved.done < last && !stop_asked() && !code) {
        const int32_t step = c->saved.done + 1;
        const clgaze_adamw o = training_step(&c->training, step);
        float loss;
        code = c->step(c->user, &o, &loss, where);
        if (!code && !isfinite(loss))
            code = refuse(c, step, loss, where, kept);
        if (code)
            return code;
        c->saved.losses[step - 1] = loss;
        c->saved.done = step;
        tell(c, &told);
        if (step % c->save_every == 0 && step < last)
            code = save(c, &kept);
    }
    c->seconds = seconds() - c->began;
    return code || c->saved.done == kept ? code : save(c, &kept);
}

/* ---- the end -------------------------------------------------------------------------- */

int course_finish(const struct course *c, const clgaze_problem *problem, int32_t layer, int bf16)
{
    const int whole = c->saved.done == c->training.steps;
    int code = whole ? learners_write(c->out, c->learners, c->n_learners, problem, layer, bf16) : 0;
    if (!code && c->plot && c->saved.done)
        code = plot_losses(c->plot, "loss (KL divergence from the truth)", c->saved.losses, (size_t)c->saved.done);
    if (!whole)
        fprintf(stderr, "stopped after step %" PRId32 ": --resume goes on from %s\n", c->saved.done, c->checkpoint);
    return code;
}
