/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_records_text.c: tuned records whose text is odd: lengths of no class, devices of
 * one name, a decimal comma, and words in any order.
 */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tuned.h"

#define TITLE "clgaze-tuning 1\n"

/* Lengths that are no power of two, or beyond any number, are near to nothing. */
static void lengths_out_of_class(void **state)
{
    static const char *const ends[] = {" n3k",
                                       " n7",
                                       " n0",
                                       " n0k",
                                       " n-8k",
                                       " n8kk",
                                       " n8 k",
                                       " n9223372036854775807k",
                                       " n9223372036854775807",
                                       " n4611686018427387904k",
                                       " n99999999999999999999999999",
                                       ""};
    clgaze_context *ctx = tuned_in("");
    struct clg_record r;

    (void)state;
    alarm(20); /* a search for the nearest that never ends */
    for (size_t i = 0; i < CLG_COUNT(ends); i++) {
        char problem[80];

        snprintf(problem, sizeof problem, "f16 d64%s", ends[i]);
        tuned_put(ctx, tuned_record(ctx, problem, 5));
        assert_true(tuned_time(ctx, problem) == 5);
    }
    assert_false(clg_records_find(ctx->records, &ctx->device, "attend", "f16 d64 n8k", 2, &r));
    tuned_put(ctx, tuned_record(ctx, "f16 d64 n512", 6));
    assert_true(clg_records_find(ctx->records, &ctx->device, "attend", "f16 d64 n8k", 2, &r));
    assert_true(r.us == 6);
    tuned_put(ctx, tuned_record(ctx, "f16 d64 n64k", 7)); /* 3 doublings, not 4 */
    assert_true(clg_records_find(ctx->records, &ctx->device, "attend", "f16 d64 n8k", 2, &r));
    assert_true(r.us == 7);
    alarm(0);
    clgaze_context_free(ctx);
}

/* Written and read, each record is of the device that it was of. */
static void devices_of_one_name(void **state)
{
    clgaze_context *ctx = tuned_in("");
    struct clg_records *again = clg_records_new(ctx);
    struct clg_record r = tuned_record(ctx, "f16 d64 n8k", 5);
    char *text;

    (void)state;
    assert_non_null(again);
    r.device.uuid[0] = '\0';
    for (unsigned i = 0; i < 12; i++) { /* equal in all but one thing, or in none */
        r.device.compute_units = 16 + 8 * (i % 3);
        r.device.cpu = i / 3 % 2;
        snprintf(r.device.vendor, sizeof r.device.vendor, i / 6 ? "intel" : "amd");
        r.us = 1 + i;
        tuned_put(ctx, r);
    }
    text = tuned_text(ctx->records);
    assert_ok(clg_records_parse(ctx, again, text, strlen(text), CLG_FROM_FILE));
    assert_int_equal(again->n, 12);
    for (size_t k = 0; k < 12; k++) {
        const unsigned i = (unsigned)again->at[k].us - 1;

        assert_int_equal(again->at[k].device.compute_units, 16 + 8 * (i % 3));
        assert_int_equal(again->at[k].device.cpu, i / 3 % 2);
        assert_string_equal(again->at[k].device.vendor, i / 6 ? "intel" : "amd");
    }
    free(text);
    clg_records_free(ctx, again);
    clgaze_context_free(ctx);
}

/* An app may have set a locale that writes 3,5. */
static void decimal_comma(void **state)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "fr_FR.utf8", "de_DE", "fr_FR"};
    clgaze_context *ctx = tuned_in("");
    const char *set = NULL;
    char *text;

    (void)state;
    tuned_put(ctx, tuned_record(ctx, "f16 d64 n8k", 3.5));
    tuned_put(ctx, tuned_record(ctx, "f16 d64 n16k", 0.001)); /* not 0: that would be refused */
    for (size_t i = 0; i < CLG_COUNT(names) && !set; i++)
        set = setlocale(LC_NUMERIC, names[i]);
    text = tuned_text(ctx->records);
    assert_non_null(strstr(text, " 3.5 7.0 "));
    assert_ok(clgaze_tuning_clear(ctx));
    assert_ok(clg_records_parse(ctx, ctx->records, text, strlen(text), CLG_FROM_FILE));
    setlocale(LC_NUMERIC, "C");
    assert_true(tuned_time(ctx, "f16 d64 n8k") == 3.5);
    assert_true(tuned_time(ctx, "f16 d64 n16k") == (double)0.1);
    free(text);
    clgaze_context_free(ctx);
    if (!set) {
        printf("SKIPPED: no locale with a decimal comma is installed\n");
        skip();
    }
}

/* Bytes of any kind, and words of the right kind in any order. */
static void random_text(void **state)
{
    static const char *const words[] = {
        "device ", "\"Card\" ",    "vendor=amd ", "cu=4 ", "type=cpu ", "uuid=",
        "attend ", "\"f16 n3k\" ", "1e999 ",      "3.5 ",  "done ",     "WG=64 ",
        "\n",      "\"",           "=",           " ",     "n8k",       "99999999999999999999 "};
    clgaze_context *ctx = tuned_in("");
    struct rng random = seeded(3);
    struct clg_record found;
    char text[600];

    (void)state;
    for (int i = 0; i < 8000; i++) {
        const size_t size = sizeof TITLE - 1 + below(&random, 500);
        size_t n = sizeof TITLE - 1;

        memcpy(text, TITLE, n);
        while (n < size) {
            const char *word = words[below(&random, CLG_COUNT(words))];

            if (i % 2) {
                text[n++] = (char)below(&random, 256);
            } else {
                while (*word)
                    text[n++] = *word++;
            }
        }
        assert_ok(clg_records_parse(ctx, ctx->records, text, n, CLG_FROM_FILE));
        clg_records_find(ctx->records, &ctx->device, "attend", "f16 n8k", 2, &found);
    }
    clgaze_context_free(ctx);
}

/* A note is kept as it was, and a line that ends in the middle of one is no record. */
static void notes(void **state)
{
    static const char *const bad[] = {"\"2026", "2026-11-25", "\"1234567890123456789012345678901234567890123456789\"",
                                      "\"2026\" \"twice\""};
    clgaze_context *ctx = tuned_in("");
    struct clg_record r = tuned_record(ctx, "f16 d64 n8k", 3);
    char *text, *broken, *at;

    (void)state;
    memcpy(r.note, "2026-11-25 \"\n", 14);
    tuned_put(ctx, r);
    text = tuned_text(ctx->records);
    at = strstr(text, " \"2026-11-25 __\" ");
    assert_non_null(at);
    assert_ok(clgaze_tuning_clear(ctx));
    ctx->records->source = "here";
    assert_ok(clg_records_parse(ctx, ctx->records, text, strlen(text), CLG_FROM_FILE));
    assert_true(clg_records_find(ctx->records, &ctx->device, "attend", "f16 d64 n8k", 0, &r));
    assert_string_equal(r.note, "2026-11-25 __");
    assert_int_equal(r.line, 3);
    assert_string_equal(r.source, "here");
    broken = malloc(strlen(text) + 80);
    assert_non_null(broken);
    for (size_t i = 0; i < CLG_COUNT(bad); i++) {
        snprintf(broken, strlen(text) + 80, "%.*s %s%s", (int)(at - text), text, bad[i], at + 16);
        assert_ok(clgaze_tuning_clear(ctx));
        assert_ok(clg_records_parse(ctx, ctx->records, broken, strlen(broken), CLG_FROM_FILE));
        assert_true(tuned_time(ctx, "f16 d64 n8k") == 0);
    }
    free(broken);
    free(text);
    clgaze_context_free(ctx);
}

/* Of two cards of the vendor the one of this name, though its length is further and it came earlier. */
static void the_same_name_first(void **state)
{
    clgaze_context *ctx = tuned_in("");
    struct clg_record same = tuned_record(ctx, "f16 d64 n64k", 5), other = tuned_record(ctx, "f16 d64 n8k", 6), r;

    (void)state;
    memset(same.device.uuid, 'a', sizeof same.device.uuid - 1);
    memset(other.device.uuid, 'b', sizeof other.device.uuid - 1);
    snprintf(other.device.name, sizeof other.device.name, "Another card");
    same.origin = CLG_FROM_LIBRARY;
    tuned_put(ctx, other);
    tuned_put(ctx, same);
    assert_true(clg_records_find(ctx->records, &ctx->device, "attend", "f16 d64 n8k", 3, &r));
    assert_true(r.us == 5);
    same.origin = CLG_FROM_TUNER; /* of one name the nearer length */
    same.us = 7;
    snprintf(same.problem, sizeof same.problem, "f16 d64 n16k");
    tuned_put(ctx, same);
    assert_true(clg_records_find(ctx->records, &ctx->device, "attend", "f16 d64 n8k", 3, &r));
    assert_true(r.us == 7);
    clgaze_context_free(ctx);
}

/* Without a UUID of the driver's: one card in two places is two, two names in one place, too. */
static void uuids_of_ours(void **state)
{
    struct clg_device device = test_context()->device;
    cl_uint place[5] = {1, 0, 65, 0, 0};
    unsigned char first[16], second[16];

    (void)state;
    clg_make_uuid(&device, place, first);
    clg_make_uuid(&device, place, second);
    assert_memory_equal(first, second, 16);
    for (int i = 0; i < 5; i++) {
        place[i]++;
        clg_make_uuid(&device, place, second);
        assert_memory_not_equal(first, second, 16);
        place[i]--;
    }
    device.name[0]++;
    clg_make_uuid(&device, place, second);
    assert_memory_not_equal(first, second, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_out_of_class),
        cmocka_unit_test(devices_of_one_name),
        cmocka_unit_test(decimal_comma),
        cmocka_unit_test(random_text),
        cmocka_unit_test(notes),
        cmocka_unit_test(the_same_name_first),
        cmocka_unit_test(uuids_of_ours),
    };

    return TEST_MAIN(tests);
}
