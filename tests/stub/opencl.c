/* SPDX-License-Identifier: Apache-2.0 */
/*
 * opencl.c: an OpenCL without a device, in the loader's place, for checkers of host code that
 * cannot look into a runtime.  Buffers are host memory, zero at first.  Kernels do nothing but
 * read their arguments, as what is written to buffers is read: a byte that nobody
 * set is then found.  What is wrong by the standard is answered with the standard's code.
 */
#define CL_TARGET_OPENCL_VERSION 120
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum kind { CONTEXT = 1, QUEUE, BUFFER, PROGRAM, KERNEL, EVENT };

/* Every object is one. `of`: what it holds a reference of. */
struct object {
    enum kind kind;
    atomic_int refs;
    atomic_int status; /* of an event */
    struct object *of;
    size_t size;
    unsigned char *bytes; /* of a buffer, or of a part of another's; the binary of a program */
    bool built, part;
};

static int platform, device; /* their addresses are all there is of them */
#define PLATFORM ((cl_platform_id)(void *)&platform)
#define DEVICE   ((cl_device_id)(void *)&device)

static const char binary[] = "stub's binary";

static struct object *cast(void *handle)
{
    return handle;
}

static bool is(const void *handle, enum kind kind)
{
    const struct object *x = handle;

    return x && x->kind == kind && x->refs > 0;
}

static void *make(enum kind kind, void *of, size_t size, cl_int *err)
{
    struct object *x = calloc(1, sizeof *x);

    if (x && size && !(x->bytes = calloc(1, size))) {
        free(x);
        x = NULL;
    }
    if (err)
        *err = x ? CL_SUCCESS : CL_OUT_OF_HOST_MEMORY;
    if (!x)
        return NULL;
    x->kind = kind;
    x->refs = 1;
    x->size = size;
    if (of)
        cast(of)->refs++;
    x->of = of;
    return x;
}

static void *refuse(cl_int code, cl_int *err)
{
    if (err)
        *err = code;
    return NULL;
}

static cl_int release(void *handle, enum kind kind, cl_int bad)
{
    struct object *x = cast(handle);

    if (!is(x, kind))
        return bad;
    if (--x->refs > 0)
        return CL_SUCCESS;
    if (x->of)
        release(x->of, x->of->kind, bad);
    if (!x->part)
        free(x->bytes);
    free(x);
    return CL_SUCCESS;
}

static cl_int retain(void *handle, enum kind kind, cl_int bad)
{
    if (!is(handle, kind))
        return bad;
    cast(handle)->refs++;
    return CL_SUCCESS;
}

/* Branch on each byte: checkers report those that nobody set. */
static void look(const void *from, size_t size)
{
    static atomic_int seen;

    for (size_t i = 0; i < size; i++)
        if (((const unsigned char *)from)[i] == 0x5a)
            seen++;
}

static cl_int answer(const void *from, size_t n, size_t size, void *to, size_t *real)
{
    if (to && size < n)
        return CL_INVALID_VALUE;
    if (to)
        memcpy(to, from, n);
    if (real)
        *real = n;
    return CL_SUCCESS;
}

#define ANSWER(type, ...)                                                                                            \
    {                                                                                                                \
        const type x_[] = {__VA_ARGS__};                                                                             \
        return answer(x_, sizeof x_, size, to, real);                                                                \
    }
#define TEXT(x) return answer((x), sizeof(x), size, to, real)

/* ---- platform and device ------------------------------------------------------------ */

cl_int clGetPlatformIDs(cl_uint n, cl_platform_id *to, cl_uint *real)
{
    if (to && n)
        *to = PLATFORM;
    if (real)
        *real = 1;
    return CL_SUCCESS;
}

cl_int clGetPlatformInfo(cl_platform_id p, cl_platform_info which, size_t size, void *to, size_t *real)
{
    if (p != PLATFORM)
        return CL_INVALID_PLATFORM;
    if (which == CL_PLATFORM_NAME)
        TEXT("Stub");
    if (which == CL_PLATFORM_VERSION)
        TEXT("OpenCL 1.2 stub");
    TEXT("");
}

cl_int clGetDeviceIDs(cl_platform_id p, cl_device_type type, cl_uint n, cl_device_id *to, cl_uint *real)
{
    (void)type;
    if (p != PLATFORM)
        return CL_INVALID_PLATFORM;
    if (to && n)
        *to = DEVICE;
    if (real)
        *real = 1;
    return CL_SUCCESS;
}

cl_int clGetDeviceInfo(cl_device_id d, cl_device_info which, size_t size, void *to, size_t *real)
{
    if (d != DEVICE)
        return CL_INVALID_DEVICE;
    switch (which) {
    case CL_DEVICE_TYPE:
        ANSWER(cl_device_type, CL_DEVICE_TYPE_CPU)
    case CL_DEVICE_PLATFORM:
        ANSWER(cl_platform_id, PLATFORM)
    case CL_DEVICE_LOCAL_MEM_SIZE:
        ANSWER(cl_ulong, 1 << 16)
    case CL_DEVICE_GLOBAL_MEM_SIZE:
    case CL_DEVICE_MAX_MEM_ALLOC_SIZE:
        ANSWER(cl_ulong, 1 << 30)
    case CL_DEVICE_MAX_COMPUTE_UNITS:
        ANSWER(cl_uint, 2)
    case CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT:
        ANSWER(cl_uint, 8)
    case CL_DEVICE_MEM_BASE_ADDR_ALIGN:
        ANSWER(cl_uint, 1024)
    case CL_DEVICE_MAX_WORK_GROUP_SIZE:
        ANSWER(size_t, 1024)
    case CL_DEVICE_MAX_WORK_ITEM_SIZES:
        ANSWER(size_t, 1024, 1024, 64)
    case CL_DEVICE_NAME:
    case CL_DEVICE_VENDOR:
    case CL_DRIVER_VERSION:
    case CL_DEVICE_VERSION:
        TEXT("Stub");
    default:
        return CL_INVALID_VALUE;
    }
}

/* ---- contexts, queues, events --------------------------------------------------------- */

cl_context clCreateContext(const cl_context_properties *p, cl_uint n, const cl_device_id *d,
                           void(CL_CALLBACK *f)(const char *, const void *, size_t, void *), void *user, cl_int *err)
{
    (void)p, (void)f, (void)user;
    return n == 1 && *d == DEVICE ? make(CONTEXT, NULL, 0, err) : refuse(CL_INVALID_DEVICE, err);
}

cl_int clRetainContext(cl_context c)
{
    return retain(c, CONTEXT, CL_INVALID_CONTEXT);
}

cl_int clReleaseContext(cl_context c)
{
    return release(c, CONTEXT, CL_INVALID_CONTEXT);
}

cl_int clGetContextInfo(cl_context c, cl_context_info which, size_t size, void *to, size_t *real)
{
    if (!is(c, CONTEXT))
        return CL_INVALID_CONTEXT;
    if (which == CL_CONTEXT_DEVICES)
        ANSWER(cl_device_id, DEVICE)
    if (which == CL_CONTEXT_NUM_DEVICES)
        ANSWER(cl_uint, 1)
    return CL_INVALID_VALUE;
}

cl_command_queue clCreateCommandQueue(cl_context c, cl_device_id d, cl_command_queue_properties p, cl_int *err)
{
    (void)p;
    return is(c, CONTEXT) && d == DEVICE ? make(QUEUE, c, 0, err) : refuse(CL_INVALID_CONTEXT, err);
}

cl_int clReleaseCommandQueue(cl_command_queue q)
{
    return release(q, QUEUE, CL_INVALID_COMMAND_QUEUE);
}

cl_int clGetCommandQueueInfo(cl_command_queue q, cl_command_queue_info which, size_t size, void *to, size_t *real)
{
    if (!is(q, QUEUE))
        return CL_INVALID_COMMAND_QUEUE;
    if (which == CL_QUEUE_CONTEXT)
        ANSWER(struct object *, cast(q)->of)
    if (which == CL_QUEUE_DEVICE)
        ANSWER(cl_device_id, DEVICE)
    if (which == CL_QUEUE_PROPERTIES)
        ANSWER(cl_command_queue_properties, 0)
    return CL_INVALID_VALUE;
}

cl_int clFlush(cl_command_queue q)
{
    return is(q, QUEUE) ? CL_SUCCESS : CL_INVALID_COMMAND_QUEUE;
}

cl_int clFinish(cl_command_queue q)
{
    return clFlush(q);
}

/* All is done when it is enqueued: the events waited for must be real. */
static cl_int enqueue(cl_command_queue q, cl_uint n, const cl_event *wait, cl_event *event)
{
    cl_int err = CL_SUCCESS;

    if (!is(q, QUEUE))
        return CL_INVALID_COMMAND_QUEUE;
    if (!n != !wait)
        return CL_INVALID_EVENT_WAIT_LIST;
    for (cl_uint i = 0; i < n; i++)
        if (!is(wait[i], EVENT))
            return CL_INVALID_EVENT_WAIT_LIST;
    if (event)
        *event = make(EVENT, cast(q)->of, 0, &err);
    return err;
}

cl_int clEnqueueBarrierWithWaitList(cl_command_queue q, cl_uint n, const cl_event *wait, cl_event *event)
{
    return enqueue(q, n, wait, event);
}

cl_int clEnqueueMarkerWithWaitList(cl_command_queue q, cl_uint n, const cl_event *wait, cl_event *event)
{
    return enqueue(q, n, wait, event);
}

cl_event clCreateUserEvent(cl_context c, cl_int *err)
{
    struct object *x = is(c, CONTEXT) ? make(EVENT, c, 0, err) : refuse(CL_INVALID_CONTEXT, err);

    if (x)
        x->status = CL_SUBMITTED;
    return (cl_event)(void *)x;
}

cl_int clSetUserEventStatus(cl_event e, cl_int status)
{
    if (!is(e, EVENT))
        return CL_INVALID_EVENT;
    cast(e)->status = status;
    return CL_SUCCESS;
}

cl_int clWaitForEvents(cl_uint n, const cl_event *events)
{
    for (cl_uint i = 0; i < n; i++)
        if (!is(events[i], EVENT))
            return CL_INVALID_EVENT;
    return n ? CL_SUCCESS : CL_INVALID_VALUE;
}

cl_int clReleaseEvent(cl_event e)
{
    return release(e, EVENT, CL_INVALID_EVENT);
}

cl_int clGetEventInfo(cl_event e, cl_event_info which, size_t size, void *to, size_t *real)
{
    if (!is(e, EVENT))
        return CL_INVALID_EVENT;
    if (which == CL_EVENT_COMMAND_EXECUTION_STATUS)
        ANSWER(cl_int, cast(e)->status)
    return CL_INVALID_VALUE;
}

cl_int clGetEventProfilingInfo(cl_event e, cl_profiling_info which, size_t size, void *to, size_t *real)
{
    if (!is(e, EVENT))
        return CL_INVALID_EVENT;
    ANSWER(cl_ulong, which == CL_PROFILING_COMMAND_END ? 1000 : 0)
}

/* ---- buffers -------------------------------------------------------------------------- */

cl_mem clCreateBuffer(cl_context c, cl_mem_flags flags, size_t size, void *from, cl_int *err)
{
    struct object *x;

    if (!is(c, CONTEXT))
        return refuse(CL_INVALID_CONTEXT, err);
    if (size == 0 || size > (size_t)1 << 30)
        return refuse(CL_INVALID_BUFFER_SIZE, err);
    if (!from != !(flags & (CL_MEM_COPY_HOST_PTR | CL_MEM_USE_HOST_PTR)))
        return refuse(CL_INVALID_HOST_PTR, err);
    x = make(BUFFER, c, size, err);
    if (x && from) {
        look(from, size);
        memcpy(x->bytes, from, size);
    }
    return (cl_mem)(void *)x;
}

cl_mem clCreateSubBuffer(cl_mem m, cl_mem_flags flags, cl_buffer_create_type type, const void *region, cl_int *err)
{
    const cl_buffer_region *r = region;
    struct object *x;

    (void)flags, (void)type;
    if (!is(m, BUFFER) || r->size == 0 || r->origin > cast(m)->size || r->size > cast(m)->size - r->origin)
        return refuse(CL_INVALID_VALUE, err);
    x = make(BUFFER, m, 0, err);
    if (x) {
        x->part = true;
        x->bytes = cast(m)->bytes + r->origin;
        x->size = r->size;
    }
    return (cl_mem)(void *)x;
}

cl_int clRetainMemObject(cl_mem m)
{
    return retain(m, BUFFER, CL_INVALID_MEM_OBJECT);
}

cl_int clReleaseMemObject(cl_mem m)
{
    return release(m, BUFFER, CL_INVALID_MEM_OBJECT);
}

cl_int clGetMemObjectInfo(cl_mem m, cl_mem_info which, size_t size, void *to, size_t *real)
{
    if (!is(m, BUFFER))
        return CL_INVALID_MEM_OBJECT;
    if (which == CL_MEM_SIZE)
        ANSWER(size_t, cast(m)->size)
    if (which == CL_MEM_TYPE)
        ANSWER(cl_mem_object_type, CL_MEM_OBJECT_BUFFER)
    if (which == CL_MEM_CONTEXT) {
        struct object *x = cast(m)->of;

        while (x->kind != CONTEXT)
            x = x->of;
        ANSWER(struct object *, x)
    }
    return CL_INVALID_VALUE;
}

/* Where a transfer lies in a buffer; NULL: not in it. */
static unsigned char *at(cl_mem m, size_t offset, size_t size)
{
    if (!is(m, BUFFER) || size == 0 || offset > cast(m)->size || size > cast(m)->size - offset)
        return NULL;
    return cast(m)->bytes + offset;
}

cl_int clEnqueueReadBuffer(cl_command_queue q, cl_mem m, cl_bool now, size_t offset, size_t size, void *to, cl_uint n,
                           const cl_event *wait, cl_event *event)
{
    const unsigned char *from = at(m, offset, size);

    (void)now;
    if (!from)
        return CL_INVALID_VALUE;
    memcpy(to, from, size);
    return enqueue(q, n, wait, event);
}

cl_int clEnqueueWriteBuffer(cl_command_queue q, cl_mem m, cl_bool now, size_t offset, size_t size, const void *from,
                            cl_uint n, const cl_event *wait, cl_event *event)
{
    unsigned char *to = at(m, offset, size);

    (void)now;
    if (!to)
        return CL_INVALID_VALUE;
    look(from, size);
    memcpy(to, from, size);
    return enqueue(q, n, wait, event);
}

cl_int clEnqueueCopyBuffer(cl_command_queue q, cl_mem m, cl_mem other, size_t from, size_t offset, size_t size,
                           cl_uint n, const cl_event *wait, cl_event *event)
{
    const unsigned char *source = at(m, from, size);
    unsigned char *to = at(other, offset, size);

    if (!source || !to)
        return CL_INVALID_VALUE;
    memmove(to, source, size);
    return enqueue(q, n, wait, event);
}

cl_int clEnqueueFillBuffer(cl_command_queue q, cl_mem m, const void *pattern, size_t width, size_t offset,
                           size_t size, cl_uint n, const cl_event *wait, cl_event *event)
{
    unsigned char *to = at(m, offset, size);

    if (!to || width == 0 || size % width || offset % width)
        return CL_INVALID_VALUE;
    look(pattern, width);
    for (size_t i = 0; i < size; i += width)
        memcpy(to + i, pattern, width);
    return enqueue(q, n, wait, event);
}

/* ---- programs and kernels ------------------------------------------------------------- */

cl_program clCreateProgramWithSource(cl_context c, cl_uint n, const char **text, const size_t *sizes, cl_int *err)
{
    if (!is(c, CONTEXT))
        return refuse(CL_INVALID_CONTEXT, err);
    for (cl_uint i = 0; i < n; i++)
        look(text[i], sizes && sizes[i] ? sizes[i] : strlen(text[i]));
    return make(PROGRAM, c, 0, err);
}

cl_program clCreateProgramWithBinary(cl_context c, cl_uint n, const cl_device_id *d, const size_t *sizes,
                                     const unsigned char **from, cl_int *status, cl_int *err)
{
    const bool good = n == 1 && sizes[0] == sizeof binary && memcmp(from[0], binary, sizeof binary) == 0;

    if (!is(c, CONTEXT) || d[0] != DEVICE)
        return refuse(CL_INVALID_CONTEXT, err);
    if (status)
        *status = good ? CL_SUCCESS : CL_INVALID_BINARY;
    return good ? make(PROGRAM, c, 0, err) : refuse(CL_INVALID_BINARY, err);
}

cl_int clBuildProgram(cl_program x, cl_uint n, const cl_device_id *d, const char *options,
                      void(CL_CALLBACK *f)(cl_program, void *), void *user)
{
    (void)n, (void)d, (void)f, (void)user;
    if (!is(x, PROGRAM))
        return CL_INVALID_PROGRAM;
    if (options)
        look(options, strlen(options));
    cast(x)->built = true;
    return CL_SUCCESS;
}

cl_int clRetainProgram(cl_program x)
{
    return retain(x, PROGRAM, CL_INVALID_PROGRAM);
}

cl_int clReleaseProgram(cl_program x)
{
    return release(x, PROGRAM, CL_INVALID_PROGRAM);
}

cl_int clGetProgramInfo(cl_program x, cl_program_info which, size_t size, void *to, size_t *real)
{
    if (!is(x, PROGRAM))
        return CL_INVALID_PROGRAM;
    if (which == CL_PROGRAM_BINARY_SIZES)
        ANSWER(size_t, sizeof binary)
    if (which == CL_PROGRAM_BINARIES) {
        memcpy(*(unsigned char **)to, binary, sizeof binary);
        return CL_SUCCESS;
    }
    return CL_INVALID_VALUE;
}

cl_int clGetProgramBuildInfo(cl_program x, cl_device_id d, cl_program_build_info which, size_t size, void *to,
                             size_t *real)
{
    (void)d, (void)which;
    if (!is(x, PROGRAM))
        return CL_INVALID_PROGRAM;
    TEXT("");
}

cl_kernel clCreateKernel(cl_program x, const char *name, cl_int *err)
{
    look(name, strlen(name));
    if (!is(x, PROGRAM) || !cast(x)->built)
        return refuse(CL_INVALID_PROGRAM_EXECUTABLE, err);
    return make(KERNEL, x, 0, err);
}

cl_int clReleaseKernel(cl_kernel k)
{
    return release(k, KERNEL, CL_INVALID_KERNEL);
}

cl_int clSetKernelArg(cl_kernel k, cl_uint i, size_t size, const void *value)
{
    (void)i;
    if (!is(k, KERNEL))
        return CL_INVALID_KERNEL;
    if (value)
        look(value, size);
    return CL_SUCCESS;
}

/* Of two that programs link with and that no test of these calls. */
cl_int clGetKernelWorkGroupInfo(cl_kernel k, cl_device_id d, cl_kernel_work_group_info which, size_t size, void *to,
                                size_t *real)
{
    (void)k, (void)d, (void)which, (void)size, (void)to, (void)real;
    return CL_INVALID_VALUE;
}

cl_int clEnqueueReadBufferRect(cl_command_queue q, cl_mem m, cl_bool now, const size_t *from, const size_t *offset,
                               const size_t *region, size_t row, size_t slice, size_t host_row, size_t host_slice,
                               void *to, cl_uint n, const cl_event *wait, cl_event *event)
{
    (void)q, (void)m, (void)now, (void)from, (void)offset, (void)region, (void)row, (void)slice, (void)host_row;
    (void)host_slice, (void)to, (void)n, (void)wait, (void)event;
    return CL_INVALID_OPERATION;
}

cl_int clEnqueueNDRangeKernel(cl_command_queue q, cl_kernel k, cl_uint dims, const size_t *from, const size_t *global,
                              const size_t *local, cl_uint n, const cl_event *wait, cl_event *event)
{
    (void)from;
    if (!is(k, KERNEL) || dims < 1 || dims > 3)
        return CL_INVALID_VALUE;
    for (cl_uint i = 0; i < dims; i++)
        if (global[i] == 0 || (local && (local[i] == 0 || global[i] % local[i])))
            return CL_INVALID_WORK_GROUP_SIZE;
    return enqueue(q, n, wait, event);
}
