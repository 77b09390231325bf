/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_options.c: any command line, a word a line, given to each program; its text as a kernel's
 * tunables and as a problem to tune.  bench_sparse has fuzz_bench.c.
 */
#include "distill_command.h"
#include "fail.h"
#include "fuzz_host.h"
#include "llama/command.h"
#include "tune.h"

static void tunables(const char *text)
{
    const clgaze_context voice = {.log = NULL};
    const struct clg_kernel *kernel = clg_kernel_find(text);
    int values[CLG_MAX_PARAMS] = {0};

    if (!kernel)
        return;
    clg_space_default(kernel, values);
    if (clg_space_parse(&voice, kernel, text + strcspn(text, " "), values) == CLGAZE_OK &&
        clg_space_distance(kernel, values, values) != 0)
        abort(); /* accepted, but not values of the space */
}

/* Readers put the words in another order: each gets its own. */
static void programs(struct fuzz_words words)
{
    static struct tune_args tune;
    struct fuzz_words own = words;
    struct distill_command distill;
    struct command llama;
    struct args run;

    args_read(own.n, own.at, &run);
    own = words;
    distill_command_read(own.n, own.at, &distill);
    own = words;
    command_read(own.n, own.at, &llama);
    memset(&tune, 0, sizeof tune);
    tune_args_read(words.n, words.at, &tune);
}

static void problems(const char *text)
{
    static struct tune_problems all;
    char why[MAX_WHY] = "";

    all.n = 0;
    if (tune_problems_add(&all, text, 0, why) != (why[0] != '\0'))
        abort(); /* a refusal is a sentence */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_words words;
    char *text = malloc(size + 1);

    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    tunables(text);
    problems(text);
    free(text);
    fuzz_split(&words, data, size);
    programs(words);
    free(words.text);
    return 0;
}
