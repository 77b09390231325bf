/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attend.c: launcher of cl/attend.cl, for any device, and of cl/attend_cpu.cl.
 * Both take the same arguments, as do the strategies of attend_nv.c; they
 * differ in their spaces and in who may use them.
 */
#include <math.h>
#include <string.h>

#include "attend.h"

void clg_attend_key(const clgaze_problem *p, struct clg_text *text)
{
    clg_put(text, "%s d%d b%d", clgaze_dtype_name(p->dtype), p->head_dim, p->block_q);
    if (p->block_k != p->block_q)
        clg_put(text, "x%d", p->block_k);
    clg_put(text, " g%d", p->q_heads / p->kv_heads);
}

/* Matrix units do better with keys that rows or heads share, so there these are problems of their own. */
void clg_attend_form_key(const clgaze_problem *p, struct clg_text *text)
{
    clg_attend_key(p, text);
    if (p->dtype == CLGAZE_F32)
        return;
    if (p->lists == CLGAZE_LISTS_DENSE)
        clg_put(text, " dense");
    else if (p->scope != CLGAZE_SCOPE_Q && p->q_heads > p->kv_heads)
        clg_put(text, " shared");
}

void clg_attend_define(const clgaze_problem *p, const int *values, struct clg_text *text)
{
    (void)values;
    clg_define(text, "DTYPE", p->dtype);
    clg_define(text, "PACKED", p->packed);
    clg_define(text, "D", p->head_dim);
    clg_define(text, "LISTED", p->lists != CLGAZE_LISTS_DENSE);
    clg_define(text, "CAUSAL", p->causal);
    clg_define(text, "LSE", p->lse);
}

int clg_attend_block(const clgaze_problem *p, int block, int ours)
{
    return p->lists == CLGAZE_LISTS_DENSE ? ours : block;
}

size_t clg_attend_tiles(int longest, int block, int rows)
{
    return (size_t)((longest + block - 1) / block) * (size_t)((block + rows - 1) / rows);
}

void clg_attend_fold(const clgaze_problem *p, cl_float *fold, cl_float *scale)
{
    int power;
    const double factor = 2.0 * frexp((double)clg_attend_scale(p) * 1.4426950408889634, &power);

    *scale = factor != 0.0 ? (cl_float)fabs(factor) : 1.0f;
    *fold = factor != 0.0 ? (cl_float)copysign(ldexp(1.0, power - 1), factor) : 0.0f;
}

clgaze_problem clg_attend_dense(const clgaze_problem *p)
{
    clgaze_problem d = *p;

    d.lists = CLGAZE_LISTS_DENSE;
    d.lse = 1;
    return d;
}

void clg_attend_args(const struct clg_run *run, int block_q, int block_k, struct clg_attend_args *a)
{
    const clgaze_problem *p = run->p;
    const struct clg_sizes *n = &run->n;
    const clgaze_tensors *t = &run->t;
    const struct clg_arg list[CLG_ATTEND_ARGS] = {
        CLG_ARG(t->q.buffer),      CLG_ARG(a->q_at),        CLG_ARG(t->k.buffer),
        CLG_ARG(a->k_at),          CLG_ARG(t->v.buffer),    CLG_ARG(a->v_at),
        CLG_ARG(t->counts.buffer), CLG_ARG(a->c_at),        CLG_ARG(t->blocks.buffer),
        CLG_ARG(a->b_at),          CLG_ARG(a->width),       CLG_ARG(a->list_heads),
        CLG_ARG(t->out.buffer),    CLG_ARG(a->out_at),      CLG_ARG(t->lse.buffer),
        CLG_ARG(a->l_at),          CLG_ARG(run->workspace), CLG_ARG(a->seqs_from),
        CLG_ARG(a->sequences),     CLG_ARG(a->sq),          CLG_ARG(a->sk),
        CLG_ARG(a->rows),          CLG_ARG(a->block_q),     CLG_ARG(a->block_k),
        CLG_ARG(a->q_heads),       CLG_ARG(a->group),       CLG_ARG(a->fold),
        CLG_ARG(a->scale)};

    memcpy(a->list, list, sizeof list);
    a->q_at = clg_at(&t->q);
    a->k_at = clg_at(&t->k);
    a->v_at = clg_at(&t->v);
    a->out_at = clg_at(&t->out);
    a->c_at = t->counts.offset;
    a->b_at = t->blocks.offset;
    a->l_at = t->lse.offset;
    a->seqs_from = clg_seqs_from(run);
    a->block_q = block_q;
    a->block_k = block_k;
    a->width = n->width;
    a->list_heads = n->list_heads;
    a->sequences = n->sequences;
    a->sq = n->sq;
    a->sk = n->sk;
    a->rows = n->rows;
    a->q_heads = p->q_heads;
    a->group = p->q_heads / p->kv_heads;
    clg_attend_fold(p, &a->fold, &a->scale);
}

clgaze_status clg_attend_enqueue(struct clg_run *run, struct clg_cut cut)
{
    const clgaze_problem *p = run->p;
    const int block_q = clg_attend_block(p, p->block_q, cut.rows);
    const size_t groups[3] = {clg_attend_tiles(run->n.longest_q, block_q, cut.rows), (size_t)(p->q_heads / cut.heads),
                              (size_t)run->n.sequences};
    const size_t local[3] = {cut.items, 1, 1};
    struct clg_attend_args args;

    clg_attend_args(run, block_q, clg_attend_block(p, p->block_k, 64), &args);
    return clg_enqueue_long(run, 0, groups, local, args.list, CLG_ATTEND_ARGS, 2 * clg_attention_macs(run));
}

/* ---- any device ---------------------------------------------------------- */

const struct clg_param clg_attend_space[] = {
    {"WG", 128, {32, 64, 128, 256}}, /* work-items in a group */
    {"BM", 32, {4, 8, 16, 32, 64}},  /* query rows a group    */
    {"BN", 16, {8, 16, 32, 64}},     /* keys a tile           */
    {NULL, 0, {0}},
};
enum { WG, BM, BN };

const char *clg_attend_fits(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    const size_t row = (size_t)p->head_dim + 4, bm = (size_t)values[BM], bn = (size_t)values[BN];

    if (values[BM] * 8 % values[WG] != 0 || values[BM] * 8 / values[WG] > 8)
        return "BM must be 1 to 8 times WG / 8";
    if (4 * (bm * row + bn * row + bm * (bn + 1)) > device->local_bytes)
        return "the tiles need more local memory than the device has";
    return (size_t)values[WG] > device->max_group ? "the device's work-groups are smaller than WG" : NULL;
}

static clgaze_status launch(struct clg_run *run)
{
    return clg_attend_enqueue(run, (struct clg_cut){run->stage->values[BM], 1, (size_t)run->stage->values[WG]});
}

const struct clg_kernel clg_kernel_attend = {
    .op = "attend",
    .name = "attend",
    .space = clg_attend_space,
    .sources = (const char *const[]){"common.cl", "attend.cl", NULL},
    .entries = (const char *const[]){"attend", NULL},
    .options = "-cl-fast-relaxed-math",
    .key = clg_attend_form_key,
    .define = clg_attend_define,
    .fits = clg_attend_fits,
    .launch = launch,
};

/* ---- CPUs ------------------------------------------------------------------ */

const struct clg_param clg_attend_cpu_space[] = {
    {"BM", 64, {16, 32, 64, 128}}, /* query rows a work-item          */
    {"KT", 64, {16, 32, 64}},      /* keys a tile                     */
    {"VEC", 16, {8, 16}},          /* floats a vector                 */
    {"NV", 2, {1, 2}},             /* vectors of queries a micro-tile */
    {"MR", 8, {2, 4, 8}},          /* keys or channels a micro-tile   */
    {NULL, 0, {0}},
};
const char *clg_attend_cpu_fits(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    const int vec = values[CLG_CPU_VEC], nv = values[CLG_CPU_NV];
    const int registers = device->float_width >= 16 ? 32 : 16;

    (void)p;
    if (!device->cpu)
        return "the device is not a CPU";
    /* Large private arrays gave wrong results there; cause not found. */
    if (device->rusticl)
        return "rusticl does not hold its private arrays";
    if (vec == 16 && device->float_width < 16)
        return "the device's vectors are narrower than VEC";
    if (vec * nv < 16 || values[CLG_CPU_BM] % (vec * nv) != 0)
        return "a micro-tile must be 16 or more queries wide and divide BM";
    return nv * (values[CLG_CPU_MR] + 1) + 1 > registers ? "the micro-tile needs more registers than the device has"
                                                         : NULL;
}

static clgaze_status launch_cpu(struct clg_run *run)
{
    return clg_attend_enqueue(run, (struct clg_cut){run->stage->values[CLG_CPU_BM], 1, 1});
}

const struct clg_kernel clg_kernel_attend_cpu = {
    .op = "attend",
    .name = "attend_cpu",
    .cpu = true,
    .space = clg_attend_cpu_space,
    .sources = (const char *const[]){"common.cl", "attend_cpu.cl", NULL},
    .entries = (const char *const[]){"attend_cpu", NULL},
    .options = "-cl-fast-relaxed-math",
    .key = clg_attend_form_key,
    .define = clg_attend_define,
    .fits = clg_attend_cpu_fits,
    .launch = launch_cpu,
};
