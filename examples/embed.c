/*
 * embed.c: clgaze in an application that owns its OpenCL context and queue.
 * Copy what stands between the lines; the rest stands in for your application.
 */
#include <clgaze/clgaze.h>
#include <stdio.h>
#include <stdlib.h>

enum { TOKENS = 1000, HEADS = 4, KV_HEADS = 2, DIM = 64, POOLS = 3 /* of keys: max, min, avg */ };

/* Stop on an error; clgaze's own sentence has been printed by say() before. */
static void check(long error, const char *what)
{
    if (error)
        fprintf(stderr, "embed: %s failed (%ld)\n", what, error), exit(3);
}

static void say(void *user, clgaze_log_level level, clgaze_status status, const char *sentence)
{
    (void)user, (void)level;
    fprintf(stderr, "embed: %s: %s\n", clgaze_status_name(status), sentence);
}

/* A buffer of n numbers between -scale and scale: what your model computed. */
static cl_mem numbers(cl_context context, size_t n, float scale)
{
    float *x = malloc(n * sizeof *x);
    check(!x, "malloc");
    for (size_t i = 0; i < n; i++)
        x[i] = scale * (2.0f * (float)rand() / (float)RAND_MAX - 1.0f);
    cl_mem mem = clCreateBuffer(context, CL_MEM_COPY_HOST_PTR, n * sizeof *x, x, NULL);
    check(!mem, "clCreateBuffer");
    free(x);
    return mem;
}

int main(void)
{
    clgaze_device found;
    check(clgaze_device_list(&found, 1) == 0, "finding an OpenCL device");
    cl_context context = clCreateContext(NULL, 1, &found.device, NULL, NULL, NULL);
    check(!context, "clCreateContext");
    cl_command_queue queue = clCreateCommandQueue(context, found.device, 0, NULL); /* out of order would do, too */
    check(!queue, "clCreateCommandQueue");
    cl_mem q = numbers(context, TOKENS * HEADS * DIM, 1), k = numbers(context, TOKENS * KV_HEADS * DIM, 1),
           v = numbers(context, TOKENS * KV_HEADS * DIM, 1), w_k = numbers(context, HEADS * POOLS * DIM * DIM, .02f),
           out = numbers(context, TOKENS * HEADS * DIM, 0);
    cl_event ready, done; /* `ready` is the last event of what computed q, k and v */
    check(clEnqueueMarkerWithWaitList(queue, 0, NULL, &ready), "clEnqueueMarkerWithWaitList");

    /* ---- once, when your application starts: a context on your objects, and a plan ---- */
    clgaze_context *gaze = NULL;
    clgaze_plan *plan = NULL;
    check(clgaze_context_create(&(clgaze_context_options){.context = context, .device = found.device, .log = say},
                                &gaze),
          "clgaze_context_create");
    clgaze_problem problem = clgaze_problem_default();
    problem.q_heads = HEADS, problem.kv_heads = KV_HEADS, problem.head_dim = DIM;
    problem.max_q = problem.max_k = 4096; /* one plan serves every length up to this */
    problem.rule = CLGAZE_TOP_P, problem.value = .7;
    check(clgaze_prefill_plan(gaze, &problem, &plan), "clgaze_prefill_plan");
    size_t bytes = clgaze_plan_workspace(plan); /* may be shared by calls that do not run at the same time */
    cl_mem workspace = bytes ? clCreateBuffer(context, CL_MEM_READ_WRITE, bytes, NULL, NULL) : NULL;
    check(bytes && !workspace, "clCreateBuffer");

    /* ---- for each layer: describe your buffers, enqueue, go on ---- */
    clgaze_tensors t = {.q = clgaze_tensor_bshd(q, 0, CLGAZE_F32, 1, TOKENS, HEADS, DIM),
                        .k = clgaze_tensor_bshd(k, 0, CLGAZE_F32, 1, TOKENS, KV_HEADS, DIM),
                        .v = clgaze_tensor_bshd(v, 0, CLGAZE_F32, 1, TOKENS, KV_HEADS, DIM),
                        .w_k = clgaze_tensor_compact(w_k, 0, CLGAZE_F32, 3, (int64_t[]){HEADS, POOLS * DIM, DIM}),
                        .out = clgaze_tensor_bshd(out, 0, CLGAZE_F32, 1, TOKENS, HEADS, DIM)};
    t.q_gate = t.q, t.k_gate = t.k; /* a model with RoPE gives q and k from before it, and rope_inv_freq */
    clgaze_call call = {.queue = queue, .workspace = workspace, .n_wait = 1, .wait = &ready, .done = &done};
    check(clgaze_prefill(plan, &t, &call), "clgaze_prefill");

    /* ---- whatever uses the result waits for `done` ---- */
    float last[DIM];
    size_t at = (size_t)(TOKENS * HEADS - 1) * DIM * sizeof *last;
    check(clEnqueueReadBuffer(queue, out, CL_TRUE, at, sizeof last, last, 1, &done, NULL), "clEnqueueReadBuffer");
    printf("embed: %d tokens on %s by %s, out[last][0] = %g\n", TOKENS, found.name,
           clgaze_plan_kernel(plan, CLGAZE_ATTEND), (double)last[0]);

    /* ---- once, when it ends ---- */
    clgaze_plan_free(plan);
    clgaze_context_free(gaze);
    cl_mem mems[] = {q, k, v, w_k, out, workspace};
    for (size_t i = 0; i < sizeof mems / sizeof(cl_mem); i++)
        if (mems[i])
            clReleaseMemObject(mems[i]);
    clReleaseEvent(ready), clReleaseEvent(done);
    clReleaseCommandQueue(queue), clReleaseContext(context);
    return 0;
}
