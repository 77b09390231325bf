/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clgaze: learned block-sparse attention for OpenCL.
 *
 *     #include <clgaze/clgaze.h>
 *
 *   status.h    what a call can answer
 *   context.h   a device, and what the library may use of the host
 *   tensor.h    views of your buffers
 *   infer.h     pool -> gate -> score -> select -> attend; prefill = all of them
 *   train.h     truth: which blocks dense attention needs; attend_bwd: gradients of attend
 *   tune.h      the best configuration of each kernel, found once a device
 *
 * Licence: Apache-2.0.
 */
#ifndef CLGAZE_H
#define CLGAZE_H

#include "context.h"
#include "infer.h"
#include "status.h"
#include "tensor.h"
#include "train.h"
#include "tune.h"

#define CLGAZE_VERSION_MAJOR  1
#define CLGAZE_VERSION_MINOR  0
#define CLGAZE_VERSION_PATCH  0
#define CLGAZE_VERSION_STRING "1.0.0"

#ifdef __cplusplus
extern "C" {
#endif

/** Return the version of the linked library, "1.0.0". @since 1.0 */
CLGAZE_API const char *clgaze_version(void);

#ifdef __cplusplus
}
#endif
#endif
