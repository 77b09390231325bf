/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_bench_rows.c: bench_sparse's operations, inputs and outputs, small.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench_run.h"

#define SMALL "--seq 80 --heads 4 --kv-heads 2 --head-dim 16 --block 16 --min-time 0 --dtype f32 "

/* Run, and give the JSON; rows are all "ok". */
static cJSON *json_of(const char *arguments, int rows)
{
    static struct outcome r;
    char all[1024];

    snprintf(all, sizeof all, "--json - %s", arguments);
    run_bench(all, &r);
    if (r.code)
        print_error("%s: %s", arguments, r.err);
    assert_int_equal(r.code, 0);
    cJSON *json = parse(r.out);
    const cJSON *list = member(json, "rows"), *row;

    assert_int_equal(cJSON_GetArraySize(list), rows);
    cJSON_ArrayForEach(row, list) assert_string_equal(member(row, "status")->valuestring, "ok");
    return json;
}

static void every_operation_is_timed(void **state)
{
    static const struct {
        const char *op, *stage;
    } ops[] = {{"pool", "pool"},     {"gate", "gate"},       {"score", "score"}, {"select", "select"},
               {"attend", "attend"}, {"pipeline", "attend"}, {"prefill", NULL},  {"truth", NULL},
               {"distill", NULL},    {"attend_bwd", NULL}};

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(ops); i++) {
        char arguments[256];

        snprintf(arguments, sizeof arguments, SMALL "--density .5 --op %s", ops[i].op);
        cJSON *json = json_of(arguments, 1);
        const cJSON *row = cJSON_GetArrayItem(member(json, "rows"), 0);

        assert_string_equal(member(row, "op")->valuestring, ops[i].op);
        assert_true(number_of(row, "ms") > 0 && number_of(row, "dense_ms") > 0);
        assert_true(number_of(row, "error") >= 0 && number_of(row, "error") <= 1e-5);
        if (ops[i].stage)
            assert_true(number_of(member(row, "stages"), ops[i].stage) > 0);
        assert_true(number_of(row, "gbytes") > 0 && number_of(row, "copy_share") > 0);
        assert_int_equal(cJSON_IsNull(member(row, "gflops")), i == 0 || i == 3); /* nothing is multiplied */
        if (i < 4 || i > 6) /* the kernel is that of the operation */
            assert_non_null(strstr(member(row, "kernel")->valuestring, ops[i].op));
        cJSON_Delete(json);
    }
}

static void sweeps_go_through_their_values(void **state)
{
    cJSON *json = json_of(SMALL "--sweep density", 8);
    const cJSON *rows = member(json, "rows");

    (void)state;
    assert_true(number_of(cJSON_GetArrayItem(rows, 0), "density") == .02);
    assert_true(number_of(cJSON_GetArrayItem(rows, 7), "kept") == 1);
    cJSON_Delete(json);
    json = json_of("--heads 4,6 --head-dim 16 --seq 64 --block 16 --density .5 --min-time 0 --dtype f32", 2);
    rows = member(json, "rows");
    assert_true(number_of(cJSON_GetArrayItem(rows, 0), "kv_heads") == 1);
    assert_true(number_of(cJSON_GetArrayItem(rows, 1), "kv_heads") == 6);
    cJSON_Delete(json);
}

static void patterns_and_rules(void **state)
{
    cJSON *json = json_of(SMALL "--density .5 --pattern local", 1);
    double kept = number_of(cJSON_GetArrayItem(member(json, "rows"), 0), "kept");

    (void)state;
    cJSON_Delete(json);
    json = json_of(SMALL "--density .5 --pattern strided", 1);
    assert_true(number_of(cJSON_GetArrayItem(member(json, "rows"), 0), "kept") == kept);
    cJSON_Delete(json);
    json = json_of(SMALL "--op pipeline --rule topk --value 1,2", 2);
    const cJSON *one = cJSON_GetArrayItem(member(json, "rows"), 0);

    assert_string_equal(member(one, "rule")->valuestring, "topk");
    assert_true(number_of(one, "kept") == .333333); /* 5 rows of 1 block: 5 of 15 */
    assert_true(number_of(one, "density") == number_of(one, "kept"));
    assert_true(number_of(cJSON_GetArrayItem(member(json, "rows"), 1), "kept") == .6);
    cJSON_Delete(json);
}

/* The shipped layer keeps much less than all at its own rule; half of it is less work than all. */
static void layers_of_a_file_are_used(void **state)
{
    cJSON *json = json_of("--in " LAYER " --op attend --pattern real --min-time 0", 1);
    const cJSON *row = cJSON_GetArrayItem(member(json, "rows"), 0);

    (void)state;
    assert_true(number_of(row, "seq") == 2048 && number_of(row, "heads") == 4 && number_of(row, "kv_heads") == 1);
    assert_string_equal(member(row, "dtype")->valuestring, "f16");
    assert_string_equal(member(row, "rule")->valuestring, "topp");
    assert_true(number_of(row, "value") == .7);
    assert_true(number_of(row, "kept") > .05 && number_of(row, "kept") < .5);
    cJSON_Delete(json);
}

/* A device with little memory says so and goes on with what fits. */
static void little_memory_is_enough_for_a_sentence(void **state)
{
    static struct outcome r;

    (void)state;
    run_bench("--memory 64 --seq 64,65536 --heads 8 --head-dim 64 --block 64 --density .1 --min-time 0 --dtype f32 "
              "--json -",
              &r);
    assert_int_equal(r.code, 0);
    cJSON *json = parse(r.out);
    const cJSON *rows = member(json, "rows");

    assert_true(number_of(member(json, "device"), "memory_bytes") == 64 << 20);
    assert_string_equal(member(cJSON_GetArrayItem(rows, 0), "status")->valuestring, "ok");
    assert_string_equal(member(cJSON_GetArrayItem(rows, 1), "status")->valuestring, "refused");
    assert_non_null(strstr(member(cJSON_GetArrayItem(rows, 1), "note")->valuestring, "the device has 67 MB"));
    cJSON_Delete(json);
}

/* CLBlast's own attention passed the same check, or the page says why it is not there. */
static void unfused_attention_stands_beside(void **state)
{
    static struct outcome r;

    (void)state;
    run_bench(SMALL "--density .5 --beside clblast --json -", &r);
    assert_int_equal(r.code, 0);
    cJSON *json = parse(r.out);
    const cJSON *ms = member(cJSON_GetArrayItem(member(json, "rows"), 0), "unfused_ms");

    assert_non_null(strstr(r.err, "CLBlast's GEMM, softmax and GEMM at 80 tokens"));
#ifdef CLGAZE_HAVE_CLBLAST
    assert_true(cJSON_IsNumber(ms) && ms->valuedouble > 0);
#else
    assert_true(cJSON_IsNull(ms));
#endif
    cJSON_Delete(json);
}

static void read_file(const char *path, char *text, size_t capacity)
{
    FILE *f = fopen(path, "r");

    assert_non_null(f);
    read_whole(f, text, capacity);
    fclose(f);
    unlink(path);
}

/* One run, four formats, the same numbers. */
static void formats_agree(void **state)
{
    static char csv[1 << 14], markdown[1 << 14], svg[1 << 15];
    const char *paths[] = {bench_scratch("csv"), bench_scratch("md"), bench_scratch("svg")};
    char arguments[1024], number[64];

    (void)state;
    snprintf(arguments, sizeof arguments, SMALL "--density .4,1 --csv %s --markdown %s --plot %s", paths[0], paths[1],
             paths[2]);
    cJSON *json = json_of(arguments, 2);

    read_file(paths[0], csv, sizeof csv);
    read_file(paths[1], markdown, sizeof markdown);
    read_file(paths[2], svg, sizeof svg);
    for (int i = 0; i < 2; i++) {
        const cJSON *row = cJSON_GetArrayItem(member(json, "rows"), i);

        snprintf(number, sizeof number, ",%.15g,", number_of(row, "ms"));
        assert_non_null(strstr(csv, number));
        snprintf(number, sizeof number, "| %.15g |", number_of(row, "ms"));
        assert_non_null(strstr(markdown, number));
        snprintf(number, sizeof number, " ms %.15g speedup %.15g<", number_of(row, "ms"), number_of(row, "speedup"));
        assert_non_null(strstr(svg, number));
    }
    cJSON_Delete(json);
}

static void results_compare_with_themselves(void **state)
{
    static struct outcome r;
    const char *a = bench_scratch("a");
    char arguments[1024];
    FILE *f;

    (void)state;
    cJSON *json = json_of(SMALL "--density .4,1", 2);
    cJSON *row = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(json, "rows"), 0);
    char *text = cJSON_Print(json);

    f = fopen(a, "w");
    fputs(text, f);
    fclose(f);
    cJSON_free(text);
    snprintf(arguments, sizeof arguments, "--compare %s %s", a, a);
    run_bench(arguments, &r);
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "No difference beyond noise in 2 rows."));
    /* A baseline a thousand times as quick: this run is slower, whatever the noise. */
    cJSON_SetNumberValue(cJSON_GetObjectItemCaseSensitive(row, "ms"), number_of(row, "ms") / 1000);
    cJSON_SetNumberValue(cJSON_GetObjectItemCaseSensitive(row, "ms_q1"), number_of(row, "ms"));
    cJSON_SetNumberValue(cJSON_GetObjectItemCaseSensitive(row, "ms_q3"), number_of(row, "ms"));
    text = cJSON_Print(json);
    f = fopen(a, "w");
    fputs(text, f);
    fclose(f);
    cJSON_free(text);
    cJSON_Delete(json);
    snprintf(arguments, sizeof arguments, SMALL "--density .4,1 --min-time .05 --baseline %s", a);
    run_bench(arguments, &r);
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.out, "SLOWER"));
    unlink(a);
}

static void all_devices_have_a_page_and_a_table(void **state)
{
    static struct outcome r;

    (void)state;
    if (test_options().pick) /* the harness names a device already */
        skip();
    run_bench(SMALL "--density .4 --device all", &r);
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "bench_sparse "));
    assert_non_null(strstr(r.out, "\nA: "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_is_timed),
        cmocka_unit_test(sweeps_go_through_their_values),
        cmocka_unit_test(patterns_and_rules),
        cmocka_unit_test(layers_of_a_file_are_used),
        cmocka_unit_test(little_memory_is_enough_for_a_sentence),
        cmocka_unit_test(unfused_attention_stands_beside),
        cmocka_unit_test(formats_agree),
        cmocka_unit_test(results_compare_with_themselves),
        cmocka_unit_test(all_devices_have_a_page_and_a_table),
    };

    return TEST_MAIN(tests);
}
