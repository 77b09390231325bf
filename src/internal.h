/* SPDX-License-Identifier: Apache-2.0 */
/*
 * internal.h: the private face of the library.
 *
 * Three nouns: a *problem* (what is asked, clgaze_problem), a *kernel* (one
 * strategy of one operation, struct clg_kernel) and a *plan* (a kernel built
 * for a problem on a device).
 */
#ifndef CLG_INTERNAL_H
#define CLG_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clgaze/clgaze.h"

#define CLG_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define CLG_OPS          5 /* pool .. attend; prefill is made of them */
#define CLG_STAGES       (CLGAZE_ATTEND_BWD + 1)
/* Most workspace of scores and merged rows, unless one row of blocks of all heads needs more. */
#define CLG_SLICE_BYTES  ((size_t)64 << 20)

/* ---- status.c ---------------------------------------------------------- */

#if defined(__GNUC__)
#define CLG_PRINTF(a, b) __attribute__((format(printf, a, b)))
#else
#define CLG_PRINTF(a, b)
#endif

void clg_log(const clgaze_context *ctx, clgaze_log_level level, clgaze_status st, const char *format, ...)
    CLG_PRINTF(4, 5);
/* Log one error sentence and return its status. */
clgaze_status clg_fail(const clgaze_context *ctx, clgaze_status st, const char *format, ...) CLG_PRINTF(3, 4);
clgaze_status clg_fail_cl(const clgaze_context *ctx, cl_int err, const char *call);

/*
 * The three words of the error idiom.  A function that uses them has `ctx`,
 * `clgaze_status st` and a label `out:` that releases what it still holds.
 */
#define TRY(call)                                                                                                    \
    do {                                                                                                             \
        if ((st = (call)) != CLGAZE_OK)                                                                              \
            goto out;                                                                                                \
    } while (0)

#define TRY_CL(call)                                                                                                 \
    do {                                                                                                             \
        cl_int err_ = (call);                                                                                        \
        if (err_ != CL_SUCCESS) {                                                                                    \
            st = clg_fail_cl(ctx, err_, #call);                                                                      \
            goto out;                                                                                                \
        }                                                                                                            \
    } while (0)

#define NEED(cond, code, ...)                                                                                        \
    do {                                                                                                             \
        if (!(cond)) {                                                                                               \
            st = clg_fail(ctx, (code), __VA_ARGS__);                                                                 \
            goto out;                                                                                                \
        }                                                                                                            \
    } while (0)

/* ---- device.c ---------------------------------------------------------- */

/* What kernels may ask about a device.  Vendor work-arounds live in one table
 * in device.c, never in a kernel. */
struct clg_device {
    cl_device_id id;
    bool cpu, pocl, rusticl;
    size_t local_bytes, max_group, max_item[3], max_alloc, compute_units, float_width;
    int nv_arch;         /* NVIDIA's compute capability, 90 for 9.0; 0: another vendor */
    double launch_macs;  /* multiply-adds that surely end within some 0.2 s: longer launches are cut; 0: none is */
    const char *options; /* what every kernel is compiled with here */
    char platform[128], platform_version[128], vendor[128], name[128], driver[64];
};

clgaze_status clg_device_read(const clgaze_context *ctx, cl_device_id id, struct clg_device *device);
clgaze_status clg_device_pick(const clgaze_context *ctx, const char *pick, cl_device_id *device);

/* ---- context.c --------------------------------------------------------- */

struct clg_store; /* program.c: the programs of a context */
struct clg_program;
struct clg_records; /* records.h */
struct clg_misses;  /* misses.c: problems planned without a record */
struct clg_source;

struct clgaze_context {
    cl_context cl;
    cl_command_queue queue; /* our own: warms kernels while a plan is made */
    cl_mem dummy;           /* stands in for every tensor while warming    */
    struct clg_device device;
    clgaze_log_fn log;
    void *log_user;
    clgaze_log_level log_level;
    void *(*alloc)(void *user, size_t size);
    void (*release)(void *user, void *p);
    void *alloc_user;
    char *cache_dir;  /* NULL: no binary cache                              */
    char *tuning_dir; /* of the user's tuned records; NULL: none          */
    struct clg_store *store;
    struct clg_records *records;             /* what is known to be quick; records.h      */
    int nearest;                             /* how near a record must be to be used; -1: none is */
    bool tried_only;                         /* no record that nobody measured           */
    double tuning_seconds;                   /* of a plan without a record; 0: it is not tuned    */
    double building;                         /* seconds a kernel took to build, where the tuner need not ask; or 0 */
    struct clg_misses *misses;               /* NULL: of no interest                              */
    const struct clg_kernel *const *kernels; /* to choose from: clg_kernels, or a test's */
    const struct clg_source *sources;        /* clg_sources, or a test's                 */
    size_t slice_bytes;                      /* CLG_SLICE_BYTES, or a test's             */
};

/* A context whose errors are news, not failures: it passes them on as debug
 * messages and keeps the first as a reason.  All else is its owner's. */
struct clg_ear {
    clgaze_context ctx;
    const clgaze_context *owner;
    char reason[512];
};
void clg_ear_open(struct clg_ear *ear, const clgaze_context *owner);

void *clg_alloc(const clgaze_context *ctx, size_t size); /* zeroed; NULL when memory ran out */
void clg_release(const clgaze_context *ctx, void *p);
char *clg_copy_text(const clgaze_context *ctx, const char *text);

/* ---- kernels.c: the records -------------------------------------------- */

/* A tunable: name, default, allowed values (ascending, ends with 0). */
struct clg_param {
    const char *name;
    int value;
    int allowed[8];
};
#define CLG_MAX_PARAMS  8
#define CLG_MAX_SOURCES 12 /* files of a strategy */

struct clg_run;
struct clg_stage;
struct clg_text;

/* A strategy of an operation: everything that the library knows about it. */
struct clg_kernel {
    const char *op, *name;
    const struct clg_param *space; /* ends with a NULL name; NULL: nothing to tune  */
    const char *const *sources;    /* names under cl/, joined in this order         */
    const char *const *entries;    /* kernel functions, ends with NULL              */
    const char *options;           /* compiler options beside the -D                */
    bool prove;                    /* an optional path: no plan uses it before it has passed clg_selftest() here */
    bool cpu; /* made for CPUs: where it fits, the tuner tries no other, which are several times slower there */
    /* Make of a built program the one to use; NULL: it is that. */
    clgaze_status (*rework)(clgaze_context *ctx, const char *options, cl_program *program);
    /* The problem as the tuner's key: "f16 d128 b64 g4". */
    void (*key)(const clgaze_problem *p, struct clg_text *text);
    /* The -D values that come from the problem (those of the space are added). */
    void (*define)(const clgaze_problem *p, const int *values, struct clg_text *text);
    /* NULL, or why this device cannot run the problem with these values. */
    const char *(*fits)(const struct clg_device *device, const clgaze_problem *p, const int *values);
    /* Make what the stage keeps beside its kernels, and set stage->workspace; NULL: nothing. */
    clgaze_status (*prepare)(clgaze_context *ctx, const clgaze_problem *p, struct clg_stage *stage);
    /* Enqueue. */
    clgaze_status (*launch)(struct clg_run *run);
};

extern const struct clg_kernel *const clg_kernels[]; /* pipeline order, preferred first; ends with NULL */
extern const struct clg_kernel clg_kernel_dense; /* break_even.c: what records name, no kernel: not of the table */
const struct clg_kernel *clg_kernel_find(const char *name);
const struct clg_kernel *clg_kernel_in(const struct clg_kernel *const *table, const char *name);
int clg_space_size(const struct clg_kernel *kernel);                         /* configurations          */
void clg_space_get(const struct clg_kernel *kernel, int index, int *values); /* the index-th of them    */
void clg_space_default(const struct clg_kernel *kernel, int *values);        /* of any device           */
/* Parse " BM=64 KT=32" over the values already there. */
clgaze_status clg_space_parse(const clgaze_context *ctx, const struct clg_kernel *kernel, const char *text,
                              int *values);
void clg_space_print(const struct clg_kernel *kernel, const int *values, struct clg_text *text);
/* Steps between two configurations, counted along each tunable. */
int clg_space_distance(const struct clg_kernel *kernel, const int *a, const int *b);
uint64_t clg_space_id(const struct clg_kernel *kernel);
int clg_space_value(const struct clg_kernel *kernel, const int *values, const char *name);

/* ---- text.c: a bounded string that grows by printf ---------------------- */

struct clg_text {
    char *at;
    size_t size, used; /* used counts what would have been written */
};
void clg_put(struct clg_text *text, const char *format, ...) CLG_PRINTF(2, 3);
void clg_define(struct clg_text *text, const char *name, long value); /* " -DNAME=value" */
uint64_t clg_hash(uint64_t hash, const void *data, size_t size);      /* FNV-1a          */
#define CLG_HASH_SEED 0xcbf29ce484222325ull

/* ---- numbers.c ------------------------------------------------------------ */

uint32_t clg_random(uint64_t *state);
/* Numbers of 7 bits or less only: nothing is rounded and no half is subnormal. */
void clg_encode(float x, clgaze_dtype dtype, unsigned char *at);
float clg_decode(const unsigned char *at, clgaze_dtype dtype);

/* ---- program.c, bincache.c ---------------------------------------------- */

bool clg_store_open(clgaze_context *ctx); /* false: no memory */
void clg_store_close(clgaze_context *ctx);
/* While a plan uses the context's queue: one at a time, where threads may not share a queue. */
void clg_turn_begin(const clgaze_context *ctx);
void clg_turn_end(const clgaze_context *ctx);
/* Build, load or find the program of a kernel; `program` is retained for the
 * caller, `entry` lives as long as the context.  A program that has failed its
 * self-test in this context, or .prove's compiler, is refused with the reason. */
clgaze_status clg_program_get(clgaze_context *ctx, const struct clg_kernel *kernel, const char *options,
                              struct clg_program **entry, cl_program *program);
/* Compile what was loaded from disk but cannot be believed. */
clgaze_status clg_program_renew(clgaze_context *ctx, struct clg_program *entry, cl_program *program);
/* Came from disk (`loaded`) or is .prove, and has not passed the self-test in this context. */
bool clg_program_doubted(clgaze_context *ctx, const struct clg_program *entry, cl_program program, bool *loaded);
/* Keep the outcome of a self-test; `why` NULL: passed.  A program that failed leaves the disk,
 * and is refused from now on unless it came from there and can be compiled. */
void clg_program_judge(clgaze_context *ctx, struct clg_program *entry, cl_program program, const char *why);
/* Load a program from the binary cache; false: compile it. */
bool clg_bincache_load(clgaze_context *ctx, uint64_t key, cl_program *program, const char *options);
void clg_bincache_save(clgaze_context *ctx, uint64_t key, cl_program program);
void clg_bincache_drop(const clgaze_context *ctx, uint64_t key, const char *why);
clgaze_status clg_bincache_open(clgaze_context *ctx, const char *dir); /* sets ctx->cache_dir */

/* ptx.c: open the instructions that a kernel holds as comments of PTX. */
clgaze_status clg_ptx_rework(clgaze_context *ctx, const char *options, cl_program *program);
char *clg_ptx_open(const clgaze_context *ctx, const char *ptx);

struct clg_source {
    const char *name;
    const unsigned char *text;
    size_t size;
};
extern const struct clg_source clg_sources[]; /* cl/, embedded by cmake/embed.cmake; ends with NULL */

/* ---- problem.c ---------------------------------------------------------- */

clgaze_status clg_problem_check(const clgaze_context *ctx, clgaze_op op, const clgaze_problem *p);
int clg_pools(uint32_t set); /* number of pools in a set      */
int clg_gate_dim(const clgaze_problem *p);
int clg_list_heads(const clgaze_problem *p);
int clg_list_width(const clgaze_problem *p);   /* see clgaze_plan_width()       */
int clg_max_rows(const clgaze_problem *p);     /* most nq of a call's shapes    */
int clg_max_cols(const clgaze_problem *p);     /* most nk of scores             */
int clg_max_blocks_k(const clgaze_problem *p); /* most nk of k_pooled           */
float clg_attend_scale(const clgaze_problem *p);
int clg_rule_count(const clgaze_problem *p, double value, int nk); /* in ref/select.c               */

/* ---- choose.c, stage.c, plan.c, selftest.c -------------------------------- */

#define CLG_MAX_ENTRIES 7

/* One operation of a plan: a kernel built for the problem. */
struct clg_stage {
    const struct clg_kernel *kernel; /* NULL: not in this plan                     */
    int values[CLG_MAX_PARAMS];
    struct clg_program *built; /* its place in the context's store           */
    cl_program program;
    cl_kernel entry[CLG_MAX_ENTRIES]; /* in the order of kernel->entries           */
    cl_mem constants;                 /* select: the numbers that the rule chooses  */
    size_t workspace;                 /* bytes at the maximum                       */
    pthread_mutex_t lock;             /* OpenCL kernels hold their arguments        */
    bool locked;                      /* the mutex was initialised                  */
    bool untried;                     /* values that nobody measured: proved before use */
    char *name, *reason;
};

enum { CLG_SEQ_INTS = 6 }; /* of a sequence in the table: SEQ_INTS of cl/common.cl */

/* The workspace: the sequence table, lists made from a mask or CSR, what the
 * operations of prefill hand on, and room that each operation has for itself. */
enum clg_place {
    CLG_AT_SEQS,
    CLG_AT_LISTS,
    CLG_AT_Q_POOLED,
    CLG_AT_K_POOLED,
    CLG_AT_Q_GATED,
    CLG_AT_K_GATED,
    CLG_AT_SCORES, /* of a slice of the rows */
    CLG_AT_MERGED, /* the same of heads that share a list */
    CLG_AT_COUNTS,
    CLG_AT_BLOCKS,
    CLG_AT_LSE,   /* truth: where the caller wants none                    */
    CLG_AT_DELTA, /* attend_bwd: out . dout of each query token            */
    CLG_AT_MAP,   /* attend_bwd: lists turned round, a bit a pair of blocks */
    CLG_AT_STAGE,
    CLG_PLACES
};

struct clgaze_plan {
    clgaze_context *ctx;
    clgaze_op op;
    clgaze_problem problem;             /* a copy that owns values and kernel         */
    bool dense;                         /* of attend, asked for as prefill: break_even.c */
    struct clg_stage stage[CLG_STAGES]; /* by operation; prefill's own has but a name and a reason */
    struct clg_stage seqs, lists;       /* helpers: sequence table, mask and CSR      */
    size_t at[CLG_PLACES];              /* bytes: what lies where in the workspace    */
    size_t workspace;
    int slice; /* rows of blocks that are scored and selected at a time, at the maximum */
};

/* The compiler's options: of the device, the kernel, the problem and the values. */
void clg_stage_options(const clgaze_context *ctx, const clgaze_problem *p, const struct clg_stage *stage,
                       struct clg_text *text);
/* Build the kernel that the stage names; what comes from disk, and .prove, is self-tested. */
clgaze_status clg_stage_build(clgaze_context *ctx, const clgaze_problem *p, struct clg_stage *stage);
/* Build what was chosen for `op`; an optional strategy that fails its proof gives way to the next. */
clgaze_status clg_stage_open(clgaze_context *ctx, clgaze_op op, const clgaze_problem *p, struct clg_stage *stage);
clgaze_status clg_stage_warm(clgaze_plan *plan, struct clg_stage *stage);
void clg_stage_free(const clgaze_context *ctx, struct clg_stage *stage);
/* Run a stage that was just built on a small problem with the same -D values and
 * compare with ref/: CLGAZE_ERR_UNSUPPORTED with a sentence if it computes wrongly. */
clgaze_status clg_selftest(clgaze_context *ctx, const clgaze_problem *p, const struct clg_stage *stage);
/* The first strategy of the table after `after` (NULL: of all) that fits, and its
 * values; fills stage->kernel, values, name, reason and workspace. */
clgaze_status clg_choose(clgaze_context *ctx, clgaze_op op, const clgaze_problem *p, const struct clg_kernel *after,
                         struct clg_stage *stage);
/* NULL, or why none of the kernel's configurations fits; values become the
 * fitting ones nearest to those given. */
const char *clg_nearest(const struct clg_device *device, const struct clg_kernel *kernel, const clgaze_problem *p,
                        int *values);
/* "f16 d128 b64 g4 n32k": the problem as records name it; tune.c. */
void clg_problem_key(const struct clg_kernel *kernel, const clgaze_problem *p, struct clg_text *text);
const char *clg_op_name(clgaze_op op);
bool clg_plan_holds(clgaze_op plan, int op); /* is it a stage of a plan of `plan`? */
clgaze_status clg_limits_check(const clgaze_context *ctx, clgaze_op op, const clgaze_problem *p); /* prefill.c */
clgaze_status clg_place_workspace(const clgaze_context *ctx, clgaze_plan *plan);                  /* prefill.c */
extern const struct clg_kernel clg_kernel_seqs, clg_kernel_lists;

/* ---- launch.c ------------------------------------------------------------ */

/* The lengths of a call. */
struct clg_sizes {
    int batch;     /* of the shapes                                      */
    int sequences; /* packed: of cu_seqlens; else batch                  */
    int sq, sk;    /* tokens of the shapes                               */
    int longest_q, longest_k;
    int rows, cols;             /* nq of the shapes; nk of scores and mask            */
    int rows_seq;               /* most query blocks of one sequence                  */
    int blocks_k, blocks_k_seq; /* nk of k_pooled; most key blocks of one sequence */
    int score_heads, width;
    int list_heads;
    int first, count; /* the rows that score and select work on: all, or a slice */
    int seen;         /* columns of the scores of these rows                     */
};

/* A call under way: kernels are enqueued one after another, each waiting for
 * the one before it, the first for the caller's events. */
struct clg_run {
    const clgaze_plan *plan;
    struct clg_stage *stage;
    const clgaze_problem *p;
    clgaze_tensors t;
    struct clg_sizes n;
    cl_mem workspace;
    size_t base; /* bytes: where the call's workspace begins in it     */
    cl_command_queue queue;
    cl_uint n_wait;
    const cl_event *wait;
    cl_event last;              /* ours; NULL before the first kernel                 */
    bool warming;               /* run one empty group of each kernel                 */
    const clgaze_adamw *update; /* distill: NULL, or change the weights               */
};

/* One argument of a kernel. */
struct clg_arg {
    size_t size;
    const void *value;
};
#define CLG_ARG(x)                                                                                                   \
    {                                                                                                                \
        sizeof(x), &(x)                                                                                              \
    }

/* Enqueue `entry` of the stage: `groups` work-groups of `local` items. */
clgaze_status clg_enqueue(struct clg_run *run, int entry, const size_t groups[3], const size_t local[3],
                          const struct clg_arg *args, int n_args);
double clg_launches(const struct clg_device *device, double macs); /* that so many multiply-adds take */
/* The same of `macs` multiply-adds: in parts where one launch might outlast a display's watchdog.  Its kernel
 * takes its group from GROUP() or GROUP_BACKWARDS() of cl/common.cl. */
clgaze_status clg_enqueue_long(struct clg_run *run, int entry, const size_t groups[3], const size_t local[3],
                               const struct clg_arg *args, int n_args, double macs);
/* Multiply-adds of one product of all queries with the keys that they may see, at most. */
double clg_attention_macs(const struct clg_run *run);
/* Where a token tensor lies, as a kernel's ulong4: offset, batch, token and head stride. */
cl_ulong4 clg_at(const clgaze_tensor *t);
/* A compact tensor of our own, `bytes` into a place of the workspace. */
clgaze_tensor clg_scratch(const struct clg_run *run, enum clg_place place, size_t bytes, clgaze_dtype dtype, int rank,
                          const int64_t *shape);
cl_ulong clg_seqs_from(const struct clg_run *run);
/* Most rows of the slice in one sequence. */
int clg_slice_rows_seq(const struct clg_sizes *n);
#define CLG_ALIGN(bytes) (((bytes) + 255u) & ~(size_t)255u)

/* ---- check.c -------------------------------------------------------------- */

/* Check the tensors of a call against the plan and read its lengths. */
clgaze_status clg_tensors_check(struct clg_run *run, clgaze_op op, const clgaze_call *call);

#endif
