/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate.h: what the strategies of gate share; gate.c defines it.
 */
#ifndef CLG_GATE_H
#define CLG_GATE_H

#include "tile.h"

/* One side of the gate: y = rope(x w). */
struct clg_gate_side {
    const clgaze_tensor *x, *w, *y; /* w NULL: the side has no matrix          */
    bool keys;
    cl_int rows, rows_seq; /* of the shapes; most of one sequence     */
    cl_int heads, share;   /* of y; of them that read one head of x   */
    cl_int k, block;       /* channels of x; tokens of a row          */
};

struct clg_gate_side clg_gate_side(const struct clg_run *run, bool keys);

/* RoPE by cl/rope.cl, the stage's kernel `entry`, of the queries, and of the keys where `sides` is 2: of y, or
 * without a matrix from x to y. `back`: the transposed turn. */
clgaze_status clg_gate_turn(struct clg_run *run, int entry, const struct clg_gate_side *q,
                            const struct clg_gate_side *k, int sides, bool back);
/* Multiply-adds of a side's matrix. */
double clg_gate_macs(const struct clg_run *run, const struct clg_gate_side *s);
/* y = x w by cl/gate.cl. */
clgaze_status clg_gate_multiply(struct clg_run *run, const struct clg_gate_side *s);
/* Both sides: `multiply` where there is a matrix, then RoPE. */
clgaze_status clg_gate_launch(struct clg_run *run,
                              clgaze_status (*multiply)(struct clg_run *run, const struct clg_gate_side *s));

/* For the records. */
void clg_gate_key(const clgaze_problem *p, struct clg_text *text);
void clg_gate_define(const clgaze_problem *p, const int *values, struct clg_text *text);
const char *clg_gate_fits(const struct clg_device *device, const clgaze_problem *p, const int *values);

#endif
