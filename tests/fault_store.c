/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault_store.c: the steps of a life with tuned records, and the folder after it.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fault_life.h"
#include "records.h"

static clgaze_status tune(struct life *l)
{
    const clgaze_request request = {.op = CLGAZE_ATTEND, .problem = &calls[1].p};
    char journal[CACHE_PATH];
    const clgaze_tune_options o = {.budget = 0.02, .max_candidates = 1, .again = CLGAZE_TUNE_ALL, .journal = journal};

    snprintf(journal, sizeof journal, "%s/journal", self.folder);
    return clgaze_tune(l->ctx, 1, &request, &o);
}

static clgaze_status save(struct life *l)
{
    return clgaze_tuning_save(l->ctx, NULL);
}

static clgaze_status load(struct life *l)
{
    return clgaze_tuning_load(l->ctx, NULL);
}

/* What another context would save of its own tuning, and what it has of this one's. */
static clgaze_status export(struct life *l)
{
    char file[CACHE_PATH];

    snprintf(file, sizeof file, "%s/export.tuning", self.folder);
    return clgaze_tuning_save(l->ctx, file);
}

static clgaze_status import(struct life *l)
{
    char file[CACHE_PATH];

    snprintf(file, sizeof file, "%s/export.tuning", self.folder);
    return clgaze_tuning_load(l->ctx, file);
}

/* That none can be listed for want of memory is said, and is no status. */
static clgaze_status list(struct life *l)
{
    clgaze_op op;
    clgaze_problem p;
    const size_t n = clgaze_tuning_misses(l->ctx, &op, &p, 1);

    return n || !told.errors ? CLGAZE_OK : told.status;
}

/* One record; the first life another one, too, which the later ones must not lose. */
static clgaze_status put(struct life *l)
{
    clgaze_status st = CLGAZE_OK;
    struct clg_record r;

    memset(&r, 0, sizeof r);
    r.device = clg_signature_of(&l->ctx->device);
    r.kernel = clg_kernel_find("attend");
    clg_space_default(r.kernel, r.values);
    r.us = 5;
    r.default_us = 10;
    r.origin = CLG_FROM_TUNER;
    for (int n = 8; n <= (self.lives == 1 ? 16 : 8) && st == CLGAZE_OK; n += 8) {
        snprintf(r.problem, sizeof r.problem, "f16 d64 b64 g1 n%dk", n);
        st = clg_records_put(l->ctx, l->ctx->records, &r);
    }
    return st;
}

static clgaze_status clear(struct life *l)
{
    return clgaze_tuning_clear(l->ctx);
}

const struct life_step life_storing[] = {{"put", put},       {"save", save}, {"export", export}, {"clear", clear},
                                         {"import", import}, {"load", load}, {"list", list},     {NULL, NULL}};
const struct life_step life_tuning[] = {
    {"tune", tune}, {"save", save}, {"clear", clear}, {"load", load}, {NULL, NULL}};

static bool ends(const char *name, const char *end)
{
    const size_t n = strlen(name), m = strlen(end);

    return n >= m && strcmp(name + n - m, end) == 0;
}

/* The files of a store hold what they held after the first life. */
static void same_text(const char *name)
{
    static struct {
        char name[128], text[1024];
    } first[4];
    char path[CACHE_PATH], text[sizeof first[0].text];
    size_t i = 0, n;
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", self.folder, name);
    f = fopen(path, "rb");
    n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    text[n] = '\0';
    if (f)
        fclose(f);
    while (i < CLG_COUNT(first) - 1 && first[i].name[0] && strcmp(first[i].name, name) != 0)
        i++;
    if (self.lives == 1) {
        snprintf(first[i].name, sizeof first[i].name, "%s", name);
        memcpy(first[i].text, text, sizeof text);
    } else if (strcmp(first[i].name, name) != 0 || strcmp(first[i].text, text) != 0) {
        wrong("store", name);
    }
}

/* A write that fails leaves the file as it was and nothing beside it. */
void check_folder(void)
{
    DIR *dir = opendir(self.folder);
    int kept = 0;

    for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
        const bool text = ends(e->d_name, ".tuning") || ends(e->d_name, ".misses");

        if (text && self.kind == STORE)
            same_text(e->d_name);
        kept += text;
        if (!text && e->d_name[0] != '.' && !ends(e->d_name, ".bin") && !ends(e->d_name, ".lock") &&
            !ends(e->d_name, "journal")) {
            wrong("folder", e->d_name);
            unlinkat(dirfd(dir), e->d_name, 0);
        }
    }
    if (self.kind == STORE && kept != 3)
        wrong("store", "a file is missing");
    if (dir)
        closedir(dir);
}
