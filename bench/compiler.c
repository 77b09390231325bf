/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compiler.c: what a compiler tells of the kernels that it made.
 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "sparse.h"

#define SPILL_INTEL 0x4109 /* CL_KERNEL_SPILL_MEM_SIZE_INTEL */

void compiler_log(const char *log, char *text, size_t size)
{
    int registers = 0, spilled = 0, n = 0, end;

    for (const char *at = log; (at = strstr(at, "Used ")); at += 5)
        if ((end = 0, sscanf(at, "Used %d registers%n", &n, &end)) == 1 && end && n > registers)
            registers = n;
    for (const char *at = log; (at = strstr(at, "bytes spill stores")); at += 5) {
        const char *from = at;

        while (from > log && (from[-1] == ' ' || (from[-1] >= '0' && from[-1] <= '9')))
            from--;
        spilled += atoi(from);
    }
    if (registers)
        snprintf(text, size, "%d registers, %d bytes spilled", registers, spilled);
}

/* NVIDIA's compiler writes into its log what its ptxas says, if asked. */
static void ask_nvidia(struct bench *b, const struct clg_kernel *kernel, const char *options, char *text, size_t size)
{
    struct clg_program *entry;
    cl_program program = NULL;
    char verbose[2048], log[1 << 14] = "";

    snprintf(verbose, sizeof verbose, "%s -cl-nv-verbose", options);
    if (clg_program_get(b->ctx, kernel, verbose, &entry, &program) != CLGAZE_OK)
        return;
    clGetProgramBuildInfo(program, b->id, CL_PROGRAM_BUILD_LOG, sizeof log - 1, log, NULL);
    clReleaseProgram(program);
    compiler_log(log, text, size);
}

/* Private memory beyond registers, of all kernels of the stage. */
static void ask_kernels(struct bench *b, const struct clg_stage *stage, char *text, size_t size)
{
    cl_ulong spilled = 0, private = 0, n = 0;

    for (int i = 0; stage->kernel->entries[i]; i++) {
        if (clGetKernelWorkGroupInfo(stage->entry[i], b->id, SPILL_INTEL, sizeof n, &n, NULL) == CL_SUCCESS)
            spilled += n;
        if (clGetKernelWorkGroupInfo(stage->entry[i], b->id, CL_KERNEL_PRIVATE_MEM_SIZE, sizeof n, &n, NULL) ==
            CL_SUCCESS)
        private += n;
    }
    if (spilled)
        snprintf(text, size, "%llu bytes spilled", (unsigned long long)spilled);
    else if (private)
        snprintf(text, size, "%llu bytes private", (unsigned long long)private);
}

void compiler_says(struct bench *b, clgaze_op op, const clgaze_problem *p, char *text, size_t size)
{
    char options[1024];
    struct clg_text o = {options, sizeof options, 0};
    clgaze_plan *plan = NULL;

    *text = '\0';
    if (clgaze_plan_create(b->ctx, op, p, &plan) != CLGAZE_OK)
        return; /* the row will say why */
    clg_stage_options(b->ctx, &plan->problem, &plan->stage[op], &o);
    if (strstr(b->machine.vendor, "NVIDIA"))
        ask_nvidia(b, plan->stage[op].kernel, options, text, size);
    if (!*text && !(b->type & CL_DEVICE_TYPE_CPU)) /* processors keep it in a stack */
        ask_kernels(b, &plan->stage[op], text, size);
    clgaze_plan_free(plan);
}
