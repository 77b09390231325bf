/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_run.h: bench_sparse run as a user runs it.
 */
#ifndef CLGAZE_TESTS_BENCH_RUN_H
#define CLGAZE_TESTS_BENCH_RUN_H

#include <stdio.h>

#include <cjson/cJSON.h>

#include "harness.h"

#define TINY  "--seq 64,100 --heads 4 --kv-heads 2 --head-dim 16 --block 16 --density .3,1 --min-time 0 --dtype f32 "

#define LAYER CLGAZE_TEST_DIR "/../examples/data/layer.safetensors"

/* What a run left behind. */
struct outcome {
    int code;
    char out[1 << 16], err[1 << 12];
};

/* The program: $CLGAZE_BENCH_SPARSE, which the build sets; without it the test is skipped. */
const char *bench_path(void);
/* Run a program with these arguments, on the device under test; or bench_sparse. */
void run_program(const char *path, const char *arguments, struct outcome *r);
void run_bench(const char *arguments, struct outcome *r);
void read_whole(FILE *f, char *text, size_t capacity);
/* A file name of this process; four of them at a time. */
const char *bench_scratch(const char *name);
/* One JSON value and nothing else; members that must be there. */
cJSON *parse(const char *text);
const cJSON *member(const cJSON *json, const char *name);
double number_of(const cJSON *json, const char *name);

#endif
