/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spied.c: a context whose only kernel is pool with few configurations.
 */
#include "spied.h"

#include <stdio.h>
#include <string.h>

struct clg_kernel spy;
const struct clg_kernel *spy_table[6];

const char *spy_fits(const struct clg_device *device, const clgaze_problem *p, const int *values)
{
    return values[0] < 64 || values[1] != 8 ? "the test wants few candidates"
                                            : clg_kernel_find("pool")->fits(device, p, values);
}

void spy_on(clgaze_context *ctx)
{
    spy = *clg_kernel_find("pool");
    spy.fits = spy_fits;
    memset(spy_table, 0, sizeof spy_table);
    spy_table[0] = &spy;
    ctx->kernels = spy_table;
}

clgaze_problem spy_problem(int length)
{
    clgaze_problem p = problem(CLGAZE_F32, 2, 1, 8, 8, 8);

    p.max_q = p.max_k = length;
    return p;
}

const char *spy_plan(clgaze_context *ctx, int length, const char *kernel, const char *reason)
{
    static char name[96];
    const clgaze_problem p = spy_problem(length);
    const struct shape n = {.batch = 1, .sq = p.max_q - 3, .sk = p.max_k};
    cl_command_queue queue = clCreateCommandQueue(ctx->cl, ctx->device.id, 0, NULL);
    clgaze_plan *plan = NULL;
    struct test_case c;

    assert_ok(clgaze_plan_create(ctx, CLGAZE_POOL, &p, &plan));
    snprintf(name, sizeof name, "%s", clgaze_plan_kernel(plan, CLGAZE_POOL));
    if (kernel)
        assert_string_equal(name, kernel);
    if (reason)
        assert_says(name, clgaze_plan_reason(plan, CLGAZE_POOL), reason);
    case_make(&c, CLGAZE_POOL, &p, &n, NULL, 3);
    if (!run_case(&c, CLGAZE_POOL, plan, ctx, queue) || !check_results(&c, CLGAZE_POOL))
        fail_msg("%s: %s", name, c.why);
    case_free(&c);
    clgaze_plan_free(plan);
    clReleaseCommandQueue(queue);
    return name;
}

bool spy_record(clgaze_context *ctx, const char *problem, struct clg_record *r)
{
    return clg_records_find(ctx->records, &ctx->device, "pool", problem, 0, r);
}
