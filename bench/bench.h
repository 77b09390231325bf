/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench.h: what every bench needs.
 *
 *   stats.c  medians
 *   data.c   random numbers and block lists, the same on host and device
 *   peak.c   what the device can do at most
 *   bench.c  a device, its buffers, and the timing loop
 */
#ifndef CLGAZE_BENCH_H
#define CLGAZE_BENCH_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <clgaze/clgaze.h>

/* ---- stats.c -------------------------------------------------------------- */

struct stats {
    double median, min, max, q1, q3; /* q1, q3: the middle half lies between them */
};

/* Summarise n >= 1 values; sorts them. */
struct stats stats_of(double *values, int n);
/* Round to so many significant digits, so that every format prints the same. */
double significant(double x, int digits);

/* ---- data.c --------------------------------------------------------------- */

/* 64 random bits: number i of the stream `seed`.  Any number of any stream can
 * be asked for, so the host can check device results without keeping copies. */
uint64_t random_bits(uint64_t seed, uint64_t i);
/* About normal: mean 0, deviation 1, never beyond 3.5. */
float random_number(uint64_t seed, uint64_t i);
/* The nearest number of a floating dtype; store it as element i. */
float round_number(float x, clgaze_dtype dtype);
void put_number(void *data, size_t i, clgaze_dtype dtype, float x);
float get_number(const void *data, size_t i, clgaze_dtype dtype);

/* Block lists as attend reads them. */
struct lists {
    int heads, rows, width;
    int32_t *counts; /* [heads][rows]                              */
    int32_t *blocks; /* [heads][rows][width], ascending, then -1   */
};

/* Entries of causal row i at a density: max(1, floor(density * (i + 1))). */
int lists_count(double density, int i);
/* Fill at random, each head and row its own, the diagonal kept.  Returns 0, or
 * -1 when host memory ran out. */
int lists_make(struct lists *lists, int heads, int rows, double density, uint64_t seed);
/* Turn random lists into the first block and the last ones, or into even strides
 * back from the diagonal; counts stay. */
void lists_local(struct lists *lists);
void lists_strided(struct lists *lists);
/* Give each of `heads` heads a copy of the lists that it shares; 0, or -1 when host memory ran out. */
int lists_spread(struct lists *lists, int heads);
void lists_free(struct lists *lists);
/* Sum of all counts, and of all blocks that a causal row may see. */
double lists_kept(const struct lists *lists);
double lists_visible(const struct lists *lists);

/* ---- bench.c -------------------------------------------------------------- */

/* What a step may answer besides 0 and an exit code: the sentence in
 * bench.sentence says why this row cannot be measured here; the next may. */
enum { REFUSED = -1 };

/* A device as a report names it. */
struct machine {
    char platform[128], vendor[128], name[128], driver[64], type[12];
    double units, memory, max_alloc; /* compute units; bytes of all, of one buffer */
};

struct bench {
    clgaze_context *ctx;
    cl_context cl;
    cl_device_id id;
    cl_command_queue queue; /* in order, with times */
    cl_device_type type;
    struct machine machine;
    cl_uint units;
    cl_ulong max_alloc, memory, used; /* bytes of one buffer, of all, of ours */
    cl_mem anchor;                    /* written before the first step        */
    bool clockless;                   /* events tell no times, or nonsense: the host's clock serves */
    char sentence[1024];              /* the last thing that went wrong       */
};

/* Open the device that `pick` names, as if it had no more than `limit` bytes
 * (0: all that it has).  Returns 0, or an exit code after a sentence on stderr;
 * bench_close() in both cases. */
int bench_open(struct bench *b, const char *pick, cl_ulong limit);
void bench_close(struct bench *b);
/* An exit code, or REFUSED, for an answer of OpenCL or clgaze; prints the
 * sentence for an exit code. */
int bench_cl(struct bench *b, cl_int err, const char *call);
int bench_gaze(struct bench *b, clgaze_status status);

/* Make a buffer; 0 bytes: none.  `what` names it when it is refused. */
int bench_buffer(struct bench *b, size_t bytes, const char *what, cl_mem *mem);
void bench_release(struct bench *b, cl_mem *mem);
/* Fill with n numbers of stream `seed` times `scale`. */
int bench_fill(struct bench *b, cl_mem mem, size_t n, clgaze_dtype dtype, uint64_t seed, float scale);
int bench_write(struct bench *b, cl_mem mem, const void *from, size_t bytes);
int bench_read(struct bench *b, cl_mem mem, size_t offset, void *to, size_t bytes);

/* One operation, ready to be enqueued. */
struct step {
    clgaze_op op;
    const clgaze_plan *plan;
    clgaze_tensors tensors;
    cl_mem workspace;
};

enum { MAX_STEPS = 8 };

/* Times of several rounds: ms[round * steps + step]. */
struct samples {
    int steps, rounds, room;
    double *ms, device, host; /* device, host: ms of all rounds by either clock */
};

/* Set by a signal: bench_time() ends after the round that it is in. */
extern volatile sig_atomic_t bench_stop;

/* Run the steps one after another, round after round, until they have run for
 * `seconds` (and three rounds; with 0 seconds one); a warm-up comes first. */
int bench_time(struct bench *b, const struct step *steps, int n, double seconds, struct samples *samples);
/* Seconds of the host's clock. */
double bench_now(void);
/* Is what events say of `seconds` of work too little to be a time? */
bool bench_clockless(double event_ms, double seconds);
void samples_free(struct samples *samples);
/* Over the rounds, of the sum of steps first .. last. */
struct stats samples_stats(const struct samples *samples, int first, int last);
/* Run one step to its end. */
int bench_run(struct bench *b, const struct step *step);

/* ---- peak.c ---- */

/* What the device was seen to do at most. */
struct peak {
    double gflops, least, gbytes; /* f32 multiply-add, the best and the worst time; copying, bytes read and
                                     written; 0: unknown                                         */
    cl_program program;
    cl_kernel fma, copy;
    cl_mem out;
    size_t items;
    cl_int n; /* rounds of the loop */
};

/* Measure both; peak_close() in any case. */
int peak_open(struct bench *b, struct peak *peak);
/* Measure multiply-add again, in milliseconds: the clock moves, so each row has a peak of its own. */
int peak_now(struct bench *b, struct peak *peak, double *gflops);
void peak_close(struct bench *b, struct peak *peak);

#endif
