/* SPDX-License-Identifier: Apache-2.0 */
/*
 * teach.c: clgaze-run distill: the file's gate, steps of learning.
 */
#include "execute.h"
#include "fail.h"
#include "learner.h"
#include "lesson.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The file's matrix as floats. */
static int begin(struct learner *l, const struct job *job, int which)
{
    const st_tensor *t = st_find(job->file, learned_names[which]), *s = &l->shapes[which];
    char have[128], want[128];
    if (!s->elements)
        return 0;
    if (t->rank != 3 || memcmp(t->shape, s->shape, 3 * sizeof *t->shape) != 0)
        return fail(EXIT_INPUT, "tensor %s has shape %s, but must be %s", t->name,
                    st_shape_text(t, have, sizeof have), st_shape_text(s, want, sizeof want));
    float *x = malloc(s->bytes);
    if (!x)
        return fail(EXIT_INPUT, "memory ran out");
    for (size_t i = 0; i < s->elements; i++)
        x[i] = (float)st_value(t, i);
    const int code = learner_put(l, which, x);
    free(x);
    return code;
}

/* An array of the gate as a tensor of the result. */
static int keep(struct learner *l, int which, struct result *result)
{
    st_tensor t = l->shapes[which];
    if (!t.elements)
        return 0;
    float *x = malloc(t.bytes);
    if (!x)
        return fail(EXIT_INPUT, "memory ran out");
    t.data = x;
    result->tensors[result->n_tensors++] = t; /* owns it from here */
    return learner_get(l, which, x);
}

static int steps(struct learner *l, const struct lesson *lesson, const struct job *job, struct result *result)
{
    const int32_t n = job->training.steps;
    st_tensor t = {.name = "losses", .dtype = ST_F32, .rank = 1, .shape = {n}};
    st_size(t.dtype, t.rank, t.shape, &t.elements, &t.bytes);
    float *losses = malloc(t.bytes + 1);
    if (!losses)
        return fail(EXIT_INPUT, "memory ran out");
    t.data = losses;
    result->tensors[result->n_tensors++] = t; /* owns them from here */
    int code = 0;
    for (int32_t step = 1; step <= n && !code; step++) {
        const clgaze_adamw o = training_step(&job->training, step);
        code = learner_step(l, lesson, &o, &losses[step - 1]);
        if (!code && !isfinite(losses[step - 1]))
            code = fail(EXIT_INPUT, "the loss of step %d is %g", (int)step, (double)losses[step - 1]);
        for (int which = DW_K; which <= DW_Q && step == 1 && !code; which++)
            code = keep(l, which, result);
    }
    return code;
}

int job_teach(struct device *device, const struct job *job, const char *kernel, struct result *result)
{
    struct lesson lesson;
    struct learner learner;
    clgaze_problem problem = job->problem;
    problem.kernel = kernel;
    memset(result, 0, sizeof *result);
    memset(&learner, 0, sizeof learner);
    int code = lesson_make(device, job, &lesson);
    code = code ? code : learner_open(device, &problem, &learner);
    for (int which = W_K; which <= W_Q && !code; which++)
        code = begin(&learner, job, which);
    code = code ? code : steps(&learner, &lesson, job, result);
    for (int which = W_K; which <= W_Q && !code; which++)
        code = keep(&learner, which, result);
    if (!code)
        stages_name(result, learner.plan);
    learner_free(&learner);
    lesson_free(&lesson);
    return code;
}
