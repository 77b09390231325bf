/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_llama_lists.c: clgaze-llama with block lists, from gates and from rules without.
 *
 * Environment: CLGAZE_LLAMA, the program; without it all is skipped.
 */
#include "harness.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llama_run.h"

/* ---- gates -------------------------------------------------------------------- */

/* `turns`: what they say of RoPE; NULL: nothing. */
static void write_gates(const char *type, int layers, int64_t rows, const char *turns)
{
    static float data[TINY_HEADS * 3 * TINY_DIM * TINY_DIM];
    const st_pair meta[] = {
        {"seerattn_gate_type", type}, {"seerattn_gate_block_size", "8"}, {"seerattn_use_rope", turns}};
    char names[TINY_LAYERS][96], path[768], why[ST_WHY];
    st_tensor t[TINY_LAYERS];
    struct rng rng = seeded(7);

    for (size_t i = 0; i < CLG_COUNT(data); i++)
        data[i] = normal(&rng);
    memset(t, 0, sizeof t);
    for (int l = 0; l < layers; l++) {
        snprintf(names[l], sizeof names[l], "model.layers.%d.self_attn.attn_gate.mask_linear_k.weight", l);
        t[l] = (st_tensor){.name = names[l], .dtype = ST_F32, .rank = 3, .data = data};
        t[l].shape[0] = TINY_HEADS;
        t[l].shape[1] = rows;
        t[l].shape[2] = TINY_DIM;
    }
    snprintf(path, sizeof path, "%s/gates.safetensors", llama_folder);
    if (st_write(path, t, (size_t)layers, meta, turns ? 3 : 2, why, sizeof why))
        fail_msg("%s", why);
}

static void gates_keep_what_the_rule_says(void **state)
{
    const int rows = (LLAMA_SEQ + TINY_BLOCK - 1) / TINY_BLOCK, visible = rows * (rows + 1) / 2;
    static struct tiny_model m;
    double density;

    (void)state;
    llama_model(&m, &tiny_kinds[0]);
    write_gates("Qavg_Kmaxminavg", TINY_LAYERS, 3 * TINY_DIM, NULL);
    const double want = tiny_perplexity(&m, llama_tokens, LLAMA_SEQ, LLAMA_COUNT);
    tiny_free(&m);

    double got = llama_perplexity("--gates gates.safetensors --rule ratio --value 1", &density);
    assert_true(fabs(got / want - 1) < 1e-5); /* every block: dense */
    assert_true(density == 1);
    got = llama_perplexity("--gates gates.safetensors --rule topk --value 1", &density);
    /* The best block and the diagonal: one or two a row, but one in the first. */
    assert_true(density >= (double)rows / visible && density <= (double)(2 * rows - 1) / visible);
    assert_true(fabs(got / want - 1) > 1e-4); /* something was left llama_out */
    llama_perplexity("--gates gates.safetensors --rule topk --value 1 --local 2 --sink 10", &density);
    assert_true(density == 1); /* the sink alone is every block */
}

static void gates_say_whether_rope_turns_them(void **state)
{
    static const char *const words[] = {NULL, "True", "False"};
    static struct tiny_model m;
    double got[3], density;

    (void)state;
    llama_model(&m, &tiny_kinds[0]);
    tiny_free(&m);
    for (int i = 0; i < 3; i++) {
        write_gates("Qavg_Kmaxminavg", TINY_LAYERS, 3 * TINY_DIM, words[i]);
        got[i] = llama_perplexity("--gates gates.safetensors --rule topk --value 2", &density);
    }
    assert_true(got[0] == got[1]);
    assert_true(fabs(got[2] / got[0] - 1) > 1e-6);
    write_gates("Qavg_Kmaxminavg", TINY_LAYERS, 3 * TINY_DIM, "maybe");
    llama_refused(LLAMA_PPL "--gates gates.safetensors --value 0.5", "seerattn_use_rope|maybe");
}

/* ---- rules without gates --------------------------------------------------------- */

static void rules_equal_plain_double(void **state)
{
    static const struct {
        const char *options;
        struct tiny_rule rule;
    } cases[] = {
        {"--rule oracle,topk --value 2", {tiny_oracle, 2, 0, 1}},
        {"--rule meanpool,topk --value 2", {tiny_meanpool, 2, 0, 1}},
        {"--rule vertslash,topk --value 3 --sink 1", {tiny_lines, 3, 1, 1}},
        {"--rule window --sink 1 --local 2", {tiny_window, 1, 1, 2}},
        {"--rule window", {tiny_window, 1, 0, 1}},
    };
    static const struct {
        const char *option;
        double off;
    } widths[] = {{"--compute f32", 1e-5}, {"--compute f16", 1e-3}}; /* bf16 would choose otherwise */
    static struct tiny_model m;

    (void)state;
    llama_model(&m, &tiny_kinds[0]);
    for (size_t i = 0; i < CLG_COUNT(cases); i++) {
        char options[128];
        double density;

        m.rule = cases[i].rule;
        m.kept = m.visible = 0;
        const double want = tiny_perplexity(&m, llama_tokens, LLAMA_SEQ, LLAMA_COUNT);
        for (size_t w = 0; w < CLG_COUNT(widths); w++) {
            snprintf(options, sizeof options, "--block %d %s %s", TINY_BLOCK, cases[i].options, widths[w].option);
            const double got = llama_perplexity(options, &density), want_density = (double)m.kept / m.visible;
            if (!(fabs(got / want - 1) < widths[w].off) || !(fabs(density - want_density) < 1e-9))
                fail_msg("%s: perplexity %.9g at density %g, not %.9g at %g", options, got, density, want,
                         want_density);
        }
    }
    tiny_free(&m);
}

static void refuses_options_that_do_not_go_together(void **state)
{
    (void)state;
    llama_text(LLAMA_NEED);
    llama_refused(LLAMA_PPL "--rule topp --value 0.5", "--value needs --gates");
    llama_refused(LLAMA_PPL "--rule oracle", "oracle needs --value");
    llama_refused(LLAMA_PPL "--rule oracle --value 0.5 --gates gates.safetensors", "--rule oracle|--gates");
    llama_refused(LLAMA_PPL "--rule window --value 0.5", "--value|window");
    llama_refused(LLAMA_PPL "--rule oracle,best --value 0.5", "--rule|best|topk");
    llama_refused(LLAMA_PPL "--block 8 --value 0.5 --gates gates.safetensors", "--block|--gates");
}

static void refuses_bad_gates(void **state)
{
    static struct tiny_model m;

    (void)state;
    llama_model(&m, &tiny_kinds[0]);
    tiny_free(&m);
    llama_refused(LLAMA_PPL "--rule topp", "--rule needs --gates");
    llama_refused(LLAMA_PPL "--gates gates.safetensors", "--value");
    llama_refused(LLAMA_PPL "--gates gates.pth --value 0.5", ".pth|convert");
    llama_refused(LLAMA_PPL "--gates absent.safetensors --value 0.5", "absent.safetensors");
    write_gates("Qavg_Kmaxminavg", TINY_LAYERS - 1, 3 * TINY_DIM, NULL);
    llama_refused(LLAMA_PPL "--gates gates.safetensors --value 0.5", "model.layers.1.|missing");
    write_gates("Qavg_Kmaxminavg", TINY_LAYERS, 2 * TINY_DIM, NULL);
    llama_refused(LLAMA_PPL "--gates gates.safetensors --value 0.5", "model.layers.0.|[4,16,8]|[4,24,8]");
    write_gates("Qavg_Kmlp", TINY_LAYERS, 3 * TINY_DIM, NULL);
    llama_refused(LLAMA_PPL "--gates gates.safetensors --value 0.5", "seerattn_gate_type|Qavg_Kmlp");
    write_gates("Qavg_Kmaxminavg", TINY_LAYERS, 3 * TINY_DIM, NULL);
    llama_refused(LLAMA_PPL "--gates gates.safetensors --rule best --value 1", "--rule|best|topk");
}

/* ---- capture ------------------------------------------------------------------- */

static void expect_captured(const st_file *file, const char *name, int heads, const double *want, int stride,
                            int sequence)
{
    const st_tensor *t = st_find(file, name);

    if (!t || t->rank != 4 || t->shape[0] != LLAMA_COUNT || t->shape[1] != LLAMA_SEQ || t->shape[2] != heads ||
        t->shape[3] != TINY_DIM)
        fail_msg("%s is missing or of another shape", name);
    for (int i = 0; i < LLAMA_SEQ * stride; i++) {
        const double got = st_value(t, (size_t)sequence * LLAMA_SEQ * (size_t)stride + (size_t)i);

        if (!(fabs(got - want[i]) < 1e-5 * (1 + fabs(want[i]))))
            fail_msg("%s: element %d of sequence %d is %g, not %g", name, i, sequence, got, want[i]);
    }
}

/* The last layer of a model with QK norm, and of one whose RoPE has a factor. */
static void capture_equals_plain_double(void **state)
{
    static const int kinds[] = {5, 8};
    static double logits[LLAMA_SEQ * TINY_VOCAB];
    static struct tiny_model m;
    char path[768], why[ST_WHY];

    (void)state;
    snprintf(path, sizeof path, "%s/layer.safetensors", llama_folder);
    for (size_t i = 0; i < CLG_COUNT(kinds); i++) {
        st_file *file;

        llama_model(&m, &tiny_kinds[kinds[i]]);
        if (llama_run("capture --seq 75 --count 2 --layer 1 --out layer.safetensors"))
            fail_msg("%s", llama_err);
        if (st_open(path, &file, why, sizeof why))
            fail_msg("%s", why);
        for (int s = 0; s < LLAMA_COUNT; s++) {
            tiny_logits(&m, llama_tokens + s * LLAMA_SEQ, LLAMA_SEQ, logits);
            expect_captured(file, "q", TINY_HEADS, m.of[1].q[0], TINY_QUERY, s);
            expect_captured(file, "k", TINY_KV, m.of[1].k[0], TINY_KEY, s);
            expect_captured(file, "v", TINY_KV, m.of[1].v[0], TINY_KEY, s);
            expect_captured(file, "q_gate", TINY_HEADS, m.of[1].q_gate[0], TINY_QUERY, s);
            expect_captured(file, "k_gate", TINY_KV, m.of[1].k_gate[0], TINY_KEY, s);
        }
        const st_tensor *f = st_find(file, "rope_inv_freq");
        assert_true(f && f->elements == TINY_DIM / 2 && fabs(st_value(f, 0) - 1) < 1e-6);
        assert_true(fabs(atof(st_meta(file, "rope_scale")) - (kinds[i] == 8 ? m.kind.factor : 1)) < 1e-6);
        st_close(file);
        tiny_free(&m);
    }
}

static void refuses_bad_captures(void **state)
{
    static struct tiny_model m;

    (void)state;
    llama_model(&m, &tiny_kinds[0]);
    tiny_free(&m);
    llama_refused("capture --seq 75 --layer 1", "--out");
    llama_refused("capture --seq 75 --layer -1 --out x", "--layer|-1|from 0");
    assert_int_equal(llama_run("capture --seq 75 --layer 1 --out absent/x"), 2);
    assert_says("absent", llama_err, "absent/x|cannot be written");
    llama_refused("capture --seq 75 --layer 2 --out x", "--layer is 2|0 to 1");
    llama_refused("capture --seq 75 --layer 1 --out x --rule window", "dense");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gates_keep_what_the_rule_says),
        cmocka_unit_test(gates_say_whether_rope_turns_them),
        cmocka_unit_test(rules_equal_plain_double),
        cmocka_unit_test(refuses_options_that_do_not_go_together),
        cmocka_unit_test(refuses_bad_gates),
        cmocka_unit_test(capture_equals_plain_double),
        cmocka_unit_test(refuses_bad_captures),
    };

    return llama_tests(tests, CLG_COUNT(tests));
}
