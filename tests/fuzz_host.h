/* fuzz_host.h: a context that can log and allocate, but has no device. */
#ifndef CLG_TESTS_FUZZ_HOST_H
#define CLG_TESTS_FUZZ_HOST_H

#include <stdlib.h>

#include "internal.h"

static inline void *fuzz_take(void *user, size_t size)
{
    (void)user;
    return malloc(size);
}

static inline void fuzz_give(void *user, void *p)
{
    (void)user;
    free(p);
}

#define FUZZ_HOST .alloc = fuzz_take, .release = fuzz_give, .kernels = clg_kernels

#endif
