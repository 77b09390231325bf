/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rank: how select orders and weighs the scores of a row, shared by its
 * strategies so that all choose the same blocks.
 *
 * A score's key is an unsigned number in the same order; NaN is 0, below
 * -inf.  A score's mass is its softmax numerator, or a merged row's weight
 * over the greatest, in 31 bits: sums of integers do not depend on the order
 * of adding, so lists do not depend on the work-group's size.
 */
#ifndef RULE
#define RULE 4 /* 0 top_k, 1 ratio, 2 budget, 3 threshold, 4 top_p */
#endif
#define BY_MASS (RULE >= 3)

static inline uint key_of(float score)
{
    const uint u = as_uint(score == 0.0f ? 0.0f : score); /* -0 equals +0 */

    return isnan(score) ? 0u : u & 0x80000000u ? ~u : u | 0x80000000u;
}

static inline float score_of(uint key)
{
    return as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key);
}

/* In 0..1, the greatest of the row being 1; `merged`: scores are probabilities. */
static inline float share_of(float score, float most, int merged)
{
    if (merged)
        return most > 0.0f ? score / most : 0.0f;
    return score == most ? 1.0f : isnan(score) ? 0.0f : exp(score - most);
}

static inline uint mass_of(float score, float most, int merged)
{
    return (uint)(share_of(score, most, merged) * 2147483648.0f);
}

/* What is kept whatever the scores say. */
typedef struct {
    int visible;  /* blocks that the row may see          */
    int sink_end; /* blocks 0 .. sink_end - 1 are kept    */
    int local_at; /* and local_at .. range - 1            */
} forced_t;

static inline int is_forced(forced_t f, int j)
{
    return j < f.sink_end || j >= f.local_at;
}

/* Forced blocks rank above all scores when `lift` is set. */
static inline uint lifted(uint key, int j, forced_t f, int lift)
{
    return lift && is_forced(f, j) ? 0xffffffffu : key;
}
