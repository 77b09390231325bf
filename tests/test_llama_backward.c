/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_llama_backward.c: gradients of tiny models against differences of plain double
 * arithmetic.
 */
#include "llama_pass.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

/* ---- finite differences ------------------------------------------------------------------ */

static const float step_size = 1e-5f; /* of a weight, about */

static double tiny_loss(struct tiny_model *m)
{
    static double logits[SEQ * TINY_VOCAB];
    uint16_t text[SEQ];
    double mean = 0;

    for (int t = 0; t < SEQ; t++)
        text[t] = (uint16_t)tokens[t];
    tiny_logits(m, text, SEQ, logits);
    for (int t = 0; t < SEQ; t++) {
        double sum = 0;

        for (int w = 0; w < TINY_VOCAB; w++)
            sum += exp(logits[t * TINY_VOCAB + w]);
        mean += (log(sum) - logits[t * TINY_VOCAB + tokens[t + 1]]) / SEQ;
    }
    return mean;
}

/* Move the weights along a random direction both ways, one of them (`at` >= 0) or all: the
 * difference of the losses, and what the gradient says of it, in exactly the steps that f32 makes. */
static void differ(struct tiny_model *m, st_tensor *t, const float *gradient, long at, struct rng *rng, double *got,
                   double *want)
{
    float *w = (float *)(uintptr_t)t->data, *low = malloc(t->bytes), *high = malloc(t->bytes),
          *kept = malloc(t->bytes);

    assert_true(low && high && kept);
    memcpy(kept, w, t->bytes);
    *got = 0;
    for (size_t i = 0; i < t->elements; i++) {
        const float step = at < 0 || (size_t)at == i ? step_size * normal(rng) : 0.0f;

        low[i] = w[i] - step;
        high[i] = w[i] + step;
        *got += (double)gradient[i] * ((double)high[i] - (double)low[i]);
    }
    memcpy(w, high, t->bytes);
    *want = tiny_loss(m);
    memcpy(w, low, t->bytes);
    *want -= tiny_loss(m);
    memcpy(w, kept, t->bytes);
    free(low);
    free(high);
    free(kept);
}

/* Two directions over all of the tensor, and a single weight. */
static void check_tensor(struct pass *p, const char *name, const float *gradient, struct rng *rng)
{
    st_tensor *t = tiny_find(&p->tiny, name);
    const double length = length_of(gradient, t->elements);

    for (int i = 0; i < 3; i++) {
        const long at = i < 2 ? -1 : (long)below(rng, (uint32_t)t->elements);
        double got, want;

        differ(&p->tiny, t, gradient, at, rng, &got, &want);
        if (!(fabs(got - want) < 2e-5 * (double)step_size * length) || !(length > 0))
            fail_msg("%s: %s, weight %ld: the gradient of length %g says %.9g, not %.9g", p->tiny.kind.name, name, at,
                     length, got, want);
    }
}

static void check_gradients(const struct tiny_kind *kind, const struct way *way)
{
    static struct pass p;
    struct rng rng = seeded(0xbac);
    struct tiny_kind wide = *kind;
    struct parameter a;
    size_t n, at = 0;
    int i = 0;

    wide.dtype = ST_F32; /* what is trained; half numbers would move in too large steps */
    llama_model(&p.tiny, &wide);
    p.tiny.rule = way->tiny;
    pass_make(&p, way, SEQ);
    pass_run(&p);
    float *gradient = gradients(&p, &n);
    const double want = tiny_loss(&p.tiny);
    if (!(fabs(p.loss / want - 1) < 1e-6))
        fail_msg("%s, %s: loss %.9g, not %.9g", kind->name, way->name, p.loss, want);
    for (i = 0; model_parameter(&p.backward.grads, (size_t)i, &a); i++, at += a.n)
        check_tensor(&p, a.name, gradient + at, &rng);
    assert_int_equal(i, p.tiny.n);
    free(gradient);
    pass_free(&p);
}

static void gradients_equal_differences(void **state)
{
    static const int kinds[] = {0, 2, 3, 4, 5, 8}; /* tied, biases, own head, qwen2, qwen3, a factor of RoPE */

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(kinds); i++)
        check_gradients(&tiny_kinds[kinds[i]], &dense);
}

static void sparse_gradients_equal_differences(void **state)
{
    static const struct way ways[] = {
        {"window", FROM_WINDOW, CLGAZE_TOP_K, 1, 1, 2, {tiny_window, 1, 1, 2}, CLGAZE_F32},
        {"meanpool", FROM_MEANPOOL, CLGAZE_TOP_K, 2, 0, 1, {tiny_meanpool, 2, 0, 1}, CLGAZE_F32},
    };

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(ways); i++)
        check_gradients(&tiny_kinds[5], &ways[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_equal_differences),
        cmocka_unit_test(sparse_gradients_equal_differences),
    };

    return pass_tests(tests, CLG_COUNT(tests));
}
