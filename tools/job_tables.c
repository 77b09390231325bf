/* SPDX-License-Identifier: Apache-2.0 */
/*
 * job_tables.c: the operations and the tensors of the contract, as data.
 */
#include "job.h"

#include "fail.h"

#include <string.h>

static const struct operation operations[] = {
    {"pool", CLGAZE_POOL, CLGAZE_POOL, CLGAZE_POOL, CLGAZE_POOL},
    {"gate", CLGAZE_POOL, CLGAZE_GATE, CLGAZE_POOL, CLGAZE_GATE},
    {"score", CLGAZE_POOL, CLGAZE_SCORE, CLGAZE_POOL, CLGAZE_SCORE},
    {"select", CLGAZE_SELECT, CLGAZE_SELECT, CLGAZE_SELECT, CLGAZE_SELECT},
    {"attend", CLGAZE_ATTEND, CLGAZE_ATTEND, CLGAZE_ATTEND, CLGAZE_ATTEND},
    {"prefill", CLGAZE_PREFILL, CLGAZE_PREFILL, CLGAZE_POOL, CLGAZE_ATTEND},
    {"truth", CLGAZE_TRUTH, CLGAZE_TRUTH, CLGAZE_TRUTH, CLGAZE_TRUTH},
    {"distill", CLGAZE_DISTILL, CLGAZE_DISTILL, CLGAZE_DISTILL, CLGAZE_DISTILL},
    {"attend_bwd", CLGAZE_ATTEND, CLGAZE_ATTEND_BWD, CLGAZE_ATTEND_BWD, CLGAZE_ATTEND_BWD},
};

/* Known to the contract, but not to this version. */
static const char *const later[] = {"decode"};

/* The sets of operations, in the order of the table above. */
enum { P = 1, G = 2, S = 4, E = 8, A = 16, F = 32, T = 64, L = 128, W = 256, ALL = 511 };

#define AT(name) #name, offsetof(clgaze_tensors, name)

const struct tensor_row tensor_rows[] = {
    {AT(q), .needs = A | F | T | W, .takes = L},
    {AT(k), .needs = A | F | T | W, .takes = L},
    {AT(v), .needs = A | F | W, .takes = T},
    {AT(q_gate), .needs = G | S | F | L, .takes = P},
    {AT(k_gate), .needs = G | S | F | L, .takes = P},
    {AT(rope_inv_freq), .takes = G | S | F | L},
    {AT(w_k), .needs = G | S | F, .takes = L},
    {AT(w_q), .takes = G | S | F | L},
    {AT(q_pooled), 0, 0, P | G | S, F, AS_F32, 4, {DIM_B, DIM_NQ, DIM_HQ, DIM_QP}, "q_gate"},
    {AT(k_pooled), 0, 0, P | G | S, F, AS_F32, 4, {DIM_B, DIM_NK, DIM_HK, DIM_KP}, "k_gate"},
    {AT(q_gated), 0, 0, G | S, F, AS_F32, 4, {DIM_B, DIM_NQ, DIM_HQ, DIM_DG}, NULL},
    {AT(k_gated), 0, 0, G | S, F, AS_F32, 4, {DIM_B, DIM_NK, DIM_GK, DIM_DG}, NULL},
    {AT(scores), E, 0, S | F, 0, AS_F32, 4, {DIM_B, DIM_HQ, DIM_NQ, DIM_COLUMNS}, NULL},
    {AT(counts), 0, A | W, E | F, 0, AS_I32, 3, {DIM_B, DIM_H, DIM_NQ}, NULL},
    {AT(blocks), 0, A | W, E | F, 0, AS_I32, 4, {DIM_B, DIM_H, DIM_NQ, DIM_W}, NULL},
    {AT(mask), .takes = A | W},
    {AT(indptr), .takes = A | W},
    {AT(indices), .takes = A | W},
    {AT(cu_seqlens_q), .takes = ALL},
    {AT(cu_seqlens_k), .takes = ALL},
    {AT(out), 0, W, A | F | T | W, 0, AS_Q, 4, {DIM_B, DIM_SQ, DIM_HQ, DIM_D}, "v"},
    {AT(lse), 0, W, A | F | T | W, 0, AS_F32, 3, {DIM_B, DIM_HQ, DIM_SQ}, "v"},
    {AT(truth), 0, L, T, 0, AS_F32, 4, {DIM_B, DIM_HQ, DIM_NQ, DIM_COLUMNS}, NULL},
    {AT(dout), .needs = W},
    {AT(dq), 0, 0, W, 0, AS_Q, 4, {DIM_B, DIM_SQ, DIM_HQ, DIM_D}, NULL},
    {AT(dk), 0, 0, W, 0, AS_Q, 4, {DIM_B, DIM_SK, DIM_HK, DIM_D}, NULL},
    {AT(dv), 0, 0, W, 0, AS_Q, 4, {DIM_B, DIM_SK, DIM_HK, DIM_D}, NULL},
};

const int n_tensor_rows = sizeof tensor_rows / sizeof *tensor_rows;

const struct operation *operation_find(const char *name)
{
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        if (strcmp(operations[i].name, name) == 0)
            return &operations[i];
    for (size_t i = 0; i < sizeof later / sizeof *later; i++)
        if (strcmp(later[i], name) == 0) {
            fail(EXIT_INPUT, "operation %s is not in this version", name);
            return NULL;
        }
    fail(EXIT_INPUT,
         "\"%.40s\" is no operation: known are pool, gate, score, select, attend, prefill, truth, distill and "
         "attend_bwd",
         name);
    return NULL;
}

static unsigned bit(const struct job *job)
{
    return 1u << job->index;
}

int operation_index(const struct operation *operation)
{
    return (int)(operation - operations);
}

const char *stage_name(clgaze_op op)
{
    static const char *const names[] = {"pool",    "gate",  "score",   "select",    "attend",
                                        "prefill", "truth", "distill", "attend_bwd"};
    return names[op];
}

int job_has_all(const struct job *job)
{
    int has = 1;
    for (int i = 0; i < n_tensor_rows; i++)
        if (tensor_rows[i].takes & tensor_rows[i].gives & bit(job))
            has = has && st_find(job->file, tensor_rows[i].name) != NULL;
    return has;
}

const st_tensor *job_input(const struct job *job, const struct tensor_row *row)
{
    if (row->gives & bit(job) && !job_has_all(job))
        return NULL;
    return (row->needs | row->takes) & bit(job) ? st_find(job->file, row->name) : NULL;
}

int job_output(const struct job *job, const struct tensor_row *row, int timed)
{
    if (!((row->gives | (timed ? row->scratch : 0)) & bit(job)))
        return 0;
    return !row->source || st_find(job->file, row->source) != NULL;
}

int job_describe(const struct job *job, const struct tensor_row *row, st_tensor *tensor)
{
    static const st_dtype of_q[] = {[CLGAZE_F32] = ST_F32, [CLGAZE_F16] = ST_F16, [CLGAZE_BF16] = ST_BF16};
    memset(tensor, 0, sizeof *tensor);
    tensor->name = row->name;
    tensor->dtype = row->type == AS_Q ? of_q[job->problem.dtype] : row->type == AS_F32 ? ST_F32 : ST_I32;
    tensor->rank = row->rank;
    for (int i = 0; i < row->rank; i++)
        tensor->shape[i] = job->dims[row->shape[i]];
    if (st_size(tensor->dtype, tensor->rank, tensor->shape, &tensor->elements, &tensor->bytes))
        return fail(EXIT_INPUT, "tensor %s would be larger than memory", row->name);
    return 0;
}

int library_dtype(st_dtype from, clgaze_dtype *to)
{
    static const int of[] = {
        [ST_F64] = -1,         [ST_I64] = -1,           [ST_F32] = CLGAZE_F32, [ST_I32] = CLGAZE_I32,
        [ST_F16] = CLGAZE_F16, [ST_BF16] = CLGAZE_BF16, [ST_U8] = CLGAZE_U8,   [ST_BOOL] = CLGAZE_U8};
    if (of[from] < 0)
        return -1;
    *to = (clgaze_dtype)of[from];
    return 0;
}
