/* SPDX-License-Identifier: Apache-2.0 */
/*
 * llama_pass.c: a backward pass over a tiny model, and guards around buffers.
 */
#include "llama_pass.h"

#include "fail.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

/* ---- guards ------------------------------------------------------------------------ */

enum { GUARD = 4096, BUFFERS = 4096 };

static struct {
    cl_mem mem;
    size_t bytes;
} made[BUFFERS];
static int n_made, n_damaged;
static cl_command_queue guard_queue; /* NULL: nothing is looked at */

#ifdef CLG_GUARDS /* the linker can wrap */
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
    for (int i = 0; i < n_made; i++) /* one that a command still held when it was released */
        if (made[i].mem == made[n_made].mem) {
            made[i].bytes = bytes;
            return made[i].mem;
        }
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
#endif

int guards_damaged(void)
{
    return n_damaged;
}

size_t guards_bytes(void)
{
    size_t sum = 0;

    for (int i = 0; i < n_made; i++)
        sum += made[i].bytes;
    return sum;
}

/* ---- a model, its gradients ----------------------------------------------------------- */

const struct way dense = {"dense", FROM_NOTHING, CLGAZE_TOP_K, 0, 0, 0, {NULL, 0, 0, 0}, CLGAZE_F32};

struct machine machine;
cl_int tokens[SEQ + 1];

static int open_machine(void)
{
    fail_setup("test_llama", 0);
    if (clgaze_device_list(NULL, 0) == 0)
        return 0;
    const int code = machine_open(getenv("CLGAZE_TEST_DEVICE"), 0, &machine);
    guard_queue = machine.device.queue;
    return code ? code : machine_build(&machine);
}

int pass_tests(const struct CMUnitTest *tests, size_t n)
{
    if (open_machine())
        return 1;
    const int failed = llama_tests(tests, n);
    guard_queue = NULL;
    machine_close(&machine);
    return failed;
}

void need_machine(void)
{
    if (!machine.program)
        skip();
}

void pass_make(struct pass *p, const struct way *way, int seq)
{
    struct checkpoint checkpoint = {.n = 0};
    clgaze_problem problem = clgaze_problem_default();

    need_machine();
    for (int t = 0; t <= SEQ; t++)
        tokens[t] = t % 7 == 3 ? 11 : llama_tokens[t]; /* one of them often */
    assert_int_equal(config_read(llama_folder, &p->config), 0);
    assert_int_equal(checkpoint_open(llama_folder, &checkpoint), 0);
    assert_int_equal(model_load(&machine, &p->config, &checkpoint, 1, &p->model), 0);
    checkpoint_close(&checkpoint);
    problem.dtype = way->compute;
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

void pass_free(struct pass *p)
{
    backward_free(&p->backward);
    attention_free(&p->attention);
    gates_free(&p->gates);
    model_free(&p->model);
    tiny_free(&p->tiny);
    memset(p, 0, sizeof *p);
    const int damaged = n_damaged;
    n_damaged = 0;
    assert_int_equal(damaged, 0);
}

void pass_run(struct pass *p)
{
    assert_int_equal(model_zero(&machine, &p->backward.grads), 0);
    assert_int_equal(backward_run(&p->backward, tokens, 1, &p->loss), 0);
}

float *gradients(const struct pass *p, size_t *n)
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

double length_of(const float *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

void expect_near(const char *what, const float *got, const float *want, size_t n, double share)
{
    const double length = length_of(want, n);
    double far = 0;

    for (size_t i = 0; i < n; i++)
        far += pow((double)got[i] - (double)want[i], 2);
    if (!(sqrt(far) <= share * length))
        fail_msg("%s: off by %g of a gradient of length %g", what, sqrt(far), length);
}
