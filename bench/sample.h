/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sample.h: a small problem of its own out of a row's, for ref/.
 *
 * A sample is one query head, some of its tokens, and the keys up to the last of
 * them.  Causal attention is aligned at the end, so ref/ gives for it what the
 * whole gives there.
 */
#ifndef CLGAZE_BENCH_SAMPLE_H
#define CLGAZE_BENCH_SAMPLE_H

#include "ref.h"
#include "sparse.h"

/* Norm of a difference over norm of what is wanted, as squares. */
struct gap {
    double off, all;
};

/* NULLs add nothing; infinities must coincide. */
void gap_add(struct gap *g, const float *got, const float *want, size_t n);
void raise_error(struct verdict *v, const struct gap *g);

enum { ROOMS = 32 };

struct sample {
    struct bench *b;
    const clgaze_problem *whole;
    const clgaze_tensors *from;
    clgaze_problem p; /* of the sample: one head                                                  */
    struct clg_ref t;
    int head, kv, first, seq; /* query head, its key-value head, first query token; tokens of the whole */
    void *rooms[ROOMS];
    int n, code; /* once code is not 0, nothing is read, and what is asked for is NULL          */
};

/* Tokens first .. first + tokens - 1 of a query head. */
void sample_open(struct sample *s, struct bench *b, const clgaze_problem *p, const clgaze_tensors *t, int head,
                 int first, int tokens);
int sample_close(struct sample *s);
/* Zeros for n doubles, floats or integers. */
void *room(struct sample *s, size_t n);
/* Rows from .. from + n - 1 (tokens or blocks) of `heads` heads of a tensor that lies [row][head][channel]. */
float *read_heads(struct sample *s, const clgaze_tensor *t, int head, int heads, int from, int n);
/* n elements of a compact tensor, beginning with number `from`. */
float *read_part(struct sample *s, const clgaze_tensor *t, size_t from, size_t n);
void read_qkv(struct sample *s);
/* The list of the sample's row; NULL: dense. */
void take_list(struct sample *s, const struct lists *lists);

/* Token number n of those checked, and its head: the first and the last are among them. */
void pick_token(const clgaze_tensors *t, int n, int *token, int *head);
/* The same for a row of blocks: its number, first token and tokens. */
int pick_row(const clgaze_problem *p, const clgaze_tensors *t, int n, int *first, int *tokens, int *head);

#endif
