/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compute.c: the type that attention computes in.
 */
#include "compute.h"

#include "fail.h"

#include <string.h>

int compute_read(const char *text, int32_t *compute)
{
    *compute = COMPUTE_AUTO;
    for (int i = CLGAZE_F32; i <= CLGAZE_BF16; i++)
        if (strcmp(text, clgaze_dtype_name((clgaze_dtype)i)) == 0)
            *compute = i;
    return *compute != COMPUTE_AUTO || strcmp(text, "auto") == 0
               ? 0
               : fail(EXIT_INPUT, "--compute is \"%.40s\", but must be f32, f16, bf16 or auto", text);
}

void compute_shape(const struct config *config, cl_int seq, clgaze_problem *p)
{
    float unused[128];
    p->q_heads = config->q_heads;
    p->kv_heads = config->kv_heads;
    p->head_dim = config->head_dim;
    p->max_q = p->max_k = seq;
    p->rope_scale = (float)rope_frequencies(&config->rope, config->head_dim, unused);
}

/* Is the strategy of that name, or the one that a sentence names, for matrix units? */
static int by_matrix_units(const char *text)
{
    return strstr(text, "_nv") != NULL;
}

/* Forward alone gains by the three more bits of f16; gradients need the range of bf16 more. */
static const struct {
    clgaze_dtype dtype;
    clgaze_op op; /* that takes most of the time */
} suits[N_WANTS] = {
    [WANT_OUT] = {CLGAZE_F16, CLGAZE_ATTEND},
    [WANT_GATE_INPUTS] = {CLGAZE_F32, CLGAZE_ATTEND},
    [WANT_TEACH] = {CLGAZE_F16, CLGAZE_TRUTH},
    [WANT_TRAIN] = {CLGAZE_BF16, CLGAZE_ATTEND_BWD},
};

int compute_choose(struct machine *m, const struct config *config, cl_int seq, int32_t compute, enum want want,
                   clgaze_problem *p)
{
    clgaze_context *ctx = m->device.context;
    const clgaze_op op = suits[want].op;
    clgaze_problem asked = *p;
    clgaze_plan *plan = NULL;
    char kernel[256] = "";
    p->dtype = compute == COMPUTE_AUTO ? CLGAZE_F32 : (clgaze_dtype)compute;
    compute_shape(config, seq, &asked);
    asked.dtype = suits[want].dtype;
    if (compute != COMPUTE_AUTO || asked.dtype == CLGAZE_F32 ||
        clgaze_supports(ctx, op, &asked, kernel, sizeof kernel) || !by_matrix_units(kernel))
        return 0;
    const clgaze_status status = clgaze_plan_create(ctx, op, &asked, &plan); /* which proves it here */
    if (!status && by_matrix_units(clgaze_plan_kernel(plan, op)))
        p->dtype = asked.dtype;
    clgaze_plan_free(plan);
    return status ? fail_library(status) : 0;
}
