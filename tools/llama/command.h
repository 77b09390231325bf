/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command.h: the command line of clgaze-llama, and what it does.
 */
#ifndef CLGAZE_LLAMA_COMMAND_H
#define CLGAZE_LLAMA_COMMAND_H

#include "compute.h"
#include "rules.h"

/** Bits of the commands. */
enum {
    COMMAND_PPL = 1,
    COMMAND_CAPTURE = 2,
    COMMAND_DISTILL = 4,
    COMMAND_FINETUNE = 8,
    COMMAND_PLOT = 16,
    COMMAND_ALL = 31
};

struct command {
    const char *name, *model, *tokens, *device, *gates, *out, *plot, *rows, *rope_scaling;
    const char *rule;               /**< as it was given                                  */
    int32_t seq, count;             /**< count: 0: all                                     */
    int32_t layer;                  /**< -1: not given                                        */
    int32_t steps, seed, batch;     /**< of distill and finetune; steps: 0: not given */
    int32_t save_every, stop_after; /**< stop_after: 0: not given                     */
    int32_t compute;                /**< of compute.h                                     */
    double lr, factor;              /**< 0: not given                                      */
    int32_t teach, force, resume, no_gate_rope;
    int32_t memory; /**< MiB of the device that may be used, 0: all           */
    int32_t json, verbose, help, version;
    enum source source;
    clgaze_problem problem; /**< what the options of the library say             */
    /* The last given of the library's options, of those that a window has no use for; NULL: none. */
    const char *list_option, *no_window_option;
    unsigned only;           /**< the commands that take all options given          */
    const char *only_option; /**< the last that left one out; NULL: none            */
    int has_value, has_block;
};

/** Read the command line. @return 0, or an exit code after a sentence. */
int command_read(int argc, char **argv, struct command *c);

/** Print the options. */
void command_help(void);

/** Perplexity. @return The exit code of the program. */
int command_ppl(const struct command *c);

/** Teach a gate a layer. @return as above. */
int command_distill(const struct command *c);

/** Train a model. @return as above. */
int command_finetune(const struct command *c);

/** What a layer's attention and its gate read, to a file. @return as above. */
int command_capture(const struct command *c);

/** Perplexity against density, as SVG. @return as above. */
int command_plot(const struct command *c);

#endif
