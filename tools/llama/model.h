/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model.h: a checkpoint's tensors, and the weights on the device.
 */
#ifndef CLGAZE_LLAMA_MODEL_H
#define CLGAZE_LLAMA_MODEL_H

#include "config.h"
#include "kernels.h"
#include "safetensors.h"

enum { MAX_SHARDS = 512 };

/** The safetensors files of a model, in memory until the weights are loaded. */
struct checkpoint {
    st_file *files[MAX_SHARDS];
    int n;
};

/** [rows][cols] in the type of the file: y = x w^T has `rows` columns. */
struct matrix {
    cl_mem buffer;
    cl_int type; /**< as weight() of matmul.cl: 0 f32, 1 f16, 2 bf16              */
    cl_int rows, cols;
};

struct linear {
    struct matrix w;
    cl_mem bias; /**< NULL: none; vectors are f32 on the device                   */
};

struct layer {
    cl_mem norm_attend, norm_mlp, norm_q, norm_k;
    struct linear q, k, v, o, gate, up, down;
};

struct model {
    struct config config;
    struct matrix embedding, head; /**< head: no buffer where it is the embedding */
    cl_mem norm;
    struct layer *layers;
};

/** Bytes on the device: of all weights, and of the largest; in the types of the file, and in f32. */
struct weights {
    size_t bytes, largest, wide, widest;
};

/** One array of a model, f32 or a matrix in its type; a vector has cols 0. */
struct parameter {
    char name[96];
    cl_mem buffer;
    size_t rows, cols, n; /**< n: numbers */
};

/** Open model.safetensors, or the shards that model.safetensors.index.json names. */
int checkpoint_open(const char *dir, struct checkpoint *c);
void checkpoint_close(struct checkpoint *c);
const st_tensor *checkpoint_find(const struct checkpoint *c, const char *name);

/**
 * Check that every tensor of the model is there, of its shape and a type that is read, finite,
 * and that there is none that the model would need and this program does not read; of several,
 * the first in the order of files and of their data is named.
 *
 * @return 0, or an exit code after a sentence.
 */
int model_check(const struct config *config, const struct checkpoint *c, struct weights *weights);

/** Put the weights on the device, `wide` in f32; free with model_free() whatever is returned. */
int model_load(struct machine *m, const struct config *config, const struct checkpoint *c, int wide,
               struct model *model);

/** Make a model of the same shapes, all f32 and zero; free with model_free() whatever is returned. */
int model_like(struct machine *m, const struct model *model, struct model *like);

/** Enqueue zeros into every array of a model that is f32. */
int model_zero(struct machine *m, const struct model *model);
void model_free(struct model *model);

/** The i-th array, under its name in files, for i from 0; models of one config have the same
 *  arrays in the same order.  Without layers only shapes are told. @return 0 past the last. */
int model_parameter(const struct model *model, size_t i, struct parameter *to);

/** Put a tensor on the device in its own type: f32, f16 or bf16. */
int matrix_load(struct machine *m, const st_tensor *t, struct matrix *to);

/** Refuse a tensor with a NaN or an infinity. */
int tensor_finite(const st_tensor *t);

/** The type as matmul.cl numbers it; -1: none that is read. */
int weight_type(st_dtype dtype);

static inline const struct matrix *model_head(const struct model *m)
{
    return m->head.buffer ? &m->head : &m->embedding;
}

#endif
