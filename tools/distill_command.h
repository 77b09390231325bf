/* SPDX-License-Identifier: Apache-2.0 */
/*
 * distill_command.h: the command line of clgaze-distill, and what it does.
 */
#ifndef CLGAZE_TOOLS_DISTILL_COMMAND_H
#define CLGAZE_TOOLS_DISTILL_COMMAND_H

#include "options.h"

/** As strings of argv. */
struct distill_command {
    char **in; /**< captures                                                       */
    int n_in;
    const char *out, *plot, *device, *form, *dtype;
    int32_t layer, seed, save_every, stop_after, gate_dim;
    int32_t resume, json, verbose, help, version;
    struct args library; /**< the options that files carry too                       */
};

/**
 * Read the command line; argv is reordered so that the captures lie together.
 *
 * @return 0, or an exit code after a sentence on stderr.
 */
int distill_command_read(int argc, char **argv, struct distill_command *command);

/** Print one line of help an option. */
void distill_command_help(void);

/** Teach a gate. @return The exit code, after a sentence on stderr unless 0. */
int distill_run(const struct distill_command *command);

#endif
