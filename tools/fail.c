/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fail.c: one sentence on stderr, and the exit code that goes with it.
 */
#include "fail.h"

#include "posix.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

static struct {
    const char *program;
    const char *about, *prefix;
    int verbose;
    char sentence[4096]; /* the library's last error */
} state = {.program = "clgaze"};

void fail_setup(const char *program, int verbose)
{
    state.program = program;
    state.verbose = verbose;
}

void fail_about(const char *path)
{
    state.about = path;
}

static void begin(void)
{
    fprintf(stderr, "%s: ", state.program);
    if (state.about)
        fprintf(stderr, "%s: ", state.about);
}

int fail(int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    begin();
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return code;
}

void fail_prefix(const char *prefix)
{
    state.prefix = prefix;
}

int fail_library(clgaze_status status)
{
    int opencl = status == CLGAZE_ERR_OPENCL || status == CLGAZE_ERR_BUILD || status == CLGAZE_ERR_NO_DEVICE;
    fail(opencl ? EXIT_OPENCL : EXIT_INPUT, "%s%s", state.prefix ? state.prefix : "",
         *state.sentence ? state.sentence : clgaze_status_text(status));
    *state.sentence = 0;
    state.prefix = NULL;
    return opencl ? EXIT_OPENCL : EXIT_INPUT;
}

int locked_out(void)
{
    int locked = 0;
    glob_t paths;

    if (glob("/dev/dri/renderD*", 0, NULL, &paths) == 0) {
        for (size_t i = 0; i < paths.gl_pathc; i++)
            locked |= access(paths.gl_pathv[i], R_OK | W_OK) != 0 && errno == EACCES;
        globfree(&paths);
    }
    return locked;
}

int fail_no_device(void)
{
    state.about = NULL;
    return fail(EXIT_OPENCL,
                "no OpenCL device was found: install the package pocl-opencl-icd for the processor, or "
                "nvidia-opencl-icd, intel-opencl-icd or mesa-opencl-icd for a graphics card%s",
                locked_out()
                    ? "; this user may not open /dev/dri/renderD*: add it to the group render and log in again"
                    : "");
}

void fail_log(void *user, clgaze_log_level level, clgaze_status status, const char *message)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    (void)user;
    (void)status;
    if (level == CLGAZE_LOG_ERROR)
        snprintf(state.sentence, sizeof state.sentence, "%s", message);
    if (state.verbose && level != CLGAZE_LOG_ERROR)
        fprintf(stderr, "%s: %s\n", names[level], message);
}
