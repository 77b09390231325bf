/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_llama_optimizer.c: AdamW over a model's arrays, the norm of its gradients and the
 * types of files, against plain double arithmetic.
 */
#include "fail.h"
#include "optimizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

/* Arrays of one part and of several, whole and with a rest. */
static const struct config config = {.family = "llama",
                                     .vocab = 301,
                                     .hidden = 40,
                                     .inner = 104,
                                     .layers = 2,
                                     .q_heads = 4,
                                     .kv_heads = 2,
                                     .head_dim = 8,
                                     .parts = PART_HEAD | PART_QKV_BIAS};

static struct machine machine;

static int devices(void **state)
{
    (void)state;
    fail_setup("test_llama_optimizer", 0);
    if (clgaze_device_list(NULL, 0) == 0)
        return 0;
    const int code = machine_open(getenv("CLGAZE_TEST_DEVICE"), 0, &machine);
    return code ? code : machine_build(&machine);
}

static int close_device(void **state)
{
    (void)state;
    machine_close(&machine);
    return 0;
}

/* All arrays of a model, one after another. */
struct numbers {
    double *x;
    size_t n;
};

static struct numbers numbers_of(const struct model *model)
{
    struct numbers all = {NULL, 0};
    struct parameter a;

    for (size_t i = 0; model_parameter(model, i, &a); i++) {
        float *x = malloc(a.n * sizeof *x);

        all.x = realloc(all.x, (all.n + a.n) * sizeof *all.x);
        assert_true(x && all.x);
        assert_int_equal(buffer_read(&machine, a.buffer, a.n * sizeof *x, x), 0);
        for (size_t e = 0; e < a.n; e++)
            all.x[all.n++] = x[e];
        free(x);
    }
    return all;
}

static void random_numbers(const struct model *model, struct rng *rng, float spread)
{
    struct parameter a;

    for (size_t i = 0; model_parameter(model, i, &a); i++) {
        float *x = malloc(a.n * sizeof *x);

        assert_non_null(x);
        for (size_t e = 0; e < a.n; e++)
            x[e] = spread * normal(rng);
        assert_int_equal(buffer_write(&machine, a.buffer, a.n * sizeof *x, x), 0);
        free(x);
    }
}

static void begin(struct model *w, struct model *g, struct optimizer *o)
{
    const struct model shapes = {.config = config};

    if (!machine.program)
        skip();
    assert_int_equal(model_like(&machine, &shapes, w), 0);
    assert_int_equal(model_like(&machine, &shapes, g), 0);
    assert_int_equal(optimizer_make(&machine, w, o), 0);
}

static double norm_of(const struct numbers *a)
{
    double sum = 0;

    for (size_t i = 0; i < a->n; i++)
        sum += a->x[i] * a->x[i];
    return sqrt(sum);
}

static void norm_equals_plain_double(void **state)
{
    struct rng rng = seeded(5);
    struct model w, g;
    struct optimizer o;
    double got, again;

    (void)state;
    begin(&w, &g, &o);
    random_numbers(&g, &rng, 3);
    const struct numbers all = numbers_of(&g);
    assert_int_equal(optimizer_norm(&machine, &o, &g, &got), 0);
    assert_int_equal(optimizer_norm(&machine, &o, &g, &again), 0);
    assert_true(fabs(got / norm_of(&all) - 1) < 1e-6 && got == again);
    assert_int_equal(optimizer_bytes(&config), (2 * all.n + o.n_parts) * sizeof(float));

    struct parameter a;
    const float nan = NAN;
    assert_true(model_parameter(&g, 1, &a));
    assert_int_equal(
        clEnqueueWriteBuffer(machine.device.queue, a.buffer, CL_TRUE, (a.n - 1) * 4, 4, &nan, 0, NULL, NULL), 0);
    assert_int_equal(optimizer_norm(&machine, &o, &g, &got), 0);
    assert_true(isnan(got));
    free(all.x);
    optimizer_free(&o);
    model_free(&g);
    model_free(&w);
}

static void steps_equal_plain_double(void **state)
{
    struct rng rng = seeded(6);
    struct model w, g;
    struct optimizer o;
    clgaze_adamw step = {.beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1};

    (void)state;
    begin(&w, &g, &o);
    random_numbers(&w, &rng, 0.5f);
    struct numbers want = numbers_of(&w);
    double *m = calloc(want.n, sizeof *m), *v = calloc(want.n, sizeof *v);
    assert_true(m && v);
    for (int t = 1; t <= 4; t++) {
        const double scale = 1.0 / t;

        random_numbers(&g, &rng, t == 3 ? 1e-6f : 1);
        const struct numbers d = numbers_of(&g);
        step.step = t;
        step.lr = 0.01 * t;
        assert_int_equal(optimizer_step(&machine, &o, &step, scale, &g, &w), 0);
        const struct numbers got = numbers_of(&w), zero = numbers_of(&g);
        double worst = 0;
        for (size_t i = 0; i < want.n; i++) {
            m[i] = 0.9 * m[i] + 0.1 * d.x[i] * scale;
            v[i] = 0.95 * v[i] + 0.05 * d.x[i] * scale * d.x[i] * scale;
            want.x[i] -= step.lr * 0.1 * want.x[i];
            want.x[i] -= step.lr * m[i] / (1 - pow(0.9, t)) / (sqrt(v[i] / (1 - pow(0.95, t))) + 1e-8);
            worst = fmax(worst, fabs(got.x[i] - want.x[i]));
            assert_true(zero.x[i] == 0);
        }
        if (!(worst < 2e-6))
            fail_msg("step %d is off by %g", t, worst);
        free(d.x);
        free(got.x);
        free(zero.x);
    }
    free(want.x);
    free(m);
    free(v);
    optimizer_free(&o);
    model_free(&g);
    model_free(&w);
}

static void narrow_rounds_to_nearest_even(void **state)
{
    enum { N = 1001 };
    static const clgaze_dtype dtypes[] = {CLGAZE_F32, CLGAZE_F16, CLGAZE_BF16};
    static float x[N];
    static unsigned char got[2 * N], want[2];
    struct rng rng = seeded(7);
    cl_mem from = NULL, to = NULL;
    const cl_ulong n = N;
    uint32_t bits;

    (void)state;
    if (!machine.program)
        skip();
    for (int i = 0; i < N; i++) /* sizes down to where f16 has few bits, and ties of both types */
        x[i] = i % 3 == 0   ? ldexpf(normal(&rng), -(i % 30))
               : i % 3 == 1 ? 1 + (float)(i % 16) / 2048
                            : -1 - (float)(i % 16) / 256;
    assert_int_equal(buffer_make(&machine, sizeof x, "x", &from), 0);
    assert_int_equal(buffer_make(&machine, sizeof got, "to", &to), 0);
    x[0] = NAN;
    x[3] = -INFINITY;
    memset(&bits, 0xff, sizeof bits); /* what NVIDIA's devices make */
    bits >>= 1;
    memcpy(&x[6], &bits, sizeof bits);
    assert_int_equal(buffer_write(&machine, from, sizeof x, x), 0);
    for (cl_int type = 1; type <= 2; type++) {
        assert_int_equal(narrow(&machine, from, n, type, 1, to), 0);
        assert_int_equal(buffer_read(&machine, to, sizeof got, got), 0);
        for (size_t i = 0; i < N; i++) {
            put_float(want, x[i], dtypes[type]);
            if (isnan(x[i]))
                assert_true((got[2 * i + 1] & 0x7f) * 256 + got[2 * i] > (type == 1 ? 0x7c00 : 0x7f80));
            else if (memcmp(got + 2 * i, want, 2) != 0)
                fail_msg("type %d: %.9g is rounded to %02x%02x, not %02x%02x", (int)type, (double)x[i],
                         got[2 * i + 1], got[2 * i], want[1], want[0]);
        }
    }
    clReleaseMemObject(from);
    clReleaseMemObject(to);
}

/* From any number on, and any many of them. */
static void widen_gives_the_numbers_back(void **state)
{
    enum { N = 1001, BEYOND = 8 };
    static const size_t parts[][2] = {{0, N}, {0, 4}, {4, N - 4}, {3, N - 3}, {5, 2}, {8, 7}};
    static float x[N], got[N + BEYOND], empty[N + BEYOND];
    struct rng rng = seeded(8);
    cl_mem from, half, to;

    (void)state;
    if (!machine.program)
        skip();
    for (int i = 0; i < N; i++)
        x[i] = normal(&rng);
    assert_int_equal(buffer_make(&machine, sizeof x, "x", &from), 0);
    assert_int_equal(buffer_make(&machine, sizeof x, "half", &half), 0);
    assert_int_equal(buffer_make(&machine, sizeof got, "to", &to), 0);
    assert_int_equal(buffer_write(&machine, from, sizeof x, x), 0);
    for (cl_int type = 0; type <= 2; type++) {
        assert_int_equal(type ? narrow(&machine, from, N, type, 2, half) : 0, 0);
        for (size_t p = 0; p < CLG_COUNT(parts); p++) {
            const size_t at = parts[p][0], n = parts[p][1];

            assert_int_equal(buffer_write(&machine, to, sizeof empty, empty), 0);
            assert_int_equal(widen(&machine, type ? half : from, type, at, n, type ? 0.5f : 1, to), 0);
            assert_int_equal(buffer_read(&machine, to, sizeof got, got), 0);
            for (size_t i = 0; i < N + BEYOND; i++) {
                const float all = i < n ? x[at + i] : 0, want = type ? rounded(all, (clgaze_dtype)type) : all;
                if (got[i] != want)
                    fail_msg("type %d, %zu from %zu: number %zu is %.9g, not %.9g", (int)type, n, at, i,
                             (double)got[i], (double)want);
            }
        }
    }
    clReleaseMemObject(from);
    clReleaseMemObject(half);
    clReleaseMemObject(to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norm_equals_plain_double),
        cmocka_unit_test(steps_equal_plain_double),
        cmocka_unit_test(narrow_rounds_to_nearest_even),
        cmocka_unit_test(widen_gives_the_numbers_back),
    };

    return cmocka_run_group_tests(tests, devices, close_device);
}
