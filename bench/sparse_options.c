/*
 * sparse_options.c: the command line of bench_sparse.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "sparse.h"

static int take_text(const char *text, void *to)
{
    memcpy(to, &text, sizeof text);
    return 0;
}

/* ---- numbers ---- */

/* What a number may be; `step` 0: any real number. */
struct range {
    double least, most, step;
    bool open; /* greater than least, not equal */
};

static bool number(const char *text, char **end, const struct range *range, double *to)
{
    *to = strtod(text, end);
    return *end != text && *to >= range->least && *to <= range->most && !(range->open && *to <= range->least) &&
           (range->step == 0 || fmod(*to, range->step) == 0);
}

static const struct range seqs = {1, 1 << 24, 1, false}, counts = {1, 1024, 1, false}, dims = {8, 256, 8, false},
                          blocks = {4, 256, 1, false}, densities = {0, 1, 0, true}, times = {0, 600, 0, false};

static int take_list(const char *text, const struct range *range, double *list, int *n)
{
    char *end;

    for (*n = 0; *n < MAX_LIST; text = end + 1) {
        if (!number(text, &end, range, &list[(*n)++]))
            return -1;
        if (*end != ',')
            return *end ? -1 : 0;
    }
    return -1;
}

static int take_int(const char *text, const struct range *range, int *to)
{
    double value = 0;
    char *end;
    bool good = number(text, &end, range, &value) && *end == '\0';

    *to = (int)value;
    return good ? 0 : -1;
}

static int take_seq(const char *text, struct options *o)
{
    return take_list(text, &seqs, o->seq, &o->n_seq);
}

static int take_block(const char *text, struct options *o)
{
    return take_list(text, &blocks, o->block, &o->n_block);
}

static int take_density(const char *text, struct options *o)
{
    return take_list(text, &densities, o->density, &o->n_density);
}

static int take_heads(const char *text, struct options *o)
{
    return take_int(text, &counts, &o->heads);
}

static int take_kv_heads(const char *text, struct options *o)
{
    return take_int(text, &counts, &o->kv_heads);
}

static int take_head_dim(const char *text, struct options *o)
{
    return take_int(text, &dims, &o->head_dim);
}

static int take_min_time(const char *text, struct options *o)
{
    char *end;

    return number(text, &end, &times, &o->min_time) && *end == '\0' ? 0 : -1;
}

/* ---- words ---- */

static int take_dtype(const char *text, struct options *o)
{
    for (o->dtype = CLGAZE_F32; o->dtype <= (int)CLGAZE_BF16; o->dtype++)
        if (strcmp(text, clgaze_dtype_name((clgaze_dtype)o->dtype)) == 0)
            return 0;
    return -1;
}

static int take_op(const char *text, struct options *o)
{
    o->pipeline = strcmp(text, "pipeline") == 0;
    return o->pipeline || strcmp(text, "attend") == 0 ? 0 : -1;
}

static int take_device(const char *text, struct options *o)
{
    return take_text(text, &o->device);
}

static int take_kernel(const char *text, struct options *o)
{
    return take_text(text, &o->kernel);
}

static int take_json(const char *text, struct options *o)
{
    return take_text(text, &o->json);
}

static int take_csv(const char *text, struct options *o)
{
    return take_text(text, &o->csv);
}

static int take_plot(const char *text, struct options *o)
{
    (void)text;
    (void)o;
    return -1;
}

/* ---- the table ---- */

static const struct option {
    const char *name;
    int (*take)(const char *text, struct options *o);
    const char *must; /* what the value must be */
    const char *help;
} table[] = {
    {"--device", take_device, "", "index, or part of a name, of an OpenCL device (the first GPU, else the first)"},
    {"--op", take_op, "attend or pipeline (truth and attend_bwd are not in this version)",
     "attend, or pipeline: pool to attend (attend)"},
    {"--seq", take_seq, "a comma list of token counts from 1 to 16777216", "comma list of tokens"},
    {"--density", take_density, "a comma list of numbers above 0, at most 1", "comma list of shares of the blocks"},
    {"--block", take_block, "a comma list of whole numbers from 4 to 256", "comma list of tokens a block (64)"},
    {"--heads", take_heads, "a whole number from 1 to 1024", "query heads"},
    {"--kv-heads", take_kv_heads, "a whole number from 1 to 1024 that divides --heads",
     "key-value heads (a quarter of the query heads)"},
    {"--head-dim", take_head_dim, "a multiple of 8 from 8 to 256", "channels of a head (128)"},
    {"--dtype", take_dtype, "f32, f16 or bf16", "of q, k, v and out (f32 on CPUs, else f16)"},
    {"--min-time", take_min_time, "seconds from 0 to 600", "seconds that a row is measured for, at least (0.5)"},
    {"--kernel", take_kernel, "", "strategy of attention to force, with tunables if wanted: \"attend_cpu BM=64\""},
    {"--json", take_json, "", "write JSON to this file; - is standard output"},
    {"--csv", take_csv, "", "write CSV to this file; - is standard output"},
    {"--plot", take_plot, "left out: plots are not in this version", "not in this version"},
};

enum { OPTIONS = sizeof table / sizeof *table };

static int help(void)
{
    printf("bench_sparse: block-sparse attention beside dense attention on this device\n\n");
    for (int i = 0; i < OPTIONS; i++)
        printf("  %-11s %s\n", table[i].name, table[i].help);
    printf("\nExit: 0 done, 1 a row was wrong, 2 bad option or input, 3 OpenCL failed, 130 interrupted.\n");
    return -1;
}

static int check(const struct options *o)
{
    if (o->heads && o->kv_heads && o->heads % o->kv_heads)
        return fail(EXIT_INPUT, "--kv-heads is %d, but must divide --heads, which is %d", o->kv_heads, o->heads);
    if (o->json && o->csv && strcmp(o->json, "-") == 0 && strcmp(o->csv, "-") == 0)
        return fail(EXIT_INPUT, "--json and --csv cannot both go to standard output");
    return 0;
}

int options_read(int argc, char **argv, struct options *o)
{
    *o = (struct options){.dtype = -1, .min_time = .5};
    for (int i = 1; i < argc; i++) {
        int at = 0;

        if (strcmp(argv[i], "--help") == 0)
            return help();
        if (strcmp(argv[i], "--version") == 0)
            return printf("bench_sparse %s\n", clgaze_version()), -1;
        while (at < OPTIONS && strcmp(argv[i], table[at].name) != 0)
            at++;
        if (at == OPTIONS)
            return fail(EXIT_INPUT, "%.40s is not an option; see --help", argv[i]);
        if (++i == argc)
            return fail(EXIT_INPUT, "%s needs a value", table[at].name);
        if (table[at].take(argv[i], o))
            return fail(EXIT_INPUT, "%s is \"%.60s\", but must be %s", table[at].name, argv[i], table[at].must);
    }
    /* Nothing asked but a device: a page within a minute. */
    if (argc == 1 || (argc == 3 && o->device))
        o->budget = 50;
    return check(o);
}

/* ---- defaults ---- */

/* A minute on two cores of a laptop; a GPU gets more to do. */
static const struct {
    int n_seq, n_density;
    double seq[4], density[3];
    int heads, head_dim, dtype;
} cpu = {4, 3, {1024, 2048, 4096, 8192}, {.05, .1, .25}, 8, 128, CLGAZE_F32},
  gpu = {4, 3, {4096, 8192, 16384, 32768}, {.05, .1, .25}, 32, 128, CLGAZE_F16};

int options_complete(struct options *o, cl_device_type type)
{
    bool is_cpu = (type & CL_DEVICE_TYPE_CPU) != 0;

    if (!o->n_seq) {
        o->n_seq = is_cpu ? cpu.n_seq : gpu.n_seq;
        memcpy(o->seq, is_cpu ? cpu.seq : gpu.seq, sizeof cpu.seq);
    }
    if (!o->n_density) {
        o->n_density = is_cpu ? cpu.n_density : gpu.n_density;
        memcpy(o->density, is_cpu ? cpu.density : gpu.density, sizeof cpu.density);
    }
    if (!o->n_block)
        o->block[o->n_block++] = 64;
    if (!o->heads) {
        o->heads = is_cpu ? cpu.heads : gpu.heads;
        o->heads = o->kv_heads > o->heads ? o->kv_heads : o->heads;
    }
    if (!o->kv_heads)
        o->kv_heads = o->heads % 4 ? o->heads : o->heads / 4;
    if (!o->head_dim)
        o->head_dim = is_cpu ? cpu.head_dim : gpu.head_dim;
    if (o->dtype < 0)
        o->dtype = is_cpu ? cpu.dtype : gpu.dtype;
    return check(o);
}
