/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.h: a model that trains, as a checkpoint that it goes on from to the same bits.
 */
#ifndef CLGAZE_LLAMA_STATE_H
#define CLGAZE_LLAMA_STATE_H

#include "run.h"
#include "saved.h"

enum { STATE_PAIRS = 9, STATE_TEXT = 160, STATE_PATH = 4096 };

/** Weights and moments, then the gates that learn with theirs. */
struct state {
    struct run *run; /**< borrowed                                              */
    struct saved saved;
    size_t arrays; /**< of the model                                          */
    st_tensor *shapes;
    char (*names)[128];
    st_pair pairs[STATE_PAIRS];
    char texts[STATE_PAIRS][STATE_TEXT];
    char path[STATE_PATH];
};

/**
 * Describe the state of an open run, `steps` of which are to be made; nothing is read or written yet.
 *
 * @return 0, or an exit code after a sentence; free with state_free() either way.
 */
int state_make(struct run *r, struct state *s);
void state_free(struct state *s);

#endif
