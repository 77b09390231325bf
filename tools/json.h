/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json.h: a JSON value as a program's answer.
 */
#ifndef CLGAZE_TOOLS_JSON_H
#define CLGAZE_TOOLS_JSON_H

#include <stdio.h>

struct cJSON;

/** Write a JSON value (freed) and a line end. @return `code`, or EXIT_INPUT after a sentence where memory ran out. */
int print_json(FILE *f, struct cJSON *json, int code);

#endif
