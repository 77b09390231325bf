/* SPDX-License-Identifier: Apache-2.0 */
/*
 * selftest.c: is a program right?  A small call of a stage against ref/.
 */
#include <math.h>
#include <string.h>

#include "trial.h"

enum { EVERY = 7 }; /* of attend's tokens; odd, to meet each lane of a tile in some row */

/* ---- comparing --------------------------------------------------------------- */

/* The tolerances of `clgaze-run check`; infinities must coincide, NaN is wrong. */
static clgaze_status near(const struct trial *t, int f, size_t n)
{
    static const double of_out[] = {[CLGAZE_F32] = 1e-5, [CLGAZE_F16] = 1e-3, [CLGAZE_BF16] = 8e-3};
    const clgaze_context *ctx = t->ctx;
    const float *got = t->got[f], *want = t->host[f];
    const double tolerance =
        f >= DW_K ? 1e-4 : of_out[clg_fields[f].type == T_DATA ? t->plan.problem.dtype : CLGAZE_F32];
    double diff = 0, norm = 0, worst = 0, largest = 0;
    clgaze_status st = CLGAZE_OK;

    for (size_t i = 0; i < n; i++) {
        const double d = fabs((double)got[i] - (double)want[i]), w = fabs((double)want[i]);

        if (isinf(got[i]) && got[i] == want[i])
            continue;
        NEED(isfinite(d), CLGAZE_ERR_UNSUPPORTED, "%s[%zu] is %g, not %g", clg_fields[f].name, i, (double)got[i],
             (double)want[i]);
        diff += d * d;
        norm += w * w;
        worst = d > worst ? d : worst;
        largest = w > largest ? w : largest;
    }
    NEED(sqrt(diff) <= tolerance * sqrt(norm) && worst <= 50 * tolerance * largest, CLGAZE_ERR_UNSUPPORTED,
         "%s has a relative error of %.1e, allowed is %.0e", clg_fields[f].name, sqrt(diff / norm), tolerance);
out:
    return st;
}

static size_t elements(const struct trial *t, int f)
{
    size_t n = 1;

    for (int i = 0; i < 4 && clg_fields[f].dim[i]; i++)
        n *= (size_t)t->check.value[clg_fields[f].dim[i]];
    return n;
}

static bool same(const struct trial *t, int f)
{
    return memcmp(t->got[f], t->host[f], elements(t, f) * sizeof(cl_int)) == 0;
}

static clgaze_status compare_lists(const struct trial *t)
{
    return same(t, COUNTS) && same(t, BLOCKS) ? CLGAZE_OK
                                              : clg_fail(t->ctx, CLGAZE_ERR_UNSUPPORTED, "it chooses other blocks");
}

/* Where a mass decides, all may be as if the bound lay a little lower or higher. */
static clgaze_status compare_select(struct trial *t)
{
    static const double nudges[] = {0, -1e-6, 1e-6};
    clgaze_problem p = t->plan.problem;
    const int n = p.rule >= CLGAZE_THRESHOLD ? 3 : 1;
    struct clg_ref r = clg_trial_ref(t);

    for (int i = 0; i < n; i++) {
        p.value = t->plan.problem.value + nudges[i];
        clg_ref_select(&p, &r);
        if (same(t, COUNTS) && same(t, BLOCKS))
            return CLGAZE_OK;
    }
    return compare_lists(t);
}

static clgaze_status compare_seqs(const struct trial *t)
{
    const clgaze_context *ctx = t->ctx;
    cl_int want[TRIAL_SEQS * CLG_SEQ_INTS], got[TRIAL_SEQS * CLG_SEQ_INTS];
    clgaze_status st = CLGAZE_OK;

    clg_trial_seqs(t, want);
    TRY_CL(clEnqueueReadBuffer(ctx->queue, t->run.workspace, CL_TRUE, t->plan.at[CLG_AT_SEQS], sizeof got, got, 0,
                               NULL, NULL));
    NEED(memcmp(got, want, sizeof got) == 0, CLGAZE_ERR_UNSUPPORTED, "it places sequences elsewhere");
out:
    return st;
}

/* ---- attend: ref/ takes long, so a part of the tokens ------------------------------ */

/* ref/ on token i of a sequence: as a sequence of its own that sees what it saw.  `room`
 * holds a list a head, `lse` a number a head. */
static void want_token(struct trial *t, const struct clg_ref_seq *s, int i, int32_t *room, float *lse)
{
    clgaze_problem p = t->plan.problem;
    struct clg_ref all = clg_trial_ref(t), r = all;
    const int heads = clg_ref_list_heads(&p), rows = clg_ref_rows(&p, &all), width = all.width;
    const int64_t q_token = (int64_t)s->batch * all.sq + s->q0 + i, k_token = (int64_t)s->batch * all.sk + s->k0;
    const int64_t q_row = (int64_t)p.q_heads * p.head_dim, k_row = (int64_t)p.kv_heads * p.head_dim;

    r.counts = room;
    r.blocks = room + heads;
    for (int h = 0; all.counts && h < heads; h++) {
        const int64_t row = ((int64_t)s->batch * heads + h) * rows + s->row0 + i / p.block_q;

        r.counts[h] = all.counts[row];
        memcpy(r.blocks + (ptrdiff_t)h * width, all.blocks + row * width, (size_t)width * sizeof *room);
    }
    r.batch = r.sq = 1;
    r.sk = p.causal ? s->sk - s->sq + i + 1 : s->sk;
    r.q += q_token * q_row;
    r.k += k_token * k_row;
    r.v += k_token * k_row;
    r.out += q_token * q_row;
    r.lse = all.lse ? lse : NULL;
    p.packed = 0;
    clg_ref_attend(&p, &r);
    for (int h = 0; all.lse && h < p.q_heads; h++)
        all.lse[((int64_t)s->batch * p.q_heads + h) * all.sq + s->q0 + i] = lse[h];
}

/* Elsewhere what is wanted is what came, if that is a number. */
static clgaze_status want_attend(struct trial *t)
{
    const clgaze_context *ctx = t->ctx;
    const clgaze_problem *p = &t->plan.problem;
    struct clg_ref r = clg_trial_ref(t);
    const size_t lists = (size_t)clg_list_heads(p) * (size_t)(r.width + 1);
    int32_t *room = clg_alloc(ctx, lists * sizeof *room + (size_t)p->q_heads * sizeof(float));
    clgaze_status st = CLGAZE_OK;

    NEED(room, CLGAZE_ERR_NO_MEMORY, "no memory for a self-test");
    for (int f = OUT; f <= LSE; f++)
        if (clg_trial_result(t, f))
            memcpy(t->host[f], t->got[f], elements(t, f) * sizeof(float));
    for (int s = 0; s < TRIAL_SEQS; s++) {
        struct clg_ref_seq seq = clg_ref_seq(p, &r, s);

        for (int i = s; i < seq.sq; i += EVERY)
            want_token(t, &seq, i, room, (float *)(void *)(room + lists));
        want_token(t, &seq, seq.sq - 1, room, (float *)(void *)(room + lists));
    }
out:
    clg_release(ctx, room);
    return st;
}

/* ---- distill: ref/ works in doubles -------------------------------------------------- */

static double *widened(const struct trial *t, int f, size_t *n)
{
    double *x;

    *n = t->host[f] ? elements(t, f) : 0;
    x = clg_alloc(t->ctx, (*n + 1) * sizeof *x);
    for (size_t i = 0; x && i < *n; i++)
        x[i] = (double)((const float *)t->host[f])[i];
    return x;
}

static clgaze_status want_distill(struct trial *t)
{
    static const int fields[] = {W_K, W_Q, DW_K, DW_Q};
    const clgaze_context *ctx = t->ctx;
    struct clg_ref r = clg_trial_ref(t);
    double *x[CLG_COUNT(fields)] = {NULL};
    clgaze_status st = CLGAZE_OK;
    size_t n;

    for (size_t i = 0; i < CLG_COUNT(fields); i++) {
        x[i] = widened(t, fields[i], &n);
        NEED(x[i], CLGAZE_ERR_NO_MEMORY, "no memory for a self-test");
    }
    *(float *)t->host[LOSS] = (float)clg_ref_distill(
        &t->plan.problem, &r, &(struct clg_ref_distill){t->host[TRUTH], x[0], x[1], x[2], x[3]});
    for (size_t i = 2; i < CLG_COUNT(fields); i++)
        for (size_t e = 0; t->host[fields[i]] && e < elements(t, fields[i]); e++)
            ((float *)t->host[fields[i]])[e] = (float)x[i][e];
out:
    for (size_t i = 0; i < CLG_COUNT(fields); i++)
        clg_release(ctx, x[i]);
    return st;
}

/* ---- the test ------------------------------------------------------------------ */

static clgaze_status compare(struct trial *t)
{
    static void (*const ref[])(const clgaze_problem *, struct clg_ref *) = {[CLGAZE_POOL] = clg_ref_pool,
                                                                            [CLGAZE_GATE] = clg_ref_gate,
                                                                            [CLGAZE_SCORE] = clg_ref_score,
                                                                            [CLGAZE_TRUTH] = clg_ref_truth,
                                                                            [CLGAZE_ATTEND_BWD] = clg_ref_attend_bwd};
    struct clg_ref r = clg_trial_ref(t);
    clgaze_status st = CLGAZE_OK;

    if (t->seqs)
        return compare_seqs(t);
    TRY(clg_trial_get(t));
    if (t->lists)
        return compare_lists(t);
    if (t->plan.op == CLGAZE_SELECT)
        return compare_select(t);
    if (t->plan.op == CLGAZE_ATTEND)
        TRY(want_attend(t));
    else if (t->plan.op == CLGAZE_DISTILL)
        TRY(want_distill(t));
    else
        ref[t->plan.op](&t->plan.problem, &r);
    for (int f = 0; f < FIELDS; f++)
        if (clg_trial_result(t, f))
            TRY(near(t, f, elements(t, f)));
out:
    return st;
}

static clgaze_status call(struct trial *t)
{
    const clgaze_context *ctx = t->ctx;
    const clgaze_call lengths = {.longest_q = t->longest_q, .longest_k = t->longest_k};
    clgaze_status st = CLGAZE_OK;

    TRY(clg_tensors_check(&t->run, t->plan.op, &lengths));
    TRY(t->twin.kernel->launch(&t->run));
    TRY_CL(clFlush(t->run.queue));
    if (t->run.last)
        TRY_CL(clWaitForEvents(1, &t->run.last));
out:
    return st;
}

clgaze_status clg_selftest(clgaze_context *ctx, const clgaze_problem *p, const struct clg_stage *stage)
{
    clgaze_status st = CLGAZE_OK;
    int op = CLGAZE_POOL; /* of the helper seqs, too */
    struct trial t;

    memset(&t, 0, sizeof t);
    t.ctx = ctx;
    t.seqs = strcmp(stage->kernel->op, "seqs") == 0;
    t.lists = strcmp(stage->kernel->op, "lists") == 0;
    if (t.lists)
        op = CLGAZE_ATTEND;
    while (!t.seqs && !t.lists && strcmp(clg_op_name((clgaze_op)op), stage->kernel->op) != 0)
        op++;
    TRY(clg_trial_open(&t, p, (clgaze_op)op, stage));
    TRY(clg_trial_put(&t));
    TRY(call(&t));
    TRY(compare(&t));
out:
    clg_trial_close(&t);
    return st;
}
