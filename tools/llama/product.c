/* SPDX-License-Identifier: Apache-2.0 */
/*
 * product.c: y = x w^T and its gradients: on matrix units where they may round, else by our own
 * kernel on processors, else by CLBlast.
 *
 * On PoCL CLBlast makes a tenth of what the processor can.  Our kernel is right
 * on any device, and serves where there is no CLBlast.
 */
#include "product_nv.h"

#include "fail.h"

#ifdef CLGAZE_HAVE_CLBLAST
#include <clblast_c.h>
#endif

enum { BM = 96, BN = 64, PACKED = 256, TURNED = 64 }; /* as in matmul.cl */

/* Most terms of a sum at once: what a group reads of both sides then stays in its cache. */
enum { DEPTH = 2048 };

static size_t least(int64_t a, int64_t b)
{
    return (size_t)(a < b ? a : b);
}

size_t product_room(int64_t rows, int64_t cols)
{
    const int64_t padded = PANEL - 1; /* of either side, whichever is the panels' */
    return (size_t)(rows + padded) * (size_t)(cols + padded) * sizeof(float);
}

size_t product_weights_room(int64_t rows, int64_t cols, int64_t n)
{
    const size_t turned = ((size_t)(cols + PANEL - 1) + (size_t)rows) * least(n, DEPTH) * sizeof(float);
    const size_t parts = product_nv_room((cl_int)rows, (cl_int)cols, (cl_int)n);
    return turned > parts ? turned : parts;
}

/* The same of b in f32: where it lies, or a copy in `room`. */
static int widened(struct machine *m, cl_mem room, struct times *t)
{
    const cl_ulong n = (cl_ulong)t->cols * (cl_ulong)t->depth;
    const int code = t->b_type ? widen(m, t->b.buffer, t->b_type, t->b.at, n, 1, room) : 0;
    t->b = t->b_type ? (struct rows){room, 0} : t->b;
    t->b_type = 0;
    return code;
}

/* Weights in f32, which every tile of rows reads, rounded once. */
static int rounded(struct machine *m, cl_mem room, struct times *t)
{
    const int code = narrow(m, t->b.buffer, (cl_ulong)t->cols * (cl_ulong)t->depth, m->matrix, 1, room);
    t->b.buffer = room;
    t->b_type = m->matrix;
    return code;
}

static int by_matrix_units(struct machine *m, struct times t, cl_mem room)
{
    int code = 0;
    if (t.b_type && t.b_type != m->matrix)
        code = widened(m, room, &t);
    else if (!t.b_type && !t.b.at && !t.a_turned)
        code = rounded(m, room, &t);
    return code ? code : product_nv(m, &t, room);
}

#ifdef CLGAZE_HAVE_CLBLAST
static int by_clblast(struct machine *m, struct times t, cl_mem room)
{
    const size_t rows = (size_t)t.rows, cols = (size_t)t.cols, depth = (size_t)t.depth;
    int code = widened(m, room, &t);
    if (code)
        return code;
    CLBlastStatusCode answer =
        CLBlastSgemm(CLBlastLayoutRowMajor, t.a_turned ? CLBlastTransposeYes : CLBlastTransposeNo,
                     t.b_turned ? CLBlastTransposeYes : CLBlastTransposeNo, rows, cols, depth, 1.0f, t.a.buffer,
                     t.a.at, t.a_turned ? rows : depth, t.b.buffer, t.b.at, t.b_turned ? depth : cols,
                     t.add ? 1.0f : 0.0f, t.y.buffer, t.y.at, cols, &m->device.queue, NULL);
    return answer == CLBlastSuccess ? 0
                                    : fail(EXIT_OPENCL, "CLBlast answered %d to a product of %zu x %zu x %zu",
                                           (int)answer, rows, cols, depth);
}
#endif

/* Terms from .. from + n - 1. */
static int some_terms(struct machine *m, const struct times *t, cl_int from, cl_int n, cl_mem room)
{
    const size_t panels = ((size_t)t->cols + PANEL - 1) / PANEL, first = (size_t)from;
    const cl_ulong over_column = t->b_turned ? (cl_ulong)t->depth : 1;
    const cl_ulong over_term = t->b_turned ? 1 : (cl_ulong)t->cols;
    const cl_ulong b_at = t->b.at + first * over_term, y_at = t->y.at, turned_at = panels * PANEL * (cl_ulong)n;
    const cl_ulong from_at = t->a.at + first * (cl_ulong)t->rows, a_at = t->a_turned ? turned_at : t->a.at + first;
    const cl_int stride = t->a_turned ? n : t->depth, add = t->add || from;
    cl_mem a = t->a_turned ? room : t->a.buffer;
    const struct arg pack[] = {ARG(t->b.buffer), ARG(t->b_type), ARG(b_at), ARG(over_column),
                               ARG(over_term),   ARG(t->cols),   ARG(n),    ARG(room)};
    const struct arg turn[] = {ARG(t->a.buffer), ARG(from_at), ARG(t->rows), ARG(n), ARG(room), ARG(turned_at)};
    const struct arg matmul[] = {ARG(a),    ARG(a_at),    ARG(stride),      ARG(t->rows), ARG(n),
                                 ARG(room), ARG(t->cols), ARG(t->y.buffer), ARG(y_at),    ARG(add)};
    int code = launch(m, K_PACK, panels, ((size_t)n + PACKED - 1) / PACKED, 1, pack, 8);
    if (!code && t->a_turned)
        code =
            launch(m, K_TURN, ((size_t)t->rows + PANEL - 1) / PANEL, ((size_t)n + TURNED - 1) / TURNED, 1, turn, 6);
    return code
               ? code
               : launch(m, K_MATMUL, ((size_t)t->rows + BM - 1) / BM, ((size_t)t->cols + BN - 1) / BN, 1, matmul, 10);
}

static int multiply(struct machine *m, const struct times *t, cl_mem room)
{
    if (product_nv_fits(m, t))
        return by_matrix_units(m, *t, room);
#ifdef CLGAZE_HAVE_CLBLAST
    if (!m->processor)
        return by_clblast(m, *t, room);
#endif
    int code = 0;
    for (cl_int from = 0; from < t->depth && !code; from += DEPTH)
        code = some_terms(m, t, from, (cl_int)least(DEPTH, t->depth - from), room);
    return code;
}

int product(struct machine *m, cl_mem x, size_t x_at, cl_int n, const struct matrix *w, cl_int first, cl_int count,
            cl_mem room, cl_int add, cl_mem y)
{
    const struct times t = {.rows = n,
                            .cols = count,
                            .depth = w->cols,
                            .a = {x, x_at},
                            .b = {w->buffer, (size_t)first * (size_t)w->cols},
                            .y = {y, 0},
                            .b_turned = 1,
                            .b_type = w->type,
                            .add = add};
    return multiply(m, &t, room);
}

int product_back(struct machine *m, struct rows dy, cl_int n, const struct matrix *w, cl_mem room, cl_int add,
                 struct rows dx)
{
    const struct times t = {.rows = n,
                            .cols = w->cols,
                            .depth = w->rows,
                            .a = dy,
                            .b = {w->buffer, 0},
                            .y = dx,
                            .b_type = w->type,
                            .add = add};
    return multiply(m, &t, room);
}

int product_weights(struct machine *m, struct rows dy, struct rows x, cl_int n, const struct matrix *dw, cl_mem room)
{
    const struct times t = {.rows = dw->rows,
                            .cols = dw->cols,
                            .depth = n,
                            .a = dy,
                            .b = x,
                            .y = {dw->buffer, 0},
                            .a_turned = 1,
                            .add = 1};
    return multiply(m, &t, room);
}
