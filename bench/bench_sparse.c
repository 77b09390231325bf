/*
 * bench_sparse.c: what would block-sparse attention give me, here?
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fail.h"
#include "sparse.h"

enum { EXIT_STOPPED = 130 }; /* as a shell says of Ctrl-C */

/* Where the results go. */
struct outputs {
    FILE *table, *json, *csv; /* json, csv NULL: not wanted */
};

static int open_output(const char *option, const char *path, FILE **f)
{
    if (!path)
        return 0;
    *f = strcmp(path, "-") == 0 ? stdout : fopen(path, "w");
    return *f ? 0 : fail(EXIT_INPUT, "%s: %s cannot be written: %s", option, path, strerror(errno));
}

/* Opened before anything is measured, so that a wrong path costs no minute. */
static int open_outputs(const struct options *o, struct outputs *out)
{
    int code = open_output("--json", o->json, &out->json);

    if (!code)
        code = open_output("--csv", o->csv, &out->csv);
    out->table = out->json == stdout || out->csv == stdout ? stderr : stdout;
    return code;
}

static int close_output(const char *option, FILE *f)
{
    int bad;

    if (!f)
        return 0;
    bad = ferror(f) || fflush(f);
    if (f != stdout && fclose(f))
        bad = 1;
    return bad ? fail(EXIT_INPUT, "%s cannot be written: %s", option, strerror(errno)) : 0;
}

static void progress(const struct row *row)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\rmeasuring %d tokens, blocks of %d, density %g ...\r", row->seq, row->block, row->density);
}

static void end_progress(void)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
}

/* One row; one that the device has no room for says so, and the next follows. */
static int run_row(struct bench *b, const struct options *o, const struct data *data, int why, struct row *row)
{
    int code = why;

    progress(row);
    if (!code)
        code = row_measure(b, o, data, row);
    if (code == REFUSED) {
        row->state = ROW_REFUSED;
        snprintf(row->note, sizeof row->note, "%s", b->sentence);
        code = 0;
    }
    end_progress();
    return code;
}

/* One run: its rows in order; the first n have been measured or refused. */
struct result {
    struct peak peak;
    struct row *rows, prefill;
    int n, most;
    double from, last; /* when the run began; seconds of the row before */
};

static double seconds_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Is there time for a row `factor` times as long as the one before? */
static bool in_time(const struct options *o, const struct result *r, double factor)
{
    return o->budget <= 0 || seconds_now() - r->from + factor * r->last < o->budget;
}

static int next_row(struct bench *b, const struct options *o, const struct data *data, int why, struct result *r,
                    int i)
{
    struct row *row = &r->rows[r->n];
    double from = seconds_now();
    int code;

    row->seq = data->seq;
    row->block = (int)o->block[i / o->n_density];
    row->density = o->density[i % o->n_density];
    code = run_row(b, o, data, why, row);
    r->last = seconds_now() - from;
    r->n += code == 0;
    return code;
}

static int run_length(struct bench *b, const struct options *o, FILE *table, int seq, struct result *r)
{
    struct data data;
    int why = data_make(b, o, seq, &data), code = why == REFUSED ? 0 : why;

    for (int i = 0; i < o->n_block * o->n_density && !code && !bench_stop && in_time(o, r, 1); i++) {
        if ((code = next_row(b, o, &data, why, r, i)))
            break;
        if (r->n == 1) /* a run that cannot begin leaves one sentence alone */
            page_head(table, b, o, &r->peak);
        page_row(table, &r->rows[r->n - 1], &r->peak);
    }
    data_free(b, &data);
    return code;
}

/* The stages at a middling density of the longest length that was measured;
 * the pipeline takes a few times as long as its attention. */
static int run_prefill(struct bench *b, const struct options *o, struct result *r)
{
    struct options whole = *o;
    const struct row *last = &r->rows[r->n - 1];
    struct data data;
    int why, code;

    whole.pipeline = true;
    r->prefill = (struct row){.seq = last->seq, .block = last->block, .density = o->density[o->n_density / 2]};
    why = data_make(b, &whole, last->seq, &data);
    code = why && why != REFUSED ? why : run_row(b, &whole, &data, why, &r->prefill);
    data_free(b, &data);
    return code;
}

static int run_rows(struct bench *b, const struct options *o, FILE *table, struct result *r)
{
    int code = bench_peak(b, &r->peak);

    for (int s = 0; s < o->n_seq && !code && !bench_stop && in_time(o, r, 4); s++)
        code = run_length(b, o, table, (int)o->seq[s], r);
    if (!code && r->n && o->pipeline)
        r->prefill = r->rows[r->n - 1];
    else if (!code && r->n && o->budget > 0 && !bench_stop && in_time(o, r, 2))
        code = run_prefill(b, o, r);
    return code;
}

static void end_page(FILE *f, const struct options *o, const struct result *r)
{
    if (r->prefill.seq)
        page_stages(f, &r->prefill);
    page_foot(f, o, r->rows, r->n);
    if (r->n < r->most)
        fprintf(f, "%s: %d of %d rows.\n", bench_stop ? "Interrupted" : "Time was up", r->n, r->most);
}

static int run(struct bench *b, const struct options *o, const struct outputs *out)
{
    struct result r = {.most = o->n_seq * o->n_block * o->n_density, .from = seconds_now()};
    int wrong, code;

    if (!(r.rows = calloc((size_t)r.most, sizeof *r.rows)))
        return fail(EXIT_INPUT, "host memory ran out");
    code = run_rows(b, o, out->table, &r);
    if (!code)
        end_page(out->table, o, &r);
    if (!code && out->json)
        code = write_json(out->json, b, o, &r.peak, r.rows, r.n);
    if (!code && out->csv)
        code = write_csv(out->csv, o, r.rows, r.n);
    wrong = r.prefill.state == ROW_FAILED;
    for (int i = 0; i < r.n; i++)
        wrong += r.rows[i].state == ROW_FAILED;
    free(r.rows);
    return code ? code : wrong ? EXIT_DIFFERS : bench_stop ? EXIT_STOPPED : EXIT_DONE;
}

/* A second Ctrl-C ends the program at once. */
static void stop(int number)
{
    bench_stop = 1;
    signal(number, SIG_DFL);
}

int main(int argc, char **argv)
{
    struct options options;
    struct outputs outputs = {0};
    struct bench bench = {0};
    int code, late;

    fail_setup("bench_sparse", 0);
    signal(SIGINT, stop);
    if ((code = options_read(argc, argv, &options)))
        return code < 0 ? EXIT_DONE : code;
    if (!(code = open_outputs(&options, &outputs)) && !(code = bench_open(&bench, options.device)) &&
        !(code = options_complete(&options, bench.type)))
        code = run(&bench, &options, &outputs);
    bench_close(&bench);
    if ((late = close_output("--json", outputs.json)) || (late = close_output("--csv", outputs.csv)))
        code = code ? code : late;
    return code;
}
