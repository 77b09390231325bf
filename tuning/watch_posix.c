/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch_posix.c: the process that watches the one that tunes.
 */
#include "tune.h"

#include "fail.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TICK_MS = 100 };
static const double PATIENCE = 20; /* seconds without a word */

/* Compilers that run within a process catch these themselves, and end what they compile with an error: the child
 * holds them back, and looks at times whether one has come. */
static sigset_t held_back(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    return set;
}

int tune_pending(void)
{
    sigset_t set;

    if (sigpending(&set) != 0)
        return 0;
    return sigismember(&set, SIGINT) == 1 ? SIGINT : sigismember(&set, SIGTERM) == 1 ? SIGTERM : 0;
}

/* Pass on what the child says until it is silent for good (1), or for too long, or a person has asked
 * twice (0).  A signal may have come to this process alone, so the child is told. */
static int listen_to(int from, pid_t child)
{
    struct pollfd p = {.fd = from, .events = POLLIN};
    double heard = tune_now();
    int told = 0;

    for (;;) {
        struct tune_message m;
        const int ready = poll(&p, 1, TICK_MS);

        if (tune_interrupted && !told)
            told = kill(child, SIGINT) == 0;
        if (tune_presses > 1 || (ready < 0 && errno != EINTR) || (ready == 0 && tune_now() - heard > PATIENCE))
            return 0;
        if (ready <= 0)
            continue;
        if (read(from, &m, sizeof m) != (ssize_t)sizeof m) /* shorter than PIPE_BUF: whole or nothing */
            return 1;
        heard = tune_now();
        tune_heard(&m);
    }
}

int tune_in_child(const struct tune_args *args, double end)
{
    const sigset_t hold = held_back();
    int ends[2], status, heard;
    pid_t child;

    if (pipe(ends) != 0)
        return fail(EXIT_INPUT, "no pipe: %s", strerror(errno));
    fflush(NULL); /* or the child writes it too */
    child = fork();
    if (child == 0) {
        close(ends[0]);
        sigprocmask(SIG_BLOCK, &hold, NULL); /* before a driver makes threads, which inherit it */
        exit(tune_here(args, end, ends[1]));
    }
    close(ends[1]);
    heard = child > 0 && listen_to(ends[0], child);
    close(ends[0]);
    if (child < 0)
        return fail(EXIT_INPUT, "no child process: %s", strerror(errno));
    if (!heard)
        kill(child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int tune_count_devices(void)
{
    int status = 0;
    const pid_t child = fork();

    if (child == 0) {
        const size_t n = clgaze_device_list(NULL, 0);

        _exit(n < 64 ? (int)n : 64);
    }
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    return child > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}
