/* SPDX-License-Identifier: Apache-2.0 */
/* contexts: what they are made of, and memory that runs out anywhere.  Label: unit. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

static const char *program; /* argv[0] */

/* ---- options -------------------------------------------------------------------- */

static void *plain_alloc(void *user, size_t size)
{
    (void)user;
    return malloc(size);
}

static void plain_release(void *user, void *p)
{
    (void)user;
    free(p);
}

static void refused(const char *row, const clgaze_context_options *o, clgaze_status status, const char *words)
{
    clgaze_context *ctx = (clgaze_context *)(uintptr_t)o;

    forget();
    assert_refused(row, clgaze_context_create(o, &ctx), status, words);
    assert_null(ctx);
}

static void options(void **state)
{
    clgaze_context_options good = test_options(), o = good;
    clgaze_context *ctx = NULL;

    (void)state;
    forget();
    assert_refused("context", clgaze_context_create(&good, NULL), CLGAZE_ERR_NULL, "context is NULL");
    forget();
    assert_int_equal(clgaze_context_create(NULL, NULL), CLGAZE_ERR_NULL);
    assert_int_equal(error_count(), 0);
    o.alloc = plain_alloc;
    refused("alloc", &o, CLGAZE_ERR_NULL, "options.alloc|options.release|both");
    o = good;
    o.release = plain_release;
    refused("release", &o, CLGAZE_ERR_NULL, "options.alloc|options.release|both");
    o = good;
    o.pick = "no such device";
    refused("pick", &o, CLGAZE_ERR_NO_DEVICE, "\"no such device\"|index below");
    o.pick = "9999";
    refused("pick", &o, CLGAZE_ERR_NO_DEVICE, "\"9999\"|index below");
    o = good;
    o.cache_dir = "/dev/null/cache";
    refused("cache_dir", &o, CLGAZE_ERR_CACHE, "options.cache_dir \"/dev/null/cache\"|cannot be made");
    assert_ok(clgaze_context_create(&good, &ctx));
    assert_non_null(clgaze_context_cl(ctx));
    assert_non_null(clgaze_context_device(ctx));
    clgaze_context_free(ctx);
    clgaze_context_free(NULL);
    assert_null(clgaze_context_cl(NULL));
    assert_null(clgaze_context_device(NULL));
}

static void silent(void **state)
{
    clgaze_context_options o = test_options();
    clgaze_problem p = clgaze_problem_default();
    clgaze_context *ctx = NULL;
    clgaze_plan *plan = NULL;

    (void)state;
    o.log = NULL;
    o.log_level = CLGAZE_LOG_DEBUG;
    assert_ok(clgaze_context_create(&o, &ctx));
    assert_int_equal(clgaze_pool_plan(ctx, &p, &plan), CLGAZE_ERR_HEADS);
    clgaze_context_free(ctx);
}

/* ---- a context of the caller's ------------------------------------------------------ */

static cl_uint references(cl_context cl)
{
    cl_uint n = 0;

    assert_int_equal(clGetContextInfo(cl, CL_CONTEXT_REFERENCE_COUNT, sizeof n, &n, NULL), CL_SUCCESS);
    return n;
}

static void borrowed(void **state)
{
    cl_device_id id = clgaze_context_device(test_context());
    cl_int err = CL_SUCCESS;
    cl_context cl = clCreateContext(NULL, 1, &id, NULL, NULL, &err);
    clgaze_context_options o = test_options();
    clgaze_context *ctx = NULL;
    cl_uint before = references(cl);

    (void)state;
    o.context = cl;
    assert_ok(clgaze_context_create(&o, &ctx));
    assert_ptr_equal(clgaze_context_cl(ctx), cl);
    assert_ptr_equal(clgaze_context_device(ctx), id);
    clgaze_context_free(ctx);
    o.cache_dir = "/dev/null/cache";
    refused("late failure", &o, CLGAZE_ERR_CACHE, "options.cache_dir");
    assert_int_equal(references(cl), before);
    clReleaseContext(cl);
}

/* A part of a device is no device of the whole's context; two parts make a context of two. */
static void several_devices(void **state)
{
    const cl_device_partition_property each[] = {CL_DEVICE_PARTITION_EQUALLY, 1, 0};
    cl_device_id whole = clgaze_context_device(test_context()), parts[64];
    clgaze_context_options o = test_options();
    cl_uint n = 0, most = 0, devices = 0;
    cl_int err;
    cl_context cl;

    (void)state;
    /* Asked first: drivers that cannot may lack the function that divides, which the loader calls all the same. */
    assert_int_equal(clGetDeviceInfo(whole, CL_DEVICE_PARTITION_MAX_SUB_DEVICES, sizeof most, &most, NULL),
                     CL_SUCCESS);
    if (most < 2 || clCreateSubDevices(whole, each, 64, parts, &n) != CL_SUCCESS || n < 2) {
        print_message("SKIPPED: this device cannot be divided\n");
        skip();
    }
    o.context = clgaze_context_cl(test_context());
    o.device = parts[0];
    refused("another device", &o, CLGAZE_ERR_CONTEXT, "options.device is not a device of options.context");
    cl = clCreateContext(NULL, 2, parts, NULL, NULL, &err);
    assert_int_equal(err, CL_SUCCESS);
    assert_int_equal(clGetContextInfo(cl, CL_CONTEXT_NUM_DEVICES, sizeof devices, &devices, NULL), CL_SUCCESS);
    o.context = cl;
    o.device = NULL;
    if (devices > 1) /* PoCL takes two parts for the whole */
        refused("no device", &o, CLGAZE_ERR_CONTEXT, "options.device is NULL|2 devices");
    clReleaseContext(cl);
    for (cl_uint i = 0; i < n; i++)
        clReleaseDevice(parts[i]);
}

/* ---- no platform ------------------------------------------------------------------------ */

/* In a child whose loader finds nothing; exit code 0: refused as it should be. */
static int without_platform(void)
{
    clgaze_context_options o = test_options();
    clgaze_context *ctx = NULL;

    if (clgaze_device_list(NULL, 0) != 0)
        return 77;
    o.pick = NULL;
    if (clgaze_context_create(&o, &ctx) != CLGAZE_ERR_NO_DEVICE || ctx || error_count() != 1)
        return 1;
    return strstr(last_error(), "no OpenCL device was found") ? 0 : 2;
}

static void no_platform(void **state)
{
    int status = -1;
    pid_t child = fork();

    (void)state;
    if (child == 0) {
        unsetenv("OCL_ICD_FILENAMES");
        setenv("OCL_ICD_VENDORS", CLGAZE_TEST_DIR "/consumer/", 1); /* holds no .icd */
        execl(program, program, "without-platform", (char *)NULL);
        _exit(3);
    }
    assert_true(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        print_message("SKIPPED: this loader does not read OCL_ICD_VENDORS\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- memory that runs out ------------------------------------------------------------------ */

struct memory {
    int left; /* allocations until one fails; negative: none does */
    int made, held;
};

static void *count_alloc(void *user, size_t size)
{
    struct memory *m = user;
    void *p;

    if (m->left == 0) {
        m->left = -1; /* the next one works */
        return NULL;
    }
    m->left -= m->left > 0;
    p = malloc(size);
    m->made += p != NULL;
    m->held += p != NULL;
    return p;
}

static void count_release(void *user, void *p)
{
    struct memory *m = user;

    m->held--;
    free(p);
}

static const struct shape packs = {.sequences = 2, .q = {9, 12}, .k = {9, 20}};
static const float values[] = {0.5f, 0.9f};

static clgaze_problem pipeline(void)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 32, 8, 8);

    p.packed = 1;
    p.rule = CLGAZE_TOP_P;
    p.scope = CLGAZE_SCOPE_KV;
    p.values = values;
    p.kernel = "attend";
    fit_maxima(&p, &packs, 1);
    return p;
}

static void check_call(clgaze_context *ctx, const clgaze_plan *plan, const clgaze_problem *p, struct memory *m)
{
    cl_int err = CL_SUCCESS;
    cl_command_queue queue = clCreateCommandQueue(ctx->cl, ctx->device.id, 0, &err);
    struct test_case c;
    int made = m->made;

    assert_int_equal(err, CL_SUCCESS);
    case_make(&c, CLGAZE_PREFILL, p, &packs, NULL, 2);
    if (!run_case(&c, CLGAZE_PREFILL, plan, ctx, queue) || !check_results(&c, CLGAZE_PREFILL))
        fail_msg("%s", c.why);
    assert_int_equal(m->made, made); /* a call allocates nothing */
    case_free(&c);
    clReleaseCommandQueue(queue);
}

/* The n-th allocation fails.  Answers false when there is no n-th. */
static bool fail_nth(int n, struct memory *m)
{
    clgaze_context_options o = test_options();
    clgaze_problem p = pipeline();
    clgaze_context *ctx = NULL;
    clgaze_plan *plan = NULL;
    clgaze_status st;
    bool failed;

    *m = (struct memory){n, 0, 0};
    o.alloc = count_alloc;
    o.release = count_release;
    o.alloc_user = m;
    forget();
    st = clgaze_context_create(&o, &ctx);
    if (st != CLGAZE_OK) {
        assert_refused("context", st, CLGAZE_ERR_NO_MEMORY, "no memory");
        assert_null(ctx);
        assert_int_equal(m->held, 0);
        forget();
        assert_ok(clgaze_context_create(&o, &ctx));
    }
    st = clgaze_prefill_plan(ctx, &p, &plan);
    if (st != CLGAZE_OK) {
        assert_refused("plan", st, CLGAZE_ERR_NO_MEMORY, "no memory");
        assert_null(plan);
        assert_ok(clgaze_prefill_plan(ctx, &p, &plan));
    }
    failed = m->left == -1;
    if (!failed || n % 8 == 0)
        check_call(ctx, plan, &p, m);
    clgaze_plan_free(plan);
    clgaze_context_free(ctx);
    assert_int_equal(m->held, 0);
    return failed;
}

static void memory_runs_out(void **state)
{
    struct memory m;
    int n = 0;

    (void)state;
    while (fail_nth(n, &m))
        assert_true(++n < 1000);
    assert_int_equal(m.made, n);
    assert_true(n > 20);
    print_message("each of %d allocations failed once\n", n);
}

/* Asking needs a little memory, too. */
static void memory_runs_out_asking(void **state)
{
    struct memory m = {-1, 0, 0};
    clgaze_context_options o = test_options();
    clgaze_problem p = pipeline();
    clgaze_context *ctx = NULL;
    clgaze_status st = CLGAZE_ERR_NO_MEMORY;

    (void)state;
    o.alloc = count_alloc;
    o.release = count_release;
    o.alloc_user = &m;
    assert_ok(clgaze_context_create(&o, &ctx));
    for (int n = 0, held = m.held; st != CLGAZE_OK; n++) {
        char reason[256];

        m.left = n;
        st = clgaze_supports(ctx, CLGAZE_PREFILL, &p, reason, sizeof reason);
        if (m.left != -1) /* nothing failed */
            assert_int_equal(st, CLGAZE_OK);
        else
            assert_int_equal(st, CLGAZE_ERR_NO_MEMORY);
        assert_int_equal(m.held, held);
    }
    clgaze_context_free(ctx);
    assert_int_equal(m.held, 0);
}

/* ---- names --------------------------------------------------------------------------------- */

static void lists_and_names(void **state)
{
    clgaze_device devices[2];
    size_t n = clgaze_device_list(NULL, 0);
    const int64_t shape[4] = {2, 3, 4, 5};
    clgaze_tensor t;

    (void)state;
    memset(devices, 0x5a, sizeof devices);
    assert_int_equal(clgaze_device_list(devices, 1), n);
    assert_non_null(devices[0].device);
    assert_int_equal(devices[1].name[0], 0x5a);
    assert_string_equal(clgaze_version(), CLGAZE_VERSION_STRING);
    assert_string_equal(clgaze_status_name((clgaze_status)99), "CLGAZE_?");
    assert_string_equal(clgaze_status_text((clgaze_status)-1), "unknown status");
    assert_string_equal(clgaze_status_name(CLGAZE_ERR_LIST), "CLGAZE_ERR_LIST");
    assert_string_equal(clgaze_dtype_name((clgaze_dtype)-1), "?");
    assert_int_equal(clgaze_dtype_size((clgaze_dtype)5), 0);
    t = clgaze_tensor_compact(NULL, 7, CLGAZE_F16, 4, shape);
    assert_true(t.stride[0] == 60 && t.stride[1] == 20 && t.stride[2] == 5 && t.stride[3] == 1 && t.offset == 7);
    t = clgaze_tensor_bhsd(NULL, 0, CLGAZE_F32, 2, 3, 4, 5);
    assert_true(t.stride[0] == 60 && t.stride[1] == 5 && t.stride[2] == 15 && t.shape[1] == 3);
    t = clgaze_tensor_compact(NULL, 0, CLGAZE_F32, 5, shape); /* a call refuses the rank */
    assert_true(t.rank == 5 && t.shape[0] == 0);
    t = clgaze_tensor_compact(NULL, 0, CLGAZE_F32, 3, NULL);
    assert_true(t.rank == 3 && t.shape[0] == 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options),         cmocka_unit_test(silent),
        cmocka_unit_test(borrowed),        cmocka_unit_test(several_devices),
        cmocka_unit_test(no_platform),     cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(lists_and_names), cmocka_unit_test(memory_runs_out_asking),
    };

    program = argv[0];
    if (argc > 1 && strcmp(argv[1], "without-platform") == 0)
        return without_platform();
    return TEST_MAIN(tests);
}
