/*
 * journal.h: a file that names the candidate under way, so that one which takes
 * the process or the driver with it is not tried again.
 */
#ifndef CLG_JOURNAL_H
#define CLG_JOURNAL_H

#include "internal.h"

enum { CLG_JOURNAL_LINES = 64, CLG_JOURNAL_LINE = 192 };

struct clg_journal {
    const char *file; /* borrowed; NULL: no journal                        */
    char bad[CLG_JOURNAL_LINES][CLG_JOURNAL_LINE];
    int n;
};

/* Read what earlier runs left. */
void clg_journal_open(const clgaze_context *ctx, struct clg_journal *journal, const char *file);
bool clg_journal_refuses(const struct clg_journal *journal, const char *problem, const char *candidate);
void clg_journal_begin(struct clg_journal *journal, const char *problem, const char *candidate);
void clg_journal_end(struct clg_journal *journal);
/* Remove the file if it names nothing. */
void clg_journal_close(struct clg_journal *journal);

#endif
