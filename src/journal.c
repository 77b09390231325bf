/*
 * journal.c: one line a candidate that began and did not end.
 */
#include <stdio.h>
#include <string.h>

#include "journal.h"

void clg_journal_open(const clgaze_context *ctx, struct clg_journal *journal, const char *file)
{
    FILE *f = file ? fopen(file, "r") : NULL;

    journal->file = file;
    journal->n = 0;
    while (f && journal->n < CLG_JOURNAL_LINES && fgets(journal->bad[journal->n], CLG_JOURNAL_LINE, f)) {
        char *line = journal->bad[journal->n];

        line[strcspn(line, "\n")] = '\0';
        if (line[0])
            journal->n++;
    }
    if (f)
        fclose(f);
    if (journal->n)
        clg_log(ctx, CLGAZE_LOG_WARN, CLGAZE_OK,
                "%d candidates ended an earlier run and are skipped; they stand in %s", journal->n, file);
}

/* Write the lines, and one more unless it is NULL. */
static void write_lines(const struct clg_journal *journal, const char *problem, const char *candidate)
{
    FILE *f = journal->file ? fopen(journal->file, "w") : NULL;

    if (!f)
        return;
    for (int i = 0; i < journal->n; i++)
        fprintf(f, "%s\n", journal->bad[i]);
    if (problem)
        fprintf(f, "%s: %s\n", problem, candidate);
    fclose(f);
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
    write_lines(journal, problem, candidate);
}

void clg_journal_end(struct clg_journal *journal)
{
    write_lines(journal, NULL, NULL);
}

void clg_journal_close(struct clg_journal *journal)
{
    if (journal->file && journal->n == 0)
        remove(journal->file);
}
