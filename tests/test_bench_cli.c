/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_bench_cli.c: bench_sparse as a user runs it.
 */
#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench_run.h"

static void check_json_row(const cJSON *row, int seq, double density, int stages)
{
    static const char *const positive[] = {"ms", "ms_min", "ms_max", "gflops", "dense_ms", "speedup"};
    static const char *const names[] = {"attend", "select", "score", "gate", "pool"};

    assert_true(number_of(row, "seq") == seq && number_of(row, "heads") == 4 && number_of(row, "kv_heads") == 2);
    assert_true(number_of(row, "head_dim") == 16 && number_of(row, "block") == 16);
    assert_true(number_of(row, "density") == density);
    assert_string_equal(member(row, "dtype")->valuestring, "f32");
    assert_string_equal(member(row, "op")->valuestring, stages == 1 ? "attend" : "pipeline");
    assert_string_equal(member(row, "status")->valuestring, "ok");
    assert_true(strlen(member(row, "kernel")->valuestring) > 0);
    assert_true(strlen(member(row, "dense_kernel")->valuestring) > 0);
    for (size_t i = 0; i < CLG_COUNT(positive); i++)
        assert_true(number_of(row, positive[i]) > 0);
    assert_true(number_of(row, "ms_min") <= number_of(row, "ms"));
    assert_true(number_of(row, "ms_max") >= number_of(row, "ms"));
    for (int i = 0; i < stages; i++)
        assert_true(number_of(member(row, "stages"), names[i]) > 0);
    assert_int_equal(cJSON_GetArraySize(member(row, "stages")), stages);
}

static void json_is_one_value(void **state)
{
    static struct outcome r;

    (void)state;
    for (int pipeline = 0; pipeline < 2; pipeline++) {
        run_bench(pipeline ? TINY "--json - --op pipeline" : TINY "--json -", &r);
        if (r.code)
            print_error("%s", r.err);
        assert_int_equal(r.code, 0);
        cJSON *json = parse(r.out);
        const cJSON *rows = member(json, "rows");

        assert_true(strlen(member(member(json, "device"), "name")->valuestring) > 0);
        assert_int_equal(cJSON_GetArraySize(rows), 4);
        for (int i = 0; i < 4; i++)
            check_json_row(cJSON_GetArrayItem(rows, i), i < 2 ? 64 : 100, i % 2 ? 1 : .3, pipeline ? 5 : 1);
        /* flops count kept blocks whole: with all of them those of dense */
        assert_true(number_of(cJSON_GetArrayItem(rows, 1), "kept") == 1);
        cJSON_Delete(json);
    }
}

/* Cut a line of CSV into its fields, in place. */
static int cut(char *line, char **fields, int most)
{
    int n = 0, quoted = 0;

    fields[n++] = line;
    for (char *c = line; *c && *c != '\n' && n < most; c++) {
        quoted ^= *c == '"';
        if (*c == ',' && !quoted) {
            *c = '\0';
            fields[n++] = c + 1;
        }
    }
    fields[n - 1][strcspn(fields[n - 1], "\n")] = '\0';
    return n;
}

static void csv_has_the_same_numbers(void **state)
{
    static struct outcome r;
    const char *path = bench_scratch("csv");
    char arguments[512], head[1024], line[4096], *names[64], *values[64];

    (void)state;
    snprintf(arguments, sizeof arguments, TINY "--json - --csv %s", path);
    run_bench(arguments, &r);
    assert_int_equal(r.code, 0);
    cJSON *json = parse(r.out);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(fgets(head, sizeof head, f));
    int n = cut(head, names, 64), rows = 0;
    for (; fgets(line, sizeof line, f); rows++) {
        const cJSON *row = cJSON_GetArrayItem(member(json, "rows"), rows);

        assert_int_equal(cut(line, values, 64), n);
        for (int i = 0; i < n; i++) {
            const cJSON *item = cJSON_GetObjectItemCaseSensitive(row, names[i]);

            if (cJSON_IsNumber(item))
                assert_true(item->valuedouble == strtod(values[i], NULL));
            else if (strcmp(names[i], "attend_ms") == 0)
                assert_true(number_of(member(row, "stages"), "attend") == strtod(values[i], NULL));
        }
    }
    assert_int_equal(rows, 4);
    fclose(f);
    unlink(path);
    cJSON_Delete(json);
}

static void table_shows_every_row(void **state)
{
    static struct outcome r;
    int times = 0;

    (void)state;
    run_bench(TINY "--op pipeline", &r);
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "speed-up"));
    assert_non_null(strstr(r.out, "rule ratio")); /* says what its lists are */
    for (const char *c = r.out; (c = strstr(c, "x ")); c++)
        times++;
    assert_true(times >= 4);
    assert_string_equal(r.err, "");
}

/* More memory than any device has: the row says so, and the others follow. */
static void too_large_rows_are_left_out(void **state)
{
    static struct outcome r;

    (void)state;
    run_bench("--json - --seq 16777216,64 --heads 1024 --head-dim 256 --density 1 --min-time 0 --block 64", &r);
    assert_int_equal(r.code, 0);
    cJSON *json = parse(r.out);
    const cJSON *rows = member(json, "rows"), *large = cJSON_GetArrayItem(rows, 0);

    assert_int_equal(cJSON_GetArraySize(rows), 2);
    assert_string_equal(member(large, "status")->valuestring, "refused");
    assert_non_null(strstr(member(large, "note")->valuestring, "MB"));
    assert_true(cJSON_IsNull(member(large, "ms")) && cJSON_IsNull(member(large, "speedup")));
    assert_string_equal(member(cJSON_GetArrayItem(rows, 1), "status")->valuestring, "ok");
    cJSON_Delete(json);
}

static void one_sentence(const char *arguments, int code)
{
    static struct outcome r;

    run_bench(arguments, &r);
    if (r.code != code || strncmp(r.err, "bench_sparse: ", 14) != 0)
        print_error("%s: exit %d, \"%s\"\n", arguments, r.code, r.err);
    assert_int_equal(r.code, code);
    assert_string_equal(r.out, "");
    assert_int_equal(strncmp(r.err, "bench_sparse: ", 14), 0);
    assert_ptr_equal(strchr(r.err, '\n'), r.err + strlen(r.err) - 1);
}

#define README CLGAZE_TEST_DIR "/../README.md"

static const char *const bad[] = {
    "--bogus",
    "--seq",
    "--seq 0",
    "--seq 64,",
    "--seq x",
    "--seq 64,,64",
    "--seq 20000000",
    "--seq 1.5",
    "--heads 0",
    "--heads 3 --kv-heads 2",
    "--head-dim 12",
    "--head-dim 264",
    "--block 3",
    "--block 64:64",
    "--block 300",
    "--dtype f64",
    "--density 0",
    "--density 1.1",
    "--density nan",
    "--density -.1",
    "--op x",
    "--op",
    "--op attend_bwd --rule topp --value .5",
    "--op distill --pattern local",
    "--op attend_bwd --pattern real",
    "--device",
    "--kernel",
    "--in",
    "--plot",
    "--markdown",
    "--baseline",
    "--heads 1025",
    "--heads 4,x",
    "--kv-heads 0",
    "--head-dim 0",
    "--min-time 601",
    "--min-time nan",
    "--memory x",
    "--plot /nonexistent/x",
    "--markdown /nonexistent/x",
    "--json - --plot -",
    "--sweep",
    "--sweep rows",
    "--pattern diagonal",
    "--pattern local --op pipeline",
    "--pattern real",
    "--rule best",
    "--rule topp",
    "--rule topp --value x",
    "--rule topp --value .5",
    "--rule topp --value .5 --op truth",
    "--rule topp --value .5 --density .5 --op pipeline",
    "--value .5",
    "--in /nonexistent/x",
    "--beside cublas",
    "--memory 0",
    "--memory 1.5",
    "--compare",
    "--compare a.json",
    "--compare /nonexistent/a /nonexistent/b",
    "--baseline /nonexistent/x",
    "--min-time -1",
    "--min-time x",
    "--json - --csv -",
    "--json /nonexistent/x",
    "--csv /nonexistent/x",
    "stray",
    "--kv-heads 1 --heads x",
};

static const char *const bad_files[] = {
    "--in " README,
    "--in " LAYER " --seq 64",
    "--in " LAYER " --sweep heads",
    "--compare " README " " README,
};

static void bad_options_exit_2(void **state)
{
    (void)state;
    for (size_t i = 0; i < CLG_COUNT(bad_files); i++)
        one_sentence(bad_files[i], 2);
    for (size_t i = 0; i < CLG_COUNT(bad); i++)
        one_sentence(bad[i], 2);
}

static void bad_kernels_and_devices(void **state)
{
    static struct outcome r;

    (void)state;
    one_sentence("--json - " TINY "--device no-such-device-at-all", 3);
    one_sentence("--json - " TINY "--kernel no_such_kernel", 2);
    one_sentence("--json - " TINY "--kernel pool", 2); /* known, but no strategy of attend */
    one_sentence("--json - " TINY "--kernel 'attend NO=1'", 2);
    run_bench("--json - " TINY "--kernel attend", &r);
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "\"attend "));
}

/* Which package to install, in one sentence. */
static void no_device_is_one_sentence(void **state)
{
    const char *before = getenv("OCL_ICD_VENDORS");
    static struct outcome r;
    char kept[1024];

    (void)state;
    if (getenv("OCL_ICD_FILENAMES") || test_options().pick) /* which name a device */
        skip();
    snprintf(kept, sizeof kept, "%s", before ? before : "");
    assert_int_equal(setenv("OCL_ICD_VENDORS", CLGAZE_TEST_DIR "/consumer/", 1), 0); /* holds no .icd */
    one_sentence("--json -", 3);
    run_bench("--device all", &r);
    assert_int_equal(before ? setenv("OCL_ICD_VENDORS", kept, 1) : unsetenv("OCL_ICD_VENDORS"), 0);
    assert_int_equal(r.code, 3);
    assert_non_null(strstr(r.err, "pocl-opencl-icd"));
}

/* Every line of the page fits a terminal of 40 columns, and no colour goes to a file. */
static void page_fits_40_columns(void **state)
{
    static struct outcome r;

    (void)state;
    assert_int_equal(setenv("COLUMNS", "40", 1), 0);
    run_bench("--seq 64 --heads 4 --head-dim 16 --block 16 --density .3 --min-time 0 --dtype f32 --op pipeline", &r);
    unsetenv("COLUMNS");
    assert_int_equal(r.code, 0);
    assert_null(strchr(r.out, '\033'));
    assert_non_null(strstr(r.out, "At density 0.3"));
    assert_non_null(strstr(r.out, "]\n  P pool")); /* the bar of stages */
    for (char *line = strtok(r.out, "\n"); line; line = strtok(NULL, "\n")) {
        if (strlen(line) > 40)
            print_error("%s\n", line);
        assert_true(strlen(line) <= 40);
    }
}

/* Start bench_sparse on 20 lengths; its output can be read from the answer. */
static FILE *start_long(const char *path, pid_t *child)
{
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    *child = fork();
    assert_true(*child >= 0);
    if (*child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        execl(path, path, "--seq", "64,65,66,67,68,69,70,71,72,73,74,75,76,77,78,79,80,81,82,83", "--heads", "4",
              "--head-dim", "16", "--block", "16", "--density", "1", "--min-time", ".5", "--dtype", "f32",
              (char *)NULL);
        _exit(9);
    }
    close(ends[1]);
    return fdopen(ends[0], "r");
}

/* What was measured before Ctrl-C is shown. */
static void interrupted_run_shows_its_rows(void **state)
{
    static char rest[1 << 14];
    const char *path = bench_path();
    char line[512];
    int status, rows, of;
    bool seen = false;
    pid_t child;

    (void)state;
    FILE *f = start_long(path, &child);
    while (!seen && fgets(line, sizeof line, f))
        seen = strtol(line, NULL, 10) == 64;
    assert_true(seen);
    assert_int_equal(kill(child, SIGINT), 0);
    read_whole(f, rest, sizeof rest);
    fclose(f);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 130);
    const char *said = strstr(rest, "Interrupted: ");
    assert_non_null(said);
    assert_int_equal(sscanf(said, "Interrupted: %d of %d rows.", &rows, &of), 2);
    assert_true(rows >= 1 && rows < 20 && of == 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_device_is_one_sentence),      cmocka_unit_test(json_is_one_value),
        cmocka_unit_test(csv_has_the_same_numbers),       cmocka_unit_test(table_shows_every_row),
        cmocka_unit_test(too_large_rows_are_left_out),    cmocka_unit_test(bad_options_exit_2),
        cmocka_unit_test(bad_kernels_and_devices),        cmocka_unit_test(page_fits_40_columns),
        cmocka_unit_test(interrupted_run_shows_its_rows),
    };

    return TEST_MAIN(tests);
}
