/* SPDX-License-Identifier: Apache-2.0 */
/*
 * child.c: tuning, told of as it goes on, in a process that can be ended; watch_posix.c is the parent.
 *
 * OpenCL cannot cancel a build or a kernel.  The parent waits for word from the
 * child; if none comes for too long it ends it and starts another, which finds
 * in the journal what the last one was at, and leaves that out.
 */
#include "tune.h"

#include "fail.h"
#include "files.h"
#include "journal.h"
#include "posix.h"
#include "power.h"
#include "records.h"

#include <string.h>
#include <time.h>

enum { MOST_CHILDREN = 8 };

static char journal[512]; /* of the child under way */
volatile sig_atomic_t tune_interrupted, tune_presses;

double tune_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void on_interrupt(int number)
{
    tune_interrupted = number;
    tune_presses++;
}

/* ---- in the child ---------------------------------------------------------- */

struct child {
    int to;
    clgaze_context *context;
    const char *out;
    clgaze_status saved;
    char found[MAX_PROBLEMS][96];
    int n;
};

static const char SUPPLIES[] = "/sys/class/power_supply";
static const double LEAST = 0.1, END = 0.5; /* seconds: of a budget, to come to an end */

static void tell(const struct child *c, const struct tune_message *message)
{
    if (c->to < 0)
        tune_heard(message);
    else if (!clg_write_all(c->to, message, sizeof *message))
        tune_interrupted = SIGTERM; /* nobody listens */
}

static int on_progress(void *user, const clgaze_tune_progress *progress)
{
    struct child *c = user;
    struct tune_message m;

    memset(&m, 0, sizeof m);
    m.kind = TUNE_BEAT;
    m.progress = *progress;
    snprintf(m.text[0], sizeof m.text[0], "%s", progress->problem);
    snprintf(m.text[1], sizeof m.text[1], "%s", progress->candidate ? progress->candidate : "");
    tell(c, &m);
    tune_interrupted = tune_interrupted ? tune_interrupted : tune_pending();
    return tune_interrupted != 0;
}

static void on_found(void *user, const clgaze_tune_result *result)
{
    struct child *c = user;
    struct tune_message m;

    if (power_on_battery(SUPPLIES))
        tune_note(c->context, result->problem, "battery");
    if (c->n < MAX_PROBLEMS)
        snprintf(c->found[c->n++], sizeof c->found[0], "%s", result->problem);
    c->saved = clgaze_tuning_save(c->context, c->out);
    if (c->saved)
        tune_interrupted = SIGTERM; /* to tune on would be for nothing */
    memset(&m, 0, sizeof m);
    m.kind = TUNE_FOUND;
    m.result = *result;
    tell(c, &m); /* what is said is kept by then */
}

static void tell_device(const struct child *c)
{
    cl_device_id id = clgaze_context_device(c->context);
    struct tune_message m;

    memset(&m, 0, sizeof m);
    m.kind = TUNE_DEVICE;
    clGetDeviceInfo(id, CL_DEVICE_NAME, sizeof m.text[0] - 1, m.text[0], NULL);
    clGetDeviceInfo(id, CL_DRIVER_VERSION, sizeof m.text[1] - 1, m.text[1], NULL);
    tell(c, &m);
}

/* One beside each file of records: what hung on one device may run on another. */
static const char *tell_journal(const struct child *c, const char *out)
{
    static char path[CLG_MAX_PATH + 16];
    struct tune_message m;
    char store[CLG_MAX_PATH];

    memset(&m, 0, sizeof m);
    if (!out && !clg_tuning_file(c->context, store))
        return NULL;
    snprintf(path, sizeof path, "%s.journal", out ? out : store);
    m.kind = TUNE_JOURNAL;
    if (snprintf(m.text[0], sizeof m.text[0], "%s", path) < (int)sizeof m.text[0])
        tell(c, &m);
    return path;
}

static void tell_stale(const struct child *c, const struct tune_problems *problems)
{
    for (int i = 0; i < problems->n; i++) {
        const struct tune_item *at = &problems->at[i];
        struct tune_message m;

        memset(&m, 0, sizeof m);
        m.kind = TUNE_STALE;
        clgaze_tuning_problem(c->context, at->op, &at->problem, m.text[0], sizeof m.text[0]);
        snprintf(m.text[1], sizeof m.text[1], "%s", at->stale);
        if (at->stale[0])
            tell(c, &m);
    }
}

static void tell_note(const struct child *c, const char *text)
{
    struct tune_message m;

    memset(&m, 0, sizeof m);
    m.kind = TUNE_NOTE;
    snprintf(m.text[0], sizeof m.text[0], "%s", text);
    tell(c, &m);
}

/* Before tuning: time what is used now for the first problem that will be tuned.  Returns the seconds
 * that a last look will take. */
static double look_first(const struct child *c, const struct tune_problems *problems, clgaze_tune_again again)
{
    double last = 0;

    for (int i = 0; i < problems->n; i++) {
        const struct tune_item *at = &problems->at[i];
        char name[96] = "";

        clgaze_tuning_problem(c->context, at->op, &at->problem, name, sizeof name);
        if (name[0] && !clg_tune_known(c->context, again, at->op, name)) {
            last = tune_probe_open(c->context, at);
            break;
        }
    }
    if (power_on_battery(SUPPLIES))
        tell_note(c, "this machine runs on its battery: on mains it may be faster; the records say so");
    return last;
}

/* After it: the same again. */
static void look_last(struct child *c)
{
    const double slower = c->n ? tune_probe_slower() : 0;
    char text[128];

    tune_probe_close();
    if (!(slower > 0))
        return;
    snprintf(text, sizeof text,
             "the device is %.0f %% slower than at the start: it is throttled, or in use; the records say so",
             100 * slower);
    tell_note(c, text);
    for (int i = 0; i < c->n; i++)
        tune_note(c->context, c->found[i], "throttled");
    if (!c->saved)
        c->saved = clgaze_tuning_save(c->context, c->out);
}

/* What has no record yet. */
static void tell_left(const struct child *c, const struct tune_problems *problems)
{
    struct tune_message m;

    memset(&m, 0, sizeof m);
    m.kind = TUNE_LEFT;
    for (int i = 0; i < problems->n; i++) {
        const struct tune_item *at = &problems->at[i];
        char name[96] = "";

        clgaze_tuning_problem(c->context, at->op, &at->problem, name, sizeof name);
        m.progress.problems += name[0] && !clg_tune_known(c->context, CLGAZE_TUNE_NEW, at->op, name);
    }
    tell(c, &m);
}

/* What the children before this one did not come to. */
static size_t list_requests(const struct child *c, const struct tune_problems *problems, clgaze_request *requests)
{
    size_t n = 0;

    for (int i = 0; i < problems->n; i++) {
        const struct tune_item *at = &problems->at[i];
        char name[96] = "";

        clgaze_tuning_problem(c->context, at->op, &at->problem, name, sizeof name);
        if (!tune_report_has(name))
            requests[n++] = (clgaze_request){.op = at->op, .problem = &at->problem};
    }
    return n;
}

int tune_here(const struct tune_args *args, double end, int to)
{
    static clgaze_request requests[MAX_PROBLEMS];
    static struct tune_problems problems;
    static struct child c;
    clgaze_tune_options o;
    int code;

    memset(&c, 0, sizeof c);
    problems.n = 0;
    c.to = to;
    c.out = args->out;
    code = tune_open(args, &c.context, &problems);
    code = code ? code : tune_store_check(c.context, "--out", args->out);
    if (code)
        return code;
    tell_device(&c);
    tell_stale(&c, &problems);
    end -= look_first(&c, &problems, tune_again(args)) + END;
    memset(&o, 0, sizeof o);
    o.budget = end - tune_now() > LEAST ? end - tune_now() : LEAST;
    o.max_candidates = (size_t)args->cap;
    o.again = tune_again(args);
    o.journal = tell_journal(&c, args->out);
    o.progress = on_progress;
    o.found = on_found;
    o.user = &c;
    const clgaze_status st = clgaze_tune(c.context, list_requests(&c, &problems, requests), requests, &o);
    look_last(&c);
    tell_left(&c, &problems);
    if (c.saved || (st && st != CLGAZE_ERR_CANCELLED))
        code = fail_library(c.saved ? c.saved : st);
    clgaze_context_free(c.context);
    return code;
}

/* ---- in the parent ----------------------------------------------------------- */

void tune_heard(const struct tune_message *message)
{
    if (message->kind == TUNE_JOURNAL)
        memcpy(journal, message->text[0], sizeof journal);
    tune_report_heard(message);
}

/* The journal's last line is what the child was at; its heartbeat is older. */
static void tell_of_end(void)
{
    char line[CLG_JOURNAL_LINE] = "its start";

    if (journal[0])
        (void)clg_journal_last(journal, line);
    fprintf(stderr, "\nclgaze-tune: the process ended or hung; the last of its journal is %s\n", line);
}

/* Not by signal(), which may catch one only. */
static void catch_signals(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    action.sa_handler = on_interrupt;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}

int tune_watched(const struct tune_args *args, struct cJSON *into)
{
    const double end = tune_now() + args->budget;
    int code = -1;

    journal[0] = '\0';
    catch_signals();
    for (int i = 0; i < MOST_CHILDREN && code < 0 && !tune_interrupted && (i == 0 || tune_now() < end); i++) {
        code = tune_in_child(args, end);
        if (code < 0 && !tune_interrupted)
            tell_of_end();
    }
    if (tune_interrupted && code <= 0)
        code = 128 + tune_interrupted;
    tune_report_end(code, tune_nothing(args), into);
    return code < 0 ? fail(EXIT_OPENCL, "tuning did not come to its end") : code;
}
