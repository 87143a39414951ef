/* SPDX-License-Identifier: BSD-2-Clause */
/* `hive hosts add`, `remove`, `list` and `import`: which hosts are nodes. */
#include "base/mem.h"

#include "cmd/cmd.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/hosts_file.h"
#include "base/jsonx.h"
#include "base/str.h"
#include "cmd/client.h"
#include "cmd/hosts.h"
#include "cmd/job_view.h"
#include "cmd/table.h"

#include <inttypes.h>
#include <time.h>
#include <unistd.h>

#define LOOK_NS (200 * NS_PER_MS)
#define ADD_TIMEOUT_NS (60 * NS_PER_S)

static void node_path(struct buf *b, const char *name, const char *what)
{
    buf_append_str(b, "/api/v1/nodes/");
    for (const char *p = name; *p; p++)
        if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
            strchr("-._~", *p))
            buf_append_char(b, *p);
        else
            buf_printf(b, "%%%02X", (unsigned char)*p);
    if (what)
        buf_printf(b, "/%s", what);
}

/* The first of an answer's nodes, or NULL. */
static yyjson_val *first_node(yyjson_doc *doc)
{
    return yyjson_arr_get_first(yyjson_obj_get(yyjson_doc_get_root(doc), "nodes"));
}

/* ---- add ---- */

static yyjson_doc *call_node(struct client *c, const char *method, const char *name,
                             struct err *err)
{
    struct buf path = BUF_INIT;

    node_path(&path, name, NULL);
    struct client_request r = { .method = method, .path = buf_data(&path) };
    yyjson_doc *doc = client_call_json(c, &r, err);
    buf_fini(&path);
    return doc;
}

static yyjson_doc *post_node(struct client *c, const struct hosts_args *a, const char *name,
                             const char *host, struct err *err)
{
    struct buf body = BUF_INIT;
    struct jsonw w;

    jsonw_init(&w, &body);
    jsonw_obj_open(&w, NULL);
    jsonw_str(&w, "name", name);
    jsonw_str(&w, "host", host);
    jsonw_bool(&w, "any", a->any);
    jsonw_int(&w, "threads", a->threads);
    jsonw_int(&w, "memory", a->memory);
    jsonw_obj_close(&w);
    struct client_request r = { .method = "POST", .path = "/api/v1/nodes", .body = &body };
    yyjson_doc *doc = client_call_json(c, &r, err);
    buf_fini(&body);
    return doc;
}

/* One line that is written over, on a terminal alone. */
static void show_progress(const char *name, const char *text)
{
    struct buf b = BUF_INIT;

    if (!isatty(STDERR_FILENO))
        return;
    buf_append_str(&b, "\r\033[K");
    if (*text) {
        str_append_safe(&b, name, SIZE_MAX);
        buf_append_str(&b, ": ");
        str_append_safe(&b, text, SIZE_MAX);
    }
    hosts_say(&b);
    buf_fini(&b);
}

static void put_up(struct buf *b, yyjson_val *node)
{
    const char *arch = view_str(node, "arch"), *os = view_str(node, "os");

    str_append_safe(b, view_str(node, "name"), SIZE_MAX);
    buf_printf(b, " is up: %" PRId64 " threads, ", view_int(node, "threads_total", 0));
    str_format_size(b, view_int(node, "memory_total_bytes", 0));
    if (*os) {
        buf_append_str(b, ", ");
        str_append_safe(b, os, SIZE_MAX);
    }
    if (*arch) {
        buf_append_char(b, ' ');
        str_append_safe(b, arch, SIZE_MAX);
    }
    buf_append_char(b, '\n');
}

/* It is known to be up, or what is in the way. */
static bool is_settled(yyjson_val *node)
{
    return str_eq(view_str(node, "status"), "up") || *view_str(node, "error");
}

/* Looks at the node until it is up, has an error, or the time is over. NULL: the daemon is gone. */
static yyjson_doc *watch_node(struct client *c, const char *name, int64_t timeout_ns,
                              struct err *err)
{
    int64_t until = clock_mono_ns(&clock_system) + timeout_ns;

    for (;;) {
        yyjson_doc *doc = call_node(c, "GET", name, err);
        yyjson_val *node = first_node(doc);

        if (!doc || is_settled(node) || clock_mono_ns(&clock_system) >= until) {
            show_progress(name, "");
            return doc;
        }
        show_progress(name, view_str(node, "connection"));
        yyjson_doc_free(doc);
        nanosleep(&(struct timespec){ 0, LOOK_NS }, NULL);
    }
}

static int say_not_up(const char *name, yyjson_val *node)
{
    struct err err = ERR_INIT;
    const char *why = view_str(node, "error"), *hint = view_str(node, "hint");

    if (*why)
        err_set(&err, ERR_UNAVAILABLE, "%s was added, but can't be used yet: %s", name, why);
    else
        err_set(&err, ERR_TIMEOUT, "%s was added, but is not up yet: %s", name,
                view_str(node, "connection"));
    if (*hint)
        err_hint(&err, "%s; hive goes on trying", hint);
    else
        err_hint(&err, "hive goes on trying; see it with: hive hosts list");
    cmd_fail(&err);
    return CMD_FAILED;
}

static int add_one(struct client *c, const struct hosts_args *a, const char *host)
{
    const char *name = a->name ? a->name : host;
    struct err err = ERR_INIT;
    struct buf text = BUF_INIT;
    int code = CMD_OK;
    yyjson_doc *doc = post_node(c, a, name, host, &err);

    if (!doc)
        return cmd_fail(&err);
    yyjson_doc_free(doc);
    if (a->no_wait)
        return CMD_OK;
    doc = watch_node(c, name, a->timeout_ns, &err);
    if (!doc)
        return cmd_fail(&err);
    if (str_eq(view_str(first_node(doc), "status"), "up")) {
        put_up(&text, first_node(doc));
        cmd_out(&text);
    } else {
        code = say_not_up(name, first_node(doc));
    }
    buf_fini(&text);
    yyjson_doc_free(doc);
    return code;
}

int hosts_add(const struct hosts_args *args, char **words, size_t count)
{
    struct hosts_args a = *args;
    struct client c;
    struct err err = ERR_INIT;
    int code = CMD_OK;

    if (a.timeout_ns < 0)
        a.timeout_ns = ADD_TIMEOUT_NS;
    if (client_open(&c, &err) != 0)
        code = cmd_fail(&err);
    for (size_t i = 0; i < count && code != CMD_NO_DAEMON; i++) {
        int rc = add_one(&c, &a, words[i]);
        code = rc == CMD_OK ? code : rc;
    }
    client_close(&c);
    return code;
}

/* ---- import ---- */

int hosts_import(const struct hosts_args *args, char **words, size_t count)
{
    struct hosts_args a = *args;
    struct buf text = BUF_INIT, warnings = BUF_INIT;
    struct hosts_file f = { 0 };
    struct err err = ERR_INIT;
    struct client c;
    int code = CMD_OK;

    (void)count;
    if (a.timeout_ns < 0)
        a.timeout_ns = ADD_TIMEOUT_NS;
    if (fs_read_file(words[0], HOSTS_FILE_MAX, &text, &err) != 0 ||
        hosts_file_parse(words[0], buf_data(&text), buf_len(&text), &f, &warnings, &err) != 0)
        code = cmd_fail(&err);
    hosts_say(&warnings);
    if (code == CMD_OK && client_open(&c, &err) != 0)
        code = cmd_fail(&err);
    for (size_t i = 0; i < f.count && code != CMD_NO_DAEMON; i++) {
        struct buf word = BUF_INIT;
        hosts_entry_format(&f.entries[i], &word);
        int rc = add_one(&c, &a, buf_data(&word));
        code = rc == CMD_OK ? code : rc;
        buf_fini(&word);
    }
    if (f.count > 0 && code != CMD_NO_DAEMON)
        client_close(&c);
    if (f.bad > 0 && code == CMD_OK)
        code = CMD_FAILED;
    hosts_file_fini(&f);
    buf_fini(&text);
    buf_fini(&warnings);
    return code;
}

/* ---- remove ---- */

static int remove_one(struct client *c, const char *name)
{
    struct err err = ERR_INIT;
    yyjson_doc *before = call_node(c, "GET", name, &err);
    yyjson_doc *doc = before ? call_node(c, "DELETE", name, &err) : NULL;
    const char *status = view_str(first_node(before), "status");
    int code = doc ? CMD_OK : cmd_fail(&err);

    if (doc && !str_eq(status, "up") && !str_eq(status, "drained") &&
        *view_str(first_node(before), "version"))
        cmd_msg("%s can't be reached now: what was copied there, ~/.cache/hive, stays", name);
    yyjson_doc_free(before);
    yyjson_doc_free(doc);
    return code;
}

int hosts_remove(const struct hosts_args *a, char **words, size_t count)
{
    struct client c;
    struct err err = ERR_INIT;
    int code = CMD_OK;

    (void)a;
    if (client_open(&c, &err) != 0)
        code = cmd_fail(&err);
    for (size_t i = 0; i < count && code != CMD_NO_DAEMON; i++) {
        int rc = remove_one(&c, words[i]);
        code = rc == CMD_OK ? code : rc;
    }
    client_close(&c);
    return code;
}

/* ---- list ---- */

static void add_row(struct table *t, yyjson_val *node)
{
    const char *status = view_str(node, "status");
    struct buf b = BUF_INIT;

    table_add(t, view_str(node, "name"));
    table_add(t, view_str(node, "address"));
    table_add_colored(t, status, str_eq(status, "up") ? TABLE_GREEN : TABLE_RED);
    table_add(t, view_str(node, "connection"));
    if (view_int(node, "threads_total", 0) > 0)
        buf_printf(&b, "%" PRId64, view_int(node, "threads_total", 0));
    table_add_buf(t, &b);
    table_add(t, yyjson_is_true(yyjson_obj_get(node, "any")) ? "any" : "by name");
    buf_fini(&b);
}

static void say_errors(yyjson_val *nodes)
{
    struct buf b = BUF_INIT;
    yyjson_arr_iter it = yyjson_arr_iter_with(nodes);

    for (yyjson_val *node; (node = yyjson_arr_iter_next(&it)) != NULL;) {
        struct err err = ERR_INIT;
        if (!*view_str(node, "error"))
            continue;
        err_set(&err, ERR_UNAVAILABLE, "%s: %s", view_str(node, "name"), view_str(node, "error"));
        if (*view_str(node, "hint"))
            err_hint(&err, "%s", view_str(node, "hint"));
        hosts_append_error(&b, &err);
    }
    hosts_say(&b);
    buf_fini(&b);
}

static void print_list(yyjson_val *nodes)
{
    static const struct table_column columns[] = {
        { .title = "NAME", .min = 8 },
        { .title = "HOST", .min = 8, .drop = 2 },
        { .title = "STATUS" },
        { .title = "CONNECTION", .min = 8, .drop = 3 },
        { .title = "THREADS", .right = true, .drop = 1 },
        { .title = "JOBS", .drop = 1 },
    };
    struct buf b = BUF_INIT;
    struct table t;
    yyjson_arr_iter it = yyjson_arr_iter_with(nodes);

    table_init(&t, columns, ARRAY_LEN(columns));
    for (yyjson_val *node; (node = yyjson_arr_iter_next(&it)) != NULL;)
        if (str_eq(view_str(node, "kind"), "ssh"))
            add_row(&t, node);
    if (t.cell_count > 0)
        table_print(&t, &b, 0, cmd_width_limited() ? cmd_width() : 0, cmd_color());
    else
        cmd_msg("no hosts yet; add one with: hive hosts add HOST");
    table_fini(&t);
    cmd_out(&b);
    buf_fini(&b);
}

static void print_json(yyjson_val *nodes)
{
    struct buf b = BUF_INIT;
    yyjson_arr_iter it = yyjson_arr_iter_with(nodes);
    bool first = true;

    buf_append_str(&b, "{\"api\":1,\"nodes\":[");
    for (yyjson_val *node; (node = yyjson_arr_iter_next(&it)) != NULL;) {
        char *text = str_eq(view_str(node, "kind"), "ssh") ? yyjson_val_write(node, 0, NULL) : NULL;
        if (!text)
            continue;
        buf_append_str(&b, first ? "" : ",");
        buf_append_str(&b, text);
        first = false;
        free(text);
    }
    buf_append_str(&b, "]}\n");
    cmd_out(&b);
    buf_fini(&b);
}

int hosts_list(const struct hosts_args *a, char **words, size_t count)
{
    struct client c;
    struct err err = ERR_INIT;
    int code = CMD_OK;

    (void)words;
    (void)count;
    yyjson_doc *doc = client_open(&c, &err) == 0 ? client_get(&c, "/api/v1/nodes", &err) : NULL;
    yyjson_val *nodes = yyjson_obj_get(yyjson_doc_get_root(doc), "nodes");

    if (!doc) {
        code = cmd_fail(&err);
    } else if (a->json) {
        print_json(nodes);
    } else {
        print_list(nodes);
        say_errors(nodes);
    }
    yyjson_doc_free(doc);
    client_close(&c);
    return code;
}
