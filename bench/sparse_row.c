/*
 * sparse_row.c: plans, buffers and times of a row.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "sparse.h"

const char *const stage_names[STAGES] = {"pool", "gate", "score", "select", "attend"};

static const clgaze_op ops[STAGES] = {CLGAZE_POOL, CLGAZE_GATE, CLGAZE_SCORE, CLGAZE_SELECT, CLGAZE_ATTEND};

/* The gate's pools: queries avg; keys max, min, avg. */
enum { Q_POOLS = 1, K_POOLS = 3, MAX_MEMS = 16 };

/* ---- what all rows of one length share ---- */

int data_make(struct bench *b, const struct options *o, int seq, struct data *data)
{
    clgaze_dtype dtype = (clgaze_dtype)o->dtype;
    size_t nq = (size_t)seq * (size_t)o->heads * (size_t)o->head_dim;
    size_t nk = (size_t)seq * (size_t)o->kv_heads * (size_t)o->head_dim, size = clgaze_dtype_size(dtype);
    int code;

    *data = (struct data){.seq = seq};
    (void)((code = bench_buffer(b, nq * size, "q", &data->q)) || (code = bench_buffer(b, nk * size, "k", &data->k)) ||
           (code = bench_buffer(b, nk * size, "v", &data->v)) ||
           (code = bench_buffer(b, nq * size, "out", &data->out)) ||
           (code = bench_fill(b, data->q, nq, dtype, SEED_Q, 1)) ||
           (code = bench_fill(b, data->k, nk, dtype, SEED_K, 1)) ||
           (code = bench_fill(b, data->v, nk, dtype, SEED_V, 1)));
    return code;
}

void data_free(struct bench *b, struct data *data)
{
    bench_release(b, &data->q);
    bench_release(b, &data->k);
    bench_release(b, &data->v);
    bench_release(b, &data->out);
}

/* ---- one row ---- */

/* steps[0] is dense attention, then come the row's own. */
struct work {
    struct bench *b;
    const struct options *o;
    const struct data *data;
    clgaze_problem problem;
    struct step steps[1 + STAGES];
    clgaze_plan *plans[1 + STAGES];
    int n, rows;
    cl_mem mem[MAX_MEMS];
    int mems;
    struct lists lists;
};

static clgaze_problem make_problem(const struct options *o, const struct row *row)
{
    clgaze_problem p = clgaze_problem_default();

    p.dtype = (clgaze_dtype)o->dtype;
    p.q_heads = o->heads;
    p.kv_heads = o->kv_heads;
    p.head_dim = o->head_dim;
    p.block_q = p.block_k = row->block;
    p.max_q = p.max_k = row->seq;
    p.rope_pairs = o->head_dim / 2;
    p.rule = CLGAZE_RATIO;
    p.value = row->density;
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

static int make_plans(struct work *w, struct row *row)
{
    int first = w->o->pipeline ? 0 : STAGES - 1;

    for (int i = 0; i <= STAGES - first; i++) {
        clgaze_problem p = w->problem;
        clgaze_op op = i ? ops[first + i - 1] : CLGAZE_ATTEND;
        int code;

        p.lists = i ? CLGAZE_LISTS_BLOCKS : CLGAZE_LISTS_DENSE;
        if ((code = bench_gaze(w->b, clgaze_plan_create(w->b->ctx, op, &p, &w->plans[i]))))
            return code;
        w->steps[w->n++] = (struct step){.op = op, .plan = w->plans[i]};
    }
    snprintf(row->dense_kernel, sizeof row->dense_kernel, "%s", clgaze_plan_kernel(w->plans[0], CLGAZE_ATTEND));
    snprintf(row->kernel, sizeof row->kernel, "%s", clgaze_plan_kernel(w->plans[w->n - 1], CLGAZE_ATTEND));
    return check_forced(w);
}

/* A compact tensor in a buffer of its own, released with the row. */
static int make(struct work *w, clgaze_tensor *t, const char *name, clgaze_dtype dtype, int rank,
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

/* ---- lists at random ---- */

/* The buffers come first: what the device refuses is not made on the host. */
static int make_lists(struct work *w, const struct row *row, clgaze_tensors *t)
{
    int64_t h = w->o->heads, rows = w->rows, width = lists_count(row->density, w->rows - 1);
    size_t n = (size_t)(h * rows) * sizeof(int32_t);
    int code;

    if ((code = make(w, &t->counts, "counts", CLGAZE_I32, 3, (int64_t[]){1, h, rows})) ||
        (code = make(w, &t->blocks, "blocks", CLGAZE_I32, 4, (int64_t[]){1, h, rows, width})))
        return code;
    if (lists_make(&w->lists, w->o->heads, w->rows, row->density, SEED_LISTS))
        return fail(EXIT_INPUT, "host memory ran out");
    if ((code = bench_write(w->b, t->counts.buffer, w->lists.counts, n)))
        return code;
    return bench_write(w->b, t->blocks.buffer, w->lists.blocks, n * (size_t)width);
}

/* ---- lists by the gate ---- */

static int fill_gate(struct work *w, const clgaze_tensors *t)
{
    int pairs = w->problem.rope_pairs;
    float inv_freq[128];
    int code;

    for (int i = 0; i < pairs; i++)
        inv_freq[i] = (float)pow(10000, -(double)i / pairs);
    if ((code = bench_write(w->b, t->rope_inv_freq.buffer, inv_freq, (size_t)pairs * sizeof *inv_freq)))
        return code;
    return bench_fill(w->b, t->w_k.buffer,
                      (size_t)w->o->heads * K_POOLS * (size_t)w->o->head_dim * (size_t)w->o->head_dim, CLGAZE_F32,
                      SEED_W, .02f);
}

static int make_gate(struct work *w, clgaze_tensors *t)
{
    int64_t h = w->o->heads, kv = w->o->kv_heads, d = w->o->head_dim, n = w->rows;
    const struct {
        const char *name;
        clgaze_tensor *to;
        clgaze_dtype dtype;
        int rank;
        int64_t shape[4];
    } tensors[] = {{"q_pooled", &t->q_pooled, CLGAZE_F32, 4, {1, n, h, Q_POOLS * d}},
                   {"k_pooled", &t->k_pooled, CLGAZE_F32, 4, {1, n, kv, K_POOLS * d}},
                   {"q_gated", &t->q_gated, CLGAZE_F32, 4, {1, n, h, d}},
                   {"k_gated", &t->k_gated, CLGAZE_F32, 4, {1, n, h, d}},
                   {"w_k", &t->w_k, CLGAZE_F32, 3, {h, K_POOLS * d, d}},
                   {"rope_inv_freq", &t->rope_inv_freq, CLGAZE_F32, 1, {w->problem.rope_pairs}},
                   {"scores", &t->scores, CLGAZE_F32, 4, {1, h, n, n}},
                   {"counts", &t->counts, CLGAZE_I32, 3, {1, h, n}},
                   {"blocks", &t->blocks, CLGAZE_I32, 4, {1, h, n, clgaze_plan_width(w->plans[4])}}};
    int code = 0;

    for (size_t i = 0; i < sizeof tensors / sizeof *tensors && !code; i++)
        code = make(w, tensors[i].to, tensors[i].name, tensors[i].dtype, tensors[i].rank, tensors[i].shape);
    t->q_gate = t->q; /* random numbers are as good before RoPE as after it */
    t->k_gate = t->k;
    return code ? code : fill_gate(w, t);
}

/* What the gate chose, for the check and for counting. */
static int read_lists(struct work *w)
{
    const clgaze_tensors *t = &w->steps[w->n - 1].tensors;
    size_t n = (size_t)w->o->heads * (size_t)w->rows, width = (size_t)t->blocks.shape[3];
    int code;

    w->lists = (struct lists){w->o->heads, w->rows, (int)width, malloc(n * sizeof(int32_t)),
                              malloc(n * width * sizeof(int32_t))};
    if (!w->lists.counts || !w->lists.blocks)
        return fail(EXIT_INPUT, "host memory ran out");
    if ((code = bench_read(w->b, t->counts.buffer, 0, w->lists.counts, n * sizeof(int32_t))))
        return code;
    return bench_read(w->b, t->blocks.buffer, 0, w->lists.blocks, n * width * sizeof(int32_t));
}

/* ---- measuring ---- */

static int make_tensors(struct work *w, const struct row *row)
{
    const struct options *o = w->o;
    clgaze_dtype dtype = (clgaze_dtype)o->dtype;
    clgaze_tensors t = {0};
    int code;

    t.q = clgaze_tensor_bshd(w->data->q, 0, dtype, 1, row->seq, o->heads, o->head_dim);
    t.k = clgaze_tensor_bshd(w->data->k, 0, dtype, 1, row->seq, o->kv_heads, o->head_dim);
    t.v = clgaze_tensor_bshd(w->data->v, 0, dtype, 1, row->seq, o->kv_heads, o->head_dim);
    t.out = clgaze_tensor_bshd(w->data->out, 0, dtype, 1, row->seq, o->heads, o->head_dim);
    if ((code = make_workspace(w)))
        return code;
    code = o->pipeline ? make_gate(w, &t) : make_lists(w, row, &t);
    for (int i = 0; i < w->n; i++)
        w->steps[i].tensors = t;
    return code;
}

/* Is `error` small enough?  If not, the row says so. */
static void judge(const struct options *o, const char *which, double error, struct row *row)
{
    row->error = error > row->error || isnan(error) ? error : row->error;
    if (error <= check_tolerance((clgaze_dtype)o->dtype))
        return;
    row->state = ROW_FAILED;
    snprintf(row->note, sizeof row->note, "%s attention is off by %.3g, more than %.3g", which, error,
             check_tolerance((clgaze_dtype)o->dtype));
}

static int run_checked(struct work *w, struct row *row)
{
    double error;
    int code;

    if ((code = bench_run(w->b, &w->steps[0])) || (code = check_rows(w->b, w->o, w->data, row->block, NULL, &error)))
        return code;
    judge(w->o, "dense", error, row);
    for (int i = 1; i < w->n; i++)
        if ((code = bench_run(w->b, &w->steps[i])))
            return code;
    if (w->o->pipeline && (code = read_lists(w)))
        return code;
    if ((code = check_rows(w->b, w->o, w->data, row->block, &w->lists, &error)))
        return code;
    judge(w->o, "block-sparse", error, row);
    row->kept = significant(lists_kept(&w->lists) / lists_visible(&w->lists), 6);
    return 0;
}

static struct stats rounded_stats(struct stats s)
{
    return (struct stats){significant(s.median, 6), significant(s.min, 6), significant(s.max, 6)};
}

static void take_times(const struct work *w, const struct samples *samples, struct row *row)
{
    double block_flops = 4.0 * row->block * row->block * w->o->head_dim;

    row->rounds = samples->rounds;
    row->dense = rounded_stats(samples_stats(samples, 0, 0));
    row->ms = rounded_stats(samples_stats(samples, 1, w->n - 1));
    for (int i = 1; i < w->n; i++)
        row->stage[STAGES - w->n + i] = significant(samples_stats(samples, i, i).median, 6);
    row->gflops = significant(lists_kept(&w->lists) * block_flops / row->ms.median * 1e-6, 6);
    row->dense_gflops = significant(lists_visible(&w->lists) * block_flops / row->dense.median * 1e-6, 6);
    row->speedup = significant(row->dense.median / row->ms.median, 6);
    row->ideal = significant(row->speedup * row->kept, 6);
}

static int measure(struct work *w, struct row *row)
{
    struct samples samples = {0};
    int code;

    if ((code = make_plans(w, row)) || (code = make_tensors(w, row)) || (code = run_checked(w, row)) ||
        row->state == ROW_FAILED)
        return code;
    if (!(code = bench_time(w->b, w->steps, w->n, w->o->min_time, &samples)))
        take_times(w, &samples, row);
    samples_free(&samples);
    return code;
}

int row_measure(struct bench *b, const struct options *o, const struct data *data, struct row *row)
{
    struct work w = {.b = b, .o = o, .data = data, .rows = (row->seq + row->block - 1) / row->block};
    int code;

    w.problem = make_problem(o, row);
    code = measure(&w, row);
    for (int i = 0; i <= STAGES; i++)
        clgaze_plan_free(w.plans[i]);
    for (int i = 0; i < w.mems; i++)
        bench_release(b, &w.mem[i]);
    lists_free(&w.lists);
    return code;
}
