/* SPDX-License-Identifier: BSD-2-Clause */
/* The API's frame: finding the route, reading parameters, answers and errors in one form. */
#include "head/api_priv.h"

#include "base/str.h"
#include "head/spec.h"

#include <unistd.h>

static const struct route {
    const char *method, *path;
    api_fn *fn;
    const char *params;
} routes[] = {
#define ROUTE(method, path, fn, params) { method, path, fn, params },
#include "head/routes.def"
#undef ROUTE
};

void api_reply(struct http_request *req, int status, struct buf *body)
{
    if (buf_len(body) && buf_data(body)[buf_len(body) - 1] != '\n')
        buf_append_char(body, '\n');
    http_reply(req, status, "application/json", body);
    buf_fini(body);
}

void api_reply_error(struct http_request *req, const struct err *err)
{
    struct buf b = BUF_INIT;
    struct jsonw w;
    int status = err_http_status(err->kind);

    jsonw_init(&w, &b);
    jsonw_obj_open(&w, NULL);
    jsonw_int(&w, "api", 1);
    jsonw_obj_open(&w, "error");
    jsonw_str(&w, "kind", err_kind_name(err->kind));
    jsonw_str(&w, "message", err->msg);
    jsonw_str(&w, "hint", err->hint[0] ? err->hint : NULL);
    jsonw_obj_close(&w);
    jsonw_obj_close(&w);
    if (status == 401)
        http_reply_header(req, "WWW-Authenticate", "Bearer");
    api_reply(req, status, &b);
}

int api_query_int(struct api_call *c, const char *name, int64_t min, int64_t max, int64_t *out)
{
    struct err err = ERR_INIT;
    char *text = http_query_get(c->msg->query, name);
    if (!text)
        return 0;
    int rc = str_to_int(text, min, max, name, out, &err);
    free(text);
    if (rc == 0)
        return 1;
    api_reply_error(c->req, &err);
    return -1;
}

bool api_query_flag(struct api_call *c, const char *name)
{
    char *text = http_query_get(c->msg->query, name);
    bool on = text && !str_eq(text, "false") && !str_eq(text, "0");
    free(text);
    return on;
}

char *api_query_str(struct api_call *c, const char *name)
{
    return http_query_get(c->msg->query, name);
}

int api_no_job(struct api_call *c, struct err *err)
{
    bool live;
    long long job = (long long)c->job, task = (long long)c->task;

    if (c->task < 0) {
        err_set(err, ERR_NOT_FOUND, "there is no job %lld", job);
        return err_hint(err, "list the jobs with: hive status jobs");
    }
    if (head_task_missing(c->head, c->job, c->task, &live, err) != 1)
        return -1;
    err_set(err, ERR_NOT_FOUND,
            live ? "task %lld_%lld has not started yet" : "task %lld_%lld was never started", job,
            task);
    return err_hint(err, "why: hive explain %lld_%lld", job, task);
}

int64_t api_job_id(struct api_call *c)
{
    struct err err = ERR_INIT;
    int64_t id = 0;
    int rc = head_find(c->head, c->job, c->task, &id, &err);
    if (rc == 1)
        return id;
    if (rc == 0)
        api_no_job(c, &err);
    api_reply_error(c->req, &err);
    return 0;
}

uid_t api_uid(struct http_request *req)
{
    uid_t uid;
    return http_request_uid(req, &uid, NULL) == 0 ? uid : getuid();
}

char *api_user(struct api_call *c)
{
    return head_user_name(c->head, api_uid(c->req));
}

int api_match(const char *path, const char *pattern, struct api_call *c)
{
    while (*pattern) {
        if (str_starts(pattern, "{id}")) {
            char id[48];
            size_t len = strcspn(path, "/");
            if (len == 0)
                return 0;
            str_copy(id, len < sizeof(id) ? len + 1 : sizeof(id), path);
            if (len >= sizeof(id) || !spec_parse_id(id, &c->job, &c->task))
                c->job = -1;
            path += len;
            pattern += 4;
            continue;
        }
        if (str_starts(pattern, "{name}")) {
            size_t len = strcspn(path, "/");
            if (len == 0 || len >= sizeof(c->name))
                return 0;
            str_copy(c->name, len + 1, path);
            path += len;
            pattern += 6;
            continue;
        }
        if (*path++ != *pattern++)
            return 0;
    }
    if (*path == '/' && path[1] == '\0')
        path++;
    return *path ? 0 : c->job == -1 ? -1 : 1;
}

static void reply_no_route(struct http_request *req, const char *path, const char *allow)
{
    struct err err = ERR_INIT;
    if (allow) {
        struct buf b = BUF_INIT;
        http_reply_header(req, "Allow", str_eq(allow, "GET") ? "GET, HEAD" : allow);
        buf_printf(&b,
                   "{\"api\":1,\"error\":{\"kind\":\"invalid\",\"message\":\"this path takes "
                   "%s\",\"hint\":null}}",
                   allow);
        api_reply(req, 405, &b);
        return;
    }
    err_set(&err, ERR_NOT_FOUND, "there is no '%s' here", path);
    err_hint(&err, "all routes are listed in /api/v1/openapi.json");
    api_reply_error(req, &err);
}

/* Whether `piece` ("name=value") is one of these parameters. */
static bool is_param(const char *piece, const char *params)
{
    bool found = false;

    for (const char *p = params; *p && !found; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");
        char *name = mem_strndup(p, len), *value = http_query_get(piece, name);
        found = value != NULL;
        free(name);
        free(value);
        p += len;
    }
    return found;
}

/* A misspelt filter would silently list everything, and a dry run of what has none would run. */
static int check_params(const char *query, const struct route *r, struct err *err)
{
    for (const char *p = query; *p; p += *p == '&') {
        size_t len = strcspn(p, "&");
        char *piece = mem_strndup(p, len);
        bool ok = len == 0 || *p == '_' || is_param(piece, r->params);
        if (!ok) {
            piece[strcspn(piece, "=")] = '\0';
            char *safe = str_safe(piece);
            err_set(err, ERR_INVALID, "there is no parameter '%.60s' here", safe);
            err_hint(err, *r->params ? "those of this path: %s" : "this path takes none%s",
                     r->params);
            free(safe);
        }
        free(piece);
        if (!ok)
            return -1;
        p += len;
    }
    return 0;
}

static void on_request(struct http_request *req, void *arg)
{
    struct api *a = arg;
    struct api_call c = {
        .api = a, .head = a->head, .req = req, .msg = http_request_message(req), .task = -1
    };
    const char *method = str_eq(c.msg->method, "HEAD") ? "GET" : c.msg->method;
    const char *allow = NULL;
    bool bad_id = false;
    struct err err = ERR_INIT;

    http_reply_header(req, "X-Content-Type-Options", "nosniff");
    http_reply_header(req, "Cache-Control", "no-store");
    for (size_t i = 0; c.msg->path && i < ARRAY_LEN(routes); i++) {
        c.job = 0;
        c.task = -1;
        int rc = api_match(c.msg->path, routes[i].path, &c);
        if (rc == 0)
            continue;
        if (!str_eq(method, routes[i].method)) {
            allow = routes[i].method;
            continue;
        }
        if (rc < 0) {
            bad_id = true;
            continue;
        }
        if (!a->head) {
            err_set(&err, ERR_UNAVAILABLE, "the daemon is starting");
            err_hint(&err, "try again in a moment");
            api_reply_error(req, &err);
            return;
        }
        if (check_params(c.msg->query, &routes[i], &err) != 0)
            api_reply_error(req, &err);
        else
            routes[i].fn(&c);
        return;
    }
    if (bad_id && !allow) {
        err_set(&err, ERR_NOT_FOUND, "that is no job id; ids look like 12 or 12_5");
        api_reply_error(req, &err);
        return;
    }
    reply_no_route(req, c.msg->path ? c.msg->path : "", allow);
}

static bool on_check(struct http_request *req, void *arg)
{
    return api_guard(arg, req);
}

struct api *api_create(struct ev_loop *loop, const struct log *log, const struct conf *conf,
                       struct err *err)
{
    struct api *a = mem_alloc(sizeof(*a));
    struct http_server_hooks hooks = { .check = on_check, .handle = on_request, .arg = a };
    a->loop = loop;
    a->log = log;
    a->conf = conf;
    list_init(&a->waits);
    list_init(&a->followers);
    list_init(&a->watchers);
    a->tick.fn = api_events_tick;
    a->server = http_server_create(loop, log, &hooks);
    if (!a->server) {
        free(a);
        err_set(err, ERR_INTERNAL, "cannot make the HTTP server");
        return NULL;
    }
    return a;
}

void api_destroy(struct api *a)
{
    if (!a)
        return;
    http_server_destroy(
        a->server); /* tells all who wait, follow or watch that their client is gone */
    ev_timer_clear(&a->tick);
    free(a);
}

void api_set_head(struct api *a, struct head *h)
{
    a->head = h;
}

int api_listen_unix(struct api *a, int fd, struct err *err)
{
    return http_server_listen(a->server, fd, HTTP_UNIX, err);
}

int api_listen_tcp(struct api *a, int fd, struct err *err)
{
    return http_server_listen(a->server, fd, HTTP_TCP, err);
}

void api_job_changed(struct api *a, int64_t job, bool final)
{
    if (final && !list_empty(&a->waits))
        api_waits_changed(a, job);
    if (!list_empty(&a->followers))
        api_logs_changed(a, job);
    if (!list_empty(&a->watchers))
        api_events_changed(a, job, final);
}

void api_stop(struct api *a)
{
    http_server_stop_accepting(a->server);
}
