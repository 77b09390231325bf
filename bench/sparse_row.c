/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sparse_row.c: plans, buffers and times of a row.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "sparse.h"

const char *const stage_names[STAGES] = {"pool", "gate", "score", "select", "attend"};

/* ---- what all rows of one shape share ---- */

int data_make(struct bench *b, const struct options *o, struct data *d)
{
    size_t size = clgaze_dtype_size((clgaze_dtype)o->dtype);
    size_t nq = (size_t)d->seq * (size_t)d->heads * (size_t)d->head_dim;
    size_t nk = (size_t)d->seq * (size_t)d->kv_heads * (size_t)d->head_dim;
    int code;

    (void)((code = bench_buffer(b, nq * size, "q", &d->q)) || (code = bench_buffer(b, nk * size, "k", &d->k)) ||
           (code = bench_buffer(b, nk * size, "v", &d->v)) || (code = bench_buffer(b, nq * size, "out", &d->out)) ||
           (code = input_fill(b, o, d, SEED_Q, d->q)) || (code = input_fill(b, o, d, SEED_K, d->k)) ||
           (code = input_fill(b, o, d, SEED_V, d->v)));
    return code;
}

void data_free(struct bench *b, struct data *data)
{
    bench_release(b, &data->q);
    bench_release(b, &data->k);
    bench_release(b, &data->v);
    bench_release(b, &data->out);
}

/* ---- plans ---- */

clgaze_problem row_problem(const struct options *o, const struct row *row)
{
    clgaze_problem p = o->problem;

    p.dtype = (clgaze_dtype)o->dtype;
    p.q_heads = row->heads;
    p.kv_heads = row->kv_heads;
    p.head_dim = row->head_dim;
    p.block_q = p.block_k = row->block;
    p.max_q = p.max_k = row->seq;
    if (!o->input)
        p.rope_pairs = row->head_dim / 2;
    p.value = row->value;
    p.kernel = o->kernel;
    p.lse = o->op == OP_ATTEND_BWD;
    if (o->op == OP_DISTILL) /* weights that learn are f32 */
        p.weight_dtype = CLGAZE_F32;
    return p;
}

/* A forced strategy must serve one of the operations that run. */
static int check_forced(const struct work *w)
{
    const char *forced = w->o->kernel;
    size_t length = forced ? strcspn(forced, " ") : 0;

    for (int i = 0; i < w->n && forced; i++) {
        const char *name = clgaze_plan_kernel(w->plans[i], w->steps[i].op);

        if (name && strncmp(name, forced, length) == 0 && (name[length] == ' ' || name[length] == '\0'))
            return 0;
    }
    return forced ? fail(EXIT_INPUT, "--kernel %.40s serves none of the operations that run here", forced) : 0;
}

/* What an operation runs: its dense yardstick, which is the last of the first `dense` steps, what makes its
 * inputs, and itself. */
static const struct recipe {
    int dense, n;
    clgaze_op ops[MAX_WORK];
} listed = {1, 2, {CLGAZE_ATTEND, CLGAZE_ATTEND}},
  gated = {1, 6, {CLGAZE_ATTEND, CLGAZE_POOL, CLGAZE_GATE, CLGAZE_SCORE, CLGAZE_SELECT, CLGAZE_ATTEND}},
  prefill = {1, 2, {CLGAZE_ATTEND, CLGAZE_PREFILL}}, truth = {1, 2, {CLGAZE_ATTEND, CLGAZE_TRUTH}},
  distill = {1, 4, {CLGAZE_ATTEND, CLGAZE_POOL, CLGAZE_TRUTH, CLGAZE_DISTILL}},
  attend_bwd = {2, 4, {CLGAZE_ATTEND, CLGAZE_ATTEND_BWD, CLGAZE_ATTEND, CLGAZE_ATTEND_BWD}};

static const struct recipe *recipe_of(const struct options *o)
{
    static const struct recipe *const others[OPS] = {
        [OP_ATTEND] = &listed, [OP_TRUTH] = &truth, [OP_DISTILL] = &distill, [OP_ATTEND_BWD] = &attend_bwd};

    return o->op == OP_PREFILL ? &prefill : op_gated(o) ? &gated : others[o->op];
}

/* Which steps the row runs, and which of them it times beside the dense one. */
static int make_plans(struct work *w)
{
    const struct recipe *r = recipe_of(w->o);
    enum op op = w->o->op;
    int code = 0;

    w->gated = op_gated(w->o);
    w->dense = r->dense - 1;
    for (; w->n < r->n && !code; w->n += !code) {
        clgaze_problem p = w->problem;

        p.lists = w->n < r->dense ? CLGAZE_LISTS_DENSE : CLGAZE_LISTS_BLOCKS;
        code = bench_gaze(w->b, clgaze_plan_create(w->b->ctx, r->ops[w->n], &p, &w->plans[w->n]));
        w->steps[w->n] = (struct step){.op = r->ops[w->n], .plan = w->plans[w->n]};
    }
    w->last = op < OP_ATTEND ? 1 + (int)op : r->n - 1;
    w->first = op == OP_PIPELINE ? 1 : w->last;
    return code ? code : check_forced(w);
}

static void name_plans(const struct work *w)
{
    struct row *row = w->row;
    clgaze_op op = w->o->op == OP_PREFILL ? CLGAZE_ATTEND : w->steps[w->last].op;

    snprintf(row->dense_kernel, sizeof row->dense_kernel, "%s",
             clgaze_plan_kernel(w->plans[w->dense], w->steps[w->dense].op));
    snprintf(row->kernel, sizeof row->kernel, "%s", clgaze_plan_kernel(w->plans[w->last], op));
    snprintf(row->reason, sizeof row->reason, "%s", clgaze_plan_reason(w->plans[w->last], op));
}

/* ---- tensors ---- */

int make_tensor(struct work *w, clgaze_tensor *t, const char *name, clgaze_dtype dtype, int rank,
                const int64_t *shape)
{
    size_t bytes = clgaze_dtype_size(dtype);
    int code;

    for (int i = 0; i < rank; i++)
        bytes *= (size_t)shape[i];
    if ((code = bench_buffer(w->b, bytes, name, &w->mem[w->mems])))
        return code;
    *t = clgaze_tensor_compact(w->mem[w->mems++], 0, dtype, rank, shape);
    return 0;
}

static int make_workspace(struct work *w)
{
    size_t most = 0;
    int code;

    for (int i = 0; i < w->n; i++)
        if (clgaze_plan_workspace(w->plans[i]) > most)
            most = clgaze_plan_workspace(w->plans[i]);
    if ((code = bench_buffer(w->b, most, "the workspace", &w->mem[w->mems])))
        return code;
    for (int i = 0; i < w->n; i++)
        w->steps[i].workspace = w->mem[w->mems];
    w->mems += most > 0;
    return 0;
}

/* What attend_bwd reads and writes; the dense steps and the others have an out and an lse each. */
static int make_gradients(struct work *w, const clgaze_tensors *dense, clgaze_tensors *t)
{
    const int64_t *q = t->q.shape, *k = t->k.shape, lse[] = {1, q[2], q[1]};
    clgaze_tensors *own[2] = {&w->steps[0].tensors, t};
    int code = 0;

    for (int i = 0; i < 2 && !code; i++)
        code = make_tensor(w, &own[i]->lse, "lse", CLGAZE_F32, 3, lse);
    (void)(code || (code = make_tensor(w, &t->out, "out", t->q.dtype, 4, q)) ||
           (code = make_tensor(w, &t->dout, "dout", t->q.dtype, 4, q)) ||
           (code = make_tensor(w, &t->dq, "dq", t->q.dtype, 4, q)) ||
           (code = make_tensor(w, &t->dk, "dk", t->q.dtype, 4, k)) ||
           (code = make_tensor(w, &t->dv, "dv", t->q.dtype, 4, k)) ||
           (code = bench_fill(w->b, t->dout.buffer, (size_t)(q[1] * q[2] * q[3]), t->q.dtype, SEED_DOUT, 1)));
    w->steps[1].tensors = *t;
    w->steps[1].tensors.out = dense->out;
    w->steps[1].tensors.lse = w->steps[0].tensors.lse;
    return code;
}

clgaze_tensors data_tensors(const struct options *o, const struct data *d)
{
    clgaze_dtype dtype = (clgaze_dtype)o->dtype;

    return (clgaze_tensors){.q = clgaze_tensor_bshd(d->q, 0, dtype, 1, d->seq, d->heads, d->head_dim),
                            .k = clgaze_tensor_bshd(d->k, 0, dtype, 1, d->seq, d->kv_heads, d->head_dim),
                            .v = clgaze_tensor_bshd(d->v, 0, dtype, 1, d->seq, d->kv_heads, d->head_dim),
                            .out = clgaze_tensor_bshd(d->out, 0, dtype, 1, d->seq, d->heads, d->head_dim)};
}

static int make_tensors(struct work *w)
{
    const clgaze_tensors dense = data_tensors(w->o, w->data);
    clgaze_tensors t = dense;
    enum op op = w->o->op;
    int code;

    if ((code = make_workspace(w)))
        return code;
    for (int i = 0; i <= w->dense; i++)
        w->steps[i].tensors = dense;
    if (op == OP_TRUTH || op == OP_DISTILL)
        code = make_tensor(w, &t.truth, "truth", CLGAZE_F32, 4, (int64_t[]){1, w->row->heads, w->rows, w->rows});
    if (op == OP_DISTILL)
        code = code ? code : make_lesson(w, &t);
    else if (op == OP_ATTEND_BWD)
        code = make_gradients(w, &dense, &t);
    if (!code && w->gated)
        code = make_gate(w, &t);
    else if (!code && op != OP_TRUTH && op != OP_DISTILL)
        code = make_lists(w, &t);
    for (int i = w->dense + 1; i < w->n; i++)
        w->steps[i].tensors = t;
    return code;
}

/* ---- is it right? ---- */

/* Run steps first .. last and check the results of those that ended something; a wrong one makes the row FAILED. */
static int run_checked(struct work *w, int first, int last)
{
    const struct lists *lists = first > w->dense ? &w->lists : NULL;
    int code = 0;

    for (int i = first; i <= last && !code; i++)
        code = bench_run(w->b, &w->steps[i]);
    if (!code && lists && w->gated)
        code = read_lists(w);
    for (int i = first; i <= last && !code && w->row->state == ROW_DONE; i++) {
        struct verdict v = {.allowed = check_tolerance((clgaze_dtype)w->o->dtype)};

        if ((code = check_step(w, &w->steps[i], lists, &v)))
            break;
        w->row->error = v.error > w->row->error || isnan(v.error) ? significant(v.error, 3) : w->row->error;
        if (v.error <= v.allowed)
            continue;
        w->row->state = ROW_FAILED;
        snprintf(w->row->note, sizeof w->row->note, "%s%s is off by %.3g, more than %.3g", lists ? "" : "dense ",
                 v.what, v.error, v.allowed);
    }
    return code;
}

static int check(struct work *w)
{
    int code = run_checked(w, 0, w->dense);

    if (!code && w->row->state == ROW_DONE)
        code = run_checked(w, w->dense + 1, w->n - 1);
    if (!code && w->row->state == ROW_DONE)
        w->row->kept = w->lists.counts ? significant(lists_kept(&w->lists) / lists_visible(&w->lists), 6) : 1;
    return code;
}

/* ---- times ---- */

static struct stats rounded(struct stats s)
{
    return (struct stats){significant(s.median, 6), significant(s.min, 6), significant(s.max, 6),
                          significant(s.q1, 6), significant(s.q3, 6)};
}

static void take_times(const struct work *w, const struct samples *s, const struct peak *peak)
{
    struct row *row = w->row;
    double dense = 4.0 * row->block * row->block * row->head_dim * row->heads * w->rows * (w->rows + 1.0) / 2;
    double per_ms;

    row->rounds = s->rounds;
    row->clock = s->host > 0 ? significant(s->device / s->host, 3) : 0;
    row->dense = rounded(samples_stats(s, 0, 0));
    row->ms = rounded(samples_stats(s, 1, s->steps - 1));
    per_ms = 1e-6 / row->ms.median;
    for (int i = 1; i < s->steps && (w->gated || w->o->op == OP_ATTEND) && w->o->op != OP_PREFILL; i++)
        row->stage[w->gated ? w->first + i - 2 : STAGES - 1] = significant(samples_stats(s, i, i).median, 6);
    row->gflops = significant(cost_flops(w, true) * per_ms, 6);
    row->dense_gflops = significant((w->dense ? BACKWARD / 2. : 1) * dense / row->dense.median * 1e-6, 6);
    row->speedup = significant(row->dense.median / row->ms.median, 6);
    if (w->o->op == OP_ATTEND || w->o->op == OP_PIPELINE || w->o->op == OP_PREFILL || w->o->op == OP_ATTEND_BWD)
        row->ideal = significant(row->speedup * row->kept, 6);
    if (row->peak > 0 && !strstr(row->kernel, "_nv")) /* matrix units have another peak */
        row->of_peak = significant(cost_flops(w, false) * per_ms / row->peak, 6);
    row->gbytes = significant(cost_bytes(w) * per_ms, 6);
    if (peak->gbytes > 0)
        row->of_copy = significant(row->gbytes / peak->gbytes, 6);
}

/* The peak is that of the moment: before the row, in its midst and after it. */
static int time_steps(struct work *w, struct peak *peak)
{
    struct step timed[MAX_WORK] = {w->steps[w->dense]};
    struct samples samples = {0};
    double before = 0, after = 0;
    int n = 1, code;

    for (int i = w->first; i <= w->last; i++)
        timed[n++] = w->steps[i];
    if (!(code = peak_now(w->b, peak, &before)) && !(code = bench_time(w->b, timed, n, w->o->min_time, &samples)) &&
        !(code = peak_now(w->b, peak, &after))) {
        w->row->peak = fmax(before, after);
        take_times(w, &samples, peak);
    }
    samples_free(&samples);
    return code;
}

static int measure(struct work *w, struct peak *peak)
{
    int code;

    if ((code = make_plans(w)))
        return code;
    name_plans(w);
    if ((code = make_tensors(w)) || (code = check(w)) || w->row->state == ROW_FAILED)
        return code;
    return time_steps(w, peak);
}

int row_measure(struct bench *b, const struct options *o, const struct data *data, struct peak *peak, struct row *row)
{
    struct work w = {.b = b, .o = o, .data = data, .row = row, .rows = (row->seq + row->block - 1) / row->block};
    int code;

    w.problem = row_problem(o, row);
    code = measure(&w, peak);
    for (int i = 0; i < w.n; i++)
        clgaze_plan_free(w.plans[i]);
    for (int i = 0; i < w.mems; i++)
        bench_release(b, &w.mem[i]);
    lists_free(&w.lists);
    return code;
}
