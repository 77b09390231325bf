/* SPDX-License-Identifier: Apache-2.0 */
/*
 * folder.c: a trained model as a folder in the Hugging Face layout.
 */
#define _XOPEN_SOURCE 700 /* realpath() */
#include "folder.h"

#include "fail.h"
#include "plot.h"
#include "posix.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <string.h>

enum { PATH = 4096, LONGEST = sizeof "/special_tokens_map.json.new" };

static const char new_name[] = ".new";

int folder_path(const char *dir, const char *name, char *path, size_t capacity)
{
    return (size_t)snprintf(path, capacity, "%s/%s", dir, name) < capacity
               ? 0
               : fail(EXIT_INPUT, "--out or --model is longer than a path may be");
}

/* ---- what --out may be ---- */

/* Where a path that may not be there yet leads: that of the nearest folder above it that is. */
static int real(const char *path, char *to)
{
    char above[PATH];
    snprintf(above, sizeof above, "%s", path);
    while (!realpath(above, to)) {
        char *slash = strrchr(above, '/');
        if (errno != ENOENT || !slash || slash == above)
            return realpath(slash ? "/" : ".", to) ? 0 : -1;
        *slash = 0;
    }
    return 0;
}

int folder_check(const struct command *c)
{
    char model[PATH], out[PATH]; /* realpath() needs as many */
    if (strlen(c->out) + LONGEST > PATH)
        return fail(EXIT_INPUT, "--out is longer than a path may be");
    if (realpath(c->model, model) && real(c->out, out) == 0) {
        const size_t deep = strlen(model);
        if (strncmp(model, out, deep) == 0 && (!out[deep] || out[deep] == '/'))
            return fail(EXIT_INPUT, "--out %s is the folder of --model, or in it", c->out);
    }
    if (access(c->out, F_OK) == 0 && !c->force && !c->resume)
        return fail(EXIT_INPUT,
                    "--out %s exists; --force overwrites the model in it, --resume goes on from its checkpoint",
                    c->out);
    return 0;
}

int folder_make(const struct command *c, int *made)
{
    struct stat info;
    *made = mkdir(c->out, 0777) == 0;
    if (*made || (errno == EEXIST && stat(c->out, &info) == 0 && S_ISDIR(info.st_mode)))
        return 0;
    return fail(EXIT_INPUT, "--out %s cannot be made: %s", c->out, strerror(errno));
}

/* ---- files ---- */

static int bytes_write(const char *path, const void *bytes, size_t n)
{
    FILE *out = fopen(path, "wb");
    int bad = !out || fwrite(bytes, 1, n, out) != n || fflush(out) != 0 || fsync(fileno(out)) != 0;
    const int kept = errno;
    bad |= out && fclose(out) != 0;
    return bad ? fail(EXIT_INPUT, "%s cannot be written: %s", path, strerror(kept)) : 0;
}

/* A file of the model, if it has it. */
static int copy(const char *from, const char *to)
{
    FILE *in = fopen(from, "rb");
    int code = 0;
    if (!in)
        return errno == ENOENT ? 0 : fail(EXIT_INPUT, "%s cannot be read: %s", from, strerror(errno));
    const long size = fseek(in, 0, SEEK_END) == 0 ? ftell(in) : -1;
    char *bytes = size >= 0 && fseek(in, 0, SEEK_SET) == 0 ? malloc((size_t)size + 1) : NULL;
    if (!bytes || fread(bytes, 1, (size_t)size, in) != (size_t)size)
        code = fail(EXIT_INPUT, "%s cannot be read", from);
    fclose(in);
    if (!code)
        code = bytes_write(to, bytes, (size_t)size);
    free(bytes);
    return code;
}

/* ---- config.json ---- */

/* As a real number even where it is whole: that is what transformers expects of a factor. */
static void add_real(cJSON *object, const char *key, double x)
{
    char text[40];
    snprintf(text, sizeof text, floor(x) == x ? "%.1f" : "%.17g", x);
    cJSON_DeleteItemFromObjectCaseSensitive(object, key);
    cJSON_AddRawToObject(object, key, text);
}

static void stretch(cJSON *root, const struct config *config)
{
    cJSON *rope = cJSON_GetObjectItemCaseSensitive(root, "rope_parameters"), *longest;
    if (!cJSON_IsObject(rope)) {
        cJSON_DeleteItemFromObjectCaseSensitive(root, "rope_scaling");
        rope = cJSON_AddObjectToObject(root, "rope_scaling");
    }
    cJSON_DeleteItemFromObjectCaseSensitive(rope, "type");
    cJSON_DeleteItemFromObjectCaseSensitive(rope, "rope_type");
    cJSON_DeleteItemFromObjectCaseSensitive(rope, "original_max_position_embeddings");
    cJSON_AddStringToObject(rope, "rope_type", "yarn");
    add_real(rope, "factor", config->rope.factor);
    cJSON_AddNumberToObject(rope, "original_max_position_embeddings", config->rope.original);
    longest = cJSON_GetObjectItemCaseSensitive(root, "max_position_embeddings");
    cJSON_SetNumberValue(longest, config->longest);
}

static int config_write(const struct run *r, const char *from, const char *to)
{
    char *text = text_read(from);
    cJSON *root = text ? cJSON_Parse(text) : NULL;
    free(text);
    if (root && r->command->rope_scaling)
        stretch(root, &r->config);
    text = root ? cJSON_Print(root) : NULL;
    cJSON_Delete(root);
    const int code = text ? bytes_write(to, text, strlen(text)) : fail(EXIT_INPUT, "%s cannot be read again", from);
    cJSON_free(text);
    return code;
}

/* ---- model.safetensors ---- */

/* One array in the type of the model's file; t->name and t->data are the caller's. */
static int take(struct run *r, size_t i, char *name, st_tensor *t)
{
    cl_mem room = r->backward.forward.buffers[B_ROOM];
    struct parameter a;
    model_parameter(&r->model, i, &a);
    const cl_int type = weight_type(r->dtypes[i]);
    snprintf(name, sizeof a.name, "%s", a.name);
    *t = (st_tensor){
        .name = name, .dtype = r->dtypes[i], .rank = a.cols ? 2 : 1, .shape = {(int64_t)a.rows, (int64_t)a.cols}};
    st_size(t->dtype, t->rank, t->shape, &t->elements, &t->bytes);
    void *data = malloc(t->bytes + 1);
    t->data = data;
    int code = data ? 0 : fail(EXIT_INPUT, "there is no memory for tensor %s", name);
    if (!code && type)
        code = narrow(&r->machine, a.buffer, a.n, type, 1, room);
    if (!code)
        code = buffer_read(&r->machine, type ? room : a.buffer, t->bytes, data);
    return code ? code : tensor_finite(t);
}

static int weights_write(struct run *r, const char *path)
{
    const st_pair pairs[] = {{"format", "pt"}}; /* transformers asks for it */
    char why[ST_WHY];
    struct parameter a;
    size_t n = 0;
    while (model_parameter(&r->model, n, &a))
        n++;
    st_tensor *tensors = calloc(n + 1, sizeof *tensors);
    char(*names)[sizeof a.name] = calloc(n + 1, sizeof *names);
    int code = tensors && names ? 0 : fail(EXIT_INPUT, "there is no memory for %zu tensors", n);
    for (size_t i = 0; tensors && names && i < n && !code; i++)
        code = take(r, i, names[i], &tensors[i]);
    if (!code && st_write(path, tensors, n, pairs, 1, why, sizeof why))
        code = fail(EXIT_INPUT, "%s: %s", path, why);
    for (size_t i = 0; tensors && i < n; i++)
        free((void *)(uintptr_t)tensors[i].data);
    free(tensors);
    free(names);
    return code;
}

/* ---- all of them ---- */

/* config.json comes last: a folder without it is no model yet. */
static const struct file {
    const char *name;
    enum { WEIGHTS, COPIED, GATES, CURVE, CONFIG } kind;
} files[] = {
    {"model.safetensors", WEIGHTS},
    {"tokenizer.json", COPIED},
    {"tokenizer_config.json", COPIED},
    {"special_tokens_map.json", COPIED},
    {"added_tokens.json", COPIED},
    {"tokenizer.model", COPIED},
    {"vocab.json", COPIED},
    {"merges.txt", COPIED},
    {"chat_template.jinja", COPIED},
    {"generation_config.json", COPIED},
    {"gates.safetensors", GATES},
    {"loss.svg", CURVE},
    {"config.json", CONFIG},
};

static int write_one(struct run *r, const struct file *f, const char *to, const float *losses, size_t n)
{
    char from[PATH];
    int code = folder_path(r->command->model, f->name, from, sizeof from);
    if (code)
        return code;
    switch (f->kind) {
    case WEIGHTS:
        return weights_write(r, to);
    case COPIED:
        return copy(from, to);
    case GATES:
        return r->teach.layers
                   ? learners_write(to, r->teach.learners, (size_t)r->teach.layers, &r->teach.problem, 0, 0)
                   : 0;
    case CURVE:
        return plot_losses(to, "loss", losses, n);
    case CONFIG:
    default:
        return config_write(r, from, to);
    }
}

/* Its place, and where it is made. */
static void places(const char *dir, const struct file *f, char place[PATH], char made[PATH + sizeof new_name])
{
    folder_path(dir, f->name, place, PATH);
    snprintf(made, PATH + sizeof new_name, "%s%s", place, new_name);
}

int folder_write(struct run *r, const float *losses, size_t n)
{
    char place[PATH], made[PATH + sizeof new_name];
    int code = 0;
    for (size_t i = 0; i < CLG_COUNT(files) && !code; i++) {
        places(r->command->out, &files[i], place, made);
        code = write_one(r, &files[i], made, losses, n);
    }
    if (!code && folder_path(r->command->out, "model.safetensors.index.json", place, sizeof place) == 0)
        remove(place); /* of an older model of several files */
    for (size_t i = 0; i < CLG_COUNT(files); i++) {
        places(r->command->out, &files[i], place, made);
        if (code)
            remove(made);
        else if (rename(made, place) != 0 && errno != ENOENT)
            code = fail(EXIT_INPUT, "%s cannot be written: %s", place, strerror(errno));
    }
    return code;
}
