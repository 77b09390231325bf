/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tiny_rules.c: the rules of clgaze-llama that need no gates, in plain double.
 */
#include "tiny_model.h"

#include <math.h>
#include <string.h>

#include "harness.h"

enum { LAST = 64 };

/* The weights of query t over keys 0 .. t. */
static void softmax(const double *q, const double *k, int t, double *p)
{
    double sum = 0;

    for (int u = 0; u <= t; u++) {
        p[u] = 0;
        for (int d = 0; d < TINY_DIM; d++)
            p[u] += q[t * TINY_QUERY + d] * k[u * TINY_KEY + d] / sqrt(TINY_DIM);
        sum += p[u] = exp(p[u]);
    }
    for (int u = 0; u <= t; u++)
        p[u] /= sum;
}

void tiny_oracle(int seq, const double *q, const double *k, double w[TINY_BLOCKS][TINY_BLOCKS])
{
    double p[TINY_SEQ];

    for (int t = 0; t < seq; t++) {
        softmax(q, k, t, p);
        for (int u = 0; u <= t; u++)
            w[t / TINY_BLOCK][u / TINY_BLOCK] = fmax(w[t / TINY_BLOCK][u / TINY_BLOCK], p[u]);
    }
}

static void mean(int seq, const double *x, int stride, int block, double *y)
{
    const int first = block * TINY_BLOCK, end = first + TINY_BLOCK < seq ? first + TINY_BLOCK : seq;

    for (int d = 0; d < TINY_DIM; d++) {
        y[d] = 0;
        for (int t = first; t < end; t++)
            y[d] += x[t * stride + d] / (end - first);
    }
}

void tiny_meanpool(int seq, const double *q, const double *k, double w[TINY_BLOCKS][TINY_BLOCKS])
{
    double a[TINY_DIM], b[TINY_DIM];

    for (int i = 0; i * TINY_BLOCK < seq; i++)
        for (int j = 0; j <= i; j++) {
            mean(seq, q, TINY_QUERY, i, a);
            mean(seq, k, TINY_KEY, j, b);
            w[i][j] = 0;
            for (int d = 0; d < TINY_DIM; d++)
                w[i][j] += a[d] * b[d];
            w[i][j] = exp(w[i][j] / sqrt(TINY_DIM));
        }
}

void tiny_window(int seq, const double *q, const double *k, double w[TINY_BLOCKS][TINY_BLOCKS])
{
    (void)q;
    (void)k;
    for (int i = 0; i * TINY_BLOCK < seq; i++)
        w[i][i] = 1;
}

/* What each pair of tokens of a pair of blocks would weigh if every query attended to the columns,
 * or to the distances, that the last queries attend to. */
void tiny_lines(int seq, const double *q, const double *k, double w[TINY_BLOCKS][TINY_BLOCKS])
{
    const int first = seq < LAST ? 0 : seq - LAST;
    double p[TINY_SEQ], column[TINY_BLOCKS] = {0}, distance[TINY_SEQ] = {0};

    for (int t = first; t < seq; t++) {
        softmax(q, k, t, p);
        for (int u = 0; u <= t; u++) {
            column[u / TINY_BLOCK] += p[u];
            distance[t - u] += p[u];
        }
    }
    for (int i = 0; i * TINY_BLOCK < seq; i++)
        for (int j = 0; j <= i; j++) {
            double slash = 0;

            for (int a = 0; a < TINY_BLOCK; a++)
                for (int b = 0; b < TINY_BLOCK; b++) {
                    const int o = (i - j) * TINY_BLOCK + a - b;

                    slash += o >= 0 && o < seq ? distance[o] / TINY_BLOCK : 0;
                }
            w[i][j] = fmax(column[j], slash);
        }
}

static int heaviest(const double *w, const int *keep, int n)
{
    int best = -1;

    for (int j = 0; j < n; j++)
        if (!keep[j] && (best < 0 || w[j] > w[best]))
            best = j;
    return best;
}

int tiny_keep(const struct tiny_rule *rule, int seq, const double *q, const double *k,
              int keep[TINY_BLOCKS][TINY_BLOCKS])
{
    const int n = (seq + TINY_BLOCK - 1) / TINY_BLOCK;
    double w[TINY_BLOCKS][TINY_BLOCKS] = {{0}};
    int kept = 0;

    assert_true(seq <= TINY_SEQ);
    memset(keep, 0, sizeof(int[TINY_BLOCKS][TINY_BLOCKS]));
    if (rule->weigh)
        rule->weigh(seq, q, k, w);
    for (int i = 0; i < n; i++) {
        for (int c = 0; c < rule->top && c <= i; c++)
            keep[i][heaviest(w[i], keep[i], i + 1)] = 1;
        for (int j = 0; j <= i; j++) {
            keep[i][j] |= !rule->weigh || j < rule->sink || j > i - rule->local;
            kept += keep[i][j];
        }
    }
    return kept;
}
