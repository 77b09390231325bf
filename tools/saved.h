/*
 * saved.h: checkpoints: a gate that learns, as a file that it goes on from to the same bits.
 */
#ifndef CLGAZE_TOOLS_SAVED_H
#define CLGAZE_TOOLS_SAVED_H

#include "learner.h"

/** What a checkpoint holds beside the gate. */
struct saved {
    int32_t done;         /**< steps made                                            */
    float *losses;        /**< of each                                               */
    const st_pair *pairs; /**< what is learnt, and how: the same when it goes on     */
    size_t n_pairs;
};

/**
 * Write one; the old file stays where that fails, or where a number is not finite.
 *
 * @return 0, or an exit code after a sentence on stderr.
 */
int saved_write(const char *path, struct learner *learner, const struct saved *saved);

/**
 * Read one into the learner.
 *
 * @param[in,out] saved  `pairs` are what must be found; losses has room for `room`.
 * @return 0, or an exit code after a sentence on stderr.
 */
int saved_read(const char *path, struct learner *learner, struct saved *saved, int32_t room);

#endif
