/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_llama_finetune.c: clgaze-llama trains a model: against PyTorch, against itself, and
 * what becomes of its files when something goes wrong.
 *
 * Environment: CLGAZE_LLAMA, the program; without it all is skipped.
 */
#include "harness.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "llama_run.h"

enum { STEPS = 10 };

#define TRAIN "finetune --out ../out --seq 75 --lr 0.01 "

/* ---- helpers ------------------------------------------------------------------ */

/* Run shell in the folder of the model. */
static int shell(const char *commands)
{
    char all[1024];

    snprintf(all, sizeof all, "cd '%s' && %s", llama_folder, commands);
    return system(all);
}

static void begin(int kind)
{
    static struct tiny_model m;

    assert_int_equal(shell("rm -rf ../out ../whole ../gates *"), 0);
    llama_model(&m, &tiny_kinds[kind]);
    tiny_free(&m);
    llama_text(LLAMA_TEXT);
}

static void done(const char *arguments)
{
    const int code = llama_run(arguments);

    if (code)
        fail_msg("%s: exit %d: %s", arguments, code, llama_err);
}

/* It must fail, after more than one line perhaps, with these words. */
static void fails(const char *arguments, const char *words)
{
    const int code = llama_run(arguments);

    if (code != 2)
        fail_msg("%s: exit %d, not 2: %s", words, code, llama_err);
    assert_says(words, llama_err, words);
}

/* Train with --json. @return The losses, of which there must be `n`. */
static void losses_of(const char *arguments, double *losses, int n)
{
    char all[512];

    snprintf(all, sizeof all, "%s --json", arguments);
    done(all);
    cJSON *root = cJSON_Parse(llama_out);
    const cJSON *list = cJSON_GetObjectItem(root, "losses");
    assert_int_equal(cJSON_GetArraySize(list), n);
    for (int i = 0; i < n; i++)
        losses[i] = cJSON_GetArrayItem(list, i)->valuedouble;
    cJSON_Delete(root);
}

static double perplexity(const char *arguments)
{
    char all[512];
    double p = 0, density;

    snprintf(all, sizeof all, LLAMA_PPL "%s", arguments);
    done(all);
    const char *last = strstr(llama_out, "perplexity");
    assert_true(last && sscanf(last, "perplexity %lf density %lf", &p, &density) == 2);
    return p;
}

static int there(const char *name)
{
    char path[768];

    snprintf(path, sizeof path, "%s/%s", llama_folder, name);
    return access(path, F_OK) == 0;
}

/* ---- what it learns ------------------------------------------------------------- */

/* Made once by PyTorch 2.6 with transformers 4.57, in double, from the files that tiny_write() makes:
 * torch.optim.AdamW(lr=0.01, betas=(.9, .95), eps=1e-8, weight_decay=0), the rate of step n times n / 10,
 * clip_grad_norm_(1), each step the mean cross-entropy of both sequences of LLAMA_SEQ; then the
 * perplexity that ppl prints of the trained model. */
static const struct taught {
    int kind;
    double losses[STEPS], perplexity;
} taught[] = {
    {0,
     {4.5406209, 4.2341124, 3.7775845, 3.2962551, 2.8303184, 2.4073263, 2.0354916, 1.713152, 1.4221159, 1.1482623},
     2.39803947},
    {2,
     {4.7981013, 4.5392478, 4.1564045, 3.7893539, 3.4318919, 3.0581654, 2.7042512, 2.3471137, 1.9757531, 1.6340395},
     3.60199527},
    {5,
     {4.71125, 4.4040337, 3.9547135, 3.5226885, 3.1061485, 2.6902049, 2.2890208, 1.906699, 1.5798638, 1.2672278},
     2.82161542},
    {8,
     {4.4290755, 4.109395, 3.6409239, 3.1549282, 2.7003538, 2.3090506, 1.9648797, 1.6351277, 1.3506091, 1.1222775},
     2.36612782},
};

/* The least and the most that half-width attention may move the first loss; ten steps of AdamW make
 * more of it. */
static void halves_learn_the_same(void **state)
{
    static const struct {
        const char *options;
        double least, most;
    } ways[] = {{"--compute f16 ", 1e-8, 1e-4}, {"--compute bf16 ", 1e-7, 1e-3}, {"--compute auto ", 0, 1e-3}};
    char all[256];

    (void)state;
    begin(0);
    for (size_t w = 0; w < CLG_COUNT(ways); w++) {
        double got[STEPS];

        snprintf(all, sizeof all, TRAIN "--force --steps 10 --count 2 --batch 2 %s", ways[w].options);
        losses_of(all, got, STEPS);
        assert_says("plan", llama_err, "attention: |memory: ");
        const double first = fabs(got[0] / taught[0].losses[0] - 1);
        if (!(first >= ways[w].least && first <= ways[w].most))
            fail_msg("%s: the first loss is off by %g", ways[w].options, first);
        for (int i = 1; i < STEPS; i++)
            assert_true(fabs(got[i] / taught[0].losses[i] - 1) < 0.03);
    }
    assert_int_equal(shell("rm -r ../out"), 0);
    llama_refused(TRAIN "--steps 2 --compute f64", "--compute|f64|bf16");
}

static void ten_steps_equal_pytorch(void **state)
{
    (void)state;
    for (size_t c = 0; c < CLG_COUNT(taught); c++) {
        const struct taught *want = &taught[c];
        const int rounded_file = tiny_kinds[want->kind].dtype != ST_F32;
        double got[STEPS];

        begin(want->kind);
        losses_of(TRAIN "--steps 10 --count 2 --batch 2", got, STEPS);
        for (int i = 0; i < STEPS; i++)
            if (!(fabs(got[i] / want->losses[i] - 1) < 2e-5))
                fail_msg("%s, step %d: loss %.8g, not %.8g", tiny_kinds[want->kind].name, i + 1, got[i],
                         want->losses[i]);
        const double p = perplexity("--model ../out");
        if (!(fabs(p / want->perplexity - 1) < (rounded_file ? 1e-3 : 5e-5)))
            fail_msg("%s: perplexity %.8g, not %.8g", tiny_kinds[want->kind].name, p, want->perplexity);
    }
}

/* A gate that keeps everything is attention over everything, forward and backward. */
static void all_blocks_kept_equals_dense(void **state)
{
    double dense[STEPS], whole[STEPS], sparse[STEPS];

    (void)state;
    begin(0);
    done("distill --seq 75 --block 8 --steps 1 --out ../gates");
    losses_of(TRAIN "--steps 10 --count 3", dense, STEPS);
    losses_of(TRAIN "--steps 10 --count 3 --force --gates ../gates --rule ratio --value 1", whole, STEPS);
    losses_of(TRAIN "--steps 10 --count 3 --force --gates ../gates --rule ratio --value 0.3", sparse, STEPS);
    for (int i = 0; i < STEPS; i++)
        if (!(fabs(whole[i] / dense[i] - 1) < 2e-5))
            fail_msg("step %d: loss %.8g with all blocks, %.8g dense", i + 1, whole[i], dense[i]);
    assert_true(fabs(sparse[0] / dense[0] - 1) > 1e-4 && fabs(sparse[9] / dense[9] - 1) > 1e-4);
    losses_of(TRAIN "--steps 10 --count 3 --force --block 8 --rule window --local 10", whole, STEPS);
    for (int i = 0; i < STEPS; i++)
        assert_true(fabs(whole[i] / dense[i] - 1) < 2e-5);
}

/* The gates of the file go on learning, and what is chosen follows them. */
static void gates_are_taught_along(void **state)
{
    double along[40], apart[40];

    (void)state;
    begin(0);
    done("distill --seq 75 --block 8 --steps 1 --out ../gates");
    losses_of(TRAIN "--steps 40 --count 2 --teach-gates --gates ../gates --rule ratio --value 0.3", along, 40);
    st_file *gates = llama_file("../out/gates.safetensors"), *first = llama_file("../gates");
    assert_int_equal(gates->n_tensors, TINY_LAYERS);
    assert_string_equal(st_meta(gates, "seerattn_gate_block_size"), "8");
    for (size_t i = 0; i < gates->n_tensors; i++) {
        assert_int_equal(gates->tensors[i].bytes, first->tensors[i].bytes);
        assert_memory_not_equal(gates->tensors[i].data, first->tensors[i].data, gates->tensors[i].bytes);
    }
    st_close(gates);
    st_close(first);
    done("ppl --seq 75 --count 2 --model ../out --gates ../out/gates.safetensors --rule ratio --value 0.3");
    losses_of(TRAIN "--steps 40 --count 2 --force --gates ../gates --rule ratio --value 0.3", apart, 40);
    assert_true(along[0] == apart[0] && along[39] != apart[39]);
    /* New gates beside dense attention, which does not see them. */
    losses_of(TRAIN "--steps 2 --count 2 --force --teach-gates --block 8", along, 2);
    losses_of(TRAIN "--steps 2 --count 2 --force", apart, 2);
    assert_memory_equal(along, apart, 2 * sizeof *along);
}

static void runs_at_2048_tokens(void **state)
{
    double losses[6];

    (void)state;
    begin(8);
    losses_of("finetune --out ../out --seq 2048 --lr 0.01 --steps 6 --teach-gates --block 64", losses, 6);
    assert_true(losses[5] < losses[0] - 0.1);
    losses_of("finetune --out ../out --force --seq 2048 --lr 0.01 --steps 6 --gates ../out/gates.safetensors "
              "--rule topp --value 0.5",
              losses, 6);
    assert_true(losses[5] < losses[0] - 0.1);
}

/* ---- the folder ------------------------------------------------------------------- */

/* At a rate that changes nothing: types, names and numbers are those of the model. */
static void the_folder_is_the_model_again(void **state)
{
    static const int kinds[] = {1, 2, 3}; /* f16 in shards, f32, bf16 in shards */

    (void)state;
    for (size_t c = 0; c < CLG_COUNT(kinds); c++) {
        static struct tiny_model m;

        begin(kinds[c]);
        assert_int_equal(shell("echo '{}' >tokenizer.json && echo a >merges.txt"), 0);
        done("finetune --out ../out --seq 75 --lr 1e-20 --steps 2");
        assert_int_equal(shell("cmp -s tokenizer.json ../out/tokenizer.json && cmp -s merges.txt ../out/merges.txt"
                               " && grep -q '<polyline' ../out/loss.svg"),
                         0);
        assert_false(there("../out/checkpoint.safetensors") || there("../out/vocab.json"));
        tiny_make(&m, &tiny_kinds[kinds[c]]);
        st_file *file = llama_file("../out/model.safetensors");
        assert_int_equal(file->n_tensors, m.n);
        assert_string_equal(st_meta(file, "format"), "pt");
        for (int i = 0; i < m.n; i++) {
            const st_tensor *want = &m.tensors[i], *got = st_find(file, want->name);

            assert_true(got && got->dtype == want->dtype && got->rank == want->rank && got->bytes == want->bytes);
            assert_memory_equal(got->data, want->data, want->bytes);
        }
        st_close(file);
        tiny_free(&m);
    }
}

static void stretched_by_yarn(void **state)
{
    static struct tiny_model m;
    const char *const options = "--rope-scaling yarn --factor 4";
    char text[4096];
    FILE *in;

    (void)state;
    begin(0);
    const double plain = perplexity(""), stretched = perplexity(options);
    done("finetune --out ../out --seq 75 --lr 1e-20 --steps 1 --rope-scaling yarn --factor 4");
    assert_true(perplexity("--model ../out") == stretched);
    assert_true(fabs(stretched / plain - 1) > 1e-4);
    snprintf(text, sizeof text, "%s/../out/config.json", llama_folder);
    in = fopen(text, "r");
    assert_non_null(in);
    text[fread(text, 1, sizeof text - 1, in)] = '\0';
    fclose(in);
    assert_non_null(strstr(text, "4.0")); /* a real number, as transformers wants it */
    cJSON *root = cJSON_Parse(text);
    const cJSON *rope = cJSON_GetObjectItem(root, "rope_scaling");
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(rope, "rope_type")), "yarn");
    assert_true(cJSON_GetObjectItem(rope, "factor")->valuedouble == 4);
    assert_int_equal(cJSON_GetObjectItem(rope, "original_max_position_embeddings")->valueint, 64);
    assert_int_equal(cJSON_GetObjectItem(root, "max_position_embeddings")->valueint, 256);
    cJSON_Delete(root);

    struct tiny_kind by_hand = tiny_kinds[0]; /* original: max_position_embeddings */
    by_hand.more = ", \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4}";
    tiny_make(&m, &by_hand);
    tiny_write(&m, llama_folder);
    tiny_free(&m);
    assert_true(perplexity("") == stretched);
    llama_refused(LLAMA_PPL "--rope-scaling yarn --factor 4", "--rope-scaling|yarn|already");
}

/* ---- what goes wrong ----------------------------------------------------------------- */

static void resumes_to_the_same_bits(void **state)
{
    static const char *const ways[] = {
        "--batch 2 --rope-scaling yarn --factor 2",
        "--batch 3 --teach-gates --gates ../gates --rule ratio --value 0.4",
        "--compute f16 --teach-gates --gates ../gates --rule ratio --value 0.4",
        "--compute bf16 --rule window --block 8 --local 2",
    };
    char all[256];

    (void)state;
    for (size_t w = 0; w < CLG_COUNT(ways); w++) {
#define RUN(more)                                                                                                    \
    (snprintf(all, sizeof all, "finetune --seq 75 --lr 0.01 --steps 12 --seed 5 %s %s", ways[w], more), all)
        begin(0);
        done("distill --seq 75 --block 8 --steps 1 --out ../gates");
        done(RUN("--out ../whole"));
        done(RUN("--out ../out --stop-after 5 --save-every 2"));
        assert_says("stopped", llama_err, "stopped after step 5|--resume");
        assert_false(there("../out/config.json") || there("../out/model.safetensors"));
        done(RUN("--out ../out --stop-after 8 --resume"));
        done(RUN("--out ../out --resume"));
        assert_int_equal(shell("diff -r ../whole ../out"), 0);
        fails(RUN("--out ../out --resume"), "checkpoint.safetensors"); /* there is none any more */
        done(RUN("--out ../out --force --seed 6"));
        assert_int_not_equal(shell("cmp -s ../whole/model.safetensors ../out/model.safetensors"), 0);
#undef RUN
    }
}

static void refuses_another_checkpoint(void **state)
{
    (void)state;
    begin(0);
    done(TRAIN "--steps 4 --stop-after 2");
    fails(TRAIN "--steps 5 --resume", "steps 4, not 5");
    fails(TRAIN "--steps 4 --resume --batch 2", "batch 1, not 2");
    fails(TRAIN "--steps 4 --resume --seed 2", "seed 0, not 2");
    fails(TRAIN "--steps 4 --resume --compute f16", "compute f32, not f16");
    fails(TRAIN "--steps 4 --resume --lr 0.02", "lr 0.01|0.02");
    fails(TRAIN "--steps 4 --resume --count 3", "text and gates");
    fails(TRAIN "--steps 4 --resume --rule window --local 2", "lists");
    llama_refused(TRAIN "--steps 4", "exists|--force|--resume");
    done(TRAIN "--steps 4 --resume");
}

/* A weight of the checkpoint made so large that the next loss is none. */
static void a_loss_that_is_no_number_stops(void **state)
{
    char path[768], why[ST_WHY];

    (void)state;
    begin(0);
    done(TRAIN "--steps 4 --stop-after 2");
    st_file *file = llama_file("../out/checkpoint.safetensors");
    const st_tensor *t = st_find(file, "model.layers.1.mlp.down_proj.weight");
    assert_non_null(t);
    for (size_t i = 0; i < t->elements; i++)
        memcpy((char *)(uintptr_t)t->data + 4 * i, &(float){3e38f}, 4);
    snprintf(path, sizeof path, "%s/../out/checkpoint.safetensors", llama_folder);
    assert_int_equal(st_write(path, file->tensors, file->n_tensors, file->meta, file->n_meta, why, sizeof why), 0);
    st_close(file);
    assert_int_equal(shell("cp ../out/checkpoint.safetensors ../gates"), 0);
    fails(TRAIN "--steps 4 --resume --save-every 1", "of step 3 is|nan|keeps the model of step 2");
    assert_int_equal(shell("cmp -s ../out/checkpoint.safetensors ../gates"), 0);
    assert_false(there("../out/config.json") || there("../out/model.safetensors"));
}

/* A name of the folder that leaves no room for that of a temporary file: the write fails. */
static void what_cannot_be_written_keeps_the_old_checkpoint(void **state)
{
    enum { LONG = 4067 };
    static char out[LONG + 1], all[LONG + 256];
    const size_t tail = strlen("/out");

    (void)state;
    begin(0);
    done(TRAIN "--steps 6 --stop-after 2");
    assert_int_equal(shell("cp ../out/checkpoint.safetensors ../gates"), 0);
    memset(out, '.', 2);
    for (size_t i = 2; i + tail < LONG; i++)
        out[i] = i + tail == LONG - 1 ? '/' : "/."[i % 2];
    memcpy(out + LONG - tail, "/out", tail + 1);
    snprintf(all, sizeof all, TRAIN "--steps 6 --resume --save-every 3 --out %s", out);
    fails(all, "checkpoint.safetensors: it cannot be written|before step 3");
    assert_int_equal(shell("cmp -s ../out/checkpoint.safetensors ../gates && test $(ls ../out | wc -l) = 1"), 0);
    done(TRAIN "--steps 6 --resume");
}

static void a_full_disk_keeps_what_was_there(void **state)
{
    (void)state;
    begin(0);
    assert_int_equal(shell("mkdir ../out && ln -s /dev/full ../out/checkpoint.safetensors"), 0);
    fails(TRAIN "--steps 3 --force --stop-after 1", "checkpoint.safetensors|cannot be written: No space left");
    assert_int_equal(shell("rm -r ../out"), 0);
    done(TRAIN "--steps 3");

    /* The old model stays when the new one has no room, and the checkpoint for another try. */
    assert_int_equal(shell("rm -rf ../whole && cp -r ../out ../whole"), 0);
    assert_int_equal(shell("ln -s /dev/full ../out/loss.svg.new"), 0);
    fails(TRAIN "--steps 3 --force --seed 1", "loss.svg.new|cannot be written|No space left");
    assert_true(there("../out/checkpoint.safetensors"));
    assert_int_equal(shell("mv ../out/checkpoint.safetensors ../gates && diff -r ../whole ../out"), 0);
    assert_int_equal(shell("mv ../gates ../out/checkpoint.safetensors"), 0);
    done(TRAIN "--steps 3 --resume --seed 1");
    assert_int_not_equal(shell("cmp -s ../whole/model.safetensors ../out/model.safetensors"), 0);
}

static void a_folder_that_exists(void **state)
{
    (void)state;
    begin(0);
    assert_int_equal(
        shell("mkdir ../out && echo mine >../out/notes && echo '{}' >../out/model.safetensors.index.json"), 0);
    llama_refused(TRAIN "--steps 2", "--out ../out exists|--force");
    done(TRAIN "--steps 2 --force");
    assert_int_equal(shell("grep -q mine ../out/notes"), 0);
    assert_true(perplexity("--model ../out") > 1); /* not by the old index */
    assert_int_equal(shell("rm -r ../out"), 0);
    fails(TRAIN "--steps 2 --memory 1 --seq 2500", "needs|--memory allows 1.0");
    assert_false(there("../out"));
}

static void stops_on_a_signal(void **state)
{
    (void)state;
    begin(0);
    done(TRAIN "--steps 1000000 --stop-after 1");
    assert_int_equal(shell("sleep 1.1; touch mark"), 0); /* newer than the checkpoint */
    const int code =
        llama_shell("(n=0; while [ ../out/checkpoint.safetensors -ot mark ] && [ $n -lt 300 ]; do sleep .1;"
                    "n=$((n+1)); done; kill -TERM $$) >/dev/null 2>&1 & "
                    "p " TRAIN "--steps 1000000 --resume --save-every 1");
    assert_int_equal(code, -1); /* not by itself */
    assert_says("stopped", llama_err, "stopped after step|--resume goes on");
    st_file *file = llama_file("../out/checkpoint.safetensors");
    assert_true(st_find(file, "losses")->elements > 1);
    st_close(file);
}

static void refuses(void **state)
{
    (void)state;
    begin(0);
    llama_refused("finetune --seq 75 --out ../out", "--steps");
    llama_refused("finetune --seq 75 --steps 2", "--out");
    llama_refused(TRAIN "--steps 0", "--steps|whole number");
    llama_refused(TRAIN "--steps 2 --batch 0", "--batch|whole number");
    llama_refused(TRAIN "--steps 2 --lr 0", "--lr|above 0");
    llama_refused("finetune --steps 2 --out ../out --seq 3000", "text.u16|3000|3001");
    llama_refused(TRAIN "--steps 2 --rope-scaling linear --factor 4", "--rope-scaling|linear|yarn");
    llama_refused(TRAIN "--steps 2 --rope-scaling yarn --factor 0.5", "--factor is 0.5|1 or more");
    llama_refused(TRAIN "--steps 2 --rope-scaling yarn", "--factor");
    llama_refused(TRAIN "--steps 2 --factor 4", "--rope-scaling");
    llama_refused("finetune --seq 75 --steps 2 --out .", "--out|--model");
    llama_refused("finetune --seq 75 --steps 2 --out new/deep", "--out|in it");
    llama_refused(TRAIN "--steps 2 --gates text.u16 --rule ratio --value 1", "text.u16");
    llama_refused(LLAMA_PPL "--teach-gates", "--teach-gates|ppl");
    llama_refused("distill --seq 75 --steps 2 --out x --force", "--force|distill");
    llama_refused(LLAMA_PPL "--resume", "--resume|ppl");
    /* Gates of another model, of other heads. */
    done("distill --seq 75 --block 8 --steps 1 --out ../gates");
    assert_int_equal(
        shell("sed -i 's/\"num_attention_heads\": 4/\"num_attention_heads\": 2/; "
              "s/\"head_dim\": 8/\"head_dim\": 16/; s/\"num_key_value_heads\": 2/\"num_key_value_heads\": 1/'"
              " config.json"),
        0);
    llama_refused(TRAIN "--steps 2 --gates ../gates --rule ratio --value 1", "mask_linear_k|must be");
    assert_false(there("../out"));

    static struct tiny_model m;
    tiny_make(&m, &tiny_kinds[0]);
    ((float *)(uintptr_t)tiny_find(&m, "model.norm.weight")->data)[3] = NAN;
    tiny_write(&m, llama_folder);
    tiny_free(&m);
    llama_refused(TRAIN "--steps 2", "model.norm.weight|not finite");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_steps_equal_pytorch),
        cmocka_unit_test(halves_learn_the_same),
        cmocka_unit_test(all_blocks_kept_equals_dense),
        cmocka_unit_test(gates_are_taught_along),
        cmocka_unit_test(runs_at_2048_tokens),
        cmocka_unit_test(the_folder_is_the_model_again),
        cmocka_unit_test(stretched_by_yarn),
        cmocka_unit_test(resumes_to_the_same_bits),
        cmocka_unit_test(refuses_another_checkpoint),
        cmocka_unit_test(a_loss_that_is_no_number_stops),
        cmocka_unit_test(what_cannot_be_written_keeps_the_old_checkpoint),
        cmocka_unit_test(a_full_disk_keeps_what_was_there),
        cmocka_unit_test(a_folder_that_exists),
        cmocka_unit_test(stops_on_a_signal),
        cmocka_unit_test(refuses),
    };

    return llama_tests(tests, CLG_COUNT(tests));
}
