/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sparse_plot.c: the drawing: speed-up against density, time against length,
 * and the stages of one prefill.
 *
 * Series differ in colour, dash and marker, and are named at their ends; each
 * point tells its numbers in a title, which browsers show.  Light and dark
 * follow the reader's setting.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "axis.h"
#include "sparse.h"

enum { WIDTH = 900, HEIGHT = 390, BAR = 80, TOP = 74, BOTTOM = 330, MAX_SERIES = 9, MAX_POINTS = 64, LINE = 13 };

static const char style[] =
    "<style>\n"
    "svg{background:#fff;font:12px system-ui,sans-serif}\n"
    "text{fill:#222;stroke:#fff;stroke-width:3px;paint-order:stroke}\n"
    ".faint{fill:#555}.grid{stroke:#ddd}.axis{stroke:#555}.ideal{stroke:#222}\n"
    "path,line,.o{fill:none}path{stroke-width:2}.grid,.axis{stroke-width:1}\n"
    ".c0{color:#0064a8}.c1{color:#b84a00}.c2{color:#00755a}.c3{color:#9c3f7d}\n"
    ".c4{color:#6b5900}.c5{color:#3d4fb5}.c6{color:#8a1c1c}.c7{color:#444}.c8{color:#4b7a00}\n"
    ".c0,.c1,.c2,.c3,.c4,.c5,.c6,.c7,.c8{stroke:currentColor}\n"
    ".mark{stroke-width:1.5;fill:currentColor}.mark.o{fill:#fff}.leader{stroke-width:.7}.bar{stroke:#fff}\n"
    ".c0.bar,.c1.bar,.c2.bar,.c3.bar,.c4.bar{fill:currentColor;stroke:#fff}\n"
    "@media (prefers-color-scheme:dark){\n"
    "svg{background:#161616}text{fill:#eee;stroke:#161616}.faint{fill:#aaa}.grid{stroke:#333}.axis{stroke:#aaa}."
    "ideal{stroke:#eee}\n"
    ".c0{color:#62b5f2}.c1{color:#ff9a4d}.c2{color:#3fd0a6}.c3{color:#f09bd0}\n"
    ".c4{color:#e0c54a}.c5{color:#a5b1ff}.c6{color:#ff8a80}.c7{color:#ccc}.c8{color:#a6d854}\n"
    ".mark.o{fill:#161616}.c0.bar,.c1.bar,.c2.bar,.c3.bar,.c4.bar{stroke:#161616}}\n"
    "</style>\n";

static const char *const dashes[MAX_SERIES] = {"none", "7 3", "2 3",         "9 3 2 3", "4 2",
                                               "12 4", "1 4", "6 2 1 2 1 2", "16 3"};

static void put_text(FILE *f, const char *text)
{
    for (; *text; text++)
        if (*text == '&' || *text == '<' || *text == '>')
            fprintf(f, "&#%d;", *text);
        else if ((unsigned char)*text >= ' ')
            fputc(*text, f);
}

/* ---- series ---- */

struct point {
    double x, y;
    const struct row *row;
};

struct series {
    char name[40];
    const struct row *like; /* what its rows have in common */
    int n;
    struct point points[MAX_POINTS];
};

struct panel {
    const char *title, *x_title;
    bool lengths; /* x is the length, else the density */
    struct axis x, y;
    struct series series[MAX_SERIES];
    int n, left_out;
};

static int by_x(const void *a, const void *b)
{
    double x = ((const struct point *)a)->x, y = ((const struct point *)b)->x;

    return (x > y) - (x < y);
}

/* The series that a row belongs to; NULL: there are too many. */
static struct series *series_of(struct panel *p, const struct row *r, bool dense)
{
    struct series *s = p->series;

    for (; s < p->series + p->n; s++) {
        const struct row *l = s->like;
        bool same = l->block == r->block && l->heads == r->heads && l->head_dim == r->head_dim;

        if (dense == (strncmp(s->name, "dense", 5) == 0) && same &&
            (dense || (p->lengths ? l->value == r->value : l->seq == r->seq)))
            return s;
    }
    if (p->n == MAX_SERIES)
        return NULL;
    p->n++;
    s->like = r;
    return s;
}

/* Name a series by what distinguishes it. */
static void name_series(struct panel *p, struct series *s, const struct result *r, bool dense)
{
    const struct row *first = r->rows, *l = s->like;
    char more[24] = "";

    for (const struct row *x = r->rows; x < r->rows + r->n; x++) {
        if (x->block != first->block && !dense)
            snprintf(more, sizeof more, ", blocks %d", l->block);
        if (x->heads != first->heads)
            snprintf(more, sizeof more, ", %d heads", l->heads);
        if (x->head_dim != first->head_dim)
            snprintf(more, sizeof more, ", D %d", l->head_dim);
    }
    if (dense)
        snprintf(s->name, sizeof s->name, "dense%s", more);
    else if (!p->lengths)
        snprintf(s->name, sizeof s->name, "%d%s", l->seq, more);
    else
        snprintf(s->name, sizeof s->name, "%.3g%s", l->value, more);
}

static void add_point(struct panel *p, const struct result *r, const struct row *row, bool dense)
{
    double x = p->lengths ? row->seq : row->kept;
    double y = dense ? row->dense.median : p->lengths ? row->ms.median : row->speedup;
    struct series *s = series_of(p, row, dense);

    if (!s) {
        p->left_out++;
        return;
    }
    for (int i = 0; i < s->n; i++)
        if (dense && s->points[i].x == x) /* measured once a row, drawn once a length */
            return;
    if (s->n == MAX_POINTS)
        return;
    name_series(p, s, r, dense);
    s->points[s->n++] = (struct point){x, y, row};
    axis_widen(&p->x, x);
    axis_widen(&p->y, y);
}

static void collect(struct panel *p, const struct result *r)
{
    for (const struct row *row = r->rows; row < r->rows + r->n; row++) {
        if (row->state != ROW_DONE || (!p->lengths && row->ideal <= 0))
            continue;
        if (p->lengths)
            add_point(p, r, row, true);
        add_point(p, r, row, false);
    }
    for (int i = 0; i < p->n; i++)
        qsort(p->series[i].points, (size_t)p->series[i].n, sizeof p->series[i].points[0], by_x);
}

/* ---- drawing ---- */

static void put_mark(FILE *f, int i, double x, double y)
{
    static const char *const shapes[4] = {"M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z", "M-4 -4h8v8h-8z", "M0 -5l5 9h-10z",
                                          "M0 -5l5 5l-5 5l-5 -5z"};

    fprintf(f, "<path class=\"mark%s c%d\" transform=\"translate(%.1f %.1f)\" d=\"%s\">", i >= 4 ? "" : " o", i, x, y,
            shapes[i % 4]);
}

static void put_series(FILE *f, const struct panel *p, int i)
{
    const struct series *s = &p->series[i];
    bool dense = strncmp(s->name, "dense", 5) == 0;

    fprintf(f, "<path class=\"c%d\" stroke-dasharray=\"%s\" d=\"", i, dashes[i]);
    for (int e = 0; e < s->n; e++)
        fprintf(f, "%c%.1f %.1f", e ? 'L' : 'M', axis_pixel(&p->x, s->points[e].x),
                axis_pixel(&p->y, s->points[e].y));
    fprintf(f, "\"/>\n");
    for (int e = 0; e < s->n; e++) {
        const struct point *at = &s->points[e];

        put_mark(f, i, axis_pixel(&p->x, at->x), axis_pixel(&p->y, at->y));
        if (dense)
            fprintf(f, "<title>dense seq %d dense_ms %.15g</title></path>\n", at->row->seq, at->y);
        else
            fprintf(f, "<title>%s seq %d value %.15g kept %.15g ms %.15g speedup %.15g</title></path>\n", at->row->op,
                    at->row->seq, at->row->value, at->row->kept, at->row->ms.median, at->row->speedup);
    }
}

/* Where a series ends, and where its name stands so that names do not overlap. */
struct label {
    int series;
    double x, y, at;
};

static int by_height(const void *a, const void *b)
{
    double x = ((const struct label *)a)->at, y = ((const struct label *)b)->at;

    return (x > y) - (x < y);
}

static void put_labels(FILE *f, const struct panel *p)
{
    struct label labels[MAX_SERIES];
    double x = fmax(p->x.to, p->x.from) + 14;

    for (int i = 0; i < p->n; i++) {
        const struct series *s = &p->series[i];
        const struct point *end = p->lengths ? &s->points[s->n - 1] : &s->points[0];

        labels[i] =
            (struct label){i, axis_pixel(&p->x, end->x), axis_pixel(&p->y, end->y), axis_pixel(&p->y, end->y)};
    }
    qsort(labels, (size_t)p->n, sizeof *labels, by_height);
    for (int i = 1; i < p->n; i++)
        labels[i].at = fmax(labels[i].at, labels[i - 1].at + LINE);
    for (int i = p->n - 1; i >= 0; i--) {
        double most = i == p->n - 1 ? p->y.from : labels[i + 1].at - LINE;

        labels[i].at = fmin(labels[i].at, most);
    }
    for (int i = 0; i < p->n; i++) {
        const struct label *l = &labels[i];

        fprintf(f, "<path class=\"leader c%d\" d=\"M%.1f %.1fL%.1f %.1f\"/>", l->series, l->x + 5, l->y, x - 2,
                l->at);
        put_mark(f, l->series, x + 3, l->at);
        fprintf(f, "</path><text x=\"%.1f\" y=\"%.1f\">%s</text>\n", x + 11, l->at + 4, p->series[l->series].name);
    }
}

/* Where sparse begins to pay, and speed-up 1 / density, as far as the panel shows it. */
static void put_ideal(FILE *f, const struct panel *p)
{
    double sparse = fmax(p->x.low, 1 / p->y.high), full = fmin(p->x.high, 1 / p->y.low);

    fprintf(f, "<path class=\"axis\" d=\"M%.1f %.1fH%.1f\"/>\n", p->x.from, axis_pixel(&p->y, 1), p->x.to);
    if (sparse >= full)
        return;
    fprintf(f,
            "<path class=\"ideal\" stroke-dasharray=\"1 3\" d=\"M%.1f %.1fL%.1f %.1f\"/>"
            "<text class=\"faint\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">ideal: 1/density</text>\n",
            axis_pixel(&p->x, sparse), axis_pixel(&p->y, 1 / sparse), axis_pixel(&p->x, full),
            axis_pixel(&p->y, 1 / full), axis_pixel(&p->x, sparse) - 8, axis_pixel(&p->y, 1 / sparse) + 2);
}

static void put_panel(FILE *f, struct panel *p, const struct result *r)
{
    double left = p->x.from, right = p->x.to;

    collect(p, r);
    if (p->n == 0)
        return;
    if (!p->lengths) {
        p->x.from = right; /* sparser to the right */
        p->x.to = left;
        axis_widen(&p->y, 1);
        axis_widen(&p->x, 1);
        axis_widen(&p->y, 1 / p->x.low); /* room for the ideal */
    }
    p->x.low /= 1.05;
    p->x.high *= 1.05;
    p->y.low /= 1.2;
    p->y.high *= 1.2;
    fprintf(f, "<text x=\"%.1f\" y=\"%d\" font-weight=\"bold\">%s</text>\n", left, TOP - 14, p->title);
    struct axis sides = {p->x.low, p->x.high, left, right};

    axis_put(f, &sides, &p->y, false, false);
    axis_put(f, &p->x, &p->y, true, p->lengths);
    fprintf(f, "<path class=\"axis\" d=\"M%.1f %dV%dH%.1f\"/>\n", left, TOP, BOTTOM, right);
    fprintf(f, "<text class=\"faint\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", (left + right) / 2,
            BOTTOM + 34, p->x_title);
    if (!p->lengths)
        put_ideal(f, p);
    for (int i = 0; i < p->n; i++)
        put_series(f, p, i);
    put_labels(f, p);
    if (p->left_out)
        fprintf(f, "<text class=\"faint\" x=\"%.1f\" y=\"%d\">%d points more are not drawn</text>\n", left,
                BOTTOM + 50, p->left_out);
}

/* The stages of one prefill beside each other; names below where they have room. */
static void put_bar(FILE *f, const struct row *r)
{
    double sum = 0, x = 60, room = WIDTH - 120;

    for (int i = 0; i < STAGES; i++)
        sum += r->stage[i];
    if (r->seq == 0 || r->state != ROW_DONE || sum <= 0)
        return;
    fprintf(f, "<text x=\"60\" y=\"%d\" font-weight=\"bold\">One prefill of %d tokens, %s %g: %.4g ms</text>\n",
            BOTTOM + 66, r->seq, strcmp(r->rule, "ratio") == 0 ? "density" : r->rule, r->value, sum);
    for (int i = 0; i < STAGES; i++) {
        double wide = r->stage[i] / sum * room;

        fprintf(f,
                "<rect class=\"bar c%d\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"18\"><title>%s %.15g ms</title>"
                "</rect>\n",
                i, x, BOTTOM + 76, wide, stage_names[i], r->stage[i]);
        x += wide;
    }
    for (int i = 0; i < STAGES; i++)
        fprintf(f,
                "<rect class=\"bar c%d\" x=\"%d\" y=\"%d\" width=\"10\" height=\"10\"/>"
                "<text x=\"%d\" y=\"%d\">%s %.3g ms, %.0f%%</text>\n",
                i, 60 + 156 * i, BOTTOM + 104, 75 + 156 * i, BOTTOM + 113, stage_names[i], r->stage[i],
                100 * r->stage[i] / sum);
}

static void put_device(FILE *f, const struct result *r)
{
    struct panel *panels = calloc(2, sizeof *panels);

    if (!panels)
        return;
    panels[0].title = "Speed-up over dense, by density";
    panels[0].x_title = "density (sparser to the right); names are lengths";
    panels[1].title = "Milliseconds, by length";
    panels[1].x_title = "tokens; names are densities";
    panels[1].lengths = true;
    for (int i = 0; i < 2; i++) {
        panels[i].x.from = 60 + 450 * i;
        panels[i].x.to = panels[i].x.from + 270;
        panels[i].y.from = BOTTOM;
        panels[i].y.to = TOP;
    }
    if (r->n && *r->rows[0].rule && strcmp(r->rows[0].rule, "ratio") != 0)
        panels[1].x_title = "tokens; names are values of the rule";
    fprintf(f, "<text x=\"60\" y=\"22\" font-size=\"15\">");
    put_text(f, r->machine.name);
    fprintf(f, "</text>\n<text class=\"faint\" x=\"60\" y=\"40\">");
    put_text(f, r->machine.platform);
    fprintf(f, ", driver ");
    put_text(f, r->machine.driver);
    if (r->n)
        fprintf(f, "; %s, %s, %d heads on %d, D %d; clgaze %s", r->rows[0].op, r->rows[0].dtype, r->rows[0].heads,
                r->rows[0].kv_heads, r->rows[0].head_dim, r->version);
    fprintf(f, "</text>\n");
    put_panel(f, &panels[0], r);
    put_panel(f, &panels[1], r);
    put_bar(f, &r->prefill);
    free(panels);
}

static int height_of(const struct result *r)
{
    return r->prefill.seq && r->prefill.state == ROW_DONE ? HEIGHT + BAR : HEIGHT;
}

int write_plot(FILE *f, const struct result *results, int n)
{
    int height = 0;

    for (int i = 0; i < n; i++)
        height += height_of(&results[i]);
    fprintf(f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\">\n"
            "<title>bench_sparse</title>\n%s",
            WIDTH, height, WIDTH, style);
    height = 0;
    for (int i = 0; i < n; i++) {
        fprintf(f, "<g transform=\"translate(0 %d)\">\n", height);
        put_device(f, &results[i]);
        fprintf(f, "</g>\n");
        height += height_of(&results[i]);
    }
    fprintf(f, "</svg>\n");
    return 0;
}
