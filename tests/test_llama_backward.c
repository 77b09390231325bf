/*
 * test_llama_backward.c: gradients of tiny models against differences of plain double
 * arithmetic, and what must hold of them.
 *
 * Every buffer that is made here begins as NaN and has NaN behind it, so that what is read
 * before it is written, or outside, shows in the results; what is written behind it is found
 * when it is released.
 */
#include "backward.h"
#include "fail.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "llama_run.h"

/* ---- guards ------------------------------------------------------------------------ */

enum { GUARD = 4096, BUFFERS = 4096 };

static struct {
    cl_mem mem;
    size_t bytes;
} made[BUFFERS];
static int n_made, n_damaged;
static cl_command_queue guard_queue; /* NULL: nothing is looked at */

cl_mem __real_clCreateBuffer(cl_context context, cl_mem_flags flags, size_t bytes, void *host, cl_int *err);
cl_int __real_clReleaseMemObject(cl_mem mem);
cl_mem __wrap_clCreateBuffer(cl_context context, cl_mem_flags flags, size_t bytes, void *host, cl_int *err);
cl_int __wrap_clReleaseMemObject(cl_mem mem);

cl_mem __wrap_clCreateBuffer(cl_context context, cl_mem_flags flags, size_t bytes, void *host, cl_int *err)
{
    unsigned char *full = malloc(bytes + GUARD);

    assert_true(full && n_made < BUFFERS && !(flags & CL_MEM_USE_HOST_PTR));
    memset(full, 0xff, bytes + GUARD);
    if (host)
        memcpy(full, host, bytes);
    made[n_made].mem = __real_clCreateBuffer(context, flags | CL_MEM_COPY_HOST_PTR, bytes + GUARD, full, err);
    made[n_made].bytes = bytes;
    free(full);
    return made[n_made++].mem;
}

static void look(cl_mem mem)
{
    unsigned char after[GUARD];

    for (int i = 0; i < n_made; i++)
        if (made[i].mem == mem) {
            if (guard_queue)
                assert_int_equal(
                    clEnqueueReadBuffer(guard_queue, mem, CL_TRUE, made[i].bytes, GUARD, after, 0, NULL, NULL), 0);
            for (int at = 0; guard_queue && at < GUARD; at++)
                n_damaged += after[at] != 0xff;
            made[i] = made[--n_made];
            return;
        }
}

cl_int __wrap_clReleaseMemObject(cl_mem mem)
{
    cl_uint count = 0;

    if (!clGetMemObjectInfo(mem, CL_MEM_REFERENCE_COUNT, sizeof count, &count, NULL) && count == 1)
        look(mem);
    return __real_clReleaseMemObject(mem);
}

/* ---- a model, its gradients ----------------------------------------------------------- */

enum { SEQ = 21 }; /* three blocks, the last of five tokens */

/* What attention does; rules are those of tiny_rules.c. */
struct way {
    const char *name;
    enum source source;
    clgaze_rule rule;
    int value, sink, local;
    struct tiny_rule tiny;
};

static const struct way dense = {"dense", FROM_NOTHING, CLGAZE_TOP_K, 0, 0, 0, {NULL, 0, 0, 0}};

struct pass {
    struct tiny_model tiny;
    struct config config;
    struct model model;
    struct gates gates;
    struct attention attention;
    struct backward backward;
    double loss;
};

static struct machine machine;
static cl_int tokens[SEQ + 1];

static int devices(void **state)
{
    (void)state;
    fail_setup("test_llama_backward", 0);
    if (clgaze_device_list(NULL, 0) == 0)
        return 0;
    const int code = machine_open(getenv("CLGAZE_TEST_DEVICE"), 0, &machine);
    guard_queue = machine.device.queue;
    return code ? code : machine_build(&machine);
}

static int close_device(void **state)
{
    (void)state;
    guard_queue = NULL;
    machine_close(&machine);
    return 0;
}

/* Load the files in f32, and make all that a backward pass needs. */
static void pass_make(struct pass *p, const struct way *way, int seq)
{
    struct checkpoint checkpoint = {.n = 0};
    clgaze_problem problem = clgaze_problem_default();

    if (!machine.program)
        skip();
    for (int t = 0; t <= SEQ; t++)
        tokens[t] = t % 7 == 3 ? 11 : llama_tokens[t]; /* one of them often */
    assert_int_equal(config_read(llama_folder, &p->config), 0);
    assert_int_equal(checkpoint_open(llama_folder, &checkpoint), 0);
    assert_int_equal(model_load(&machine, &p->config, &checkpoint, 1, &p->model), 0);
    checkpoint_close(&checkpoint);
    problem.block_q = problem.block_k = TINY_BLOCK;
    problem.rule = way->rule;
    problem.value = way->value;
    problem.sink = way->sink;
    problem.local = way->local;
    problem.lse = 1;
    if (way->source == FROM_MEANPOOL) {
        gates_identity(&p->config, &problem, &p->gates);
        assert_int_equal(gates_load(&machine, &p->config, &problem, &p->gates), 0);
    }
    assert_int_equal(attention_plan(&machine, &p->config, seq, &problem, way->source, &p->gates, &p->attention), 0);
    assert_int_equal(attention_make(&machine, &p->attention), 0);
    backward_plan(&p->backward, &p->config, seq, &p->attention, 0);
    p->backward.forward.machine = &machine;
    p->backward.forward.model = &p->model;
    assert_int_equal(backward_make(&p->backward), 0);
}

static void pass_free(struct pass *p)
{
    backward_free(&p->backward);
    attention_free(&p->attention);
    gates_free(&p->gates);
    model_free(&p->model);
    tiny_free(&p->tiny);
    memset(p, 0, sizeof *p);
    assert_int_equal(n_damaged, 0);
}

static void pass_run(struct pass *p)
{
    assert_int_equal(model_zero(&machine, &p->backward.grads), 0);
    assert_int_equal(backward_run(&p->backward, tokens, 1, &p->loss), 0);
}

/* All gradients in one array, for the caller to free. */
static float *gradients(const struct pass *p, size_t *n)
{
    struct parameter a;
    float *all = malloc(p->backward.grads_bytes);

    assert_non_null(all);
    *n = 0;
    for (size_t i = 0; model_parameter(&p->backward.grads, i, &a); i++) {
        assert_int_equal(buffer_read(&machine, a.buffer, a.n * sizeof *all, all + *n), 0);
        *n += a.n;
    }
    assert_int_equal(*n * sizeof *all, p->backward.grads_bytes);
    return all;
}

/* ---- finite differences ------------------------------------------------------------------ */

static const float step_size = 1e-5f; /* of a weight, about */

static double tiny_loss(struct tiny_model *m)
{
    static double logits[SEQ * TINY_VOCAB];
    uint16_t text[SEQ];
    double mean = 0;

    for (int t = 0; t < SEQ; t++)
        text[t] = (uint16_t)tokens[t];
    tiny_logits(m, text, SEQ, logits);
    for (int t = 0; t < SEQ; t++) {
        double sum = 0;

        for (int w = 0; w < TINY_VOCAB; w++)
            sum += exp(logits[t * TINY_VOCAB + w]);
        mean += (log(sum) - logits[t * TINY_VOCAB + tokens[t + 1]]) / SEQ;
    }
    return mean;
}

/* Move the weights along a random direction both ways, one of them (`at` >= 0) or all: the
 * difference of the losses, and what the gradient says of it, in exactly the steps that f32 makes. */
static void differ(struct tiny_model *m, st_tensor *t, const float *gradient, long at, struct rng *rng, double *got,
                   double *want)
{
    float *w = (float *)(uintptr_t)t->data, *low = malloc(t->bytes), *high = malloc(t->bytes),
          *kept = malloc(t->bytes);

    assert_true(low && high && kept);
    memcpy(kept, w, t->bytes);
    *got = 0;
    for (size_t i = 0; i < t->elements; i++) {
        const float step = at < 0 || (size_t)at == i ? step_size * normal(rng) : 0.0f;

        low[i] = w[i] - step;
        high[i] = w[i] + step;
        *got += (double)gradient[i] * ((double)high[i] - (double)low[i]);
    }
    memcpy(w, high, t->bytes);
    *want = tiny_loss(m);
    memcpy(w, low, t->bytes);
    *want -= tiny_loss(m);
    memcpy(w, kept, t->bytes);
    free(low);
    free(high);
    free(kept);
}

static double length_of(const float *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

/* Two directions over all of the tensor, and a single weight. */
static void check_tensor(struct pass *p, const char *name, const float *gradient, struct rng *rng)
{
    st_tensor *t = tiny_find(&p->tiny, name);
    const double length = length_of(gradient, t->elements);

    for (int i = 0; i < 3; i++) {
        const long at = i < 2 ? -1 : (long)below(rng, (uint32_t)t->elements);
        double got, want;

        differ(&p->tiny, t, gradient, at, rng, &got, &want);
        if (!(fabs(got - want) < 2e-5 * (double)step_size * length) || !(length > 0))
            fail_msg("%s: %s, weight %ld: the gradient of length %g says %.9g, not %.9g", p->tiny.kind.name, name, at,
                     length, got, want);
    }
}

static void check_gradients(const struct tiny_kind *kind, const struct way *way)
{
    static struct pass p;
    struct rng rng = seeded(0xbac);
    struct tiny_kind wide = *kind;
    struct parameter a;
    size_t n, at = 0;
    int i = 0;

    wide.dtype = ST_F32; /* what is trained; half numbers would move in too large steps */
    llama_model(&p.tiny, &wide);
    p.tiny.rule = way->tiny;
    pass_make(&p, way, SEQ);
    pass_run(&p);
    float *gradient = gradients(&p, &n);
    const double want = tiny_loss(&p.tiny);
    if (!(fabs(p.loss / want - 1) < 1e-6))
        fail_msg("%s, %s: loss %.9g, not %.9g", kind->name, way->name, p.loss, want);
    for (i = 0; model_parameter(&p.backward.grads, (size_t)i, &a); i++, at += a.n)
        check_tensor(&p, a.name, gradient + at, &rng);
    assert_int_equal(i, p.tiny.n);
    free(gradient);
    pass_free(&p);
}

static void gradients_equal_differences(void **state)
{
    static const int kinds[] = {0, 2, 3, 4, 5, 8}; /* tied, biases, own head, qwen2, qwen3, a factor of RoPE */

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(kinds); i++)
        check_gradients(&tiny_kinds[kinds[i]], &dense);
}

static void sparse_gradients_equal_differences(void **state)
{
    static const struct way ways[] = {
        {"window", FROM_WINDOW, CLGAZE_TOP_K, 1, 1, 2, {tiny_window, 1, 1, 2}},
        {"meanpool", FROM_MEANPOOL, CLGAZE_TOP_K, 2, 0, 1, {tiny_meanpool, 2, 0, 1}},
    };

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(ways); i++)
        check_gradients(&tiny_kinds[5], &ways[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_equal_differences),
        cmocka_unit_test(sparse_gradients_equal_differences),
    };

    if (devices(NULL))
        return 1;
    const int failed = llama_tests(tests, CLG_COUNT(tests));
    close_device(NULL);
    return failed;
}
