/* SPDX-License-Identifier: Apache-2.0 */
/*
 * training.c: the steps, the rate of each, and where it starts.
 */
#include "training.h"

#include "fail.h"

#include <math.h>

static const double PI = 3.14159265358979323846, SIGMA = 0.02;

struct training training_default(void)
{
    const struct training t = {{1e-3, 0.9, 0.999, 1e-8, 0, 0}, 400, 0, 0};
    return t;
}

int training_check(const struct training *training)
{
    const clgaze_adamw *o = &training->step;
    const struct {
        const char *name, *must;
        double value;
        int good;
    } rows[] = {
        {"lr", "0 or more", o->lr, o->lr >= 0},
        {"beta1", "in [0, 1)", o->beta1, o->beta1 >= 0 && o->beta1 < 1},
        {"beta2", "in [0, 1)", o->beta2, o->beta2 >= 0 && o->beta2 < 1},
        {"eps", "more than 0", o->eps, o->eps > 0},
        {"weight_decay", "0 or more", o->weight_decay, o->weight_decay >= 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!rows[i].good)
            return fail(EXIT_INPUT, "option %s is %g, but must be %s", rows[i].name, rows[i].value, rows[i].must);
    return 0;
}

clgaze_adamw training_step(const struct training *training, int32_t step)
{
    clgaze_adamw o = training->step;
    const double done = step - 1, warmup = training->warmup, left = training->steps - warmup;
    if (done < warmup)
        o.lr *= done / warmup;
    else if (training->cosine)
        o.lr *= 0.5 * (1 + cos(PI * (done - warmup) / (left > 1 ? left : 1)));
    o.step = step;
    return o;
}

/* In (0, 1), of 53 bits: splitmix64. */
static double uniform(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return ((double)((z ^ z >> 31) >> 11) + 0.5) * 0x1p-53;
}

void training_start(uint64_t *state, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const double radius = sqrt(-2 * log(uniform(state)));
        x[i] = (float)(SIGMA * radius * cos(2 * PI * uniform(state)));
    }
}
