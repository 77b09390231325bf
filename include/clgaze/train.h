/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clgaze/train.h: what training needs beside the pipeline.
 *
 *     q, k, v -> truth -> truth, out                          teach a gate
 *     q_pooled, k_pooled, truth, w_k, w_q -> distill -> loss, dw_k, dw_q, and w_k, w_q changed
 *     q, k, v, lists, out, lse, dout -> attend_bwd -> dq, dk, dv   teach the model behind it
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

/**
 * Plan distill.  Of the problem it reads what gate and score read; weight_dtype
 * must be F32.  The plan holds gate and score too, which it runs itself.
 *
 * Arguments and answers are those of clgaze_gate_plan().
 * @since 1.0
 */
CLGAZE_API clgaze_status clgaze_distill_plan(clgaze_context *context, const clgaze_problem *problem,
                                             clgaze_plan **plan);

/**
 * Enqueue one step of teaching the gate: q_pooled, k_pooled, truth, w_k (double
 * form: and w_q), rope_inv_freq -> loss, dw_k (and dw_q).
 *
 * loss is the mean, over the rows of blocks that count, heads and sequences, of
 * the divergence of the gate's softmax from the truth; the first quarter of a
 * sequence's rows does not count.  Tokens of unpacked sequences are as of
 * clgaze_score().
 *
 * With `call->update` the weights then learn, by AdamW: w_k and moments_k (and
 * w_q and moments_q) are read and written.  They are the whole state beside the
 * number of the step: moments begin as zeros, and a copy of them continues to
 * the very bits, on the same device with the same kernels.  Where the loss is no
 * finite number, weights and moments stay as they are.
 *
 * Arguments and answers are those of clgaze_gate(), and
 * @retval CLGAZE_ERR_VALUE  A number of `call->update` is outside its range.
 * @since 1.0
 */
CLGAZE_API clgaze_status clgaze_distill(const clgaze_plan *plan, const clgaze_tensors *tensors,
                                        const clgaze_call *call);

/**
 * Plan attend_bwd.  Of the problem it reads what attend reads; `lse` need not
 * be set.
 *
 * Arguments and answers are those of clgaze_attend_plan().
 * @since 1.0
 */
CLGAZE_API clgaze_status clgaze_attend_bwd_plan(clgaze_context *context, const clgaze_problem *problem,
                                                clgaze_plan **plan);

/**
 * Enqueue the gradients of attention: q, k, v, the lists in the form that the
 * problem names, out and lse as attend made them from these, and dout, the
 * gradient of out -> dq, dk, dv.
 *
 * out, dout and dq are [B,Sq,Hq,D], dk and dv [B,Sk,Hk,D], all of problem.dtype
 * and with any strides as token tensors have; lse is [B,Hq,Sq] f32, compact.
 * All are yours.  Inputs may overlap each other; dq, dk and dv overlap nothing.
 * They are written, not added to, whatever they held; dk and dv are summed over
 * the query heads of the group.  A query without a key (lse -inf) gets dq 0 and
 * adds nothing; a key that no query keeps gets dk and dv 0.  The sums have one
 * order: a device gives the same bits in every run of a plan.
 *
 * Arguments and answers are those of clgaze_attend().
 * @since 1.0
 */
CLGAZE_API clgaze_status clgaze_attend_bwd(const clgaze_plan *plan, const clgaze_tensors *tensors,
                                           const clgaze_call *call);

#ifdef __cplusplus
}
#endif
#endif
