/* SPDX-License-Identifier: Apache-2.0 */
/* kernels: the records of the strategies, and the text form of their tunables.  Label: unit. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

static const char *const ops[] = {"pool", "gate", "score", "select", "attend", "truth", "distill", "attend_bwd"};

static int place_of(const char *op)
{
    for (int i = 0; i < (int)CLG_COUNT(ops); i++)
        if (strcmp(ops[i], op) == 0)
            return i;
    fail_msg("\"%s\" is no operation", op);
    return -1;
}

static void names_and_order(void **state)
{
    (void)state;
    for (int i = 0; clg_kernels[i]; i++) {
        assert_ptr_equal(clg_kernel_find(clg_kernels[i]->name), clg_kernels[i]);
        assert_true(i == 0 || place_of(clg_kernels[i - 1]->op) <= place_of(clg_kernels[i]->op));
        assert_int_equal(strncmp(clg_kernels[i]->name, clg_kernels[i]->op, strlen(clg_kernels[i]->op)), 0);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(clg_kernels[i]->name, clg_kernels[j]->name);
    }
    assert_null(clg_kernel_find("attend_none"));
    assert_null(clg_kernel_find(""));
    assert_ptr_equal(clg_kernel_find("attend BM=16"), clg_kernel_find("attend"));
}

/* The list that users see is the table. */
static void public_list(void **state)
{
    size_t n = clgaze_kernel_list(NULL, NULL, 0);
    const char *names[32], *of[32];

    (void)state;
    assert_in_range(n, CLG_COUNT(ops), CLG_COUNT(names));
    assert_int_equal(clgaze_kernel_list(names, of, CLG_COUNT(names)), n);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(names[i], clg_kernels[i]->name);
        assert_string_equal(of[i], clg_kernels[i]->op);
    }
    assert_null(clg_kernels[n]);
    names[1] = "untouched";
    assert_int_equal(clgaze_kernel_list(names, NULL, 1), n);
    assert_string_equal(names[1], "untouched");
    assert_int_equal(clgaze_kernel_list(NULL, of, CLG_COUNT(of)), n);
}

static bool holds(const struct clg_param *param, int value)
{
    for (size_t i = 0; i < CLG_COUNT(param->allowed) && param->allowed[i]; i++)
        if (param->allowed[i] == value)
            return true;
    return false;
}

static void spaces(void **state)
{
    (void)state;
    for (int i = 0; clg_kernels[i]; i++) {
        const struct clg_param *space = clg_kernels[i]->space;
        int size = 1, n = 0;

        for (; space && space[n].name; n++) {
            int choices = 0;

            assert_true(holds(&space[n], space[n].value));
            for (; choices < (int)CLG_COUNT(space[n].allowed) && space[n].allowed[choices]; choices++)
                assert_true(space[n].allowed[choices] > (choices ? space[n].allowed[choices - 1] : 0));
            size *= choices;
        }
        assert_in_range(n, 0, CLG_MAX_PARAMS);
        assert_int_equal(clg_space_size(clg_kernels[i]), size);
    }
}

/* What a CPU of each width of vectors begins with: as many registers as it has, full of queries. */
static void defaults_of_cpus(void **state)
{
    static const struct {
        size_t width;
        const char *values;
    } rows[] = {{16, " BM=64 KT=64 VEC=16 NV=2 MR=8"},
                {8, " BM=64 KT=64 VEC=8 NV=2 MR=4"},
                {4, " BM=64 KT=64 VEC=8 NV=2 MR=4"}};
    static const char *const names[] = {"attend_cpu", "truth_cpu"};
    const clgaze_problem p = problem(CLGAZE_F32, 2, 1, 64, 64, 64);

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(rows); i++)
        for (size_t j = 0; j < CLG_COUNT(names); j++) {
            const struct clg_kernel *kernel = clg_kernel_find(names[j]);
            const struct clg_device device = {.cpu = true, .float_width = rows[i].width};
            int values[CLG_MAX_PARAMS] = {0};
            char text[256], wanted[256];
            struct clg_text print = {text, sizeof text, 0};

            clg_space_default(kernel, values);
            assert_null(clg_nearest(&device, kernel, &p, values));
            clg_space_print(kernel, values, &print);
            snprintf(wanted, sizeof wanted, "%s%s", names[j], rows[i].values);
            assert_string_equal(text, wanted);
        }
}

/* Every configuration comes once, and its text form means it. */
static void texts(void **state)
{
    (void)state;
    for (int i = 0; clg_kernels[i]; i++) {
        const struct clg_kernel *kernel = clg_kernels[i];
        char last[256] = "";

        for (int index = 0; index < clg_space_size(kernel); index++) {
            int values[CLG_MAX_PARAMS] = {0}, back[CLG_MAX_PARAMS] = {0};
            char text[256];
            struct clg_text print = {text, sizeof text, 0};

            clg_space_get(kernel, index, values);
            clg_space_print(kernel, values, &print);
            assert_in_range(print.used, 1, sizeof text - 1);
            assert_string_not_equal(text, last);
            memcpy(last, text, sizeof last);
            assert_ptr_equal(clg_kernel_find(text), kernel);
            clg_space_default(kernel, back);
            assert_ok(clg_space_parse(test_context(), kernel, text + strcspn(text, " "), back));
            assert_memory_equal(values, back, sizeof values);
            for (int j = 0; kernel->space && kernel->space[j].name; j++)
                assert_int_equal(clg_space_value(kernel, values, kernel->space[j].name), values[j]);
        }
        assert_int_equal(clg_space_value(kernel, (const int[CLG_MAX_PARAMS]){0}, "NONE"), 0);
    }
}

static void bad_texts(void **state)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {" BM", "attend|BM"},
        {" BM=", "attend|BM="},
        {" BM=17", "attend|BM=17"},
        {" BM=-16", "attend|BM=-16"},
        {" BM=+16", "attend|BM=+16"},
        {" BM=16x", "attend|BM=16x"},
        {" BM= 16", "attend|BM="},
        {" BM=0", "attend|BM=0"},
        {" BM=16,WG=64", "attend|BM=16,WG=64"},
        {" BM=4294967312", "BM=429"},
        {" bm=16", "attend|bm"},
        {" BMX=16", "attend|BMX"},
        {" B=16", "attend|\"B\""},
        {" =16", "attend|\"\""},
        {" WG=64 NONE=1", "attend|NONE"},
        {" BM=99999999999999999999999", "attend|BM=9"},
        {" BM=1e1", "attend|BM=1e1"},
    };

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(rows); i++) {
        int values[CLG_MAX_PARAMS] = {0};

        clg_space_default(clg_kernel_find("attend"), values);
        forget();
        assert_refused(rows[i].text, clg_space_parse(test_context(), clg_kernel_find("attend"), rows[i].text, values),
                       CLGAZE_ERR_VALUE, rows[i].words);
    }
}

static void space_ids(void **state)
{
    const struct clg_kernel *kernel = clg_kernel_find("attend");
    struct clg_kernel other = *kernel;
    struct clg_param space[CLG_MAX_PARAMS + 1] = {{0}};

    (void)state;
    for (int i = 0; clg_kernels[i]; i++) {
        assert_true(clg_space_id(clg_kernels[i]) == clg_space_id(clg_kernels[i]));
        for (int j = 0; j < i; j++)
            assert_true(clg_space_id(clg_kernels[i]) != clg_space_id(clg_kernels[j]));
    }
    for (int i = 0; kernel->space[i].name; i++)
        space[i] = kernel->space[i];
    other.space = space;
    assert_true(clg_space_id(&other) == clg_space_id(kernel));
    space[0].value = space[0].allowed[0]; /* another default keeps records of values right */
    assert_true(clg_space_id(&other) == clg_space_id(kernel));
    space[1].allowed[0]++;
    assert_true(clg_space_id(&other) != clg_space_id(kernel));
    space[1] = kernel->space[1];
    space[1].name = "BO";
    assert_true(clg_space_id(&other) != clg_space_id(kernel));
    space[1].name = NULL;
    assert_true(clg_space_id(&other) != clg_space_id(kernel));
    other.space = kernel->space;
    other.name = "attend_x";
    assert_true(clg_space_id(&other) != clg_space_id(kernel));
}

/* The names of " -DNAME=1 -DOTHER=2" and of the space, each once. */
static void defines(void **state)
{
    clgaze_problem p = problem(CLGAZE_F16, 8, 2, 128, 64, 64);

    (void)state;
    for (int i = 0; clg_kernels[i]; i++) {
        const struct clg_kernel *kernel = clg_kernels[i];
        int values[CLG_MAX_PARAMS] = {0}, n = 0;
        char text[512] = "", names[24][24];
        struct clg_text print = {text, sizeof text, 0};

        clg_space_default(kernel, values);
        kernel->define(&p, values, &print);
        assert_in_range(print.used, 1, sizeof text - 1);
        for (int j = 0; kernel->space && kernel->space[j].name; j++)
            clg_define(&print, kernel->space[j].name, values[j]);
        for (char *at = strtok(text, " "); at; at = strtok(NULL, " ")) {
            assert_int_equal(strncmp(at, "-D", 2), 0);
            assert_non_null(strchr(at, '='));
            assert_in_range(n, 0, CLG_COUNT(names) - 1);
            snprintf(names[n], sizeof names[n], "%.*s", (int)strcspn(at + 2, "="), at + 2);
            for (int j = 0; j < n; j++)
                assert_string_not_equal(names[n], names[j]);
            n++;
        }
    }
}

static const struct clg_source *source(const char *name)
{
    const struct clg_source *s = clg_sources;

    while (s->name && strcmp(s->name, name) != 0)
        s++;
    return s->name ? s : NULL;
}

/* Is `word` a whole word somewhere in the sources, before a parenthesis? */
static bool mentions(const struct clg_kernel *kernel, const char *word)
{
    size_t n = strlen(word);

    for (int i = 0; kernel->sources[i]; i++) {
        const struct clg_source *s = source(kernel->sources[i]);

        for (size_t at = 1; at + n < s->size; at++)
            if (memcmp(s->text + at, word, n) == 0 && s->text[at + n] == '(' && isspace(s->text[at - 1]))
                return true;
    }
    return false;
}

static void check_sources(const struct clg_kernel *kernel)
{
    int entries = 0;

    assert_string_equal(kernel->sources[0], "common.cl");
    for (int i = 0; kernel->sources[i]; i++) {
        if (!source(kernel->sources[i]))
            fail_msg("%s: cl/%s is not embedded", kernel->name, kernel->sources[i]);
        assert_in_range(i, 0, CLG_MAX_SOURCES - 1);
    }
    for (; kernel->entries[entries]; entries++)
        if (!mentions(kernel, kernel->entries[entries]))
            fail_msg("%s: no source has a kernel %s", kernel->name, kernel->entries[entries]);
    assert_in_range(entries, 1, CLG_MAX_ENTRIES);
    assert_non_null(kernel->options);
}

static void sources(void **state)
{
    (void)state;
    for (int i = 0; clg_kernels[i]; i++)
        check_sources(clg_kernels[i]);
    check_sources(&clg_kernel_seqs);
    check_sources(&clg_kernel_lists);
}

static void keys(void **state)
{
    static const struct {
        const char *kernel, *key;
        int block_k;
    } rows[] = {
        {"attend", "f16 d128 b64 g4", 64},
        {"attend_cpu", "f16 d128 b64 g4", 64},
        {"attend", "f16 d128 b64x32 g4", 32},
        {"pool", "f16 d128 b64x32", 32},
        {"gate", "bf16 d128 dg128 single", 64},
        {"gate_clblast", "bf16 d128 dg128 single", 64},
        {"score", "f32 dg128", 64},
        {"select", "f32 count", 64},
        {"select_cpu", "f32 count", 64},
    };

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(rows); i++) {
        clgaze_problem p = problem(CLGAZE_F16, 8, 2, 128, 64, rows[i].block_k);
        char text[64] = "";
        struct clg_text print = {text, sizeof text, 0};

        p.weight_dtype = CLGAZE_BF16;
        clg_kernel_find(rows[i].kernel)->key(&p, &print);
        assert_string_equal(text, rows[i].key);
    }
    for (int i = 0; clg_kernels[i]; i++)
        assert_non_null(clg_kernels[i]->key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_order),
        cmocka_unit_test(public_list),
        cmocka_unit_test(spaces),
        cmocka_unit_test(texts),
        cmocka_unit_test(bad_texts),
        cmocka_unit_test(space_ids),
        cmocka_unit_test(defines),
        cmocka_unit_test(sources),
        cmocka_unit_test(keys),
        cmocka_unit_test(defaults_of_cpus),
    };

    return TEST_MAIN(tests);
}
