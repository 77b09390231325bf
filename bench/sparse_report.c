/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sparse_report.c: JSON, CSV and markdown, and JSON read back.
 */
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "fail.h"
#include "json.h"
#include "sparse.h"

/* How a row's fields are called; every format walks this table. */
enum kind { INT, DOUBLE, TEXT };

/* When a number is there; else null. */
enum when { ALWAYS, DONE, POSITIVE };

static const struct field {
    const char *name;
    size_t offset, size;
    enum kind kind;
    enum when when;
} fields[] = {
#define AT(field) offsetof(struct row, field), sizeof((struct row *)0)->field
    {"op", AT(op), TEXT, ALWAYS},
    {"seq", AT(seq), INT, ALWAYS},
    {"heads", AT(heads), INT, ALWAYS},
    {"kv_heads", AT(kv_heads), INT, ALWAYS},
    {"head_dim", AT(head_dim), INT, ALWAYS},
    {"block", AT(block), INT, ALWAYS},
    {"dtype", AT(dtype), TEXT, ALWAYS},
    {"pattern", AT(pattern), TEXT, ALWAYS},
    {"head_scope", AT(scope), TEXT, ALWAYS},
    {"rule", AT(rule), TEXT, ALWAYS},
    {"value", AT(value), DOUBLE, ALWAYS},
    {"density", AT(density), DOUBLE, ALWAYS},
    {"kept", AT(kept), DOUBLE, DONE},
    {"kernel", AT(kernel), TEXT, ALWAYS},
    {"reason", AT(reason), TEXT, ALWAYS},
    {"ms", AT(ms.median), DOUBLE, DONE},
    {"ms_min", AT(ms.min), DOUBLE, DONE},
    {"ms_max", AT(ms.max), DOUBLE, DONE},
    {"ms_q1", AT(ms.q1), DOUBLE, DONE},
    {"ms_q3", AT(ms.q3), DOUBLE, DONE},
    {"gflops", AT(gflops), DOUBLE, POSITIVE},
    {"dense_ms", AT(dense.median), DOUBLE, DONE},
    {"dense_ms_min", AT(dense.min), DOUBLE, DONE},
    {"dense_ms_max", AT(dense.max), DOUBLE, DONE},
    {"dense_ms_q1", AT(dense.q1), DOUBLE, DONE},
    {"dense_ms_q3", AT(dense.q3), DOUBLE, DONE},
    {"dense_gflops", AT(dense_gflops), DOUBLE, DONE},
    {"unfused_ms", AT(unfused), DOUBLE, POSITIVE},
    {"dense_kernel", AT(dense_kernel), TEXT, ALWAYS},
    {"speedup", AT(speedup), DOUBLE, DONE},
    {"ideal_share", AT(ideal), DOUBLE, POSITIVE},
    {"peak_gflops", AT(peak), DOUBLE, POSITIVE},
    {"peak_share", AT(of_peak), DOUBLE, POSITIVE},
    {"gbytes", AT(gbytes), DOUBLE, POSITIVE},
    {"copy_share", AT(of_copy), DOUBLE, POSITIVE},
    {"clock_share", AT(clock), DOUBLE, POSITIVE},
    {"error", AT(error), DOUBLE, DONE},
    {"rounds", AT(rounds), INT, DONE},
    {"forced", AT(forced), TEXT, ALWAYS},
    {"registers", AT(registers), TEXT, ALWAYS},
    {"note", AT(note), TEXT, ALWAYS},
#undef AT
};

enum { FIELDS = sizeof fields / sizeof *fields };

static const char *const states[] = {[ROW_DONE] = "ok", [ROW_FAILED] = "FAILED", [ROW_REFUSED] = "refused"};

static double value_of(const struct field *field, const struct row *r)
{
    const void *at = (const char *)r + field->offset;

    return field->kind == INT ? *(const int *)at : *(const double *)at;
}

static bool is_there(const struct field *field, const struct row *r)
{
    return field->when == ALWAYS || (r->state == ROW_DONE && (field->when == DONE || value_of(field, r) > 0));
}

/* ---- JSON ---- */

static cJSON *device_json(const struct machine *m)
{
    cJSON *device = cJSON_CreateObject();

    cJSON_AddStringToObject(device, "name", m->name);
    cJSON_AddStringToObject(device, "platform", m->platform);
    cJSON_AddStringToObject(device, "vendor", m->vendor);
    cJSON_AddStringToObject(device, "driver", m->driver);
    cJSON_AddStringToObject(device, "type", m->type);
    cJSON_AddNumberToObject(device, "compute_units", m->units);
    cJSON_AddNumberToObject(device, "memory_bytes", m->memory);
    cJSON_AddNumberToObject(device, "max_alloc_bytes", m->max_alloc);
    return device;
}

static cJSON *row_json(const struct row *r)
{
    cJSON *json = cJSON_CreateObject(), *stages = cJSON_CreateObject();

    cJSON_AddStringToObject(json, "status", states[r->state]);
    for (const struct field *f = fields; f < fields + FIELDS; f++) {
        if (f->kind == TEXT)
            cJSON_AddStringToObject(json, f->name, (const char *)r + f->offset);
        else if (is_there(f, r))
            cJSON_AddNumberToObject(json, f->name, value_of(f, r));
        else
            cJSON_AddNullToObject(json, f->name);
    }
    for (int i = 0; i < STAGES; i++)
        if (r->stage[i] > 0)
            cJSON_AddNumberToObject(stages, stage_names[i], r->stage[i]);
    cJSON_AddItemToObject(json, "stages", stages);
    return json;
}

static void fill_result(cJSON *json, const struct result *r)
{
    cJSON *list = cJSON_CreateArray();

    cJSON_AddStringToObject(json, "clgaze", r->version);
    cJSON_AddStringToObject(json, "command", r->command);
    cJSON_AddItemToObject(json, "device", device_json(&r->machine));
    cJSON_AddNumberToObject(json, "peak_gflops", r->peak);
    cJSON_AddNumberToObject(json, "peak_gflops_least", r->peak_least);
    cJSON_AddNumberToObject(json, "copy_gbytes", r->copy);
    cJSON_AddBoolToObject(json, "battery", r->battery);
    cJSON_AddBoolToObject(json, "tuned", r->tuned);
    for (int i = 0; i < r->n; i++)
        cJSON_AddItemToArray(list, row_json(&r->rows[i]));
    cJSON_AddItemToObject(json, "rows", list);
    if (r->prefill.seq)
        cJSON_AddItemToObject(json, "prefill", row_json(&r->prefill));
}

/* The first device; with several the others follow in "others", each such a value. */
int write_json(FILE *f, const struct result *results, int n)
{
    cJSON *json = cJSON_CreateObject(), *others = n > 1 ? cJSON_AddArrayToObject(json, "others") : NULL;

    fill_result(json, &results[0]);
    for (int i = 1; i < n; i++) {
        cJSON *other = cJSON_CreateObject();

        fill_result(other, &results[i]);
        cJSON_AddItemToArray(others, other);
    }
    return print_json(f, json, 0);
}

/* ---- JSON read back ---- */

static void copy_text(char *to, size_t size, const cJSON *from)
{
    snprintf(to, size, "%s", cJSON_IsString(from) ? from->valuestring : "");
}

static void read_row(const cJSON *json, struct row *r)
{
    const char *state = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "status"));
    const cJSON *stages = cJSON_GetObjectItemCaseSensitive(json, "stages");

    *r = (struct row){.state = !state || strcmp(state, "ok") == 0 ? ROW_DONE : ROW_REFUSED};
    for (const struct field *f = fields; f < fields + FIELDS; f++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, f->name);
        void *at = (char *)r + f->offset;

        if (f->kind == TEXT)
            copy_text(at, f->size, item);
        else if (f->kind == INT && cJSON_IsNumber(item))
            *(int *)at = item->valueint;
        else if (cJSON_IsNumber(item))
            *(double *)at = item->valuedouble;
    }
    for (int i = 0; i < STAGES; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(stages, stage_names[i]);

        r->stage[i] = cJSON_IsNumber(item) ? item->valuedouble : 0;
    }
}

static char *read_file(const char *path)
{
    enum { MOST = 16 << 20 };
    FILE *f = fopen(path, "rb");
    char *text = f ? malloc(MOST) : NULL;
    size_t n = text ? fread(text, 1, MOST - 1, f) : 0;

    if (text)
        text[n] = '\0';
    if (f)
        fclose(f);
    return text;
}

int read_json(const char *path, struct result *r)
{
    char *text = read_file(path);
    cJSON *json = text ? cJSON_Parse(text) : NULL;
    const cJSON *rows = cJSON_GetObjectItemCaseSensitive(json, "rows"), *row;
    const cJSON *device = cJSON_GetObjectItemCaseSensitive(json, "device");
    int code = 0;

    *r = (struct result){0};
    if (!text)
        code = fail(EXIT_INPUT, "%s cannot be read", path);
    else if (!cJSON_IsArray(rows) || !cJSON_IsObject(device))
        code = fail(EXIT_INPUT, "%s is no JSON of bench_sparse: \"device\" and \"rows\" are needed", path);
    else if (!(r->rows = calloc((size_t)cJSON_GetArraySize(rows) + 1, sizeof *r->rows)))
        code = fail(EXIT_INPUT, "host memory ran out");
    if (!code) {
        copy_text(r->version, sizeof r->version, cJSON_GetObjectItemCaseSensitive(json, "clgaze"));
        copy_text(r->machine.name, sizeof r->machine.name, cJSON_GetObjectItemCaseSensitive(device, "name"));
        copy_text(r->machine.driver, sizeof r->machine.driver, cJSON_GetObjectItemCaseSensitive(device, "driver"));
        cJSON_ArrayForEach(row, rows) read_row(row, &r->rows[r->n++]);
    }
    cJSON_Delete(json);
    free(text);
    return code;
}

/* ---- CSV ---- */

/* A text in quotes, quotes in it doubled. */
static void put_quoted(FILE *f, const char *text)
{
    fputc('"', f);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', f);
        fputc(*text, f);
    }
    fputc('"', f);
}

static void put_row(FILE *f, const struct result *result, const struct row *r)
{
    put_quoted(f, result->machine.name);
    fprintf(f, ",%s", states[r->state]);
    for (const struct field *at = fields; at < fields + FIELDS; at++) {
        fputc(',', f);
        if (at->kind == TEXT)
            put_quoted(f, (const char *)r + at->offset);
        else if (is_there(at, r))
            fprintf(f, "%.15g", value_of(at, r));
    }
    for (int i = 0; i < STAGES; i++) {
        fputc(',', f);
        if (r->stage[i] > 0)
            fprintf(f, "%.15g", r->stage[i]);
    }
    fputc('\n', f);
}

int write_csv(FILE *f, const struct result *results, int n)
{
    fprintf(f, "device,status");
    for (int i = 0; i < FIELDS; i++)
        fprintf(f, ",%s", fields[i].name);
    for (int i = 0; i < STAGES; i++)
        fprintf(f, ",%s_ms", stage_names[i]);
    fputc('\n', f);
    for (const struct result *r = results; r < results + n; r++)
        for (int i = 0; i < r->n; i++)
            put_row(f, r, &r->rows[i]);
    return 0;
}

/* ---- markdown ---- */

/* What ends a cell, or a line, must not be in one. */
static void put_cell(FILE *f, const char *text)
{
    fprintf(f, " ");
    for (; *text; text++)
        fprintf(f, *text == '|' ? "\\%c" : "%c", *text == '\n' ? ' ' : *text);
    fprintf(f, " |");
}

int write_markdown(FILE *f, const struct result *results, int n)
{
    static const char *const shown[] = {"op",         "seq",        "heads",  "kv_heads", "head_dim", "block",
                                        "dtype",      "rule",       "value",  "kept",     "ms",       "ms_q1",
                                        "ms_q3",      "gflops",     "gbytes", "dense_ms", "speedup",  "ideal_share",
                                        "peak_share", "copy_share", "kernel", "note"};
    enum { SHOWN = sizeof shown / sizeof *shown };

    for (const struct result *r = results; r < results + n; r++) {
        fprintf(f, "**%s** (%s), driver %s, clgaze %s, %s%s\n\n`%s`\n\n|", r->machine.name, r->machine.platform,
                r->machine.driver, r->version, r->tuned ? "tuned" : "not tuned", r->battery ? ", on battery" : "",
                r->command);
        for (int i = 0; i < SHOWN; i++)
            fprintf(f, " %s |", shown[i]);
        fprintf(f, " status |\n|");
        for (int i = 0; i <= SHOWN; i++)
            fprintf(f, "---|");
        for (const struct row *row = r->rows; row < r->rows + r->n; row++) {
            fprintf(f, "\n|");
            for (int i = 0; i < SHOWN; i++) {
                const struct field *at = fields;
                char number[32] = "";

                while (strcmp(at->name, shown[i]) != 0)
                    at++;
                if (at->kind != TEXT && is_there(at, row))
                    snprintf(number, sizeof number, "%.15g", value_of(at, row));
                put_cell(f, at->kind == TEXT ? (const char *)row + at->offset : number);
            }
            put_cell(f, states[row->state]);
        }
        fprintf(f, "\n\npeak %.6g GFLOP/s of f32 multiply-add (at least %.6g), %.6g GB/s of copying\n", r->peak,
                r->peak_least, r->copy);
    }
    return 0;
}
