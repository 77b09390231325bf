/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_program.c: programs of a context, in memory and from disk.
 */
#include "cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- in memory, and from disk ----------------------------------------------------------------- */

static int launches;

static clgaze_status counted(struct clg_run *run)
{
    launches++;
    return clg_kernel_find("pool")->launch(run);
}

static void test_once(void **state)
{
    struct clg_kernel pool = *clg_kernel_find("pool");
    const struct clg_kernel *const table[] = {&pool, NULL};
    char path[CACHE_PATH];
    struct stat s;
    const char *folder = cache_filled(path);
    clgaze_context *ctx = cache_in(folder);

    (void)state;
    pool.launch = counted;
    launches = 0;
    ctx->kernels = table;
    for (int i = 0; i < 2; i++) {
        clgaze_plan_free(cache_plan(ctx, 8));
        assert_int_equal(heard.compiled, 0); /* it came from disk               */
        assert_int_equal(launches, 2 + i);   /* tested once, warmed for each plan */
    }
    clgaze_plan_free(cache_plan(ctx, 16));
    clgaze_plan_free(cache_plan(ctx, 16));
    assert_int_equal(heard.compiled, 1);
    assert_int_equal(launches, 5); /* what was compiled here is not doubted */
    assert_int_equal(heard.warned, 0);
    assert_int_equal(stat(path, &s), 0);
    assert_int_equal(s.st_mode & 0777, 0600);
    assert_int_equal(entries(folder, path), 2);
    clgaze_context_free(ctx);
}

/* ---- programs that cannot be believed ------------------------------------------- */

static void other_type(const clgaze_problem *p, const int *values, struct clg_text *text)
{
    clgaze_problem q = *p;

    q.dtype = CLGAZE_BF16;
    clg_kernel_find("pool")->define(&q, values, text);
}

/* A program of the same strategy, but compiled with other options, under the key. */
static void test_wrong_program(void **state)
{
    struct clg_kernel other = *clg_kernel_find("pool");
    const struct clg_kernel *const table[] = {&other, NULL};
    char path[CACHE_PATH], wrong_path[CACHE_PATH];
    const char *folder = cache_filled(path), *wrong_folder = under("wrong");
    struct bytes good = read_file(path), wrong;
    clgaze_context *ctx = cache_in(wrong_folder);

    (void)state;
    other.define = other_type;
    ctx->kernels = table;
    clgaze_plan_free(cache_plan(ctx, 8));
    clgaze_context_free(ctx);
    assert_int_equal(entries(wrong_folder, wrong_path), 1);
    wrong = read_file(wrong_path);
    memcpy(wrong.at + CACHE_KEY, good.at + CACHE_KEY, 8);
    write_file(path, wrong.at, wrong.n);
    cache_plan_once(folder, NULL, 8); /* passes its own test there */
    assert_int_equal(heard.compiled, 1);
    assert_int_equal(heard.warned, 1);
    assert_int_equal(heard.errors, 0);
    assert_says("the log", heard.warning, path);
    assert_says("the log", heard.warning, "is dropped: q_pooled");
    cache_plan_once(folder, NULL, 8); /* what was compiled instead is kept */
    assert_int_equal(heard.compiled, 0);
    assert_int_equal(heard.warned, 0);
    free(good.at);
    free(wrong.at);
}

/* ---- the key -------------------------------------------------------------------------------- */

/* Everything that decides what a compiler makes has a file of its own. */
static void test_key(void **state)
{
    static const char *const more_sources[] = {"common.cl", "seqs.cl", "pool.cl", NULL};
    struct clg_kernel pool = *clg_kernel_find("pool"), name = pool, options = pool, sources = pool;
    const struct clg_kernel *const tables[][2] = {{&name, NULL}, {&options, NULL}, {&sources, NULL}};
    const size_t words[] = {offsetof(struct clg_device, platform), offsetof(struct clg_device, platform_version),
                            offsetof(struct clg_device, vendor), offsetof(struct clg_device, name),
                            offsetof(struct clg_device, driver)};
    char path[CACHE_PATH];
    const char *folder = cache_filled(path);
    int files = 1;

    (void)state;
    name.name = "pool_too";
    options.options = "-DUNUSED_WORD=1";
    sources.sources = more_sources;
    for (size_t i = 0; i < CLG_COUNT(tables); i++) {
        cache_plan_once(folder, tables[i], 8);
        assert_int_equal(heard.compiled, 1);
        assert_int_equal(entries(folder, path), ++files);
    }
    for (size_t i = 0; i < CLG_COUNT(words); i++) {
        clgaze_context *ctx = cache_in(folder);

        ((char *)&ctx->device)[words[i]] ^= 1;
        clgaze_plan_free(cache_plan(ctx, 8));
        assert_int_equal(heard.compiled, 1);
        assert_int_equal(entries(folder, path), ++files);
        clgaze_context_free(ctx);
    }
    cache_plan_once(folder, NULL, 16);
    assert_int_equal(entries(folder, path), ++files);
    cache_plan_once(folder, NULL, 8);
    assert_int_equal(heard.compiled, 0);
}

/* ---- several at once --------------------------------------------------------------------------- */

struct crowd {
    clgaze_context *ctx;
    cl_program program;
    uint64_t key;
    bool writes;
    int found;
};

static void *crowd_in(void *user)
{
    struct crowd *c = user;

    for (int i = 0; i < 12; i++) {
        cl_program program = NULL;

        if (c->writes) {
            clg_bincache_save(c->ctx, c->key, c->program);
        } else if (clg_bincache_load(c->ctx, c->key, &program, "")) {
            c->found++;
            clReleaseProgram(program);
        }
    }
    return NULL;
}

/* Writers and readers of one key, each with its own context, as processes would have. */
static void test_crowd(void **state)
{
    char path[CACHE_PATH];
    const char *folder = cache_filled(path);
    uint64_t key;
    struct bytes good = read_file(path);
    struct crowd each[4];
    pthread_t threads[4];
    clgaze_plan *plans[4];

    (void)state;
    memcpy(&key, good.at + CACHE_KEY, sizeof key);
    for (int i = 0; i < 4; i++) {
        clgaze_context *ctx = cache_in(folder);

        plans[i] = cache_plan(ctx, 8);
        each[i] = (struct crowd){ctx, plans[i]->stage[CLGAZE_POOL].program, key, i % 2 == 0, 0};
    }
    forget_heard();
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_in, &each[i]), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 4; i++) {
        if (!each[i].writes)
            assert_int_equal(each[i].found, 12); /* all or nothing, and never nothing */
        clgaze_plan_free(plans[i]);
        clgaze_context_free(each[i].ctx);
    }
    if (heard.warned)
        fail_msg("%s", heard.warning);
    assert_int_equal(entries(folder, path), 1); /* no temporary file is left */
    free(good.at);
}

/* ---- the compiler --------------------------------------------------------------------------------------- */

static void no_language(const clgaze_problem *p, const int *values, struct clg_text *text)
{
    (void)p;
    (void)values;
    clg_put(text, " -DD=undeclared_word");
}

static void test_compiler(void **state)
{
    struct clg_kernel bad = *clg_kernel_find("pool");
    const struct clg_kernel *const table[] = {&bad, NULL};
    clgaze_context *ctx = cache_none();
    clgaze_problem p = small();
    clgaze_plan *plan = NULL;

    (void)state;
    bad.define = no_language;
    ctx->kernels = table;
    for (int i = 0; i < 2; i++) {
        forget_heard();
        assert_int_equal(clgaze_plan_create(ctx, CLGAZE_POOL, &p, &plan), CLGAZE_ERR_BUILD);
        assert_null(plan);
        assert_int_equal(heard.errors, 2);
        assert_says("the log", heard.error[0], "kernel pool does not compile on ");
        assert_says("the log", heard.error[0], "-DD=undeclared_word");
        assert_says("the log", heard.error[1], "undeclared_word"); /* the compiler's own words */
    }
    clgaze_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CACHE_TEST(test_once),  CACHE_TEST(test_wrong_program), CACHE_TEST(test_key),
        CACHE_TEST(test_crowd), CACHE_TEST(test_compiler),
    };

    return TEST_MAIN(tests);
}
