/*
 * sparse_page.c: what a person reads: one screen.
 */
#include <glob.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "sparse.h"

enum { WIDE = 112, LEAST = 40 };

/* ---- the terminal ---- */

/* Columns of a terminal; a file has room for all, unless COLUMNS says less. */
static int columns(FILE *f)
{
    const char *text = getenv("COLUMNS");
    struct winsize size = {0};
    int n = WIDE;

    if (isatty(fileno(f)) && ioctl(fileno(f), TIOCGWINSZ, &size) == 0 && size.ws_col)
        n = size.ws_col;
    else if (text && atoi(text) > 0)
        n = atoi(text);
    return n < LEAST ? LEAST : n;
}

static bool colour(FILE *f)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

    return isatty(fileno(f)) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}

/* Print a paragraph, broken between words. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static void
say(FILE *f, const char *format, ...)
{
    char text[2048];
    int room = columns(f), at = 0;
    va_list list;

    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    for (const char *word = text; *word;) {
        int n = (int)strcspn(word, " ");

        if (at && at + 1 + n > room) {
            fputc('\n', f);
            at = 0;
        }
        at += fprintf(f, "%s%.*s", at ? " " : "", n, word);
        word += n;
        word += strspn(word, " ");
    }
    fputc('\n', f);
}

/* ---- the head ---- */

static bool on_battery(void)
{
    bool found = false;
    glob_t paths;

    if (glob("/sys/class/power_supply/*/status", 0, NULL, &paths) != 0)
        return false;
    for (size_t i = 0; i < paths.gl_pathc; i++) {
        char word[32] = "";
        FILE *f = fopen(paths.gl_pathv[i], "r");

        if (f && fgets(word, sizeof word, f))
            found |= strncmp(word, "Discharging", 11) == 0;
        if (f)
            fclose(f);
    }
    globfree(&paths);
    return found;
}

static void say_others(FILE *f, const struct bench *b)
{
    enum { MOST = 16 };
    clgaze_device list[MOST];
    size_t n = clgaze_device_list(list, MOST);

    for (size_t i = 0; i < n && i < MOST; i++)
        if (list[i].device != b->id)
            say(f, "also here: %s (%s), chosen with --device %zu", list[i].name, list[i].platform_name, i);
}

void page_head(FILE *f, const struct bench *b, const struct options *o, const struct peak *peak)
{
    bool wide = columns(f) >= WIDE;

    say(f, "bench_sparse %s on %s (%s), driver %s", clgaze_version(), b->name, b->platform, b->driver);
    say_others(f, b);
    if (on_battery())
        say(f, "On battery: this computer may be slower than on mains.");
    say(f, "%s, %s, %d query heads on %d key-value head%s, D %d, causal", o->pipeline ? "pipeline" : "attend",
        clgaze_dtype_name((clgaze_dtype)o->dtype), o->heads, o->kv_heads, o->kv_heads > 1 ? "s" : "", o->head_dim);
    say(f, "%s",
        o->pipeline ? "q, k, v and the gate's weights are random; rule ratio with the density as its value"
                    : "q, k and v are random; lists at random for each head and row, the diagonal kept");
    if (peak->gflops > 0)
        say(f, "peak, measured just now: %.0f GFLOP/s of f32 multiply-add, %.1f GB/s of copying", peak->gflops,
            peak->gbytes);
    fputc('\n', f);
    if (wide)
        fprintf(f, "%8s %5s %7s %6s %10s %9s %10s %8s %8s %7s  kernel\n", "seq", "block", "density", "kept", "ms",
                "GFLOP/s", "dense ms", "speed-up", "of ideal", "of peak");
    else
        fprintf(f, "%6s %4s %8s %6s %5s %5s\n", "seq", "dens", "ms", "speed", "ideal", "peak");
    fflush(f);
}

/* ---- rows ---- */

static void put_peak(FILE *f, int width, const struct row *r, const struct peak *peak)
{
    if (peak->gflops > 0)
        fprintf(f, " %*.0f%%", width, 100 * r->gflops / peak->gflops);
    else
        fprintf(f, " %*s", width + 1, "-");
}

void page_row(FILE *f, const struct row *r, const struct peak *peak)
{
    bool wide = columns(f) >= WIDE, paint = colour(f) && r->state == ROW_DONE && r->speedup > 1;

    if (r->state != ROW_DONE) {
        say(f, "%*d %*g %s: %s", wide ? 8 : 6, r->seq, wide ? 7 : 4, r->density,
            r->state == ROW_FAILED ? "FAILED" : "left out", r->note);
        return;
    }
    if (wide)
        fprintf(f, "%8d %5d %7g %6.3f %10.3f %9.1f %10.3f ", r->seq, r->block, r->density, r->kept, r->ms.median,
                r->gflops, r->dense.median);
    else
        fprintf(f, "%6d %4g %8.2f ", r->seq, r->density, r->ms.median);
    fprintf(f, "%s%*.*fx%s %*.0f%%", paint ? "\033[32m" : "", wide ? 7 : 5, wide ? 2 : 1, r->speedup,
            paint ? "\033[0m" : "", wide ? 7 : 4, 100 * r->ideal);
    put_peak(f, wide ? 6 : 4, r, peak);
    fprintf(f, wide ? "  %s\n" : "\n", r->kernel);
    fflush(f);
}

/* ---- the foot ---- */

/* A letter of each stage, as many as its share of the time. */
void page_stages(FILE *f, const struct row *r)
{
    static const char letters[STAGES] = {'P', 'G', 'S', 'L', 'A'};
    double sum = 0, past = 0;
    int length = columns(f) < 72 ? columns(f) - 2 : 70, at = 0;

    for (int i = 0; i < STAGES; i++)
        sum += r->stage[i];
    if (r->state != ROW_DONE || sum <= 0)
        return;
    fputc('\n', f);
    say(f, "One prefill of %d tokens at density %g, %.3f ms:", r->seq, r->density, sum);
    fputc('[', f);
    for (int i = 0; i < STAGES; i++)
        for (past += r->stage[i]; at < (int)(past / sum * length + .5); at++)
            fputc(letters[i], f);
    fprintf(f, "]\n");
    for (int i = 0; i < STAGES; i++)
        fprintf(f, "  %c %-7s %10.3f ms %4.0f%%\n", letters[i], stage_names[i], r->stage[i], 100 * r->stage[i] / sum);
}

/* The shortest length from which all measured rows of a density are quicker. */
static int pays_from(const struct row *rows, int n, double density, int block)
{
    int longest_loss = 0, from = 0;

    for (const struct row *r = rows; r < rows + n; r++)
        if (r->state == ROW_DONE && r->density == density && r->block == block && r->speedup <= 1 &&
            r->seq > longest_loss)
            longest_loss = r->seq;
    for (const struct row *r = rows; r < rows + n; r++)
        if (r->state == ROW_DONE && r->density == density && r->block == block && r->seq > longest_loss &&
            (!from || r->seq < from))
            from = r->seq;
    return from;
}

void page_foot(FILE *f, const struct options *o, const struct row *rows, int n)
{
    fputc('\n', f);
    for (int i = 0; i < o->n_block * o->n_density && n; i++) {
        int block = (int)o->block[i / o->n_density], from;
        double density = o->density[i % o->n_density];

        if ((from = pays_from(rows, n, density, block)))
            say(f, "At density %g (blocks of %d) sparse pays from %d tokens.", density, block, from);
        else
            say(f, "At density %g (blocks of %d) sparse paid at no length measured: use dense.", density, block);
    }
    say(f, "Times are medians on the device, dense and sparse in turn, for at least %g s a row.", o->min_time);
    say(f, "of ideal: 100%% would be 1/kept times as quick as dense, where kept is the share of the visible blocks "
           "in the lists; of peak: against our own f32 multiply-add loop; above 100%% that loop falls short of the "
           "device, or matrix units were used.");
}
