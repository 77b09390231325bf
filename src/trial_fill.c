/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trial_fill.c: inputs of the self-test: small multiples of a power of two, which
 * every type holds exactly, and lists that leave blocks out.
 */
#include <math.h>

#include "trial.h"

/* `bits` random ones. */
static int next(struct trial *t, int bits)
{
    return (int)(clg_random(&t->random) >> (32 - bits));
}

void clg_trial_floats(struct trial *t, int f, size_t n)
{
    float *x = t->host[f];

    for (size_t i = 0; i < n; i++)
        if (f == INV_FREQ)
            x[i] = ldexpf(1.0f, -(int)(i % 12));
        else if (f == SCORES)
            x[i] = (float)next(t, 20) * 0x1p-18f; /* no two alike, no mass close to a bound */
        else if (f == LSE)
            x[i] = 6.0f + (float)next(t, 7) * 0x1p-5f; /* of no sum, but that is nothing to attend_bwd */
        else
            x[i] = (float)(next(t, 7) - 64) * (clg_fields[f].type == T_WEIGHT ? 0x1p-8f : 0x1p-5f);
}

/* Score columns that the row does not see are -inf. */
static void hide(struct trial *t, const struct clg_ref_seq *s, int h, int i, int visible)
{
    const int64_t *v = t->check.value;
    float *x = t->host[SCORES];

    for (int j = visible; j < v[NK]; j++)
        x[((s->batch * v[HQ] + h) * v[NQ] + s->row0 + i) * v[NK] + j] = -INFINITY;
}

/* Every second visible block, beginning with another in each row and head; the
 * same list in every form that the call has. */
static void fill_list(struct trial *t, int64_t row, int first, int visible)
{
    const int64_t width = t->check.value[WIDTH];
    int32_t *counts = t->host[COUNTS], *blocks = t->host[BLOCKS];
    int32_t *indptr = t->host[INDPTR], *indices = t->host[INDICES];
    uint8_t *mask = t->host[MASK];
    int32_t n = 0, at = indptr ? indptr[row] : 0;

    for (int e = 0; e < width; e++)
        blocks[row * width + e] = -1;
    for (int j = first; j < visible; j += 2) {
        blocks[row * width + n] = j;
        if (indices)
            indices[at + n] = j;
        if (mask)
            mask[row * width + j] = 1;
        n++;
    }
    counts[row] = n;
    if (indptr)
        indptr[row + 1] = at + n;
}

void clg_trial_rows(struct trial *t)
{
    const clgaze_problem *p = &t->plan.problem;
    const int64_t *v = t->check.value;
    struct clg_ref r = clg_trial_ref(t);

    for (int64_t row = 0; row < v[B] * v[HQ] * v[NQ]; row++) {
        const int64_t i = row % v[NQ], h = row / v[NQ] % v[HQ], b = row / v[NQ] / v[HQ];
        struct clg_ref_seq s = {0};
        int visible;

        for (int e = 0; e < TRIAL_SEQS; e++) {
            struct clg_ref_seq one = clg_ref_seq(p, &r, e);

            if (one.batch == b && one.row0 <= i)
                s = one;
        }
        visible = clg_ref_visible(p, &s, (int)i - s.row0);
        if (t->check.role[SCORES] == INPUT)
            hide(t, &s, (int)h, (int)i - s.row0, visible);
        if (t->host[BLOCKS] && t->check.role[BLOCKS] != OUTPUT && h < v[HL])
            fill_list(t, (b * v[HL] + h) * v[NQ] + i, visible > 1 ? (int)(i + h) % 2 : 0, visible);
    }
}
