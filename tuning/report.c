/*
 * report.c: what clgaze-tune prints.
 */
#include "tune.h"

#include "internal.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static clgaze_tune_result results[MAX_PROBLEMS];
static int n_results;

int tune_list(void)
{
    for (int i = 0; clg_kernels[i]; i++) {
        const struct clg_kernel *kernel = clg_kernels[i];

        printf("%-8s %s, %d configurations\n", kernel->op, kernel->name, clg_space_size(kernel));
        for (int j = 0; kernel->space && kernel->space[j].name; j++) {
            printf("           %-6s", kernel->space[j].name);
            for (const int *v = kernel->space[j].allowed; *v; v++)
                printf(" %d%s", *v, *v == kernel->space[j].value ? "*" : "");
            printf("\n");
        }
    }
    puts("* the default");
    return 0;
}

/* Without tuning: what would be used for each problem, and why. */
int tune_show(clgaze_context *context, const struct tune_problems *problems, int why)
{
    for (int i = 0; i < problems->n; i++) {
        char name[96] = "", reason[256] = "";

        clgaze_tuning_problem(context, problems->op[i], &problems->problem[i], name, sizeof name);
        if (why)
            clgaze_supports(context, problems->op[i], &problems->problem[i], reason, sizeof reason);
        printf(why ? "%-30s %s\n" : "%s%s\n", name, reason);
    }
    return 0;
}

static const char *clear_line(void)
{
    return isatty(STDERR_FILENO) ? "\r\033[K" : "";
}

void tune_report_heard(const struct tune_message *m)
{
    const clgaze_tune_progress *p = &m->progress;

    if (m->kind == TUNE_FOUND) {
        if (n_results < MAX_PROBLEMS)
            results[n_results++] = m->result;
        fprintf(stderr, "%s%s: %s\n", clear_line(), m->result.problem, m->result.best);
    } else if (isatty(STDERR_FILENO)) {
        const int done = p->problems ? (int)(20 * p->problems_done / p->problems) : 0;

        fprintf(stderr, "%s[%.*s%*s] %3.0f s left  %s  %.40s", clear_line(), done, "####################", 20 - done,
                "", p->budget > p->seconds ? p->budget - p->seconds : 0, m->problem, m->candidate);
    }
}

void tune_report_end(int code)
{
    fputs(clear_line(), stderr);
    if (n_results == 0) {
        if (code == 0)
            puts("nothing was tuned: each problem has a record (--resume, --again), or the time ended first");
        return;
    }
    printf("%-30s %10s %10s %6s  %s\n", "problem", "before us", "best us", "gain", "what changed");
    for (int i = 0; i < n_results; i++) {
        const clgaze_tune_result *r = &results[i];
        const int same = strcmp(r->before, r->best) == 0;

        printf("%-30s %10.1f %10.1f %5.2fx  %s%s%s%s\n", r->problem, r->before_us, r->best_us,
               r->best_us > 0 ? r->before_us / r->best_us : 1, same ? "nothing" : r->before, same ? "" : " -> ",
               same ? "" : r->best, r->finished ? "" : " (unfinished)");
    }
}
