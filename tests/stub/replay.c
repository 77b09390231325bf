/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay.c: in the place of libFuzzer, with any compiler: give a fuzzer each file of a folder, and
 * each again cut short.
 *
 *   replay_x FOLDER
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Blocks of its very size, so that checkers see a byte read past the end. */
static void give(const uint8_t *from, size_t size)
{
    uint8_t *data = malloc(size ? size : 1);

    if (!data)
        abort();
    memcpy(data, from, size);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
}

static int replay(const char *path)
{
    static uint8_t bytes[1 << 16];
    FILE *f = fopen(path, "rb");
    const size_t n = f ? fread(bytes, 1, sizeof bytes, f) : 0;

    if (f)
        fclose(f);
    give(bytes, n);
    give(bytes, n / 2);
    give(bytes, n - (n > 0));
    return n > 0;
}

int main(int argc, char **argv)
{
    DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
    char path[4096];
    int n = 0;

    if (!dir) {
        fprintf(stderr, "usage: replay_x FOLDER\n");
        return 2;
    }
    if (!freopen("/dev/null", "w", stderr)) /* sentences of what is refused */
        return 2;
    give((const uint8_t *)"", 0);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir))
        if (e->d_name[0] != '.' && snprintf(path, sizeof path, "%s/%s", argv[1], e->d_name) < (int)sizeof path)
            n += replay(path);
    closedir(dir);
    printf("%d files replayed\n", n);
    return n == 0; /* a corpus that is not there proves nothing */
}
