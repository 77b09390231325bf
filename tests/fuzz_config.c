/* fuzz_config.c: any bytes as the config.json of a model. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "llama/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char folder[] = "/tmp/clgaze-fuzz-XXXXXX", path[64];
    struct config config;
    int fd;

    if (!path[0]) {
        if (!mkdtemp(folder))
            abort();
        snprintf(path, sizeof path, "%s/config.json", folder);
    }
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size || close(fd) != 0)
        abort();
    if (config_read(folder, &config) == 0 &&
        (config.layers < 1 || config.kv_heads < 1 || config.q_heads % config.kv_heads != 0 || config.head_dim < 1 ||
         config.vocab < 1 || config.hidden < 1 || config.inner < 1))
        abort(); /* accepted, but no model */
    return 0;
}
