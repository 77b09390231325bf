/* SPDX-License-Identifier: Apache-2.0 */
/*
 * product_nv.h: products on NVIDIA's matrix units, of numbers rounded to 16 bits.
 */
#ifndef CLGAZE_LLAMA_PRODUCT_NV_H
#define CLGAZE_LLAMA_PRODUCT_NV_H

#include "product.h"

/* y [rows][cols] = a b (+ y) of `depth` terms; a is [rows][depth] or, turned, [depth][rows],
 * b is [depth][cols] or, turned, [cols][depth] in any type of weights. */
struct times {
    cl_int rows, cols, depth;
    struct rows a, b, y;
    cl_int a_turned, b_turned, b_type, add;
};

/**
 * Build the kernels, of y alone or with those of gradients, and let them prove themselves; m->matrix says
 * whether they have.  Devices that are not NVIDIA's have none.
 *
 * @param[in] dtype  What numbers are rounded to; f32: no kernels are wanted.
 */
void product_nv_open(struct machine *m, clgaze_dtype dtype, int gradients);

/** May product_nv() be called: are there kernels, and does everything lie in wholes of 8? */
int product_nv_fits(const struct machine *m, const struct times *t);

/** Enqueue; `b_type` is 0 or m->matrix, `room` of product_nv_room(). */
int product_nv(struct machine *m, const struct times *t, cl_mem room);

/** Bytes of room for product_weights(). */
size_t product_nv_room(cl_int rows, cl_int cols, cl_int depth);

#endif
