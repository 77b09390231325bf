/* SPDX-License-Identifier: Apache-2.0 */
/* Launches that would take too long are cut: the same answers in more of them.  Label: unit. */
#include <stdlib.h>
#include <string.h>

#include "harness.h"

static struct shape batches = {.batch = 2, .sq = 37, .sk = 45};
static struct shape packs = {.sequences = 4, .q = {9, 0, 1, 30}, .k = {9, 0, 30, 33}};

static clgaze_op cut_op;
static int cuts; /* launches that were cut */

static void hear_cuts(void *user, clgaze_log_level level, clgaze_status status, const char *message)
{
    test_log(user, level, status, message);
    cuts += strstr(message, ": launches of at most ") != NULL;
}

/* On the device under test. */
static clgaze_context *hearing_context(void)
{
    clgaze_context_options o = test_options();
    clgaze_context *ctx = NULL;

    o.context = clgaze_context_cl(test_context());
    o.device = clgaze_context_device(test_context());
    o.log = hear_cuts;
    o.log_level = CLGAZE_LOG_DEBUG;
    assert_ok(clgaze_context_create(&o, &ctx));
    return ctx;
}

/* In one launch, in some, and in one of each group: the same bits. */
static void cut_launches(const clgaze_problem *p)
{
    const double macs[] = {0, tiny() ? 1000 : 20000, 1};
    const bool whole = strstr(p->kernel, "truth_cpu") || strstr(p->kernel, "clblast"); /* never cut, or not by us */
    clgaze_context *ctx = hearing_context();
    void *first[ARRAYS] = {NULL};
    clgaze_plan *plan = NULL;
    struct test_case c;

    case_make(&c, cut_op, p, p->packed ? &packs : &batches, NULL, 1);
    assert_ok(clgaze_plan_create(ctx, cut_op, p, &plan));
    for (size_t i = 0; i < CLG_COUNT(macs); i++) {
        ctx->device.launch_macs = macs[i];
        cuts = 0;
        if (!run_case(&c, cut_op, plan, ctx, test_queue()) || !check_results(&c, cut_op))
            fail_msg("%s, launches of %g multiply-adds: %s", p->kernel, macs[i], c.why);
        if ((cuts > 0) != (i > 0 && !whole))
            fail_msg("%s, launches of %g multiply-adds: %d were cut", p->kernel, macs[i], cuts);
        for (int id = 0; id < ARRAYS; id++)
            if (!(op_outputs(&c, cut_op) & BIT(id)))
                continue;
            else if (i == 0)
                first[id] = array_copy(&c, (enum array)id);
            else if (memcmp(first[id], c.data[id], array_bytes(&c, (enum array)id)) != 0)
                fail_msg("%s: %s depends on how launches are cut", p->kernel, array_names[id]);
    }
    for (int id = 0; id < ARRAYS; id++)
        free(first[id]);
    case_free(&c);
    clgaze_plan_free(plan);
    clgaze_context_free(ctx);
}

static void long_launches(void **state)
{
    static const clgaze_op ops[] = {CLGAZE_GATE, CLGAZE_ATTEND, CLGAZE_TRUTH, CLGAZE_DISTILL, CLGAZE_ATTEND_BWD};

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(ops); i++)
        for (int packed = 0; packed < 2; packed++) {
            clgaze_problem p = problem(CLGAZE_F32, 4, 2, tiny() ? 8 : 32, 8, 8);

            cut_op = ops[i];
            p.packed = packed;
            p.gate_double = 1;
            p.rope_pairs = p.head_dim / 2;
            p.lse = 1;
            fit_maxima(&p, packed ? &packs : &batches, 1);
            every_kernel(cut_op, &p, cut_launches);
        }
}

/* What matrix units take, with lists that heads share. */
static void long_launches_of_matrix_units(void **state)
{
    static const clgaze_op ops[] = {CLGAZE_ATTEND, CLGAZE_TRUTH, CLGAZE_ATTEND_BWD};

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(ops); i++) {
        clgaze_problem p = problem(CLGAZE_F16, tiny() ? 2 : 4, tiny() ? 1 : 2, 128, 64, 64);

        cut_op = ops[i];
        p.scope = CLGAZE_SCOPE_KV;
        p.lse = 1;
        fit_maxima(&p, &batches, 1);
        every_kernel(cut_op, &p, cut_launches);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_launches),
        cmocka_unit_test(long_launches_of_matrix_units),
    };

    if (tiny()) {
        batches = (struct shape){.batch = 1, .sq = 17, .sk = 21};
        packs.q[3] = 12;
        packs.k[2] = packs.k[3] = 15;
    }
    return TEST_MAIN(tests);
}
