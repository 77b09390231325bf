/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attention.c: attention of a layer by the library, dense or through block lists.
 */
#include "attention.h"

#include "fail.h"

#include <stdlib.h>
#include <string.h>

/* Through gates is one operation; other lists are made by rules.c and attended to. */
static int by_gates(const struct attention *a)
{
    return a->source == FROM_GATES || a->source == FROM_MEANPOOL;
}

static int by_rules(const struct attention *a)
{
    return a->source != FROM_NOTHING && !by_gates(a);
}

int attention_plan(struct machine *m, const struct config *config, cl_int seq, const clgaze_problem *problem,
                   enum source source, const struct gates *gates, struct attention *a)
{
    clgaze_problem *p = &a->problem;
    memset(a, 0, sizeof *a);
    a->source = source;
    a->gates = gates;
    *p = *problem;
    compute_shape(config, seq, p);
    p->lists = source ? CLGAZE_LISTS_BLOCKS : CLGAZE_LISTS_DENSE;
    if (source == FROM_WINDOW) { /* the best block is the diagonal; local and sink do the rest */
        p->scope = CLGAZE_SCOPE_ONE;
        p->rule = CLGAZE_TOP_K;
        p->value = 1;
    }
    halves_plan(&a->halves, config, seq, p->dtype,
                HALVES_ATTEND | (p->lse ? HALVES_BACK : HALVES_OUT) | (source == FROM_GATES ? HALVES_GATE : 0));
    const clgaze_status status =
        clgaze_plan_create(m->device.context, by_gates(a) ? CLGAZE_PREFILL : CLGAZE_ATTEND, p, &a->plan);
    if (status)
        return fail_library(status);
    const clgaze_status back = p->lse ? clgaze_attend_bwd_plan(m->device.context, p, &a->back) : CLGAZE_OK;
    if (back)
        return fail_library(back);
    const int code = by_rules(a) ? rules_plan(m, source, p, &a->rules) : 0;
    const size_t needs[] = {clgaze_plan_workspace(a->plan), rules_workspace(&a->rules),
                            a->back ? clgaze_plan_workspace(a->back) : 0};
    for (size_t i = 0; i < CLG_COUNT(needs); i++)
        a->workspace_bytes = needs[i] > a->workspace_bytes ? needs[i] : a->workspace_bytes;
    return code;
}

static size_t rows_of(const struct attention *a)
{
    const clgaze_problem *p = &a->problem;
    return ((size_t)p->max_q + (size_t)p->block_q - 1) / (size_t)p->block_q;
}

static cl_int list_heads(const clgaze_problem *p)
{
    return p->scope == CLGAZE_SCOPE_Q ? p->q_heads : p->scope == CLGAZE_SCOPE_KV ? p->kv_heads : 1;
}

static size_t counts_bytes(const struct attention *a)
{
    return a->source ? rows_of(a) * (size_t)list_heads(&a->problem) * sizeof(cl_int) : 0;
}

/* Places in a row of `blocks`. */
static int64_t width_of(const struct attention *a)
{
    return clgaze_plan_width(by_rules(a) ? a->rules.select : a->plan);
}

struct attended_bytes attention_kept(const struct attention *a)
{
    const clgaze_problem *p = &a->problem;
    struct attended_bytes kept = {halves_queries(&a->halves), (size_t)p->q_heads * (size_t)p->max_q * sizeof(float),
                                  counts_bytes(a), 0};
    kept.blocks = kept.counts ? kept.counts * (size_t)width_of(a) : 0;
    return kept;
}

size_t attention_bytes(const struct attention *a)
{
    return halves_bytes(&a->halves) + a->workspace_bytes + counts_bytes(a) + rules_bytes(&a->rules);
}

int attention_make(struct machine *m, struct attention *a)
{
    const size_t counts = counts_bytes(a);
    int code = halves_make(m, &a->halves);
    if (!code && a->workspace_bytes)
        code = buffer_make(m, a->workspace_bytes, "workspace", &a->workspace);
    if (!code && by_rules(a))
        code = rules_make(m, &a->rules);
    if (code || !counts)
        return code;
    a->counted = malloc(counts);
    return a->counted ? buffer_make(m, counts, "counts", &a->counts)
                      : fail(EXIT_INPUT, "there is no memory for %zu bytes of counts", counts);
}

void attention_free(struct attention *a)
{
    clgaze_plan_free(a->plan);
    clgaze_plan_free(a->back);
    rules_free(&a->rules);
    halves_free(&a->halves);
    if (a->workspace)
        clReleaseMemObject(a->workspace);
    if (a->counts)
        clReleaseMemObject(a->counts);
    free(a->counted);
    memset(a, 0, sizeof *a);
}

/* A layer's gate, and what it reads. */
static int gate_tensors(struct machine *m, const struct attention *a, cl_int l, const struct attended *at,
                        clgaze_tensors *t)
{
    const clgaze_problem *p = &a->problem;
    const struct gates *g = a->gates;
    const struct matrix *w_k = &g->w_k[l], *w_q = g->w_q ? &g->w_q[l] : NULL;
    const int64_t pairs = p->rope_pairs;
    const int64_t k_shape[] = {w_k->rows, w_k->cols, p->gate_dim};
    int code = 0;
    t->q_gate = t->q; /* the mean's are after RoPE */
    t->k_gate = t->k;
    if (a->source == FROM_GATES)
        code = halves_take(m, &a->halves, H_Q_GATE, at->q_gate, &t->q_gate);
    if (!code && a->source == FROM_GATES)
        code = halves_take(m, &a->halves, H_K_GATE, at->k_gate, &t->k_gate);
    if (pairs)
        t->rope_inv_freq = clgaze_tensor_compact(g->inv_freq, 0, CLGAZE_F32, 1, &pairs);
    t->w_k = clgaze_tensor_compact(w_k->buffer, 0, p->weight_dtype, 3, k_shape);
    if (w_q) {
        const int64_t q_shape[] = {w_q->rows, w_q->cols, p->gate_dim};
        t->w_q = clgaze_tensor_compact(w_q->buffer, 0, p->weight_dtype, 3, q_shape);
    }
    return code;
}

/* Add up the blocks that the call kept; row i of a causal square sees i + 1. */
static int count(struct machine *m, struct attention *a, cl_mem counts)
{
    const size_t rows = rows_of(a), heads = (size_t)list_heads(&a->problem);
    int code = buffer_read(m, counts, rows * heads * sizeof *a->counted, a->counted);
    for (size_t i = 0; i < rows * heads && !code; i++) {
        a->kept += a->counted[i];
        a->visible += (double)(i % rows + 1);
    }
    return code;
}

/* What forward and backward take, as the library sees it. */
static int tensors_of(struct machine *m, const struct attention *a, cl_int seq, const struct attended *at,
                      clgaze_tensors *t)
{
    const struct halves *h = &a->halves;
    const clgaze_problem *p = &a->problem;
    const int64_t counts[] = {1, list_heads(p), (int64_t)rows_of(a)}, lse[] = {1, p->q_heads, seq};
    memset(t, 0, sizeof *t);
    t->out = halves_tensor(h, H_OUT, at->made ? at->made : at->out);
    if (at->lse)
        t->lse = clgaze_tensor_compact(at->lse, 0, CLGAZE_F32, 3, lse);
    if (a->source)
        t->counts = clgaze_tensor_compact(at->counts ? at->counts : a->counts, 0, CLGAZE_I32, 3, counts);
    if (at->blocks) {
        const int64_t blocks[] = {counts[0], counts[1], counts[2], width_of(a)};
        t->blocks = clgaze_tensor_compact(at->blocks, 0, CLGAZE_I32, 4, blocks);
    }
    int code = halves_take(m, h, H_Q, at->q, &t->q);
    if (!code)
        code = halves_take(m, h, H_K, at->k, &t->k);
    return code ? code : halves_take(m, h, H_V, at->v, &t->v);
}

int attention_run(struct machine *m, struct attention *a, cl_int l, cl_int seq, const struct attended *at)
{
    clgaze_tensors t;
    const clgaze_call call = {.queue = m->device.queue, .workspace = a->workspace};
    int code = tensors_of(m, a, seq, at, &t);
    if (!code && by_gates(a))
        code = gate_tensors(m, a, l, at, &t);
    if (!code && by_rules(a))
        code = rules_run(m, &a->rules, seq, &t, &call);
    if (code)
        return code;
    const clgaze_status status = clgaze_run(a->plan, by_gates(a) ? CLGAZE_PREFILL : CLGAZE_ATTEND, &t, &call);
    if (status)
        return fail_library(status);
    code = halves_give(m, &a->halves, H_OUT, &t.out, at->out);
    return code || !a->source ? code : count(m, a, t.counts.buffer);
}

int attention_again(struct machine *m, const struct attention *a, const struct attended *at)
{
    const clgaze_tensor made = halves_tensor(&a->halves, H_OUT, at->made);
    return halves_give(m, &a->halves, H_OUT, &made, at->out);
}

int attention_back(struct machine *m, struct attention *a, cl_int seq, const struct attended *at,
                   const struct attended_back *d)
{
    const struct halves *h = &a->halves;
    clgaze_tensors t;
    const clgaze_call call = {.queue = m->device.queue, .workspace = a->workspace};
    int code = tensors_of(m, a, seq, at, &t);
    if (!code)
        code = halves_take(m, h, H_DOUT, d->out, &t.dout);
    if (code)
        return code;
    t.dq = halves_tensor(h, H_DQ, d->q);
    t.dk = halves_tensor(h, H_DK, d->k);
    t.dv = halves_tensor(h, H_DV, d->v);
    const clgaze_status status = clgaze_attend_bwd(a->back, &t, &call);
    if (status)
        return fail_library(status);
    code = halves_give(m, h, H_DQ, &t.dq, d->q);
    if (!code)
        code = halves_give(m, h, H_DK, &t.dk, d->k);
    return code ? code : halves_give(m, h, H_DV, &t.dv, d->v);
}

double attention_density(const struct attention *a)
{
    return a->visible > 0 ? a->kept / a->visible : 1;
}
