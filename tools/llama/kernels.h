/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernels.h: the device, this program's own kernels, and the time that is spent.
 */
#ifndef CLGAZE_LLAMA_KERNELS_H
#define CLGAZE_LLAMA_KERNELS_H

#include "execute.h"
#include "internal.h" /* struct clg_source */

extern const struct clg_source llama_kernels[]; /* the .cl files beside this, embedded; ends with NULL */

enum kernel_id {
    K_PACK,
    K_WIDEN,
    K_MATMUL,
    K_EMBED,
    K_RMS,
    K_ROTATE,
    K_SWIGLU,
    K_SPREAD,
    K_FOLD,
    K_LOG_TRUTH,
    K_LATE,
    K_LAST_WEIGHTS,
    K_LINES_OF,
    K_LOG_LINES,
    K_ZERO,
    K_TURN,
    K_BLAME,
    K_SCALES,
    K_RMS_BACK,
    K_SWIGLU_BACK,
    K_COLUMNS,
    K_ADD_PARTS,
    K_SCATTER,
    K_SQUARES,
    K_ADAMW,
    K_NARROW,
    N_BUILT, /* those before are built by machine_build() */
    K_PRODUCT_NV = N_BUILT,
    K_BACK_NV,
    K_WEIGHTS_NV,
    N_KERNELS
};

/** What seconds are counted for. */
enum spent {
    SPENT_LOAD,
    SPENT_COMPILE,
    SPENT_PRODUCTS,
    SPENT_ATTEND,
    SPENT_ATTEND_BACK,
    SPENT_NORM,
    SPENT_ROPE,
    SPENT_SWIGLU,
    SPENT_LOSS,
    SPENT_UPDATE,
    N_SPENT
};

extern const char *const spent_names[N_SPENT];

struct machine {
    struct device device;
    int processor; /**< a CPU: products are ours, else CLBlast's                */
    cl_int lanes;  /**< items that share a row                                  */
    cl_int matrix; /**< what products are rounded to, 1 f16, 2 bf16; 0: they are not, see product_nv.h */
    cl_program program;
    cl_kernel kernels[N_KERNELS];
    cl_ulong memory, largest; /**< bytes of the device, and of one buffer there */
    double seconds[N_SPENT], since;
};

/** One argument of a kernel. */
struct arg {
    size_t size;
    const void *at;
};
#define ARG(x)                                                                                                       \
    {                                                                                                                \
        sizeof(x), &(x)                                                                                              \
    }

/** Open the device. @return 0, or an exit code after a sentence; close it either way. */
int machine_open(const char *pick, int verbose, struct machine *m);

/** Compile the kernels. @return as above. */
int machine_build(struct machine *m);

void machine_close(struct machine *m);

/** Enqueue a kernel over at least nx * ny items, in groups of `group` along x. */
int launch(struct machine *m, enum kernel_id id, size_t nx, size_t ny, size_t group, const struct arg *args, int n);

/** Make a buffer; `what` is for the sentence of failure. */
int buffer_make(struct machine *m, size_t bytes, const char *what, cl_mem *buffer);

int buffer_write(struct machine *m, cl_mem buffer, size_t bytes, const void *from);
int buffer_read(struct machine *m, cl_mem buffer, size_t bytes, void *to);

/** Enqueue a copy. */
int buffer_copy(struct machine *m, cl_mem from, cl_mem to, size_t bytes);

/** Enqueue zeros into the first n numbers, f32. */
int buffer_zero(struct machine *m, cl_mem buffer, size_t n);

/** Enqueue n numbers as to [n] = scale * from [n]; `type` is that of the other side's, as matmul.cl numbers them,
 *  which is as the library does: f32, f16, bf16. */
int narrow(struct machine *m, cl_mem from, cl_ulong n, cl_int type, cl_float scale, cl_mem to);
/** `at`: numbers before the first. */
int widen(struct machine *m, cl_mem from, cl_int type, cl_ulong at, cl_ulong n, cl_float scale, cl_mem to);

/** Wait for the device and count the time since the last call for `what`. */
int spend(struct machine *m, enum spent what);

/** Begin to count. */
void spend_from_now(struct machine *m);

#endif
