/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attend_bwd.h: the steps of attend_bwd, which its strategies share or replace
 * one by one.  A strategy's entries are these four, in this order; one that makes
 * dq beside dk and dv has three.
 */
#ifndef CLG_OPS_ATTEND_BWD_H
#define CLG_OPS_ATTEND_BWD_H

#include "attend.h"

enum { CLG_BWD_MAP, CLG_BWD_DELTA, CLG_BWD_KV, CLG_BWD_Q };

/* The lists turned round, unless attention is dense; delta.  Both of cl/bwd.cl, both into the workspace. */
clgaze_status clg_bwd_map(struct clg_run *run);
clgaze_status clg_bwd_delta(struct clg_run *run);
/* dk and dv by work-groups of `rows` keys, dq by those of `rows` queries. */
clgaze_status clg_bwd_kv(struct clg_run *run, struct clg_cut cut);
clgaze_status clg_bwd_q(struct clg_run *run, struct clg_cut cut);
/* The arguments of clg_bwd_kv(); a strategy may add more. */
enum { CLG_BWD_KV_ARGS = 32 };
struct clg_bwd_kv_args {
    struct clg_attend_args attend; /* fold and scale as attend_bwd has them */
    cl_ulong4 dout_at, dk_at, dv_at;
    cl_ulong delta_at, map_at;
    cl_int cols;
    struct clg_arg list[CLG_BWD_KV_ARGS + 8];
};
void clg_bwd_kv_args(const struct clg_run *run, int block_q, int block_k, struct clg_bwd_kv_args *a);
/* All four. */
clgaze_status clg_bwd_launch(struct clg_run *run, struct clg_cut cut);

#endif
