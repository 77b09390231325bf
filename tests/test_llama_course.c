/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_llama_course.c: clgaze-llama distill stopped, resumed and refused.
 *
 * Environment: CLGAZE_LLAMA, the program; without it all is skipped.
 */
#include "harness.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llama_run.h"

#define DISTILL "distill --seq 25 --block 8 --lr 0.01 "

static void done(const char *arguments)
{
    if (llama_run(arguments))
        fail_msg("%s: %s", arguments, llama_err);
}

/* Files a and b of the folder. */
static int same(const char *a, const char *b)
{
    char script[2048];

    snprintf(script, sizeof script, "test -s %s && cmp -s %s %s", a, a, b);
    return llama_shell(script) == 0;
}

static int absent(const char *name)
{
    char script[2048];

    snprintf(script, sizeof script, "test ! -e %s", name);
    return llama_shell(script) == 0;
}

static void model(void)
{
    static struct tiny_model m;

    llama_model(&m, &tiny_kinds[0]);
    tiny_free(&m);
}

static void resumes_to_the_same_bits(void **state)
{
    (void)state;
    model(); /* 6 sequences of 25 */
    done(DISTILL "--seed 5 --steps 13 --batch 2 --out whole --plot whole.svg");
    done(DISTILL "--seed 5 --steps 13 --batch 2 --out parts --stop-after 4 --save-every 3 --plot parts.svg");
    assert_says("stopped", llama_err, "stopped after step 4|--resume goes on from parts.checkpoint");
    assert_says("said", llama_out, "steps 4");
    assert_true(absent("parts")); /* no gates before the end */
    assert_false(same("whole.svg", "parts.svg"));
    done(DISTILL "--seed 5 --steps 13 --batch 2 --out parts --stop-after 9 --resume");
    done(DISTILL "--seed 5 --steps 13 --batch 2 --out parts --resume --plot parts.svg");
    assert_says("time", llama_err, "step 10/13|s left|step 13/13");
    assert_true(same("whole", "parts"));
    assert_true(same("whole.checkpoint", "parts.checkpoint"));
    assert_true(same("whole.svg", "parts.svg"));
    done(DISTILL "--seed 6 --steps 13 --batch 2 --out other");
    assert_false(same("whole", "other"));
    st_file *file = llama_file("whole.checkpoint");
    assert_int_equal(file->n_tensors, 2 * TINY_LAYERS + 1);
    const st_tensor *t = st_find(file, "losses"), *moments = st_find(file, "1.moments_k");
    assert_true(t && t->elements == 13 && st_value(t, 12) < st_value(t, 0));
    assert_true(moments && moments->rank == 4 && moments->shape[0] == 2);
    st_close(file);
}

static void double_form_resumes(void **state)
{
    (void)state;
    model();
    done(DISTILL "--q-pool max,avg --steps 4 --out whole");
    done(DISTILL "--q-pool max,avg --steps 4 --out parts --stop-after 2");
    done(DISTILL "--q-pool max,avg --steps 4 --out parts --resume");
    assert_true(same("whole", "parts") && same("whole.checkpoint", "parts.checkpoint"));
    done(DISTILL "--q-pool max,avg --steps 4 --compute f16 --out half");
    assert_false(same("whole", "half"));
    done(DISTILL "--q-pool max,avg --steps 4 --compute f16 --out parts --stop-after 2");
    done(DISTILL "--q-pool max,avg --steps 4 --compute f16 --out parts --resume");
    assert_true(same("half", "parts"));
}

static void stops_on_a_signal(void **state)
{
    (void)state;
    model();
    assert_int_equal(llama_shell("p " DISTILL "--steps 1000000 --save-every 1 --out long & n=0;"
                                 "while [ ! -e long.checkpoint ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n+1)); done;"
                                 "kill -TERM $!; wait $!"),
                     143);
    assert_says("signal", llama_err, "stopped after step|--resume goes on from long.checkpoint");
    st_file *file = llama_file("long.checkpoint");
    char arguments[256];
    snprintf(arguments, sizeof arguments, DISTILL "--steps 1000000 --out long --resume --stop-after %d",
             (int)st_find(file, "losses")->elements + 1);
    st_close(file);
    done(arguments);
}

/* Token 49 alone has a channel that the queries of layer 1 blow up beyond f32; the rest of the
 * model leaves it alone. */
static void poison(struct tiny_model *m)
{
    tiny_make(m, &tiny_kinds[0]);
    float *e = (float *)(uintptr_t)tiny_find(m, "model.embed_tokens.weight")->data;
    float *q = (float *)(uintptr_t)tiny_find(m, "model.layers.1.self_attn.q_proj.weight")->data;
    float *o = (float *)(uintptr_t)tiny_find(m, "model.layers.0.self_attn.o_proj.weight")->data;
    float *down = (float *)(uintptr_t)tiny_find(m, "model.layers.0.mlp.down_proj.weight")->data;
    for (int token = 0; token < TINY_VOCAB; token++)
        e[token * TINY_HIDDEN] = token == TINY_VOCAB - 1;
    for (int row = 0; row < TINY_QUERY; row++)
        q[row * TINY_HIDDEN] = 3e38f;
    memset(o, 0, TINY_QUERY * sizeof *o);
    memset(down, 0, TINY_INNER * sizeof *down);
    float *norm = (float *)(uintptr_t)tiny_find(m, "model.layers.1.input_layernorm.weight")->data;
    norm[0] = 8;
    tiny_write(m, llama_folder);
    tiny_free(m);
}

/* Three sequences of 25; the step that takes the one with the token is the order's. */
static void a_loss_that_is_no_number_stops(void **state)
{
    static struct tiny_model m;
    uint16_t kept[LLAMA_TEXT];
    int refused_at[4] = {0};

    (void)state;
    memcpy(kept, llama_tokens, sizeof kept);
    for (int i = 0; i < LLAMA_TEXT; i++)
        if (llama_tokens[i] == TINY_VOCAB - 1)
            llama_tokens[i] = 0;
    llama_tokens[45] = TINY_VOCAB - 1; /* of the second sequence, in a block that teaches */
    llama_text(LLAMA_NEED);
    memcpy(llama_tokens, kept, sizeof kept);
    poison(&m);
    for (int seed = 0; seed < 12 && !(refused_at[1] && refused_at[3]); seed++) {
        char arguments[256], words[160];
        int step = 0, n = 0;

        snprintf(arguments, sizeof arguments, DISTILL "--count 3 --steps 3 --save-every 1 --out bad --seed %d", seed);
        assert_int_equal(llama_shell("rm -f bad.checkpoint good.checkpoint"), 0);
        assert_int_equal(llama_run(arguments), 2);
        const char *said = strstr(llama_err, "clgaze-llama: the loss of step ");
        assert_non_null(said);
        assert_int_equal(sscanf(said, "clgaze-llama: the loss of step %d is %n", &step, &n), 1);
        assert_true(step >= 1 && step <= 3);
        refused_at[step] = 1;
        assert_true(absent("bad"));
        if (step == 1) {
            assert_says("first", said, "in layer 1; nothing was saved");
            assert_true(absent("bad.checkpoint"));
            continue;
        }
        snprintf(words, sizeof words, "in layer 1; bad.checkpoint keeps the gate of step %d", step - 1);
        assert_says("later", said, words);
        snprintf(arguments, sizeof arguments, DISTILL "--count 3 --steps 3 --out good --seed %d --stop-after %d",
                 seed, step - 1);
        done(arguments);
        assert_true(same("bad.checkpoint", "good.checkpoint"));
    }
    assert_true(refused_at[1] && refused_at[3]);
}

static void a_perplexity_that_is_no_number_is_told(void **state)
{
    static struct tiny_model m;

    (void)state;
    llama_model(&m, &tiny_kinds[0]);
    for (int i = 0; i < TINY_HIDDEN; i++)
        ((float *)(uintptr_t)tiny_find(&m, "model.norm.weight")->data)[i] = 3e38f;
    tiny_write(&m, llama_folder);
    tiny_free(&m);
    assert_int_equal(llama_run("ppl --seq 25 --count 3"), 2);
    assert_says("ppl", llama_err, "the loss of sequence 1 is not finite");
}

/* A name that leaves no room for that of the temporary file beside it: the write fails. */
static void what_cannot_be_written_keeps_the_old_checkpoint(void **state)
{
    char name[240], script[600];

    (void)state;
    model();
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    done(DISTILL "--steps 6 --out kept --stop-after 4");
    snprintf(script, sizeof script, "cp kept.checkpoint %s.checkpoint", name);
    assert_int_equal(llama_shell(script), 0);
    snprintf(script, sizeof script, DISTILL "--steps 6 --out %s --resume", name);
    assert_int_equal(llama_run(script), 2);
    assert_says("write", llama_err, ".checkpoint: it cannot be written: |it is as it was before step 6");
    snprintf(script, sizeof script, "%s.checkpoint", name);
    assert_true(same(script, "kept.checkpoint"));
}

static void a_full_disk_is_told(void **state)
{
    (void)state;
    model();
    assert_int_equal(llama_shell("ln -s /dev/full full.checkpoint; p " DISTILL "--steps 3 --out full --stop-after 2"),
                     2);
    assert_says("checkpoint", llama_err, "full.checkpoint: it cannot be written: No space left");
    assert_int_equal(llama_shell("ln -s /dev/full last; p " DISTILL "--steps 3 --out last"), 2);
    assert_says("gates", llama_err, "last: it cannot be written: No space left");
    assert_int_equal(llama_shell("rm last; p " DISTILL "--steps 3 --out last --resume"), 0);
    assert_int_equal(llama_shell("p " DISTILL "--steps 3 --out last --resume --plot /dev/full"), 2);
    assert_says("curve", llama_err, "/dev/full: it cannot be written: No space left");
    assert_int_equal(llama_run("capture --seq 25 --layer 1 --out /dev/full"), 2);
    assert_says("capture", llama_err, "/dev/full: it cannot be written: No space left");
}

static void refuses_another_course(void **state)
{
    static const struct {
        const char *options, *words;
    } cases[] = {
        {"--steps 4 --seed 2", "seed 0, not 2"}, {"--steps 5", "steps 4, not 5"},
        {"--steps 4 --lr 0.5", "lr 0.01"},       {"--steps 4 --batch 2", "batch 1, not 2"},
        {"--steps 4 --seq 24", "tokens|not"},    {"--steps 4 --block 16", "block 8, not 16"},
        {"--steps 4 --k-pool avg", "k_pool"},    {"--steps 4 --q-pool max", "q_pool"},
        {"--steps 4 --count 2", "tokens"},       {"--steps 4 --out none", "none.checkpoint"},
    };
    static struct tiny_model m;

    (void)state;
    model();
    done(DISTILL "--steps 4 --out y --stop-after 1");
    assert_int_equal(llama_shell("cp y.checkpoint before"), 0);
    for (size_t i = 0; i < CLG_COUNT(cases); i++) {
        char arguments[256];

        snprintf(arguments, sizeof arguments, DISTILL "--out y --resume %s", cases[i].options);
        assert_int_equal(llama_run(arguments), 2);
        assert_says(cases[i].options, llama_err, cases[i].words);
    }
    llama_model(&m, &tiny_kinds[0]); /* one weight is another */
    ((float *)(uintptr_t)tiny_find(&m, "model.norm.weight")->data)[3] = 2;
    tiny_write(&m, llama_folder);
    tiny_free(&m);
    assert_int_equal(llama_run(DISTILL "--steps 4 --out y --resume"), 2);
    assert_says("model", llama_err, "it was made with model ");
    model();
    assert_int_equal(llama_shell("head -c 3000 before >y.checkpoint; p " DISTILL "--steps 4 --out y --resume"), 2);
    assert_says("cut", llama_err, "y.checkpoint: ");
    assert_int_equal(llama_shell("cp before y.checkpoint; p " DISTILL "--steps 4 --out y --resume"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resumes_to_the_same_bits),
        cmocka_unit_test(double_form_resumes),
        cmocka_unit_test(stops_on_a_signal),
        cmocka_unit_test(a_loss_that_is_no_number_stops),
        cmocka_unit_test(a_perplexity_that_is_no_number_is_told),
        cmocka_unit_test(what_cannot_be_written_keeps_the_old_checkpoint),
        cmocka_unit_test(a_full_disk_is_told),
        cmocka_unit_test(refuses_another_course),
    };

    return llama_tests(tests, CLG_COUNT(tests));
}
