/* SPDX-License-Identifier: Apache-2.0 */
/*
 * llama_pass.h: a backward pass over a tiny model, and guards around buffers.
 *
 * Every buffer that is made here begins as NaN and has NaN behind it, so that what is read
 * before it is written, or outside, shows in the results; what is written behind it is found
 * when it is released.
 */
#ifndef CLG_TESTS_LLAMA_PASS_H
#define CLG_TESTS_LLAMA_PASS_H

#include "backward.h"
#include "llama_run.h"

enum { SEQ = 21 }; /* three blocks, the last of five tokens */

/* What attention does; rules are those of tiny_rules.c. */
struct way {
    const char *name;
    enum source source;
    clgaze_rule rule;
    int value, sink, local;
    struct tiny_rule tiny;
    clgaze_dtype compute; /* f32 unless said */
};

extern const struct way dense;

struct pass {
    struct tiny_model tiny;
    struct config config;
    struct model model;
    struct gates gates;
    struct attention attention;
    struct backward backward;
    double loss;
};

extern struct machine machine;
extern cl_int tokens[SEQ + 1];

/* llama_tests() with the machine; without a device the tests that ask for it are skipped. */
int pass_tests(const struct CMUnitTest *tests, size_t n);
void need_machine(void);

/* Load the files in f32, and make all that a backward pass needs. */
void pass_make(struct pass *p, const struct way *way, int seq);

/* Also the tiny model; no buffer was written behind its end. */
void pass_free(struct pass *p);

/* Gradients of `tokens`, from zero. */
void pass_run(struct pass *p);

/* All gradients in one array, for the caller to free. */
float *gradients(const struct pass *p, size_t *n);

/* Euclid's. */
double length_of(const float *x, size_t n);

/* Off by no more than a share of the length. */
void expect_near(const char *what, const float *got, const float *want, size_t n, double share);

/* Bytes that were written behind a buffer's end; bytes of the buffers that are there, 0 without guards. */
int guards_damaged(void);
size_t guards_bytes(void);

#endif
