/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune.h: the parts of clgaze-tune.
 */
#ifndef CLGAZE_TUNING_TUNE_H
#define CLGAZE_TUNING_TUNE_H

#include <clgaze/clgaze.h>
#include <signal.h>

struct cJSON;
struct clg_records;

enum { MAX_PROBLEMS = 128, MAX_WHY = 256 };

/* The command line. */
struct tune_args {
    const char *device, *out, *import, *export;
    const char *problem[MAX_PROBLEMS];
    int n_problems;
    double budget;
    int cap, again, resume, stale, all_devices, advise_block, list, show, dry_run, json, verbose, help, version;
};

/* What is to be tuned. */
struct tune_problems {
    struct tune_item {
        clgaze_op op;
        clgaze_problem problem;
        char stale[128]; /* of which driver and day its record is, if --stale named it */
    } at[MAX_PROBLEMS];
    int n;
};

/* What the child that tunes tells the parent that watches. */
enum tune_kind { TUNE_DEVICE, TUNE_JOURNAL, TUNE_STALE, TUNE_BEAT, TUNE_FOUND, TUNE_NOTE, TUNE_LEFT };

struct tune_message {
    enum tune_kind kind;
    char text[2][512];             /* device, driver; a path; problem, of which day; problem, candidate; a sentence */
    clgaze_tune_progress progress; /* its texts are those above; TUNE_LEFT: problems are what is left */
    clgaze_tune_result result;
};

/* args.c: 0, or an exit code after a sentence. */
int tune_args_read(int argc, char **argv, struct tune_args *args);
int tune_help(void);

/* problems.c: the problems that a text names, "attend f16 d128 b64 g4 n32k", or the usual ones of a
 * kind of device. 0, or 1 and why not. */
int tune_problems_add(struct tune_problems *all, const char *text, int gpu, char why[MAX_WHY]);
void tune_problems_usual(struct tune_problems *all, int gpu);

/* open.c: open the device with its records, and what is to be tuned on it. 0, or an exit code. */
int tune_open(const struct tune_args *args, clgaze_context **context, struct tune_problems *problems);
clgaze_tune_again tune_again(const struct tune_args *args);
const char *tune_nothing(const struct tune_args *args); /* why nothing may be left to tune */

/* store.c: an exit code, after a sentence unless it is 0. */
/* Refuse now a file that records could not be added to later; NULL: the user's. */
int tune_store_check(clgaze_context *context, const char *option, const char *file);
int tune_import(clgaze_context *context, const char *file);
int tune_export(clgaze_context *context, const char *file);
/* The problems whose record is of another driver. */
void tune_stale(clgaze_context *context, struct tune_problems *problems, int gpu);
/* A clgaze_log_fn: what was given up is said, or kept while a file is imported. */
void tune_log(void *user, clgaze_log_level level, clgaze_status status, const char *message);

/* Add a word to the note of a record that the tuner just made: "battery". */
void tune_note(clgaze_context *context, const char *problem, const char *word);

/* probe.c: what is used now for a small problem, timed before and after tuning.  The first returns the
 * seconds that the last will take. */
double tune_probe_open(clgaze_context *context, const struct tune_item *item);
double tune_probe_slower(void); /* by which share it takes longer now, beyond noise; else 0 */
void tune_probe_close(void);

/* child.c: tune in a child process, and in another if that dies or hangs. */
int tune_watched(const struct tune_args *args, struct cJSON *into);
double tune_now(void);                                       /* seconds */
extern volatile sig_atomic_t tune_interrupted, tune_presses; /* which signal came last, how many */
/* The child's part.  Its messages go into the pipe `to`; below 0 they are heard at once. */
int tune_here(const struct tune_args *args, double end, int to);
/* The parent's: a message has come. */
void tune_heard(const struct tune_message *message);

/* watch_posix.c, watch_windows.c: tune in a process of its own: its exit code, or -1 if it died or was ended. */
int tune_in_child(const struct tune_args *args, double end);
int tune_pending(void);       /* in the child: which signal it holds back, or 0 */
int tune_count_devices(void); /* without opening them in this process, of which children are made */

/* show.c: on standard output, or into a JSON object. */
int tune_list(struct cJSON *into);
int tune_show(clgaze_context *context, const struct tune_problems *problems, const char *out, struct cJSON *into);
int tune_dry_run(clgaze_context *context, const struct tune_problems *problems, clgaze_tune_again again,
                 const char *nothing, struct cJSON *into);

/* advise.c: time key blocks of several sizes for the first `most` problems of attend. */
int tune_advise(clgaze_context *context, const struct tune_problems *problems, int most, struct cJSON *into);

/* report.c: how far it has come, and the closing table. */
void tune_report_heard(const struct tune_message *message);
int tune_report_has(const char *problem); /* was it found? */
/* `nothing`: what it means that nothing was tuned. */
void tune_report_end(int code, const char *nothing, struct cJSON *into);

#endif
