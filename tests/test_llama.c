/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_llama.c: the layouts that clgaze-llama reads, as tiny random models against plain
 * double arithmetic, and what it refuses.
 *
 * Environment: CLGAZE_LLAMA, the program; without it all is skipped.
 */
#include "harness.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llama_run.h"

/* ---- the layouts ------------------------------------------------------------ */

static void dense_equals_plain_double(void **state)
{
    (void)state;
    llama_text(LLAMA_NEED);
    for (int i = 0; i < TINY_KINDS; i++) {
        static struct tiny_model m;
        double density;

        tiny_make(&m, &tiny_kinds[i]);
        tiny_write(&m, llama_folder);
        const double got = llama_perplexity("", &density),
                     want = tiny_perplexity(&m, llama_tokens, LLAMA_SEQ, LLAMA_COUNT);
        tiny_free(&m);
        if (!(fabs(got / want - 1) < 1e-5) || density != 1)
            fail_msg("%s: perplexity %.9g, not %.9g, at density %g", tiny_kinds[i].name, got, want, density);
    }
}

/* Made once by the transformers library (4.57, with torch 2.11) from the files that tiny_write()
 * makes of these kinds: "K" [2][TINY_VOCAB], the logits after the llama_tokens 20 and LLAMA_SEQ - 1, and
 * "K perplexity" [1], f32. */
static void plain_double_equals_transformers(void **state)
{
    static double logits[LLAMA_SEQ * TINY_VOCAB];
    st_file *made;
    char why[ST_WHY], name[64];

    (void)state;
    if (st_open(CLGAZE_TEST_DIR "/tiny_logits.safetensors", &made, why, sizeof why))
        fail_msg("%s", why);
    for (int i = 0; i < TINY_KINDS; i++) {
        const st_tensor *want = st_find(made, tiny_kinds[i].name);
        static struct tiny_model m;

        snprintf(name, sizeof name, "%s perplexity", tiny_kinds[i].name);
        const st_tensor *perplexity_of = st_find(made, name);
        assert_true(want && want->elements == (size_t)2 * TINY_VOCAB && perplexity_of);
        tiny_make(&m, &tiny_kinds[i]);
        tiny_logits(&m, llama_tokens, LLAMA_SEQ, logits);
        const double got = tiny_perplexity(&m, llama_tokens, LLAMA_SEQ, LLAMA_COUNT);
        tiny_free(&m);
        for (int at = 0; at < 2 * TINY_VOCAB; at++) {
            const double mine = logits[(at < TINY_VOCAB ? 20 : LLAMA_SEQ - 1) * TINY_VOCAB + at % TINY_VOCAB];

            if (!(fabs(mine - st_value(want, (size_t)at)) < 2e-5))
                fail_msg("%s: logit %d is %.7g, not %.7g", name, at, mine, st_value(want, (size_t)at));
        }
        if (!(fabs(got / st_value(perplexity_of, 0) - 1) < 2e-6))
            fail_msg("%s is %.8g, not %.8g", name, got, st_value(perplexity_of, 0));
    }
    st_close(made);
}

/* ---- bad input ---------------------------------------------------------------- */

static void refuses_unsupported_keys(void **state)
{
    static const struct {
        struct tiny_kind kind;
        const char *words;
    } cases[] = {
        {{"", TINY_LLAMA, ", \"sliding_window\": 4096", ST_F32, 0, 1, 0, 0, 0, 0, NULL, 1}, "sliding_window"},
        {{"", TINY_MISTRAL, "", ST_F32, 0, 1, 0, 0, 0, 0, NULL, 1}, "sliding_window|4096"},
        {{"", TINY_QWEN2, ", \"use_sliding_window\": true", ST_F32, 0, 1, 0, 0, 0, 0, NULL, 1}, "sliding_window"},
        {{"", "gemma2", "Gemma2ForCausalLM", "", ST_F32, 0, 1, 0, 0, 0, 0, NULL, 1}, "model_type|gemma2"},
        {{"", "llama", "OtherForCausalLM", "", ST_F32, 0, 1, 0, 0, 0, 0, NULL, 1}, "OtherForCausalLM"},
        {{"", TINY_LLAMA, ", \"attn_logit_softcapping\": 50", ST_F32, 0, 1, 0, 0, 0, 0, NULL, 1},
         "attn_logit_softcapping"},
        {{"", TINY_LLAMA, ", \"quantization_config\": {}", ST_F32, 0, 1, 0, 0, 0, 0, NULL, 1}, "quantization_config"},
        {{"", TINY_LLAMA, TINY_ROPE "{\"rope_type\": \"longrope\"}", ST_F32, 0, 1, 0, 0, 0, 0, NULL, 1},
         "rope_type|longrope"},
        {{"", TINY_LLAMA, TINY_ROPE "{\"rope_type\": \"linear\"}", ST_F32, 0, 1, 0, 0, 0, 0, NULL, 1},
         "lacks|factor"},
        {{"", TINY_LLAMA, TINY_ROPE "{\"rope_type\": \"linear\", \"factor\": 2, \"beta_fast\": 3}", ST_F32, 0, 1, 0,
          0, 0, 0, NULL, 1},
         "beta_fast"},
        {{"", TINY_LLAMA, ", \"layer_types\": [\"sliding_attention\"]", ST_F32, 0, 1, 0, 0, 0, 0, NULL, 1},
         "sliding_attention"},
        {{"", TINY_QWEN2, ", \"mlp_bias\": true", ST_F32, 0, 1, 0, 0, 0, 0, NULL, 1}, "mlp_bias|qwen2"},
    };

    (void)state;
    llama_text(LLAMA_NEED);
    for (size_t i = 0; i < CLG_COUNT(cases); i++) {
        struct tiny_model m = {.kind = cases[i].kind};

        tiny_write_config(&m, llama_folder, "");
        llama_refused(LLAMA_PPL, cases[i].words);
    }
}

static void refuses_bad_weights(void **state)
{
    char path[768];
    static struct tiny_model m;

    (void)state;
    llama_text(LLAMA_NEED);
    tiny_make(&m, &tiny_kinds[1]); /* f16, two shards */
    tiny_write(&m, llama_folder);
    snprintf(path, sizeof path, "%s/model-2.safetensors", llama_folder);
    assert_int_equal(remove(path), 0);
    llama_refused(LLAMA_PPL, "model-2.safetensors");
    tiny_free(&m);

    tiny_make(&m, &tiny_kinds[0]);
    st_tensor *t = tiny_find(&m, "model.layers.1.mlp.up_proj.weight");
    const int64_t rows = t->shape[0];
    t->shape[0] = rows / 2;
    tiny_write(&m, llama_folder);
    llama_refused(LLAMA_PPL, "model.layers.1.mlp.up_proj.weight|[36,40]|[72,40]");
    t->shape[0] = rows;
    snprintf((char *)(uintptr_t)t->name, 96, "model.layers.1.mlp.up_proj.sinks");
    tiny_write(&m, llama_folder);
    llama_refused(LLAMA_PPL, "model.layers.1.mlp.up_proj.weight|missing");
    snprintf((char *)(uintptr_t)t->name, 96, "model.layers.1.mlp.up_proj.weight");
    ((float *)(uintptr_t)t->data)[5] = NAN;
    tiny_write(&m, llama_folder);
    llama_refused(LLAMA_PPL, "model.layers.1.mlp.up_proj.weight|not finite|5");
    tiny_free(&m);

    struct tiny_kind biased = tiny_kinds[0];
    biased.qkv_bias = 1; /* config.json does not say so */
    tiny_make(&m, &biased);
    tiny_write(&m, llama_folder);
    /* The first of the file, which st_write() orders by name. */
    llama_refused(LLAMA_PPL, "model.layers.0.self_attn.k_proj.bias|not supported");
    tiny_free(&m);
}

static void refuses_bad_text(void **state)
{
    static struct tiny_model m;
    const uint16_t kept = llama_tokens[3];

    (void)state;
    tiny_make(&m, &tiny_kinds[0]);
    tiny_write(&m, llama_folder);
    tiny_free(&m);
    llama_text(LLAMA_SEQ * LLAMA_COUNT); /* one short: the last target */
    llama_refused(LLAMA_PPL, "text.u16|150|151");
    llama_tokens[3] = TINY_VOCAB;
    llama_text(LLAMA_NEED);
    llama_refused(LLAMA_PPL, "token 3|50|vocabulary");
    llama_tokens[3] = kept;
    llama_text(LLAMA_TEXT);
    llama_refused("ppl --seq 2500 --count 1 --memory 1", "needs|--memory allows 1.0");
    llama_refused("ppl --seq 0", "--seq|whole number");
    llama_refused("ppl --frob", "--frob is not an option");
}

static void last_line_is_the_answer(void **state)
{
    static struct tiny_model m;
    double density;

    (void)state;
    llama_model(&m, &tiny_kinds[0]);
    tiny_free(&m);
    const double p = llama_perplexity("", &density);
    assert_int_equal(llama_run(LLAMA_PPL), 0);
    char *last = llama_out + strlen(llama_out);
    while (last > llama_out && (last[-1] != '\n' || !last[0]))
        last--;
    double got, at;
    assert_int_equal(sscanf(last, "perplexity %lf density %lf", &got, &at), 2);
    assert_true(fabs(got - p) < 1e-4 && at == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_equals_plain_double), cmocka_unit_test(plain_double_equals_transformers),
        cmocka_unit_test(refuses_unsupported_keys),  cmocka_unit_test(refuses_bad_weights),
        cmocka_unit_test(refuses_bad_text),          cmocka_unit_test(last_line_is_the_answer),
    };

    return llama_tests(tests, CLG_COUNT(tests));
}
