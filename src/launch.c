/*
 * launch.c: enqueueing kernels one after another.
 */
#include <string.h>

#include "internal.h"

/* Kernels of a call run in order on any queue: the first waits for the caller's
 * events, each other for the one before it. */
static clgaze_status enqueue_locked(struct clg_run *run, int entry, const size_t groups[3], const size_t local[3],
                                    const struct clg_arg *args, int n_args)
{
    const clgaze_context *ctx = run->plan->ctx;
    cl_kernel kernel = run->stage->entry[entry];
    clgaze_status st = CLGAZE_OK;
    cl_event event = NULL;
    size_t global[3];

    for (int i = 0; i < 3; i++)
        global[i] = (run->warming ? 1 : groups[i]) * local[i];
    for (int i = 0; i < n_args; i++) {
        cl_int err = clSetKernelArg(kernel, (cl_uint)i, args[i].size, args[i].value);

        NEED(err == CL_SUCCESS, CLGAZE_ERR_OPENCL, "clSetKernelArg answered %d for argument %d of kernel %s",
             (int)err, i, run->stage->kernel->name);
    }
    TRY_CL(clEnqueueNDRangeKernel(run->queue, kernel, 3, NULL, global, local, run->last ? 1 : run->n_wait,
                                  run->last ? &run->last : run->wait, &event));
    if (run->last)
        clReleaseEvent(run->last);
    run->last = event;
out:
    return st;
}

clgaze_status clg_enqueue(struct clg_run *run, int entry, const size_t groups[3], const size_t local[3],
                          const struct clg_arg *args, int n_args)
{
    clgaze_status st;

    if (!run->warming && groups[0] * groups[1] * groups[2] == 0)
        return CLGAZE_OK;
    pthread_mutex_lock(&run->stage->lock);
    st = enqueue_locked(run, entry, groups, local, args, n_args);
    pthread_mutex_unlock(&run->stage->lock);
    return st;
}

cl_ulong4 clg_at(const clgaze_tensor *t)
{
    cl_ulong4 at;

    at.s[0] = t->offset;
    for (int i = 0; i < 3; i++)
        at.s[i + 1] = (cl_ulong)t->stride[i];
    return at;
}

clgaze_tensor clg_scratch(const struct clg_run *run, enum clg_place place, size_t bytes, clgaze_dtype dtype, int rank,
                          const int64_t *shape)
{
    size_t at = run->base + run->plan->at[place] + bytes;

    return clgaze_tensor_compact(run->workspace, at / clgaze_dtype_size(dtype), dtype, rank, shape);
}

int clg_slice_rows_seq(const struct clg_sizes *n)
{
    return n->rows_seq < n->count ? n->rows_seq : n->count;
}

/* Ints into the workspace at which the table of packed sequences begins. */
cl_ulong clg_seqs_from(const struct clg_run *run)
{
    return (run->base + run->plan->at[CLG_AT_SEQS]) / sizeof(cl_int);
}
