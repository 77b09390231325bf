/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compare.h: a computed tensor against the one that was expected.
 */
#ifndef CLGAZE_TOOLS_COMPARE_H
#define CLGAZE_TOOLS_COMPARE_H

#include "execute.h"
#include "job.h"

/** How two tensors differ. */
struct difference {
    double max_abs;  /**< greatest difference of an element                     */
    double relative; /**< norm of the difference over norm of the expected; of
                          lists the share of rows that differ                   */
    int ok;
};

/**
 * Compare `name` of a result with `expect.name` of the job's file.
 *
 * @return 0 with `difference` set, or an exit code after a sentence on stderr:
 *         the operation does not write it, or the shapes differ.
 */
int compare_tensor(const struct job *job, const struct result *result, const st_tensor *expected,
                   struct difference *difference);

#endif
