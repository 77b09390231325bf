/* SPDX-License-Identifier: Apache-2.0 */
/*
 * terminal.c: where a page is read, and on what power.
 */
#include <stdarg.h>
#include <string.h>

#include "posix.h"
#include "sparse.h"

enum { OF_A_FILE = 100, LEAST = 40 };

int columns(FILE *f)
{
    const char *text = getenv("COLUMNS");
    struct winsize size = {0};
    int n = OF_A_FILE;

    if (isatty(fileno(f)) && ioctl(fileno(f), TIOCGWINSZ, &size) == 0 && size.ws_col)
        n = size.ws_col;
    else if (text && atoi(text) > 0)
        n = atoi(text);
    return n < LEAST ? LEAST : n;
}

bool colour(FILE *f)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

    return isatty(fileno(f)) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}

void say(FILE *f, const char *format, ...)
{
    char text[2048];
    int room = columns(f), at = 0;
    va_list list;

    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    for (const char *word = text; *word;) {
        int n = (int)strcspn(word, " ");

        if (at && at + 1 + n > room) {
            fputc('\n', f);
            at = 0;
        }
        at += fprintf(f, "%s%.*s", at ? " " : "", n, word);
        word += n;
        word += strspn(word, " ");
    }
    fputc('\n', f);
}

bool on_battery(const char *pattern)
{
    bool found = false;
    glob_t paths;

    if (glob(pattern, 0, NULL, &paths) != 0)
        return false;
    for (size_t i = 0; i < paths.gl_pathc; i++) {
        char word[32] = "";
        FILE *f = fopen(paths.gl_pathv[i], "r");

        if (f && fgets(word, sizeof word, f))
            found |= strncmp(word, "Discharging", 11) == 0;
        if (f)
            fclose(f);
    }
    globfree(&paths);
    return found;
}
