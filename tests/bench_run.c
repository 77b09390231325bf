/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_run.c: bench_sparse run as a user runs it.
 */
#include "bench_run.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

const char *bench_path(void)
{
    const char *path = getenv("CLGAZE_BENCH_SPARSE");

    if (!path || access(path, X_OK) != 0) {
        print_message("bench_sparse is not built\n");
        skip();
    }
    return path;
}

void read_whole(FILE *f, char *text, size_t capacity)
{
    size_t n = f ? fread(text, 1, capacity - 1, f) : 0;

    text[n] = '\0';
}

const char *bench_scratch(const char *name)
{
    static char path[4][128];
    static int at;
    char *p = path[at++ % 4];

    snprintf(p, sizeof path[0], "/tmp/clgaze-test-bench-%ld-%s", (long)getpid(), name);
    return p;
}

/* The shell is needed to tell standard output from standard error. */
void run_program(const char *path, const char *arguments, struct outcome *r)
{
    const char *err = bench_scratch("err");
    const char *device = test_options().pick;
    char command[2048];
    FILE *f;
    int status;

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

void run_bench(const char *arguments, struct outcome *r)
{
    run_program(bench_path(), arguments, r);
}

cJSON *parse(const char *text)
{
    const char *end = NULL;
    cJSON *json = cJSON_ParseWithOpts(text, &end, 0);

    assert_non_null(json);
    while (isspace((unsigned char)*end))
        end++;
    assert_true(*end == '\0'); /* one value and nothing else */
    return json;
}

const cJSON *member(const cJSON *json, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);

    if (!item)
        print_error("no \"%s\"\n", name);
    assert_non_null(item);
    return item;
}

double number_of(const cJSON *json, const char *name)
{
    const cJSON *item = member(json, name);

    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}
