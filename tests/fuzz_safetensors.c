/* fuzz_safetensors.c: any bytes as a safetensors file, and its metadata as options. */
#include <stdlib.h>
#include <string.h>

#include "options.h"
#include "safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char *bytes = malloc(size ? size : 1);
    st_file *file = NULL;
    char why[ST_WHY] = "", shape[256];
    struct args args;
    struct settings settings;

    if (!bytes)
        return 0;
    memcpy(bytes, data, size);
    if (st_parse(bytes, size, &file, why, sizeof why)) {
        if (file || !why[0] || strchr(why, '\n'))
            abort(); /* a refusal is one sentence and no file */
        return 0;
    }
    for (size_t i = 0; i < file->n_tensors; i++) {
        const st_tensor *t = &file->tensors[i];
        volatile double sum = 0;

        for (size_t e = 0; e < t->elements && e < 64; e++)
            sum = sum + st_value(t, e) + st_value(t, t->elements - 1 - e);
        if (!st_find(file, t->name) || !st_shape_text(t, shape, sizeof shape)[0] ||
            t->bytes != t->elements * st_dtype_size(t->dtype))
            abort();
    }
    memset(&args, 0, sizeof args);
    settings_read(&args, file, &settings);
    st_close(file);
    return 0;
}
