/* SPDX-License-Identifier: Apache-2.0 */
/*
 * truth.c: launchers of cl/truth.cl, for any device (attention or its lse alone,
 * then the map), and of cl/truth_cpu.cl (both at once).
 */
#include "attend.h"

enum { ATTEND, TRUTH_LSE, TRUTH_MAP }; /* entries */
enum { TRUTH_CPU };                    /* of truth_cpu */
enum { WG, BM };                       /* of the space */

static void define(const clgaze_problem *p, const int *values, struct clg_text *text)
{
    const clgaze_problem d = clg_attend_dense(p);

    clg_attend_define(&d, values, text);
}

static clgaze_status enqueue_attend(struct clg_run *run, const int *values)
{
    const clgaze_problem *p = run->p, d = clg_attend_dense(p);
    clgaze_status st;

    run->p = &d;
    st = clg_attend_enqueue(run, (struct clg_cut){values[BM], 1, (size_t)values[WG]});
    run->p = p;
    return st;
}

static double dense_macs(const struct clg_run *run)
{
    const clgaze_problem d = clg_attend_dense(run->p);
    struct clg_run of = *run;

    of.p = &d;
    return clg_attention_macs(&of);
}

static clgaze_status enqueue_lse(struct clg_run *run, const int *values)
{
    const clgaze_problem *p = run->p;
    const struct clg_sizes *n = &run->n;
    const clgaze_tensors *t = &run->t;
    const cl_ulong4 q_at = clg_at(&t->q), k_at = clg_at(&t->k);
    const cl_ulong l_at = t->lse.offset, seqs_from = clg_seqs_from(run);
    const cl_int sequences = n->sequences, sq = n->sq, sk = n->sk, q_heads = p->q_heads;
    const cl_int group = p->q_heads / p->kv_heads;
    const size_t tiles = (size_t)((n->longest_q + values[BM] - 1) / values[BM]);
    const size_t groups[3] = {tiles, (size_t)q_heads, (size_t)sequences}, local[3] = {(size_t)values[WG], 1, 1};
    cl_float fold, scale;
    const struct clg_arg args[] = {CLG_ARG(t->q.buffer),
                                   CLG_ARG(q_at),
                                   CLG_ARG(t->k.buffer),
                                   CLG_ARG(k_at),
                                   CLG_ARG(t->lse.buffer),
                                   CLG_ARG(l_at),
                                   CLG_ARG(run->workspace),
                                   CLG_ARG(seqs_from),
                                   CLG_ARG(sequences),
                                   CLG_ARG(sq),
                                   CLG_ARG(sk),
                                   CLG_ARG(q_heads),
                                   CLG_ARG(group),
                                   CLG_ARG(fold),
                                   CLG_ARG(scale)};

    clg_attend_fold(p, &fold, &scale);
    return clg_enqueue_long(run, TRUTH_LSE, groups, local, args, CLG_COUNT(args), dense_macs(run));
}

static clgaze_status enqueue_map(struct clg_run *run, const int *values)
{
    const clgaze_problem *p = run->p;
    const struct clg_sizes *n = &run->n;
    const clgaze_tensors *t = &run->t;
    const cl_ulong4 q_at = clg_at(&t->q), k_at = clg_at(&t->k);
    const cl_ulong l_at = t->lse.offset, t_at = t->truth.offset, seqs_from = clg_seqs_from(run);
    const cl_int sequences = n->sequences, sq = n->sq, sk = n->sk, rows = n->rows, cols = n->cols;
    const cl_int block_q = p->block_q, block_k = p->block_k, q_heads = p->q_heads;
    const cl_int group = p->q_heads / p->kv_heads;
    const size_t groups[3] = {(size_t)n->rows_seq, (size_t)q_heads, (size_t)sequences};
    const size_t local[3] = {(size_t)values[WG], 1, 1};
    cl_float fold, scale;
    const struct clg_arg args[] = {CLG_ARG(t->q.buffer),
                                   CLG_ARG(q_at),
                                   CLG_ARG(t->k.buffer),
                                   CLG_ARG(k_at),
                                   CLG_ARG(t->lse.buffer),
                                   CLG_ARG(l_at),
                                   CLG_ARG(t->truth.buffer),
                                   CLG_ARG(t_at),
                                   CLG_ARG(run->workspace),
                                   CLG_ARG(seqs_from),
                                   CLG_ARG(sequences),
                                   CLG_ARG(sq),
                                   CLG_ARG(sk),
                                   CLG_ARG(rows),
                                   CLG_ARG(cols),
                                   CLG_ARG(block_q),
                                   CLG_ARG(block_k),
                                   CLG_ARG(q_heads),
                                   CLG_ARG(group),
                                   CLG_ARG(fold),
                                   CLG_ARG(scale)};

    clg_attend_fold(p, &fold, &scale);
    return clg_enqueue_long(run, TRUTH_MAP, groups, local, args, CLG_COUNT(args), dense_macs(run));
}

static clgaze_status launch(struct clg_run *run)
{
    const int *values = run->stage->values;
    const bool with_v = run->t.v.buffer != NULL;
    clgaze_status st = CLGAZE_OK;

    if (!run->t.lse.buffer) {
        const int64_t shape[3] = {run->n.batch, run->p->q_heads, run->n.sq};

        run->t.lse = clg_scratch(run, CLG_AT_LSE, 0, CLGAZE_F32, 3, shape);
    }
    if (with_v || run->warming)
        st = enqueue_attend(run, values);
    if (st == CLGAZE_OK && (!with_v || run->warming))
        st = enqueue_lse(run, values);
    return st == CLGAZE_OK ? enqueue_map(run, values) : st;
}

const struct clg_kernel clg_kernel_truth = {
    .op = "truth",
    .name = "truth",
    .space = clg_attend_space,
    .sources = (const char *const[]){"common.cl", "attend.cl", "meet.cl", "truth.cl", NULL},
    .entries = (const char *const[]){"attend", "truth_lse", "truth_map", NULL},
    .options = "-cl-fast-relaxed-math",
    .key = clg_attend_key,
    .define = define,
    .fits = clg_attend_fits,
    .launch = launch,
};

/* ---- CPUs ------------------------------------------------------------------ */

enum { SHARES = 4 }; /* groups a processor: what one has more to do than another is a fraction of its share */

/* Groups that work on the tiles of `rows` query blocks. */
static size_t cpu_groups(const clgaze_context *ctx, int64_t rows)
{
    const size_t most = ctx->device.compute_units * SHARES;

    return (size_t)rows < most ? (size_t)rows : most;
}

/* Room for the maxima of each group's rows. */
static clgaze_status prepare_cpu(clgaze_context *ctx, const clgaze_problem *p, struct clg_stage *stage)
{
    const size_t most = ctx->device.compute_units * SHARES;

    stage->workspace = most * (size_t)stage->values[CLG_CPU_BM] * (size_t)clg_max_cols(p) * sizeof(float);
    return CLGAZE_OK;
}

static clgaze_status launch_cpu(struct clg_run *run)
{
    const clgaze_problem *p = run->p;
    const struct clg_sizes *n = &run->n;
    const clgaze_tensors *t = &run->t;
    const int64_t shape[1] = {1};
    const clgaze_tensor tops = clg_scratch(run, CLG_AT_STAGE, 0, CLGAZE_F32, 1, shape);
    const cl_ulong4 q_at = clg_at(&t->q), k_at = clg_at(&t->k), v_at = clg_at(&t->v), out_at = clg_at(&t->out);
    const cl_ulong l_at = t->lse.offset, t_at = t->truth.offset, tops_at = tops.offset;
    const cl_ulong seqs_from = clg_seqs_from(run);
    const cl_int with_v = t->v.buffer != NULL, with_lse = t->lse.buffer != NULL;
    const cl_int sequences = n->sequences, sq = n->sq, sk = n->sk, rows = n->rows, rows_seq = n->rows_seq;
    const cl_int cols = n->cols, block_q = p->block_q, block_k = p->block_k, q_heads = p->q_heads;
    const cl_int group = p->q_heads / p->kv_heads;
    const size_t groups[3] = {cpu_groups(run->plan->ctx, (int64_t)rows_seq * q_heads * sequences), 1, 1};
    const size_t local[3] = {1, 1, 1};
    cl_float fold, scale;
    const struct clg_arg args[] = {
        CLG_ARG(t->q.buffer),
        CLG_ARG(q_at),
        CLG_ARG(t->k.buffer),
        CLG_ARG(k_at),
        CLG_ARG(t->v.buffer),
        CLG_ARG(v_at),
        CLG_ARG(t->out.buffer),
        CLG_ARG(out_at),
        CLG_ARG(with_v),
        CLG_ARG(t->lse.buffer),
        CLG_ARG(l_at),
        CLG_ARG(with_lse),
        CLG_ARG(t->truth.buffer),
        CLG_ARG(t_at),
        CLG_ARG(tops.buffer),
        CLG_ARG(tops_at),
        CLG_ARG(run->workspace),
        CLG_ARG(seqs_from),
        CLG_ARG(sequences),
        CLG_ARG(sq),
        CLG_ARG(sk),
        CLG_ARG(rows),
        CLG_ARG(rows_seq),
        CLG_ARG(cols),
        CLG_ARG(block_q),
        CLG_ARG(block_k),
        CLG_ARG(q_heads),
        CLG_ARG(group),
        CLG_ARG(fold),
        CLG_ARG(scale),
    };

    clg_attend_fold(p, &fold, &scale);
    return clg_enqueue(run, TRUTH_CPU, groups, local, args, CLG_COUNT(args));
}

const struct clg_kernel clg_kernel_truth_cpu = {
    .op = "truth",
    .name = "truth_cpu",
    .cpu = true,
    .space = clg_attend_cpu_space,
    .sources = (const char *const[]){"common.cl", "attend_cpu.cl", "truth_cpu.cl", NULL},
    .entries = (const char *const[]){"truth_cpu", NULL},
    .options = "-cl-fast-relaxed-math",
    .key = clg_attend_key,
    .define = define,
    .fits = clg_attend_cpu_fits,
    .prepare = prepare_cpu,
    .launch = launch_cpu,
};
