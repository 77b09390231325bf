/* SPDX-License-Identifier: Apache-2.0 */
/*
 * learner.h: a gate on the device while it learns.
 */
#ifndef CLGAZE_TOOLS_LEARNER_H
#define CLGAZE_TOOLS_LEARNER_H

#include "execute.h"

/** What a gate has: its matrices and AdamW's moments, in this order. */
enum { W_K, W_Q, MOMENTS_K, MOMENTS_Q, DW_K, DW_Q, N_LEARNED, N_STATE = DW_K };
extern const char *const learned_names[N_LEARNED]; /**< "w_k" .. "dw_q"            */

struct learner {
    struct device *device; /**< borrowed                                            */
    clgaze_plan *plan;
    cl_mem workspace, loss, buffers[N_LEARNED];
    st_tensor shapes[N_LEARNED]; /**< f32, without data; `elements` 0: not in this form */
    clgaze_tensors tensors;      /**< of the gate alone                             */
};

/**
 * Plan distill for a problem; the gate and its moments are zeros.
 *
 * @return 0, or an exit code after a sentence; free with learner_free() either way.
 */
int learner_open(struct device *device, const clgaze_problem *problem, struct learner *learner);

void learner_free(struct learner *learner);

/** Let the gate start as normal(0, .02), from `state` on. @return As learner_open(). */
int learner_start(struct learner *learner, uint64_t *state);

/** Write or read one of the arrays: shapes[which].elements floats. */
int learner_put(struct learner *learner, int which, const float *from);
int learner_get(struct learner *learner, int which, float *to);

/**
 * Make one step and wait for its loss; where that is no finite number nothing was learnt.
 *
 * @param[in] lesson  The data: tensors and longest lengths.
 * @param[out] loss   Before the step.
 */
struct lesson;
int learner_step(struct learner *learner, const struct lesson *lesson, const clgaze_adamw *step, float *loss);

/** Write the gates of n learners, layers `layer` and so on, as gates_write() does. @return As learner_open(). */
int learners_write(const char *path, struct learner *learners, size_t n, const clgaze_problem *problem, int32_t layer,
                   int bf16);

#endif
