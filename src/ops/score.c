/*
 * score.c: launcher of cl/score.cl.
 */
#include <math.h>

#include "internal.h"

static const struct clg_param space[] = {
    {"WG", 64, {16, 32, 64, 128}, 0}, /* work-items in a group      */
    {"RM", 4, {1, 2, 4}, 0},          /* query blocks a work-item   */
    {"CN", 4, {1, 2, 4}, 0},          /* key blocks a work-item     */
    {"VEC", 4, {4, 8}, 8},            /* channels at a time         */
    {NULL, 0, {0}, 0},
};
enum { WG, RM, CN };

static void key(const clgaze_problem *p, struct clg_text *text)
{
    clg_put(text, "f32 dg%d", clg_gate_dim(p));
}

static void define(const clgaze_problem *p, const int *values, struct clg_text *text)
{
    (void)values;
    clg_define(text, "PACKED", p->packed);
    clg_define(text, "DG", clg_gate_dim(p));
    clg_define(text, "CAUSAL", p->causal);
}

static const char *fits(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    (void)p;
    return (size_t)values[WG] > device->max_group ? "the device's work-groups are smaller than WG" : NULL;
}

static clgaze_status launch(struct clg_run *run)
{
    const clgaze_problem *p = run->p;
    const struct clg_sizes *n = &run->n;
    const clgaze_tensors *t = &run->t;
    const int *values = run->stage->values;
    const cl_ulong q_at = t->q_gated.offset, k_at = t->k_gated.offset, s_at = t->scores.offset;
    const cl_ulong seqs_from = clg_seqs_from(run);
    const cl_int sequences = n->sequences, sq = n->sq, sk = n->sk, rows = n->rows, blocks_k = n->blocks_k;
    const cl_int cols = n->cols, heads = p->q_heads, share = p->gate_double ? p->q_heads / p->kv_heads : 1;
    const cl_int block_q = p->block_q, block_k = p->block_k;
    const cl_float scale = 1.0f / sqrtf((float)clg_gate_dim(p));
    const size_t wg = (size_t)values[WG];
    const size_t items =
        (size_t)((n->rows_seq + values[RM] - 1) / values[RM]) * (size_t)((n->cols + values[CN] - 1) / values[CN]);
    const size_t groups[3] = {(items + wg - 1) / wg, (size_t)heads, (size_t)sequences}, local[3] = {wg, 1, 1};
    const struct clg_arg args[] = {CLG_ARG(t->q_gated.buffer),
                                   CLG_ARG(q_at),
                                   CLG_ARG(t->k_gated.buffer),
                                   CLG_ARG(k_at),
                                   CLG_ARG(t->scores.buffer),
                                   CLG_ARG(s_at),
                                   CLG_ARG(run->workspace),
                                   CLG_ARG(seqs_from),
                                   CLG_ARG(sequences),
                                   CLG_ARG(sq),
                                   CLG_ARG(sk),
                                   CLG_ARG(rows),
                                   CLG_ARG(blocks_k),
                                   CLG_ARG(cols),
                                   CLG_ARG(heads),
                                   CLG_ARG(share),
                                   CLG_ARG(block_q),
                                   CLG_ARG(block_k),
                                   CLG_ARG(scale)};

    return clg_enqueue(run, 0, groups, local, args, CLG_COUNT(args));
}

const struct clg_kernel clg_kernel_score = {
    .op = "score",
    .name = "score",
    .space = space,
    .sources = (const char *const[]){"common.cl", "score.cl", NULL},
    .entries = (const char *const[]){"score", NULL},
    .options = "",
    .key = key,
    .define = define,
    .fits = fits,
    .launch = launch,
};
