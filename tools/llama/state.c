/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.c: a model that trains, as a checkpoint.
 */
#include "state.h"

#include "fail.h"
#include "folder.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- which arrays ---- */

static const char *const kinds[] = {"", "first.", "second."};

enum { KINDS = CLG_COUNT(kinds) };

/* The `which`-th array is of the model or of its moments. */
static cl_mem buffer_of(const struct state *s, size_t which, size_t *n)
{
    const struct run *r = s->run;
    const struct model *const of[KINDS] = {&r->model, &r->optimizer.first, &r->optimizer.second};
    struct parameter a;
    model_parameter(of[which / s->arrays], which % s->arrays, &a);
    *n = a.n;
    return a.buffer;
}

/* Those past them are of the gates. */
static struct learner *learner_of(const struct state *s, size_t *which)
{
    const size_t past = *which - KINDS * s->arrays;
    *which = past % N_STATE;
    return &s->run->teach.learners[past / N_STATE];
}

static int get(void *user, size_t which, float *to)
{
    const struct state *s = user;
    size_t n;
    if (which >= KINDS * s->arrays) {
        struct learner *l = learner_of(s, &which);
        return learner_get(l, (int)which, to);
    }
    cl_mem buffer = buffer_of(s, which, &n);
    return buffer_read(&s->run->machine, buffer, n * sizeof *to, to);
}

static int put(void *user, size_t which, const float *from)
{
    const struct state *s = user;
    size_t n;
    if (which >= KINDS * s->arrays) {
        struct learner *l = learner_of(s, &which);
        return learner_put(l, (int)which, from);
    }
    cl_mem buffer = buffer_of(s, which, &n);
    return buffer_write(&s->run->machine, buffer, n * sizeof *from, from);
}

static void shape(const struct state *s, size_t which, st_tensor *t, char *name)
{
    const struct run *r = s->run;
    struct parameter a;
    if (which < KINDS * s->arrays) {
        model_parameter(&r->model, which % s->arrays, &a);
        snprintf(name, sizeof *s->names, "%s%s", kinds[which / s->arrays], a.name);
        *t = (st_tensor){.dtype = ST_F32, .rank = a.cols ? 2 : 1, .shape = {(int64_t)a.rows, (int64_t)a.cols}};
        st_size(ST_F32, t->rank, t->shape, &t->elements, &t->bytes);
    } else {
        const int layer = (int)((which - KINDS * s->arrays) / N_STATE);
        *t = learner_of(s, &which)->shapes[which];
        snprintf(name, sizeof *s->names, "gates.%d.%s", layer, learned_names[which]);
    }
    t->name = name;
}

static int shapes_make(struct state *s)
{
    const struct run *r = s->run;
    struct parameter a;
    while (model_parameter(&r->model, s->arrays, &a))
        s->arrays++;
    const size_t n = KINDS * s->arrays + (size_t)r->teach.layers * N_STATE;
    s->shapes = calloc(n, sizeof *s->shapes);
    s->names = calloc(n, sizeof *s->names);
    if (!s->shapes || !s->names)
        return fail(EXIT_INPUT, "there is no memory for the names of %zu arrays", n);
    for (size_t i = 0; i < n; i++)
        shape(s, i, &s->shapes[i], s->names[i]);
    s->saved.shapes = s->shapes;
    s->saved.n_shapes = n;
    return 0;
}

/* ---- what it must agree with ---- */

static char *pair(struct state *s, const char *key)
{
    char *text = s->texts[s->saved.n_pairs];
    s->pairs[s->saved.n_pairs++] = (st_pair){key, text};
    return text;
}

static void describe(struct state *s)
{
    const struct command *c = s->run->command;
    const clgaze_problem *p = &s->run->problem;
    snprintf(pair(s, "steps"), STATE_TEXT, "%d", (int)c->steps);
    snprintf(pair(s, "batch"), STATE_TEXT, "%d", (int)c->batch);
    snprintf(pair(s, "seq"), STATE_TEXT, "%d", (int)c->seq);
    snprintf(pair(s, "seed"), STATE_TEXT, "%d", (int)c->seed);
    snprintf(pair(s, "lr"), STATE_TEXT, "%.17g", c->lr);
    snprintf(pair(s, "factor"), STATE_TEXT, "%.17g", c->factor);
    snprintf(pair(s, "compute"), STATE_TEXT, "%s", clgaze_dtype_name(p->dtype));
    snprintf(pair(s, "text and gates"), STATE_TEXT, "%016" PRIx64, s->run->hash);
    snprintf(
        pair(s, "lists"), STATE_TEXT,
        "%d rule %d value %.9g sink %d local %d last %d min %d max %d scope %d block %d pools %u %u rope %d teach %d",
        (int)c->source, (int)p->rule, (double)p->value, (int)p->sink, (int)p->local, (int)p->last_rows, (int)p->min_k,
        (int)p->max_k_blocks, (int)p->scope, (int)p->block_q, (unsigned)p->q_pool, (unsigned)p->k_pool,
        (int)s->run->teach.problem.rope_pairs, (int)c->teach);
    s->saved.pairs = s->pairs;
}

int state_make(struct run *r, struct state *s)
{
    memset(s, 0, sizeof *s);
    s->run = r;
    s->saved.get = get;
    s->saved.put = put;
    s->saved.user = s;
    s->saved.losses = calloc((size_t)r->command->steps + 1, sizeof *s->saved.losses);
    if (!s->saved.losses)
        return fail(EXIT_INPUT, "there is no memory for %d losses", (int)r->command->steps);
    describe(s);
    const int code = folder_path(r->command->out, "checkpoint.safetensors", s->path, sizeof s->path);
    return code ? code : shapes_make(s);
}

void state_free(struct state *s)
{
    free(s->saved.losses);
    free(s->shapes);
    free(s->names);
    memset(s, 0, sizeof *s);
}
