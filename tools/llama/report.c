/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report.c: what a run that learns prints at its end.
 */
#include "report.h"

#include "json.h"

#include <cjson/cJSON.h>
#include <stdio.h>

int report_losses(const struct run *r, const float *losses, int32_t n)
{
    if (!r->command->json) {
        for (int i = 0; i < N_SPENT; i++)
            printf("%-10s %8.3f s\n", spent_names[i], r->machine.seconds[i]);
        printf("loss %.4f steps %d\n", (double)losses[n - 1], (int)n);
        return 0;
    }
    cJSON *root = cJSON_CreateObject(), *seconds = cJSON_AddObjectToObject(root, "seconds");
    cJSON_AddItemToObject(root, "losses", cJSON_CreateFloatArray(losses, (int)n));
    for (int i = 0; i < N_SPENT; i++)
        cJSON_AddNumberToObject(seconds, spent_names[i], r->machine.seconds[i]);
    return print_json(stdout, root, 0);
}
