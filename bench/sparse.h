/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sparse.h: the pieces of bench_sparse.
 *
 *   bench_sparse.c     the command: devices, and one row a shape, block size and density
 *   sparse_options.c   the command line
 *   sparse_defaults.c  what was not asked for, to suit the device
 *   sparse_row.c       plans, buffers and times of a row
 *   sparse_lists.c     lists and the gate's tensors
 *   sparse_input.c     q, k and v of a file
 *   unfused.c          dense attention by CLBlast
 *   compiler.c         registers and spills, where the driver tells
 *   sparse_cost.c      flops and bytes of an operation
 *   sample.c           a small problem out of a row's
 *   sparse_check.c     samples of what a step made against ref/
 *   sparse_check_train.c  the same of training
 *   terminal.c         its width and colours
 *   sparse_page.c      the screen that a person reads
 *   sparse_devices.c   several devices side by side
 *   sparse_report.c    JSON, CSV and markdown
 *   outputs.c          the files
 *   sparse_compare.c   two results beside each other
 *   sparse_plot.c      the drawing; axis.c its axes
 */
#ifndef CLGAZE_BENCH_SPARSE_H
#define CLGAZE_BENCH_SPARSE_H

#include <stdbool.h>
#include <stdio.h>

#include "bench.h"

enum { EXIT_STOPPED = 130 }; /* as a shell says of Ctrl-C */

/* ---- sparse_options.c ---- */

enum { MAX_LIST = 32 };

/* What a row times: all that the gate and attention do, or one operation. */
enum op {
    OP_POOL,
    OP_GATE,
    OP_SCORE,
    OP_SELECT,
    OP_ATTEND,
    OP_PIPELINE,
    OP_PREFILL,
    OP_TRUTH,
    OP_DISTILL,
    OP_ATTEND_BWD,
    OPS
};
extern const char *const op_names[OPS];

/* Who has lists of its own, as clgaze_scope. */
enum { SCOPES = 3 };
extern const char *const scope_names[SCOPES];

/* Where lists come from. */
enum pattern { RANDOM, LOCAL, STRIDED, REAL, PATTERNS };
extern const char *const pattern_names[PATTERNS];

enum output { OUT_JSON, OUT_CSV, OUT_MARKDOWN, OUT_PLOT, OUTPUTS };
extern const char *const output_names[OUTPUTS];

enum sweep { SWEEP_SEQ, SWEEP_DENSITY, SWEEP_BLOCK, SWEEP_HEAD_DIM, SWEEP_HEADS, SWEEPS };
extern const char *const sweep_names[SWEEPS];

struct input;

struct options {
    const char *device, *kernel, *in, *rule, *baseline, *compare[2]; /* NULL: not given      */
    const char *out[OUTPUTS];
    int n_seq, n_block, n_density, n_heads, n_head_dim;
    double seq[MAX_LIST], block[MAX_LIST], density[MAX_LIST], heads[MAX_LIST], head_dim[MAX_LIST];
    int kv_heads;    /* 0: not given, see options_complete()                 */
    int dtype;       /* -1: not given                                        */
    int sweep;       /* -1: not given                                        */
    int memory;      /* MB; 0: all that the device has                       */
    double min_time; /* seconds a row                                        */
    double budget;   /* seconds of the whole run; 0: no limit                */
    enum op op;
    enum pattern pattern;
    clgaze_problem problem; /* what rows have in common, rule and pools      */
    struct input *input;    /* NULL: random numbers                          */
    bool valued, dense;     /* --value, --density were given                 */
    bool beside;            /* CLBlast's dense attention too                 */
    bool shaped;            /* something was asked of the rows               */
    char command[512];      /* as it was typed                               */
};

/* Does the gate make the lists?  Else they are of a pattern, or there are none. */
bool op_gated(const struct options *options);
/* Returns 0, or -1 when help was printed, or an exit code after a sentence. */
int options_read(int argc, char **argv, struct options *options);

/* ---- sparse_defaults.c ---- */

/* What must hold between options; 0, or an exit code after a sentence. */
int options_check(const struct options *options);
/* Choose what was not given to suit the device. */
int options_complete(struct options *options, cl_device_type type);

/* ---- sparse_row.c ---- */

enum { STAGES = 5 }; /* pool gate score select attend */

enum row_state { ROW_DONE, ROW_FAILED, ROW_REFUSED };

/* One line of the result.  Times are milliseconds on the device. */
struct row {
    enum row_state state;
    char note[512];                     /* why it failed or was refused                           */
    char op[12], dtype[8], pattern[12]; /* pattern "": lists by the gate     */
    char scope[4];                      /* who has lists of its own          */
    int seq, heads, kv_heads, head_dim, block;
    char rule[12]; /* of the gate; "": none                                 */
    int rounds;
    double value;   /* density that was asked for, or the rule's value       */
    double density; /* asked for; where a rule decides: what it kept         */
    double kept;    /* density that the lists have                           */
    struct stats ms, dense;
    double unfused;              /* CLBlast's dense attention, host time; 0: not measured */
    double stage[STAGES];        /* medians; 0: not run                               */
    double gflops, dense_gflops; /* kept blocks counted whole                  */
    double speedup;              /* dense over this                            */
    double ideal;                /* the share of 1 / kept that speedup is      */
    double peak;                 /* GFLOP/s of multiply-add beside this row; 0: unknown */
    double of_peak;              /* what the visible keys need, of that; 0: matrix units, unknown */
    double gbytes;               /* GB/s of the bytes that must move at least           */
    double of_copy;              /* the share of copying's rate that this is; 0: unknown  */
    double error;                /* of the checked rows                        */
    double clock;                /* device time over host time of the same rounds */
    char kernel[128], dense_kernel[128], reason[96], forced[24]; /* forced "": free choice */
    char registers[48]; /* what the compiler tells of them, spills too; "": nothing */
};

/* What all rows of one shape share. */
struct data {
    int seq, heads, kv_heads, head_dim;
    cl_mem q, k, v, out;
};

int data_make(struct bench *b, const struct options *o, struct data *data);
void data_free(struct bench *b, struct data *data);
clgaze_problem row_problem(const struct options *o, const struct row *row);
/* Measure one row: 0, REFUSED with the row saying so, or an exit code. */
int row_measure(struct bench *b, const struct options *o, const struct data *data, struct peak *peak,
                struct row *row);
extern const char *const stage_names[STAGES];

/* The tensors of attention, dense output and all. */
clgaze_tensors data_tensors(const struct options *o, const struct data *data);

/* What a row runs: first its dense yardstick, then what makes its inputs, and itself. */
enum { MAX_MEMS = 24, MAX_WORK = 1 + STAGES };

struct work {
    struct bench *b;
    const struct options *o;
    const struct data *data;
    struct row *row;
    clgaze_problem problem;
    struct step steps[MAX_WORK];
    clgaze_plan *plans[MAX_WORK];
    int n, rows;     /* steps; block rows of a head                         */
    int dense;       /* the step that is the yardstick                      */
    int first, last; /* the steps that are timed beside it                  */
    bool gated;      /* the lists are the gate's                            */
    cl_mem mem[MAX_MEMS];
    int mems;
    struct lists lists;
};

/* A compact tensor in a buffer of its own, released with the row. */
int make_tensor(struct work *w, clgaze_tensor *t, const char *name, clgaze_dtype dtype, int rank,
                const int64_t *shape);

/* ---- sparse_lists.c ---- */

/* Lists of a pattern, on the host and on the device. */
int make_lists(struct work *w, clgaze_tensors *t);
/* What pool to select read and write. */
int make_gate(struct work *w, clgaze_tensors *t);
/* What pool and distill read and write, but for truth. */
int make_lesson(struct work *w, clgaze_tensors *t);
/* What the gate chose, for the check and for counting. */
int read_lists(struct work *w);

/* ---- sparse_input.c ---- */

/* Streams of random_number(). */
enum { SEED_Q = 1, SEED_K = 2, SEED_V = 3, SEED_W = 4, SEED_LISTS = 5, SEED_CHECK = 6, SEED_DOUT = 7 };

/* Read o->in: sets the shape and the gate's options. Returns 0, or an exit code. */
int input_open(struct options *o);
void input_close(struct input *input);
/* Fill with q, k or v (by its seed) of the file, else at random. */
int input_fill(struct bench *b, const struct options *o, const struct data *data, int seed, cl_mem mem);
/* Fill q_gate, k_gate, w_k, w_q and rope_inv_freq. */
int input_fill_gate(struct work *w, const clgaze_tensors *t);

/* ---- unfused.c ---- */

/* Time CLBlast's GEMM, softmax, GEMM into data->out; 0, REFUSED with a sentence, or an exit code. */
int unfused_measure(struct bench *b, const struct options *o, const struct data *data, double *ms);

/* ---- compiler.c ---- */

/* What the driver tells of the registers and spills of a strategy; "" where it tells nothing. */
void compiler_says(struct bench *b, clgaze_op op, const clgaze_problem *p, char *text, size_t size);
/* Read them from the log of NVIDIA's compiler: the most registers, the sum of spills. */
void compiler_log(const char *log, char *text, size_t size);

/* ---- sparse_cost.c ---- */

enum { BACKWARD = 5 }; /* halves: attend_bwd's five products for attend's two */

/* Flops of the row's operation: kept blocks counted whole, as the field counts them, or only pairs that
 * causal attention sees; 0: it has none worth counting. */
double cost_flops(const struct work *w, bool whole);
/* Bytes that it must move, each tensor once. */
double cost_bytes(const struct work *w);

/* ---- sparse_check.c, sparse_check_train.c ---- */

/* Relative error of a sample, the greatest of several; may be NaN. */
struct verdict {
    double error, allowed;
    const char *what;
};

/* Compare what a step made with ref/; lists NULL: dense.  0, or an exit code. */
int check_step(struct work *w, const struct step *step, const struct lists *lists, struct verdict *v);
int check_attend(struct bench *b, const clgaze_problem *p, const clgaze_tensors *t, const struct lists *lists,
                 struct verdict *v);
int check_truth(struct work *w, const clgaze_tensors *t, struct verdict *v);
int check_distill(struct work *w, const clgaze_tensors *t, struct verdict *v);
int check_attend_bwd(struct work *w, const clgaze_tensors *t, const struct lists *lists, struct verdict *v);
double check_tolerance(clgaze_dtype dtype);

/* ---- a result ---- */

/* What was measured on one device, by this run or by one whose JSON was read. */
struct result {
    struct machine machine;
    char version[32], command[512];
    double peak, peak_least, copy; /* GFLOP/s, GFLOP/s, GB/s; 0: unknown      */
    struct row *rows, prefill;     /* prefill.seq 0: none                     */
    int n, most;                   /* rows, and those asked for               */
    bool stopped;                  /* by Ctrl-C                               */
    bool held;                     /* longer launches would keep a screen from being drawn */
    bool battery, tuned;
    char tune[192]; /* the command that tunes                                */
};

/* ---- sparse_page.c ---- */

void page_head(FILE *f, const struct options *o, const struct result *r);
void page_row(FILE *f, const struct options *o, const struct row *row);
void page_foot(FILE *f, const struct result *r);
/* The shortest length from which all rows like `as` are quicker than dense; 0: none. */
int page_pays_from(const struct result *r, const struct row *as);
/* Is all the same but the length? */
bool page_alike(const struct row *a, const struct row *b);

/* ---- sparse_devices.c ---- */

void page_devices(FILE *f, const struct result *results, int n);

/* ---- terminal.c ---- */

/* Columns of a terminal; a file has room for all, unless COLUMNS says less. */
int columns(FILE *f);
bool colour(FILE *f);
/* Does a battery discharge? */
bool on_battery(const char *pattern);
/* Print a paragraph, broken between words, as wide as the terminal. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void say(FILE *f, const char *format, ...);

/* ---- sparse_report.c ---- */

/* Write results; 0, or an exit code after a sentence. */
int write_json(FILE *f, const struct result *results, int n);
int write_csv(FILE *f, const struct result *results, int n);
int write_markdown(FILE *f, const struct result *results, int n);
/* Read the first result of a JSON file; free its rows.  Returns 0, or an exit code after a sentence. */
int read_json(const char *path, struct result *result);

/* ---- outputs.c ---- */

/* Open them before anything is measured, so that a wrong path costs no minute; write, in the formats that
 * were asked for; close.  0, or an exit code after a sentence. */
int open_outputs(const struct options *o, FILE **files);
int write_outputs(FILE **files, const struct result *results, int n);
int close_outputs(FILE **files);

/* ---- sparse_compare.c ---- */

/* What a difference of medians must exceed, as a share. */
double compare_noise(const struct stats *a, const struct stats *b);
/* 1: b is slower than a beyond noise; -1: quicker; 0: neither. */
int compare_verdict(const struct stats *a, const struct stats *b);
/* Say which rows of `b` differ from those of `a`; *slower counts those that are slower. */
int compare(FILE *f, const struct result *a, const struct result *b, int *slower);

/* ---- sparse_plot.c ---- */

int write_plot(FILE *f, const struct result *results, int n);

#endif
