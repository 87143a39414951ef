/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests and answers: the part of http_server.h that handlers call. */
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "net/http_conn.h"
#include "net/sock.h"

#include <sys/socket.h>
#include <time.h>

static struct http_conn *conn_of(struct http_request *req)
{
    return CONTAINER_OF(req, struct http_conn, req);
}

static const struct http_conn *const_conn_of(const struct http_request *req)
{
    return (const struct http_conn *)(const void *)((const char *)req -
                                                    offsetof(struct http_conn, req));
}

/* --- the request --- */

const struct http_message *http_request_message(const struct http_request *req)
{
    return &const_conn_of(req)->parser.msg;
}

const char *http_request_body(const struct http_request *req, size_t *len)
{
    if (len)
        *len = buf_len(&req->body);
    return buf_data(&req->body);
}

enum http_listener_kind http_request_kind(const struct http_request *req)
{
    return const_conn_of(req)->kind;
}

int http_request_uid(struct http_request *req, uid_t *uid, struct err *err)
{
    struct http_conn *c = conn_of(req);

    if (c->uid_known == CONN_UID_UNKNOWN) {
        int rc = c->kind == HTTP_UNIX ? sock_peer_uid(c->io.fd, &c->uid, NULL, err)
                                      : sock_tcp_peer_uid(c->io.fd, &c->uid, err);
        c->uid_known = rc == 0 ? CONN_UID_FOUND : CONN_UID_NONE;
        if (rc != 0)
            return -1;
    }
    if (c->uid_known == CONN_UID_NONE)
        return err_set(err, ERR_NOT_FOUND, "the kernel doesn't tell who the client is");
    *uid = c->uid;
    return 0;
}

void http_request_set_data(struct http_request *req, void *data,
                           void (*gone)(struct http_request *req, void *data))
{
    req->data = data;
    req->gone = gone;
}

void *http_request_data(const struct http_request *req)
{
    return req->data;
}

/* --- the answer's header --- */

struct buf *reply_buf(struct http_conn *c)
{
    return buf_len(&c->tail) > 0 ? &c->tail : &c->out;
}

static const char *date(struct http_server *s)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t now = (time_t)(clock_wall_ns(ev_clock(s->loop)) / NS_PER_S);
    struct tm tm;

    if (now != s->date_s && gmtime_r(&now, &tm)) {
        s->date_s = now;
        snprintf(s->date, sizeof(s->date), "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
                 days + 3 * tm.tm_wday, tm.tm_mday, months + 3 * tm.tm_mon,
                 (tm.tm_year + 1900) % 10000, tm.tm_hour, tm.tm_min, tm.tm_sec);
    }
    return s->date;
}

static void append_clean(struct buf *b, const char *s)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if ((c >= 0x20 && c != 0x7f) || c == '\t')
            buf_append_char(b, *s);
    }
}

void http_reply_header(struct http_request *req, const char *name, const char *value)
{
    struct buf *b = &req->headers;

    if (!req->active)
        return;
    append_clean(b, name);
    buf_append_str(b, ": ");
    append_clean(b, value);
    buf_append_str(b, "\r\n");
}

static void append_head(struct http_conn *c, int status, const char *content_type)
{
    struct buf *b = reply_buf(c);

    buf_printf(b, "HTTP/1.1 %d %s\r\nDate: %s\r\n", status, http_status_text(status),
               date(c->server));
    buf_append(b, buf_data(&c->req.headers), buf_len(&c->req.headers));
    if (content_type) {
        buf_append_str(b, "Content-Type: ");
        append_clean(b, content_type);
        buf_append_str(b, "\r\n");
    }
}

static bool status_has_no_body(int status)
{
    return status < 200 || status == 204 || status == 304;
}

/* Whether the connection ends with this answer. */
static bool is_last(struct http_conn *c)
{
    if (conn_is_reading(c) && http_parser_has_body(&c->parser)) {
        c->linger = true; /* the body was not read: the client may be sending it */
        return true;
    }
    return !c->parser.msg.keep_alive || c->server->stopping;
}

/* The request is answered: the connection goes on to the next one, or closes. */
static void request_end(struct http_conn *c, bool last)
{
    c->req.active = false;
    c->want_drained = false;
    buf_clear(&c->req.headers);
    if (last) {
        conn_set_state(c, CONN_CLOSING);
    } else {
        http_parser_next(&c->parser);
        conn_set_state(c, CONN_IDLE);
    }
    if (!c->running)
        conn_finish(c, IN_CALL);
}

/* --- whole answers --- */

static void append_body(struct http_conn *c, struct buf *body)
{
    if (buf_len(body) > HTTP_COPY && buf_len(&c->tail) == 0) {
        buf_fini(&c->tail);
        c->tail = *body;
        *body = (struct buf)BUF_INIT;
    } else {
        buf_append(reply_buf(c), buf_data(body), buf_len(body));
    }
}

void http_reply(struct http_request *req, int status, const char *content_type, struct buf *body)
{
    struct http_conn *c = conn_of(req);
    struct buf none = BUF_INIT;

    if (!body)
        body = &none;
    if (req->active && c->state != CONN_STREAM) {
        bool last = is_last(c);
        bool no_body = status_has_no_body(status);
        append_head(c, status, content_type);
        struct buf *b = reply_buf(c);
        if (!no_body)
            buf_printf(b, "Content-Length: %zu\r\n", buf_len(body));
        buf_append_str(b, last ? "Connection: close\r\n\r\n" : "\r\n");
        if (!no_body && !c->head)
            append_body(c, body);
        request_end(c, last);
    }
    buf_fini(body);
}

void reply_refusal(struct http_conn *c, int status, const char *reason)
{
    enum err_kind kind = status == 413   ? ERR_TOO_LARGE
                         : status == 408 ? ERR_TIMEOUT
                         : status == 500 ? ERR_INTERNAL
                                         : ERR_INVALID;
    struct buf body = BUF_INIT;

    buf_printf(&body, "{\"api\":1,\"error\":{\"kind\":\"%s\",\"message\":\"%s\"}}\n",
               err_kind_name(kind), reason);
    buf_clear(&c->req.headers);
    append_head(c, status, "application/json");
    struct buf *b = reply_buf(c);
    buf_printf(b, "Content-Length: %zu\r\nConnection: close\r\n\r\n", buf_len(&body));
    buf_append(b, buf_data(&body), buf_len(&body));
    buf_fini(&body);
    c->linger = true;
    conn_set_state(c, CONN_CLOSING);
}

/* --- streamed answers --- */

void http_stream_begin(struct http_request *req, int status, const char *content_type,
                       void (*drained)(struct http_request *req, void *data))
{
    struct http_conn *c = conn_of(req);

    if (!req->active || c->state == CONN_STREAM)
        return;
    req->drained = drained;
    c->chunked = c->parser.msg.minor == 1;
    c->close_after = is_last(c) || !c->chunked;
    append_head(c, status, content_type);
    buf_append_str(reply_buf(c), c->chunked ? "Transfer-Encoding: chunked\r\n" : "");
    buf_append_str(reply_buf(c), c->close_after ? "Connection: close\r\n\r\n" : "\r\n");
    conn_set_state(c, CONN_STREAM);
    if (!c->running)
        conn_settle_add(c);
}

bool http_stream_write(struct http_request *req, const void *data, size_t len)
{
    struct http_conn *c = conn_of(req);
    struct buf *b = reply_buf(c);

    if (!req->active || c->state != CONN_STREAM)
        return false;
    if (c->head || len == 0)
        return true;
    if (c->chunked)
        buf_printf(b, "%zx\r\n", len);
    buf_append(b, data, len);
    if (c->chunked)
        buf_append(b, "\r\n", 2);
    if (!c->running)
        conn_settle_add(c);
    if (conn_unsent(c) <= LIMIT_HTTP_OUT)
        return true;
    c->want_drained = req->drained != NULL;
    return false;
}

void http_stream_end(struct http_request *req)
{
    struct http_conn *c = conn_of(req);

    if (!req->active || c->state != CONN_STREAM)
        return;
    if (c->chunked && !c->head)
        buf_append_str(reply_buf(c), "0\r\n\r\n");
    request_end(c, c->close_after);
}

void http_stream_abort(struct http_request *req)
{
    struct http_conn *c = conn_of(req);

    if (!req->active || c->state != CONN_STREAM)
        return;
    if (!c->chunked && c->kind == HTTP_TCP) {
        /* Closing is how such an answer ends regularly: a reset is the only way to tell. */
        struct linger reset = { .l_onoff = 1, .l_linger = 0 };
        setsockopt(c->io.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    }
    request_end(c, true);
}
