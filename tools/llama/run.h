/*
 * run.h: all that a run over a text needs.
 */
#ifndef CLGAZE_LLAMA_RUN_H
#define CLGAZE_LLAMA_RUN_H

#include "command.h"
#include "forward.h"

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
    cl_int *tokens; /**< count * seq and the one after them                          */
};

/**
 * Read the model and the text, compare memory, load.
 *
 * @param[in] gate_inputs  1: q and k before RoPE are wanted.
 * @return 0, or an exit code after a sentence; close it either way.
 */
int run_open(const struct command *c, int gate_inputs, struct run *r);
void run_close(struct run *r);

#endif
