/* SPDX-License-Identifier: Apache-2.0 */
/*
 * llama_products.h: products with a matrix, and their gradients, against plain double.
 */
#ifndef CLG_TESTS_LLAMA_PRODUCTS_H
#define CLG_TESTS_LLAMA_PRODUCTS_H

#include "llama_pass.h"

struct rng;

/* All three with a matrix of that shape over n rows, off by no more than a share of the length; with an odd n
 * by weights in f16. */
void check_products(int n, int rows, int cols, double share, struct rng *rng);

#endif
