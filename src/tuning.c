/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tuning.c: the records of a context: the library's own, the user's file, loading and saving.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "misses.h"
#include "records.h"

struct clg_records *clg_records_new(const clgaze_context *ctx)
{
    struct clg_records *records = clg_alloc(ctx, sizeof *records);

    if (records && pthread_mutex_init(&records->lock, NULL) != 0) {
        clg_release(ctx, records);
        records = NULL;
    }
    return records;
}

void clg_records_free(const clgaze_context *ctx, struct clg_records *records)
{
    if (!records)
        return;
    pthread_mutex_destroy(&records->lock);
    clg_release(ctx, records->at);
    clg_release(ctx, records);
}

/* "folder/NVIDIA_H100_PCIe-1a2b3c4d.tuning" */
bool clg_tuning_file(const clgaze_context *ctx, char path[CLG_MAX_PATH])
{
    const struct clg_signature s = clg_signature_of(&ctx->device);
    char name[64];
    size_t n = 0;
    int length;

    for (; s.name[n] && n + 1 < sizeof name; n++)
        name[n] = isalnum((unsigned char)s.name[n]) || s.name[n] == '.' || s.name[n] == '-' ? s.name[n] : '_';
    name[n] = '\0';
    if (!ctx->tuning_dir)
        return false;
    length = snprintf(path, CLG_MAX_PATH, "%s/%s-%08llx.tuning", ctx->tuning_dir, name,
                      (unsigned long long)clg_hash(CLG_HASH_SEED, s.uuid, strlen(s.uuid)) & 0xffffffffu);
    return length > 0 && length < CLG_MAX_PATH;
}

/* A line of ours that is wrong is nothing that a user could mend: the tests look for it. */
static clgaze_status read_library(clgaze_context *ctx)
{
    clgaze_status st = CLGAZE_OK;
    clgaze_context quiet = *ctx;

    quiet.log_level = CLGAZE_LOG_ERROR;
    for (int i = 0; clg_sources[i].name; i++) {
        const char *end = strrchr(clg_sources[i].name, '.');

        if (!end || strcmp(end, ".conf") != 0)
            continue;
        ctx->records->source = clg_sources[i].name;
        TRY(clg_records_parse(&quiet, ctx->records, (const char *)clg_sources[i].text, clg_sources[i].size,
                              CLG_FROM_LIBRARY));
    }
out:
    ctx->records->source = NULL;
    return st;
}

clgaze_status clg_tuning_open(clgaze_context *ctx, const char *dir)
{
    clgaze_status st = CLGAZE_OK;
    char path[CLG_MAX_PATH];
    bool missing;

    ctx->records = clg_records_new(ctx);
    NEED(ctx->records, CLGAZE_ERR_NO_MEMORY, "no memory for tuned records");
    TRY(read_library(ctx));
    if ((dir && !dir[0]) || (!dir && !clg_folder_default(path, sizeof path)))
        goto out;
    ctx->tuning_dir = clg_copy_text(ctx, dir ? dir : path);
    NEED(ctx->tuning_dir, CLGAZE_ERR_NO_MEMORY, "no memory for the name of the cache folder");
    if (clg_tuning_file(ctx, path)) {
        struct clg_ear ear;

        clg_ear_open(&ear, ctx);
        st = clg_records_load(&ear.ctx, ctx->records, path, CLG_FROM_USER, &missing);
        if (st == CLGAZE_ERR_CACHE) {
            clg_log(ctx, CLGAZE_LOG_WARN, st, "%s", ear.reason);
            st = CLGAZE_OK;
        }
        NEED(st == CLGAZE_OK, st, "%s", ear.reason);
    }
out:
    return st;
}

void clg_tuning_close(clgaze_context *ctx)
{
    clg_records_free(ctx, ctx->records);
    clg_release(ctx, ctx->tuning_dir);
}

clgaze_status clgaze_tuning_load(clgaze_context *ctx, const char *file)
{
    clgaze_status st = CLGAZE_OK;
    char path[CLG_MAX_PATH];
    bool missing = false;

    if (!ctx)
        return CLGAZE_ERR_NULL;
    if (!file && !clg_tuning_file(ctx, path))
        return CLGAZE_OK;
    TRY(clg_records_load(ctx, ctx->records, file ? file : path, file ? CLG_FROM_FILE : CLG_FROM_USER, &missing));
    NEED(!file || !missing, CLGAZE_ERR_CACHE, "tuning file \"%s\" does not exist", file);
out:
    return st;
}

clgaze_status clgaze_tuning_save(clgaze_context *ctx, const char *file)
{
    clgaze_status st = CLGAZE_OK;
    struct clg_records *mine = NULL;
    struct clg_signature here;
    enum clg_origin from;
    char path[CLG_MAX_PATH];
    const char *why = NULL;

    if (!ctx)
        return CLGAZE_ERR_NULL;
    NEED(file || clg_tuning_file(ctx, path), CLGAZE_ERR_CACHE,
         "there is no folder to keep tuned records in: name one, or set XDG_CACHE_HOME or HOME");
    if (!file)
        why = clg_folder_distrust(ctx->tuning_dir);
    NEED(!why, CLGAZE_ERR_CACHE, "folder \"%s\" cannot hold tuned records: %s", ctx->tuning_dir, why);
    from = file ? CLG_FROM_USER : CLG_FROM_FILE;
    here = clg_signature_of(&ctx->device);
    mine = clg_records_new(ctx);
    NEED(mine, CLGAZE_ERR_NO_MEMORY, "no memory for tuned records");
    TRY(clg_records_copy(ctx, ctx->records, from, &here, mine));
    TRY(clg_records_save(ctx, mine, from, file ? file : path));
    if (!file)
        clg_misses_prune(ctx);
out:
    clg_records_free(ctx, mine);
    return st;
}

clgaze_status clgaze_tuning_clear(clgaze_context *ctx)
{
    if (!ctx)
        return CLGAZE_ERR_NULL;
    clg_records_forget(ctx->records, CLG_FROM_LIBRARY);
    return read_library(ctx); /* the user's may stand where the library's stood */
}
