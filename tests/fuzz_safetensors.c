/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_safetensors.c: any bytes as a safetensors file, its metadata as options, its tensors as
 * the input of each operation.
 */
#include "fuzz_host.h"
#include "job.h"

static void tensors(const st_file *file)
{
    char shape[256];

    for (size_t i = 0; i < file->n_tensors; i++) {
        const st_tensor *t = &file->tensors[i];
        volatile double sum = 0;

        for (size_t e = 0; e < t->elements && e < 64; e++)
            sum = sum + st_value(t, e) + st_value(t, t->elements - 1 - e);
        if (!st_find(file, t->name) || !st_shape_text(t, shape, sizeof shape)[0] ||
            t->bytes != t->elements * st_dtype_size(t->dtype))
            abort();
    }
}

static void jobs(const st_file *file, const struct settings *settings)
{
    static const char *const names[] = {"pool",    "gate",  "score",   "select",    "attend",
                                        "prefill", "truth", "distill", "attend_bwd"};
    struct job job;
    st_tensor out;

    for (size_t i = 0; i < CLG_COUNT(names); i++) {
        const bool made = job_make(operation_find(names[i]), file, settings, &job) == 0;

        for (int n = 0; made && n < n_tensor_rows; n++)
            if (job_output(&job, &tensor_rows[n], 1) && job_describe(&job, &tensor_rows[n], &out) == 0 &&
                out.bytes != out.elements * st_dtype_size(out.dtype))
                abort();
        job_free(&job);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char *bytes = malloc(size ? size : 1);
    st_file *file = NULL;
    char why[ST_WHY] = "";
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
    tensors(file);
    memset(&args, 0, sizeof args);
    if (settings_read(&args, file, &settings) == 0)
        jobs(file, &settings);
    st_close(file);
    return 0;
}
