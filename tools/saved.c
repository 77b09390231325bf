/* SPDX-License-Identifier: Apache-2.0 */
/*
 * saved.c: checkpoints.
 */
#include "saved.h"

#include "fail.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One array, read from the device. */
static int get(const struct saved *saved, size_t which, st_tensor *t)
{
    *t = saved->shapes[which];
    float *x = malloc(t->bytes);
    t->data = x;
    if (!x)
        return fail(EXIT_INPUT, "memory ran out");
    const int code = saved->get(saved->user, which, x);
    for (size_t e = 0; e < t->elements && !code; e++)
        if (!isfinite(x[e]))
            return fail(EXIT_INPUT, "%s is %g somewhere after step %d: nothing is saved", t->name, (double)x[e],
                        (int)saved->done);
    return code;
}

int saved_write(const char *path, const struct saved *saved)
{
    st_tensor *tensors = calloc(saved->n_shapes + 1, sizeof *tensors);
    char why[ST_WHY];
    size_t n = 0;
    int code = tensors ? 0 : fail(EXIT_INPUT, "memory ran out");
    for (size_t i = 0; tensors && i < saved->n_shapes && !code; i++)
        if (saved->shapes[i].elements)
            code = get(saved, i, &tensors[n++]);
    if (tensors && !code) {
        tensors[n] =
            (st_tensor){.name = "losses", .dtype = ST_F32, .rank = 1, .shape = {saved->done}, .data = saved->losses};
        if (st_write(path, tensors, n + 1, saved->pairs, saved->n_pairs, why, sizeof why)) {
            fail_about(path);
            code = fail(EXIT_INPUT, "%s; it is as it was before step %d was to be saved", why, (int)saved->done);
            fail_about(NULL);
        }
    }
    for (size_t i = 0; tensors && i < n; i++)
        free((void *)(uintptr_t)tensors[i].data);
    free(tensors);
    return code;
}

static int take(const struct saved *saved, const st_file *file, size_t which)
{
    const st_tensor *s = &saved->shapes[which], *t = st_find(file, s->name);
    if (!s->elements)
        return 0;
    if (!t || t->dtype != ST_F32 || t->rank != s->rank ||
        memcmp(t->shape, s->shape, (size_t)s->rank * sizeof *s->shape) != 0)
        return fail(EXIT_INPUT, "tensor %s is missing or of another shape: it is a checkpoint of something else",
                    s->name);
    float *x = malloc(s->bytes); /* the file's may lie at any address */
    if (!x)
        return fail(EXIT_INPUT, "memory ran out");
    memcpy(x, t->data, s->bytes);
    const int code = saved->put(saved->user, which, x);
    free(x);
    return code;
}

static int same(const st_file *file, const struct saved *saved)
{
    for (size_t i = 0; i < saved->n_pairs; i++) {
        const char *found = st_meta(file, saved->pairs[i].key);
        if (!found || strcmp(found, saved->pairs[i].value) != 0)
            return fail(EXIT_INPUT, "it was made with %s %.60s, not %.60s: it cannot be resumed so",
                        saved->pairs[i].key, found ? found : "unknown", saved->pairs[i].value);
    }
    return 0;
}

int saved_read(const char *path, struct saved *saved, int32_t room)
{
    st_file *file = NULL;
    char why[ST_WHY];
    fail_about(path);
    if (st_open(path, &file, why, sizeof why))
        return fail(EXIT_INPUT, "%s", why);
    int code = same(file, saved);
    const st_tensor *t = st_find(file, "losses");
    if (!code && (!t || t->dtype != ST_F32 || t->rank != 1 || t->shape[0] > room))
        code = fail(EXIT_INPUT, "tensor losses is missing, or longer than the steps asked for");
    for (size_t i = 0; i < saved->n_shapes && !code; i++)
        code = take(saved, file, i);
    if (!code && t) {
        memcpy(saved->losses, t->data, t->bytes);
        saved->done = (int32_t)t->shape[0];
        fail_about(NULL);
    }
    st_close(file);
    return code;
}
