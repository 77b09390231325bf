/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch.c: enqueueing kernels one after another.
 */
#include <math.h>
#include <string.h>

#include "internal.h"

/* Kernels of a call run in order on any queue: the first waits for the caller's
 * events, each other for the one before it. */
static clgaze_status enqueue_part(struct clg_run *run, cl_kernel kernel, const size_t from[3], const size_t groups[3],
                                  const size_t local[3])
{
    const clgaze_context *ctx = run->plan->ctx;
    const bool whole = from[0] + from[1] + from[2] == 0;
    clgaze_status st = CLGAZE_OK;
    cl_event event = NULL;
    size_t global[3], offset[3];

    for (int i = 0; i < 3; i++) {
        global[i] = groups[i] * local[i];
        offset[i] = from[i] * local[i];
    }
    TRY_CL(clEnqueueNDRangeKernel(run->queue, kernel, 3, whole ? NULL : offset, global, local,
                                  run->last ? 1 : run->n_wait, run->last ? &run->last : run->wait, &event));
    if (run->last)
        clReleaseEvent(run->last);
    run->last = event;
out:
    return st;
}

/* Parts of part[] groups, those with the highest numbers along the first axis first: they are the longest. */
static clgaze_status enqueue_locked(struct clg_run *run, int entry, const size_t groups[3], const size_t part[3],
                                    const size_t local[3], const struct clg_arg *args, int n_args)
{
    const clgaze_context *ctx = run->plan->ctx;
    cl_kernel kernel = run->stage->entry[entry];
    clgaze_status st = CLGAZE_OK;
    size_t from[3];

    for (int i = 0; i < n_args; i++) {
        cl_int err = clSetKernelArg(kernel, (cl_uint)i, args[i].size, args[i].value);

        NEED(err == CL_SUCCESS, CLGAZE_ERR_OPENCL, "clSetKernelArg answered %d for argument %d of kernel %s",
             (int)err, i, run->stage->kernel->name);
    }
    for (from[2] = 0; from[2] < groups[2]; from[2] += part[2])
        for (from[1] = 0; from[1] < groups[1]; from[1] += part[1])
            for (size_t end = groups[0]; end > 0; end = from[0]) {
                size_t n[3];

                from[0] = (end - 1) / part[0] * part[0];
                n[0] = end - from[0];
                for (int i = 1; i < 3; i++)
                    n[i] = groups[i] - from[i] < part[i] ? groups[i] - from[i] : part[i];
                TRY(enqueue_part(run, kernel, from, n, local));
            }
out:
    return st;
}

double clg_launches(const struct clg_device *device, double macs)
{
    const double most = device->launch_macs;

    return most > 0 && macs > most ? ceil(macs / most) : 1;
}

clgaze_status clg_enqueue_long(struct clg_run *run, int entry, const size_t groups[3], const size_t local[3],
                               const struct clg_arg *args, int n_args, double macs)
{
    static const size_t one[3] = {1, 1, 1};
    const size_t *all = run->warming ? one : groups;
    size_t part[3];
    clgaze_status st;

    if (all[0] * all[1] * all[2] == 0)
        return CLGAZE_OK;
    for (int i = 0; i < 3; i++) {
        const double parts = clg_launches(&run->plan->ctx->device, macs);
        const size_t cuts = parts < (double)all[i] ? (size_t)parts : all[i];

        part[i] = (all[i] + cuts - 1) / cuts;
        macs *= (double)part[i] / (double)all[i];
    }
    if (part[0] < all[0] || part[1] < all[1] || part[2] < all[2])
        clg_log(run->plan->ctx, CLGAZE_LOG_DEBUG, CLGAZE_OK,
                "%s: launches of at most %zu x %zu x %zu of %zu x %zu x %zu groups", run->stage->kernel->name,
                part[0], part[1], part[2], all[0], all[1], all[2]);
    pthread_mutex_lock(&run->stage->lock);
    st = enqueue_locked(run, entry, all, part, local, args, n_args);
    pthread_mutex_unlock(&run->stage->lock);
    return st;
}

clgaze_status clg_enqueue(struct clg_run *run, int entry, const size_t groups[3], const size_t local[3],
                          const struct clg_arg *args, int n_args)
{
    return clg_enqueue_long(run, entry, groups, local, args, n_args, 0);
}

double clg_attention_macs(const struct clg_run *run)
{
    const clgaze_problem *p = run->p;
    const struct clg_sizes *n = &run->n;
    const double listed = p->lists == CLGAZE_LISTS_DENSE ? n->longest_k : (double)n->width * p->block_k;
    const double keys = listed < n->longest_k ? listed : n->longest_k;

    return (double)n->longest_q * keys * p->head_dim * p->q_heads * n->sequences;
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
