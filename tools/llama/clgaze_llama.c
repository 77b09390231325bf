/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clgaze_llama.c: a model in the Hugging Face layout, end to end.
 */
#include "command.h"
#include "fail.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(const struct command *c);
    unsigned bit;
    int32_t count; /* sequences unless --count is given; 0: all */
    double lr;     /* unless --lr is given                      */
} commands[] = {
    {"ppl", command_ppl, COMMAND_PPL, 4, 0},
    {"capture", command_capture, COMMAND_CAPTURE, 1, 0},
    {"distill", command_distill, COMMAND_DISTILL, 0, 2e-3},
    {"finetune", command_finetune, COMMAND_FINETUNE, 0, 1e-4},
    {"plot", command_plot, COMMAND_PLOT, 0, 0},
};

static int help(void)
{
    puts("clgaze-llama ppl --model DIR --tokens FILE [options]\n"
         "clgaze-llama distill --model DIR --tokens FILE --steps N --out FILE [options]\n"
         "clgaze-llama finetune --model DIR --tokens FILE --steps N --out DIR [options]\n"
         "clgaze-llama capture --model DIR --tokens FILE --layer N --out FILE [options]\n"
         "clgaze-llama plot --rows FILE --out FILE.svg\n"
         "\n"
         "ppl prints the perplexity of the last three quarters of each sequence, seconds\n"
         "a stage, and as its last line: perplexity P density D\n"
         "distill teaches a gate a layer what dense attention needs, all layers at once.\n"
         "Every --save-every steps, at the end and on SIGINT or SIGTERM the whole state goes\n"
         "to FILE.checkpoint, from which --resume goes on to the same bits as if never stopped\n"
         "finetune trains all weights, dense or through the gates' lists, and writes a folder\n"
         "in the same layout, where its checkpoint lies until then\n"
         "capture writes what a layer's attention and its gate read, as clgaze-run and\n"
         "clgaze-distill take it\n"
         "plot draws perplexity against density, a line a rule, dense as the floor\n"
         "\n"
         "Models: Llama, Mistral without a window, Qwen2, Qwen3; f32, f16 or bf16.\n");
    command_help();
    puts("\nExit: 0 done, 2 wrong usage or input, 3 OpenCL failed.");
    return EXIT_DONE;
}

int main(int argc, char **argv)
{
    struct command c;
    fail_setup("clgaze-llama", 0);
    int code = command_read(argc, argv, &c);
    if (code)
        return code;
    fail_setup("clgaze-llama", c.verbose);
    if (c.help)
        return help();
    if (c.version)
        return printf("clgaze-llama %s\n", clgaze_version()) < 0;
    if (!c.name)
        return fail(EXIT_INPUT, "no command is given; see --help");
    size_t i = 0;
    while (i < CLG_COUNT(commands) && strcmp(commands[i].name, c.name) != 0)
        i++;
    if (i == CLG_COUNT(commands))
        return fail(EXIT_INPUT, "\"%.40s\" is not a command; ppl, capture, distill, finetune and plot are", c.name);
    if (!(c.only & commands[i].bit))
        return fail(EXIT_INPUT, "--%s is of no use with %s", c.only_option, c.name);
    if (c.count < 0)
        c.count = commands[i].count;
    if (!(c.lr > 0))
        c.lr = commands[i].lr;
    code = commands[i].run(&c);
    if (fflush(stdout) != 0 && !code)
        code = fail(EXIT_INPUT, "standard output cannot be written");
    return code;
}
