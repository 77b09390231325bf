/* SPDX-License-Identifier: Apache-2.0 */
/*
 * job.c: from the tensors of a file to a problem.
 */
#include "job.h"

#include "fail.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The tensor of that name if its rank is right; *code tells of failure. */
static const st_tensor *shaped(const struct job *job, const char *name, int rank, int *code)
{
    const st_tensor *t = st_find(job->file, name);
    char text[128];
    if (!t || *code)
        return NULL;
    if (t->rank != rank) {
        *code = fail(EXIT_INPUT, "tensor %s has shape %s, but must have %d dimensions", name,
                     st_shape_text(t, text, sizeof text), rank);
        return NULL;
    }
    return t;
}

/* Every tensor that the operation reads: there, of a type that the library
 * has, without empty dimensions. */
static int check_inputs(const struct job *job)
{
    for (int i = 0; i < n_tensor_rows; i++) {
        const struct tensor_row *row = &tensor_rows[i];
        const st_tensor *t = job_input(job, row);
        clgaze_dtype dtype;
        char text[128];
        if (!t) {
            if (row->needs & 1u << job->index)
                return fail(EXIT_INPUT, "tensor %s is missing: %s needs it", row->name, job->operation->name);
            continue;
        }
        if (library_dtype(t->dtype, &dtype))
            return fail(EXIT_INPUT, "tensor %s is %s, which no operation takes", row->name, st_dtype_name(t->dtype));
        if (t->rank < 1 || t->rank > 4)
            return fail(EXIT_INPUT, "tensor %s has %d dimensions, but no tensor has fewer than 1 or more than 4",
                        row->name, t->rank);
        for (int d = 0; d < t->rank; d++)
            if (t->shape[d] > INT32_MAX || (t->shape[d] < 1 && strcmp(row->name, "indices") != 0))
                return fail(EXIT_INPUT, "tensor %s has shape %s, but every size must be from 1 to %" PRId32,
                            row->name, st_shape_text(t, text, sizeof text), INT32_MAX);
    }
    return 0;
}

/* Tokens share one type: the problem's. */
static int read_dtype(struct job *job)
{
    static const char *const names[] = {"q", "k", "v", "q_gate", "k_gate", "out", "dout"};
    const st_tensor *first = NULL;
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        const st_tensor *t = NULL;
        for (int i = 0; i < n_tensor_rows && !t; i++)
            if (strcmp(tensor_rows[i].name, names[n]) == 0)
                t = job_input(job, &tensor_rows[i]);
        if (!t)
            continue;
        if (t->dtype != ST_F32 && t->dtype != ST_F16 && t->dtype != ST_BF16)
            return fail(EXIT_INPUT, "tensor %s is %s, but must be F32, F16 or BF16", t->name,
                        st_dtype_name(t->dtype));
        if (first && t->dtype != first->dtype)
            return fail(EXIT_INPUT, "tensor %s is %s, but %s is %s: both must be the same", t->name,
                        st_dtype_name(t->dtype), first->name, st_dtype_name(first->dtype));
        first = t;
        library_dtype(t->dtype, &job->problem.dtype);
    }
    return 0;
}

/* The sizes that q, k or the gate's inputs tell; 0 where none tells. */
static int read_tokens(struct job *job)
{
    int code = 0;
    int gated = job->operation->last <= CLGAZE_SCORE || job->operation->last == CLGAZE_DISTILL;
    const st_tensor *q = shaped(job, gated ? "q_gate" : "q", 4, &code);
    const st_tensor *k = shaped(job, gated ? "k_gate" : "k", 4, &code);
    const st_tensor *any = q ? q : k;
    if (code || !any)
        return code;
    int64_t *d = job->dims;
    d[DIM_B] = any->shape[0];
    d[DIM_D] = any->shape[3];
    d[DIM_SQ] = (q ? q : k)->shape[1];
    d[DIM_HQ] = (q ? q : k)->shape[2];
    d[DIM_SK] = (k ? k : q)->shape[1];
    d[DIM_HK] = (k ? k : q)->shape[2];
    return 0;
}

/* The form and size of the gate are those of its weights. */
static int read_gate(struct job *job, const struct settings *settings)
{
    int code = 0;
    clgaze_problem *p = &job->problem;
    int distill = job->operation->last == CLGAZE_DISTILL;
    if (!(job->operation->last == CLGAZE_PREFILL || job->operation->last == CLGAZE_GATE ||
          job->operation->last == CLGAZE_SCORE || distill))
        return 0;
    const st_tensor *w_q = st_find(job->file, "w_q");
    if (w_q && w_q->rank == 4)
        return fail(EXIT_INPUT, "tensor w_q has 4 dimensions: the gate that sums over the group is not in this "
                                "version");
    const st_tensor *w_k = shaped(job, "w_k", 3, &code);
    const st_tensor *rope = shaped(job, "rope_inv_freq", 1, &code);
    w_q = shaped(job, "w_q", 3, &code);
    if (code)
        return code;
    p->rope_pairs = rope ? (int32_t)rope->shape[0] : 0;
    if (settings->own_gate)
        return 0;
    if (!w_k)
        return fail(EXIT_INPUT, "tensor w_k is missing: %s needs it", job->operation->name);
    if (library_dtype(w_k->dtype, &p->weight_dtype) || p->weight_dtype > CLGAZE_BF16)
        return fail(EXIT_INPUT, "tensor w_k is %s, but must be F32, F16 or BF16", st_dtype_name(w_k->dtype));
    if (w_q && w_q->dtype != w_k->dtype)
        return fail(EXIT_INPUT, "tensor w_q is %s, but w_k is %s: both must be the same", st_dtype_name(w_q->dtype),
                    st_dtype_name(w_k->dtype));
    p->gate_double = w_q != NULL;
    p->gate_dim = (int32_t)w_k->shape[2];
    if (distill) /* it makes f32 of them */
        p->weight_dtype = CLGAZE_F32;
    return 0;
}

/* One side's cu_seqlens: its sequences, their blocks, tokens and the longest. */
static int read_seqlens(const struct job *job, const char *name, int32_t block, int64_t *sequences, int64_t *blocks,
                        int64_t *tokens, int32_t *longest)
{
    int code = 0;
    const st_tensor *t = shaped(job, name, 1, &code);
    if (code)
        return code;
    if (t->dtype != ST_I32)
        return fail(EXIT_INPUT, "tensor %s is %s, but must be I32", name, st_dtype_name(t->dtype));
    if (t->elements < 2 || st_value(t, 0) != 0)
        return fail(EXIT_INPUT, "tensor %s must have at least two entries, the first 0", name);
    *blocks = *longest = 0;
    *sequences = (int64_t)t->elements - 1;
    for (size_t i = 1; i < t->elements; i++) {
        int64_t length = (int64_t)st_value(t, i) - (int64_t)st_value(t, i - 1);
        if (length < 0)
            return fail(EXIT_INPUT, "tensor %s decreases at entry %zu", name, i);
        *blocks += (length + block - 1) / block;
        *longest = length > *longest ? (int32_t)length : *longest;
    }
    int64_t last = (int64_t)st_value(t, t->elements - 1);
    if (last < 1 || (*tokens && last != *tokens))
        return fail(EXIT_INPUT, "tensor %s ends with %" PRId64 ", but the tokens are %" PRId64, name, last, *tokens);
    *tokens = last;
    return 0;
}

static int read_packed(struct job *job)
{
    int64_t *d = job->dims, n_q = 0, n_k = 0;
    int has_q = st_find(job->file, "cu_seqlens_q") != NULL, has_k = st_find(job->file, "cu_seqlens_k") != NULL;
    if (!has_q && !has_k)
        return 0;
    if (!has_q || !has_k)
        return fail(EXIT_INPUT, "tensor cu_seqlens_%s is missing: packed sequences need both", has_q ? "k" : "q");
    int code = read_seqlens(job, "cu_seqlens_q", job->problem.block_q, &n_q, &d[DIM_NQ], &d[DIM_SQ], &job->longest_q);
    if (!code)
        code = read_seqlens(job, "cu_seqlens_k", job->problem.block_k, &n_k, &d[DIM_NK], &d[DIM_SK], &job->longest_k);
    if (code)
        return code;
    if (n_q != n_k)
        return fail(EXIT_INPUT, "tensors cu_seqlens_q and cu_seqlens_k are of %" PRId64 " and %" PRId64 " sequences",
                    n_q, n_k);
    if (d[DIM_B] > 1)
        return fail(EXIT_INPUT, "tensor cu_seqlens_q is given, but the batch is %" PRId64 ": packed it is 1",
                    d[DIM_B]);
    job->problem.packed = 1;
    job->problem.max_batch = (int32_t)n_q;
    return 0;
}

/* select: what q and k do not tell, the scores do. */
static int read_scores(struct job *job, const struct settings *settings)
{
    int code = 0, scoped = settings_given(settings, "head_scope");
    int64_t *d = job->dims;
    const st_tensor *s = shaped(job, "scores", 4, &code);
    if (code)
        return code;
    int64_t heads = s->shape[1];
    if (!d[DIM_HQ]) {
        /* Without a number of key-value heads the scores are as the lists. */
        const st_tensor *counts = st_find(job->file, "expect.counts");
        d[DIM_B] = s->shape[0];
        d[DIM_D] = 64; /* select never looks at it */
        d[DIM_HQ] = d[DIM_HK] = heads;
        if (settings_given(settings, "kv_heads"))
            d[DIM_HK] = job->problem.kv_heads;
        else if (scoped && job->problem.scope == CLGAZE_SCOPE_KV && counts && counts->rank == 3 &&
                 counts->shape[1] > 0)
            d[DIM_HK] = counts->shape[1];
    }
    if (!d[DIM_SQ] &&
        (s->shape[2] > INT32_MAX / job->problem.block_q || s->shape[3] > INT32_MAX / job->problem.block_k))
        return fail(EXIT_INPUT, "tensor scores has more blocks than tokens can be counted");
    d[DIM_SQ] = d[DIM_SQ] ? d[DIM_SQ] : s->shape[2] * job->problem.block_q;
    d[DIM_SK] = d[DIM_SK] ? d[DIM_SK] : s->shape[3] * job->problem.block_k;
    if (!scoped)
        job->problem.scope = heads == d[DIM_HQ]   ? CLGAZE_SCOPE_Q
                             : heads == d[DIM_HK] ? CLGAZE_SCOPE_KV
                                                  : CLGAZE_SCOPE_ONE;
    return 0;
}

/* attend: in which form the lists are, and for how many heads. */
static int read_lists(struct job *job, const struct settings *settings)
{
    static const struct form {
        clgaze_lists lists;
        const char *first, *second;
    } forms[] = {{CLGAZE_LISTS_BLOCKS, "counts", "blocks"},
                 {CLGAZE_LISTS_MASK, "mask", "mask"},
                 {CLGAZE_LISTS_CSR, "indptr", "indices"}};
    const struct form *found = NULL;
    int64_t *d = job->dims, heads;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const st_tensor *a = st_find(job->file, forms[i].first), *b = st_find(job->file, forms[i].second);
        if (!a && !b)
            continue;
        if (!a || !b)
            return fail(EXIT_INPUT, "tensor %s is missing: %s alone is no list", a ? forms[i].second : forms[i].first,
                        a ? forms[i].first : forms[i].second);
        if (found)
            return fail(EXIT_INPUT, "tensors %s and %s are both given: lists are taken in one form", found->first,
                        forms[i].first);
        found = &forms[i];
    }
    job->problem.lists = found ? found->lists : CLGAZE_LISTS_DENSE;
    if (!found)
        return 0;
    job->problem.validate = 1;
    const st_tensor *t = st_find(job->file, found->first);
    int64_t rows = d[DIM_B] * d[DIM_NQ];
    if (found->lists == CLGAZE_LISTS_CSR)
        heads = rows && t->rank == 1 ? (t->shape[0] - 1) / rows : 0;
    else
        heads = t->rank > 1 ? t->shape[1] : 0;
    if (!settings_given(settings, "head_scope"))
        job->problem.scope = heads == d[DIM_HQ]   ? CLGAZE_SCOPE_Q
                             : heads == d[DIM_HK] ? CLGAZE_SCOPE_KV
                                                  : CLGAZE_SCOPE_ONE;
    return 0;
}

/* distill: how, and by what it is taught. */
static int read_truth(const struct job *job)
{
    const st_tensor *t = st_find(job->file, "truth");
    int code = training_check(&job->training);
    if (code)
        return code;
    if (t && t->dtype != ST_F32)
        return fail(EXIT_INPUT, "tensor truth is %s, but must be F32", st_dtype_name(t->dtype));
    for (int i = 0; i < 2 && !t; i++)
        if (!st_find(job->file, i ? "k" : "q"))
            return fail(EXIT_INPUT, "tensor truth is missing, and so is %s, from which it would be made",
                        i ? "k" : "q");
    return 0;
}

/* `values`: one for each head that has a list. */
static int read_values(struct job *job, const struct settings *settings)
{
    int code = 0;
    if (job->operation->last != CLGAZE_SELECT && job->operation->last != CLGAZE_PREFILL)
        return 0;
    const st_tensor *t = shaped(job, "values", 1, &code);
    if (code || !t)
        return code || settings_given(settings, "value")
                   ? code
                   : fail(EXIT_INPUT, "option --value is missing: %s needs it", job->operation->name);
    if (t->dtype != ST_F32)
        return fail(EXIT_INPUT, "tensor values is %s, but must be F32", st_dtype_name(t->dtype));
    if (t->shape[0] != job->dims[DIM_H])
        return fail(EXIT_INPUT, "tensor values has %" PRId64 " entries, but %" PRId64 " heads have a list",
                    t->shape[0], job->dims[DIM_H]);
    job->values = malloc(t->elements * sizeof *job->values);
    if (!job->values)
        return fail(EXIT_INPUT, "memory ran out");
    for (size_t i = 0; i < t->elements; i++)
        job->values[i] = (float)st_value(t, i);
    job->problem.values = job->values;
    return 0;
}

static int64_t pools(uint32_t set)
{
    return (set & 1) + (set >> 1 & 1) + (set >> 2 & 1);
}

/* The sizes that follow from the others, and what the problem says of them. */
static void finish(struct job *job)
{
    clgaze_problem *p = &job->problem;
    int64_t *d = job->dims;
    if (!p->packed) {
        p->max_batch = (int32_t)d[DIM_B];
        d[DIM_NQ] = (d[DIM_SQ] + p->block_q - 1) / p->block_q;
        d[DIM_NK] = (d[DIM_SK] + p->block_k - 1) / p->block_k;
    }
    d[DIM_COLUMNS] = p->packed ? (job->longest_k + p->block_k - 1) / p->block_k : d[DIM_NK];
    d[DIM_DG] = p->gate_dim ? p->gate_dim : d[DIM_D];
    d[DIM_QP] = pools(p->q_pool) * d[DIM_D];
    d[DIM_KP] = pools(p->k_pool) * d[DIM_D];
    d[DIM_GK] = p->gate_double ? d[DIM_HK] : d[DIM_HQ];
    p->q_heads = (int32_t)d[DIM_HQ];
    p->kv_heads = (int32_t)d[DIM_HK];
    p->head_dim = (int32_t)d[DIM_D];
    p->max_q = (int32_t)d[DIM_SQ];
    p->max_k = (int32_t)d[DIM_SK];
    p->lse = 1;
}

int job_make(const struct operation *operation, const st_file *file, const struct settings *settings, struct job *job)
{
    memset(job, 0, sizeof *job);
    job->operation = operation;
    job->index = operation_index(operation);
    job->file = file;
    job->problem = settings->problem;
    job->training = settings->training;
    int code = check_inputs(job);
    if (operation->last == CLGAZE_POOL && !st_find(file, "q_gate") && !st_find(file, "k_gate"))
        code = fail(EXIT_INPUT, "tensors q_gate and k_gate are missing: pool needs one of them");
    code = code ? code : read_dtype(job);
    code = code ? code : read_tokens(job);
    code = code ? code : read_gate(job, settings);
    code = code ? code : read_packed(job);
    if (!code && operation->last == CLGAZE_DISTILL)
        code = read_truth(job);
    if (!code && operation->last == CLGAZE_SELECT)
        code = read_scores(job, settings);
    if (code)
        return code;
    finish(job);
    if (operation->first == CLGAZE_ATTEND)
        code = read_lists(job, settings);
    job->dims[DIM_H] = job->problem.scope == CLGAZE_SCOPE_Q    ? job->dims[DIM_HQ]
                       : job->problem.scope == CLGAZE_SCOPE_KV ? job->dims[DIM_HK]
                                                               : 1;
    return code ? code : read_values(job, settings);
}

void job_free(struct job *job)
{
    free(job->values);
    job->values = NULL;
}
