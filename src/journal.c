/*
 * journal.c: one line a candidate that began and did not end.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "files.h"
#include "journal.h"

/* Write the lines, and one more unless it is NULL; on disk when it returns, for the machine may stop next. */
static bool write_lines(const struct clg_journal *journal, const char *problem, const char *candidate)
{
    char buffer[(CLG_JOURNAL_LINES + 1) * CLG_JOURNAL_LINE];
    struct clg_text text = {buffer, sizeof buffer, 0};
    const void *const part = buffer;

    if (!journal->file)
        return true;
    for (int i = 0; i < journal->n; i++)
        clg_put(&text, "%s\n", journal->bad[i]);
    if (problem)
        clg_put(&text, "%s: %s\n", problem, candidate);
    return clg_file_replace(journal->file, &part, &text.used, 1);
}

/* Take the lines of a text; more than there is room for are left. */
static void read_lines(struct clg_journal *journal, char *text)
{
    char *rest = NULL;

    for (char *line = strtok_r(text, "\n", &rest); line && journal->n < CLG_JOURNAL_LINES;
         line = strtok_r(NULL, "\n", &rest))
        snprintf(journal->bad[journal->n++], CLG_JOURNAL_LINE, "%s", line);
}

void clg_journal_open(const clgaze_context *ctx, struct clg_journal *journal, const char *file)
{
    char text[CLG_JOURNAL_LINES * CLG_JOURNAL_LINE + 1];
    const char *why = NULL;
    size_t size = 0;
    const int fd = file ? clg_file_open(file, &size, &why) : -1;

    journal->file = file;
    journal->n = 0;
    size = size < sizeof text - 1 ? size : sizeof text - 1;
    if (fd >= 0 && clg_read_all(fd, text, size)) {
        text[size] = '\0';
        read_lines(journal, text);
    } else if (fd >= 0 || fd == CLG_UNREADABLE) {
        why = why ? why : "it cannot be read";
        journal->file = NULL; /* the lines stay for the next run */
    }
    if (fd >= 0)
        close(fd);
    if (why)
        clg_log(ctx, CLGAZE_LOG_WARN, CLGAZE_ERR_CACHE, "journal \"%s\" is not read: %s", file, why);
    if (journal->n)
        clg_log(ctx, CLGAZE_LOG_WARN, CLGAZE_OK,
                "%d candidates ended an earlier run and are skipped; they stand in %s", journal->n, file);
    if (!write_lines(journal, NULL, NULL)) {
        clg_log(ctx, CLGAZE_LOG_WARN, CLGAZE_ERR_CACHE,
                "journal \"%s\" cannot be written: a candidate that ends the process will be tried again", file);
        journal->file = NULL;
    }
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
    (void)write_lines(journal, problem, candidate);
}

void clg_journal_end(struct clg_journal *journal)
{
    (void)write_lines(journal, NULL, NULL);
}

void clg_journal_close(struct clg_journal *journal)
{
    if (journal->file && journal->n == 0)
        remove(journal->file);
}
