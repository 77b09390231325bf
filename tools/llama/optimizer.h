/* SPDX-License-Identifier: Apache-2.0 */
/*
 * optimizer.h: AdamW over all arrays of a model, on the device.
 */
#ifndef CLGAZE_LLAMA_OPTIMIZER_H
#define CLGAZE_LLAMA_OPTIMIZER_H

#include "model.h"

struct optimizer {
    struct model first, second; /**< moments: of the gradient, and of its square          */
    cl_mem parts;               /**< sums of squares                                      */
    float *sums;                /**< the same here                                        */
    size_t n_parts;
};

/** Bytes of the device that optimizer_make() takes. */
size_t optimizer_bytes(const struct config *config);

/** Make moments of zero for an f32 model; free with optimizer_free() whatever is returned. */
int optimizer_make(struct machine *m, const struct model *model, struct optimizer *o);
void optimizer_free(struct optimizer *o);

/** The norm of all gradients together, the same bits in every run; waits for it. */
int optimizer_norm(struct machine *m, struct optimizer *o, const struct model *grads, double *norm);

/**
 * Enqueue one step; the gradients become zero.
 *
 * @param[in] scale  Multiplies the gradients first: what clipping makes of the norm.
 */
int optimizer_step(struct machine *m, struct optimizer *o, const clgaze_adamw *step, double scale,
                   const struct model *grads, const struct model *model);

#endif
