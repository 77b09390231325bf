/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prefill.c: running a plan: one operation, or the five as one call; and what
 * lies where in the workspace.
 */
#include <string.h>

#include "check.h"

/* ---- sizes at the maximum ------------------------------------------------------ */

/* A tensor of the caller's: which operations take it, and its bytes at the plan's maximum. */
struct need {
    const char *name;
    unsigned ops;
    uint64_t bytes;
};
enum {
    IN_POOL = 1u << CLGAZE_POOL,
    IN_GATE = 1u << CLGAZE_GATE,
    IN_SCORE = 1u << CLGAZE_SCORE,
    IN_SELECT = 1u << CLGAZE_SELECT,
    IN_ATTEND = 1u << CLGAZE_ATTEND,
    IN_PREFILL = 1u << CLGAZE_PREFILL,
    IN_TRUTH = 1u << CLGAZE_TRUTH,
    IN_DISTILL = 1u << CLGAZE_DISTILL,
    IN_ATTEND_BWD = 1u << CLGAZE_ATTEND_BWD,
    IN_ALL_BUT_SELECT = IN_POOL | IN_GATE | IN_SCORE | IN_ATTEND | IN_PREFILL | IN_TRUTH | IN_ATTEND_BWD
};

static uint64_t times(uint64_t a, int64_t b)
{
    return b > 0 && a > UINT64_MAX / (uint64_t)b ? UINT64_MAX : a * (uint64_t)b;
}

static uint64_t tensor_bytes(size_t element, int64_t a, int64_t b, int64_t c, int64_t d)
{
    return times(times(times(times(element, a), b), c), d);
}

/* What the pipeline hands on, by place. */
static uint64_t place_bytes(const clgaze_problem *p, enum clg_place place)
{
    const int64_t batch = p->packed ? 1 : p->max_batch, rows = clg_max_rows(p), cols = clg_max_cols(p);
    const int64_t blocks_k = clg_max_blocks_k(p), hl = clg_list_heads(p), dg = clg_gate_dim(p), d = p->head_dim;

    switch (place) {
    case CLG_AT_SEQS:
        return p->packed ? tensor_bytes(4, CLG_SEQ_INTS, p->max_batch, 1, 1) : 0;
    case CLG_AT_LISTS:
        return 256 + CLG_ALIGN((size_t)tensor_bytes(4, batch, hl, rows, 1)) + tensor_bytes(4, batch, hl, rows, cols);
    case CLG_AT_Q_POOLED:
        return tensor_bytes(4, batch, rows, p->q_heads, clg_pools(p->q_pool) * d);
    case CLG_AT_K_POOLED:
        return tensor_bytes(4, batch, blocks_k, p->kv_heads, clg_pools(p->k_pool) * d);
    case CLG_AT_Q_GATED:
        return tensor_bytes(4, batch, rows, p->q_heads, dg);
    case CLG_AT_K_GATED:
        return tensor_bytes(4, batch, blocks_k, p->gate_double ? p->kv_heads : p->q_heads, dg);
    case CLG_AT_SCORES:
        return tensor_bytes(4, batch, p->q_heads, rows, cols);
    case CLG_AT_MERGED:
        return tensor_bytes(4, batch, hl, rows, cols);
    case CLG_AT_COUNTS:
        return tensor_bytes(4, batch, hl, rows, 1);
    case CLG_AT_BLOCKS:
        return tensor_bytes(4, batch, hl, rows, clg_list_width(p));
    case CLG_AT_LSE:
    case CLG_AT_DELTA:
        return tensor_bytes(4, batch, p->q_heads, p->max_q, 1);
    case CLG_AT_MAP:
        return tensor_bytes(4, batch, hl, cols, (rows + 31) / 32);
    default:
        return 0;
    }
}

/* Kernels number the blocks of all heads and batches with ints. */
static clgaze_status check_rows(const clgaze_context *ctx, const clgaze_problem *p)
{
    const int64_t batch = p->packed ? 1 : p->max_batch, most = 1 << 30;
    const int64_t rows = batch * p->q_heads * clg_max_rows(p), keys = batch * clg_max_blocks_k(p);
    clgaze_status st = CLGAZE_OK;

    NEED(rows <= most, CLGAZE_ERR_LIMIT,
         "max_batch and max_q of this plan give %lld query blocks of all heads: at most %lld", (long long)rows,
         (long long)most);
    NEED(keys <= most, CLGAZE_ERR_LIMIT, "max_batch and max_k of this plan give %lld key blocks: at most %lld",
         (long long)keys, (long long)most);
out:
    return st;
}

clgaze_status clg_limits_check(const clgaze_context *ctx, clgaze_op op, const clgaze_problem *p)
{
    const int64_t batch = p->packed ? 1 : p->max_batch;
    const size_t element = clgaze_dtype_size(p->dtype), weight = clgaze_dtype_size(p->weight_dtype);
    const int64_t q_width = clg_pools(p->q_pool) * p->head_dim, k_width = clg_pools(p->k_pool) * p->head_dim;
    const int64_t dg = clg_gate_dim(p), k_matrices = p->gate_double ? p->kv_heads : p->q_heads;
    const unsigned k_in = IN_GATE | IN_PREFILL | IN_DISTILL, q_in = p->gate_double ? k_in : 0;
    const unsigned masks = p->lists == CLGAZE_LISTS_MASK ? IN_ATTEND | IN_ATTEND_BWD : 0;
    const struct need needs[] = {
        {"a query tensor", IN_ALL_BUT_SELECT, tensor_bytes(element, batch, p->max_q, p->q_heads, p->head_dim)},
        {"a key tensor", IN_ALL_BUT_SELECT, tensor_bytes(element, batch, p->max_k, p->kv_heads, p->head_dim)},
        {"w_k", k_in, tensor_bytes(weight, k_matrices, k_width, dg, 1)},
        {"w_q", q_in, tensor_bytes(weight, p->q_heads, q_width, dg, 1)},
        {"q_pooled", IN_POOL | IN_GATE | IN_DISTILL, place_bytes(p, CLG_AT_Q_POOLED)},
        {"k_pooled", IN_POOL | IN_GATE | IN_DISTILL, place_bytes(p, CLG_AT_K_POOLED)},
        {"q_gated", IN_GATE | IN_SCORE, place_bytes(p, CLG_AT_Q_GATED)},
        {"k_gated", IN_GATE | IN_SCORE, place_bytes(p, CLG_AT_K_GATED)},
        {"scores", IN_SCORE | IN_SELECT, place_bytes(p, CLG_AT_SCORES)},
        {"truth", IN_TRUTH | IN_DISTILL, place_bytes(p, CLG_AT_SCORES)},
        {"mask", masks, place_bytes(p, CLG_AT_SCORES) / 4 / (uint64_t)p->q_heads * (uint64_t)clg_list_heads(p)},
    };
    clgaze_status st = CLGAZE_OK;

    for (size_t i = 0; i < CLG_COUNT(needs); i++)
        NEED(!(needs[i].ops & 1u << op) || needs[i].bytes <= ctx->device.max_alloc, CLGAZE_ERR_LIMIT,
             "%s of this plan needs %llu bytes, but a buffer of this device holds at most %llu", needs[i].name,
             (unsigned long long)needs[i].bytes, (unsigned long long)ctx->device.max_alloc);
    TRY(check_rows(ctx, p));
out:
    return st;
}

static int64_t slices_of(int64_t rows, int64_t most)
{
    return (rows + most - 1) / most;
}

static bool is_placed(const clgaze_plan *plan, enum clg_place place)
{
    const bool prefill = plan->op == CLGAZE_PREFILL;

    switch (place) {
    case CLG_AT_SEQS:
        return true;
    case CLG_AT_LISTS:
        return plan->lists.kernel != NULL;
    case CLG_AT_MERGED:
        return (prefill || plan->op == CLGAZE_SELECT) && clg_list_heads(&plan->problem) != plan->problem.q_heads;
    case CLG_AT_LSE:
        return plan->op == CLGAZE_TRUTH;
    case CLG_AT_Q_GATED:
    case CLG_AT_K_GATED:
    case CLG_AT_SCORES:
        return prefill || plan->op == CLGAZE_DISTILL;
    case CLG_AT_DELTA:
        return plan->op == CLGAZE_ATTEND_BWD;
    case CLG_AT_MAP:
        return plan->op == CLGAZE_ATTEND_BWD && plan->problem.lists != CLGAZE_LISTS_DENSE;
    default:
        return prefill && place < CLG_AT_STAGE;
    }
}

/* Cut the rows of scores into slices, as few and as even as the limit allows. */
static void cut(const clgaze_context *ctx, clgaze_plan *plan)
{
    const int64_t rows = clg_max_rows(&plan->problem);
    uint64_t all = 0, most;

    for (int place = CLG_AT_SCORES; place <= CLG_AT_MERGED; place++)
        if (is_placed(plan, (enum clg_place)place))
            all += place_bytes(&plan->problem, (enum clg_place)place) / (uint64_t)rows;
    most = all ? ctx->slice_bytes / all : (uint64_t)rows;
    most = most < 1 ? 1 : most < (uint64_t)rows ? most : (uint64_t)rows;
    plan->slice = (int)slices_of(rows, slices_of(rows, (int64_t)most));
}

clgaze_status clg_place_workspace(const clgaze_context *ctx, clgaze_plan *plan)
{
    const clgaze_problem *p = &plan->problem;
    clgaze_status st = CLGAZE_OK;
    uint64_t at = 0;

    cut(ctx, plan);
    for (int place = 0; place < CLG_PLACES; place++) {
        uint64_t bytes = is_placed(plan, (enum clg_place)place) ? place_bytes(p, (enum clg_place)place) : 0;

        if (place == CLG_AT_SCORES || place == CLG_AT_MERGED)
            bytes = bytes / (uint64_t)clg_max_rows(p) * (uint64_t)plan->slice;
        if (place == CLG_AT_STAGE)
            for (int op = 0; op < CLG_STAGES; op++)
                bytes = plan->stage[op].workspace > bytes ? plan->stage[op].workspace : bytes;
        plan->at[place] = (size_t)at;
        NEED(bytes <= ctx->device.max_alloc && at + bytes <= ctx->device.max_alloc, CLGAZE_ERR_LIMIT,
             "the workspace of this plan needs %llu bytes or more, but a buffer of this device holds at most %llu",
             (unsigned long long)(bytes > UINT64_MAX - at ? UINT64_MAX : at + bytes),
             (unsigned long long)ctx->device.max_alloc);
        at = CLG_ALIGN(at + bytes);
    }
    plan->workspace = (size_t)at;
out:
    return st;
}

/* ---- running ---------------------------------------------------------------------- */

static clgaze_status run_stage(struct clg_run *run, const struct clg_stage *stage)
{
    run->stage = (struct clg_stage *)(uintptr_t)stage; /* its lock and arguments change */
    return stage->kernel->launch(run);
}

static void hand_on(const struct clg_run *run, clgaze_tensor *t, enum clg_place place, clgaze_dtype dtype, int rank,
                    int64_t a, int64_t b, int64_t c, int64_t d)
{
    const int64_t shape[4] = {a, b, c, d};

    if (!t->buffer)
        *t = clg_scratch(run, place, 0, dtype, rank, shape);
}

static void hand_on_gated(struct clg_run *run)
{
    const clgaze_problem *p = run->p;
    const struct clg_sizes *n = &run->n;
    const int dg = clg_gate_dim(p), heads = p->gate_double ? p->kv_heads : p->q_heads;

    hand_on(run, &run->t.q_gated, CLG_AT_Q_GATED, CLGAZE_F32, 4, n->batch, n->rows, p->q_heads, dg);
    hand_on(run, &run->t.k_gated, CLG_AT_K_GATED, CLGAZE_F32, 4, n->batch, n->blocks_k, heads, dg);
}

/* What the caller does not want to see goes through the workspace; of scores a slice at a time. */
static void hand_on_all(struct clg_run *run)
{
    const clgaze_problem *p = run->p;
    struct clg_sizes *n = &run->n;
    clgaze_tensors *t = &run->t;

    if (!t->blocks.buffer) {
        n->width = clg_list_width(p);
        n->width = n->width < n->cols ? n->width : n->cols;
    }
    hand_on(run, &t->q_pooled, CLG_AT_Q_POOLED, CLGAZE_F32, 4, n->batch, n->rows, p->q_heads,
            (int64_t)clg_pools(p->q_pool) * p->head_dim);
    hand_on(run, &t->k_pooled, CLG_AT_K_POOLED, CLGAZE_F32, 4, n->batch, n->blocks_k, p->kv_heads,
            (int64_t)clg_pools(p->k_pool) * p->head_dim);
    hand_on_gated(run);
    hand_on(run, &t->counts, CLG_AT_COUNTS, CLGAZE_I32, 3, n->batch, n->list_heads, n->rows, 0);
    hand_on(run, &t->blocks, CLG_AT_BLOCKS, CLGAZE_I32, 4, n->batch, n->list_heads, n->rows, n->width);
}

static clgaze_status check_place(const struct clg_run *run, const clgaze_call *call)
{
    const clgaze_context *ctx = run->plan->ctx;
    size_t bytes = 0, need = run->plan->workspace;
    cl_device_id device = NULL;
    cl_context owner = NULL;
    clgaze_status st = CLGAZE_OK;
    cl_int err;

    NEED(call->queue, CLGAZE_ERR_NULL, "call.queue is NULL");
    NEED(!call->n_wait == !call->wait, CLGAZE_ERR_NULL, "call.n_wait is %u, but call.wait is %s",
         (unsigned)call->n_wait, call->wait ? "given" : "NULL");
    err = clGetCommandQueueInfo(call->queue, CL_QUEUE_CONTEXT, sizeof owner, &owner, NULL);
    NEED(err == CL_SUCCESS, CLGAZE_ERR_OPENCL, "call.queue is not a command queue (%d)", (int)err);
    TRY_CL(clGetCommandQueueInfo(call->queue, CL_QUEUE_DEVICE, sizeof device, &device, NULL));
    NEED(owner == ctx->cl && device == ctx->device.id, CLGAZE_ERR_CONTEXT,
         "call.queue belongs to another OpenCL %s than the plan", owner == ctx->cl ? "device" : "context");
    if (need == 0)
        goto out;
    NEED(call->workspace, CLGAZE_ERR_WORKSPACE, "call.workspace is NULL: this plan needs %zu bytes", need);
    NEED(call->workspace_offset % 256 == 0, CLGAZE_ERR_WORKSPACE,
         "call.workspace_offset is %zu: it must be a multiple of 256", call->workspace_offset);
    err = clGetMemObjectInfo(call->workspace, CL_MEM_SIZE, sizeof bytes, &bytes, NULL);
    NEED(err == CL_SUCCESS, CLGAZE_ERR_OPENCL, "call.workspace is not an OpenCL buffer (%d)", (int)err);
    TRY_CL(clGetMemObjectInfo(call->workspace, CL_MEM_CONTEXT, sizeof owner, &owner, NULL));
    NEED(owner == ctx->cl, CLGAZE_ERR_CONTEXT, "call.workspace belongs to another OpenCL context");
    NEED(call->workspace_offset <= bytes && bytes - call->workspace_offset >= need, CLGAZE_ERR_WORKSPACE,
         "call.workspace holds %zu bytes after its offset of %zu: this plan needs %zu",
         bytes > call->workspace_offset ? bytes - call->workspace_offset : 0, call->workspace_offset, need);
out:
    return st;
}

/* Columns that any row of the slice sees: at least one. */
static int columns_seen(const struct clg_sizes *n, const clgaze_problem *p)
{
    const int end = (n->first + n->count) * p->block_q;
    const int last = (end < n->sq ? end : n->sq) - 1 + n->sk - n->sq;
    const int seen = last < 0 ? 1 : last / p->block_k + 1;

    return p->packed || !p->causal || seen > n->cols ? n->cols : seen;
}

/* Select or distill, and score too where the scores are `ours`: slice by slice of the rows. */
static clgaze_status run_slices(struct clg_run *run, clgaze_op op, bool ours)
{
    const clgaze_plan *plan = run->plan;
    const clgaze_problem *p = run->p;
    struct clg_sizes *n = &run->n;
    const int64_t room = (int64_t)plan->slice * (p->packed ? 1 : p->max_batch) * clg_max_cols(p);
    const bool cut = ours || n->score_heads != n->list_heads;
    const int64_t slices = cut ? slices_of(n->rows, room / ((int64_t)n->batch * n->cols)) : 1;
    clgaze_status st = CLGAZE_OK;

    for (int64_t s = 0; s < slices; s++) {
        n->first = (int)(n->rows * s / slices);
        n->count = (int)(n->rows * (s + 1) / slices) - n->first;
        n->seen = ours ? columns_seen(n, p) : n->cols;
        if (ours) {
            const int64_t shape[4] = {n->batch, p->q_heads, n->count, n->seen};

            run->t.scores = clg_scratch(run, CLG_AT_SCORES, 0, CLGAZE_F32, 4, shape);
            TRY(run_stage(run, &plan->stage[CLGAZE_SCORE]));
        }
        TRY(run_stage(run, &plan->stage[op]));
    }
out:
    return st;
}

static clgaze_status run_distill(struct clg_run *run)
{
    clgaze_status st = CLGAZE_OK;

    hand_on_gated(run);
    TRY(run_stage(run, &run->plan->stage[CLGAZE_GATE]));
    TRY(run_slices(run, CLGAZE_DISTILL, true));
out:
    return st;
}

static clgaze_status enqueue_all(struct clg_run *run, clgaze_op op)
{
    const clgaze_plan *plan = run->plan;
    const bool ours = op == CLGAZE_PREFILL && !run->t.scores.buffer;
    clgaze_status st = CLGAZE_OK;

    if (plan->seqs.kernel)
        TRY(run_stage(run, &plan->seqs));
    if (plan->lists.kernel)
        TRY(run_stage(run, &plan->lists));
    if (op == CLGAZE_DISTILL)
        return run_distill(run);
    if (op == CLGAZE_PREFILL)
        hand_on_all(run);
    for (int i = 0; i < CLG_STAGES; i++)
        if ((op == CLGAZE_PREFILL ? i < CLG_OPS : (int)op == i) && !(i == CLGAZE_SCORE && ours))
            TRY(i == CLGAZE_SELECT ? run_slices(run, CLGAZE_SELECT, ours) : run_stage(run, &plan->stage[i]));
out:
    return st;
}

/* A dense plan makes no lists: silence would leave what the caller gave for them unwritten. */
static clgaze_status refuse_lists(const clgaze_context *ctx, clgaze_tensors *t)
{
    const struct check c = {.t = t};
    clgaze_status st = CLGAZE_OK;

    for (int f = Q_POOLED; f <= BLOCKS; f++)
        NEED(!clg_field_given(&c, f), CLGAZE_ERR_VALUE,
             "%s is given, but this plan is dense and writes none: problem.auto_density allowed it to",
             clg_fields[f].name);
out:
    return st;
}

clgaze_status clgaze_run(const clgaze_plan *plan, clgaze_op op, const clgaze_tensors *tensors,
                         const clgaze_call *call)
{
    const clgaze_context *ctx;
    clgaze_status st = CLGAZE_OK;
    struct clg_run run;

    memset(&run, 0, sizeof run);
    if (!plan)
        return CLGAZE_ERR_NULL;
    ctx = plan->ctx;
    NEED(tensors && call, CLGAZE_ERR_NULL, "%s is NULL", tensors ? "call" : "tensors");
    NEED(plan->dense ? op == CLGAZE_PREFILL
                     : op == plan->op || (plan->op == CLGAZE_PREFILL && op >= CLGAZE_POOL && op <= CLGAZE_ATTEND),
         CLGAZE_ERR_VALUE, "operation %s does not run by a plan of %s", clg_op_name(op),
         plan->dense ? "prefill that is dense" : clg_op_name(plan->op));
    run.plan = plan;
    run.p = &plan->problem;
    run.t = *tensors;
    if (plan->dense)
        TRY(refuse_lists(ctx, &run.t));
    op = plan->dense ? plan->op : op;
    run.workspace = plan->workspace ? call->workspace : NULL;
    run.base = plan->workspace ? call->workspace_offset : 0;
    run.queue = call->queue;
    run.n_wait = call->n_wait;
    run.wait = call->wait;
    run.update = op == CLGAZE_DISTILL ? call->update : NULL;
    TRY(check_place(&run, call));
    TRY(clg_tensors_check(&run, op, call));
    TRY(enqueue_all(&run, op));
    if (call->done) {
        *call->done = run.last;
        run.last = NULL;
    }
out:
    if (run.last)
        clReleaseEvent(run.last);
    return st;
}

#define RUN(name, OP)                                                                                                \
    clgaze_status clgaze_##name(const clgaze_plan *plan, const clgaze_tensors *tensors, const clgaze_call *call)     \
    {                                                                                                                \
        return clgaze_run(plan, CLGAZE_##OP, tensors, call);                                                         \
    }
RUN(pool, POOL)
RUN(gate, GATE)
RUN(score, SCORE)
RUN(select, SELECT)
RUN(attend, ATTEND)
RUN(prefill, PREFILL)
RUN(truth, TRUTH)
RUN(distill, DISTILL)
RUN(attend_bwd, ATTEND_BWD)
#undef RUN
