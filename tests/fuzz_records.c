/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_records.c: any bytes as a file of tuned records.  A record that is printed
 * and read again is the same.  Of several some may go: devices that share a uuid
 * are one, whatever their names.
 */
#include "fuzz_host.h"
#include "records.h"

static char *printed(struct clg_records *records, size_t *size)
{
    struct clg_text text = {NULL, 0, 0};
    char *buffer;

    clg_records_print(records, CLG_FROM_LIBRARY, &text);
    *size = text.used;
    buffer = malloc(text.used + 1);
    if (!buffer)
        abort();
    text = (struct clg_text){buffer, *size + 1, 0};
    clg_records_print(records, CLG_FROM_LIBRARY, &text);
    return buffer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    clgaze_context ctx = {FUZZ_HOST};
    struct clg_records *first = clg_records_new(&ctx), *second = clg_records_new(&ctx);
    size_t n1, n2;
    char *one, *two;

    if (!first || !second)
        abort();
    if (clg_records_parse(&ctx, first, (const char *)data, size, CLG_FROM_USER) == CLGAZE_OK && !first->future) {
        one = printed(first, &n1);
        if (clg_records_parse(&ctx, second, one, n1, CLG_FROM_USER) != CLGAZE_OK)
            abort();
        two = printed(second, &n2);
        if (second->n > first->n || !second->n != !first->n ||
            (first->n == 1 && (n1 != n2 || memcmp(one, two, n1) != 0)))
            abort();
        free(one);
        free(two);
    }
    clg_records_free(&ctx, first);
    clg_records_free(&ctx, second);
    return 0;
}
