/* SPDX-License-Identifier: Apache-2.0 */
/*
 * saved.h: checkpoints: arrays that learn, as a file that they go on from to the same bits.
 */
#ifndef CLGAZE_TOOLS_SAVED_H
#define CLGAZE_TOOLS_SAVED_H

#include "safetensors.h"

/** What a checkpoint holds. */
struct saved {
    int32_t done;            /**< steps made                                            */
    float *losses;           /**< of each                                               */
    const st_pair *pairs;    /**< what is learnt, and how: the same when it goes on     */
    const st_tensor *shapes; /**< of the arrays, f32, without data; `elements` 0: left out */
    size_t n_pairs, n_shapes;
    /** Read an array from the device, and write it there. @return 0, or an exit code after a sentence. */
    int (*get)(void *user, size_t which, float *to);
    int (*put)(void *user, size_t which, const float *from);
    void *user;
};

/**
 * Write one; the old file stays where that fails, or where a number is not finite.
 *
 * @return 0, or an exit code after a sentence on stderr.
 */
int saved_write(const char *path, const struct saved *saved);

/**
 * Read one, and put its arrays.
 *
 * @param[in,out] saved  `pairs` are what must be found; losses has room for `room`.
 * @return 0, or an exit code after a sentence on stderr.
 */
int saved_read(const char *path, struct saved *saved, int32_t room);

#endif
