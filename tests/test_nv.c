/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_nv.c: the strategies for NVIDIA's matrix units against ref/ on a CPU, built with
 * tests/nv_plain.cl in the place of cl/nv.cl: all but what instructions do.  Label: matrix.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "harness.h"

enum { MAX_SOURCES = 128 };

/* The strategies whose only words of NVIDIA's are those of cl/nv.cl. */
static const char *const names[] = {"gate_nv", "score_nv", "attend_nv_mma", "truth_nv_mma", "attend_bwd_nv_mma"};

static struct clg_kernel copies[CLG_COUNT(names)];
static const struct clg_kernel *kernels[CLG_COUNT(names) + 1];
static struct clg_source sources[MAX_SOURCES];

static void put_before(struct clg_source *source, const struct bytes *first)
{
    unsigned char *text = malloc(first->n + source->size);

    assert_non_null(text);
    memcpy(text, first->at, first->n);
    memcpy(text + first->n, source->text, source->size);
    source->text = text;
    source->size += first->n;
}

/* Let the context under test be an NVIDIA GPU of plain words. */
static void disguise(void)
{
    const struct bytes plain = read_file(CLGAZE_TEST_DIR "/nv_plain.cl");
    clgaze_context *ctx = test_context();

    if (!ctx->device.pocl) {
        printf("SKIPPED: the words are those of PoCL's OpenCL C 2.0\n");
        skip();
    }
    for (size_t i = 0; i < CLG_COUNT(names); i++) {
        copies[i] = *clg_kernel_find(names[i]);
        copies[i].options = "";
        kernels[i] = &copies[i];
    }
    for (int n = 0; clg_sources[n].name; n++) {
        assert_true(n < MAX_SOURCES - 1);
        sources[n] = clg_sources[n];
        if (strcmp(sources[n].name, "nv.cl") == 0)
            sources[n] = (struct clg_source){"nv.cl", (const unsigned char *)"\n", 1};
        if (strcmp(sources[n].name, "common.cl") == 0)
            put_before(&sources[n], &plain);
    }
    free(plain.at);
    ctx->kernels = kernels;
    ctx->sources = sources;
    ctx->device.options = "-cl-std=CL2.0 -DALIGNED_HALF"; /* the board lies at program scope */
    ctx->device.nv_arch = 80;
    ctx->device.cpu = false;
}

static const struct shape shapes[] = {
    {.batch = 1, .sq = 1, .sk = 2},
    {.batch = 1, .sq = 64, .sk = 64},
    {.batch = 2, .sq = 97, .sk = 97},
    {.batch = 1, .sq = 31, .sk = 130},
};

static void check(clgaze_op op, clgaze_dtype dtype, int block)
{
    clgaze_problem p = problem(dtype, 2, 1, 64, block, block);

    if (!kernels[0])
        disguise();
    p.lse = 1;
    check_op(op, &p, shapes, CLG_COUNT(shapes), NULL);
}

static void gates(void **state)
{
    (void)state;
    check(CLGAZE_GATE, CLGAZE_F32, 16);
}

static void scores(void **state)
{
    (void)state;
    check(CLGAZE_SCORE, CLGAZE_F32, 16);
}

/* Blocks of 32 keys are gathered, two to a tile. */
static void attends(void **state)
{
    (void)state;
    check(CLGAZE_ATTEND, CLGAZE_F16, 32);
}

static void maps(void **state)
{
    (void)state;
    check(CLGAZE_TRUTH, CLGAZE_BF16, 64);
}

static void goes_back(void **state)
{
    (void)state;
    check(CLGAZE_ATTEND_BWD, CLGAZE_F16, 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gates), cmocka_unit_test(scores),    cmocka_unit_test(attends),
        cmocka_unit_test(maps),  cmocka_unit_test(goes_back),
    };

    setenv("CLGAZE_TEST_CONFIGS", "0", 0); /* each takes most of a minute to compile */
    return TEST_MAIN(tests);
}
