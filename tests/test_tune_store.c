/*
 * test_tune_store.c: the records that clgaze-tune reads and keeps.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "tuner.h"

#define QUICK "--cap 2 --problem 'pool f32 d64 n2k'"

static void same_text(const char *name, const char *before)
{
    char *now = tuner_read(name);

    assert_string_equal(now, before);
    free(now);
}

/* `text` with one word in place of another; to free. */
static char *altered(const char *text, const char *word, const char *by)
{
    const char *at = strstr(text, word);
    char *copy = calloc(1, strlen(text) + strlen(by) + 1);

    assert_non_null(at);
    assert_non_null(copy);
    snprintf(copy, strlen(text) + strlen(by) + 1, "%.*s%s%s", (int)(at - text), text, by, at + strlen(word));
    return copy;
}

/* ---- import ------------------------------------------------------------------ */

static void imports_its_own(void **state)
{
    char *store;

    (void)state;
    tuner_file("mine", "f32 d64 b64 g4 n8k", NULL);
    assert_int_equal(tuner("--import %s", under("mine")), 0);
    store = tuner_read(NULL);
    assert_non_null(strstr(store, "\"f32 d64 b64 g4 n8k\""));
    free(store);
    assert_int_equal(tuner("--dry-run --problem 'attend f32 d64 g4 n8k'"), 0);
    assert_string_equal(tuner_out, "");
    tuner_says("nothing would be tuned");
    assert_int_equal(tuner("--dry-run --again --problem 'attend f32 d64 g4 n8k'"), 0);
    assert_string_equal(tuner_out, "attend f32 d64 b64 g4 n8k\n");
}

static void imports_all_or_nothing(void **state)
{
    static const char *const cases[][3] = {
        /* in the file, instead, what is said */
        {"clgaze-tuning 1", "clgaze-tuning 2", "it is not a tuning file of this version"},
        {"clgaze-tuning 1",
         "\x7f"
         "ELF",
         "it is not a tuning file of this version"},
        {"device \"", "device \"Some other ", "of another device, \"Some other "},
        {"uuid=", "uuid=0", "a value of the device is too long"},
        {"attend attend ", "attend attend_frob ", "this library knows no such kernel"},
        {"attend attend ", "attend pool ", "that kernel is of another operation"},
        {" WG=", " WGG=", "its values are not those"},
        {"\nattend", "\n# attend", "holds no record"},
    };
    char *text, *store;

    (void)state;
    tuner_file("first", "f32 d128 b64 g4 n8k", NULL);
    assert_int_equal(tuner("--import %s", under("first")), 0);
    store = tuner_read(NULL);
    tuner_file("mine", "f32 d64 b64 g4 n8k", NULL);
    text = tuner_read("mine");
    for (size_t i = 0; i < CLG_COUNT(cases); i++) {
        char *bad = altered(text, cases[i][0], cases[i][1]);

        tuner_file("bad", "f32 d64 b64 g4 n8k", bad);
        assert_int_equal(tuner("--import %s", under("bad")), 2);
        tuner_complains(cases[i][2]);
        same_text(NULL, store);
        free(bad);
    }
    assert_int_equal(tuner("--import %s", under("nosuch")), 2);
    tuner_complains("nosuch\" does not exist");
    free(text);
    free(store);
}

/* A card's UUID is its own, unless it is taken out of the file. */
static void tells_cards_apart(void **state)
{
    char *text, *with;

    (void)state;
    tuner_file("mine", "f32 d64 b64 g4 n8k", NULL);
    text = tuner_read("mine");
    for (int i = 0; i < 32; i++)
        strstr(text, "uuid=")[5 + i] = "0123456789abcdef"[i % 16];
    tuner_file("twin", "", text);
    assert_int_equal(tuner("--import %s", under("twin")), 2);
    tuner_complains("is of another card of this model");
    same_text(NULL, "");
    with = altered(text, " uuid=0123456789abcdef0123456789abcdef", "");
    tuner_file("any", "", with);
    assert_int_equal(tuner("--import %s", under("any")), 0);
    free(with);
    with = tuner_read(NULL);
    assert_non_null(strstr(with, "\"f32 d64 b64 g4 n8k\""));
    free(with);
    free(text);
}

/* ---- files that a person names ------------------------------------------------------ */

/* What is no tuning file is not written over. */
static void spares_files_that_are_not_its_own(void **state)
{
    static const char *const texts[] = {"my thesis\n", "clgaze-tuning 2\n", ""};

    (void)state;
    tuner_file("mine", "f32 d64 b64 g4 n8k", NULL);
    assert_int_equal(tuner("--import %s", under("mine")), 0);
    for (size_t i = 0; i < CLG_COUNT(texts); i++) {
        tuner_file("theirs", "", texts[i]);
        assert_int_equal(tuner("--out %s --budget 1 " QUICK, under("theirs")), 2);
        tuner_complains("not a tuning file");
        assert_int_equal(tuner("--export %s", under("theirs")), 2);
        tuner_complains("not a tuning file");
        same_text("theirs", texts[i]);
    }
    assert_int_equal(tuner("--out %s/x --budget 1 " QUICK, under("nosuch")), 2);
    tuner_complains("its folder does not exist");
    assert_int_equal(tuner("--export %s/x", under("nosuch")), 2);
    tuner_complains("its folder does not exist");
}

static void exports_what_it_has(void **state)
{
    char *text;

    (void)state;
    assert_int_equal(tuner("--export %s", under("none")), 2);
    tuner_complains("there is no record of this device to export");
    same_text("none", "");
    tuner_file("mine", "f32 d64 b64 g4 n8k", NULL);
    assert_int_equal(tuner("--import %s --export %s", under("mine"), under("out")), 0);
    text = tuner_read("mine");
    same_text("out", text);
    free(text);
}

/* The user's own store may hold anything: it is said, and written anew. */
static void survives_a_broken_store(void **state)
{
    char path[CACHE_PATH];
    char *store;

    (void)state;
    tuner_file("mine", "f32 d64 b64 g4 n8k", NULL);
    assert_int_equal(tuner("--import %s", under("mine")), 0);
    assert_int_equal(tuner("--show --json --problem 'attend f32 d64 g4 n8k'"), 0);
    cJSON *root = cJSON_Parse(tuner_out);
    const cJSON *device = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "devices"), 0);
    const cJSON *one = cJSON_GetArrayItem(cJSON_GetObjectItem(device, "problems"), 0);
    const cJSON *record = cJSON_GetObjectItem(one, "record");
    assert_int_equal(cJSON_GetObjectItem(record, "line")->valueint, 3);
    snprintf(path, sizeof path, "%s", cJSON_GetObjectItem(record, "file")->valuestring);
    cJSON_Delete(root);
    write_file(path, "\1\2\3\n", 4);
    assert_int_equal(tuner("--budget 2 " QUICK), 0);
    tuner_says("is not read: it is not a tuning file");
    store = tuner_read(NULL);
    assert_memory_equal(store, "clgaze-tuning 1\n", 16);
    assert_non_null(strstr(store, "pool"));
    free(store);
    write_file(path, "clgaze-tuning 2\n", 16);
    assert_int_equal(tuner("--budget 2 --again " QUICK), 2);
    tuner_says("clgaze-tuning 1");
    same_text(NULL, "clgaze-tuning 2\n");
}

static void needs_a_place_to_keep_records(void **state)
{
    (void)state;
    write_file(under("store"), "x", 1); /* a file where the folder should be */
    assert_int_equal(tuner("--budget 2 " QUICK), 2);
    tuner_says("cannot hold records: it is not a folder");
    assert_string_equal(tuner_out, "");
}

/* ---- a run ------------------------------------------------------------------------------ */

/* It is tuned once; what was found is what is used, and the record says how old it is. */
static void tunes_once(void **state)
{
    cJSON *root;
    const cJSON *device, *one;

    (void)state;
    assert_int_equal(tuner("--json --budget 3 " QUICK), 0);
    root = cJSON_Parse(tuner_out);
    device = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "devices"), 0);
    one = cJSON_GetArrayItem(cJSON_GetObjectItem(device, "results"), 0);
    assert_string_equal(cJSON_GetObjectItem(one, "problem")->valuestring, "pool f32 d64 b64x64 n2k");
    assert_true(cJSON_GetObjectItem(one, "tried")->valueint <= 2);
    assert_true(cJSON_GetObjectItem(one, "best_us")->valuedouble > 0);
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(device, "interrupted")));
    assert_int_equal(tuner("--show --problem 'pool f32 d64 n2k'"), 0);
    tuner_says(cJSON_GetObjectItem(one, "best")->valuestring);
    tuner_says(": tuned on this device\n");
    tuner_says(", line 3: 2");
    tuner_says("(0 days ago)");
    cJSON_Delete(root);
    assert_int_equal(tuner("--budget 3 " QUICK), 0);
    tuner_says("nothing was tuned");
    assert_int_equal(tuner("--budget 3 --out %s --again " QUICK, under("out")), 0);
    tuner_says("before us");
    assert_int_equal(tuner("--budget 3 --out %s " QUICK, under("out")), 0);
    tuner_says("nothing was tuned");
}

/* What another driver was tuned for, and only that, is tuned again. */
static void tunes_what_is_stale(void **state)
{
    char *text, *old;

    (void)state;
    assert_int_equal(tuner("--stale"), 0);
    tuner_says("nothing was tuned: no record of this device is of another driver");
    assert_int_equal(tuner("--out %s --budget 2 " QUICK, under("out")), 0);
    text = tuner_read("out");
    old = altered(text, "driver=", "driver=old-");
    tuner_file("old", "", old);
    assert_int_equal(tuner("--import %s", under("old")), 0);
    assert_int_equal(tuner("--stale --dry-run"), 0);
    assert_memory_equal(tuner_out, "pool f32 d64 b64x64 n2k, driver old-", 36);
    assert_ptr_equal(strchr(tuner_out, '\n'), tuner_out + strlen(tuner_out) - 1);
    assert_int_equal(tuner("--show --problem 'pool f32 d64 n2k'"), 0);
    tuner_says(": tuned on this device with another driver\n");
    assert_int_equal(tuner("--stale --cap 2 --budget 3 --json"), 0);
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
    assert_int_equal(tuner("--all-devices --json --budget 2 " QUICK), 0);
    root = cJSON_Parse(tuner_out);
    list = cJSON_GetObjectItem(root, "devices");
    assert_int_equal(cJSON_GetArraySize(list), n);
    for (size_t i = 0; i < n; i++) {
        const cJSON *device = cJSON_GetArrayItem(list, (int)i);

        assert_true(strlen(cJSON_GetObjectItem(device, "device")->valuestring) > 0);
        assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(device, "results")), 1);
    }
    cJSON_Delete(root);
    assert_int_equal(tuner("--all-devices --budget 2 " QUICK), 0);
    tuner_says("nothing was tuned");
    assert_int_equal(tuner("--all-devices --device 0"), 2);
    tuner_complains("--all-devices and --device exclude each other");
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
        "--budget 100 --cap 2 --problem 'pool f32 d64 n2k' --problem 'pool f32 d128 n2k' --problem attend", &from);
    FILE *f = fdopen(from, "r");
    char *store;

    (void)state;
    assert_non_null(f);
    alarm(60);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        CACHE_TEST(imports_its_own),
        CACHE_TEST(imports_all_or_nothing),
        CACHE_TEST(tells_cards_apart),
        CACHE_TEST(spares_files_that_are_not_its_own),
        CACHE_TEST(exports_what_it_has),
        CACHE_TEST(survives_a_broken_store),
        CACHE_TEST(needs_a_place_to_keep_records),
        CACHE_TEST(tunes_once),
        CACHE_TEST(tunes_what_is_stale),
        CACHE_TEST(tunes_every_device),
        CACHE_TEST(reads_out_first),
        CACHE_TEST(keeps_what_it_found_when_interrupted),
    };

    return TEST_MAIN(tests);
}
