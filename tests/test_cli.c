/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cli.c: clgaze-run as a person or a script sees it: exit codes, one
 * sentence on stderr, JSON alone on stdout, results in files.
 *
 * Environment: CLGAZE_RUN, the program; CLGAZE_TEST_DEVICE as everywhere.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "safetensors.h"

#define GOLDEN CLGAZE_TEST_DIR "/golden/"

static char folder[512];
static int has_device;

/* ------------------------------------------------------------------------ */
/* Running the program                                                      */
/* ------------------------------------------------------------------------ */

struct answer {
    int code;
    char out[1 << 16], err[1 << 13];
};

static struct answer answer;

static const char *path_of(const char *name)
{
    static char path[4][768];
    static int next;
    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[next], "%s/%s", folder, name);
    return path[next];
}

static void slurp(const char *name, char *text, size_t capacity)
{
    FILE *in = fopen(path_of(name), "rb");
    size_t n = in ? fread(text, 1, capacity - 1, in) : 0;
    text[n] = 0;
    if (in)
        fclose(in);
}

/* The arguments with %G for the golden folder and %T for that of this test,
 * after what is to stand before the program. */
static void run(const char *before, const char *arguments)
{
    char command[4096], expanded[2048];
    const char *program = getenv("CLGAZE_RUN");
    size_t at = 0;
    for (const char *a = arguments; *a && at < sizeof expanded - 600; a++) {
        const char *folder_of = a[0] == '%' && a[1] == 'G' ? GOLDEN : a[0] == '%' && a[1] == 'T' ? folder : NULL;
        if (folder_of)
            at += (size_t)snprintf(expanded + at, sizeof expanded - at, "'%s/'", folder_of), a++;
        else
            expanded[at++] = *a;
    }
    expanded[at] = 0;
    const char *device = strstr(arguments, "--device") ? NULL : getenv("CLGAZE_TEST_DEVICE");
    snprintf(command, sizeof command, "%s '%s' %s %s%s%s >'%s/out' 2>'%s/err'", before,
             program ? program : CLGAZE_TEST_BUILD_DIR "/clgaze-run", expanded, device ? "--device '" : "",
             device ? device : "", device ? "'" : "", folder, folder);
    int status = system(command);
    answer.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    slurp("out", answer.out, sizeof answer.out);
    slurp("err", answer.err, sizeof answer.err);
}

/* Each of the words, split by '|', is in the text. */
static void assert_says(const char *arguments, const char *text, const char *words)
{
    char copy[256];
    snprintf(copy, sizeof copy, "%s", words);
    for (char *word = strtok(copy, "|"); word; word = strtok(NULL, "|"))
        if (!strstr(text, word))
            fail_msg("clgaze-run %s: \"%s\" does not say \"%s\"", arguments, text, word);
}

/* It ends with that code and one sentence, and nothing else. */
static void refused(const char *arguments, int code, const char *words)
{
    run("", arguments);
    if (answer.code != code)
        fail_msg("clgaze-run %s: exit %d, not %d: %s", arguments, answer.code, code, answer.err);
    char *end = strchr(answer.err, '\n');
    if (!end || end[1] || strncmp(answer.err, "clgaze-run: ", 12) != 0)
        fail_msg("clgaze-run %s: not one sentence: %s", arguments, answer.err);
    if (*answer.out)
        fail_msg("clgaze-run %s: writes \"%.60s\"", arguments, answer.out);
    assert_says(arguments, answer.err, words);
}

static void done(const char *arguments)
{
    run("", arguments);
    if (answer.code)
        fail_msg("clgaze-run %s: exit %d: %s", arguments, answer.code, answer.err);
}

static void need_device(void)
{
    if (!has_device) {
        print_message("SKIPPED: no OpenCL device\n");
        skip();
    }
}

static st_file *open_file(const char *path)
{
    st_file *file;
    char why[ST_WHY];
    if (st_open(path, &file, why, sizeof why))
        fail_msg("%s: %s", path, why);
    return file;
}

static cJSON *json(void)
{
    const char *end;
    cJSON *root = cJSON_ParseWithOpts(answer.out, &end, 0);
    if (!root)
        fail_msg("not JSON: %.200s", answer.out);
    assert_int_equal(strspn(end, " \n"), strlen(end));
    return root;
}

static const cJSON *at(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!item)
        fail_msg("no %s in %.200s", key, answer.out);
    return item;
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "%s/cli.XXXXXX", CLGAZE_TEST_BUILD_DIR);
    if (!mkdtemp(folder))
        return -1;
    run("", "devices");
    has_device = answer.code == 0;
    return 0;
}

static int drop_folder(void **state)
{
    (void)state;
    unlink(path_of("out"));
    unlink(path_of("err"));
    unlink(path_of("in.safetensors"));
    unlink(path_of("o.safetensors"));
    unlink(path_of("p.safetensors"));
    return rmdir(folder);
}

/* ------------------------------------------------------------------------ */
/* Usage                                                                    */
/* ------------------------------------------------------------------------ */

#define SELECT "select --in %Gselect_topk_4.safetensors --out %To.safetensors "
#define ATTEND "attend --in %Gattend_tiny_block.safetensors --out %To.safetensors "

struct refusal {
    const char *arguments;
    int code;
    const char *words;
};

static const struct refusal usage[] = {
    {"", 2, "operation"},
    {"frobnicate", 2, "frobnicate|prefill"},
    {"decode", 2, "decode|not in this version"},
    {"attend --out %To.safetensors", 2, "--in"},
    {"attend --in %Gattend_tiny_block.safetensors", 2, "--out"},
    {"attend --in", 2, "--in|value"},
    {ATTEND "more", 2, "more"},
    {ATTEND "--rate 1", 2, "--rate"},
    {ATTEND "--nope", 2, "--nope"},
    {ATTEND "-v", 2, "-v"},
    {ATTEND "--json=1", 2, "--json"},
    {ATTEND "--repeat 0", 2, "--repeat|0|100000"},
    {ATTEND "--repeat many", 2, "--repeat|many"},
    {ATTEND "--block 3", 2, "--block|3|4 to 256"},
    {ATTEND "--block=257", 2, "--block|257|4 to 256"},
    {ATTEND "--block-q 64x", 2, "--block-q|64x"},
    {ATTEND "--block-k ''", 2, "--block-k"},
    {ATTEND "--causal 2", 2, "--causal|2|0 to 1"},
    {ATTEND "--causal yes", 2, "--causal|yes"},
    {ATTEND "--scale inf", 2, "--scale|inf|finite"},
    {ATTEND "--scale 1e300", 2, "--scale|1e300"},
    {ATTEND "--rope-scale nan", 2, "--rope-scale|nan"},
    {ATTEND "--rope-interleaved 2", 2, "--rope-interleaved|2"},
    {ATTEND "--q-pool max,max", 2, "--q-pool|max,max"},
    {ATTEND "--q-pool avg,", 2, "--q-pool|avg,"},
    {ATTEND "--k-pool mean", 2, "--k-pool|mean|max, min and avg"},
    {ATTEND "--k-pool", 2, "--k-pool|value"},
    {SELECT "--rule best", 2, "--rule|best|topp"},
    {SELECT "--head-scope all", 2, "--head-scope|all|kv"},
    {SELECT "--sink -1", 2, "--sink|-1"},
    {SELECT "--local 99999999999", 2, "--local|99999999999"},
    {SELECT "--last-rows 1.5", 2, "--last-rows|1.5"},
    {SELECT "--min-k x", 2, "--min-k|x"},
    {SELECT "--max-k -3", 2, "--max-k|-3|none"},
    {SELECT "--value nan", 2, "--value|nan|finite"},
    {SELECT "--value ''", 2, "--value"},
    {"check", 2, "file"},
    {"check --in x y", 2, "--in"},
    {"devices x", 2, "devices"},
    {"selftest x", 2, "selftest takes no file"},
    {"selftest --kernel attend", 2, "selftest takes no file and no kernel"},
    {"check %Tnone.safetensors", 2, "none.safetensors|cannot be read"},
    {"attend --in %Tnone.safetensors --out %To.safetensors", 2, "none.safetensors|cannot be read"},
    {"attend --in %T --out %To.safetensors", 2, "not a regular file"},
    /* tensors that are not there */
    {"select --in %Ggate_double.safetensors --out %To.safetensors --value 1", 2, "scores|missing|select"},
    {"attend --in %Gselect_topk_4.safetensors --out %To.safetensors", 2, "tensor q |missing|attend"},
    {"prefill --in %Gattend_tiny_block.safetensors --out %To.safetensors", 2, "q_gate|missing|prefill"},
    {"gate --in %Gpool_all.safetensors --out %To.safetensors", 2, "w_k|missing|gate"},
    {"pool --in %Gattend_tiny_block.safetensors --out %To.safetensors", 2, "q_gate|k_gate|missing|pool"},
};

static void test_usage(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof usage / sizeof *usage; i++)
        refused(usage[i].arguments, usage[i].code, usage[i].words);
}

/* What the library refuses, in its words. */
static void test_library_refuses(void **state)
{
    static const struct refusal cases[] = {
        {SELECT "--rule ratio --value 1.5", 2, "value|1.5"},
        {SELECT "--rule topp --value 0", 2, "value|0"},
        {SELECT "--min-k 5 --max-k 3", 2, "max_k|3|5"},
        {ATTEND "--kernel nonesuch", 2, "kernel|nonesuch"},
        {ATTEND "--kernel pool", 2, "kernel|pool|attend"},
        {ATTEND "--kernel 'attend WG=17'", 2, "WG|17"},
        {ATTEND "--device nosuchdevice", 3, "nosuchdevice"},
        {ATTEND "--block-k 16", 2, ""}, /* then the lists name blocks that do not exist */
    };
    (void)state;
    need_device();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(cases[i].arguments, cases[i].code, cases[i].words);
}

static void test_no_platform(void **state)
{
    static const char *const commands[] = {"devices", "check %Gselect_budget.safetensors", SELECT, "selftest"};
    char before[1024];
    (void)state;
    snprintf(before, sizeof before, "unset OCL_ICD_FILENAMES; OCL_ICD_VENDORS='%s'", folder);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        run(before, commands[i]);
        assert_int_equal(answer.code, 3);
        assert_says(commands[i], answer.err, "pocl-opencl-icd");
        assert_int_equal(strcspn(answer.err, "\n"), strlen(answer.err) - 1);
        assert_string_equal(answer.out, "");
    }
}

static void test_help(void **state)
{
    static const char *const words = "prefill|--head-scope|--rope-interleaved|--repeat|--device|Exit";
    (void)state;
    done("--help");
    assert_says("--help", answer.out, words);
    done("attend --help");
    assert_says("attend --help", answer.out, words);
    done("--version");
    assert_says("--version", answer.out, "clgaze-run 1.");
}

/* ------------------------------------------------------------------------ */
/* Files that are wrong                                                     */
/* ------------------------------------------------------------------------ */

/* A golden file with one thing changed. */
struct change {
    const char *file;
    st_tensor tensor; /* name NULL: none; data NULL: dropped                     */
    st_pair pair;     /* key NULL: none; value NULL: dropped                     */
    int code;
    const char *words;
};

static void change_file(const char *from, st_tensor tensor, st_pair pair)
{
    char source[1024], why[ST_WHY];
    snprintf(source, sizeof source, "%s%s.safetensors", GOLDEN, from);
    st_file *file = open_file(source);
    st_tensor tensors[32];
    st_pair pairs[32];
    size_t n = 0, m = 0;
    assert_true(file->n_tensors < 32 && file->n_meta < 32);
    for (size_t i = 0; i < file->n_tensors; i++)
        if (!tensor.name || strcmp(file->tensors[i].name, tensor.name) != 0)
            tensors[n++] = file->tensors[i];
    for (size_t i = 0; i < file->n_meta; i++)
        if (!pair.key || strcmp(file->meta[i].key, pair.key) != 0)
            pairs[m++] = file->meta[i];
    if (tensor.name && tensor.data)
        tensors[n++] = tensor;
    if (pair.key && pair.value)
        pairs[m++] = pair;
    if (st_write(path_of("in.safetensors"), tensors, n, pairs, m, why, sizeof why))
        fail_msg("%s", why);
    st_close(file);
}

static const float zeros[1 << 15];
static const int32_t low[] = {1, 2, 3, 4}, down[] = {0, 60, 40, 150}, far[] = {0, 60, 120, 151};

static const struct change wrong[] = {
    {"attend_tiny_block", {"k", ST_F16, 4, {1, 50, 1, 40}, .data = zeros}, {NULL, NULL}, 2, "tensor k|F16|q|F32"},
    {"attend_tiny_block", {"v", ST_I32, 4, {1, 50, 1, 40}, .data = zeros}, {NULL, NULL}, 2, "tensor v|I32"},
    {"attend_tiny_block", {"q", ST_F64, 4, {1, 50, 2, 40}, .data = zeros}, {NULL, NULL}, 2, "tensor q|F64"},
    {"attend_tiny_block", {"q", ST_F32, 3, {50, 2, 40}, .data = zeros}, {NULL, NULL}, 2, "tensor q|[50,2,40]|4"},
    {"attend_tiny_block", {"q", ST_F32, 5, {1, 1, 50, 2, 40}, .data = zeros}, {NULL, NULL}, 2, "tensor q|5"},
    {"attend_tiny_block", {"q", ST_F32, 4, {1, 0, 2, 40}, .data = zeros}, {NULL, NULL}, 2, "tensor q|[1,0,2,40]"},
    {"attend_tiny_block",
     {"q", ST_F32, 4, {1, 4503599627370496, 0, 40}, .data = zeros},
     {NULL, NULL},
     2,
     "tensor q|4503599627370496"},
    {"attend_tiny_block", {"blocks", ST_I64, 4, {1, 2, 13, 6}, .data = zeros}, {NULL, NULL}, 2, "tensor blocks|I64"},
    {"attend_tiny_block", {"blocks", .data = NULL}, {NULL, NULL}, 2, "tensor blocks|missing|counts"},
    {"attend_tiny_block", {"counts", .data = NULL}, {NULL, NULL}, 2, "tensor counts|missing|blocks"},
    {"attend_tiny_block", {"mask", ST_U8, 4, {1, 2, 13, 7}, .data = zeros}, {NULL, NULL}, 2, "counts|mask|one form"},
    {"attend_tiny_block", {.name = NULL}, {"op", "attend_bwd"}, 2, "tensor dout|missing|attend_bwd"},
    {"attend_bwd_cross", {"dout", ST_F32, 4, {1, 20, 2, 8}, .data = zeros}, {NULL, NULL}, 2, "dout|20|21"},
    {"attend_bwd_cross", {"dout", ST_F16, 4, {1, 21, 2, 8}, .data = zeros}, {NULL, NULL}, 2, "tensor dout|F16|F32"},
    {"attend_tiny_block", {"v", .data = NULL}, {NULL, NULL}, 2, "tensor v|missing"},
    {"attend_tiny_block", {.name = NULL}, {"block_q", "300"}, 2, "block_q|__metadata__|300|4 to 256"},
    {"attend_tiny_block", {.name = NULL}, {"causal", "true"}, 2, "causal|true"},
    {"attend_tiny_block", {.name = NULL}, {"op", NULL}, 2, "op|__metadata__|missing"},
    {"attend_tiny_block", {.name = NULL}, {"op", "decode"}, 2, "decode|not in this version"},
    {"attend_tiny_block", {.name = NULL}, {"op", "guess"}, 2, "guess"},
    {"select_topk_4", {.name = NULL}, {"value", NULL}, 2, "--value|missing"},
    {"select_topk_4", {"scores", ST_F32, 3, {3, 37, 37}, .data = zeros}, {NULL, NULL}, 2, "tensor scores|[3,37,37]"},
    {"select_values", {"values", ST_F32, 1, {2}, .data = zeros}, {NULL, NULL}, 2, "tensor values|2|3"},
    {"select_values", {"values", ST_I32, 1, {3}, .data = zeros}, {NULL, NULL}, 2, "tensor values|I32"},
    {"gate_double", {"w_q", ST_F16, 3, {2, 64, 32}, .data = zeros}, {NULL, NULL}, 2, "tensor w_q|F16|F32"},
    {"gate_double", {"w_k", ST_I32, 3, {1, 64, 32}, .data = zeros}, {NULL, NULL}, 2, "tensor w_k|I32"},
    {"gate_double",
     {"w_q", ST_F32, 4, {1, 2, 32, 32}, .data = zeros},
     {NULL, NULL},
     2,
     "tensor w_q|not in this version"},
    {"gate_double",
     {"rope_inv_freq", ST_F32, 2, {1, 16}, .data = zeros},
     {NULL, NULL},
     2,
     "tensor rope_inv_freq|[1,16]"},
    {"attend_varlen_dense", {"cu_seqlens_q", ST_I32, 1, {4}, .data = low}, {NULL, NULL}, 2, "cu_seqlens_q|first 0"},
    {"attend_varlen_dense",
     {"cu_seqlens_k", ST_I32, 1, {4}, .data = down},
     {NULL, NULL},
     2,
     "cu_seqlens_k|decreases"},
    {"attend_varlen_dense", {"cu_seqlens_k", ST_I32, 1, {4}, .data = far}, {NULL, NULL}, 2, "cu_seqlens_k|151|150"},
    {"attend_varlen_dense", {"cu_seqlens_k", .data = NULL}, {NULL, NULL}, 2, "cu_seqlens_k|missing"},
    {"attend_varlen_dense", {"cu_seqlens_q", ST_F32, 1, {4}, .data = zeros}, {NULL, NULL}, 2, "cu_seqlens_q|F32"},
};

static void test_wrong_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        change_file(wrong[i].file, wrong[i].tensor, wrong[i].pair);
        refused("check %Tin.safetensors", wrong[i].code, wrong[i].words);
    }
}

/* What only the library can find, and what only a result can show. */
static const int32_t beyond[] = {-1, -1, 0, 7, 0, 1, 0, 1}, negative[] = {-1, -1, -1, 1, 0, 1, 0, 1};
static const int32_t repeated[] = {-1, -1, 1, 1, 0, 1, 0, 1}, turned[] = {-1, -1, 1, 0, 0, 1, 0, 1};
static const int32_t twos[] = {2, 2, 2, 2}, threes[] = {3, 2, 2, 2};

static const struct change refused_by_library[] = {
    {"attend_one_token", {"blocks", ST_I32, 4, {1, 4, 1, 2}, .data = beyond}, {NULL, NULL}, 2, "blocks"},
    {"attend_one_token", {"blocks", ST_I32, 4, {1, 4, 1, 2}, .data = negative}, {NULL, NULL}, 2, "blocks"},
    {"attend_one_token", {"blocks", ST_I32, 4, {1, 4, 1, 2}, .data = repeated}, {NULL, NULL}, 2, "blocks"},
    {"attend_one_token", {"blocks", ST_I32, 4, {1, 4, 1, 2}, .data = turned}, {NULL, NULL}, 2, "blocks"},
    {"attend_one_token", {"counts", ST_I32, 3, {1, 4, 1}, .data = threes}, {NULL, NULL}, 2, "counts"},
    {"attend_one_token", {"counts", ST_I32, 3, {1, 4, 1}, .data = down}, {NULL, NULL}, 2, "counts"},
    {"attend_one_token", {"k", ST_F16, 4, {1, 76, 2, 64}, .data = zeros}, {NULL, NULL}, 2, "v"},
    {"attend_one_token", {"k", ST_F16, 4, {1, 77, 3, 64}, .data = zeros}, {NULL, NULL}, 2, "heads|3"},
    {"attend_one_token", {"counts", ST_I32, 3, {1, 1, 4}, .data = twos}, {NULL, NULL}, 2, "counts"},
    {"attend_csr", {"indptr", ST_I32, 1, {4}, .data = repeated}, {NULL, NULL}, 2, "indptr"},
    {"select_topk_4", {.name = NULL}, {"value", "0.5"}, 2, "value|0.5"},
    {"gate_double", {"w_k", ST_F32, 3, {1, 63, 32}, .data = zeros}, {NULL, NULL}, 2, "w_k"},
    {"gate_double", {"expect.truth", ST_F32, 1, {1}, .data = zeros}, {NULL, NULL}, 2, "expect.truth|score"},
    {"gate_double", {"expect.scores", ST_F32, 1, {1}, .data = zeros}, {NULL, NULL}, 2, "expect.scores|[1]"},
};

static void test_refused_by_library(void **state)
{
    (void)state;
    need_device();
    for (size_t i = 0; i < sizeof refused_by_library / sizeof *refused_by_library; i++) {
        const struct change *c = &refused_by_library[i];
        change_file(c->file, c->tensor, c->pair);
        run("", "check %Tin.safetensors");
        if (answer.code != c->code)
            fail_msg("case %zu: exit %d: %s%s", i, answer.code, answer.out, answer.err);
        assert_says("check", answer.err, c->words);
    }
}

/* ------------------------------------------------------------------------ */
/* check                                                                    */
/* ------------------------------------------------------------------------ */

static void test_check(void **state)
{
    (void)state;
    need_device();
    done("check %Gselect_budget.safetensors %Gattend_tiny_block.safetensors");
    assert_says("check", answer.out, "select_budget.safetensors counts max_abs 0 rel 0 ok|blocks|out max_abs|lse");
    assert_null(strstr(answer.out, "FAILED"));
    run("", "check %Gselect_budget.safetensors %Tnone.safetensors %Gselect_topk_4.safetensors");
    assert_int_equal(answer.code, 2); /* and the others were checked */
    assert_says("check", answer.out, "select_budget|select_topk_4");
    /* No file at all has something to compare with. */
    change_file("select_budget", (st_tensor){.name = "expect.counts"}, (st_pair){NULL, NULL});
    done("check %Tin.safetensors");
}

/* One element of one expectation, changed to `value`. */
static void corrupt(const char *from, const char *name, size_t index, double value)
{
    char source[1024];
    snprintf(source, sizeof source, "%s%s.safetensors", GOLDEN, from);
    st_file *file = open_file(source);
    st_tensor t = *st_find(file, name);
    char *data = malloc(t.bytes);
    assert_non_null(data);
    memcpy(data, t.data, t.bytes);
    if (t.dtype == ST_I32)
        ((int32_t *)(void *)data)[index] = (int32_t)value;
    else
        ((float *)(void *)data)[index] = (float)value;
    t.data = data;
    change_file(from, t, (st_pair){NULL, NULL});
    free(data);
    st_close(file);
}

static void test_check_fails(void **state)
{
    static const struct {
        const char *file, *tensor;
        size_t index;
        double value;
    } cases[] = {
        {"attend_tiny_block", "expect.out", 77, 50.0},    {"attend_tiny_block", "expect.out", 0, NAN},
        {"attend_tiny_block", "expect.lse", 3, INFINITY}, {"gate_double", "expect.scores", 0, -INFINITY},
        {"gate_double", "expect.scores", 1, 0.0}, /* that one is invisible */
        {"select_topk_4", "expect.counts", 5, 3.0},       {"select_topk_4", "expect.blocks", 0, 1.0},
        {"prefill_short", "expect.counts", 3, 3.0},
    };
    char words[128];
    (void)state;
    need_device();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        corrupt(cases[i].file, cases[i].tensor, cases[i].index, cases[i].value);
        run("", "check %Tin.safetensors");
        if (answer.code != 1)
            fail_msg("case %zu: exit %d: %s%s", i, answer.code, answer.out, answer.err);
        snprintf(words, sizeof words, "in.safetensors %s max_abs|FAILED", cases[i].tensor + 7);
        assert_says("check", answer.out, words);
    }
}

/* More padding than the result has makes no difference. */
static void test_check_width(void **state)
{
    enum { ROWS = 3 * 37, WIDTH = 4, WIDER = 9 };
    int32_t wider[ROWS * WIDER];
    (void)state;
    need_device();
    st_file *file = open_file(GOLDEN "select_topk_4.safetensors");
    const st_tensor *t = st_find(file, "expect.blocks");
    assert_int_equal(t->elements, ROWS * WIDTH);
    for (size_t i = 0; i < ROWS * WIDER; i++)
        wider[i] = i % WIDER < WIDTH ? (int32_t)st_value(t, i / WIDER * WIDTH + i % WIDER) : -1;
    st_close(file);
    change_file(
        "select_topk_4",
        (st_tensor){.name = "expect.blocks", .dtype = ST_I32, .rank = 4, .shape = {1, 3, 37, WIDER}, .data = wider},
        (st_pair){NULL, NULL});
    done("check %Tin.safetensors");
}

/* ------------------------------------------------------------------------ */
/* Results                                                                  */
/* ------------------------------------------------------------------------ */

static void assert_tensor(const st_file *file, const char *name, st_dtype dtype, const char *shape)
{
    char text[128];
    const st_tensor *t = st_find(file, name);
    if (!t)
        fail_msg("no tensor %s", name);
    assert_int_equal(t->dtype, dtype);
    assert_string_equal(st_shape_text(t, text, sizeof text), shape);
}

static void test_results(void **state)
{
    (void)state;
    need_device();
    done("prefill --in %Gprefill_short.safetensors --out %To.safetensors");
    st_file *file = open_file(path_of("o.safetensors"));
    assert_int_equal(file->n_tensors, 5);
    assert_tensor(file, "out", ST_F16, "[1,104,2,64]");
    assert_tensor(file, "lse", ST_F32, "[1,2,104]");
    assert_tensor(file, "scores", ST_F32, "[1,2,7,7]");
    assert_tensor(file, "counts", ST_I32, "[1,2,7]");
    assert_non_null(st_find(file, "blocks"));
    assert_string_equal(st_meta(file, "op"), "prefill");
    assert_string_equal(st_meta(file, "block_q"), "16");
    assert_string_equal(st_meta(file, "rule"), "topp");
    assert_string_equal(st_meta(file, "k_pool"), "max,min,avg");
    st_close(file);

    /* One operation's output is the next one's input. */
    done("score --in %Ggate_double.safetensors --out %To.safetensors");
    file = open_file(path_of("o.safetensors"));
    assert_int_equal(file->n_tensors, 5);
    assert_tensor(file, "q_gated", ST_F32, "[1,10,2,32]");
    assert_tensor(file, "k_gated", ST_F32, "[1,10,1,32]");
    st_close(file);
    done("select --in %To.safetensors --out %Tp.safetensors --rule topk --value 2");
    file = open_file(path_of("p.safetensors"));
    assert_tensor(file, "counts", ST_I32, "[1,2,10]");
    assert_true(st_value(st_find(file, "counts"), 0) == 1.0);
    assert_true(st_value(st_find(file, "counts"), 18) == 2.0);
    st_close(file);
}

/* One side of the pooling alone. */
static void test_pool_side(void **state)
{
    (void)state;
    need_device();
    change_file("pool_all", (st_tensor){.name = "q_gate"}, (st_pair){NULL, NULL});
    done("pool --in %Tin.safetensors --out %To.safetensors");
    st_file *file = open_file(path_of("o.safetensors"));
    assert_int_equal(file->n_tensors, 1);
    assert_tensor(file, "k_pooled", ST_F32, "[2,4,1,48]");
    st_close(file);
}

/* The command line wins over the file. */
static void test_precedence(void **state)
{
    static const struct {
        const char *arguments;
        double count;
    } cases[] = {{SELECT, 4}, {SELECT "--value 2", 2}, {SELECT "--value 2 --max-k 1", 1}, {SELECT "--local 40", 37}};
    (void)state;
    need_device();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        done(cases[i].arguments);
        st_file *file = open_file(path_of("o.safetensors"));
        assert_true(st_value(st_find(file, "counts"), 36) == cases[i].count);
        st_close(file);
    }
}

static void test_json(void **state)
{
    (void)state;
    need_device();
    done("devices --json");
    cJSON *root = json();
    const cJSON *device = cJSON_GetArrayItem(at(root, "devices"), 0);
    assert_true(cJSON_IsString(at(device, "platform")) && cJSON_IsString(at(device, "driver")));
    assert_true(cJSON_GetArraySize(at(device, "kernels")) >= 5);
    cJSON_Delete(root);

    done("prefill --in %Gprefill_short.safetensors --repeat 3 --json");
    root = json();
    const cJSON *stages = at(root, "stages"), *stage;
    assert_int_equal(cJSON_GetArraySize(stages), 5);
    cJSON_ArrayForEach(stage, stages)
    {
        assert_true(at(stage, "ms")->valuedouble >= 0);
        assert_true(at(stage, "ms_min")->valuedouble <= at(stage, "ms")->valuedouble);
        assert_true(at(stage, "ms_max")->valuedouble >= at(stage, "ms")->valuedouble);
        assert_true(cJSON_IsString(at(stage, "kernel")));
    }
    assert_int_equal(cJSON_GetArraySize(at(root, "tensors")), 5);
    cJSON_Delete(root);

    corrupt("select_topk_4", "expect.counts", 5, 3);
    run("", "check %Gselect_topk_4.safetensors %Tin.safetensors --json");
    assert_int_equal(answer.code, 1);
    root = json();
    assert_true(cJSON_IsFalse(at(root, "ok")));
    assert_int_equal(cJSON_GetArraySize(at(root, "files")), 2);
    assert_true(cJSON_IsTrue(at(cJSON_GetArrayItem(at(root, "files"), 0), "ok")));
    cJSON_Delete(root);
}

/* A forced strategy is the one that runs. */
static void test_kernel(void **state)
{
    (void)state;
    need_device();
    done(ATTEND "--kernel attend --json");
    cJSON *root = json();
    const char *kernel = at(cJSON_GetArrayItem(at(root, "stages"), 0), "kernel")->valuestring;
    assert_int_equal(strncmp(kernel, "attend", 6), 0);
    assert_true(kernel[6] == ' ' || !kernel[6]);
    cJSON_Delete(root);
    done("score --in %Ggate_double.safetensors --out %To.safetensors --kernel score");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usage),       cmocka_unit_test(test_library_refuses),
        cmocka_unit_test(test_no_platform), cmocka_unit_test(test_help),
        cmocka_unit_test(test_wrong_files), cmocka_unit_test(test_refused_by_library),
        cmocka_unit_test(test_check),       cmocka_unit_test(test_check_fails),
        cmocka_unit_test(test_check_width), cmocka_unit_test(test_results),
        cmocka_unit_test(test_pool_side),   cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_json),        cmocka_unit_test(test_kernel),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
