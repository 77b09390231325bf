/*
 * sparse_report.c: JSON and CSV.
 */
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "fail.h"
#include "sparse.h"

static const char *op_name(const struct options *o)
{
    return o->pipeline ? "pipeline" : "attend";
}

/* ---- JSON ---- */

static cJSON *device_json(const struct bench *b)
{
    cJSON *device = cJSON_CreateObject();

    cJSON_AddStringToObject(device, "name", b->name);
    cJSON_AddStringToObject(device, "platform", b->platform);
    cJSON_AddStringToObject(device, "vendor", b->vendor);
    cJSON_AddStringToObject(device, "driver", b->driver);
    cJSON_AddStringToObject(device, "type",
                            b->type & CL_DEVICE_TYPE_CPU   ? "cpu"
                            : b->type & CL_DEVICE_TYPE_GPU ? "gpu"
                                                           : "accelerator");
    cJSON_AddNumberToObject(device, "compute_units", b->units);
    cJSON_AddNumberToObject(device, "memory_bytes", (double)b->memory);
    cJSON_AddNumberToObject(device, "max_alloc_bytes", (double)b->max_alloc);
    return device;
}

/* How a row's fields are called; both formats walk this table. */
enum kind { INT, REAL, TEXT };

static const struct field {
    const char *name;
    size_t offset;
    enum kind kind;
    bool result; /* null where the row was not measured */
} fields[] = {
#define AT(field) offsetof(struct row, field)
    {"density", AT(density), REAL, false},
    {"kept", AT(kept), REAL, true},
    {"kernel", AT(kernel), TEXT, false},
    {"ms", AT(ms.median), REAL, true},
    {"ms_min", AT(ms.min), REAL, true},
    {"ms_max", AT(ms.max), REAL, true},
    {"gflops", AT(gflops), REAL, true},
    {"dense_ms", AT(dense.median), REAL, true},
    {"dense_ms_min", AT(dense.min), REAL, true},
    {"dense_ms_max", AT(dense.max), REAL, true},
    {"dense_gflops", AT(dense_gflops), REAL, true},
    {"dense_kernel", AT(dense_kernel), TEXT, false},
    {"speedup", AT(speedup), REAL, true},
    {"ideal_share", AT(ideal), REAL, true},
    {"rounds", AT(rounds), INT, true},
    {"note", AT(note), TEXT, false},
#undef AT
};

enum { FIELDS = sizeof fields / sizeof *fields };

static const char *const states[] = {[ROW_DONE] = "ok", [ROW_FAILED] = "FAILED", [ROW_REFUSED] = "refused"};

static void add_field(cJSON *json, const struct field *field, const struct row *r)
{
    const void *at = (const char *)r + field->offset;

    if (field->kind == TEXT)
        cJSON_AddStringToObject(json, field->name, at);
    else if (field->result && r->state != ROW_DONE)
        cJSON_AddNullToObject(json, field->name);
    else
        cJSON_AddNumberToObject(json, field->name, field->kind == INT ? *(const int *)at : *(const double *)at);
}

static cJSON *row_json(const struct options *o, const struct row *r)
{
    cJSON *json = cJSON_CreateObject(), *stages = cJSON_CreateObject();

    cJSON_AddNumberToObject(json, "seq", r->seq);
    cJSON_AddNumberToObject(json, "heads", o->heads);
    cJSON_AddNumberToObject(json, "kv_heads", o->kv_heads);
    cJSON_AddNumberToObject(json, "head_dim", o->head_dim);
    cJSON_AddNumberToObject(json, "block", r->block);
    cJSON_AddStringToObject(json, "dtype", clgaze_dtype_name((clgaze_dtype)o->dtype));
    cJSON_AddStringToObject(json, "op", op_name(o));
    cJSON_AddStringToObject(json, "status", states[r->state]);
    for (int i = 0; i < FIELDS; i++)
        add_field(json, &fields[i], r);
    for (int i = o->pipeline ? 0 : STAGES - 1; i < STAGES && r->state == ROW_DONE; i++)
        cJSON_AddNumberToObject(stages, stage_names[i], r->stage[i]);
    cJSON_AddItemToObject(json, "stages", stages);
    return json;
}

int write_json(FILE *f, const struct bench *b, const struct options *o, const struct peak *peak,
               const struct row *rows, int n)
{
    cJSON *json = cJSON_CreateObject(), *list = cJSON_CreateArray();
    char *text;

    cJSON_AddStringToObject(json, "clgaze", clgaze_version());
    cJSON_AddItemToObject(json, "device", device_json(b));
    cJSON_AddNumberToObject(json, "peak_gflops", peak->gflops);
    cJSON_AddNumberToObject(json, "copy_gbytes", peak->gbytes);
    for (int i = 0; i < n; i++)
        cJSON_AddItemToArray(list, row_json(o, &rows[i]));
    cJSON_AddItemToObject(json, "rows", list);
    text = cJSON_Print(json);
    cJSON_Delete(json);
    if (!text)
        return fail(EXIT_INPUT, "host memory ran out");
    fprintf(f, "%s\n", text);
    cJSON_free(text);
    return 0;
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

static void put_field(FILE *f, const struct field *field, const struct row *r)
{
    const void *at = (const char *)r + field->offset;

    fputc(',', f);
    if (field->kind == TEXT)
        put_quoted(f, at);
    else if (field->result && r->state != ROW_DONE)
        return;
    else if (field->kind == INT)
        fprintf(f, "%d", *(const int *)at);
    else
        fprintf(f, "%.15g", *(const double *)at);
}

int write_csv(FILE *f, const struct options *o, const struct row *rows, int n)
{
    fprintf(f, "seq,heads,kv_heads,head_dim,block,dtype,op,status");
    for (int i = 0; i < FIELDS; i++)
        fprintf(f, ",%s", fields[i].name);
    for (int i = 0; i < STAGES; i++)
        fprintf(f, ",%s_ms", stage_names[i]);
    fputc('\n', f);
    for (const struct row *r = rows; r < rows + n; r++) {
        fprintf(f, "%d,%d,%d,%d,%d,%s,%s,%s", r->seq, o->heads, o->kv_heads, o->head_dim, r->block,
                clgaze_dtype_name((clgaze_dtype)o->dtype), op_name(o), states[r->state]);
        for (int i = 0; i < FIELDS; i++)
            put_field(f, &fields[i], r);
        for (int i = 0; i < STAGES; i++) {
            fputc(',', f);
            if (r->state == ROW_DONE && (o->pipeline || i == STAGES - 1))
                fprintf(f, "%.15g", r->stage[i]);
        }
        fputc('\n', f);
    }
    return 0;
}
