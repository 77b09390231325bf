/* SPDX-License-Identifier: Apache-2.0 */
/*
 * distill.c: clgaze-llama distill.
 */
#include "run.h"

#include "course.h"
#include "fail.h"
#include "order.h"
#include "report.h"
#include "stop.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { WARMUP = 20 };

struct lessons {
    struct run run;
    struct order order;
};

static int one_batch(struct lessons *s)
{
    struct run *r = &s->run;
    struct teach *t = &r->teach;
    int code = 0;
    for (t->at = 0; t->at < t->problem.max_batch && !code; t->at++)
        code =
            forward_run(&r->forward, r->tokens + (size_t)order_next(&s->order) * (size_t)r->command->seq, t->layers);
    return code;
}

/* A step of all layers; its loss is the mean of theirs. */
static int step(void *user, const clgaze_adamw *o, float *loss, char where[COURSE_WHERE])
{
    struct lessons *s = user;
    struct teach *t = &s->run.teach;
    double mean = 0;
    t->step = *o;
    const int code = one_batch(s);
    for (cl_int l = t->layers - 1; l >= 0 && !code; l--) {
        mean += (double)t->losses[l] / t->layers;
        if (!isfinite(t->losses[l]))
            snprintf(where, COURSE_WHERE, "in layer %d", (int)l);
    }
    *loss = (float)mean;
    return code;
}

static void agree(const struct run *r, struct course *course)
{
    const clgaze_problem *p = &r->teach.problem;
    course_agree(course, "model", "%016" PRIx64, r->weights_hash);
    course_agree(course, "tokens", "%016" PRIx64, r->hash);
    course_agree(course, "seq", "%d", (int)r->command->seq);
    course_agree(course, "compute", "%s", clgaze_dtype_name(r->problem.dtype));
    course_agree(course, "batch", "%d", (int)p->max_batch);
    course_agree(course, "seed", "%d", (int)r->command->seed);
    course_agree(course, "lr", "%.9g", course->training.step.lr);
    course_agree(course, "block", "%d", (int)p->block_q);
    course_agree(course, "q_pool", "%u", (unsigned)p->q_pool);
    course_agree(course, "k_pool", "%u", (unsigned)p->k_pool);
    course_agree(course, "gate_rope", "%d", (int)p->rope_pairs);
}

static struct course course_of(const struct command *c, struct lessons *s)
{
    struct course course = {.out = c->out,
                            .plot = c->plot,
                            .save_every = c->save_every,
                            .stop_after = c->stop_after,
                            .resume = c->resume,
                            .training = training_default(),
                            .learners = s->run.teach.learners,
                            .n_learners = (size_t)s->run.teach.layers,
                            .step = step,
                            .user = s};
    course.training.steps = c->steps;
    course.training.cosine = 1;
    course.training.warmup = WARMUP;
    course.training.step.lr = c->lr;
    return course;
}

static int teach(const struct command *c, struct lessons *s)
{
    struct course course = course_of(c, s);
    agree(&s->run, &course);
    int code = course_begin(&course);
    if (!code)
        code = order_make(&s->order, s->run.sequences, c->seed, (int64_t)course.saved.done * c->batch);
    code = code ? code : course_run(&course);
    code = code ? code : course_finish(&course, &s->run.teach.problem, 0, 0);
    if (!code && course.saved.done)
        code = report_losses(&s->run, course.saved.losses, course.saved.done);
    course_free(&course);
    return code;
}

int command_distill(const struct command *c)
{
    struct lessons s = {.order = {0}};
    if (!c->model || !c->tokens || !c->out || !c->steps)
        return fail(EXIT_INPUT, "distill needs --model, --tokens, --steps and --out");
    if (c->source)
        return fail(EXIT_INPUT, "distill begins from random gates, without --gates and --rule");
    int code = run_open(c, WANT_TEACH, &s.run);
    code = code ? code : teach(c, &s);
    run_close(&s.run);
    order_free(&s.order);
    if (!code)
        stop_now();
    return code;
}
