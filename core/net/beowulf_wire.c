/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "net/beowulf_wire.h"

#include "base/jsonx.h"
#include "base/limits.h"
#include "base/str.h"

/* --- reading ----------------------------------------------------------------------------------- */

static void forget_request(struct beowulf_request *request)
{
    free(request->app);
    free(request->host);
    *request = (struct beowulf_request){ 0 };
}

void beowulf_wire_init(struct beowulf_wire *w)
{
    *w = (struct beowulf_wire){ .in = BUF_INIT };
}

void beowulf_wire_fini(struct beowulf_wire *w)
{
    forget_request(&w->request);
    buf_fini(&w->in);
    *w = (struct beowulf_wire){ .in = BUF_INIT };
}

void beowulf_wire_next(struct beowulf_wire *w)
{
    if (w->event == BEOWULF_BROKEN)
        return;
    forget_request(&w->request);
    err_clear(&w->err);
    buf_clear(&w->in);
    w->event = BEOWULF_NEED_MORE;
    w->depth = 0;
    w->in_string = w->escaped = false;
}

/* A number, or the same as a string, as scripts write it. */
static int get_pid(yyjson_val *root, int64_t *pid, struct err *err)
{
    yyjson_val *val = yyjson_obj_get(root, "pid");

    if (yyjson_is_str(val))
        return str_to_int(yyjson_get_str(val), 0, INT32_MAX, "pid", pid, err);
    return jsonx_get_int(root, "", "pid", 0, INT32_MAX, pid, err) < 0 ? -1 : 0;
}

static int read_request(yyjson_val *root, struct beowulf_request *out, struct err *err)
{
    const char *cmd = NULL, *app = NULL, *host = NULL;

    if (!yyjson_is_obj(root)) {
        err_set(err, ERR_INVALID, "a request is a JSON object");
        return err_hint(err, "send {\"cmd\":\"allocate\",\"app\":\"firefox\"}");
    }
    if (jsonx_get_str(root, "", "cmd", BEOWULF_NAME_MAX, &cmd, err) < 0 ||
        jsonx_get_str(root, "", "app", BEOWULF_NAME_MAX, &app, err) < 0 ||
        jsonx_get_str(root, "", "host", BEOWULF_NAME_MAX, &host, err) < 0)
        return -1;
    if (str_eq(cmd, "allocate")) {
        out->cmd = BEOWULF_ALLOCATE;
        host = NULL;
    } else if (str_eq(cmd, "report")) {
        out->cmd = BEOWULF_REPORT;
        if (get_pid(root, &out->pid, err) != 0)
            return -1;
    } else {
        char *shown = str_safe(cmd ? cmd : "");
        if (cmd)
            err_set(err, ERR_INVALID, "unknown cmd '%s'", shown);
        else
            err_set(err, ERR_INVALID, "cmd is missing");
        free(shown);
        return err_hint(err, "cmd is allocate or report");
    }
    if (!app || !*app)
        return err_set(err, ERR_INVALID, "app is missing");
    out->app = mem_strdup(app);
    out->host = host && *host ? mem_strdup(host) : NULL;
    return 0;
}

/* What is in w->in is a message. */
static enum beowulf_event complete(struct beowulf_wire *w)
{
    struct beowulf_request request = { 0 };
    yyjson_doc *doc = jsonx_parse(buf_data(&w->in), buf_len(&w->in), &w->err);
    bool fine = doc && read_request(yyjson_doc_get_root(doc), &request, &w->err) == 0;

    yyjson_doc_free(doc);
    w->event = fine ? BEOWULF_REQUEST : BEOWULF_REFUSED;
    if (fine)
        w->request = request;
    return w->event;
}

static enum beowulf_event broken(struct beowulf_wire *w, const char *why)
{
    err_set(&w->err, ERR_TOO_LARGE, "%s", why);
    w->event = BEOWULF_BROKEN;
    return w->event;
}

/* Follows strings and brackets. True when the message ends with this byte. */
static bool ends_with(struct beowulf_wire *w, char c)
{
    bool first = buf_len(&w->in) == 0;

    if (w->in_string) {
        w->in_string = w->escaped || c != '"';
        w->escaped = !w->escaped && c == '\\';
    } else if (w->depth == 0 && !first) {
        return c == '\n'; /* no object */
    } else if (c == '{' || c == '[') {
        w->depth++;
    } else if (c == '}' || c == ']') {
        return w->depth > 0 && --w->depth == 0;
    } else if (c == '"' && w->depth > 0) {
        w->in_string = true;
    }
    return false;
}

enum beowulf_event beowulf_wire_feed(struct beowulf_wire *w, const char *data, size_t len,
                                     size_t *used)
{
    *used = 0;
    while (w->event == BEOWULF_NEED_MORE && *used < len) {
        char c = data[(*used)++];
        if (buf_len(&w->in) == 0 && (c == ' ' || c == '\t' || c == '\r' || c == '\n'))
            continue;
        bool end = ends_with(w, c);
        if (buf_len(&w->in) == BEOWULF_MESSAGE_MAX)
            return broken(w, "the request is longer than 64 KiB");
        if (w->depth > LIMIT_JSON_DEPTH)
            return broken(w, "the request is nested too deeply");
        buf_append_char(&w->in, c);
        if (end)
            return complete(w);
    }
    return w->event;
}

enum beowulf_event beowulf_wire_end(struct beowulf_wire *w)
{
    if (w->event == BEOWULF_NEED_MORE && buf_len(&w->in) > 0)
        return complete(w);
    return w->event;
}

/* --- writing ----------------------------------------------------------------------------------- */

/* As much of a text as a reader takes, whole characters only. */
static size_t cut_at(const char *s, size_t limit)
{
    size_t len = strnlen(s, limit + 1);

    if (len <= limit)
        return len;
    for (len = limit; len > 0 && ((unsigned char)s[len] & 0xc0) == 0x80; len--)
        ;
    return len;
}

static void put_str(struct jsonw *w, const char *key, const char *text, size_t limit)
{
    jsonw_strn(w, key, text, cut_at(text, limit));
}

static void put_safe(struct jsonw *w, const char *key, const char *text)
{
    struct buf b = BUF_INIT;

    str_append_safe(&b, text, strnlen(text, BEOWULF_REASON_MAX));
    put_str(w, key, buf_data(&b), BEOWULF_REASON_MAX);
    buf_fini(&b);
}

static void close_line(struct jsonw *w)
{
    jsonw_obj_close(w);
    buf_append_char(w->b, '\n');
}

void beowulf_write_allocated(struct buf *b, const char *host, const char *reason)
{
    struct jsonw w;

    jsonw_init(&w, b);
    jsonw_obj_open(&w, NULL);
    put_str(&w, "host", host, BEOWULF_NAME_MAX);
    put_safe(&w, "reason", reason);
    close_line(&w);
}

void beowulf_write_reported(struct buf *b)
{
    buf_append_str(b, "{\"status\":\"ok\"}\n");
}

void beowulf_write_error(struct buf *b, const struct err *err)
{
    struct buf text = BUF_INIT;
    struct jsonw w;

    buf_append_str(&text, err->msg);
    if (*err->hint)
        buf_printf(&text, " (%s)", err->hint);
    jsonw_init(&w, b);
    jsonw_obj_open(&w, NULL);
    put_safe(&w, "error", buf_data(&text));
    close_line(&w);
    buf_fini(&text);
}

void beowulf_write_request(struct buf *b, const struct beowulf_request *request)
{
    bool report = request->cmd == BEOWULF_REPORT;
    struct jsonw w;

    jsonw_init(&w, b);
    jsonw_obj_open(&w, NULL);
    jsonw_str(&w, "cmd", report ? "report" : "allocate");
    put_str(&w, "app", request->app, BEOWULF_NAME_MAX);
    if (report && request->pid > 0)
        jsonw_int(&w, "pid", request->pid);
    if (report && request->host)
        put_str(&w, "host", request->host, BEOWULF_NAME_MAX);
    close_line(&w);
}

/* --- answers ----------------------------------------------------------------------------------- */

static int read_reply(yyjson_val *root, struct beowulf_reply *reply, struct err *err)
{
    const char *host = NULL, *reason = NULL, *error = NULL;

    if (!yyjson_is_obj(root))
        return err_set(err, ERR_INVALID, "the daemon's answer is no JSON object");
    if (jsonx_get_str(root, "", "error", BEOWULF_REASON_MAX, &error, err) < 0)
        return -1;
    if (!error && (jsonx_get_str(root, "", "host", BEOWULF_NAME_MAX, &host, err) < 0 ||
                   jsonx_get_str(root, "", "reason", BEOWULF_REASON_MAX, &reason, err) < 0))
        return -1;
    *reply = (struct beowulf_reply){ mem_strdup(host), mem_strdup(reason), mem_strdup(error) };
    return 0;
}

int beowulf_reply_parse(const char *data, size_t len, struct beowulf_reply *reply, struct err *err)
{
    *reply = (struct beowulf_reply){ 0 };
    if (len > BEOWULF_MESSAGE_MAX)
        return err_set(err, ERR_INVALID, "the daemon's answer is longer than 64 KiB");
    yyjson_doc *doc = jsonx_parse(data, len, err);
    if (!doc)
        return err_prefix(err, "the daemon's answer");
    int rc = read_reply(yyjson_doc_get_root(doc), reply, err);
    yyjson_doc_free(doc);
    return rc;
}

void beowulf_reply_fini(struct beowulf_reply *reply)
{
    free(reply->host);
    free(reply->reason);
    free(reply->error);
    *reply = (struct beowulf_reply){ 0 };
}
