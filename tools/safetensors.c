/* SPDX-License-Identifier: Apache-2.0 */
/*
 * safetensors.c: the reader.
 */
#include "safetensors.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The published implementation's limit. */
#define MAX_HEADER  100000000u
/* Above this a double no longer holds every integer. */
#define MAX_INTEGER 9007199254740992.0

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static int
refuse(char *why, size_t capacity, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (capacity)
        vsnprintf(why, capacity, format, args);
    va_end(args);
    return -1;
}

/* Where a parse stands, so that every step can refuse in one line. */
struct parse {
    st_file *file;
    size_t data_begin, data_size;
    char *why;
    size_t capacity;
    char name[64]; /* the tensor at hand, made fit to print */
};

#define REFUSE(...) refuse(p->why, p->capacity, __VA_ARGS__)

/* A name comes from the file: no control characters, no endless lines. */
static void printable(char *to, size_t capacity, const char *from)
{
    size_t n = strlen(from);
    snprintf(to, capacity, "%.*s%s", (int)(n < capacity ? n : capacity - 4), from, n < capacity ? "" : "...");
    for (; *to; to++)
        *to = (unsigned char)*to < 32 || *to == 127 ? '?' : *to;
}

static int integer(const cJSON *item, int64_t *value)
{
    double d = cJSON_IsNumber(item) ? item->valuedouble : -1;
    if (!(d >= 0 && d <= MAX_INTEGER) || (double)(int64_t)d != d)
        return -1;
    *value = (int64_t)d;
    return 0;
}

/* The one member of that name; NULL, and refused, for none and several. */
static const cJSON *member(struct parse *p, const cJSON *object, const char *key)
{
    const cJSON *item, *found = NULL;
    cJSON_ArrayForEach(item, object)
    {
        if (strcmp(item->string, key) != 0)
            continue;
        if (found) {
            REFUSE("tensor %s has %s twice", p->name, key);
            return NULL;
        }
        found = item;
    }
    if (!found)
        REFUSE("tensor %s has no %s", p->name, key);
    return found;
}

static int read_dtype(struct parse *p, const cJSON *entry, st_tensor *t)
{
    const cJSON *item = member(p, entry, "dtype");
    if (!item)
        return -1;
    if (!cJSON_IsString(item))
        return REFUSE("tensor %s has a dtype that is not a string", p->name);
    int dtype = st_dtype_find(item->valuestring);
    if (dtype < 0) {
        char text[24];
        printable(text, sizeof text, item->valuestring);
        return REFUSE("tensor %s has dtype %s, but known are F64, I64, F32, I32, F16, BF16, U8 and BOOL", p->name,
                      text);
    }
    t->dtype = (st_dtype)dtype;
    return 0;
}

static int read_shape(struct parse *p, const cJSON *entry, st_tensor *t)
{
    const cJSON *item, *list = member(p, entry, "shape");
    if (!list)
        return -1;
    if (!cJSON_IsArray(list))
        return REFUSE("tensor %s has a shape that is not a list", p->name);
    t->rank = 0;
    cJSON_ArrayForEach(item, list)
    {
        if (t->rank == ST_MAX_RANK)
            return REFUSE("tensor %s has more than %d dimensions", p->name, ST_MAX_RANK);
        if (!cJSON_IsNumber(item))
            return REFUSE("tensor %s has a shape with an entry that is not a number", p->name);
        if (integer(item, &t->shape[t->rank]))
            return REFUSE("tensor %s has size %.17g in its shape, but sizes are whole numbers from 0 to 2^53",
                          p->name, item->valuedouble);
        t->rank++;
    }
    if (st_size(t->dtype, t->rank, t->shape, &t->elements, &t->bytes))
        return REFUSE("tensor %s has a shape whose sizes multiply to more than a machine word", p->name);
    return 0;
}

static int read_offsets(struct parse *p, const cJSON *entry, st_tensor *t)
{
    const cJSON *list = member(p, entry, "data_offsets");
    int64_t begin, end;
    if (!list)
        return -1;
    if (!cJSON_IsArray(list) || !list->child || !list->child->next || list->child->next->next)
        return REFUSE("tensor %s has data_offsets that are not a list of two", p->name);
    if (integer(list->child, &begin) || integer(list->child->next, &end))
        return REFUSE("tensor %s has data_offsets that are not whole numbers from 0 to 2^53", p->name);
    if (begin > end)
        return REFUSE("tensor %s has data_offsets that run backwards, from %" PRId64 " to %" PRId64, p->name, begin,
                      end);
    if ((uint64_t)end > p->data_size)
        return REFUSE("tensor %s ends at byte %" PRId64 " of the data, but the file has %zu (is it truncated?)",
                      p->name, end, p->data_size);
    if ((uint64_t)(end - begin) != t->bytes) {
        char shape[128];
        return REFUSE("tensor %s has %" PRId64 " bytes, but %s of shape %s takes %zu", p->name, end - begin,
                      st_dtype_name(t->dtype), st_shape_text(t, shape, sizeof shape), t->bytes);
    }
    t->data = p->file->bytes + p->data_begin + begin;
    return 0;
}

static int read_tensor(struct parse *p, const cJSON *entry, st_tensor *t)
{
    printable(p->name, sizeof p->name, entry->string);
    t->name = entry->string;
    if (!cJSON_IsObject(entry))
        return REFUSE("tensor %s is described by something that is not an object", p->name);
    if (read_dtype(p, entry, t) || read_shape(p, entry, t))
        return -1;
    return read_offsets(p, entry, t);
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const st_pair *)a)->key, ((const st_pair *)b)->key);
}

static int read_meta(struct parse *p, const cJSON *map)
{
    const cJSON *item;
    if (p->file->meta)
        return REFUSE("__metadata__ is there twice");
    if (!cJSON_IsObject(map))
        return REFUSE("__metadata__ is not a map of strings");
    p->file->meta = calloc((size_t)cJSON_GetArraySize(map) + 1, sizeof *p->file->meta);
    if (!p->file->meta)
        return REFUSE("memory ran out");
    cJSON_ArrayForEach(item, map)
    {
        printable(p->name, sizeof p->name, item->string);
        if (!cJSON_IsString(item))
            return REFUSE("__metadata__ has key %s whose value is not a string", p->name);
        p->file->meta[p->file->n_meta++] = (st_pair){item->string, item->valuestring};
    }
    if (p->file->n_meta)
        qsort(p->file->meta, p->file->n_meta, sizeof *p->file->meta, by_key);
    for (size_t i = 1; i < p->file->n_meta; i++) {
        printable(p->name, sizeof p->name, p->file->meta[i].key);
        if (by_key(&p->file->meta[i - 1], &p->file->meta[i]) == 0)
            return REFUSE("__metadata__ has key %s twice", p->name);
    }
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const st_tensor *)a)->name, ((const st_tensor *)b)->name);
}

static int by_data(const void *a, const void *b)
{
    const st_tensor *s = a, *t = b;
    const unsigned char *x = s->data, *y = t->data;
    if (x != y)
        return x < y ? -1 : 1;
    if (s->bytes != t->bytes) /* an empty tensor comes before its neighbour */
        return s->bytes < t->bytes ? -1 : 1;
    return by_name(a, b);
}

/* No name twice, no byte in two tensors or in none. */
static int check_layout(struct parse *p)
{
    st_tensor *t = p->file->tensors;
    size_t n = p->file->n_tensors, at = 0;
    if (n)
        qsort(t, n, sizeof *t, by_name);
    for (size_t i = 1; i < n; i++) {
        printable(p->name, sizeof p->name, t[i].name);
        if (strcmp(t[i - 1].name, t[i].name) == 0)
            return REFUSE("tensor %s is there twice", p->name);
    }
    if (n)
        qsort(t, n, sizeof *t, by_data);
    for (size_t i = 0; i < n; i++) {
        size_t begin = (size_t)((const unsigned char *)t[i].data - p->file->bytes) - p->data_begin;
        printable(p->name, sizeof p->name, t[i].name);
        if (begin < at) {
            char other[64];
            printable(other, sizeof other, t[i - 1].name);
            return REFUSE("tensor %s overlaps tensor %s", p->name, other);
        }
        if (begin > at)
            return REFUSE("tensor %s begins at byte %zu of the data, but the bytes from %zu on belong to none",
                          p->name, begin, at);
        at = begin + t[i].bytes;
    }
    if (at != p->data_size)
        return REFUSE("the tensors end at byte %zu of the data, but the file has %zu", at, p->data_size);
    for (size_t i = 0; i < n; i++)
        st_turn(p->file->bytes + ((const unsigned char *)t[i].data - p->file->bytes), t[i].bytes, t[i].elements);
    return 0;
}

static int read_entries(struct parse *p, const cJSON *root)
{
    const cJSON *item;
    st_file *f = p->file;
    f->tensors = calloc((size_t)cJSON_GetArraySize(root) + 1, sizeof *f->tensors);
    if (!f->tensors)
        return REFUSE("memory ran out");
    cJSON_ArrayForEach(item, root)
    {
        if (strcmp(item->string, "__metadata__") == 0) {
            if (read_meta(p, item))
                return -1;
        } else {
            if (read_tensor(p, item, &f->tensors[f->n_tensors]))
                return -1;
            f->n_tensors++;
        }
    }
    return check_layout(p);
}

static int read_header(struct parse *p, size_t size)
{
    const unsigned char *b = p->file->bytes;
    uint64_t length = 0;
    if (size < 8)
        return REFUSE("the file has %zu bytes, but a header length alone takes 8", size);
    for (int i = 7; i >= 0; i--)
        length = length << 8 | b[i];
    if (length < 2)
        return REFUSE("the header length is %" PRIu64 ", but the shortest header is {}", length);
    if (length > MAX_HEADER)
        return REFUSE("the header length is %" PRIu64 ", but at most %u is allowed", length, MAX_HEADER);
    if (length > size - 8)
        return REFUSE("the header length is %" PRIu64 ", but only %zu bytes follow (is it truncated?)", length,
                      size - 8);
    const char *text = (const char *)b + 8, *end = NULL;
    p->data_begin = 8 + (size_t)length;
    p->data_size = size - p->data_begin;
    cJSON *root = text[0] == '{' ? cJSON_ParseWithLengthOpts(text, (size_t)length, &end, 0) : NULL;
    p->file->json = root;
    if (!cJSON_IsObject(root))
        return REFUSE("the header is not a JSON object");
    for (; end < text + length; end++)
        if (!strchr(" \t\r\n", *end) || !*end)
            return REFUSE("the header goes on after its JSON object");
    return read_entries(p, root);
}

int st_parse(unsigned char *bytes, size_t size, st_file **file, char *why, size_t capacity)
{
    struct parse p = {.why = why, .capacity = capacity};
    *file = NULL;
    p.file = calloc(1, sizeof *p.file);
    if (!p.file) {
        free(bytes);
        return refuse(why, capacity, "memory ran out");
    }
    p.file->bytes = bytes;
    if (read_header(&p, size)) {
        st_close(p.file);
        return -1;
    }
    *file = p.file;
    return 0;
}

int st_open(const char *path, st_file **file, char *why, size_t capacity)
{
    struct stat info;
    unsigned char *bytes = NULL;
    *file = NULL;
    /* First of all: opening a pipe would wait for a writer. */
    if (stat(path, &info) != 0)
        return refuse(why, capacity, "it cannot be read: %s", strerror(errno));
    if (!S_ISREG(info.st_mode))
        return refuse(why, capacity, "it is not a regular file");
    FILE *in = fopen(path, "rb");
    if (!in)
        return refuse(why, capacity, "it cannot be read: %s", strerror(errno));
    size_t size = (size_t)info.st_size, got = 0;
    if ((uint64_t)info.st_size <= SIZE_MAX - 1)
        bytes = malloc(size + 1);
    if (bytes)
        got = fread(bytes, 1, size, in);
    fclose(in);
    if (!bytes)
        return refuse(why, capacity, "its %jd bytes do not fit into memory", (intmax_t)info.st_size);
    if (got != size) {
        free(bytes);
        return refuse(why, capacity, "only %zu of its %zu bytes could be read", got, size);
    }
    return st_parse(bytes, size, file, why, capacity);
}

void st_close(st_file *file)
{
    if (!file)
        return;
    cJSON_Delete(file->json);
    free(file->tensors);
    free(file->meta);
    free(file->bytes);
    free(file);
}
