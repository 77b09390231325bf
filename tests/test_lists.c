/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_lists.c: lists that are wrong.  With problem.validate they are refused
 * and the row is named; without, what is out of range is skipped and nothing
 * is read outside.  Label: unit.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

/* 2 batches, 4 heads, 3 query blocks, 4 key blocks: 24 rows, each of {1, 3}. */
static const struct shape shape = {.batch = 2, .sq = 20, .sk = 28, .width = 4};
enum { ROWS = 24, WIDTH = 4, ENTRIES = 48 };

static clgaze_problem listed(clgaze_lists lists, int validate)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 16, 8, 8);

    p.lists = lists;
    p.validate = validate;
    p.causal = 0;
    fit_maxima(&p, &shape, 1);
    return p;
}

struct stand {
    struct test_case c;
    clgaze_plan *plan;
    struct placed at[ARRAYS];
    clgaze_tensors tensors;
    clgaze_call call;
};

static void regular(struct test_case *c)
{
    for (int row = 0; row < ROWS; row++) {
        static const int32_t list[WIDTH] = {1, 3, -1, -1};

        if (c->p.lists == CLGAZE_LISTS_BLOCKS) {
            memcpy((int32_t *)c->data[A_BLOCKS] + row * WIDTH, list, sizeof list);
            ((int32_t *)c->data[A_COUNTS])[row] = 2;
        } else {
            memcpy((int32_t *)c->data[A_INDICES] + row * 2, list, 2 * sizeof list[0]);
            ((int32_t *)c->data[A_INDPTR])[row + 1] = 2 * row + 2;
        }
    }
}

static void set_up(struct stand *s, clgaze_lists lists, int validate)
{
    clgaze_problem p = listed(lists, validate);
    clgaze_tensor each[ARRAYS];
    uint32_t used;
    cl_int err = CL_SUCCESS;

    memset(s, 0, sizeof *s);
    assert_ok(clgaze_attend_plan(test_context(), &p, &s->plan));
    case_make(&s->c, CLGAZE_ATTEND, &p, &shape, regular, 3);
    used = op_inputs(&s->c, CLGAZE_ATTEND) | op_outputs(&s->c, CLGAZE_ATTEND);
    memset(each, 0, sizeof each);
    for (int id = 0; id < ARRAYS; id++)
        if (used & BIT(id)) {
            assert_true(place(&s->c, test_context(), test_queue(), (enum array)id, id == A_OUT, &s->at[id]));
            each[id] = s->at[id].t;
        }
    memcpy(&s->tensors, each, sizeof each);
    s->call.queue = test_queue();
    s->call.workspace =
        clCreateBuffer(test_context()->cl, CL_MEM_READ_WRITE, clgaze_plan_workspace(s->plan) + 1, NULL, &err);
    assert_int_equal(err, CL_SUCCESS);
}

static void tear_down(struct stand *s)
{
    for (int id = 0; id < ARRAYS; id++)
        unplace(&s->at[id]);
    clReleaseMemObject(s->call.workspace);
    clgaze_plan_free(s->plan);
    case_free(&s->c);
}

/* Set one number of an array on the device; answers what was there. */
static int32_t poke(struct stand *s, int id, int index, int32_t value)
{
    struct placed *to = &s->at[id];
    size_t at = (to->t.offset + (size_t)index) * sizeof value;
    int32_t was;

    memcpy(&was, to->before + at, sizeof was);
    memcpy(to->before + at, &value, sizeof value);
    /* The whole: of a buffer that is written in part oclgrind takes the rest as never written. */
    assert_int_equal(clEnqueueWriteBuffer(test_queue(), to->mem, CL_TRUE, 0, to->bytes, to->before, 0, NULL, NULL),
                     CL_SUCCESS);
    return was;
}

static void fetch_all(struct stand *s, bool written, const char *row)
{
    for (int id = 0; id < ARRAYS; id++)
        if (s->at[id].mem && !fetch(&s->c, test_queue(), (enum array)id, written && id == A_OUT, &s->at[id]))
            fail_msg("%s: %s", row, s->c.why);
}

static void assert_works(struct stand *s, const char *row)
{
    forget();
    assert_ok(clgaze_attend(s->plan, &s->tensors, &s->call));
    assert_int_equal(clFinish(test_queue()), CL_SUCCESS);
    fetch_all(s, true, row);
    if (!check_results(&s->c, CLGAZE_ATTEND))
        fail_msg("%s: %s", row, s->c.why);
    assert_int_equal(clEnqueueWriteBuffer(test_queue(), s->at[A_OUT].mem, CL_TRUE, 0, s->at[A_OUT].bytes,
                                          s->at[A_OUT].before, 0, NULL, NULL),
                     CL_SUCCESS);
}

/* One number changed: in which array and where, to what, and the row that is then wrong. */
struct row {
    const char *what;
    clgaze_lists lists;
    int id, index;
    int32_t value;
    int row;
};
#define BLOCK(row, entry) CLGAZE_LISTS_BLOCKS, A_BLOCKS, (row)*WIDTH + (entry)
#define COUNT(row)        CLGAZE_LISTS_BLOCKS, A_COUNTS, (row)
#define INDEX(row, entry) CLGAZE_LISTS_CSR, A_INDICES, (row)*2 + (entry)
#define START(row)        CLGAZE_LISTS_CSR, A_INDPTR, (row)

static const struct row rows[] = {
    {"one past the last block", BLOCK(0, 1), 4, 0},
    {"greatest number", BLOCK(5, 1), INT32_MAX, 5},
    {"negative", BLOCK(11, 0), -1, 11},
    {"least number", BLOCK(12, 0), INT32_MIN, 12},
    {"repeated", BLOCK(13, 1), 1, 13},
    {"unsorted", BLOCK(23, 1), 0, 23},
    {"negative count", COUNT(0), -1, 0},
    {"least count", COUNT(7), INT32_MIN, 7},
    {"count over the width", COUNT(14), WIDTH + 1, 14},
    {"greatest count", COUNT(23), INT32_MAX, 23},
    {"count over the list", COUNT(8), 3, 8},
    {"one past the last block", INDEX(0, 1), 4, 0},
    {"greatest number", INDEX(5, 1), INT32_MAX, 5},
    {"negative", INDEX(11, 0), -1, 11},
    {"least number", INDEX(12, 0), INT32_MIN, 12},
    {"repeated", INDEX(13, 1), 1, 13},
    {"unsorted", INDEX(23, 1), 0, 23},
    {"negative start", START(0), -1, 0},
    {"least start", START(0), INT32_MIN, 0},
    {"start after the end", START(6), 11, 6}, /* row 6 then holds {3, 1, 3} */
    {"end before the start", START(10), 17, 9},
    {"end beyond the entries", START(ROWS), ENTRIES + 1, ROWS - 1},
    {"greatest end", START(ROWS), INT32_MAX, ROWS - 1},
    {"more entries than blocks", START(4), 13, 3},
};

static void validated(void **state)
{
    (void)state;
    for (int lists = CLGAZE_LISTS_BLOCKS; lists <= CLGAZE_LISTS_CSR; lists += 2) {
        struct stand s;

        set_up(&s, (clgaze_lists)lists, 1);
        assert_works(&s, "good lists");
        for (size_t i = 0; i < CLG_COUNT(rows); i++) {
            const struct row *r = &rows[i];
            char words[128];
            int32_t was;

            if ((int)r->lists != lists)
                continue;
            snprintf(words, sizeof words, "batch %d, head %d, query block %d |0..3|0..4", r->row / 12, r->row / 3 % 4,
                     r->row % 3);
            was = poke(&s, r->id, r->index, r->value);
            forget();
            assert_refused(r->what, clgaze_attend(s.plan, &s.tensors, &s.call), CLGAZE_ERR_LIST, words);
            fetch_all(&s, false, r->what);
            poke(&s, r->id, r->index, was);
            assert_works(&s, r->what);
        }
        tear_down(&s);
    }
}

/* Of several the first is named. */
static void first_bad_row(void **state)
{
    struct stand s;

    (void)state;
    set_up(&s, CLGAZE_LISTS_BLOCKS, 1);
    for (int row = ROWS - 1; row >= 16; row--)
        poke(&s, A_COUNTS, row, -1);
    forget();
    assert_refused("several", clgaze_attend(s.plan, &s.tensors, &s.call), CLGAZE_ERR_LIST,
                   "batch 1, head 1, query block 1 ");
    tear_down(&s);
}

/* ---- not validated ------------------------------------------------------------------- */

static const int32_t garbage[] = {-1, 100, INT32_MAX, INT32_MIN, 1 << 24, -2};

static int32_t some(int i)
{
    return garbage[(size_t)i % CLG_COUNT(garbage)];
}

/* Rows of blocks get a bad number before and after theirs, and bad counts where that changes nothing. */
static void spoil_blocks(struct test_case *c)
{
    int32_t *counts = c->data[A_COUNTS], *blocks = c->data[A_BLOCKS];
    int n_rows = (int)array_count(c, A_COUNTS);

    for (int row = 0; row < n_rows; row++) {
        int32_t *list = blocks + row * c->width;
        int n = counts[row];

        if (n == 0 && row & 1) {
            counts[row] = row & 2 ? -7 : INT32_MIN;
            continue;
        }
        assert_true(n + 2 <= c->width);
        memmove(list + 1, list, (size_t)n * sizeof *list);
        list[0] = some(row);
        list[n + 1] = some(row + 1);
        counts[row] = row % 3 ? n + 2 : row & 1 ? c->width + 5 : INT32_MAX;
    }
}

static void spoil_csr(struct test_case *c)
{
    int n_rows = (int)array_count(c, A_INDPTR) - 1, to = 0;
    int32_t *indptr = c->data[A_INDPTR], *from = c->data[A_INDICES];
    int32_t *indices = calloc((size_t)indptr[n_rows] + (size_t)n_rows * 2, sizeof *indices);

    assert_non_null(indices);
    for (int row = 0, begin = 0; row < n_rows; row++) {
        int end = indptr[row + 1];

        indices[to++] = some(row);
        for (; begin < end; begin++)
            indices[to++] = from[begin];
        indices[to++] = some(row + 1);
        indptr[row + 1] = to;
    }
    free(from);
    c->data[A_INDICES] = indices;
}

static void check_spoilt(const struct clg_kernel *kernel, clgaze_lists lists, int causal)
{
    struct shape wide = shape;
    clgaze_problem p = listed(lists, 0);
    clgaze_plan *plan = NULL;
    struct test_case c;

    wide.width = 6;
    p.causal = causal;
    p.kernel = kernel->name;
    assert_ok(clgaze_attend_plan(test_context(), &p, &plan));
    case_make(&c, CLGAZE_ATTEND, &p, &wide, NULL, 5);
    (lists == CLGAZE_LISTS_BLOCKS ? spoil_blocks : spoil_csr)(&c);
    if (!run_case(&c, CLGAZE_ATTEND, plan, test_context(), test_queue()) || !check_results(&c, CLGAZE_ATTEND))
        fail_msg("%s: %s", kernel->name, c.why);
    case_free(&c);
    clgaze_plan_free(plan);
}

static void skipped(void **state)
{
    (void)state;
    for (int i = 0; clg_kernels[i]; i++) {
        clgaze_problem p = listed(CLGAZE_LISTS_BLOCKS, 0);

        p.kernel = clg_kernels[i]->name;
        if (strcmp(clg_kernels[i]->op, "attend") != 0)
            continue;
        if (clgaze_supports(test_context(), CLGAZE_ATTEND, &p, NULL, 0) != CLGAZE_OK) {
            printf("skipped %s: it does not fit this device\n", p.kernel);
            continue;
        }
        for (int causal = 0; causal < 2; causal++) {
            check_spoilt(clg_kernels[i], CLGAZE_LISTS_BLOCKS, causal);
            check_spoilt(clg_kernels[i], CLGAZE_LISTS_CSR, causal);
        }
    }
}

/* Starts outside the entries are taken as their ends. */
static void clamped_starts(void **state)
{
    struct stand s;

    (void)state;
    set_up(&s, CLGAZE_LISTS_CSR, 0);
    poke(&s, A_INDPTR, 0, -9);
    poke(&s, A_INDPTR, ROWS, ENTRIES + 9);
    assert_works(&s, "near");
    poke(&s, A_INDPTR, 0, INT32_MIN);
    poke(&s, A_INDPTR, ROWS, INT32_MAX);
    assert_works(&s, "far");
    tear_down(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(validated),
        cmocka_unit_test(first_bad_row),
        cmocka_unit_test(skipped),
        cmocka_unit_test(clamped_starts),
    };

    return TEST_MAIN(tests);
}
