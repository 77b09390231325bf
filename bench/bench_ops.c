/*
 * bench_ops.c: every strategy of kernels.def on one shape, a line each, for
 * those who change kernels.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "sparse.h"

enum { MAX_KERNELS = 64 };

/* ---- the command line ---- */

static int help(void)
{
    printf("bench_ops: every strategy on one shape, a line each\n\n"
           "  --device    index, or part of a name, of an OpenCL device (the first GPU, else the first)\n"
           "  --seq       tokens (4096 on CPUs, else 16384)\n"
           "  --dtype     f32, f16 or bf16 (f32 on CPUs, else f16)\n"
           "  --min-time  seconds a strategy is measured for, at least (0.3)\n"
           "  --json      write JSON to this file; - is standard output\n"
           "  --compare   JSON of an earlier run to compare with\n"
           "\nExit: 0 done, 1 something was wrong or slower, 2 bad option or input, 3 OpenCL failed.\n");
    return -1;
}

/* The options that bench_sparse has too; it reads and judges them. */
static int read_options(int argc, char **argv, struct options *o)
{
    static const char *const known[] = {"--device", "--seq", "--dtype", "--min-time", "--json", "--compare"};
    static char baseline[] = "--baseline", min_time[] = "--min-time", least[] = "0.3";
    char *all[16] = {argv[0], min_time, least};
    int n = 3, code;

    if (argc > 13)
        return fail(EXIT_INPUT, "there are too many options; see --help");
    for (int i = 1; i < argc; i += 2) {
        size_t at = 0;

        if (strcmp(argv[i], "--help") == 0)
            return help();
        while (at < sizeof known / sizeof *known && strcmp(argv[i], known[at]) != 0)
            at++;
        if (at == sizeof known / sizeof *known)
            return fail(EXIT_INPUT, "%.40s is not an option; see --help", argv[i]);
        all[n++] = at == 5 ? baseline : argv[i];
        if (i + 1 < argc)
            all[n++] = argv[i + 1];
    }
    if ((code = options_read(n, all, o)))
        return code;
    if (o->baseline) { /* what cannot be read must not cost minutes */
        struct result r;

        code = read_json(o->baseline, &r);
        free(r.rows);
        if (code)
            return code;
    }
    if (o->n_seq > 1)
        return fail(EXIT_INPUT, "--seq is a list, but must be one token count");
    o->budget = 0;
    return 0;
}

/* ---- one strategy ---- */

static int op_of(const char *name)
{
    for (int i = 0; i < OPS; i++)
        if (strcmp(op_names[i], name) == 0)
            return i;
    return -1;
}

/* Bytes that an operation limited by memory must move; 0: arithmetic limits it. */
static double bytes_of(const struct row *r, enum op op)
{
    double size = strcmp(r->dtype, "f32") == 0 ? 4 : 2, blocks = (r->seq + r->block - 1) / r->block; /* NOLINT */

    if (op == OP_POOL)
        return size * r->seq * r->head_dim * (r->heads + r->kv_heads);
    return op == OP_SELECT ? 4 * r->heads * blocks * (blocks + 1) / 2 : 0;
}

static void put_line(FILE *f, const struct row *r, enum op op, const struct peak *peak)
{
    double bytes = bytes_of(r, op), share = r->of_peak;

    fprintf(f, "%-8s %-16s ", r->op, r->forced);
    if (r->state != ROW_DONE) {
        fprintf(f, "%s: %s\n", r->state == ROW_FAILED ? "FAILED" : "not here", r->note);
        return;
    }
    if (bytes > 0 && peak->gbytes > 0)
        share = bytes / r->ms.median * 1e-6 / peak->gbytes;
    fprintf(f, "%10.3f ms +-%4.1f%% ", r->ms.median, 50 * (r->ms.q3 - r->ms.q1) / r->ms.median);
    if (share > 0)
        fprintf(f, "%4.0f%% of %s  ", 100 * share, bytes > 0 ? "copying     " : "multiply-add");
    else
        fprintf(f, "%4s    %-12s  ", "-", "");
    fprintf(f, "%s\n", r->kernel);
    fflush(f);
}

/* Why a strategy cannot serve this shape; "": it can. */
static void why_not(struct bench *b, const struct options *o, const struct row *row, const char *op, char *why,
                    size_t capacity)
{
    static const char *const names[] = {"pool", "gate", "score", "select", "attend", "prefill", "truth"};
    const clgaze_problem p = row_problem(o, row);

    *why = '\0';
    for (int i = 0; i < 7; i++)
        if (strcmp(names[i], op) == 0 && clgaze_supports(b->ctx, (clgaze_op)i, &p, why, capacity) == CLGAZE_OK)
            *why = '\0';
}

static int run_kernel(struct bench *b, struct options *o, const struct data *data, struct peak *peak, const char *op,
                      const char *kernel, struct row *row)
{
    int code = 0;

    *row = (struct row){.seq = data->seq, .heads = data->heads, .kv_heads = data->kv_heads};
    row->head_dim = data->head_dim;
    row->block = 64;
    row->value = row->density = .1;
    snprintf(row->op, sizeof row->op, "%s", op);
    snprintf(row->dtype, sizeof row->dtype, "%s", clgaze_dtype_name((clgaze_dtype)o->dtype));
    snprintf(row->forced, sizeof row->forced, "%s", kernel);
    o->kernel = kernel;
    if (op_of(op) < 0) {
        row->state = ROW_REFUSED;
        snprintf(row->note, sizeof row->note, "this program cannot time %s", op);
        return 0;
    }
    o->op = (enum op)op_of(op);
    why_not(b, o, row, op, row->note, sizeof row->note);
    if (*row->note) {
        row->state = ROW_REFUSED;
        return 0;
    }
    code = row_measure(b, o, data, peak, row);
    if (code == REFUSED) {
        row->state = ROW_REFUSED;
        snprintf(row->note, sizeof row->note, "%.500s", b->sentence);
    }
    return code == REFUSED ? 0 : code;
}

/* ---- all ---- */

static int run_all(struct bench *b, struct options *o, FILE *page, struct result *r)
{
    const char *names[MAX_KERNELS], *ops[MAX_KERNELS];
    size_t n = clgaze_kernel_list(names, ops, MAX_KERNELS);
    int cpu = (b->type & CL_DEVICE_TYPE_CPU) != 0, code;
    struct data data = {.heads = cpu ? 8 : 32, .kv_heads = cpu ? 2 : 8, .head_dim = 128};
    struct peak peak;

    data.seq = o->n_seq ? (int)o->seq[0] : cpu ? 4096 : 16384;
    o->dtype = o->dtype >= 0 ? o->dtype : cpu ? (int)CLGAZE_F32 : (int)CLGAZE_F16;
    if ((code = peak_open(b, &peak)) || (code = data_make(b, o, &data)))
        code = code == REFUSED ? fail(EXIT_INPUT, "%s", b->sentence) : code;
    if (!code) {
        fprintf(page, "%s, driver %s: %d tokens, %d heads on %d, D %d, %s, density 0.1\n", b->machine.name,
                b->machine.driver, data.seq, data.heads, data.kv_heads, data.head_dim,
                clgaze_dtype_name((clgaze_dtype)o->dtype));
        fprintf(page, "peak %.0f GFLOP/s of f32 multiply-add, %.1f GB/s of copying\n", peak.gflops, peak.gbytes);
    }
    for (size_t i = 0; i < n && i < MAX_KERNELS && !code; i++) {
        code = run_kernel(b, o, &data, &peak, ops[i], names[i], &r->rows[r->n]);
        if (!code)
            put_line(page, &r->rows[r->n++], o->op, &peak);
    }
    r->peak = peak.gflops;
    r->peak_least = peak.least;
    r->copy = peak.gbytes;
    r->most = (int)n;
    r->machine = b->machine;
    data_free(b, &data);
    peak_close(b, &peak);
    return code;
}

static int finish(const struct options *o, FILE *json, FILE *page, const struct result *r)
{
    struct result before = {0};
    int slower = 0, wrong = 0, code = json ? write_json(json, r, 1) : 0;

    for (int i = 0; i < r->n; i++)
        wrong += r->rows[i].state == ROW_FAILED;
    if (!code && o->baseline && !(code = read_json(o->baseline, &before)))
        code = compare(page, &before, r, &slower);
    free(before.rows);
    return code ? code : wrong || slower ? EXIT_DIFFERS : EXIT_DONE;
}

int main(int argc, char **argv)
{
    struct row rows[MAX_KERNELS] = {0};
    struct result r = {.rows = rows};
    struct bench b = {0};
    struct options o;
    FILE *json = NULL;
    int code;

    fail_setup("bench_ops", 0);
    if ((code = read_options(argc, argv, &o)))
        return code < 0 ? EXIT_DONE : code;
    snprintf(r.version, sizeof r.version, "%s", clgaze_version());
    snprintf(r.command, sizeof r.command, "%s", o.command);
    if (o.out[OUT_JSON] && !(json = strcmp(o.out[OUT_JSON], "-") == 0 ? stdout : fopen(o.out[OUT_JSON], "w")))
        return fail(EXIT_INPUT, "--json: %s cannot be written: %s", o.out[OUT_JSON], strerror(errno));
    FILE *page = json == stdout ? stderr : stdout;

    if (!(code = bench_open(&b, o.device, 0)) && !(code = run_all(&b, &o, page, &r)))
        code = finish(&o, json, page, &r);
    bench_close(&b);
    if (json && json != stdout && fclose(json))
        code = fail(EXIT_INPUT, "--json cannot be written: %s", strerror(errno));
    return code;
}
