/* SPDX-License-Identifier: Apache-2.0 */
/*
 * order.h: the order in which the sequences of a text are taken.
 */
#ifndef CLGAZE_LLAMA_ORDER_H
#define CLGAZE_LLAMA_ORDER_H

#include <stdint.h>

/** Each once before any again. */
struct order {
    uint64_t state;
    int32_t *list, n, at;
};

/** The same for the same seed; `skip`: that many are taken already. @return 0, or an exit code after a sentence. */
int order_make(struct order *o, int32_t n, int32_t seed, int64_t skip);
void order_free(struct order *o);

/** The sequence that comes next, from 0. */
int32_t order_next(struct order *o);

#endif
