/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal.h: a file that names the candidate under way, so that one which takes
 * the process or the driver with it is not tried again.
 *
 * Each process that tunes holds a file of its own under a lock, which the system takes from a
 * process that ends: FILE, or FILE.1 .. if others hold those before it.  A line without an end
 * is under way; in a file that nobody holds it ended its process.
 */
#ifndef CLG_JOURNAL_H
#define CLG_JOURNAL_H

#include "files.h"
#include "internal.h"

enum { CLG_JOURNAL_LINES = 64, CLG_JOURNAL_LINE = 192 };

struct clg_journal {
    bool held; /* false: no journal                                      */
    int fd;
    size_t end; /* bytes of the lines below in the file                  */
    char path[CLG_MAX_PATH];
    char bad[CLG_JOURNAL_LINES][CLG_JOURNAL_LINE];
    int n;
};

/* Read what earlier runs left, in this process's file and in those that nobody holds. */
void clg_journal_open(const clgaze_context *ctx, struct clg_journal *journal, const char *file);
bool clg_journal_refuses(const struct clg_journal *journal, const char *problem, const char *candidate);
/* On disk when it returns, for the machine may stop next. */
void clg_journal_begin(struct clg_journal *journal, const char *problem, const char *candidate);
void clg_journal_end(struct clg_journal *journal);
/* Remove the file if it names nothing. */
void clg_journal_close(struct clg_journal *journal);
/* What a process that ended was at; false: nothing. */
bool clg_journal_last(const char *file, char line[CLG_JOURNAL_LINE]);

#endif
