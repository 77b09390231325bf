/* SPDX-License-Identifier: Apache-2.0 */
/*
 * posix.h: what the library and the programs use of POSIX beside what every C library of ours has.
 * On Windows, where mingw-w64 lacks it, posix_windows.c has it, or it does nothing, as said below.
 */
#ifndef CLG_POSIX_H
#define CLG_POSIX_H

#ifdef _WIN32
#define tell posix_tell /* a word of our programs, and an old one of Windows' io.h */
#endif
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef _WIN32
#include <glob.h>
#include <sys/file.h>
#include <sys/ioctl.h>

/* Where programs keep what they can make again, if neither XDG_CACHE_HOME nor HOME says; or NULL. */
static inline const char *clg_local_folder(void)
{
    return NULL;
}

#else
#undef tell

static inline const char *clg_local_folder(void)
{
    return getenv("LOCALAPPDATA");
}

/* ---- files: bytes as they are, not handed on to child processes; a rename replaces ---- */

#define O_CLOEXEC          (_O_BINARY | _O_NOINHERIT)
#define O_NOFOLLOW         0
#define O_NONBLOCK         0
#define LOCK_EX            1
#define LOCK_NB            2
#define fsync              _commit
#define rename             clg_rename
#define mkdir              clg_mkdir
#define realpath(path, to) _fullpath(to, path, _MAX_PATH) /* of what is not there, too */

int clg_rename(const char *from, const char *to);
int clg_mkdir(const char *path, int mode);
int setenv(const char *name, const char *value, int always);
int flock(int fd, int how); /* LOCK_EX | LOCK_NB, until it is closed */

/* Who may read and write is the folder's business there: a user's own is closed to others. */
#undef S_IWGRP
#undef S_IWOTH
#define S_IWGRP                            0
#define S_IWOTH                            0
#define lstat                              stat
#define geteuid()                          0
#define fchmod(fd, mode)                   ((void)(fd), (void)(mode), 0)

/* ---- signals: the handler is called once, then the signal ends the program ---- */

#define SIGPIPE                            0 /* there is none */
#define SA_RESTART                         0
struct sigaction {
    void (*sa_handler)(int);
    int sa_flags, sa_mask;
};
#define sigemptyset(set)                   (*(set) = 0)
static inline int sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    (void)old;
    return number && signal(number, action->sa_handler) == SIG_ERR ? -1 : 0;
}

/* ---- what is not there: no /dev, no /sys, no size of a terminal ---- */

typedef struct {
    size_t gl_pathc;
    char **gl_pathv;
} glob_t;
#define glob(pattern, flags, error, found) ((void)(pattern), (void)(found), 1)
#define globfree(found)                    ((void)(found))

struct winsize {
    unsigned short ws_col;
};
#define TIOCGWINSZ                         0
#define ioctl(fd, request, answer)         ((void)(answer), -1)

#endif
#endif
