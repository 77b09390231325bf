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
static const char *const names[] = {"gate_nv", "score_nv", "attend_nv_mma"};

static struct clg_kernel copies[CLG_COUNT(names)];
static const struct clg_kernel *kernels[CLG_COUNT(names) + 1];
static struct clg_source sources[MAX_SOURCES];

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
        if (strcmp(sources[n].name, "nv.cl") == 0) {
            sources[n].text = plain.at;
            sources[n].size = plain.n;
        }
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

static void attends(void **state)
{
    clgaze_problem p = problem(CLGAZE_F16, 2, 1, 64, 64, 64);

    (void)state;
    p.lse = 1;
    check_op(CLGAZE_ATTEND, &p, shapes, CLG_COUNT(shapes), NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup(attends, disguise)};

    return TEST_MAIN(tests);
}
