/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clgaze/context.h: a device, and what the library may use of the host.
 *
 * A context borrows the caller's OpenCL context and device, or makes them.
 * Any number of contexts may live at once; each may be used by any number of
 * threads.  The library prints nothing, aborts never, and reads the
 * environment only inside clgaze_context_create().
 */
#ifndef CLGAZE_CONTEXT_H
#define CLGAZE_CONTEXT_H

/* The library needs OpenCL 1.2.  An application that wants a later version's
 * names defines CL_TARGET_OPENCL_VERSION, or includes CL/cl.h, before this. */
#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 120
#endif
#ifdef __APPLE__
#include <OpenCL/opencl.h>
#else
#include <CL/cl.h>
#endif
#include <stddef.h>
#include <stdint.h>

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct clgaze_context clgaze_context; /* opaque */

typedef enum clgaze_log_level {
    CLGAZE_LOG_ERROR = 0, /**< a call failed: one sentence, the reason       */
    CLGAZE_LOG_WARN = 1,  /**< the call goes on, but something was given up  */
    CLGAZE_LOG_INFO = 2,  /**< what was chosen                               */
    CLGAZE_LOG_DEBUG = 3  /**< why each other kernel was passed over, builds */
} clgaze_log_level;

/**
 * Receive a message.
 *
 * @param message  One sentence without a newline (a compiler's log may hold
 *                 several lines).  Valid during the call only.
 *
 * @param status   At level error what the call returns; else what the message
 *                 is of, often CLGAZE_OK.
 *
 * May be called from any thread that is inside a clgaze function, several at
 * once.  It must not call clgaze, but for clgaze_status_name() and _text().
 */
typedef void (*clgaze_log_fn)(void *user, clgaze_log_level level, clgaze_status status, const char *message);

/** Which tuned records the plans of a context use, and whether plans are tuned.  See tune.h. */
typedef enum clgaze_tuning_policy {
    CLGAZE_TUNING_NEAREST = 0, /**< the nearest that there is; nothing is ever tuned.  Costs
                                    nothing                                           */
    CLGAZE_TUNING_STORED = 1,  /**< those of this device alone, of whatever length and
                                    driver, none of devices like it                   */
    CLGAZE_TUNING_NONE = 2,    /**< none, whatever is stored: the defaults            */
    CLGAZE_TUNING_PLAN = 3     /**< the nearest; and a plan of a problem that has no record
                                    of its own is tuned while it is made.  Costs tuning_ms,
                                    and the time to build what is under way when they end:
                                    some 100 ms on most devices, seconds on some.  What was
                                    found lasts as long as the context: keep it for the
                                    next start by clgaze_tuning_save().  A journal beside
                                    the store is written the while, so that what ends the
                                    process is not tried again                        */
} clgaze_tuning_policy;

/** How to make a context.  Zero everything that you do not set: zero is the
 *  default of every field. */
typedef struct clgaze_context_options {
    cl_context context;  /**< retained, so you may release yours; NULL: make one */
    cl_device_id device; /**< a device of `context`; NULL with a context: its
                              only device; NULL without: chosen by `pick`     */
    const char *pick;    /**< without a device: an index in the order of
                              clgaze_device_list(), or any part of platform,
                              vendor or device name, case ignored; NULL: the
                              first GPU, else the first device                */

    clgaze_log_fn log; /**< NULL: silent                                      */
    void *log_user;
    clgaze_log_level log_level; /**< the most talkative level wanted; zero is
                                     errors alone                             */

    /* Host memory, never asked for by calls that enqueue; several threads may ask at once. */
    void *(*alloc)(void *user, size_t size); /**< like malloc; NULL: malloc   */
    void (*release)(void *user, void *p);    /**< like free; set both or none */
    void *alloc_user;

    const char *cache_dir; /**< folder of the binary cache, copied; "" : none;
                                NULL: $CLGAZE_CACHE_DIR, else
                                $XDG_CACHE_HOME/clgaze, else
                                $HOME/.cache/clgaze (on Windows
                                %LOCALAPPDATA%/clgaze).  On PoCL, which keeps a
                                cache of its own, none is used                */

    clgaze_tuning_policy tuning; /**< default CLGAZE_TUNING_NEAREST           */
    int32_t tuning_ms;           /**< with CLGAZE_TUNING_PLAN: milliseconds for a plan,
                                      1..600000; else unused                      */
    int32_t remember;            /**< 1: problems that were planned without a record of
                                      their own are written to a small file beside the
                                      store when the context is freed, for clgaze-tune to
                                      begin with; see clgaze_tuning_misses().  0 (default):
                                      nothing is written                              */
    uint32_t reserved[5];        /**< zero                                    */
} clgaze_context_options;

/**
 * Make a context.
 *
 * @param[in]  options  Read during the call only; NULL: all defaults.
 * @param[out] context  A new context that the caller frees with
 *                      clgaze_context_free(), or NULL on failure.
 *
 * @retval CLGAZE_OK
 * @retval CLGAZE_ERR_NULL       `context` is NULL, or only one of `alloc` and
 *                               `release` is set.
 * @retval CLGAZE_ERR_VALUE      `tuning`, `tuning_ms` or `remember` is out of range.
 * @retval CLGAZE_ERR_NO_DEVICE  No platform, or none that `pick` names.
 * @retval CLGAZE_ERR_CONTEXT    `device` is not a device of `options.context`,
 *                               or that has several and none was named.
 * @retval CLGAZE_ERR_CACHE      `cache_dir` was named and cannot be written (a
 *                               default folder that cannot is only warned of).
 * @retval CLGAZE_ERR_OPENCL     The driver refused.
 * @retval CLGAZE_ERR_NO_MEMORY
 *
 * @since 1.0
 */
CLGAZE_API clgaze_status clgaze_context_create(const clgaze_context_options *options, clgaze_context **context);

/**
 * Free a context.  NULL is allowed.  Its plans must be freed before; what was
 * enqueued still runs.  With options.remember, a file is written.
 *
 * @since 1.0
 */
CLGAZE_API void clgaze_context_free(clgaze_context *context);

/** Return the OpenCL context, borrowed. @since 1.0 */
CLGAZE_API cl_context clgaze_context_cl(const clgaze_context *context);

/** Return the OpenCL device, borrowed. @since 1.0 */
CLGAZE_API cl_device_id clgaze_context_device(const clgaze_context *context);

/** One line of clgaze_device_list(). */
typedef struct clgaze_device {
    cl_platform_id platform;
    cl_device_id device;
    cl_device_type type;
    char platform_name[128];
    char vendor[128];
    char name[128];
    char driver[64];
} clgaze_device;

/**
 * List the OpenCL devices of this machine: GPUs first, then accelerators, then
 * CPUs, within a kind in the loader's order.
 *
 * @param[out] devices   Up to `capacity` entries; may be NULL when 0.
 * @param[in]  capacity  Entries that `devices` has room for.
 *
 * @return The number of devices that there are, which may be more than
 *         `capacity`; 0 when there is no platform.
 * @since 1.0
 */
CLGAZE_API size_t clgaze_device_list(clgaze_device *devices, size_t capacity);

#ifdef __cplusplus
}
#endif
#endif
