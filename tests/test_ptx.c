/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_ptx.c: opening the instructions that a kernel holds as comments of PTX.
 */
#include <string.h>

#include "harness.h"

#define HEAD  ".version 8.4\n.target sm_90, texmode_independent\n.address_size 64\n"
#define HEADA ".version 8.4\n.target sm_90a, texmode_independent\n.address_size 64\n"

/* What comes of a text; NULL: it is not taken. */
static void opens(void **state)
{
    static const struct {
        const char *from, *to;
    } rows[] = {
        {HEAD "//@wgmma.fence.sync.aligned;\n", HEADA "wgmma.fence.sync.aligned;\n"},
        {HEAD "\t//@a;\n\tmov.u32 %r1, 0; // b\n\t//@c;", HEADA "\ta;\n\tmov.u32 %r1, 0; // b\n\tc;"},
        {HEAD "//@", HEADA ""},
        {HEAD "// sm_90, again\n//@a;", HEADA "// sm_90, again\na;"},
        {HEAD "mov.u32 %r1, 0;\n", NULL},                           /* nothing to open             */
        {".version 8.4\n.target sm_80, debug\n//@a;\n", NULL},      /* another target              */
        {".version 8.4\n.target sm_90a, debug\n//@a;\n", NULL},     /* it has what it needs        */
        {".version 8.4\n.target sm_90\n//@a;\n", NULL},             /* not as this compiler writes */
        {HEAD ".target sm_90, texmode_independent\n//@a;\n", NULL}, /* two targets                 */
        {"//@a;\n" HEAD, NULL},                                     /* before the target           */
        {"\177ELF\2\1\1", NULL},                                    /* machine code                */
        {"", NULL},
    };

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(rows); i++) {
        char *opened = clg_ptx_open(test_context(), rows[i].from);

        if (rows[i].to)
            assert_string_equal(opened, rows[i].to);
        else
            assert_null(opened);
        clg_release(test_context(), opened);
    }
}

static void *no_memory(void *user, size_t size)
{
    (void)user;
    (void)size;
    return NULL;
}

static void without_memory(void **state)
{
    clgaze_context poor = {.alloc = no_memory};

    (void)state;
    assert_null(clg_ptx_open(&poor, HEAD "//@a;"));
}

/* A program whose binary is not such PTX is left as it was. */
static void other_drivers(void **state)
{
    static const char *const source = "__kernel void empty(void) {}";
    clgaze_context *ctx = test_context();
    cl_int err;
    cl_program program = clCreateProgramWithSource(ctx->cl, 1, (const char **)(uintptr_t)&source, NULL, &err), before;

    (void)state;
    assert_int_equal(err, CL_SUCCESS);
    assert_int_equal(clBuildProgram(program, 1, &ctx->device.id, "", NULL, NULL), CL_SUCCESS);
    before = program;
    forget();
    assert_int_equal(clg_ptx_rework(ctx, "", &program), CLGAZE_ERR_BUILD);
    assert_non_null(strstr(last_error(), "not the PTX of sm_90 that was expected"));
    assert_ptr_equal(program, before);
    clReleaseProgram(program);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens),
        cmocka_unit_test(without_memory),
        cmocka_unit_test(other_drivers),
    };

    return TEST_MAIN(tests);
}
