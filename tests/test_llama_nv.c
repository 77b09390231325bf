/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_llama_nv.c: products on NVIDIA's matrix units against plain double on a CPU, built with
 * tests/nv_plain.cl in the place of cl/nv.cl: all but what instructions do.  Label: matrix.
 */
#include "llama_products.h"
#include "product_nv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "harness.h"

enum { MAX_SOURCES = 64 };

static struct clg_source sources[MAX_SOURCES];

/* Put the plain words and these lines in the place of nv.cl. @return The text, to free. */
static unsigned char *replace(const char *lines)
{
    const struct bytes plain = read_file(CLGAZE_TEST_DIR "/nv_plain.cl");
    const size_t more = strlen(lines);
    unsigned char *text = malloc(plain.n + more + 1);

    assert_non_null(text);
    memcpy(text, plain.at, plain.n);
    memcpy(text + plain.n, lines, more + 1);
    free(plain.at);
    for (int n = 0; clg_sources[n].name && n < MAX_SOURCES - 1; n++) {
        sources[n] = clg_sources[n];
        if (strcmp(sources[n].name, "nv.cl") == 0)
            sources[n] = (struct clg_source){"nv.cl", text, plain.n + more};
    }
    return text;
}

/* Open the products of an NVIDIA GPU of that kind, whose words are the plain ones and `lines`. @return What the
 * machine says of them. */
static cl_int open_as(clgaze_dtype dtype, int arch, const char *lines)
{
    clgaze_context *ctx;

    need_machine();
    ctx = machine.device.context;
    if (!ctx->device.pocl) {
        printf("SKIPPED: the words are those of PoCL's OpenCL C 2.0\n");
        skip();
    }
    const clgaze_context before = *ctx;
    unsigned char *text = replace(lines);
    ctx->sources = sources;
    ctx->device.options = "-cl-std=CL2.0"; /* the board lies at program scope */
    ctx->device.nv_arch = arch;
    product_nv_open(&machine, dtype, 1);
    *ctx = before;
    free(text);
    return machine.matrix;
}

/* What rounding both sides does; sizes that are no wholes of 8 go another way, to more digits. */
static void products_are_rounded(void **state)
{
    static const int shapes[][3] = {{136, 72, 200}, {8, 8, 8},       {29, 40, 48}, {30, 37, 48},
                                    {41, 264, 136}, {2105, 24, 136}, {29, 37, 45}};
    static const double share[] = {0, 6e-4, 5e-3};
    struct rng rng = seeded(0xa0);

    (void)state;
    for (int type = CLGAZE_F16; type <= CLGAZE_BF16; type++) {
        assert_int_equal(open_as((clgaze_dtype)type, 80, ""), type);
        for (size_t i = 0; i < CLG_COUNT(shapes); i++)
            check_products(shapes[i][0], shapes[i][1], shapes[i][2], share[type], &rng);
    }
    assert_int_equal(guards_damaged(), 0);
}

static float *model_gradients(size_t *n)
{
    static struct pass p;

    llama_model(&p.tiny, &tiny_kinds[5]);
    pass_make(&p, &dense, SEQ);
    pass_run(&p);
    float *all = gradients(&p, n);
    pass_free(&p);
    return all;
}

static void a_model_is_trained(void **state)
{
    size_t n;

    (void)state;
    machine.matrix = 0;
    float *want = model_gradients(&n);
    assert_int_equal(open_as(CLGAZE_BF16, 80, ""), CLGAZE_BF16);
    float *got = model_gradients(&n), *again = model_gradients(&n);
    expect_near("gradients", got, want, n, 3e-2);
    assert_true(memcmp(got, want, n * sizeof *got) != 0);
    assert_memory_equal(got, again, n * sizeof *got);
    free(want);
    free(got);
    free(again);
}

static void what_fails_its_proof_is_not_used(void **state)
{
    static const char *const broken[] = {"#define mma_16(sum, a, b)\n", "#error no such instruction\n",
                                         "#define mma_16(sum, a, b) sum[0] = NAN\n"};

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(broken); i++)
        assert_int_equal(open_as(CLGAZE_F16, 80, broken[i]), 0);
    assert_int_equal(open_as(CLGAZE_F16, 75, ""), 0);
    assert_int_equal(open_as(CLGAZE_F32, 80, ""), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_fails_its_proof_is_not_used),
        cmocka_unit_test(products_are_rounded),
        cmocka_unit_test(a_model_is_trained),
    };

    return pass_tests(tests, CLG_COUNT(tests));
}
