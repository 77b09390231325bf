/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.c: files of records that a person names: what is refused, --import, --export.
 */
#include "tune.h"

#include "fail.h"
#include "files.h"
#include "records.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- what the library says ----------------------------------------------------- */

static struct {
    int keep; /* the first warning is kept, not said */
    char first[512];
} warnings;

void tune_log(void *user, clgaze_log_level level, clgaze_status status, const char *message)
{
    if (level != CLGAZE_LOG_WARN)
        fail_log(user, level, status, message);
    else if (!warnings.keep)
        fprintf(stderr, "clgaze-tune: %s\n", message);
    else if (!warnings.first[0])
        snprintf(warnings.first, sizeof warnings.first, "%s", message);
}

/* ---- a file that will be added to --------------------------------------------------- */

static const char *folder_refuses(const char *file)
{
    char folder[CLG_MAX_PATH];
    const char *end = strrchr(file, '/');
    const size_t n = end ? (size_t)(end - file) : 0;

    if (strlen(file) + sizeof ".journal" >= sizeof folder)
        return "its name is too long";
    snprintf(folder, sizeof folder, "%.*s", end ? (int)(n ? n : 1) : 1, end ? file : ".");
    return access(folder, W_OK | X_OK) == 0 ? NULL : "its folder does not exist, or may not be written to";
}

/* What is wrong with what the file holds: said, and an exit code. */
static int content_refuses(clgaze_context *context, const char *option, const char *file)
{
    struct clg_records *there = clg_records_new(context);
    struct clg_ear ear;
    clgaze_status st;
    bool missing, lost; /* would it be, if the file were written? */

    if (!there)
        return fail(EXIT_INPUT, "memory ran out");
    clg_ear_open(&ear, context);
    warnings.keep = 1; /* they came when the context was made */
    st = clg_records_load(&ear.ctx, there, file, CLG_FROM_FILE, &missing);
    warnings.keep = 0;
    warnings.first[0] = '\0';
    lost = there->future || there->unread;
    clg_records_free(context, there);
    if (lost || (st && option)) /* the user's own is written anew if it is broken */
        return fail(EXIT_INPUT, "%s%s%s", option ? option : "", option ? ": " : "", ear.reason);
    return 0;
}

int tune_store_check(clgaze_context *context, const char *option, const char *file)
{
    char path[CLG_MAX_PATH];
    const char *why = NULL;

    if (file)
        why = folder_refuses(file);
    else if (!clg_tuning_file(context, path))
        return fail(EXIT_INPUT, "there is no folder to keep records in: set XDG_CACHE_HOME or HOME, or name a file "
                                "with --out");
    else if ((why = clg_folder_distrust(context->tuning_dir)) != NULL)
        return fail(EXIT_INPUT, "folder \"%s\" cannot hold records: %s; name a file with --out", context->tuning_dir,
                    why);
    if (why)
        return fail(EXIT_INPUT, "%s \"%s\" cannot be written: %s", option, file, why);
    return content_refuses(context, file ? option : NULL, file ? file : path);
}

/* ---- import and export ----------------------------------------------------------------- */

/* Say why records of `other` are not of this device; 0: they are.  A record of no UUID is of every
 * card of the model, and one UUID under two names is somebody's edit. */
static int foreign(const struct clg_signature *other, const struct clg_signature *here, const char *file)
{
    const bool model = strcmp(other->name, here->name) == 0 && strcmp(other->vendor, here->vendor) == 0 &&
                       other->compute_units == here->compute_units && other->cpu == here->cpu;

    if (!model)
        return fail(EXIT_INPUT,
                    "--import \"%s\" is of another device, \"%s\" of %u compute units; this is \"%s\" of %u", file,
                    other->name, other->compute_units, here->name, here->compute_units);
    if (other->uuid[0] && strcmp(other->uuid, here->uuid) != 0)
        return fail(
            EXIT_INPUT,
            "--import \"%s\" is of another card of this model, \"%s\": take uuid=%s out of the file to use it "
            "on every one",
            file, other->name, other->uuid);
    return 0;
}

/* Those of this device, `mine`, of a file's; none is an error, and says of which they are. */
static int pick_mine(clgaze_context *context, const struct clg_signature *here, const char *file,
                     struct clg_records *theirs, struct clg_records *mine)
{
    int code = 0;

    if (theirs->n == 0)
        return fail(EXIT_INPUT, "--import \"%s\" holds no record", file);
    if (clg_records_copy(context, theirs, CLG_FROM_FILE, here, mine) != CLGAZE_OK)
        return fail_library(CLGAZE_ERR_NO_MEMORY);
    if (mine->n == 0)
        return foreign(&theirs->at[0].device, here, file);
    for (size_t i = 0; i < mine->n && !code; i++)
        code = foreign(&mine->at[i].device, here, file);
    return code;
}

/* All its lines are believed, or none: a person asked for this file, and can mend it. */
static int take(clgaze_context *context, const char *file, struct clg_records *theirs, struct clg_records *mine)
{
    const struct clg_signature here = clg_signature_of(&context->device);
    clgaze_status st;
    bool missing;
    int code;

    warnings.keep = 1;
    st = clg_records_load(context, theirs, file, CLG_FROM_FILE, &missing);
    warnings.keep = 0;
    if (st)
        return fail_library(st);
    if (missing)
        return fail(EXIT_INPUT, "--import \"%s\" does not exist", file);
    if (warnings.first[0])
        return fail(EXIT_INPUT, "--import \"%s\": nothing is taken: %s", file, warnings.first);
    code = pick_mine(context, &here, file, theirs, mine);
    if (code)
        return code;
    if (clg_records_copy(context, mine, CLG_FROM_FILE, NULL, context->records) != CLGAZE_OK)
        return fail_library(CLGAZE_ERR_NO_MEMORY);
    fprintf(stderr, "clgaze-tune: %zu %s of \"%s\" taken\n", mine->n, mine->n == 1 ? "record" : "records", file);
    return 0;
}

int tune_import(clgaze_context *context, const char *file)
{
    struct clg_records *theirs = clg_records_new(context), *mine = clg_records_new(context);
    const int code = theirs && mine ? take(context, file, theirs, mine) : fail_library(CLGAZE_ERR_NO_MEMORY);

    clg_records_free(context, theirs);
    clg_records_free(context, mine);
    return code;
}

int tune_export(clgaze_context *context, const char *file)
{
    const struct clg_signature here = clg_signature_of(&context->device);
    struct clg_records *mine = clg_records_new(context);
    clgaze_status st =
        mine ? clg_records_copy(context, context->records, CLG_FROM_USER, &here, mine) : CLGAZE_ERR_NO_MEMORY;
    const size_t n = mine ? mine->n : 0;
    int code = 0;

    clg_records_free(context, mine);
    if (!st && !n)
        return fail(EXIT_INPUT, "there is no record of this device to export: tune first");
    code = st ? 0 : tune_store_check(context, "--export", file);
    st = st || code ? st : clgaze_tuning_save(context, file);
    return st ? fail_library(st) : code;
}

/* ---- notes ---------------------------------------------------------------------------------- */

void tune_note(clgaze_context *context, const char *problem, const char *word)
{
    const char *rest = strchr(problem, ' ');
    char op[16];
    struct clg_record r;
    size_t n;

    snprintf(op, sizeof op, "%.*s", (int)strcspn(problem, " "), problem);
    if (!rest || !clg_records_find(context->records, &context->device, op, rest + 1, 0, &r))
        return;
    n = strlen(r.note);
    if (strstr(r.note, word) || n + strlen(word) + 2 > sizeof r.note)
        return;
    snprintf(r.note + n, sizeof r.note - n, "%s%s", n ? " " : "", word);
    clg_records_put(context, context->records, &r);
}

/* ---- stale records ------------------------------------------------------------------------ */

void tune_stale(clgaze_context *context, struct tune_problems *problems, int gpu)
{
    const struct clg_signature here = clg_signature_of(&context->device);
    struct clg_records *mine = clg_records_new(context);

    if (mine)
        clg_records_copy(context, context->records, CLG_FROM_USER, &here, mine);
    for (size_t i = 0; mine && i < mine->n; i++) {
        const struct clg_record *r = &mine->at[i];
        const int from = problems->n;
        char name[96], why[MAX_WHY];

        snprintf(name, sizeof name, "%s %s", r->kernel->op, r->problem);
        if (strcmp(r->device.driver, here.driver) == 0 || tune_problems_add(problems, name, gpu, why))
            continue;
        for (int j = from; j < problems->n; j++)
            snprintf(problems->at[j].stale, sizeof problems->at[j].stale, "driver %.60s%s%s",
                     r->device.driver[0] ? r->device.driver : "unknown", r->note[0] ? ", " : "", r->note);
    }
    clg_records_free(context, mine);
}
