/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stop.c: a run that ends between two steps when it is asked to.
 */
#include "stop.h"

#include "posix.h"

#include <stddef.h>

static volatile sig_atomic_t came;

static void note(int number)
{
    came = number;
}

void stop_listen(void)
{
    const struct sigaction act = {.sa_handler = note};
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
}

int stop_asked(void)
{
    return came;
}

void stop_now(void)
{
    if (came) {
        signal(came, SIG_DFL);
        raise(came);
    }
}
