/* SPDX-License-Identifier: Apache-2.0 */
/*
 * records_read.c: tuned records from text that anybody may have written.
 *
 * A line is believed whole or not at all.  Nothing is read beyond `size`.
 */
#include <stdlib.h>
#include <string.h>

#include "records.h"

enum { MAX_LINE = 512 };

struct reader {
    clgaze_context *ctx;
    char line[MAX_LINE], *at; /* the line, and what of it is still to be read */
    int number;
    bool known; /* a device line came, and was understood */
    struct clg_signature device;
};

/* The next word, or text in quotes, into `to`; false: there is none, or it is too long. */
static bool word(struct reader *r, char *to, size_t size)
{
    const bool quoted = *(r->at += strspn(r->at, " ")) == '"';
    const size_t n = quoted ? strcspn(r->at + 1, "\"") : strcspn(r->at, " ");
    const char *from = quoted ? r->at + 1 : r->at;

    if (n >= size || (quoted ? from[n] != '"' : n == 0 || memchr(from, '"', n) != NULL))
        return false;
    memcpy(to, from, n);
    to[n] = '\0';
    r->at = (char *)from + n + quoted;
    return *r->at == ' ' || *r->at == '\0';
}

/* "3440.5", without strtod(): an app's locale may want a comma. */
static bool number(struct reader *r, double *value)
{
    static const char digits[] = "0123456789";
    char text[16];
    double unit = 1;
    size_t whole, n;

    if (!word(r, text, sizeof text))
        return false;
    whole = strspn(text, digits);
    n = whole + (text[whole] == '.');
    n += strspn(text + n, digits);
    *value = 0;
    for (size_t i = 0; i < n; i++) {
        if (i == whole)
            continue;
        *value = 10 * *value + (text[i] - '0');
        unit *= i > whole ? 10 : 1;
    }
    *value /= unit;
    return whole > 0 && text[n] == '\0' && *value > 0;
}

/* "name=value" into the field of that name; a name of a later version is no harm. False: it is too long. */
static bool take_pair(struct clg_signature *d, const char *name, const char *value)
{
    const struct {
        const char *name;
        char *at;
        size_t size;
    } texts[] = {{"vendor", d->vendor, sizeof d->vendor},
                 {"driver", d->driver, sizeof d->driver},
                 {"uuid", d->uuid, sizeof d->uuid}};

    for (size_t i = 0; i < CLG_COUNT(texts); i++) {
        if (strcmp(name, texts[i].name) != 0)
            continue;
        if (strlen(value) >= texts[i].size)
            return false;
        memcpy(texts[i].at, value, strlen(value) + 1);
    }
    if (strcmp(name, "cu") == 0)
        d->compute_units = (unsigned)strtoul(value, NULL, 10);
    if (strcmp(name, "type") == 0)
        d->cpu = strcmp(value, "cpu") == 0;
    return true;
}

/* NULL, or what is wrong with the line. */
static const char *read_device(struct reader *r)
{
    struct clg_signature *d = &r->device;
    char pair[160], *value;

    memset(d, 0, sizeof *d);
    if (!word(r, d->name, sizeof d->name))
        return "the device has no name in quotes";
    while (word(r, pair, sizeof pair)) {
        value = strchr(pair, '=');
        if (!value)
            return "a device is described by pairs name=value";
        *value = '\0';
        if (!take_pair(d, pair, value + 1))
            return "a value of the device is too long";
    }
    return *r->at ? "it ends in something that is not a pair" : NULL;
}

static const char *read_kernel(struct reader *r, const char *op, struct clg_record *record)
{
    char name[64], id[16];

    if (!word(r, name, sizeof name) || !word(r, record->problem, sizeof record->problem) || !record->problem[0])
        return "it needs operation, kernel, \"problem\"";
    record->kernel = clg_kernel_find(name);
    if (!record->kernel)
        return "this library knows no such kernel";
    if (strcmp(record->kernel->op, op) != 0)
        return "that kernel is of another operation";
    if (!word(r, id, sizeof id) || strlen(id) != 8 ||
        strtoul(id, NULL, 16) != (clg_space_id(record->kernel) & 0xffffffffu))
        return "it is of another search space of that kernel";
    return NULL;
}

/* "3440.0 5120.0 done" or "- - untried". */
static const char *read_times(struct reader *r, struct clg_record *record)
{
    char state[8];

    r->at += strspn(r->at, " ");
    record->untried = strncmp(r->at, "- - ", 4) == 0;
    if (record->untried)
        r->at += 4;
    else if (!number(r, &record->us) || !number(r, &record->default_us))
        return "its times must be numbers above 0";
    if (!word(r, state, sizeof state) || (strcmp(state, "untried") == 0) != record->untried ||
        (!record->untried && strcmp(state, "done") != 0 && strcmp(state, "part") != 0))
        return "after the times it must say done or part";
    record->finished = strcmp(state, "done") == 0;
    return NULL;
}

static const char *read_record(struct reader *r, const char *op, struct clg_record *record)
{
    const char *why = read_kernel(r, op, record);
    struct clg_ear ear;
    int given = 0, wanted = 0;

    if (why)
        return why;
    if (!r->known)
        return "no device line stands before it";
    why = read_times(r, record);
    if (why)
        return why;
    if (r->at[strspn(r->at, " ")] == '"' && !word(r, record->note, sizeof record->note))
        return "the note after done or part is too long, or its quotes do not close";
    for (const char *c = r->at; *c; c++)
        given += *c == '=';
    while (record->kernel->space && record->kernel->space[wanted].name)
        wanted++;
    clg_ear_open(&ear, r->ctx);
    if (given != wanted || clg_space_parse(&ear.ctx, record->kernel, r->at, record->values) != CLGAZE_OK)
        return "its values are not those of the kernel's search space";
    for (int i = 0; i < wanted; i++)
        if (record->values[i] == 0)
            return "a value stands there twice";
    record->device = r->device;
    return NULL;
}

/* Take one line; not OK: memory ran out. */
static clgaze_status take(struct reader *r, struct clg_records *records, enum clg_origin origin)
{
    struct clg_record record;
    const char *why = NULL;
    char first[16];

    memset(&record, 0, sizeof record);
    record.origin = origin;
    record.source = records->source;
    record.line = r->number + 1;
    r->at = r->line;
    if (r->line[0] == '#' || !*(r->line + strspn(r->line, " ")))
        return CLGAZE_OK;
    if (!word(r, first, sizeof first)) {
        why = "it begins with no word that is known";
    } else if (strcmp(first, "device") == 0) {
        why = read_device(r);
        r->known = !why;
    } else {
        why = read_record(r, first, &record);
        if (!why)
            return clg_records_put(r->ctx, records, &record);
    }
    if (why)
        clg_log(r->ctx, CLGAZE_LOG_WARN, CLGAZE_ERR_CACHE, "line %d of a tuning file is skipped: %s", r->number + 1,
                why);
    return CLGAZE_OK;
}

/* Is a first line that of a version after ours? */
static bool later(const char *line)
{
    static const char word[] = "clgaze-tuning ";

    return strncmp(line, word, sizeof word - 1) == 0 && strtoul(line + sizeof word - 1, NULL, 10) > 1;
}

clgaze_status clg_records_parse(clgaze_context *ctx, struct clg_records *records, const char *text, size_t size,
                                enum clg_origin origin)
{
    static const char title[] = "clgaze-tuning 1";
    struct reader r = {.ctx = ctx};
    clgaze_status st = CLGAZE_OK;

    for (size_t from = 0; from < size; r.number++) {
        const char *end = memchr(text + from, '\n', size - from);
        const size_t n = end ? (size_t)(end - text) - from : size - from;
        const bool fits = n < sizeof r.line && !memchr(text + from, '\0', n);

        memcpy(r.line, text + from, fits ? n : 0);
        r.line[fits ? n : 0] = '\0';
        from += n + 1;
        if (r.number == 0) {
            records->future = records->future || later(r.line);
            NEED(strcmp(r.line, title) == 0, CLGAZE_ERR_CACHE,
                 "it is not a tuning file of this version: its first line is not \"%s\"", title);
        } else if (!end || !fits) {
            clg_log(ctx, CLGAZE_LOG_WARN, CLGAZE_ERR_CACHE, "line %d of a tuning file is skipped: it is %s",
                    r.number + 1, end ? "not a line of text" : "cut");
        } else {
            TRY(take(&r, records, origin));
        }
    }
    NEED(r.number > 0, CLGAZE_ERR_CACHE, "it is empty, not a tuning file");
out:
    return st;
}
