/* SPDX-License-Identifier: Apache-2.0 */
/*
 * misses_text.c: problems planned without a record, as text.
 */
#include <stdlib.h>
#include <string.h>

#include "misses.h"

static const char title[] = "clgaze-misses 1";

/* The fields that say what a kernel has to do; all of 4 bytes. */
#define NUMBER(field)                                                                                                \
    {                                                                                                                \
#field, offsetof(clgaze_problem, field)                                                                      \
    }
static const struct {
    const char *name;
    size_t at;
} numbers[] = {
    NUMBER(dtype),        NUMBER(q_heads),    NUMBER(kv_heads),
    NUMBER(head_dim),     NUMBER(block_q),    NUMBER(block_k),
    NUMBER(causal),       NUMBER(packed),     NUMBER(max_batch),
    NUMBER(max_q),        NUMBER(max_k),      NUMBER(q_pool),
    NUMBER(k_pool),       NUMBER(gate_dim),   NUMBER(gate_double),
    NUMBER(weight_dtype), NUMBER(rope_pairs), NUMBER(rope_interleaved),
    NUMBER(rule),         NUMBER(sink),       NUMBER(local),
    NUMBER(last_rows),    NUMBER(min_k),      NUMBER(max_k_blocks),
    NUMBER(scope),        NUMBER(lists),      NUMBER(lse),
};

static int32_t *number_in(clgaze_problem *p, size_t i)
{
    return (int32_t *)(void *)((char *)p + numbers[i].at);
}

/* problem.value in millionths: no decimal point that a locale might write otherwise. */
static const char millionths[] = "value_millionths";

static void print_miss(const struct clg_miss *miss, struct clg_text *text)
{
    clgaze_problem p = miss->problem, usual = clgaze_problem_default();
    const double value = p.value * 1e6;

    clg_put(text, "%s", clg_op_name(miss->op));
    for (size_t i = 0; i < CLG_COUNT(numbers); i++)
        if (*number_in(&p, i) != *number_in(&usual, i))
            clg_put(text, " %s=%d", numbers[i].name, (int)*number_in(&p, i));
    if (value > 0)
        clg_put(text, " %s=%lld", millionths, value < 1 ? 1 : (long long)value);
    clg_put(text, "\n");
}

void clg_misses_print(const struct clg_miss_list *list, struct clg_text *text)
{
    clg_put(text, "%s\n", title);
    for (size_t i = 0; i < list->n; i++)
        print_miss(&list->at[i], text);
}

void clg_misses_add(struct clg_miss_list *list, const struct clg_miss *miss)
{
    size_t i = 0;

    while (i < list->n && strcmp(list->at[i].name, miss->name) != 0)
        i++;
    if (i == CLG_MOST_MISSES)
        i = 0; /* the oldest goes */
    if (i < list->n)
        memmove(&list->at[i], &list->at[i + 1], (--list->n - i) * sizeof *miss);
    list->at[list->n++] = *miss;
}

/* "name=value" into the field of that name. */
static bool take_pair(clgaze_problem *p, const char *pair)
{
    const size_t length = strcspn(pair, "=");
    char *end;
    long long value;

    if (!pair[length])
        return false;
    value = strtoll(pair + length + 1, &end, 10);
    if (*end || end == pair + length + 1)
        return false;
    if (length == sizeof millionths - 1 && strncmp(pair, millionths, length) == 0) {
        p->value = (double)value * 1e-6;
        return true;
    }
    for (size_t i = 0; i < CLG_COUNT(numbers); i++)
        if (strlen(numbers[i].name) == length && strncmp(numbers[i].name, pair, length) == 0) {
            *number_in(p, i) = (int32_t)value;
            return value >= INT32_MIN && value <= INT32_MAX;
        }
    return false;
}

static bool take_line(clgaze_context *ctx, char *line, struct clg_miss *miss)
{
    char *rest = NULL;
    const char *word = strtok_r(line, " ", &rest);
    int op = 0;

    memset(miss, 0, sizeof *miss);
    miss->problem = clgaze_problem_default();
    while (word && op < CLG_STAGES && strcmp(word, clg_op_name((clgaze_op)op)) != 0)
        op++;
    if (!word || op == CLG_STAGES)
        return false;
    miss->op = (clgaze_op)op;
    for (word = strtok_r(NULL, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        if (!take_pair(&miss->problem, word))
            return false;
    return clgaze_tuning_problem(ctx, miss->op, &miss->problem, miss->name, sizeof miss->name) == CLGAZE_OK;
}

void clg_misses_parse(clgaze_context *ctx, struct clg_miss_list *list, char *text)
{
    char *rest = NULL, *line = strtok_r(text, "\n", &rest);
    struct clg_miss miss;
    struct clg_ear ear;

    clg_ear_open(&ear, ctx);
    if (!line || strcmp(line, title) != 0)
        return;
    for (line = strtok_r(NULL, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        if (take_line(&ear.ctx, line, &miss))
            clg_misses_add(list, &miss);
}
