/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_ops.c: every strategy of kernels.def on its standard shapes, a line each,
 * for those who change kernels.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "internal.h"
#include "posix.h"
#include "sparse.h"

enum { MAX_KERNELS = 64, SHAPES = 2 };

/* Standard shapes: long and wide, short and narrow. */
static const struct {
    int cpu, gpu, head_dim; /* tokens of processors and of others */
} shapes[SHAPES] = {{4096, 16384, 128}, {1024, 4096, 64}};

/* ---- the command line ---- */

static int help(void)
{
    printf(
        "bench_ops: every strategy on its standard shapes, a line each\n\n"
        "  --device    index, or part of a name, of an OpenCL device (the first GPU, else the first)\n"
        "  --op        the strategies of this operation alone: pool, gate, score, select, attend, truth, distill or "
        "attend_bwd (all)\n"
        "  --seq       one shape of so many tokens (else 4096 of D 128 and 1024 of D 64; 16384 and 4096 but on "
        "CPUs)\n"
        "  --head-dim  channels of a head (128; of the second shape 64)\n"
        "  --dtype     f32, f16 or bf16 (f32 on CPUs, else f16)\n"
        "  --min-time  seconds a strategy is measured for, at least (0.3)\n"
        "  --json      write JSON to this file; - is standard output\n"
        "  --compare   JSON of an earlier run to compare with\n"
        "\nExit: 0 done, 1 something was wrong or slower, 2 bad option or input, 3 OpenCL failed.\n");
    return -1;
}

/* The options that bench_sparse has too; it reads and judges them.  *one: there is an --op. */
static int read_options(int argc, char **argv, struct options *o, bool *one)
{
    static const char *const known[] = {"--compare",  "--op",    "--device",   "--seq",
                                        "--head-dim", "--dtype", "--min-time", "--json"};
    static char baseline[] = "--baseline", min_time[] = "--min-time", least[] = "0.3";
    char *all[20] = {argv[0], min_time, least};
    size_t most = sizeof known / sizeof *known;
    int n = 3, code;

    if (argc > 17)
        return fail(EXIT_INPUT, "there are too many options; see --help");
    for (int i = 1; i < argc; i += 2) {
        size_t at = 0;

        if (strcmp(argv[i], "--help") == 0)
            return help();
        while (at < most && strcmp(argv[i], known[at]) != 0)
            at++;
        if (at == most)
            return fail(EXIT_INPUT, "%.40s is not an option; see --help", argv[i]);
        all[n++] = at == 0 ? baseline : argv[i];
        *one |= at == 1;
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
    if (o->n_seq > 1 || o->n_head_dim > 1)
        return fail(EXIT_INPUT, "%s is a list, but must be one number", o->n_seq > 1 ? "--seq" : "--head-dim");
    if (*one && (o->op == OP_PIPELINE || o->op == OP_PREFILL))
        return fail(EXIT_INPUT, "--op %s has no strategies of its own", op_names[o->op]);
    o->budget = 0;
    return 0;
}

/* ---- one strategy ---- */

static enum op op_of(const char *name)
{
    int i = 0;

    while (i < OPS - 1 && strcmp(op_names[i], name) != 0)
        i++;
    return (enum op)i;
}

/* The share of the limit that is nearer. */
static void put_line(FILE *f, const struct row *r)
{
    bool copying = r->of_copy > r->of_peak;
    double share = copying ? r->of_copy : r->of_peak;

    fprintf(f, "%-10s %-16s %6d %3d ", r->op, r->forced, r->seq, r->head_dim);
    if (r->state != ROW_DONE) {
        fprintf(f, "%s: %s\n", r->state == ROW_FAILED ? "FAILED" : "not here", r->note);
        return;
    }
    fprintf(f, "%10.3f ms +-%4.1f%% ", r->ms.median, 50 * (r->ms.q3 - r->ms.q1) / r->ms.median);
    if (share > 0)
        fprintf(f, "%4.0f%% of %s  ", 100 * share, copying ? "copying     " : "multiply-add");
    else
        fprintf(f, "%4s    %-12s  ", "-", "");
    fprintf(f, "%s%s%s\n", r->kernel, *r->registers ? "; " : "", r->registers);
    fflush(f);
}

/* The library's number of an operation. */
static clgaze_op number_of(const char *op)
{
    int i = CLGAZE_POOL;

    while (i < (int)CLGAZE_ATTEND_BWD && strcmp(clg_op_name((clgaze_op)i), op) != 0)
        i++;
    return (clgaze_op)i;
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
    o->op = op_of(op);
    clgaze_problem p = row_problem(o, row);
    if (clgaze_supports(b->ctx, number_of(op), &p, row->note, sizeof row->note) != CLGAZE_OK) {
        row->state = ROW_REFUSED;
        return 0;
    }
    *row->note = '\0';
    compiler_says(b, number_of(op), &p, row->registers, sizeof row->registers);
    code = row_measure(b, o, data, peak, row);
    if (code == REFUSED) {
        row->state = ROW_REFUSED;
        snprintf(row->note, sizeof row->note, "%.500s", b->sentence);
    }
    return code == REFUSED ? 0 : code;
}

/* ---- all ---- */

/* Every strategy of `only`, or of all operations, on one shape. */
static int run_shape(struct bench *b, struct options *o, const char *only, struct data *data, struct peak *peak,
                     FILE *page, struct result *r)
{
    const char *names[MAX_KERNELS], *ops[MAX_KERNELS];
    size_t n = clgaze_kernel_list(names, ops, MAX_KERNELS);
    int code = data_make(b, o, data);

    for (size_t i = 0; i < n && i < MAX_KERNELS && !code; i++) {
        if (only && strcmp(only, ops[i]) != 0)
            continue;
        code = run_kernel(b, o, data, peak, ops[i], names[i], &r->rows[r->n]);
        if (!code)
            put_line(page, &r->rows[r->n++]);
    }
    data_free(b, data);
    return code == REFUSED ? fail(EXIT_INPUT, "%s", b->sentence) : code;
}

static int run_all(struct bench *b, struct options *o, const char *only, FILE *page, struct result *r)
{
    const bool cpu = (b->type & CL_DEVICE_TYPE_CPU) != 0;
    struct peak peak;
    int code = peak_open(b, &peak);

    o->dtype = o->dtype >= 0 ? o->dtype : cpu ? (int)CLGAZE_F32 : (int)CLGAZE_F16;
    if (!code) {
        fprintf(page, "%s, driver %s: %d heads on %d, %s, density 0.1\n", b->machine.name, b->machine.driver,
                cpu ? 8 : 32, cpu ? 2 : 8, clgaze_dtype_name((clgaze_dtype)o->dtype));
        fprintf(page, "peak %.0f GFLOP/s of f32 multiply-add, %.1f GB/s of copying\n", peak.gflops, peak.gbytes);
    }
    for (int i = 0; i < (o->n_seq ? 1 : SHAPES) && !code; i++) {
        struct data data = {.heads = cpu ? 8 : 32, .kv_heads = cpu ? 2 : 8, .head_dim = shapes[i].head_dim};

        if (o->n_head_dim)
            data.head_dim = (int)o->head_dim[0];
        data.seq = o->n_seq ? (int)o->seq[0] : cpu ? shapes[i].cpu : shapes[i].gpu;
        code = run_shape(b, o, only, &data, &peak, page, r);
    }
    r->peak = peak.gflops;
    r->peak_least = peak.least;
    r->copy = peak.gbytes;
    r->most = r->n;
    r->machine = b->machine;
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
    static struct row rows[MAX_KERNELS * SHAPES];
    struct result r = {.rows = rows};
    struct bench b = {0};
    struct options o;
    bool one = false;
    FILE *json = NULL;
    int code;

    fail_setup("bench_ops", 0);
    setenv("CLGAZE_CACHE_DIR", "0", 1); /* compilers tell of what they compile */
    setenv("CUDA_CACHE_DISABLE", "1", 0);
    if ((code = read_options(argc, argv, &o, &one)))
        return code < 0 ? EXIT_DONE : code;
    snprintf(r.version, sizeof r.version, "%s", clgaze_version());
    snprintf(r.command, sizeof r.command, "%s", o.command);
    if (o.out[OUT_JSON] && !(json = strcmp(o.out[OUT_JSON], "-") == 0 ? stdout : fopen(o.out[OUT_JSON], "w")))
        return fail(EXIT_INPUT, "--json: %s cannot be written: %s", o.out[OUT_JSON], strerror(errno));
    FILE *page = json == stdout ? stderr : stdout;

    if (!(code = bench_open(&b, o.device, 0)) && !(code = run_all(&b, &o, one ? op_names[o.op] : NULL, page, &r)))
        code = finish(&o, json, page, &r);
    bench_close(&b);
    if (json && json != stdout && fclose(json))
        code = fail(EXIT_INPUT, "--json cannot be written: %s", strerror(errno));
    return code;
}
