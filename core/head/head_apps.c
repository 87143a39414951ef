/* SPDX-License-Identifier: BSD-2-Clause */
#include "head/head_apps.h"

#include "base/mem.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/hosts_file.h"
#include "base/jsonx.h"
#include "base/str.h"

#define VERSION 1
#define MEMORY_MAX (INT64_C(1) << 50)
#define CPU_MAX INT64_C(1000000000)

struct head_apps {
    struct head_app *apps; /* in no order: there are few */
    size_t count, cap;
};

struct head_apps *head_apps_create(void)
{
    return mem_alloc(sizeof(struct head_apps));
}

void head_apps_destroy(struct head_apps *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->count; i++) {
        free(a->apps[i].name);
        free(a->apps[i].host);
    }
    free(a->apps);
    free(a);
}

size_t head_apps_count(const struct head_apps *a)
{
    return a->count;
}

static struct head_app *find(const struct head_apps *a, const char *name)
{
    for (size_t i = 0; i < a->count; i++)
        if (str_eq(a->apps[i].name, name))
            return &a->apps[i];
    return NULL;
}

const struct head_app *head_apps_find(const struct head_apps *a, const char *name)
{
    return find(a, name);
}

static void forget_oldest(struct head_apps *a)
{
    size_t oldest = 0;

    for (size_t i = 1; i < a->count; i++)
        if (a->apps[i].used_wall_ns < a->apps[oldest].used_wall_ns)
            oldest = i;
    free(a->apps[oldest].name);
    free(a->apps[oldest].host);
    a->apps[oldest] = a->apps[--a->count];
}

static struct head_app *find_or_add(struct head_apps *a, const char *name)
{
    struct head_app *app = find(a, name);

    if (app)
        return app;
    if (a->count == HEAD_APPS_MAX)
        forget_oldest(a);
    if (a->count == a->cap) {
        a->cap = a->cap ? a->cap * 2 : 16;
        a->apps = mem_resize(a->apps, a->cap, sizeof(*a->apps));
    }
    app = &a->apps[a->count++];
    *app = (struct head_app){ .name = mem_strdup(name) };
    return app;
}

void head_apps_ran(struct head_apps *a, const char *name, const char *host, int64_t wall_ns)
{
    struct head_app *app = find_or_add(a, name);

    if (!str_eq(app->host, host)) {
        free(app->host);
        app->host = mem_strdup(host);
    }
    app->used_wall_ns = wall_ns;
}

void head_apps_used(struct head_apps *a, const char *name, const struct choose_run *run,
                    int64_t wall_ns)
{
    struct head_app *app = find_or_add(a, name);

    choose_use_add(&app->use, run);
    app->used_wall_ns = wall_ns;
}

/* ---- as text ---- */

void head_apps_write(const struct head_apps *a, struct buf *out)
{
    struct jsonw w;

    jsonw_init(&w, out);
    jsonw_obj_open(&w, NULL);
    jsonw_int(&w, "version", VERSION);
    jsonw_arr_open(&w, "apps");
    for (size_t i = 0; i < a->count; i++) {
        const struct head_app *app = &a->apps[i];
        jsonw_obj_open(&w, NULL);
        jsonw_str(&w, "name", app->name);
        jsonw_str(&w, "host", app->host);
        jsonw_int(&w, "memory_bytes", app->use.memory);
        jsonw_int(&w, "cpu_milli", app->use.cpu_milli);
        jsonw_int(&w, "runs", app->use.runs);
        jsonw_time(&w, "used_at", app->used_wall_ns);
        jsonw_obj_close(&w);
    }
    jsonw_arr_close(&w);
    jsonw_obj_close(&w);
    buf_append_char(out, '\n');
}

static void read_app(struct head_apps *a, yyjson_val *o)
{
    const char *name = NULL, *host = NULL, *at = NULL;
    struct choose_use use = { 0 };
    int64_t used_ns = 0;

    if (jsonx_get_str(o, "", "name", HOSTS_NAME_MAX, &name, NULL) != 1 || !*name ||
        jsonx_get_str(o, "", "host", HOSTS_NAME_MAX, &host, NULL) < 0 ||
        jsonx_get_int(o, "", "memory_bytes", 0, MEMORY_MAX, &use.memory, NULL) < 0 ||
        jsonx_get_int(o, "", "cpu_milli", 0, CPU_MAX, &use.cpu_milli, NULL) < 0 ||
        jsonx_get_int(o, "", "runs", 0, INT64_MAX / 2, &use.runs, NULL) < 0 ||
        jsonx_get_str(o, "", "used_at", CLOCK_RFC3339_SIZE, &at, NULL) < 0)
        return;
    if (at && !clock_parse_rfc3339(at, &used_ns))
        return;
    struct head_app *app = find_or_add(a, name);
    free(app->host);
    app->host = mem_strdup(host);
    app->use = use;
    app->used_wall_ns = used_ns;
}

static int read_root(struct head_apps *a, yyjson_val *root, struct err *err)
{
    int64_t version = 0;
    yyjson_val *list = NULL;

    if (jsonx_get_int(root, "", "version", 1, INT64_MAX, &version, NULL) != 1)
        return err_set(err, ERR_CORRUPT, "there is no version in it");
    if (version > VERSION)
        return err_set(err, ERR_VERSION, "it was written by a newer hive");
    if (jsonx_get_array(root, "", "apps", SIZE_MAX, &list, NULL) != 1)
        return err_set(err, ERR_CORRUPT, "there is no list of applications in it");
    yyjson_arr_iter it = yyjson_arr_iter_with(list);
    for (yyjson_val *o; (o = yyjson_arr_iter_next(&it)) != NULL;)
        read_app(a, o);
    return 0;
}

int head_apps_read(struct head_apps *a, const char *text, size_t len, struct err *err)
{
    struct err why = ERR_INIT;

    if (len > HEAD_APPS_TEXT_MAX)
        return err_set(err, ERR_TOO_LARGE, "it is larger than 4 MiB");
    yyjson_doc *doc = jsonx_parse(text, len, &why);
    if (!doc)
        return err_set(err, ERR_CORRUPT, "%s", why.msg);
    int rc = read_root(a, yyjson_doc_get_root(doc), err);
    yyjson_doc_free(doc);
    return rc;
}
