/* SPDX-License-Identifier: Apache-2.0 */
/* distill against ref/distill.c, laws of its gradients, and what AdamW keeps.  Label: unit. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

/* Partial blocks; queries at the end of the keys; rows that see no key at all. */
static const struct shape shapes[] = {
    {.batch = 1, .sq = 1, .sk = 1},    {.batch = 2, .sq = 64, .sk = 64}, {.batch = 2, .sq = 77, .sk = 77},
    {.batch = 1, .sq = 31, .sk = 130}, {.batch = 1, .sq = 70, .sk = 17}, {.batch = 1, .sq = 160, .sk = 160},
};

static const struct shape several[] = {
    {.sequences = 5, .q = {9, 0, 1, 70, 8}, .k = {9, 0, 30, 5, 64}},
    {.sequences = 2, .q = {65, 7}, .k = {65, 100}},
    {.sequences = 3, .q = {0, 33, 5}, .k = {4, 33, 0}},
};

/* Two forms of the gate: 0 single, 1 double with pools, sizes and turns of its own. */
static clgaze_problem gate(int form)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 16, 8, 8);

    p.rope_pairs = 8;
    if (form == 1) {
        p.gate_double = 1;
        p.q_pool = CLGAZE_MAX | CLGAZE_AVG;
        p.k_pool = CLGAZE_MIN | CLGAZE_AVG;
        p.gate_dim = 24;
        p.rope_pairs = 9;
        p.rope_interleaved = 1;
        p.rope_scale = 1.25f;
    }
    return p;
}

static void check(const clgaze_problem *p)
{
    if (p->packed)
        check_op(CLGAZE_DISTILL, p, several, CLG_COUNT(several), NULL);
    else
        check_op(CLGAZE_DISTILL, p, shapes, CLG_COUNT(shapes), NULL);
}

static void forms(void **state)
{
    (void)state;
    for (int form = 0; form < 2; form++) {
        clgaze_problem p = gate(form);

        check(&p);
        p.block_q = 5, p.block_k = 12;
        check(&p);
        p.q_heads = 6, p.kv_heads = 1;
        p.block_q = 16, p.block_k = 4;
        p.rope_pairs = 0;
        check(&p);
    }
}

static void pools(void **state)
{
    clgaze_problem p = gate(1), q = gate(0);

    (void)state;
    for (uint32_t set = 1; set <= 7; set += 2) {
        p.q_pool = set;
        p.k_pool = 8 - set;
        check(&p);
    }
    q.k_pool = CLGAZE_MAX;
    q.q_pool = CLGAZE_MIN;
    check(&q);
}

static void not_causal(void **state)
{
    (void)state;
    for (int form = 0; form < 2; form++) {
        clgaze_problem p = gate(form);

        p.causal = 0;
        check(&p);
    }
}

static void packed(void **state)
{
    (void)state;
    for (int form = 0; form < 2; form++) {
        clgaze_problem p = gate(form);

        p.packed = 1;
        check(&p);
    }
}

/* Rows in slices: of one each, and of a few. */
static void slices(void **state)
{
    const size_t limits[] = {1, 1000};
    clgaze_context *ctx = test_context();

    (void)state;
    for (int i = 0; i < (tiny() ? 2 : 8); i++) {
        const struct shape *n = i & 1 ? &several[0] : &shapes[2];
        clgaze_problem p = gate(i >> 1 & 1);
        clgaze_plan *plan;
        struct test_case c;

        p.packed = i & 1;
        fit_maxima(&p, n, 1);
        ctx->slice_bytes = limits[i >> 2];
        plan = plan_of(CLGAZE_DISTILL, &p);
        ctx->slice_bytes = CLG_SLICE_BYTES;
        assert_in_range(plan->slice, 1, clg_max_rows(&p) - 1);
        case_make(&c, CLGAZE_DISTILL, &p, n, NULL, 11);
        run_or_fail(&c, CLGAZE_DISTILL, plan);
        if (!check_results(&c, CLGAZE_DISTILL))
            fail_msg("slices of %d rows: %s", plan->slice, c.why);
        case_free(&c);
        clgaze_plan_free(plan);
    }
}

/* ---- laws -------------------------------------------------------------------------- */

/* The truth is what the gate says. */
static void agree(struct test_case *c)
{
    const clgaze_problem *p = &c->p;
    struct clg_ref t = as_ref(c, c->data);
    const int rows = clg_ref_rows(p, &t), cols = clg_ref_cols(p, &t);
    const size_t n = (size_t)c->n.batch * (size_t)p->q_heads * (size_t)rows;
    float *truth = c->data[A_TRUTH];

    t.q_gated = calloc(n * (size_t)clg_gate_dim(p), sizeof(float));
    t.k_gated =
        calloc((size_t)c->n.batch * (size_t)cols * (size_t)p->q_heads * (size_t)clg_gate_dim(p), sizeof(float));
    t.scores = calloc(n * (size_t)cols, sizeof(float));
    assert_true(t.q_gated && t.k_gated && t.scores);
    clg_ref_gate(p, &t);
    clg_ref_score(p, &t);
    for (size_t row = 0; row < n; row++) {
        double sum = 0;

        for (int j = 0; j < cols; j++)
            sum += exp((double)t.scores[row * (size_t)cols + (size_t)j]);
        for (int j = 0; j < cols; j++) /* a row that sees nothing has no sum */
            truth[row * (size_t)cols + (size_t)j] =
                sum > 0 ? (float)(exp((double)t.scores[row * (size_t)cols + (size_t)j]) / sum) : 0;
    }
    free(t.q_gated);
    free(t.k_gated);
    free(t.scores);
}

static void told(const clgaze_problem *p)
{
    clgaze_plan *plan = plan_of(CLGAZE_DISTILL, p);

    for (size_t i = 0; i < (tiny() ? 2 : CLG_COUNT(shapes)); i++) {
        struct test_case c;

        case_make(&c, CLGAZE_DISTILL, p, &shapes[i], agree, 12 + i);
        run_or_fail(&c, CLGAZE_DISTILL, plan);
        assert_true(fabsf(*(float *)c.data[A_LOSS]) < 1e-6f);
        for (int id = A_DW_K; id <= A_DW_Q; id++)
            for (size_t e = 0; c.data[id] && e < array_count(&c, (enum array)id); e++)
                assert_true(fabsf(((float *)c.data[id])[e]) < 1e-6f);
        case_free(&c);
    }
    clgaze_plan_free(plan);
}

static void truth_told_leaves_nothing_to_learn(void **state)
{
    (void)state;
    for (int form = 0; form < 2; form++) {
        clgaze_problem p = gate(form);

        fit_maxima(&p, shapes, CLG_COUNT(shapes));
        every_kernel(CLGAZE_DISTILL, &p, told);
    }
}

/* ---- learning ---------------------------------------------------------------------- */

enum { W_K_, W_Q_, M_K_, M_Q_, STATE };
static const enum array state_of[STATE] = {A_W_K, A_W_Q, A_MOMENTS_K, A_MOMENTS_Q};

/* A gate that learns: one call's arrays, and the moments. */
struct pupil {
    clgaze_plan *plan;
    struct test_case c;
    struct placed_case x;
    struct placed *at[STATE]; /* NULL: not in this form */
};

static const clgaze_adamw adamw = {.lr = 1e-2, .beta1 = .9, .beta2 = .999, .eps = 1e-8, .weight_decay = .1};

/* `shift`: the arrays lie elsewhere. */
static void pupil_open(struct pupil *u, clgaze_plan *plan, tweak_fn tweak, int shift)
{
    const clgaze_problem *p = &plan->problem;
    clgaze_tensor *moments[] = {&u->x.tensors.moments_k, &u->x.tensors.moments_q};

    memset(u, 0, sizeof *u);
    u->plan = plan;
    case_make(&u->c, CLGAZE_DISTILL, p, &shapes[2], tweak, 13);
    for (int i = 0; i < shift; i++)
        below(&u->c.rng, 2);
    assert_true(place_case(&u->c, CLGAZE_DISTILL, plan, test_context(), test_queue(), &u->x));
    for (int i = W_K_; i <= M_Q_; i++) {
        if (i % 2 && !p->gate_double)
            continue;
        u->at[i] = &u->x.at[state_of[i]];
        if (i < M_K_)
            continue;
        u->c.data[state_of[i]] = calloc(array_count(&u->c, state_of[i]), sizeof(float));
        assert_true(place(&u->c, test_context(), test_queue(), state_of[i], false, u->at[i]));
        *moments[i - M_K_] = u->at[i]->t;
    }
}

static void pupil_free(struct pupil *u)
{
    unplace_case(&u->x);
    case_free(&u->c);
}

/* An array as it is on the device now. */
static float *numbers(struct pupil *u, enum array id)
{
    const struct placed *from = &u->x.at[id];
    const size_t n = array_count(&u->c, id);
    float *x = malloc(n * sizeof *x);

    assert_non_null(x);
    assert_int_equal(clEnqueueReadBuffer(test_queue(), from->mem, CL_TRUE, from->t.offset * sizeof *x, n * sizeof *x,
                                         x, 0, NULL, NULL),
                     CL_SUCCESS);
    return x;
}

/* As it shall be; the whole buffer, because oclgrind 21.10 takes what is written in part for uninitialised. */
static void set_numbers(struct pupil *u, enum array id, const float *x)
{
    struct placed *to = &u->x.at[id];

    memcpy(to->before + to->t.offset * sizeof *x, x, array_bytes(&u->c, id));
    assert_int_equal(clEnqueueWriteBuffer(test_queue(), to->mem, CL_TRUE, 0, to->bytes, to->before, 0, NULL, NULL),
                     CL_SUCCESS);
}

static void learn(struct pupil *u, int from, int to)
{
    for (int step = from; step <= to; step++) {
        clgaze_adamw o = adamw;

        o.step = step;
        u->x.call.update = &o;
        forget();
        assert_ok(clgaze_distill(u->plan, &u->x.tensors, &u->x.call));
        clFinish(test_queue());
    }
}

static void assert_same_bits(struct pupil *a, struct pupil *b)
{
    static const enum array ids[] = {A_W_K, A_W_Q, A_MOMENTS_K, A_MOMENTS_Q, A_DW_K, A_DW_Q, A_LOSS};

    for (size_t i = 0; i < CLG_COUNT(ids); i++) {
        if (!a->x.at[ids[i]].mem)
            continue;
        float *one = numbers(a, ids[i]), *two = numbers(b, ids[i]);

        assert_memory_equal(one, two, array_bytes(&a->c, ids[i]));
        free(one);
        free(two);
    }
}

/* Some steps; the same again; half of them, saved, and the rest by another that was given what was saved. */
static void bits(const clgaze_problem *p)
{
    const int half = tiny() ? 1 : 3;
    struct pupil a, b, c;
    clgaze_plan *plan = plan_of(CLGAZE_DISTILL, p), *again = plan_of(CLGAZE_DISTILL, p);

    pupil_open(&a, plan, NULL, 0);
    pupil_open(&b, plan, NULL, 1);
    pupil_open(&c, again, NULL, 2);
    learn(&a, 1, 2 * half);
    learn(&b, 1, half);
    for (int i = 0; i < STATE; i++)
        if (b.at[i]) {
            float *saved = numbers(&b, state_of[i]);

            set_numbers(&c, state_of[i], saved);
            free(saved);
        }
    learn(&b, half + 1, 2 * half);
    learn(&c, half + 1, 2 * half);
    assert_same_bits(&a, &b);
    assert_same_bits(&a, &c);
    pupil_free(&a);
    pupil_free(&b);
    pupil_free(&c);
    clgaze_plan_free(plan);
    clgaze_plan_free(again);
}

static void saved_and_restored(void **state)
{
    (void)state;
    for (int form = 0; form < 2; form++) {
        clgaze_problem p = gate(form);

        fit_maxima(&p, shapes, CLG_COUNT(shapes));
        every_kernel(CLGAZE_DISTILL, &p, bits);
    }
}

static double *wide(const float *x, size_t n)
{
    double *y = malloc(n * sizeof *y);

    assert_non_null(y);
    for (size_t i = 0; i < n; i++)
        y[i] = (double)x[i];
    return y;
}

/* One side after one step against ref/, from the device's own gradient. */
static void step_side(struct pupil *u, int side, int step)
{
    const struct clg_ref_adamw o = {adamw.lr, adamw.beta1, adamw.beta2, adamw.eps, adamw.weight_decay};
    const enum array ids[] = {state_of[side], side ? A_DW_Q : A_DW_K, state_of[M_K_ + side]};
    const size_t n = array_count(&u->c, ids[0]);
    float *f[4];
    double *d[3];

    f[0] = numbers(u, ids[0]), f[2] = numbers(u, ids[2]);
    learn(u, step, step);
    f[1] = numbers(u, ids[1]), f[3] = numbers(u, ids[0]);
    for (int i = 0; i < 3; i++)
        d[i] = wide(f[i], i == 2 ? 2 * n : n);
    clg_ref_adamw(&o, step, (int64_t)n, d[0], d[1], d[2], d[2] + n);
    for (size_t i = 0; i < n; i++)
        assert_true(fabs(d[0][i] - (double)f[3][i]) < 1e-7 + 1e-6 * fabs(d[0][i]));
    for (int i = 0; i < 4; i++)
        free(f[i]);
    for (int i = 0; i < 3; i++)
        free(d[i]);
}

static void steps_are_those_of_adamw(void **state)
{
    struct pupil u;
    clgaze_problem p = gate(1);
    clgaze_plan *plan;
    float *before, *after;

    (void)state;
    fit_maxima(&p, &shapes[2], 1);
    plan = plan_of(CLGAZE_DISTILL, &p);
    pupil_open(&u, plan, NULL, 0);
    learn(&u, 1, 1);
    before = numbers(&u, A_LOSS);
    for (int step = 2; step <= (tiny() ? 3 : 9); step++)
        step_side(&u, step % 2, step);
    after = numbers(&u, A_LOSS);
    assert_true(*after < *before); /* it learns */
    free(before);
    free(after);
    pupil_free(&u);
    clgaze_plan_free(plan);
}

static void spoil(struct test_case *c)
{
    ((float *)c->data[A_TRUTH])[array_count(c, A_TRUTH) - 4] = NAN;
}

static void a_loss_that_is_no_number_teaches_nothing(void **state)
{
    struct pupil u, fresh;
    clgaze_problem p = gate(1);
    clgaze_plan *plan;
    float *loss;

    (void)state;
    fit_maxima(&p, &shapes[2], 1);
    plan = plan_of(CLGAZE_DISTILL, &p);
    pupil_open(&u, plan, spoil, 0);
    pupil_open(&fresh, plan, spoil, 0);
    learn(&u, 1, 2);
    loss = numbers(&u, A_LOSS);
    assert_true(isnan(*loss));
    for (int i = 0; i < STATE; i++) {
        float *one = numbers(&u, state_of[i]), *two = numbers(&fresh, state_of[i]);

        assert_memory_equal(one, two, array_bytes(&u.c, state_of[i]));
        free(one);
        free(two);
    }
    free(loss);
    pupil_free(&u);
    pupil_free(&fresh);
    clgaze_plan_free(plan);
}

/* ---- what is refused ----------------------------------------------------------------- */

static void bad_steps(void **state)
{
    static const struct {
        const char *row;
        clgaze_adamw o;
    } rows[] = {
        {"lr|-1", {-1, .9, .999, 1e-8, 0, 1}},          {"lr|nan", {NAN, .9, .999, 1e-8, 0, 1}},
        {"beta1|1", {1e-3, 1, .999, 1e-8, 0, 1}},       {"beta2|-0.5", {1e-3, .9, -.5, 1e-8, 0, 1}},
        {"eps|more than 0", {1e-3, .9, .999, 0, 0, 1}}, {"weight_decay|inf", {1e-3, .9, .999, 1e-8, INFINITY, 1}},
        {"step|0|1", {1e-3, .9, .999, 1e-8, 0, 0}},
    };
    const clgaze_adamw good = {1e-3, .9, .999, 1e-8, 0, 1};
    clgaze_problem p = gate(0);
    struct pupil u;
    clgaze_plan *plan;

    (void)state;
    fit_maxima(&p, &shapes[2], 1);
    plan = plan_of(CLGAZE_DISTILL, &p);
    pupil_open(&u, plan, NULL, 0);
    for (size_t i = 0; i < CLG_COUNT(rows); i++) {
        u.x.call.update = &rows[i].o;
        forget();
        assert_refused(rows[i].row, clgaze_distill(plan, &u.x.tensors, &u.x.call), CLGAZE_ERR_VALUE, rows[i].row);
    }
    u.x.call.update = &good;
    u.x.tensors.moments_k.buffer = NULL;
    forget();
    assert_refused("moments", clgaze_distill(plan, &u.x.tensors, &u.x.call), CLGAZE_ERR_NULL, "moments_k|missing");
    pupil_free(&u);
    clgaze_plan_free(plan);
    p.weight_dtype = CLGAZE_BF16;
    forget();
    assert_refused("dtype", clgaze_distill_plan(test_context(), &p, &plan), CLGAZE_ERR_DTYPE, "weight_dtype|f32");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),
        cmocka_unit_test(pools),
        cmocka_unit_test(not_causal),
        cmocka_unit_test(packed),
        cmocka_unit_test(slices),
        cmocka_unit_test(truth_told_leaves_nothing_to_learn),
        cmocka_unit_test(saved_and_restored),
        cmocka_unit_test(steps_are_those_of_adamw),
        cmocka_unit_test(a_loss_that_is_no_number_teaches_nothing),
        cmocka_unit_test(bad_steps),
    };

    return TEST_MAIN(tests);
}
