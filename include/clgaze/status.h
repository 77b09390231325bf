/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clgaze/status.h: what a call can answer.
 *
 * Every function that can fail returns a clgaze_status.  The code is for the
 * program; the sentence for the human (which argument, its value, what is
 * allowed) goes to the log callback of the context, see context.h.
 */
#ifndef CLGAZE_STATUS_H
#define CLGAZE_STATUS_H

#if defined(CLGAZE_STATIC)
#define CLGAZE_API
#elif defined(_WIN32)
#ifdef CLGAZE_BUILDING
#define CLGAZE_API __declspec(dllexport)
#else
#define CLGAZE_API __declspec(dllimport)
#endif
#else
#define CLGAZE_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** X(name, code, text): the only list of status codes. */
#define CLGAZE_STATUS_MAP(X)                                                                                         \
    X(OK, 0, "success")                                                                                              \
    X(ERR_NULL, 1, "a handle or pointer that must be given is NULL")                                                 \
    X(ERR_DTYPE, 2, "a tensor has the wrong element type")                                                           \
    X(ERR_RANK, 3, "a tensor has the wrong number of dimensions")                                                    \
    X(ERR_SIZE, 4, "a size is outside its range or two sizes disagree")                                              \
    X(ERR_STRIDE, 5, "a tensor's strides cannot be used")                                                            \
    X(ERR_BOUNDS, 6, "a tensor reaches beyond its buffer")                                                           \
    X(ERR_OVERLAP, 7, "an output shares memory with another tensor")                                                 \
    X(ERR_HEADS, 8, "the numbers of heads do not divide")                                                            \
    X(ERR_BLOCK, 9, "a block size is outside 4..256")                                                                \
    X(ERR_VALUE, 10, "an option's value is outside its range")                                                       \
    X(ERR_LIST, 11, "a block list is out of range or out of order")                                                  \
    X(ERR_WORKSPACE, 12, "the workspace is missing or too small")                                                    \
    X(ERR_CONTEXT, 13, "an OpenCL object belongs to another context")                                                \
    X(ERR_LIMIT, 14, "the problem needs a larger buffer than the device has")                                        \
    X(ERR_UNSUPPORTED, 15, "no kernel can run this problem on this device")                                          \
    X(ERR_NO_DEVICE, 16, "no OpenCL device was found")                                                               \
    X(ERR_CACHE, 17, "the cache folder cannot be used")                                                              \
    X(ERR_BUILD, 18, "the OpenCL compiler rejected a kernel")                                                        \
    X(ERR_OPENCL, 19, "an OpenCL call failed")                                                                       \
    X(ERR_NO_MEMORY, 20, "host memory ran out")                                                                      \
    X(ERR_CANCELLED, 21, "the caller asked to stop")

typedef enum clgaze_status {
#define X(name, code, text) CLGAZE_##name = (code),
    CLGAZE_STATUS_MAP(X)
#undef X
} clgaze_status;

/**
 * Name a status: "CLGAZE_ERR_DTYPE".
 *
 * @return A static string; "CLGAZE_?" for a number that is no status.
 * @since 1.0
 */
CLGAZE_API const char *clgaze_status_name(clgaze_status status);

/**
 * Describe a status in a few words: "a tensor has the wrong element type".
 *
 * @return A static string; "unknown status" for a number that is no status.
 * @since 1.0
 */
CLGAZE_API const char *clgaze_status_text(clgaze_status status);

#ifdef __cplusplus
}
#endif
#endif
