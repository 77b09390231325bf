/* SPDX-License-Identifier: Apache-2.0 */
/*
 * distill.c: launcher of cl/distill.cl, for any device.
 *
 * A plan holds gate and score too.  This stage gets the scores of a slice of rows
 * in the workspace; after the last slice it makes loss and gradients of the whole.
 */
#include <math.h>

#include "gate.h"

enum { ROW, LOSS, Q_SIDE, K_SIDE, WEIGHTS, ROPE, UPDATE }; /* entries */

static const struct clg_param space[] = {
    {"WG", 64, {32, 64, 128, 256}}, /* work-items in a group */
    {"RM", 4, {1, 2, 4, 8}},        /* rows a work-item      */
    {"VEC", 8, {4, 8}},             /* channels a work-item  */
    {NULL, 0, {0}},
};
enum { WG, RM, VEC };

static void key(const clgaze_problem *p, struct clg_text *text)
{
    clg_put(text, "f32 d%d dg%d %s", p->head_dim, clg_gate_dim(p), p->gate_double ? "double" : "single");
}

static void define(const clgaze_problem *p, const int *values, struct clg_text *text)
{
    (void)values;
    clg_define(text, "PACKED", p->packed);
    clg_define(text, "DG", clg_gate_dim(p));
    clg_define(text, "INTERLEAVED", p->rope_interleaved);
    clg_define(text, "CAUSAL", p->causal);
}

static const char *fits(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    (void)p;
    return (size_t)values[WG] > device->max_group ? "the device's work-groups are smaller than WG" : NULL;
}

/* ---- room of its own ------------------------------------------------------------ */

/* Gradients of q_gated and k_gated, and the loss of each row. */
struct room {
    size_t dq, dk, losses, end; /* bytes from its beginning */
};

static struct room room_of(const clgaze_problem *p)
{
    const size_t batch = p->packed ? 1 : (size_t)p->max_batch, rows = (size_t)clg_max_rows(p) * batch;
    const size_t gated = sizeof(cl_float) * (size_t)clg_gate_dim(p), heads = (size_t)p->q_heads;
    const size_t k_heads = (size_t)(p->gate_double ? p->kv_heads : p->q_heads);
    struct room r = {0, 0, 0, 0};

    r.dk = CLG_ALIGN(p->gate_double ? rows * heads * gated : 0);
    r.losses = r.dk + CLG_ALIGN((size_t)clg_max_blocks_k(p) * batch * k_heads * gated);
    r.end = r.losses + rows * heads * sizeof(cl_float);
    return r;
}

static clgaze_status prepare(clgaze_context *ctx, const clgaze_problem *p, struct clg_stage *stage)
{
    (void)ctx;
    stage->workspace = room_of(p).end;
    return CLGAZE_OK;
}

/* Floats into the workspace. */
static cl_ulong at(const struct clg_run *run, enum clg_place place, size_t bytes)
{
    return (run->base + run->plan->at[place] + bytes) / sizeof(cl_float);
}

/* ---- a slice of rows --------------------------------------------------------------- */

static clgaze_status enqueue_rows(struct clg_run *run)
{
    const clgaze_problem *p = run->p;
    const struct clg_sizes *n = &run->n;
    const cl_ulong scores_at = at(run, CLG_AT_SCORES, 0), truth_at = run->t.truth.offset;
    const cl_ulong losses_at = at(run, CLG_AT_STAGE, room_of(p).losses), seqs_from = clg_seqs_from(run);
    const cl_int sequences = n->sequences, sq = n->sq, sk = n->sk, rows = n->rows, cols = n->seen;
    const cl_int truth_cols = n->cols, heads = p->q_heads, block_q = p->block_q, block_k = p->block_k,
                 first = n->first, count = n->count;
    const cl_float scale = 1.0f / sqrtf((float)clg_gate_dim(p));
    const size_t groups[3] = {(size_t)clg_slice_rows_seq(n), (size_t)heads, (size_t)sequences};
    const size_t local[3] = {(size_t)run->stage->values[WG], 1, 1};
    const struct clg_arg args[] = {CLG_ARG(run->workspace),
                                   CLG_ARG(scores_at),
                                   CLG_ARG(run->t.truth.buffer),
                                   CLG_ARG(truth_at),
                                   CLG_ARG(run->workspace),
                                   CLG_ARG(losses_at),
                                   CLG_ARG(run->workspace),
                                   CLG_ARG(seqs_from),
                                   CLG_ARG(sequences),
                                   CLG_ARG(sq),
                                   CLG_ARG(sk),
                                   CLG_ARG(rows),
                                   CLG_ARG(cols),
                                   CLG_ARG(truth_cols),
                                   CLG_ARG(heads),
                                   CLG_ARG(block_q),
                                   CLG_ARG(block_k),
                                   CLG_ARG(first),
                                   CLG_ARG(count),
                                   CLG_ARG(scale)};

    return clg_enqueue(run, ROW, groups, local, args, CLG_COUNT(args));
}

/* Work-groups of a product: RM x VEC numbers an item. */
static size_t groups_of(const struct clg_run *run, int rows)
{
    const int *values = run->stage->values;
    const size_t wg = (size_t)values[WG], row_tiles = (size_t)((rows + values[RM] - 1) / values[RM]);

    return (row_tiles * (size_t)(clg_gate_dim(run->p) / values[VEC]) + wg - 1) / wg;
}

/* Gradients of one side's gated blocks: those of the scores times the other side. */
static clgaze_status enqueue_side(struct clg_run *run, int entry)
{
    const clgaze_problem *p = run->p;
    const struct clg_sizes *n = &run->n;
    const struct room room = room_of(p);
    const bool keys = entry == K_SIDE;
    const cl_ulong scores_at = at(run, CLG_AT_SCORES, 0), seqs_from = clg_seqs_from(run);
    const cl_ulong x_at = at(run, keys ? CLG_AT_Q_GATED : CLG_AT_K_GATED, 0);
    const cl_ulong d_at = at(run, CLG_AT_STAGE, keys ? room.dk : room.dq);
    const cl_int sequences = n->sequences, sq = n->sq, sk = n->sk, rows = n->rows, blocks_k = n->blocks_k;
    const cl_int cols = n->seen, heads = p->q_heads, share = p->gate_double ? p->q_heads / p->kv_heads : 1;
    const cl_int block_q = p->block_q, block_k = p->block_k, first = n->first, count = n->count;
    const size_t groups[3] = {groups_of(run, keys ? n->blocks_k_seq : clg_slice_rows_seq(n)),
                              (size_t)(keys ? heads / share : heads), (size_t)sequences};
    const size_t local[3] = {(size_t)run->stage->values[WG], 1, 1};
    const struct clg_arg args[] = {CLG_ARG(run->workspace),
                                   CLG_ARG(scores_at),
                                   CLG_ARG(run->workspace),
                                   CLG_ARG(x_at),
                                   CLG_ARG(run->workspace),
                                   CLG_ARG(d_at),
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
                                   CLG_ARG(first),
                                   CLG_ARG(count)};

    return clg_enqueue_long(run, entry, groups, local, args, CLG_COUNT(args),
                            (double)count * cols * clg_gate_dim(p) * heads * sequences);
}

/* ---- the whole ------------------------------------------------------------------------ */

static clgaze_status enqueue_loss(struct clg_run *run)
{
    const struct clg_sizes *n = &run->n;
    const cl_ulong losses_at = at(run, CLG_AT_STAGE, room_of(run->p).losses), loss_at = run->t.loss.offset;
    const cl_ulong seqs_from = clg_seqs_from(run);
    const cl_int sequences = n->sequences, sq = n->sq, rows = n->rows, block_q = run->p->block_q;
    const cl_int head_rows = n->batch * run->p->q_heads * n->rows;
    const size_t groups[3] = {1, 1, 1}, local[3] = {(size_t)run->stage->values[WG], 1, 1};
    const struct clg_arg args[] = {CLG_ARG(run->workspace),
                                   CLG_ARG(losses_at),
                                   CLG_ARG(run->t.loss.buffer),
                                   CLG_ARG(loss_at),
                                   CLG_ARG(run->workspace),
                                   CLG_ARG(seqs_from),
                                   CLG_ARG(sequences),
                                   CLG_ARG(sq),
                                   CLG_ARG(rows),
                                   CLG_ARG(head_rows),
                                   CLG_ARG(block_q)};

    return clg_enqueue(run, LOSS, groups, local, args, CLG_COUNT(args));
}

/* One side's matrix: what its gradient is, and what learns by it. */
struct matrix {
    const clgaze_tensor *w, *dw, *moments;
    size_t dy; /* bytes into the stage's room */
};

static struct matrix matrix_of(const struct clg_run *run, bool keys)
{
    const clgaze_tensors *t = &run->t;
    const struct room room = room_of(run->p);
    const struct matrix k = {&t->w_k, &t->dw_k, &t->moments_k, room.dk},
                        q = {&t->w_q, &t->dw_q, &t->moments_q, room.dq};

    return keys ? k : q;
}

static clgaze_status enqueue_weights(struct clg_run *run, const struct clg_gate_side *s, const struct matrix *m,
                                     cl_int side)
{
    const struct clg_sizes *n = &run->n;
    const cl_ulong x_at = s->x->offset, dy_at = at(run, CLG_AT_STAGE, m->dy), dw_at = m->dw->offset;
    const cl_ulong seqs_from = clg_seqs_from(run);
    const cl_int sequences = n->sequences, sq = n->sq, sk = n->sk;
    const size_t groups[3] = {groups_of(run, s->k), (size_t)s->heads, 1};
    const size_t local[3] = {(size_t)run->stage->values[WG], 1, 1};
    const struct clg_arg args[] = {CLG_ARG(s->x->buffer),
                                   CLG_ARG(x_at),
                                   CLG_ARG(run->workspace),
                                   CLG_ARG(dy_at),
                                   CLG_ARG(m->dw->buffer),
                                   CLG_ARG(dw_at),
                                   CLG_ARG(run->workspace),
                                   CLG_ARG(seqs_from),
                                   CLG_ARG(sequences),
                                   CLG_ARG(sq),
                                   CLG_ARG(sk),
                                   CLG_ARG(s->rows),
                                   CLG_ARG(s->heads),
                                   CLG_ARG(s->share),
                                   CLG_ARG(s->k),
                                   CLG_ARG(side),
                                   CLG_ARG(s->block)};

    return clg_enqueue_long(run, WEIGHTS, groups, local, args, CLG_COUNT(args), clg_gate_macs(run, s));
}

static clgaze_status enqueue_update(struct clg_run *run, const struct clg_gate_side *s, const struct matrix *m)
{
    static const clgaze_adamw none = {.step = 1};
    const clgaze_adamw *o = run->update ? run->update : &none; /* none: warming */
    const double one = 1 - pow(o->beta1, (double)o->step), two = 1 - pow(o->beta2, (double)o->step);
    const cl_float2 first = {{(cl_float)o->beta1, (cl_float)(1 - o->beta1)}};
    const cl_float2 second = {{(cl_float)o->beta2, (cl_float)(1 - o->beta2)}};
    const cl_float keep = (cl_float)(1 - o->lr * o->weight_decay), rate = (cl_float)(o->lr / one);
    const cl_float root = (cl_float)(1 / sqrt(two)), eps = (cl_float)o->eps;
    const cl_ulong w_at = m->w->offset, dw_at = m->dw->offset, m_at = m->moments->offset, l_at = run->t.loss.offset;
    const cl_ulong n = run->warming ? 0 : (cl_ulong)s->heads * (cl_ulong)s->k * (cl_ulong)clg_gate_dim(run->p);
    const size_t wg = (size_t)run->stage->values[WG], groups[3] = {(size_t)((n + wg - 1) / wg), 1, 1},
                 local[3] = {wg, 1, 1};
    const struct clg_arg args[] = {CLG_ARG(m->w->buffer),
                                   CLG_ARG(w_at),
                                   CLG_ARG(m->dw->buffer),
                                   CLG_ARG(dw_at),
                                   CLG_ARG(m->moments->buffer),
                                   CLG_ARG(m_at),
                                   CLG_ARG(run->t.loss.buffer),
                                   CLG_ARG(l_at),
                                   CLG_ARG(n),
                                   CLG_ARG(first),
                                   CLG_ARG(second),
                                   CLG_ARG(keep),
                                   CLG_ARG(rate),
                                   CLG_ARG(root),
                                   CLG_ARG(eps)};

    return clg_enqueue(run, UPDATE, groups, local, args, CLG_COUNT(args));
}

/* Gradients of the gated blocks before RoPE; without w_q what it makes of the queries is nobody's. */
static clgaze_status turn_back(struct clg_run *run)
{
    const clgaze_problem *p = run->p;
    struct clg_gate_side sides[] = {clg_gate_side(run, false), clg_gate_side(run, true)};
    const enum clg_place q_place = p->gate_double ? CLG_AT_STAGE : CLG_AT_Q_GATED;
    clgaze_tensor dy[2];

    for (int keys = 0; keys < 2; keys++) {
        const struct matrix m = matrix_of(run, keys);
        const int64_t shape[4] = {run->n.batch, sides[keys].rows, sides[keys].heads, clg_gate_dim(p)};

        dy[keys] = clg_scratch(run, keys ? CLG_AT_STAGE : q_place, m.dy, CLGAZE_F32, 4, shape);
        sides[keys].y = &dy[keys];
    }
    return clg_gate_turn(run, ROPE, &sides[0], &sides[1], 2, true);
}

/* From the gradients of the gated blocks to those of the matrix, and to the matrix. */
static clgaze_status teach(struct clg_run *run, bool keys)
{
    const struct clg_gate_side s = clg_gate_side(run, keys);
    const struct matrix m = matrix_of(run, keys);
    clgaze_status st = enqueue_weights(run, &s, &m, keys);

    return st == CLGAZE_OK && (run->update || run->warming) ? enqueue_update(run, &s, &m) : st;
}

static clgaze_status launch(struct clg_run *run)
{
    const struct clg_sizes *n = &run->n;
    const bool twice = run->p->gate_double;
    clgaze_status st = CLGAZE_OK;

    TRY(enqueue_rows(run));
    if (twice || run->warming)
        TRY(enqueue_side(run, Q_SIDE));
    TRY(enqueue_side(run, K_SIDE));
    if (n->first + n->count < n->rows) /* more slices follow */
        goto out;
    TRY(enqueue_loss(run));
    if (run->p->rope_pairs || run->warming)
        TRY(turn_back(run));
    TRY(teach(run, true));
    if (twice)
        TRY(teach(run, false));
out:
    return st;
}

const struct clg_kernel clg_kernel_distill = {
    .op = "distill",
    .name = "distill",
    .space = space,
    .sources = (const char *const[]){"common.cl", "meet.cl", "distill.cl", "rope.cl", NULL},
    .entries = (const char *const[]){"distill_row", "distill_loss", "distill_q", "distill_k", "distill_w", "rope",
                                     "distill_update", NULL},
    .options = "",
    .key = key,
    .define = define,
    .fits = fits,
    .prepare = prepare,
    .launch = launch,
};
