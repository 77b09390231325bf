/* SPDX-License-Identifier: Apache-2.0 */
/*
 * llama_products.c: products with a matrix, and their gradients, against plain double.
 */
#include "llama_products.h"

#include <stdlib.h>

#include "harness.h"

static cl_mem random_buffer(struct rng *r, size_t n, float **host)
{
    cl_mem mem;

    *host = malloc(n * sizeof **host);
    assert_non_null(*host);
    for (size_t i = 0; i < n; i++)
        (*host)[i] = normal(r);
    assert_int_equal(buffer_make(&machine, n * sizeof **host, "numbers", &mem), 0);
    assert_int_equal(buffer_write(&machine, mem, n * sizeof **host, *host), 0);
    return mem;
}

/* y += a b: element (i, j) of the terms t; strides of both. */
static void expect_product(const char *what, cl_mem got_in, const float *before, int rows, int cols, int terms,
                           const float *a, const int at_a[2], const float *b, const int at_b[2], double share)
{
    const size_t n = (size_t)rows * (size_t)cols;
    float *got = malloc(n * sizeof *got), *want = malloc(n * sizeof *want);

    assert_true(got && want);
    assert_int_equal(buffer_read(&machine, got_in, n * sizeof *got, got), 0);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++) {
            double sum = (double)before[i * cols + j];

            for (int t = 0; t < terms; t++)
                sum += (double)a[i * at_a[0] + t * at_a[1]] * (double)b[j * at_b[0] + t * at_b[1]];
            want[i * cols + j] = (float)sum;
        }
    expect_near(what, got, want, n, share);
    free(got);
    free(want);
}

/* The same numbers in half the size. */
static cl_mem halved(float *x, size_t n)
{
    unsigned char *half = malloc(2 * n);
    cl_mem mem;

    assert_non_null(half);
    for (size_t i = 0; i < n; i++) {
        x[i] = rounded(x[i], CLGAZE_F16);
        put_float(half + 2 * i, x[i], CLGAZE_F16);
    }
    assert_int_equal(buffer_make(&machine, 2 * n, "halves", &mem), 0);
    assert_int_equal(buffer_write(&machine, mem, 2 * n, half), 0);
    free(half);
    return mem;
}

void check_products(int n, int rows, int cols, double share, struct rng *rng)
{
    const size_t n_w = (size_t)rows * (size_t)cols, n_x = (size_t)n * (size_t)cols, n_y = (size_t)n * (size_t)rows;
    const size_t weights_room = product_weights_room(rows, cols, n), other_room = product_room(rows, cols);
    float *x, *y, *w;
    cl_mem room;
    struct matrix matrix = {random_buffer(rng, n_w, &w), 0, rows, cols};
    const struct rows of_x = {random_buffer(rng, n_x, &x), 0};
    const struct rows of_y = {random_buffer(rng, n_y, &y), 0};
    const struct matrix half = {halved(w, n_w), 1, rows, cols}, *used = n % 2 ? &half : &matrix;

    assert_int_equal(buffer_make(&machine, weights_room > other_room ? weights_room : other_room, "room", &room), 0);
    assert_int_equal(buffer_write(&machine, matrix.buffer, n_w * sizeof *w, w), 0);
    assert_int_equal(product_weights(&machine, of_y, of_x, n, &matrix, room), 0);
    expect_product("dw", matrix.buffer, w, rows, cols, n, y, (int[]){1, rows}, x, (int[]){1, cols}, share);
    assert_int_equal(buffer_write(&machine, matrix.buffer, n_w * sizeof *w, w), 0);
    assert_int_equal(product_back(&machine, of_y, n, used, room, 1, of_x), 0);
    expect_product("dx", of_x.buffer, x, n, cols, rows, y, (int[]){rows, 1}, w, (int[]){1, cols}, share);
    assert_int_equal(buffer_write(&machine, of_x.buffer, n_x * sizeof *x, x), 0);
    assert_int_equal(product(&machine, of_x.buffer, 0, n, used, 0, rows, room, 1, of_y.buffer), 0);
    expect_product("y", of_y.buffer, y, n, rows, cols, x, (int[]){cols, 1}, w, (int[]){cols, 1}, share);
    const cl_mem buffers[] = {matrix.buffer, half.buffer, of_x.buffer, of_y.buffer, room};
    for (size_t i = 0; i < CLG_COUNT(buffers); i++)
        clReleaseMemObject(buffers[i]);
    free(x);
    free(y);
    free(w);
}
