/* SPDX-License-Identifier: Apache-2.0 */
/* A prefill of 1,048,576 tokens at a low density, in slices of 64 MB of scores; some rows against ref/.  Label: long.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

enum { TOKENS = 1 << 20, DIM = 32, BLOCK = 64, BLOCKS = TOKENS / BLOCK, KEEP = 4, WIDTH = KEEP + 2, PAIRS = 8 };

/* One head: q is the gate's too, and so is k. */
static float *q, *k, *v, *out, w_k[3 * DIM * DIM], inv_freq[PAIRS];
static int32_t *counts, *blocks;

static clgaze_problem one_million(void)
{
    clgaze_problem p = problem(CLGAZE_F16, 1, 1, DIM, BLOCK, BLOCK);

    p.max_q = p.max_k = TOKENS;
    p.rope_pairs = PAIRS;
    p.rule = CLGAZE_TOP_K;
    p.value = KEEP;
    p.sink = p.local = 1;
    p.width = WIDTH;
    return p;
}

/* Neighbouring tokens are alike, so that blocks differ from each other. */
static float *tokens(struct rng *r)
{
    float *x = malloc(sizeof(float) * TOKENS * DIM), base[DIM] = {0};

    assert_non_null(x);
    for (int t = 0; t < TOKENS; t++)
        for (int d = 0; d < DIM; d++) {
            if (t % BLOCK == 0)
                base[d] = (float)below(r, 2049) / 1024 - 1;
            x[(size_t)t * DIM + (size_t)d] = rounded(base[d] + (float)below(r, 257) / 512 - 0.25f, CLGAZE_F16);
        }
    return x;
}

static int make_numbers(void **state)
{
    struct rng r = seeded(1);

    (void)state;
    q = tokens(&r);
    k = tokens(&r);
    v = tokens(&r);
    out = malloc(sizeof(float) * TOKENS * DIM);
    counts = malloc(sizeof *counts * BLOCKS);
    blocks = malloc(sizeof *blocks * BLOCKS * WIDTH);
    for (int i = 0; i < 3 * DIM * DIM; i++)
        w_k[i] = normal(&r) / 10;
    for (int i = 0; i < PAIRS; i++)
        inv_freq[i] = powf(10000, -(float)i / PAIRS);
    return out && counts && blocks ? 0 : -1;
}

static int drop_numbers(void **state)
{
    (void)state;
    free(q), free(k), free(v), free(out), free(counts), free(blocks);
    return 0;
}

/* ---- on the device ------------------------------------------------------------------ */

/* A buffer of n elements, with `from` in it if that is given. */
static cl_mem buffer_of(const float *from, size_t n, clgaze_dtype dtype)
{
    const size_t size = clgaze_dtype_size(dtype);
    unsigned char *raw = from ? malloc(n * size) : NULL;
    cl_int err;
    cl_mem mem;

    for (size_t i = 0; from && i < n; i++)
        put_float(raw + i * size, from[i], dtype);
    mem = clCreateBuffer(clgaze_context_cl(test_context()), raw ? CL_MEM_COPY_HOST_PTR : 0, n * size, raw, &err);
    assert_int_equal(err, CL_SUCCESS);
    free(raw);
    return mem;
}

static void read_back(const clgaze_tensors *t)
{
    cl_command_queue queue = test_queue();
    unsigned char *raw = malloc((size_t)TOKENS * DIM * 2);

    assert_non_null(raw);
    assert_int_equal(
        clEnqueueReadBuffer(queue, t->out.buffer, CL_TRUE, 0, (size_t)TOKENS * DIM * 2, raw, 0, NULL, NULL),
        CL_SUCCESS);
    for (size_t i = 0; i < (size_t)TOKENS * DIM; i++)
        out[i] = get_float(raw + i * 2, CLGAZE_F16);
    free(raw);
    assert_int_equal(
        clEnqueueReadBuffer(queue, t->counts.buffer, CL_TRUE, 0, sizeof *counts * BLOCKS, counts, 0, NULL, NULL),
        CL_SUCCESS);
    assert_int_equal(clEnqueueReadBuffer(queue, t->blocks.buffer, CL_TRUE, 0, sizeof *blocks * BLOCKS * WIDTH, blocks,
                                         0, NULL, NULL),
                     CL_SUCCESS);
}

static void prefill(const clgaze_plan *plan)
{
    static const int64_t token[] = {1, TOKENS, 1, DIM}, matrix[] = {1, 3 * DIM, DIM}, pairs[] = {PAIRS};
    static const int64_t count[] = {1, 1, BLOCKS}, list[] = {1, 1, BLOCKS, WIDTH};
    const size_t n = (size_t)TOKENS * DIM;
    cl_mem work = buffer_of(NULL, clgaze_plan_workspace(plan) / 4 + 1, CLGAZE_F32);
    const clgaze_call call = {.queue = test_queue(), .workspace = work};
    clgaze_tensors t;
    clgaze_tensor *each = &t.q;

    memset(&t, 0, sizeof t);
    t.q = t.q_gate = clgaze_tensor_compact(buffer_of(q, n, CLGAZE_F16), 0, CLGAZE_F16, 4, token);
    t.k = t.k_gate = clgaze_tensor_compact(buffer_of(k, n, CLGAZE_F16), 0, CLGAZE_F16, 4, token);
    t.v = clgaze_tensor_compact(buffer_of(v, n, CLGAZE_F16), 0, CLGAZE_F16, 4, token);
    t.out = clgaze_tensor_compact(buffer_of(NULL, n, CLGAZE_F16), 0, CLGAZE_F16, 4, token);
    t.w_k = clgaze_tensor_compact(buffer_of(w_k, 3 * DIM * DIM, CLGAZE_F32), 0, CLGAZE_F32, 3, matrix);
    t.rope_inv_freq = clgaze_tensor_compact(buffer_of(inv_freq, PAIRS, CLGAZE_F32), 0, CLGAZE_F32, 1, pairs);
    t.counts = clgaze_tensor_compact(buffer_of(NULL, BLOCKS, CLGAZE_F32), 0, CLGAZE_I32, 3, count);
    t.blocks = clgaze_tensor_compact(buffer_of(NULL, BLOCKS * WIDTH, CLGAZE_F32), 0, CLGAZE_I32, 4, list);
    assert_ok(clgaze_prefill(plan, &t, &call));
    assert_int_equal(clFinish(call.queue), CL_SUCCESS);
    read_back(&t);
    t.q_gate.buffer = t.k_gate.buffer = NULL; /* those of q and k */
    for (int id = 0; id < ARRAYS; id++)
        if (each[id].buffer)
            clReleaseMemObject(each[id].buffer);
    clReleaseMemObject(work);
}

/* ---- against ref/ ---------------------------------------------------------------------- */

/* The scores of query block i: those of the block alone behind as many keys. */
static void scores_of(const clgaze_problem *p, struct clg_ref *r, int i)
{
    *r = (struct clg_ref){.batch = 1, .sq = BLOCK, .sk = (i + 1) * BLOCK, .score_heads = 1, .width = WIDTH};
    r->q = r->q_gate = q + (size_t)i * BLOCK * DIM;
    r->k = r->k_gate = k;
    r->v = v;
    r->w_k = w_k;
    r->rope_inv_freq = inv_freq;
    r->q_pooled = calloc(DIM, sizeof(float));
    r->q_gated = calloc(DIM, sizeof(float));
    r->k_pooled = calloc((size_t)BLOCKS * 3 * DIM, sizeof(float));
    r->k_gated = calloc((size_t)BLOCKS * DIM, sizeof(float));
    r->scores = calloc(BLOCKS, sizeof(float));
    r->out = calloc((size_t)BLOCK * DIM, sizeof(float));
    assert_true(r->q_pooled && r->q_gated && r->k_pooled && r->k_gated && r->scores && r->out);
    clg_ref_pool(p, r);
    clg_ref_gate(p, r);
    clg_ref_score(p, r);
}

/* KEEP blocks have the highest scores, the first and the last are kept too; a score is off by 1e-4 at most. */
static void check_row(const clgaze_problem *p, int i)
{
    const int32_t *list = blocks + (size_t)i * WIDTH;
    int above[WIDTH] = {0}, n = counts[i], chosen = 0;
    struct clg_ref r;

    scores_of(p, &r, i);
    assert_in_range(n, 1, WIDTH);
    assert_true(list[0] == 0 && list[n - 1] == i);
    for (int e = 0; e < n; e++) {
        assert_true(e == 0 || list[e] > list[e - 1]);
        assert_in_range(list[e], 0, i);
        for (int j = 0; j <= i; j++)
            above[e] += r.scores[j] > r.scores[list[e]] + 1e-4f;
        chosen += above[e] < KEEP;
        if (above[e] >= KEEP && list[e] != 0 && list[e] != i)
            fail_msg("row %d keeps block %d, but %d have higher scores", i, list[e], above[e]);
    }
    assert_true(chosen >= (i + 1 < KEEP ? i + 1 : KEEP));
    r.counts = &n;
    r.blocks = (int32_t *)(uintptr_t)list;
    clg_ref_attend(p, &r);
    for (int x = 0; x < BLOCK * DIM; x++)
        if (!(fabsf(out[(size_t)i * BLOCK * DIM + (size_t)x] - r.out[x]) < 2e-3f))
            fail_msg("row %d: out[%d] is %g, not %g", i, x, (double)out[(size_t)i * BLOCK * DIM + (size_t)x],
                     (double)r.out[x]);
    free(r.q_pooled), free(r.q_gated), free(r.k_pooled), free(r.k_gated), free(r.scores), free(r.out);
}

static void a_million_tokens(void **state)
{
    static const int rows[] = {0, 1, 5, 1023, 1024, 8191, 8192, 12345, BLOCKS - 2, BLOCKS - 1};
    const clgaze_problem p = one_million();
    clgaze_plan *plan = plan_of(CLGAZE_PREFILL, &p);
    const size_t scores = plan->at[CLG_AT_COUNTS] - plan->at[CLG_AT_SCORES];

    (void)state;
    printf("%d rows of scores a slice, %zu bytes; workspace %zu bytes\n", plan->slice, scores, plan->workspace);
    assert_true(plan->slice < BLOCKS && scores <= CLG_SLICE_BYTES);
    prefill(plan);
    clgaze_plan_free(plan);
    for (size_t i = 0; i < CLG_COUNT(rows); i++)
        check_row(&p, rows[i]);
    for (int i = 0; i < BLOCKS; i++) { /* each row has a list, each token a number */
        assert_in_range(counts[i], i < WIDTH ? 1 : KEEP, WIDTH);
        assert_int_equal(blocks[(size_t)i * WIDTH + (size_t)counts[i] - 1], i);
        assert_true(isfinite(out[(size_t)i * BLOCK * DIM]) && out[(size_t)i * BLOCK * DIM] != 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_million_tokens, make_numbers, drop_numbers),
    };

    return TEST_MAIN(tests);
}
