/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_llama_distill.c: clgaze-llama teaches gates; its first loss in plain double.
 *
 * Environment: CLGAZE_LLAMA, the program; without it all is skipped.
 */
#include "harness.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llama_run.h"

enum { POOLS = 3, STEPS = 40 };

#define DISTILL "distill --seq 75 --block 8 --json --out gates.safetensors "

/* Run it. @return The losses, of which there must be `n`. */
static void distill(const char *options, double *losses, int n)
{
    char all[256];

    snprintf(all, sizeof all, DISTILL "--steps %d %s", n, options);
    if (llama_run(all))
        fail_msg("%s: %s", all, llama_err);
    cJSON *root = cJSON_Parse(llama_out);
    const cJSON *list = cJSON_GetObjectItem(root, "losses");
    assert_int_equal(cJSON_GetArraySize(list), n);
    for (int i = 0; i < n; i++)
        losses[i] = cJSON_GetArrayItem(list, i)->valuedouble;
    cJSON_Delete(root);
}

/* max, min and avg of a block, each TINY_DIM wide. */
static void pool(const double *x, int stride, int seq, int block, double y[POOLS * TINY_DIM])
{
    const int first = block * TINY_BLOCK, end = first + TINY_BLOCK < seq ? first + TINY_BLOCK : seq;

    for (int d = 0; d < TINY_DIM; d++) {
        double high = -INFINITY, low = INFINITY, sum = 0;

        for (int t = first; t < end; t++) {
            high = fmax(high, x[t * stride + d]);
            low = fmin(low, x[t * stride + d]);
            sum += x[t * stride + d];
        }
        y[d] = high;
        y[TINY_DIM + d] = low;
        y[2 * TINY_DIM + d] = sum / (end - first);
    }
}

/* The divergence of one head's gate from its truth, rows of the last three quarters. */
static double loss_of_head(const struct tiny_model *m, int seq, int l, int h, const st_tensor *w, int turns)
{
    const struct tiny_layer *of = &m->of[l];
    const int hk = h / (TINY_HEADS / TINY_KV), n = (seq + TINY_BLOCK - 1) / TINY_BLOCK;
    const int from = n / 4, counted = n - from;
    double pooled[POOLS * TINY_DIM], q[TINY_BLOCKS][TINY_DIM], k[TINY_BLOCKS][TINY_DIM], loss = 0;
    double truth[TINY_BLOCKS][TINY_BLOCKS] = {{0}};

    tiny_oracle(seq, of->q[0] + h * TINY_DIM, of->k[0] + hk * TINY_DIM, truth);
    for (int i = 0; i < n; i++) {
        double flat[TINY_DIM] = {0};

        pool(of->q_gate[0] + h * TINY_DIM, TINY_QUERY, seq, i, pooled);
        tiny_turn(m, turns * i * TINY_BLOCK, pooled + 2 * TINY_DIM, q[i]);
        pool(of->k_gate[0] + hk * TINY_DIM, TINY_KEY, seq, i, pooled);
        for (size_t r = 0; r < POOLS * TINY_DIM; r++)
            for (size_t d = 0; d < TINY_DIM; d++)
                flat[d] += pooled[r] * st_value(w, ((size_t)h * POOLS * TINY_DIM + r) * TINY_DIM + d);
        tiny_turn(m, turns * i * TINY_BLOCK, flat, k[i]);
    }
    for (int i = from; i < n; i++) {
        double a[TINY_BLOCKS], sum = 0, all = 0;

        for (int j = 0; j <= i; j++) {
            a[j] = 0;
            for (int d = 0; d < TINY_DIM; d++)
                a[j] += q[i][d] * k[j][d] / sqrt(TINY_DIM);
            sum += exp(a[j]);
            all += truth[i][j];
        }
        for (int j = 0; j <= i; j++)
            loss += truth[i][j] / all * (log(truth[i][j] / all) - a[j] + log(sum)) / counted;
    }
    return loss;
}

/* The rate of the first step is 0, so the file holds the gates that the loss is of. */
static void first_loss_equals_plain_double(void **state)
{
    static const struct {
        int kind, seq, turns;
    } cases[] = {{0, LLAMA_SEQ, 1}, {0, LLAMA_SEQ, 0}, {8, LLAMA_SEQ, 1}, {9, 4 * 32, 1}, {10, 4 * 32, 1}};
    /* yarn of 32: RoPE with a factor */
    static double logits[TINY_SEQ * TINY_VOCAB];
    static struct tiny_model m;

    (void)state;
    for (size_t c = 0; c < CLG_COUNT(cases); c++) {
        const int seq = cases[c].seq, turns = cases[c].turns;
        double got, want = 0;
        char options[96];

        llama_model(&m, &tiny_kinds[cases[c].kind]);
        snprintf(options, sizeof options, "--count 1 --seed 5 --seq %d%s", seq, turns ? "" : " --no-gate-rope");
        distill(options, &got, 1);
        st_file *file = llama_file("gates.safetensors");
        assert_string_equal(st_meta(file, "seerattn_gate_type"), "Qavg_Kmaxminavg");
        assert_true((st_meta(file, "seerattn_use_rope") == NULL) == turns);
        tiny_logits(&m, llama_tokens, seq, logits);
        for (int l = 0; l < TINY_LAYERS; l++) {
            char name[96];

            snprintf(name, sizeof name, "model.layers.%d.self_attn.attn_gate.mask_linear_k.weight", l);
            const st_tensor *w = st_find(file, name);
            assert_true(w && w->rank == 3 && w->shape[1] == POOLS * TINY_DIM);
            for (int h = 0; h < TINY_HEADS; h++)
                want += loss_of_head(&m, seq, l, h, w, turns) / TINY_HEADS / TINY_LAYERS;
        }
        if (!(fabs(got / want - 1) < 1e-4))
            fail_msg("%s: loss %.8g, not %.8g", tiny_kinds[cases[c].kind].name, got, want);
        strcat(options, " --compute f16");
        distill(options, &got, 1);
        if (!(fabs(got / want - 1) < 2e-3))
            fail_msg("%s, f16: loss %.8g, not %.8g", tiny_kinds[cases[c].kind].name, got, want);
        st_close(file);
        tiny_free(&m);
    }
}

/* A step of one sequence and a step of all of them, in both forms. */
static void learns(void **state)
{
    static const char *const options[] = {"--count 1 --lr 0.02", "--count 2 --batch 2 --lr 0.02",
                                          "--count 1 --lr 0.02 --q-pool max,avg"};
    static struct tiny_model m;
    double losses[STEPS], density;

    (void)state;
    llama_model(&m, &tiny_kinds[0]);
    tiny_free(&m);
    for (size_t i = 0; i < CLG_COUNT(options); i++) {
        distill(options[i], losses, STEPS);
        if (!(losses[STEPS - 1] < 0.8 * losses[0]))
            fail_msg("%s: loss from %g to %g", options[i], losses[0], losses[STEPS - 1]);
        llama_perplexity("--gates gates.safetensors --rule topp --value 0.7", &density);
        assert_true(density > 0 && density < 1);
    }
}

/* Truth of what yarn makes of four times the tokens that the model was trained for. */
static const struct tiny_model *taught;
static const st_file *captured;

static void from_capture(struct test_case *c)
{
    memcpy(c->data[A_Q], st_find(captured, "q")->data, array_bytes(c, A_Q));
    memcpy(c->data[A_K], st_find(captured, "k")->data, array_bytes(c, A_K));
    c->absent = BIT(A_V) | BIT(A_OUT) | BIT(A_LSE);
}

static void truth_of(struct test_case *c)
{
    const struct tiny_layer *of = &taught->of[TINY_LAYERS - 1];
    static float want[TINY_HEADS * TINY_BLOCKS * TINY_BLOCKS];

    for (int h = 0; h < TINY_HEADS; h++) {
        double w[TINY_BLOCKS][TINY_BLOCKS] = {{0}};

        tiny_oracle(TINY_SEQ, of->q[0] + h * TINY_DIM, of->k[0] + h / (TINY_HEADS / TINY_KV) * TINY_DIM, w);
        for (int i = 0; i < TINY_BLOCKS; i++) {
            double all = 0;

            for (int j = 0; j < TINY_BLOCKS; j++)
                all += w[i][j];
            for (int j = 0; j < TINY_BLOCKS; j++)
                want[(h * TINY_BLOCKS + i) * TINY_BLOCKS + j] = (float)(w[i][j] / all);
        }
    }
    assert_int_equal(array_count(c, A_TRUTH), CLG_COUNT(want));
    assert_near(c, A_TRUTH, want);
}

static void truth_through_yarn_equals_plain_double(void **state)
{
    static double logits[TINY_SEQ * TINY_VOCAB];
    static struct tiny_model m;
    const struct shape shape = {.batch = 1, .sq = TINY_SEQ, .sk = TINY_SEQ};

    (void)state;
    assert_int_equal(TINY_SEQ, 4 * 32);
    for (int kind = 8; kind <= 10; kind++) {
        clgaze_problem p = problem(CLGAZE_F32, TINY_HEADS, TINY_KV, TINY_DIM, TINY_BLOCK, TINY_BLOCK);
        struct test_case c;

        llama_model(&m, &tiny_kinds[kind]);
        if (llama_run("capture --seq 128 --layer 1 --out captured"))
            fail_msg("%s", llama_err);
        st_file *file = llama_file("captured");
        tiny_logits(&m, llama_tokens, TINY_SEQ, logits);
        taught = &m;
        captured = file;
        fit_maxima(&p, &shape, 1);
        case_make(&c, CLGAZE_TRUTH, &p, &shape, from_capture, 1);
        clgaze_plan *plan = plan_of(CLGAZE_TRUTH, &p);
        run_or_fail(&c, CLGAZE_TRUTH, plan);
        truth_of(&c);
        clgaze_plan_free(plan);
        case_free(&c);
        st_close(file);
        tiny_free(&m);
    }
}

/* Loss and gradients of layer 1 of the first step; m of AdamW is then a tenth of the gradient. */
static double *first_step(const char *options, double *loss, size_t *n)
{
    distill(options, loss, 1);
    st_file *file = llama_file("gates.safetensors.checkpoint");
    const st_tensor *t = st_find(file, "1.moments_k");
    assert_non_null(t);
    *n = t->elements / 2;
    double *m = calloc(*n, sizeof *m);
    for (size_t i = 0; i < *n; i++)
        m[i] = st_value(t, i);
    st_close(file);
    return m;
}

static void a_batch_is_the_mean_of_its_sequences(void **state)
{
    static struct tiny_model model;
    double loss[2], of_batch, *m[2], off = 0, apart = 0, norm = 0;
    uint16_t kept[LLAMA_SEQ + 1];
    size_t n;

    (void)state;
    llama_model(&model, &tiny_kinds[0]);
    tiny_free(&model);
    double *both = first_step("--count 2 --batch 2", &of_batch, &n);
    m[0] = first_step("--count 1", &loss[0], &n);
    memcpy(kept, llama_tokens, sizeof kept);
    memmove(llama_tokens, llama_tokens + LLAMA_SEQ, (LLAMA_SEQ + 1) * sizeof *llama_tokens);
    llama_text(LLAMA_SEQ + 1);
    m[1] = first_step("--count 1", &loss[1], &n);
    memcpy(llama_tokens, kept, sizeof kept);
    for (size_t i = 0; i < n; i++) {
        off += pow(both[i] - (m[0][i] + m[1][i]) / 2, 2);
        apart += pow(m[0][i] - m[1][i], 2);
        norm += pow(both[i], 2);
    }
    free(both);
    free(m[0]);
    free(m[1]);
    assert_true(fabs(loss[0] / loss[1] - 1) > 1e-4 && apart > 1e-4 * norm); /* they differ */
    if (!(fabs(of_batch / (loss[0] + loss[1]) * 2 - 1) < 1e-5))
        fail_msg("loss %.8g, but of the sequences %.8g and %.8g", of_batch, loss[0], loss[1]);
    if (!(off <= 1e-10 * norm))
        fail_msg("the gradient is off by %.3g of its norm", sqrt(off / norm));
}

static void again_gives_the_same_bits(void **state)
{
    double first[4], second[4];

    (void)state;
    distill("--seed 9", first, 4);
    st_file *one = llama_file("gates.safetensors");
    distill("--seed 9", second, 4);
    st_file *two = llama_file("gates.safetensors");
    assert_memory_equal(first, second, sizeof first);
    assert_int_equal(one->n_tensors, TINY_LAYERS);
    for (size_t i = 0; i < one->n_tensors; i++)
        assert_memory_equal(one->tensors[i].data, two->tensors[i].data, one->tensors[i].bytes);
    st_close(one);
    st_close(two);
    distill("--seed 8", second, 4);
    assert_true(first[0] != second[0]);
}

static void refuses(void **state)
{
    (void)state;
    llama_refused("distill --seq 75 --out x", "--steps");
    llama_refused("distill --seq 75 --steps 2", "--out");
    llama_refused("distill --seq 75 --steps 2 --out x --rule window", "random|--rule");
    llama_refused("distill --seq 75 --steps 2 --out x --lr 0", "--lr|above 0");
    llama_refused("distill --seq 75 --steps 2 --out x --q-pool most", "q-pool|most");
    llama_refused("distill --seq 151 --steps 2 --out x", "151|152");
    llama_refused(LLAMA_PPL "--q-pool max", "--q-pool|ppl");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_loss_equals_plain_double),
        cmocka_unit_test(truth_through_yarn_equals_plain_double),
        cmocka_unit_test(a_batch_is_the_mean_of_its_sequences),
        cmocka_unit_test(learns),
        cmocka_unit_test(again_gives_the_same_bits),
        cmocka_unit_test(refuses),
    };

    return llama_tests(tests, CLG_COUNT(tests));
}
