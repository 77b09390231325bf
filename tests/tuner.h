/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tuner.h: clgaze-tune as a person or a script sees it.
 *
 * Environment: CLGAZE_TUNE, the program; without it all is skipped.
 */
#ifndef CLG_TESTS_TUNER_H
#define CLG_TESTS_TUNER_H

#include <sys/types.h>

#include "cache.h"

/* What the last run wrote. */
extern char tuner_out[1 << 15], tuner_err[1 << 14];

/* Run it with a shell's words; its store is the folder `store` under `base`. Its exit code. */
int tuner(const char *format, ...) CLG_PRINTF(1, 2);
/* Start it, its standard error to be read from *from. */
pid_t tuner_start(const char *words, int *from);
/* The text is in what it wrote, or it is one sentence that holds it. */
void tuner_says(const char *text);
void tuner_complains(const char *text);
/* A record of the portable kernel for a problem of attend, as a whole file of this device; `also`
 * stands in its place if it is not NULL. */
void tuner_file(const char *name, const char *problem, const char *also);
/* A file under `base` to be freed; "": there is none. The store's file is NULL. */
char *tuner_read(const char *name);
void tuner_holds(const char *name, const char *text); /* exactly this */
/* `text` with one word in place of another; to free. */
char *tuner_altered(const char *text, const char *word, const char *by);

#endif
