/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report.c: how far it has come, and the closing table.
 */
#include "tune.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Of the device that is being tuned. */
static struct {
    char device[128], driver[128];
    clgaze_tune_result results[MAX_PROBLEMS];
    int n, n_notes, left; /* problems without a record when the time ended */
    char notes[8][128];
} heard;

static const char *clear_line(void)
{
    return isatty(STDERR_FILENO) ? "\r\033[K" : "";
}

static void draw_progress(const struct tune_message *m)
{
    const clgaze_tune_progress *p = &m->progress;
    const int done = p->problems ? (int)(20 * p->problems_done / p->problems) : 0;

    fprintf(stderr, "%s[%.*s%*s] %3.0f s left  %s  %.40s", clear_line(), done, "####################", 20 - done, "",
            p->budget > p->seconds ? p->budget - p->seconds : 0, m->text[0], m->text[1]);
}

void tune_report_heard(const struct tune_message *m)
{
    switch (m->kind) {
    case TUNE_DEVICE:
        snprintf(heard.device, sizeof heard.device, "%.127s", m->text[0]);
        snprintf(heard.driver, sizeof heard.driver, "%.127s", m->text[1]);
        break;
    case TUNE_STALE:
        fprintf(stderr, "stale: %s, %s\n", m->text[0], m->text[1]);
        break;
    case TUNE_NOTE:
        fprintf(stderr, "%s%s\n", clear_line(), m->text[0]);
        if (heard.n_notes < (int)(sizeof heard.notes / sizeof *heard.notes))
            snprintf(heard.notes[heard.n_notes++], sizeof heard.notes[0], "%.127s", m->text[0]);
        break;
    case TUNE_FOUND:
        if (heard.n < MAX_PROBLEMS)
            heard.results[heard.n++] = m->result;
        fprintf(stderr, "%s%s: %s\n", clear_line(), m->result.problem, m->result.best);
        break;
    case TUNE_LEFT:
        heard.left = (int)m->progress.problems;
        break;
    case TUNE_JOURNAL: /* for the parent alone */
        break;
    case TUNE_BEAT:
        if (isatty(STDERR_FILENO))
            draw_progress(m);
    }
}

int tune_report_has(const char *problem)
{
    int i = 0;

    while (i < heard.n && strcmp(heard.results[i].problem, problem) != 0)
        i++;
    return i < heard.n;
}

/* ---- the end ------------------------------------------------------------------ */

static int is_prefill(const clgaze_tune_result *r)
{
    return strncmp(r->problem, "prefill ", 8) == 0;
}

/* A break-even is no gain: its two times are those of two answers. */
static double gain(const clgaze_tune_result *r)
{
    return r->best_us > 0 && !is_prefill(r) ? r->before_us / r->best_us : 1;
}

static void print_gain(const clgaze_tune_result *r)
{
    if (is_prefill(r))
        printf(" %6s", "-");
    else
        printf(" %5.2fx", gain(r));
}

static void print_table(int code, const char *nothing)
{
    int whole = 0;

    if (heard.n == 0) {
        if (code == 0)
            printf("nothing was tuned: %s\n", heard.left ? "the time ended first" : nothing);
        return;
    }
    printf("%s, driver %s\n", heard.device, heard.driver);
    printf("%-30s %10s %10s %6s  %s\n", "problem", "before us", "best us", "gain", "what changed");
    for (int i = 0; i < heard.n; i++) {
        const clgaze_tune_result *r = &heard.results[i];
        const int same = strcmp(r->before, r->best) == 0;

        printf("%-30s %10.1f %10.1f", r->problem, r->before_us, r->best_us);
        print_gain(r);
        if (same || is_prefill(r))
            printf("  %s", is_prefill(r) ? r->best : "nothing");
        else
            printf("  %s -> %s", r->before, r->best);
        puts(r->finished ? "" : " (unfinished)");
        whole += is_prefill(r);
    }
    if (heard.left)
        printf("no time was left for %d %s: the next run begins there\n", heard.left,
               heard.left == 1 ? "problem" : "problems");
    if (whole)
        puts("prefill: the times of choosing blocks and of dense attention at the density in per cent FROM which "
             "dense "
             "is quicker; at 100 blocks always win");
}

static cJSON *result_json(const clgaze_tune_result *r)
{
    cJSON *one = cJSON_CreateObject();

    cJSON_AddStringToObject(one, "problem", r->problem);
    cJSON_AddStringToObject(one, "before", r->before);
    cJSON_AddStringToObject(one, "best", r->best);
    cJSON_AddNumberToObject(one, "before_us", r->before_us);
    cJSON_AddNumberToObject(one, "best_us", r->best_us);
    cJSON_AddNumberToObject(one, "gain", gain(r));
    cJSON_AddNumberToObject(one, "noise", r->noise);
    cJSON_AddNumberToObject(one, "tried", (double)r->tried);
    cJSON_AddNumberToObject(one, "refused", (double)r->refused);
    cJSON_AddBoolToObject(one, "finished", r->finished);
    return one;
}

static void fill_json(int code, cJSON *into)
{
    cJSON *list;

    cJSON_AddStringToObject(into, "device", heard.device);
    cJSON_AddStringToObject(into, "driver", heard.driver);
    cJSON_AddBoolToObject(into, "interrupted", code > 128);
    cJSON_AddNumberToObject(into, "left", heard.left);
    list = cJSON_AddArrayToObject(into, "results");
    for (int i = 0; i < heard.n; i++)
        cJSON_AddItemToArray(list, result_json(&heard.results[i]));
    list = cJSON_AddArrayToObject(into, "notes");
    for (int i = 0; i < heard.n_notes; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(heard.notes[i]));
}

void tune_report_end(int code, const char *nothing, cJSON *into)
{
    fputs(clear_line(), stderr);
    if (into)
        fill_json(code, into);
    else
        print_table(code, nothing);
    heard.n = heard.n_notes = heard.left = 0;
}
