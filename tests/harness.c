/* SPDX-License-Identifier: Apache-2.0 */
/*
 * harness.c: the device under test, random numbers, number formats.
 */
#include "harness.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

static _Thread_local char error_text[2048];
static _Thread_local clgaze_status error_status;
static _Thread_local int errors;

void test_log(void *user, clgaze_log_level level, clgaze_status status, const char *message)
{
    (void)user;
    if (level != CLGAZE_LOG_ERROR)
        return;
    snprintf(error_text, sizeof error_text, "%s", message);
    error_status = status;
    errors++;
}

const char *last_error(void)
{
    return error_text;
}

clgaze_status last_status(void)
{
    return error_status;
}

int error_count(void)
{
    return errors;
}

void forget(void)
{
    errors = 0;
    error_text[0] = '\0';
    error_status = CLGAZE_OK;
}

void assert_ok(clgaze_status status)
{
    if (status != CLGAZE_OK)
        fail_msg("%s: %s", clgaze_status_name(status), last_error());
}

void assert_says(const char *row, const char *text, const char *words)
{
    char word[128];

    while (*words) {
        size_t n = strcspn(words, "|");

        snprintf(word, sizeof word, "%.*s", (int)n, words);
        if (!strstr(text, word))
            fail_msg("%s: \"%s\" does not say \"%s\"", row, text, word);
        words += n + (words[n] == '|');
    }
}

void assert_refused(const char *row, clgaze_status got, clgaze_status wanted, const char *words)
{
    if (got != wanted)
        fail_msg("%s: %s, not %s: %s", row, clgaze_status_name(got), clgaze_status_name(wanted), last_error());
    if (errors != 1 || error_status != wanted || strchr(error_text, '\n'))
        fail_msg("%s: %d sentences, the last of %s: %s", row, errors, clgaze_status_name(error_status), error_text);
    assert_says(row, error_text, words);
}

bool tiny(void)
{
    const char *size = getenv("CLGAZE_TEST_SIZE");

    return size && strcmp(size, "tiny") == 0;
}

clgaze_context_options test_options(void)
{
    clgaze_context_options o;

    memset(&o, 0, sizeof o);
    o.pick = getenv("CLGAZE_TEST_DEVICE");
    o.log = test_log;
    o.log_level = CLGAZE_LOG_ERROR;
    o.cache_dir = "";
    return o;
}

static clgaze_context *context;
static cl_command_queue queue;

clgaze_context *test_context(void)
{
    clgaze_context_options o = test_options();

    if (!context)
        assert_ok(clgaze_context_create(&o, &context));
    return context;
}

int number_from(const char *variable, int otherwise)
{
    const char *text = getenv(variable);

    return text ? atoi(text) : otherwise;
}

bool simulated(const clgaze_context *ctx)
{
    return strstr(ctx->device.platform, "Oclgrind") != NULL;
}

void skip_simulated(const char *why)
{
    if (!simulated(test_context()))
        return;
    printf("SKIPPED: oclgrind %s\n", why);
    skip();
}

cl_command_queue test_queue(void)
{
    cl_int err = CL_SUCCESS;

    if (!queue)
        queue =
            clCreateCommandQueue(clgaze_context_cl(test_context()), clgaze_context_device(test_context()), 0, &err);
    assert_int_equal(err, CL_SUCCESS);
    return queue;
}

void check_leaks(void)
{
#ifdef __SANITIZE_ADDRESS__
    __lsan_do_leak_check();
#endif
}

int test_main(const struct CMUnitTest *tests, size_t n)
{
    int failed;

    if (clgaze_device_list(NULL, 0) == 0) {
        printf("SKIPPED: there is no OpenCL device\n");
        return 77;
    }
    failed = _cmocka_run_group_tests("clgaze", tests, n, NULL, print_summary);
    if (failed)
        printf("repeat with CLGAZE_TEST_SEED=%llu\n", (unsigned long long)test_seed());
    if (queue)
        clReleaseCommandQueue(queue);
    clgaze_context_free(context);
    context = NULL;
    check_leaks();
    return failed;
}

/* ---- random numbers -------------------------------------------------------- */

uint64_t test_seed(void)
{
    const char *text = getenv("CLGAZE_TEST_SEED");

    return text ? strtoull(text, NULL, 10) : 1;
}

/* splitmix64 */
static uint64_t next(struct rng *r)
{
    uint64_t x = r->state += 0x9e3779b97f4a7c15ull;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

struct rng seeded(uint64_t salt)
{
    struct rng r = {test_seed()};

    r.state = next(&r) ^ salt;
    return r;
}

uint32_t below(struct rng *r, uint32_t n)
{
    return n ? (uint32_t)((next(r) >> 32) % n) : 0;
}

float normal(struct rng *r)
{
    double sum = -6;

    for (int i = 0; i < 12; i++)
        sum += (double)(next(r) >> 11) * 0x1p-53;
    return (float)sum;
}

/* ---- number formats: round to nearest, ties to even ------------------------- */

static uint32_t bits_of(float x)
{
    uint32_t u;

    memcpy(&u, &x, sizeof u);
    return u;
}

static float float_of(uint32_t u)
{
    float x;

    memcpy(&x, &u, sizeof x);
    return x;
}

/* Scaling by 2^-112 moves the exponents of half to those of float and back. */
static uint16_t half_of(float x)
{
    uint32_t sign = bits_of(x) >> 16 & 0x8000u, u;

    if (isnan(x))
        return (uint16_t)(sign | 0x7e00u);
    if (fabsf(x) >= 65520.0f)
        return (uint16_t)(sign | 0x7c00u);
    if (fabsf(x) < 0x1p-14f)
        return (uint16_t)(sign | (uint32_t)lrintf(fabsf(x) * 0x1p24f));
    u = bits_of(x) & 0x7fffffffu;
    u += 0xfffu + (u >> 13 & 1u);
    return (uint16_t)(sign | ((u >> 13) - (112u << 10)));
}

static float from_half(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, magnitude = h & 0x7fffu;

    if (magnitude >= 0x7c00u)
        return float_of(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
    return float_of(sign | bits_of(float_of(magnitude << 13) * 0x1p112f));
}

static uint16_t bf16_of(float x)
{
    uint32_t u = bits_of(x);

    if (isnan(x))
        return (uint16_t)(u >> 16 | 64u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

void put_float(unsigned char *at, float x, clgaze_dtype dtype)
{
    uint16_t h = dtype == CLGAZE_F16 ? half_of(x) : bf16_of(x);

    if (dtype == CLGAZE_F32)
        memcpy(at, &x, sizeof x);
    else
        memcpy(at, &h, sizeof h);
}

float get_float(const unsigned char *at, clgaze_dtype dtype)
{
    uint16_t h;
    float x;

    if (dtype == CLGAZE_F32) {
        memcpy(&x, at, sizeof x);
        return x;
    }
    memcpy(&h, at, sizeof h);
    return dtype == CLGAZE_F16 ? from_half(h) : float_of((uint32_t)h << 16);
}

float rounded(float x, clgaze_dtype dtype)
{
    unsigned char at[4];

    put_float(at, x, dtype);
    return get_float(at, dtype);
}
