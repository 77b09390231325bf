/*
 * plot.c: a loss curve as SVG.
 */
#include "plot.h"

#include "fail.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 640, HEIGHT = 360, LEFT = 64, RIGHT = 16, TOP = 24, BOTTOM = 44, MOST = 1024 };

/* A round step that divides `span` into at most six. */
static double tick(double span)
{
    const double power = pow(10, floor(log10(span / 6)));
    const double share = span / 6 / power;
    return power * (share <= 1 ? 1 : share <= 2 ? 2 : share <= 5 ? 5 : 10);
}

/* What the axes span. */
struct frame {
    double low, high;
    size_t n;
};

static double x_of(double step, size_t n)
{
    return LEFT + (n > 1 ? (step - 1) / (double)(n - 1) : 0.5) * (WIDTH - LEFT - RIGHT);
}

static double y_of(double loss, const struct frame *f)
{
    return HEIGHT - BOTTOM - (loss - f->low) / (f->high - f->low) * (HEIGHT - TOP - BOTTOM);
}

/* From 0, unless that would press a curve that varies little into a line. */
static struct frame frame_of(const float *losses, size_t n)
{
    struct frame f = {INFINITY, 1e-30, n};
    for (size_t i = 0; i < n; i++) {
        f.low = fmin(f.low, (double)losses[i]);
        f.high = fmax(f.high, (double)losses[i]);
    }
    const double by = tick(f.high - f.low > 0 ? f.high - f.low : f.high);
    f.low = f.low > f.high / 2 ? floor(f.low / by) * by : 0;
    f.low = f.low < f.high ? f.low : 0;
    return f;
}

static void axes(FILE *out, const char *what, const struct frame *f)
{
    const double by = tick(f->high - f->low), step = f->n > 1 ? fmax(1, tick((double)(f->n - 1))) : 1;
    for (int i = (int)ceil(f->low / by - 1e-4); i * by <= f->high + by * 1e-4; i++)
        fprintf(out,
                "<path d=\"M%d %.1fH%d\" stroke=\"#ddd\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n",
                LEFT, y_of(i * by, f), WIDTH - RIGHT, LEFT - 6, y_of(i * by, f) + 4, i * by);
    for (int i = 1; i * step <= (double)f->n; i++)
        fprintf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.0f</text>\n", x_of(i * step, f->n),
                HEIGHT - BOTTOM + 18, i * step);
    fprintf(out,
            "<path d=\"M%d %dV%dH%d\" fill=\"none\" stroke=\"#333\"/>\n"
            "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">step</text>\n"
            "<text x=\"%d\" y=\"16\">%s</text>\n",
            LEFT, TOP, HEIGHT - BOTTOM, WIDTH - RIGHT, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, LEFT, what);
}

/* Of many steps the mean of some neighbours each. */
static void curve(FILE *out, const float *losses, const struct frame *f)
{
    const size_t n = f->n, points = n < MOST ? n : MOST;
    fputs("<polyline fill=\"none\" stroke=\"#1f6fb4\" stroke-width=\"1.5\" points=\"", out);
    for (size_t p = 0; p < points; p++) {
        const size_t from = n * p / points, to = n * (p + 1) / points;
        double sum = 0;
        for (size_t i = from; i < to; i++)
            sum += (double)losses[i];
        fprintf(out, "%s%.2f,%.2f", p ? " " : "", x_of((double)(from + to + 1) / 2, n),
                y_of(sum / (double)(to - from), f));
    }
    fputs("\"/>\n", out);
}

int plot_losses(const char *path, const char *what, const float *losses, size_t n)
{
    const struct frame f = frame_of(losses, n);
    FILE *out = fopen(path, "w");
    fail_about(path);
    if (!out)
        return fail(EXIT_INPUT, "it cannot be written: %s", strerror(errno));
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" "
            "font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
            WIDTH, HEIGHT);
    axes(out, what, &f);
    curve(out, losses, &f);
    fputs("</svg>\n", out);
    const int bad = ferror(out);
    if (fclose(out) != 0 || bad)
        return fail(EXIT_INPUT, "it cannot be written: %s", strerror(errno));
    fail_about(NULL);
    return 0;
}
