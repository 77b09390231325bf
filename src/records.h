/* SPDX-License-Identifier: Apache-2.0 */
/*
 * records.h: what is known about the quickest configurations.
 *
 * Text, one record a line, a header line for each device:
 *
 *     clgaze-tuning 1
 *     device "NVIDIA H200" vendor=nvidia driver=580.159.04 cu=132 type=gpu uuid=...
 *     attend attend_nv_mma "f16 d128 b64 g4 n32k" 8f3a91c2 3440.0 5120.0 done "2026-11-25" WG=128 STAGES=3
 *
 * Times are microseconds, of this and of what was used before; the text in quotes may be missing.
 * "- - untried" in place of times and done: nobody measured it, and no plan uses it unproved.
 */
#ifndef CLG_RECORDS_H
#define CLG_RECORDS_H

#include "files.h"
#include "internal.h"

/* Where a record comes from; a later one wins over an earlier one. */
enum clg_origin { CLG_FROM_LIBRARY, CLG_FROM_USER, CLG_FROM_FILE, CLG_FROM_TUNER };

/* Which device a record is of.  An empty text or 0 says nothing and matches all. */
struct clg_signature {
    char name[128], vendor[16], driver[64], uuid[33];
    unsigned compute_units;
    bool cpu;
};

struct clg_record {
    struct clg_signature device;
    const struct clg_kernel *kernel;
    char problem[80]; /* without the operation: "f16 d128 b64 g4 n32k"      */
    int values[CLG_MAX_PARAMS];
    double us, default_us; /* of this and of what was used before             */
    bool finished;         /* the search came to its end                      */
    bool untried;          /* from a device's documents, not measured; the times are 0 */
    char note[48];         /* the day it was made, and what was noticed then: "2026-11-25 battery" */
    enum clg_origin origin;
    const char *source; /* what `source` of its records was when it was read, and the line there; */
    int line;           /* NULL, 0: it was not read                                               */
};

struct clg_records {
    struct clg_record *at;
    size_t n, room;
    bool future;        /* a text of a later version came, and was not read   */
    bool unread;        /* a file is there that could not be read now         */
    const char *source; /* names what is being read; lives longer than these */
    pthread_mutex_t lock;
};

struct clg_signature clg_signature_of(const struct clg_device *device);
/* What stands for the UUID that a driver has not: the device's name and its place in the machine. */
void clg_make_uuid(const struct clg_device *device, const cl_uint place[5], unsigned char id[16]);
/* Add or replace: same device (uuid, else name, vendor and compute units), operation and problem. */
clgaze_status clg_records_put(clgaze_context *ctx, struct clg_records *records, const struct clg_record *record);
/* Put those of an origin >= `origin` of one device, NULL: of all, into others. */
clgaze_status clg_records_copy(clgaze_context *ctx, struct clg_records *from, enum clg_origin origin,
                               const struct clg_signature *device, struct clg_records *to);
/* Read text; lines that cannot be believed are logged and skipped. CLGAZE_ERR_CACHE: it is no tuning file. */
clgaze_status clg_records_parse(clgaze_context *ctx, struct clg_records *records, const char *text, size_t size,
                                enum clg_origin origin);
/* Write all records of an origin >= `from` in order: devices, then pipeline order, then problem. */
void clg_records_print(struct clg_records *records, enum clg_origin from, struct clg_text *text);
/* The best record for a problem of `op` here: how near it is, or false.  0: this device, driver and
 * problem; 1: this device and problem, another driver; 2: this device, the nearest problem; 3: the same
 * vendor and kind, a device of this name first; 4: the same kind of device. */
bool clg_records_find(struct clg_records *records, const struct clg_device *device, const char *op,
                      const char *problem, int nearness, struct clg_record *found);
/* A file of ours that nobody else may write; CLGAZE_OK and `missing` if there is none. */
clgaze_status clg_records_load(clgaze_context *ctx, struct clg_records *records, const char *file,
                               enum clg_origin origin, bool *missing);
/* Merge records of an origin >= `from` into a file: lock, read, temporary file, fsync, rename.
 * A file that is none of ours is written anew, but not one of a later version, or that cannot be read. */
clgaze_status clg_records_save(clgaze_context *ctx, struct clg_records *records, enum clg_origin from,
                               const char *file);
void clg_records_forget(struct clg_records *records, enum clg_origin from); /* of an origin >= `from` */

/* tuning.c: a context's own. */
clgaze_status clg_tuning_open(clgaze_context *ctx, const char *dir);      /* the library's and the user's */
bool clg_tuning_file(const clgaze_context *ctx, char path[CLG_MAX_PATH]); /* the user's; false: there is no folder */
void clg_tuning_close(clgaze_context *ctx);
/* tune.c: is what an earlier run found for "attend f16 d128 b64 g4 n32k" enough? */
bool clg_tune_known(const clgaze_context *ctx, clgaze_tune_again again, clgaze_op op, const char *name);
struct clg_records *clg_records_new(const clgaze_context *ctx); /* NULL: no memory */
void clg_records_free(const clgaze_context *ctx, struct clg_records *records);

#endif
