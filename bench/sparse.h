/*
 * sparse.h: the pieces of bench_sparse.
 *
 *   bench_sparse.c    the command: one row a length, block size and density
 *   sparse_options.c  the command line
 *   sparse_row.c      plans, buffers and times of a row
 *   sparse_check.c    some rows of the output against a double computation
 *   sparse_page.c     the screen that a person reads
 *   sparse_report.c   JSON and CSV
 */
#ifndef CLGAZE_BENCH_SPARSE_H
#define CLGAZE_BENCH_SPARSE_H

#include <stdbool.h>
#include <stdio.h>

#include "bench.h"

/* ---- sparse_options.c ---- */

enum { MAX_LIST = 32 };

struct options {
    const char *device, *kernel, *json, *csv; /* NULL: not given             */
    int n_seq, n_block, n_density;
    double seq[MAX_LIST], block[MAX_LIST], density[MAX_LIST];
    int heads, kv_heads, head_dim; /* 0: not given, see options_complete()   */
    int dtype;                     /* -1: not given                          */
    bool pipeline;
    double min_time; /* seconds a row                                        */
    double budget;   /* seconds of the whole run; 0: no limit                */
};

/* Returns 0, or -1 when help was printed, or an exit code after a sentence. */
int options_read(int argc, char **argv, struct options *options);
/* Choose what was not given to suit the device. */
int options_complete(struct options *options, cl_device_type type);

/* ---- sparse_row.c ---- */

enum { STAGES = 5 }; /* pool gate score select attend */

enum row_state { ROW_DONE, ROW_FAILED, ROW_REFUSED };

/* One line of the result.  Times are milliseconds on the device. */
struct row {
    enum row_state state;
    char note[1024]; /* why it failed or was refused                          */
    int seq, block;
    double density; /* asked for                                             */
    double kept;    /* density that the lists have                           */
    struct stats ms, dense;
    double stage[STAGES]; /* medians; 0: not run                               */
    double gflops, dense_gflops;
    double speedup; /* dense over sparse                                     */
    double ideal;   /* the share of 1 / kept that speedup is                 */
    double error;   /* of the checked rows                                   */
    int rounds;
    char kernel[128], dense_kernel[128];
};

/* What all rows of one length share. */
struct data {
    int seq;
    cl_mem q, k, v, out;
};

int data_make(struct bench *b, const struct options *o, int seq, struct data *data);
void data_free(struct bench *b, struct data *data);
/* Measure one row: 0, REFUSED with the row saying so, or an exit code. */
int row_measure(struct bench *b, const struct options *o, const struct data *data, struct row *row);
extern const char *const stage_names[STAGES];

/* ---- sparse_check.c ---- */

/* Streams of random_number(). */
enum { SEED_Q = 1, SEED_K = 2, SEED_V = 3, SEED_W = 4, SEED_LISTS = 5, SEED_CHECK = 6 };

/* Compare some rows of `out` with attention in double; lists NULL: dense.
 * *error: the greatest relative error of a row.  Returns 0, or an exit code. */
int check_rows(struct bench *b, const struct options *o, const struct data *data, int block,
               const struct lists *lists, double *error);
double check_tolerance(clgaze_dtype dtype);

/* ---- sparse_page.c ---- */

void page_head(FILE *f, const struct bench *b, const struct options *o, const struct peak *peak);
void page_row(FILE *f, const struct row *row, const struct peak *peak);
/* The stages of a pipeline's row as a bar. */
void page_stages(FILE *f, const struct row *row);
void page_foot(FILE *f, const struct options *o, const struct row *rows, int n);

/* ---- sparse_report.c ---- */

/* Write all rows; 0, or an exit code after a sentence. */
int write_json(FILE *f, const struct bench *b, const struct options *o, const struct peak *peak,
               const struct row *rows, int n);
int write_csv(FILE *f, const struct options *o, const struct row *rows, int n);

#endif
