/* SPDX-License-Identifier: Apache-2.0 */
/*
 * product_nv.c: products on NVIDIA's matrix units, of numbers rounded to 16 bits.
 */
#include "product_nv.h"

#include "fail.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TILE = 128, TERMS = 32, ITEMS = 256, WHOLE = 8 }; /* as in product_nv.cl */

/* A gradient of weights has many terms and few tiles: the terms are cut until there are some groups for
 * every multiprocessor, but not into parts of less. */
enum { GROUPS = 256, LEAST = 1024 };

/* Gradients of a mean are smaller than f16 holds, but not all of them are very small. */
static const cl_float gain_of_gradients = 4096;

static cl_int wholes(cl_int n, cl_int of)
{
    return n / of + (n % of != 0);
}

/* Terms of a part. */
static cl_int part_of(cl_int rows, cl_int cols, cl_int depth)
{
    const cl_int tiles = wholes(rows, TILE) * wholes(cols, TILE), most = depth / LEAST, want = GROUPS / tiles;
    const cl_int parts = want < most ? want : most;
    return parts > 1 ? wholes(wholes(depth, parts), TERMS) * TERMS : depth;
}

size_t product_nv_room(cl_int rows, cl_int cols, cl_int depth)
{
    const cl_int parts = wholes(depth, part_of(rows, cols, depth));
    return parts > 1 ? (size_t)parts * (size_t)rows * (size_t)cols * sizeof(float) : 0;
}

/* ---- the kernels ---- */

static cl_program build(struct machine *m, clgaze_dtype dtype, int along_a, int along_b)
{
    const clgaze_context *ctx = m->device.context;
    const struct clg_source *const tables[] = {ctx->sources, llama_kernels};
    static const char *const names[] = {"nv.cl", "product_nv.cl"};
    const char *texts[CLG_COUNT(names)] = {"", ""};
    size_t sizes[CLG_COUNT(names)] = {0};
    char options[256];
    cl_int err;
    for (size_t i = 0; i < CLG_COUNT(names); i++)
        for (const struct clg_source *s = tables[i]; s->name; s++)
            if (strcmp(s->name, names[i]) == 0) {
                texts[i] = (const char *)s->text;
                sizes[i] = s->size;
            }
    cl_program program = clCreateProgramWithSource(ctx->cl, CLG_COUNT(names), texts, sizes, &err);
    if (err)
        return NULL;
    /* 128 registers: two groups a multiprocessor, of which one computes while the other waits. */
    snprintf(options, sizeof options, "%s %s -DDTYPE=%d -DALONG_A=%d -DALONG_B=%d", ctx->device.options,
             ctx->device.pocl ? "" : "-cl-nv-maxrregcount=128", (int)dtype, along_a, along_b);
    if (clBuildProgram(program, 1, &ctx->device.id, options, NULL, NULL) == CL_SUCCESS)
        return program;
    clReleaseProgram(program);
    return NULL;
}

/* Which kernel is for what lies how. */
static enum kernel_id kernel_of(int a_turned, int b_turned)
{
    return b_turned ? K_PRODUCT_NV : a_turned ? K_WEIGHTS_NV : K_BACK_NV;
}

static int kernel_make(struct machine *m, clgaze_dtype dtype, int a_turned, int b_turned)
{
    cl_kernel *kernel = &m->kernels[kernel_of(a_turned, b_turned)];
    cl_program program = build(m, dtype, !a_turned, b_turned);
    cl_int err = CL_BUILD_PROGRAM_FAILURE;
    if (*kernel)
        clReleaseKernel(*kernel);
    *kernel = program ? clCreateKernel(program, "product_nv", &err) : NULL;
    if (program)
        clReleaseProgram(program);
    return err == CL_SUCCESS;
}

int product_nv_fits(const struct machine *m, const struct times *t)
{
    const int whole_a = (t->a_turned ? t->rows : t->depth) % WHOLE == 0 && t->a.at % WHOLE == 0;
    const int whole_b = (t->b_turned ? t->depth : t->cols) % WHOLE == 0 && t->b.at % WHOLE == 0;
    return m->matrix && m->kernels[kernel_of(t->a_turned, t->b_turned)] && whole_a && whole_b;
}

int product_nv(struct machine *m, const struct times *t, cl_mem room)
{
    const cl_int per = t->a_turned && t->add && !t->y.at ? part_of(t->rows, t->cols, t->depth) : t->depth;
    const cl_int parts = wholes(t->depth, per), add = t->add && parts == 1, width = t->rows * t->cols;
    const cl_int b_size = t->b_type ? sizeof(cl_ushort) : sizeof(float);
    const cl_float gain = t->b_turned ? 1 : gain_of_gradients;
    const cl_ulong a_at = t->a.at, b_at = t->b.at, y_at = t->y.at;
    cl_mem y = parts > 1 ? room : t->y.buffer;
    const struct arg args[] = {ARG(t->a.buffer), ARG(a_at), ARG(t->b.buffer), ARG(b_at),    ARG(b_size),
                               ARG(y),           ARG(y_at), ARG(t->rows),     ARG(t->cols), ARG(t->depth),
                               ARG(per),         ARG(add),  ARG(gain)};
    const struct arg sum[] = {ARG(room), ARG(width), ARG(parts), ARG(t->y.buffer)};
    int code = launch(m, kernel_of(t->a_turned, t->b_turned), (size_t)wholes(t->cols, TILE) * ITEMS,
                      (size_t)wholes(t->rows, TILE) * (size_t)parts, ITEMS, args, CLG_COUNT(args));
    return code || parts == 1 ? code : launch(m, K_ADD_PARTS, (size_t)width, 1, 64, sum, CLG_COUNT(sum));
}

/* ---- the proof ---- */

enum { ROWS = 136, COLS = 200, SHALLOW = 104, DEEP = 2 * LEAST + 40 /* two parts */ };

/* A product of numbers that 16 bits hold. */
struct trial {
    struct times t;
    size_t n_b, n_y;
    float *a, *b, *y, *got;
    unsigned char *raw; /* b in the type that is multiplied */
    cl_mem room;
};

static int trial_make(struct machine *m, int a_turned, int b_turned, clgaze_dtype dtype, struct trial *p)
{
    static const char what[] = "the proof of a product";
    const cl_int depth = a_turned ? DEEP : SHALLOW;
    const size_t n_a = ROWS * (size_t)depth, n_b = COLS * (size_t)depth, n_y = ROWS * COLS;
    uint64_t state = 1;
    *p = (struct trial){.n_b = n_b, .n_y = n_y};
    p->t = (struct times){
        .rows = ROWS, .cols = COLS, .depth = depth, .a_turned = a_turned, .b_turned = b_turned, .add = 1};
    p->a = calloc(n_a + 2 * n_b + 2 * n_y, sizeof *p->a);
    if (!p->a)
        return fail(EXIT_INPUT, "there is no memory for %s", what);
    p->b = p->a + n_a;
    p->raw = (unsigned char *)(p->b + n_b);
    p->y = p->b + 2 * n_b;
    p->got = p->y + n_y;
    for (size_t i = 0; i < n_a + n_b; i++)
        p->a[i] = (float)((int)(clg_random(&state) % 127) - 63) / 64;
    for (size_t i = 0; i < n_b; i++)
        clg_encode(p->b[i], dtype, p->raw + 2 * i);
    for (size_t i = 0; i < n_y; i++)
        p->y[i] = (float)i;
    int code = buffer_make(m, n_a * sizeof *p->a, what, &p->t.a.buffer);
    if (!code)
        code = buffer_make(m, n_b * sizeof *p->b, what, &p->t.b.buffer);
    if (!code)
        code = buffer_make(m, n_y * sizeof *p->y, what, &p->t.y.buffer);
    if (!code)
        code = buffer_make(m, product_nv_room(ROWS, COLS, depth), what, &p->room);
    return code ? code : buffer_write(m, p->t.a.buffer, n_a * sizeof *p->a, p->a);
}

static void trial_free(struct trial *p)
{
    const cl_mem buffers[] = {p->t.a.buffer, p->t.b.buffer, p->t.y.buffer, p->room};
    for (size_t i = 0; i < CLG_COUNT(buffers); i++)
        if (buffers[i])
            clReleaseMemObject(buffers[i]);
    free(p->a);
}

/* In double; f32 holds the sums nearly as they are. */
static int right(const struct trial *p)
{
    const struct times *t = &p->t;
    const int over_a[] = {t->a_turned ? 1 : t->depth, t->a_turned ? ROWS : 1};
    const int over_b[] = {t->b_turned ? t->depth : 1, t->b_turned ? 1 : COLS};
    int wrong = 0;
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLS; j++) {
            double sum = (double)p->y[i * COLS + j];
            for (int k = 0; k < t->depth; k++)
                sum += (double)p->a[i * over_a[0] + k * over_a[1]] * (double)p->b[j * over_b[0] + k * over_b[1]];
            wrong += !(fabs(sum - (double)p->got[i * COLS + j]) < 0.05); /* what is no number, too */
        }
    return !wrong;
}

/* With b in f32, then in the type that is multiplied. */
static int prove(struct machine *m, clgaze_dtype dtype, int a_turned, int b_turned)
{
    struct trial p;
    int code = trial_make(m, a_turned, b_turned, dtype, &p), proved = 1;
    const size_t bytes = p.n_y * sizeof(float);
    for (int raw = 0; raw < 2 && proved && !code; raw++) {
        p.t.b_type = raw ? (cl_int)dtype : 0;
        code = buffer_write(m, p.t.b.buffer, p.n_b * (raw ? 2 : sizeof(float)), raw ? (const void *)p.raw : p.b);
        if (!code)
            code = buffer_write(m, p.t.y.buffer, bytes, p.y);
        if (!code)
            code = product_nv(m, &p.t, p.room);
        if (!code)
            code = buffer_read(m, p.t.y.buffer, bytes, p.got);
        proved = !code && right(&p);
    }
    trial_free(&p);
    return proved && !code;
}

void product_nv_open(struct machine *m, clgaze_dtype dtype, int gradients)
{
    static const int turned[][2] = {{0, 1}, {0, 0}, {1, 0}}; /* of a, of b: y, dx, dw */
    int proved = 1;
    m->matrix = 0;
    if (m->device.context->device.nv_arch < 80 || dtype == CLGAZE_F32)
        return;
    for (int i = 0; i < (gradients ? 3 : 1) && proved; i++)
        proved = kernel_make(m, dtype, turned[i][0], turned[i][1]) && prove(m, dtype, turned[i][0], turned[i][1]);
    m->matrix = proved ? (cl_int)dtype : 0;
    if (!proved)
        fprintf(stderr, "products: the matrix units of this device did not prove themselves and are not used\n");
}
