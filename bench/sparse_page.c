/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sparse_page.c: what a person reads: one screen.
 */
#include <string.h>

#include "fail.h"
#include "sparse.h"

enum { WIDE = 78 };

/* ---- the head ---- */

static void say_others(FILE *f, const struct machine *m)
{
    enum { MOST = 16 };
    clgaze_device list[MOST];
    size_t n = clgaze_device_list(list, MOST);

    for (size_t i = 0; i < n && i < MOST; i++)
        if (strcmp(list[i].name, m->name) != 0 || strcmp(list[i].platform_name, m->platform) != 0)
            say(f, "also here: %s (%s), chosen with --device %zu; --device all for all", list[i].name,
                list[i].platform_name, i);
}

static const char *const owners[SCOPES] = {", each head and row its own", ", each key-value head and row its own",
                                           ", each row its own"};

static void say_data(FILE *f, const struct options *o, const struct row *row)
{
    const char *from = o->in ? "q, k and v are the file's" : "q, k and v are random";

    if (*row->rule)
        say(f, "%s; %s; rule %s%s", from, o->in ? "so is the gate, where it has one" : "so are the gate's weights",
            row->rule, strcmp(row->rule, "ratio") == 0 ? " with the density as its value" : "");
    else if (strcmp(row->op, "truth") == 0)
        say(f, "%s", from);
    else
        say(f, "%s; %s lists%s%s", from, row->pattern,
            o->pattern == RANDOM || o->problem.scope != CLGAZE_SCOPE_Q ? owners[o->problem.scope] : "",
            o->pattern == RANDOM ? ", the diagonal kept" : "");
}

/* Nothing to multiply: copying is its limit. */
static bool copies(const struct row *r)
{
    return strcmp(r->op, "pool") == 0 || strcmp(r->op, "select") == 0;
}

/* Shapes that differ from row to row have columns of their own. */
static bool swept(const struct options *o)
{
    return o->n_heads > 1 || o->n_head_dim > 1;
}

static bool wide(FILE *f, const struct options *o)
{
    return columns(f) >= WIDE + (swept(o) ? 10 : 0) + (o->n_block > 1 ? 6 : 0);
}

static void say_shape(FILE *f, const struct options *o, const struct row *row)
{
    char block[24] = "";

    if (o->n_block < 2)
        snprintf(block, sizeof block, ", blocks of %d", row->block);
    say(f, "%s, %s, %d query heads on %d key-value head%s, D %d%s, causal", row->op, row->dtype, row->heads,
        row->kv_heads, row->kv_heads > 1 ? "s" : "", row->head_dim, block);
}

static void put_titles(FILE *f, const struct options *o, const struct row *row)
{
    const char *value = *row->rule && strcmp(row->rule, "ratio") != 0 ? row->rule : "density";

    if (swept(o))
        fprintf(f, "%5s %3s ", "heads", "D");
    if (wide(f, o) && o->n_block > 1)
        fprintf(f, "%5s ", "block");
    if (wide(f, o))
        fprintf(f, "%7s %7.7s %5s %9s %5s %8s %9s %8s %6s %5s\n", "tokens", value, "kept", "ms", "", "GFLOP/s",
                "dense ms", "speed-up", "ideal", copies(row) ? "copy" : "peak");
    else if (swept(o))
        fprintf(f, "%5s %4s %7s %6s\n", "seq", "dens", "ms", "speed");
    else
        fprintf(f, "%6s %4s %8s %6s %5s %5s\n", "seq", "dens", "ms", "speed", "ideal", copies(row) ? "copy" : "peak");
    fflush(f);
}

void page_head(FILE *f, const struct options *o, const struct result *r)
{
    const struct row *row = &r->rows[0];

    say(f, "bench_sparse %s on %s (%s), driver %s", r->version, r->machine.name, r->machine.platform,
        r->machine.driver);
    say_others(f, &r->machine);
    if (locked_out())
        say(f,
            "There is a graphics card that this user may not open: add the user to the group render, log in again, "
            "and install its OpenCL package.");
    if (r->battery)
        say(f, "On battery: this computer may be slower than on mains.");
    say_shape(f, o, row);
    say_data(f, o, row);
    if (r->peak > 0)
        say(f, "peak, measured just now: %.0f GFLOP/s of f32 multiply-add, %.1f GB/s of copying", r->peak, r->copy);
    fputc('\n', f);
    put_titles(f, o, row);
}

/* ---- rows ---- */

static void put_share(FILE *f, int width, double share)
{
    if (share > 0)
        fprintf(f, " %*.0f%%", width, 100 * share);
    else
        fprintf(f, " %*s", width + 1, "-");
}

/* Half of the middle half, as a share of the median; nothing of few rounds. */
static void put_spread(FILE *f, const struct row *r)
{
    double share = r->ms.median > 0 ? 50 * (r->ms.q3 - r->ms.q1) / r->ms.median : 0;

    if (r->rounds < 3)
        fprintf(f, " %5s", "");
    else
        fprintf(f, " +-%2.0f%%", share < 99 ? share : 99);
}

static void put_ms(FILE *f, int width, double ms)
{
    fprintf(f, " %*.*f", width, ms < 1e4 ? 3 : 0, ms);
}

static void put_wide(FILE *f, const struct options *o, const struct row *r, bool paint)
{
    if (o->n_block > 1)
        fprintf(f, "%5d ", r->block);
    fprintf(f, "%7d %7g %5.3f", r->seq, r->value, r->kept);
    put_ms(f, 9, r->ms.median);
    put_spread(f, r);
    if (r->gflops > 0)
        fprintf(f, " %8.1f", r->gflops);
    else
        fprintf(f, " %8s", "-");
    put_ms(f, 9, r->dense.median);
    fprintf(f, " %s%7.2fx%s", paint ? "\033[32m" : "", r->speedup, paint ? "\033[0m" : "");
    put_share(f, 5, r->ideal);
    put_share(f, 4, copies(r) ? r->of_copy : r->of_peak);
    fputc('\n', f);
}

static void put_narrow(FILE *f, const struct options *o, const struct row *r, bool paint)
{
    fprintf(f, "%*d %4.2g %*.2f %s%5.1fx%s", swept(o) ? 5 : 6, r->seq, r->value, swept(o) ? 7 : 8, r->ms.median,
            paint ? "\033[32m" : "", r->speedup, paint ? "\033[0m" : "");
    if (!swept(o)) {
        put_share(f, 4, r->ideal);
        put_share(f, 4, copies(r) ? r->of_copy : r->of_peak);
    }
    fputc('\n', f);
}

void page_row(FILE *f, const struct options *o, const struct row *r)
{
    bool paint = colour(f) && r->state == ROW_DONE && r->speedup > 1;

    if (swept(o))
        fprintf(f, "%5d %3d ", r->heads, r->head_dim);
    if (r->state != ROW_DONE)
        say(f, "%*d %*g %s: %s", wide(f, o) ? 7 : 6, r->seq, wide(f, o) ? 7 : 4, r->value,
            r->state == ROW_FAILED ? "FAILED" : "left out", r->note);
    else if (wide(f, o))
        put_wide(f, o, r, paint);
    else
        put_narrow(f, o, r, paint);
    fflush(f);
}

/* ---- the foot ---- */

/* A letter of each stage, as many as its share of the time. */
static void put_stages(FILE *f, const struct row *r)
{
    static const char letters[STAGES] = {'P', 'G', 'S', 'L', 'A'};
    double sum = 0, past = 0;
    int length = columns(f) < 72 ? columns(f) - 2 : 70, at = 0;

    for (int i = 0; i < STAGES; i++)
        sum += r->stage[i];
    if (r->state != ROW_DONE || sum <= 0)
        return;
    fputc('\n', f);
    say(f, "One prefill of %d tokens, %s %g, %.3f ms, and %.3f dense:", r->seq,
        strcmp(r->rule, "ratio") == 0 ? "density" : r->rule, r->value, sum, r->dense.median);
    fputc('[', f);
    for (int i = 0; i < STAGES; i++)
        for (past += r->stage[i]; at < (int)(past / sum * length + .5); at++)
            fputc(letters[i], f);
    fprintf(f, "]\n");
    for (int i = 0; i < STAGES; i++)
        fprintf(f, "  %c %-7s %10.3f ms %4.0f%%\n", letters[i], stage_names[i], r->stage[i], 100 * r->stage[i] / sum);
}

bool page_alike(const struct row *a, const struct row *b)
{
    return a->value == b->value && a->block == b->block && a->heads == b->heads && a->head_dim == b->head_dim;
}

/* The shortest length from which all measured rows like `as` are quicker; 0: none. */
int page_pays_from(const struct result *r, const struct row *as)
{
    int longest_loss = 0, from = 0;

    for (const struct row *x = r->rows; x < r->rows + r->n; x++)
        if (x->state == ROW_DONE && page_alike(x, as) && x->speedup <= 1 && x->seq > longest_loss)
            longest_loss = x->seq;
    for (const struct row *x = r->rows; x < r->rows + r->n; x++)
        if (x->state == ROW_DONE && page_alike(x, as) && x->seq > longest_loss && (!from || x->seq < from))
            from = x->seq;
    return from;
}

static bool shortest_alike(const struct result *r, const struct row *as)
{
    for (const struct row *x = r->rows; x < r->rows + r->n; x++)
        if (x->state == ROW_DONE && page_alike(x, as) && (x->seq < as->seq || (x->seq == as->seq && x < as)))
            return false;
    return true;
}

/* Do several series pay from the shortest length on, and all? */
static bool pays_everywhere(const struct result *r)
{
    int series = 0;

    for (const struct row *x = r->rows; x < r->rows + r->n; x++) {
        if (x->state != ROW_DONE || !shortest_alike(r, x))
            continue;
        if (page_pays_from(r, x) != r->rows[0].seq || x->seq != r->rows[0].seq)
            return false;
        series++;
    }
    return series > 1;
}

static void say_pays(FILE *f, const struct result *r)
{
    bool dense = false;

    if (pays_everywhere(r)) {
        say(f, "Sparse pays in all rows, from %d tokens on, the shortest measured.", r->rows[0].seq);
        return;
    }
    for (const struct row *x = r->rows; x < r->rows + r->n; x++) {
        int from = page_pays_from(r, x);
        char which[96], shape[48] = "";

        if (x->state != ROW_DONE || !shortest_alike(r, x))
            continue;
        dense = dense || from == 0 || from > x->seq;
        if (r->rows[r->n - 1].heads != r->rows[0].heads || r->rows[r->n - 1].head_dim != r->rows[0].head_dim)
            snprintf(shape, sizeof shape, ", %d heads of %d", x->heads, x->head_dim);
        snprintf(which, sizeof which, "%s %g (blocks of %d%s)",
                 *x->rule && strcmp(x->rule, "ratio") != 0 ? x->rule : "density", x->value, x->block, shape);
        if (!from)
            say(f, "At %s sparse paid at no length measured: use dense.", which);
        else if (from > x->seq)
            say(f, "At %s sparse pays from %d tokens; below that use dense.", which, from);
        else
            say(f, "At %s sparse pays from %d tokens, the shortest measured.", which, from);
    }
    if (dense)
        say(f, "A plan uses dense there by itself, given problem.auto_density, once clgaze-tune has measured "
               "this device.");
}

/* Which kernels computed the rows, each time another begins. */
static void say_kernels(FILE *f, const struct result *r)
{
    const char *last = "";

    for (const struct row *x = r->rows; x < r->rows + r->n; x++) {
        if (x->state != ROW_DONE || strcmp(x->kernel, last) == 0)
            continue;
        if (!*last)
            say(f, "By %s; dense by %s.", x->kernel,
                strcmp(x->kernel, x->dense_kernel) == 0 ? "the same" : x->dense_kernel);
        else
            say(f, "From the row of %d tokens, %g: by %s.", x->seq, x->value, x->kernel);
        last = x->kernel;
    }
}

/* Few rounds, or rounds that differ by more than two runs of anything do. */
static bool rough(const struct row *r)
{
    const struct stats *s[] = {&r->ms, &r->dense};

    for (int i = 0; i < 2; i++)
        if ((s[i]->q3 - s[i]->q1) / 2 > .1 * s[i]->median)
            return true;
    return r->rounds < 3;
}

/* What makes the figures less certain. */
static void say_doubts(FILE *f, const struct result *r)
{
    const struct row *first = NULL, *last = NULL;
    int done = 0, roughly = 0;
    double worst = 1;

    for (const struct row *x = r->rows; x < r->rows + r->n; x++) {
        if (x->state != ROW_DONE)
            continue;
        first = first ? first : x;
        last = x;
        done++;
        roughly += rough(x);
        worst = x->clock > worst ? x->clock : worst;
    }
    if (first && last->peak > 0 && last->peak < .9 * first->peak)
        say(f,
            "The device slowed down by %.0f%% from the first row to the last: heat, battery or other programs; "
            "rows far apart are not comparable.",
            100 * (1 - last->peak / first->peak));
    else if (r->peak_least > 0 && r->peak_least < .9 * r->peak)
        say(f,
            "The device's speed moved by %.0f%% during the run (its clock, or other programs): run it again "
            "before trusting small differences.",
            100 * (1 - r->peak_least / r->peak));
    if (roughly)
        say(f,
            "%d of %d rows are rough (less than three rounds, or a spread beyond 10%%): close other programs, run "
            "longer (--min-time), and believe no small difference.",
            roughly, done);
    if (worst > 1.05)
        say(f, "The device's clock and the host's disagree by %.0f%%: do not trust these times.", 100 * (worst - 1));
}

void page_foot(FILE *f, const struct result *r)
{
    const struct row *row = &r->rows[0];

    if (r->prefill.seq)
        put_stages(f, &r->prefill);
    fputc('\n', f);
    if (strcmp(row->op, "attend") == 0 || strcmp(row->op, "pipeline") == 0 || strcmp(row->op, "prefill") == 0)
        say_pays(f, r);
    say_kernels(f, r);
    if (r->tuned)
        say(f, "They are tuned for this device.");
    else if (*r->tune)
        say(f, "Not tuned for this device; to look for quicker settings: %s", r->tune);
    say_doubts(f, r);
    fputc('\n', f);
    say(f,
        "ms: median on the device, and half the width of the middle half of the rounds. %s and dense in turn; "
        "speed-up: the one over the other.",
        row->op);
    say(f,
        "ideal: the share of 1/kept that the speed-up is; kept: of the visible blocks, in the lists. GFLOP/s counts "
        "kept blocks whole. %s",
        copies(row) ? "copy: bytes that must move, of the rate of copying."
                    : "peak: what a causal query sees, of the multiply-add rate measured beside the row (-: matrix "
                      "units, whose "
                      "peak is not measured).");
    if (r->n < r->most)
        say(f, "%s: %d of %d rows.",
            r->stopped ? "Interrupted"
            : r->held  ? "Longer launches would freeze the screen"
                       : "Time was up",
            r->n, r->most);
}
