/* SPDX-License-Identifier: Apache-2.0 */
/*
 * optimizer.c: AdamW over all arrays of a model, on the device.
 */
#include "optimizer.h"

#include "fail.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PER = 4096 }; /* as in weights.cl */

static size_t parts_of(const struct parameter *a)
{
    return (a->n + PER - 1) / PER;
}

/* Numbers of all arrays of a model, and the parts that they are summed in. */
static size_t extent(const struct config *config, size_t *parts)
{
    const struct model shapes = {.config = *config};
    struct parameter a;
    size_t numbers = 0;
    *parts = 0;
    for (size_t i = 0; model_parameter(&shapes, i, &a); i++) {
        numbers += a.n;
        *parts += parts_of(&a);
    }
    return numbers;
}

size_t optimizer_bytes(const struct config *config)
{
    size_t parts;
    const size_t numbers = extent(config, &parts);
    return (2 * numbers + parts) * sizeof(float);
}

int optimizer_make(struct machine *m, const struct model *model, struct optimizer *o)
{
    memset(o, 0, sizeof *o);
    extent(&model->config, &o->n_parts);
    o->sums = malloc((o->n_parts + 1) * sizeof *o->sums);
    int code = o->sums ? 0 : fail(EXIT_INPUT, "there is no memory for %zu sums", o->n_parts);
    if (!code)
        code = buffer_make(m, o->n_parts * sizeof *o->sums, "sums of squares", &o->parts);
    if (!code)
        code = model_like(m, model, &o->first);
    return code ? code : model_like(m, model, &o->second);
}

void optimizer_free(struct optimizer *o)
{
    model_free(&o->first);
    model_free(&o->second);
    if (o->parts)
        clReleaseMemObject(o->parts);
    free(o->sums);
    memset(o, 0, sizeof *o);
}

int optimizer_norm(struct machine *m, struct optimizer *o, const struct model *grads, double *norm)
{
    const size_t lanes = (size_t)m->lanes;
    struct parameter a;
    cl_ulong at = 0;
    double sum = 0;
    int code = 0;
    for (size_t i = 0; !code && model_parameter(grads, i, &a); i++) {
        const cl_ulong n = a.n;
        const struct arg args[] = {ARG(a.buffer), ARG(n), ARG(at), ARG(o->parts)};
        code = launch(m, K_SQUARES, parts_of(&a) * lanes, 1, lanes, args, 4);
        at += parts_of(&a);
    }
    if (!code)
        code = buffer_read(m, o->parts, o->n_parts * sizeof *o->sums, o->sums);
    for (size_t i = 0; i < o->n_parts && !code; i++)
        sum += (double)o->sums[i];
    *norm = sqrt(sum);
    return code;
}

int optimizer_step(struct machine *m, struct optimizer *o, const clgaze_adamw *step, double scale,
                   const struct model *grads, const struct model *model)
{
    const cl_float by = (cl_float)scale, beta1 = (cl_float)step->beta1, beta2 = (cl_float)step->beta2;
    const cl_float keep = (cl_float)(1 - step->lr * step->weight_decay), eps = (cl_float)step->eps;
    const cl_float rate = (cl_float)(step->lr / (1 - pow(step->beta1, (double)step->step)));
    const cl_float unbias = (cl_float)(1 / sqrt(1 - pow(step->beta2, (double)step->step)));
    struct parameter g, first, second, w;
    int code = 0;
    for (size_t i = 0; !code && model_parameter(grads, i, &g); i++) {
        const cl_ulong n = g.n;
        model_parameter(&o->first, i, &first);
        model_parameter(&o->second, i, &second);
        model_parameter(model, i, &w);
        const struct arg args[] = {ARG(g.buffer), ARG(first.buffer), ARG(second.buffer), ARG(w.buffer),
                                   ARG(n),        ARG(by),           ARG(beta1),         ARG(beta2),
                                   ARG(keep),     ARG(rate),         ARG(unbias),        ARG(eps)};
        code = launch(m, K_ADAMW, (size_t)n, 1, 64, args, 12);
    }
    return code ? code : spend(m, SPENT_UPDATE);
}
