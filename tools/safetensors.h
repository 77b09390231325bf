/* SPDX-License-Identifier: Apache-2.0 */
/*
 * safetensors.h: read and write safetensors files.
 *
 * A file is 8 bytes of header length, a JSON header (tensor name -> dtype,
 * shape, data_offsets; "__metadata__" is a map of strings), then the bytes of
 * the tensors, row-major, little endian, without holes.
 *
 * The reader trusts nothing: what it returns is consistent, or it refuses with
 * one sentence that names the tensor, its value and what is allowed.
 */
#ifndef CLGAZE_TOOLS_SAFETENSORS_H
#define CLGAZE_TOOLS_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

enum { ST_MAX_RANK = 8, ST_WHY = 512 /* bytes that suit every sentence */ };

typedef enum st_dtype {
    ST_F64 = 0,
    ST_I64 = 1,
    ST_F32 = 2,
    ST_I32 = 3,
    ST_F16 = 4,
    ST_BF16 = 5,
    ST_U8 = 6,
    ST_BOOL = 7 /**< one byte, 0 or 1 */
} st_dtype;

/** One tensor.  In a file that was read, `name` and `data` belong to the file
 *  and `data` may lie at any address: use st_value() or memcpy. */
typedef struct st_tensor {
    const char *name;
    st_dtype dtype;
    int rank; /**< 0 (a scalar) .. ST_MAX_RANK                                  */
    int64_t shape[ST_MAX_RANK];
    size_t elements;  /**< product of the shape; may be 0                       */
    size_t bytes;     /**< elements * size of one                               */
    const void *data; /**< never NULL in a file, not even when `bytes` is 0     */
} st_tensor;

/** One entry of `__metadata__`. */
typedef struct st_pair {
    const char *key;
    const char *value;
} st_pair;

/** A file in memory: tensors in the order of their data, pairs in that of
 *  their keys. */
typedef struct st_file {
    st_tensor *tensors;
    size_t n_tensors;
    st_pair *meta;
    size_t n_meta;
    unsigned char *bytes; /* owned: the whole file                              */
    void *json;           /* owned: the parsed header, which holds the strings  */
} st_file;

/**
 * Read a file whole.
 *
 * @param[out] file      What was read, freed by st_close(); NULL on failure.
 * @param[out] why       On failure one sentence without the path.
 * @param[in]  capacity  Bytes of `why`.
 *
 * @return 0, or -1 when it cannot be read, is not a regular file, is malformed
 *         or does not fit into memory.
 */
int st_open(const char *path, st_file **file, char *why, size_t capacity);

/**
 * Understand `size` bytes as a file.
 *
 * @param[in] bytes  From malloc(); becomes the file's, or is freed on failure.
 *
 * The rest as st_open().
 */
int st_parse(unsigned char *bytes, size_t size, st_file **file, char *why, size_t capacity);

/** Turn elements round from this machine's order of bytes to the file's, little endian, or back; nothing
 *  where they are the same. */
void st_turn(unsigned char *bytes, size_t size, size_t elements);

/** Free a file.  NULL is allowed. */
void st_close(st_file *file);

/** Find a tensor; NULL when there is none of that name. */
const st_tensor *st_find(const st_file *file, const char *name);

/** Find the value of a key of `__metadata__`; NULL when there is none. */
const char *st_meta(const st_file *file, const char *key);

/** Return element `i` of any dtype as a double; no check. */
double st_value(const st_tensor *tensor, size_t i);

/** Bytes of one element. */
size_t st_dtype_size(st_dtype dtype);

/** Name a dtype as files do: "F32". */
const char *st_dtype_name(st_dtype dtype);

/** Find a dtype by that name; -1 when there is none. */
int st_dtype_find(const char *name);

/**
 * Multiply a shape out.
 *
 * @param[out] elements, bytes  Set on success.
 * @return 0, or -1 when a size is negative or a product does not fit.
 */
int st_size(st_dtype dtype, int rank, const int64_t *shape, size_t *elements, size_t *bytes);

/**
 * Write a shape as text: "[1,8,64]".
 *
 * @return `text`.
 */
const char *st_shape_text(const st_tensor *tensor, char *text, size_t capacity);

/**
 * Write a file: a temporary one beside it, then renamed, so that a reader sees
 * the old file or the new one.  Something that is not a regular file (a pipe,
 * /dev/null) is written in place.
 *
 * The same tensors and pairs give the same bytes in whatever order they come.
 *
 * @param[in] tensors  `name`, `dtype`, `rank`, `shape` and `data` are read;
 *                     `elements` and `bytes` are not.
 * @param[out] why     On failure one sentence without the path.
 *
 * @return 0, or -1.
 */
int st_write(const char *path, const st_tensor *tensors, size_t n_tensors, const st_pair *meta, size_t n_meta,
             char *why, size_t capacity);

#endif
