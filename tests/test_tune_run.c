/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_tune_run.c: clgaze-tune tuning: once, what is stale, every device, until it is interrupted.
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "tuner.h"

#define QUICK "--cap 2 --problem 'pool f32 d64 n2k'"

/* It is tuned once; what was found is what is used, and the record says how old it is. */
static void tunes_once(void **state)
{
    cJSON *root;
    const cJSON *device, *one;

    (void)state;
    assert_int_equal(tuner("--json --budget 60 " QUICK), 0);
    root = cJSON_Parse(tuner_out);
    device = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "devices"), 0);
    one = cJSON_GetArrayItem(cJSON_GetObjectItem(device, "results"), 0);
    assert_string_equal(cJSON_GetObjectItem(one, "problem")->valuestring, "pool f32 d64 b64x64 n2k");
    assert_true(cJSON_GetObjectItem(one, "tried")->valueint <= 2);
    assert_true(cJSON_GetObjectItem(one, "best_us")->valuedouble > 0);
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(device, "interrupted")));
    assert_int_equal(cJSON_GetObjectItem(device, "left")->valueint, 0);
    assert_int_equal(tuner("--show --problem 'pool f32 d64 n2k'"), 0);
    tuner_says(cJSON_GetObjectItem(one, "best")->valuestring);
    tuner_says(": tuned on this device\n");
    tuner_says(", line 3: 2");
    tuner_says("(0 days ago)");
    cJSON_Delete(root);
    assert_int_equal(tuner("--budget 60 " QUICK), 0);
    tuner_says("nothing was tuned: each problem has a record");
    assert_int_equal(tuner("--budget 60 --out %s --again " QUICK, under("out")), 0);
    tuner_says("before us");
    assert_int_equal(tuner("--budget 60 --out %s " QUICK, under("out")), 0);
    tuner_says("nothing was tuned");
}

/* What another driver was tuned for, and only that, is tuned again. */
static void tunes_what_is_stale(void **state)
{
    char *text, *old;

    (void)state;
    assert_int_equal(tuner("--stale"), 0);
    tuner_says("nothing was tuned: no record of this device is of another driver");
    assert_int_equal(tuner("--out %s --budget 60 " QUICK, under("out")), 0);
    text = tuner_read("out");
    old = tuner_altered(text, "driver=", "driver=old-");
    tuner_file("old", "", old);
    assert_int_equal(tuner("--import %s", under("old")), 0);
    assert_int_equal(tuner("--stale --dry-run"), 0);
    assert_memory_equal(tuner_out, "pool f32 d64 b64x64 n2k, driver old-", 36);
    assert_ptr_equal(strchr(tuner_out, '\n'), tuner_out + strlen(tuner_out) - 1);
    assert_int_equal(tuner("--show --problem 'pool f32 d64 n2k'"), 0);
    tuner_says(": tuned on this device with another driver\n");
    assert_int_equal(tuner("--stale --cap 2 --budget 60 --json"), 0);
    tuner_says("stale: pool f32 d64 b64x64 n2k, driver old-");
    tuner_says("\"problem\":\t\"pool f32 d64 b64x64 n2k\"");
    assert_int_equal(tuner("--stale --budget 2"), 0);
    tuner_says("nothing was tuned");
    assert_int_equal(tuner("--show --problem 'pool f32 d64 n2k'"), 0);
    tuner_says(": tuned on this device\n");
    free(text);
    free(old);
}

/* Each device by itself: its own name, its own records. */
static void tunes_every_device(void **state)
{
    const size_t n = clgaze_device_list(NULL, 0);
    cJSON *root, *list;

    (void)state;
    if (getenv("CLGAZE_TEST_DEVICE")) /* the harness names it, and the two exclude each other */
        skip();
    assert_int_equal(tuner("--all-devices --json --budget 60 " QUICK), 0);
    root = cJSON_Parse(tuner_out);
    list = cJSON_GetObjectItem(root, "devices");
    assert_int_equal(cJSON_GetArraySize(list), n);
    for (size_t i = 0; i < n; i++) {
        const cJSON *device = cJSON_GetArrayItem(list, (int)i);

        assert_true(strlen(cJSON_GetObjectItem(device, "device")->valuestring) > 0);
        assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(device, "results")), 1);
    }
    cJSON_Delete(root);
    assert_int_equal(tuner("--all-devices --budget 60 " QUICK), 0);
    tuner_says("nothing was tuned");
    assert_int_equal(tuner("--all-devices --device 0"), 2);
    tuner_complains("--all-devices and --device exclude each other");
}

/* Sizes of blocks are compared at one density, and no record comes of it. */
static void advises_on_blocks(void **state)
{
    const cJSON *device, *one, *blocks;
    double least = 1e30, most = 0, best = 1e30;
    int quickest = 0;
    cJSON *root;

    (void)state;
    assert_int_equal(tuner("--advise-block --json --problem 'attend f32 d64 g1 n2k'"), 0);
    root = cJSON_Parse(tuner_out);
    device = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "devices"), 0);
    one = cJSON_GetArrayItem(cJSON_GetObjectItem(device, "advice"), 0);
    blocks = cJSON_GetObjectItem(one, "blocks");
    assert_int_equal(cJSON_GetArraySize(blocks), 4);
    for (const cJSON *b = blocks->child; b; b = b->next) {
        const double us = cJSON_GetObjectItem(b, "us")->valuedouble;
        const double density = cJSON_GetObjectItem(b, "density")->valuedouble;

        least = density < least ? density : least;
        most = density > most ? density : most;
        if (us < best)
            quickest = cJSON_GetObjectItem(b, "block_k")->valueint;
        best = us < best ? us : best;
    }
    assert_true(least > 0.12 && most < 0.13);
    assert_int_equal(cJSON_GetObjectItem(one, "quickest")->valueint, quickest);
    cJSON_Delete(root);
    tuner_holds(NULL, "");
    assert_int_equal(tuner("--advise-block --problem pool"), 2);
    tuner_complains("--advise-block is about attend");
}

/* Records of --out count from the start. */
static void reads_out_first(void **state)
{
    (void)state;
    tuner_file("out", "f32 d64 b64 g4 n8k", NULL);
    assert_int_equal(tuner("--out %s --budget 2 --problem 'attend f32 d64 g4 n8k'", under("out")), 0);
    tuner_says("nothing was tuned");
}

/* A signal to the program alone, not to its child: both end, and what was found is kept. */
static void keeps_what_it_found_when_interrupted(void **state)
{
    char line[4096];
    int from, status = 0;
    const pid_t child = tuner_start(
        "--budget 200 --cap 2 --problem 'pool f32 d64 n2k' --problem 'pool f32 d128 n2k' --problem attend", &from);
    FILE *f = fdopen(from, "r");
    char *store;

    (void)state;
    assert_non_null(f);
    alarm(240);
    assert_non_null(fgets(line, sizeof line, f)); /* the first is found */
    assert_non_null(strstr(line, "pool f32 d64 b64x64 n2k: "));
    assert_int_equal(kill(child, SIGINT), 0);
    while (fgets(line, sizeof line, f)) /* until all that could write have ended */
        assert_null(strstr(line, "attend"));
    assert_int_equal(waitpid(child, &status, 0), child);
    alarm(0);
    fclose(f);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 130);
    store = tuner_read(NULL);
    assert_non_null(strstr(store, "\"f32 d64 b64x64 n2k\""));
    assert_null(strstr(store, "attend"));
    free(store);
}

/* The child of a process; 0: this system does not tell. */
static pid_t child_of(pid_t parent)
{
    char path[64];
    long child = 0;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%ld/task/%ld/children", (long)parent, (long)parent);
    f = fopen(path, "r");
    if (f && fscanf(f, "%8ld", &child) != 1)
        child = 0;
    if (f)
        fclose(f);
    return (pid_t)child;
}

/* A driver may take the process that tunes with it: another goes on where it was, even with --again. */
static void goes_on_after_a_crash(void **state)
{
    char line[4096];
    int from, status = 0, first = 0, ended = 0;
    const pid_t parent =
        tuner_start("--again --budget 200 --cap 2 --problem 'pool f32 d64 n2k' --problem 'pool f32 d128 n2k' "
                    "--problem 'pool f32 d32 n2k' --problem 'pool f32 d256 n2k'", /* not done before it is ended */
                    &from);
    FILE *f = fdopen(from, "r");
    pid_t child;
    char *store;

    (void)state;
    assert_non_null(f);
    alarm(240);
    while (fgets(line, sizeof line, f)) {
        ended += strstr(line, "ended or hung") != NULL;
        if (strncmp(line, "pool f32 d64 b64x64 n2k: ", 25) != 0 || first++ > 0)
            continue;
        child = child_of(parent);
        if (child > 0)
            assert_int_equal(kill(child, SIGKILL), 0);
        else
            ended = 1;
    }
    assert_int_equal(waitpid(parent, &status, 0), parent);
    alarm(0);
    fclose(f);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(ended, 1);
    assert_int_equal(first, 1);
    store = tuner_read(NULL);
    assert_non_null(strstr(store, "\"f32 d128 b64x64 n2k\""));
    assert_non_null(strstr(store, "\"f32 d256 b64x64 n2k\""));
    free(store);
}

static bool has_journal(void)
{
    DIR *dir = opendir(under("store"));
    bool found = false;

    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir))
        found = found || strstr(e->d_name, ".journal") != NULL;
    closedir(dir);
    return found;
}

/* Two at once keep the records of both, and neither takes what the other is at for what ended it. */
static void two_at_once(void **state)
{
    static const char *const words[] = {
        "--again --budget 200 --cap 2 --problem 'pool f32 d64 n2k' --problem 'pool f32 d128 n2k'",
        "--again --budget 200 --cap 2 --problem 'pool f32 d32 n2k' --problem 'pool f32 d256 n2k'"};
    static const char *const problems[] = {"d64 ", "d128 ", "d32 ", "d256 "};
    pid_t child[2];
    FILE *f[2];
    char line[4096], *store;

    (void)state;
    for (int i = 0; i < 2; i++) {
        int from;

        child[i] = tuner_start(words[i], &from);
        f[i] = fdopen(from, "r");
        assert_non_null(f[i]);
    }
    alarm(240);
    for (int i = 0; i < 2; i++) {
        int status = 0;

        while (fgets(line, sizeof line, f[i]))
            if (strstr(line, "skipped") || strstr(line, "cannot be written"))
                fail_msg("%s", line);
        assert_int_equal(waitpid(child[i], &status, 0), child[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        fclose(f[i]);
    }
    alarm(0);
    store = tuner_read(NULL);
    for (size_t i = 0; i < CLG_COUNT(problems); i++) {
        char text[64];

        snprintf(text, sizeof text, "\npool pool \"f32 %sb64x64 n2k\"", problems[i]);
        if (!strstr(store, text))
            fail_msg("%s is not in\n%s", text, store);
    }
    free(store);
    assert_false(has_journal());
}

/* A prefill is its five and the break-even, which --show tells and a second run leaves alone. */
static void measures_the_break_even(void **state)
{
    (void)state;
    assert_int_equal(tuner("--show --problem 'prefill f32 d16 b16 g2 n256'"), 0);
    tuner_says("prefill f32 d16 b16 g2 dg16 single mass n256 sparse: no break-even is known");
    assert_int_equal(tuner("--budget 60 --cap 2 --problem 'prefill f32 d16 b16 g2 n256'"), 0);
    tuner_says("\nprefill f32 d16 b16 g2 dg16 single mass n256 ");
    tuner_says("prefill: the times of choosing blocks and of dense attention");
    assert_int_equal(tuner("--show --problem 'prefill f32 d16 b16 g2 n256'"), 0);
    tuner_says(" dense FROM=");
    tuner_says(": measured on this device\n");
    tuner_says("(0 days ago)");
    assert_int_equal(tuner("--budget 60 --problem 'prefill f32 d16 b16 g2 n256'"), 0);
    tuner_says("nothing was tuned");
    assert_int_equal(tuner("--budget 60 --cap 2 --problem 'prefill f32 d16 b16 g2 count n256'"), 0);
    tuner_says("\nprefill f32 d16 b16 g2 dg16 single count n256 "); /* of its five select alone was left */
    assert_null(strstr(tuner_out, "attend "));
    if (strstr(tuner_err, "no kernel of operation"))
        fail_msg("%s", tuner_err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CACHE_TEST(tunes_once),
        CACHE_TEST(tunes_what_is_stale),
        CACHE_TEST(tunes_every_device),
        CACHE_TEST(advises_on_blocks),
        CACHE_TEST(reads_out_first),
        CACHE_TEST(keeps_what_it_found_when_interrupted),
        CACHE_TEST(goes_on_after_a_crash),
        CACHE_TEST(two_at_once),
        CACHE_TEST(measures_the_break_even),
    };

    return TEST_MAIN(tests);
}
