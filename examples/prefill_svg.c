/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prefill_svg.c: the picture.
 *
 * One panel a head: rows are blocks of queries, columns blocks of keys, the
 * colour is the share of the gate's attention (softmax of its scores over the
 * row) on a logarithmic scale, and a line goes round the blocks that were kept.
 * Colours are classes, so that a dark page can have a scale of its own; both
 * scales are even in lightness, which grey print and colour blindness keep.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "prefill.h"

enum {
    LEVELS = 11,      /* colours: each stands for twice the share of the one before */
    MOST_CELLS = 128, /* rows or columns of a panel; more blocks are drawn together */
    MOST_PANELS = 16,
    PANEL = 480, /* pixels */
    LEFT = 64,
    TOP = 118,
    ACROSS = 572, /* from panel to panel */
    DOWN = 588
};

static const char *const light[LEVELS] = {"#ecf7fe", "#d2e9fa", "#b9dbf5", "#a2cdf1", "#8bbded", "#76aee9",
                                          "#639ee5", "#528de1", "#437bdc", "#3d6acf", "#3959c0"};
static const char *const dark[LEVELS] = {"#151d2d", "#1c2942", "#223558", "#27436e", "#2b5185", "#2e609d",
                                         "#2f6fb6", "#2d7fce", "#2690e7", "#2ba1fa", "#51b3fe"};

/* One head's blocks, or groups of step x step of them. */
struct grid {
    int rows, cols, step;
    signed char level[MOST_CELLS][MOST_CELLS]; /* -1: no query may look there */
    char kept[MOST_CELLS][MOST_CELLS];
};

/* ---- the numbers ---- */

static int level_of(double share)
{
    int level = share > 0 ? LEVELS + (int)floor(log2(share)) : 0;

    return level < 0 ? 0 : level >= LEVELS ? LEVELS - 1 : level;
}

static void fill_row(const struct layer *layer, const struct result *r, int h, int i, struct grid *g)
{
    size_t row = (size_t)h * (size_t)r->rows + (size_t)i;
    const float *scores = r->scores + row * (size_t)r->cols;
    int visible = visible_blocks(layer, r, i);
    double most = -INFINITY, sum = 0;

    for (int j = 0; j < visible; j++)
        most = fmax(most, (double)scores[j]);
    for (int j = 0; j < visible; j++)
        sum += exp((double)scores[j] - most);
    for (int j = 0; j < visible; j++) {
        int level = level_of(exp((double)scores[j] - most) / sum);
        signed char *at = &g->level[i / g->step][j / g->step];

        *at = (signed char)(level > *at ? level : *at);
    }
    for (int n = 0; n < r->counts[row]; n++)
        g->kept[i / g->step][r->blocks[row * (size_t)r->width + (size_t)n] / g->step] = 1;
}

static void fill(const struct layer *layer, const struct result *r, int h, struct grid *g)
{
    int most = r->rows > r->cols ? r->rows : r->cols;

    memset(g, 0, sizeof *g);
    memset(g->level, -1, sizeof g->level);
    g->step = (most + MOST_CELLS - 1) / MOST_CELLS;
    g->rows = (r->rows + g->step - 1) / g->step;
    g->cols = (r->cols + g->step - 1) / g->step;
    for (int i = 0; i < r->rows; i++)
        fill_row(layer, r, h, i, g);
}

/* ---- one panel ---- */

/* All cells of one colour are one path of runs. */
static void draw_level(FILE *f, const struct grid *g, int level)
{
    int any = 0;

    for (int i = 0; i < g->rows; i++)
        for (int j = 0, end; j < g->cols; j = end) {
            for (end = j + 1; end < g->cols && g->level[i][end] == g->level[i][j]; end++)
                ;
            if (g->level[i][j] != level)
                continue;
            fprintf(f, "%sM%d %dh%dv1h-%dz", any++ ? "" : "<path d=\"", j, i, end - j, end - j);
        }
    if (any)
        fprintf(f, "\" class=\"c%d\"/>\n", level);
}

static int kept(const struct grid *g, int i, int j)
{
    return i >= 0 && j >= 0 && i < g->rows && j < g->cols && g->kept[i][j];
}

/* The border between kept and other cells: horizontal runs (`down` 0), then
 * vertical ones, the same with rows and columns exchanged. */
static void draw_border(FILE *f, const struct grid *g, int down)
{
    int lines = down ? g->cols : g->rows, length = down ? g->rows : g->cols;

    for (int i = 0; i <= lines; i++)
        for (int j = 0, from = -1; j <= length; j++) {
            int here = down ? kept(g, j, i) : kept(g, i, j), before = down ? kept(g, j, i - 1) : kept(g, i - 1, j);
            int edge = j < length && here != before;

            if (edge && from < 0)
                from = j;
            if (!edge && from >= 0) {
                fprintf(f, down ? "M%d %dv%d" : "M%d %dh%d", down ? i : from, down ? from : i, j - from);
                from = -1;
            }
        }
}

/* A dot in each kept cell says which side of the border is meant. */
static void draw_dots(FILE *f, const struct grid *g)
{
    for (int i = 0; i < g->rows; i++)
        for (int j = 0; j < g->cols; j++)
            if (g->kept[i][j])
                fprintf(f, "M%d.5 %d.5h0", j, i);
}

/* Ticks every power of two that is at least a quarter of the tokens. */
static void draw_axes(FILE *f, int tokens)
{
    int step = 1;

    while (step * 4 < tokens)
        step *= 2;
    for (int t = 0; t <= tokens; t += step) {
        double at = PANEL * (double)t / tokens;

        fprintf(f, "<path class=\"axis\" d=\"M%.1f %dv5M-5 %.1fh5\"/>", at, PANEL, at);
        fprintf(f, "<text class=\"tick\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%d</text>", at, PANEL + 18, t);
        fprintf(f, "<text class=\"tick\" x=\"-9\" y=\"%.1f\" text-anchor=\"end\">%d</text>\n", at + 4, t);
    }
    fprintf(f, "<path class=\"axis\" d=\"M0 0v%dh%d\"/>\n", PANEL, PANEL);
    fprintf(f, "<text class=\"label\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">key token</text>\n", PANEL / 2,
            PANEL + 36);
    fprintf(f, "<text class=\"label\" transform=\"translate(-48 %d) rotate(-90)\" text-anchor=\"middle\">",
            PANEL / 2);
    fprintf(f, "query token</text>\n");
}

static void draw_panel(FILE *f, const struct layer *layer, const struct grid *g, int h, const struct head *head,
                       int columns)
{
    int step = g->step * layer->problem.block_q;
    double cell = PANEL * (double)step / layer->tokens;

    fprintf(f, "<g transform=\"translate(%d %d)\">\n<title>query head %d</title>\n", LEFT + h % columns * ACROSS,
            TOP + h / columns * DOWN, h);
    fprintf(f, "<text class=\"head\" x=\"0\" y=\"-12\">query head %d</text>\n", h);
    fprintf(f,
            "<text class=\"label\" x=\"%d\" y=\"-12\" text-anchor=\"end\">%.1f %% of the blocks hold %.1f %% of the "
            "attention</text>\n",
            PANEL, 100 * head->density, 100 * head->mass);
    fprintf(f, "<svg width=\"%d\" height=\"%d\" overflow=\"hidden\"><g class=\"cells\" transform=\"scale(%.5f)\">\n",
            PANEL, PANEL, cell);
    for (int level = 0; level < LEVELS; level++)
        draw_level(f, g, level);
    fprintf(f, "</g><g class=\"kept\" transform=\"scale(%.5f)\"><path d=\"", cell);
    draw_border(f, g, 0);
    draw_border(f, g, 1);
    fprintf(f, "\"/><path class=\"dots\" d=\"");
    draw_dots(f, g);
    fprintf(f, "\"/></g></svg>\n");
    draw_axes(f, layer->tokens);
    fprintf(f, "</g>\n");
}

/* ---- the page ---- */

static void draw_colours(FILE *f, const char *const colours[LEVELS])
{
    for (int i = 0; i < LEVELS; i++)
        fprintf(f, ".c%d{fill:%s}", i, colours[i]);
}

static void draw_style(FILE *f)
{
    fprintf(f,
            "<style>text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:#1b1f24}"
            ".page{fill:#fff}.main{font-size:21px;font-weight:600}.head{font-size:16px;font-weight:600}"
            ".label{font-size:13px}.tick{font-size:12px}.tick,.quiet{fill:#57606a}"
            ".axis{stroke:#57606a;fill:none}.cells{shape-rendering:crispEdges}"
            ".kept path,path.kept{fill:none;stroke:#7a1200;stroke-width:1.5;vector-effect:non-scaling-stroke}.kept "
            "path.dots{stroke-linecap:round;stroke-width:2.2}\n");
    draw_colours(f, light);
    fprintf(f, "\n@media(prefers-color-scheme:dark){text{fill:#e6edf3}.page{fill:#0d1117}.tick,.quiet{fill:#9da7b3}"
               ".axis{stroke:#9da7b3}.kept path,path.kept{stroke:#ffd166}\n");
    draw_colours(f, dark);
    fprintf(f, "}</style>\n");
}

static void draw_legend(FILE *f, int x, int y)
{
    static const struct {
        int level;
        const char *text;
    } marks[] = {{1, "0.1 %"}, {4, "0.8 %"}, {7, "6 %"}, {10, "50 %"}};

    fprintf(
        f,
        "<g transform=\"translate(%d %d)\"><text class=\"label\" x=\"0\" y=\"13\">gate's share of the row</text>\n",
        x, y);
    for (int i = 0; i < LEVELS; i++)
        fprintf(f, "<rect class=\"c%d\" x=\"%d\" y=\"0\" width=\"24\" height=\"16\"/>", i, 166 + 24 * i);
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        fprintf(f, "<text class=\"tick\" x=\"%d\" y=\"30\" text-anchor=\"middle\">%s</text>",
                166 + 24 * marks[i].level, marks[i].text);
    fprintf(f,
            "\n<path class=\"c8\" d=\"M474 1h14v14h-14z\"/><path class=\"kept\" d=\"M474 1h14v14h-14zM480 8h2\"/>");
    fprintf(f,
            "<text class=\"label\" x=\"497\" y=\"13\">kept: attention is computed in these blocks only</text></g>\n");
}

static void draw_page(FILE *f, const struct layer *layer, const struct result *r, const struct head *heads,
                      struct grid *g)
{
    const clgaze_problem *p = &layer->problem;
    int panels = p->q_heads < MOST_PANELS ? p->q_heads : MOST_PANELS;
    int columns = panels < 2 ? 1 : panels <= 4 ? 2 : 4, lines = (panels + columns - 1) / columns;
    int width = LEFT + columns * ACROSS - (ACROSS - PANEL) + 28;

    width = width < 860 ? 860 : width; /* the legend */
    fprintf(f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\" "
            "aria-labelledby=\"title desc\">\n",
            width, TOP + lines * DOWN - (DOWN - PANEL) + 52);
    fprintf(f, "<title id=\"title\">What the gate scored, and the blocks that attention kept</title>\n");
    fprintf(f,
            "<desc id=\"desc\">Maps of %d tokens of keys (across) by %d tokens of queries (down) in blocks of %d, "
            "one for each query head. Colour: the gate's share of the row, from under 0.1 %% to over 50 %%. Outlined "
            "and dotted: the blocks kept by rule %s "
            "%g.</desc>\n",
            layer->tokens, layer->tokens, p->block_q, rule_name(p->rule), p->value);
    draw_style(f);
    fprintf(f, "<rect class=\"page\" width=\"100%%\" height=\"100%%\"/>\n");
    fprintf(
        f, "<text class=\"main\" x=\"%d\" y=\"34\">What the gate scored, and the blocks that attention kept</text>\n",
        LEFT);
    fprintf(f,
            "<text class=\"label quiet\" x=\"%d\" y=\"34\" text-anchor=\"end\">%d tokens, blocks of %d, rule %s %g"
            "</text>\n",
            width - 28, layer->tokens, p->block_q, rule_name(p->rule), p->value);
    draw_legend(f, LEFT, 50);
    for (int h = 0; h < panels; h++) {
        fill(layer, r, h, g);
        draw_panel(f, layer, g, h, &heads[h], columns);
    }
    fprintf(f, "</svg>\n");
}

int picture_write(const char *path, const struct layer *layer, const struct result *result, const struct head *heads)
{
    struct grid *grid = malloc(sizeof *grid);
    FILE *f = grid ? fopen(path, "w") : NULL;
    int bad;

    if (!f) {
        free(grid);
        return fail(EXIT_INPUT, "%s cannot be written: %s", path, strerror(errno));
    }
    draw_page(f, layer, result, heads, grid);
    free(grid);
    bad = ferror(f);
    bad |= fclose(f);
    return bad ? fail(EXIT_INPUT, "%s cannot be written: %s", path, strerror(errno)) : 0;
}
