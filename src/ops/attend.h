/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attend.h: what the strategies of attend share: their kernels take the same
 * arguments.
 */
#ifndef CLG_OPS_ATTEND_H
#define CLG_OPS_ATTEND_H

#include "internal.h"

/* How a strategy cuts the work. */
struct clg_cut {
    int rows;     /* query rows a work-group                               */
    int heads;    /* query heads a work-group                              */
    size_t items; /* work-items a work-group                              */
};

/* Of attend's strategies; of others that compute as attend does, without the form of the lists. */
void clg_attend_form_key(const clgaze_problem *p, struct clg_text *text);
void clg_attend_key(const clgaze_problem *p, struct clg_text *text);
void clg_attend_define(const clgaze_problem *p, const int *values, struct clg_text *text);
clgaze_status clg_attend_enqueue(struct clg_run *run, struct clg_cut cut);
/* The arguments of a call; a strategy may add more. */
enum { CLG_ATTEND_ARGS = 28 };
struct clg_attend_args {
    cl_ulong4 q_at, k_at, v_at, out_at;
    cl_ulong c_at, b_at, l_at, seqs_from;
    cl_int block_q, block_k, width, list_heads, sequences, sq, sk, rows, q_heads, group;
    cl_float fold, scale;
    struct clg_arg list[CLG_ATTEND_ARGS + 14];
};
/* What attention is for truth: dense, with lse. */
clgaze_problem clg_attend_dense(const clgaze_problem *p);
void clg_attend_args(const struct clg_run *run, int block_q, int block_k, struct clg_attend_args *a);
/* scale * log2(e) = fold * scale: a signed power of two, and 1 <= scale < 2. */
void clg_attend_fold(const clgaze_problem *p, cl_float *fold, cl_float *scale);

/* Without lists the blocks are ours to choose: one group's rows, or a walk of large ones. */
int clg_attend_block(const clgaze_problem *p, int block, int ours);
/* Groups along one axis: blocks of the longest sequence, each in tiles of `rows`. */
size_t clg_attend_tiles(int longest, int block, int rows);

/* Of cl/attend.cl, whose tiles truth uses too: WG, BM and BN. */
extern const struct clg_param clg_attend_space[];
const char *clg_attend_fits(const struct clg_device *device, const clgaze_problem *p, const int *values);
/* Of cl/attend_cpu.cl, whose micro-tiles attend_bwd uses too. */
enum { CLG_CPU_BM, CLG_CPU_KT, CLG_CPU_VEC, CLG_CPU_NV, CLG_CPU_MR };
extern const struct clg_param clg_attend_cpu_space[];
const char *clg_attend_cpu_fits(const struct clg_device *device, const clgaze_problem *p, const int *values);

#endif
