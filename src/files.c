/* SPDX-License-Identifier: Apache-2.0 */
/*
 * files.c: folders and files of the user's cache: what may be believed, and writing
 * so that a reader never sees half.
 */
#include "files.h"

#include "posix.h"

#include <errno.h>
#include <string.h>
#include <time.h>

enum { LOCK_TRIES = 100 }; /* of 50 ms each */

/* Make a folder and its parents; 0, or errno. */
static int make_folders(const char *dir)
{
    char path[CLG_MAX_PATH];
    size_t n = strlen(dir);

    if (n == 0 || n >= sizeof path)
        return ENAMETOOLONG;
    memcpy(path, dir, n + 1);
    for (size_t i = 1; i <= n; i++)
        if (path[i] == '/' || path[i] == '\0') {
            char kept = path[i];

            path[i] = '\0';
            if (mkdir(path, 0700) != 0 && errno != EEXIST)
                return errno;
            path[i] = kept;
        }
    return 0;
}

const char *clg_folder_distrust(const char *dir)
{
    struct stat s;

    if (make_folders(dir) != 0)
        return "it cannot be made";
    if (lstat(dir, &s) != 0 || !S_ISDIR(s.st_mode))
        return "it is not a folder";
    if (s.st_uid != geteuid())
        return "it belongs to another user";
    if (s.st_mode & (S_IWGRP | S_IWOTH))
        return "others may write to it";
    return access(dir, W_OK | X_OK) == 0 ? NULL : "it cannot be written";
}

bool clg_folder_default(char *path, size_t size)
{
    const char *own = getenv("CLGAZE_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    const char *local = clg_local_folder();
    int n = -1;

    if (own)
        n = strcmp(own, "0") == 0 ? 0 : snprintf(path, size, "%s", own);
    else if (xdg && xdg[0] == '/')
        n = snprintf(path, size, "%s/clgaze", xdg);
    else if (home && home[0] == '/')
        n = snprintf(path, size, "%s/.cache/clgaze", home);
    else if (local)
        n = snprintf(path, size, "%s/clgaze", local);
    return n > 0 && (size_t)n < size;
}

/* A plain file of ours that nobody else may write, or -1. */
static int open_ours(const char *path, int flags, size_t *size, const char **why)
{
    const int fd = open(path, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    struct stat s;
    int none = -1;

    *why = NULL;
    if (fd < 0 && errno == ENOENT)
        return none;
    if (fd < 0 && errno == ELOOP) {
        *why = "it is a symbolic link";
    } else if (fd < 0 || fstat(fd, &s) != 0) {
        *why = "it cannot be opened";
        none = CLG_UNREADABLE;
    } else if (!S_ISREG(s.st_mode))
        *why = "it is not a plain file";
    else if (s.st_uid != geteuid())
        *why = "it belongs to another user";
    else if (s.st_mode & (S_IWGRP | S_IWOTH))
        *why = "others may write to it";
    if (!*why) {
        *size = (size_t)s.st_size;
        return fd;
    }
    if (fd >= 0)
        close(fd);
    return none;
}

/* How much to read or write at a time: Windows counts in an unsigned. */
static unsigned part(size_t left)
{
    return left < 1u << 30 ? (unsigned)left : 1u << 30;
}

int clg_file_open(const char *path, size_t *size, const char **why)
{
    return open_ours(path, O_RDONLY, size, why);
}

int clg_file_hold(const char *path, bool make, size_t *size, bool *busy, const char **why)
{
    for (;;) {
        const int fd = open_ours(path, O_RDWR | (make ? O_CREAT : 0), size, why);
        struct stat held, there;

        *busy = false;
        if (fd < 0) {
            *why = make && !*why ? "its folder does not exist" : *why;
            return -1;
        }
        *busy = flock(fd, LOCK_EX | LOCK_NB) != 0;
        if (!*busy && fstat(fd, &held) == 0 && stat(path, &there) == 0 && held.st_ino == there.st_ino) {
            *size = (size_t)held.st_size;
            return fd;
        }
        close(fd);
        if (*busy)
            return -1; /* else who held it has removed it since */
    }
}

bool clg_read_all(int fd, void *to, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = read(fd, (char *)to + done, part(size - done));

        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

bool clg_write_all(int fd, const void *from, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = write(fd, (const char *)from + done, part(size - done));

        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

bool clg_file_replace(const char *path, const void *const parts[], const size_t sizes[], int n)
{
    char temporary[CLG_MAX_PATH];
    const int length = snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    bool good = true;
    int fd;

    if (length <= 0 || (size_t)length >= sizeof temporary)
        return false;
    fd = mkstemp(temporary); /* made with 0600 */
    if (fd < 0)
        return false;
    for (int i = 0; i < n; i++)
        good = good && clg_write_all(fd, parts[i], sizes[i]);
    good = good && fsync(fd) == 0;
    good = close(fd) == 0 && good && rename(temporary, path) == 0;
    if (!good)
        unlink(temporary);
    return good;
}

int clg_file_lock(const char *file)
{
    const struct timespec pause = {0, 50 * 1000 * 1000};
    char path[CLG_MAX_PATH];
    const int n = snprintf(path, sizeof path, "%s.lock", file);
    const int fd = n > 0 && n < (int)sizeof path ? open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600) : -1;

    for (int i = 0; fd >= 0 && i < LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return fd;
        if (errno != EWOULDBLOCK && errno != EINTR)
            break;
        nanosleep(&pause, NULL);
    }
    if (fd >= 0)
        close(fd);
    return -1;
}
