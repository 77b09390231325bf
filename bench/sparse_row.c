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

static int add_plan(struct work *w, clgaze_op op, clgaze_lists lists)
{
    clgaze_problem p = w->problem;
    int code;

    p.lists = lists;
    if ((code = bench_gaze(w->b, clgaze_plan_create(w->b->ctx, op, &p, &w->plans[w->n]))))
        return code;
    w->steps[w->n] = (struct step){.op = op, .plan = w->plans[w->n]};
    w->n++;
    return 0;
}

/* Which steps the row runs, and which of them it times beside dense attention. */
static int make_plans(struct work *w)
{
    static const clgaze_op stages[STAGES] = {CLGAZE_POOL, CLGAZE_GATE, CLGAZE_SCORE, CLGAZE_SELECT, CLGAZE_ATTEND};
    enum op op = w->o->op;
    clgaze_op alone = op == OP_TRUTH ? CLGAZE_TRUTH : op == OP_PREFILL ? CLGAZE_PREFILL : CLGAZE_ATTEND;
    int code = add_plan(w, CLGAZE_ATTEND, CLGAZE_LISTS_DENSE);

    w->gated = op != OP_TRUTH && (op != OP_ATTEND || w->o->pattern == REAL);
    if (!w->gated || op == OP_PREFILL)
        code = code ? code : add_plan(w, alone, CLGAZE_LISTS_BLOCKS);
    for (int i = 0; i < STAGES && w->gated && op != OP_PREFILL && !code; i++)
        code = add_plan(w, stages[i], CLGAZE_LISTS_BLOCKS);
    w->last = w->n - 1;
    w->first = op == OP_PIPELINE ? 1 : w->last;
    if (op < OP_ATTEND)
        w->first = w->last = 1 + (int)op;
    return code ? code : check_forced(w);
}

static void name_plans(const struct work *w)
{
    struct row *row = w->row;
    clgaze_op op = w->o->op == OP_PREFILL ? CLGAZE_ATTEND : w->steps[w->last].op;

    snprintf(row->dense_kernel, sizeof row->dense_kernel, "%s", clgaze_plan_kernel(w->plans[0], CLGAZE_ATTEND));
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

static int make_tensors(struct work *w)
{
    const struct row *row = w->row;
    clgaze_dtype dtype = (clgaze_dtype)w->o->dtype;
    clgaze_tensors t = {0};
    int code;

    t.q = clgaze_tensor_bshd(w->data->q, 0, dtype, 1, row->seq, row->heads, row->head_dim);
    t.k = clgaze_tensor_bshd(w->data->k, 0, dtype, 1, row->seq, row->kv_heads, row->head_dim);
    t.v = clgaze_tensor_bshd(w->data->v, 0, dtype, 1, row->seq, row->kv_heads, row->head_dim);
    t.out = clgaze_tensor_bshd(w->data->out, 0, dtype, 1, row->seq, row->heads, row->head_dim);
    if ((code = make_workspace(w)))
        return code;
    w->steps[0].tensors = t;
    if (w->o->op == OP_TRUTH)
        code = make_tensor(w, &t.truth, "truth", CLGAZE_F32, 4, (int64_t[]){1, row->heads, w->rows, w->rows});
    else
        code = w->gated ? make_gate(w, &t) : make_lists(w, &t);
    for (int i = 1; i < w->n; i++)
        w->steps[i].tensors = t;
    return code;
}

/* ---- is it right? ---- */

/* Is `error` small enough?  If not, the row says so. */
static void judge(const struct work *w, const char *which, double error)
{
    struct row *row = w->row;
    double allowed = check_tolerance((clgaze_dtype)w->o->dtype);

    row->error = error > row->error || isnan(error) ? significant(error, 3) : row->error;
    if (error <= allowed)
        return;
    row->state = ROW_FAILED;
    snprintf(row->note, sizeof row->note, "%s is off by %.3g, more than %.3g", which, error, allowed);
}

static int run_checked(struct work *w)
{
    bool truth = w->o->op == OP_TRUTH;
    double error;
    int code;

    if ((code = bench_run(w->b, &w->steps[0])) ||
        (code = check_rows(w->b, w->o, w->data, w->row->block, NULL, &error)))
        return code;
    judge(w, "dense attention", error);
    for (int i = 1; i < w->n; i++)
        if ((code = bench_run(w->b, &w->steps[i])))
            return code;
    if (w->gated && (code = read_lists(w)))
        return code;
    code = truth ? check_truth(w, &w->steps[1].tensors.truth, &error)
                 : check_rows(w->b, w->o, w->data, w->row->block, &w->lists, &error);
    if (code)
        return code;
    judge(w, truth ? "truth" : "block-sparse attention", error);
    w->row->kept = truth ? 1 : significant(lists_kept(&w->lists) / lists_visible(&w->lists), 6);
    return 0;
}

/* ---- flops ---- */

/* Pairs of a query and a key that it sees, in the lists. */
static double seen_pairs(const struct lists *l, int block, int seq)
{
    double sum = 0;

    for (int at = 0; at < l->heads * l->rows; at++) {
        int i = at % l->rows, n = l->counts[at], tokens = seq - i * block < block ? seq - i * block : block;
        const int32_t *list = l->blocks + (size_t)at * (size_t)l->width;
        bool diagonal = n > 0 && list[n - 1] == i;

        sum += (double)(n - diagonal) * tokens * block + (diagonal ? tokens * (tokens + 1.0) / 2 : 0);
    }
    return sum;
}

/* What the operation must compute; `whole`: kept blocks counted whole, as the
 * field counts them, else only pairs that causal attention sees. */
static double flops_of(const struct work *w, bool whole)
{
    const struct row *row = w->row;
    double d = row->head_dim, pair = 4 * d, block = (double)row->block * row->block;
    double visible = row->heads * w->rows * (w->rows + 1.0) / 2, seq = row->seq;

    switch (w->o->op) {
    case OP_POOL:
    case OP_SELECT:
        return 0;
    case OP_GATE:
        return 2 * d * d * w->rows * (3 * (w->problem.gate_double ? row->kv_heads : row->heads)) +
               (w->problem.gate_double ? 2 * d * d * w->rows * row->heads : 0);
    case OP_SCORE:
        return 2 * d * visible;
    case OP_TRUTH:
        return pair * (whole ? visible * block : row->heads * seq * (seq + 1) / 2);
    default:
        return pair * (whole ? lists_kept(&w->lists) * block : seen_pairs(&w->lists, row->block, row->seq));
    }
}

/* ---- times ---- */

static struct stats rounded(struct stats s)
{
    return (struct stats){significant(s.median, 6), significant(s.min, 6), significant(s.max, 6),
                          significant(s.q1, 6), significant(s.q3, 6)};
}

static void take_times(const struct work *w, const struct samples *s)
{
    struct row *row = w->row;
    double visible = row->heads * w->rows * (w->rows + 1.0) / 2;
    double dense = 4.0 * row->block * row->block * row->head_dim * visible;

    row->rounds = s->rounds;
    row->clock = s->host > 0 ? significant(s->device / s->host, 3) : 0;
    row->dense = rounded(samples_stats(s, 0, 0));
    row->ms = rounded(samples_stats(s, 1, s->steps - 1));
    for (int i = 1; i < s->steps && (w->gated || w->o->op == OP_ATTEND) && w->o->op != OP_PREFILL; i++)
        row->stage[w->gated ? w->first + i - 2 : STAGES - 1] = significant(samples_stats(s, i, i).median, 6);
    row->gflops = significant(flops_of(w, true) / row->ms.median * 1e-6, 6);
    row->dense_gflops = significant(dense / row->dense.median * 1e-6, 6);
    row->speedup = significant(row->dense.median / row->ms.median, 6);
    if (w->o->op >= OP_ATTEND && w->o->op != OP_TRUTH)
        row->ideal = significant(row->speedup * row->kept, 6);
    if (row->peak > 0 && !strstr(row->kernel, "mma")) /* matrix units have another peak */
        row->of_peak = significant(flops_of(w, false) / row->ms.median * 1e-6 / row->peak, 6);
}

/* The peak is that of the moment: before the row, in its midst and after it. */
static int time_steps(struct work *w, struct peak *peak)
{
    struct step timed[1 + STAGES] = {w->steps[0]};
    struct samples samples = {0};
    double before = 0, after = 0;
    int n = 1, code;

    for (int i = w->first; i <= w->last; i++)
        timed[n++] = w->steps[i];
    if (!(code = peak_now(w->b, peak, &before)) && !(code = bench_time(w->b, timed, n, w->o->min_time, &samples)) &&
        !(code = peak_now(w->b, peak, &after))) {
        w->row->peak = fmax(before, after);
        take_times(w, &samples);
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
    if ((code = make_tensors(w)) || (code = run_checked(w)) || w->row->state == ROW_FAILED)
        return code;
    return time_steps(w, peak);
}

int row_measure(struct bench *b, const struct options *o, const struct data *data, struct peak *peak, struct row *row)
{
    struct work w = {.b = b, .o = o, .data = data, .row = row, .rows = (row->seq + row->block - 1) / row->block};
    int code;

    w.problem = row_problem(o, row);
    code = measure(&w, peak);
    for (int i = 0; i <= STAGES; i++)
        clgaze_plan_free(w.plans[i]);
    for (int i = 0; i < w.mems; i++)
        bench_release(b, &w.mem[i]);
    lists_free(&w.lists);
    return code;
}
