/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault_calls.c: every call that the library makes of OpenCL or of the C library
 * fails once, with each plausible answer.  Label: fault.
 *
 *   fault_calls FOLDER cold|warm|store|tune [FUNCTION]
 *
 * A life is what a user does from making a context to freeing it.  For each
 * function, each of its calls and each answer one life is led in which that call
 * fails.  Then the step that it failed in either answers a status with a sentence,
 * and does its work when it is asked again; or it did without, and the results
 * are right.  In the end nothing is held.
 *
 * warm: plans and calls, with programs in the folder.  cold: without them, and of
 * one operation only, since each life compiles.
 * store: records saved, exported, read and imported, and problems remembered.
 * tune: tuning, and its records saved and read.  The tuner repeats calls until it
 * knows their time: of those only the first FIRST are failed one by one, then some.
 * On tests/stub every life of a kind is led.  On a device, where a life takes a tenth of a
 * second, every 7th of warm and store, or every N-th with CLGAZE_FAULT_SHARE=N.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault_life.h"
#include "fault_shim.h"

enum { FIRST = 40, SOME = 20 };

struct fault_self self;
struct fault_told told;

static void listen(void *user, clgaze_log_level level, clgaze_status status, const char *message)
{
    (void)user;
    if (level != CLGAZE_LOG_ERROR)
        return;
    told.errors++;
    told.status = status;
    snprintf(told.text, sizeof told.text, "%s", message);
}

void wrong(const char *step, const char *what)
{
    if (self.wrong++ < 40)
        printf("%s, %s: %s (%s)\n", self.now, step, what, told.errors ? told.text : "no sentence");
}

/* ---- a life -------------------------------------------------------------------- */

/* The operations that it calls: tiny, and every helper is among them. */
struct life_call calls[CALLS] = {
    {.name = "prefill", .op = CLGAZE_PREFILL, .n = {.sequences = 2, .q = {9, 12}, .k = {9, 17}}},
    {.name = "attend", .op = CLGAZE_ATTEND, .n = {.batch = 1, .sq = 12, .sk = 17}},
};

static void *take(void *user, size_t size)
{
    void *p = malloc(size);

    (void)user;
    self.blocks += p != NULL;
    return p;
}

static void give(void *user, void *p)
{
    (void)user;
    self.blocks--;
    free(p);
}

static clgaze_status begin(struct life *l)
{
    const clgaze_context_options o = {.pick = getenv("CLGAZE_TEST_DEVICE"),
                                      .log = listen,
                                      .log_level = CLGAZE_LOG_DEBUG,
                                      .alloc = take,
                                      .release = give,
                                      .cache_dir = self.folder,
                                      .remember = self.kind == STORE};

    return clgaze_context_create(&o, &l->ctx);
}

/* PoCL has no binary cache of ours, elsewhere a context begins with this. */
static clgaze_status open_cache(struct life *l)
{
    if (l->ctx->cache_dir)
        return CLGAZE_OK;
    l->ctx->device.pocl = false;
    return clg_bincache_open(l->ctx, self.folder);
}

static clgaze_status plan(struct life *l)
{
    return clgaze_plan_create(l->ctx, calls[l->at].op, &calls[l->at].p, &l->plan[l->at]);
}

static clgaze_status call(struct life *l)
{
    cl_event done = NULL;
    clgaze_call c = l->x[l->at].call;
    clgaze_status st;

    c.done = &done;
    st = clgaze_run(l->plan[l->at], calls[l->at].op, &l->x[l->at].tensors, &c);
    if ((st == CLGAZE_OK) != (done != NULL))
        wrong("call", "an event without success, or success without one");
    if (done)
        clReleaseEvent(done);
    return st;
}

/* One step; if it fails as it was told to, it must say so, and work when asked again. */
static bool step(struct life *l, const char *name, step_fn work)
{
    const bool before = fault_happened();
    clgaze_status st;

    memset(&told, 0, sizeof told);
    fault_watch(true);
    st = work(l);
    fault_watch(false);
    if (st == CLGAZE_OK)
        return true;
    if (!fault_happened() || before) {
        wrong(name, "fails without a fault of its own");
        return false;
    }
    self.refused++;
    if (!told.errors || told.status != st || !told.text[0] || strchr(told.text, '\n'))
        wrong(name, "no sentence with the status that it answers");
    memset(&told, 0, sizeof told);
    fault_watch(true);
    st = work(l);
    fault_watch(false);
    if (st != CLGAZE_OK)
        wrong(name, "fails when asked again");
    return st == CLGAZE_OK;
}

/* Place the arrays, call, compare. */
static bool calls_right(struct life *l)
{
    struct life_call *k = &calls[l->at];

    if (!place_case(&k->c, k->op, l->plan[l->at], l->ctx, l->queue, &l->x[l->at])) {
        wrong(k->name, k->c.why);
        return false;
    }
    if (!step(l, k->name, call))
        return false;
    if (!fetch_case(&k->c, k->op, l->plan[l->at], l->queue, &l->x[l->at])) {
        wrong(k->name, k->c.why);
        return false;
    }
    for (int id = 0; id < ARRAYS; id++)
        if (op_outputs(&k->c, k->op) & BIT(id)) {
            if (!k->first[id])
                k->first[id] = array_copy(&k->c, (enum array)id);
            else if (memcmp(k->first[id], k->c.data[id], array_bytes(&k->c, (enum array)id)) != 0)
                wrong(k->name, "other results");
        }
    return true;
}

static bool steps(struct life *l, const struct life_step *s)
{
    while (s->name && step(l, s->name, s->work))
        s++;
    return !s->name;
}

static bool live(struct life *l)
{
    cl_int err = CL_SUCCESS;

    if (!step(l, "context", begin))
        return false;
    if (self.kind == TUNE)
        return steps(l, life_tuning);
    if (!step(l, "cache", open_cache))
        return false;
    l->at = CALLS - 1;
    if (self.kind == STORE)
        return step(l, "plan", plan) && steps(l, life_storing);
    l->queue = clCreateCommandQueue(l->ctx->cl, l->ctx->device.id, 0, &err);
    for (l->at = self.kind == COLD; l->at < CALLS; l->at++) /* cold: one operation, it takes long */
        if (!step(l, "plan", plan) || !calls_right(l))
            return false;
    return true;
}

static void lead_life(void)
{
    struct life l;

    memset(&l, 0, sizeof l);
    if (self.kind == COLD) {
        remove_tree(self.folder);
        mkdir(self.folder, 0700);
    }
    self.lives++;
    live(&l);
    for (int i = 0; i < CALLS; i++)
        unplace_case(&l.x[i]);
    if (l.queue)
        clReleaseCommandQueue(l.queue);
    fault_watch(true);
    for (int i = 0; i < CALLS; i++)
        clgaze_plan_free(l.plan[i]);
    clgaze_context_free(l.ctx);
    fault_watch(false);
    if (fault_held() != 0 || self.blocks != 0) {
        char text[96];

        snprintf(text, sizeof text, "%ld objects and files, %ld blocks of memory are held in the end", fault_held(),
                 self.blocks);
        wrong("free", text);
        fault_forget();
        self.blocks = 0;
    }
    check_folder();
}

/* ---- every fault ------------------------------------------------------------------- */

static void fail_each(enum fault_call call, int times)
{
    const int stride = self.kind == TUNE && times > FIRST + SOME ? (times - FIRST) / SOME : 1;
    for (int n = 1; n <= times; n += n < FIRST ? 1 : stride)
        for (int c = 0; c < FAULT_CODES && fault_codes[call][c]; c++) {
            const int refused = self.refused;

            if (self.asked++ % self.every != 0)
                continue;

            snprintf(self.now, sizeof self.now, "%s call %d of %d answers %d", fault_names[call], n, times,
                     fault_codes[call][c]);
            fault_arm(call, n, fault_codes[call][c]);
            lead_life();
            self.faults += fault_happened();
            self.done_without += fault_happened() && refused == self.refused;
        }
}

static void prepare_calls(bool stub)
{
    clgaze_problem p = problem(CLGAZE_F32, 4, 2, 8, 8, 8);

    p.packed = 1;
    p.rule = CLGAZE_RATIO;
    p.value = 0.5;
    calls[0].p = p;
    p.packed = 0;
    p.lists = CLGAZE_LISTS_MASK;
    p.lse = 1;
    p.validate = !stub; /* its kernels do nothing: lists would seem wrong */
    calls[1].p = p;
    for (int i = 0; i < CALLS; i++) {
        fit_maxima(&calls[i].p, &calls[i].n, 1);
        case_make(&calls[i].c, calls[i].op, &calls[i].p, &calls[i].n, NULL, (uint64_t)i);
    }
}

/* Of how many lives one is led. */
static int share_of(bool stub)
{
    const char *text = getenv("CLGAZE_FAULT_SHARE");
    const int n = text ? atoi(text) : !stub && (self.kind == WARM || self.kind == STORE) ? 7 : 1;

    return n > 1 ? n : 1;
}

static void died(int number)
{
    (void)!write(2, "died in: ", 9);
    (void)!write(2, self.now, strlen(self.now));
    (void)!write(2, "\n", 1);
    signal(number, SIG_DFL);
    raise(number);
}

int main(int argc, char **argv)
{
    static const char *const kinds[] = {"cold", "warm", "store", "tune"};
    int times[FAULT_CALLS];
    clgaze_device device;

    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: fault_calls FOLDER cold|warm|store|tune [FUNCTION]\n");
        return 2;
    }
    self.folder = argv[1];
    while (self.kind < TUNE && strcmp(argv[2], kinds[self.kind]) != 0)
        self.kind++;
    if (clgaze_device_list(&device, 1) == 0) {
        printf("SKIPPED: there is no OpenCL device\n");
        return 77;
    }
    signal(SIGSEGV, died);
    signal(SIGABRT, died);
    self.every = share_of(strcmp(device.name, "Stub") == 0);
    prepare_calls(strcmp(device.name, "Stub") == 0);
    remove_tree(self.folder);
    mkdir(self.folder, 0700);
    snprintf(self.now, sizeof self.now, "no fault");
    for (int i = 0; i < 2; i++) { /* the first fills the folder */
        fault_arm(0, 0, 0);
        lead_life();
    }
    for (int i = 0; i < FAULT_CALLS; i++)
        times[i] = fault_count((enum fault_call)i);
    for (int i = 0; i < FAULT_CALLS && self.wrong < 40; i++)
        if (argc < 4 || strcmp(argv[3], fault_names[i]) == 0) {
            const int before = self.lives, refused = self.refused;

            fail_each((enum fault_call)i, times[i]);
            if (times[i])
                printf("%-28s %4d calls, %4d lives, %4d refused\n", fault_names[i], times[i], self.lives - before,
                       self.refused - refused);
            fflush(stdout);
        }
    printf("%d lives with %d faults: %d refused with a sentence, %d done without; %d wrong\n", self.lives,
           self.faults, self.refused, self.done_without, self.wrong);
    for (int i = 0; i < CALLS; i++) {
        case_free(&calls[i].c);
        for (int id = 0; id < ARRAYS; id++)
            free(calls[i].first[id]);
    }
    check_leaks();
    return self.wrong || !self.faults;
}
