/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sparse_devices.c: several devices side by side.
 */
#include <string.h>

#include "sparse.h"

static const struct row *find_like(const struct result *r, const struct row *as)
{
    for (const struct row *x = r->rows; x < r->rows + r->n; x++)
        if (page_alike(x, as) && x->seq == as->seq && strcmp(x->dtype, as->dtype) == 0)
            return x;
    return NULL;
}

/* Each device a letter, as many as the width has room for. */
void page_devices(FILE *f, const struct result *results, int n)
{
    int most = (columns(f) - 18) / 20;

    fputc('\n', f);
    for (int d = 0; d < n; d++)
        say(f, "%c: %s (%s), %s", 'A' + d, results[d].machine.name, results[d].machine.platform,
            results[d].n ? results[d].rows[0].dtype : "nothing measured");
    n = n < most ? n : most;
    fprintf(f, "%8s %7s ", "seq", "density");
    for (int d = 0; d < n; d++)
        fprintf(f, " %9c ms speed-up", 'A' + d);
    fputc('\n', f);
    for (int e = 0; e < n; e++)
        for (const struct row *x = results[e].rows; x < results[e].rows + results[e].n; x++) {
            bool shown = false;

            for (int d = 0; d < e; d++) /* an earlier device's row has shown it */
                shown |= find_like(&results[d], x) != NULL;
            if (shown)
                continue;
            fprintf(f, "%8d %7g ", x->seq, x->value);
            for (int d = 0; d < n; d++) {
                const struct row *y = find_like(&results[d], x);

                if (y && y->state == ROW_DONE)
                    fprintf(f, " %12.3f %6.2fx", y->ms.median, y->speedup);
                else
                    fprintf(f, " %12s %7s", "-", "-");
            }
            fputc('\n', f);
        }
}
