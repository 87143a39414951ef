/* SPDX-License-Identifier: BSD-2-Clause */
#include "net/http_conn.h"

#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* Reads of one connection in one turn, so that an upload doesn't keep others waiting. */
#define READS_PER_TURN 4

static void on_io(struct ev_io *io, unsigned ready);
static void on_timer(struct ev_timer *t);
static void conn_read(struct http_conn *c);

size_t conn_unsent(const struct http_conn *c)
{
    return buf_len(&c->out) + buf_len(&c->tail);
}

static int64_t seconds(int64_t s)
{
    return s * NS_PER_S;
}

static void give_back(struct buf *b)
{
    if (b->cap > HTTP_KEEP)
        buf_fini(b);
    else
        buf_clear(b);
}

void conn_set_state(struct http_conn *c, enum conn_state state)
{
    int64_t now = ev_now_ns(c->server->loop);

    list_remove(&c->idle);
    c->state = state;
    switch (state) {
    case CONN_IDLE:
        list_append(&c->server->idle, &c->idle);
        c->deadline_ns = now + seconds(LIMIT_HTTP_IDLE_S);
        give_back(&c->req.body);
        give_back(&c->req.headers);
        break;
    case CONN_HEADERS:
        c->deadline_ns = now + seconds(LIMIT_HTTP_HEADER_S);
        break;
    case CONN_BODY:
        c->deadline_ns = now + seconds(LIMIT_HTTP_BODY_S);
        break;
    case CONN_LINGER:
        c->deadline_ns = now + seconds(HTTP_LINGER_S);
        break;
    default:
        c->deadline_ns = INT64_MAX;
    }
}

/* --- life --- */

static struct http_conn *conn_alloc(struct http_server *s)
{
    struct http_conn *c;

    if (!list_empty(&s->pool)) {
        c = CONTAINER_OF(s->pool.next, struct http_conn, link);
        list_remove(&c->link);
        s->pool_count--;
        return c;
    }
    c = mem_alloc(sizeof(*c));
    c->server = s;
    c->io.fn = on_io;
    c->timer.fn = on_timer;
    list_init(&c->link);
    list_init(&c->idle);
    list_init(&c->settle);
    list_init(&c->later);
    http_parser_init(&c->parser, HTTP_REQUEST, LIMIT_HTTP_BODY);
    return c;
}

void conn_free(struct http_conn *c)
{
    http_parser_fini(&c->parser);
    buf_fini(&c->req.body);
    buf_fini(&c->req.headers);
    buf_fini(&c->in);
    buf_fini(&c->out);
    buf_fini(&c->tail);
    free(c);
}

void conn_open(struct http_server *s, int fd, enum http_listener_kind kind)
{
    struct http_conn *c = conn_alloc(s);

    c->io.fd = fd;
    c->io.events = 0;
    c->kind = kind;
    c->running = c->broken = c->linger = c->want_drained = c->unwanted = false;
    c->uid_known = CONN_UID_UNKNOWN;
    list_append(&s->conns, &c->link);
    s->count[kind]++;
    conn_set_state(c, CONN_IDLE);
    conn_read(c); /* most clients have sent their request by now */
    conn_finish(c, IN_EVENT);
}

/* Takes the request away from the application. */
static void tell_gone(struct http_conn *c)
{
    struct http_request *req = &c->req;

    if (!req->active)
        return;
    req->active = false;
    if (req->gone)
        req->gone(req, req->data);
}

void conn_close(struct http_conn *c)
{
    struct http_server *s = c->server;

    tell_gone(c);
    conn_set_state(c, CONN_CLOSED);
    ev_io_remove(&c->io);
    ev_timer_clear(&c->timer);
    close(c->io.fd);
    list_remove(&c->link);
    list_remove(&c->settle);
    list_remove(&c->later);
    s->count[c->kind]--;
    if (s->pool_count < HTTP_POOL) {
        http_parser_next(&c->parser);
        give_back(&c->req.body);
        give_back(&c->req.headers);
        give_back(&c->in);
        give_back(&c->out);
        give_back(&c->tail);
        list_append(&s->pool, &c->link);
        s->pool_count++;
        server_conn_closed(s);
        return;
    }
    conn_free(c);
    server_conn_closed(s);
}

/* --- putting off --- */

void conn_settle_add(struct http_conn *c)
{
    struct http_server *s = c->server;

    if (!list_empty(&c->settle))
        return;
    if (!s->hook.loop)
        ev_hook_add(s->loop, &s->hook);
    list_append(&s->settle, &c->settle);
}

static void later_add(struct http_conn *c)
{
    struct http_server *s = c->server;

    if (!list_empty(&c->later))
        return;
    list_append(&s->later, &c->later);
    ev_timer_set(s->loop, &s->later_timer, 0);
}

/* --- output --- */

static void flush(struct http_conn *c)
{
    while (conn_unsent(c) > 0 && !c->broken) {
        struct iovec iov[2] = {
            { (void *)(uintptr_t)buf_data(&c->out), buf_len(&c->out) },
            { (void *)(uintptr_t)buf_data(&c->tail), buf_len(&c->tail) },
        };
        struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
        ssize_t n = sendmsg(c->io.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            c->broken = errno != EAGAIN;
            break;
        }
        size_t first = (size_t)n < iov[0].iov_len ? (size_t)n : iov[0].iov_len;
        buf_consume(&c->out, first);
        buf_consume(&c->tail, (size_t)n - first);
        c->write_deadline_ns = ev_now_ns(c->server->loop) + seconds(LIMIT_HTTP_WRITE_S);
    }
    if (c->broken || conn_unsent(c) == 0) {
        give_back(&c->out);
        give_back(&c->tail);
    }
}

static int64_t deadline_of(const struct http_conn *c)
{
    bool writing = conn_unsent(c) > 0 && c->write_deadline_ns < c->deadline_ns;

    return writing ? c->write_deadline_ns : c->deadline_ns;
}

static bool may_read(const struct http_conn *c)
{
    return conn_is_reading(c) && conn_unsent(c) <= LIMIT_HTTP_OUT && buf_len(&c->in) == 0;
}

static unsigned wanted_events(const struct http_conn *c)
{
    unsigned events = 0;

    if (may_read(c) || c->state == CONN_LINGER)
        events |= EV_READ;
    else if (!c->unwanted) /* saves two system calls per request where nothing comes meanwhile */
        events |= c->io.events & EV_READ;
    if (conn_unsent(c) > 0 || c->want_drained)
        events |= EV_WRITE;
    return events;
}

/* Sets watch and deadline as the state asks for. */
static void arm(struct http_conn *c, enum conn_where where)
{
    struct http_server *s = c->server;
    struct err err = ERR_INIT;

    if (conn_is_reading(c)) {
        c->unwanted = false;
        if (buf_len(&c->in) > 0 && conn_unsent(c) <= LIMIT_HTTP_OUT)
            later_add(c);
    }
    unsigned events = wanted_events(c);
    if (c->io.loop) {
        ev_io_change(&c->io, events);
    } else if (where != IN_HOOK && c->state == CONN_HANDLE && events == 0) {
        conn_settle_add(c);
    } else {
        c->io.events = events;
        if (ev_io_add(s->loop, &c->io, &err) != 0) {
            log_warning(s->log, "http: closing a connection: %s", err.msg);
            c->broken = true;
            later_add(c);
        }
    }
    int64_t deadline = deadline_of(c);
    if (deadline != INT64_MAX && (!ev_timer_armed(&c->timer) || c->timer.due_ns > deadline))
        ev_timer_set(s->loop, &c->timer, deadline);
}

static void start_linger(struct http_conn *c)
{
    shutdown(c->io.fd, SHUT_WR);
    c->linger_left = HTTP_LINGER_BYTES;
    buf_fini(&c->in);
    conn_set_state(c, CONN_LINGER);
}

void conn_finish(struct http_conn *c, enum conn_where where)
{
    if (conn_unsent(c) > 0 && !c->broken) {
        if (!(c->io.events & EV_WRITE)) /* waiting for the peer begins now */
            c->write_deadline_ns = ev_now_ns(c->server->loop) + seconds(LIMIT_HTTP_WRITE_S);
        flush(c);
    }
    if (c->broken) {
        if (c->req.active && where != IN_EVENT)
            later_add(c);
        else
            conn_close(c);
        return;
    }
    if (c->state == CONN_CLOSING && conn_unsent(c) == 0) {
        if (!c->linger && buf_len(&c->in) == 0) {
            conn_close(c);
            return;
        }
        start_linger(c);
    }
    arm(c, where);
}

/* --- input --- */

static void refuse(struct http_conn *c, int status, const char *reason)
{
    tell_gone(c);
    log_debug(c->server->log, "http: %d: %s", status, reason);
    reply_refusal(c, status, reason);
}

static void on_headers(struct http_conn *c, bool more_input)
{
    const struct http_server_hooks *hooks = &c->server->hooks;
    const struct http_message *m = &c->parser.msg;
    struct http_request *req = &c->req;

    conn_set_state(c, CONN_HEADERS);
    c->head = strcmp(m->method, "HEAD") == 0;
    req->active = true;
    req->data = NULL;
    req->gone = NULL;
    req->drained = NULL;
    bool ok = !hooks->check || hooks->check(req, hooks->arg);
    if (!req->active)
        return;
    if (!ok) {
        refuse(c, 500, "the request was refused without an answer");
        return;
    }
    conn_set_state(c, CONN_BODY);
    if (m->expect_continue && http_parser_has_body(&c->parser) && !more_input)
        buf_append_str(reply_buf(c), "HTTP/1.1 100 Continue\r\n\r\n");
}

static void on_event(struct http_conn *c, enum http_event event, bool more_input)
{
    const struct http_server_hooks *hooks = &c->server->hooks;

    switch (event) {
    case HTTP_HEADERS:
        on_headers(c, more_input);
        break;
    case HTTP_BODY:
        buf_append(&c->req.body, c->parser.chunk, c->parser.chunk_len);
        c->deadline_ns = ev_now_ns(c->server->loop) + seconds(LIMIT_HTTP_BODY_S);
        break;
    case HTTP_DONE:
        conn_set_state(c, CONN_HANDLE);
        hooks->handle(&c->req, hooks->arg);
        break;
    case HTTP_ERROR:
        refuse(c, c->parser.status, c->parser.reason);
        break;
    case HTTP_NEED_MORE:
        if (c->state == CONN_IDLE && c->parser.started)
            conn_set_state(c, CONN_HEADERS);
    }
}

/* Feeds bytes until they are used up or reading must pause. Returns how many were taken. */
static size_t feed(struct http_conn *c, const char *data, size_t len)
{
    enum http_event event = HTTP_DONE;
    size_t pos = 0;

    c->running = true;
    while (event != HTTP_NEED_MORE && conn_is_reading(c) && conn_unsent(c) <= LIMIT_HTTP_OUT) {
        size_t used;
        event = http_parser_feed(&c->parser, data + pos, len - pos, &used);
        pos += used;
        on_event(c, event, pos < len);
    }
    c->running = false;
    return pos;
}

static void read_end(struct http_conn *c)
{
    switch (http_parser_eof(&c->parser)) {
    case HTTP_ERROR:
        refuse(c, c->parser.status, c->parser.reason);
        break;
    default: /* between requests; unsent answers still go out */
        conn_set_state(c, CONN_CLOSING);
    }
}

static void conn_read(struct http_conn *c)
{
    char *data = c->server->scratch;

    for (int i = 0; i < READS_PER_TURN && may_read(c); i++) {
        ssize_t n = recv(c->io.fd, data, HTTP_SCRATCH, MSG_DONTWAIT);
        if (n == 0) {
            read_end(c);
            return;
        }
        if (n < 0) {
            c->broken = errno != EAGAIN && errno != EINTR;
            return;
        }
        size_t used = feed(c, data, (size_t)n);
        buf_append(&c->in, data + used, (size_t)n - used);
        if (n < HTTP_SCRATCH)
            return;
    }
}

void conn_resume(struct http_conn *c)
{
    if (conn_is_reading(c) && !c->broken && buf_len(&c->in) > 0) {
        size_t used = feed(c, buf_data(&c->in), buf_len(&c->in));
        buf_consume(&c->in, used);
        if (buf_len(&c->in) == 0)
            give_back(&c->in);
    }
    conn_finish(c, IN_EVENT);
}

static void linger_read(struct http_conn *c)
{
    for (int i = 0; i < READS_PER_TURN; i++) {
        ssize_t n = recv(c->io.fd, c->server->scratch, HTTP_SCRATCH, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        c->linger_left -= n;
        if (n <= 0 || c->linger_left < 0) {
            conn_close(c);
            return;
        }
    }
}

static void on_io(struct ev_io *io, unsigned ready)
{
    struct http_conn *c = CONTAINER_OF(io, struct http_conn, io);

    if (c->state == CONN_LINGER) {
        linger_read(c);
        return;
    }
    if ((ready & EV_HANGUP) && !may_read(c)) {
        conn_close(c);
        return;
    }
    if (ready & EV_WRITE) {
        flush(c);
        if (c->want_drained && !c->broken && conn_unsent(c) <= LIMIT_HTTP_OUT / 2) {
            c->want_drained = false;
            c->running = true;
            c->req.drained(&c->req, c->req.data);
            c->running = false;
        }
    }
    if (ready & EV_READ) {
        if (may_read(c) && !c->broken)
            conn_read(c);
        else
            c->unwanted = true;
    }
    conn_finish(c, IN_EVENT);
}

static void on_timer(struct ev_timer *t)
{
    struct http_conn *c = CONTAINER_OF(t, struct http_conn, timer);
    int64_t now = ev_now_ns(c->server->loop);
    int64_t deadline = deadline_of(c);

    if (deadline > now) { /* it was moved since */
        if (deadline != INT64_MAX)
            ev_timer_set(c->server->loop, t, deadline);
        return;
    }
    if ((c->state == CONN_HEADERS || c->state == CONN_BODY) && c->deadline_ns <= now) {
        refuse(c, 408,
               c->state == CONN_BODY ? "the body stopped arriving"
                                     : "the request headers took too long");
        conn_finish(c, IN_EVENT);
        return;
    }
    conn_close(c);
}
