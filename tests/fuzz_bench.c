/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_bench.c: any bytes that begin with '{' as a result of bench_sparse to compare with; any
 * others as its command line, a word a line.
 */
#include "fail.h"
#include "fuzz_host.h"
#include "sparse.h"

static void result(const char *path)
{
    static FILE *nowhere;
    struct result r;
    int slower;

    if (!nowhere)
        nowhere = fopen("/dev/null", "w");
    if (!nowhere)
        abort();
    if (read_json(path, &r) == 0 && compare(nowhere, &r, &r, &slower))
        abort();
    free(r.rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct options options;
    struct fuzz_words words;

    if (size && data[0] == '{') {
        result(fuzz_file("bench.json", data, size));
        return 0;
    }
    fuzz_split(&words, data, size);
    options_read(words.n, words.at, &options);
    free(words.text);
    return 0;
}
