/*
 * tune.h: the parts of clgaze-tune.
 */
#ifndef CLGAZE_TUNING_TUNE_H
#define CLGAZE_TUNING_TUNE_H

#include <clgaze/clgaze.h>

enum { MAX_PROBLEMS = 128 };

/* The command line. */
struct tune_args {
    const char *device, *out, *import, *export;
    const char *problem[MAX_PROBLEMS];
    int n_problems;
    double budget;
    size_t cap;
    int again, resume, list, show, dry_run, verbose, help, version;
};

/* What is to be tuned. */
struct tune_problems {
    clgaze_op op[MAX_PROBLEMS];
    clgaze_problem problem[MAX_PROBLEMS];
    int n;
};

/* What the child that tunes tells the parent that watches. */
enum tune_kind { TUNE_BEAT, TUNE_FOUND };

struct tune_message {
    enum tune_kind kind;
    char problem[96], candidate[96];
    clgaze_tune_progress progress; /* its texts are the two above */
    clgaze_tune_result result;
};

/* problems.c: the problems that a text names, "attend f16 d128 b64 g4 n32k"; NULL: the usual ones of a
 * kind of device. 0, or an exit code after a sentence. */
int tune_problems_add(struct tune_problems *all, const char *text, int gpu);
void tune_problems_usual(struct tune_problems *all, int gpu);

/* clgaze_tune.c: open the device with its records, and what is to be tuned on it. 0, or an exit code. */
int tune_open(const struct tune_args *args, clgaze_context **context, struct tune_problems *problems);

/* child.c: tune in a child process, and in another if that dies or hangs. */
int tune_watched(const struct tune_args *args);

/* report.c */
int tune_list(void);
int tune_show(clgaze_context *context, const struct tune_problems *problems, int tuning);
void tune_report_heard(const struct tune_message *message);
void tune_report_end(int code);

#endif
