/* SPDX-License-Identifier: Apache-2.0 */
/*
 * harness.h: what every test needs.
 *
 * A test_case is a problem, the lengths of one call, and every array of the
 * pipeline on the host.  Its inputs are random, ref/ makes what is wanted, and
 * run_case() makes the device compute the same from tensors that lie at random
 * offsets with random strides between guards.  check_op() does so for every
 * kernel of an operation, with the configuration that a plan would have and some
 * random ones.
 *
 * Environment:
 *   CLGAZE_TEST_DEVICE=TEXT   the device under test, as `pick` in context.h
 *   CLGAZE_TEST_SIZE=tiny     small shapes only, and of those some in turn, for slow runtimes
 *   CLGAZE_TEST_SHARE=N       every N-th of the shapes, for a sample
 *   CLGAZE_TEST_SEED=N        another seed; a failure prints it
 *   CLGAZE_TEST_CONFIGS=N     random configurations of each kernel and problem, beside the first
 */
#ifndef CLG_TESTS_HARNESS_H
#define CLG_TESTS_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "internal.h"
#include "ref.h"

/* ---- harness.c: the device under test, random numbers, number formats ---- */

/* The context under test, made once; NULL options but for device, log and cache (none). */
clgaze_context *test_context(void);
clgaze_context_options test_options(void);
cl_command_queue test_queue(void);
bool tiny(void);
int number_from(const char *variable, int otherwise); /* of the environment */
/* Is the device oclgrind's? */
bool simulated(const clgaze_context *ctx);
/* On oclgrind the test is skipped: what oclgrind does there. */
void skip_simulated(const char *why);
/* Answers 77 where there is no OpenCL device, else runs the tests. */
int test_main(const struct CMUnitTest *tests, size_t n);
#define TEST_MAIN(tests) test_main(tests, CLG_COUNT(tests))
/* Under the address sanitizer: report what leaked and end. Now, since at exit it would look at the
 * runtime's threads while they end, which it may not survive. */
void check_leaks(void);

/* The last error sentence of this thread and its status; "" and OK after forget(). */
const char *last_error(void);
clgaze_status last_status(void);
int error_count(void); /* error sentences since forget() */
void forget(void);
void test_log(void *user, clgaze_log_level level, clgaze_status status, const char *message);
/* Like assert_int_equal(status, CLGAZE_OK), with the library's sentence. */
void assert_ok(clgaze_status status);
/* Refused with that status and one sentence that holds each of the words, which '|' parts. */
void assert_refused(const char *row, clgaze_status got, clgaze_status wanted, const char *words);
void assert_says(const char *row, const char *text, const char *words);

struct rng {
    uint64_t state;
};
struct rng seeded(uint64_t salt); /* the seed of this run, stirred with `salt` */
uint64_t test_seed(void);
uint32_t below(struct rng *r, uint32_t n);
float normal(struct rng *r);

float rounded(float x, clgaze_dtype dtype); /* to the nearest number of that type */
void put_float(unsigned char *at, float x, clgaze_dtype dtype);
float get_float(const unsigned char *at, clgaze_dtype dtype);

/* ---- cases.c: a problem with its arrays ---------------------------------- */

/* In the order of clgaze_tensors. */
enum array {
    A_Q,
    A_K,
    A_V,
    A_Q_GATE,
    A_K_GATE,
    A_INV_FREQ,
    A_W_K,
    A_W_Q,
    A_Q_POOLED,
    A_K_POOLED,
    A_Q_GATED,
    A_K_GATED,
    A_SCORES,
    A_COUNTS,
    A_BLOCKS,
    A_MASK,
    A_INDPTR,
    A_INDICES,
    A_CU_Q,
    A_CU_K,
    A_OUT,
    A_LSE,
    A_TRUTH,
    A_DOUT,
    A_DQ,
    A_DK,
    A_DV,
    A_DW_K,
    A_DW_Q,
    A_MOMENTS_K,
    A_MOMENTS_Q,
    A_LOSS,
    ARRAYS
};
#define BIT(id) (1u << (id))
extern const char *const array_names[ARRAYS];

enum { MAX_SEQS = 6, MAX_SHAPES = 24 };

/* The lengths of a call; sequences > 0: packed, of these lengths. */
struct shape {
    int batch, sq, sk;
    int sequences;
    int q[MAX_SEQS], k[MAX_SEQS];
    int score_heads; /* of the scores that select gets; 0: Hq                     */
    int width;       /* of a row of blocks; 0: problem.width, else all key blocks */
};

struct test_case {
    clgaze_problem p;
    struct shape n;
    int score_heads, width; /* of scores and blocks                                 */
    uint32_t absent;        /* arrays that the call does not get                    */
    void *data[ARRAYS];     /* inputs; outputs: what the device made                */
    void *want[ARRAYS];     /* outputs: what ref/ makes of the inputs               */
    int32_t *first;         /* select: the lists of the first kernel                */
    double slack;           /* of tolerances, where f32 itself is less exact; 0: 1  */
    double error;           /* greatest share of an allowed error so far            */
    struct rng rng;
    char why[768]; /* what was wrong                                       */
};

/* Random inputs of `op`, and what ref/ makes of them; tweak may change the inputs between. */
typedef void (*tweak_fn)(struct test_case *c);
void case_make(struct test_case *c, clgaze_op op, const clgaze_problem *p, const struct shape *n, tweak_fn tweak,
               uint64_t salt);
/* A tweak of attention: every logit is about -200.  A running maximum that starts at 0 shows here. */
void far_below_zero(struct test_case *c);
void case_free(struct test_case *c);
void case_print(const struct test_case *c, struct clg_text *text);
/* Run ref/ over data and want; `from` is where the operation's inputs lie. */
void case_want(struct test_case *c, clgaze_op op);

uint32_t op_inputs(const struct test_case *c, clgaze_op op);
uint32_t op_outputs(const struct test_case *c, clgaze_op op);
/* Shape, type and rank of an array. */
int array_shape(const struct test_case *c, enum array id, int64_t shape[4], clgaze_dtype *dtype);
size_t array_count(const struct test_case *c, enum array id);
size_t array_bytes(const struct test_case *c, enum array id); /* of c->data[id] */
void *array_copy(const struct test_case *c, enum array id);   /* yours to free  */
bool is_float(enum array id);
struct clg_ref as_ref(const struct test_case *c, void *const results[ARRAYS]);
/* Set the problem's maxima to those of the shapes. */
void fit_maxima(clgaze_problem *p, const struct shape *shapes, int n);

/* ---- place.c: arrays on the device ---------------------------------------- */

struct placed {
    cl_mem mem;
    clgaze_tensor t;
    unsigned char *before; /* what the buffer held before the call */
    size_t bytes;
};

/* Put an array into a new buffer between guards; `output`: NaN or poison instead of data. */
bool place(struct test_case *c, clgaze_context *ctx, cl_command_queue queue, enum array id, bool output,
           struct placed *to);
/* Read it back: outputs into c->data; false if a byte outside the output changed. */
bool fetch(struct test_case *c, cl_command_queue queue, enum array id, bool output, struct placed *from);
void unplace(struct placed *p);

/* Everything that one call of an operation touches. */
struct placed_case {
    struct placed at[ARRAYS], workspace; /* each in a buffer of its own             */
    clgaze_tensors tensors;
    clgaze_call call; /* queue, workspace and lengths: neither waits nor is waited for */
};

bool place_case(struct test_case *c, clgaze_op op, const clgaze_plan *plan, clgaze_context *ctx,
                cl_command_queue queue, struct placed_case *to);
bool fetch_case(struct test_case *c, clgaze_op op, const clgaze_plan *plan, cl_command_queue queue,
                struct placed_case *from);
void unplace_case(struct placed_case *x);

/* Run the operation on tensors of our own and fetch the results into c->data. */
bool run_case(struct test_case *c, clgaze_op op, const clgaze_plan *plan, clgaze_context *ctx,
              cl_command_queue queue);

/* ---- compare.c, walk.c: comparing, and walking the kernels -------------------------- */

/* Relative norm within `tolerance`, no element off by more than 50 times that. */
bool near(struct test_case *c, const char *name, const float *got, const float *want, size_t n, double tolerance);
void assert_near(struct test_case *c, enum array id, const float *want); /* c->data[id], f32 */
double out_tolerance(clgaze_dtype dtype);
/* Compare c->data with c->want. */
bool check_results(struct test_case *c, clgaze_op op);
/* Are the lists in c->data those that ref/ chooses from `scores`, but for what the bounds leave open? */
bool check_lists(struct test_case *c, const float *scores);

/* A plan; a call as run_case() makes it; each or the test fails. */
clgaze_plan *plan_of(clgaze_op op, const clgaze_problem *p);
void run_or_fail(struct test_case *c, clgaze_op op, const clgaze_plan *plan);
/* law(problem) with each kernel of `op` that serves it here forced. */
void every_kernel(clgaze_op op, const clgaze_problem *p, void (*law)(const clgaze_problem *p));
/* Every kernel of `op` that fits, first choice and random configurations, over every shape. */
void check_op(clgaze_op op, const clgaze_problem *p, const struct shape *shapes, int n, tweak_fn tweak);
/* One plan as the library chooses it. */
void check_auto(clgaze_op op, const clgaze_problem *p, const struct shape *shapes, int n, tweak_fn tweak);
int print_summary(void **state); /* runs, and configurations skipped with the reason */

/* A problem of the usual form: gate defaults, blocks of `block`, D of `dim`. */
clgaze_problem problem(clgaze_dtype dtype, int q_heads, int kv_heads, int dim, int block_q, int block_k);

#endif
