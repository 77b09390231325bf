/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compute.h: the type that attention computes in.
 */
#ifndef CLGAZE_LLAMA_COMPUTE_H
#define CLGAZE_LLAMA_COMPUTE_H

#include "config.h"
#include "kernels.h"

enum { COMPUTE_AUTO = -1 }; /* beside the clgaze_dtypes of numbers with a point */

/** What a run is to do: attention alone, or beside it keep what gates read, teach gates, train the model. */
enum want { WANT_OUT, WANT_GATE_INPUTS, WANT_TEACH, WANT_TRAIN, N_WANTS };

/** Read a --compute. @return 0, or an exit code after a sentence. */
int compute_read(const char *text, int32_t *compute);

/** Set what a model says of attention over `seq` tokens. */
void compute_shape(const struct config *config, cl_int seq, clgaze_problem *p);

/**
 * Set p->dtype; may compile.
 *
 * @param[in] compute  A clgaze_dtype, or COMPUTE_AUTO: the half-width type that suits what is wanted where
 *                     the library's strategy for it then uses matrix units, else f32.
 * @return 0, or an exit code after a sentence.
 */
int compute_choose(struct machine *m, const struct config *config, cl_int seq, int32_t compute, enum want want,
                   clgaze_problem *p);

#endif
