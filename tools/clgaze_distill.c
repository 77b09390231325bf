/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clgaze_distill.c: teach one layer's gate from what its attention saw.
 */
#include "distill_command.h"
#include "fail.h"

#include <stdio.h>

static int help(void)
{
    puts("clgaze-distill --in CAPTURE.safetensors... --out GATES.safetensors [options]\n"
         "\n"
         "Each step looks at one capture, in turn. Every --save-every steps, at the end and on\n"
         "SIGINT or SIGTERM the whole state goes to GATES.safetensors.checkpoint, from which\n"
         "--resume goes on to the same bits as if never stopped.\n");
    distill_command_help();
    puts("\nA capture's metadata may hold the options of the gate and of training, too, with _\n"
         "for -; of several captures the first one's counts. The command line wins.\n"
         "\nExit: 0 done, 2 wrong usage or input, 3 OpenCL failed.");
    return EXIT_DONE;
}

int main(int argc, char **argv)
{
    struct distill_command c;
    fail_setup("clgaze-distill", 0);
    int code = distill_command_read(argc, argv, &c);
    if (code)
        return code;
    fail_setup("clgaze-distill", c.verbose);
    if (c.help)
        return help();
    if (c.version)
        return printf("clgaze-distill %s\n", clgaze_version()) < 0;
    code = distill_run(&c);
    if (fflush(stdout) != 0 && !code)
        code = fail(EXIT_INPUT, "standard output cannot be written");
    return code;
}
