/* SPDX-License-Identifier: Apache-2.0 */
/*
 * training.h: how a gate learns: the steps, the rate of each, and where it starts.
 */
#ifndef CLGAZE_TOOLS_TRAINING_H
#define CLGAZE_TOOLS_TRAINING_H

#include <clgaze/clgaze.h>

/** The options of training. */
struct training {
    clgaze_adamw step; /**< `lr` is the greatest rate; `step` is not used         */
    int32_t steps;
    int32_t cosine; /**< 0: constant; 1: falls to 0 along half a cosine          */
    int32_t warmup; /**< steps in which the rate grows from 0                    */
};

/** Constant rate 0.001, no warm-up, 400 steps. */
struct training training_default(void);

/** Check what the library would refuse step by step. @return 0, or an exit code after a sentence. */
int training_check(const struct training *training);

/**
 * One step with its rate.  As in the published recipe the rate is that of the steps
 * already done: with a warm-up the first step has rate 0.
 *
 * @param[in] step  Counted from 1.
 */
clgaze_adamw training_step(const struct training *training, int32_t step);

/** Fill `x` with normal(0, .02), the same on every machine for the same `state`. */
void training_start(uint64_t *state, float *x, size_t n);

#endif
