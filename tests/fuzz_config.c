/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_config.c: any bytes as the config.json of a model, and as the index of its shards. */
#include "fuzz_host.h"
#include "llama/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config config;
    struct checkpoint checkpoint;

    fuzz_file("config.json", data, size);
    fuzz_file("model.safetensors.index.json", data, size);
    if (config_read(fuzz_folder, &config) == 0 &&
        (config.layers < 1 || config.kv_heads < 1 || config.q_heads % config.kv_heads != 0 || config.head_dim < 1 ||
         config.vocab < 1 || config.hidden < 1 || config.inner < 1))
        abort(); /* accepted, but no model */
    if (checkpoint_open(fuzz_folder, &checkpoint) == 0)
        abort(); /* no shard is a safetensors file */
    checkpoint_close(&checkpoint);
    return 0;
}
