/* SPDX-License-Identifier: Apache-2.0 */
/*
 * folder.h: a trained model as a folder in the Hugging Face layout.
 */
#ifndef CLGAZE_LLAMA_FOLDER_H
#define CLGAZE_LLAMA_FOLDER_H

#include "run.h"

/** Join DIR/NAME. @return 0, or an exit code after a sentence. */
int folder_path(const char *dir, const char *name, char *path, size_t capacity);

/**
 * Refuse what --out may not be: the folder --model or one in it; without --force and --resume, what is there.
 *
 * @return 0, or an exit code after a sentence.
 */
int folder_check(const struct command *c);

/** Make the folder --out; `made`: it was not there. @return as above. */
int folder_make(const struct command *c, int *made);

/**
 * Write config.json, model.safetensors in the types of the model's own files, its tokenizer, the
 * curve of the first n losses, and gates.safetensors where gates learnt.  Each is whole under
 * another name before any takes its place.
 *
 * @return 0, or an exit code after a sentence; then the folder holds what it held.
 */
int folder_write(struct run *r, const float *losses, size_t n);

#endif
