/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_sparse.c: what would block-sparse attention give me, here?
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fail.h"
#include "sparse.h"

enum { MAX_DEVICES = 16 };

/* ---- rows ---- */

/* One device's run. */
struct run {
    struct bench b;
    struct options o; /* completed for this device */
    struct peak peak;
    struct result *r;
    FILE *page;
    double from, last; /* when it began; seconds of the row before */
};

/* Is there time for a row `factor` times as long as the one before? */
static bool in_time(const struct run *u, double factor)
{
    return u->o.budget <= 0 || bench_now() - u->from + factor * u->last < u->o.budget;
}

/* May the next length be four times as long a launch?  Graphics cards also draw the screen, and drivers
 * end what keeps them from it; who asks for a length gets it. */
static bool yields(const struct run *u)
{
    const double most = 1500; /* ms */
    const struct row *last = u->r->n ? &u->r->rows[u->r->n - 1] : NULL;

    u->r->held = u->o.budget > 0 && !(u->b.type & CL_DEVICE_TYPE_CPU) && last && 4 * last->dense.median > most;
    return !u->r->held;
}

static void progress(const struct run *u, const struct row *row)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\rrow %d of %d: %s, %d tokens, %g ...\033[K\r", u->r->n + 1, u->r->most, row->op, row->seq,
                row->value);
}

/* One row; one that the device has no room for says so, and the next follows. */
static int run_row(struct run *u, const struct data *data, int why, struct row *row)
{
    int code = why;

    progress(u, row);
    if (!code)
        code = row_measure(&u->b, &u->o, data, &u->peak, row);
    if (code == REFUSED) {
        row->state = ROW_REFUSED;
        snprintf(row->note, sizeof row->note, "%.500s", u->b.sentence);
        code = 0;
    }
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
    if (*row->rule && strcmp(row->rule, "ratio") != 0)
        row->density = row->kept;
    return code;
}

static void begin_row(const struct options *o, const struct data *d, int i, struct row *row)
{
    const char *rule = !op_gated(o) ? "" : o->rule ? o->rule : "ratio";
    bool listed = o->op == OP_ATTEND || o->op == OP_ATTEND_BWD;

    *row = (struct row){.seq = d->seq, .heads = d->heads, .kv_heads = d->kv_heads, .head_dim = d->head_dim};
    row->block = (int)o->block[i / o->n_density];
    row->value = row->density = o->density[i % o->n_density];
    snprintf(row->op, sizeof row->op, "%s", op_names[o->op]);
    snprintf(row->dtype, sizeof row->dtype, "%s", clgaze_dtype_name((clgaze_dtype)o->dtype));
    if (o->kernel)
        snprintf(row->forced, sizeof row->forced, "%.*s", (int)strcspn(o->kernel, " "), o->kernel);
    snprintf(row->rule, sizeof row->rule, "%s", rule);
    snprintf(row->scope, sizeof row->scope, "%s", scope_names[o->problem.scope]);
    snprintf(row->pattern, sizeof row->pattern, "%s", listed ? pattern_names[o->pattern] : "");
}

/* Unfused dense attention on the shape of the rows from `first` on. */
static int run_beside(struct run *u, const struct data *data, int first)
{
    double ms = 0;
    int code = unfused_measure(&u->b, &u->o, data, &ms);

    if (code == REFUSED)
        say(u->page, "CLBlast's GEMM, softmax and GEMM at %d tokens left out: %s", data->seq, u->b.sentence);
    else if (!code && ms > 0)
        say(u->page, "CLBlast's GEMM, softmax and GEMM at %d tokens: %.3f ms", data->seq, ms);
    for (int i = first; i < u->r->n; i++)
        u->r->rows[i].unfused = ms;
    return code == REFUSED ? 0 : code;
}

/* All block sizes and densities of one shape. */
static int run_shape(struct run *u, struct data *data)
{
    const struct options *o = &u->o;
    struct result *r = u->r;
    int why = data_make(&u->b, o, data), code = why == REFUSED ? 0 : why, first = r->n;

    for (int i = 0; i < o->n_block * o->n_density && !code && !bench_stop && in_time(u, 1); i++) {
        double from = bench_now();

        begin_row(o, data, i, &r->rows[r->n]);
        if ((code = run_row(u, data, why, &r->rows[r->n])))
            break;
        u->last = bench_now() - from;
        if (r->n++ == 0) /* a run that cannot begin leaves one sentence alone */
            page_head(u->page, o, r);
        page_row(u->page, o, &r->rows[r->n - 1]);
    }
    if (!code && o->beside && !bench_stop)
        code = run_beside(u, data, first);
    data_free(&u->b, data);
    return code;
}

/* The longest row whose stages there is time for: a check, a warm-up and three
 * rounds of dense and pipeline, after some seconds of compiling. */
static const struct row *prefill_like(const struct run *u)
{
    for (const struct row *x = u->r->rows + u->r->n - 1; x >= u->r->rows; x--)
        if (x->state == ROW_DONE &&
            bench_now() - u->from + 4 + 8e-3 * (x->dense.median + 2 * x->ms.median) < u->o.budget)
            return x;
    return NULL;
}

/* The stages at a middling density. */
static int run_prefill(struct run *u)
{
    const struct row *like = prefill_like(u);
    int why, code;

    if (!like)
        return 0;
    struct data data = {.seq = like->seq, .heads = like->heads, .kv_heads = like->kv_heads};

    data.head_dim = like->head_dim;
    u->o.op = OP_PIPELINE;
    why = data_make(&u->b, &u->o, &data);
    begin_row(&u->o, &data, u->o.n_density / 2, &u->r->prefill);
    code = why && why != REFUSED ? why : run_row(u, &data, why, &u->r->prefill);
    data_free(&u->b, &data);
    u->o.op = OP_ATTEND;
    return code;
}

static int run_rows(struct run *u)
{
    const struct options *o = &u->o;
    int lengths = o->n_seq, dims = o->n_head_dim, code = 0;

    u->o.budget *= .75; /* the rest is for the stages */
    for (int i = 0; i < o->n_heads * dims * lengths && !code && !bench_stop && in_time(u, 4) && yields(u); i++) {
        struct data data = {.seq = (int)o->seq[i % lengths], .heads = (int)o->heads[i / (dims * lengths)]};

        data.head_dim = (int)o->head_dim[i / lengths % dims];
        data.kv_heads = o->kv_heads ? o->kv_heads : data.heads % 4 ? data.heads : data.heads / 4;
        code = run_shape(u, &data);
    }
    u->o.budget /= .75;
    if (!code && u->r->n && o->op == OP_PIPELINE)
        u->r->prefill = u->r->rows[u->r->n > o->n_density / 2 ? u->r->n - 1 - o->n_density / 2 : 0];
    else if (!code && u->r->n && o->budget > 0 && !bench_stop)
        code = run_prefill(u);
    return code;
}

/* ---- devices ---- */

/* Are the rows' kernels tuned, and if not, which command does it? */
static void take_tuning(struct run *u)
{
    static const clgaze_op ops[OPS] = {CLGAZE_POOL,   CLGAZE_GATE,   CLGAZE_SCORE, CLGAZE_SELECT,  CLGAZE_ATTEND,
                                       CLGAZE_ATTEND, CLGAZE_ATTEND, CLGAZE_TRUTH, CLGAZE_DISTILL, CLGAZE_ATTEND_BWD};
    const struct row *row = &u->r->rows[0];
    clgaze_problem p = u->o.problem;
    char text[96] = "", *class;

    p.dtype = (clgaze_dtype)u->o.dtype;
    p.q_heads = row->heads;
    p.kv_heads = row->kv_heads;
    p.head_dim = row->head_dim;
    p.block_q = p.block_k = row->block;
    p.max_q = p.max_k = row->seq;
    p.value = row->value;
    u->r->tuned = strncmp(row->reason, "tuned on this device", 20) == 0;
    if (clgaze_tuning_problem(u->b.ctx, ops[u->o.op], &p, text, sizeof text) != CLGAZE_OK)
        return;
    if ((class = strrchr(text, ' '))) /* all lengths */
        *class = '\0';
    snprintf(u->r->tune, sizeof u->r->tune, "clgaze-tune%s%.40s%s --problem \"%s\"", u->o.device ? " --device '" : "",
             u->o.device ? u->o.device : "", u->o.device ? "'" : "", text);
}

static int measure(struct run *u)
{
    struct result *r = u->r;
    int code = peak_open(&u->b, &u->peak);

    r->machine = u->b.machine;
    r->battery = on_battery("/sys/class/power_supply/*/status");
    r->peak = u->peak.gflops;
    r->copy = u->peak.gbytes;
    r->most = u->o.n_heads * u->o.n_head_dim * u->o.n_seq * u->o.n_block * u->o.n_density;
    snprintf(r->version, sizeof r->version, "%s", clgaze_version());
    if (!(r->rows = calloc((size_t)r->most, sizeof *r->rows)))
        code = fail(EXIT_INPUT, "host memory ran out");
    if (!code)
        code = run_rows(u);
    r->peak = u->peak.gflops;
    r->peak_least = u->peak.least;
    r->stopped = bench_stop != 0;
    if (!code && r->n) {
        take_tuning(u);
        page_foot(u->page, r);
    }
    peak_close(&u->b, &u->peak);
    return code;
}

static int run_device(const struct options *o, const char *pick, double budget, FILE *page, struct result *r)
{
    struct run u = {.o = *o, .r = r, .page = page, .from = bench_now()};
    int code;

    u.o.device = pick;
    u.o.budget = budget;
    if (!(code = bench_open(&u.b, pick, (cl_ulong)o->memory << 20)) && !(code = options_complete(&u.o, u.b.type)))
        code = measure(&u);
    bench_close(&u.b);
    return code;
}

/* Every device in turn; one that fails is named on stderr, and the next follows. */
static int run_all(const struct options *o, FILE *page, struct result *results, int *n)
{
    int devices = (int)clgaze_device_list(NULL, 0), code = 0;

    if (devices == 0)
        return fail_no_device();
    for (int i = 0; i < devices && i < MAX_DEVICES && !bench_stop; i++) {
        char pick[16];

        snprintf(pick, sizeof pick, "%d", i);
        fprintf(page, "%s", i ? "\n" : "");
        int bad = run_device(o, pick, o->budget / devices, page, &results[*n]);
        code = code ? code : bad;
        *n += !bad;
    }
    page_devices(page, results, *n);
    return code;
}

/* ---- the command ---- */

static int verdict(const struct result *results, int n)
{
    int wrong = 0;

    for (int d = 0; d < n; d++) {
        wrong += results[d].prefill.state == ROW_FAILED;
        for (int i = 0; i < results[d].n; i++)
            wrong += results[d].rows[i].state == ROW_FAILED;
    }
    return wrong ? EXIT_DIFFERS : bench_stop ? EXIT_STOPPED : EXIT_DONE;
}

/* Beside the JSON of an earlier run. */
static int beside(const char *path, const struct result *now, FILE *page)
{
    struct result before = {0};
    int slower = 0, code = read_json(path, &before);

    if (!code)
        code = compare(page, &before, now, &slower);
    free(before.rows);
    return code ? code : slower ? EXIT_DIFFERS : EXIT_DONE;
}

static int run(const struct options *o, FILE **files)
{
    struct result results[MAX_DEVICES] = {0};
    FILE *page = stdout;
    int n = 0, code;

    for (int i = 0; i < OUTPUTS; i++)
        page = files[i] == stdout ? stderr : page;
    for (int i = 0; i < MAX_DEVICES; i++)
        snprintf(results[i].command, sizeof results[i].command, "%s", o->command);
    if (o->device && strcmp(o->device, "all") == 0)
        code = run_all(o, page, results, &n);
    else if (!(code = run_device(o, o->device, o->budget, page, &results[0])))
        n = 1;
    if (n) {
        int late = write_outputs(files, results, n);

        if (!late && o->baseline)
            late = beside(o->baseline, &results[0], page);
        code = code ? code : verdict(results, n);
        code = code && code != EXIT_STOPPED ? code : late ? late : code;
    }
    for (int i = 0; i < MAX_DEVICES; i++)
        free(results[i].rows);
    return code;
}

static int compare_files(const struct options *o)
{
    struct result b = {0};
    int code = read_json(o->compare[1], &b);

    if (!code)
        code = beside(o->compare[0], &b, stdout);
    free(b.rows);
    return code;
}

/* A baseline that cannot be read must not cost a minute. */
static int check_baseline(const struct options *o)
{
    struct result r = {0};
    int code = o->baseline ? read_json(o->baseline, &r) : 0;

    free(r.rows);
    return code;
}

/* A second Ctrl-C ends the program at once. */
static void stop(int number)
{
    bench_stop = 1;
    signal(number, SIG_DFL);
}

int main(int argc, char **argv)
{
    FILE *files[OUTPUTS] = {0};
    struct options o;
    int code, late;

    fail_setup("bench_sparse", 0);
    signal(SIGINT, stop);
    if (!(code = options_read(argc, argv, &o))) {
        if (o.compare[0])
            code = compare_files(&o);
        else if (!(code = check_baseline(&o)) && !(code = open_outputs(&o, files)))
            code = run(&o, files);
    }
    if ((late = close_outputs(files)))
        code = code > 0 ? code : late;
    input_close(o.input);
    return code < 0 ? EXIT_DONE : code;
}
