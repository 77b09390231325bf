/*
 * bench_sparse.c: what would block-sparse attention give me, here?
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fail.h"
#include "sparse.h"

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

static int run_rows(struct bench *b, const struct options *o, FILE *table, struct row *rows)
{
    int code = 0, n = 0;

    for (int s = 0; s < o->n_seq && !code; s++) {
        struct data data;
        int why = data_make(b, o, (int)o->seq[s], &data);

        code = why == REFUSED ? 0 : why;
        for (int i = 0; i < o->n_block * o->n_density && !code; i++) {
            struct row *row = &rows[n++];

            row->seq = data.seq;
            row->block = (int)o->block[i / o->n_density];
            row->density = o->density[i % o->n_density];
            if ((code = run_row(b, o, &data, why, row)))
                break;
            if (n == 1) /* a run that cannot begin leaves one sentence alone */
                table_head(table, b, o);
            table_row(table, o, row);
        }
        data_free(b, &data);
    }
    return code;
}

static int run(struct bench *b, const struct options *o, const struct outputs *out)
{
    int n = o->n_seq * o->n_block * o->n_density, wrong = 0, code;
    struct row *rows = calloc((size_t)n, sizeof *rows);

    if (!rows)
        return fail(EXIT_INPUT, "host memory ran out");
    code = run_rows(b, o, out->table, rows);
    if (!code)
        table_foot(out->table, o);
    if (!code && out->json)
        code = write_json(out->json, b, o, rows, n);
    if (!code && out->csv)
        code = write_csv(out->csv, o, rows, n);
    for (int i = 0; i < n; i++)
        wrong += rows[i].state == ROW_FAILED;
    free(rows);
    return code ? code : wrong ? EXIT_DIFFERS : EXIT_DONE;
}

int main(int argc, char **argv)
{
    struct options options;
    struct outputs outputs = {0};
    struct bench bench = {0};
    int code, late;

    fail_setup("bench_sparse", 0);
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
