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
 * CLGAZE_FAULT_SHARE=N leads every N-th life only.
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache.h"
#include "fault_shim.h"
#include "records.h"

enum { FIRST = 40, SOME = 20 };

static struct {
    const char *folder;
    enum { COLD, WARM, STORE, TUNE } kind;
    char now[160]; /* the fault under way */
    int asked, lives, faults, refused, done_without, wrong;
    long blocks; /* of memory that the library holds */
} self;

static struct {
    int errors;
    clgaze_status status;
    char text[512];
} told;

static void listen(void *user, clgaze_log_level level, clgaze_status status, const char *message)
{
    (void)user;
    if (level != CLGAZE_LOG_ERROR)
        return;
    told.errors++;
    told.status = status;
    snprintf(told.text, sizeof told.text, "%s", message);
}

static void wrong(const char *step, const char *what)
{
    if (self.wrong++ < 40)
        printf("%s, %s: %s (%s)\n", self.now, step, what, told.errors ? told.text : "no sentence");
}

/* ---- a life -------------------------------------------------------------------- */

/* The operations that it calls: tiny, and every helper is among them. */
static struct life_call {
    const char *name;
    clgaze_op op;
    clgaze_problem p;
    struct shape n;
    struct test_case c;
    void *first[ARRAYS]; /* results of a life without a fault */
} calls[] = {
    {.name = "prefill", .op = CLGAZE_PREFILL, .n = {.sequences = 2, .q = {9, 12}, .k = {9, 17}}},
    {.name = "attend", .op = CLGAZE_ATTEND, .n = {.batch = 1, .sq = 12, .sk = 17}},
};
enum { CALLS = CLG_COUNT(calls) };

struct life {
    clgaze_context *ctx;
    clgaze_plan *plan[CALLS];
    cl_command_queue queue;
    struct placed_case x[CALLS];
    int at; /* the call of the step */
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

static clgaze_status tune(struct life *l)
{
    const clgaze_request request = {.op = CLGAZE_ATTEND, .problem = &calls[1].p};
    char journal[CACHE_PATH];
    const clgaze_tune_options o = {.budget = 0.02, .max_candidates = 1, .again = CLGAZE_TUNE_ALL, .journal = journal};

    snprintf(journal, sizeof journal, "%s/journal", self.folder);
    return clgaze_tune(l->ctx, 1, &request, &o);
}

static clgaze_status save(struct life *l)
{
    return clgaze_tuning_save(l->ctx, NULL);
}

static clgaze_status load(struct life *l)
{
    return clgaze_tuning_load(l->ctx, NULL);
}

/* What another context would save of its own tuning, and what it has of this one's. */
static clgaze_status export(struct life *l)
{
    char file[CACHE_PATH];

    snprintf(file, sizeof file, "%s/export.tuning", self.folder);
    return clgaze_tuning_save(l->ctx, file);
}

static clgaze_status import(struct life *l)
{
    char file[CACHE_PATH];

    snprintf(file, sizeof file, "%s/export.tuning", self.folder);
    return clgaze_tuning_load(l->ctx, file);
}

/* That none can be listed for want of memory is said, and is no status. */
static clgaze_status list(struct life *l)
{
    clgaze_op op;
    clgaze_problem p;
    const size_t n = clgaze_tuning_misses(l->ctx, &op, &p, 1);

    return n || !told.errors ? CLGAZE_OK : told.status;
}

/* One record; the first life another one, too, which the later ones must not lose. */
static clgaze_status put(struct life *l)
{
    clgaze_status st = CLGAZE_OK;
    struct clg_record r;

    memset(&r, 0, sizeof r);
    r.device = clg_signature_of(&l->ctx->device);
    r.kernel = clg_kernel_find("attend");
    clg_space_default(r.kernel, r.values);
    r.us = 5;
    r.default_us = 10;
    r.origin = CLG_FROM_TUNER;
    for (int n = 8; n <= (self.lives == 1 ? 16 : 8) && st == CLGAZE_OK; n += 8) {
        snprintf(r.problem, sizeof r.problem, "f16 d64 b64 g1 n%dk", n);
        st = clg_records_put(l->ctx, l->ctx->records, &r);
    }
    return st;
}

static clgaze_status clear(struct life *l)
{
    return clgaze_tuning_clear(l->ctx);
}

typedef clgaze_status (*step_fn)(struct life *l);

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

static const struct life_step {
    const char *name;
    step_fn work;
} storing[] = {{"put", put},       {"save", save}, {"export", export}, {"clear", clear},
               {"import", import}, {"load", load}, {"list", list},     {NULL, NULL}},
  tuning[] = {{"tune", tune}, {"save", save}, {"clear", clear}, {"load", load}, {NULL, NULL}};

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
        return steps(l, tuning);
    if (!step(l, "cache", open_cache))
        return false;
    l->at = CALLS - 1;
    if (self.kind == STORE)
        return step(l, "plan", plan) && steps(l, storing);
    l->queue = clCreateCommandQueue(l->ctx->cl, l->ctx->device.id, 0, &err);
    for (l->at = self.kind == COLD; l->at < CALLS; l->at++) /* cold: one operation, it takes long */
        if (!step(l, "plan", plan) || !calls_right(l))
            return false;
    return true;
}

static bool ends(const char *name, const char *end)
{
    const size_t n = strlen(name), m = strlen(end);

    return n >= m && strcmp(name + n - m, end) == 0;
}

/* The files of a store hold what they held after the first life. */
static void same_text(const char *name)
{
    static struct {
        char name[128], text[1024];
    } first[4];
    char path[CACHE_PATH], text[sizeof first[0].text];
    size_t i = 0, n;
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", self.folder, name);
    f = fopen(path, "rb");
    n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    text[n] = '\0';
    if (f)
        fclose(f);
    while (i < CLG_COUNT(first) - 1 && first[i].name[0] && strcmp(first[i].name, name) != 0)
        i++;
    if (self.lives == 1) {
        snprintf(first[i].name, sizeof first[i].name, "%s", name);
        memcpy(first[i].text, text, sizeof text);
    } else if (strcmp(first[i].name, name) != 0 || strcmp(first[i].text, text) != 0) {
        wrong("store", name);
    }
}

/* A write that fails leaves the file as it was and nothing beside it. */
static void tidy_folder(void)
{
    DIR *dir = opendir(self.folder);
    int kept = 0;

    for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
        const bool text = ends(e->d_name, ".tuning") || ends(e->d_name, ".misses");

        if (text && self.kind == STORE)
            same_text(e->d_name);
        kept += text;
        if (!text && e->d_name[0] != '.' && !ends(e->d_name, ".bin") && !ends(e->d_name, ".lock") &&
            !ends(e->d_name, "journal")) {
            wrong("folder", e->d_name);
            unlinkat(dirfd(dir), e->d_name, 0);
        }
    }
    if (self.kind == STORE && kept != 3)
        wrong("store", "a file is missing");
    if (dir)
        closedir(dir);
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
    tidy_folder();
}

/* ---- every fault ------------------------------------------------------------------- */

static void fail_each(enum fault_call call, int times)
{
    const int stride = self.kind == TUNE && times > FIRST + SOME ? (times - FIRST) / SOME : 1;
    const char *share = getenv("CLGAZE_FAULT_SHARE");
    const int every = share && atoi(share) > 1 ? atoi(share) : 1;

    for (int n = 1; n <= times; n += n < FIRST ? 1 : stride)
        for (int c = 0; c < FAULT_CODES && fault_codes[call][c]; c++) {
            const int refused = self.refused;

            if (self.asked++ % every != 0)
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
