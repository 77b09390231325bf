/*
 * run.h: all that a run over a text needs.
 */
#ifndef CLGAZE_LLAMA_RUN_H
#define CLGAZE_LLAMA_RUN_H

#include "command.h"
#include "forward.h"
#include "teach.h"

/** What attention is to do. */
enum want { WANT_OUT, WANT_GATE_INPUTS, WANT_TEACH };

struct run {
    const struct command *command;
    struct config config;
    struct checkpoint checkpoint;
    struct machine machine;
    struct gates gates;
    struct attention attention;
    clgaze_problem problem; /**< of the command line, then the gates                  */
    struct model model;
    struct forward forward;
    struct teach teach;
    enum want want;
    cl_int *tokens; /**< sequences * seq and the one after them                      */
    int32_t sequences;
    uint64_t weights_hash; /**< of WANT_TEACH: which model it is                        */
};

/**
 * Read the model and the text, compare memory, load.
 *
 * @param[in] want  WANT_GATE_INPUTS: also q and k before RoPE; WANT_TEACH: r->teach.
 * @return 0, or an exit code after a sentence; close it either way.
 */
int run_open(const struct command *c, enum want want, struct run *r);
void run_close(struct run *r);

#endif
