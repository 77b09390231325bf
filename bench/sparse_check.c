/*
 * sparse_check.c: some rows of the output against attention in double.
 *
 * The inputs are made again from their streams, so nothing large is kept.
 */
#include <math.h>
#include <stdlib.h>

#include "fail.h"
#include "sparse.h"

enum { CHECKED = 8 }; /* rows; the first and the last are always among them */

double check_tolerance(clgaze_dtype dtype)
{
    return dtype == CLGAZE_F32 ? 1e-5 : dtype == CLGAZE_F16 ? 1e-3 : 8e-3;
}

/* One token of a head in a tensor [tokens][heads][dim]. */
static void make_token(float *x, uint64_t seed, int token, int head, int heads, int dim, clgaze_dtype dtype)
{
    uint64_t at = ((uint64_t)token * (uint64_t)heads + (uint64_t)head) * (uint64_t)dim;

    for (int c = 0; c < dim; c++)
        x[c] = round_number(random_number(seed, at + (uint64_t)c), dtype);
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

static void add_block(struct sums *s, const struct options *o, const float *q, int token, int head, int block, int j)
{
    float k[256], v[256];
    int kv = head / (o->heads / o->kv_heads), end = (j + 1) * block < token + 1 ? (j + 1) * block : token + 1;

    for (int t = j * block; t < end; t++) {
        double score = 0;

        make_token(k, SEED_K, t, kv, o->kv_heads, o->head_dim, (clgaze_dtype)o->dtype);
        make_token(v, SEED_V, t, kv, o->kv_heads, o->head_dim, (clgaze_dtype)o->dtype);
        for (int c = 0; c < o->head_dim; c++)
            score += (double)q[c] * (double)k[c];
        add_key(s, score / sqrt(o->head_dim), v, o->head_dim);
    }
}

/* Norm of got - wanted over norm of wanted. */
static double row_error(const struct options *o, int token, int head, int block, const struct lists *lists,
                        const void *got)
{
    struct sums s = {.most = -INFINITY};
    float q[256];
    double off = 0, all = 0;
    int i = token / block;

    make_token(q, SEED_Q, token, head, o->heads, o->head_dim, (clgaze_dtype)o->dtype);
    if (lists) {
        size_t at = (size_t)head * (size_t)lists->rows + (size_t)i;

        for (int n = 0; n < lists->counts[at]; n++)
            add_block(&s, o, q, token, head, block, lists->blocks[at * (size_t)lists->width + (size_t)n]);
    } else {
        for (int j = 0; j <= i; j++)
            add_block(&s, o, q, token, head, block, j);
    }
    for (int c = 0; c < o->head_dim; c++) {
        double want = s.weight > 0 ? s.out[c] / s.weight : 0;
        double d = (double)get_number(got, (size_t)c, (clgaze_dtype)o->dtype) - want;

        off += d * d;
        all += want * want;
    }
    return all > 0 ? sqrt(off / all) : sqrt(off);
}

int check_rows(struct bench *b, const struct options *o, const struct data *data, int block,
               const struct lists *lists, double *error)
{
    size_t bytes = (size_t)o->head_dim * clgaze_dtype_size((clgaze_dtype)o->dtype);
    float got[256];

    *error = 0;
    for (uint64_t n = 0; n < CHECKED; n++) {
        uint64_t token = n == 0 ? 0 : (uint64_t)data->seq - 1, head = random_bits(SEED_CHECK, n) % (uint64_t)o->heads;
        int code;

        if (n > 1)
            token = (random_bits(SEED_CHECK, n) >> 32) % (uint64_t)data->seq;
        if ((code = bench_read(b, data->out, (token * (uint64_t)o->heads + head) * bytes, got, bytes)))
            return code == REFUSED ? fail(EXIT_OPENCL, "%s", b->sentence) : code;
        double e = row_error(o, (int)token, (int)head, block, lists, got);
        *error = e > *error || isnan(e) ? e : *error;
        if (isnan(e))
            return 0;
    }
    return 0;
}
