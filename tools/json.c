/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json.c: a JSON value as a program's answer.
 */
#include "json.h"

#include "fail.h"

#include <cjson/cJSON.h>

int print_json(FILE *f, cJSON *json, int code)
{
    char *text = cJSON_Print(json);

    cJSON_Delete(json);
    if (!text)
        return fail(EXIT_INPUT, "memory ran out");
    fprintf(f, "%s\n", text);
    cJSON_free(text);
    return code;
}
