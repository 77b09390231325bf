/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device.c: which devices there are and what kernels may know about one.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { MAX_DEVICES = 64, MAX_PLATFORMS = 32 };

/* GPUs first: what a user who names nothing most likely wants. */
static int rank_of(cl_device_type type)
{
    if (type & CL_DEVICE_TYPE_GPU)
        return 0;
    return type & CL_DEVICE_TYPE_ACCELERATOR ? 1 : 2;
}

static void read_names(cl_platform_id platform, cl_device_id id, clgaze_device *d)
{
    memset(d, 0, sizeof *d);
    d->platform = platform;
    d->device = id;
    clGetDeviceInfo(id, CL_DEVICE_TYPE, sizeof d->type, &d->type, NULL);
    clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof d->platform_name - 1, d->platform_name, NULL);
    clGetDeviceInfo(id, CL_DEVICE_VENDOR, sizeof d->vendor - 1, d->vendor, NULL);
    clGetDeviceInfo(id, CL_DEVICE_NAME, sizeof d->name - 1, d->name, NULL);
    clGetDeviceInfo(id, CL_DRIVER_VERSION, sizeof d->driver - 1, d->driver, NULL);
}

size_t clgaze_device_list(clgaze_device *devices, size_t capacity)
{
    cl_platform_id platforms[MAX_PLATFORMS];
    cl_uint n_platforms = 0;
    size_t found = 0;

    if (clGetPlatformIDs(MAX_PLATFORMS, platforms, &n_platforms) != CL_SUCCESS)
        return 0;
    if (n_platforms > MAX_PLATFORMS)
        n_platforms = MAX_PLATFORMS;
    for (int rank = 0; rank < 3; rank++)
        for (cl_uint i = 0; i < n_platforms; i++) {
            cl_device_id ids[MAX_DEVICES];
            cl_uint n = 0;

            if (clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_ALL, MAX_DEVICES, ids, &n) != CL_SUCCESS)
                continue;
            for (cl_uint j = 0; j < n && j < MAX_DEVICES; j++) {
                clgaze_device d;

                read_names(platforms[i], ids[j], &d);
                if (rank_of(d.type) != rank)
                    continue;
                if (found < capacity)
                    devices[found] = d;
                found++;
            }
        }
    return found;
}

/* NVIDIA's compute capability, 90 for 9.0; 0 where the driver has none. */
static int nv_arch(cl_device_id id)
{
    enum { MAJOR_NV = 0x4000, MINOR_NV = 0x4001 }; /* cl_nv_device_attribute_query */
    cl_uint major = 0, minor = 0;

    if (clGetDeviceInfo(id, MAJOR_NV, sizeof major, &major, NULL) != CL_SUCCESS ||
        clGetDeviceInfo(id, MINOR_NV, sizeof minor, &minor, NULL) != CL_SUCCESS)
        return 0;
    return (int)(major * 10 + minor);
}

#define OPENCL_C "-cl-std=CL1.2"

/* Work-arounds, by platform: what kernels must know to be right there. */
static const struct {
    const char *platform, *options;
} quirks[] = {
    {"Portable Computing Language", OPENCL_C " -DALIGNED_HALF"}, /* 3.1 loads half vectors with aligned moves */
    {"Oclgrind", OPENCL_C " -DNO_FETCH"}, /* 21.10 compiles __builtin_prefetch but cannot run it */
};

static bool contains(const char *text, const char *part)
{
    size_t n = strlen(part);

    for (; *text; text++) {
        size_t i = 0;

        while (i < n && text[i] && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i]))
            i++;
        if (i == n)
            return true;
    }
    return n == 0;
}

clgaze_status clg_device_pick(const clgaze_context *ctx, const char *pick, cl_device_id *device)
{
    clgaze_device list[MAX_DEVICES];
    size_t n = clgaze_device_list(list, MAX_DEVICES);
    char *end = NULL;
    unsigned long index = pick ? strtoul(pick, &end, 10) : 0;

    if (n > MAX_DEVICES)
        n = MAX_DEVICES;
    if (n == 0)
        return clg_fail(ctx, CLGAZE_ERR_NO_DEVICE,
                        "no OpenCL device was found: install a driver, for instance the package pocl-opencl-icd");
    if (!pick || (end != pick && *end == '\0' && index < n)) {
        *device = list[index].device;
        return CLGAZE_OK;
    }
    for (size_t i = 0; i < n; i++)
        if (contains(list[i].platform_name, pick) || contains(list[i].vendor, pick) || contains(list[i].name, pick)) {
            *device = list[i].device;
            return CLGAZE_OK;
        }
    return clg_fail(ctx, CLGAZE_ERR_NO_DEVICE,
                    "device \"%s\" is neither an index below %zu nor part of the name of a device here", pick, n);
}

/* What surely ends in time, of a slow device of its kind.  Windows ends launches of 2 s.  An NVIDIA GPU with
 * matrix units multiplies 20 times as much; Intel's compute units are the smallest.  Nobody watches CPUs. */
static double launch_macs(const struct clg_device *device)
{
    const double each = device->nv_arch >= 80 ? 4e10 : strstr(device->vendor, "Intel") ? 2e8 : 2e9;

    return device->cpu ? 0 : each * (double)device->compute_units;
}

clgaze_status clg_device_read(const clgaze_context *ctx, cl_device_id id, struct clg_device *device)
{
    clgaze_status st = CLGAZE_OK;
    cl_device_type type = 0;
    cl_platform_id platform = NULL;
    cl_ulong local = 0, alloc = 0;
    cl_uint units = 0, width = 0;

    memset(device, 0, sizeof *device);
    device->id = id;
    TRY_CL(clGetDeviceInfo(id, CL_DEVICE_TYPE, sizeof type, &type, NULL));
    TRY_CL(clGetDeviceInfo(id, CL_DEVICE_PLATFORM, sizeof platform, &platform, NULL));
    TRY_CL(clGetDeviceInfo(id, CL_DEVICE_LOCAL_MEM_SIZE, sizeof local, &local, NULL));
    TRY_CL(clGetDeviceInfo(id, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof alloc, &alloc, NULL));
    TRY_CL(clGetDeviceInfo(id, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof units, &units, NULL));
    TRY_CL(clGetDeviceInfo(id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof width, &width, NULL));
    TRY_CL(clGetDeviceInfo(id, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof device->max_group, &device->max_group, NULL));
    TRY_CL(clGetDeviceInfo(id, CL_DEVICE_MAX_WORK_ITEM_SIZES, sizeof device->max_item, device->max_item, NULL));
    TRY_CL(clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof device->platform, device->platform, NULL));
    TRY_CL(clGetPlatformInfo(platform, CL_PLATFORM_VERSION, sizeof device->platform_version, device->platform_version,
                             NULL));
    TRY_CL(clGetDeviceInfo(id, CL_DEVICE_VENDOR, sizeof device->vendor, device->vendor, NULL));
    TRY_CL(clGetDeviceInfo(id, CL_DEVICE_NAME, sizeof device->name, device->name, NULL));
    TRY_CL(clGetDeviceInfo(id, CL_DRIVER_VERSION, sizeof device->driver, device->driver, NULL));
    device->cpu = (type & CL_DEVICE_TYPE_CPU) != 0;
    device->local_bytes = (size_t)local;
    device->max_alloc = (size_t)alloc;
    device->compute_units = units;
    device->float_width = width;
    /* PoCL answers the CPU's vendor: only its platform's name identifies it. */
    device->pocl = strstr(device->platform, "Portable Computing Language") != NULL;
    device->rusticl = strstr(device->platform, "rusticl") != NULL;
    if (strstr(device->platform, "NVIDIA"))
        device->nv_arch = nv_arch(id);
    device->launch_macs = launch_macs(device);
    device->options = OPENCL_C;
    for (size_t i = 0; i < CLG_COUNT(quirks); i++)
        if (strstr(device->platform, quirks[i].platform))
            device->options = quirks[i].options;
out:
    return st;
}
