/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_lists.c: any numbers as counts and blocks, or as CSR, and any mask, given to
 * attend.  With validation a call succeeds just if a plain check here says that the
 * lists are good; without it no number may lead a kernel astray.
 */
#include <math.h>

#include "fuzz_host.h"

enum { S = 16, BLOCK = 4, N = S / BLOCK, D = 8, ENTRIES = N * N, LISTS = 3, MOST = 4096 };

static struct {
    clgaze_context *ctx;
    cl_command_queue queue;
    clgaze_plan *plan[LISTS][2]; /* of the lists, without and with validation */
    cl_mem numbers, lists, out, workspace;
} self;

static const clgaze_lists forms[LISTS] = {CLGAZE_LISTS_BLOCKS, CLGAZE_LISTS_CSR, CLGAZE_LISTS_MASK};

static cl_mem buffer(size_t size, void *from)
{
    cl_int err = CL_SUCCESS;
    cl_mem m = clCreateBuffer(clgaze_context_cl(self.ctx),
                              CL_MEM_READ_WRITE | (from ? (cl_mem_flags)CL_MEM_COPY_HOST_PTR : 0), size, from, &err);

    if (err != CL_SUCCESS)
        abort();
    return m;
}

static void open_all(void)
{
    clgaze_context_options o = {.cache_dir = ""};
    float numbers[S * D];
    size_t most = 1;
    cl_int err;

    if (clgaze_device_list(NULL, 0) == 0) {
        printf("SKIPPED: there is no OpenCL device\n");
        exit(77);
    }
    if (clgaze_context_create(&o, &self.ctx) != CLGAZE_OK)
        abort();
    for (int f = 0; f < LISTS; f++)
        for (int v = 0; v < 2; v++) {
            clgaze_problem p = clgaze_problem_default();

            p.q_heads = p.kv_heads = 1;
            p.head_dim = D;
            p.block_q = p.block_k = BLOCK;
            p.max_q = p.max_k = S;
            p.causal = 0;
            p.lists = forms[f];
            p.validate = v;
            if (clgaze_attend_plan(self.ctx, &p, &self.plan[f][v]) != CLGAZE_OK)
                abort();
            if (clgaze_plan_workspace(self.plan[f][v]) > most)
                most = clgaze_plan_workspace(self.plan[f][v]);
        }
    for (int i = 0; i < S * D; i++)
        numbers[i] = (float)(i % 7) - 3;
    self.numbers = buffer(sizeof numbers, numbers);
    self.out = buffer(sizeof numbers, NULL);
    self.lists = buffer(MOST, NULL);
    self.workspace = buffer(most, NULL);
    self.queue = clCreateCommandQueue(clgaze_context_cl(self.ctx), clgaze_context_device(self.ctx), 0, &err);
    if (err != CL_SUCCESS)
        abort();
}

/* Is a row of `n` blocks at `list` ascending and within the keys? */
static bool row_good(const int32_t *list, int64_t n)
{
    for (int64_t e = 0; e < n; e++)
        if (list[e] < 0 || list[e] >= N || (e && list[e] <= list[e - 1]))
            return false;
    return true;
}

static bool good(int form, const int32_t *x)
{
    for (int i = 0; i < N; i++) {
        if (form == 0 && (x[i] < 0 || x[i] > N || !row_good(x + N + (ptrdiff_t)i * N, x[i])))
            return false;
        if (form == 1 && (x[i] < 0 || x[i + 1] < x[i] || x[i + 1] > ENTRIES || x[i + 1] - x[i] > N ||
                          !row_good(x + N + 1 + x[i], x[i + 1] - x[i])))
            return false;
    }
    return true;
}

static clgaze_tensor at(cl_mem m, size_t offset, clgaze_dtype dtype, int rank, const int64_t *shape)
{
    return clgaze_tensor_compact(m, offset, dtype, rank, shape);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const int64_t tokens[] = {1, S, 1, D}, counts[] = {1, 1, N}, blocks[] = {1, 1, N, N}, rows[] = {N + 1},
                  entries[] = {ENTRIES};
    int32_t x[MOST / 4] = {0};
    float out[S * D];
    const int form = size ? data[0] % LISTS : 0;
    clgaze_tensors t;
    clgaze_call call;

    if (!self.ctx)
        open_all();
    if (size > 1)
        memcpy(x, data + 1, size - 1 < sizeof x ? size - 1 : sizeof x);
    memset(&t, 0, sizeof t);
    t.q = t.k = t.v = at(self.numbers, 0, CLGAZE_F32, 4, tokens);
    t.out = at(self.out, 0, CLGAZE_F32, 4, tokens);
    if (form == 0) {
        t.counts = at(self.lists, 0, CLGAZE_I32, 3, counts);
        t.blocks = at(self.lists, N, CLGAZE_I32, 4, blocks);
    } else if (form == 1) {
        t.indptr = at(self.lists, 0, CLGAZE_I32, 1, rows);
        t.indices = at(self.lists, N + 1, CLGAZE_I32, 1, entries);
    } else {
        t.mask = at(self.lists, 0, CLGAZE_U8, 4, blocks);
    }
    if (clEnqueueWriteBuffer(self.queue, self.lists, CL_TRUE, 0, MOST, x, 0, NULL, NULL) != CL_SUCCESS)
        abort();
    memset(&call, 0, sizeof call);
    call.queue = self.queue;
    call.workspace = self.workspace;
    for (int v = 0; v < 2; v++) {
        const clgaze_status st = clgaze_attend(self.plan[form][v], &t, &call);

        if (st != (v && !good(form, x) ? CLGAZE_ERR_LIST : CLGAZE_OK))
            abort();
        if (clEnqueueReadBuffer(self.queue, self.out, CL_TRUE, 0, sizeof out, out, 0, NULL, NULL) != CL_SUCCESS)
            abort();
        for (int i = 0; i < S * D; i++)
            if (!(fabsf(out[i]) <= 3))
                abort(); /* a mean of numbers from -3 to 3 */
    }
    return 0;
}
