/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commands.h: what clgaze-run does, one function a command.
 *
 * Each returns the exit code of the program; sentences of failure are on
 * stderr, results on stdout, and with --json exactly one JSON value there.
 */
#ifndef CLGAZE_TOOLS_COMMANDS_H
#define CLGAZE_TOOLS_COMMANDS_H

#include "execute.h"
#include "options.h"

/** An operation on --in, written to --out. */
int command_operation(const struct args *args);

/** Every file's own operation, compared with what the file expects. */
int command_check(const struct args *args);

/** The devices, and which kernels fit them. */
int command_devices(const struct args *args);

/** Every kernel that fits a device, against ref/, in about a minute. */
int command_selftest(const struct args *args);

/**
 * Read a file and make the job of an operation, or of its own.
 *
 * @param[in] name       NULL: the file's own operation.
 * @param[out] file      Freed with st_close() after job_free().
 * @return 0, or an exit code after a sentence on stderr; both are to be freed
 *         either way.
 */
int load_job(const struct args *args, const char *path, const char *name, st_file **file, struct settings *settings,
             struct job *job);

/** Times of the stages as a JSON list, or as a table on stdout. */
struct cJSON;
struct cJSON *stages_json(const struct result *result, int timed);
void stages_print(const struct result *result, int timed);

#endif
