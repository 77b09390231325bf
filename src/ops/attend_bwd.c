/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attend_bwd.c: launcher of cl/bwd.cl and of cl/attend_bwd.cl, for any device.
 */
#include <string.h>

#include "attend_bwd.h"

/* x = scale q . k: in log2 units and as it is. */
static void scales(const clgaze_problem *p, cl_float *fold, cl_float *scale)
{
    *scale = clg_attend_scale(p);
    *fold = (cl_float)((double)*scale * 1.4426950408889634);
}

static clgaze_tensor delta_of(const struct clg_run *run)
{
    const int64_t shape[3] = {run->n.batch, run->p->q_heads, run->n.sq};

    return clg_scratch(run, CLG_AT_DELTA, 0, CLGAZE_F32, 3, shape);
}

static clgaze_tensor map_of(const struct clg_run *run)
{
    const struct clg_sizes *n = &run->n;
    const int64_t shape[4] = {n->batch, n->list_heads, n->cols, (n->rows + 31) / 32};

    return clg_scratch(run, CLG_AT_MAP, 0, CLGAZE_I32, 4, shape);
}

clgaze_status clg_bwd_map(struct clg_run *run)
{
    const struct clg_sizes *n = &run->n;
    const clgaze_tensors *t = &run->t;
    const clgaze_tensor map = map_of(run);
    const cl_ulong c_at = t->counts.offset, b_at = t->blocks.offset, map_at = map.offset;
    const cl_int width = n->width, rows = n->rows, cols = n->cols;
    const size_t groups[3] = {(size_t)map.shape[3], (size_t)(n->batch * n->list_heads), 1}, local[3] = {32, 1, 1};
    const struct clg_arg args[] = {
        CLG_ARG(t->counts.buffer),
        CLG_ARG(c_at),
        CLG_ARG(t->blocks.buffer),
        CLG_ARG(b_at),
        CLG_ARG(width),
        CLG_ARG(rows),
        CLG_ARG(cols),
        CLG_ARG(map.buffer),
        CLG_ARG(map_at),
    };

    if (run->p->lists == CLGAZE_LISTS_DENSE && !run->warming)
        return CLGAZE_OK;
    return clg_enqueue(run, CLG_BWD_MAP, groups, local, args, CLG_COUNT(args));
}

clgaze_status clg_bwd_delta(struct clg_run *run)
{
    const clgaze_tensors *t = &run->t;
    const clgaze_tensor delta = delta_of(run);
    const cl_ulong4 out_at = clg_at(&t->out), dout_at = clg_at(&t->dout);
    const cl_ulong delta_at = delta.offset;
    const cl_int sq = run->n.sq, q_heads = run->p->q_heads;
    const size_t numbers = (size_t)sq * (size_t)q_heads;
    const size_t groups[3] = {(numbers + 63) / 64, (size_t)run->n.batch, 1}, local[3] = {64, 1, 1};
    const struct clg_arg args[] = {
        CLG_ARG(t->out.buffer), CLG_ARG(out_at), CLG_ARG(t->dout.buffer), CLG_ARG(dout_at), CLG_ARG(delta.buffer),
        CLG_ARG(delta_at),      CLG_ARG(sq),     CLG_ARG(q_heads),
    };

    return clg_enqueue(run, CLG_BWD_DELTA, groups, local, args, CLG_COUNT(args));
}

void clg_bwd_kv_args(const struct clg_run *run, int block_q, int block_k, struct clg_bwd_kv_args *a)
{
    const clgaze_tensors *t = &run->t;
    struct clg_attend_args *at = &a->attend;
    const struct clg_arg list[CLG_BWD_KV_ARGS] = {
        CLG_ARG(t->q.buffer),    CLG_ARG(at->q_at),      CLG_ARG(t->k.buffer),    CLG_ARG(at->k_at),
        CLG_ARG(t->v.buffer),    CLG_ARG(at->v_at),      CLG_ARG(t->dout.buffer), CLG_ARG(a->dout_at),
        CLG_ARG(t->lse.buffer),  CLG_ARG(at->l_at),      CLG_ARG(run->workspace), CLG_ARG(a->delta_at),
        CLG_ARG(run->workspace), CLG_ARG(a->map_at),     CLG_ARG(at->list_heads), CLG_ARG(a->cols),
        CLG_ARG(t->dk.buffer),   CLG_ARG(a->dk_at),      CLG_ARG(t->dv.buffer),   CLG_ARG(a->dv_at),
        CLG_ARG(run->workspace), CLG_ARG(at->seqs_from), CLG_ARG(at->sequences),  CLG_ARG(at->sq),
        CLG_ARG(at->sk),         CLG_ARG(at->rows),      CLG_ARG(at->block_q),    CLG_ARG(at->block_k),
        CLG_ARG(at->q_heads),    CLG_ARG(at->group),     CLG_ARG(at->fold),       CLG_ARG(at->scale)};

    memcpy(a->list, list, sizeof list);
    clg_attend_args(run, block_q, block_k, at);
    scales(run->p, &at->fold, &at->scale);
    a->dout_at = clg_at(&t->dout);
    a->dk_at = clg_at(&t->dk);
    a->dv_at = clg_at(&t->dv);
    a->delta_at = delta_of(run).offset;
    a->map_at = map_of(run).offset;
    a->cols = run->n.cols;
}

clgaze_status clg_bwd_kv(struct clg_run *run, struct clg_cut cut)
{
    const clgaze_problem *p = run->p;
    const struct clg_sizes *n = &run->n;
    const int block_k = clg_attend_block(p, p->block_k, cut.rows);
    const size_t groups[3] = {clg_attend_tiles(n->longest_k, block_k, cut.rows), (size_t)p->kv_heads,
                              (size_t)n->sequences};
    const size_t local[3] = {cut.items, 1, 1};
    struct clg_bwd_kv_args args;

    clg_bwd_kv_args(run, clg_attend_block(p, p->block_q, 64), block_k, &args);
    return clg_enqueue_long(run, CLG_BWD_KV, groups, local, args.list, CLG_BWD_KV_ARGS, 4 * clg_attention_macs(run));
}

clgaze_status clg_bwd_q(struct clg_run *run, struct clg_cut cut)
{
    const clgaze_problem *p = run->p;
    const struct clg_sizes *n = &run->n;
    const clgaze_tensors *t = &run->t;
    const clgaze_tensor delta = delta_of(run);
    const cl_ulong4 q_at = clg_at(&t->q), k_at = clg_at(&t->k), v_at = clg_at(&t->v), dout_at = clg_at(&t->dout);
    const cl_ulong4 dq_at = clg_at(&t->dq);
    const cl_ulong l_at = t->lse.offset, delta_at = delta.offset, c_at = t->counts.offset, b_at = t->blocks.offset;
    const cl_ulong seqs_from = clg_seqs_from(run);
    const cl_int block_q = clg_attend_block(p, p->block_q, cut.rows), block_k = clg_attend_block(p, p->block_k, 64);
    const cl_int list_heads = n->list_heads, width = n->width, sequences = n->sequences, sq = n->sq, sk = n->sk;
    const cl_int rows = n->rows, q_heads = p->q_heads, group = p->q_heads / p->kv_heads;
    const size_t groups[3] = {clg_attend_tiles(n->longest_q, block_q, cut.rows), (size_t)q_heads, (size_t)sequences};
    const size_t local[3] = {cut.items, 1, 1};
    cl_float fold, scale;
    const struct clg_arg args[] = {
        CLG_ARG(t->q.buffer),
        CLG_ARG(q_at),
        CLG_ARG(t->k.buffer),
        CLG_ARG(k_at),
        CLG_ARG(t->v.buffer),
        CLG_ARG(v_at),
        CLG_ARG(t->dout.buffer),
        CLG_ARG(dout_at),
        CLG_ARG(t->lse.buffer),
        CLG_ARG(l_at),
        CLG_ARG(delta.buffer),
        CLG_ARG(delta_at),
        CLG_ARG(t->counts.buffer),
        CLG_ARG(c_at),
        CLG_ARG(t->blocks.buffer),
        CLG_ARG(b_at),
        CLG_ARG(width),
        CLG_ARG(list_heads),
        CLG_ARG(t->dq.buffer),
        CLG_ARG(dq_at),
        CLG_ARG(run->workspace),
        CLG_ARG(seqs_from),
        CLG_ARG(sequences),
        CLG_ARG(sq),
        CLG_ARG(sk),
        CLG_ARG(rows),
        CLG_ARG(block_q),
        CLG_ARG(block_k),
        CLG_ARG(q_heads),
        CLG_ARG(group),
        CLG_ARG(fold),
        CLG_ARG(scale),
    };

    scales(p, &fold, &scale);
    return clg_enqueue_long(run, CLG_BWD_Q, groups, local, args, CLG_COUNT(args), 3 * clg_attention_macs(run));
}

clgaze_status clg_bwd_launch(struct clg_run *run, struct clg_cut cut)
{
    clgaze_status st = CLGAZE_OK;

    TRY(clg_bwd_map(run));
    TRY(clg_bwd_delta(run));
    TRY(clg_bwd_kv(run, cut));
    TRY(clg_bwd_q(run, cut));
out:
    return st;
}

/* ---- any device ---------------------------------------------------------- */

static const struct clg_param space[] = {
    {"WG", 64, {32, 64, 128, 256}}, /* work-items in a group         */
    {"BM", 16, {4, 8, 16, 32, 64}}, /* own rows a group              */
    {"BN", 16, {8, 16, 32}},        /* rows of the others, a tile    */
    {NULL, 0, {0}},
};
enum { WG, BM, BN };

static const char *fits(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    const size_t row = (size_t)p->head_dim + 4, bm = (size_t)values[BM], bn = (size_t)values[BN];

    if (values[BM] * 8 % values[WG] != 0 || values[BM] * 8 / values[WG] > 4)
        return "BM must be 1 to 4 times WG / 8";
    if (p->head_dim > 128 && values[BM] * 8 / values[WG] > 1) /* Intel's have the fewest */
        return "the sums of so many channels need more registers than devices have";
    if (8 * (bm * row + bn * row + bm * (bn + 1)) > device->local_bytes)
        return "the tiles need more local memory than the device has";
    return (size_t)values[WG] > device->max_group ? "the device's work-groups are smaller than WG" : NULL;
}

static clgaze_status launch(struct clg_run *run)
{
    const int *values = run->stage->values;

    return clg_bwd_launch(run, (struct clg_cut){values[BM], 1, (size_t)values[WG]});
}

const struct clg_kernel clg_kernel_attend_bwd = {
    .op = "attend_bwd",
    .name = "attend_bwd",
    .space = space,
    .sources = (const char *const[]){"common.cl", "attend.cl", "bwd.cl", "attend_bwd.cl", NULL},
    .entries = (const char *const[]){"bwd_map", "bwd_delta", "bwd_kv", "bwd_q", NULL},
    .options = "-cl-fast-relaxed-math",
    .key = clg_attend_key,
    .define = clg_attend_define,
    .fits = fits,
    .launch = launch,
};
