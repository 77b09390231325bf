/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_host.h: what fuzzers share: a context that can log and allocate, but has no device; files. */
#ifndef CLG_TESTS_FUZZ_HOST_H
#define CLG_TESTS_FUZZ_HOST_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

static inline void *fuzz_take(void *user, size_t size)
{
    (void)user;
    return malloc(size);
}

static inline void fuzz_give(void *user, void *p)
{
    (void)user;
    free(p);
}

#define FUZZ_HOST .alloc = fuzz_take, .release = fuzz_give, .kernels = clg_kernels

/* A folder of this process, and the names in it; removed at the end. */
static char fuzz_folder[] = "/tmp/clgaze-fuzz-XXXXXX", fuzz_paths[2][96];

static inline void fuzz_tidy(void)
{
    unlink(fuzz_paths[0]);
    unlink(fuzz_paths[1]);
    rmdir(fuzz_folder);
}

/* Make a file of these bytes in the folder; its path. */
static inline const char *fuzz_file(const char *name, const void *bytes, size_t size)
{
    char path[sizeof fuzz_paths[0]];
    int fd, i;

    if (!fuzz_paths[0][0] && (!mkdtemp(fuzz_folder) || atexit(fuzz_tidy) != 0))
        abort();
    snprintf(path, sizeof path, "%s/%s", fuzz_folder, name);
    i = fuzz_paths[0][0] && strcmp(fuzz_paths[0], path) != 0;
    memcpy(fuzz_paths[i], path, sizeof path);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size || close(fd) != 0)
        abort();
    return fuzz_paths[i];
}

/* Bytes as a command line, a word a line; `text` is the caller's to free. */
struct fuzz_words {
    char *text, *at[26];
    int n;
};

static inline void fuzz_split(struct fuzz_words *words, const uint8_t *data, size_t size)
{
    memset(words, 0, sizeof *words);
    words->text = malloc(size + 1);
    if (!words->text)
        abort();
    memcpy(words->text, data, size);
    words->text[size] = '\0';
    words->at[words->n++] = "clgaze";
    for (char *word = strtok(words->text, "\n"); word && words->n < 25; word = strtok(NULL, "\n"))
        words->at[words->n++] = word;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
