/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lesson.h: what one file teaches a gate: pooled queries and keys, and the truth.
 */
#ifndef CLGAZE_TOOLS_LESSON_H
#define CLGAZE_TOOLS_LESSON_H

#include "execute.h"

/** On the device until lesson_free(). */
struct lesson {
    cl_mem q_pooled, k_pooled, truth, rope, cu_q, cu_k, lengths;
    clgaze_tensors tensors; /**< as distill wants them, but for the gate         */
    int32_t longest_q, longest_k;
};

/**
 * Pool q_gate and k_gate of a job of distill, and take the truth from the file or make it of q and k.
 *
 * @return 0, or an exit code after a sentence; free with lesson_free() either way.
 */
int lesson_make(struct device *device, const struct job *job, struct lesson *lesson);

void lesson_free(struct lesson *lesson);

#endif
