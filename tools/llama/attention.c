/*
 * attention.c: attention of a layer by the library.
 */
#include "attention.h"

#include "fail.h"

#include <string.h>

int attention_plan(struct machine *m, const struct config *config, cl_int seq, const clgaze_problem *problem,
                   struct attention *a)
{
    memset(a, 0, sizeof *a);
    a->problem = *problem;
    a->problem.dtype = CLGAZE_F32;
    a->problem.q_heads = config->q_heads;
    a->problem.kv_heads = config->kv_heads;
    a->problem.head_dim = config->head_dim;
    a->problem.max_q = a->problem.max_k = seq;
    a->problem.lists = CLGAZE_LISTS_DENSE;
    clgaze_status status = clgaze_attend_plan(m->device.context, &a->problem, &a->plan);
    if (status)
        return fail_library(status);
    a->workspace_bytes = clgaze_plan_workspace(a->plan);
    return 0;
}

int attention_make(struct machine *m, struct attention *a)
{
    return a->workspace_bytes ? buffer_make(m, a->workspace_bytes, "workspace", &a->workspace) : 0;
}

void attention_free(struct attention *a)
{
    clgaze_plan_free(a->plan);
    if (a->workspace)
        clReleaseMemObject(a->workspace);
    memset(a, 0, sizeof *a);
}

int attention_run(struct machine *m, struct attention *a, cl_int l, cl_int seq, const struct attended *at)
{
    const clgaze_problem *p = &a->problem;
    clgaze_tensors t;
    clgaze_call call;
    (void)l;
    memset(&t, 0, sizeof t);
    memset(&call, 0, sizeof call);
    t.q = clgaze_tensor_bshd(at->q, 0, CLGAZE_F32, 1, seq, p->q_heads, p->head_dim);
    t.k = clgaze_tensor_bshd(at->k, 0, CLGAZE_F32, 1, seq, p->kv_heads, p->head_dim);
    t.v = clgaze_tensor_bshd(at->v, 0, CLGAZE_F32, 1, seq, p->kv_heads, p->head_dim);
    t.out = clgaze_tensor_bshd(at->out, 0, CLGAZE_F32, 1, seq, p->q_heads, p->head_dim);
    call.queue = m->device.queue;
    call.workspace = a->workspace;
    const clgaze_status status = clgaze_attend(a->plan, &t, &call);
    return status ? fail_library(status) : 0;
}

double attention_density(const struct attention *a)
{
    return a->visible > 0 ? a->kept / a->visible : 1;
}
