/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate_file.h: write gates under SeerAttention's names.
 */
#ifndef CLGAZE_TOOLS_GATE_FILE_H
#define CLGAZE_TOOLS_GATE_FILE_H

#include <clgaze/clgaze.h>

#include "safetensors.h"

enum { GATE_NAME = 96 /* bytes that suit every name */ };

/** Name the matrix of a layer, `side` 'k' or 'q': "model.layers.0.self_attn.attn_gate.mask_linear_k.weight". */
const char *gate_name(int32_t layer, char side, char name[GATE_NAME]);

/** The gate of a layer, f32. */
struct layer_gate {
    int32_t layer;
    const float *w_k, *w_q; /**< as clgaze_tensors; w_q in the double form only     */
};

/**
 * Write gates of one form.
 *
 * @param[in] problem  Says the form: blocks, pools, heads, sizes, and whether RoPE turns pooled blocks.
 * @param[in] bf16     1: store bf16, rounded to nearest even; 0: f32.
 * @return 0, or an exit code after a sentence on stderr.
 */
int gates_write(const char *path, const clgaze_problem *problem, const struct layer_gate *gates, size_t n, int bf16);

#endif
