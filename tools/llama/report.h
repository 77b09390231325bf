/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report.h: what a run that learns prints at its end.
 */
#ifndef CLGAZE_LLAMA_REPORT_H
#define CLGAZE_LLAMA_REPORT_H

#include "run.h"

/** Print seconds a stage and the losses of n steps, or the last of them. @return 0, or an exit code after a sentence.
 */
int report_losses(const struct run *r, const float *losses, int32_t n);

#endif
