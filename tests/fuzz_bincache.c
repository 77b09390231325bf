/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_bincache.c: any bytes as a file of the binary cache.  The first byte says
 * whether the header is as it comes or made right for the rest.  Only a file whose
 * key, length and checksum agree may reach the driver, and all of its binary then.
 */
#include "fuzz_host.h"

enum { HEADER = 32 };
static const uint64_t KEY = 0x0123456789abcdefull;
static const uint8_t *body;
static size_t body_size;
static int taken;

/* Stands before the driver's, which is not to see what fuzzing makes. */
cl_program clCreateProgramWithBinary(cl_context context, cl_uint n, const cl_device_id *devices, const size_t *sizes,
                                     const unsigned char **binaries, cl_int *status, cl_int *err)
{
    (void)context, (void)n, (void)devices;
    taken = 1;
    if (sizes[0] != body_size || memcmp(binaries[0], body, body_size) != 0)
        abort(); /* something else than the file holds */
    *status = *err = CL_INVALID_BINARY;
    return NULL;
}

static void put(uint8_t *to, uint64_t x)
{
    memcpy(to, &x, sizeof x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    clgaze_context ctx = {FUZZ_HOST, .cache_dir = fuzz_folder};
    const bool made = size && (data[0] & 1);
    cl_program program = NULL;
    const char *path;
    char name[32];
    uint8_t *file;
    size_t n;

    body = size ? data + 1 : data;
    body_size = size ? size - 1 : 0;
    n = body_size + (made ? HEADER : 0);
    file = malloc(n + 1);
    if (!file)
        return 0;
    memcpy(file + (made ? HEADER : 0), body, body_size);
    if (made) {
        memcpy(file, "clgaze1", 8);
        put(file + 8, KEY);
        put(file + 16, body_size);
        put(file + 24, clg_hash(CLG_HASH_SEED, body, body_size));
    } else if (body_size > HEADER) {
        body += HEADER;
        body_size -= HEADER;
    }
    snprintf(name, sizeof name, "%016llx.bin", (unsigned long long)KEY);
    path = fuzz_file(name, file, n);
    taken = 0;
    if (clg_bincache_load(&ctx, KEY, &program, ""))
        abort();
    if (taken != (made && body_size > 0) && !(taken && !made && memcmp(file, "clgaze1", 8) == 0))
        abort(); /* a right file was refused, or a wrong one taken */
    if (access(path, F_OK) == 0)
        abort(); /* what is not usable goes */
    free(file);
    return 0;
}
