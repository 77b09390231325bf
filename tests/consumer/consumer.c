/* SPDX-License-Identifier: Apache-2.0 */
/* What a user of the installed library compiles: prints the version and the
 * devices, and is content with none. */
#include <clgaze/clgaze.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    clgaze_device devices[16];
    size_t n = clgaze_device_list(devices, 16);

    printf("clgaze %s, %zu devices\n", clgaze_version(), n);
    for (size_t i = 0; i < n && i < 16; i++)
        printf("%s: %s\n", devices[i].platform_name, devices[i].name);
    return strcmp(clgaze_version(), CLGAZE_VERSION_STRING) != 0;
}
