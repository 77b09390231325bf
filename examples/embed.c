/* SPDX-License-Identifier: Apache-2.0 */
/* embed.c: clgaze in an application that owns its OpenCL context and queue.  Copy the parts marked "clgaze"; the
 * rest stands in for your application, whose model would have computed q, k and v. */
#include <clgaze/clgaze.h>
#include <stdio.h>
#include <stdlib.h>

enum { TOKENS = 1000, HEADS = 4, KV_HEADS = 2, DIM = 64, POOLS = 3 /* of keys: max, min, avg */ };

static void check(long error, const char *what) /* clgaze's own sentence has been printed by say() before */
{
    if (error)
        fprintf(stderr, "embed: %s failed (%ld)\n", what, error), exit(3);
}

static void say(void *user, clgaze_log_level level, clgaze_status status, const char *sentence)
{
    (void)user, (void)level;
    fprintf(stderr, "embed: %s: %s\n", clgaze_status_name(status), sentence);
}

int main(void)
{
    clgaze_device found;
    check(clgaze_device_list(&found, 1) == 0, "finding an OpenCL device");
    cl_context context = clCreateContext(NULL, 1, &found.device, NULL, NULL, NULL);
    cl_command_queue queue = context ? clCreateCommandQueue(context, found.device, 0, NULL) : NULL;
    check(!queue, "making a queue"); /* out of order would do, too */
    enum { Q, K, V, W_K, OUT, WORKSPACE, BUFFERS };
    size_t count[BUFFERS] = {TOKENS * HEADS * DIM, TOKENS * KV_HEADS * DIM, TOKENS * KV_HEADS * DIM,
                             HEADS * POOLS * DIM * DIM, TOKENS * HEADS * DIM};

    /* ---- clgaze, once, when your application starts: a context on your objects, and a plan ---- */
    clgaze_context_options options = {.context = context, .device = found.device, .log = say};
    clgaze_context *gaze = NULL;
    clgaze_plan *plan = NULL;
    check(clgaze_context_create(&options, &gaze), "clgaze_context_create");
    clgaze_problem problem = clgaze_problem_default();
    problem.q_heads = HEADS, problem.kv_heads = KV_HEADS, problem.head_dim = DIM;
    problem.max_q = problem.max_k = 4096; /* one plan serves every length up to this */
    problem.rule = CLGAZE_TOP_P, problem.value = .7;
    check(clgaze_prefill_plan(gaze, &problem, &plan), "clgaze_prefill_plan");
    count[WORKSPACE] = (clgaze_plan_workspace(plan) + 3) / 4; /* bytes; calls in turn may share it */

    /* ---- your application computes ---- */
    cl_mem mem[BUFFERS];
    cl_event ready[BUFFERS], done;
    for (int i = 0; i < BUFFERS; i++) {
        float value = .01f * (float)(i + 1);
        mem[i] = clCreateBuffer(context, CL_MEM_READ_WRITE, count[i] * sizeof value, NULL, NULL);
        check(!mem[i], "clCreateBuffer");
        check(clEnqueueFillBuffer(queue, mem[i], &value, 4, 0, count[i] * 4, 0, NULL, &ready[i]), "filling");
    }

    /* ---- clgaze, for each layer: describe your buffers, enqueue, go on ---- */
    clgaze_tensors t = {.q = clgaze_tensor_bshd(mem[Q], 0, CLGAZE_F32, 1, TOKENS, HEADS, DIM),
                        .k = clgaze_tensor_bshd(mem[K], 0, CLGAZE_F32, 1, TOKENS, KV_HEADS, DIM),
                        .v = clgaze_tensor_bshd(mem[V], 0, CLGAZE_F32, 1, TOKENS, KV_HEADS, DIM),
                        .w_k =
                            clgaze_tensor_compact(mem[W_K], 0, CLGAZE_F32, 3, (int64_t[]){HEADS, POOLS * DIM, DIM}),
                        .out = clgaze_tensor_bshd(mem[OUT], 0, CLGAZE_F32, 1, TOKENS, HEADS, DIM)};
    t.q_gate = t.q, t.k_gate = t.k; /* a model with RoPE gives q and k from before it, and rope_inv_freq */
    clgaze_call call = {.queue = queue, .workspace = mem[WORKSPACE], .n_wait = BUFFERS, .wait = ready, .done = &done};
    check(clgaze_prefill(plan, &t, &call), "clgaze_prefill");

    /* ---- whatever uses the result waits for `done`; clgaze goes before your context ---- */
    float first = 0;
    check(clEnqueueReadBuffer(queue, mem[OUT], CL_TRUE, 0, 4, &first, 1, &done, NULL), "clEnqueueReadBuffer");
    printf("embed: attention over %d tokens by %s: %g\n", TOKENS, clgaze_plan_kernel(plan, CLGAZE_ATTEND),
           (double)first);
    clgaze_plan_free(plan);
    clgaze_context_free(gaze);
    clReleaseEvent(done);
    for (int i = 0; i < BUFFERS; i++)
        clReleaseEvent(ready[i]), clReleaseMemObject(mem[i]);
    return clReleaseCommandQueue(queue) || clReleaseContext(context);
}
