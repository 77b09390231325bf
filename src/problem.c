/* SPDX-License-Identifier: Apache-2.0 */
/*
 * problem.c: defaults and checks of a problem, and the sizes it implies.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

clgaze_problem clgaze_problem_default(void)
{
    clgaze_problem p;

    memset(&p, 0, sizeof p);
    p.block_q = p.block_k = 64;
    p.causal = 1;
    p.max_batch = 1;
    p.q_pool = CLGAZE_AVG;
    p.k_pool = CLGAZE_MAX | CLGAZE_MIN | CLGAZE_AVG;
    p.rope_scale = 1.0f;
    p.rule = CLGAZE_TOP_P;
    p.lists = CLGAZE_LISTS_BLOCKS;
    return p;
}

int clg_pools(uint32_t set)
{
    return (int)((set & 1) + (set >> 1 & 1) + (set >> 2 & 1));
}

int clg_gate_dim(const clgaze_problem *p)
{
    return p->gate_dim ? p->gate_dim : p->head_dim;
}

int clg_list_heads(const clgaze_problem *p)
{
    return p->scope == CLGAZE_SCOPE_Q ? p->q_heads : p->scope == CLGAZE_SCOPE_KV ? p->kv_heads : 1;
}

static int blocks(int tokens, int block)
{
    return tokens / block + (tokens % block != 0);
}

/* Each packed sequence may end in a short block. */
static int blocks_most(const clgaze_problem *p, int tokens, int block)
{
    return p->packed ? tokens / block + p->max_batch : blocks(tokens, block);
}

int clg_max_rows(const clgaze_problem *p)
{
    return blocks_most(p, p->max_q, p->block_q);
}

int clg_max_cols(const clgaze_problem *p)
{
    return blocks(p->max_k, p->block_k);
}

int clg_max_blocks_k(const clgaze_problem *p)
{
    return blocks_most(p, p->max_k, p->block_k);
}

float clg_attend_scale(const clgaze_problem *p)
{
    return p->scale != 0.0f ? p->scale : 1.0f / sqrtf((float)p->head_dim);
}

/* The most that the rule itself can choose in a row of nk blocks. */
static int rule_most(const clgaze_problem *p, int nk)
{
    int most = p->rule >= CLGAZE_THRESHOLD ? nk : 1;

    for (int h = 0; most < nk && h < (p->values ? clg_list_heads(p) : 1); h++) {
        int k = clg_rule_count(p, p->values ? (double)p->values[h] : p->value, nk);

        most = k > most ? k : most;
    }
    most = p->min_k > most ? p->min_k : most;
    most = p->max_k_blocks && p->max_k_blocks < most ? p->max_k_blocks : most;
    return p->last_rows ? nk : most;
}

int clg_list_width(const clgaze_problem *p)
{
    int nk = clg_max_cols(p);
    int64_t most;

    if (p->width)
        return p->width < nk ? p->width : nk;
    most = (int64_t)rule_most(p, nk) + p->sink + p->local;
    return most < nk ? (int)most : nk;
}

/* One integer field: its range. */
struct range {
    const char *name;
    size_t at;
    int32_t low, high;
    clgaze_status st;
};
#define RANGE(field, low, high, st)                                                                                  \
    {                                                                                                                \
#field, offsetof(clgaze_problem, field), low, high, CLGAZE_##st                                              \
    }

static const struct range shape_ranges[] = {
    RANGE(dtype, CLGAZE_F32, CLGAZE_BF16, ERR_DTYPE),
    RANGE(q_heads, 1, 32768, ERR_HEADS),
    RANGE(kv_heads, 1, 32768, ERR_HEADS),
    RANGE(head_dim, 8, 256, ERR_SIZE),
    RANGE(block_q, 4, 256, ERR_BLOCK),
    RANGE(block_k, 4, 256, ERR_BLOCK),
    RANGE(causal, 0, 1, ERR_VALUE),
    RANGE(packed, 0, 1, ERR_VALUE),
    RANGE(max_batch, 1, 65535, ERR_SIZE),
    RANGE(max_q, 1, 1 << 30, ERR_SIZE),
    RANGE(max_k, 1, 1 << 30, ERR_SIZE),
    RANGE(validate, 0, 1, ERR_VALUE),
};
static const struct range gate_ranges[] = {
    RANGE(q_pool, 1, 7, ERR_VALUE),
    RANGE(k_pool, 1, 7, ERR_VALUE),
    RANGE(gate_dim, 0, 256, ERR_SIZE),
    RANGE(gate_double, 0, 1, ERR_VALUE),
    RANGE(rope_pairs, 0, 128, ERR_SIZE),
    RANGE(rope_interleaved, 0, 1, ERR_VALUE),
    RANGE(weight_dtype, CLGAZE_F32, CLGAZE_BF16, ERR_DTYPE),
};
static const struct range select_ranges[] = {
    RANGE(rule, CLGAZE_TOP_K, CLGAZE_TOP_P, ERR_VALUE),
    RANGE(sink, 0, 32768, ERR_VALUE),
    RANGE(local, 0, 32768, ERR_VALUE),
    RANGE(last_rows, 0, 1 << 30, ERR_VALUE),
    RANGE(min_k, 0, 32768, ERR_VALUE),
    RANGE(max_k_blocks, 0, 32768, ERR_VALUE),
    RANGE(width, 0, 32768, ERR_VALUE),
    RANGE(scope, CLGAZE_SCOPE_Q, CLGAZE_SCOPE_ONE, ERR_VALUE),
};
static const struct range attend_ranges[] = {
    RANGE(lists, CLGAZE_LISTS_DENSE, CLGAZE_LISTS_CSR, ERR_VALUE),
    RANGE(lse, 0, 1, ERR_VALUE),
    RANGE(scope, CLGAZE_SCOPE_Q, CLGAZE_SCOPE_ONE, ERR_VALUE),
};

static clgaze_status check_ranges(const clgaze_context *ctx, const clgaze_problem *p, const struct range *ranges,
                                  size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct range *r = &ranges[i];
        int32_t value;

        memcpy(&value, (const char *)p + r->at, sizeof value);
        if (value < r->low || value > r->high)
            return clg_fail(ctx, r->st, "problem.%s is %d: it must be %d..%d", r->name, (int)value, (int)r->low,
                            (int)r->high);
    }
    return CLGAZE_OK;
}
#define CHECK_RANGES(table) TRY(check_ranges(ctx, p, table, CLG_COUNT(table)))

static clgaze_status check_gate(const clgaze_context *ctx, const clgaze_problem *p)
{
    clgaze_status st = CLGAZE_OK;

    CHECK_RANGES(gate_ranges);
    NEED(clg_gate_dim(p) % 8 == 0, CLGAZE_ERR_SIZE, "problem.gate_dim is %d: it must be a multiple of 8",
         (int)p->gate_dim);
    NEED(p->rope_pairs <= clg_gate_dim(p) / 2, CLGAZE_ERR_SIZE,
         "problem.rope_pairs is %d: it must be at most half the gate size, %d", (int)p->rope_pairs,
         clg_gate_dim(p) / 2);
    NEED(p->gate_double || (clg_pools(p->q_pool) == 1 && clg_gate_dim(p) == p->head_dim), CLGAZE_ERR_VALUE,
         "problem.gate_double is 0: the single form needs one q pool (given %d) and gate_dim equal to head_dim "
         "(given %d and %d)",
         clg_pools(p->q_pool), clg_gate_dim(p), (int)p->head_dim);
    NEED(isfinite(p->rope_scale), CLGAZE_ERR_VALUE, "problem.rope_scale is %g: it must be finite",
         (double)p->rope_scale);
out:
    return st;
}

static clgaze_status check_value(const clgaze_context *ctx, const clgaze_problem *p, const char *name, int head,
                                 double value)
{
    static const struct {
        const char *rule, *range;
        double low, high;
        bool with_low, with_high; /* belong to the range, too */
    } rules[] = {
        {"top_k", "1..32768", 1, 32768, true, true},
        {"ratio", "in (0, 1]", 0, 1, false, true},
        {"budget", "1..2147483647 tokens", 1, 2147483647, true, true},
        {"threshold", "in [0, 1)", 0, 1, true, false},
        {"top_p", "in (0, 1]", 0, 1, false, true},
    };
    const double low = rules[p->rule].low, high = rules[p->rule].high;
    char which[16] = "";

    if ((value > low && value < high) || (value == low && rules[p->rule].with_low) ||
        (value == high && rules[p->rule].with_high))
        return CLGAZE_OK;
    if (head >= 0)
        snprintf(which, sizeof which, "[%d]", head);
    return clg_fail(ctx, CLGAZE_ERR_VALUE, "problem.%s%s is %.10g: with rule %s it must be %s", name, which, value,
                    rules[p->rule].rule, rules[p->rule].range);
}

static clgaze_status check_select(const clgaze_context *ctx, const clgaze_problem *p)
{
    clgaze_status st = CLGAZE_OK;
    int nk = clg_max_cols(p);

    CHECK_RANGES(select_ranges);
    if (p->values) {
        for (int h = 0; h < clg_list_heads(p); h++)
            TRY(check_value(ctx, p, "values", h, (double)p->values[h]));
    } else {
        TRY(check_value(ctx, p, "value", -1, p->value));
    }
    NEED(nk <= 32768, CLGAZE_ERR_SIZE, "problem.max_k of %d tokens gives %d key blocks a row: at most 32768",
         (int)p->max_k, nk);
    NEED(!p->max_k_blocks || p->max_k_blocks >= p->min_k, CLGAZE_ERR_VALUE,
         "problem.max_k_blocks is %d: it must be 0 or at least min_k, %d", (int)p->max_k_blocks, (int)p->min_k);
    NEED(!p->width || p->width >= nk || p->width >= p->sink + p->local, CLGAZE_ERR_VALUE,
         "problem.width is %d: it must hold sink + local, %d + %d", (int)p->width, (int)p->sink, (int)p->local);
out:
    return st;
}

clgaze_status clg_problem_check(const clgaze_context *ctx, clgaze_op op, const clgaze_problem *p)
{
    clgaze_status st = CLGAZE_OK;

    NEED((int)op >= CLGAZE_POOL && op <= CLGAZE_ATTEND_BWD, CLGAZE_ERR_VALUE, "operation %d is not 0..%d", (int)op,
         (int)CLGAZE_ATTEND_BWD);
    CHECK_RANGES(shape_ranges);
    for (int i = 0; i < (int)CLG_COUNT(p->reserved); i++) /* a later version's field that this one does not know */
        NEED(p->reserved[i] == 0, CLGAZE_ERR_VALUE, "problem.reserved[%d] is %u: it must be 0", i,
             (unsigned)p->reserved[i]);
    NEED(p->q_heads % p->kv_heads == 0, CLGAZE_ERR_HEADS,
         "problem.q_heads is %d: it must be a multiple of kv_heads, %d", (int)p->q_heads, (int)p->kv_heads);
    NEED(p->head_dim % 8 == 0, CLGAZE_ERR_SIZE, "problem.head_dim is %d: it must be a multiple of 8",
         (int)p->head_dim);
    if (op == CLGAZE_POOL)
        CHECK_RANGES(gate_ranges);
    if (op == CLGAZE_GATE || op == CLGAZE_SCORE || op == CLGAZE_PREFILL || op == CLGAZE_DISTILL)
        TRY(check_gate(ctx, p));
    NEED(op != CLGAZE_DISTILL || p->weight_dtype == CLGAZE_F32, CLGAZE_ERR_DTYPE,
         "problem.weight_dtype is %d: weights that learn must be f32 (%d)", (int)p->weight_dtype, (int)CLGAZE_F32);
    if (op == CLGAZE_SELECT || op == CLGAZE_PREFILL)
        TRY(check_select(ctx, p));
    if (op == CLGAZE_ATTEND || op == CLGAZE_PREFILL || op == CLGAZE_ATTEND_BWD)
        CHECK_RANGES(attend_ranges);
    NEED(op < CLGAZE_ATTEND || isfinite(p->scale), CLGAZE_ERR_VALUE, "problem.scale is %g: it must be finite",
         (double)p->scale);
    NEED(op != CLGAZE_PREFILL || p->lists == CLGAZE_LISTS_BLOCKS, CLGAZE_ERR_VALUE,
         "problem.lists is %d: prefill makes lists of blocks (%d)", (int)p->lists, (int)CLGAZE_LISTS_BLOCKS);
    NEED(op != CLGAZE_PREFILL || (p->auto_density >= 0 && p->auto_density <= 1), CLGAZE_ERR_VALUE,
         "problem.auto_density is %g: it must be 0 or in (0, 1]", p->auto_density);
out:
    return st;
}
