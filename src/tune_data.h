/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune_data.h: made-up tensors at the size of a real problem, for timing.
 */
#ifndef CLG_TUNE_DATA_H
#define CLG_TUNE_DATA_H

#include "check.h"

struct tune_data {
    clgaze_context *ctx;
    clgaze_problem problem;
    clgaze_op op;
    clgaze_tensors t;
    struct check check;
    int sq, sk;
    cl_mem buffer[FIELDS];
    float *kept[FIELDS]; /* the tail of each result as candidate 0 computed it */
    uint64_t random;
};

/* The problem that stands for all of its class: one sequence, not packed, lists as blocks, and no
 * more heads than fit into some hundred megabytes. */
clgaze_problem clg_tune_problem(clgaze_op op, const clgaze_problem *p);
/* Make tensors: the last sq query tokens of max_k keys; of attend_bwd, of as large a part of the keys. */
clgaze_status clg_tune_data_open(struct tune_data *d, clgaze_context *ctx, clgaze_op op, const clgaze_problem *p,
                                 int sq);
int clg_tune_data_visible(const struct tune_data *d, int row); /* key blocks that a row of blocks sees */
/* Overwrite the tail of the results, so that what wrote it before cannot pass for what runs next. */
bool clg_tune_data_spoil(struct tune_data *d, cl_command_queue queue);
/* Does the tail of the results agree with what candidate 0 computed? The first call keeps it. */
bool clg_tune_data_agrees(struct tune_data *d, cl_command_queue queue);
void clg_tune_data_close(struct tune_data *d);

#endif
