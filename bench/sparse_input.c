/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sparse_input.c: q, k, v and the gate of a file, or random numbers instead.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "options.h"
#include "safetensors.h"
#include "sparse.h"

/* Numbers by their seeds. */
struct input {
    st_file *file;
    float *x[SEED_W];    /* q, k, v, after RoPE */
    float *gate[SEED_V]; /* q_gate, k_gate      */
};

static const char *const names[] = {[SEED_Q] = "q", [SEED_K] = "k", [SEED_V] = "v"};

/* ---- reading ---- */

static float *floats_of(const st_tensor *t)
{
    float *x = malloc((t->elements + 1) * sizeof *x);

    for (size_t i = 0; x && i < t->elements; i++)
        x[i] = (float)st_value(t, i);
    return x;
}

/* Rotate a copy of a tensor before RoPE: halves (j, j + n). */
static float *rotate(const struct options *o, const st_tensor *t, const st_tensor *freq)
{
    int64_t n = freq->shape[0], heads = t->shape[2], d = t->shape[3];
    float *x = floats_of(t);

    for (int64_t at = 0; x && at < t->shape[1] * heads; at++)
        for (int64_t j = 0, token = at / heads; j < n; j++) {
            double angle = (double)token * st_value(freq, (size_t)j), c = cos(angle), s = sin(angle);
            float *a = x + at * d + j, *b = a + n;
            double u = (double)*a, v = (double)*b;

            *a = round_number((float)(u * c - v * s), (clgaze_dtype)o->dtype);
            *b = round_number((float)(v * c + u * s), (clgaze_dtype)o->dtype);
        }
    return x;
}

static int dtype_of(const st_tensor *t)
{
    return t->dtype == ST_F32    ? (int)CLGAZE_F32
           : t->dtype == ST_F16  ? (int)CLGAZE_F16
           : t->dtype == ST_BF16 ? (int)CLGAZE_BF16
                                 : -1;
}

/* q or k after RoPE, given or made from what the gate reads. */
static int load(struct options *o, int seed)
{
    struct input *in = o->input;
    char gate_name[8];
    const st_tensor *t = st_find(in->file, names[seed]), *freq = st_find(in->file, "rope_inv_freq"), *gate;

    snprintf(gate_name, sizeof gate_name, "%s_gate", names[seed]);
    gate = seed == SEED_V ? NULL : st_find(in->file, gate_name);
    if (gate && gate->rank != 4)
        return fail(EXIT_INPUT, "--in %s: %s must have 4 dimensions", o->in, gate_name);
    if (!t && gate && (!freq || freq->rank != 1 || freq->shape[0] * 2 > gate->shape[3]))
        return fail(EXIT_INPUT, "--in %s: without %s a rope_inv_freq of at most D/2 entries is needed", o->in,
                    names[seed]);
    in->x[seed] = t ? floats_of(t) : gate ? rotate(o, gate, freq) : NULL;
    if (seed != SEED_V)
        in->gate[seed] = gate || t ? floats_of(gate ? gate : t) : NULL;
    return in->x[seed] ? 0 : fail(EXIT_INPUT, "--in %s: %s is missing or too large", o->in, names[seed]);
}

static const st_tensor *either(const st_file *file, const char *a, const char *b)
{
    const st_tensor *t = st_find(file, a);

    return t ? t : st_find(file, b);
}

/* The shape of attention is the file's. */
static int take_shape(struct options *o)
{
    const st_file *file = o->input->file;
    const st_tensor *q = either(file, "q", "q_gate"), *k = either(file, "k", "k_gate"), *v = st_find(file, "v");

    if (!q || !k || !v || q->rank != 4 || k->rank != 4 || v->rank != 4)
        return fail(EXIT_INPUT, "--in %s: q (or q_gate), k (or k_gate) and v of 4 dimensions are needed", o->in);
    if (q->shape[0] != 1 || q->shape[1] != k->shape[1] || k->shape[1] != v->shape[1] || q->shape[3] != k->shape[3] ||
        k->shape[2] != v->shape[2] || k->shape[3] != v->shape[3] || q->shape[2] < 1 || k->shape[2] < 1 ||
        q->shape[2] % k->shape[2] || q->shape[1] < 1 || q->shape[3] > 256)
        return fail(EXIT_INPUT,
                    "--in %s: q, k and v must be of batch 1, as many tokens each, as many channels, at most 256",
                    o->in);
    o->dtype = dtype_of(q);
    if (o->dtype < 0 || dtype_of(k) != o->dtype || dtype_of(v) != o->dtype)
        return fail(EXIT_INPUT, "--in %s: q, k and v must be of one type: F32, F16 or BF16", o->in);
    o->n_seq = o->n_heads = o->n_head_dim = 1;
    o->seq[0] = (double)q->shape[1];
    o->heads[0] = (double)q->shape[2];
    o->kv_heads = (int)k->shape[2];
    o->head_dim[0] = (double)q->shape[3];
    return 0;
}

static int take_weights(struct options *o)
{
    const st_tensor *w_k = st_find(o->input->file, "w_k"), *w_q = st_find(o->input->file, "w_q");
    const st_tensor *freq = st_find(o->input->file, "rope_inv_freq");
    clgaze_problem *p = &o->problem;

    p->rope_pairs = freq && freq->rank == 1 ? (int32_t)freq->shape[0] : 0;
    if (!w_k)
        return 0;
    if (w_k->rank != 3 || dtype_of(w_k) < 0 || (w_q && (w_q->rank != 3 || w_q->dtype != w_k->dtype)))
        return fail(EXIT_INPUT, "--in %s: w_k, and w_q if there, must have 3 dimensions and one type", o->in);
    p->weight_dtype = (clgaze_dtype)dtype_of(w_k);
    p->gate_dim = (int32_t)w_k->shape[2];
    p->gate_double = w_q != NULL;
    return 0;
}

/* The file's options, those of the command line over them. */
static int take_options(struct options *o)
{
    struct args none = {0};
    struct settings s;
    int code = settings_read(&none, o->input->file, &s);

    if (code)
        return code;
    if (!s.problem.causal || s.problem.block_q != s.problem.block_k)
        return fail(EXIT_INPUT, "--in %s: only causal attention with one block size is measured here", o->in);
    if (!o->n_block && settings_given(&s, "block"))
        o->block[o->n_block++] = s.problem.block_q;
    if (!o->rule && !o->n_density && settings_given(&s, "value")) {
        o->rule = st_meta(o->input->file, "rule") ? st_meta(o->input->file, "rule") : "topp";
        o->density[o->n_density++] = s.problem.value;
    }
    o->problem = s.problem;
    if (!o->rule)
        o->problem.rule = CLGAZE_RATIO;
    return o->rule ? option_set("rule", o->rule, &o->problem) : 0;
}

int input_open(struct options *o)
{
    char why[ST_WHY];
    int code = 0;

    if (!(o->input = calloc(1, sizeof *o->input)))
        return fail(EXIT_INPUT, "host memory ran out");
    if (st_open(o->in, &o->input->file, why, sizeof why))
        return fail(EXIT_INPUT, "--in %s: %s", o->in, why);
    if ((code = take_options(o)) || (code = take_shape(o)) || (code = take_weights(o)))
        return code;
    for (int seed = SEED_Q; seed <= SEED_V && !code; seed++)
        code = load(o, seed);
    return code;
}

void input_close(struct input *in)
{
    if (!in)
        return;
    for (int i = 0; i < SEED_W; i++)
        free(in->x[i]);
    for (int i = 0; i < SEED_V; i++)
        free(in->gate[i]);
    st_close(in->file);
    free(in);
}

/* ---- to the device ---- */

static int write_floats(struct bench *b, cl_mem mem, const float *x, size_t n, clgaze_dtype dtype)
{
    void *data = malloc(n * clgaze_dtype_size(dtype));
    int code;

    if (!data)
        return fail(EXIT_INPUT, "host memory ran out");
    for (size_t i = 0; i < n; i++)
        put_number(data, i, dtype, x[i]);
    code = bench_write(b, mem, data, n * clgaze_dtype_size(dtype));
    free(data);
    return code;
}

static size_t elements_of(const struct data *d, int seed)
{
    return (size_t)d->seq * (size_t)(seed == SEED_Q ? d->heads : d->kv_heads) * (size_t)d->head_dim;
}

int input_fill(struct bench *b, const struct options *o, const struct data *d, int seed, cl_mem mem)
{
    clgaze_dtype dtype = (clgaze_dtype)o->dtype;

    if (o->input)
        return write_floats(b, mem, o->input->x[seed], elements_of(d, seed), dtype);
    return bench_fill(b, mem, elements_of(d, seed), dtype, (uint64_t)seed, 1);
}

/* Weights and frequencies: the file's, or made up. */
static int fill_tensor(struct work *w, const char *name, const clgaze_tensor *t)
{
    const st_tensor *from = w->o->input ? st_find(w->o->input->file, name) : NULL;
    size_t n = 1;

    for (int i = 0; i < t->rank && t->buffer; i++)
        n *= (size_t)t->shape[i];
    if (!t->buffer)
        return 0;
    if (!from)
        return bench_fill(w->b, t->buffer, n, t->dtype, SEED_W, .02f);
    if (from->elements != n)
        return fail(EXIT_INPUT, "--in %s: %s has %zu numbers, but must have %zu", w->o->in, name, from->elements, n);
    float *x = floats_of(from);
    int code = x ? write_floats(w->b, t->buffer, x, n, t->dtype) : fail(EXIT_INPUT, "host memory ran out");

    free(x);
    return code;
}

static int fill_frequencies(struct work *w, const clgaze_tensor *t)
{
    int pairs = w->problem.rope_pairs;
    float inv_freq[128];

    if (w->o->input || pairs == 0)
        return fill_tensor(w, "rope_inv_freq", t);
    for (int i = 0; i < pairs; i++)
        inv_freq[i] = (float)pow(10000, -(double)i / pairs);
    return bench_write(w->b, t->buffer, inv_freq, (size_t)pairs * sizeof *inv_freq);
}

int input_fill_gate(struct work *w, const clgaze_tensors *t)
{
    const struct input *in = w->o->input;
    clgaze_dtype dtype = (clgaze_dtype)w->o->dtype;
    int code = fill_frequencies(w, &t->rope_inv_freq);

    if (!code && in)
        code = write_floats(w->b, t->q_gate.buffer, in->gate[SEED_Q], elements_of(w->data, SEED_Q), dtype);
    if (!code && in)
        code = write_floats(w->b, t->k_gate.buffer, in->gate[SEED_K], elements_of(w->data, SEED_K), dtype);
    if (!code)
        code = fill_tensor(w, "w_k", &t->w_k);
    return code ? code : fill_tensor(w, "w_q", &t->w_q);
}
