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

#endif
