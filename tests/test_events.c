/* SPDX-License-Identifier: Apache-2.0 */
/* Queues and events: a call waits for what it is told to, and for no more.  Label: unit. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "load.h"

/* ---- events ------------------------------------------------------------------------ */

static cl_event new_gate(void)
{
    cl_int err = CL_SUCCESS;
    cl_event gate = clCreateUserEvent(clgaze_context_cl(test_context()), &err);

    assert_int_equal(err, CL_SUCCESS);
    return gate;
}

/* Inputs are NaN or nonsense until a gate opens, each second one behind the second gate. */
static cl_uint write_late(const struct load *l, cl_command_queue queue, const cl_event gate[2], cl_event *written)
{
    const cl_uint pattern = 0xffffffffu;
    cl_uint n = 0;

    for (int id = 0; id < ARRAYS; id++) {
        const struct placed *x = &l->x.at[id];

        if (!x->mem || is_output(l, id))
            continue;
        assert_int_equal(
            clEnqueueFillBuffer(test_queue(), x->mem, &pattern, sizeof pattern, 0, x->bytes / 4 * 4, 0, NULL, NULL),
            CL_SUCCESS);
        assert_int_equal(clFinish(test_queue()), CL_SUCCESS);
        assert_int_equal(
            clEnqueueWriteBuffer(queue, x->mem, CL_FALSE, 0, x->bytes, x->before, 1, &gate[n % 2], &written[n]),
            CL_SUCCESS);
        n++;
    }
    return n;
}

static cl_int status_of(cl_event event)
{
    cl_int status = CL_COMPLETE;

    assert_int_equal(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL),
                     CL_SUCCESS);
    return status;
}

static unsigned char *read_buffer(const struct placed *x)
{
    unsigned char *bytes = malloc(x->bytes);

    assert_non_null(bytes);
    assert_int_equal(clEnqueueReadBuffer(test_queue(), x->mem, CL_TRUE, 0, x->bytes, bytes, 0, NULL, NULL),
                     CL_SUCCESS);
    return bytes;
}

/* Given some time, the call has neither ended nor written. */
static void assert_waiting(const struct load *l, cl_event done)
{
    const struct timespec moment = {0, 5000000};

    nanosleep(&moment, NULL);
    assert_true(status_of(done) > CL_COMPLETE);
    for (int id = 0; id < ARRAYS; id++)
        if (is_output(l, id)) {
            unsigned char *bytes = read_buffer(&l->x.at[id]);

            assert_memory_equal(bytes, l->x.at[id].before, l->x.at[id].bytes);
            free(bytes);
        }
}

/* Write, call and read, each waiting for the one before by events alone. */
static void check_events(struct load *l, cl_command_queue writer, cl_command_queue queue)
{
    const struct placed *out = &l->x.at[A_OUT];
    cl_event gate[2] = {new_gate(), new_gate()}, wait[ARRAYS + 1], done = NULL, read = NULL;
    const cl_uint n = write_late(l, writer, gate, wait);
    unsigned char *late = calloc(1, out->bytes), *now;
    clgaze_call call = l->x.call;

    assert_true(late && n > 1 && spoil(l, test_queue()));
    wait[n] = gate[1];
    call.queue = queue;
    call.n_wait = n + 1;
    call.wait = wait;
    call.done = &done;
    forget();
    assert_ok(clgaze_run(l->job->plan, l->job->op, &l->x.tensors, &call));
    assert_non_null(done);
    assert_int_equal(clEnqueueReadBuffer(queue, out->mem, CL_FALSE, 0, out->bytes, late, 1, &done, &read),
                     CL_SUCCESS);
    assert_true(clFlush(writer) == CL_SUCCESS && clFlush(queue) == CL_SUCCESS);
    assert_waiting(l, done);
    assert_int_equal(clSetUserEventStatus(gate[0], CL_COMPLETE), CL_SUCCESS);
    assert_int_equal(clWaitForEvents(1, &wait[0]), CL_SUCCESS);
    assert_waiting(l, done);
    assert_int_equal(clSetUserEventStatus(gate[1], CL_COMPLETE), CL_SUCCESS);
    assert_int_equal(clWaitForEvents(1, &read), CL_SUCCESS);
    assert_int_equal(status_of(done), CL_COMPLETE);
    if (!fetch_same(l, test_queue()))
        fail_msg("%s", l->c.why);
    now = read_buffer(out);
    assert_memory_equal(late, now, out->bytes);
    free(late);
    free(now);
    for (cl_uint i = 0; i < n; i++)
        clReleaseEvent(wait[i]);
    clReleaseEvent(gate[0]);
    clReleaseEvent(gate[1]);
    clReleaseEvent(read);
    clReleaseEvent(done);
}

static void check_queue(cl_command_queue writer, cl_command_queue queue)
{
    skip_simulated("waits for user events in clFlush");
    for (int j = 0; j < JOBS; j++) {
        struct load l;

        load_make(&l, &jobs[j], 100 + (uint64_t)j);
        for (int i = 0; i < (tiny() ? 1 : 4); i++)
            check_events(&l, writer, queue);
        load_free(&l);
    }
}

static cl_command_queue out_of_order_queue(void)
{
    cl_command_queue_properties can = 0;

    clGetDeviceInfo(clgaze_context_device(test_context()), CL_DEVICE_QUEUE_PROPERTIES, sizeof can, &can, NULL);
    if (!(can & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE)) {
        printf("SKIPPED: the device has no out-of-order queues\n");
        skip();
    }
    return new_queue(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
}

static void events_out_of_order(void **state)
{
    cl_command_queue queue = out_of_order_queue();

    (void)state;
    check_queue(queue, queue);
    clReleaseCommandQueue(queue);
}

static void events_between_queues(void **state)
{
    cl_command_queue queue = new_queue(0), writer = new_queue(0);

    (void)state;
    check_queue(writer, queue);
    clReleaseCommandQueue(queue);
    clReleaseCommandQueue(writer);
}

/* ---- two calls under way ------------------------------------------------------------- */

/* Two calls by one plan; events, if any, only say when both have run. */
static void check_pair(struct load l[2], cl_command_queue queue, bool events)
{
    cl_event done[2] = {NULL, NULL};

    for (int i = 0; i < 2; i++)
        assert_true(spoil(&l[i], test_queue()));
    for (int i = 0; i < 2; i++) {
        clgaze_call call = l[i].x.call;

        call.queue = queue;
        call.done = events ? &done[i] : NULL;
        forget();
        assert_ok(clgaze_run(l[i].job->plan, l[i].job->op, &l[i].x.tensors, &call));
    }
    if (events)
        assert_int_equal(clWaitForEvents(2, done), CL_SUCCESS);
    for (int i = 0; i < 2; i++) {
        if (events)
            clReleaseEvent(done[i]);
        if (!fetch_same(&l[i], queue))
            fail_msg("call %d: %s", i, l[i].c.why);
    }
}

/* The calls have each a part of one workspace. */
static void check_parts(cl_command_queue queue, bool events)
{
    for (int j = 1; j < JOBS; j++) { /* the first needs no workspace */
        const size_t part = CLG_ALIGN(clgaze_plan_workspace(jobs[j].plan));
        unsigned char *nonsense = malloc(2 * part);
        cl_int err = CL_SUCCESS;
        cl_mem workspace;
        struct load l[2];

        assert_true(part > 0 && nonsense);
        memset(nonsense, 0x5a, 2 * part);
        workspace = clCreateBuffer(clgaze_context_cl(test_context()), CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR,
                                   2 * part, nonsense, &err);
        free(nonsense);
        assert_int_equal(err, CL_SUCCESS);
        for (int i = 0; i < 2; i++) {
            load_make(&l[i], &jobs[j], 200 + (uint64_t)i);
            l[i].x.call.workspace = workspace;
            l[i].x.call.workspace_offset = part * (size_t)(1 - i);
        }
        for (int i = 0; i < (tiny() ? 2 : 10); i++)
            check_pair(l, queue, events);
        load_free(&l[0]);
        load_free(&l[1]);
        clReleaseMemObject(workspace);
    }
}

static void parts_of_a_workspace_in_order(void **state)
{
    cl_command_queue queue = new_queue(0);

    (void)state;
    check_parts(queue, false);
    clReleaseCommandQueue(queue);
}

static void parts_of_a_workspace_out_of_order(void **state)
{
    cl_command_queue queue = out_of_order_queue();

    (void)state;
    check_parts(queue, true);
    clReleaseCommandQueue(queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(events_out_of_order, make_jobs),
        cmocka_unit_test(events_between_queues),
        cmocka_unit_test(parts_of_a_workspace_out_of_order),
        cmocka_unit_test_teardown(parts_of_a_workspace_in_order, free_jobs),
    };

    return TEST_MAIN(tests);
}
