/* SPDX-License-Identifier: Apache-2.0 */
/*
 * misses.c: problems that were planned without a record of their own.
 */
#include "misses.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tune_subject.h"

enum { MAX_FILE = 1 << 16 };

struct clg_misses {
    struct clg_miss_list list; /* of this context */
    bool remember;
    pthread_mutex_t lock;   /* of the list                                  */
    pthread_mutex_t tuning; /* one plan at a time: others would spoil its times */
};

clgaze_status clg_misses_open(clgaze_context *ctx, bool remember)
{
    struct clg_misses *m = clg_alloc(ctx, sizeof *m);
    clgaze_status st = CLGAZE_OK;

    NEED(m, CLGAZE_ERR_NO_MEMORY, "no memory for a list of problems");
    if (pthread_mutex_init(&m->lock, NULL) != 0) {
        clg_release(ctx, m);
        NEED(false, CLGAZE_ERR_NO_MEMORY, "no memory for a lock");
    }
    if (pthread_mutex_init(&m->tuning, NULL) != 0) {
        pthread_mutex_destroy(&m->lock);
        clg_release(ctx, m);
        NEED(false, CLGAZE_ERR_NO_MEMORY, "no memory for a lock");
    }
    m->remember = remember;
    ctx->misses = m;
out:
    return st;
}

static bool has_record(const clgaze_context *ctx, const struct clg_miss *miss)
{
    struct clg_record r;

    return clg_records_find(ctx->records, &ctx->device, clg_op_name(miss->op), strchr(miss->name, ' ') + 1, 0, &r) &&
           !r.untried;
}

/* ---- noting, and tuning at once ------------------------------------------------------ */

/* Keep what a plan is about to miss; false: it misses nothing, or did so before. */
static bool note(clgaze_context *ctx, clgaze_op op, const clgaze_problem *p)
{
    struct clg_misses *m = ctx->misses;
    const struct clg_kernel *wanted = p->kernel ? clg_kernel_in(ctx->kernels, p->kernel) : NULL;
    struct clg_miss miss;
    struct clg_ear ear;
    bool known = false;

    memset(&miss, 0, sizeof miss);
    miss.op = op;
    miss.problem = *p;
    miss.problem.value = p->values ? (double)p->values[0] : p->value;
    miss.problem.values = NULL;
    miss.problem.kernel = NULL;
    clg_ear_open(&ear, ctx);
    if ((wanted && strcmp(wanted->op, clg_op_name(op)) == 0) ||
        clgaze_tuning_problem(&ear.ctx, op, &miss.problem, miss.name, sizeof miss.name) != CLGAZE_OK ||
        has_record(ctx, &miss))
        return false;
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->list.n && !known; i++)
        known = strcmp(m->list.at[i].name, miss.name) == 0;
    if (!known)
        clg_misses_add(&m->list, &miss);
    pthread_mutex_unlock(&m->lock);
    return !known;
}

/* A failure is news: the plan is made without. */
static void tune_now(clgaze_context *ctx, clgaze_op op, const clgaze_problem *p, double seconds)
{
    const clgaze_request request = {.op = op, .problem = p};
    clgaze_tune_options options;
    char journal[CLG_MAX_PATH + 16], path[CLG_MAX_PATH];
    struct clg_ear ear;

    memset(&options, 0, sizeof options);
    options.budget = seconds;
    if (clg_tuning_file(ctx, path) && !clg_folder_distrust(ctx->tuning_dir)) {
        snprintf(journal, sizeof journal, "%s.journal", path);
        options.journal = journal;
    }
    clg_ear_open(&ear, ctx);
    if (clgaze_tune(&ear.ctx, 1, &request, &options) != CLGAZE_OK)
        clg_log(ctx, CLGAZE_LOG_WARN, CLGAZE_OK, "a plan was not tuned: %s", ear.reason);
}

void clg_misses_note(clgaze_context *ctx, clgaze_op op, const clgaze_problem *p)
{
    const double end = ctx->tuning_seconds > 0 ? clg_seconds() + ctx->tuning_seconds : 0;
    bool missed[CLG_STAGES];

    if (!ctx->misses)
        return;
    for (int i = 0; i < CLG_STAGES; i++) {
        const bool break_even = i == CLGAZE_PREFILL && (int)op == i && p->auto_density > 0;

        missed[i] = (break_even || clg_plan_holds(op, i)) && note(ctx, (clgaze_op)i, p);
    }
    if (!(end > 0))
        return;
    pthread_mutex_lock(&ctx->misses->tuning);
    for (int i = 0; i < CLG_STAGES; i++) {
        /* Attend first, where there is most to gain; what is made of others when they are what they will be. */
        const int next = i < CLG_OPS ? CLG_OPS - 1 - i : i;

        if (missed[next] && clg_seconds() < end)
            tune_now(ctx, (clgaze_op)next, p, end - clg_seconds());
    }
    pthread_mutex_unlock(&ctx->misses->tuning);
}

/* ---- the file --------------------------------------------------------------------------- */

static bool file_of(const clgaze_context *ctx, char path[CLG_MAX_PATH])
{
    char store[CLG_MAX_PATH];
    int n;

    if (!clg_tuning_file(ctx, store))
        return false;
    n = snprintf(path, CLG_MAX_PATH, "%s.misses", store);
    return n > 0 && n < CLG_MAX_PATH;
}

/* The file's text, to release; NULL: there is none that can be read, `lost`: but there is one. */
static char *text_of(const clgaze_context *ctx, const char *path, size_t *size, bool *lost)
{
    const char *why;
    const int fd = clg_file_open(path, size, &why);
    char *text = fd >= 0 && *size <= MAX_FILE ? clg_alloc(ctx, *size + 1) : NULL;
    const bool good = text && clg_read_all(fd, text, *size);

    if (fd >= 0)
        close(fd);
    if (why || (fd >= 0 && !good))
        clg_log(ctx, CLGAZE_LOG_WARN, CLGAZE_ERR_CACHE, "file \"%s\" of problems to tune is not read: %s", path,
                why ? why : "it is too large, or memory ran out");
    *lost = fd == CLG_UNREADABLE || (fd >= 0 && *size <= MAX_FILE && !good);
    if (good)
        return text;
    clg_release(ctx, text);
    return NULL;
}

/* Add this context's, and drop what has a record by now. */
static void bring_up_to_date(const clgaze_context *ctx, struct clg_miss_list *list)
{
    struct clg_misses *m = ctx->misses;
    size_t kept = 0;

    if (m && m->remember) {
        pthread_mutex_lock(&m->lock);
        for (size_t i = 0; i < m->list.n; i++)
            clg_misses_add(list, &m->list.at[i]);
        pthread_mutex_unlock(&m->lock);
    }
    for (size_t i = 0; i < list->n; i++)
        if (!has_record(ctx, &list->at[i]))
            list->at[kept++] = list->at[i];
    list->n = kept;
}

/* Write the list, unless it is what the file holds; an empty list needs no file. */
static bool replace(const clgaze_context *ctx, const char *path, const struct clg_miss_list *list, const char *old)
{
    struct clg_text text = {NULL, 0, 0};
    const void *part;
    char *buffer;
    bool good;

    if (list->n == 0)
        return !old || unlink(path) == 0;
    clg_misses_print(list, &text);
    buffer = clg_alloc(ctx, text.used + 1);
    if (!buffer)
        return false;
    text = (struct clg_text){buffer, text.used + 1, 0};
    clg_misses_print(list, &text);
    part = buffer;
    good = (old && strcmp(old, buffer) == 0) || clg_file_replace(path, &part, &text.used, 1);
    clg_release(ctx, buffer);
    return good;
}

/* Merge what this context missed into the file, under its lock. */
static void update(clgaze_context *ctx, const char *path)
{
    const int held = clg_file_lock(path);
    struct clg_miss_list *list = clg_alloc(ctx, sizeof *list);
    size_t size = 0;
    bool lost = false;
    char *old = held >= 0 ? text_of(ctx, path, &size, &lost) : NULL;
    char *copy = old ? clg_alloc(ctx, size + 1) : NULL;

    if (copy && list) {
        memcpy(copy, old, size);
        clg_misses_parse(ctx, list, copy);
    }
    if (list)
        bring_up_to_date(ctx, list);
    if (held < 0 || lost || !list || (old && !copy) || !replace(ctx, path, list, old))
        clg_log(ctx, CLGAZE_LOG_WARN, CLGAZE_ERR_CACHE, "file \"%s\" of problems to tune cannot be written", path);
    if (held >= 0)
        close(held);
    clg_release(ctx, copy);
    clg_release(ctx, old);
    clg_release(ctx, list);
}

void clg_misses_prune(clgaze_context *ctx)
{
    char path[CLG_MAX_PATH];

    if (file_of(ctx, path) && access(path, F_OK) == 0)
        update(ctx, path);
}

void clg_misses_close(clgaze_context *ctx)
{
    struct clg_misses *m = ctx->misses;
    char path[CLG_MAX_PATH];

    if (!m)
        return;
    if (m->remember && m->list.n && file_of(ctx, path)) {
        const char *why = clg_folder_distrust(ctx->tuning_dir);

        if (why)
            clg_log(ctx, CLGAZE_LOG_WARN, CLGAZE_ERR_CACHE, "problems to tune are not kept in \"%s\": %s",
                    ctx->tuning_dir, why);
        else
            update(ctx, path);
    }
    pthread_mutex_destroy(&m->lock);
    pthread_mutex_destroy(&m->tuning);
    clg_release(ctx, m);
    ctx->misses = NULL;
}

size_t clgaze_tuning_misses(clgaze_context *ctx, clgaze_op *ops, clgaze_problem *problems, size_t capacity)
{
    struct clg_miss_list *list = ctx ? clg_alloc(ctx, sizeof *list) : NULL;
    char path[CLG_MAX_PATH], *text = NULL;
    size_t size = 0, n = 0;
    bool lost;

    if (ctx && !list)
        (void)clg_fail(ctx, CLGAZE_ERR_NO_MEMORY, "no memory for a list of problems");
    if (!list)
        return 0;
    if (file_of(ctx, path))
        text = text_of(ctx, path, &size, &lost);
    if (text)
        clg_misses_parse(ctx, list, text);
    bring_up_to_date(ctx, list);
    for (n = 0; n < list->n && n < capacity; n++) {
        if (ops)
            ops[n] = list->at[n].op;
        if (problems)
            problems[n] = list->at[n].problem;
    }
    n = list->n;
    clg_release(ctx, text);
    clg_release(ctx, list);
    return n;
}
