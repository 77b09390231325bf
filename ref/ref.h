/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ref.h: the specification in plain C.
 *
 * Each function computes one operation of docs/pipeline.md on host arrays, with
 * double sums and no blocking, the formula above it.  Kernels, tuned
 * configurations and tuning candidates are all compared with these.
 */
#ifndef CLG_REF_H
#define CLG_REF_H

#include <stdbool.h>
#include <stdint.h>

#include "clgaze/infer.h"

/* Host arrays under the names, shapes and order of clgaze_tensors, all compact;
 * floats whatever problem.dtype is (round them before and after yourself).
 * Results are written through the non-const pointers; lse and the const ones
 * that an operation does not need may be NULL. */
struct clg_ref {
    int batch, sq, sk; /* shapes; packed: batch 1, tokens of all together  */
    int sequences;     /* packed: entries of cu_seqlens less one           */
    const int32_t *cu_seqlens_q, *cu_seqlens_k;
    const float *q, *k, *v, *q_gate, *k_gate, *rope_inv_freq, *w_k, *w_q;
    float *q_pooled, *k_pooled, *q_gated, *k_gated;
    float *scores;
    int score_heads; /* H of scores: Hq, or the lists' own number        */
    int32_t *counts, *blocks;
    int width; /* entries of a row of blocks                       */
    const uint8_t *mask;
    const int32_t *indptr, *indices;
    float *out, *lse;
    float *truth;
    const float *dout;
    float *dq, *dk, *dv;
};

/* One sequence: where its tokens and blocks begin, and how many there are. */
struct clg_ref_seq {
    int batch;              /* index of the batch dimension                     */
    int q0, sq, k0, sk;     /* first token and tokens                           */
    int row0, nq, col0, nk; /* first block and blocks; in q_pooled and k_pooled */
};

int clg_ref_sequences(const clgaze_problem *p, const struct clg_ref *t);
struct clg_ref_seq clg_ref_seq(const clgaze_problem *p, const struct clg_ref *t, int s);
int clg_ref_rows(const clgaze_problem *p, const struct clg_ref *t);     /* nq of the shapes */
int clg_ref_cols(const clgaze_problem *p, const struct clg_ref *t);     /* nk of scores and mask: longest */
int clg_ref_blocks_k(const clgaze_problem *p, const struct clg_ref *t); /* nk of k_pooled: all */
int clg_ref_list_heads(const clgaze_problem *p);
/* Key blocks that row i of a sequence sees: block numbers 0 .. answer - 1. */
int clg_ref_visible(const clgaze_problem *p, const struct clg_ref_seq *s, int i);
/* Is key block j in the list of this row?  `row` counts over batch, list heads and rows. */
bool clg_ref_listed(const clgaze_problem *p, const struct clg_ref *t, int64_t row, int j);

void clg_ref_pool(const clgaze_problem *p, struct clg_ref *t);
void clg_ref_gate(const clgaze_problem *p, struct clg_ref *t);
void clg_ref_score(const clgaze_problem *p, struct clg_ref *t);
void clg_ref_select(const clgaze_problem *p, struct clg_ref *t);
void clg_ref_attend(const clgaze_problem *p, struct clg_ref *t);
void clg_ref_truth(const clgaze_problem *p, struct clg_ref *t);      /* v NULL: truth and lse alone */
void clg_ref_attend_bwd(const clgaze_problem *p, struct clg_ref *t); /* out and lse as attend made them */

/* Doubles, so that finite differences of the loss mean something; w_q and dw_q of
 * the double form only. */
struct clg_ref_distill {
    const float *truth; /* [B, Hq, nq, nk], as scores */
    const double *w_k, *w_q;
    double *dw_k, *dw_q;
};
struct clg_ref_adamw {
    double lr, beta1, beta2, eps, weight_decay;
};

/* The loss, from q_pooled, k_pooled, truth and weights, and its gradients; NaN: no memory. */
double clg_ref_distill(const clgaze_problem *p, const struct clg_ref *t, const struct clg_ref_distill *d);
/* Change n weights and their moments; steps count from 1. */
void clg_ref_adamw(const struct clg_ref_adamw *o, int step, int64_t n, double *w, const double *dw, double *m,
                   double *v);

/* The number of blocks that TOP_K, RATIO and BUDGET choose in a row of a
 * sequence of nk key blocks, before min_k, max_k_blocks and visibility. */
int clg_rule_count(const clgaze_problem *p, double value, int nk);

#endif
