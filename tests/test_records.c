/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_records.c: the store of tuned records: text there and back, files that cannot
 * be believed, two writers, and which record a plan would take.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cache.h"
#include "harness.h"
#include "records.h"

/* ---- help ------------------------------------------------------------------ */

static struct clg_records *new_records(void)
{
    struct clg_records *records = clg_records_new(test_context());

    assert_non_null(records);
    return records;
}

static void free_records(struct clg_records *records)
{
    clg_records_free(test_context(), records);
}

/* The context with its messages taken as news: a wrong line is what is tested. */
static clgaze_context *quiet(void)
{
    static struct clg_ear ear;

    clg_ear_open(&ear, test_context());
    return &ear.ctx;
}

static clgaze_status parse(struct clg_records *records, const char *text, size_t size)
{
    return clg_records_parse(quiet(), records, text, size, CLG_FROM_FILE);
}

/* A record of the portable attend kernel. */
static struct clg_record record_of(const char *device, const char *problem, double us)
{
    struct clg_record r;

    memset(&r, 0, sizeof r);
    snprintf(r.device.name, sizeof r.device.name, "%s", device);
    snprintf(r.device.vendor, sizeof r.device.vendor, "amd");
    snprintf(r.device.driver, sizeof r.device.driver, "1.0");
    r.device.compute_units = 40;
    snprintf(r.problem, sizeof r.problem, "%s", problem);
    r.kernel = clg_kernel_find("attend");
    clg_space_default(r.kernel, r.values);
    r.us = us;
    r.default_us = 2 * us;
    r.finished = true;
    r.origin = CLG_FROM_TUNER;
    return r;
}

static void put(struct clg_records *records, struct clg_record r)
{
    assert_int_equal(clg_records_put(test_context(), records, &r), CLGAZE_OK);
}

static char *print(struct clg_records *records)
{
    struct clg_text text = {NULL, 0, 0};
    char *buffer;

    clg_records_print(records, CLG_FROM_LIBRARY, &text);
    buffer = malloc(text.used + 1);
    assert_non_null(buffer);
    text = (struct clg_text){buffer, text.used + 1, 0};
    clg_records_print(records, CLG_FROM_LIBRARY, &text);
    return buffer;
}

/* ---- text ------------------------------------------------------------------- */

static void there_and_back(void **state)
{
    struct clg_records *one = new_records(), *two = new_records();
    struct rng random = seeded(1);
    char *first, *second;

    (void)state;
    for (int i = 0; clg_kernels[i]; i++) { /* every kernel, some configuration of each */
        struct clg_record r = record_of(i % 2 ? "Card A (gfx, 2)" : "Card B", "f16 d128 b64 g4 n32k", 10.5 + i);

        r.kernel = clg_kernels[i];
        clg_space_get(r.kernel, (int)below(&random, (uint32_t)clg_space_size(r.kernel)), r.values);
        snprintf(r.problem, sizeof r.problem, "f16 d%d n32k", 8 * (i + 1));
        put(one, r);
    }
    first = print(one);
    assert_int_equal(parse(two, first, strlen(first)), CLGAZE_OK);
    second = print(two);
    assert_string_equal(first, second);
    assert_int_equal(one->n, two->n);
    free(first);
    free(second);
    free_records(one);
    free_records(two);
}

static void the_same_replaces(void **state)
{
    struct clg_records *records = new_records();
    struct clg_record old = record_of("Card", "f16 d64 n8k", 5);

    (void)state;
    put(records, old);
    put(records, record_of("Card", "f16 d64 n8k", 4));
    assert_int_equal(records->n, 1);
    assert_true(records->at[0].us == 4);
    old.origin = CLG_FROM_USER; /* what was tuned just now stays */
    put(records, old);
    assert_true(records->at[0].us == 4);
    put(records, record_of("Card", "f16 d64 n16k", 4));
    put(records, record_of("Other card", "f16 d64 n8k", 4));
    assert_int_equal(records->n, 3);
    free_records(records);
}

#define TITLE  "clgaze-tuning 1\n"
#define DEVICE "device \"Card\" vendor=amd driver=1 cu=4 type=gpu\n"

/* A line that is right, but for what a format string puts in each place. */
static char *line_of(const char *op, const char *kernel, const char *id, const char *times, const char *values)
{
    static char line[1024];
    char right[16];

    snprintf(right, sizeof right, "%08llx",
             (unsigned long long)(clg_space_id(clg_kernel_find("attend")) & 0xffffffffu));
    snprintf(line, sizeof line, TITLE DEVICE "%s %s \"f16 n8k\" %s %s %s\n", op, kernel, id ? id : right, times,
             values);
    return line;
}

static void wrong_lines_are_skipped(void **state)
{
    static const struct {
        const char *op, *kernel, *id, *times, *values;
        size_t kept;
    } rows[] = {
        {"attend", "attend", NULL, "3.0 4.0 done", "WG=64 BM=32 BN=16", 1},
        {"attend", "attend", NULL, "3.0 4.0 part", "BN=16 WG=64 BM=32", 1},
        {"pool", "attend", NULL, "3.0 4.0 done", "WG=64 BM=32 BN=16", 0},
        {"attend", "attend_new", NULL, "3.0 4.0 done", "WG=64 BM=32 BN=16", 0},
        {"attend", "attend", "00000000", "3.0 4.0 done", "WG=64 BM=32 BN=16", 0},
        {"attend", "attend", "1", "3.0 4.0 done", "WG=64 BM=32 BN=16", 0},
        {"attend", "attend", NULL, "nan 4.0 done", "WG=64 BM=32 BN=16", 0},
        {"attend", "attend", NULL, "-3 4.0 done", "WG=64 BM=32 BN=16", 0},
        {"attend", "attend", NULL, "inf 4.0 done", "WG=64 BM=32 BN=16", 0},
        {"attend", "attend", NULL, "3.0x 4.0 done", "WG=64 BM=32 BN=16", 0},
        {"attend", "attend", NULL, "3.0 4.0 ended", "WG=64 BM=32 BN=16", 0},
        {"attend", "attend", NULL, "3.0 4.0", "WG=64 BM=32 BN=16", 0},
        {"attend", "attend", NULL, "3.0 4.0 done", "WG=65 BM=32 BN=16", 0},
        {"attend", "attend", NULL, "3.0 4.0 done", "WG=64 BM=32", 0},
        {"attend", "attend", NULL, "3.0 4.0 done", "WG=64 BM=32 BM=32", 0},
        {"attend", "attend", NULL, "3.0 4.0 done", "WG=64 BM=32 BN=16 BN=16", 0},
        {"attend", "attend", NULL, "3.0 4.0 done", "WG=64 BM=32 XX=16", 0},
        {"attend", "attend", NULL, "3.0 4.0 done", "WG=64 BM=32 BN=99999999999999999999", 0},
    };

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(rows); i++) {
        struct clg_records *records = new_records();
        const char *line = line_of(rows[i].op, rows[i].kernel, rows[i].id, rows[i].times, rows[i].values);

        assert_int_equal(parse(records, line, strlen(line)), CLGAZE_OK);
        if (records->n != rows[i].kept)
            fail_msg("row %zu: %zu records of \"%s\"", i, records->n, line);
        free_records(records);
    }
}

static void other_files_are_refused(void **state)
{
    static const char *const texts[] = {
        "", "\n", "clgaze-tuning 2\nattend\n", "clgaze-tuning 10\n", "\177ELF\n", "clgaze-tuning\n"};
    struct clg_records *records = new_records();

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(texts); i++)
        assert_int_equal(parse(records, texts[i], strlen(texts[i])), CLGAZE_ERR_CACHE);
    assert_int_equal(records->n, 0);
    free_records(records);
}

/* Cut anywhere, flipped anywhere, or made of noise: no record that was not there. */
static void damaged_text(void **state)
{
    const char *good = line_of("attend", "attend", NULL, "3.0 4.0 done", "WG=64 BM=32 BN=16");
    const size_t n = strlen(good);
    struct rng random = seeded(2);
    char copy[1024];

    (void)state;
    for (size_t cut = 0; cut < n; cut++) {
        struct clg_records *records = new_records();
        char *exact = malloc(cut + 1);

        assert_non_null(exact);
        for (size_t i = 0; i < cut; i++)
            exact[i] = good[i];
        parse(records, exact, cut);
        assert_int_equal(records->n, 0);
        free(exact);
        free_records(records);
    }
    for (int i = 0; i < 20000; i++) {
        struct clg_records *records = new_records();

        for (size_t k = 0; k < n; k++)
            copy[k] = good[k];
        for (uint32_t flips = 1 + below(&random, 4); flips; flips--)
            copy[below(&random, (uint32_t)n)] = (char)below(&random, 256);
        parse(records, copy, n);
        assert_true(records->n <= 1);
        for (size_t k = 0; k < records->n; k++)
            for (int v = 0; v < 3; v++)
                assert_true(records->at[k].values[v] > 0);
        free_records(records);
    }
}

static void long_lines(void **state)
{
    struct clg_records *records = new_records();
    char *text = malloc(1 << 16);
    size_t n;

    (void)state;
    assert_non_null(text);
    n = (size_t)snprintf(text, 1 << 16, "%s", TITLE DEVICE);
    memset(text + n, 'x', 60000);
    text[n + 60000] = '\n';
    assert_int_equal(parse(records, text, n + 60001), CLGAZE_OK);
    assert_int_equal(records->n, 0);
    free(text);
    free_records(records);
}

/* ---- which record ---------------------------------------------------------------- */

static double found(struct clg_records *records, const struct clg_device *device, const char *problem, int nearness)
{
    struct clg_record r;

    return clg_records_find(records, device, "attend", problem, nearness, &r) ? r.us : 0;
}

static void the_nearest_is_found(void **state)
{
    struct clg_device here = test_context()->device;
    struct clg_records *records = new_records();
    struct clg_record r = record_of("x", "f16 d128 b64 g4 n32k", 1);

    (void)state;
    r.device = clg_signature_of(&here);
    put(records, r); /* 1: here */
    snprintf(r.problem, sizeof r.problem, "f16 d128 b64 g4 n2k");
    r.us = 2;
    put(records, r); /* 2: here, another length */
    snprintf(r.problem, sizeof r.problem, "f16 d64 b64 g4 n2k");
    snprintf(r.device.driver, sizeof r.device.driver, "old");
    r.us = 3;
    put(records, r); /* 3: here, another driver */
    r = record_of("Another", "f16 d96 b64 g4 n1k", 4);
    r.device.cpu = here.cpu;
    memcpy(r.device.vendor, clg_signature_of(&here).vendor, sizeof r.device.vendor);
    put(records, r); /* 4: the same vendor */
    snprintf(r.device.vendor, sizeof r.device.vendor, "generic");
    snprintf(r.problem, sizeof r.problem, "f16 d32 b64 g4 n1k");
    r.us = 5;
    put(records, r); /* 5: the same kind */
    r.device.cpu = !here.cpu;
    snprintf(r.problem, sizeof r.problem, "f16 d16 b64 g4 n1k");
    put(records, r); /* the other kind */

    assert_true(found(records, &here, "f16 d128 b64 g4 n32k", 0) == 1);
    assert_true(found(records, &here, "f16 d128 b64 g4 n16k", 0) == 0);
    assert_true(found(records, &here, "f16 d128 b64 g4 n16k", 2) == 1);
    assert_true(found(records, &here, "f16 d128 b64 g4 n4k", 2) == 2);
    assert_true(found(records, &here, "f16 d128 b64 g8 n4k", 2) == 0);
    assert_true(found(records, &here, "f16 d64 b64 g4 n2k", 0) == 0);
    assert_true(found(records, &here, "f16 d64 b64 g4 n2k", 1) == 3);
    assert_true(found(records, &here, "f16 d96 b64 g4 n8k", 3) == 4);
    assert_true(found(records, &here, "f16 d32 b64 g4 n8k", 4) == 5);
    for (int nearness = 0; nearness < 5; nearness++)
        assert_true(found(records, &here, "f16 d16 b64 g4 n1k", nearness) == 0);
    free_records(records);
}

/* ---- the library's own -------------------------------------------------------------- */

/* Each line of tuning/db is understood whole. */
static void bundled_records_are_right(void **state)
{
    (void)state;
    for (int i = 0; clg_sources[i].name; i++) {
        const char *text = (const char *)clg_sources[i].text;
        struct clg_records *records;
        size_t lines = 0;

        if (!strstr(clg_sources[i].name, ".conf"))
            continue;
        records = new_records();
        assert_int_equal(parse(records, text, clg_sources[i].size), CLGAZE_OK);
        for (const char *at = strchr(text, '\n'); at && at[1]; at = strchr(at + 1, '\n'))
            lines += at[1] != '#' && strncmp(at + 1, "device ", 7) != 0;
        assert_int_equal(records->n, lines);
        free_records(records);
    }
}

/* ---- files ------------------------------------------------------------------------------ */

static size_t records_in(const char *file)
{
    struct clg_records *records = new_records();
    bool missing;
    const clgaze_status st = clg_records_load(quiet(), records, file, CLG_FROM_FILE, &missing);
    const size_t n = records->n;

    free_records(records);
    return st == CLGAZE_OK && !missing ? n : 999;
}

static void write_text(const char *file, const char *text)
{
    FILE *f = fopen(file, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(file, 0600), 0);
}

static void two_writers(void **state)
{
    enum { WRITERS = 4, EACH = 12 };
    const char *file = under("two.tuning");
    int status;

    (void)state;
    for (int w = 0; w < WRITERS; w++)
        if (fork() == 0) {
            struct clg_records *records = new_records();
            int wrong = 0;

            for (int i = 0; i < EACH; i++) {
                char problem[32];

                snprintf(problem, sizeof problem, "f16 d%d n%dk", 8 + w, 1 << i);
                put(records, record_of("Card", problem, 1 + i));
                wrong += clg_records_save(quiet(), records, CLG_FROM_TUNER, file) != CLGAZE_OK;
            }
            free_records(records);
            _exit(wrong);
        }
    for (int w = 0; w < WRITERS; w++) {
        assert_true(wait(&status) > 0);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    assert_int_equal(records_in(file), WRITERS * EACH);
}

static void files_not_believed(void **state)
{
    const char *good = line_of("attend", "attend", NULL, "3.0 4.0 done", "WG=64 BM=32 BN=16");
    const char *file = under("one.tuning"), *link = under("link.tuning");

    (void)state;
    write_text(file, good);
    assert_int_equal(records_in(file), 1);
    assert_int_equal(chmod(file, 0622), 0);
    assert_int_equal(records_in(file), 999); /* others may write to it */
    assert_int_equal(chmod(file, 0600), 0);
    assert_int_equal(symlink(file, link), 0);
    assert_int_equal(records_in(link), 999);
    assert_int_equal(records_in(under("none.tuning")), 999);
    assert_int_equal(records_in(base), 999);
    write_text(file, "clgaze-tuning 7\nof the future\n");
    assert_int_equal(records_in(file), 999);
}

static void a_save_that_fails_loses_nothing(void **state)
{
    struct clg_records *records = new_records();
    const char *file = under("kept.tuning");
    char folder[512], inside[600];

    (void)state;
    put(records, record_of("Card", "f16 d64 n8k", 5));
    assert_int_equal(clg_records_save(quiet(), records, CLG_FROM_TUNER, file), CLGAZE_OK);
    assert_int_equal(records_in(file), 1);
    snprintf(folder, sizeof folder, "%s", under("no-such-folder"));
    snprintf(inside, sizeof inside, "%s/x.tuning", folder);
    assert_int_equal(clg_records_save(quiet(), records, CLG_FROM_TUNER, inside), CLGAZE_ERR_CACHE);
    assert_int_equal(access(folder, F_OK), -1);
    assert_int_equal(clg_records_save(quiet(), records, CLG_FROM_TUNER, "/dev/full/x"), CLGAZE_ERR_CACHE);
    assert_int_equal(records_in(file), 1);
    write_text(file, "garbage\n"); /* cannot be merged with: written anew */
    assert_int_equal(clg_records_save(quiet(), records, CLG_FROM_TUNER, file), CLGAZE_OK);
    assert_int_equal(records_in(file), 1);
    free_records(records);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(the_same_replaces),
        cmocka_unit_test(wrong_lines_are_skipped),
        cmocka_unit_test(other_files_are_refused),
        cmocka_unit_test(damaged_text),
        cmocka_unit_test(long_lines),
        cmocka_unit_test(the_nearest_is_found),
        cmocka_unit_test(bundled_records_are_right),
        CACHE_TEST(two_writers),
        CACHE_TEST(files_not_believed),
        CACHE_TEST(a_save_that_fails_loses_nothing),
    };

    return TEST_MAIN(tests);
}
