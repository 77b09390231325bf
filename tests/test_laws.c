/* SPDX-License-Identifier: Apache-2.0 */
/* Laws of attend: what must hold whatever the numbers are.  Label: unit. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

/* Lengths that end inside a block; queries at the end of the keys; queries before the first key. */
static struct shape ragged[] = {
    {.batch = 2, .sq = 33, .sk = 77},
    {.batch = 1, .sq = 97, .sk = 97},
    {.batch = 1, .sq = 70, .sk = 17},
};

static clgaze_problem attend_problem(clgaze_lists lists, int causal)
{
    clgaze_problem p = problem(CLGAZE_F32, tiny() ? 4 : 6, 2, tiny() ? 8 : 32, 16, 8);

    p.lists = lists;
    p.causal = causal;
    p.lse = 1;
    return p;
}

static void check(clgaze_problem p, void (*law)(const clgaze_problem *p))
{
    fit_maxima(&p, ragged, CLG_COUNT(ragged));
    every_kernel(CLGAZE_ATTEND, &p, law);
}

static void ones(struct test_case *c)
{
    float *v = c->data[A_V];

    for (size_t i = 0; i < array_count(c, A_V); i++)
        v[i] = 1;
}

/* Rows with a key give 1, rows without one 0; answers how many of the latter. */
static int check_sums(const struct test_case *c)
{
    const float *out = c->data[A_OUT], *lse = c->want[A_LSE];
    const int heads = c->p.q_heads, dim = c->p.head_dim;
    int blind = 0;

    for (int b = 0; b < c->n.batch; b++)
        for (int t = 0; t < c->n.sq; t++)
            for (int h = 0; h < heads; h++) {
                bool sees = lse[((size_t)b * (size_t)heads + (size_t)h) * (size_t)c->n.sq + (size_t)t] > -INFINITY;

                for (int d = 0; d < dim; d++, out++)
                    if (!(fabsf(*out - (sees ? 1.0f : 0.0f)) <= 1e-5f))
                        fail_msg("%s: batch %d, token %d, head %d, channel %d: weights sum to %.9g", c->p.kernel, b,
                                 t, h, d, (double)*out);
                blind += !sees;
            }
    return blind;
}

static void sums(const clgaze_problem *p)
{
    clgaze_plan *plan = plan_of(CLGAZE_ATTEND, p);
    int blind = 0;

    for (size_t i = 0; i < CLG_COUNT(ragged); i++) {
        struct test_case c;

        case_make(&c, CLGAZE_ATTEND, p, &ragged[i], ones, i);
        run_or_fail(&c, CLGAZE_ATTEND, plan);
        blind += check_sums(&c);
        case_free(&c);
    }
    assert_true(blind > 0); /* both kinds of rows were there */
    clgaze_plan_free(plan);
}

static void weights_sum_to_one(void **state)
{
    (void)state;
    check(attend_problem(CLGAZE_LISTS_BLOCKS, 1), sums);
    check(attend_problem(CLGAZE_LISTS_BLOCKS, 0), sums);
    check(attend_problem(CLGAZE_LISTS_DENSE, 1), sums);
}

/* attend(a v1 + b v2) = a attend(v1) + b attend(v2) */
static void linear(const clgaze_problem *p)
{
    const float a = 0.75f, b = -1.5f;
    clgaze_plan *plan = plan_of(CLGAZE_ATTEND, p);
    struct test_case c;
    float *v, *v1, *out1;
    size_t n, n_out;

    case_make(&c, CLGAZE_ATTEND, p, &ragged[0], NULL, 11);
    n = array_count(&c, A_V);
    n_out = array_count(&c, A_OUT);
    v = c.data[A_V];
    run_or_fail(&c, CLGAZE_ATTEND, plan);
    v1 = array_copy(&c, A_V);
    out1 = array_copy(&c, A_OUT);
    for (size_t i = 0; i < n; i++)
        v[i] = normal(&c.rng);
    run_or_fail(&c, CLGAZE_ATTEND, plan);
    for (size_t i = 0; i < n; i++)
        v[i] = a * v1[i] + b * v[i];
    for (size_t i = 0; i < n_out; i++)
        out1[i] = a * out1[i] + b * ((float *)c.data[A_OUT])[i];
    run_or_fail(&c, CLGAZE_ATTEND, plan);
    assert_near(&c, A_OUT, out1);
    free(v1);
    free(out1);
    case_free(&c);
    clgaze_plan_free(plan);
}

static void linear_in_v(void **state)
{
    (void)state;
    check(attend_problem(CLGAZE_LISTS_BLOCKS, 1), linear);
    check(attend_problem(CLGAZE_LISTS_DENSE, 1), linear);
}

static void swap_tokens(const struct test_case *c, enum array id, int batch, int t, int u)
{
    const size_t token = (size_t)c->p.kv_heads * (size_t)c->p.head_dim;
    float *x = (float *)c->data[id] + (size_t)batch * (size_t)c->n.sk * token;

    for (size_t i = 0; i < token; i++) {
        float kept = x[(size_t)t * token + i];

        x[(size_t)t * token + i] = x[(size_t)u * token + i];
        x[(size_t)u * token + i] = kept;
    }
}

/* Keys, and their values with them, in another order within each block. */
static void permute_keys(struct test_case *c)
{
    for (int b = 0; b < c->n.batch; b++)
        for (int first = 0; first < c->n.sk; first += c->p.block_k) {
            int n = c->n.sk - first < c->p.block_k ? c->n.sk - first : c->p.block_k;

            for (int i = n - 1; i > 0; i--) { /* never itself: every key moves */
                int other = (int)below(&c->rng, (uint32_t)i);

                swap_tokens(c, A_K, b, first + i, first + other);
                swap_tokens(c, A_V, b, first + i, first + other);
            }
        }
}

static void permuted(const clgaze_problem *p)
{
    clgaze_plan *plan = plan_of(CLGAZE_ATTEND, p);
    struct test_case c;
    float *out, *lse;

    case_make(&c, CLGAZE_ATTEND, p, &ragged[0], NULL, 12);
    run_or_fail(&c, CLGAZE_ATTEND, plan);
    out = array_copy(&c, A_OUT);
    lse = array_copy(&c, A_LSE);
    permute_keys(&c);
    run_or_fail(&c, CLGAZE_ATTEND, plan);
    assert_near(&c, A_OUT, out);
    assert_near(&c, A_LSE, lse);
    free(out);
    free(lse);
    case_free(&c);
    clgaze_plan_free(plan);
}

static void keys_permuted_in_a_block(void **state)
{
    (void)state;
    check(attend_problem(CLGAZE_LISTS_BLOCKS, 0), permuted);
    check(attend_problem(CLGAZE_LISTS_DENSE, 0), permuted);
}

/* Lists of every block that there is, in the form that the problem names. */
static void keep_all(struct test_case *c)
{
    int32_t *counts = c->data[A_COUNTS], *blocks = c->data[A_BLOCKS], *indptr = c->data[A_INDPTR];
    const int32_t nk = (c->n.sk + c->p.block_k - 1) / c->p.block_k;

    if (c->p.lists == CLGAZE_LISTS_MASK)
        memset(c->data[A_MASK], 1, array_count(c, A_MASK));
    for (size_t i = 0; counts && i < array_count(c, A_COUNTS); i++)
        counts[i] = nk;
    for (size_t i = 0; blocks && i < array_count(c, A_BLOCKS); i++)
        blocks[i] = (int32_t)i % nk;
    for (size_t i = 0; indptr && i < array_count(c, A_INDPTR); i++)
        indptr[i] = (int32_t)i * nk;
    for (size_t i = 0; indptr && i < array_count(c, A_INDICES); i++)
        ((int32_t *)c->data[A_INDICES])[i] = (int32_t)i % nk;
}

static void whole(const clgaze_problem *p)
{
    clgaze_problem dense = *p;
    clgaze_plan *listed_plan = plan_of(CLGAZE_ATTEND, p), *dense_plan;

    dense.lists = CLGAZE_LISTS_DENSE;
    dense_plan = plan_of(CLGAZE_ATTEND, &dense);
    for (size_t i = 0; i < CLG_COUNT(ragged); i++) {
        struct test_case c;
        float *out, *lse;

        case_make(&c, CLGAZE_ATTEND, p, &ragged[i], keep_all, 13 + i);
        run_or_fail(&c, CLGAZE_ATTEND, listed_plan);
        out = array_copy(&c, A_OUT);
        lse = array_copy(&c, A_LSE);
        c.p.lists = CLGAZE_LISTS_DENSE;
        run_or_fail(&c, CLGAZE_ATTEND, dense_plan);
        assert_near(&c, A_OUT, out);
        assert_near(&c, A_LSE, lse);
        free(out);
        free(lse);
        case_free(&c);
    }
    clgaze_plan_free(listed_plan);
    clgaze_plan_free(dense_plan);
}

static void every_block_kept_is_dense(void **state)
{
    (void)state;
    for (int lists = CLGAZE_LISTS_BLOCKS; lists <= CLGAZE_LISTS_CSR; lists++) {
        clgaze_problem p = attend_problem((clgaze_lists)lists, 1);

        p.scope = (clgaze_scope)(lists - CLGAZE_LISTS_BLOCKS);
        check(p, whole);
    }
}

/* ---- the same in two products ----------------------------------------------------------- */

#ifdef CLGAZE_HAVE_CLBLAST

#include <clblast_c.h>

/* c = factor a b, or a transposed b; all row-major and compact; c comes back to the host. */
static void multiply(CLBlastTranspose turn, const float *a, const float *b, float *c, size_t m, size_t n, size_t k,
                     float factor)
{
    const size_t bytes[] = {m * k * 4, k * n * 4, m * n * 4};
    const float *from[] = {a, b, c};
    cl_command_queue queue = test_queue();
    cl_mem x[3];
    cl_int err = CL_SUCCESS;

    for (int i = 0; i < 3; i++) {
        x[i] = clCreateBuffer(clgaze_context_cl(test_context()), CL_MEM_READ_WRITE, bytes[i], NULL, &err);
        assert_int_equal(err, CL_SUCCESS);
        err = clEnqueueWriteBuffer(queue, x[i], CL_TRUE, 0, bytes[i], from[i], 0, NULL, NULL);
        assert_int_equal(err, CL_SUCCESS);
    }
    assert_int_equal(CLBlastSgemm(CLBlastLayoutRowMajor, CLBlastTransposeNo, turn, m, n, k, factor, x[0], 0, k, x[1],
                                  0, turn == CLBlastTransposeNo ? n : k, 0.0f, x[2], 0, n, &queue, NULL),
                     CLBlastSuccess);
    assert_int_equal(clEnqueueReadBuffer(queue, x[2], CL_TRUE, 0, bytes[2], c, 0, NULL, NULL), CL_SUCCESS);
    for (int i = 0; i < 3; i++)
        clReleaseMemObject(x[i]);
}

/* The causal softmax of a row of n scores of which `seen` count. */
static float softmax(float *x, int n, int seen)
{
    float top = -INFINITY;
    double sum = 0;

    for (int i = 0; i < seen; i++)
        top = fmaxf(top, x[i]);
    for (int i = 0; i < seen; i++)
        sum += exp((double)x[i] - (double)top);
    for (int i = 0; i < n; i++)
        x[i] = i < seen ? (float)(exp((double)x[i] - (double)top) / sum) : 0;
    return (float)((double)top + log(sum));
}

static void unfused(const clgaze_problem *p)
{
    const struct shape n = {.batch = 1, .sq = tiny() ? 25 : 97, .sk = tiny() ? 37 : 125};
    clgaze_problem fitted = *p;
    clgaze_plan *plan;
    struct test_case c;
    float *s = calloc((size_t)n.sq * (size_t)n.sk, sizeof *s), *want, *lse;

    assert_non_null(s);
    fit_maxima(&fitted, &n, 1);
    plan = plan_of(CLGAZE_ATTEND, &fitted);
    case_make(&c, CLGAZE_ATTEND, &fitted, &n, NULL, 16);
    want = array_copy(&c, A_OUT);
    lse = array_copy(&c, A_LSE);
    multiply(CLBlastTransposeYes, c.data[A_Q], c.data[A_K], s, (size_t)n.sq, (size_t)n.sk, (size_t)p->head_dim,
             1 / sqrtf((float)p->head_dim));
    for (int t = 0; t < n.sq; t++)
        lse[t] = softmax(s + (size_t)t * (size_t)n.sk, n.sk, n.sk - n.sq + t + 1);
    multiply(CLBlastTransposeNo, s, c.data[A_V], want, (size_t)n.sq, (size_t)p->head_dim, (size_t)n.sk, 1);
    run_or_fail(&c, CLGAZE_ATTEND, plan);
    assert_near(&c, A_OUT, want);
    assert_near(&c, A_LSE, lse);
    free(s);
    free(want);
    free(lse);
    case_free(&c);
    clgaze_plan_free(plan);
}

static void dense_is_two_products(void **state)
{
    clgaze_problem p = attend_problem(CLGAZE_LISTS_DENSE, 1);

    (void)state;
    p.q_heads = p.kv_heads = 1;
    check(p, unfused);
    assert_int_equal(CLBlastClearCache(), CLBlastSuccess); /* it holds the context */
}

#else

static void dense_is_two_products(void **state)
{
    (void)state;
    printf("SKIPPED: this build has no CLBlast to multiply with\n");
    skip();
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_sum_to_one),       cmocka_unit_test(linear_in_v),
        cmocka_unit_test(keys_permuted_in_a_block), cmocka_unit_test(every_block_kept_is_dense),
        cmocka_unit_test(dense_is_two_products),
    };

    if (tiny()) { /* the same three, shorter */
        ragged[0].sq = 9;
        ragged[0].sk = 21;
        ragged[1].sq = ragged[1].sk = 25;
        ragged[2].sq = 18;
        ragged[2].sk = 5;
    }
    return TEST_MAIN(tests);
}
