/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.h: the command line, and the options that files carry too.
 *
 * An option is written --key-with-dashes VALUE on the command line and
 * key_with_underscores in `__metadata__`; the command line wins.
 */
#ifndef CLGAZE_TOOLS_OPTIONS_H
#define CLGAZE_TOOLS_OPTIONS_H

#include <clgaze/clgaze.h>

#include "safetensors.h"
#include "training.h"

enum { MAX_OPTIONS = 32 };

/** The command line, as strings of argv. */
struct args {
    const char *command;
    const char *in, *out, *device, *kernel;
    int32_t repeat; /**< 0: no timing                                            */
    int32_t json, verbose, help, version;
    char **files; /**< what follows `check`                                      */
    int n_files;
    const char *text[MAX_OPTIONS]; /**< of each option; NULL: not given          */
};

/** What the options say.  The shape of the problem is not theirs. */
struct settings {
    clgaze_problem problem;
    struct training training;
    int own_gate; /**< the form of the gate is the problem's, whatever w_k the file has */
    int given[MAX_OPTIONS];
};

/**
 * Read the command line; argv is reordered so that the files lie together.
 *
 * @return 0, or an exit code after a sentence on stderr.
 */
int args_read(int argc, char **argv, struct args *args);

/**
 * Take an option of files, for programs with a command line of their own.
 *
 * @param[in] name  As on the command line, without the dashes before it: "q-pool".
 * @return 0, or an exit code after a sentence when there is none of that name.
 */
int args_option(struct args *args, const char *name, const char *text);

/**
 * Start from the defaults, then take the file's metadata, then the command line.
 *
 * @param[in] file  NULL: no metadata.
 * @return 0, or an exit code after a sentence on stderr.
 */
int settings_read(const struct args *args, const st_file *file, struct settings *settings);

/**
 * Set one option in a problem, for programs with a command line of their own.
 *
 * @param[in] key  As in `__metadata__`: "head_scope".
 * @return 0, or an exit code after a sentence on stderr.
 */
int option_set(const char *key, const char *text, clgaze_problem *problem);

/** The same for an option of training. */
int option_set_training(const char *key, const char *text, struct training *training);

/** Ask whether an option was given anywhere. */
int settings_given(const struct settings *settings, const char *key);

/**
 * Write the options that were given as metadata.
 *
 * @param[out] pairs  Room for MAX_OPTIONS; their values lie in `text`.
 * @return The number of pairs.
 */
size_t settings_pairs(const struct settings *settings, st_pair *pairs, char (*text)[64]);

/** Print one line of help an option. */
void settings_help(void);

#endif
