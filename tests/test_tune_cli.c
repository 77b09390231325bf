/*
 * test_tune_cli.c: clgaze-tune as a person or a script sees it.
 *
 * Environment: CLGAZE_TUNE, the program; without it all is skipped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <clgaze/clgaze.h>

static char said[1 << 14];

/* Run it, stdout and stderr together in `said`. */
static int run(const char *arguments)
{
    char command[2048];
    const char *program = getenv("CLGAZE_TUNE");

    if (!program)
        skip();
    snprintf(command, sizeof command, "'%s' %s 2>&1", program, arguments);
    FILE *from = popen(command, "r");
    assert_non_null(from);
    said[fread(said, 1, sizeof said - 1, from)] = '\0';
    const int status = pclose(from);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void says(const char *text)
{
    if (!strstr(said, text))
        fail_msg("\"%s\" is not in: %s", text, said);
}

static void refuses_bad_input(void **state)
{
    static const char *const cases[][2] = {
        {"--budget 0", "--budget is \"0\""},
        {"--budget -1", "--budget is \"-1\""},
        {"--budget nan", "--budget is \"nan\""},
        {"--budget 5s", "--budget is \"5s\""},
        {"--budget", "--budget needs a value"},
        {"--frob", "--frob is not an option"},
        {"--problem mill", "it begins with"},
        {"--problem 'attend z9'", "\"z9\" is none of"},
        {"--problem 'attend b64x'", "\"b64x\" is none of"},
        {"--problem 'attend n8kk'", "\"n8kk\" is none of"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(run(cases[i][0]), 2);
        says(cases[i][1]);
        assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1); /* one sentence */
    }
}

static void lists_every_kernel(void **state)
{
    const char *names[64];
    const size_t n = clgaze_kernel_list(names, NULL, 64);

    (void)state;
    assert_int_equal(run("--list"), 0);
    for (size_t i = 0; i < n; i++)
        says(names[i]);
}

static void names_what_a_problem_means(void **state)
{
    (void)state;
    if (clgaze_device_list(NULL, 0) == 0)
        skip();
    assert_int_equal(run("--dry-run --problem 'attend f16 d128 b64x128 g4 n32k'"), 0);
    assert_string_equal(said, "attend f16 d128 b64x128 g4 n32k\n");
    assert_int_equal(run("--dry-run --problem 'attend f16 d64 g1'"), 0); /* two lengths are left out */
    says("attend f16 d64 b64 g1 n8k\n");
    assert_ptr_not_equal(strchr(said, '\n'), said + strlen(said) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_bad_input),
        cmocka_unit_test(lists_every_kernel),
        cmocka_unit_test(names_what_a_problem_means),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
