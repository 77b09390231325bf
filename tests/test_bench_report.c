/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_bench_report.c: what bench_sparse says of rows, on made-up results:
 * JSON, CSV, markdown, drawing, page and comparison.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "harness.h"

/* The parts under test, compiled in; their fail() is another than CMocka's. */
#undef fail
#include "../bench/axis.c"
#include "../bench/sparse_compare.c"
#include "../bench/sparse_devices.c"
#include "../bench/sparse_page.c"
#include "../bench/sparse_plot.c"
#include "../bench/sparse_report.c"
#include "../bench/stats.c"
#include "../bench/terminal.c"

const char *const stage_names[STAGES] = {"pool", "gate", "score", "select", "attend"};
const char *const pattern_names[PATTERNS] = {"random", "local", "strided", "real"};

enum { ROWS = 6 };

/* Rounded as the program rounds what it measured. */
static struct stats around(double median, double spread)
{
    return (struct stats){significant(median, 6), significant(median * (1 - 2 * spread), 6),
                          significant(median * (1 + 2 * spread), 6), significant(median * (1 - spread), 6),
                          significant(median * (1 + spread), 6)};
}

/* Three lengths at two densities; the last row was refused. */
static struct result made_up(struct row *rows)
{
    struct result r = {.rows = rows, .n = ROWS, .most = ROWS + 1, .peak = 230, .peak_least = 229, .copy = 50};

    snprintf(r.machine.name, sizeof r.machine.name, "Card <& \"co\" | x>");
    snprintf(r.machine.platform, sizeof r.machine.platform, "Made up");
    snprintf(r.machine.driver, sizeof r.machine.driver, "1.2");
    snprintf(r.machine.type, sizeof r.machine.type, "gpu");
    snprintf(r.version, sizeof r.version, "1.0.0");
    snprintf(r.command, sizeof r.command, "bench_sparse --op attend");
    snprintf(r.tune, sizeof r.tune, "clgaze-tune --problem \"attend f32 d64 b64 g4\"");
    for (int i = 0; i < ROWS; i++) {
        struct row *x = &rows[i];
        int half = i / 2;

        *x = (struct row){.seq = 512 << i / 2, .heads = 8, .kv_heads = 2, .head_dim = 64, .block = 64};
        x->value = x->density = i % 2 ? .25 : .0625;
        x->kept = significant(x->value + .001, 6);
        x->ms = around(.123457 * (i + 1), .01);
        x->dense = around(1.5 * (1 + half) + .1 * i, .01);
        x->speedup = significant(x->dense.median / x->ms.median, 6);
        x->ideal = significant(x->speedup * x->kept, 6);
        x->gflops = 10 + i;
        x->dense_gflops = 20;
        x->peak = 230;
        x->of_peak = .25;
        x->clock = .99;
        x->error = 1e-7;
        x->rounds = 9;
        x->stage[4] = x->ms.median;
        snprintf(x->op, sizeof x->op, "attend");
        snprintf(x->dtype, sizeof x->dtype, "f32");
        snprintf(x->pattern, sizeof x->pattern, "random");
        snprintf(x->kernel, sizeof x->kernel, "attend BM=32");
        snprintf(x->reason, sizeof x->reason, "the first that fits");
        snprintf(x->dense_kernel, sizeof x->dense_kernel, "attend BM=32");
    }
    rows[ROWS - 1].state = ROW_REFUSED;
    snprintf(rows[ROWS - 1].note, sizeof rows->note, "q needs \"9\" MB, | too many");
    return r;
}

/* What a writer writes. */
static char *written(FILE *f)
{
    static char text[1 << 16];

    rewind(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    return text;
}

static FILE *scratch(void)
{
    FILE *f = tmpfile();

    assert_non_null(f);
    return f;
}

/* ---- JSON ---- */

/* The schema of a row: b text, n number, N number or null, o object. */
static const struct {
    const char *name;
    char type;
} schema[] = {{"seq", 'n'},      {"heads", 'n'},        {"kv_heads", 'n'},    {"head_dim", 'n'},   {"block", 'n'},
              {"dtype", 'b'},    {"density", 'n'},      {"op", 'b'},          {"kernel", 'b'},     {"ms", 'N'},
              {"ms_min", 'N'},   {"ms_max", 'N'},       {"ms_q1", 'N'},       {"ms_q3", 'N'},      {"gflops", 'N'},
              {"dense_ms", 'N'}, {"dense_kernel", 'b'}, {"speedup", 'N'},     {"stages", 'o'},     {"status", 'b'},
              {"kept", 'N'},     {"ideal_share", 'N'},  {"peak_gflops", 'N'}, {"peak_share", 'N'}, {"value", 'n'},
              {"rule", 'b'},     {"pattern", 'b'},      {"note", 'b'},        {"error", 'N'},      {"rounds", 'N'},
              {"reason", 'b'},   {"clock_share", 'N'}};

static void json_follows_its_schema(void **state)
{
    struct row rows[ROWS];
    struct result r = made_up(rows), two[] = {r, r};
    FILE *f = scratch();

    (void)state;
    assert_int_equal(write_json(f, two, 2), 0);
    cJSON *json = cJSON_Parse(written(f));
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, "rows"), *row;
    const cJSON *device = cJSON_GetObjectItemCaseSensitive(json, "device");

    assert_string_equal(cJSON_GetObjectItemCaseSensitive(device, "name")->valuestring, r.machine.name);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(json, "others")), 1);
    assert_int_equal(cJSON_GetArraySize(list), ROWS);
    cJSON_ArrayForEach(row, list)
    {
        bool done = strcmp(cJSON_GetObjectItemCaseSensitive(row, "status")->valuestring, "ok") == 0;

        for (size_t i = 0; i < CLG_COUNT(schema); i++) {
            const cJSON *item = cJSON_GetObjectItemCaseSensitive(row, schema[i].name);
            char type = schema[i].type;

            if (!item)
                print_error("no %s\n", schema[i].name);
            assert_non_null(item);
            assert_true(type == 'b'   ? cJSON_IsString(item)
                        : type == 'o' ? cJSON_IsObject(item)
                        : type == 'n' ? cJSON_IsNumber(item)
                        : done        ? cJSON_IsNumber(item)
                                      : cJSON_IsNull(item));
        }
    }
    cJSON_Delete(json);
}

static void json_reads_back_as_it_was(void **state)
{
    struct row rows[ROWS];
    struct result r = made_up(rows), back;
    char path[] = "/tmp/clgaze-test-report-XXXXXX";
    int fd = mkstemp(path);
    FILE *f = fdopen(fd, "w");

    (void)state;
    assert_int_equal(write_json(f, &r, 1), 0);
    fclose(f);
    assert_int_equal(read_json(path, &back), 0);
    unlink(path);
    assert_int_equal(back.n, ROWS);
    assert_string_equal(back.machine.name, r.machine.name);
    for (int i = 0; i < ROWS - 1; i++)
        for (const struct field *at = fields; at < fields + FIELDS; at++) {
            if (at->kind == TEXT)
                assert_string_equal((char *)&back.rows[i] + at->offset, (char *)&rows[i] + at->offset);
            else
                assert_true(value_of(at, &back.rows[i]) == value_of(at, &rows[i]));
        }
    assert_true(back.rows[ROWS - 1].state == ROW_REFUSED);
    free(back.rows);
}

/* ---- the other formats ---- */

/* How often a text occurs. */
static int times(const char *in, const char *what)
{
    int n = 0;

    for (; (in = strstr(in, what)); in += strlen(what))
        n++;
    return n;
}

static void csv_quotes_what_it_must(void **state)
{
    struct row rows[ROWS];
    struct result r = made_up(rows);
    FILE *f = scratch();

    (void)state;
    assert_int_equal(write_csv(f, &r, 1), 0);
    const char *text = written(f);

    assert_int_equal(times(text, "\n"), ROWS + 1);
    assert_int_equal(times(text, "\"Card <& \"\"co\"\" | x>\""), ROWS);
    assert_int_equal(times(text, "\"q needs \"\"9\"\" MB, | too many\""), 1);
    for (int i = 0; i < ROWS - 1; i++) {
        char number[40];

        snprintf(number, sizeof number, ",%.15g,", rows[i].ms.median);
        assert_int_equal(times(text, number) >= 1, 1);
    }
}

/* Every line of a table has as many cells, and the numbers are those of JSON. */
static void markdown_is_a_table(void **state)
{
    struct row rows[ROWS];
    struct result r = made_up(rows);
    int cells = 0, lines = 0;
    FILE *f = scratch();

    (void)state;
    assert_int_equal(write_markdown(f, &r, 1), 0);
    char *text = written(f);

    for (int i = 0; i < ROWS - 1; i++) {
        char number[40];

        snprintf(number, sizeof number, "| %.15g |", rows[i].speedup);
        assert_int_equal(times(text, number), 1);
    }
    assert_non_null(strstr(text, "`bench_sparse --op attend`"));
    assert_non_null(strstr(text, "driver 1.2"));
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        if (*line != '|')
            continue;
        int n = times(line, "|") - times(line, "\\|");

        cells = cells ? cells : n;
        assert_int_equal(n, cells);
        lines++;
    }
    assert_int_equal(lines, ROWS + 2);
}

/* Elements nest and end, and no text holds a bare & or <. */
static void check_xml(const char *text)
{
    char open[32][16];
    int depth = 0;

    for (const char *c = text; *c; c++) {
        assert_true(*c != '&' || c[1] == '#');
        if (*c != '<')
            continue;
        const char *end = strchr(c, '>');

        assert_non_null(end);
        if (c[1] == '/') {
            assert_true(depth > 0);
            depth--;
            assert_true(strncmp(c + 2, open[depth], strlen(open[depth])) == 0 && c[2 + strlen(open[depth])] == '>');
        } else if (end[-1] != '/') {
            size_t n = strcspn(c + 1, " >\n");

            assert_true(depth < 32 && n < sizeof open[0]);
            memcpy(open[depth], c + 1, n);
            open[depth++][n] = '\0';
        }
        for (int quotes = 0; c < end; c++) {
            quotes ^= *c == '"';
            assert_true(c + 1 < end || !quotes);
        }
    }
    assert_int_equal(depth, 0);
}

static void plot_is_well_formed_and_equal(void **state)
{
    struct row rows[ROWS];
    struct result r = made_up(rows), two[] = {r, r};
    FILE *f = scratch();

    (void)state;
    two[0].prefill = rows[0];
    for (int i = 0; i < STAGES; i++)
        two[0].prefill.stage[i] = 1 + i;
    assert_int_equal(write_plot(f, two, 2), 0);
    const char *text = written(f);

    check_xml(text);
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "inf"));
    assert_non_null(strstr(text, "prefers-color-scheme:dark"));
    assert_int_equal(times(text, "ideal: 1/density"), 2);
    assert_int_equal(times(text, "<title>select 4 ms</title>"), 1);
    for (int i = 0; i < ROWS - 1; i++) {
        char title[160];

        snprintf(title, sizeof title, "<title>attend seq %d value %.15g kept %.15g ms %.15g speedup %.15g</title>",
                 rows[i].seq, rows[i].value, rows[i].kept, rows[i].ms.median, rows[i].speedup);
        assert_int_equal(times(text, title), 4); /* two panels of two devices */
    }
}

static void plot_of_nothing_is_well_formed(void **state)
{
    struct row rows[ROWS];
    struct result r = made_up(rows);
    FILE *f = scratch();

    (void)state;
    r.n = 0;
    assert_int_equal(write_plot(f, &r, 1), 0);
    check_xml(written(f));
    f = scratch();
    r.n = 1; /* one point has no extent */
    assert_int_equal(write_plot(f, &r, 1), 0);
    const char *text = written(f);

    check_xml(text);
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "inf"));
}

/* ---- comparison ---- */

static void verdicts_know_noise(void **state)
{
    struct stats a = around(10, .005), b;

    (void)state;
    assert_int_equal(compare_verdict(&a, &a), 0);
    b = around(10.15, .001); /* less than two runs of one program differ */
    assert_int_equal(compare_verdict(&a, &b), 0);
    b = around(11, .005);
    assert_int_equal(compare_verdict(&a, &b), 1);
    assert_int_equal(compare_verdict(&b, &a), -1);
    b = around(11, .1); /* the spread hides the difference */
    assert_int_equal(compare_verdict(&a, &b), 0);
    b = around(15, .1); /* but not this one */
    assert_int_equal(compare_verdict(&a, &b), 1);
    assert_true(compare_noise(&a, &a) >= .02);
}

static void comparison_counts_and_finds_partners(void **state)
{
    struct row before[ROWS], now[ROWS];
    struct result a = made_up(before), b = made_up(now);
    int slower;
    FILE *f = scratch();

    (void)state;
    assert_int_equal(compare(f, &a, &b, &slower), 0);
    assert_int_equal(slower, 0);
    char *text = written(f);
    assert_non_null(strstr(text, "No difference beyond noise in 5 rows."));
    assert_non_null(strstr(text, "1 row without a partner."));

    now[0].ms = around(before[0].ms.median * 1.5, .01);
    now[1].ms = around(before[1].ms.median / 1.5, .01);
    now[2].block = 32;
    snprintf(b.machine.driver, sizeof b.machine.driver, "9.9");
    f = scratch();
    assert_int_equal(compare(f, &a, &b, &slower), 0);
    text = written(f);
    assert_int_equal(slower, 1);
    assert_int_equal(times(text, "SLOWER"), 1);
    assert_int_equal(times(text, "  quicker"), 1);
    assert_non_null(strstr(text, "driver 9.9"));
    assert_non_null(strstr(text, "2 rows without a partner."));
}

/* ---- the page ---- */

static void sparse_pays_from_where_it_stays_quicker(void **state)
{
    struct row rows[ROWS];
    struct result r = made_up(rows);

    (void)state;
    assert_int_equal(page_pays_from(&r, &rows[0]), 512);
    rows[0].speedup = .9;
    assert_int_equal(page_pays_from(&r, &rows[0]), 1024);
    rows[0].speedup = 2;
    rows[2].speedup = 1; /* a loss in the midst */
    assert_int_equal(page_pays_from(&r, &rows[0]), 2048);
    rows[4].speedup = .5;
    assert_int_equal(page_pays_from(&r, &rows[0]), 0);
    assert_int_equal(page_pays_from(&r, &rows[1]), 512); /* the other density */
}

static const char *foot_of(const struct result *r)
{
    FILE *f = scratch();

    page_foot(f, r);
    return written(f);
}

/* One sentence where all pay from the shortest length on, else one a series. */
static void where_sparse_pays_is_said_once(void **state)
{
    struct row rows[ROWS];
    struct result r = made_up(rows);

    (void)state;
    assert_non_null(strstr(foot_of(&r), "Sparse pays in all rows, from 512 tokens on"));
    assert_null(strstr(foot_of(&r), "At density"));
    assert_null(strstr(foot_of(&r), "auto_density"));
    rows[0].speedup = .9;
    assert_non_null(strstr(foot_of(&r), "At density 0.0625 (blocks of 64) sparse pays from 1024 tokens; below"));
    assert_non_null(strstr(foot_of(&r), "At density 0.25 (blocks of 64) sparse pays from 512 tokens, the shortest"));
    assert_non_null(strstr(foot_of(&r), "problem.auto_density"));
    r.n = 1;
    assert_non_null(strstr(foot_of(&r), "At density 0.0625 (blocks of 64) sparse paid at no length"));
}

static void page_tells_its_doubts(void **state)
{
    struct row rows[ROWS];
    struct result r = made_up(rows);
    const char *text;

    (void)state;
    text = foot_of(&r);
    assert_null(strstr(text, "slowed down"));
    assert_null(strstr(text, "moved by"));
    assert_null(strstr(text, "disagree"));
    assert_non_null(strstr(text, "Not tuned for this device; to look for quicker settings: clgaze-tune --problem"));
    assert_non_null(strstr(text, "Time was up: 6 of 7 rows."));
    r.peak_least = 150;
    assert_non_null(strstr(foot_of(&r), "moved by 35%"));
    rows[4].peak = 115; /* of the last row that was measured */
    assert_non_null(strstr(foot_of(&r), "slowed down by 50%"));
    assert_null(strstr(foot_of(&r), "rough"));
    rows[2].dense = around(1, .2);
    rows[3].rounds = 1;
    assert_non_null(strstr(foot_of(&r), "2 of 5 rows are rough"));
    rows[1].clock = 1.5;
    assert_non_null(strstr(foot_of(&r), "disagree by 50%"));
    assert_non_null(strstr(foot_of(&r), "Time was up: 6 of 7 rows."));
    r.held = true;
    assert_non_null(strstr(foot_of(&r), "would freeze the screen: 6 of 7 rows."));
    r.tuned = true;
    r.stopped = true;
    text = foot_of(&r);
    assert_null(strstr(text, "Not tuned"));
    assert_non_null(strstr(text, "Interrupted: 6 of 7 rows."));
}

/* The row of a wrong result says so, and shows no time; nor does one without room. */
static void page_shows_no_time_of_a_failed_row(void **state)
{
    struct options o = {.n_block = 1};
    struct row rows[ROWS];
    struct result r = made_up(rows);
    FILE *f = scratch();

    (void)state;
    rows[0].state = ROW_FAILED;
    snprintf(rows[0].note, sizeof rows[0].note, "attend is off by 0.5, more than 1e-05");
    page_head(f, &o, &r);
    for (int i = 0; i < 2; i++)
        page_row(f, &o, &rows[i]);
    const char *text = written(f);

    assert_non_null(strstr(text, "FAILED: attend is off by 0.5"));
    assert_null(strstr(text, "0.123"));
    assert_non_null(strstr(text, "0.247 +- 1%"));
    assert_non_null(strstr(text, "6.48x"));
    assert_null(strchr(text, '\033'));
}

/* 120 columns, 80 and 60: no line of head and rows is longer, and 80 have room for all columns. */
static void page_is_as_wide_as_the_terminal(void **state)
{
    static const int widths[] = {120, 80, 60, 40};
    struct options o = {.n_block = 1};
    struct row rows[ROWS];
    struct result r = made_up(rows);

    (void)state;
    for (size_t w = 0; w < CLG_COUNT(widths); w++) {
        char number[8];
        FILE *f = scratch();

        snprintf(number, sizeof number, "%d", widths[w]);
        assert_int_equal(setenv("COLUMNS", number, 1), 0);
        page_head(f, &o, &r);
        for (int i = 0; i < ROWS; i++)
            page_row(f, &o, &rows[i]);
        page_foot(f, &r);
        unsetenv("COLUMNS");
        char *text = written(f);

        assert_int_equal(strstr(text, "dense ms") != NULL, widths[w] >= 80);
        for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
            if (strlen(line) > (size_t)widths[w])
                print_error("%d: %s\n", widths[w], line);
            assert_true(strlen(line) <= (size_t)widths[w]);
        }
    }
}

static void battery_is_said(void **state)
{
    struct options o = {.n_block = 1};
    struct row rows[ROWS];
    struct result r = made_up(rows);
    char path[] = "/tmp/clgaze-test-battery-XXXXXX";
    int fd = mkstemp(path);

    (void)state;
    assert_int_equal(write(fd, "Charging\n", 9), 9);
    assert_false(on_battery(path));
    assert_int_equal(pwrite(fd, "Discharging\n", 12, 0), 12);
    close(fd);
    assert_true(on_battery(path));
    unlink(path);
    assert_false(on_battery(path));
    r.battery = true;
    FILE *f = scratch();
    page_head(f, &o, &r);
    assert_non_null(strstr(written(f), "On battery"));
}

static void devices_stand_side_by_side(void **state)
{
    struct row rows[ROWS], others[ROWS];
    struct result two[] = {made_up(rows), made_up(others)};
    FILE *f = scratch();

    (void)state;
    two[1].n = 3;
    others[0].seq = 64; /* only the second device has this one */
    page_devices(f, two, 2);
    char *text = written(f);

    assert_non_null(strstr(text, "B: Card"));
    assert_int_equal(times(text, "\n      64 "), 1);
    assert_int_equal(times(text, "\n     512 "), 2);
    assert_int_equal(setenv("COLUMNS", "40", 1), 0);
    f = scratch();
    page_devices(f, two, 2);
    unsetenv("COLUMNS");
    for (char *line = strtok(written(f), "\n"); line; line = strtok(NULL, "\n"))
        assert_true(strlen(line) <= 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_follows_its_schema),
        cmocka_unit_test(json_reads_back_as_it_was),
        cmocka_unit_test(csv_quotes_what_it_must),
        cmocka_unit_test(markdown_is_a_table),
        cmocka_unit_test(plot_is_well_formed_and_equal),
        cmocka_unit_test(plot_of_nothing_is_well_formed),
        cmocka_unit_test(verdicts_know_noise),
        cmocka_unit_test(comparison_counts_and_finds_partners),
        cmocka_unit_test(sparse_pays_from_where_it_stays_quicker),
        cmocka_unit_test(where_sparse_pays_is_said_once),
        cmocka_unit_test(page_tells_its_doubts),
        cmocka_unit_test(page_shows_no_time_of_a_failed_row),
        cmocka_unit_test(page_is_as_wide_as_the_terminal),
        cmocka_unit_test(battery_is_said),
        cmocka_unit_test(devices_stand_side_by_side),
    };

    return TEST_MAIN(tests);
}
