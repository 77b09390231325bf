/*
 * product.c: y = x w^T, by our own kernel on processors, else by CLBlast.
 *
 * On PoCL CLBlast makes a tenth of what the processor can.  Our kernel is right
 * on any device, and serves where there is no CLBlast.
 */
#include "forward.h"

#include "fail.h"

#ifdef CLGAZE_HAVE_CLBLAST
#include <clblast_c.h>
#endif

enum { BM = 96, BN = 64 }; /* as in matmul.cl */

size_t product_room(int64_t rows, int64_t cols)
{
    return (size_t)((rows + PANEL - 1) / PANEL * PANEL) * (size_t)cols * sizeof(float);
}

#ifdef CLGAZE_HAVE_CLBLAST
static int by_clblast(struct machine *m, cl_mem x, size_t x_at, cl_int n, const struct matrix *w, cl_int first,
                      cl_int count, cl_mem room, cl_int add, cl_mem y)
{
    const cl_ulong from = (cl_ulong)first;
    const size_t rows = (size_t)n, cols = (size_t)count, k = (size_t)w->cols;
    const struct arg widen[] = {ARG(w->buffer), ARG(w->type), ARG(from), ARG(count), ARG(w->cols), ARG(room)};
    int code = launch(m, K_WIDEN, cols * k, 1, 64, widen, 6);
    if (code)
        return code;
    CLBlastStatusCode answer =
        CLBlastSgemm(CLBlastLayoutRowMajor, CLBlastTransposeNo, CLBlastTransposeYes, rows, cols, k, 1.0f, x, x_at, k,
                     room, 0, k, add ? 1.0f : 0.0f, y, 0, cols, &m->device.queue, NULL);
    return answer == CLBlastSuccess
               ? 0
               : fail(EXIT_OPENCL, "CLBlast answered %d to a product of %zu x %zu x %zu", (int)answer, rows, cols, k);
}
#endif

int product(struct machine *m, cl_mem x, size_t x_at, cl_int n, const struct matrix *w, cl_int first, cl_int count,
            cl_mem room, cl_int add, cl_mem y)
{
#ifdef CLGAZE_HAVE_CLBLAST
    if (!m->processor)
        return by_clblast(m, x, x_at, n, w, first, count, room, add, y);
#endif
    const cl_ulong from = (cl_ulong)first, at = x_at;
    const struct arg pack[] = {ARG(w->buffer), ARG(w->type), ARG(from), ARG(count), ARG(w->cols), ARG(room)};
    const struct arg matmul[] = {ARG(x), ARG(at), ARG(n), ARG(w->cols), ARG(room), ARG(count), ARG(y), ARG(add)};
    const size_t panels = ((size_t)count + PANEL - 1) / PANEL;
    int code = launch(m, K_PACK, panels, 1, 1, pack, 6);
    return code ? code : launch(m, K_MATMUL, ((size_t)n + BM - 1) / BM, ((size_t)count + BN - 1) / BN, 1, matmul, 8);
}
