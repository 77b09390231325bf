/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run.h: all that a run over a text needs.
 */
#ifndef CLGAZE_LLAMA_RUN_H
#define CLGAZE_LLAMA_RUN_H

#include "backward.h"
#include "command.h"
#include "optimizer.h"
#include "teach.h"

struct run {
    const struct command *command;
    struct config config;
    struct checkpoint checkpoint;
    struct machine machine;
    struct gates gates;
    struct attention attention;
    clgaze_problem problem; /**< of the command line, then the gates                  */
    struct model model;
    struct forward forward; /**< of what does not train                               */
    struct backward backward;
    struct optimizer optimizer;
    struct teach teach; /**< gates that learn; no layers: none do                     */
    enum want want;
    cl_int *tokens; /**< sequences * seq and the one after them                      */
    int32_t sequences;
    uint64_t hash;         /**< of what learns: of the tokens and the file of gates         */
    uint64_t weights_hash; /**< of what learns: which model it begins with                  */
    st_dtype *dtypes;      /**< of what trains: of each array in the model's files         */
};

/**
 * Read the model and the text, compare memory, load.
 *
 * @param[in] want  WANT_TRAIN: r->backward and r->optimizer, else r->forward; r->teach where
 *                  gates are to learn.
 * @return 0, or an exit code after a sentence; close it either way.
 */
int run_open(const struct command *c, enum want want, struct run *r);
void run_close(struct run *r);

#endif
