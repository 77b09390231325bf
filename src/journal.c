/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal.c: one line a candidate that began and did not end.
 */
#include <string.h>

#include "journal.h"
#include "posix.h"

enum { SLOTS = 8, MOST_BYTES = CLG_JOURNAL_LINES * CLG_JOURNAL_LINE };

static bool path_of(const char *file, int slot, char path[CLG_MAX_PATH])
{
    const int n = slot ? snprintf(path, CLG_MAX_PATH, "%s.%d", file, slot) : snprintf(path, CLG_MAX_PATH, "%s", file);

    return n > 0 && n < CLG_MAX_PATH;
}

/* ---- reading ------------------------------------------------------------------ */

static void add(struct clg_journal *journal, const char *line)
{
    for (int i = 0; i < journal->n; i++)
        if (strcmp(journal->bad[i], line) == 0)
            return;
    if (journal->n < CLG_JOURNAL_LINES)
        snprintf(journal->bad[journal->n++], CLG_JOURNAL_LINE, "%s", line);
}

/* Take the lines of a file; more than there is room for are left.  In one that another process
 * holds, what has no end is under way.  False: it cannot be read. */
static bool read_lines(struct clg_journal *journal, int fd, size_t size, bool others)
{
    char text[MOST_BYTES + 1], *rest = NULL;

    size = size < MOST_BYTES ? size : MOST_BYTES;
    if (!clg_read_all(fd, text, size))
        return false;
    while (others && size > 0 && text[size - 1] != '\n')
        size--;
    text[size] = '\0';
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        add(journal, line);
    return true;
}

static void read_others(struct clg_journal *journal, const char *path)
{
    const char *why;
    size_t size;
    const int fd = clg_file_open(path, &size, &why);

    if (fd >= 0) {
        (void)read_lines(journal, fd, size, true);
        close(fd);
    }
}

/* ---- writing -------------------------------------------------------------------- */

/* Replace all after the bad lines. */
static bool write_tail(const struct clg_journal *journal, const char *text)
{
    return ftruncate(journal->fd, (off_t)journal->end) == 0 &&
           lseek(journal->fd, (off_t)journal->end, SEEK_SET) >= 0 && clg_write_all(journal->fd, text, strlen(text)) &&
           fsync(journal->fd) == 0;
}

static bool write_bad(struct clg_journal *journal)
{
    char buffer[MOST_BYTES + CLG_JOURNAL_LINES + 1] = "";
    struct clg_text text = {buffer, sizeof buffer, 0};

    for (int i = 0; i < journal->n; i++)
        clg_put(&text, "%s\n", journal->bad[i]);
    journal->end = 0;
    if (!write_tail(journal, buffer))
        return false;
    journal->end = text.used;
    return true;
}

/* ---- a process's own file --------------------------------------------------------- */

/* Hold the first file that is free, and read all. NULL, or why there is none. */
static const char *hold(struct clg_journal *journal, const char *file)
{
    for (int slot = 0; slot < SLOTS; slot++) {
        char path[CLG_MAX_PATH];
        const char *why = NULL;
        size_t size = 0;
        bool busy;
        int fd;

        if (!path_of(file, slot, path))
            return "its name is too long";
        fd = clg_file_hold(path, !journal->held, &size, &busy, &why);
        if (why)
            return why;
        if (busy)
            read_others(journal, path);
        if (fd < 0)
            continue;
        if (!read_lines(journal, fd, size, false)) {
            close(fd);
            return "it cannot be read"; /* its lines stay for the next run */
        }
        if (journal->held) {
            close(fd); /* read, not needed */
            continue;
        }
        journal->held = true;
        journal->fd = fd;
        memcpy(journal->path, path, sizeof path);
    }
    if (!journal->held)
        return "too many processes hold one";
    return write_bad(journal) ? NULL : "the disk is full";
}

void clg_journal_open(const clgaze_context *ctx, struct clg_journal *journal, const char *file)
{
    const char *why;

    memset(journal, 0, sizeof *journal);
    if (!file)
        return;
    why = hold(journal, file);
    if (journal->n)
        clg_log(ctx, CLGAZE_LOG_WARN, CLGAZE_OK, "%d %s ended an earlier run and %s skipped; listed in %s",
                journal->n, journal->n == 1 ? "candidate" : "candidates", journal->n == 1 ? "is" : "are", file);
    if (!why)
        return;
    clg_log(ctx, CLGAZE_LOG_WARN, CLGAZE_ERR_CACHE,
            "journal \"%s\" cannot be written, so a candidate that ends the process will be tried again: %s", file,
            why);
    if (journal->held)
        close(journal->fd);
    journal->held = false;
}

bool clg_journal_refuses(const struct clg_journal *journal, const char *problem, const char *candidate)
{
    char line[CLG_JOURNAL_LINE];

    snprintf(line, sizeof line, "%s: %s", problem, candidate);
    for (int i = 0; i < journal->n; i++)
        if (strcmp(line, journal->bad[i]) == 0)
            return true;
    return false;
}

void clg_journal_begin(struct clg_journal *journal, const char *problem, const char *candidate)
{
    char line[CLG_JOURNAL_LINE];

    snprintf(line, sizeof line, "%s: %s", problem, candidate);
    if (journal->held)
        (void)write_tail(journal, line);
}

void clg_journal_end(struct clg_journal *journal)
{
    if (journal->held)
        (void)write_tail(journal, "");
}

void clg_journal_close(struct clg_journal *journal)
{
    if (!journal->held)
        return;
    if (journal->n == 0)
        remove(journal->path);
    close(journal->fd);
    journal->held = false;
}

bool clg_journal_last(const char *file, char line[CLG_JOURNAL_LINE])
{
    char path[CLG_MAX_PATH], text[MOST_BYTES + 1];

    for (int slot = 0; slot < SLOTS && path_of(file, slot, path); slot++) {
        const char *why, *end;
        size_t size = 0;
        bool busy, found = false;
        const int fd = clg_file_hold(path, false, &size, &busy, &why);

        size = size < MOST_BYTES ? size : MOST_BYTES;
        if (fd >= 0 && size && clg_read_all(fd, text, size)) {
            text[size] = '\0';
            end = strrchr(text, '\n');
            found = text[size - 1] != '\n';
            if (found)
                snprintf(line, CLG_JOURNAL_LINE, "%.191s", end ? end + 1 : text);
        }
        if (fd >= 0)
            close(fd);
        if (found)
            return true;
    }
    return false;
}
