/* SPDX-License-Identifier: Apache-2.0 */
/*
 * abi_structs.c: bytes of each public struct and where its last member lies, a line each, as tests/abi.txt has
 * them for 64 bits.  A struct that callers make may use up what it reserves; it may not grow.
 */
#include <clgaze/clgaze.h>
#include <stddef.h>
#include <stdio.h>

#define STRUCT(name, last) printf("%s %zu %s %zu\n", #name, sizeof(name), #last, offsetof(name, last))

int main(void)
{
    if (sizeof(void *) != 8)
        return 77;
    STRUCT(clgaze_adamw, step);
    STRUCT(clgaze_call, update);
    STRUCT(clgaze_context_options, reserved[4]);
    STRUCT(clgaze_device, driver);
    STRUCT(clgaze_problem, reserved[13]);
    STRUCT(clgaze_request, plan);
    STRUCT(clgaze_tensor, stride);
    STRUCT(clgaze_tensors, loss);
    STRUCT(clgaze_tune_options, reserved[7]);
    STRUCT(clgaze_tune_progress, budget);
    STRUCT(clgaze_tune_result, finished);
    return 0;
}
