/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate_clblast.c: the gate with its products by CLBlast, RoPE by cl/rope.cl.
 *
 * CLBlast compiles at the first call of a shape, allocates temporary matrices
 * and takes no wait list.  So it serves where the plan has multiplied the exact
 * shape before, that is at the plan's maximum, with its temporary matrices in
 * our workspace and a barrier in front; every other call is multiplied by gate.c.
 *
 * CLBlast keeps the programs of a cl_context, and by them the cl_context, until
 * the process ends or calls CLBlastClearCache().
 */
#include "gate.h"

#ifdef CLGAZE_HAVE_CLBLAST

#include <limits.h>
#include <string.h>

#include <clblast_c.h>

/* CLBlast's caches are the process's: of two threads that fill them at once both
 * compile, and in some builds of CLBlast the second fails. */
static pthread_mutex_t warm_lock = PTHREAD_MUTEX_INITIALIZER;

/* The product of one head: row-major c = a b, each within a larger matrix. */
struct matrix {
    cl_mem buffer;
    size_t at, ld, rows, cols;
};
struct product {
    struct matrix a, b, c;
};

static struct product product_of(const struct clg_run *run, const struct clg_gate_side *s, cl_int head)
{
    const size_t m = (size_t)s->rows * (size_t)run->n.batch, n = (size_t)clg_gate_dim(run->p), k = (size_t)s->k;
    const size_t h = (size_t)head, from = h / (size_t)s->share, heads = (size_t)s->heads;
    const struct product g = {
        {s->x->buffer, s->x->offset + from * k, heads / (size_t)s->share * k, m, k},
        {s->w->buffer, s->w->offset + h * k * n, n, k, n},
        {s->y->buffer, s->y->offset + h * n, heads * n, m, n},
    };

    return g;
}

/* Elements from the start of the buffer to the end of the matrix. */
static size_t reach(const struct matrix *x)
{
    return x->rows ? x->at + (x->rows - 1) * x->ld + x->cols : x->at;
}

/* CLBlast counts elements in ints. */
static bool within_int(const struct product *g)
{
    return reach(&g->a) <= INT_MAX && reach(&g->b) <= INT_MAX && reach(&g->c) <= INT_MAX;
}

/* A call at the plan's maximum, as far as products need it. */
static struct clg_run largest(const clgaze_problem *p)
{
    struct clg_run run;

    memset(&run, 0, sizeof run);
    run.p = p;
    run.n.batch = p->max_batch;
    run.n.blocks_k = clg_max_blocks_k(p);
    run.n.rows = clg_max_rows(p);
    return run;
}

static const char *fits(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    const struct clg_run run = largest(p);

    if (p->packed)
        return "packed sequences seldom have the one length that CLBlast was warmed for";
    if (p->weight_dtype != CLGAZE_F32)
        return "CLBlast multiplies only f32 matrices here";
    for (int keys = 0; keys < 2; keys++) {
        const struct clg_gate_side s = clg_gate_side(&run, keys);
        const struct product g = s.w ? product_of(&run, &s, s.heads - 1) : (struct product){0};

        if (!within_int(&g))
            return "the tensors have more elements than CLBlast can count";
    }
    return clg_gate_fits(device, p, values);
}

static clgaze_status sgemm(const clgaze_context *ctx, cl_command_queue queue, const struct product *g, cl_mem temp,
                           cl_event *event)
{
    CLBlastStatusCode code =
        CLBlastSgemmWithTempBuffer(CLBlastLayoutRowMajor, CLBlastTransposeNo, CLBlastTransposeNo, g->a.rows,
                                   g->b.cols, g->b.rows, 1.0f, g->a.buffer, g->a.at, g->a.ld, g->b.buffer, g->b.at,
                                   g->b.ld, 0.0f, g->c.buffer, g->c.at, g->c.ld, &queue, event, temp);

    if (code == CLBlastSuccess)
        return CLGAZE_OK;
    return clg_fail(ctx, CLGAZE_ERR_OPENCL, "CLBlast answered %d to the gate's product of %zu x %zu x %zu", (int)code,
                    g->a.rows, g->b.cols, g->b.rows);
}

/* Every temporary buffer and matrix that a CLBlast call may be given begins at a multiple of this. */
static size_t alignment(const clgaze_context *ctx)
{
    cl_uint bits = 0;

    clGetDeviceInfo(ctx->device.id, CL_DEVICE_MEM_BASE_ADDR_ALIGN, sizeof bits, &bits, NULL);
    return bits > 8 ? bits / 8 : 1;
}

/* ---- making the plan --------------------------------------------------------- */

static clgaze_status zeroed(const clgaze_context *ctx, size_t bytes, cl_mem *buffer)
{
    const cl_float zero = 0;
    clgaze_status st = CLGAZE_OK;
    cl_int err = CL_SUCCESS;

    *buffer = clCreateBuffer(ctx->cl, CL_MEM_READ_WRITE, bytes, NULL, &err);
    NEED(err == CL_SUCCESS, CLGAZE_ERR_OPENCL, "clCreateBuffer answered %d for %zu bytes to warm CLBlast", (int)err,
         bytes);
    TRY_CL(clEnqueueFillBuffer(ctx->queue, *buffer, &zero, sizeof zero, 0, bytes, 0, NULL, NULL));
out:
    return st;
}

/* Bytes that CLBlast wants for its temporary matrices at offsets other than 0,
 * the most: at 0 it may take a matrix as it lies. */
static clgaze_status temp_bytes(clgaze_context *ctx, const struct product *g, size_t *bytes)
{
    CLBlastStatusCode code =
        CLBlastSGemmTempBufferSize(CLBlastLayoutRowMajor, CLBlastTransposeNo, CLBlastTransposeNo, g->a.rows,
                                   g->b.cols, g->b.rows, 1, g->a.ld, 1, g->b.ld, 1, g->c.ld, &ctx->queue, bytes);

    if (code == CLBlastSuccess)
        return CLGAZE_OK;
    return clg_fail(ctx, CLGAZE_ERR_OPENCL, "CLBlast answered %d when asked for its temporary bytes", (int)code);
}

/* Multiply once at offset 0 and once at another: CLBlast has kernels of their own for each. */
static clgaze_status warm_product(clgaze_context *ctx, struct product g, size_t temp)
{
    struct matrix *const matrices[] = {&g.a, &g.b, &g.c};
    cl_mem room = NULL;
    clgaze_status st = CLGAZE_OK;
    cl_event event = NULL;

    for (int i = 0; i < 3; i++)
        TRY(zeroed(ctx, (reach(matrices[i]) + 1) * sizeof(cl_float), &matrices[i]->buffer));
    if (temp)
        TRY(zeroed(ctx, temp, &room));
    for (size_t at = 0; at < 2; at++) {
        g.a.at = g.b.at = g.c.at = at;
        TRY(sgemm(ctx, ctx->queue, &g, temp ? room : ctx->dummy, &event));
        TRY_CL(clWaitForEvents(1, &event));
        clReleaseEvent(event);
        event = NULL;
    }
out:
    if (event)
        clReleaseEvent(event);
    for (int i = 0; i < 3; i++)
        if (matrices[i]->buffer)
            clReleaseMemObject(matrices[i]->buffer);
    if (room)
        clReleaseMemObject(room);
    return st;
}

static clgaze_status prepare(clgaze_context *ctx, const clgaze_problem *p, struct clg_stage *stage)
{
    const struct clg_run run = largest(p);
    clgaze_status st = CLGAZE_OK;
    size_t temp = 0;

    pthread_mutex_lock(&warm_lock);
    for (int keys = 0; keys < 2; keys++) {
        const struct clg_gate_side s = clg_gate_side(&run, keys);

        if (s.w) {
            const struct product g = product_of(&run, &s, 0);

            TRY(temp_bytes(ctx, &g, &temp));
            TRY(warm_product(ctx, g, temp));
            if (temp && temp + alignment(ctx) > stage->workspace)
                stage->workspace = temp + alignment(ctx); /* a call's workspace may begin between two multiples */
        }
    }
out:
    pthread_mutex_unlock(&warm_lock);
    return st;
}

/* ---- a call -------------------------------------------------------------------- */

/* Our own multiply serves, for a reason. */
static const char *unserved(const struct clg_run *run, const struct clg_gate_side *s)
{
    const struct clg_run max = largest(run->p);
    const struct clg_gate_side warmed = clg_gate_side(&max, s->keys);
    const struct product g = product_of(run, s, s->heads - 1);
    cl_mem workspace = run->workspace;

    if (g.a.rows != (size_t)warmed.rows * (size_t)max.n.batch)
        return "the plan warmed another number of rows";
    if (!within_int(&g))
        return "a tensor ends beyond what CLBlast can count";
    /* OpenCL leaves undefined what a kernel does that writes a buffer and a part of it made by clCreateSubBuffer. */
    if (run->stage->workspace && (g.a.buffer == workspace || g.b.buffer == workspace || g.c.buffer == workspace))
        return "a tensor lies in the buffer of the workspace, which CLBlast would write, too";
    return NULL;
}

/* CLBlast's part of the workspace as a buffer of its own; NULL: this workspace cannot be cut. */
static cl_mem temp_buffer(const struct clg_run *run)
{
    const clgaze_context *ctx = run->plan->ctx;
    const size_t at = run->base + run->plan->at[CLG_AT_STAGE], align = alignment(ctx);
    const size_t from = (at + align - 1) / align * align;
    const cl_buffer_region region = {from, at + run->stage->workspace - from};
    cl_int err = CL_SUCCESS;
    cl_mem temp;

    if (!run->stage->workspace) /* these shapes need none, but CLBlast wants a buffer */
        return clRetainMemObject(ctx->dummy) == CL_SUCCESS ? ctx->dummy : NULL;
    temp = clCreateSubBuffer(run->workspace, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &err);
    return err == CL_SUCCESS ? temp : NULL;
}

static void follow(struct clg_run *run, cl_event event)
{
    if (run->last)
        clReleaseEvent(run->last);
    run->last = event;
}

/* What is enqueued next waits as a kernel of clg_enqueue() would. */
static clgaze_status barrier(struct clg_run *run)
{
    const clgaze_context *ctx = run->plan->ctx;
    const cl_uint n = run->last ? 1 : run->n_wait;
    clgaze_status st = CLGAZE_OK;
    cl_event event = NULL;

    if (n == 0) /* a barrier without a list waits for all that the queue holds */
        return st;
    TRY_CL(clEnqueueBarrierWithWaitList(run->queue, n, run->last ? &run->last : run->wait, &event));
    follow(run, event);
out:
    return st;
}

static clgaze_status multiply(struct clg_run *run, const struct clg_gate_side *s)
{
    const clgaze_context *ctx = run->plan->ctx;
    const char *why = run->warming ? "warming" : unserved(run, s);
    cl_mem temp = why ? NULL : temp_buffer(run);
    clgaze_status st = CLGAZE_OK;

    if (!temp) {
        if (!run->warming)
            clg_log(ctx, CLGAZE_LOG_DEBUG, CLGAZE_OK, "gate: our own product serves instead of CLBlast's: %s",
                    why ? why : "a part of the workspace cannot be a buffer of its own");
        return clg_gate_multiply(run, s);
    }
    for (cl_int head = 0; head < s->heads; head++) { /* one after another: they share the temporary matrices */
        const struct product g = product_of(run, s, head);
        cl_event event = NULL;

        TRY(barrier(run));
        TRY(sgemm(ctx, run->queue, &g, temp, &event));
        follow(run, event);
    }
out:
    clReleaseMemObject(temp);
    return st;
}

static clgaze_status launch(struct clg_run *run)
{
    return clg_gate_launch(run, multiply);
}

#else

static const char *fits(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    (void)device, (void)p, (void)values;
    return "this build has no CLBlast";
}

#endif

const struct clg_kernel clg_kernel_gate_clblast = {
    .op = "gate",
    .name = "gate_clblast",
    .space = clg_tile_space, /* of our own product */
    .sources = (const char *const[]){"common.cl", "tile.cl", "gate.cl", "rope.cl", NULL},
    .entries = (const char *const[]){"gate", "rope", NULL},
    .options = "",
    .key = clg_gate_key,
    .define = clg_gate_define,
    .fits = fits,
#ifdef CLGAZE_HAVE_CLBLAST
    .prepare = prepare,
    .launch = launch,
#endif
};
