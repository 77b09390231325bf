/* SPDX-License-Identifier: Apache-2.0 */
/*
 * course.h: steps of learning, one after another: progress, checkpoints, resuming, the end.
 */
#ifndef CLGAZE_TOOLS_COURSE_H
#define CLGAZE_TOOLS_COURSE_H

#include "learner.h"
#include "options.h"
#include "saved.h"

enum { COURSE_PAIRS = MAX_OPTIONS + 8, COURSE_WHERE = 512, COURSE_NAME = 32 };

/** The first part is the caller's to fill; strings are borrowed. */
struct course {
    const char *out, *plot; /**< the checkpoint lies beside `out`; plot NULL: none     */
    int32_t save_every;     /**< steps between checkpoints                             */
    int32_t stop_after;     /**< save after that step and end; 0: never                */
    int resume;             /**< go on from the checkpoint                             */
    struct training training;
    struct learner *learners; /**< borrowed                                            */
    size_t n_learners;
    /** Make one step; `where` says on what, for a loss that is no finite number: "on FILE".
     *  @return 0, or an exit code after a sentence. */
    int (*step)(void *user, const clgaze_adamw *step, float *loss, char where[COURSE_WHERE]);
    void *user;
    /* What came of it. */
    struct saved saved; /**< steps that are done, and their losses                         */
    double seconds;     /**< that the steps of this run took                             */
    /* From here on course.c's own. */
    char checkpoint[4096];
    st_pair pairs[COURSE_PAIRS]; /**< of `saved`                                            */
    char text[COURSE_PAIRS][64];
    char (*names)[COURSE_NAME]; /**< of the learners' arrays                                */
    st_tensor *shapes;
    int32_t from; /**< steps that were done before this run                             */
    double began;
};

/** Say what a checkpoint must agree with, before course_begin(). */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
void course_agree(struct course *course, const char *key, const char *format, ...);

/** Mix bytes into a hash for course_agree(); it begins as 0. */
void course_hash(uint64_t *hash, const void *data, size_t bytes);

/** Read the checkpoint, if asked to, into the learners, which otherwise start as they are.
 *  @return 0, or an exit code after a sentence; course_free() either way. */
int course_begin(struct course *course);

/**
 * Make the steps that are left, or those up to `stop_after` or a SIGINT or SIGTERM, and save; a
 * loss that is no finite number ends them, and the checkpoint stays.
 *
 * @return As course_begin().
 */
int course_run(struct course *course);

/** Write the learners' gates, the layers numbered from `layer`, if all steps are done; draw the curve.
 *  @return As course_begin(). */
int course_finish(const struct course *course, const clgaze_problem *problem, int32_t layer, int bf16);

void course_free(struct course *course);

#endif
