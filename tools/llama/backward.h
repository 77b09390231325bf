/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backward.h: the gradient of the loss in every weight of a model, over one sequence.
 *
 * Kept of a forward pass are each layer's input and what attention made; all else is
 * computed again, a layer at a time.
 */
#ifndef CLGAZE_LLAMA_BACKWARD_H
#define CLGAZE_LLAMA_BACKWARD_H

#include "forward.h"

enum back_id {
    D_X, /* gradients of the buffers of these names */
    D_NORMED,
    D_Q,
    D_K,
    D_V,
    D_INNER,  /* of silu(inner) * up, and before that itself     */
    D_SCALES, /* of every row of a norm                          */
    D_PARTS,  /* sums of columns                                 */
    D_LOGITS, /* of some tokens                                  */
    D_LOSSES,
    D_PLACES, /* of the tokens, by token                         */
    D_FIRST,  /* where each token's places begin                 */
    N_BACK
};

enum { BACK_PARTS = 256 }; /* most parts of a sum of columns */

/** What a layer keeps from forward to backward. */
enum kept_id { KEPT_X, KEPT_OUT, KEPT_LSE, KEPT_COUNTS, KEPT_BLOCKS, N_KEPT };

struct kept {
    cl_mem buffers[N_KEPT];
};

struct backward {
    struct forward forward; /**< machine and model are set before backward_make(); f32 weights        */
    struct attention *attention;
    /* Called of each layer in the forward pass, after attention, whose arrays it leaves as they
     * are; NULL: nobody. */
    int (*watch)(void *user, cl_int l, cl_int seq, const struct attended *at);
    void *user;
    struct model grads;   /**< model_like(): zero at first, added to by every run     */
    cl_int layers, chunk; /**< chunk: tokens of D_LOGITS                              */
    size_t grads_bytes, grads_largest, bytes[N_BACK], kept_bytes[N_KEPT];
    cl_mem buffers[N_BACK];
    struct kept *kept; /**< a layer */
    cl_int *sorted;    /**< places, then where each token's begin                   */
    float *losses;
};

/**
 * Set the sizes of all buffers.
 *
 * @param[in] attention  Planned with problem.lse 1; borrowed until backward_free().
 * @param[in] gated      Also q and k before RoPE: for gates, or for whom `watch` calls.
 */
void backward_plan(struct backward *b, const struct config *config, cl_int seq, struct attention *attention,
                   int gated);

/** Bytes of the device that backward_make() takes: activations and gradients. */
size_t backward_bytes(const struct backward *b);

/** The largest buffer of them. */
size_t backward_largest(const struct backward *b);

/** Make the buffers; free with backward_free() whatever is returned. */
int backward_make(struct backward *b);
void backward_free(struct backward *b);

/**
 * Add weight * the gradient of the mean loss of all positions to b->grads.
 *
 * @param[in] tokens  seq + 1 of them.
 * @param[out] loss   The mean loss.  Where it is no finite number the gradients are of no use.
 * @return 0, or an exit code after a sentence.
 */
int backward_run(struct backward *b, const cl_int *tokens, double weight, double *loss);

/* ---- backward_layer.c ---- */

/** Enqueue the gradients of layer `l`: D_X of its output becomes that of its input. */
int backward_layer(struct backward *b, cl_int l);

/** Where layer `l` keeps what attention reads and makes. */
struct attended backward_attended(const struct backward *b, cl_int l);

/** Enqueue the gradients of a norm of `rows` rows of x: `weight` += that of w; dx = that of x (+ dx). */
int backward_norm(struct backward *b, cl_mem x, cl_mem w, cl_int rows, cl_int width, cl_mem dy, cl_int add,
                  cl_mem weight, cl_mem dx);

#endif
