/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tuned.c: what tests of tuned records share.
 */
#include "tuned.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A context that keeps its records in `folder` and tells hear(). */
clgaze_context *tuned_in(const char *folder)
{
    clgaze_context_options o = test_options();
    clgaze_context *ctx = NULL;

    o.log = hear;
    o.log_level = CLGAZE_LOG_WARN;
    o.cache_dir = folder;
    forget_heard();
    assert_ok(clgaze_context_create(&o, &ctx));
    return ctx;
}

/* A record of the portable attend kernel on the context's device. */
struct clg_record tuned_record(clgaze_context *ctx, const char *problem, double us)
{
    struct clg_record r;

    memset(&r, 0, sizeof r);
    r.device = clg_signature_of(&ctx->device);
    r.kernel = clg_kernel_find("attend");
    clg_space_default(r.kernel, r.values);
    snprintf(r.problem, sizeof r.problem, "%s", problem);
    r.us = us;
    r.default_us = 2 * us;
    r.origin = CLG_FROM_TUNER;
    return r;
}

void tuned_put(clgaze_context *ctx, struct clg_record r)
{
    assert_ok(clg_records_put(ctx, ctx->records, &r));
}

/* The time of the record that answers exactly this problem here; 0: none. */
double tuned_time(clgaze_context *ctx, const char *problem)
{
    struct clg_record r;

    return clg_records_find(ctx->records, &ctx->device, "attend", problem, 0, &r) ? r.us : 0;
}

char *tuned_text(struct clg_records *records)
{
    struct clg_text text = {NULL, 0, 0};
    char *buffer;

    clg_records_print(records, CLG_FROM_TUNER, &text);
    buffer = malloc(text.used + 1);
    assert_non_null(buffer);
    text = (struct clg_text){buffer, text.used + 1, 0};
    clg_records_print(records, CLG_FROM_TUNER, &text);
    return buffer;
}
