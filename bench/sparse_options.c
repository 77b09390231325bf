/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sparse_options.c: the command line of bench_sparse.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "options.h"
#include "sparse.h"

const char *const op_names[OPS] = {"pool",     "gate",    "score", "select",  "attend",
                                   "pipeline", "prefill", "truth", "distill", "attend_bwd"};
const char *const scope_names[SCOPES] = {"q", "kv", "one"};
const char *const pattern_names[PATTERNS] = {"random", "local", "strided", "real"};
const char *const output_names[OUTPUTS] = {"--json", "--csv", "--markdown", "--plot"};
const char *const sweep_names[SWEEPS] = {"seq", "density", "block", "head-dim", "heads"};

bool op_gated(const struct options *o)
{
    return o->op < OP_ATTEND || o->op == OP_PIPELINE || o->op == OP_PREFILL ||
           (o->op == OP_ATTEND && o->pattern == REAL);
}

static int take_text(const char *text, const char **to)
{
    *to = text;
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
                          blocks = {4, 256, 1, false}, densities = {0, 1, 0, true}, values = {0, 1 << 24, 0, false},
                          times = {0, 600, 0, false}, megabytes = {1, 1 << 24, 1, false};

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

static int take_real(const char *text, const struct range *range, double *to)
{
    char *end;

    return number(text, &end, range, to) && *end == '\0' ? 0 : -1;
}

static int take_int(const char *text, const struct range *range, int *to)
{
    double value = 0;
    int bad = take_real(text, range, &value);

    *to = (int)value;
    return bad;
}

/* Index of a word; -1 when it is none of them. */
static int word_at(const char *text, const char *const *words, int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(text, words[i]) == 0)
            return i;
    return -1;
}

/* ---- one function an option ---- */

#define TAKE(name, call)                                                                                             \
    static int take_##name(const char *text, struct options *o)                                                      \
    {                                                                                                                \
        return call;                                                                                                 \
    }
#define TAKE_TEXT(name, field) TAKE(name, take_text(text, &o->field))

TAKE(seq, take_list(text, &seqs, o->seq, &o->n_seq))
TAKE(block, take_list(text, &blocks, o->block, &o->n_block))
TAKE(density, take_list(text, &densities, o->density, &o->n_density))
TAKE(value, take_list(text, &values, o->density, &o->n_density))
TAKE(heads, take_list(text, &counts, o->heads, &o->n_heads))
TAKE(head_dim, take_list(text, &dims, o->head_dim, &o->n_head_dim))
TAKE(kv_heads, take_int(text, &counts, &o->kv_heads))
TAKE(memory, take_int(text, &megabytes, &o->memory))
TAKE(min_time, take_real(text, &times, &o->min_time))
TAKE_TEXT(device, device)
TAKE_TEXT(kernel, kernel)
TAKE_TEXT(in, in)
TAKE_TEXT(baseline, baseline)
TAKE_TEXT(json, out[OUT_JSON])
TAKE_TEXT(csv, out[OUT_CSV])
TAKE_TEXT(markdown, out[OUT_MARKDOWN])
TAKE_TEXT(plot, out[OUT_PLOT])

static int take_dtype(const char *text, struct options *o)
{
    for (o->dtype = CLGAZE_F32; o->dtype <= (int)CLGAZE_BF16; o->dtype++)
        if (strcmp(text, clgaze_dtype_name((clgaze_dtype)o->dtype)) == 0)
            return 0;
    return -1;
}

static int take_op(const char *text, struct options *o)
{
    int at = word_at(text, op_names, OPS);

    o->op = (enum op)at;
    return at < 0 ? -1 : 0;
}

static int take_pattern(const char *text, struct options *o)
{
    int at = word_at(text, pattern_names, PATTERNS);

    o->pattern = (enum pattern)at;
    return at < 0 ? -1 : 0;
}

static int take_scope(const char *text, struct options *o)
{
    int at = word_at(text, scope_names, SCOPES);

    o->problem.scope = (clgaze_scope)at;
    return at < 0 ? -1 : 0;
}

static int take_rule(const char *text, struct options *o)
{
    static const char *const rules[] = {"topk", "ratio", "budget", "threshold", "topp"};

    o->rule = text;
    return word_at(text, rules, 5) < 0 ? -1 : 0;
}

static int take_beside(const char *text, struct options *o)
{
    o->beside = strcmp(text, "clblast") == 0;
    return o->beside ? 0 : -1;
}

static int take_sweep(const char *text, struct options *o)
{
    o->sweep = word_at(text, sweep_names, SWEEPS);
    return o->sweep < 0 ? -1 : 0;
}

/* ---- the table ---- */

static const struct option {
    const char *name;
    int (*take)(const char *text, struct options *o);
    const char *must; /* what the value must be */
    const char *help;
    bool leaves; /* the page is the same with it */
} table[] = {
    {"--device", take_device, "",
     "index, or part of a name, of an OpenCL device, or all (the first GPU, else the first)", true},
    {"--op", take_op, "pool, gate, score, select, attend, pipeline, prefill, truth, distill or attend_bwd",
     "what is timed: attend; pipeline: pool to attend, stage by stage; prefill: the same in one call; pool, gate, "
     "score or select alone; of training truth, distill or attend_bwd (attend)",
     false},
    {"--seq", take_seq, "a comma list of token counts from 1 to 16777216", "comma list of tokens", false},
    {"--density", take_density, "a comma list of numbers above 0, at most 1", "comma list of shares of the blocks",
     false},
    {"--block", take_block, "a comma list of whole numbers from 4 to 256", "comma list of tokens a block (64)",
     false},
    {"--heads", take_heads, "a comma list of whole numbers from 1 to 1024", "query heads", false},
    {"--kv-heads", take_kv_heads, "a whole number from 1 to 1024 that divides --heads",
     "key-value heads (a quarter of the query heads)", false},
    {"--head-dim", take_head_dim, "a comma list of multiples of 8 from 8 to 256", "channels of a head (128)", false},
    {"--dtype", take_dtype, "f32, f16 or bf16", "of q, k, v and out (f32 on CPUs, else f16)", false},
    {"--sweep", take_sweep, "seq, density, block, head-dim or heads", "many values of this one, one of each other",
     false},
    {"--pattern", take_pattern, "random, local, strided or real",
     "lists of --op attend: random; local: the first block and the last ones; strided; real: the gate's on --in "
     "(random)",
     false},
    {"--head-scope", take_scope, "q, kv or one",
     "who has lists of its own in --op attend: q, each query head; kv, each key-value head; one, all together (q)",
     false},
    {"--rule", take_rule, "topk, ratio, budget, threshold or topp", "of select; its values are given by --value",
     false},
    {"--value", take_value, "a comma list of numbers from 0 to 16777216", "comma list of values of --rule", false},
    {"--in", take_in, "", "safetensors file with q, k, v (or q_gate, k_gate, rope_inv_freq) and w_k", false},
    {"--kernel", take_kernel, "", "strategy of the timed operation to force, tunables too: \"attend_cpu BM=64\"",
     false},
    {"--beside", take_beside, "clblast", "clblast: its unfused dense attention too, where it fits", false},
    {"--min-time", take_min_time, "seconds from 0 to 600", "seconds that a row is measured for, at least (0.5)",
     false},
    {"--memory", take_memory, "megabytes, from 1", "megabytes that the device is taken to have (all)", true},
    {"--json", take_json, "", "write JSON to this file; - is standard output", true},
    {"--csv", take_csv, "", "write CSV to this file", true},
    {"--markdown", take_markdown, "", "write markdown to this file, to paste in an issue", true},
    {"--plot", take_plot, "", "draw the result in this SVG file", true},
    {"--baseline", take_baseline, "", "JSON of an earlier run to compare with", true},
};

enum { OPTIONS = sizeof table / sizeof *table };

static int help(void)
{
    printf("bench_sparse: block-sparse attention beside dense attention on this device\n\n");
    printf("  %-11s %s\n", "", "without options: a page within a minute");
    for (int i = 0; i < OPTIONS; i++)
        printf("  %-11s %s\n", table[i].name, table[i].help);
    printf("  %-11s %s\n", "--compare", "two JSON files, A and B: say which rows of B differ; nothing is measured");
    printf(
        "\nExit: 0 done, 1 a row was wrong, or slower than in the baseline, 2 bad option or input, 3 OpenCL failed, "
        "130 interrupted.\n");
    return -1;
}

/* One option and its value; -1 for what help printed. */
static int take(int argc, char **argv, int *i, struct options *o)
{
    int at = 0;

    if (strcmp(argv[*i], "--help") == 0)
        return help();
    if (strcmp(argv[*i], "--version") == 0)
        return printf("bench_sparse %s\n", clgaze_version()), -1;
    if (strcmp(argv[*i], "--compare") == 0) {
        if (*i + 2 >= argc)
            return fail(EXIT_INPUT, "--compare needs two files");
        o->compare[0] = argv[++*i];
        o->compare[1] = argv[++*i];
        return 0;
    }
    while (at < OPTIONS && strcmp(argv[*i], table[at].name) != 0)
        at++;
    if (at == OPTIONS)
        return fail(EXIT_INPUT, "%.40s is not an option; see --help", argv[*i]);
    if (++*i == argc)
        return fail(EXIT_INPUT, "%s needs a value", table[at].name);
    if (table[at].take(argv[*i], o))
        return fail(EXIT_INPUT, "%s is \"%.60s\", but must be %s", table[at].name, argv[*i], table[at].must);
    o->shaped |= !table[at].leaves;
    o->valued |= table[at].take == take_value;
    o->dense |= table[at].take == take_density;
    return 0;
}

/* What was asked on the command line alone. */
static int check_asked(const struct options *o)
{
    int to_stdout = 0;

    for (int i = 0; i < OUTPUTS; i++)
        to_stdout += o->out[i] && strcmp(o->out[i], "-") == 0;
    if (to_stdout > 1)
        return fail(EXIT_INPUT, "only one of --json, --csv, --markdown and --plot can go to standard output");
    if (o->valued && !o->rule)
        return fail(EXIT_INPUT, "--value needs --rule");
    if (o->rule && !o->in && !o->valued)
        return fail(EXIT_INPUT, "--rule needs --value");
    if (o->rule && o->dense)
        return fail(EXIT_INPUT, "--density cannot be given beside --rule, whose values are --value");
    if (o->rule && !op_gated(o))
        return fail(EXIT_INPUT, "--rule is of select, which --op %s does not run", op_names[o->op]);
    if (o->pattern != RANDOM && o->op != OP_ATTEND && (o->op != OP_ATTEND_BWD || o->pattern == REAL))
        return fail(EXIT_INPUT, "--pattern is for --op attend (attend_bwd: but for real), not for --op %s",
                    op_names[o->op]);
    if (o->problem.scope != CLGAZE_SCOPE_Q && ((o->op != OP_ATTEND && o->op != OP_ATTEND_BWD) || o->pattern == REAL))
        return fail(EXIT_INPUT, "--head-scope %s is for lists of --op attend or attend_bwd that no gate makes",
                    scope_names[o->problem.scope]);
    if (o->in && (o->n_seq || o->n_heads || o->n_head_dim || o->kv_heads || o->dtype >= 0 || o->sweep == SWEEP_SEQ ||
                  o->sweep == SWEEP_HEADS || o->sweep == SWEEP_HEAD_DIM))
        return fail(EXIT_INPUT, "--in has a shape and a type of its own: leave out --seq, --heads, --kv-heads, "
                                "--head-dim, --dtype, and sweeps of them");
    if (o->pattern == REAL && !o->in)
        return fail(EXIT_INPUT, "--pattern real needs --in, a file with q, k, v and w_k");
    return 0;
}

/* For reports: what to type to do it again. */
static void keep_command(int argc, char **argv, struct options *o)
{
    size_t at = (size_t)snprintf(o->command, sizeof o->command, "bench_sparse");

    for (int i = 1; i < argc && at < sizeof o->command; i++) {
        const char *quote = strpbrk(argv[i], " *?\"$") ? "'" : "";

        at += (size_t)snprintf(o->command + at, sizeof o->command - at, " %s%s%s", quote, argv[i], quote);
    }
}

int options_read(int argc, char **argv, struct options *o)
{
    int code = 0;

    *o = (struct options){.dtype = -1, .sweep = -1, .min_time = .5, .op = OP_ATTEND};
    o->problem = clgaze_problem_default();
    o->problem.rule = CLGAZE_RATIO;
    keep_command(argc, argv, o);
    for (int i = 1; i < argc && !code; i++)
        code = take(argc, argv, &i, o);
    if (!o->shaped) { /* no row was asked for: a page within a minute */
        o->budget = 45;
        o->min_time = .3;
    }
    if (!code && !(code = check_asked(o)) && o->in)
        code = input_open(o);
    if (!code && !o->in && o->rule)
        code = option_set("rule", o->rule, &o->problem);
    return code ? code : options_check(o);
}
