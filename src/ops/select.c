/* SPDX-License-Identifier: Apache-2.0 */
/*
 * select.c: launcher of cl/select.cl, cl/select_cpu.cl and cl/select_nv.cl,
 * which differ in how many work-items share a row.  Where heads merge into one list, cl/merge.cl
 * writes their common row into the workspace first.
 */
#include "internal.h"

static const struct clg_param space[] = {
    {"WG", 64, {32, 64, 128, 256}}, /* work-items a row */
    {NULL, 0, {0}},
};
static const struct clg_param no_space[] = {{NULL, 0, {0}}};
enum { SELECT, MERGE };

static void key(const clgaze_problem *p, struct clg_text *text)
{
    clg_put(text, "f32 %s", p->rule >= CLGAZE_THRESHOLD ? "mass" : "count");
}

static void define(const clgaze_problem *p, const int *values, struct clg_text *text)
{
    (void)values;
    clg_define(text, "PACKED", p->packed);
    clg_define(text, "RULE", p->rule);
}

static const char *fits(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    (void)p;
    if (device->local_bytes < 12288 + 4 * (size_t)values[0])
        return "the device has too little local memory";
    return (size_t)values[0] > device->max_group ? "the device's work-groups are smaller than WG" : NULL;
}

enum { MERGE_ITEMS = 64 }; /* a row; on a CPU one */

static void define_cpu(const clgaze_problem *p, const int *values, struct clg_text *text)
{
    define(p, values, text);
    clg_define(text, "MERGE_WG", 1);
}

static const char *fits_cpu(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    (void)p;
    (void)values;
    return device->cpu ? NULL : "the device is not a CPU";
}

/* Elements at which the slice begins: a slice of the workspace holds its own rows, the caller's tensor all. */
static cl_ulong slice_at(const struct clg_run *run, const clgaze_tensor *x)
{
    const bool whole = x->shape[2] == run->n.rows;

    return x->offset + (whole ? (cl_ulong)run->n.first * (cl_ulong)run->n.cols : 0);
}

/* The rows that the rule works on: those given, or the heads' common ones. */
static clgaze_status merge(struct clg_run *run, size_t items, clgaze_tensor *rows_of_lists)
{
    const struct clg_sizes *n = &run->n;
    const clgaze_tensor *x = &run->t.scores;
    const int64_t shape[4] = {n->batch, n->list_heads, n->count, n->seen};
    const clgaze_tensor y = clg_scratch(run, CLG_AT_MERGED, 0, CLGAZE_F32, 4, shape);
    const cl_ulong x_at = slice_at(run, x), y_at = y.offset;
    const cl_int batch = n->batch, count = n->count, cols = n->seen, heads = n->list_heads;
    const cl_int pitch = (cl_int)x->shape[2];
    const cl_int share = n->score_heads / (n->list_heads ? n->list_heads : 1);
    const size_t groups[3] = {(size_t)count, (size_t)heads, (size_t)batch}, local[3] = {items, 1, 1};
    const struct clg_arg args[] = {CLG_ARG(x->buffer), CLG_ARG(x_at),  CLG_ARG(y.buffer), CLG_ARG(y_at),
                                   CLG_ARG(batch),     CLG_ARG(count), CLG_ARG(cols),     CLG_ARG(heads),
                                   CLG_ARG(share),     CLG_ARG(pitch)};

    *rows_of_lists = y;
    return clg_enqueue(run, MERGE, groups, local, args, CLG_COUNT(args));
}

/* Work-groups of `wg` items that take `share` rows each; of `merging` items to merge one. */
static clgaze_status enqueue(struct clg_run *run, size_t wg, int share, size_t merging)
{
    const clgaze_problem *p = run->p;
    const struct clg_sizes *n = &run->n;
    const clgaze_tensors *t = &run->t;
    const cl_int merged = n->score_heads != n->list_heads;
    clgaze_tensor x = t->scores;
    clgaze_status st = merged || run->warming ? merge(run, merging, &x) : CLGAZE_OK;
    const cl_ulong x_at = slice_at(run, &x), c_at = t->counts.offset, b_at = t->blocks.offset,
                   seqs_from = clg_seqs_from(run);
    const cl_int per_length = p->rule == CLGAZE_RATIO, limit_last = per_length ? clg_max_cols(p) : 0;
    const cl_int limit_stride = p->values ? limit_last + 1 : 0;
    const cl_int sequences = n->sequences, sq = n->sq, sk = n->sk, rows = n->rows, cols = n->seen, blocks_k = n->cols;
    const cl_int heads = n->list_heads, width = n->width, block_q = p->block_q, block_k = p->block_k;
    const cl_int sink = p->sink, local_n = p->local, last_rows = p->last_rows, min_k = p->min_k;
    const cl_int max_k = p->max_k_blocks ? p->max_k_blocks : INT32_MAX;
    const cl_int first = n->first, count = n->count, pitch = (cl_int)x.shape[2];
    const int most = clg_slice_rows_seq(n);
    const size_t groups[3] = {(size_t)((most + share - 1) / share), (size_t)heads, (size_t)sequences};
    const size_t local[3] = {wg, 1, 1};
    const struct clg_arg args[] = {CLG_ARG(x.buffer),
                                   CLG_ARG(x_at),
                                   CLG_ARG(run->stage->constants),
                                   CLG_ARG(limit_stride),
                                   CLG_ARG(limit_last),
                                   CLG_ARG(t->counts.buffer),
                                   CLG_ARG(c_at),
                                   CLG_ARG(t->blocks.buffer),
                                   CLG_ARG(b_at),
                                   CLG_ARG(run->workspace),
                                   CLG_ARG(seqs_from),
                                   CLG_ARG(sequences),
                                   CLG_ARG(sq),
                                   CLG_ARG(sk),
                                   CLG_ARG(rows),
                                   CLG_ARG(cols),
                                   CLG_ARG(blocks_k),
                                   CLG_ARG(heads),
                                   CLG_ARG(width),
                                   CLG_ARG(block_q),
                                   CLG_ARG(block_k),
                                   CLG_ARG(sink),
                                   CLG_ARG(local_n),
                                   CLG_ARG(last_rows),
                                   CLG_ARG(min_k),
                                   CLG_ARG(max_k),
                                   CLG_ARG(merged),
                                   CLG_ARG(first),
                                   CLG_ARG(count),
                                   CLG_ARG(pitch)};

    return st == CLGAZE_OK ? clg_enqueue(run, SELECT, groups, local, args, CLG_COUNT(args)) : st;
}

static clgaze_status launch(struct clg_run *run)
{
    return enqueue(run, (size_t)run->stage->values[0], 1, MERGE_ITEMS);
}

static clgaze_status launch_cpu(struct clg_run *run)
{
    return enqueue(run, 1, 1, 1);
}

/* ---- NVIDIA ---------------------------------------------------------------- */

static const struct clg_param nv_space[] = {
    {"TEAM", 1, {1, 4, 8, 16}}, /* warps a row */
    {NULL, 0, {0}},
};
enum { TEAM };

/* Keys that a lane holds, so that the team holds a row. */
static int nv_keys(const clgaze_problem *p, const int *values)
{
    int keys = 4;

    while (keys * values[TEAM] * 32 < clg_max_cols(p))
        keys *= 2;
    return keys;
}

static clgaze_status launch_nv(struct clg_run *run)
{
    const int team = run->stage->values[TEAM];

    return team > 1 ? enqueue(run, (size_t)team * 32, 1, MERGE_ITEMS) : enqueue(run, 4 * 32, 4, MERGE_ITEMS);
}

static void define_nv(const clgaze_problem *p, const int *values, struct clg_text *text)
{
    define(p, values, text);
    clg_define(text, "KEYS", nv_keys(p, values));
}

static const char *fits_nv(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    if (device->nv_arch < 80)
        return "the device is not an NVIDIA GPU of compute capability 8.0 or more";
    return nv_keys(p, values) > (values[TEAM] < 16 ? 16 : 32) ? "TEAM warps have too few registers for a row" : NULL;
}

/* ---- the rule's numbers ------------------------------------------------------ */

/* What the rule needs to know, computed in double here, not on the device: the
 * number to choose for each length of a row, or the bound in 32 bits. */
static cl_int limit_of(const clgaze_problem *p, double value, int nk)
{
    double bound = value * 4294967296.0;

    if (p->rule < CLGAZE_THRESHOLD)
        return clg_rule_count(p, value, nk);
    return (cl_int)(cl_uint)(bound < 4294967295.0 ? bound : 4294967295.0);
}

static clgaze_status prepare(clgaze_context *ctx, const clgaze_problem *p, struct clg_stage *stage)
{
    const int lengths = p->rule == CLGAZE_RATIO ? clg_max_cols(p) + 1 : 1;
    const int heads = p->values ? clg_list_heads(p) : 1;
    const size_t bytes = (size_t)lengths * (size_t)heads * sizeof(cl_int);
    cl_int *limits = clg_alloc(ctx, bytes);
    clgaze_status st = CLGAZE_OK;
    cl_int err = CL_SUCCESS;

    NEED(limits, CLGAZE_ERR_NO_MEMORY, "no memory for the limits of select");
    for (int h = 0; h < heads; h++)
        for (int i = 0; i < lengths; i++)
            limits[h * lengths + i] =
                limit_of(p, p->values ? (double)p->values[h] : p->value, lengths > 1 ? i : clg_max_cols(p));
    stage->constants = clCreateBuffer(ctx->cl, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, bytes, limits, &err);
    NEED(err == CL_SUCCESS, CLGAZE_ERR_OPENCL, "clCreateBuffer answered %d for the limits of select", (int)err);
out:
    clg_release(ctx, limits);
    return st;
}

const struct clg_kernel clg_kernel_select = {
    .op = "select",
    .name = "select",
    .space = space,
    .sources = (const char *const[]){"common.cl", "rank.cl", "select.cl", "merge.cl", NULL},
    .entries = (const char *const[]){"select_rows", "merge", NULL},
    .options = "",
    .key = key,
    .define = define,
    .fits = fits,
    .prepare = prepare,
    .launch = launch,
};

const struct clg_kernel clg_kernel_select_cpu = {
    .op = "select",
    .name = "select_cpu",
    .cpu = true,
    .space = no_space,
    .sources = (const char *const[]){"common.cl", "rank.cl", "select_cpu.cl", "merge.cl", NULL},
    .entries = (const char *const[]){"select_cpu", "merge", NULL},
    .options = "",
    .key = key,
    .define = define_cpu,
    .fits = fits_cpu,
    .prepare = prepare,
    .launch = launch_cpu,
};

const struct clg_kernel clg_kernel_select_nv = {
    .op = "select",
    .name = "select_nv",
    .space = nv_space,
    .sources = (const char *const[]){"common.cl", "rank.cl", "select_nv.cl", "merge.cl", NULL},
    .entries = (const char *const[]){"select_nv", "merge", NULL},
    .options = "-cl-nv-verbose",
    .prove = true,
    .key = key,
    .define = define_nv,
    .fits = fits_nv,
    .prepare = prepare,
    .launch = launch_nv,
};
