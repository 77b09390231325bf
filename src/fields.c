/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fields.c: the table of tensors, and what each operation does with them.
 */
#include <string.h>

#include "check.h"

// clang-format off
#define FIELD(name, type, strided, ...) {#name, offsetof(clgaze_tensors, name), type, strided, {__VA_ARGS__}}

const struct field clg_fields[FIELDS] = {
    FIELD(q, T_DATA, true, B, SQ, HQ, CH),
    FIELD(k, T_DATA, true, B, SK, HK, CH),
    FIELD(v, T_DATA, true, B, SK, HK, CH),
    FIELD(q_gate, T_DATA, true, B, SQ, HQ, CH),
    FIELD(k_gate, T_DATA, true, B, SK, HK, CH),
    FIELD(rope_inv_freq, T_F32, false, RN, NONE, NONE, NONE),
    FIELD(w_k, T_WEIGHT, false, HW, KP, DG, NONE),
    FIELD(w_q, T_WEIGHT, false, HQ, QP, DG, NONE),
    FIELD(q_pooled, T_F32, false, B, NQ, HQ, QP),
    FIELD(k_pooled, T_F32, false, B, NB, HK, KP),
    FIELD(q_gated, T_F32, false, B, NQ, HQ, DG),
    FIELD(k_gated, T_F32, false, B, NB, HW, DG),
    FIELD(scores, T_F32, false, B, HS, NQ, NK),
    FIELD(counts, T_I32, false, B, HL, NQ, NONE),
    FIELD(blocks, T_I32, false, B, HL, NQ, WIDTH),
    FIELD(mask, T_U8, false, B, HL, NQ, NK),
    FIELD(indptr, T_I32, false, ROWS1, NONE, NONE, NONE),
    FIELD(indices, T_I32, false, ENTS, NONE, NONE, NONE),
    FIELD(cu_seqlens_q, T_I32, false, S1, NONE, NONE, NONE),
    FIELD(cu_seqlens_k, T_I32, false, S1, NONE, NONE, NONE),
    FIELD(out, T_DATA, true, B, SQ, HQ, CH),
    FIELD(lse, T_F32, false, B, HQ, SQ, NONE),
    FIELD(truth, T_F32, false, B, HQ, NQ, NK),
    FIELD(dout, T_DATA, true, B, SQ, HQ, CH),
    FIELD(dq, T_DATA, true, B, SQ, HQ, CH),
    FIELD(dk, T_DATA, true, B, SK, HK, CH),
    FIELD(dv, T_DATA, true, B, SK, HK, CH),
    FIELD(dw_k, T_F32, false, HW, KP, DG, NONE),
    FIELD(dw_q, T_F32, false, HQ, QP, DG, NONE),
    FIELD(moments_k, T_F32, false, TWO, HW, KP, DG),
    FIELD(moments_q, T_F32, false, TWO, HQ, QP, DG),
    FIELD(loss, T_F32, false, ONE, NONE, NONE, NONE),
};
// clang-format on

clgaze_tensor *clg_field_of(const struct check *c, int f)
{
    return (clgaze_tensor *)(void *)((char *)c->t + clg_fields[f].at);
}

bool clg_field_given(const struct check *c, int f)
{
    return clg_field_of(c, f)->buffer != NULL;
}

/* One letter a tensor, in the order of the table above:
 *   i input        f input if there is RoPE      b input if lists are blocks
 *   o output       d input in the double form    m input if lists are a mask
 *   ? output if    c input if packed             r input if lists are CSR
 *     it is there  e output if problem.lse       l its shape is read if it is there
 *                  D output in the double form */
// clang-format off
static const char *const roles[] = {
    /*                       qkv QK f Ww pP gG scb mix Uu ol t d dqkv Gg Mm l */
    [CLGAZE_POOL]       = "... ii . .. oo .. ... ... cc .. . . ... .. .. .",
    [CLGAZE_GATE]       = "ll. ll f id ii oo ... ... cc .. . . ... .. .. .",
    [CLGAZE_SCORE]      = "ll. ll . .. .. ii o.. ... cc .. . . ... .. .. .",
    [CLGAZE_SELECT]     = "ll. ll . .. .. .. ioo ... cc .. . . ... .. .. .",
    [CLGAZE_ATTEND]     = "iii .. . .. .. .. .bb mrr cc oe . . ... .. .. .",
    [CLGAZE_PREFILL]    = "iii ii f id ?? ?? ??? ... cc oe . . ... .. .. .",
    [CLGAZE_TRUTH]      = "iii .. . .. .. .. ... ... cc o? o . ... .. .. .",
    [CLGAZE_DISTILL]    = "ll. ll f id ii .. ... ... cc .. i . ... oD .. o",
    [CLGAZE_ATTEND_BWD] = "iii .. . .. .. .. .bb mrr cc ii . i ooo .. .. .",
};
// clang-format on

static enum role role_of(const clgaze_problem *p, char letter)
{
    switch (letter) {
    case 'i':
        return INPUT;
    case 'o':
        return OUTPUT;
    case '?':
        return OPTIONAL_OUT;
    case 'l':
        return LENGTH;
    case 'f':
        return p->rope_pairs ? INPUT : UNUSED;
    case 'd':
        return p->gate_double ? INPUT : UNUSED;
    case 'D':
        return p->gate_double ? OUTPUT : UNUSED;
    case 'c':
        return p->packed ? INPUT : UNUSED;
    case 'b':
        return p->lists == CLGAZE_LISTS_BLOCKS ? INPUT : UNUSED;
    case 'm':
        return p->lists == CLGAZE_LISTS_MASK ? INPUT : UNUSED;
    case 'r':
        return p->lists == CLGAZE_LISTS_CSR ? INPUT : UNUSED;
    case 'e':
        return p->lse ? OUTPUT : UNUSED;
    default:
        return UNUSED;
    }
}

void clg_fields_roles(struct check *c, clgaze_op op, const clgaze_adamw *update)
{
    int f = 0;

    for (const char *letter = roles[op]; *letter && f < FIELDS; letter++)
        if (*letter != ' ')
            c->role[f++] = role_of(c->p, *letter);
    if (op == CLGAZE_POOL) { /* one side alone is fine */
        bool q_side = clg_field_given(c, Q_GATE) || clg_field_given(c, Q_POOLED),
             k_side = clg_field_given(c, K_GATE) || clg_field_given(c, K_POOLED);

        if (k_side && !q_side)
            c->role[Q_GATE] = c->role[Q_POOLED] = UNUSED;
        if (q_side && !k_side)
            c->role[K_GATE] = c->role[K_POOLED] = UNUSED;
    }
    if (op == CLGAZE_TRUTH && clg_field_given(c, TRUTH) && !clg_field_given(c, V) && !clg_field_given(c, OUT))
        c->role[V] = c->role[OUT] = UNUSED; /* the map alone is fine */
    if (op == CLGAZE_DISTILL && update) {   /* the state is read and written */
        c->role[W_K] = c->role[MOMENTS_K] = OUTPUT;
        c->role[W_Q] = c->role[MOMENTS_Q] = c->role[DW_Q];
    }
}

void clg_fields_dims(struct check *c, clgaze_op op)
{
    const clgaze_problem *p = c->p;
    int64_t *v = c->value, *most = c->most;

    v[HQ] = p->q_heads;
    v[HK] = p->kv_heads;
    v[HL] = clg_list_heads(p);
    v[HW] = p->gate_double ? p->kv_heads : p->q_heads;
    v[CH] = p->head_dim;
    v[DG] = clg_gate_dim(p);
    v[QP] = (int64_t)clg_pools(p->q_pool) * p->head_dim;
    v[KP] = (int64_t)clg_pools(p->k_pool) * p->head_dim;
    v[RN] = p->rope_pairs;
    v[ONE] = 1;
    v[TWO] = 2;
    v[HS] = op == CLGAZE_SELECT ? 0 : p->q_heads;
    v[B] = p->packed ? 1 : 0;
    most[B] = p->max_batch;
    most[SQ] = p->max_q;
    most[SK] = p->max_k;
    most[HS] = p->q_heads;
    most[NQ] = clg_max_rows(p);
    most[NK] = clg_max_cols(p);
    most[NB] = clg_max_blocks_k(p);
    most[WIDTH] = 32768;
    most[S1] = (int64_t)p->max_batch + 1;
    most[ENTS] = INT32_MAX;
    most[ROWS1] = INT32_MAX;
}

/* Block counts follow from lengths, where those are known. */
void clg_fields_derive(struct check *c, const clgaze_call *call)
{
    const clgaze_problem *p = c->p;
    int64_t *v = c->value;

    if (p->packed) {
        v[NK] = ((int64_t)call->longest_k + p->block_k - 1) / p->block_k;
        if (v[ROWS1] && !v[NQ])
            v[NQ] = (v[ROWS1] - 1) / v[HL];
        return;
    }
    if (v[SQ] && !v[NQ])
        v[NQ] = (v[SQ] + p->block_q - 1) / p->block_q;
    if (v[SK] && !v[NK])
        v[NK] = v[NB] = (v[SK] + p->block_k - 1) / p->block_k;
    if (v[NK] && !v[NB])
        v[NB] = v[NK];
    if (v[NB] && !v[NK])
        v[NK] = v[NB];
}
