/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plot.c: curves as SVG.
 */
#include "plot.h"

#include "fail.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    WIDTH = 640,
    HEIGHT = 360,
    LEFT = 64,
    RIGHT = 16,
    TOP = 24,
    BOTTOM = 44,
    LEGEND = 210,
    MOST = 1024,
    DOTS = 50
};

static const char *const colours[PLOT_LINES] = {"#1f6fb4", "#d1495b", "#2e8b57", "#8e5bb5",
                                                "#c77d0a", "#5b6770", "#0aa2a2", "#a0522d"};

/* What an axis spans. */
struct span {
    double low, high;
};

struct frame {
    struct span x, y;
};

/* A round step that divides the span into at most six. */
static double tick(const struct span *s)
{
    const double sixth = (s->high - s->low) / 6, power = pow(10, floor(log10(sixth))), share = sixth / power;
    return power * (share <= 1 ? 1 : share <= 2 ? 2 : share <= 5 ? 5 : 10);
}

static void widen(struct span *s, double value)
{
    s->low = fmin(s->low, value);
    s->high = fmax(s->high, value);
}

/* From 0, unless that would press a curve that varies little into a line. */
static void settle(struct span *s)
{
    s->high = s->high > 0 ? s->high : 1;
    if (s->low > s->high / 2 && s->low < s->high)
        s->low = floor(s->low / tick(s)) * tick(s);
    else
        s->low = 0;
}

static struct frame frame_of(const struct plot *p)
{
    struct frame f = {{INFINITY, 0}, {INFINITY, 0}};
    for (size_t l = 0; l < p->n_lines; l++)
        for (size_t i = 0; i < p->lines[l].n; i++) {
            widen(&f.x, p->lines[l].x[i]);
            widen(&f.y, p->lines[l].y[i]);
        }
    if (p->floor_name)
        widen(&f.y, p->floor);
    settle(&f.x);
    settle(&f.y);
    return f;
}

static double x_of(const struct frame *f, double x)
{
    return LEFT + (x - f->x.low) / (f->x.high - f->x.low) * (WIDTH - LEFT - RIGHT);
}

static double y_of(const struct frame *f, double y)
{
    return HEIGHT - BOTTOM - (y - f->y.low) / (f->y.high - f->y.low) * (HEIGHT - TOP - BOTTOM);
}

/* Names of rules come from files. */
static void text(FILE *out, const char *s)
{
    for (; *s; s++)
        if (*s == '<' || *s == '&')
            fputs(*s == '<' ? "&lt;" : "&amp;", out);
        else if ((unsigned char)*s >= ' ')
            fputc(*s, out);
    fputs("</text>\n", out);
}

static void axes(FILE *out, const struct plot *p, const struct frame *f)
{
    const double by_x = tick(&f->x), by_y = tick(&f->y);
    for (int i = 0; f->y.low + i * by_y <= f->y.high + by_y * 1e-4; i++) {
        const double y = f->y.low + i * by_y;
        fprintf(out,
                "<path d=\"M%d %.1fH%d\" class=\"grid\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n",
                LEFT, y_of(f, y), WIDTH - RIGHT, LEFT - 6, y_of(f, y) + 4, y);
    }
    for (int i = 0; f->x.low + i * by_x <= f->x.high + by_x * 1e-4; i++)
        fprintf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n", x_of(f, f->x.low + i * by_x),
                HEIGHT - BOTTOM + 18, f->x.low + i * by_x);
    fprintf(out, "<path class=\"axis\" d=\"M%d %dV%dH%d\"/>\n<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", LEFT,
            TOP, HEIGHT - BOTTOM, WIDTH - RIGHT, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8);
    text(out, p->x_title);
    fprintf(out, "<text x=\"%d\" y=\"16\">", LEFT);
    text(out, p->y_title);
}

/* Row number `row` of the legend. */
static void name(FILE *out, size_t row, const char *colour, const char *dashes, const char *what)
{
    const int x = WIDTH - RIGHT - LEGEND, y = TOP + 12 + 16 * (int)row;
    fprintf(out, "<path d=\"M%d %dh24\" stroke=\"%s\" stroke-width=\"2\"%s/><text x=\"%d\" y=\"%d\">", x, y, colour,
            dashes, x + 32, y + 4);
    text(out, what);
}

static void draw(FILE *out, const struct plot_line *l, const char *colour, const struct frame *f)
{
    fprintf(out, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\" points=\"", colour);
    for (size_t i = 0; i < l->n; i++)
        fprintf(out, "%s%.2f,%.2f", i ? " " : "", x_of(f, l->x[i]), y_of(f, l->y[i]));
    if (l->n == 1 && !l->name) /* a line of one point is not drawn, one of no length is a dot */
        fprintf(out, " %.2f,%.2f", x_of(f, l->x[0]), y_of(f, l->y[0]));
    fputs("\"/>\n", out);
    for (size_t i = 0; l->name && i < l->n && l->n <= DOTS; i++)
        fprintf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\" fill=\"%s\"/>\n", x_of(f, l->x[i]), y_of(f, l->y[i]),
                colour);
}

static void picture(FILE *out, const struct plot *p)
{
    static const char dashes[] = " stroke-dasharray=\"6 4\"";
    const struct frame f = frame_of(p);
    size_t named = 0;
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\">\n<style>\n"
            "svg{background:#fff;font:12px system-ui,sans-serif}text{fill:#222}polyline{stroke-linecap:round}\n"
            "path,polyline{fill:none}.grid{stroke:#ddd}.axis{stroke:#555}\n"
            "@media (prefers-color-scheme:dark){svg{background:#161616}text{fill:#eee}\n"
            ".grid{stroke:#333}.axis{stroke:#aaa}}\n</style>\n",
            WIDTH, HEIGHT, WIDTH);
    axes(out, p, &f);
    if (p->floor_name)
        fprintf(out, "<path class=\"axis\" d=\"M%d %.1fH%d\"%s/>\n", LEFT, y_of(&f, p->floor), WIDTH - RIGHT, dashes);
    for (size_t l = 0; l < p->n_lines; l++) {
        draw(out, &p->lines[l], colours[l], &f);
        if (p->lines[l].name)
            name(out, named++, colours[l], "", p->lines[l].name);
    }
    if (p->floor_name)
        name(out, named, "#888", dashes, p->floor_name);
    fputs("</svg>\n", out);
}

int plot_lines(const char *path, const struct plot *plot)
{
    FILE *out = fopen(path, "w");
    fail_about(path);
    if (!out)
        return fail(EXIT_INPUT, "it cannot be written: %s", strerror(errno));
    picture(out, plot);
    const int bad = ferror(out);
    if (fclose(out) != 0 || bad)
        return fail(EXIT_INPUT, "it cannot be written: %s", strerror(errno));
    fail_about(NULL);
    return 0;
}

/* Of many steps the mean of some neighbours each. */
int plot_losses(const char *path, const char *what, const float *losses, size_t n)
{
    double x[MOST], y[MOST];
    const size_t points = n < MOST ? n : MOST;
    for (size_t p = 0; p < points; p++) {
        const size_t from = n * p / points, to = n * (p + 1) / points;
        x[p] = (double)(from + to + 1) / 2;
        y[p] = 0;
        for (size_t i = from; i < to; i++)
            y[p] += (double)losses[i] / (double)(to - from);
    }
    const struct plot plot = {"step", what, {{NULL, x, y, points}}, 1, NULL, 0};
    return plot_lines(path, &plot);
}
