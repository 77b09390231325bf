/* SPDX-License-Identifier: Apache-2.0 */
/*
 * product.h: products with a matrix, and their gradients.
 */
#ifndef CLGAZE_LLAMA_PRODUCT_H
#define CLGAZE_LLAMA_PRODUCT_H

#include "model.h"

/* Columns of a product are taken in wholes of this, as in matmul.cl. */
enum { PANEL = 16 };

/** Bytes of room for a matrix of that shape: product() and product_back(). */
size_t product_room(int64_t rows, int64_t cols);

/** The same for product_weights() over n rows of x. */
size_t product_weights_room(int64_t rows, int64_t cols, int64_t n);

/** Some rows of an f32 array. */
struct rows {
    cl_mem buffer;
    size_t at; /**< elements before the first */
};

/** Enqueue y [n][count] = x [n][cols] w^T (+ y), of the matrix's rows first .. first + count - 1.
 *  `x_at`: elements before x. */
int product(struct machine *m, cl_mem x, size_t x_at, cl_int n, const struct matrix *w, cl_int first, cl_int count,
            cl_mem room, cl_int add, cl_mem y);

/** Enqueue dx [n][cols] = dy [n][rows] w (+ dx). */
int product_back(struct machine *m, struct rows dy, cl_int n, const struct matrix *w, cl_mem room, cl_int add,
                 struct rows dx);

/** Enqueue dw [rows][cols], f32, += dy [n][rows]^T x [n][cols]. */
int product_weights(struct machine *m, struct rows dy, struct rows x, cl_int n, const struct matrix *dw, cl_mem room);

#endif
