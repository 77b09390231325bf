/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status.c: status codes and the sentences that go with them.
 */
#include <stdarg.h>
#include <stdio.h>

#include "internal.h"

const char *clgaze_version(void)
{
    return CLGAZE_VERSION_STRING;
}

const char *clgaze_status_name(clgaze_status status)
{
    switch (status) {
#define X(name, code, text)                                                                                          \
    case CLGAZE_##name:                                                                                              \
        return "CLGAZE_" #name;
        CLGAZE_STATUS_MAP(X)
#undef X
    }
    return "CLGAZE_?";
}

const char *clgaze_status_text(clgaze_status status)
{
    switch (status) {
#define X(name, code, text)                                                                                          \
    case CLGAZE_##name:                                                                                              \
        return text;
        CLGAZE_STATUS_MAP(X)
#undef X
    }
    return "unknown status";
}

static void say(const clgaze_context *ctx, clgaze_log_level level, clgaze_status st, const char *format, va_list args)
{
    char message[2048];

    if (!ctx || !ctx->log || level > ctx->log_level)
        return;
    vsnprintf(message, sizeof message, format, args);
    ctx->log(ctx->log_user, level, st, message);
}

void clg_log(const clgaze_context *ctx, clgaze_log_level level, clgaze_status st, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(ctx, level, st, format, args);
    va_end(args);
}

clgaze_status clg_fail(const clgaze_context *ctx, clgaze_status st, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(ctx, CLGAZE_LOG_ERROR, st, format, args);
    va_end(args);
    return st;
}

static void listen(void *user, clgaze_log_level level, clgaze_status st, const char *message)
{
    struct clg_ear *ear = user;

    if (level == CLGAZE_LOG_ERROR && !ear->reason[0])
        snprintf(ear->reason, sizeof ear->reason, "%s", message);
    clg_log(ear->owner, level == CLGAZE_LOG_ERROR ? CLGAZE_LOG_DEBUG : level, st, "%s", message);
}

void clg_ear_open(struct clg_ear *ear, const clgaze_context *owner)
{
    ear->ctx = *owner;
    ear->ctx.log = listen;
    ear->ctx.log_user = ear;
    ear->owner = owner;
    ear->reason[0] = '\0';
}

/* The codes that a driver may plausibly answer, by name. */
static const char *cl_error_name(cl_int err)
{
    static const struct {
        cl_int code;
        const char *name;
    } names[] = {
        {CL_DEVICE_NOT_FOUND, "CL_DEVICE_NOT_FOUND"},
        {CL_DEVICE_NOT_AVAILABLE, "CL_DEVICE_NOT_AVAILABLE"},
        {CL_COMPILER_NOT_AVAILABLE, "CL_COMPILER_NOT_AVAILABLE"},
        {CL_MEM_OBJECT_ALLOCATION_FAILURE, "CL_MEM_OBJECT_ALLOCATION_FAILURE"},
        {CL_OUT_OF_RESOURCES, "CL_OUT_OF_RESOURCES"},
        {CL_OUT_OF_HOST_MEMORY, "CL_OUT_OF_HOST_MEMORY"},
        {CL_BUILD_PROGRAM_FAILURE, "CL_BUILD_PROGRAM_FAILURE"},
        {CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST"},
        {CL_INVALID_VALUE, "CL_INVALID_VALUE"},
        {CL_INVALID_PLATFORM, "CL_INVALID_PLATFORM"},
        {CL_INVALID_DEVICE, "CL_INVALID_DEVICE"},
        {CL_INVALID_CONTEXT, "CL_INVALID_CONTEXT"},
        {CL_INVALID_COMMAND_QUEUE, "CL_INVALID_COMMAND_QUEUE"},
        {CL_INVALID_MEM_OBJECT, "CL_INVALID_MEM_OBJECT"},
        {CL_INVALID_PROGRAM_EXECUTABLE, "CL_INVALID_PROGRAM_EXECUTABLE"},
        {CL_INVALID_KERNEL_NAME, "CL_INVALID_KERNEL_NAME"},
        {CL_INVALID_KERNEL, "CL_INVALID_KERNEL"},
        {CL_INVALID_ARG_INDEX, "CL_INVALID_ARG_INDEX"},
        {CL_INVALID_ARG_VALUE, "CL_INVALID_ARG_VALUE"},
        {CL_INVALID_ARG_SIZE, "CL_INVALID_ARG_SIZE"},
        {CL_INVALID_KERNEL_ARGS, "CL_INVALID_KERNEL_ARGS"},
        {CL_INVALID_WORK_GROUP_SIZE, "CL_INVALID_WORK_GROUP_SIZE"},
        {CL_INVALID_WORK_ITEM_SIZE, "CL_INVALID_WORK_ITEM_SIZE"},
        {CL_INVALID_EVENT_WAIT_LIST, "CL_INVALID_EVENT_WAIT_LIST"},
        {CL_INVALID_EVENT, "CL_INVALID_EVENT"},
        {CL_INVALID_OPERATION, "CL_INVALID_OPERATION"},
        {CL_INVALID_BUFFER_SIZE, "CL_INVALID_BUFFER_SIZE"},
        {-1001, "CL_PLATFORM_NOT_FOUND_KHR"},
    };

    for (size_t i = 0; i < CLG_COUNT(names); i++)
        if (names[i].code == err)
            return names[i].name;
    return "an OpenCL error";
}

clgaze_status clg_fail_cl(const clgaze_context *ctx, cl_int err, const char *call)
{
    int length = 0;

    while (call[length] && call[length] != '(')
        length++;
    return clg_fail(ctx, CLGAZE_ERR_OPENCL, "%.*s answered %s (%d)", length, call, cl_error_name(err), (int)err);
}
