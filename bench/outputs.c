/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outputs.c: the files that a run writes.
 */
#include <errno.h>
#include <string.h>

#include "fail.h"
#include "sparse.h"

int open_outputs(const struct options *o, FILE **files)
{
    for (int i = 0; i < OUTPUTS; i++) {
        if (!o->out[i])
            continue;
        files[i] = strcmp(o->out[i], "-") == 0 ? stdout : fopen(o->out[i], "w");
        if (!files[i])
            return fail(EXIT_INPUT, "%s: %s cannot be written: %s", output_names[i], o->out[i], strerror(errno));
    }
    return 0;
}

int close_outputs(FILE **files)
{
    int code = 0;

    for (int i = 0; i < OUTPUTS; i++) {
        bool bad = files[i] && (ferror(files[i]) || fflush(files[i]));

        if (files[i] && files[i] != stdout && fclose(files[i]))
            bad = true;
        if (bad)
            code = fail(EXIT_INPUT, "%s cannot be written: %s", output_names[i], strerror(errno));
    }
    return code;
}

int write_outputs(FILE **files, const struct result *results, int n)
{
    int code = 0;

    if (files[OUT_JSON])
        code = write_json(files[OUT_JSON], results, n);
    if (!code && files[OUT_CSV])
        code = write_csv(files[OUT_CSV], results, n);
    if (!code && files[OUT_MARKDOWN])
        code = write_markdown(files[OUT_MARKDOWN], results, n);
    if (!code && files[OUT_PLOT])
        code = write_plot(files[OUT_PLOT], results, n);
    return code;
}
