/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/client.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/jsonx.h"
#include "base/limits.h"
#include "base/str.h"
#include "head/spec.h"
#include "net/http_client.h"
#include "net/http_parser.h"

#include <time.h>

/* A page of LIMIT_PAGE_JOBS jobs with the longest of commands would be larger, but is no answer to
 * hold in memory. */
#define ANSWER_MAX ((size_t)256 * 1024 * 1024)

static int explain_no_daemon(const struct client *c, struct err *err)
{
    if (err->kind == ERR_DENIED)
        return err_hint(err, "the daemon belongs to another user; start your own: hive daemon");
    if (err->kind != ERR_UNAVAILABLE && err->kind != ERR_NOT_FOUND)
        return -1;
    err_set(err, ERR_UNAVAILABLE, "no hive daemon is running (socket %s)", c->socket_path);
    return err_hint(err, "start one: hive daemon");
}

static int connect_socket(struct client *c, struct err *err)
{
    struct err why = ERR_INIT;
    c->http = http_client_open_unix(c->socket_path, &why);
    if (c->http)
        return 0;
    explain_no_daemon(c, &why);
    *err = why;
    return -1;
}

int client_open(struct client *c, struct err *err)
{
    char *dir = fs_runtime_dir();
    memset(c, 0, sizeof(*c));
    c->socket_path = fs_join(dir, "hive.sock");
    free(dir);
    return connect_socket(c, err);
}

void client_close(struct client *c)
{
    http_client_close(c->http);
    c->http = NULL;
    MEM_FREE(c->socket_path);
}

int client_reconnect(struct client *c, int64_t deadline_ns, struct err *err)
{
    int64_t pause_ns = 20 * NS_PER_MS;
    http_client_close(c->http);
    c->http = NULL;
    for (;;) {
        if (connect_socket(c, err) == 0)
            return 0;
        int64_t left = deadline_ns - clock_mono_ns(&clock_system);
        if (left <= 0)
            return -1;
        if (pause_ns > left)
            pause_ns = left;
        nanosleep(&(struct timespec){ .tv_nsec = (long)pause_ns }, NULL);
        pause_ns = pause_ns * 2 > 500 * NS_PER_MS ? 500 * NS_PER_MS : pause_ns * 2;
    }
}

int client_decode_error(int status, const char *body, size_t len, struct err *err)
{
    yyjson_doc *doc = jsonx_parse(body, len, NULL);
    yyjson_val *e = yyjson_obj_get(yyjson_doc_get_root(doc), "error");
    const char *kind = yyjson_get_str(yyjson_obj_get(e, "kind"));
    const char *message = yyjson_get_str(yyjson_obj_get(e, "message"));
    const char *hint = yyjson_get_str(yyjson_obj_get(e, "hint"));

    if (kind && message) {
        err_set(err, err_kind_from_name(kind), "%s", message);
        if (hint)
            err_hint(err, "%s", hint);
    } else {
        err_set(err, ERR_INTERNAL, "the daemon answered with HTTP status %d (%s)", status,
                http_status_text(status));
        err_hint(err, "its log may tell more; is something else listening on hive's socket?");
    }
    yyjson_doc_free(doc);
    return -1;
}

/* Header lines of a call. */
struct headers {
    const char *lines[2];
    char *key;
};

static const char *const *make_headers(struct headers *h, const char *idempotency_key)
{
    memset(h, 0, sizeof(*h));
    if (!idempotency_key)
        return NULL;
    h->key = mem_printf("Idempotency-Key: %s", idempotency_key);
    h->lines[0] = h->key;
    return h->lines;
}

static int not_connected(struct client *c, struct err *err)
{
    c->lost = true;
    return err_set(err, ERR_UNAVAILABLE, "the connection to the daemon was lost");
}

int client_call(struct client *c, const struct client_request *r, struct buf *answer,
                struct err *err)
{
    if (!c->http)
        return not_connected(c, err);
    struct headers headers;
    struct http_client_request q = {
        .method = r->method,
        .path = r->path,
        .headers = make_headers(&headers, r->idempotency_key),
        .body = r->body ? buf_data(r->body) : NULL,
        .body_len = r->body ? buf_len(r->body) : 0,
        .timeout_ns = r->timeout_ns,
    };
    size_t before = buf_len(answer);
    int status = http_client_call(c->http, &q, ANSWER_MAX, answer, err);
    free(headers.key);
    c->lost = status < 0;
    if (status < 0)
        return -1;
    if (status / 100 == 2)
        return 0;
    client_decode_error(status, buf_data(answer) + before, buf_len(answer) - before, err);
    buf_truncate(answer, before);
    return -1;
}

yyjson_doc *client_call_json(struct client *c, const struct client_request *r, struct err *err)
{
    struct buf answer = BUF_INIT;
    yyjson_doc *doc = NULL;
    if (client_call(c, r, &answer, err) == 0) {
        doc = jsonx_parse(buf_data(&answer), buf_len(&answer), err);
        if (!doc)
            err_prefix(err, "the daemon's answer can't be read");
    }
    buf_fini(&answer);
    return doc;
}

yyjson_doc *client_get(struct client *c, const char *path, struct err *err)
{
    struct client_request r = { .method = "GET", .path = path };
    return client_call_json(c, &r, err);
}

/* Bytes of an error's body are gathered, those of a good answer handed on. */
struct stream_state {
    const struct client_stream *s;
    struct buf error;
    bool stopped;
};

static bool on_stream_data(void *arg, int status, const char *data, size_t len)
{
    struct stream_state *st = arg;
    if (status / 100 != 2) {
        if (buf_len(&st->error) + len <= 65536)
            buf_append(&st->error, data, len);
        return true;
    }
    st->stopped = !st->s->on_data(st->s->arg, data, len);
    return !st->stopped;
}

int client_stream(struct client *c, const struct client_stream *s, bool *complete, struct err *err)
{
    struct stream_state st = { .s = s, .error = BUF_INIT };
    struct http_client_request q = { .method = "GET", .path = s->path, .idle_ns = s->idle_ns };
    bool ended = false;
    *complete = false;
    if (!c->http)
        return not_connected(c, err);
    int status = http_client_stream(c->http, &q, on_stream_data, &st, &ended, err);
    int rc = 0;
    c->lost = status < 0 || (status / 100 == 2 && !ended && !st.stopped);
    *complete = ended && !st.stopped;
    if (status < 0)
        rc = -1;
    else if (status / 100 != 2)
        rc = client_decode_error(status, buf_data(&st.error), buf_len(&st.error), err);
    else if (c->lost)
        rc = not_connected(c, err);
    buf_fini(&st.error);
    return rc;
}

int client_check_id(const char *id, struct err *err)
{
    int64_t job, task;
    if (spec_parse_id(id, &job, &task))
        return 0;
    err_set(err, ERR_USAGE, "'%s' is no job id", id);
    return err_hint(err, "job ids look like 12, or 12_5 for task 5 of array 12; see: hive status");
}

void client_job_path(struct buf *b, const char *id, const char *what)
{
    buf_append_str(b, "/api/v1/jobs/");
    http_append_encoded(b, id);
    if (what)
        buf_printf(b, "/%s", what);
}
