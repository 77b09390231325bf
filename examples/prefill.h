/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prefill.h: what the pieces of the example `prefill` share.
 *
 *   prefill.c        the command, and the report
 *   prefill_layer.c  a layer from a safetensors file, RoPE applied
 *   prefill_run.c    the five operations, one call, and dense attention, timed
 *   prefill_svg.c    the picture
 */
#ifndef PREFILL_H
#define PREFILL_H

#include <clgaze/clgaze.h>

#include "safetensors.h"

/* ---- prefill_layer.c ---- */

/* One attention layer's inputs on the host. */
struct layer {
    st_file *file;
    clgaze_problem problem; /* shapes of the tensors, options of the file's metadata  */
    int tokens;
    st_tensor q, k, v, q_gate, k_gate, w_k, rope_inv_freq; /* data NULL: absent         */
    void *own[2];                                          /* q and k, where made here  */
};

/* Read a layer; the file may hold q and k or leave them to us: RoPE of q_gate
 * and k_gate.  Returns 0, or an exit code after a sentence on stderr. */
int layer_open(const char *path, struct layer *layer);
void layer_close(struct layer *layer);

/* Set rule and value from words, as in the metadata; NULL keeps what is there. */
int layer_rule(struct layer *layer, const char *rule, const char *value);
const char *rule_name(clgaze_rule rule);

/* ---- prefill_run.c ---- */

/* What is timed, in the order in which it runs. */
enum { DENSE, POOL, GATE, SCORE, SELECT, ATTEND, WHOLE, STAGES };
extern const char *const stage_names[STAGES];

/* What came back from the device. */
struct result {
    char device[400], driver[64];
    double ms[STAGES];                 /* medians, time on the device                           */
    char kernel[STAGES][128];          /* the strategy, as the plan names it                     */
    int rows, cols, width;             /* blocks of queries, of keys; entries of a list          */
    float *scores;                     /* [heads][rows][cols]                                    */
    int32_t *counts, *blocks;          /* [heads][rows], [heads][rows][width]                    */
    float *lse, *lse_dense;            /* [heads][tokens]                                        */
    void *out, *out_dense, *out_whole; /* [tokens][heads][D], the layer's dtype          */
};

int run_layer(const struct layer *layer, const char *device, int repeat, struct result *result);
void result_free(struct result *result);

/* ---- prefill.c ---- */

/* Key blocks that row i of queries may see. */
int visible_blocks(const struct layer *layer, const struct result *result, int i);

/* One head in numbers. */
struct head {
    double density; /* kept visible blocks over visible blocks                        */
    double mass;    /* share of the exact softmax that the kept blocks hold, mean     */
    double error;   /* of the output against dense: norm of the difference over norm   */
};

/* ---- prefill_svg.c ---- */

/* Draw what the gate scored and which blocks were kept, one panel a head. */
int picture_write(const char *path, const struct layer *layer, const struct result *result, const struct head *heads);

#endif
