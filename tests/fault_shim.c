/* SPDX-License-Identifier: Apache-2.0 */
/* fault_shim.c: see fault_shim.h. */
#include "fault_shim.h"

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAULT(name, ...) #name,
const char *const fault_names[FAULT_CALLS] = {FAULTS_CL FAULTS_C};
#undef FAULT
#define FAULT(name, ...) {__VA_ARGS__},
const int fault_codes[FAULT_CALLS][FAULT_CODES] = {FAULTS_CL FAULTS_C};
#undef FAULT

static enum fault_call armed;
static int armed_n, armed_code, counts[FAULT_CALLS];
static long held;
static bool watched, happened;

void fault_arm(enum fault_call call, int n, int code)
{
    armed = call;
    armed_n = n;
    armed_code = code;
    happened = false;
    for (int i = 0; i < FAULT_CALLS; i++)
        counts[i] = 0;
}

void fault_watch(bool on)
{
    watched = on;
}

bool fault_happened(void)
{
    return happened;
}

int fault_count(enum fault_call call)
{
    return counts[call];
}

long fault_held(void)
{
    return held;
}

void fault_forget(void)
{
    held = 0;
}

/* The code that this call must answer, or 0. */
static int due(enum fault_call call)
{
    if (!watched)
        return 0;
    counts[call]++;
    if (call != armed || counts[call] != armed_n)
        return 0;
    happened = true;
    return armed_code;
}

static void hold(long change)
{
    if (watched)
        held += change;
}

/* ---- OpenCL ------------------------------------------------------------------ */

/* NOLINTBEGIN(bugprone-reserved-identifier): names that the linker's --wrap makes */

/* A call that answers a status and changes nothing that must be given back. */
#define PLAIN(name, params, args)                                                                                    \
    cl_int __real_##name params;                                                                                     \
    cl_int __wrap_##name params;                                                                                     \
    cl_int __wrap_##name params                                                                                      \
    {                                                                                                                \
        const int code = due(F_##name);                                                                              \
                                                                                                                     \
        return code ? code : __real_##name args;                                                                     \
    }

/* A release that fails has released: else the shim would be the leak. */
#define RELEASE(name, type)                                                                                          \
    cl_int __real_##name(type x);                                                                                    \
    cl_int __wrap_##name(type x);                                                                                    \
    cl_int __wrap_##name(type x)                                                                                     \
    {                                                                                                                \
        const int code = due(F_##name);                                                                              \
        const cl_int answer = __real_##name(x);                                                                      \
                                                                                                                     \
        hold(-1);                                                                                                    \
        return code ? code : answer;                                                                                 \
    }

#define RETAIN(name, type)                                                                                           \
    cl_int __real_##name(type x);                                                                                    \
    cl_int __wrap_##name(type x);                                                                                    \
    cl_int __wrap_##name(type x)                                                                                     \
    {                                                                                                                \
        const int code = due(F_##name);                                                                              \
                                                                                                                     \
        hold(code ? 0 : 1);                                                                                          \
        return code ? code : __real_##name(x);                                                                       \
    }

#define MAKE(type, name, params, args)                                                                               \
    type __real_##name params;                                                                                       \
    type __wrap_##name params;                                                                                       \
    type __wrap_##name params                                                                                        \
    {                                                                                                                \
        const int code = due(F_##name);                                                                              \
        type made = code ? NULL : __real_##name args;                                                                \
                                                                                                                     \
        if (code && err)                                                                                             \
            *err = code;                                                                                             \
        hold(made ? 1 : 0);                                                                                          \
        return made;                                                                                                 \
    }

/* The caller may want an event, which it must release. */
#define ENQUEUE(name, params, args)                                                                                  \
    cl_int __real_##name params;                                                                                     \
    cl_int __wrap_##name params;                                                                                     \
    cl_int __wrap_##name params                                                                                      \
    {                                                                                                                \
        const int code = due(F_##name);                                                                              \
        const cl_int answer = code ? code : __real_##name args;                                                      \
                                                                                                                     \
        hold(answer == CL_SUCCESS && event ? 1 : 0);                                                                 \
        return answer;                                                                                               \
    }

#define WAIT cl_uint n_wait, const cl_event *wait, cl_event *event
#define INFO(name, type, what)                                                                                       \
    PLAIN(name, (type x, what which, size_t size, void *to, size_t *real), (x, which, size, to, real))

PLAIN(clGetPlatformIDs, (cl_uint n, cl_platform_id *to, cl_uint *real), (n, to, real))
PLAIN(clGetDeviceIDs, (cl_platform_id p, cl_device_type type, cl_uint n, cl_device_id *to, cl_uint *real),
      (p, type, n, to, real))
INFO(clGetPlatformInfo, cl_platform_id, cl_platform_info)
INFO(clGetDeviceInfo, cl_device_id, cl_device_info)
INFO(clGetContextInfo, cl_context, cl_context_info)
INFO(clGetCommandQueueInfo, cl_command_queue, cl_command_queue_info)
INFO(clGetMemObjectInfo, cl_mem, cl_mem_info)
INFO(clGetProgramInfo, cl_program, cl_program_info)
PLAIN(clGetProgramBuildInfo,
      (cl_program x, cl_device_id d, cl_program_build_info which, size_t size, void *to, size_t *real),
      (x, d, which, size, to, real))
PLAIN(clBuildProgram,
      (cl_program x, cl_uint n, const cl_device_id *d, const char *options, void(CL_CALLBACK *f)(cl_program, void *),
       void *user),
      (x, n, d, options, f, user))
PLAIN(clSetKernelArg, (cl_kernel x, cl_uint i, size_t size, const void *value), (x, i, size, value))
PLAIN(clWaitForEvents, (cl_uint n, const cl_event *events), (n, events))
PLAIN(clFlush, (cl_command_queue q), (q))
PLAIN(clFinish, (cl_command_queue q), (q))
RETAIN(clRetainContext, cl_context)
RETAIN(clRetainMemObject, cl_mem)
RETAIN(clRetainProgram, cl_program)
RELEASE(clReleaseContext, cl_context)
RELEASE(clReleaseCommandQueue, cl_command_queue)
RELEASE(clReleaseMemObject, cl_mem)
RELEASE(clReleaseProgram, cl_program)
RELEASE(clReleaseKernel, cl_kernel)
RELEASE(clReleaseEvent, cl_event)
MAKE(cl_context, clCreateContext,
     (const cl_context_properties *p, cl_uint n, const cl_device_id *d,
      void(CL_CALLBACK *f)(const char *, const void *, size_t, void *), void *user, cl_int *err),
     (p, n, d, f, user, err))
MAKE(cl_command_queue, clCreateCommandQueue,
     (cl_context c, cl_device_id d, cl_command_queue_properties p, cl_int *err), (c, d, p, err))
MAKE(cl_mem, clCreateBuffer, (cl_context c, cl_mem_flags flags, size_t size, void *from, cl_int *err),
     (c, flags, size, from, err))
MAKE(cl_mem, clCreateSubBuffer,
     (cl_mem m, cl_mem_flags flags, cl_buffer_create_type type, const void *region, cl_int *err),
     (m, flags, type, region, err))
MAKE(cl_program, clCreateProgramWithSource,
     (cl_context c, cl_uint n, const char **text, const size_t *sizes, cl_int *err), (c, n, text, sizes, err))
MAKE(cl_program, clCreateProgramWithBinary,
     (cl_context c, cl_uint n, const cl_device_id *d, const size_t *sizes, const unsigned char **at, cl_int *status,
      cl_int *err),
     (c, n, d, sizes, at, status, err))
MAKE(cl_kernel, clCreateKernel, (cl_program x, const char *name, cl_int *err), (x, name, err))
ENQUEUE(clEnqueueNDRangeKernel,
        (cl_command_queue q, cl_kernel k, cl_uint dims, const size_t *from, const size_t *global, const size_t *local,
         WAIT),
        (q, k, dims, from, global, local, n_wait, wait, event))
ENQUEUE(clEnqueueReadBuffer, (cl_command_queue q, cl_mem m, cl_bool now, size_t at, size_t size, void *to, WAIT),
        (q, m, now, at, size, to, n_wait, wait, event))
ENQUEUE(clEnqueueWriteBuffer,
        (cl_command_queue q, cl_mem m, cl_bool now, size_t at, size_t size, const void *from, WAIT),
        (q, m, now, at, size, from, n_wait, wait, event))
ENQUEUE(clEnqueueFillBuffer,
        (cl_command_queue q, cl_mem m, const void *pattern, size_t n, size_t at, size_t size, WAIT),
        (q, m, pattern, n, at, size, n_wait, wait, event))
ENQUEUE(clEnqueueBarrierWithWaitList, (cl_command_queue q, WAIT), (q, n_wait, wait, event))

/* ---- the C library --------------------------------------------------------------- */

/* The call has no effect and answers `bad`, errno set. */
#define FILE_CALL(type, name, params, args, bad)                                                                     \
    type __real_##name params;                                                                                       \
    type __wrap_##name params;                                                                                       \
    type __wrap_##name params                                                                                        \
    {                                                                                                                \
        const int code = due(F_##name);                                                                              \
                                                                                                                     \
        if (!code)                                                                                                   \
            return __real_##name args;                                                                               \
        errno = code;                                                                                                \
        return bad;                                                                                                  \
    }

FILE_CALL(void *, calloc, (size_t n, size_t size), (n, size), NULL)
FILE_CALL(int, fsync, (int fd), (fd), -1)
FILE_CALL(int, fstat, (int fd, struct stat *s), (fd, s), -1)
FILE_CALL(int, lstat, (const char *path, struct stat *s), (path, s), -1)
FILE_CALL(int, stat, (const char *path, struct stat *s), (path, s), -1)
FILE_CALL(int, ftruncate, (int fd, off_t size), (fd, size), -1)
FILE_CALL(off_t, lseek, (int fd, off_t at, int from), (fd, at, from), -1)
FILE_CALL(int, access, (const char *path, int mode), (path, mode), -1)
FILE_CALL(int, mkdir, (const char *path, mode_t mode), (path, mode), -1)
FILE_CALL(int, rename, (const char *from, const char *to), (from, to), -1)
FILE_CALL(int, unlink, (const char *path), (path), -1)
FILE_CALL(int, remove, (const char *path), (path), -1)
FILE_CALL(int, flock, (int fd, int what), (fd, what), -1)

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
    if (!due(F_malloc))
        return __real_malloc(size);
    errno = ENOMEM;
    return NULL;
}

int __real_pthread_mutex_init(pthread_mutex_t *m, const pthread_mutexattr_t *a);
int __wrap_pthread_mutex_init(pthread_mutex_t *m, const pthread_mutexattr_t *a);
int __wrap_pthread_mutex_init(pthread_mutex_t *m, const pthread_mutexattr_t *a)
{
    const int code = due(F_pthread_mutex_init);

    return code ? code : __real_pthread_mutex_init(m, a);
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    const int code = due(F_open);
    int fd = -1;
    unsigned mode = 0;
    va_list list;

    va_start(list, flags);
    if (flags & O_CREAT)
        mode = va_arg(list, unsigned);
    va_end(list);
    if (!code)
        fd = __real_open(path, flags, mode);
    else
        errno = code;
    hold(fd >= 0 ? 1 : 0);
    return fd;
}

int __real_mkstemp(char *path);
int __wrap_mkstemp(char *path);
int __wrap_mkstemp(char *path)
{
    const int code = due(F_mkstemp), fd = code ? -1 : __real_mkstemp(path);

    if (code)
        errno = code;
    hold(fd >= 0 ? 1 : 0);
    return fd;
}

/* As Linux has it: a close that fails has closed. */
int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
    const int code = due(F_close), answer = __real_close(fd);

    hold(-1);
    if (code)
        errno = code;
    return code ? -1 : answer;
}

ssize_t __real_read(int fd, void *to, size_t size);
ssize_t __wrap_read(int fd, void *to, size_t size);
ssize_t __wrap_read(int fd, void *to, size_t size)
{
    const int code = due(F_read);

    if (code == SHORT)
        return __real_read(fd, to, size > 1 ? size / 2 : size);
    if (code)
        errno = code;
    return code ? -1 : __real_read(fd, to, size);
}

ssize_t __real_write(int fd, const void *from, size_t size);
ssize_t __wrap_write(int fd, const void *from, size_t size);
ssize_t __wrap_write(int fd, const void *from, size_t size)
{
    const int code = due(F_write);

    if (code == SHORT)
        return __real_write(fd, from, size > 1 ? size / 2 : size);
    if (code)
        errno = code;
    return code ? -1 : __real_write(fd, from, size);
}

FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode)
{
    const int code = due(F_fopen);
    FILE *f = code ? NULL : __real_fopen(path, mode);

    if (code)
        errno = code;
    hold(f ? 1 : 0);
    return f;
}

int __real_fclose(FILE *f);
int __wrap_fclose(FILE *f);
int __wrap_fclose(FILE *f)
{
    const int code = due(F_fclose), answer = __real_fclose(f);

    hold(-1);
    if (code)
        errno = code;
    return code ? EOF : answer;
}

/* NOLINTEND(bugprone-reserved-identifier) */
