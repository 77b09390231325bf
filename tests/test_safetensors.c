/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_safetensors.c: the reader refuses every malformed file with a sentence,
 * and reads back what the writer wrote.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "safetensors.h"

static char folder[512];

static const char *path_of(const char *name)
{
    static char path[768];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "%s/safetensors.XXXXXX", CLGAZE_TEST_BUILD_DIR);
    return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state)
{
    (void)state;
    unlink(path_of("a"));
    unlink(path_of("b"));
    return rmdir(folder);
}

/* A file of that header length, header and so many bytes of data. */
static unsigned char *file_of(uint64_t length, const char *header, size_t n, size_t data, size_t *size)
{
    *size = 8 + n + data;
    unsigned char *bytes = calloc(1, *size + 1);
    assert_non_null(bytes);
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(length >> 8 * i);
    memcpy(bytes + 8, header, n);
    return bytes;
}

/* The sentence holds every word of `words`, which are split by '|'. */
static void assert_says(const char *why, const char *words)
{
    char copy[256];
    snprintf(copy, sizeof copy, "%s", words);
    for (char *word = strtok(copy, "|"); word; word = strtok(NULL, "|"))
        if (!strstr(why, word))
            fail_msg("\"%s\" does not say \"%s\"", why, word);
    assert_null(strchr(why, '\n'));
}

static void refused(const char *header, size_t data, const char *words)
{
    size_t size;
    st_file *file = NULL;
    char why[ST_WHY] = "";
    unsigned char *bytes = file_of(strlen(header), header, strlen(header), data, &size);
    int answer = st_parse(bytes, size, &file, why, sizeof why);
    if (!answer) {
        st_close(file);
        fail_msg("accepted: %s", header);
    }
    assert_null(file);
    assert_says(why, words);
}

/* ------------------------------------------------------------------------ */

#define T(dtype, shape, offsets) "{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static const struct {
    const char *header;
    size_t data;
    const char *words;
} malformed[] = {
    {"[1,2]", 0, "header|JSON object"},
    {"null", 0, "header|JSON object"},
    {"{\"a\":", 0, "header|JSON object"},
    {"{\"a\" 1}", 0, "header|JSON object"},
    {"{} x", 0, "header|goes on"},
    {"{}{}", 0, "header|goes on"},
    {" {}", 0, "header|JSON object"},
    {"{\"a\":1}", 0, "tensor a|not an object"},
    {"{\"a\":{}}", 0, "tensor a|dtype"},
    {"{\"a\":{\"dtype\":\"F32\"}}", 0, "tensor a|shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "tensor a|data_offsets"},
    {"{\"a\":" T("7", "[1]", "[0,4]") "}", 4, "tensor a|dtype|string"},
    {"{\"a\":" T("\"F4\"", "[1]", "[0,4]") "}", 4, "tensor a|F4|BF16"},
    {"{\"a\":" T("\"f32\"", "[1]", "[0,4]") "}", 4, "tensor a|f32"},
    {"{\"a\":" T("\"F32\"", "1", "[0,4]") "}", 4, "tensor a|shape|list"},
    {"{\"a\":" T("\"F32\"", "{}", "[0,4]") "}", 4, "tensor a|shape|list"},
    {"{\"a\":" T("\"F32\"", "[\"1\"]", "[0,4]") "}", 4, "tensor a|shape|number"},
    {"{\"a\":" T("\"F32\"", "[-1]", "[0,4]") "}", 4, "tensor a|-1|whole"},
    {"{\"a\":" T("\"F32\"", "[1.5]", "[0,4]") "}", 4, "tensor a|1.5|whole"},
    {"{\"a\":" T("\"F32\"", "[1e300]", "[0,4]") "}", 4, "tensor a|1e+300|whole"},
    {"{\"a\":" T("\"F32\"", "[9007199254740994]", "[0,4]") "}", 4, "tensor a|whole"},
    {"{\"a\":" T("\"F32\"", "[4294967296,4294967296]", "[0,4]") "}", 4, "tensor a|multiply"},
    {"{\"a\":" T("\"F32\"", "[4503599627370496,1024]", "[0,4]") "}", 4, "tensor a|multiply"},
    {"{\"a\":" T("\"U8\"", "[1,1,1,1,1,1,1,1,1]", "[0,1]") "}", 1, "tensor a|8 dimensions"},
    {"{\"a\":" T("\"F32\"", "[1]", "4") "}", 4, "tensor a|data_offsets|two"},
    {"{\"a\":" T("\"F32\"", "[1]", "[0]") "}", 4, "tensor a|data_offsets|two"},
    {"{\"a\":" T("\"F32\"", "[1]", "[0,4,8]") "}", 4, "tensor a|data_offsets|two"},
    {"{\"a\":" T("\"F32\"", "[1]", "[0,null]") "}", 4, "tensor a|data_offsets|whole"},
    {"{\"a\":" T("\"F32\"", "[1]", "[-4,0]") "}", 4, "tensor a|data_offsets|whole"},
    {"{\"a\":" T("\"F32\"", "[1]", "[0,4.5]") "}", 4, "tensor a|data_offsets|whole"},
    {"{\"a\":" T("\"F32\"", "[1]", "[4,0]") "}", 4, "tensor a|backwards"},
    {"{\"a\":" T("\"F32\"", "[2]", "[0,8]") "}", 4, "tensor a|truncated"},
    {"{\"a\":" T("\"F32\"", "[2]", "[0,4]") "}", 4, "tensor a|[2]|takes 8"},
    {"{\"a\":" T("\"F32\"", "[]", "[0,8]") "}", 8, "tensor a|[]|takes 4"},
    {"{\"a\":" T("\"F32\"", "[0]", "[0,4]") "}", 4, "tensor a|[0]|takes 0"},
    {"{\"a\":" T("\"U8\"", "[4]", "[0,4]") ",\"b\":" T("\"U8\"", "[4]", "[2,6]") "}", 6,
     "tensor b|overlaps|tensor a"},
    {"{\"a\":" T("\"U8\"", "[4]", "[0,4]") ",\"b\":" T("\"U8\"", "[4]", "[0,4]") "}", 4, "overlaps"},
    {"{\"a\":" T("\"U8\"", "[2]", "[0,2]") ",\"b\":" T("\"U8\"", "[2]", "[4,6]") "}", 6, "tensor b|none"},
    {"{\"a\":" T("\"U8\"", "[2]", "[1,3]") "}", 3, "tensor a|none"},
    {"{\"a\":" T("\"U8\"", "[2]", "[0,2]") "}", 3, "end at byte 2|has 3"},
    {"{}", 1, "end at byte 0|has 1"},
    {"{\"a\":" T("\"U8\"", "[1]", "[0,1]") ",\"a\":" T("\"U8\"", "[1]", "[1,2]") "}", 2, "tensor a|twice"},
    {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "tensor a|dtype|twice"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "tensor a|shape|twice"},
    {"{\"__metadata__\":[]}", 0, "__metadata__|map"},
    {"{\"__metadata__\":\"x\"}", 0, "__metadata__|map"},
    {"{\"__metadata__\":{\"k\":1}}", 0, "__metadata__|key k|string"},
    {"{\"__metadata__\":{\"k\":\"1\",\"j\":\"\",\"k\":\"2\"}}", 0, "__metadata__|key k|twice"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__|twice"},
    {"{\"a\\nb\":" T("\"F4\"", "[1]", "[0,4]") "}", 4, "tensor a?b"},
};

static void test_malformed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++)
        refused(malformed[i].header, malformed[i].data, malformed[i].words);
}

static void test_header_length(void **state)
{
    static const struct {
        uint64_t length;
        size_t header;
        const char *words;
    } cases[] = {
        {0, 2, "header length is 0"},
        {1, 2, "header length is 1"},
        {3, 2, "header length is 3|2 bytes|truncated"},
        {100000001, 2, "header length is 100000001|100000000"},
        {UINT64_MAX, 2, "header length is 18446744073709551615"},
        {UINT64_MAX - 7, 2, "header length"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size;
        st_file *file;
        char why[ST_WHY];
        unsigned char *bytes = file_of(cases[i].length, "{}", cases[i].header, 0, &size);
        assert_int_equal(st_parse(bytes, size, &file, why, sizeof why), -1);
        assert_says(why, cases[i].words);
    }
}

/* Deep or endless nesting must not end the process. */
static void test_nesting(void **state)
{
    enum { DEEP = 100000 };
    char *header = malloc(DEEP + 16);
    (void)state;
    assert_non_null(header);
    memcpy(header, "{\"a\":", 5);
    memset(header + 5, '[', DEEP);
    header[5 + DEEP] = 0;
    refused(header, 0, "header|JSON object");
    free(header);
}

/* ------------------------------------------------------------------------ */

static const float floats[6] = {0.0F, -1.5F, 3.25F, 1e-30F, -1e30F, 7.0F};
static const int32_t ints[3] = {-1, 0, 2147483647};
static const uint16_t halves[6] = {0x3c00, 0xc000, 0x0001, 0x7c00, 0xfc00, 0x7bff};
static const uint16_t brains[3] = {0x3f80, 0xc000, 0x7f80};
static const uint8_t bytes3[3] = {0, 1, 255};

static const st_tensor written[] = {
    {.name = "u", .dtype = ST_U8, .rank = 1, .shape = {3}, .data = bytes3},
    {.name = "f", .dtype = ST_F32, .rank = 3, .shape = {1, 2, 3}, .data = floats},
    {.name = "h", .dtype = ST_F16, .rank = 2, .shape = {3, 2}, .data = halves},
    {.name = "i", .dtype = ST_I32, .rank = 1, .shape = {3}, .data = ints},
    {.name = "b", .dtype = ST_BF16, .rank = 1, .shape = {3}, .data = brains},
    {.name = "empty", .dtype = ST_F32, .rank = 2, .shape = {0, 5}, .data = floats},
    {.name = "scalar", .dtype = ST_F32, .rank = 0, .data = floats + 1},
    {.name = "a \"quoted\" \xc3\xa9", .dtype = ST_BOOL, .rank = 1, .shape = {2}, .data = bytes3},
};

enum { N_WRITTEN = sizeof written / sizeof *written };

static const st_pair pairs[] = {{"op", "attend"}, {"block", "64"}, {"note", "two\nlines"}};

static st_file *read_back(const char *path)
{
    st_file *file;
    char why[ST_WHY];
    if (st_open(path, &file, why, sizeof why))
        fail_msg("%s", why);
    return file;
}

static void test_round_trip(void **state)
{
    char why[ST_WHY];
    (void)state;
    assert_int_equal(st_write(path_of("a"), written, N_WRITTEN, pairs, 3, why, sizeof why), 0);
    st_file *file = read_back(path_of("a"));
    assert_int_equal(file->n_tensors, N_WRITTEN);
    for (size_t i = 0; i < N_WRITTEN; i++) {
        const st_tensor *t = st_find(file, written[i].name);
        assert_non_null(t);
        assert_int_equal(t->dtype, written[i].dtype);
        assert_int_equal(t->rank, written[i].rank);
        assert_memory_equal(t->shape, written[i].shape, sizeof(int64_t) * (size_t)t->rank);
        assert_memory_equal(t->data, written[i].data, t->bytes);
        assert_int_equal(t->bytes, t->elements * st_dtype_size(t->dtype));
    }
    assert_string_equal(st_meta(file, "op"), "attend");
    assert_string_equal(st_meta(file, "note"), "two\nlines");
    assert_null(st_meta(file, "none"));
    assert_null(st_find(file, "none"));
    st_close(file);
    st_close(NULL);
}

/* In whatever order they come, the bytes are the same and each is aligned. */
static void test_deterministic(void **state)
{
    st_tensor turned[N_WRITTEN];
    st_pair other[3] = {pairs[2], pairs[0], pairs[1]};
    char why[ST_WHY], a[4096], b[4096], first[768];
    (void)state;
    for (size_t i = 0; i < N_WRITTEN; i++)
        turned[i] = written[N_WRITTEN - 1 - i];
    snprintf(first, sizeof first, "%s", path_of("a"));
    assert_int_equal(st_write(first, written, N_WRITTEN, pairs, 3, why, sizeof why), 0);
    assert_int_equal(st_write(path_of("b"), turned, N_WRITTEN, other, 3, why, sizeof why), 0);
    FILE *x = fopen(first, "rb"), *y = fopen(path_of("b"), "rb");
    assert_non_null(x);
    assert_non_null(y);
    size_t n = fread(a, 1, sizeof a, x);
    assert_int_equal(fread(b, 1, sizeof b, y), n);
    assert_memory_equal(a, b, n);
    fclose(x);
    fclose(y);
    assert_int_equal((unsigned char)a[0] % 8, 0); /* the header's length */
    st_file *file = read_back(first);
    for (size_t i = 0; i < file->n_tensors; i++) {
        size_t at = (size_t)((const unsigned char *)file->tensors[i].data - file->bytes);
        assert_int_equal(at % st_dtype_size(file->tensors[i].dtype), 0);
    }
    st_close(file);
}

static void test_values(void **state)
{
    static const double want[] = {1.0, -2.0, 1.0 / 16777216, INFINITY, -INFINITY, 65504.0};
    (void)state;
    for (size_t i = 0; i < 6; i++) {
        assert_true(st_value(&written[2], i) == want[i]);
        assert_true(st_value(&written[1], i) == (double)floats[i]);
    }
    assert_true(st_value(&written[4], 1) == -2.0);
    assert_true(isinf(st_value(&written[4], 2)));
    assert_true(st_value(&written[3], 2) == 2147483647.0);
    assert_true(st_value(&written[0], 2) == 255.0);
    static const uint16_t nan16 = 0x7e00;
    st_tensor t = {.dtype = ST_F16, .data = &nan16};
    assert_true(isnan(st_value(&t, 0)));
    static const double d = 0.1;
    static const int64_t l = -5;
    assert_true(st_value(&(st_tensor){.dtype = ST_F64, .data = &d}, 0) == (double)0.1);
    assert_true(st_value(&(st_tensor){.dtype = ST_I64, .data = &l}, 0) == -5.0);
}

/* Every prefix of a good file is refused. */
static void test_truncated(void **state)
{
    char why[ST_WHY];
    unsigned char whole[4096];
    (void)state;
    assert_int_equal(st_write(path_of("a"), written, N_WRITTEN, pairs, 3, why, sizeof why), 0);
    FILE *in = fopen(path_of("a"), "rb");
    assert_non_null(in);
    size_t n = fread(whole, 1, sizeof whole, in);
    fclose(in);
    for (size_t size = 0; size < n; size++) {
        st_file *file;
        unsigned char *part = malloc(size + 1);
        assert_non_null(part);
        memcpy(part, whole, size);
        assert_int_equal(st_parse(part, size, &file, why, sizeof why), -1);
        assert_null(file);
    }
}

static void test_paths(void **state)
{
    st_file *file;
    char why[ST_WHY], missing[1024];
    (void)state;
    snprintf(missing, sizeof missing, "%s/no/such", folder);
    assert_int_equal(st_open(missing, &file, why, sizeof why), -1);
    assert_says(why, "cannot be read");
    assert_int_equal(st_open(folder, &file, why, sizeof why), -1);
    assert_says(why, "not a regular file");
    assert_int_equal(st_write(missing, written, 1, NULL, 0, why, sizeof why), -1);
    assert_says(why, "cannot be written");
    /* A device is written to, not replaced. */
    assert_int_equal(st_write("/dev/null", written, 1, NULL, 0, why, sizeof why), 0);
    struct stat info;
    assert_int_equal(stat("/dev/null", &info), 0);
    assert_true(S_ISCHR(info.st_mode));
}

/* Nothing but the file itself is left behind, and it can be replaced. */
static void test_replace(void **state)
{
    char why[ST_WHY];
    (void)state;
    assert_int_equal(st_write(path_of("a"), written, N_WRITTEN, NULL, 0, why, sizeof why), 0);
    assert_int_equal(st_write(path_of("a"), written, 1, NULL, 0, why, sizeof why), 0);
    st_file *file = read_back(path_of("a"));
    assert_int_equal(file->n_tensors, 1);
    assert_int_equal(file->n_meta, 0);
    st_close(file);
}

static void test_unwritable_shape(void **state)
{
    char why[ST_WHY];
    st_tensor t = {.name = "t", .dtype = ST_F32, .rank = 2, .shape = {INT64_MAX, 8}, .data = floats};
    (void)state;
    assert_int_equal(st_write(path_of("b"), &t, 1, NULL, 0, why, sizeof why), -1);
    t.shape[0] = -1;
    assert_int_equal(st_write(path_of("b"), &t, 1, NULL, 0, why, sizeof why), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_malformed),        cmocka_unit_test(test_header_length), cmocka_unit_test(test_nesting),
        cmocka_unit_test(test_round_trip),       cmocka_unit_test(test_deterministic), cmocka_unit_test(test_values),
        cmocka_unit_test(test_truncated),        cmocka_unit_test(test_paths),         cmocka_unit_test(test_replace),
        cmocka_unit_test(test_unwritable_shape),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
