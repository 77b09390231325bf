/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_bench_check.c: bench_sparse notices results that are wrong.
 *
 * What the device answers is spoiled on its way to the check, one read after
 * another: a row whose results are not what was read is FAILED.
 */
#define _GNU_SOURCE /* RTLD_NEXT */
#include <dlfcn.h>
#include <string.h>

#include "harness.h"

#include "../bench/sparse.h"

/* ---- a device whose answers go wrong ---- */

static int reads, spoiled; /* so far; the number of the one to spoil, or 0 */

static void maybe_spoil(void *data, size_t bytes)
{
    if (++reads == spoiled)
        memset(data, 0x3d, bytes); /* .046 as f32, 1.3 as f16 */
}

/* Take the place of OpenCL's own for all that this program calls. */
cl_int clEnqueueReadBuffer(cl_command_queue queue, cl_mem mem, cl_bool wait, size_t offset, size_t size, void *data,
                           cl_uint n, const cl_event *list, cl_event *event)
{
    __typeof__(clEnqueueReadBuffer) *real;
    cl_int err;

    *(void **)&real = dlsym(RTLD_NEXT, "clEnqueueReadBuffer");
    err = real(queue, mem, wait, offset, size, data, n, list, event);
    maybe_spoil(data, size);
    return err;
}

cl_int clEnqueueReadBufferRect(cl_command_queue queue, cl_mem mem, cl_bool wait, const size_t *from, const size_t *to,
                               const size_t *region, size_t row, size_t slice, size_t to_row, size_t to_slice,
                               void *data, cl_uint n, const cl_event *list, cl_event *event)
{
    __typeof__(clEnqueueReadBufferRect) *real;
    cl_int err;

    *(void **)&real = dlsym(RTLD_NEXT, "clEnqueueReadBufferRect");
    err = real(queue, mem, wait, from, to, region, row, slice, to_row, to_slice, data, n, list, event);
    maybe_spoil(data, region[0] * region[1]);
    return err;
}

/* ---- rows ---- */

static struct bench b;
static struct options o;
static struct data d = {.seq = 72, .heads = 4, .kv_heads = 2, .head_dim = 16};

static int open_bench(void **state)
{
    static char *arguments[] = {"bench_sparse", "--min-time", "0", "--dtype", "f32"};
    const clgaze_context_options options = test_options();

    (void)state;
    if (options_read(5, arguments, &o) || bench_open(&b, options.pick, 0))
        return -1;
    return data_make(&b, &o, &d);
}

static int close_bench(void **state)
{
    (void)state;
    data_free(&b, &d);
    bench_close(&b);
    return 0;
}

static struct row measure(enum op op, int spoil)
{
    struct row row = {.seq = 72, .heads = 4, .kv_heads = 2, .head_dim = 16, .block = 16, .value = .6};
    struct peak peak = {0};

    o.op = op;
    reads = 0;
    spoiled = spoil;
    assert_int_equal(row_measure(&b, &o, &d, &peak, &row), 0);
    return row;
}

/* Spoil each read in turn; every step of the operation is found out by name at least once. */
static void check_op_notices(enum op op, const char *const *steps)
{
    bool named[8] = {false};
    int n, noticed = 0;

    assert_int_equal(measure(op, 0).state, ROW_DONE);
    n = reads;
    assert_true(n > 0);
    for (int i = 1; i <= n; i++) {
        const struct row row = measure(op, i);

        noticed += row.state == ROW_FAILED;
        assert_true(row.state == ROW_DONE || strstr(row.note, " is off by "));
        assert_true(row.state == ROW_DONE || row.ms.median == 0);
        for (int e = 0; steps[e]; e++)
            named[e] |= row.state == ROW_FAILED && strncmp(row.note, steps[e], strlen(steps[e])) == 0;
    }
    for (int e = 0; steps[e]; e++) {
        if (!named[e])
            print_error("%s: never \"%s ... is off\"\n", op_names[op], steps[e]);
        assert_true(named[e]);
    }
    assert_true(noticed > n / 2); /* not all counts: of one key the softmax is 1, whatever the query */
}

static void stages_are_checked(void **state)
{
    static const char *const steps[] = {"dense attend", "pool", "gate", "score", "select", "attend", NULL};

    (void)state;
    check_op_notices(OP_PIPELINE, steps);
}

static void calls_are_checked(void **state)
{
    static const char *const attend[] = {"dense attend", "attend", NULL};
    static const char *const prefill[] = {"dense attend", "the lists of prefill", "attend", NULL};

    (void)state;
    check_op_notices(OP_ATTEND, attend);
    check_op_notices(OP_PREFILL, prefill);
}

static void training_is_checked(void **state)
{
    static const char *const truth[] = {"dense attend", "truth", NULL};
    static const char *const distill[] = {"dense attend", "pool", "truth", "distill", NULL};
    static const char *const backward[] = {"dense attend is", "dense attend_bwd", "attend is", "attend_bwd", NULL};

    (void)state;
    check_op_notices(OP_TRUTH, truth);
    check_op_notices(OP_DISTILL, distill);
    check_op_notices(OP_ATTEND_BWD, backward);
}

/* ---- what compilers tell ---- */

static void nvidias_log_is_read(void **state)
{
    static const char log[] = "ptxas info    : 0 bytes gmem\n"
                              "ptxas info    : Function properties for one\n"
                              "    16 bytes stack frame, 12 bytes spill stores, 20 bytes spill loads\n"
                              "ptxas info    : Used 162 registers, used 1 barriers, 49152 bytes smem\n"
                              "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
                              "ptxas info    : Used 40 registers\n";
    char text[48] = "";

    (void)state;
    compiler_log(log, text, sizeof text);
    assert_string_equal(text, "162 registers, 12 bytes spilled");
    *text = '\0';
    compiler_log("", text, sizeof text);
    compiler_log("Used by nobody", text, sizeof text);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(stages_are_checked, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(calls_are_checked, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(training_is_checked, open_bench, close_bench),
        cmocka_unit_test(nvidias_log_is_read),
    };

    return TEST_MAIN(tests);
}
