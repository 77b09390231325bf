/* SPDX-License-Identifier: Apache-2.0 */
/*
 * order.c: the order in which the sequences of a text are taken.
 */
#include "order.h"

#include "fail.h"

#include <stdlib.h>

/* splitmix64, of another stream than the weights */
static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

int order_make(struct order *o, int32_t n, int32_t seed, int64_t skip)
{
    o->state = ~(uint64_t)seed;
    o->n = o->at = n;
    o->list = calloc((size_t)n, sizeof *o->list);
    if (!o->list)
        return fail(EXIT_INPUT, "there is no memory for %d sequences", (int)n);
    for (int32_t i = 0; i < n; i++)
        o->list[i] = i;
    while (skip-- > 0)
        order_next(o);
    return 0;
}

void order_free(struct order *o)
{
    free(o->list);
    o->list = NULL;
}

int32_t order_next(struct order *o)
{
    if (o->at == o->n) {
        for (int32_t i = o->n - 1; i > 0; i--) {
            const int32_t j = (int32_t)(next(&o->state) % (uint64_t)(i + 1)), kept = o->list[i];
            o->list[i] = o->list[j];
            o->list[j] = kept;
        }
        o->at = 0;
    }
    return o->list[o->at++];
}
