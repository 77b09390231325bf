/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ptx.c: instructions that NVIDIA's OpenCL compiler does not let through.
 *
 * That compiler targets plain sm_90, to which Hopper's warp-group matrix
 * instructions do not belong, and no option changes it.  But the binary that
 * it hands out is PTX text.  A kernel writes those instructions as comments
 * that begin with "//@"; here the comments are opened, the target becomes
 * sm_90a, and the driver builds the text again.  Anything unexpected is an
 * error of the build, after which a plan goes on to its next strategy.
 */
#include <string.h>

#include "internal.h"

#define TARGET ".target sm_90,"
#define WANTED ".target sm_90a,"
#define MARK   "//@"

/* NULL: this is not PTX of that target with such comments, or memory ran out. */
char *clg_ptx_open(const clgaze_context *ctx, const char *ptx)
{
    const char *target = strstr(ptx, TARGET);
    const size_t size = strlen(ptx) + sizeof WANTED; /* the marks only shrink it */
    char *result, *to;

    if (!target || strstr(target + 1, ".target") || !strstr(target, MARK))
        return NULL;
    result = to = clg_alloc(ctx, size);
    for (const char *from = ptx; result && *from;) {
        if (from == target) {
            memcpy(to, WANTED, sizeof WANTED - 1);
            to += sizeof WANTED - 1;
            from += sizeof TARGET - 1;
        } else if (strncmp(from, MARK, sizeof MARK - 1) == 0) {
            from += sizeof MARK - 1;
        } else {
            *to++ = *from++;
        }
    }
    return result;
}

/* The program's text; NULL if the driver does not give it. */
static char *text_of(const clgaze_context *ctx, cl_program program)
{
    size_t size = 0;
    unsigned char *text;

    if (clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof(size_t), &size, NULL) != CL_SUCCESS || size == 0)
        return NULL;
    text = clg_alloc(ctx, size + 1); /* zeroed: ends the text */
    if (text && clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof(unsigned char *), &text, NULL) == CL_SUCCESS)
        return (char *)text;
    clg_release(ctx, text);
    return NULL;
}

clgaze_status clg_ptx_rework(clgaze_context *ctx, const char *options, cl_program *program)
{
    clgaze_status st = CLGAZE_OK;
    char *text = text_of(ctx, *program), *opened = text ? clg_ptx_open(ctx, text) : NULL;
    const unsigned char *binary = (const unsigned char *)opened;
    size_t size = opened ? strlen(opened) + 1 : 0;
    cl_program reworked = NULL;
    cl_int err = CL_SUCCESS, status = CL_SUCCESS;

    NEED(opened, CLGAZE_ERR_BUILD, "the driver's binary is not the PTX of sm_90 that was expected");
    reworked = clCreateProgramWithBinary(ctx->cl, 1, &ctx->device.id, &size, &binary, &status, &err);
    NEED(err == CL_SUCCESS && status == CL_SUCCESS, CLGAZE_ERR_BUILD, "the driver refused reworked PTX (%d, %d)",
         (int)err, (int)status);
    err = clBuildProgram(reworked, 1, &ctx->device.id, options, NULL, NULL);
    NEED(err == CL_SUCCESS, CLGAZE_ERR_BUILD, "the driver did not build reworked PTX (%d)", (int)err);
    clReleaseProgram(*program);
    *program = reworked;
    reworked = NULL;
out:
    if (reworked)
        clReleaseProgram(reworked);
    clg_release(ctx, opened);
    clg_release(ctx, text);
    return st;
}
