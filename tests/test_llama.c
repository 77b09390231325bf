/*
 * test_llama.c: clgaze-llama as a person or a script sees it, on tiny random
 * models against plain double arithmetic.
 *
 * Environment: CLGAZE_LLAMA, the program; without it all is skipped.
 */
#include "harness.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tiny_model.h"

enum { SEQ = 75, COUNT = 2, LONG = 3000, BLOCK = TINY_BLOCK };

#define PPL "--seq 75 --count 2 "

static char folder[512], out[1 << 14], err[1 << 13];
static uint16_t tokens[LONG];

/* ---- running the program --------------------------------------------------- */

static void slurp(const char *name, char *text, size_t capacity)
{
    char path[768];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *in = fopen(path, "rb");
    const size_t n = in ? fread(text, 1, capacity - 1, in) : 0;
    text[n] = '\0';
    if (in)
        fclose(in);
}

static void write_tokens(int n)
{
    char path[768];

    snprintf(path, sizeof path, "%s/text.u16", folder);
    FILE *to = fopen(path, "wb");
    assert_non_null(to);
    for (int i = 0; i < n; i++) {
        fputc(tokens[i] & 255, to);
        fputc(tokens[i] >> 8, to);
    }
    assert_int_equal(fclose(to), 0);
}

/* ppl over the model and the text of the folder. */
static int run(const char *arguments)
{
    char command[4096];
    const char *program = getenv("CLGAZE_LLAMA"), *device = getenv("CLGAZE_TEST_DEVICE");

    if (!program)
        skip();
    snprintf(command, sizeof command, "cd '%s' && '%s' ppl --model . --tokens text.u16 %s%s%s %s >out 2>err", folder,
             program, device ? "--device '" : "", device ? device : "", device ? "'" : "", arguments);
    const int status = system(command);
    slurp("out", out, sizeof out);
    slurp("err", err, sizeof err);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void refused(const char *arguments, const char *words)
{
    const int code = run(arguments);
    const char *end = strchr(err, '\n');

    if (code != 2)
        fail_msg("%s: exit %d, not 2: %s", words, code, err);
    if (!end || end[1] || strncmp(err, "clgaze-llama: ", 14) != 0)
        fail_msg("%s: not one sentence: %s", words, err);
    if (*out)
        fail_msg("%s: standard output holds \"%.60s\"", words, out);
    assert_says(words, err, words);
}

/* Run it to the end; sets the density too. */
static double perplexity(const char *arguments, double *density)
{
    char with_json[512];

    snprintf(with_json, sizeof with_json, "--seq %d --count %d --json %s", SEQ, COUNT, arguments);
    const int code = run(with_json);
    if (code == 3 && strstr(err, "no OpenCL device"))
        skip();
    if (code)
        fail_msg("%s: exit %d: %s", arguments, code, err);
    cJSON *root = cJSON_Parse(out);
    assert_non_null(root);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(root, "per_sequence")), COUNT);
    const cJSON *p = cJSON_GetObjectItem(root, "perplexity"), *d = cJSON_GetObjectItem(root, "density");
    assert_true(cJSON_IsNumber(p) && cJSON_IsNumber(d));
    const double answer = p->valuedouble;
    *density = d->valuedouble;
    cJSON_Delete(root);
    return answer;
}

/* ---- the layouts ------------------------------------------------------------ */

static void dense_equals_plain_double(void **state)
{
    (void)state;
    write_tokens(SEQ * COUNT + 1);
    for (int i = 0; i < TINY_KINDS; i++) {
        struct tiny_model m;
        double density;

        tiny_make(&m, &tiny_kinds[i]);
        tiny_write(&m, folder);
        const double got = perplexity("", &density), want = tiny_perplexity(&m, tokens, SEQ, COUNT);
        tiny_free(&m);
        if (!(fabs(got / want - 1) < 1e-5) || density != 1)
            fail_msg("%s: perplexity %.9g, not %.9g, at density %g", tiny_kinds[i].name, got, want, density);
    }
}

/* Made once by the transformers library (4.57, with torch 2.11) from the files that tiny_write()
 * makes of these kinds: "K" [2][TINY_VOCAB], the logits after the tokens 20 and SEQ - 1, and
 * "K perplexity" [1], f32. */
static void plain_double_equals_transformers(void **state)
{
    static double logits[SEQ * TINY_VOCAB];
    st_file *made;
    char why[ST_WHY], name[64];

    (void)state;
    if (st_open(CLGAZE_TEST_DIR "/tiny_logits.safetensors", &made, why, sizeof why))
        fail_msg("%s", why);
    for (int i = 0; i < TINY_KINDS; i++) {
        const st_tensor *want = st_find(made, tiny_kinds[i].name);
        struct tiny_model m;

        snprintf(name, sizeof name, "%s perplexity", tiny_kinds[i].name);
        const st_tensor *perplexity_of = st_find(made, name);
        assert_true(want && want->elements == (size_t)2 * TINY_VOCAB && perplexity_of);
        tiny_make(&m, &tiny_kinds[i]);
        tiny_logits(&m, tokens, SEQ, logits);
        const double got = tiny_perplexity(&m, tokens, SEQ, COUNT);
        tiny_free(&m);
        for (int at = 0; at < 2 * TINY_VOCAB; at++) {
            const double mine = logits[(at < TINY_VOCAB ? 20 : SEQ - 1) * TINY_VOCAB + at % TINY_VOCAB];

            if (!(fabs(mine - st_value(want, (size_t)at)) < 2e-5))
                fail_msg("%s: logit %d is %.7g, not %.7g", name, at, mine, st_value(want, (size_t)at));
        }
        if (!(fabs(got / st_value(perplexity_of, 0) - 1) < 2e-6))
            fail_msg("%s is %.8g, not %.8g", name, got, st_value(perplexity_of, 0));
    }
    st_close(made);
}

/* ---- gates -------------------------------------------------------------------- */

static void write_gates(const char *type, int layers, int64_t rows)
{
    static float data[TINY_HEADS * 3 * TINY_DIM * TINY_DIM];
    const st_pair meta[] = {{"seerattn_gate_type", type}, {"seerattn_gate_block_size", "8"}};
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
    snprintf(path, sizeof path, "%s/gates.safetensors", folder);
    if (st_write(path, t, (size_t)layers, meta, 2, why, sizeof why))
        fail_msg("%s", why);
}

static void gates_keep_what_the_rule_says(void **state)
{
    const int rows = (SEQ + BLOCK - 1) / BLOCK, visible = rows * (rows + 1) / 2;
    struct tiny_model m;
    double density;

    (void)state;
    write_tokens(SEQ * COUNT + 1);
    tiny_make(&m, &tiny_kinds[0]);
    tiny_write(&m, folder);
    write_gates("Qavg_Kmaxminavg", TINY_LAYERS, 3 * TINY_DIM);
    const double want = tiny_perplexity(&m, tokens, SEQ, COUNT);
    tiny_free(&m);

    double got = perplexity("--gates gates.safetensors --rule ratio --value 1", &density);
    assert_true(fabs(got / want - 1) < 1e-5); /* every block: dense */
    assert_true(density == 1);
    got = perplexity("--gates gates.safetensors --rule topk --value 1", &density);
    /* The best block and the diagonal: one or two a row, but one in the first. */
    assert_true(density >= (double)rows / visible && density <= (double)(2 * rows - 1) / visible);
    assert_true(fabs(got / want - 1) > 1e-4); /* something was left out */
    perplexity("--gates gates.safetensors --rule topk --value 1 --local 2 --sink 10", &density);
    assert_true(density == 1); /* the sink alone is every block */
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
    struct tiny_model m;

    (void)state;
    write_tokens(SEQ * COUNT + 1);
    tiny_make(&m, &tiny_kinds[0]);
    tiny_write(&m, folder);
    for (size_t i = 0; i < CLG_COUNT(cases); i++) {
        char options[128];
        double density;

        m.rule = cases[i].rule;
        m.kept = m.visible = 0;
        const double want = tiny_perplexity(&m, tokens, SEQ, COUNT);
        snprintf(options, sizeof options, "--block %d %s", BLOCK, cases[i].options);
        const double got = perplexity(options, &density), want_density = (double)m.kept / m.visible;
        if (!(fabs(got / want - 1) < 1e-5) || !(fabs(density - want_density) < 1e-9))
            fail_msg("%s: perplexity %.9g at density %g, not %.9g at %g", options, got, density, want, want_density);
    }
    tiny_free(&m);
}

static void refuses_options_that_do_not_go_together(void **state)
{
    (void)state;
    write_tokens(SEQ * COUNT + 1);
    refused(PPL "--rule topp --value 0.5", "--value needs --gates");
    refused(PPL "--rule oracle", "oracle needs --value");
    refused(PPL "--rule oracle --value 0.5 --gates gates.safetensors", "--rule oracle|--gates");
    refused(PPL "--rule window --value 0.5", "--value|window");
    refused(PPL "--rule oracle,best --value 0.5", "--rule|best|topk");
    refused(PPL "--block 8 --value 0.5 --gates gates.safetensors", "--block|--gates");
}

static void refuses_bad_gates(void **state)
{
    struct tiny_model m;

    (void)state;
    write_tokens(SEQ * COUNT + 1);
    tiny_make(&m, &tiny_kinds[0]);
    tiny_write(&m, folder);
    tiny_free(&m);
    refused(PPL "--rule topp", "--rule needs --gates");
    refused(PPL "--gates gates.safetensors", "--value");
    refused(PPL "--gates gates.pth --value 0.5", ".pth|convert");
    refused(PPL "--gates absent.safetensors --value 0.5", "absent.safetensors");
    write_gates("Qavg_Kmaxminavg", TINY_LAYERS - 1, 3 * TINY_DIM);
    refused(PPL "--gates gates.safetensors --value 0.5", "model.layers.1.|missing");
    write_gates("Qavg_Kmaxminavg", TINY_LAYERS, 2 * TINY_DIM);
    refused(PPL "--gates gates.safetensors --value 0.5", "model.layers.0.|[4,16,8]|[4,24,8]");
    write_gates("Qavg_Kmlp", TINY_LAYERS, 3 * TINY_DIM);
    refused(PPL "--gates gates.safetensors --value 0.5", "seerattn_gate_type|Qavg_Kmlp");
    write_gates("Qavg_Kmaxminavg", TINY_LAYERS, 3 * TINY_DIM);
    refused(PPL "--gates gates.safetensors --rule best --value 1", "--rule|best|topk");
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
    write_tokens(SEQ * COUNT + 1);
    for (size_t i = 0; i < CLG_COUNT(cases); i++) {
        struct tiny_model m = {.kind = cases[i].kind};

        tiny_write_config(&m, folder, "");
        refused(PPL, cases[i].words);
    }
}

static void refuses_bad_weights(void **state)
{
    char path[768];
    struct tiny_model m;

    (void)state;
    write_tokens(SEQ * COUNT + 1);
    tiny_make(&m, &tiny_kinds[1]); /* f16, two shards */
    tiny_write(&m, folder);
    snprintf(path, sizeof path, "%s/model-2.safetensors", folder);
    assert_int_equal(remove(path), 0);
    refused(PPL, "model-2.safetensors");
    tiny_free(&m);

    tiny_make(&m, &tiny_kinds[0]);
    st_tensor *t = tiny_find(&m, "model.layers.1.mlp.up_proj.weight");
    const int64_t rows = t->shape[0];
    t->shape[0] = rows / 2;
    tiny_write(&m, folder);
    refused(PPL, "model.layers.1.mlp.up_proj.weight|[36,40]|[72,40]");
    t->shape[0] = rows;
    snprintf((char *)(uintptr_t)t->name, 96, "model.layers.1.mlp.up_proj.sinks");
    tiny_write(&m, folder);
    refused(PPL, "model.layers.1.mlp.up_proj.weight|missing");
    snprintf((char *)(uintptr_t)t->name, 96, "model.layers.1.mlp.up_proj.weight");
    ((float *)(uintptr_t)t->data)[5] = NAN;
    tiny_write(&m, folder);
    refused(PPL, "model.layers.1.mlp.up_proj.weight|not finite|5");
    tiny_free(&m);

    struct tiny_kind biased = tiny_kinds[0];
    biased.qkv_bias = 1; /* config.json does not say so */
    tiny_make(&m, &biased);
    tiny_write(&m, folder);
    /* The first of the file, which st_write() orders by name. */
    refused(PPL, "model.layers.0.self_attn.k_proj.bias|not supported");
    tiny_free(&m);
}

static void refuses_bad_text(void **state)
{
    struct tiny_model m;
    const uint16_t kept = tokens[3];

    (void)state;
    tiny_make(&m, &tiny_kinds[0]);
    tiny_write(&m, folder);
    tiny_free(&m);
    write_tokens(SEQ * COUNT); /* one short: the last target */
    refused(PPL, "text.u16|150|151");
    tokens[3] = TINY_VOCAB;
    write_tokens(SEQ * COUNT + 1);
    refused(PPL, "token 3|50|vocabulary");
    tokens[3] = kept;
    write_tokens(LONG);
    refused("--seq 2500 --count 1 --memory 1", "needs|--memory allows 1.0");
    refused("--seq 0", "--seq|whole number");
    refused("--frob", "--frob is not an option");
}

static void last_line_is_the_answer(void **state)
{
    struct tiny_model m;
    double density;

    (void)state;
    write_tokens(SEQ * COUNT + 1);
    tiny_make(&m, &tiny_kinds[0]);
    tiny_write(&m, folder);
    tiny_free(&m);
    const double p = perplexity("", &density);
    assert_int_equal(run(PPL), 0);
    char *last = out + strlen(out);
    while (last > out && (last[-1] != '\n' || !last[0]))
        last--;
    double got, at;
    assert_int_equal(sscanf(last, "perplexity %lf density %lf", &got, &at), 2);
    assert_true(fabs(got - p) < 1e-4 && at == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_equals_plain_double),
        cmocka_unit_test(plain_double_equals_transformers),
        cmocka_unit_test(gates_keep_what_the_rule_says),
        cmocka_unit_test(rules_equal_plain_double),
        cmocka_unit_test(refuses_options_that_do_not_go_together),
        cmocka_unit_test(refuses_bad_gates),
        cmocka_unit_test(refuses_unsupported_keys),
        cmocka_unit_test(refuses_bad_weights),
        cmocka_unit_test(refuses_bad_text),
        cmocka_unit_test(last_line_is_the_answer),
    };
    struct rng rng = seeded(3);

    for (int i = 0; i < LONG; i++)
        tokens[i] = (uint16_t)below(&rng, TINY_VOCAB);
    snprintf(folder, sizeof folder, "/tmp/clgaze-llama-XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[640];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command) || failed;
}
