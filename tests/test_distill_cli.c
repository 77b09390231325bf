/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_distill_cli.c: clgaze-distill as a person or a script sees it.
 *
 * Environment: CLGAZE_DISTILL, the program; without it all is skipped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "safetensors.h"

enum { BATCH = 1, TOKENS = 100, HEADS = 4, KV_HEADS = 2, DIM = 16, PAIRS = 8 };

static char folder[] = "/tmp/test_distill_cli.XXXXXX";
static char said[1 << 14];

/* Run it in the folder, stdout and stderr together in `said`; `before` is shell. */
static int shell(const char *before, const char *arguments)
{
    char command[2048];
    const char *program = getenv("CLGAZE_DISTILL"), *device = getenv("CLGAZE_TEST_DEVICE");

    if (!program)
        skip();
    snprintf(command, sizeof command, "cd '%s'; P='%s %s%s'; %s $P %s 2>&1", folder, program,
             device ? "--device " : "", device ? device : "", before, arguments);
    FILE *from = popen(command, "r");
    assert_non_null(from);
    said[fread(said, 1, sizeof said - 1, from)] = '\0';
    const int status = pclose(from);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int run(const char *arguments)
{
    return shell("", arguments);
}

static void done(const char *arguments)
{
    if (run(arguments) != 0)
        fail_msg("%s: %s", arguments, said);
}

static void says(const char *text)
{
    if (!strstr(said, text))
        fail_msg("\"%s\" is not in: %s", text, said);
}

static void refuses(const char *arguments, const char *text)
{
    assert_int_equal(run(arguments), 2);
    says(text);
}

static const char *in_folder(const char *name)
{
    static char path[2][512];
    static int turn;

    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static st_file *opened(const char *name)
{
    st_file *file = NULL;
    char why[ST_WHY];

    if (st_open(in_folder(name), &file, why, sizeof why))
        fail_msg("%s: %s", name, why);
    return file;
}

static unsigned char *bytes_of(const char *name, size_t *n)
{
    unsigned char *bytes = malloc(1 << 20);
    FILE *from = fopen(in_folder(name), "rb");

    assert_true(bytes && from);
    *n = fread(bytes, 1, 1 << 20, from);
    fclose(from);
    return bytes;
}

static int same(const char *a, const char *b)
{
    size_t n[2];
    unsigned char *x = bytes_of(a, &n[0]), *y = bytes_of(b, &n[1]);
    const int equal = n[0] > 0 && n[0] == n[1] && memcmp(x, y, n[0]) == 0;

    free(x);
    free(y);
    return equal;
}

/* Tokens that look for each other: the gate has something to learn. */
static void capture(const char *name, unsigned seed, int heads, int spoiled)
{
    static float q[TOKENS * 2 * HEADS * DIM], k[TOKENS * KV_HEADS * DIM], freq[PAIRS];
    const st_pair meta[] = {{"block", "16"}, {"rule", "topp"}, {"steps", "30"}};
    st_tensor t[] = {
        {.name = "q", .dtype = ST_F32, .rank = 4, .shape = {BATCH, TOKENS, heads, DIM}, .data = q},
        {.name = "k", .dtype = ST_F32, .rank = 4, .shape = {BATCH, TOKENS, KV_HEADS, DIM}, .data = k},
        {.name = "q_gate", .dtype = ST_F32, .rank = 4, .shape = {BATCH, TOKENS, heads, DIM}, .data = q},
        {.name = "k_gate", .dtype = ST_F32, .rank = 4, .shape = {BATCH, TOKENS, KV_HEADS, DIM}, .data = k},
        {.name = "rope_inv_freq", .dtype = ST_F32, .rank = 1, .shape = {PAIRS}, .data = freq},
    };
    char why[ST_WHY];

    srand(seed);
    for (size_t i = 0; i < sizeof k / sizeof *k; i++)
        k[i] = 4.f * (float)rand() / (float)RAND_MAX - 2.f;
    for (size_t i = 0; i < sizeof q / sizeof *q; i++)
        q[i] = 4.f * (float)rand() / (float)RAND_MAX - 2.f;
    for (int i = 0; i < PAIRS; i++)
        freq[i] = powf(100, -(float)i / PAIRS);
    if (spoiled)
        q[TOKENS * heads * DIM - 1] = NAN;
    assert_int_equal(st_write(in_folder(name), t, 5, meta, 3, why, sizeof why), 0);
}

static int begin(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    capture("one", 1, HEADS, 0);
    capture("two", 2, HEADS, 0);
    capture("nan", 3, HEADS, 1);
    capture("wide", 4, 2 * HEADS, 0);
    return 0;
}

static int end(void **state)
{
    char command[256];

    (void)state;
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command) != 0;
}

static void a_gate_under_their_names(void **state)
{
    st_file *file;
    const st_tensor *t;

    (void)state;
    done("--in one two --out names --layer 7 --plot curve.svg --lr 0.01");
    says("30 steps, loss ");
    file = opened("names");
    assert_int_equal(file->n_tensors, 1);
    t = st_find(file, "model.layers.7.self_attn.attn_gate.mask_linear_k.weight");
    assert_true(t && t->dtype == ST_F32 && t->rank == 3);
    assert_true(t->shape[0] == HEADS && t->shape[1] == 3 * DIM && t->shape[2] == DIM);
    assert_string_equal(st_meta(file, "seerattn_gate_type"), "Qavg_Kmaxminavg");
    assert_string_equal(st_meta(file, "seerattn_gate_block_size"), "16");
    assert_string_equal(st_meta(file, "seerattn_gate_hidden_size"), "16");
    st_close(file);
    file = opened("names.checkpoint");
    t = st_find(file, "losses");
    assert_true(t && t->elements == 30);
    assert_true(st_value(t, 28) < 0.9 * st_value(t, 0) && st_value(t, 29) < 0.9 * st_value(t, 1)); /* it learnt */
    st_close(file);
    FILE *svg = fopen(in_folder("curve.svg"), "r");
    assert_non_null(svg);
    said[fread(said, 1, sizeof said - 1, svg)] = '\0';
    fclose(svg);
    says("<svg ");
    says("<polyline ");
    says("</svg>");
}

static void double_form_in_bf16(void **state)
{
    const char *const sides[] = {"k", "q"};
    st_file *wide, *narrow;

    (void)state;
    done("--in one --out f32 --form double --gate-dim 24 --q-pool max,avg --k-pool avg --steps 5");
    done("--in one --out bf16 --form double --gate-dim 24 --q-pool max,avg --k-pool avg --steps 5 --dtype bf16");
    wide = opened("f32");
    narrow = opened("bf16");
    assert_string_equal(st_meta(wide, "seerattn_gate_type"), "Qmaxavg_Kavg");
    assert_string_equal(st_meta(wide, "seerattn_gate_hidden_size"), "24");
    for (int side = 0; side < 2; side++) {
        char name[128];

        snprintf(name, sizeof name, "model.layers.0.self_attn.attn_gate.mask_linear_%s.weight", sides[side]);
        const st_tensor *a = st_find(wide, name), *b = st_find(narrow, name);
        assert_true(a && b && b->dtype == ST_BF16 && a->elements == b->elements);
        assert_true(a->shape[0] == (side ? HEADS : KV_HEADS) && a->shape[1] == (side ? 2 : 1) * DIM &&
                    a->shape[2] == 24);
        for (size_t i = 0; i < a->elements; i++) /* rounded to nearest: half of the last of 8 bits */
            assert_true(fabs(st_value(a, i) - st_value(b, i)) <= ldexp(fabs(st_value(a, i)), -8));
    }
    st_close(wide);
    st_close(narrow);
}

static void resumes_to_the_same_bits(void **state)
{
    (void)state;
    done("--in one two --out whole --seed 5");
    done("--in one two --out parts --seed 5 --stop-after 7 --save-every 3");
    says("stopped after step 7");
    assert_int_not_equal(access(in_folder("parts"), F_OK), 0); /* no gate before the end */
    done("--in one two --out parts --seed 5 --stop-after 20 --resume");
    done("--in one two --out parts --seed 5 --resume");
    assert_true(same("whole", "parts"));
    assert_true(same("whole.checkpoint", "parts.checkpoint"));
    done("--in one two --out other --seed 6");
    assert_false(same("whole", "other"));
}

static void stops_on_a_signal(void **state)
{
    st_file *file;

    (void)state;
    assert_int_equal(shell("$P --in one --out long --schedule constant --steps 10000000 --save-every 1 2>log & p=$!;"
                           "n=0; while [ ! -e long.checkpoint ] && [ $n -lt 300 ]; do sleep 0.1; n=$((n+1)); done;"
                           "kill -TERM $p; wait $p; echo code $?; cat log; true",
                           "--version"),
                     0);
    says("code 143");
    says("--resume goes on");
    file = opened("long.checkpoint");
    const int more = (int)st_find(file, "losses")->elements + 1;
    st_close(file);
    char arguments[128];
    snprintf(arguments, sizeof arguments, "--in one --out long --schedule constant --steps %d --resume", more);
    done(arguments);
}

static void a_loss_that_is_no_number_stops(void **state)
{
    (void)state;
    refuses("--in one nan --out bad", "the loss of step 2 is");
    says("nothing was saved");
    refuses("--in one two nan --out bad --save-every 1", "the loss of step 3 is");
    says("bad.checkpoint keeps the gate of step 2");
    assert_int_not_equal(access(in_folder("bad"), F_OK), 0);
    done("--in one two nan --out good --stop-after 2");
    assert_true(same("bad.checkpoint", "good.checkpoint"));
}

/* A name that leaves no room for that of the temporary file beside it: the write fails. */
static void what_cannot_be_written_keeps_the_old_checkpoint(void **state)
{
    char name[240], arguments[400];

    (void)state;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    done("--in one --out kept --stop-after 4");
    snprintf(arguments, sizeof arguments, "cp kept.checkpoint %s.checkpoint;", name);
    assert_int_equal(shell(arguments, "--version"), 0);
    snprintf(arguments, sizeof arguments, "--in one --out %s --resume --stop-after 6", name);
    refuses(arguments, ".checkpoint: it cannot be written: ");
    says("it is as it was before step 6");
    snprintf(arguments, sizeof arguments, "%s.checkpoint", name);
    assert_true(same(arguments, "kept.checkpoint"));
}

static void a_full_disk_is_told(void **state)
{
    (void)state;
    assert_int_equal(shell("ln -s /dev/full full.checkpoint;", "--in one --out full --stop-after 2"), 2);
    says("full.checkpoint: it cannot be written: No space left");
    done("--in one --out last --stop-after 29");
    assert_int_equal(shell("ln -s /dev/full last;", "--in one --out last --resume"), 2);
    says("last: it cannot be written: No space left");
    assert_int_equal(shell("rm last;", "--in one --out last --resume"), 0);
}

static void refuses_bad_input(void **state)
{
    (void)state;
    refuses("--out x", "--in is missing");
    refuses("--in one", "--out is missing");
    refuses("--in one --out x --frob 1", "--frob is not an option");
    refuses("--in one --out x --steps 0", "--steps is \"0\"");
    refuses("--in one --out x --lr -1", "option lr is -1, but must be 0 or more");
    refuses("--in one --out x --schedule steep", "constant or cosine");
    refuses("--in one --out x --form triple", "single or double");
    refuses("--in one --out x --gate-dim 24", "the single form has the head size");
    refuses("--in one --out x --seed z", "--seed is \"z\"");
    refuses("--in none --out x", "none: ");
    refuses("--in one wide --out x", "wide: its heads");
    refuses("--in one --out x --resume", "x.checkpoint: ");
    done("--in one --out y --stop-after 1");
    refuses("--in one --out y --resume --seed 2", "seed 1, not 2");
    refuses("--in two --out y --resume", "captures");
    refuses("--in one --out y --resume --lr 0.5", "lr unknown, not 0.5");
    refuses("--in one --out y --resume --steps 31", "steps 30, not 31");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gate_under_their_names),
        cmocka_unit_test(double_form_in_bf16),
        cmocka_unit_test(resumes_to_the_same_bits),
        cmocka_unit_test(stops_on_a_signal),
        cmocka_unit_test(a_loss_that_is_no_number_stops),
        cmocka_unit_test(what_cannot_be_written_keeps_the_old_checkpoint),
        cmocka_unit_test(a_full_disk_is_told),
        cmocka_unit_test(refuses_bad_input),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
