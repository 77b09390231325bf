/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sample.c: a small problem of its own out of a row's, for ref/.
 */
#include "sample.h"

#include <math.h>
#include <stdlib.h>

#include "fail.h"

/* ---- differences ---- */

void gap_add(struct gap *g, const float *got, const float *want, size_t n)
{
    for (size_t i = 0; got && want && i < n; i++) {
        double d = (double)got[i] - (double)want[i];

        if (got[i] == want[i] && isinf(want[i])) /* what a row does not see */
            continue;
        g->off += isfinite(d) ? d * d : INFINITY;
        g->all += (double)want[i] * (double)want[i];
    }
}

/* Norm of the difference over norm of what is wanted. */
static double gap_error(const struct gap *g)
{
    return g->all > 0 ? sqrt(g->off / g->all) : sqrt(g->off);
}

void raise_error(struct verdict *v, const struct gap *g)
{
    v->error = fmax(v->error, gap_error(g));
}

/* ---- samples ---- */

void sample_open(struct sample *s, struct bench *b, const clgaze_problem *p, const clgaze_tensors *t, int head,
                 int first, int tokens)
{
    *s = (struct sample){.b = b, .whole = p, .from = t, .p = *p, .head = head, .first = first};
    s->kv = head / (p->q_heads / p->kv_heads);
    s->seq = (int)t->q.shape[1];
    s->p.q_heads = s->p.kv_heads = 1;
    s->p.lists = CLGAZE_LISTS_DENSE;
    s->t = (struct clg_ref){.batch = 1, .sq = tokens, .sk = first + tokens, .score_heads = 1};
}

int sample_close(struct sample *s)
{
    for (int i = 0; i < s->n; i++)
        free(s->rooms[i]);
    return s->code;
}

/* Zeros that the sample frees; NULL once anything has failed. */
void *room(struct sample *s, size_t n)
{
    void *x = s->code ? NULL : calloc(n + 1, sizeof(double));

    if (x)
        s->rooms[s->n++] = x;
    else if (!s->code)
        s->code = fail(EXIT_INPUT, "host memory ran out");
    return x;
}

/* Rows from .. from + n - 1 (tokens or blocks) of `heads` heads of a tensor that lies [row][head][channel]. */
float *read_heads(struct sample *s, const clgaze_tensor *t, int head, int heads, int from, int n)
{
    size_t size = clgaze_dtype_size(t->dtype), width = (size_t)t->shape[3] * size, count = width / size;
    size_t origin[] = {(size_t)head * width, (size_t)from, 0}, zero[3] = {0};
    size_t region[] = {(size_t)heads * width, (size_t)n, 1};
    float *x = room(s, (size_t)(n * heads) * count);
    void *raw = room(s, (size_t)(n * heads) * count);

    if (s->code || n < 1)
        return x;
    s->code = bench_cl(s->b,
                       clEnqueueReadBufferRect(s->b->queue, t->buffer, CL_TRUE, origin, zero, region,
                                               (size_t)t->shape[2] * width, 0, region[0], 0, raw, 0, NULL, NULL),
                       "clEnqueueReadBufferRect");
    for (size_t i = 0; i < (size_t)(n * heads) * count && !s->code; i++)
        x[i] = get_number(raw, i, t->dtype);
    return x;
}

/* n elements of a compact tensor, beginning with number `from`. */
float *read_part(struct sample *s, const clgaze_tensor *t, size_t from, size_t n)
{
    size_t size = clgaze_dtype_size(t->dtype);
    float *x = room(s, n);
    void *raw = room(s, n);

    if (!s->code)
        s->code = bench_read(s->b, t->buffer, from * size, raw, n * size);
    for (size_t i = 0; i < n && !s->code; i++)
        x[i] = get_number(raw, i, t->dtype);
    return x;
}

/* Number n of those checked: the first and the last are among them. */
void pick_token(const clgaze_tensors *t, int n, int *token, int *head)
{
    uint64_t bits = random_bits(SEED_CHECK, (uint64_t)n);
    int seq = (int)t->q.shape[1];

    *head = (int)(bits % (uint64_t)t->q.shape[2]);
    *token = n == 0 ? 0 : n == 1 ? seq - 1 : (int)((bits >> 32) % (uint64_t)seq);
}

/* The same for a whole row of blocks. */
int pick_row(const clgaze_problem *p, const clgaze_tensors *t, int n, int *first, int *tokens, int *head)
{
    int left;

    pick_token(t, n, first, head);
    *first -= *first % p->block_q;
    left = (int)t->q.shape[1] - *first;
    *tokens = left < p->block_q ? left : p->block_q;
    return *first / p->block_q;
}

/* The list of the sample's row; NULL: dense. */
void take_list(struct sample *s, const struct lists *lists)
{
    size_t row;

    if (!lists)
        return;
    row = (size_t)s->head * (size_t)lists->rows + (size_t)(s->first / s->p.block_q);
    s->p.lists = CLGAZE_LISTS_BLOCKS;
    s->t.counts = lists->counts + row;
    s->t.blocks = lists->blocks + row * (size_t)lists->width;
    s->t.width = lists->width;
}

void read_qkv(struct sample *s)
{
    s->t.q = read_heads(s, &s->from->q, s->head, 1, s->first, s->t.sq);
    s->t.k = read_heads(s, &s->from->k, s->kv, 1, 0, s->t.sk);
    s->t.v = read_heads(s, &s->from->v, s->kv, 1, 0, s->t.sk);
}
