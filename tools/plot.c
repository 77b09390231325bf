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

static double x_of(double step, size_t n)
{
    return LEFT + (n > 1 ? (step - 1) / (double)(n - 1) : 0.5) * (WIDTH - LEFT - RIGHT);
}

static double y_of(double loss, double high)
{
    return HEIGHT - BOTTOM - loss / high * (HEIGHT - TOP - BOTTOM);
}

static void axes(FILE *out, size_t n, double high)
{
    const double by = tick(high), step = n > 1 ? fmax(1, tick((double)(n - 1))) : 1;
    for (int i = 0; i * by <= high * 1.0001; i++)
        fprintf(out,
                "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n",
                LEFT, y_of(i * by, high), WIDTH - RIGHT, LEFT - 6, y_of(i * by, high) + 4, i * by);
    for (int i = 1; i * step <= (double)n; i++)
        fprintf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.0f</text>\n", x_of(i * step, n),
                HEIGHT - BOTTOM + 18, i * step);
    fprintf(out,
            "<path class=\"axis\" d=\"M%d %dV%dH%d\"/>\n"
            "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">step</text>\n"
            "<text x=\"%d\" y=\"16\">loss (KL divergence from the truth)</text>\n",
            LEFT, TOP, HEIGHT - BOTTOM, WIDTH - RIGHT, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, LEFT);
}

/* Of many steps the mean of some neighbours each. */
static void curve(FILE *out, const float *losses, size_t n, double high)
{
    const size_t points = n < MOST ? n : MOST;
    fputs("<polyline points=\"", out);
    for (size_t p = 0; p < points; p++) {
        const size_t from = n * p / points, to = n * (p + 1) / points;
        double sum = 0;
        for (size_t i = from; i < to; i++)
            sum += (double)losses[i];
        fprintf(out, "%s%.2f,%.2f", p ? " " : "", x_of((double)(from + to + 1) / 2, n),
                y_of(sum / (double)(to - from), high));
        if (points == 1) /* a line of one point is not drawn, one of no length is a dot */
            fprintf(out, " %.2f,%.2f", x_of(1, n), y_of(sum, high));
    }
    fputs("\"/>\n", out);
}

int plot_losses(const char *path, const float *losses, size_t n)
{
    double high = 1e-30;
    for (size_t i = 0; i < n; i++)
        high = fmax(high, (double)losses[i]);
    FILE *out = fopen(path, "w");
    fail_about(path);
    if (!out)
        return fail(EXIT_INPUT, "it cannot be written: %s", strerror(errno));
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\">\n<style>\n"
            "svg{background:#fff;font:12px system-ui,sans-serif}text{fill:#222}\n"
            "path,polyline{fill:none}.grid{stroke:#ddd}.axis{stroke:#555}polyline{stroke:#0064a8;stroke-width:2;"
            "stroke-linecap:round}\n"
            "@media (prefers-color-scheme:dark){svg{background:#161616}text{fill:#eee}\n"
            ".grid{stroke:#333}.axis{stroke:#aaa}polyline{stroke:#62b5f2}}\n</style>\n",
            WIDTH, HEIGHT, WIDTH);
    axes(out, n, high);
    curve(out, losses, n, high);
    fputs("</svg>\n", out);
    const int bad = ferror(out);
    if (fclose(out) != 0 || bad)
        return fail(EXIT_INPUT, "it cannot be written: %s", strerror(errno));
    fail_about(NULL);
    return 0;
}
