/* SPDX-License-Identifier: BSD-2-Clause */
#include "net/http_client.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/http_parser.h"
#include "net/sock.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECT_NS (10 * NS_PER_S)
#define TIMEOUT_NS (30 * NS_PER_S)
#define READ_SIZE 65536

struct http_client {
    char *path;      /* Unix socket, or NULL */
    char *host_port; /* TCP, or NULL */
    int fd;          /* -1: closed, to be opened by the next call */
    struct http_parser parser;
    char *bytes; /* READ_SIZE; what was read and not yet parsed is [pos, len) */
    size_t pos, len;
};

/* --- connection --- */

static int connect_again(struct http_client *c, int64_t timeout_ns, struct err *err)
{
    c->fd = c->path ? sock_connect_unix(c->path, SOCK_STREAM, timeout_ns, err)
                    : sock_connect_tcp(c->host_port, timeout_ns, err);
    return c->fd < 0 ? -1 : 0;
}

static struct http_client *client_open(const char *path, const char *host_port, struct err *err)
{
    struct http_client *c = mem_alloc(sizeof(*c));

    c->path = mem_strdup(path);
    c->host_port = mem_strdup(host_port);
    c->bytes = mem_alloc(READ_SIZE);
    http_parser_init(&c->parser, HTTP_RESPONSE, -1);
    if (connect_again(c, CONNECT_NS, err) == 0)
        return c;
    http_client_close(c);
    return NULL;
}

struct http_client *http_client_open_unix(const char *path, struct err *err)
{
    return client_open(path, NULL, err);
}

struct http_client *http_client_open_tcp(const char *host_port, struct err *err)
{
    return client_open(NULL, host_port, err);
}

/* Drops the connection; the next call opens another. */
static void disconnect(struct http_client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->pos = c->len = 0;
    http_parser_next(&c->parser);
}

void http_client_close(struct http_client *c)
{
    if (!c)
        return;
    disconnect(c);
    http_parser_fini(&c->parser);
    free(c->path);
    free(c->host_port);
    free(c->bytes);
    free(c);
}

/* --- waiting --- */

static int64_t until(int64_t timeout_ns)
{
    int64_t at;

    if (timeout_ns < 0 || __builtin_add_overflow(clock_mono_ns(&clock_system), timeout_ns, &at))
        return INT64_MAX;
    return at;
}

/* Returns the events that are there, 0 at the deadline. */
static int wait_for(int fd, short events, int64_t deadline_ns)
{
    struct pollfd p = { .fd = fd, .events = events };

    for (;;) {
        int64_t left = deadline_ns - clock_mono_ns(&clock_system);
        int64_t ms = left <= 0 ? 0 : left / NS_PER_MS + 1;
        /* A poll doesn't count the time of a suspended machine; we do. */
        int n = poll(&p, 1, ms > 5000 ? 5000 : (int)ms);
        if (n > 0)
            return p.revents;
        if (n == 0 && left <= 0)
            return 0;
    }
}

static int lost(struct err *err)
{
    err_set(err, ERR_UNAVAILABLE, "the connection to the daemon was lost");
    return err_hint(err, "look at the daemon's log; try again");
}

/* --- sending --- */

static bool is_clean(const char *s, char lowest)
{
    for (; *s; s++)
        if ((*s >= 0 && *s < lowest && *s != '\t') || *s == 0x7f)
            return false;
    return true;
}

static int build(const struct http_client *c, const struct http_client_request *r, struct buf *b,
                 struct err *err)
{
    if (r->path[0] != '/' || !is_clean(r->path, 0x21) || strchr(r->path, '\t'))
        return err_set(err, ERR_INVALID, "not a path that HTTP can carry: %s", r->path);
    buf_printf(b, "%s %s HTTP/1.1\r\nHost: %s\r\n", r->method, r->path,
               c->host_port ? c->host_port : "localhost");
    for (const char *const *h = r->headers; h && *h; h++) {
        if (!is_clean(*h, 0x20))
            return err_set(err, ERR_INVALID, "control character in the header '%s'", *h);
        buf_printf(b, "%s\r\n", *h);
    }
    if (r->body)
        buf_printf(b, "Content-Type: %s\r\nContent-Length: %zu\r\n",
                   r->content_type ? r->content_type : "application/json", r->body_len);
    else if (!str_eq(r->method, "GET") && !str_eq(r->method, "HEAD"))
        buf_append_str(b, "Content-Length: 0\r\n");
    buf_append_str(b, r->last ? "Connection: close\r\n\r\n" : "\r\n");
    return 0;
}

/* A connection that is readable before anything was asked is at its end, or out of step. */
static bool is_usable(const struct http_client *c)
{
    struct pollfd p = { .fd = c->fd, .events = POLLIN };

    return c->fd >= 0 && c->pos == c->len && poll(&p, 1, 0) == 0;
}

/*
 * Sends header and body. Stops early, without error, when the server has answered already or takes
 * no more: then its answer says why.
 */
static int send_request(struct http_client *c, struct buf *head,
                        const struct http_client_request *r, int64_t deadline_ns, bool *all,
                        struct err *err)
{
    size_t sent = 0;

    *all = false;
    if (r->body && r->body_len <= READ_SIZE) { /* one system call for most */
        buf_append(head, r->body, r->body_len);
        sent = r->body_len;
    }
    while (buf_len(head) > 0 || (r->body && sent < r->body_len)) {
        bool in_head = buf_len(head) > 0;
        const char *from = in_head ? buf_data(head) : r->body + sent;
        size_t len = in_head ? buf_len(head) : r->body_len - sent;
        ssize_t n = send(c->fd, from, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            int events = wait_for(c->fd, POLLIN | POLLOUT, deadline_ns);
            if (events == 0)
                return err_set(err, ERR_TIMEOUT, "the daemon takes no data");
            if (events & POLLIN)
                return 0;
        } else if (n < 0 && errno != EINTR) {
            return 0;
        } else if (n > 0 && in_head) {
            buf_consume(head, (size_t)n);
        } else if (n > 0) {
            sent += (size_t)n;
        }
    }
    *all = true;
    return 0;
}

/* --- receiving --- */

/* Next event of the answer that is more than HTTP_NEED_MORE; that one is returned for a connection
 * that ended before the answer began. -1: err is set. */
static int next_event(struct http_client *c, int64_t deadline_ns, struct err *err)
{
    for (;;) {
        size_t used;
        enum http_event ev =
            http_parser_feed(&c->parser, c->bytes + c->pos, c->len - c->pos, &used);
        c->pos += used;
        if (ev == HTTP_ERROR)
            return err_set(err, ERR_CORRUPT, "the answer is not HTTP: %s", c->parser.reason);
        if (ev != HTTP_NEED_MORE)
            return (int)ev;
        ssize_t n = recv(c->fd, c->bytes, READ_SIZE, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            if (wait_for(c->fd, POLLIN, deadline_ns) == 0)
                return err_set(err, ERR_TIMEOUT, "the daemon doesn't answer");
            continue;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return lost(err);
        if (n == 0) {
            ev = http_parser_eof(&c->parser);
            return ev == HTTP_DONE ? (int)ev : lost(err);
        }
        c->pos = 0;
        c->len = (size_t)n;
    }
}

/* Reads up to the headers of the final answer, passing by 1xx ones. */
static int read_headers(struct http_client *c, int64_t deadline_ns, struct err *err)
{
    for (;;) {
        int ev = next_event(c, deadline_ns, err);
        if (ev < 0)
            return -1;
        if (ev != HTTP_HEADERS) { /* HTTP_DONE of a 1xx */
            http_parser_next(&c->parser);
            continue;
        }
        if (c->parser.msg.status == 101)
            return err_set(err, ERR_CORRUPT, "the answer switches to another protocol");
        if (c->parser.msg.status >= 200)
            return 0;
    }
}

/* What is done with the body. */
struct sink {
    bool (*on_data)(void *arg, int status, const char *data, size_t len);
    void *arg;
    bool stopped;
};

static int read_body(struct http_client *c, struct sink *sink, int64_t idle_ns, struct err *err)
{
    for (;;) {
        int ev = next_event(c, until(idle_ns), err);
        if (ev != HTTP_BODY)
            return ev < 0 ? -1 : 0;
        if (!sink->on_data(sink->arg, c->parser.msg.status, c->parser.chunk, c->parser.chunk_len)) {
            sink->stopped = true;
            return 0;
        }
    }
}

/* One exchange. *status is set once the headers are there, so it tells where a failure was. */
static int exchange(struct http_client *c, const struct http_client_request *r, struct sink *sink,
                    int *status, struct err *err)
{
    int64_t timeout = r->timeout_ns ? r->timeout_ns : TIMEOUT_NS;
    int64_t deadline_ns = until(timeout);
    struct buf head = BUF_INIT;
    bool all = false;

    int rc = build(c, r, &head, err);
    if (rc == 0 && !is_usable(c)) {
        disconnect(c);
        rc = connect_again(c, timeout < 0 ? CONNECT_NS : timeout, err);
    }
    if (rc == 0)
        rc = send_request(c, &head, r, deadline_ns, &all, err);
    buf_fini(&head);
    if (rc == 0)
        rc = read_headers(c, deadline_ns, err);
    if (rc == 0) {
        *status = c->parser.msg.status;
        c->parser.no_body = str_eq(r->method, "HEAD");
        rc = read_body(c, sink, r->idle_ns ? r->idle_ns : timeout, err);
    }
    if (rc == 0 && !sink->stopped && all && c->parser.msg.keep_alive && !r->last)
        http_parser_next(&c->parser);
    else
        disconnect(c);
    return rc;
}

struct whole {
    struct buf *body;
    size_t max, seen;
};

static bool append(void *arg, int status, const char *data, size_t len)
{
    struct whole *w = arg;

    (void)status;
    if (len > w->max - w->seen)
        return false;
    w->seen += len;
    if (w->body)
        buf_append(w->body, data, len);
    return true;
}

int http_client_call(struct http_client *c, const struct http_client_request *r, size_t max_body,
                     struct buf *body, struct err *err)
{
    struct whole whole = { .body = body, .max = max_body };
    struct sink sink = { .on_data = append, .arg = &whole };
    int status = 0;

    if (exchange(c, r, &sink, &status, err) != 0)
        return -1;
    if (sink.stopped)
        return err_set(err, ERR_TOO_LARGE, "the answer is larger than %zu bytes", max_body);
    return status;
}

int http_client_stream(struct http_client *c, const struct http_client_request *r,
                       bool (*on_data)(void *arg, int status, const char *data, size_t len),
                       void *arg, bool *complete, struct err *err)
{
    struct sink sink = { .on_data = on_data, .arg = arg };
    struct err e = ERR_INIT;
    int status = 0;
    int rc = exchange(c, r, &sink, &status, &e);

    if (complete)
        *complete = rc == 0 && !sink.stopped;
    if (rc == 0 || (status != 0 && e.kind == ERR_UNAVAILABLE))
        return status;
    if (err)
        *err = e;
    return -1;
}
