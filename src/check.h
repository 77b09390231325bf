/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check.h: the shapes of clgaze_tensors as a table, shared by fields.c, which
 * holds it, and check.c, which checks the tensors of a call against it.
 *
 * Each dimension has a letter, each letter one value a call.  A letter takes
 * its value from the problem or from the first tensor that has it; every other
 * tensor must agree.
 */
#ifndef CLG_CHECK_H
#define CLG_CHECK_H

#include "internal.h"

/* Letters of dimensions. */
enum dim {
    NONE,
    B,     /* batch                                      */
    SQ,    /* query tokens of the shapes                 */
    SK,    /* key tokens of the shapes                   */
    HQ,    /* query heads                                */
    HK,    /* key-value heads                            */
    HL,    /* heads of the lists                         */
    HS,    /* heads of the scores: Hq or the lists'      */
    HW,    /* heads of w_k and k_gated: Hq or Hk         */
    CH,    /* D                                          */
    DG,    /* gate size                                  */
    QP,    /* pooled query channels                      */
    KP,    /* pooled key channels                        */
    RN,    /* rope pairs                                 */
    NQ,    /* query blocks of the shapes                 */
    NK,    /* key blocks of a row of scores              */
    NB,    /* key blocks of k_pooled                     */
    WIDTH, /* entries of a row of blocks                 */
    S1,    /* sequences + 1                              */
    ROWS1, /* B * HL * NQ + 1                            */
    ENTS,  /* entries of indices                         */
    ONE,   /* 1                                          */
    TWO,   /* 2: AdamW's moments                         */
    DIMS
};

enum type { T_DATA, T_WEIGHT, T_F32, T_I32, T_U8 };

struct field {
    const char *name;
    size_t at;
    enum type type;
    bool strided; /* a token tensor                      */
    enum dim dim[4];
};
/* In the order of clgaze_tensors. */
// clang-format off
enum {
    Q, K, V, Q_GATE, K_GATE, INV_FREQ, W_K, W_Q, Q_POOLED, K_POOLED, Q_GATED, K_GATED, SCORES, COUNTS, BLOCKS,
    MASK, INDPTR, INDICES, CU_Q, CU_K, OUT, LSE, TRUTH, DOUT, DQ, DK, DV, DW_K, DW_Q, MOMENTS_K, MOMENTS_Q, LOSS,
    FIELDS
};
// clang-format on
extern const struct field clg_fields[FIELDS];

/* What an operation does with a tensor. */
enum role { UNUSED, LENGTH /* its shape is read if it is there */, OPTIONAL_OUT, INPUT, OUTPUT };

struct check {
    const clgaze_context *ctx;
    const clgaze_problem *p;
    clgaze_tensors *t;
    int64_t value[DIMS], most[DIMS]; /* value 0: not known yet */
    const char *from[DIMS];          /* the tensor that gave it */
    enum role role[FIELDS];
};

clgaze_tensor *clg_field_of(const struct check *c, int f);
bool clg_field_given(const struct check *c, int f);
/* What `op` does with each tensor, and what the problem says of the letters. */
void clg_fields_roles(struct check *c, clgaze_op op, const clgaze_adamw *update);
void clg_fields_dims(struct check *c, clgaze_op op);
/* Work out block counts from the lengths that are known by now. */
void clg_fields_derive(struct check *c, const clgaze_call *call);

#endif
