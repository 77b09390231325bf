/* SPDX-License-Identifier: Apache-2.0 */
/*
 * files.h: folders and files of the user's cache, for compiled programs and tuned records.
 */
#ifndef CLG_FILES_H
#define CLG_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { CLG_MAX_PATH = 4096 };

/* The folder by environment: false when there is none to use. */
bool clg_folder_default(char *path, size_t size);
/* Make the folder if need be. NULL, or why it cannot hold what we shall believe later. */
const char *clg_folder_distrust(const char *dir);
/* Open for reading a plain file of ours that nobody else may write; -1: there is none such;
 * CLG_UNREADABLE: there may be, but it cannot be opened now, and what it holds must not be lost.
 * `why` says what is wrong with one that exists, else NULL. */
enum { CLG_UNREADABLE = -2 };
int clg_file_open(const char *path, size_t *size, const char **why);
/* The same for reading and writing, locked until it is closed; `make`: make it if need be. -1 and
 * `busy`: another process holds it. */
int clg_file_hold(const char *path, bool make, size_t *size, bool *busy, const char **why);
bool clg_read_all(int fd, void *to, size_t size);
bool clg_write_all(int fd, const void *from, size_t size);
/* Write under a temporary name beside it, sync, rename: a reader sees all or nothing. */
bool clg_file_replace(const char *path, const void *const parts[], const size_t sizes[], int n);
/* Lock the file's twin "x.lock", by closing the answer unlocked; -1: another process holds it for 5 s,
 * or it cannot be made. */
int clg_file_lock(const char *file);

#endif
