/*
 * distill.c: clgaze-llama distill.
 */
#include "run.h"

#include "fail.h"
#include "order.h"
#include "report.h"
#include "training.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAVE_EVERY = 50, SAY_EVERY = 10, WARMUP = 20 };

/* One step over a batch. @param[out] mean  Of the layers' losses. */
static int step(struct run *r, struct order *order, int32_t n, double *mean)
{
    struct teach *t = &r->teach;
    int code = 0;
    for (t->at = 0; t->at < t->problem.max_batch && !code; t->at++)
        code = forward_run(&r->forward, r->tokens + (size_t)order_next(order) * (size_t)r->command->seq, t->layers);
    *mean = 0;
    for (cl_int l = 0; l < t->layers && !code; l++) {
        if (!isfinite(t->losses[l]))
            code = fail(EXIT_INPUT, "the loss of layer %d is not finite in step %d; %s", (int)l, (int)n,
                        n > SAVE_EVERY ? "the gates of the last steps that were saved stay" : "nothing was saved");
        *mean += (double)t->losses[l] / t->layers;
    }
    return code;
}

static void say(const struct run *r, int32_t n, double loss, double rate)
{
    double spent = 0;
    for (int i = SPENT_COMPILE + 1; i < N_SPENT; i++)
        spent += r->machine.seconds[i];
    fprintf(stderr, "step %d of %d: loss %.4f, rate %.2e, %.0f s left\n", (int)n, (int)r->command->steps, loss, rate,
            spent / n * (r->command->steps - n));
}

static int learn(struct run *r, struct order *order, double *losses)
{
    const struct command *c = r->command;
    struct training training = training_default();
    int code = 0;
    training.steps = c->steps;
    training.cosine = 1;
    training.warmup = WARMUP;
    training.step.lr = c->lr;
    for (int32_t n = 1; n <= c->steps && !code; n++) {
        r->teach.step = training_step(&training, n);
        code = step(r, order, n, &losses[n - 1]);
        if (!code && (n == 1 || n % SAY_EVERY == 0 || n == c->steps))
            say(r, n, losses[n - 1], r->teach.step.lr);
        if (!code && (n % SAVE_EVERY == 0 || n == c->steps))
            code = teach_save(&r->teach, c->out);
    }
    return code;
}

int command_distill(const struct command *c)
{
    struct run r;
    struct order order = {0};
    if (!c->model || !c->tokens || !c->out || !c->steps)
        return fail(EXIT_INPUT, "distill needs --model, --tokens, --steps and --out");
    if (c->source)
        return fail(EXIT_INPUT, "distill begins from random gates, without --gates and --rule");
    double *losses = calloc((size_t)c->steps, sizeof *losses);
    if (!losses)
        return fail(EXIT_INPUT, "there is no memory for %d losses", (int)c->steps);
    int code = run_open(c, WANT_TEACH, &r);
    if (!code)
        code = order_make(&order, r.sequences, c->seed, 0);
    if (!code)
        code = learn(&r, &order, losses);
    if (!code)
        code = report_losses(&r, losses, c->steps);
    run_close(&r);
    order_free(&order);
    free(losses);
    return code;
}
