/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoint.c: the safetensors files of a model.
 */
#include "model.h"

#include "fail.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Open one file; `names` are those of the files before it. */
static int add(const char *dir, const char *name, struct checkpoint *c)
{
    char path[1024], why[ST_WHY];
    if (c->n == MAX_SHARDS)
        return fail(EXIT_INPUT, "%s has more than %d shards", dir, MAX_SHARDS);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (st_open(path, &c->files[c->n], why, sizeof why))
        return fail(EXIT_INPUT, "%s: %s", path, why);
    c->n++;
    return 0;
}

static int shards_open(const char *dir, const cJSON *map, struct checkpoint *c)
{
    const char *names[MAX_SHARDS] = {NULL};
    const cJSON *item;
    cJSON_ArrayForEach(item, map)
    {
        const char *name = cJSON_GetStringValue(item);
        int known = 0, code;
        if (!name || strchr(name, '/'))
            return fail(EXIT_INPUT, "%s/model.safetensors.index.json: the shard of \"%.80s\" is no file's name", dir,
                        item->string);
        for (int i = 0; i < c->n; i++)
            known |= names[i] && strcmp(names[i], name) == 0;
        if (known)
            continue;
        if ((code = add(dir, name, c)))
            return code;
        names[c->n - 1] = name;
    }
    return c->n ? 0 : fail(EXIT_INPUT, "%s/model.safetensors.index.json: weight_map names no shard", dir);
}

static int exists(const char *dir, const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

int checkpoint_open(const char *dir, struct checkpoint *c)
{
    char path[1024];
    memset(c, 0, sizeof *c);
    if (!exists(dir, "model.safetensors.index.json")) {
        if (!exists(dir, "model.safetensors") &&
            (exists(dir, "pytorch_model.bin") || exists(dir, "pytorch_model.bin.index.json")))
            return fail(EXIT_INPUT, "%s holds pytorch_model.bin, which is not read; save it as safetensors", dir);
        return add(dir, "model.safetensors", c);
    }
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", dir);
    char *text = text_read(path);
    if (!text)
        return EXIT_INPUT;
    cJSON *root = cJSON_Parse(text);
    const cJSON *map = cJSON_GetObjectItemCaseSensitive(root, "weight_map");
    free(text);
    int code = cJSON_IsObject(map) ? shards_open(dir, map, c) : fail(EXIT_INPUT, "%s: it has no weight_map", path);
    cJSON_Delete(root);
    return code;
}

void checkpoint_close(struct checkpoint *c)
{
    for (int i = 0; i < c->n; i++)
        st_close(c->files[i]);
    c->n = 0;
}

const st_tensor *checkpoint_find(const struct checkpoint *c, const char *name)
{
    const st_tensor *t = NULL;
    for (int i = 0; i < c->n && !t; i++)
        t = st_find(c->files[i], name);
    return t;
}
