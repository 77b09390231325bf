/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules.c: scores of block pairs for the rules that need no gates.
 */
#include "rules.h"

#include "fail.h"

#include <string.h>

enum { LAST = 64 }; /* queries that tell which lines matter */

static cl_int last_of(cl_int seq)
{
    return seq < LAST ? seq : LAST;
}

/* Heads that have scores of their own. */
static cl_int score_heads(const struct rules *r)
{
    return r->source == FROM_WINDOW ? 1 : r->problem.q_heads;
}

static cl_int list_heads(const clgaze_problem *p)
{
    return p->scope == CLGAZE_SCOPE_Q ? p->q_heads : p->scope == CLGAZE_SCOPE_KV ? p->kv_heads : 1;
}

int rules_plan(struct machine *m, enum source source, const clgaze_problem *problem, struct rules *r)
{
    const clgaze_problem *p = &r->problem;
    memset(r, 0, sizeof *r);
    r->source = source;
    r->problem = *problem;
    r->n = (p->max_k + p->block_k - 1) / p->block_k;
    clgaze_status status = clgaze_select_plan(m->device.context, p, &r->select);
    if (!status && source == FROM_TRUTH)
        status = clgaze_truth_plan(m->device.context, p, &r->truth);
    if (status)
        return fail_library(status);
    const size_t n = (size_t)r->n, heads = (size_t)score_heads(r), number = sizeof(cl_float);
    r->scores_bytes = heads * n * n * number;
    r->blocks_bytes = (size_t)list_heads(p) * n * (size_t)clgaze_plan_width(r->select) * sizeof(cl_int);
    if (source == FROM_LINES) {
        r->weights_bytes = heads * (size_t)last_of(p->max_k) * (size_t)p->max_k * number;
        r->lines_bytes = heads * 2 * n * number;
    }
    return 0;
}

size_t rules_workspace(const struct rules *r)
{
    const size_t select = r->select ? clgaze_plan_workspace(r->select) : 0;
    const size_t truth = r->truth ? clgaze_plan_workspace(r->truth) : 0;
    return select > truth ? select : truth;
}

size_t rules_bytes(const struct rules *r)
{
    return r->scores_bytes + r->blocks_bytes + r->weights_bytes + r->lines_bytes;
}

static int late(struct machine *m, struct rules *r)
{
    const struct arg args[] = {ARG(r->scores), ARG(r->n)};
    return launch(m, K_LATE, (size_t)r->n, (size_t)r->n, 1, args, 2);
}

int rules_make(struct machine *m, struct rules *r)
{
    int code = buffer_make(m, r->scores_bytes, "scores", &r->scores);
    if (!code)
        code = buffer_make(m, r->blocks_bytes, "block lists", &r->blocks);
    if (!code && r->weights_bytes)
        code = buffer_make(m, r->weights_bytes, "weights of the last queries", &r->weights);
    if (!code && r->lines_bytes)
        code = buffer_make(m, r->lines_bytes, "lines", &r->lines);
    return !code && r->source == FROM_WINDOW ? late(m, r) : code;
}

void rules_free(struct rules *r)
{
    const cl_mem buffers[] = {r->scores, r->blocks, r->weights, r->lines};
    for (size_t i = 0; i < CLG_COUNT(buffers); i++)
        if (buffers[i])
            clReleaseMemObject(buffers[i]);
    clgaze_plan_free(r->select);
    clgaze_plan_free(r->truth);
    memset(r, 0, sizeof *r);
}

static int from_truth(struct machine *m, struct rules *r, const clgaze_tensors *t, const clgaze_call *call)
{
    const cl_int rows = r->problem.q_heads * r->n;
    const struct arg args[] = {ARG(r->scores), ARG(r->n), ARG(rows)};
    clgaze_tensors of_truth;
    memset(&of_truth, 0, sizeof of_truth);
    of_truth.q = t->q;
    of_truth.k = t->k;
    of_truth.truth = t->scores;
    const clgaze_status status = clgaze_truth(r->truth, &of_truth, call);
    return status ? fail_library(status) : launch(m, K_LOG_TRUTH, (size_t)r->n, (size_t)rows, 1, args, 3);
}

static int from_lines(struct machine *m, struct rules *r, cl_int seq, const clgaze_tensors *t)
{
    const clgaze_problem *p = &r->problem;
    const cl_int heads = p->q_heads, group = heads / p->kv_heads, count = last_of(seq), type = (cl_int)p->dtype;
    const struct arg weights[] = {ARG(t->q.buffer), ARG(t->k.buffer), ARG(type),  ARG(heads),     ARG(group),
                                  ARG(p->head_dim), ARG(seq),         ARG(count), ARG(r->weights)};
    const struct arg lines[] = {ARG(r->weights), ARG(heads), ARG(r->n),    ARG(p->block_k),
                                ARG(seq),        ARG(count), ARG(r->lines)};
    const struct arg scores[] = {ARG(r->lines), ARG(heads), ARG(r->n), ARG(r->scores)};
    const size_t lanes = (size_t)m->lanes, n = (size_t)r->n;
    int code = launch(m, K_LAST_WEIGHTS, (size_t)heads * (size_t)count * lanes, 1, lanes, weights, 9);
    if (!code)
        code = launch(m, K_LINES_OF, n, (size_t)heads, 1, lines, 7);
    return code ? code : launch(m, K_LOG_LINES, n, (size_t)heads * n, 1, scores, 4);
}

int rules_run(struct machine *m, struct rules *r, cl_int seq, clgaze_tensors *t, const clgaze_call *call)
{
    const int64_t scores[] = {1, score_heads(r), r->n, r->n};
    const int64_t blocks[] = {1, list_heads(&r->problem), r->n, clgaze_plan_width(r->select)};
    t->scores = clgaze_tensor_compact(r->scores, 0, CLGAZE_F32, 4, scores);
    t->blocks = clgaze_tensor_compact(t->blocks.buffer ? t->blocks.buffer : r->blocks, 0, CLGAZE_I32, 4, blocks);
    int code = r->source == FROM_TRUTH   ? from_truth(m, r, t, call)
               : r->source == FROM_LINES ? from_lines(m, r, seq, t)
                                         : 0;
    if (code)
        return code;
    const clgaze_status status = clgaze_select(r->select, t, call);
    return status ? fail_library(status) : 0;
}
