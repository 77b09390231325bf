/*
 * llama_run.c: the program clgaze-llama in a folder with a tiny model and a text.
 *
 * Environment: CLGAZE_LLAMA, the program; without it all is skipped.
 */
#include "llama_run.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

char llama_folder[512], llama_out[1 << 14], llama_err[1 << 13];
uint16_t llama_tokens[LLAMA_TEXT];

static void slurp(const char *name, char *text, size_t capacity)
{
    char path[768];

    snprintf(path, sizeof path, "%s/%s", llama_folder, name);
    FILE *in = fopen(path, "rb");
    const size_t n = in ? fread(text, 1, capacity - 1, in) : 0;
    text[n] = '\0';
    if (in)
        fclose(in);
}

void llama_text(int n)
{
    char path[768];

    snprintf(path, sizeof path, "%s/text.u16", llama_folder);
    FILE *to = fopen(path, "wb");
    assert_non_null(to);
    for (int i = 0; i < n; i++) {
        fputc(llama_tokens[i] & 255, to);
        fputc(llama_tokens[i] >> 8, to);
    }
    assert_int_equal(fclose(to), 0);
}

int llama_shell(const char *script)
{
    char command[8192];
    const char *program = getenv("CLGAZE_LLAMA"), *device = getenv("CLGAZE_TEST_DEVICE");

    if (!program)
        skip();
    snprintf(command, sizeof command,
             "cd '%s' && p() { exec '%s' --model . --tokens text.u16 %s%s%s \"$@\"; } && { %s; } >out 2>err",
             llama_folder, program, device ? "--device '" : "", device ? device : "", device ? "'" : "", script);
    const int status = system(command);
    slurp("out", llama_out, sizeof llama_out);
    slurp("err", llama_err, sizeof llama_err);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 3 && strstr(llama_err, "no OpenCL device"))
        skip();
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int llama_run(const char *arguments)
{
    char script[6144]; /* a path may be long */

    snprintf(script, sizeof script, "p %s", arguments);
    return llama_shell(script);
}

st_file *llama_file(const char *name)
{
    char path[768], why[ST_WHY];
    st_file *file;

    snprintf(path, sizeof path, "%s/%s", llama_folder, name);
    if (st_open(path, &file, why, sizeof why))
        fail_msg("%s: %s", name, why);
    return file;
}

void llama_refused(const char *arguments, const char *words)
{
    const int code = llama_run(arguments);
    const char *end = strchr(llama_err, '\n');

    if (code != 2)
        fail_msg("%s: exit %d, not 2: %s", words, code, llama_err);
    if (!end || end[1] || strncmp(llama_err, "clgaze-llama: ", 14) != 0)
        fail_msg("%s: not one sentence: %s", words, llama_err);
    if (*llama_out)
        fail_msg("%s: standard output holds \"%.60s\"", words, llama_out);
    assert_says(words, llama_err, words);
}

double llama_perplexity(const char *arguments, double *density)
{
    char with_json[512];

    snprintf(with_json, sizeof with_json, LLAMA_PPL "--json %s", arguments);
    const int code = llama_run(with_json);
    if (code)
        fail_msg("%s: exit %d: %s", arguments, code, llama_err);
    cJSON *root = cJSON_Parse(llama_out);
    assert_non_null(root);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(root, "per_sequence")), LLAMA_COUNT);
    const cJSON *p = cJSON_GetObjectItem(root, "perplexity"), *d = cJSON_GetObjectItem(root, "density");
    assert_true(cJSON_IsNumber(p) && cJSON_IsNumber(d));
    const double answer = p->valuedouble;
    *density = d->valuedouble;
    cJSON_Delete(root);
    return answer;
}

void llama_model(struct tiny_model *m, const struct tiny_kind *kind)
{
    llama_text(LLAMA_NEED);
    tiny_make(m, kind);
    tiny_write(m, llama_folder);
}

int llama_tests(const struct CMUnitTest *tests, size_t n)
{
    struct rng rng = seeded(3);
    char top[] = "/tmp/clgaze-llama-XXXXXX", command[640];

    for (int i = 0; i < LLAMA_TEXT; i++)
        llama_tokens[i] = (uint16_t)below(&rng, TINY_VOCAB);
    if (!mkdtemp(top))
        return 1;
    snprintf(llama_folder, sizeof llama_folder, "%s/model", top);
    if (mkdir(llama_folder, 0777))
        return 1;
    const int failed = _cmocka_run_group_tests("clgaze-llama", tests, n, NULL, NULL);
    snprintf(command, sizeof command, "rm -r '%s'", top);
    return system(command) || failed;
}
