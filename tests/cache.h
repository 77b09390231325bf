/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache.h: what tests of the binary cache share: a folder of the test's own,
 * contexts that keep programs there, and what their log says.
 *
 * PoCL has no binary cache; contexts here say that their device is another, as
 * PoCL can give and take binaries, though slowly.
 */
#ifndef CLG_TESTS_CACHE_H
#define CLG_TESTS_CACHE_H

#include "harness.h"

enum { CACHE_PATH = 512, CACHE_HEADER = 32, CACHE_KEY = 8 /* bytes of a file before it */ };

/* Messages since forget_heard(): the first warning, the first two errors. */
extern struct heard {
    int compiled, warned, errors;
    char warning[4608], error[2][4608];
} heard;
void hear(void *user, clgaze_log_level level, clgaze_status status, const char *message);
void forget_heard(void);

/* All that a test writes lies in `base`, a setup makes it and a teardown removes it. */
extern char base[CACHE_PATH / 4];
int make_base(void **state);
int remove_base(void **state);
#define CACHE_TEST(name) cmocka_unit_test_setup_teardown(name, make_base, remove_base)
const char *under(const char *name); /* a name in `base`; good for the next seven calls */

void remove_tree(const char *path);
/* Entries of a folder; `path`: that of the last. */
int entries(const char *folder, char path[CACHE_PATH]);
struct bytes {
    unsigned char *at; /* to free; one byte more is there */
    size_t n;
};
struct bytes read_file(const char *path);
void write_file(const char *path, const void *at, size_t n);

clgaze_context *cache_none(void); /* a context without a folder yet */
clgaze_context *cache_in(const char *folder);
clgaze_problem small(void);
clgaze_plan *cache_plan(clgaze_context *ctx, int dim); /* of pool */
/* Plan in a context of its own; what came is right, whatever lay on disk. */
void cache_plan_once(const char *folder, const struct clg_kernel *const *kernels, int dim);
/* A folder with the file of one program, made anew, and that file's path. */
const char *cache_filled(char path[CACHE_PATH]);

#endif
