/* SPDX-License-Identifier: Apache-2.0 */
/*
 * posix_windows.c: what posix.h promises, on Windows.
 */
#include "posix.h"

#undef mkdir
#undef rename
#include <direct.h>
#include <errno.h>
#include <io.h>
#include <windows.h>

int clg_rename(const char *from, const char *to)
{
    if (MoveFileExA(from, to, MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH))
        return 0;
    errno = GetLastError() == ERROR_FILE_NOT_FOUND ? ENOENT : EACCES;
    return -1;
}

/* A drive, "C:", cannot be made, but it is there. */
int clg_mkdir(const char *path, int mode)
{
    const DWORD is = GetFileAttributesA(path);

    (void)mode;
    if (is == INVALID_FILE_ATTRIBUTES)
        return _mkdir(path);
    errno = EEXIST;
    return -1;
}

int setenv(const char *name, const char *value, int always)
{
    return always || !getenv(name) ? _putenv_s(name, value) : 0;
}

int flock(int fd, int how)
{
    OVERLAPPED from = {0};

    (void)how;
    if (LockFileEx((HANDLE)_get_osfhandle(fd), LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &from))
        return 0;
    errno = GetLastError() == ERROR_LOCK_VIOLATION ? EWOULDBLOCK : EBADF;
    return -1;
}
