/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clgaze_run.c: the operations of clgaze on safetensors files.
 */
#include "commands.h"
#include "fail.h"

#include <stdio.h>
#include <string.h>

static int help(void)
{
    puts("clgaze-run OP --in FILE --out FILE [options]\n"
         "clgaze-run check FILE... [options]\n"
         "clgaze-run devices [--json]\n"
         "clgaze-run selftest [--device TEXT] [--json]\n"
         "\n"
         "OP is one of\n"
         "  pool     q_gate, k_gate -> q_pooled, k_pooled\n"
         "  gate     ... and w_k, w_q, rope_inv_freq -> q_gated, k_gated too\n"
         "  score    ... -> scores too\n"
         "  select   scores -> counts, blocks\n"
         "  attend   q, k, v, and lists if given -> out, lse\n"
         "  prefill  all of them -> out, lse, scores, counts, blocks\n"
         "  truth    q, k, and v if wanted -> truth, and with v out, lse\n"
         "  distill  q_gate, k_gate, w_k, w_q, truth or q, k -> losses, dw_k, dw_q, w_k, w_q\n"
         "  attend_bwd  q, k, v, dout, lists, out and lse if given -> dq, dk, dv\n"
         "\n"
         "check runs each file's own operation on its own inputs and compares every\n"
         "tensor expect.X with X.\n"
         "\n"
         "selftest runs every kernel that fits a device against plain C, in about a minute;\n"
         "what it prints is what a report of a problem needs.\n"
         "\n"
         "Options of the operations; a file's metadata may hold them too (with _ for -),\n"
         "and the command line wins:");
    settings_help();
    puts("\n"
         "Options of the program:\n"
         "  --device TEXT        index, or part of platform, vendor or device name\n"
         "  --kernel NAME        force a strategy, with tunables if wanted: \"attend BM=32\"\n"
         "  --repeat N           time each stage on the device, the median of N runs\n"
         "  --json               one JSON value on stdout\n"
         "  --verbose            the library's log on stderr\n"
         "  --help, --version\n"
         "\n"
         "Exit: 0 done, 1 a comparison failed, 2 wrong usage or input, 3 OpenCL failed.");
    return EXIT_DONE;
}

int main(int argc, char **argv)
{
    struct args args;
    fail_setup("clgaze-run", 0);
    int code = args_read(argc, argv, &args);
    if (code)
        return code;
    fail_setup("clgaze-run", args.verbose);
    if (args.help)
        return help();
    if (args.version)
        return printf("clgaze-run %s\n", clgaze_version()) < 0;
    if (!args.command)
        return fail(EXIT_INPUT, "no operation is given; see --help");
    if (strcmp(args.command, "check") == 0)
        code = command_check(&args);
    else if (strcmp(args.command, "devices") == 0)
        code = command_devices(&args);
    else if (strcmp(args.command, "selftest") == 0)
        code = command_selftest(&args);
    else
        code = command_operation(&args);
    if (fflush(stdout) != 0 && !code)
        code = fail(EXIT_INPUT, "standard output cannot be written");
    return code;
}
