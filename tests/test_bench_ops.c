/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_bench_ops.c: the program bench_ops, small.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench_run.h"

static void run_ops(const char *arguments, struct outcome *r)
{
    const char *path = getenv("CLGAZE_BENCH_OPS");

    if (!path || access(path, X_OK) != 0) {
        print_message("bench_ops is not built\n");
        skip();
    }
    run_program(path, arguments, r);
}

static void every_strategy_has_a_line(void **state)
{
    static struct outcome r;
    const char *names[64], *ops[64];
    const char *path = bench_scratch("ops");
    char arguments[512];
    int done = 0;
    FILE *f;

    (void)state;
    run_ops("--json - --seq 128 --head-dim 16 --min-time 0 --dtype f32", &r);
    assert_int_equal(r.code, 0);
    cJSON *json = parse(r.out);
    const cJSON *rows = member(json, "rows");
    int n = (int)clgaze_kernel_list(names, ops, 64);

    assert_int_equal(cJSON_GetArraySize(rows), n);
    for (int i = 0; i < n; i++) {
        const cJSON *row = cJSON_GetArrayItem(rows, i);

        assert_string_equal(member(row, "forced")->valuestring, names[i]);
        assert_string_equal(member(row, "op")->valuestring, ops[i]);
        assert_non_null(strstr(r.err, names[i]));
        if (strcmp(member(row, "status")->valuestring, "ok") == 0) {
            assert_int_equal(strncmp(member(row, "kernel")->valuestring, names[i], strlen(names[i])), 0);
            done++;
        } else {
            assert_true(strlen(member(row, "note")->valuestring) > 0);
        }
    }
    assert_true(done >= 8); /* every operation has a strategy for any device */
    cJSON_Delete(json);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(r.out, f);
    fclose(f);
    snprintf(arguments, sizeof arguments, "--op score --seq 128 --head-dim 16 --min-time 0 --dtype f32 --compare %s",
             path);
    run_ops(arguments, &r);
    assert_true(r.code == 0 || r.code == 1); /* times may differ; that they were compared may not */
    assert_non_null(strstr(r.out, "before ms"));
    assert_non_null(strstr(r.out, "score_cpu "));
    assert_null(strstr(r.out, "select_cpu "));
    unlink(path);
}

static void bad_options_are_one_sentence(void **state)
{
    static const char *const bad[] = {"--seq 0",
                                      "--seq 64,128",
                                      "--op prefill",
                                      "--op x",
                                      "--head-dim 16,32",
                                      "--json",
                                      "--dtype double",
                                      "stray",
                                      "--compare /nonexistent/x"};
    static struct outcome r;

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(bad); i++) {
        run_ops(bad[i], &r);
        if (r.code != 2)
            print_error("%s: exit %d, %s\n", bad[i], r.code, r.err);
        assert_int_equal(r.code, 2);
        assert_int_equal(strncmp(r.err, "bench_ops: ", 11), 0);
        assert_ptr_equal(strchr(r.err, '\n'), r.err + strlen(r.err) - 1);
        assert_string_equal(r.out, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_strategy_has_a_line),
        cmocka_unit_test(bad_options_are_one_sentence),
    };

    return TEST_MAIN(tests);
}
