/*
 * child.c: tuning in a process that can be ended.
 *
 * OpenCL cannot cancel a build or a kernel.  The parent waits for word from the
 * child; if none comes for too long it ends it and starts another, which finds
 * in the journal what the last one was at, and leaves that out.
 */
#include "tune.h"

#include "fail.h"
#include "files.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 20000, MOST_CHILDREN = 8 };

static volatile sig_atomic_t interrupted;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* ---- in the child ---------------------------------------------------------- */

struct child {
    int to;
    clgaze_context *context;
    const char *out;
    clgaze_status saved;
};

static void tell(const struct child *c, const struct tune_message *message)
{
    if (!clg_write_all(c->to, message, sizeof *message))
        interrupted = 1; /* nobody listens */
}

static int on_progress(void *user, const clgaze_tune_progress *progress)
{
    struct child *c = user;
    struct tune_message m;

    memset(&m, 0, sizeof m);
    m.kind = TUNE_BEAT;
    m.progress = *progress;
    snprintf(m.problem, sizeof m.problem, "%s", progress->problem);
    snprintf(m.candidate, sizeof m.candidate, "%s", progress->candidate ? progress->candidate : "");
    tell(c, &m);
    return interrupted != 0;
}

static void on_found(void *user, const clgaze_tune_result *result)
{
    struct child *c = user;
    struct tune_message m;

    memset(&m, 0, sizeof m);
    m.kind = TUNE_FOUND;
    m.result = *result;
    tell(c, &m);
    c->saved = clgaze_tuning_save(c->context, c->out);
    if (c->saved)
        interrupted = 1; /* to tune on would be for nothing */
}

/* From the problem `first` on. */
static int tune_from(const struct tune_args *args, size_t first, double end, const char *journal, int to)
{
    static clgaze_request requests[MAX_PROBLEMS];
    static struct tune_problems problems;
    struct child c = {.to = to, .out = args->out};
    clgaze_tune_options o;
    int code = tune_open(args, &c.context, &problems);

    if (code)
        return code;
    memset(&o, 0, sizeof o);
    o.budget = end > now() + 0.1 ? end - now() : 0.1;
    o.max_candidates = args->cap;
    o.again = args->again ? CLGAZE_TUNE_ALL : args->resume ? CLGAZE_TUNE_UNFINISHED : CLGAZE_TUNE_NEW;
    o.journal = journal;
    o.progress = on_progress;
    o.found = on_found;
    o.user = &c;
    for (int i = 0; i < problems.n; i++)
        requests[i] = (clgaze_request){.op = problems.op[i], .problem = &problems.problem[i]};
    first = first < (size_t)problems.n ? first : (size_t)problems.n;
    const clgaze_status st = clgaze_tune(c.context, (size_t)problems.n - first, requests + first, &o);
    if (c.saved || (st && st != CLGAZE_ERR_CANCELLED))
        code = fail_library(c.saved ? c.saved : st);
    clgaze_context_free(c.context);
    return code;
}

/* ---- in the parent ----------------------------------------------------------- */

/* Pass on what the child says until it is silent for good (1) or for too long (0). */
static int listen_to(int from, struct tune_message *last)
{
    struct pollfd p = {.fd = from, .events = POLLIN};

    for (;;) {
        struct tune_message m;
        const int ready = poll(&p, 1, PATIENCE_MS);

        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return 0;
        if (read(from, &m, sizeof m) != (ssize_t)sizeof m) /* shorter than PIPE_BUF: whole or nothing */
            return 1;
        if (m.kind == TUNE_BEAT)
            *last = m;
        tune_report_heard(&m);
    }
}

/* One child: its exit code, or -1 if it died or was ended. */
static int watch(const struct tune_args *args, size_t first, double end, const char *journal,
                 struct tune_message *last)
{
    int ends[2], status, heard;
    pid_t child;

    if (pipe(ends) != 0)
        return fail(EXIT_INPUT, "no pipe: %s", strerror(errno));
    child = fork();
    if (child == 0) {
        close(ends[0]);
        exit(tune_from(args, first, end, journal, ends[1]));
    }
    close(ends[1]);
    heard = child > 0 && listen_to(ends[0], last);
    close(ends[0]);
    if (child < 0)
        return fail(EXIT_INPUT, "no child process: %s", strerror(errno));
    if (!heard)
        kill(child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void journal_path(const struct tune_args *args, char *path, size_t size)
{
    char folder[CLG_MAX_PATH];

    path[0] = '\0';
    if (args->out)
        snprintf(path, size, "%s.journal", args->out);
    else if (clg_folder_default(folder, sizeof folder) && !clg_folder_distrust(folder))
        snprintf(path, size, "%s/clgaze-tune.journal", folder);
}

/* The journal's last line is what the child was at; its heartbeat is older. */
static void tell_of_end(const char *journal)
{
    char line[256] = "its start";
    FILE *f = journal[0] ? fopen(journal, "r") : NULL;

    while (f && fgets(line, sizeof line, f))
        line[strcspn(line, "\n")] = '\0';
    if (f)
        fclose(f);
    fprintf(stderr, "\nclgaze-tune: the process ended or hung; the last of its journal is %s\n", line);
}

int tune_watched(const struct tune_args *args)
{
    static char journal[CLG_MAX_PATH + 32];
    const double end = now() + args->budget;
    size_t first = 0;
    int code = -1;

    journal_path(args, journal, sizeof journal);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, on_interrupt);
    signal(SIGTERM, on_interrupt);
    for (int i = 0; i < MOST_CHILDREN && code < 0 && !interrupted && now() < end; i++) {
        struct tune_message last;

        memset(&last, 0, sizeof last);
        code = watch(args, first, end, journal[0] ? journal : NULL, &last);
        first += last.progress.problems_done;
        if (code < 0)
            tell_of_end(journal);
    }
    tune_report_end(code);
    return code < 0 && !interrupted ? fail(EXIT_OPENCL, "tuning did not come to its end") : code < 0 ? 0 : code;
}
