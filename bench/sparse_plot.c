/*
 * sparse_plot.c: the drawing.
 */
#include "sparse.h"

int write_plot(FILE *f, const struct result *results, int n)
{
    (void)results;
    (void)n;
    fprintf(f, "<svg xmlns=\"http://www.w3.org/2000/svg\"/>\n");
    return 0;
}
