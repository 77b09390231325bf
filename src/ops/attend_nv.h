/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attend_nv.h: what strategies share that walk keys as cl/nv_walk.cl does.
 */
#ifndef CLG_OPS_ATTEND_NV_H
#define CLG_OPS_ATTEND_NV_H

#include "attend.h"

/* Values as those of attend_nv: STAGES, ROWS, HEADS. */
void clg_attend_nv_define(const clgaze_problem *p, const int *values, struct clg_text *text);
const char *clg_attend_nv_fits(const struct clg_device *device, const clgaze_problem *p, const int *values,
                               bool wgmma);

/* What serves by the teams of cl/attend_nv_team.cl: values as its space has them, STAGES and HEADS. */
void clg_attend_team_define(const clgaze_problem *p, const int *values, struct clg_text *text);
const char *clg_attend_team_fits(const struct clg_device *device, const clgaze_problem *p, const int *values);
/* Bytes that its counter takes at the beginning of the workspace; groups that a launch has at most. */
enum { CLG_TEAM_COUNTER = 256 };
int clg_attend_team_groups(const clgaze_context *ctx);
/* Entries of the program: the kernel, and the one that clears the counter; `more` follow the kernel's arguments. */
clgaze_status clg_attend_team_enqueue(struct clg_run *run, int heads_each, const struct clg_arg *more, int n_more);

/* Of truth by either walk: tiles of 64 keys that rows may walk; lse, and v, where the caller has none. */
int64_t clg_truth_nv_tiles(const clgaze_problem *p);
void clg_truth_nv_fill(struct clg_run *run);

#endif
