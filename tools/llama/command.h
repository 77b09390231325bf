/*
 * command.h: the command line of clgaze-llama, and what it does.
 */
#ifndef CLGAZE_LLAMA_COMMAND_H
#define CLGAZE_LLAMA_COMMAND_H

#include <clgaze/clgaze.h>

struct command {
    const char *name, *model, *tokens, *device, *gates;
    int32_t seq, count, memory; /**< memory: MiB of the device that may be used, 0: all */
    int32_t json, verbose, help, version;
    const char *gate_option; /**< the last given of those that need --gates       */
    int has_value;
    clgaze_problem problem; /**< what the options of the library say             */
};

/** Read the command line. @return 0, or an exit code after a sentence. */
int command_read(int argc, char **argv, struct command *c);

/** Print the options. */
void command_help(void);

/** Perplexity. @return The exit code of the program. */
int command_ppl(const struct command *c);

#endif
