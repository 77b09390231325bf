/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spied.h: a context whose only kernel is pool with few configurations, quick to tune and
 * to spy on.
 */
#ifndef CLG_TESTS_SPIED_H
#define CLG_TESTS_SPIED_H

#include "tuned.h"

/* The real pool, but for what a test puts in its place; the first of the table. */
extern struct clg_kernel spy;
extern const struct clg_kernel *spy_table[6];
enum { SPY_CANDIDATES = 3 }; /* WG of 64, 128 and 256, VEC of 8 */

void spy_on(clgaze_context *ctx);
const char *spy_fits(const struct clg_device *device, const clgaze_problem *p, const int *values);
clgaze_problem spy_problem(int length);
/* Plan it now: what it computes is right, its reason says `reason`, its kernel is `kernel`, unless
 * they are NULL. Answers the kernel. */
const char *spy_plan(clgaze_context *ctx, int length, const char *kernel, const char *reason);
/* The record of this very problem, "f32 d8 b8x8 n64". */
bool spy_record(clgaze_context *ctx, const char *problem, struct clg_record *r);

#endif
