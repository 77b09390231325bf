/* SPDX-License-Identifier: Apache-2.0 */
/*
 * power.c: whether times can be trusted: battery, and a device that became slower.
 */
#include "power.h"

#include "search.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

/* ---- battery ------------------------------------------------------------------- */

/* A file of one word; "" if it cannot be read. */
static void read_word(const char *folder, const char *name, const char *file, char *to, int size)
{
    char path[512];
    FILE *f;

    to[0] = '\0';
    if (snprintf(path, sizeof path, "%s/%s/%s", folder, name, file) >= (int)sizeof path)
        return;
    f = fopen(path, "r");
    if (f && fgets(to, size, f))
        to[strcspn(to, "\n")] = '\0';
    if (f)
        fclose(f);
}

int power_on_battery(const char *folder)
{
    DIR *dir = opendir(folder);
    int found = 0;

    for (struct dirent *e = dir ? readdir(dir) : NULL; e && !found; e = readdir(dir)) {
        char type[32], status[32], scope[32];

        read_word(folder, e->d_name, "type", type, sizeof type);
        read_word(folder, e->d_name, "status", status, sizeof status);
        read_word(folder, e->d_name, "scope", scope, sizeof scope);
        found = strcmp(type, "Battery") == 0 && strcmp(status, "Discharging") == 0 &&
                strcmp(scope, "Device") != 0; /* that of a mouse */
    }
    if (dir)
        closedir(dir);
    return found;
}

/* ---- a device that became slower --------------------------------------------------- */

double power_slower(struct power_times *before, struct power_times *after)
{
    double spread[2], noise, first, last;

    if (before->n == 0 || after->n == 0)
        return 0;
    first = clg_median(before->us, before->n, &spread[0]);
    last = clg_median(after->us, after->n, &spread[1]);
    noise = 1.5 * (spread[0] > spread[1] ? spread[0] : spread[1]);
    noise = noise > 0.05 ? noise : 0.05;
    return last > (1 + noise) * first ? last / first - 1 : 0;
}
