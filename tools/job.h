/* SPDX-License-Identifier: Apache-2.0 */
/*
 * job.h: an operation of clgaze-run on the tensors of one file.
 *
 * A job says which tensors an operation reads and writes and what shape each
 * output has; execute.h runs it.
 */
#ifndef CLGAZE_TOOLS_JOB_H
#define CLGAZE_TOOLS_JOB_H

#include <clgaze/clgaze.h>

#include "options.h"
#include "safetensors.h"

/** What a person asks for: `name` runs the operations first..last. */
struct operation {
    const char *name;
    clgaze_op first, last;             /**< PREFILL..PREFILL: the one call; ATTEND..ATTEND_BWD: the two */
    clgaze_op first_timed, last_timed; /**< what --repeat times, one by one     */
};

/** The sizes that shapes are made of. */
enum dim {
    DIM_NONE = 0,
    DIM_B,       /**< batch                                                     */
    DIM_SQ,      /**< query tokens                                              */
    DIM_SK,      /**< key tokens                                                */
    DIM_HQ,      /**< query heads                                               */
    DIM_HK,      /**< key-value heads                                           */
    DIM_D,       /**< head size                                                 */
    DIM_NQ,      /**< query blocks; packed: of all sequences                    */
    DIM_NK,      /**< key blocks; packed: of all sequences                      */
    DIM_COLUMNS, /**< key blocks of a row; packed: of the longest sequence      */
    DIM_QP,      /**< nqp*D                                                     */
    DIM_KP,      /**< nkp*D                                                     */
    DIM_GK,      /**< heads of k_gated                                          */
    DIM_DG,      /**< gate size                                                 */
    DIM_H,       /**< heads that have a list                                    */
    DIM_W,       /**< width of `blocks`, known when the plan is made            */
    N_DIMS
};

/** Of which element type an output is. */
enum element { AS_Q, AS_F32, AS_I32 };

/** One tensor of the contract; the sets are bits 1 << operation. */
struct tensor_row {
    const char *name;
    size_t offset;      /**< in clgaze_tensors                                  */
    unsigned needs;     /**< operations that must have it                       */
    unsigned takes;     /**< operations that may have it                        */
    unsigned gives;     /**< operations that write it                           */
    unsigned scratch;   /**< operations that want it when timed in stages       */
    enum element type;  /**< of an output                                       */
    int rank;           /**< of an output                                       */
    enum dim shape[4];  /**< of an output                                       */
    const char *source; /**< an output that is left out where this is absent    */
};

extern const struct tensor_row tensor_rows[];
extern const int n_tensor_rows;

struct job {
    const struct operation *operation;
    int index; /**< of the operation, for the sets above                        */
    const st_file *file;
    clgaze_problem problem;
    struct training training; /**< distill                                      */
    float *values;            /**< owned; problem.values                                   */
    int64_t dims[N_DIMS];
    int32_t longest_q, longest_k; /**< packed only                              */
};

/**
 * Find an operation.
 *
 * @return NULL, after a sentence on stderr, when there is none of that name or
 *         this version does not have it.
 */
const struct operation *operation_find(const char *name);

/** Its place among the operations, for the sets of tensor_rows. */
int operation_index(const struct operation *operation);

/** The name of a stage: "pool". */
const char *stage_name(clgaze_op op);

/**
 * Make the problem of an operation from the tensors of a file.
 *
 * @param[in]  file      Borrowed until job_free().
 * @param[out] job       Freed with job_free() whatever is returned.
 *
 * @return 0, or an exit code after a sentence on stderr.
 */
int job_make(const struct operation *operation, const st_file *file, const struct settings *settings,
             struct job *job);

void job_free(struct job *job);

/**
 * Ask whether the file has every tensor that the job takes if it is there and
 * else makes first: out and lse of attend_bwd, which go together.
 */
int job_has_all(const struct job *job);

/** Ask whether the job reads the tensor and the file has it. */
const st_tensor *job_input(const struct job *job, const struct tensor_row *row);

/** Ask whether the job writes the tensor, or wants it as scratch. */
int job_output(const struct job *job, const struct tensor_row *row, int timed);

/** Fill in name, dtype, shape and size of an output; 0, or an exit code. */
int job_describe(const struct job *job, const struct tensor_row *row, st_tensor *tensor);

/** The dtype of the library; 0, or -1 when it has none such. */
int library_dtype(st_dtype from, clgaze_dtype *to);

#endif
