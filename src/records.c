/* SPDX-License-Identifier: Apache-2.0 */
/*
 * records.c: what is known to be quick, in memory: adding, finding, writing as text.
 */
#include "records.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* ---- devices ---------------------------------------------------------------- */

/* A text as the store writes it: no quotes, controls or, in a word, spaces. */
static void clean(const char *from, bool word, char *to, size_t size)
{
    size_t n = 0;

    for (; *from && n + 1 < size; from++) {
        const unsigned char c = (unsigned char)*from;
        const bool plain = isalnum(c) || strchr("._+-", c) != NULL;

        to[n++] = plain || (!word && isprint(c) && c != '"' && c != '\\') ? *from : '_';
    }
    to[n] = '\0';
}

static const char *vendor_word(const struct clg_device *device)
{
    static const char *const words[][2] = {{"NVIDIA", "nvidia"},    {"Advanced Micro", "amd"}, {"AMD", "amd"},
                                           {"Intel", "intel"},      {"Apple", "apple"},        {"ARM", "arm"},
                                           {"QUALCOMM", "qualcomm"}};

    if (device->pocl)
        return "pocl";
    if (device->rusticl)
        return "mesa";
    for (size_t i = 0; i < CLG_COUNT(words); i++)
        if (strstr(device->vendor, words[i][0]))
            return words[i][1];
    return "other";
}

/* Where a device is in its machine: on the PCI bus, as cl_khr_pci_bus_info or NVIDIA's attributes
 * say, else its number on its platform. The first number says which of them it is. */
static void place_of(cl_device_id id, cl_uint at[5])
{
    enum { PCI_KHR = 0x410F, BUS_NV = 0x4008, SLOT_NV = 0x4009, DOMAIN_NV = 0x400A };
    cl_device_id all[64];
    cl_platform_id platform;
    cl_uint n = 0;

    memset(at, 0, 5 * sizeof *at);
    at[0] = 1;
    if (clGetDeviceInfo(id, PCI_KHR, 4 * sizeof *at, at + 1, NULL) == CL_SUCCESS)
        return;
    at[0] = 2;
    if (clGetDeviceInfo(id, BUS_NV, sizeof *at, at + 1, NULL) == CL_SUCCESS &&
        clGetDeviceInfo(id, SLOT_NV, sizeof *at, at + 2, NULL) == CL_SUCCESS) {
        clGetDeviceInfo(id, DOMAIN_NV, sizeof *at, at + 3, NULL);
        return;
    }
    memset(at, 0, 5 * sizeof *at);
    if (clGetDeviceInfo(id, CL_DEVICE_PLATFORM, sizeof platform, &platform, NULL) == CL_SUCCESS &&
        clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 64, all, &n) == CL_SUCCESS)
        while (at[1] < n && at[1] < 64 && all[at[1]] != id)
            at[1]++;
}

void clg_make_uuid(const struct clg_device *device, const cl_uint place[5], unsigned char id[16])
{
    uint64_t hash = clg_hash(CLG_HASH_SEED, device->name, strlen(device->name));

    hash = clg_hash(hash, device->vendor, strlen(device->vendor));
    hash = clg_hash(hash, place, 5 * sizeof *place);
    memcpy(id, &hash, 8);
    hash = clg_hash(hash, device->platform, strlen(device->platform));
    memcpy(id + 8, &hash, 8);
}

/* 16 bytes that tell a machine's cards apart: the driver's UUID, else a hash of name and place. */
static void uuid_of(const struct clg_device *device, char text[33])
{
    enum { UUID = 0x106A };
    unsigned char id[16];

    if (clGetDeviceInfo(device->id, UUID, sizeof id, id, NULL) != CL_SUCCESS) {
        cl_uint place[5];

        place_of(device->id, place);
        clg_make_uuid(device, place, id);
    }
    for (int i = 0; i < 16; i++) {
        text[2 * i] = "0123456789abcdef"[id[i] >> 4];
        text[2 * i + 1] = "0123456789abcdef"[id[i] & 15];
    }
    text[32] = '\0';
}

struct clg_signature clg_signature_of(const struct clg_device *device)
{
    struct clg_signature s;

    memset(&s, 0, sizeof s);
    clean(device->name, false, s.name, sizeof s.name);
    clean(vendor_word(device), true, s.vendor, sizeof s.vendor);
    clean(device->driver, true, s.driver, sizeof s.driver);
    s.compute_units = (unsigned)device->compute_units;
    s.cpu = device->cpu;
    uuid_of(device, s.uuid);
    return s;
}

static bool same_device(const struct clg_signature *a, const struct clg_signature *b)
{
    if (a->uuid[0] && b->uuid[0])
        return strcmp(a->uuid, b->uuid) == 0;
    return strcmp(a->name, b->name) == 0 && strcmp(a->vendor, b->vendor) == 0 &&
           a->compute_units == b->compute_units && a->cpu == b->cpu;
}

/* ---- problems ----------------------------------------------------------------- */

/* The length class at the end of a problem, " n32k", as a power of two, and where it begins;
 * -1: there is none, as in " n3k", which belongs to the problem then. */
static int length_class(const char *problem, size_t *before)
{
    const char *at = strrchr(problem, ' ');
    unsigned long n = 0;
    char *end = NULL;
    int power;

    *before = strlen(problem);
    if (at && at[1] == 'n' && isdigit((unsigned char)at[2]))
        n = strtoul(at + 2, &end, 10);
    if (!n || (n & (n - 1)) != 0 || end[*end == 'k'] != '\0')
        return -1;
    for (power = *end == 'k' ? 10 : 0; n > 1; n /= 2)
        power++;
    if (power > 30) /* lengths are of type int */
        return -1;
    *before = (size_t)(at - problem);
    return power;
}

/* Doublings between the lengths of two problems that are equal otherwise; -1: they are not. */
static int apart(const char *a, const char *b)
{
    size_t na, nb;
    const int x = length_class(a, &na), y = length_class(b, &nb);

    if (na != nb || strncmp(a, b, na) != 0 || (x < 0) != (y < 0))
        return -1;
    return abs(x - y);
}

/* ---- the records ---------------------------------------------------------------- */

static bool replaces(const struct clg_record *a, const struct clg_record *b)
{
    return same_device(&a->device, &b->device) && strcmp(a->kernel->op, b->kernel->op) == 0 &&
           strcmp(a->problem, b->problem) == 0;
}

static clgaze_status put(clgaze_context *ctx, struct clg_records *records, const struct clg_record *record)
{
    clgaze_status st = CLGAZE_OK;

    for (size_t i = 0; i < records->n; i++)
        if (replaces(&records->at[i], record)) {
            if (record->origin >= records->at[i].origin)
                records->at[i] = *record;
            return CLGAZE_OK;
        }
    if (records->n == records->room) {
        const size_t room = records->room ? 2 * records->room : 32;
        struct clg_record *more = clg_alloc(ctx, room * sizeof *more);

        NEED(more, CLGAZE_ERR_NO_MEMORY, "no memory for %zu tuned records", room);
        if (records->n)
            memcpy(more, records->at, records->n * sizeof *more);
        clg_release(ctx, records->at);
        records->at = more;
        records->room = room;
    }
    records->at[records->n++] = *record;
out:
    return st;
}

clgaze_status clg_records_put(clgaze_context *ctx, struct clg_records *records, const struct clg_record *record)
{
    clgaze_status st;

    pthread_mutex_lock(&records->lock);
    st = put(ctx, records, record);
    pthread_mutex_unlock(&records->lock);
    return st;
}

clgaze_status clg_records_copy(clgaze_context *ctx, struct clg_records *from, enum clg_origin origin,
                               const struct clg_signature *device, struct clg_records *to)
{
    clgaze_status st = CLGAZE_OK;

    pthread_mutex_lock(&from->lock);
    for (size_t i = 0; i < from->n && st == CLGAZE_OK; i++)
        if (from->at[i].origin >= origin && (!device || same_device(&from->at[i].device, device)))
            st = clg_records_put(ctx, to, &from->at[i]);
    pthread_mutex_unlock(&from->lock);
    return st;
}

void clg_records_forget(struct clg_records *records, enum clg_origin from)
{
    size_t kept = 0;

    pthread_mutex_lock(&records->lock);
    for (size_t i = 0; i < records->n; i++)
        if (records->at[i].origin < from)
            records->at[kept++] = records->at[i];
    records->n = kept;
    pthread_mutex_unlock(&records->lock);
}

/* How near a record is (see the header); more than 4: it says nothing here. */
static int nearness_of(const struct clg_record *r, const struct clg_signature *here, const char *problem)
{
    const bool same = same_device(&r->device, here);

    if (same && strcmp(r->problem, problem) == 0)
        return strcmp(r->device.driver, here->driver) == 0 ? 0 : 1;
    if (apart(r->problem, problem) < 0 || r->device.cpu != here->cpu)
        return 5;
    if (same)
        return 2;
    if (strcmp(r->device.vendor, here->vendor) == 0)
        return 3;
    return strcmp(r->device.vendor, "generic") == 0 ? 4 : 5;
}

/* Of two records equally near: a device of this name, then the nearer length, then the later origin. */
static bool better(const struct clg_record *a, const struct clg_record *b, const struct clg_signature *here,
                   const char *problem)
{
    const int by_name = (strcmp(a->device.name, here->name) == 0) - (strcmp(b->device.name, here->name) == 0);
    const int by_length = apart(b->problem, problem) - apart(a->problem, problem);

    if (by_name || by_length)
        return by_name ? by_name > 0 : by_length > 0;
    return a->origin > b->origin;
}

bool clg_records_find(struct clg_records *records, const struct clg_device *device, const char *op,
                      const char *problem, int nearness, struct clg_record *found)
{
    const struct clg_signature here = clg_signature_of(device);
    const struct clg_record *best = NULL;

    pthread_mutex_lock(&records->lock);
    for (size_t i = 0; i < records->n; i++) {
        const struct clg_record *r = &records->at[i];

        if (strcmp(r->kernel->op, op) == 0 && nearness_of(r, &here, problem) == nearness &&
            (!best || better(r, best, &here, problem)))
            best = r;
    }
    if (best)
        *found = *best;
    pthread_mutex_unlock(&records->lock);
    return best != NULL;
}

/* ---- as text ------------------------------------------------------------------- */

static int place(const struct clg_kernel *kernel)
{
    int i = 0;

    while (clg_kernels[i] && strcmp(clg_kernels[i]->op, kernel->op) != 0)
        i++;
    return i;
}

static int compare_devices(const struct clg_signature *a, const struct clg_signature *b)
{
    int order = strcmp(a->name, b->name);

    order = order ? order : strcmp(a->uuid, b->uuid);
    order = order ? order : strcmp(a->driver, b->driver);
    order = order ? order : strcmp(a->vendor, b->vendor);
    order = order ? order : (a->compute_units > b->compute_units) - (a->compute_units < b->compute_units);
    return order ? order : a->cpu - b->cpu;
}

static int in_order(const void *x, const void *y)
{
    const struct clg_record *a = x, *b = y;
    int order = compare_devices(&a->device, &b->device);

    order = order ? order : place(a->kernel) - place(b->kernel);
    return order ? order : strcmp(a->problem, b->problem);
}

static void print_device(const struct clg_signature *s, struct clg_text *text)
{
    clg_put(text, "device \"%s\" vendor=%s driver=%s cu=%u type=%s", s->name, s->vendor, s->driver, s->compute_units,
            s->cpu ? "cpu" : "gpu");
    clg_put(text, "%s%s\n", s->uuid[0] ? " uuid=" : "", s->uuid);
}

/* Without printf's %f: an app's locale may write a comma. */
static void print_time(double us, struct clg_text *text)
{
    const unsigned long long tenths = us > 0.1 ? (unsigned long long)(us * 10 + 0.5) : 1;

    clg_put(text, " %llu.%llu", tenths / 10, tenths % 10);
}

static void print_record(const struct clg_record *r, struct clg_text *text)
{
    const struct clg_param *space = r->kernel->space;
    char note[sizeof r->note];

    clg_put(text, "%s %s \"%s\" %08llx", r->kernel->op, r->kernel->name, r->problem,
            (unsigned long long)(clg_space_id(r->kernel) & 0xffffffffu));
    if (r->untried) {
        clg_put(text, " - -");
    } else {
        print_time(r->us, text);
        print_time(r->default_us, text);
    }
    clean(r->note, false, note, sizeof note);
    clg_put(text, note[0] ? " %s \"%s\"" : " %s", r->untried ? "untried" : r->finished ? "done" : "part", note);
    for (int i = 0; space && space[i].name; i++)
        clg_put(text, " %s=%d", space[i].name, r->values[i]);
    clg_put(text, "\n");
}

void clg_records_print(struct clg_records *records, enum clg_origin from, struct clg_text *text)
{
    const struct clg_signature *last = NULL;

    pthread_mutex_lock(&records->lock);
    if (records->n)
        qsort(records->at, records->n, sizeof *records->at, in_order);
    clg_put(text, "clgaze-tuning 1\n");
    for (size_t i = 0; i < records->n; i++) {
        const struct clg_record *r = &records->at[i];

        if (r->origin < from)
            continue;
        if (!last || compare_devices(last, &r->device) != 0)
            print_device(&r->device, text);
        last = &r->device;
        print_record(r, text);
    }
    pthread_mutex_unlock(&records->lock);
}
