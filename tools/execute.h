/* SPDX-License-Identifier: Apache-2.0 */
/*
 * execute.h: run a job on a device.
 */
#ifndef CLGAZE_TOOLS_EXECUTE_H
#define CLGAZE_TOOLS_EXECUTE_H

#include <clgaze/clgaze.h>

#include "job.h"

enum { MAX_OUTPUTS = 16, MAX_STAGES = 5 };

/** A device, its context and an in-order queue that takes times. */
struct device {
    clgaze_context *context;
    cl_command_queue queue;
    char name[128];
};

/** One operation that ran. */
struct stage {
    const char *name;
    char kernel[128];          /**< as clgaze_plan_kernel() names it           */
    double ms, ms_min, ms_max; /**< median and range on the device; 0: untimed */
};

/** What a job wrote. */
struct result {
    st_tensor tensors[MAX_OUTPUTS]; /**< data owned by the result                */
    int n_tensors;
    struct stage stages[MAX_STAGES];
    int n_stages;
};

/**
 * Open a device.
 *
 * @param[in] pick  As clgaze_context_options.pick.
 * @return 0, or an exit code after a sentence on stderr.
 */
int device_open(const char *pick, int verbose, struct device *device);

/** Close it; one that was not opened (zeroed) is allowed. */
void device_close(struct device *device);

/**
 * Make a buffer, released by the caller.
 *
 * @param[in] data  What it begins with; NULL: nothing.
 * @param[in] what  Names it in a sentence.
 * @return 0, or an exit code after a sentence on stderr.
 */
int device_buffer(struct device *device, size_t bytes, const void *data, const char *what, cl_mem *buffer);

/**
 * Run a job once, and when `repeat` is not 0 time each of its stages in that
 * many further runs.
 *
 * @param[in,out] job  Its width of `blocks` is set here.
 * @param[in] kernel   NULL, or the strategy to force on its operation.
 * @param[out] result  Freed with result_free() whatever is returned.
 * @return 0, or an exit code after a sentence on stderr.
 */
int job_run(struct device *device, struct job *job, const char *kernel, int repeat, struct result *result);

/** The same for distill: teach.c. */
int job_teach(struct device *device, const struct job *job, const char *kernel, struct result *result);

/** Add the stages that a plan holds to those of the result. */
void stages_name(struct result *result, const clgaze_plan *plan);

/** Forget the n-th tensor. */
void result_drop(struct result *result, int n);

void result_free(struct result *result);

#endif
