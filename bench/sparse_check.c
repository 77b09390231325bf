/*
 * sparse_check.c: some rows of the output against attention in double.
 *
 * Random inputs are made again from their streams, so nothing large is kept.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "sparse.h"

enum { CHECKED = 8 }; /* rows; the first and the last are always among them */

double check_tolerance(clgaze_dtype dtype)
{
    return dtype == CLGAZE_F32 ? 1e-5 : dtype == CLGAZE_F16 ? 1e-3 : 8e-3;
}

/* The sums of one row of attention, shifted by the greatest score so far. */
struct sums {
    double most, weight, out[256];
};

static void add_key(struct sums *s, double score, const float *v, int dim)
{
    double factor, weight;

    if (score > s->most) {
        factor = exp(s->most - score);
        s->most = score;
        s->weight *= factor;
        for (int c = 0; c < dim; c++)
            s->out[c] *= factor;
    }
    weight = exp(score - s->most);
    s->weight += weight;
    for (int c = 0; c < dim; c++)
        s->out[c] += weight * (double)v[c];
}

/* What a row is checked with. */
struct look {
    const struct options *o;
    const struct data *data;
    int token, head, block;
    float q[256];
};

static void look_at(struct look *l, int token, int head)
{
    l->token = token;
    l->head = head;
    input_token(l->o, l->data, SEED_Q, token, head, l->q);
}

static double score_of(const struct look *l, int key)
{
    const struct data *d = l->data;
    float k[256];
    double score = 0;

    input_token(l->o, d, SEED_K, key, l->head / (d->heads / d->kv_heads), k);
    for (int c = 0; c < d->head_dim; c++)
        score += (double)l->q[c] * (double)k[c];
    return score / sqrt(d->head_dim);
}

static void add_block(struct sums *s, const struct look *l, int j)
{
    const struct data *d = l->data;
    int end = (j + 1) * l->block < l->token + 1 ? (j + 1) * l->block : l->token + 1;
    float v[256];

    for (int t = j * l->block; t < end; t++) {
        input_token(l->o, d, SEED_V, t, l->head / (d->heads / d->kv_heads), v);
        add_key(s, score_of(l, t), v, d->head_dim);
    }
}

/* Norm of got - wanted over norm of wanted. */
static double row_error(const struct look *l, const struct lists *lists, const void *got)
{
    clgaze_dtype dtype = (clgaze_dtype)l->o->dtype;
    struct sums s = {.most = -INFINITY};
    double off = 0, all = 0;
    int i = l->token / l->block;

    if (lists) {
        size_t at = (size_t)l->head * (size_t)lists->rows + (size_t)i;

        for (int n = 0; n < lists->counts[at]; n++)
            add_block(&s, l, lists->blocks[at * (size_t)lists->width + (size_t)n]);
    } else {
        for (int j = 0; j <= i; j++)
            add_block(&s, l, j);
    }
    for (int c = 0; c < l->data->head_dim; c++) {
        double want = s.weight > 0 ? s.out[c] / s.weight : 0;
        double d = (double)get_number(got, (size_t)c, dtype) - want;

        off += d * d;
        all += want * want;
    }
    return all > 0 ? sqrt(off / all) : sqrt(off);
}

/* Row n of those checked, and its head: the first and the last are among them. */
static void pick(const struct data *data, int n, int *token, int *head)
{
    uint64_t bits = random_bits(SEED_CHECK, (uint64_t)n);

    *head = (int)(bits % (uint64_t)data->heads);
    *token = n == 0 ? 0 : n == 1 ? data->seq - 1 : (int)((bits >> 32) % (uint64_t)data->seq);
}

int check_rows(struct bench *b, const struct options *o, const struct data *data, int block,
               const struct lists *lists, double *error)
{
    size_t bytes = (size_t)data->head_dim * clgaze_dtype_size((clgaze_dtype)o->dtype);
    struct look l = {.o = o, .data = data, .block = block};
    float got[256];

    *error = 0;
    for (int n = 0; n < CHECKED && !isnan(*error); n++) {
        int token, head, code;

        pick(data, n, &token, &head);
        look_at(&l, token, head);
        if ((code =
                 bench_read(b, data->out, ((size_t)token * (size_t)data->heads + (size_t)head) * bytes, got, bytes)))
            return code == REFUSED ? fail(EXIT_OPENCL, "%s", b->sentence) : code;
        double e = row_error(&l, lists, got);
        *error = e > *error || isnan(e) ? e : *error;
    }
    return 0;
}

/* ---- truth ---- */

/* Raise row[j] to the greatest weight of a token's keys in block j. */
static int raise_row(const struct look *l, double *row)
{
    double *score = malloc((size_t)(l->token + 1) * sizeof *score), most = -INFINITY, sum = 0;

    if (!score)
        return fail(EXIT_INPUT, "host memory ran out");
    for (int t = 0; t <= l->token; t++) {
        score[t] = score_of(l, t);
        most = fmax(most, score[t]);
    }
    for (int t = 0; t <= l->token; t++)
        sum += exp(score[t] - most);
    for (int t = 0; t <= l->token; t++)
        row[t / l->block] = fmax(row[t / l->block], exp(score[t] - most) / sum);
    free(score);
    return 0;
}

/* All tokens of block row i; divided by its sum. */
static int truth_row(struct look *l, int i, int head, double *row, int n)
{
    int end = (i + 1) * l->block < l->data->seq ? (i + 1) * l->block : l->data->seq, code = 0;
    double sum = 0;

    for (int token = i * l->block; token < end && !code; token++) {
        look_at(l, token, head);
        code = raise_row(l, row);
    }
    for (int j = 0; j < n; j++)
        sum += row[j];
    for (int j = 0; j < n; j++)
        row[j] /= sum;
    return code;
}

int check_truth(struct work *w, const clgaze_tensor *truth, double *error)
{
    struct look l = {.o = w->o, .data = w->data, .block = w->row->block};
    int n = w->rows, code = 0;
    double *want = malloc((size_t)n * sizeof *want);
    float *got = malloc((size_t)n * sizeof *got);

    *error = 0;
    for (int at = 0; at < 2 && want && got && !code; at++) {
        double off = 0, all = 0;
        int token, head;

        pick(w->data, at, &token, &head);
        memset(want, 0, (size_t)n * sizeof *want);
        if ((code = truth_row(&l, token / l.block, head, want, n)) ||
            (code = bench_read(w->b, truth->buffer,
                               ((size_t)head * (size_t)n + (size_t)(token / l.block)) * (size_t)n * 4, got,
                               (size_t)n * sizeof *got)))
            break;
        for (int j = 0; j < n; j++) {
            off += ((double)got[j] - want[j]) * ((double)got[j] - want[j]);
            all += want[j] * want[j];
        }
        *error = fmax(*error, isnan(off) ? INFINITY : sqrt(off / all));
    }
    code = want && got ? code : fail(EXIT_INPUT, "host memory ran out");
    free(want);
    free(got);
    return code;
}
