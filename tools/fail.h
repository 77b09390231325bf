/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fail.h: one sentence on stderr, and the exit code that goes with it.
 *
 * Every failure of a tool is one call of fail() or fail_library(); the code it
 * returns travels up to main().
 */
#ifndef CLGAZE_TOOLS_FAIL_H
#define CLGAZE_TOOLS_FAIL_H

#include <clgaze/clgaze.h>

enum {
    EXIT_DONE = 0,
    EXIT_DIFFERS = 1, /**< a comparison failed                                  */
    EXIT_INPUT = 2,   /**< wrong usage or input                                 */
    EXIT_OPENCL = 3   /**< no device, or OpenCL failed                          */
};

/** Name the program, and say whether the library's whole log is wanted. */
void fail_setup(const char *program, int verbose);

/** Name the file that the sentences are about; NULL: none.  Borrowed. */
void fail_about(const char *path);

/** Print "program: path: sentence" to stderr. @return `code`. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
int fail(int code, const char *format, ...);

/** What the next sentence of fail_library() begins with.  Borrowed. */
void fail_prefix(const char *prefix);

/** Print the sentence that the library logged last for `status`, or the
 *  status's own text. @return The exit code of `status`. */
int fail_library(clgaze_status status);

/** Is there a graphics card whose node this user may not open? */
int locked_out(void);

/** Say that there is no device, and what to install. @return EXIT_OPENCL. */
int fail_no_device(void);

/** A clgaze_log_fn that keeps the sentence for fail_library(). */
void fail_log(void *user, clgaze_log_level level, clgaze_status status, const char *message);

#endif
