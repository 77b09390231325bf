/* SPDX-License-Identifier: Apache-2.0 */
/*
 * select.c: a row of scores becomes a list of key blocks.
 *
 * A score of -inf marks a block that the row may not see.  With n = 1 + the
 * last visible block, P = softmax over the visible blocks and "highest" meaning
 * score descending, then block number ascending, NaN below every number:
 *
 *     top_k      k = value                          budget   k = value / bk
 *     ratio      k = (1 - sqrt(1 - value)) nk causal, value nk otherwise
 *     threshold  k = number of blocks with P > value
 *     top_p      k = number of highest blocks of P > 0, the sum of P before which is < value
 *     k          in min_k .. max_k_blocks, then in 1 .. visible blocks
 *     list       the k highest, blocks 0 .. sink - 1 and n - local .. n - 1
 *
 * The last last_rows rows of a sequence list every visible block.  A list longer
 * than `width` keeps sink and local, the lower numbers first, then the highest.  Where several heads
 * share a list, P = (maximum of their P) / (sum of that over the row), and P
 * stands in for the scores.
 */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "ref.h"

/* A visible block of the row at hand. */
struct block {
    double rank; /* its score, or P where heads were merged */
    double p;
    int number;
    bool forced;
};

int clg_rule_count(const clgaze_problem *p, double value, int nk)
{
    double k = value;

    if (p->rule == CLGAZE_RATIO)
        k = p->causal ? (1 - sqrt(1 - value)) * nk : value * nk;
    if (p->rule == CLGAZE_BUDGET)
        k = value / p->block_k;
    k = k < nk ? floor(k) : nk;
    return k > 1 ? (int)k : 1;
}

/* e^(x - top), 0 for NaN; +inf alone counts where there is one. */
static double weight(double x, double top)
{
    if (isnan(x) || x == -INFINITY)
        return 0;
    if (top == INFINITY)
        return x == INFINITY;
    return exp(x - top);
}

/* P of one head, maximised into those of the heads before it. */
static void add_head(const float *scores, int cols, struct block *row)
{
    double top = -INFINITY, sum = 0;

    for (int j = 0; j < cols; j++)
        top = (double)scores[j] > top ? (double)scores[j] : top;
    for (int j = 0; j < cols; j++)
        sum += weight((double)scores[j], top);
    for (int j = 0; j < cols; j++) {
        double w = sum > 0 ? weight((double)scores[j], top) / sum : 0;

        row[j].p = w > row[j].p ? w : row[j].p;
    }
}

/* The visible blocks of a row, ascending; `heads` of them `stride` scores apart are merged. */
static int read_row(const float *scores, int cols, int heads, int64_t stride, struct block *row)
{
    double sum = 0;
    int n = 0;

    for (int j = 0; j < cols; j++)
        row[j] = (struct block){.number = j};
    for (int h = 0; h < heads; h++)
        add_head(scores + h * stride, cols, row);
    for (int j = 0; j < cols; j++)
        sum += row[j].p;
    for (int j = 0; j < cols; j++) {
        struct block b = row[j];
        bool visible = false;

        b.p = sum > 0 ? b.p / sum : 0;
        b.rank = heads > 1 ? b.p : (double)scores[j];
        for (int h = 0; h < heads; h++)
            visible = visible || scores[h * stride + j] != -INFINITY;
        if (visible)
            row[n++] = b;
    }
    return n;
}

/* Highest first: the order of the rule. */
static int higher(const void *left, const void *right)
{
    const struct block *a = left, *b = right;

    if (isnan(a->rank) != isnan(b->rank))
        return isnan(a->rank) ? 1 : -1;
    if (a->rank > b->rank || a->rank < b->rank)
        return a->rank > b->rank ? -1 : 1;
    return a->number < b->number ? -1 : 1;
}

static int earlier(const void *left, const void *right)
{
    const struct block *a = left, *b = right;

    return (a->number > b->number) - (a->number < b->number);
}

/* Forced first, those in block order, then highest: the order in which a list too long is cut. */
static int stronger(const void *left, const void *right)
{
    const struct block *a = left, *b = right;

    if (a->forced != b->forced)
        return a->forced ? -1 : 1;
    return a->forced ? earlier(left, right) : higher(left, right);
}

/* How many of the n sorted blocks the rule itself chooses. */
static int rule_chooses(const clgaze_problem *p, double value, int nk, const struct block *row, int n)
{
    double before = 0;
    int k = 0;

    if (p->rule == CLGAZE_THRESHOLD)
        for (int i = 0; i < n; i++)
            k += row[i].p > value;
    else if (p->rule == CLGAZE_TOP_P)
        for (; k < n && before < value && row[k].p > 0; k++)
            before += row[k].p;
    else
        k = clg_rule_count(p, value, nk);
    k = k > p->min_k ? k : p->min_k;
    k = p->max_k_blocks && k > p->max_k_blocks ? p->max_k_blocks : k;
    k = k > 1 ? k : 1;
    return k < n ? k : n;
}

/* Reduce n visible blocks to the row's list; answers its length. */
static int choose(const clgaze_problem *p, double value, int nk, bool all, int width, struct block *row, int n)
{
    int k, end = n ? row[n - 1].number + 1 : 0, kept = 0;

    for (int i = 0; i < n; i++)
        row[i].forced = row[i].number < p->sink || row[i].number >= end - p->local;
    qsort(row, (size_t)n, sizeof *row, higher);
    k = all ? n : rule_chooses(p, value, nk, row, n);
    for (int i = 0; i < n; i++)
        if (i < k || row[i].forced)
            row[kept++] = row[i];
    qsort(row, (size_t)kept, sizeof *row, stronger);
    kept = kept < width ? kept : width;
    qsort(row, (size_t)kept, sizeof *row, earlier);
    return kept;
}

static void select_seq(const clgaze_problem *p, struct clg_ref *t, const struct clg_ref_seq *s, struct block *row)
{
    int heads = clg_ref_list_heads(p), merged = t->score_heads / heads;
    int rows = clg_ref_rows(p, t), cols = clg_ref_cols(p, t);

    for (int h = 0; h < heads; h++)
        for (int i = 0; i < s->nq; i++) {
            int64_t from = (((int64_t)s->batch * t->score_heads + (int64_t)h * merged) * rows + s->row0 + i) * cols;
            int64_t to = ((int64_t)s->batch * heads + h) * rows + s->row0 + i;
            double value = p->values ? (double)p->values[h] : p->value;
            int n = read_row(t->scores + from, cols, merged, (int64_t)rows * cols, row);

            n = choose(p, value, s->nk, i >= s->nq - p->last_rows, t->width, row, n);
            t->counts[to] = n;
            for (int e = 0; e < t->width; e++)
                t->blocks[to * t->width + e] = e < n ? row[e].number : -1;
        }
}

void clg_ref_select(const clgaze_problem *p, struct clg_ref *t)
{
    struct block *row = malloc(((size_t)clg_ref_cols(p, t) + 1) * sizeof *row);

    for (int i = 0; row && i < clg_ref_sequences(p, t); i++) {
        struct clg_ref_seq s = clg_ref_seq(p, t, i);

        select_seq(p, t, &s, row);
    }
    free(row);
}
