/* SPDX-License-Identifier: Apache-2.0 */
/*
 * finetune.c: clgaze-llama finetune.
 */
#include "folder.h"
#include "order.h"
#include "report.h"
#include "state.h"

#include "fail.h"
#include "posix.h"
#include "stop.h"
#include "training.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WARMUP = 10 };

static const double longest_gradient = 1; /* its norm is clipped to this */

struct course {
    const struct command *c;
    struct run run;
    struct state state;
    struct order order;
    int32_t from, kept; /* steps made before this run, and in the checkpoint */
    double began, told; /* seconds                                           */
    double norm, rate;  /* of the last step                                  */
    int made;           /* the folder was not there                          */
};

/* Grows for WARMUP steps to 1, then falls along a line that would reach 0 with the step after the last. */
static double share_of(int32_t step, int32_t steps)
{
    const double up = (double)step / WARMUP, down = (double)(steps + 1 - step) / (steps + 1 - WARMUP);
    return step <= WARMUP ? up : down;
}

/* ---- steps ---- */

/* A number that is none: nothing is changed any more, the checkpoint stays as it is. */
static int refuse(const struct course *t, int32_t step, const char *what, double x)
{
    char kept[64] = "nothing was saved before";
    if (t->kept)
        snprintf(kept, sizeof kept, "the checkpoint keeps the model of step %d", (int)t->kept);
    return fail(EXIT_INPUT, "the %s of step %d is %g; %s", what, (int)step, x, kept);
}

/* The gradient of a batch. */
static int gradient(struct course *t, int32_t step, double *loss)
{
    struct run *r = &t->run;
    const int32_t batch = t->c->batch;
    int code = 0;
    *loss = 0;
    for (int32_t i = 0; i < batch && !code; i++) {
        const cl_int *tokens = r->tokens + (size_t)order_next(&t->order) * (size_t)t->c->seq;
        double one;
        r->teach.at = i;
        code = backward_run(&r->backward, tokens, 1.0 / batch, &one);
        *loss += one / batch;
    }
    if (!code && !isfinite(*loss))
        code = refuse(t, step, "loss", *loss);
    for (cl_int l = 0; l < r->teach.layers && !code; l++)
        if (!isfinite(r->teach.losses[l]))
            code = refuse(t, step, "loss of a gate", (double)r->teach.losses[l]);
    return code;
}

static int step(struct course *t, int32_t n)
{
    struct run *r = &t->run;
    const double share = share_of(n, t->c->steps);
    clgaze_adamw gates = training_default().step, model = {t->c->lr * share, 0.9, 0.95, 1e-8, 0, n};
    double loss;
    gates.lr *= share;
    gates.step = n;
    r->teach.step = gates;
    int code = gradient(t, n, &loss);
    if (!code)
        code = optimizer_norm(&r->machine, &r->optimizer, &r->backward.grads, &t->norm);
    if (!code && !isfinite(t->norm))
        code = refuse(t, n, "gradient", t->norm);
    if (!code)
        code = optimizer_step(&r->machine, &r->optimizer, &model, fmin(1, longest_gradient / (t->norm + 1e-6)),
                              &r->backward.grads, &r->model);
    if (code)
        return code;
    t->rate = model.lr;
    t->state.saved.losses[n - 1] = (float)loss;
    t->state.saved.done = n;
    return 0;
}

static void tell(struct course *t)
{
    const int32_t done = t->state.saved.done, steps = t->c->steps;
    const double now = t->run.machine.since, each = (now - t->began) / (done - t->from);
    if (now - t->told < 1 && done < steps && done > t->from + 1)
        return;
    t->told = now;
    fprintf(stderr, "step %d of %d: loss %.4f, rate %.2e, gradient %.3f, %.0f tokens a second, %.0f s left\n",
            (int)done, (int)steps, (double)t->state.saved.losses[done - 1], t->rate, t->norm,
            (double)t->c->batch * t->c->seq / each, each * (steps - done));
}

static int save(struct course *t)
{
    const int code = saved_write(t->state.path, &t->state.saved);
    t->kept = code ? t->kept : t->state.saved.done;
    return code;
}

static int steps(struct course *t)
{
    const struct command *c = t->c;
    const int32_t last = c->stop_after && c->stop_after < c->steps ? c->stop_after : c->steps;
    int code = 0;
    spend_from_now(&t->run.machine);
    t->began = t->run.machine.since;
    for (int32_t n = t->from + 1; n <= last && !stop_asked() && !code; n++) {
        code = step(t, n);
        if (!code)
            tell(t);
        if (!code && n % c->save_every == 0 && n < last)
            code = save(t);
    }
    return code || t->state.saved.done == t->kept ? code : save(t);
}

/* ---- begin and end ---- */

static int begin(struct course *t)
{
    const struct command *c = t->c;
    int code = state_make(&t->run, &t->state);
    if (!code && c->resume)
        code = saved_read(t->state.path, &t->state.saved, c->steps);
    t->from = t->kept = t->state.saved.done;
    if (!code)
        code = order_make(&t->order, t->run.sequences, c->seed, (int64_t)t->from * c->batch);
    return code ? code : folder_make(c, &t->made);
}

static int finish(struct course *t)
{
    const int32_t done = t->state.saved.done;
    const float *losses = t->state.saved.losses;
    const int whole = done == t->c->steps;
    const int code = whole ? folder_write(&t->run, losses, (size_t)done) : 0;
    if (code)
        return code;
    if (whole)
        remove(t->state.path);
    else if (done)
        fprintf(stderr, "stopped after step %d: --resume goes on from %s\n", (int)done, t->state.path);
    return done ? report_losses(&t->run, losses, done) : 0;
}

int command_finetune(const struct command *c)
{
    struct course t;
    memset(&t, 0, sizeof t);
    t.c = c;
    if (!c->model || !c->tokens || !c->out || !c->steps)
        return fail(EXIT_INPUT, "finetune needs --model, --tokens, --steps and --out");
    int code = folder_check(c);
    if (code)
        return code;
    code = run_open(c, WANT_TRAIN, &t.run);
    if (!code)
        code = begin(&t);
    stop_listen();
    if (!code)
        code = steps(&t);
    if (!code)
        code = finish(&t);
    if (t.made && !t.kept)
        rmdir(c->out); /* nothing was put in it */
    run_close(&t.run);
    state_free(&t.state);
    order_free(&t.order);
    if (!code)
        stop_now();
    return code;
}
