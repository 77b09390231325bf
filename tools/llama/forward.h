/*
 * forward.h: a model over one sequence.
 */
#ifndef CLGAZE_LLAMA_FORWARD_H
#define CLGAZE_LLAMA_FORWARD_H

#include "attention.h" /* struct attended */
#include "model.h"

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

/* ---- product.c ---- */

/* Columns of a product are taken in wholes of this, as in matmul.cl. */
enum { PANEL = 16 };

/** Bytes of the f32 copy of a matrix of that shape. */
size_t product_room(int64_t rows, int64_t cols);

/** Enqueue y [n][count] = x [n][cols] w^T (+ y), of the matrix's rows first .. first + count - 1.
 *  `x_at`: elements before x; `room`: product_room() bytes. */
int product(struct machine *m, cl_mem x, size_t x_at, cl_int n, const struct matrix *w, cl_int first, cl_int count,
            cl_mem room, cl_int add, cl_mem y);

#endif
