/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_misses.c: any bytes as the list of problems to tune, and as the journal of a
 * tuning run.  A list that is printed and read again is the same.
 */
#include "fuzz_host.h"
#include "journal.h"
#include "misses.h"

static char *printed(const struct clg_miss_list *list)
{
    static char buffer[1 << 17];
    struct clg_text text = {buffer, sizeof buffer, 0};

    clg_misses_print(list, &text);
    if (text.used >= sizeof buffer)
        abort();
    return buffer;
}

static void misses(clgaze_context *ctx, char *text)
{
    static struct clg_miss_list first, second;
    char *copy;

    first.n = second.n = 0;
    clg_misses_parse(ctx, &first, text);
    copy = strdup(printed(&first));
    if (!copy)
        abort();
    clg_misses_parse(ctx, &second, printed(&first));
    if (second.n != first.n || strcmp(copy, printed(&second)) != 0)
        abort();
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct clg_journal journal;
    clgaze_context ctx = {FUZZ_HOST};
    const char *file = fuzz_file("journal", data, size);
    char *text = malloc(size + 1);

    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    misses(&ctx, text);
    free(text);
    clg_journal_open(&ctx, &journal, file);
    for (int i = 0; i < journal.n; i++)
        if (strlen(journal.bad[i]) >= CLG_JOURNAL_LINE || strchr(journal.bad[i], '\n'))
            abort();
    clg_journal_close(&journal);
    return 0;
}
