/*
 * test_nv.c: the strategies for NVIDIA's matrix units against ref/ on any device:
 * built with tests/nv_plain.cl in the place of cl/nv.cl.
 */
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "harness.h"

enum { MAX_KERNELS = 64, MAX_SOURCES = 64 };

/* The strategies whose only words of NVIDIA's are those of cl/nv.cl. */
static const char *const names[] = {"gate_nv", "score_nv", "attend_nv_mma", "truth_nv_mma", "attend_bwd_nv"};

static struct clg_kernel copies[CLG_COUNT(names)];
static const struct clg_kernel *kernels[MAX_KERNELS];
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
static int disguise(void **state)
{
    clgaze_context *ctx = test_context();
    const struct bytes plain = read_file(CLGAZE_TEST_DIR "/nv_plain.cl");
    int n = 0;

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(names); i++) {
        copies[i] = *clg_kernel_find(names[i]);
        copies[i].options = "";
        kernels[i] = &copies[i];
    }
    for (; clg_sources[n].name && n < MAX_SOURCES - 1; n++) {
        sources[n] = clg_sources[n];
        if (strcmp(sources[n].name, "nv.cl") == 0)
            sources[n] = (struct clg_source){"nv.cl", (const unsigned char *)"\n", 1};
        if (strcmp(sources[n].name, "common.cl") == 0)
            put_before(&sources[n], &plain);
    }
    ctx->kernels = kernels;
    ctx->sources = sources;
    ctx->device.options = "-cl-std=CL2.0 -DALIGNED_HALF"; /* the board lies at program scope */
    ctx->device.nv_arch = 80;
    ctx->device.cpu = false;
    return 0;
}

static const struct shape shapes[] = {
    {.batch = 1, .sq = 1, .sk = 1},
    {.batch = 1, .sq = 64, .sk = 64},
    {.batch = 2, .sq = 97, .sk = 97},
    {.batch = 1, .sq = 31, .sk = 130},
};

__attribute__((unused)) static void attends(void **state)
{
    clgaze_problem p = problem(CLGAZE_F16, 2, 1, 64, 64, 64);

    (void)state;
    p.lse = 1;
    check_op(CLGAZE_ATTEND, &p, shapes, CLG_COUNT(shapes), NULL);
}

static void maps(void **state)
{
    clgaze_problem p = problem(CLGAZE_BF16, 2, 1, 64, 64, 64);

    (void)state;
    check_op(CLGAZE_TRUTH, &p, shapes, CLG_COUNT(shapes), NULL);
}

static void turns_back(void **state)
{
    clgaze_problem p = problem(CLGAZE_F16, 2, 1, 64, 64, 64);

    (void)state;
    check_op(CLGAZE_ATTEND_BWD, &p, shapes, CLG_COUNT(shapes), NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        // cmocka_unit_test_setup(attends, disguise),
        cmocka_unit_test_setup(maps, disguise),
        cmocka_unit_test_setup(turns_back, disguise),
    };

    return TEST_MAIN(tests);
}
