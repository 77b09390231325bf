/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sparse_defaults.c: what was not asked for, to suit the device.
 */
#include <string.h>

#include "fail.h"
#include "sparse.h"

enum { LENGTHS = 6 };

/* A minute on two cores of a laptop; a GPU gets more to do. */
static const struct defaults {
    double seq[LENGTHS], density[3], heads, head_dim;
    int dtype;
} cpu = {{256, 512, 1024, 2048, 4096, 8192}, {.05, .1, .25}, 8, 128, CLGAZE_F32},
  gpu = {{1024, 2048, 4096, 8192, 16384, 32768}, {.05, .1, .25}, 32, 128, CLGAZE_F16};

static void fill(double *list, int *n, const double *from, int count)
{
    if (*n)
        return;
    memcpy(list, from, (size_t)count * sizeof *list);
    *n = count;
}

/* The swept option gets many values; options that a person gave stay. */
static void sweep(struct options *o, const struct defaults *d)
{
    static const double density[] = {.02, .05, .1, .2, .3, .5, .75, 1}, block[] = {16, 32, 64, 128, 256};
    static const double dims[] = {32, 64, 96, 128, 256}, heads[] = {4, 8, 16, 32};

    if (o->sweep == SWEEP_SEQ)
        fill(o->seq, &o->n_seq, d->seq, LENGTHS);
    if (o->sweep == SWEEP_DENSITY)
        fill(o->density, &o->n_density, density, 8);
    if (o->sweep == SWEEP_BLOCK)
        fill(o->block, &o->n_block, block, 5);
    if (o->sweep == SWEEP_HEAD_DIM)
        fill(o->head_dim, &o->n_head_dim, dims, 5);
    if (o->sweep == SWEEP_HEADS)
        fill(o->heads, &o->n_heads, heads, 4);
    fill(o->seq, &o->n_seq, &d->seq[LENGTHS - 2], 1);
    fill(o->density, &o->n_density, &d->density[1], 1);
}

/* What sees every block has no density. */
int options_complete(struct options *o, cl_device_type type)
{
    const struct defaults *d = type & CL_DEVICE_TYPE_CPU ? &cpu : &gpu;
    static const double block = 64, one = 1;

    if (o->op == OP_TRUTH || o->op == OP_DISTILL) {
        o->n_density = 0;
        fill(o->density, &o->n_density, &one, 1);
    }
    if (o->sweep >= 0)
        sweep(o, d);
    fill(o->seq, &o->n_seq, d->seq, LENGTHS);
    fill(o->density, &o->n_density, d->density, 3);
    fill(o->block, &o->n_block, &block, 1);
    fill(o->heads, &o->n_heads, o->kv_heads > d->heads ? &(double){o->kv_heads} : &d->heads, 1);
    fill(o->head_dim, &o->n_head_dim, &d->head_dim, 1);
    if (o->dtype < 0)
        o->dtype = d->dtype;
    return options_check(o);
}

int options_check(const struct options *o)
{
    for (int i = 0; i < o->n_heads; i++)
        if (o->kv_heads && (int)o->heads[i] % o->kv_heads)
            return fail(EXIT_INPUT, "--kv-heads is %d, but must divide --heads, which is %d", o->kv_heads,
                        (int)o->heads[i]);
    return 0;
}
