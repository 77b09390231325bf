/*
 * attention.c: attention of a layer by the library, dense or through gates.
 */
#include "attention.h"

#include "fail.h"

#include <stdlib.h>
#include <string.h>

int attention_plan(struct machine *m, const struct config *config, cl_int seq, const clgaze_problem *problem,
                   const struct gates *gates, struct attention *a)
{
    float unused[128];
    memset(a, 0, sizeof *a);
    a->gates = gates;
    a->problem = *problem;
    a->problem.dtype = CLGAZE_F32;
    a->problem.q_heads = config->q_heads;
    a->problem.kv_heads = config->kv_heads;
    a->problem.head_dim = config->head_dim;
    a->problem.max_q = a->problem.max_k = seq;
    a->problem.lists = gates ? CLGAZE_LISTS_BLOCKS : CLGAZE_LISTS_DENSE;
    a->problem.rope_scale = (float)rope_frequencies(&config->rope, config->head_dim, unused);
    const clgaze_status status =
        clgaze_plan_create(m->device.context, gates ? CLGAZE_PREFILL : CLGAZE_ATTEND, &a->problem, &a->plan);
    if (status)
        return fail_library(status);
    a->workspace_bytes = clgaze_plan_workspace(a->plan);
    return 0;
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

size_t attention_bytes(const struct attention *a)
{
    const size_t counts = a->gates ? rows_of(a) * (size_t)list_heads(&a->problem) * sizeof(cl_int) : 0;
    return a->workspace_bytes + counts;
}

int attention_make(struct machine *m, struct attention *a)
{
    const size_t counts = attention_bytes(a) - a->workspace_bytes;
    int code = 0;
    if (a->workspace_bytes)
        code = buffer_make(m, a->workspace_bytes, "workspace", &a->workspace);
    if (code || !counts)
        return code;
    a->counted = malloc(counts);
    return a->counted ? buffer_make(m, counts, "counts", &a->counts)
                      : fail(EXIT_INPUT, "there is no memory for %zu bytes of counts", counts);
}

void attention_free(struct attention *a)
{
    clgaze_plan_free(a->plan);
    if (a->workspace)
        clReleaseMemObject(a->workspace);
    if (a->counts)
        clReleaseMemObject(a->counts);
    free(a->counted);
    memset(a, 0, sizeof *a);
}

/* A layer's gate, and what it reads. */
static void gate_tensors(const struct attention *a, cl_int l, cl_int seq, const struct attended *at,
                         clgaze_tensors *t)
{
    const clgaze_problem *p = &a->problem;
    const struct gates *g = a->gates;
    const struct matrix *w_k = &g->w_k[l], *w_q = g->w_q ? &g->w_q[l] : NULL;
    const int64_t pairs = p->rope_pairs, counts[] = {1, list_heads(p), (int64_t)rows_of(a)};
    const int64_t k_shape[] = {w_k->rows, w_k->cols, p->gate_dim};
    t->q_gate = clgaze_tensor_bshd(at->q_gate, 0, CLGAZE_F32, 1, seq, p->q_heads, p->head_dim);
    t->k_gate = clgaze_tensor_bshd(at->k_gate, 0, CLGAZE_F32, 1, seq, p->kv_heads, p->head_dim);
    t->rope_inv_freq = clgaze_tensor_compact(g->inv_freq, 0, CLGAZE_F32, 1, &pairs);
    t->w_k = clgaze_tensor_compact(w_k->buffer, 0, p->weight_dtype, 3, k_shape);
    if (w_q) {
        const int64_t q_shape[] = {w_q->rows, w_q->cols, p->gate_dim};
        t->w_q = clgaze_tensor_compact(w_q->buffer, 0, p->weight_dtype, 3, q_shape);
    }
    t->counts = clgaze_tensor_compact(a->counts, 0, CLGAZE_I32, 3, counts);
}

/* Add up the blocks that the call kept; row i of a causal square sees i + 1. */
static int count(struct machine *m, struct attention *a)
{
    const size_t rows = rows_of(a), heads = (size_t)list_heads(&a->problem);
    int code = buffer_read(m, a->counts, rows * heads * sizeof *a->counted, a->counted);
    for (size_t i = 0; i < rows * heads && !code; i++) {
        a->kept += a->counted[i];
        a->visible += (double)(i % rows + 1);
    }
    return code;
}

int attention_run(struct machine *m, struct attention *a, cl_int l, cl_int seq, const struct attended *at)
{
    const clgaze_problem *p = &a->problem;
    clgaze_tensors t;
    clgaze_call call;
    memset(&t, 0, sizeof t);
    memset(&call, 0, sizeof call);
    t.q = clgaze_tensor_bshd(at->q, 0, CLGAZE_F32, 1, seq, p->q_heads, p->head_dim);
    t.k = clgaze_tensor_bshd(at->k, 0, CLGAZE_F32, 1, seq, p->kv_heads, p->head_dim);
    t.v = clgaze_tensor_bshd(at->v, 0, CLGAZE_F32, 1, seq, p->kv_heads, p->head_dim);
    t.out = clgaze_tensor_bshd(at->out, 0, CLGAZE_F32, 1, seq, p->q_heads, p->head_dim);
    if (a->gates)
        gate_tensors(a, l, seq, at, &t);
    call.queue = m->device.queue;
    call.workspace = a->workspace;
    const clgaze_status status = clgaze_run(a->plan, a->gates ? CLGAZE_PREFILL : CLGAZE_ATTEND, &t, &call);
    if (status)
        return fail_library(status);
    return a->gates ? count(m, a) : 0;
}

double attention_density(const struct attention *a)
{
    return a->visible > 0 ? a->kept / a->visible : 1;
}
