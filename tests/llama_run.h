/* SPDX-License-Identifier: Apache-2.0 */
/*
 * llama_run.h: the program clgaze-llama in a folder with a tiny model and a text.
 */
#ifndef CLG_TESTS_LLAMA_RUN_H
#define CLG_TESTS_LLAMA_RUN_H

#include <stdint.h>

#include "tiny_model.h"

enum { LLAMA_SEQ = 75, LLAMA_COUNT = 2, LLAMA_TEXT = 3000, LLAMA_NEED = LLAMA_SEQ * LLAMA_COUNT + 1 };

#define LLAMA_PPL "ppl --seq 75 --count 2 "

extern char llama_folder[512];            /* of the model; the only one in a new folder */
extern uint16_t llama_tokens[LLAMA_TEXT]; /* random, the same in every run */
extern char llama_out[1 << 14], llama_err[1 << 13];

struct CMUnitTest;
/* Run the tests in a new folder. @return What main() returns. */
int llama_tests(const struct CMUnitTest *tests, size_t n);

/* Make and write a model, and the text that LLAMA_SEQ and LLAMA_COUNT need. */
void llama_model(struct tiny_model *m, const struct tiny_kind *kind);
void llama_text(int n);

/* A command and its options; skips without the program or a device. @return The exit code. */
int llama_run(const char *arguments);

/* A script in the folder, whose word p is the program with model, text and device. @return As llama_run(). */
int llama_shell(const char *script);

/* A safetensors file of the folder, for the caller to close. */
st_file *llama_file(const char *name);

/* It must be refused in one sentence that has these words, | between them. */
void llama_refused(const char *arguments, const char *words);

/* ppl of LLAMA_PPL. @return Perplexity. */
double llama_perplexity(const char *arguments, double *density);

#endif
