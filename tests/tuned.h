/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tuned.h: what tests of tuned records share.
 */
#ifndef CLG_TESTS_TUNED_H
#define CLG_TESTS_TUNED_H

#include "cache.h"
#include "harness.h"
#include "records.h"

/* A context that keeps its records in `folder` and tells hear(). */
clgaze_context *tuned_in(const char *folder);
/* A record of the portable attend kernel on the context's device. */
struct clg_record tuned_record(clgaze_context *ctx, const char *problem, double us);
void tuned_put(clgaze_context *ctx, struct clg_record r);
/* The time of the record that answers exactly this problem here; 0: none. */
double tuned_time(clgaze_context *ctx, const char *problem);
/* What the tuner found, as the store writes it; to free. */
char *tuned_text(struct clg_records *records);

#endif
