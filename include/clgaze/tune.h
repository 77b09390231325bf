/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clgaze/tune.h: the best configuration of each kernel, found once a device.
 *
 * A *record* says: on this device, for this problem, this strategy with these
 * values is the quickest known.  A context holds records; plans made in it use
 * them.  Records come from the library itself, from the user's folder
 * ($XDG_CACHE_HOME/clgaze, read when the context is made), from
 * clgaze_tuning_load() and from clgaze_tune(); later ones win, one by one.
 * Tuning changes times, never what an operation computes.  The one exception is
 * asked for, by problem.auto_density: then the break-even of a prefill, a record
 * like any other ("dense FROM=40"), decides whether blocks are chosen at all.
 *
 * A problem is written "attend f16 d128 b64 g4 n32k": the operation, then the
 * parts that matter to it, then its length class, a power of two that the
 * longest sequence does not exceed.
 */
#ifndef CLGAZE_TUNE_H
#define CLGAZE_TUNE_H

#include "infer.h"

#ifdef __cplusplus
extern "C" {
#endif

/** How far clgaze_tune() has come. */
typedef struct clgaze_tune_progress {
    const char *problem;   /**< "attend f16 d128 b64 g4 n32k"                     */
    const char *candidate; /**< "attend_cpu BM=32 KT=64"; NULL between problems   */
    size_t problems;       /**< that there are                                    */
    size_t problems_done;
    size_t candidates; /**< of this problem                                   */
    size_t candidates_done;
    double seconds; /**< since the start                                   */
    double budget;  /**< seconds that it may take                          */
} clgaze_tune_progress;

/** What clgaze_tune() found for one problem. */
typedef struct clgaze_tune_result {
    char problem[96];
    char before[96];           /**< what a plan would have used                      */
    char best[96];             /**< what it will use                                 */
    double before_us, best_us; /**< medians, microseconds on the device    */
    double noise;              /**< relative: what a gain must exceed      */
    size_t tried, refused;     /**< candidates timed; wrong or not building */
    int finished;              /**< 1: the search came to its end; 0: the budget did */
} clgaze_tune_result;

/** Which problems to tune, of those that were tuned on this device and driver. */
typedef enum clgaze_tune_again {
    CLGAZE_TUNE_NEW = 0,        /**< none: only what has no record yet          */
    CLGAZE_TUNE_UNFINISHED = 1, /**< those whose search the budget ended         */
    CLGAZE_TUNE_ALL = 2
} clgaze_tune_again;

/** How to tune.  Zero everything that you do not set. */
typedef struct clgaze_tune_options {
    double budget;           /**< seconds, > 0                                      */
    size_t max_candidates;   /**< most configurations a problem; 0: no cap          */
    clgaze_tune_again again; /**< which problems that have a record of this driver   */
    const char *journal;     /**< file that names the candidate under way, so that one
                                  that ends the process is skipped next time, even if it is
                                  what plans use; NULL: none.  Of several processes each
                                  makes one of its own, FILE, FILE.1 ..; none that has
                                  nothing to name stays                             */
    /** Called before each problem and between measurements; not 0 stops: what was found is kept. */
    int (*progress)(void *user, const clgaze_tune_progress *progress);
    /** Called after each problem, its record already in the context (none if the search was
        ended before anything was compared): save here. */
    void (*found)(void *user, const clgaze_tune_result *result);
    void *user;
    uint32_t reserved[8]; /**< zero */
} clgaze_tune_options;

/**
 * Tune problems on the context's device, in their order, within a budget.
 *
 * Each candidate is built, compared with the reference on a small problem and
 * timed on made-up data of the problem's maximum, interleaved with the others,
 * on a queue of the library's own.  The calling thread is busy for the time
 * of the budget; memory of the device is used for the tensors of one problem.
 * A record is kept for each problem: a challenger's only if it beats what plans
 * use now by more than the noise.
 *
 * @param[in] context   Its records are changed; not while plans are made in other threads
 *                      that must not see both.
 * @param[in] n         Number of requests.
 * @param[in] requests  Operations and problems, those of training too; CLGAZE_PREFILL stands for its
 *                      five, and for the break-even of the whole when they have records; CLGAZE_DISTILL
 *                      for its own kernel alone, beside gate and score as they are.  `plan` is not touched.
 * @param[in] options   Read during the call only; not NULL.
 *
 * @retval CLGAZE_OK             Also when the budget ended first, or nothing was better.
 * @retval CLGAZE_ERR_NULL       A NULL argument.
 * @retval CLGAZE_ERR_VALUE      A budget of 0 or less, or no operation of clgaze_op.
 * @retval CLGAZE_ERR_CANCELLED  `progress` said so; what was found is kept.
 * @retval others                As clgaze_plan_create(): no plan of a problem can be made.
 *
 * @since 1.0
 */
CLGAZE_API clgaze_status clgaze_tune(clgaze_context *context, size_t n, const clgaze_request *requests,
                                     const clgaze_tune_options *options);

/**
 * Write a problem as the tuner names it.
 *
 * @param[in]  op    Any; CLGAZE_PREFILL for the break-even.
 * @param[out] text  "attend f16 d128 b64 g4 n32k", cut at `capacity` bytes.
 *
 * @retval CLGAZE_OK
 * @retval CLGAZE_ERR_NULL, and those of clgaze_plan_create() for a problem out of range.
 * @since 1.0
 */
CLGAZE_API clgaze_status clgaze_tuning_problem(clgaze_context *context, clgaze_op op, const clgaze_problem *problem,
                                               char *text, size_t capacity);

/**
 * Add the records of a file to the context's: this merges, and this imports, for
 * one may load any number of files.  A record of the same device and
 * problem is replaced.  Records of other devices do no harm: they serve where there
 * is none of this one, as the library's own do, and are never saved as this one's.  Lines that cannot be believed
 * (unknown kernel, another search space, a value that is not allowed) are logged and skipped.
 *
 * @param[in] file  NULL: the user's file of this device; that it does not exist is no error then.
 *
 * @retval CLGAZE_OK
 * @retval CLGAZE_ERR_NULL
 * @retval CLGAZE_ERR_CACHE  It cannot be read, or is not a tuning file of this version.
 * @since 1.0
 */
CLGAZE_API clgaze_status clgaze_tuning_load(clgaze_context *context, const char *file);

/**
 * Write the context's records of this device that were tuned or loaded here, merged
 * with what the file holds: temporary file, sync, rename, under a lock.  With a name
 * this exports, and records that came from the user's file are written too.
 *
 * @param[in] file  NULL: the user's file of this device.
 *
 * @retval CLGAZE_OK
 * @retval CLGAZE_ERR_NULL
 * @retval CLGAZE_ERR_CACHE  It cannot be written, another process holds the lock for 5 s, or
 *                           it is a file of a later version, which stays as it is.
 * @retval CLGAZE_ERR_NO_MEMORY
 * @since 1.0
 */
CLGAZE_API clgaze_status clgaze_tuning_save(clgaze_context *context, const char *file);

/**
 * List the problems that plans were made for without a record of their own: those
 * that contexts with options.remember left in a file, then those of this context if it
 * has that option.  One that has a record by now is not listed; clgaze_tuning_save() to
 * the user's file takes it from the file of misses, too.  Of more than 64 the oldest are forgotten.
 *
 * @param[out] ops, problems  Up to `capacity` of them, as clgaze_tune() wants them: one
 *                            operation each, of what a prefill or distill is made of too, and
 *                            CLGAZE_PREFILL only where auto_density was set; `values` and
 *                            `kernel` are NULL.
 *                            Either may be NULL.
 *
 * @return The number of misses, which may be more than `capacity`; 0 also when the file
 *         cannot be read or memory ran out, which is logged.
 * @since 1.0
 */
CLGAZE_API size_t clgaze_tuning_misses(clgaze_context *context, clgaze_op *ops, clgaze_problem *problems,
                                       size_t capacity);

/**
 * Forget the context's records but for the library's own.  Files stay.
 *
 * @retval CLGAZE_OK
 * @retval CLGAZE_ERR_NULL
 * @retval CLGAZE_ERR_NO_MEMORY  Some of the library's own are missing too, then.
 * @since 1.0
 */
CLGAZE_API clgaze_status clgaze_tuning_clear(clgaze_context *context);

#ifdef __cplusplus
}
#endif
#endif
