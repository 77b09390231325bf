/* SPDX-License-Identifier: Apache-2.0 */
/*
 * misses.h: problems that were planned without a record of their own: tuned at once if the
 * policy says so, and remembered beside the store if the context's options do.
 */
#ifndef CLG_MISSES_H
#define CLG_MISSES_H

#include "records.h"

enum { CLG_MOST_MISSES = 64, CLG_MISS_NAME = 96 };

struct clg_miss {
    clgaze_op op;
    clgaze_problem problem; /* without values and kernel */
    char name[CLG_MISS_NAME];
};

/* The newest come last; the oldest go when there is no room. */
struct clg_miss_list {
    struct clg_miss at[CLG_MOST_MISSES];
    size_t n;
};

clgaze_status clg_misses_open(clgaze_context *ctx, bool remember);
void clg_misses_close(clgaze_context *ctx); /* writes what is to be remembered */
/* A plan of `op` is about to be made. */
void clg_misses_note(clgaze_context *ctx, clgaze_op op, const clgaze_problem *p);
/* Take what has a record by now from the user's file, if there is one. */
void clg_misses_prune(clgaze_context *ctx);

/* misses_text.c: one line a miss, "attend dtype=1 q_heads=8 ...": what differs from the default. */
void clg_misses_print(const struct clg_miss_list *list, struct clg_text *text);
/* Add the lines that describe a problem that this library can plan; others are left out. */
void clg_misses_parse(clgaze_context *ctx, struct clg_miss_list *list, char *text);
/* Add or move to the end. */
void clg_misses_add(struct clg_miss_list *list, const struct clg_miss *miss);

#endif
