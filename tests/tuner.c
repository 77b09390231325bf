/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tuner.c: what tests of clgaze-tune share.
 */
#include "tuner.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "records.h"
#include "tuned.h"

char tuner_out[1 << 15], tuner_err[1 << 14];

/* The program as a shell takes it, on the device under test. */
static const char *program(void)
{
    static char words[1024];
    const char *path = getenv("CLGAZE_TUNE"), *device = getenv("CLGAZE_TEST_DEVICE");

    if (!path)
        skip();
    snprintf(words, sizeof words, "'%s' %s%s%s", path, device ? "--device '" : "", device ? device : "",
             device ? "'" : "");
    return words;
}

int tuner(const char *format, ...)
{
    char words[2048], command[4096];
    va_list args;
    FILE *from;
    char *err;
    int status;

    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    snprintf(command, sizeof command, "CLGAZE_CACHE_DIR='%s/store' %s %s 2>'%s/err'", base, program(), words, base);
    from = popen(command, "r");
    assert_non_null(from);
    tuner_out[fread(tuner_out, 1, sizeof tuner_out - 1, from)] = '\0';
    status = pclose(from);
    err = tuner_read("err");
    snprintf(tuner_err, sizeof tuner_err, "%s", err);
    free(err);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

pid_t tuner_start(const char *words, int *from)
{
    char command[2048], store[CACHE_PATH];
    int ends[2];
    pid_t child;

    snprintf(command, sizeof command, "exec %s %s", program(), words);
    snprintf(store, sizeof store, "%s/store", base);
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setenv("CLGAZE_CACHE_DIR", store, 1);
        dup2(ends[1], STDERR_FILENO);
        dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    *from = ends[0];
    return child;
}

void tuner_says(const char *text)
{
    if (!strstr(tuner_out, text) && !strstr(tuner_err, text))
        fail_msg("\"%s\" is not in: %s%s", text, tuner_out, tuner_err);
}

void tuner_complains(const char *text)
{
    tuner_says(text);
    assert_string_equal(tuner_out, "");
    if (strchr(tuner_err, '\n') != tuner_err + strlen(tuner_err) - 1)
        fail_msg("more than one sentence: %s", tuner_err);
}

void tuner_file(const char *name, const char *problem, const char *also)
{
    clgaze_context *ctx = tuned_in("");
    char *text;

    tuned_put(ctx, tuned_record(ctx, problem, 5));
    text = tuned_text(ctx->records);
    write_file(under(name), also ? also : text, strlen(also ? also : text));
    free(text);
    clgaze_context_free(ctx);
}

/* The first file of the store that ends in .tuning. */
static bool store_file(char path[CACHE_PATH])
{
    DIR *dir = opendir(under("store"));
    bool found = false;

    for (struct dirent *e = dir ? readdir(dir) : NULL; e && !found; e = readdir(dir)) {
        const char *end = strrchr(e->d_name, '.');

        found = end && strcmp(end, ".tuning") == 0;
        snprintf(path, CACHE_PATH, "%.150s/store/%.200s", base, e->d_name);
    }
    if (dir)
        closedir(dir);
    return found;
}

char *tuner_read(const char *name)
{
    enum { MOST = 1 << 15 };
    char path[CACHE_PATH] = "", *text = calloc(1, MOST);
    FILE *f = NULL;

    assert_non_null(text);
    if (name)
        snprintf(path, sizeof path, "%s", under(name));
    if (name || store_file(path))
        f = fopen(path, "r");
    if (f) {
        text[fread(text, 1, MOST - 1, f)] = '\0';
        fclose(f);
    }
    return text;
}

void tuner_holds(const char *name, const char *text)
{
    char *now = tuner_read(name);

    assert_string_equal(now, text);
    free(now);
}

char *tuner_altered(const char *text, const char *word, const char *by)
{
    const char *at = strstr(text, word);
    const size_t room = strlen(text) + strlen(by) + 1;
    char *copy = malloc(room);

    assert_non_null(at);
    assert_non_null(copy);
    snprintf(copy, room, "%.*s%s%s", (int)(at - text), text, by, at + strlen(word));
    return copy;
}
