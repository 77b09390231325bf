/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_llama_gradients.c: what must hold of the gradients of a model, and of the memory that
 * they take.
 */
#include "llama_pass.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

/* ---- laws ---------------------------------------------------------------------------- */

static const struct way all_blocks = {"all blocks",    FROM_MEANPOOL, CLGAZE_TOP_K, 3, 0, 0,
                                      {NULL, 0, 0, 0}, CLGAZE_F32};
static const struct way two_blocks = {"two blocks",    FROM_MEANPOOL, CLGAZE_TOP_K, 2, 0, 1,
                                      {NULL, 0, 0, 0}, CLGAZE_F32};

/* Gradients of a model of that kind, for the caller to free; what begins as NaN must not show. */
static float *gradients_of(const struct tiny_kind *kind, const struct way *way, size_t *n)
{
    static struct pass p;

    llama_model(&p.tiny, kind);
    pass_make(&p, way, SEQ);
    pass_run(&p);
    float *all = gradients(&p, n);
    pass_free(&p);
    for (size_t i = 0; i < *n; i++)
        assert_true(isfinite(all[i]));
    return all;
}

static void all_blocks_equal_dense(void **state)
{
    size_t n, same;
    float *want = gradients_of(&tiny_kinds[5], &dense, &n), *got = gradients_of(&tiny_kinds[5], &all_blocks, &same);
    float *fewer = gradients_of(&tiny_kinds[5], &two_blocks, &same);

    (void)state;
    assert_int_equal(n, same);
    expect_near("all blocks", got, want, n, 1e-6);
    assert_true(memcmp(fewer, want, n * sizeof *want) != 0);
    free(want);
    free(got);
    free(fewer);
}

/* Rounded inputs move a gradient by about as much as they are rounded; kept blocks are those of f32. */
static void halves_are_close_to_f32(void **state)
{
    static const float off[] = {0, 3e-3f, 2e-2f};
    const struct way *ways[] = {&dense, &two_blocks};

    (void)state;
    for (int w = 0; w < 2; w++) {
        size_t n, same;
        float *want = gradients_of(&tiny_kinds[5], ways[w], &n);

        for (int type = CLGAZE_F16; type <= CLGAZE_BF16; type++) {
            struct way half = *ways[w], all = all_blocks;
            half.compute = all.compute = (clgaze_dtype)type;
            float *got = gradients_of(&tiny_kinds[5], &half, &same);
            assert_int_equal(n, same);
            expect_near(clgaze_dtype_name(half.compute), got, want, n, (double)off[type]);
            assert_true(memcmp(got, want, n * sizeof *want) != 0);
            float *whole = gradients_of(&tiny_kinds[5], &all, &same);
            if (w == 0)
                expect_near("all blocks", whole, got, n, 1e-6);
            free(got);
            free(whole);
        }
        free(want);
    }
}

/* The gradients of a mean over many tokens are below what f16 holds. */
static void small_gradients_are_kept(void **state)
{
    const struct config config = {.q_heads = 2, .kv_heads = 1, .head_dim = 8};
    enum { TOKENS = 4096, N = TOKENS * 2 * 8 };
    static float x[N], got[N];
    struct rng rng = seeded(0x5a);
    cl_mem own;

    (void)state;
    need_machine();
    for (int i = 0; i < N; i++)
        x[i] = 1e-8f * normal(&rng);
    assert_int_equal(buffer_make(&machine, sizeof x, "numbers", &own), 0);
    for (int type = CLGAZE_F32; type <= CLGAZE_BF16; type++) {
        struct halves h;
        clgaze_tensor t;

        halves_plan(&h, &config, TOKENS, (clgaze_dtype)type, HALVES_BACK);
        assert_int_equal(halves_bytes(&h), type ? 2 * (N + N + N / 2 + N / 2) : 0);
        assert_int_equal(halves_make(&machine, &h), 0);
        assert_int_equal(buffer_write(&machine, own, sizeof x, x), 0);
        assert_int_equal(halves_take(&machine, &h, H_DOUT, own, &t), 0);
        assert_int_equal(halves_give(&machine, &h, H_DQ, &t, own), 0);
        assert_int_equal(buffer_read(&machine, own, sizeof got, got), 0);
        expect_near(clgaze_dtype_name((clgaze_dtype)type), got, x, N, type ? 3e-3 : 0);
        halves_free(&h);
    }
    clReleaseMemObject(own);
}

/* The same bits in the same pass, and in another. */
static void twice_the_same_bits(void **state)
{
    static struct pass p;
    size_t n;
    float *other = gradients_of(&tiny_kinds[5], &two_blocks, &n);

    (void)state;
    llama_model(&p.tiny, &tiny_kinds[5]);
    pass_make(&p, &two_blocks, SEQ);
    for (int i = 0; i < 2; i++) {
        pass_run(&p);
        float *again = gradients(&p, &n);
        assert_memory_equal(again, other, n * sizeof *again);
        free(again);
    }
    pass_free(&p);
    free(other);
}

static void runs_add_up_by_weight(void **state)
{
    static struct pass p;
    double loss;
    size_t n;

    (void)state;
    llama_model(&p.tiny, &tiny_kinds[2]);
    pass_make(&p, &dense, SEQ);
    pass_run(&p);
    float *want = gradients(&p, &n);
    assert_int_equal(model_zero(&machine, &p.backward.grads), 0);
    assert_int_equal(backward_run(&p.backward, tokens, .25, &loss), 0);
    assert_int_equal(backward_run(&p.backward, tokens, .75, &loss), 0);
    assert_true(loss == p.loss); /* the loss has no weight */
    float *got = gradients(&p, &n);
    expect_near("a quarter and three", got, want, n, 1e-6);
    pass_free(&p);
    free(want);
    free(got);
}

/* Logits of eight tokens at a time, the last part of five. */
static void parts_of_the_head_add_up(void **state)
{
    static struct pass p;
    size_t n;

    (void)state;
    llama_model(&p.tiny, &tiny_kinds[0]);
    pass_make(&p, &dense, SEQ);
    pass_run(&p);
    const double loss = p.loss;
    float *want = gradients(&p, &n);
    p.backward.chunk = 8;
    pass_run(&p);
    assert_true(p.loss == loss);
    float *got = gradients(&p, &n);
    expect_near("in parts", got, want, n, 1e-6);
    pass_free(&p);
    free(want);
    free(got);
}

/* Weights of half size are trained in f32. */
static void half_weights_are_widened(void **state)
{
    static struct tiny_model narrow, wide;
    struct tiny_kind kind = tiny_kinds[1];
    size_t n, same;
    float *want = gradients_of(&kind, &dense, &n);

    (void)state;
    tiny_make(&narrow, &kind);
    kind.dtype = ST_F32;
    tiny_make(&wide, &kind);
    for (int i = 0; i < wide.n; i++)
        for (size_t e = 0; e < wide.tensors[i].elements; e++)
            ((float *)(uintptr_t)wide.tensors[i].data)[e] = (float)st_value(&narrow.tensors[i], e);
    tiny_write(&wide, llama_folder);
    static struct pass p;
    pass_make(&p, &dense, SEQ);
    pass_run(&p);
    float *got = gradients(&p, &same);
    assert_int_equal(n, same);
    assert_memory_equal(got, want, n * sizeof *got);
    pass_free(&p);
    tiny_free(&narrow);
    tiny_free(&wide);
    free(want);
    free(got);
}

static void bad_numbers_show_in_the_loss(void **state)
{
    static struct pass p;
    const float nan = NAN;

    (void)state;
    llama_model(&p.tiny, &tiny_kinds[0]);
    pass_make(&p, &dense, SEQ);
    assert_int_equal(buffer_write(&machine, p.model.layers[1].norm_mlp, sizeof nan, &nan), 0);
    pass_run(&p);
    assert_true(!isfinite(p.loss));
    pass_free(&p);
}

/* ---- parts ------------------------------------------------------------------------------ */

static int n_watched;

static int watch(void *user, cl_int l, cl_int seq, const struct attended *at)
{
    assert_ptr_equal(user, &n_watched);
    assert_true(l == n_watched && seq == SEQ && at->q && at->k && at->q_gate && at->k_gate && at->lse);
    n_watched++;
    return 0;
}

static void who_watches_sees_every_layer_once(void **state)
{
    static struct pass p;

    (void)state;
    llama_model(&p.tiny, &tiny_kinds[0]);
    pass_make(&p, &two_blocks, SEQ);
    backward_free(&p.backward);
    backward_plan(&p.backward, &p.config, SEQ, &p.attention, 1);
    p.backward.forward.machine = &machine;
    p.backward.forward.model = &p.model;
    p.backward.watch = watch;
    p.backward.user = &n_watched;
    assert_int_equal(backward_make(&p.backward), 0);
    n_watched = 0;
    pass_run(&p);
    assert_int_equal(n_watched, TINY_LAYERS);
    pass_free(&p);
}

static void bytes_are_those_that_are_made(void **state)
{
    static struct pass p;
    static const struct way *const ways[] = {&dense, &two_blocks};

    (void)state;
    for (int i = 0; i < 4; i++) {
        struct way way = *ways[i % 2];
        way.compute = i < 2 ? CLGAZE_F32 : CLGAZE_BF16;
        llama_model(&p.tiny, &tiny_kinds[i % 2 ? 5 : 2]);
        pass_make(&p, &way, SEQ);
        if (!guards_bytes())
            skip();
        const size_t with = guards_bytes(), said = backward_bytes(&p.backward);
        backward_free(&p.backward);
        const size_t less = guards_bytes(), attention = attention_bytes(&p.attention);
        assert_int_equal(with - less, said);
        attention_free(&p.attention);
        if (way.source == FROM_NOTHING) /* else plans hold some bytes, too */
            assert_int_equal(less - guards_bytes(), attention);
        pass_free(&p);
    }
}

/* The model of the quality figures: 32,768 tokens with weights, gradients and two moments in 8 GB. */
static void long_sequences_fit(void **state)
{
    const struct config config = {.vocab = 8192,
                                  .hidden = 512,
                                  .inner = 1408,
                                  .layers = 8,
                                  .q_heads = 8,
                                  .kv_heads = 2,
                                  .head_dim = 64,
                                  .rope = {.theta = 5e5}};
    clgaze_problem problem = clgaze_problem_default();
    struct attention a;
    struct backward b;

    (void)state;
    need_machine();
    problem.rule = CLGAZE_TOP_P;
    problem.value = .7f;
    problem.lse = 1;
    struct gates gates;
    gates_identity(&config, &problem, &gates);
    assert_int_equal(attention_plan(&machine, &config, 32768, &problem, FROM_MEANPOOL, &gates, &a), 0);
    backward_plan(&b, &config, 32768, &a, 1);
    const double all = (double)backward_bytes(&b) + (double)attention_bytes(&a) + 3 * (double)b.grads_bytes;
    assert_true(all < 8e9 && all > 2e9);
    attention_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_blocks_equal_dense),
        cmocka_unit_test(halves_are_close_to_f32),
        cmocka_unit_test(small_gradients_are_kept),
        cmocka_unit_test(twice_the_same_bits),
        cmocka_unit_test(runs_add_up_by_weight),
        cmocka_unit_test(parts_of_the_head_add_up),
        cmocka_unit_test(half_weights_are_widened),
        cmocka_unit_test(bad_numbers_show_in_the_loss),
        cmocka_unit_test(who_watches_sees_every_layer_once),
        cmocka_unit_test(bytes_are_those_that_are_made),
        cmocka_unit_test(long_sequences_fit),
    };

    return pass_tests(tests, CLG_COUNT(tests));
}
