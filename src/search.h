/* SPDX-License-Identifier: Apache-2.0 */
/*
 * search.h: find the quickest of many candidates by noisy measurements.
 *
 * Knows nothing of OpenCL: candidates are numbers, times come from callbacks.
 */
#ifndef CLG_SEARCH_H
#define CLG_SEARCH_H

#include <stdbool.h>
#include <stddef.h>

enum { CLG_SEARCH_KEEP = 8, CLG_SEARCH_SAMPLES = 16 };

struct clg_search {
    int n;           /* candidates 0 .. n-1; 0 is what is used now       */
    int cap;         /* most candidates to try; 0: no cap                */
    double deadline; /* on `clock`                                       */
    double wander;   /* on `clock`: until then it may look further than one step from the best */
    double building; /* seconds that opening a candidate may take, as far as is known, and then as it took */
    void *user;
    double (*clock)(void *user);                  /* seconds                             */
    bool (*open)(void *user, int candidate);      /* make it ready; false: it cannot be used */
    double (*measure)(void *user, int candidate); /* one time, any unit; negative: it failed */
    void (*close)(void *user, int candidate);
    int (*distance)(void *user, int a, int b); /* steps: the nearest to the best is tried next */
    bool (*stop)(void *user);                  /* asked between measurements          */

    /* What came of it. */
    int best;
    double first_time, best_time; /* medians of the last duel: candidate 0, the best */
    double noise;                 /* relative: what a gain had to exceed        */
    size_t tried, refused;
    bool finished; /* nothing one step from the best is untried        */
    bool stopped;
};

/* `seen` is room for n flags, false. False: candidate 0 cannot be used. */
bool clg_search_run(struct clg_search *s, bool *seen);

/* The median, and the distance of the quartiles over it; sorts. */
double clg_median(double *x, int n, double *spread);

#endif
