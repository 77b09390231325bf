/* SPDX-License-Identifier: Apache-2.0 */
/*
 * curves.c: clgaze-llama plot: perplexity against density, a line a rule.
 */
#include "command.h"

#include "config.h"
#include "fail.h"
#include "plot.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { POINTS = 64 };

/* A rule with its points, in the order of density. */
struct rule {
    const char *name; /* of the JSON */
    double density[POINTS], perplexity[POINTS];
    size_t n;
};

struct curves {
    const char *path;
    struct rule rules[PLOT_LINES];
    size_t n;
    double dense; /* perplexity; 0: not known */
};

static int add(struct rule *r, double density, double perplexity)
{
    size_t at = r->n;
    if (r->n == POINTS)
        return fail(EXIT_INPUT, "rule %.60s has more than %d rows", r->name, POINTS);
    for (; at > 0 && r->density[at - 1] > density; at--) {
        r->density[at] = r->density[at - 1];
        r->perplexity[at] = r->perplexity[at - 1];
    }
    r->density[at] = density;
    r->perplexity[at] = perplexity;
    r->n++;
    return 0;
}

static int row(struct curves *c, const cJSON *json)
{
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "rule"));
    const cJSON *density = cJSON_GetObjectItemCaseSensitive(json, "density"),
                *perplexity = cJSON_GetObjectItemCaseSensitive(json, "perplexity");
    size_t i = 0;
    if (!name || !cJSON_IsNumber(density) || !cJSON_IsNumber(perplexity) ||
        !(density->valuedouble > 0 && density->valuedouble <= 1 && perplexity->valuedouble >= 1))
        return fail(EXIT_INPUT, "a row lacks rule, density in (0, 1] or perplexity: it is none of ppl --json");
    if (strcmp(name, "dense") == 0) {
        c->dense = perplexity->valuedouble;
        return 0;
    }
    while (i < c->n && strcmp(c->rules[i].name, name) != 0)
        i++;
    if (i == PLOT_LINES)
        return fail(EXIT_INPUT, "it has more than %d rules", PLOT_LINES);
    if (i == c->n)
        c->rules[c->n++].name = name;
    return add(&c->rules[i], density->valuedouble, perplexity->valuedouble);
}

static int draw(const struct curves *c, const char *out)
{
    struct plot plot = {.x_title = "density: kept blocks over visible blocks", .y_title = "perplexity"};
    if (!c->n)
        return fail(EXIT_INPUT, "it holds no row of a rule");
    for (size_t i = 0; i < c->n; i++) {
        const struct rule *r = &c->rules[i];
        plot.lines[i] = (struct plot_line){r->name, r->density, r->perplexity, r->n};
    }
    plot.n_lines = c->n;
    plot.floor_name = c->dense > 0 ? "dense" : NULL;
    plot.floor = c->dense;
    return plot_lines(out, &plot);
}

/* The file holds rows, or arrays of rows, one after another; `all` is to keep what was parsed. */
static int rows(struct curves *c, const char *text, cJSON *all)
{
    int code = 0;
    text += strspn(text, " \t\r\n");
    while (*text && !code) {
        cJSON *json = cJSON_ParseWithOpts(text, &text, 0);
        if (!json)
            return fail(EXIT_INPUT, "it is no JSON from \"%.20s\" on", text);
        cJSON_AddItemToArray(all, json);
        if (cJSON_IsArray(json))
            for (const cJSON *one = json->child; one && !code; one = one->next)
                code = row(c, one);
        else
            code = row(c, json);
        text += strspn(text, " \t\r\n");
    }
    return code;
}

int command_plot(const struct command *command)
{
    if (!command->rows || !command->out)
        return fail(EXIT_INPUT, "plot needs --rows and --out");
    char *text = text_read(command->rows);
    struct curves *c = calloc(1, sizeof *c);
    cJSON *all = cJSON_CreateArray();
    int code = EXIT_INPUT;
    if (text && c && all) {
        fail_about(command->rows);
        code = rows(c, text, all);
        if (!code)
            code = draw(c, command->out);
        fail_about(NULL);
    } else if (text) {
        code = fail(EXIT_INPUT, "memory ran out");
    }
    cJSON_Delete(all);
    free(c);
    free(text);
    return code;
}
