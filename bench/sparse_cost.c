/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sparse_cost.c: what an operation must compute and move, whatever the strategy.
 */
#include "internal.h"
#include "sparse.h"

#include <math.h>

/* Pairs of a query and a key that it sees, in the lists. */
static double seen_pairs(const struct lists *l, int block, int seq)
{
    double sum = 0;

    for (int at = 0; at < l->heads * l->rows; at++) {
        int i = at % l->rows, n = l->counts[at], tokens = seq - i * block < block ? seq - i * block : block;
        const int32_t *list = l->blocks + (size_t)at * (size_t)l->width;
        bool diagonal = n > 0 && list[n - 1] == i;

        sum += (double)(n - diagonal) * tokens * block + (diagonal ? tokens * (tokens + 1.0) / 2 : 0);
    }
    return sum;
}

/* Multiply-adds of the gate's matrices, counted twice. */
static double gate_flops(const struct work *w)
{
    const clgaze_problem *p = &w->problem;
    double d = p->head_dim, dg = clg_gate_dim(p), k = clg_pools(p->k_pool), q = clg_pools(p->q_pool);

    return 2 * d * dg * w->rows * (p->gate_double ? k * p->kv_heads + q * p->q_heads : k * p->q_heads);
}

double cost_flops(const struct work *w, bool whole)
{
    const struct row *row = w->row;
    double pair = 4.0 * row->head_dim, block = (double)row->block * row->block, seq = row->seq;
    double n = w->rows, visible = row->heads * n * (n + 1) / 2, dg = clg_gate_dim(&w->problem);
    double dense = whole ? visible * block : row->heads * seq * (seq + 1) / 2;
    double skipped = floor(n / 4);

    switch (w->o->op) {
    case OP_POOL:
    case OP_SELECT:
        return 0;
    case OP_GATE:
        return gate_flops(w);
    case OP_SCORE:
        return 2 * dg * visible;
    case OP_TRUTH:
        return pair * dense;
    case OP_DISTILL: /* the gate and its gradient; scores and the gradients of both sides, of the rows that count */
        return 2 * gate_flops(w) + 6 * dg * (visible - row->heads * skipped * (skipped + 1) / 2);
    default:
        return (w->dense ? BACKWARD / 2. : 1) * pair *
               (whole ? lists_kept(&w->lists) * block : seen_pairs(&w->lists, row->block, row->seq));
    }
}

double cost_bytes(const struct work *w)
{
    const clgaze_problem *p = &w->problem;
    double size = (double)clgaze_dtype_size(p->dtype), weight = (double)clgaze_dtype_size(p->weight_dtype);
    double n = w->rows, h = p->q_heads, kv = p->kv_heads, d = p->head_dim, dg = clg_gate_dim(p);
    double kp = clg_pools(p->k_pool) * d, qp = clg_pools(p->q_pool) * d;
    double q = size * w->row->seq * h * d, k = size * w->row->seq * kv * d;
    double pooled = 4 * n * (h * qp + kv * kp), gated = 4 * n * dg * (p->gate_double ? h + kv : 2 * h);
    double weights = dg * (p->gate_double ? kv * kp + h * qp : h * kp), scores = 4 * h * n * n;
    double lists = w->lists.counts ? 4 * (lists_kept(&w->lists) + h * n) : 0;

    switch (w->o->op) {
    case OP_POOL:
        return q + k + pooled;
    case OP_GATE:
        return pooled + weight * weights + gated;
    case OP_SCORE:
        return gated + scores;
    case OP_SELECT:
        return scores / 2 + lists; /* what a row does not see need not be read */
    case OP_TRUTH:
        return 2 * q + 2 * k + scores;
    case OP_DISTILL:
        return scores / 2 + pooled + (weight + 4) * weights;
    case OP_ATTEND_BWD:
        return 4 * q + 4 * k + lists;
    default:
        return 2 * q + 2 * k + lists;
    }
}
