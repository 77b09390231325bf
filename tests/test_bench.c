/*
 * test_bench.c: bench_sparse and what it is made of.
 *
 * The program is $CLGAZE_BENCH_SPARSE, else CLGAZE_BENCH_SPARSE_PATH, else
 * bench_sparse in the build folder; where there is none its tests are skipped.
 * A build system should therefore build bench_sparse before this test runs.
 */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "harness.h"

/* The parts under test, compiled in, so that the test needs no bench library. */
#include "../bench/bench.h"
#include "../bench/data.c"
#include "../bench/stats.c"

#ifndef CLGAZE_BENCH_SPARSE_PATH
#define CLGAZE_BENCH_SPARSE_PATH CLGAZE_TEST_BUILD_DIR "/bench_sparse"
#endif

/* ---- statistics ---- */

static void median_of_odd_and_even(void **state)
{
    double one[] = {3}, odd[] = {9, 1, 5}, even[] = {8, 2, 4, 6};
    struct stats s = stats_of(one, 1);

    (void)state;
    assert_true(s.median == 3 && s.min == 3 && s.max == 3);
    s = stats_of(odd, 3);
    assert_true(s.median == 5 && s.min == 1 && s.max == 9);
    s = stats_of(even, 4);
    assert_true(s.median == 5 && s.min == 2 && s.max == 8);
}

static void digits_are_significant(void **state)
{
    (void)state;
    assert_true(significant(0, 6) == 0);
    assert_true(significant(1234567.4, 6) == 1234570);
    assert_true(significant(0.00012345678, 3) == 0.000123);
    assert_true(significant(-2.5, 6) == -2.5);
}

/* ---- random data ---- */

static void numbers_look_normal(void **state)
{
    enum { N = 1 << 16 };
    double sum = 0, square = 0, same = 0;

    (void)state;
    for (uint64_t i = 0; i < N; i++) {
        double x = (double)random_number(1, i), y = (double)random_number(2, i);

        assert_true(fabs(x) <= 3.5);
        sum += x;
        square += x * x;
        same += x * y;
    }
    assert_true(fabs(sum / N) < .02);
    assert_true(fabs(square / N - 1) < .03);
    assert_true(fabs(same / N) < .02); /* streams are independent */
    assert_true(random_number(7, 123456789) == random_number(7, 123456789));
}

static void numbers_round_as_formats_say(void **state)
{
    static const float some[] = {0, 1, -1, .1f, 65504, 65519, 65520, 1e9f, 6e-8f, 2.9e-8f, 3e-8f, 6.1e-5f, -6.09e-5f};
    const clgaze_dtype types[] = {CLGAZE_F32, CLGAZE_F16, CLGAZE_BF16};

    (void)state;
    for (size_t t = 0; t < CLG_COUNT(types); t++)
        for (uint64_t i = 0; i < 20000; i++) {
            float x = i < CLG_COUNT(some) ? some[i] : ldexpf(random_number(3, i), (int)(i % 40) - 28), stored;
            unsigned char at[4];
            uint32_t place[1];

            put_number(place, 0, types[t], x);
            stored = get_number(place, 0, types[t]);
            put_float(at, x, types[t]); /* the tests' own rounding */
            assert_true(stored == get_float(at, types[t]));
            assert_true(stored == round_number(x, types[t]));
        }
}

/* ---- lists ---- */

static void check_row(const struct lists *l, int h, int i, double density)
{
    const int32_t *blocks = l->blocks + ((size_t)h * (size_t)l->rows + (size_t)i) * (size_t)l->width;
    int n = l->counts[h * l->rows + i], want = (int)floor(density * (i + 1));

    assert_int_equal(n, want < 1 ? 1 : want);
    for (int k = 0; k < n; k++)
        assert_true(blocks[k] > (k ? blocks[k - 1] : -1));
    assert_int_equal(blocks[n - 1], i); /* the diagonal is the last that a row sees */
    for (int k = n; k < l->width; k++)
        assert_int_equal(blocks[k], -1);
}

static void lists_are_as_promised(void **state)
{
    static const double densities[] = {1e-6, .1, .25, .5, .999, 1};

    (void)state;
    for (size_t d = 0; d < CLG_COUNT(densities); d++)
        for (int rows = 1; rows <= 65; rows += 8) {
            struct lists l;

            assert_int_equal(lists_make(&l, 3, rows, densities[d], 5), 0);
            assert_int_equal(l.heads, 3);
            assert_int_equal(l.rows, rows);
            for (int at = 0; at < 3 * rows; at++)
                check_row(&l, at / rows, at % rows, densities[d]);
            assert_true(lists_visible(&l) == 3.0 * rows * (rows + 1) / 2);
            assert_true(lists_kept(&l) <= lists_visible(&l) && lists_kept(&l) >= 3.0 * rows);
            lists_free(&l);
            assert_null(l.blocks);
        }
}

static void lists_are_random_and_even(void **state)
{
    enum { ROWS = 128, HEADS = 64 };
    double near_half = 0, far_half = 0;
    struct lists l, again;

    (void)state;
    assert_int_equal(lists_make(&l, HEADS, ROWS, .25, 5), 0);
    assert_int_equal(lists_make(&again, HEADS, ROWS, .25, 5), 0);
    size_t bytes = sizeof(int32_t) * HEADS * ROWS * (size_t)l.width, head = bytes / HEADS;
    assert_memory_equal(l.blocks, again.blocks, bytes);
    assert_memory_not_equal(l.blocks, l.blocks + head / sizeof(int32_t), head);
    for (int h = 0; h < HEADS; h++) {
        const int32_t *last = l.blocks + ((size_t)h * ROWS + ROWS - 1) * (size_t)l.width;

        for (int k = 0; k < l.counts[h * ROWS + ROWS - 1] - 1; k++)
            *(last[k] < (ROWS - 1) / 2 ? &far_half : &near_half) += 1;
    }
    assert_true(fabs(far_half / (far_half + near_half) - .5) < .05);
    assert_true(fabs(lists_kept(&l) / lists_visible(&l) - .25) < .02);
    lists_free(&l);
    lists_free(&again);
}

/* ---- the program ---- */

/* What a run left behind. */
struct outcome {
    int code;
    char out[1 << 16], err[1 << 12];
};

static void read_whole(FILE *f, char *text, size_t capacity)
{
    size_t n = f ? fread(text, 1, capacity - 1, f) : 0;

    text[n] = '\0';
}

/* A file of this process, removed when the tests end. */
static const char *scratch(const char *name)
{
    static char path[4][128];
    static int at;
    char *p = path[at++ % 4];

    snprintf(p, sizeof path[0], "/tmp/clgaze-test-bench-%ld-%s", (long)getpid(), name);
    return p;
}

/* The shell is needed to tell standard output from standard error. */
static void run_bench(const char *arguments, struct outcome *r)
{
    const char *path = getenv("CLGAZE_BENCH_SPARSE"), *err = scratch("err");
    const char *device = test_options().pick;
    char command[2048];
    FILE *f;
    int status;

    path = path ? path : CLGAZE_BENCH_SPARSE_PATH;
    if (access(path, X_OK) != 0) {
        print_message("bench_sparse is not built\n");
        skip();
    }
    snprintf(command, sizeof command, "'%s' %s%s%s %s 2>%s", path, device ? "--device '" : "", device ? device : "",
             device ? "'" : "", arguments, err);
    f = popen(command, "r"); /* NOLINT: the command is ours */
    assert_non_null(f);
    read_whole(f, r->out, sizeof r->out);
    status = pclose(f);
    r->code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    f = fopen(err, "r");
    read_whole(f, r->err, sizeof r->err);
    if (f)
        fclose(f);
    unlink(err);
}

#define TINY "--seq 64,100 --heads 4 --kv-heads 2 --head-dim 16 --block 16 --density .3,1 --min-time 0 --dtype f32 "

static cJSON *parse(const char *text)
{
    const char *end = NULL;
    cJSON *json = cJSON_ParseWithOpts(text, &end, 0);

    assert_non_null(json);
    while (isspace((unsigned char)*end))
        end++;
    assert_true(*end == '\0'); /* one value and nothing else */
    return json;
}

static const cJSON *member(const cJSON *json, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);

    if (!item)
        print_error("no \"%s\"\n", name);
    assert_non_null(item);
    return item;
}

static double number_of(const cJSON *json, const char *name)
{
    const cJSON *item = member(json, name);

    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}

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
    const char *path = scratch("csv");
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

static void bad_options_exit_2(void **state)
{
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
        "--op truth",
        "--op attend_bwd",
        "--op x",
        "--plot x.svg",
        "--min-time -1",
        "--min-time x",
        "--json - --csv -",
        "--json /nonexistent/x",
        "--csv /nonexistent/x",
        "stray",
        "--kv-heads 1 --heads x",
    };

    (void)state;
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

/* What was measured before Ctrl-C is shown; without it this run would take 20 minutes. */
static void interrupted_run_shows_its_rows(void **state)
{
    static struct outcome r;
    const char *path = getenv("CLGAZE_BENCH_SPARSE");
    char command[1024];
    FILE *f;
    int status;

    (void)state;
    path = path ? path : CLGAZE_BENCH_SPARSE_PATH;
    if (access(path, X_OK) != 0)
        skip();
    snprintf(command, sizeof command,
             "timeout --preserve-status -s INT 8 '%s' --seq 64,100 --heads 4 --kv-heads 2 --head-dim 16 --block 16 "
             "--density 1 --min-time 600 --dtype f32",
             path);
    f = popen(command, "r"); /* NOLINT: the command is ours */
    assert_non_null(f);
    read_whole(f, r.out, sizeof r.out);
    status = pclose(f);
    assert_int_equal(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 130);
    assert_non_null(strstr(r.out, "Interrupted: 1 of 2 rows."));
    assert_non_null(strstr(r.out, "speed-up"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(median_of_odd_and_even), cmocka_unit_test(digits_are_significant),
        cmocka_unit_test(numbers_look_normal),    cmocka_unit_test(numbers_round_as_formats_say),
        cmocka_unit_test(lists_are_as_promised),  cmocka_unit_test(lists_are_random_and_even),
        cmocka_unit_test(json_is_one_value),      cmocka_unit_test(csv_has_the_same_numbers),
        cmocka_unit_test(table_shows_every_row),  cmocka_unit_test(too_large_rows_are_left_out),
        cmocka_unit_test(bad_options_exit_2),     cmocka_unit_test(bad_kernels_and_devices),
        cmocka_unit_test(page_fits_40_columns),   cmocka_unit_test(interrupted_run_shows_its_rows),
    };

    return TEST_MAIN(tests);
}
