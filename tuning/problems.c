/*
 * problems.c: problems as text.
 *
 * A part that is left out stands for every usual value of it.
 */
#include "tune.h"

#include "fail.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 4 };

/* The values that each part may have, up to MOST, ended by 0. */
struct parts {
    clgaze_op op;
    int dtype[MOST], dim[MOST], block_q, block_k, group[MOST], length[MOST]; /* dtype: 1 + the enum's */
};

static const char *const ops[] = {"pool", "gate", "score", "select", "attend"};

static void add(struct tune_problems *all, const struct parts *p, int dtype, int dim, int group, int length)
{
    clgaze_problem *x;

    if (all->n == MAX_PROBLEMS)
        return;
    x = &all->problem[all->n];
    *x = clgaze_problem_default();
    x->dtype = (clgaze_dtype)(dtype - 1);
    x->head_dim = dim;
    x->kv_heads = group > 1 ? 2 : 4;
    x->q_heads = x->kv_heads * group;
    x->block_q = p->block_q;
    x->block_k = p->block_k;
    x->max_q = x->max_k = length;
    x->rope_pairs = dim / 2;
    x->value = 0.7; /* top-p */
    all->op[all->n++] = p->op;
}

static void add_all(struct tune_problems *all, const struct parts *p)
{
    for (int t = 0; t < MOST && p->dtype[t]; t++)
        for (int d = 0; d < MOST && p->dim[d]; d++)
            for (int g = 0; g < MOST && p->group[g]; g++)
                for (int n = 0; n < MOST && p->length[n]; n++)
                    add(all, p, p->dtype[t], p->dim[d], p->group[g], p->length[n]);
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

static int read_part(struct parts *p, const char *word)
{
    static const char *const types[] = {"f32", "f16", "bf16"};
    const char *end;
    int value;

    for (int i = 0; i < 3; i++)
        if (strcmp(word, types[i]) == 0) {
            only(p->dtype, i + 1);
            return 1;
        }
    if (!strchr("dbgn", word[0]) || !read_number(word + 1, &value, &end))
        return 0;
    if (word[0] == 'b') {
        p->block_q = p->block_k = value;
        return *end == '\0' || (*end == 'x' && read_number(end + 1, &p->block_k, &end) && *end == '\0');
    }
    if (word[0] == 'n' && *end == 'k') {
        value *= 1024;
        end++;
    }
    only(word[0] == 'd' ? p->dim : word[0] == 'g' ? p->group : p->length, value);
    return *end == '\0';
}

static struct parts usual_of(clgaze_op op, int gpu)
{
    struct parts p = {.op = op, .dtype = {2, 1}, .dim = {128, 64}, .group = {4, 1}, .block_q = 64, .block_k = 64};

    p.length[0] = 8192;
    p.length[1] = gpu ? 32768 : 2048;
    if (op == CLGAZE_GATE || op == CLGAZE_SCORE || op == CLGAZE_SELECT)
        only(p.dtype, 1); /* they read f32 alone */
    if (op == CLGAZE_SELECT)
        only(p.dim, 128);
    if (op != CLGAZE_ATTEND)
        only(p.group, 4);
    return p;
}

int tune_problems_add(struct tune_problems *all, const char *text, int gpu)
{
    char copy[128], *word;
    struct parts p;
    int op = 0;

    if (strlen(text) >= sizeof copy)
        return fail(EXIT_INPUT, "--problem \"%.40s...\" is too long", text);
    strcpy(copy, text);
    word = strtok(copy, " ");
    while (word && op < 5 && strcmp(word, ops[op]) != 0)
        op++;
    if (!word || op == 5)
        return fail(EXIT_INPUT, "--problem \"%s\": it begins with pool, gate, score, select or attend", text);
    p = usual_of((clgaze_op)op, gpu);
    for (word = strtok(NULL, " "); word; word = strtok(NULL, " "))
        if (!read_part(&p, word))
            return fail(EXIT_INPUT,
                        "--problem \"%s\": \"%s\" is none of f32 f16 bf16, dN head size, bN or bNxM blocks, gN query "
                        "heads a key-value head, nN or nNk tokens",
                        text, word);
    add_all(all, &p);
    return 0;
}

void tune_problems_usual(struct tune_problems *all, int gpu)
{
    static const clgaze_op order[] = {CLGAZE_ATTEND, CLGAZE_POOL, CLGAZE_SCORE, CLGAZE_GATE, CLGAZE_SELECT};

    for (int i = 0; i < 5; i++) {
        struct parts p = usual_of(order[i], gpu);

        if (!gpu)
            only(p.dtype, 1);
        if (!gpu || order[i] != CLGAZE_ATTEND)
            only(p.length, gpu ? 32768 : 8192);
        add_all(all, &p);
    }
}
