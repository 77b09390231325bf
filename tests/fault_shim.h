/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault_shim.h: calls of OpenCL and of the C library that fail when told to.
 *
 * The linker's --wrap puts the shim between our objects and the loader; what the
 * runtimes call among themselves is not touched.  One fault at a time is armed:
 * the n-th call of one function.
 */
#ifndef CLG_TESTS_FAULT_SHIM_H
#define CLG_TESTS_FAULT_SHIM_H

#include <stdbool.h>
#include <stddef.h>

/* FAULT(function, answers...): OpenCL's codes, or errno; 0 is not an answer. */
#define FAULTS_CL                                                                                                    \
    FAULT(clGetPlatformIDs, -1001, -6)                                                                               \
    FAULT(clGetPlatformInfo, -32, -6)                                                                                \
    FAULT(clGetDeviceIDs, -1, -5, -6)                                                                                \
    FAULT(clGetDeviceInfo, -33, -5, -6)                                                                              \
    FAULT(clCreateContext, -2, -5, -6)                                                                               \
    FAULT(clRetainContext, -34, -6)                                                                                  \
    FAULT(clGetContextInfo, -34, -6)                                                                                 \
    FAULT(clReleaseContext, -34, -6)                                                                                 \
    FAULT(clCreateCommandQueue, -34, -5, -6)                                                                         \
    FAULT(clGetCommandQueueInfo, -36, -6)                                                                            \
    FAULT(clReleaseCommandQueue, -36, -6)                                                                            \
    FAULT(clCreateBuffer, -4, -61, -6)                                                                               \
    FAULT(clCreateSubBuffer, -4, -13, -6)                                                                            \
    FAULT(clRetainMemObject, -38, -6)                                                                                \
    FAULT(clGetMemObjectInfo, -38, -6)                                                                               \
    FAULT(clReleaseMemObject, -38, -6)                                                                               \
    FAULT(clCreateProgramWithSource, -34, -6)                                                                        \
    FAULT(clCreateProgramWithBinary, -42, -6)                                                                        \
    FAULT(clBuildProgram, -11, -3, -6)                                                                               \
    FAULT(clGetProgramInfo, -44, -5, -6)                                                                             \
    FAULT(clGetProgramBuildInfo, -33, -6)                                                                            \
    FAULT(clRetainProgram, -44, -6)                                                                                  \
    FAULT(clReleaseProgram, -44, -6)                                                                                 \
    FAULT(clCreateKernel, -46, -5, -6)                                                                               \
    FAULT(clSetKernelArg, -51, -5, -6)                                                                               \
    FAULT(clReleaseKernel, -48, -6)                                                                                  \
    FAULT(clEnqueueNDRangeKernel, -4, -5, -54, -9999)                                                                \
    FAULT(clEnqueueReadBuffer, -4, -5, -14, -9999)                                                                   \
    FAULT(clEnqueueWriteBuffer, -4, -5, -6)                                                                          \
    FAULT(clEnqueueFillBuffer, -4, -5, -6)                                                                           \
    FAULT(clEnqueueBarrierWithWaitList, -5, -6)                                                                      \
    FAULT(clWaitForEvents, -14, -5, -9999)                                                                           \
    FAULT(clReleaseEvent, -58, -6)                                                                                   \
    FAULT(clFlush, -36, -5)                                                                                          \
    FAULT(clFinish, -5, -9999)

/* read and write answer half of what was asked for where the code is SHORT. */
#define SHORT 1000
#define FAULTS_C                                                                                                     \
    FAULT(malloc, 12)                                                                                                \
    FAULT(calloc, 12)                                                                                                \
    FAULT(pthread_mutex_init, 11, 12)                                                                                \
    FAULT(open, 13, 24, 5)                                                                                           \
    FAULT(close, 5)                                                                                                  \
    FAULT(read, 5, SHORT)                                                                                            \
    FAULT(write, 28, 5, SHORT)                                                                                       \
    FAULT(fsync, 5, 28)                                                                                              \
    FAULT(fstat, 5)                                                                                                  \
    FAULT(lstat, 13)                                                                                                 \
    FAULT(stat, 13)                                                                                                  \
    FAULT(ftruncate, 5, 28)                                                                                          \
    FAULT(lseek, 5)                                                                                                  \
    FAULT(access, 13)                                                                                                \
    FAULT(mkdir, 13, 28)                                                                                             \
    FAULT(mkstemp, 13, 28)                                                                                           \
    FAULT(rename, 13, 18)                                                                                            \
    FAULT(unlink, 13)                                                                                                \
    FAULT(remove, 13)                                                                                                \
    FAULT(flock, 4, 37)                                                                                              \
    FAULT(fopen, 13, 24)                                                                                             \
    FAULT(fclose, 28)

#define FAULT(name, ...) F_##name,
enum fault_call { FAULTS_CL FAULTS_C FAULT_CALLS };
#undef FAULT

enum { FAULT_CODES = 4 };

extern const char *const fault_names[FAULT_CALLS];
extern const int fault_codes[FAULT_CALLS][FAULT_CODES]; /* 0 after the last */

/* From now on the n-th call (1..) of `call` answers `code`; n 0: none does, calls are only counted. */
void fault_arm(enum fault_call call, int n, int code);
/* Calls count and fail while watched: switch it on around calls of the library alone. */
void fault_watch(bool on);
bool fault_happened(void);
int fault_count(enum fault_call call); /* calls since fault_arm() */
/* What is made and not released yet: OpenCL's objects, files, blocks of memory. */
long fault_held(void);
void fault_forget(void); /* what is held */

#endif
