/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_tune_cli.c: what clgaze-tune refuses, and what it says without tuning.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "tuner.h"

#define NEEDS_DEVICE()                                                                                               \
    if (clgaze_device_list(NULL, 0) == 0)                                                                            \
    skip()

static void refuses_bad_input(void **state)
{
    static const char *const cases[][2] = {
        {"--budget 0", "--budget is \"0\""},
        {"--budget -1", "--budget is \"-1\""},
        {"--budget nan", "--budget is \"nan\""},
        {"--budget 5s", "--budget is \"5s\""},
        {"--budget", "--budget needs a value"},
        {"--cap 0", "--cap is \"0\""},
        {"--cap 2x", "--cap is \"2x\""},
        {"--out ''", "--out is empty"},
        {"--stale --problem pool", "--stale and --problem exclude each other"},
        {"--frob", "--frob is not an option"},
        {"attend", "attend is not an option"},
        {"--problem mill", "it begins with"},
        {"--problem 'attend z9'", "\"z9\" is none of"},
        {"--problem 'attend b64x'", "\"b64x\" is none of"},
        {"--problem 'attend n8kk'", "\"n8kk\" is none of"},
        {"--problem 'attend double'", "\"double\" is none of"},
        {"--problem 'pool mass'", "\"mass\" is none of"},
        {"--problem 'truth double'", "\"double\" is none of"},
        {"--problem 'distill mass'", "\"mass\" is none of"},
        {"--problem attend_", "it begins with"},
        {"--all-devices --import x", "--all-devices and --import exclude each other"},
    };
    /* The harness names the device under test, which the last excludes, too. */
    const size_t n = CLG_COUNT(cases) - (getenv("CLGAZE_TEST_DEVICE") != NULL);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(tuner("%s", cases[i][0]), 2);
        tuner_complains(cases[i][1]);
    }
}

/* Also what only the device can tell; nothing is written for it. */
static void refuses_what_is_not_here(void **state)
{
    static const char *const cases[][2] = {
        {"--device nosuch", "nosuch"},
        {"--device 99", "99"},
        {"--problem 'attend d7'", "--problem \"attend d7\": problem.head_dim is 7"},
        {"--problem 'attend f32 d64 g1 n2k' --problem 'pool b3'", "--problem \"pool b3\": problem.block"},
        {"--problem 'gate d64 dg128 single'", "problem.gate_double is 0"},
    };
    static const char *const modes[] = {"--budget 1", "--show", "--dry-run"};

    (void)state;
    NEEDS_DEVICE();
    for (size_t i = 0; i < CLG_COUNT(cases); i++)
        for (size_t j = 0; j < CLG_COUNT(modes); j++) {
            assert_int_equal(tuner("%s %s", cases[i][0], modes[j]), 2);
            tuner_complains(cases[i][1]);
        }
    char *store = tuner_read(NULL);
    assert_string_equal(store, "");
    free(store);
}

/* In the order of the pipeline, as text and as JSON. */
static void lists_every_kernel(void **state)
{
    const char *names[64], *ops[64];
    const size_t n = clgaze_kernel_list(names, ops, 64);
    const char *at;
    cJSON *root, *list;

    (void)state;
    assert_int_equal(tuner("--list"), 0);
    at = tuner_out;
    for (size_t i = 0; i < n; i++) {
        char line[128];

        snprintf(line, sizeof line, "%-8s %s, ", ops[i], names[i]);
        at = strstr(at, line);
        assert_non_null(at);
    }
    assert_int_equal(tuner("--list --json"), 0);
    root = cJSON_Parse(tuner_out);
    list = cJSON_GetObjectItem(root, "kernels");
    assert_int_equal(cJSON_GetArraySize(list), n);
    for (size_t i = 0; i < n; i++) {
        const cJSON *one = cJSON_GetArrayItem(list, (int)i);
        const struct clg_kernel *kernel = clg_kernel_find(names[i]);
        int size = 1;

        assert_string_equal(cJSON_GetObjectItem(one, "kernel")->valuestring, names[i]);
        assert_string_equal(cJSON_GetObjectItem(one, "op")->valuestring, ops[i]);
        for (const cJSON *p = cJSON_GetObjectItem(one, "space")->child; p; p = p->next)
            size *= cJSON_GetArraySize(cJSON_GetObjectItem(p, "allowed"));
        assert_int_equal(size, clg_space_size(kernel));
    }
    cJSON_Delete(root);
}

static void names_what_a_problem_means(void **state)
{
    (void)state;
    NEEDS_DEVICE();
    assert_int_equal(tuner("--dry-run --problem 'attend f32 d128 b64x128 g4 n32k'"), 0);
    assert_string_equal(tuner_out, "attend f32 d128 b64x128 g4 n32k\n");
    assert_int_equal(tuner("--dry-run --problem 'attend f32 d64 g1 n8k' --problem 'attend f32 d64 g1 n8000'"), 0);
    assert_string_equal(tuner_out, "attend f32 d64 b64 g1 n8k\n");
    assert_int_equal(tuner("--dry-run --problem 'attend f32 d64 g1'"), 0); /* two lengths are left out */
    tuner_says("attend f32 d64 b64 g1 n8k\n");
    assert_ptr_not_equal(strchr(tuner_out, '\n'), tuner_out + strlen(tuner_out) - 1);
}

/* What it prints it reads. */
static void reads_every_name(void **state)
{
    static const char *const names[] = {"pool f32 d64 b32x16 n4k",
                                        "gate f32 d64 dg64 single n2k",
                                        "gate f32 d128 dg64 double n512",
                                        "gate f16 d64 dg32 double n2k",
                                        "score f32 dg48 n64k",
                                        "select f32 mass n2k",
                                        "select f32 count n128",
                                        "attend f32 d64 b16x128 g2 n256",
                                        "prefill f32 d64 b64 g4 dg64 single mass n2k",
                                        "prefill f32 d64 b16x32 g2 dg32 double count n512",
                                        "truth f32 d64 b64 g4 n8k",
                                        "truth f16 d128 b16x32 g1 n256",
                                        "distill f32 d64 dg32 double n2k",
                                        "attend_bwd bf16 d128 b64 g2 n4k"};
    char words[1024] = "";
    struct clg_text text = {words, sizeof words, 0};
    cJSON *root, *list;

    (void)state;
    NEEDS_DEVICE();
    for (size_t i = 0; i < CLG_COUNT(names); i++)
        clg_put(&text, " --problem '%s'", names[i]);
    assert_int_equal(tuner("--dry-run --json%s", words), 0);
    root = cJSON_Parse(tuner_out);
    list = cJSON_GetObjectItem(cJSON_GetArrayItem(cJSON_GetObjectItem(root, "devices"), 0), "problems");
    assert_int_equal(cJSON_GetArraySize(list), CLG_COUNT(names));
    for (size_t i = 0; i < CLG_COUNT(names); i++)
        assert_string_equal(cJSON_GetArrayItem(list, (int)i)->valuestring, names[i]);
    cJSON_Delete(root);
}

/* Each option that --help names has its place in the man page. */
static void is_in_the_man_page(void **state)
{
    struct bytes page = read_file(CLGAZE_TEST_DIR "/../docs/man/clgaze-tune.1");
    int n = 0;

    (void)state;
    page.at[page.n] = '\0';
    assert_int_equal(tuner("--help"), 0);
    for (const char *at = strstr(tuner_out, "--"); at; at = strstr(at + 2, "--")) {
        char option[64];
        size_t used = 0;

        for (const char *c = at; (*c == '-' || (*c >= 'a' && *c <= 'z')) && used + 3 < sizeof option; c++) {
            if (*c == '-')
                option[used++] = '\\';
            option[used++] = *c;
        }
        option[used] = '\0';
        n++;
        if (!strstr((const char *)page.at, option))
            fail_msg("%s is not in the man page", option);
    }
    assert_true(n > 15);
    free(page.at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CACHE_TEST(refuses_bad_input),          CACHE_TEST(refuses_what_is_not_here), CACHE_TEST(lists_every_kernel),
        CACHE_TEST(names_what_a_problem_means), CACHE_TEST(reads_every_name),         CACHE_TEST(is_in_the_man_page),
    };

    return TEST_MAIN(tests);
}
