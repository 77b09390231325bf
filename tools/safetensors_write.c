/* SPDX-License-Identifier: Apache-2.0 */
/*
 * safetensors_write.c: the writer.
 */
#include "safetensors.h"

#include "posix.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <string.h>

/* Wide elements first, so that each tensor is aligned; then by name. */
static int by_dtype(const void *a, const void *b)
{
    const st_tensor *s = *(const st_tensor *const *)a, *t = *(const st_tensor *const *)b;
    if (s->dtype != t->dtype)
        return s->dtype < t->dtype ? -1 : 1;
    return strcmp(s->name, t->name);
}

static int by_key(const void *a, const void *b)
{
    return strcmp((*(const st_pair *const *)a)->key, (*(const st_pair *const *)b)->key);
}

/* An array of pointers to the `n` records at `base`, sorted; NULL: no memory. */
static const void **sorted(const void *base, size_t n, size_t size, int (*order)(const void *, const void *))
{
    const void **list = malloc((n + 1) * sizeof *list);
    if (!list)
        return NULL;
    for (size_t i = 0; i < n; i++)
        list[i] = (const char *)base + i * size;
    if (n)
        qsort(list, n, sizeof *list, order);
    return list;
}

static int add_numbers(cJSON *object, const char *key, const double *values, int n)
{
    cJSON *list = cJSON_AddArrayToObject(object, key);
    for (int i = 0; i < n; i++)
        if (!cJSON_AddItemToArray(list, cJSON_CreateNumber(values[i])))
            return -1;
    return list ? 0 : -1;
}

static int add_tensor(cJSON *root, const st_tensor *t, double *at)
{
    size_t elements, bytes;
    double shape[ST_MAX_RANK];
    cJSON *entry = cJSON_AddObjectToObject(root, t->name);
    if (!entry || t->rank > ST_MAX_RANK || st_size(t->dtype, t->rank, t->shape, &elements, &bytes))
        return -1;
    for (int i = 0; i < t->rank; i++)
        shape[i] = (double)t->shape[i];
    double span[2] = {*at, *at + (double)bytes};
    *at = span[1];
    if (!cJSON_AddStringToObject(entry, "dtype", st_dtype_name(t->dtype)) ||
        add_numbers(entry, "shape", shape, t->rank))
        return -1;
    return add_numbers(entry, "data_offsets", span, 2);
}

/* The header, padded with spaces to a multiple of 8; NULL: no memory, or a
 * shape without a size. */
static char *header(const st_tensor *const *tensors, size_t n_tensors, const st_pair *const *meta, size_t n_meta)
{
    double at = 0;
    int bad = 0;
    char *text = NULL, *padded = NULL;
    cJSON *root = cJSON_CreateObject();
    cJSON *map = n_meta ? cJSON_AddObjectToObject(root, "__metadata__") : NULL;
    for (size_t i = 0; i < n_meta && !bad; i++)
        bad = !cJSON_AddStringToObject(map, meta[i]->key, meta[i]->value);
    for (size_t i = 0; i < n_tensors && !bad; i++)
        bad = add_tensor(root, tensors[i], &at);
    if (root && !bad)
        text = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    if (!text)
        return NULL;
    size_t length = strlen(text), full = (length + 7) / 8 * 8;
    padded = malloc(full + 1);
    if (padded) {
        memset(padded, ' ', full);
        memcpy(padded, text, length);
        padded[full] = 0;
    }
    cJSON_free(text);
    return padded;
}

/* A tensor's bytes, little endian. */
static int put_data(FILE *out, const st_tensor *t, size_t elements, size_t bytes)
{
    unsigned char piece[4096]; /* whole elements */
    const unsigned char *data = t->data;

    for (size_t at = 0, n; at < bytes; at += n) {
        n = bytes - at < sizeof piece ? bytes - at : sizeof piece;
        memcpy(piece, data + at, n);
        st_turn(piece, n, n / (bytes / elements));
        if (fwrite(piece, 1, n, out) != n)
            return -1;
    }
    return 0;
}

static int put(FILE *out, const char *head, const st_tensor *const *tensors, size_t n)
{
    unsigned char prefix[8];
    size_t length = strlen(head), elements, bytes;
    for (int i = 0; i < 8; i++)
        prefix[i] = (unsigned char)((uint64_t)length >> 8 * i);
    if (fwrite(prefix, 1, 8, out) != 8 || fwrite(head, 1, length, out) != length)
        return -1;
    for (size_t i = 0; i < n; i++) {
        st_size(tensors[i]->dtype, tensors[i]->rank, tensors[i]->shape, &elements, &bytes);
        if (put_data(out, tensors[i], elements, bytes))
            return -1;
    }
    return fflush(out);
}

/* A new file beside `path`, with the permissions that fopen() would give. */
static FILE *open_beside(const char *path, char *temporary, size_t capacity)
{
    if ((size_t)snprintf(temporary, capacity, "%s.XXXXXX", path) >= capacity) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    int fd = mkstemp(temporary);
    if (fd < 0)
        return NULL;
    const mode_t mask = (mode_t)umask(0);
    umask(mask);
    FILE *out = fchmod(fd, 0666 & ~mask) == 0 ? fdopen(fd, "wb") : NULL;
    if (!out) {
        int saved = errno;
        close(fd);
        unlink(temporary);
        errno = saved;
    }
    return out;
}

/* errno says what went wrong. */
static int put_file(const char *path, const char *head, const st_tensor *const *tensors, size_t n)
{
    char temporary[4096];
    struct stat info;
    /* Renaming over a device would replace the device. */
    int in_place = stat(path, &info) == 0 && !S_ISREG(info.st_mode);
    FILE *out = in_place ? fopen(path, "wb") : open_beside(path, temporary, sizeof temporary);
    if (!out)
        return -1;
    int bad = put(out, head, tensors, n);
    if (!bad && !in_place)
        bad = fsync(fileno(out));
    int saved = errno;
    if (fclose(out) != 0 && !bad) {
        saved = errno;
        bad = -1;
    }
    if (!bad && !in_place) {
        bad = rename(temporary, path);
        saved = errno;
    }
    if (bad && !in_place)
        unlink(temporary);
    errno = saved;
    return bad;
}

int st_write(const char *path, const st_tensor *tensors, size_t n_tensors, const st_pair *meta, size_t n_meta,
             char *why, size_t capacity)
{
    const void **t = sorted(tensors, n_tensors, sizeof *tensors, by_dtype);
    const void **m = sorted(meta, n_meta, sizeof *meta, by_key);
    char *head = NULL;
    int bad = -1;
    if (t && m)
        head = header((const st_tensor *const *)t, n_tensors, (const st_pair *const *)m, n_meta);
    if (!head)
        snprintf(why, capacity, "its header could not be made: memory ran out or a shape has no size");
    else if ((bad = put_file(path, head, (const st_tensor *const *)t, n_tensors)) != 0)
        snprintf(why, capacity, "it cannot be written: %s", strerror(errno));
    free(head);
    free(t);
    free(m);
    return bad ? -1 : 0;
}
