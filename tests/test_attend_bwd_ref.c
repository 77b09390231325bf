/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_attend_bwd_ref.c: the specification of attend_bwd against that of attend:
 * its gradients are those of finite differences.  No device.  Label: unit.
 */
#include <math.h>
#include <string.h>

#include "harness.h"

enum { MOST = 4096 }; /* numbers in any array here */

struct set {
    clgaze_problem p;
    struct clg_ref t;
    int n_q, n_k; /* numbers in q and its like, in k and its like */
    float q[MOST], k[MOST], v[MOST], out[MOST], lse[MOST], dout[MOST], dq[MOST], dk[MOST], dv[MOST];
    int32_t counts[MOST], blocks[MOST], cu_q[4], cu_k[4];
};

/* 4 heads over 2, D 8, blocks of 4 and 8; ragged ends. */
static void fill(struct set *s, int packed)
{
    static const int32_t cu_q[] = {0, 9, 9, 27}, cu_k[] = {0, 7, 10, 33};
    struct rng r = seeded(9);

    memset(s, 0, sizeof *s);
    s->p = problem(CLGAZE_F32, 4, 2, 8, 4, 8);
    s->p.packed = packed;
    memcpy(s->cu_q, cu_q, sizeof cu_q);
    memcpy(s->cu_k, cu_k, sizeof cu_k);
    s->t = (struct clg_ref){.batch = 1, .sq = 27, .sk = 33, .sequences = 3, .width = 5};
    s->t.cu_seqlens_q = s->cu_q, s->t.cu_seqlens_k = s->cu_k;
    s->t.q = s->q, s->t.k = s->k, s->t.v = s->v, s->t.out = s->out, s->t.lse = s->lse, s->t.dout = s->dout;
    s->t.dq = s->dq, s->t.dk = s->dk, s->t.dv = s->dv, s->t.counts = s->counts, s->t.blocks = s->blocks;
    s->n_q = 27 * 4 * 8, s->n_k = 33 * 2 * 8;
    for (int i = 0; i < MOST; i++)
        s->q[i] = normal(&r), s->k[i] = normal(&r), s->v[i] = normal(&r), s->dout[i] = normal(&r);
    for (int row = 0; row < 4 * clg_ref_rows(&s->p, &s->t); row++)
        for (int j = 0; j < 5; j++)
            if (below(&r, 3))
                s->blocks[row * 5 + s->counts[row]++] = j;
}

/* sum of dout out, whose gradients are wanted. */
static double loss(struct set *s)
{
    double sum = 0;

    clg_ref_attend(&s->p, &s->t);
    for (int i = 0; i < s->n_q; i++)
        sum += (double)s->dout[i] * (double)s->out[i];
    return sum;
}

/* (L(x + h) - L(x - h)) / 2h, with the step that the float x really takes. */
static double slope(struct set *s, float *x, float h)
{
    const float kept = *x, more = kept + h, less = kept - h;
    double high, low;

    *x = more;
    high = loss(s);
    *x = less;
    low = loss(s);
    *x = kept;
    return (high - low) / ((double)more - (double)less);
}

/* Two steps, so that errors of order h^2 cancel; out is rounded to f32, which leaves about 1e-5. */
static void differences(struct set *s, float *x, const float *gradient, int n)
{
    double size = 0;

    for (int i = 0; i < n; i += 5) {
        const double want = (4 * slope(s, x + i, 0x1p-6f) - slope(s, x + i, 0x1p-5f)) / 3;

        if (fabs(want - (double)gradient[i]) > 1e-4)
            fail_msg("number %d: %g, by differences %g", i, (double)gradient[i], want);
        size = fmax(size, fabs(want));
    }
    assert_true(size > 0.1); /* there was something to compare */
}

static void compare(struct set *s)
{
    loss(s);
    clg_ref_attend_bwd(&s->p, &s->t);
    differences(s, s->q, s->dq, s->n_q);
    differences(s, s->k, s->dk, s->n_k);
    differences(s, s->v, s->dv, s->n_k);
}

static void gradients_are_those_of_attend(void **state)
{
    static struct set s;

    (void)state;
    for (int packed = 0; packed < 2; packed++) {
        fill(&s, packed);
        compare(&s);
        s.p.lists = CLGAZE_LISTS_DENSE;
        s.p.causal = !packed;
        s.p.scale = 0.7f;
        compare(&s);
    }
}

/* The same lists for the heads of a group, then for all. */
static void scopes_of_lists(void **state)
{
    static struct set s;

    (void)state;
    for (int scope = CLGAZE_SCOPE_KV; scope <= CLGAZE_SCOPE_ONE; scope++) {
        fill(&s, 0);
        s.p.scope = (clgaze_scope)scope;
        compare(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_those_of_attend),
        cmocka_unit_test(scopes_of_lists),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
