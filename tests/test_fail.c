/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fail.c: what a tool says where there is no device, or one that may not be opened.
 */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"

#undef fail /* CMocka's */
#include "../tools/fail.h"

/* ---- a made-up /dev/dri ---- */

static size_t nodes; /* of which the last may not be opened */
static int why;      /* and what the system says of it; 0: it may */

int glob(const char *pattern, int flags, int (*failed)(const char *, int), glob_t *paths)
{
    static char *made_up[] = {"/dev/dri/renderD128", "/dev/dri/renderD129", NULL};

    (void)flags;
    (void)failed;
    assert_string_equal(pattern, "/dev/dri/renderD*");
    memset(paths, 0, sizeof *paths);
    paths->gl_pathc = nodes;
    paths->gl_pathv = made_up;
    return nodes ? 0 : GLOB_NOMATCH;
}

void globfree(glob_t *paths)
{
    (void)paths;
}

int access(const char *path, int mode)
{
    assert_int_equal(mode, R_OK | W_OK);
    if (!why || path[strlen(path) - 1] != (nodes > 1 ? '9' : '8'))
        return 0;
    errno = why;
    return -1;
}

/* ---- what is said ---- */

static const char *said(void)
{
    static char text[1024];
    int ends[2], old = dup(STDERR_FILENO);

    assert_int_equal(pipe(ends), 0);
    fflush(stderr);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    int code = fail_no_device();
    fflush(stderr);
    dup2(old, STDERR_FILENO);
    close(old);
    ssize_t n = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    assert_true(n > 0);
    text[n] = '\0';
    assert_int_equal(code, EXIT_OPENCL);
    assert_ptr_equal(strchr(text, '\n'), text + n - 1); /* one line */
    return text;
}

static void packages_are_named(void **state)
{
    static const char *const packages[] = {"pocl-opencl-icd", "nvidia-opencl-icd", "intel-opencl-icd",
                                           "mesa-opencl-icd"};

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(packages); i++)
        assert_non_null(strstr(said(), packages[i]));
}

static void render_group_is_named_where_it_is_the_cause(void **state)
{
    (void)state;
    for (nodes = 0; nodes <= 2; nodes++)
        for (int i = 0; i < 3; i++) {
            why = i == 0 ? 0 : i == 1 ? EACCES : ENOENT;
            assert_int_equal(locked_out() != 0, nodes > 0 && why == EACCES);
            assert_int_equal(strstr(said(), "group render") != NULL, nodes > 0 && why == EACCES);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packages_are_named),
        cmocka_unit_test(render_group_is_named_where_it_is_the_cause),
    };

    return TEST_MAIN(tests);
}
