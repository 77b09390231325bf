/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attend_bwd_cpu.c: launcher of cl/attend_bwd_cpu.cl, whose rounds make dq beside
 * dk and dv.
 */
#include "attend_bwd.h"

/* WIDTH of the kernel: floats of a query token's sums of dq. */
static size_t width(const clgaze_problem *p, const int *values)
{
    const size_t lanes = (size_t)values[CLG_CPU_VEC] * (size_t)values[CLG_CPU_NV];

    return ((size_t)p->head_dim + lanes - 1) / lanes * lanes;
}

/* Room for the sums of dq, dk and dv. */
static clgaze_status prepare(clgaze_context *ctx, const clgaze_problem *p, struct clg_stage *stage)
{
    const size_t batch = (size_t)(p->packed ? 1 : p->max_batch);
    const size_t queries = batch * (size_t)p->q_heads * (size_t)p->max_q;
    const size_t keys = batch * (size_t)p->kv_heads * (size_t)p->max_k;

    (void)ctx;
    stage->workspace = sizeof(float) * (queries * width(p, stage->values) + 2 * keys * (size_t)p->head_dim);
    return CLGAZE_OK;
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Rounds with which the busiest processor ends first: each head is as many work-items in each round, which costs
 * a sixteenth of the whole. */
static int rounds_of(const struct clg_run *run, int block_q, int block_k)
{
    const struct clg_sizes *n = &run->n;
    const int processors = (int)run->plan->ctx->device.compute_units;
    const int blocks = least((n->longest_q + block_q - 1) / block_q, (n->longest_k + block_k - 1) / block_k);
    /* Packed: as if all sequences were as long as the longest. */
    const int64_t sequences = n->longest_q > 0 ? (int64_t)n->batch * n->sq / n->longest_q : 1;
    double best_cost = 0;
    int best = 1;

    for (int rounds = 1; rounds <= least(blocks, processors); rounds++) {
        const int64_t items = (run->p->kv_heads * sequences * rounds + processors - 1) / processors;
        const double cost = (double)items / rounds * (1 + rounds / 16.);

        if (rounds == 1 || cost < best_cost) {
            best_cost = cost;
            best = rounds;
        }
    }
    return best;
}

static clgaze_status launch(struct clg_run *run)
{
    const clgaze_problem *p = run->p;
    const struct clg_sizes *n = &run->n;
    const int *values = run->stage->values;
    const int block_q = clg_attend_block(p, p->block_q, values[CLG_CPU_BM]);
    const int block_k = clg_attend_block(p, p->block_k, values[CLG_CPU_BM]);
    const int64_t shape[1] = {1};
    const cl_ulong dq_sums = clg_scratch(run, CLG_AT_STAGE, 0, CLGAZE_F32, 1, shape).offset;
    const cl_ulong dk_sums = dq_sums + (cl_ulong)n->batch * (cl_ulong)p->q_heads * (cl_ulong)n->sq * width(p, values);
    const cl_ulong dv_sums =
        dk_sums + (cl_ulong)n->batch * (cl_ulong)p->kv_heads * (cl_ulong)n->sk * (cl_ulong)p->head_dim;
    const cl_ulong4 dq_at = clg_at(&run->t.dq);
    const cl_int rounds = rounds_of(run, block_q, block_k);
    const size_t groups[3] = {1 + (size_t)rounds, (size_t)p->kv_heads, (size_t)n->sequences}, local[3] = {1, 1, 1};
    struct clg_bwd_kv_args args;
    cl_int round = 0;
    const struct clg_arg more[] = {
        CLG_ARG(run->t.dq.buffer), CLG_ARG(dq_at),   CLG_ARG(run->workspace), CLG_ARG(dq_sums),
        CLG_ARG(dk_sums),          CLG_ARG(dv_sums), CLG_ARG(round),          CLG_ARG(rounds)};
    clgaze_status st = CLGAZE_OK;

    clg_bwd_kv_args(run, block_q, block_k, &args);
    for (size_t i = 0; i < CLG_COUNT(more); i++)
        args.list[CLG_BWD_KV_ARGS + i] = more[i];
    TRY(clg_bwd_map(run));
    TRY(clg_bwd_delta(run));
    for (; round < rounds; round++)
        TRY(clg_enqueue_long(run, CLG_BWD_KV, groups, local, args.list, CLG_BWD_KV_ARGS + (int)CLG_COUNT(more),
                             5 * clg_attention_macs(run) / rounds));
out:
    return st;
}

const struct clg_kernel clg_kernel_attend_bwd_cpu = {
    .op = "attend_bwd",
    .name = "attend_bwd_cpu",
    .cpu = true,
    .space = clg_attend_cpu_space,
    .sources = (const char *const[]){"common.cl", "attend_cpu.cl", "bwd.cl", "attend_bwd_cpu.cl", NULL},
    .entries = (const char *const[]){"bwd_map", "bwd_delta", "bwd_cpu", NULL},
    .options = "-cl-fast-relaxed-math",
    .key = clg_attend_key,
    .define = clg_attend_define,
    .fits = clg_attend_cpu_fits,
    .prepare = prepare,
    .launch = launch,
};
