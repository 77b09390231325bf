/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_tune_store.c: the records that clgaze-tune reads and keeps.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "tuner.h"

#define QUICK "--cap 2 --problem 'pool f32 d64 n2k'"

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
        char *bad = tuner_altered(text, cases[i][0], cases[i][1]);

        tuner_file("bad", "f32 d64 b64 g4 n8k", bad);
        assert_int_equal(tuner("--import %s", under("bad")), 2);
        tuner_complains(cases[i][2]);
        tuner_holds(NULL, store);
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
    tuner_holds(NULL, "");
    with = tuner_altered(text, " uuid=0123456789abcdef0123456789abcdef", "");
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
        tuner_holds("theirs", texts[i]);
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
    tuner_holds("none", "");
    tuner_file("mine", "f32 d64 b64 g4 n8k", NULL);
    assert_int_equal(tuner("--import %s --export %s", under("mine"), under("out")), 0);
    text = tuner_read("mine");
    tuner_holds("out", text);
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
    assert_int_equal(tuner("--budget 60 " QUICK), 0);
    tuner_says("is not read: it is not a tuning file");
    store = tuner_read(NULL);
    assert_memory_equal(store, "clgaze-tuning 1\n", 16);
    assert_non_null(strstr(store, "pool"));
    free(store);
    write_file(path, "clgaze-tuning 2\n", 16);
    assert_int_equal(tuner("--budget 60 --again " QUICK), 2);
    tuner_says("clgaze-tuning 1");
    tuner_holds(NULL, "clgaze-tuning 2\n");
}

static void needs_a_place_to_keep_records(void **state)
{
    (void)state;
    write_file(under("store"), "x", 1); /* a file where the folder should be */
    assert_int_equal(tuner("--budget 60 " QUICK), 2);
    tuner_says("cannot hold records: it is not a folder");
    assert_string_equal(tuner_out, "");
}

/* ---- misses ---------------------------------------------------------------------------- */

/* What plans had no record for comes first. */
static void begins_with_what_plans_missed(void **state)
{
    clgaze_context_options o = test_options();
    clgaze_problem p = problem(CLGAZE_F32, 2, 1, 24, 8, 8);
    clgaze_context *ctx = NULL;
    clgaze_plan *plan = NULL;
    char *usual;

    (void)state;
    assert_int_equal(tuner("--dry-run"), 0);
    usual = strdup(tuner_out);
    assert_non_null(usual);
    assert_null(strstr(usual, "pool f32 d24"));
    o.cache_dir = under("store");
    o.remember = 1;
    p.max_q = p.max_k = 256;
    assert_ok(clgaze_context_create(&o, &ctx));
    assert_ok(clgaze_plan_create(ctx, CLGAZE_POOL, &p, &plan));
    clgaze_plan_free(plan);
    clgaze_context_free(ctx);
    assert_int_equal(tuner("--dry-run"), 0);
    assert_memory_equal(tuner_out, "pool f32 d24 b8x8 n256\n", 23);
    assert_string_equal(tuner_out + 23, usual);
    free(usual);
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
        CACHE_TEST(begins_with_what_plans_missed),
    };

    return TEST_MAIN(tests);
}
