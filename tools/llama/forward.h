/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forward.h: a model over one sequence.
 */
#ifndef CLGAZE_LLAMA_FORWARD_H
#define CLGAZE_LLAMA_FORWARD_H

#include "attention.h" /* struct attended */
#include "model.h"
#include "product.h"

enum buffer_id {
    B_TOKENS,   /* seq + 1 tokens                                       */
    B_ROTATION, /* cos and sin of every token                           */
    B_X,        /* the residual stream                                  */
    B_NORMED,
    B_Q,
    B_K,
    B_V,
    B_Q_GATE, /* before RoPE; where the gate's inputs are wanted        */
    B_K_GATE,
    B_Q_RAW, /* before QK norm too; where backward.c wants it           */
    B_K_RAW,
    B_ATTENDED,
    B_INNER,
    B_UP,
    B_ROOM,   /* the matrix of a product in f32                        */
    B_LOGITS, /* of some of the vocabulary                             */
    B_STATE,  /* of fold()                                             */
    N_BUFFERS
};

struct forward {
    struct machine *machine;
    struct model *model;
    /* Attention of layer l; made by run.c. */
    int (*attend)(void *user, cl_int l, cl_int seq, const struct attended *at);
    void *user;
    cl_int seq, columns; /**< tokens; of B_LOGITS                                  */
    size_t bytes[N_BUFFERS], sum;
    cl_mem buffers[N_BUFFERS];
};

/** Set the sizes of all buffers; `gated`: with those of the gate's inputs. */
void forward_plan(struct forward *f, const struct config *config, cl_int seq, int gated);

/** Make the buffers and the table of rotations; free with forward_free() whatever is returned. */
int forward_make(struct forward *f);
void forward_free(struct forward *f);

/** Run the first `layers` layers over `seq` tokens; q, k, v and the gate's inputs are the last one's. */
int forward_run(struct forward *f, const cl_int *tokens, cl_int layers);

/**
 * Mean loss of the positions from .. seq - 1 after forward_run() of all layers, whose
 * tokens include the one after the last.
 */
int forward_loss(struct forward *f, cl_int from, double *loss);

/* ---- the parts, for backward.c too ---- */

/** Where attention finds its arrays; without what only training keeps. */
struct attended forward_attended(const struct forward *f);

/** Enqueue tokens -> x. */
int forward_embed(struct forward *f, const cl_int *tokens);

/** Enqueue x += attention of layer l. */
int forward_attend(struct forward *f, cl_int l, const struct attended *at);

/** Enqueue x += MLP of layer l. */
int forward_mlp(struct forward *f, cl_int l);

/** Enqueue x -> normed, q, k, v, and normed, inner, up: where both of layer l begin. */
int forward_heads(struct forward *f, cl_int l);
int forward_gate_up(struct forward *f, cl_int l);

/** Enqueue silu(inner) * up -> `to`, which may be inner. */
int forward_swiglu(struct forward *f, cl_mem to);

/** Enqueue y = x w^T + bias, or with `add` y + x w^T + bias. */
int forward_linear(struct forward *f, cl_mem x, const struct linear *l, int add, cl_mem y);

/** Enqueue x -> normed. */
int forward_norm(struct forward *f, cl_mem weight);

/** Enqueue the rotation of every head, or with `sign` -1 its gradient; `to` may be `from`. */
int forward_rotate(struct forward *f, cl_mem from, cl_int heads, cl_float sign, cl_mem to);

#endif
