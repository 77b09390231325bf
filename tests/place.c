/* SPDX-License-Identifier: Apache-2.0 */
/*
 * place.c: arrays on the device, between guards, and one call over them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

enum { GUARD = 256, PATTERN_FLOAT = 0xff, PATTERN_INT = 0x7e, POISON = 0x5a };

static bool say(struct test_case *c, const char *name, const char *what, long code)
{
    snprintf(c->why, sizeof c->why, "%s: %s (%ld)", name, what, code);
    return false;
}

/* Oclgrind itself reports what lies outside a buffer: no guard behind the tensor there. */
static size_t guard_bytes(const clgaze_context *ctx)
{
    return simulated(ctx) ? 0 : GUARD;
}

static bool is_token(enum array id)
{
    return id <= A_K_GATE || id == A_OUT || (id >= A_DOUT && id <= A_DV);
}

/* Tokens or heads outside, gaps of random size after channels, tokens, heads and batches. */
static void random_strides(struct rng *r, clgaze_tensor *t)
{
    int outer = below(r, 2) ? 2 : 1, inner = 3 - outer;
    uint32_t gap = below(r, 3) ? 7 : 1; /* one in three is compact */

    t->stride[3] = 1;
    t->stride[inner] = t->shape[3] + below(r, gap);
    t->stride[outer] = t->stride[inner] * t->shape[inner] + below(r, gap) * t->shape[3] + below(r, gap);
    t->stride[0] = t->stride[outer] * t->shape[outer] + below(r, gap);
}

/* Where element i of the tensor lies, in elements from the start of the buffer. */
static size_t element(const clgaze_tensor *t, size_t i)
{
    size_t at = t->offset;

    for (int d = t->rank - 1; d >= 0; d--) {
        at += i % (size_t)t->shape[d] * (size_t)t->stride[d];
        i /= (size_t)t->shape[d];
    }
    return at;
}

static void write_elements(const struct test_case *c, enum array id, bool output, struct placed *to)
{
    size_t n = array_count(c, id), size = clgaze_dtype_size(to->t.dtype);

    for (size_t i = 0; i < n; i++) {
        unsigned char *at = to->before + element(&to->t, i) * size;

        if (output)
            memset(at, is_float(id) ? PATTERN_FLOAT : POISON, size);
        else if (is_float(id))
            put_float(at, ((const float *)c->data[id])[i], to->t.dtype);
        else
            memcpy(at, (const char *)c->data[id] + i * size, size);
    }
}

bool place(struct test_case *c, clgaze_context *ctx, cl_command_queue queue, enum array id, bool output,
           struct placed *to)
{
    size_t guard = guard_bytes(ctx), size;
    cl_int err;

    memset(to, 0, sizeof *to);
    to->t.rank = array_shape(c, id, to->t.shape, &to->t.dtype);
    size = clgaze_dtype_size(to->t.dtype);
    to->t = clgaze_tensor_compact(NULL, guard / size + below(&c->rng, 9), to->t.dtype, to->t.rank, to->t.shape);
    if (is_token(id))
        random_strides(&c->rng, &to->t);
    to->bytes = (element(&to->t, array_count(c, id) - 1) + 1) * size + guard;
    to->before = malloc(to->bytes);
    to->mem = clCreateBuffer(ctx->cl, CL_MEM_READ_WRITE, to->bytes, NULL, &err);
    if (!to->before || err != CL_SUCCESS)
        return say(c, array_names[id], "cannot make a buffer", err);
    memset(to->before, is_float(id) || id == A_MASK ? PATTERN_FLOAT : PATTERN_INT, to->bytes);
    write_elements(c, id, output, to);
    to->t.buffer = to->mem;
    err = clEnqueueWriteBuffer(queue, to->mem, CL_TRUE, 0, to->bytes, to->before, 0, NULL, NULL);
    return err == CL_SUCCESS || say(c, array_names[id], "clEnqueueWriteBuffer", err);
}

bool fetch(struct test_case *c, cl_command_queue queue, enum array id, bool output, struct placed *from)
{
    size_t n = output ? array_count(c, id) : 0, size = clgaze_dtype_size(from->t.dtype);
    unsigned char *after = malloc(from->bytes);
    cl_int err = after ? clEnqueueReadBuffer(queue, from->mem, CL_TRUE, 0, from->bytes, after, 0, NULL, NULL)
                       : CL_OUT_OF_HOST_MEMORY;
    bool ok = err == CL_SUCCESS || say(c, array_names[id], "clEnqueueReadBuffer", err);

    for (size_t i = 0; ok && i < n; i++) {
        size_t at = element(&from->t, i) * size;

        if (is_float(id))
            ((float *)c->data[id])[i] = get_float(after + at, from->t.dtype);
        else
            memcpy((char *)c->data[id] + i * size, after + at, size);
        memcpy(after + at, from->before + at, size);
    }
    for (size_t i = 0; ok && i < from->bytes; i++)
        if (after[i] != from->before[i])
            ok = say(c, array_names[id], output ? "a byte outside the output changed" : "an input changed", (long)i);
    free(after);
    return ok;
}

void unplace(struct placed *p)
{
    if (p->mem)
        clReleaseMemObject(p->mem);
    free(p->before);
    memset(p, 0, sizeof *p);
}

/* ---- workspace ------------------------------------------------------------------ */

/* Exactly as large as the plan asks for, at a random offset, full of NaN, a guard behind. */
static bool place_workspace(struct test_case *c, const clgaze_plan *plan, clgaze_context *ctx, cl_command_queue queue,
                            clgaze_call *call, struct placed *to)
{
    size_t wanted = clgaze_plan_workspace(plan);
    cl_int err;

    memset(to, 0, sizeof *to);
    if (!wanted)
        return true;
    call->workspace_offset = 256 * (size_t)below(&c->rng, 3);
    to->bytes = call->workspace_offset + wanted + guard_bytes(ctx);
    to->before = malloc(to->bytes);
    to->mem = clCreateBuffer(ctx->cl, CL_MEM_READ_WRITE, to->bytes, NULL, &err);
    if (!to->before || err != CL_SUCCESS)
        return say(c, "workspace", "cannot make a buffer", err);
    memset(to->before, PATTERN_FLOAT, to->bytes);
    call->workspace = to->mem;
    err = clEnqueueWriteBuffer(queue, to->mem, CL_TRUE, 0, to->bytes, to->before, 0, NULL, NULL);
    return err == CL_SUCCESS || say(c, "workspace", "clEnqueueWriteBuffer", err);
}

static bool check_workspace(struct test_case *c, const clgaze_plan *plan, cl_command_queue queue,
                            const clgaze_call *call, struct placed *from)
{
    size_t begin = call->workspace_offset, end = begin + clgaze_plan_workspace(plan);
    unsigned char *after;
    cl_int err;
    bool ok = true;

    if (!from->mem)
        return true;
    after = malloc(from->bytes);
    err = after ? clEnqueueReadBuffer(queue, from->mem, CL_TRUE, 0, from->bytes, after, 0, NULL, NULL)
                : CL_OUT_OF_HOST_MEMORY;
    if (err != CL_SUCCESS)
        ok = say(c, "workspace", "clEnqueueReadBuffer", err);
    for (size_t i = 0; ok && i < from->bytes; i++)
        if ((i < begin || i >= end) && after[i] != PATTERN_FLOAT)
            ok = say(c, "workspace", "a byte outside changed", (long)i - (long)begin);
    free(after);
    return ok;
}

/* ---- a call ----------------------------------------------------------------------- */

static void set_longest(const struct test_case *c, clgaze_call *call)
{
    for (int s = 0; s < c->n.sequences; s++) {
        call->longest_q = c->n.q[s] > call->longest_q ? c->n.q[s] : call->longest_q;
        call->longest_k = c->n.k[s] > call->longest_k ? c->n.k[s] : call->longest_k;
    }
}

bool place_case(struct test_case *c, clgaze_op op, const clgaze_plan *plan, clgaze_context *ctx,
                cl_command_queue queue, struct placed_case *to)
{
    uint32_t in = op_inputs(c, op), out = op_outputs(c, op);
    clgaze_tensor each[ARRAYS];
    bool ok = true;

    memset(to, 0, sizeof *to);
    memset(each, 0, sizeof each);
    for (int id = 0; ok && id < ARRAYS; id++)
        if ((in | out) & BIT(id)) {
            ok = place(c, ctx, queue, (enum array)id, (out & BIT(id)) != 0, &to->at[id]);
            each[id] = to->at[id].t;
        }
    memcpy(&to->tensors, each, sizeof to->tensors);
    to->call.queue = queue;
    set_longest(c, &to->call);
    return ok && place_workspace(c, plan, ctx, queue, &to->call, &to->workspace);
}

bool fetch_case(struct test_case *c, clgaze_op op, const clgaze_plan *plan, cl_command_queue queue,
                struct placed_case *from)
{
    uint32_t out = op_outputs(c, op);
    bool ok = true;

    for (int id = 0; ok && id < ARRAYS; id++)
        if (from->at[id].mem)
            ok = fetch(c, queue, (enum array)id, (out & BIT(id)) != 0, &from->at[id]);
    return ok && check_workspace(c, plan, queue, &from->call, &from->workspace);
}

void unplace_case(struct placed_case *x)
{
    for (int id = 0; id < ARRAYS; id++)
        unplace(&x->at[id]);
    unplace(&x->workspace);
}

static bool launch(struct test_case *c, clgaze_op op, const clgaze_plan *plan, struct placed_case *x)
{
    cl_event done = NULL;
    clgaze_status st;
    cl_int err;

    x->call.done = &done;
    forget();
    st = clgaze_run(plan, op, &x->tensors, &x->call);
    x->call.done = NULL;
    if (st != CLGAZE_OK)
        return say(c, clgaze_status_name(st), last_error(), (long)st);
    if (!done)
        return say(c, "call.done", "was not set", 0);
    err = clWaitForEvents(1, &done);
    clReleaseEvent(done);
    return err == CL_SUCCESS || say(c, "clWaitForEvents", "failed", err);
}

bool run_case(struct test_case *c, clgaze_op op, const clgaze_plan *plan, clgaze_context *ctx, cl_command_queue queue)
{
    struct placed_case x;
    bool ok =
        place_case(c, op, plan, ctx, queue, &x) && launch(c, op, plan, &x) && fetch_case(c, op, plan, queue, &x);

    unplace_case(&x);
    return ok;
}
