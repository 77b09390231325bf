/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load.c: calls whose every repetition must give the same bits.
 */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct job jobs[JOBS];

static void set_job(struct job *job, clgaze_op op, clgaze_problem p, struct shape n)
{
    p.lse = 1;
    fit_maxima(&p, &n, 1);
    *job = (struct job){op, p, n, plan_of(op, &p)};
}

int make_jobs(void **state)
{
    clgaze_problem p = problem(CLGAZE_F32, 6, 2, tiny() ? 8 : 32, 16, 8);

    (void)state;
    set_job(&jobs[0], CLGAZE_ATTEND, p, (struct shape){.batch = 2, .sq = 33, .sk = 45});
    p.lists = CLGAZE_LISTS_MASK;
    set_job(&jobs[1], CLGAZE_ATTEND, p, (struct shape){.batch = 1, .sq = 20, .sk = 31});
    p = problem(CLGAZE_F32, 4, 2, tiny() ? 8 : 32, 8, 8);
    p.packed = 1;
    p.rope_pairs = p.head_dim / 2;
    p.rule = CLGAZE_RATIO;
    p.value = 0.5;
    set_job(&jobs[2], CLGAZE_PREFILL, p, (struct shape){.sequences = 3, .q = {9, 1, 30}, .k = {9, 20, 33}});
    return 0;
}

int free_jobs(void **state)
{
    (void)state;
    for (int j = 0; j < JOBS; j++)
        clgaze_plan_free(jobs[j].plan);
    return 0;
}

bool is_output(const struct load *l, int id)
{
    return (op_outputs(&l->c, l->job->op) & BIT(id)) != 0;
}

void load_make(struct load *l, const struct job *job, uint64_t salt)
{
    memset(l, 0, sizeof *l);
    l->job = job;
    case_make(&l->c, job->op, &job->p, &job->n, NULL, salt);
    run_or_fail(&l->c, job->op, job->plan);
    if (!check_results(&l->c, job->op) || !place_case(&l->c, job->op, job->plan, test_context(), test_queue(), &l->x))
        fail_msg("%s", l->c.why);
    for (int id = 0; id < ARRAYS; id++)
        if (is_output(l, id))
            l->first[id] = array_copy(&l->c, (enum array)id);
}

void load_free(struct load *l)
{
    for (int id = 0; id < ARRAYS; id++)
        free(l->first[id]);
    unplace_case(&l->x);
    case_free(&l->c);
}

bool spoil(const struct load *l, cl_command_queue queue)
{
    cl_int err = CL_SUCCESS;

    for (int id = 0; err == CL_SUCCESS && id < ARRAYS; id++) {
        const struct placed *x = &l->x.at[id];

        if (is_output(l, id))
            err = clEnqueueWriteBuffer(queue, x->mem, CL_TRUE, 0, x->bytes, x->before, 0, NULL, NULL);
    }
    return err == CL_SUCCESS;
}

bool same(struct load *l)
{
    for (int id = 0; id < ARRAYS; id++)
        if (is_output(l, id) && memcmp(l->c.data[id], l->first[id], array_bytes(&l->c, (enum array)id)) != 0) {
            snprintf(l->c.why, sizeof l->c.why, "%s: not the bits of the first call", array_names[id]);
            return false;
        }
    return true;
}

bool fetch_same(struct load *l, cl_command_queue queue)
{
    return fetch_case(&l->c, l->job->op, l->job->plan, queue, &l->x) && same(l);
}

cl_command_queue new_queue(cl_command_queue_properties properties)
{
    cl_int err = CL_SUCCESS;
    cl_command_queue queue = clCreateCommandQueue(clgaze_context_cl(test_context()),
                                                  clgaze_context_device(test_context()), properties, &err);

    assert_int_equal(err, CL_SUCCESS);
    return queue;
}
