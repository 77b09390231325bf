/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_distill_ref.c: the specification of distill against itself: the gradients are
 * those of the loss, and vanish where the gate already tells the truth.
 */
#include "harness.h"

#include <math.h>
#include <string.h>

enum { MOST = 4096 }; /* numbers in any array here */

struct set {
    clgaze_problem p;
    struct clg_ref t;
    struct clg_ref_distill d;
    float q[MOST], k[MOST], freq[8], truth[MOST];
    double w_k[MOST], w_q[MOST], dw_k[MOST], dw_q[MOST];
};

/* dg 8 and 4 heads over 2; ragged ends: 27 queries, 30 keys, blocks of 4. */
static void fill(struct set *s, int gate_double, int interleaved)
{
    struct rng r = seeded(7);

    memset(s, 0, sizeof *s);
    s->p = problem(CLGAZE_F32, 4, 2, 8, 4, 4);
    s->p.gate_double = gate_double;
    s->p.rope_interleaved = interleaved;
    s->p.rope_pairs = 3; /* the last numbers are not turned */
    s->p.rope_scale = 1.25f;
    s->t = (struct clg_ref){.batch = 2, .sq = 27, .sk = 30};
    s->t.q_pooled = s->q, s->t.k_pooled = s->k, s->t.rope_inv_freq = s->freq;
    s->d = (struct clg_ref_distill){s->truth, s->w_k, s->w_q, s->dw_k, s->dw_q};
    for (int i = 0; i < MOST; i++) {
        s->q[i] = normal(&r), s->k[i] = normal(&r);
        s->truth[i] = (float)below(&r, 4) / 16; /* a zero now and then */
        s->w_k[i] = .3 * (double)normal(&r), s->w_q[i] = .3 * (double)normal(&r);
    }
    for (int i = 0; i < 8; i++)
        s->freq[i] = 1 / (1.f + (float)i);
}

/* Every 7th weight of n: (L(w + h) - L(w - h)) / 2h against the gradient. */
static void differences(struct set *s, double *w, const double *dw, int n)
{
    static double gradient[MOST];
    const double h = 1e-5;
    double size = 0;

    memcpy(gradient, dw, sizeof gradient);
    for (int i = 0; i < n; i += 7) {
        double kept = w[i], more, less;

        w[i] = kept + h;
        more = clg_ref_distill(&s->p, &s->t, &s->d);
        w[i] = kept - h;
        less = clg_ref_distill(&s->p, &s->t, &s->d);
        w[i] = kept;
        assert_true(fabs((more - less) / (2 * h) - gradient[i]) < 1e-8);
        size = fmax(size, fabs(gradient[i]));
    }
    assert_true(size > 1e-4); /* there was something to compare */
}

static void gradients_are_those_of_the_loss(void **state)
{
    static struct set s;

    (void)state;
    for (int form = 0; form < 4; form++) {
        int qw, kw;

        fill(&s, form & 1, form >> 1);
        qw = clg_pools(s.p.q_pool) * 8, kw = clg_pools(s.p.k_pool) * 8;
        assert_true(isfinite(clg_ref_distill(&s.p, &s.t, &s.d)));
        differences(&s, s.w_k, s.dw_k, (form & 1 ? 2 : 4) * kw * 8);
        if (!(form & 1))
            continue;
        clg_ref_distill(&s.p, &s.t, &s.d);
        differences(&s, s.w_q, s.dw_q, 4 * qw * 8);
    }
}

/* w_k = 0: every score is 0, so the gate says 1 / visible. */
static void truth_told_leaves_nothing_to_learn(void **state)
{
    static struct set s;
    struct clg_ref_seq seq;
    int rows, cols;

    (void)state;
    fill(&s, 0, 0);
    memset(s.w_k, 0, sizeof s.w_k);
    clg_ref_distill(&s.p, &s.t, &s.d);
    assert_true(fabs(s.dw_k[0]) > 1e-5); /* another truth teaches */
    rows = clg_ref_rows(&s.p, &s.t), cols = clg_ref_cols(&s.p, &s.t);
    seq = clg_ref_seq(&s.p, &s.t, 0);
    for (int i = 0; i < 2 * 4 * rows * cols; i++) {
        int visible = clg_ref_visible(&s.p, &seq, i / cols % rows);
        s.truth[i] = i % cols < visible ? 1 / (float)visible : 0;
    }
    assert_true(fabs(clg_ref_distill(&s.p, &s.t, &s.d)) < 1e-6);
    for (int i = 0; i < 4 * 24 * 8; i++)
        assert_true(fabs(s.dw_k[i]) < 1e-7);
}

/* Where the gradient is constant both moments are exact: each step is lr, beside the decay. */
static void a_constant_gradient_steps_by_lr(void **state)
{
    const struct clg_ref_adamw o = {.01, .9, .999, 0, .5};
    double w[2] = {1, -1}, g[2] = {3, -.25}, m[2] = {0}, v[2] = {0}, want[2] = {1, -1};

    (void)state;
    for (int step = 1; step <= 5; step++) {
        clg_ref_adamw(&o, step, 2, w, g, m, v);
        for (int i = 0; i < 2; i++) {
            want[i] = want[i] * (1 - .01 * .5) - (g[i] > 0 ? .01 : -.01);
            assert_true(fabs(w[i] - want[i]) < 1e-12);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_those_of_the_loss),
        cmocka_unit_test(truth_told_leaves_nothing_to_learn),
        cmocka_unit_test(a_constant_gradient_steps_by_lr),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
