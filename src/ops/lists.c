/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lists.c: launcher of cl/lists.cl: a mask or CSR becomes counts and blocks in
 * the workspace, and lists are checked where the plan asks for it.
 */
#include "internal.h"

enum { MASK, CSR, CHECK, CLEAR };

/* The lowest bad row lies first, then counts, then blocks. */
static void place(struct clg_run *run, clgaze_tensor *bad)
{
    const struct clg_sizes *n = &run->n;
    const int64_t one = 1, rows = (int64_t)n->batch * n->list_heads * n->rows;
    const int64_t counts[3] = {n->batch, n->list_heads, n->rows};
    const int64_t blocks[4] = {n->batch, n->list_heads, n->rows, n->cols};

    *bad = clg_scratch(run, CLG_AT_LISTS, 0, CLGAZE_I32, 1, &one);
    if (run->p->lists == CLGAZE_LISTS_BLOCKS)
        return;
    run->t.counts = clg_scratch(run, CLG_AT_LISTS, 256, CLGAZE_I32, 3, counts);
    run->t.blocks = clg_scratch(run, CLG_AT_LISTS, 256 + CLG_ALIGN((size_t)rows * 4), CLGAZE_I32, 4, blocks);
    run->n.width = n->cols;
}

/* Kernels take a pointer and an offset in elements. */
#define AT(tensor)                                                                                                   \
    CLG_ARG((tensor).buffer),                                                                                        \
    {                                                                                                                \
        sizeof(cl_ulong), &(cl_ulong)                                                                                \
        {                                                                                                            \
            (tensor).offset                                                                                          \
        }                                                                                                            \
    }

static clgaze_status convert(struct clg_run *run, const clgaze_tensor *bad, const size_t groups[3],
                             const size_t local[3], cl_int rows)
{
    const clgaze_tensors *t = &run->t;
    const cl_int cols = run->n.cols, entries = (cl_int)t->indices.shape[0];
    const struct clg_arg mask[] = {AT(t->mask), AT(t->counts), AT(t->blocks), CLG_ARG(rows), CLG_ARG(cols)};
    const struct clg_arg csr[] = {AT(t->indptr), AT(t->indices), AT(t->counts),    AT(t->blocks),
                                  CLG_ARG(rows), CLG_ARG(cols),  CLG_ARG(entries), AT(*bad)};
    clgaze_status st = CLGAZE_OK;

    if (run->p->lists == CLGAZE_LISTS_MASK || run->warming)
        st = clg_enqueue(run, MASK, groups, local, mask, CLG_COUNT(mask));
    if (st == CLGAZE_OK && (run->p->lists == CLGAZE_LISTS_CSR || run->warming))
        st = clg_enqueue(run, CSR, groups, local, csr, CLG_COUNT(csr));
    return st;
}

/* The one place where a call waits: the caller asked for it with `validate`. */
static clgaze_status read_verdict(struct clg_run *run, const clgaze_tensor *bad)
{
    const clgaze_context *ctx = run->plan->ctx;
    const struct clg_sizes *n = &run->n;
    clgaze_status st = CLGAZE_OK;
    cl_int row = 0;

    TRY_CL(clEnqueueReadBuffer(run->queue, bad->buffer, CL_TRUE, bad->offset * 4, 4, &row, run->last ? 1 : 0,
                               run->last ? &run->last : NULL, NULL));
    NEED(row == INT32_MAX, CLGAZE_ERR_LIST,
         "the list of batch %d, head %d, query block %d is not ascending block numbers in 0..%d, or its count is "
         "outside 0..%d",
         row / (n->list_heads * n->rows), row / n->rows % n->list_heads, row % n->rows, n->cols - 1, n->width);
out:
    return st;
}

static clgaze_status launch(struct clg_run *run)
{
    const struct clg_sizes *n = &run->n;
    const cl_int rows = n->batch * n->list_heads * n->rows, cols = n->cols;
    const size_t local[3] = {8, 1, 1}, groups[3] = {((size_t)rows + 7) / 8, 1, 1}, one[3] = {1, 1, 1};
    clgaze_tensor bad;
    clgaze_status st;

    place(run, &bad);
    {
        const cl_int width = run->n.width;
        const struct clg_arg clear[] = {AT(bad)};
        const struct clg_arg check[] = {
            AT(run->t.counts), AT(run->t.blocks), CLG_ARG(rows), CLG_ARG(cols), CLG_ARG(width), AT(bad),
        };

        st = clg_enqueue(run, CLEAR, one, one, clear, CLG_COUNT(clear));
        if (st == CLGAZE_OK)
            st = convert(run, &bad, groups, local, rows);
        if (st == CLGAZE_OK && (run->p->validate || run->warming))
            st = clg_enqueue(run, CHECK, groups, local, check, CLG_COUNT(check));
    }
    if (st == CLGAZE_OK && run->p->validate && !run->warming)
        st = read_verdict(run, &bad);
    return st;
}

const struct clg_kernel clg_kernel_lists = {
    .op = "lists",
    .name = "lists",
    .sources = (const char *const[]){"common.cl", "lists.cl", NULL},
    .entries = (const char *const[]){"lists_mask", "lists_csr", "lists_check", "lists_clear", NULL},
    .options = "",
    .launch = launch,
};
