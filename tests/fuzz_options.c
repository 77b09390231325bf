/* fuzz_options.c: any command line, a word a line; and any text as a kernel's tunables. */
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "internal.h"
#include "options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { WORDS = 24 };
    char *text = malloc(size + 1), *argv[WORDS + 2] = {"clgaze-run"};
    struct args args;
    int argc = 1;

    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    tunables(text);
    for (char *word = strtok(text, "\n"); word && argc <= WORDS; word = strtok(NULL, "\n"))
        argv[argc++] = word;
    args_read(argc, argv, &args);
    free(text);
    return 0;
}
