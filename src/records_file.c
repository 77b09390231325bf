/* SPDX-License-Identifier: Apache-2.0 */
/*
 * records_file.c: tuned records in a file that several processes may write.
 */
#include <string.h>
#include <unistd.h>

#include "files.h"
#include "records.h"

enum { MAX_FILE = 4 << 20 };

clgaze_status clg_records_load(clgaze_context *ctx, struct clg_records *records, const char *file,
                               enum clg_origin origin, bool *missing)
{
    clgaze_status st = CLGAZE_OK;
    const char *why;
    char *text = NULL;
    size_t size = 0;
    struct clg_ear ear;
    const int fd = clg_file_open(file, &size, &why);
    bool unread = fd == CLG_UNREADABLE;

    *missing = fd < 0 && !why;
    NEED(fd >= 0 || !why, CLGAZE_ERR_CACHE, "tuning file \"%s\" is not read: %s", file, why);
    if (fd < 0)
        goto out;
    NEED(size <= MAX_FILE, CLGAZE_ERR_CACHE, "tuning file \"%s\" is not read: it has %zu bytes, more than %d", file,
         size, MAX_FILE);
    text = clg_alloc(ctx, size);
    NEED(text, CLGAZE_ERR_NO_MEMORY, "no memory for a tuning file of %zu bytes", size);
    unread = !clg_read_all(fd, text, size);
    NEED(!unread, CLGAZE_ERR_CACHE, "tuning file \"%s\" cannot be read", file);
    clg_ear_open(&ear, ctx);
    st = clg_records_parse(&ear.ctx, records, text, size, origin);
    NEED(st == CLGAZE_OK, st, "tuning file \"%s\" is not read: %s", file, ear.reason);
out:
    pthread_mutex_lock(&records->lock);
    records->unread = records->unread || unread;
    pthread_mutex_unlock(&records->lock);
    clg_release(ctx, text);
    if (fd >= 0)
        close(fd);
    return st;
}

/* The text of all records of an origin >= from; NULL: no memory. */
static char *text_of(const clgaze_context *ctx, struct clg_records *records, enum clg_origin from, size_t *size)
{
    struct clg_text text = {NULL, 0, 0};
    char *buffer;

    clg_records_print(records, from, &text);
    *size = text.used;
    buffer = clg_alloc(ctx, text.used + 1);
    if (buffer) {
        text = (struct clg_text){buffer, *size + 1, 0};
        clg_records_print(records, from, &text);
    }
    return buffer;
}

clgaze_status clg_records_save(clgaze_context *ctx, struct clg_records *records, enum clg_origin from,
                               const char *file)
{
    clgaze_status st = CLGAZE_OK;
    struct clg_records *all = clg_records_new(ctx);
    const int held = clg_file_lock(file);
    char *text = NULL;
    struct clg_ear ear;
    bool missing;
    size_t size;

    NEED(all, CLGAZE_ERR_NO_MEMORY, "no memory for tuned records");
    NEED(held >= 0, CLGAZE_ERR_CACHE,
         "tuning file \"%s\" cannot be written: its folder cannot, or another process has held its lock for 5 s",
         file);
    clg_ear_open(&ear, ctx);
    st = clg_records_load(&ear.ctx, all, file, CLG_FROM_USER, &missing);
    NEED(st != CLGAZE_ERR_NO_MEMORY, st, "%s", ear.reason);
    NEED(!all->unread, CLGAZE_ERR_CACHE, "%s; it is not written, since what it holds would be lost", ear.reason);
    NEED(!all->future, CLGAZE_ERR_CACHE,
         "tuning file \"%s\" is not written: it holds records of a later version of clgaze", file);
    if (st != CLGAZE_OK) {
        clg_records_forget(all, CLG_FROM_LIBRARY);
        clg_log(ctx, CLGAZE_LOG_WARN, CLGAZE_ERR_CACHE, "%s; it is written anew", ear.reason);
    }
    TRY(clg_records_copy(ctx, records, from, NULL, all));
    text = text_of(ctx, all, CLG_FROM_LIBRARY, &size);
    NEED(text, CLGAZE_ERR_NO_MEMORY, "no memory for tuned records");
    NEED(clg_file_replace(file, (const void *const[]){text}, &size, 1), CLGAZE_ERR_CACHE,
         "tuning file \"%s\" cannot be written: the disk is full, or the folder may not be written to", file);
out:
    clg_release(ctx, text);
    clg_records_free(ctx, all);
    if (held >= 0)
        close(held);
    return st;
}
