/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seqs.c: launcher of cl/seqs.cl, which every operation on packed sequences
 * starts with.
 */
#include "internal.h"

static clgaze_status launch(struct clg_run *run)
{
    const struct clg_sizes *n = &run->n;
    const clgaze_tensor *q = &run->t.cu_seqlens_q, *k = &run->t.cu_seqlens_k;
    const int64_t shape[1] = {(int64_t)n->sequences * 6};
    const clgaze_tensor table = clg_scratch(run, CLG_AT_SEQS, 0, CLGAZE_I32, 1, shape);
    const cl_ulong q_at = q->offset, k_at = k->offset, table_at = table.offset;
    const cl_int sequences = n->sequences, sq = n->sq, sk = n->sk, longest_q = n->longest_q;
    const cl_int longest_k = n->longest_k, rows = n->rows, cols = n->blocks_k;
    const cl_int block_q = run->p->block_q, block_k = run->p->block_k;
    const size_t one[3] = {1, 1, 1};
    const struct clg_arg args[] = {CLG_ARG(q->buffer),    CLG_ARG(q_at),      CLG_ARG(k->buffer), CLG_ARG(k_at),
                                   CLG_ARG(table.buffer), CLG_ARG(table_at),  CLG_ARG(sequences), CLG_ARG(sq),
                                   CLG_ARG(sk),           CLG_ARG(longest_q), CLG_ARG(longest_k), CLG_ARG(rows),
                                   CLG_ARG(cols),         CLG_ARG(block_q),   CLG_ARG(block_k)};

    return clg_enqueue(run, 0, one, one, args, CLG_COUNT(args));
}

const struct clg_kernel clg_kernel_seqs = {
    .op = "seqs",
    .name = "seqs",
    .sources = (const char *const[]){"common.cl", "seqs.cl", NULL},
    .entries = (const char *const[]){"seqs", NULL},
    .options = "",
    .launch = launch,
};
