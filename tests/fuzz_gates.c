/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_gates.c: any bytes as the gates of a small model: one layer, two heads of 8 channels. */
#include "fuzz_host.h"
#include "llama/gates.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct config config = {.layers = 1, .q_heads = 2, .kv_heads = 1, .head_dim = 8, .hidden = 16};
    clgaze_problem problem = clgaze_problem_default();
    struct gates gates;

    if (gates_open(fuzz_file("gates.safetensors", data, size), &config, &problem, &gates) == 0 &&
        (problem.block_q < 4 || problem.block_q > 256 || problem.gate_dim < 8 || problem.gate_dim > 256 ||
         !clg_pools(problem.q_pool) || !clg_pools(problem.k_pool) || gates.bytes == 0))
        abort(); /* accepted, but no gate */
    gates_free(&gates);
    return 0;
}
