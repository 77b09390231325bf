/* SPDX-License-Identifier: Apache-2.0 */
/*
 * problems.c: problems as text.
 *
 * A part that is left out stands for every usual value of it.  Whatever
 * clgaze_tuning_problem() writes is read here.
 */
#include "tune.h"

#include "internal.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 4 };

/* The values that each part may have, up to MOST, ended by 0. */
struct parts {
    clgaze_op op;
    int dtype[MOST], dim[MOST], block_q, block_k, group[MOST], length[MOST]; /* dtype: 1 + the enum's */
    int gate_dim, gate_double, count, dense, shared;
};

static int add(struct tune_problems *all, const struct parts *p, int dtype, int dim, int group, int length)
{
    clgaze_problem *x;

    if (all->n == MAX_PROBLEMS)
        return 1;
    all->at[all->n].op = p->op;
    all->at[all->n].stale[0] = '\0';
    x = &all->at[all->n++].problem;
    *x = clgaze_problem_default();
    *(p->op == CLGAZE_GATE ? &x->weight_dtype : &x->dtype) = (clgaze_dtype)(dtype - 1);
    x->head_dim = dim;
    x->kv_heads = group > 1 ? 2 : 4;
    x->q_heads = x->kv_heads * group;
    x->block_q = p->block_q;
    x->block_k = p->block_k;
    x->max_q = x->max_k = length;
    x->gate_dim = p->gate_dim;
    x->gate_double = p->gate_double;
    x->rope_pairs = (p->gate_dim ? p->gate_dim : dim) / 2;
    x->lists = p->dense ? CLGAZE_LISTS_DENSE : x->lists;
    x->scope = p->shared ? CLGAZE_SCOPE_KV : x->scope;
    x->rule = p->count ? CLGAZE_RATIO : CLGAZE_TOP_P;
    x->value = p->count ? 0.1 : 0.7;
    return 0;
}

static int add_all(struct tune_problems *all, const struct parts *p)
{
    for (int t = 0; t < MOST && p->dtype[t]; t++)
        for (int d = 0; d < MOST && p->dim[d]; d++)
            for (int g = 0; g < MOST && p->group[g]; g++)
                for (int n = 0; n < MOST && p->length[n]; n++)
                    if (add(all, p, p->dtype[t], p->dim[d], p->group[g], p->length[n]))
                        return 1;
    return 0;
}

/* Set a part to one value. */
static void only(int part[MOST], int value)
{
    part[0] = value;
    part[1] = 0;
}

/* "64", "64x128", "32k" after the letter; false: it is none. */
static int read_number(const char *text, int *value, const char **end)
{
    char *stop;
    const long n = strtol(text, &stop, 10);

    *end = stop;
    *value = (int)n;
    return stop != text && n > 0 && n <= 1 << 24;
}

#define OP(name) (1u << CLGAZE_##name)

/* Words without a number: the part, what it becomes, and of which operations it is. */
static const struct {
    const char *name;
    size_t part;
    int value;
    unsigned ops;
} names[] = {
#define PART(name) offsetof(struct parts, name)
    {"single", PART(gate_double), 0, OP(GATE) | OP(PREFILL) | OP(DISTILL)},
    {"double", PART(gate_double), 1, OP(GATE) | OP(PREFILL) | OP(DISTILL)},
    {"mass", PART(count), 0, OP(SELECT) | OP(PREFILL)},
    {"count", PART(count), 1, OP(SELECT) | OP(PREFILL)},
    {"dense", PART(dense), 1, OP(ATTEND)},
    {"shared", PART(shared), 1, OP(ATTEND)},
#undef PART
};

/* False: it is none. */
static int read_name(struct parts *p, const char *word)
{
    for (int dtype = CLGAZE_F32; dtype <= CLGAZE_BF16; dtype++)
        if (strcmp(word, clgaze_dtype_name((clgaze_dtype)dtype)) == 0) {
            only(p->dtype, dtype + 1);
            return 1;
        }
    for (size_t i = 0; i < CLG_COUNT(names); i++)
        if (strcmp(word, names[i].name) == 0 && names[i].ops >> p->op & 1) {
            memcpy((char *)p + names[i].part, &names[i].value, sizeof names[i].value);
            return 1;
        }
    return 0;
}

static int read_part(struct parts *p, const char *word)
{
    const char *end;
    int value;

    if (read_name(p, word))
        return 1;
    if (strncmp(word, "dg", 2) == 0) {
        if (!read_number(word + 2, &p->gate_dim, &end) || *end)
            return 0;
        if (p->dim[1]) /* not given: the two are the same, if one gate is like another */
            only(p->dim, p->gate_dim);
        return 1;
    }
    if (!strchr("dbgn", word[0]) || !read_number(word + 1, &value, &end))
        return 0;
    if (word[0] == 'b') {
        p->block_q = p->block_k = value;
        return *end == '\0' || (*end == 'x' && read_number(end + 1, &p->block_k, &end) && *end == '\0');
    }
    if (word[0] == 'n' && *end == 'k') {
        value = value <= 1 << 14 ? value * 1024 : 1 << 24;
        end++;
    }
    only(word[0] == 'd' ? p->dim : word[0] == 'g' ? p->group : p->length, value);
    return *end == '\0';
}

static struct parts usual_of(clgaze_op op, int gpu)
{
    struct parts p = {.op = op, .dtype = {2, 1}, .dim = {128, 64}, .group = {4, 1}, .block_q = 64, .block_k = 64};

    const int learns = op == CLGAZE_TRUTH || op == CLGAZE_ATTEND_BWD;

    p.length[0] = 8192;
    p.length[1] = gpu ? 32768 : 2048;
    if (learns)
        p.dtype[2] = 3; /* models learn in bf16, too */
    if (op == CLGAZE_GATE || op == CLGAZE_SCORE || op == CLGAZE_SELECT || op == CLGAZE_DISTILL)
        only(p.dtype, 1); /* they read f32 alone, or matrices of f32 as a rule */
    if (op == CLGAZE_SELECT)
        only(p.dim, 128);
    if (op != CLGAZE_ATTEND && !learns)
        only(p.group, 4);
    if (op == CLGAZE_PREFILL) /* its operations are tuned with it: those that are usual */
        only(p.dtype, gpu ? 2 : 1);
    return p;
}

int tune_problems_add(struct tune_problems *all, const char *text, int gpu, char why[MAX_WHY])
{
    char copy[128], *word, *rest;
    struct parts p;
    int op = 0;

    if (snprintf(copy, sizeof copy, "%s", text) >= (int)sizeof copy) {
        snprintf(why, MAX_WHY, "it is too long");
        return 1;
    }
    word = strtok_r(copy, " ", &rest);
    while (word && op < CLG_STAGES && strcmp(word, clg_op_name((clgaze_op)op)) != 0)
        op++;
    if (!word || op == CLG_STAGES) {
        snprintf(why, MAX_WHY,
                 "it begins with pool, gate, score, select, attend, prefill, truth, distill or attend_bwd");
        return 1;
    }
    p = usual_of((clgaze_op)op, gpu);
    for (word = strtok_r(NULL, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        if (!read_part(&p, word)) {
            snprintf(why, MAX_WHY,
                     "\"%.40s\" is none of f32 f16 bf16, dN head size, dgN gate size, bN or bNxM blocks, gN query "
                     "heads a key-value head, nN or nNk tokens, single or double of a gate, mass or count of select, "
                     "dense or shared lists of attend",
                     word);
            return 1;
        }
    if (p.shared && p.group[1]) /* not given */
        only(p.group, p.group[0]);
    if (p.shared && p.group[0] == 1) {
        snprintf(why, MAX_WHY, "\"shared\": of g1 there is nothing to share");
        return 1;
    }
    if (add_all(all, &p)) {
        snprintf(why, MAX_WHY, "there are more than %d problems then", MAX_PROBLEMS);
        return 1;
    }
    return 0;
}

void tune_problems_usual(struct tune_problems *all, int gpu)
{
    static const clgaze_op order[] = {CLGAZE_ATTEND, CLGAZE_POOL,   CLGAZE_SCORE,
                                      CLGAZE_GATE,   CLGAZE_SELECT, CLGAZE_PREFILL};

    for (size_t i = 0; i < CLG_COUNT(order); i++) {
        struct parts p = usual_of(order[i], gpu);

        if (!gpu)
            only(p.dtype, 1);
        if (!gpu || order[i] != CLGAZE_ATTEND)
            only(p.length, gpu ? 32768 : 8192);
        add_all(all, &p);
    }
}
