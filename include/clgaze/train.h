/*
 * clgaze/train.h: what training a gate needs beside the pipeline.
 *
 *     q, k, v -> truth -> truth, out
 *
 * Problems, tensors, plans and calls are those of infer.h, and so are what
 * plans and calls answer.  What each operation computes is in docs/pipeline.md.
 */
#ifndef CLGAZE_TRAIN_H
#define CLGAZE_TRAIN_H

#include "infer.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Plan truth.  Of the problem it reads the shape of attention and `scale`;
 * lists are not used, and `lse` need not be set.
 *
 * Arguments and answers are those of clgaze_attend_plan().
 * @since 1.0
 */
CLGAZE_API clgaze_status clgaze_truth_plan(clgaze_context *context, const clgaze_problem *problem,
                                           clgaze_plan **plan);

/**
 * Enqueue dense attention that also tells which blocks it needed: q, k and, if
 * wanted, v -> truth, with v also out; lse is written where it is given.
 *
 * truth[h, i, j] is the greatest softmax weight between a query token of block
 * i and a key token of block j, divided by the sum of its row; 0 where nothing
 * is visible.  v and out are given both or neither.
 *
 * Arguments and answers are those of clgaze_attend().
 * @since 1.0
 */
CLGAZE_API clgaze_status clgaze_truth(const clgaze_plan *plan, const clgaze_tensors *tensors,
                                      const clgaze_call *call);

#ifdef __cplusplus
}
#endif
#endif
