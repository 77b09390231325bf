/*
 * stub_opencl.c: an OpenCL of one device that computes nothing, for machines whose OpenCL is not here:
 * other processors, and what a test asks of contexts, files and plans but not of kernels.
 *
 * Functions of cmake/opencl.def that are not here answer CL_SUCCESS and do nothing; tests/ports.sh makes them.
 */
#define CL_TARGET_OPENCL_VERSION 120
#define CL_USE_DEPRECATED_OPENCL_1_1_APIS
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>
#include <stdlib.h>
#include <string.h>

/* Any handle: none has a meaning of its own. */
static int thing;
#define THING(type, error)                                                                                           \
    do {                                                                                                             \
        if (error)                                                                                                   \
            *(error) = CL_SUCCESS;                                                                                   \
        return (type)(void *)&thing;                                                                                 \
    } while (0)

/* Answer `size` bytes, or the start of them. */
static cl_int answer(const void *value, size_t size, size_t room, void *to, size_t *wanted)
{
    if (wanted)
        *wanted = size;
    if (to && room < size)
        return CL_INVALID_VALUE;
    if (to)
        memcpy(to, value, size);
    return CL_SUCCESS;
}

static cl_int text(const char *value, size_t room, void *to, size_t *wanted)
{
    return answer(value, strlen(value) + 1, room, to, wanted);
}

cl_int clGetPlatformIDs(cl_uint room, cl_platform_id *to, cl_uint *n)
{
    if (n)
        *n = 1;
    if (to && room)
        *to = (cl_platform_id)(void *)&thing;
    return CL_SUCCESS;
}

cl_int clGetDeviceIDs(cl_platform_id platform, cl_device_type type, cl_uint room, cl_device_id *to, cl_uint *n)
{
    (void)platform;
    (void)type;
    return clGetPlatformIDs(room, (cl_platform_id *)(void *)to, n);
}

cl_int clGetPlatformInfo(cl_platform_id platform, cl_platform_info what, size_t room, void *to, size_t *wanted)
{
    (void)platform;
    return text(what == CL_PLATFORM_VERSION ? "OpenCL 1.2 stub" : "Stub", room, to, wanted);
}

/* Numbers in the width of each question. */
cl_int clGetDeviceInfo(cl_device_id device, cl_device_info what, size_t room, void *to, size_t *wanted)
{
    static const size_t items[3] = {4096, 4096, 4096};
    const size_t group = 4096;
    const cl_ulong bytes = (cl_ulong)1 << 30, local = 1 << 16, type = CL_DEVICE_TYPE_CPU;
    const cl_uint one = 1, width = 8, units = 2;
    const cl_platform_id platform = (cl_platform_id)(void *)&thing;

    (void)device;
    switch (what) {
    case CL_DEVICE_NAME:
    case CL_DEVICE_VENDOR:
        return text("Stub", room, to, wanted);
    case CL_DEVICE_VERSION:
        return text("OpenCL 1.2 stub", room, to, wanted);
    case CL_DRIVER_VERSION:
        return text("1.0", room, to, wanted);
    case CL_DEVICE_OPENCL_C_VERSION:
        return text("OpenCL C 1.2", room, to, wanted);
    case CL_DEVICE_EXTENSIONS:
        return text("", room, to, wanted);
    case CL_DEVICE_PLATFORM:
        return answer(&platform, sizeof platform, room, to, wanted);
    case CL_DEVICE_TYPE:
        return answer(&type, sizeof type, room, to, wanted);
    case CL_DEVICE_LOCAL_MEM_SIZE:
        return answer(&local, sizeof local, room, to, wanted);
    case CL_DEVICE_MAX_MEM_ALLOC_SIZE:
    case CL_DEVICE_GLOBAL_MEM_SIZE:
        return answer(&bytes, sizeof bytes, room, to, wanted);
    case CL_DEVICE_MAX_WORK_GROUP_SIZE:
        return answer(&group, sizeof group, room, to, wanted);
    case CL_DEVICE_MAX_WORK_ITEM_SIZES:
        return answer(items, sizeof items, room, to, wanted);
    case CL_DEVICE_MAX_COMPUTE_UNITS:
        return answer(&units, sizeof units, room, to, wanted);
    case CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT:
    case CL_DEVICE_PREFERRED_VECTOR_WIDTH_FLOAT:
        return answer(&width, sizeof width, room, to, wanted);
    case CL_DEVICE_ENDIAN_LITTLE:
    case CL_DEVICE_AVAILABLE:
    case CL_DEVICE_COMPILER_AVAILABLE:
        return answer(&one, sizeof one, room, to, wanted);
    default:
        return CL_INVALID_VALUE;
    }
}

cl_context clCreateContext(const cl_context_properties *properties, cl_uint n, const cl_device_id *devices,
                           void(CL_CALLBACK *said)(const char *, const void *, size_t, void *), void *user,
                           cl_int *err)
{
    (void)properties, (void)n, (void)devices, (void)said, (void)user;
    THING(cl_context, err);
}

cl_int clGetContextInfo(cl_context context, cl_context_info what, size_t room, void *to, size_t *wanted)
{
    const cl_device_id device = (cl_device_id)(void *)&thing;
    const cl_uint one = 1;

    (void)context;
    return what == CL_CONTEXT_DEVICES ? answer(&device, sizeof device, room, to, wanted)
                                      : answer(&one, sizeof one, room, to, wanted);
}

cl_command_queue clCreateCommandQueue(cl_context context, cl_device_id device, cl_command_queue_properties properties,
                                      cl_int *err)
{
    (void)context, (void)device, (void)properties;
    THING(cl_command_queue, err);
}

cl_mem clCreateBuffer(cl_context context, cl_mem_flags flags, size_t size, void *host, cl_int *err)
{
    (void)context, (void)flags, (void)size, (void)host;
    THING(cl_mem, err);
}

cl_mem clCreateSubBuffer(cl_mem buffer, cl_mem_flags flags, cl_buffer_create_type type, const void *region,
                         cl_int *err)
{
    (void)buffer, (void)flags, (void)type, (void)region;
    THING(cl_mem, err);
}

cl_program clCreateProgramWithSource(cl_context context, cl_uint n, const char **texts, const size_t *sizes,
                                     cl_int *err)
{
    (void)context, (void)n, (void)texts, (void)sizes;
    THING(cl_program, err);
}

cl_program clCreateProgramWithBinary(cl_context context, cl_uint n, const cl_device_id *devices, const size_t *sizes,
                                     const unsigned char **binaries, cl_int *status, cl_int *err)
{
    (void)context, (void)n, (void)devices, (void)sizes, (void)binaries;
    if (status)
        *status = CL_SUCCESS;
    THING(cl_program, err);
}

cl_kernel clCreateKernel(cl_program program, const char *name, cl_int *err)
{
    (void)program, (void)name;
    THING(cl_kernel, err);
}

cl_event clCreateUserEvent(cl_context context, cl_int *err)
{
    (void)context;
    THING(cl_event, err);
}
