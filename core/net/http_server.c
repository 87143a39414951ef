/* SPDX-License-Identifier: BSD-2-Clause */
#include "net/http_server.h"

#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/http_conn.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS_PER_TURN 256
#define PAUSE_NS NS_PER_S
#define WARN_EVERY_NS (10 * NS_PER_S)

/* --- accepting --- */

static size_t limit_of(enum http_listener_kind kind)
{
    return kind == HTTP_UNIX ? LIMIT_HTTP_CONNECTIONS
                             : LIMIT_HTTP_CONNECTIONS - LIMIT_HTTP_CONNECTIONS / 8;
}

static bool at_limit(const struct http_server *s, enum http_listener_kind kind)
{
    size_t n = kind == HTTP_UNIX ? http_server_connections(s) : s->count[HTTP_TCP];

    return n >= limit_of(kind) || http_server_connections(s) >= LIMIT_HTTP_CONNECTIONS;
}

/* Closes the connection that has been idle for longest; TCP makes no room at the cost of the Unix
 * socket. */
static bool evict_idle(struct http_server *s, enum http_listener_kind kind)
{
    LIST_FOR_EACH(it, &s->idle) {
        struct http_conn *c = CONTAINER_OF(it, struct http_conn, idle);
        if ((kind == HTTP_UNIX || c->kind == HTTP_TCP) && conn_unsent(c) == 0 &&
            buf_len(&c->in) == 0) {
            conn_close(c);
            return true;
        }
    }
    return false;
}

static void pause_listener(struct http_listener *l, const char *why)
{
    struct http_server *s = l->server;
    int64_t now = ev_now_ns(s->loop);

    ev_io_change(&l->io, 0);
    s->paused = true;
    ev_timer_set_after(s->loop, &s->accept_timer, PAUSE_NS);
    if (s->warned_ns == 0 || now - s->warned_ns >= WARN_EVERY_NS) {
        s->warned_ns = now;
        log_warning(s->log, "http: accepting no connections for a moment: %s", why);
    }
}

static void resume_listeners(struct http_server *s)
{
    s->paused = false;
    ev_timer_clear(&s->accept_timer);
    LIST_FOR_EACH(it, &s->listeners) {
        struct http_listener *l = CONTAINER_OF(it, struct http_listener, link);
        if (l->io.loop)
            ev_io_change(&l->io, EV_READ);
    }
}

static void on_accept_timer(struct ev_timer *t)
{
    resume_listeners(CONTAINER_OF(t, struct http_server, accept_timer));
}

void server_conn_closed(struct http_server *s)
{
    if (s->paused)
        resume_listeners(s);
}

static bool out_of_resources(int sys)
{
    return sys == EMFILE || sys == ENFILE || sys == ENOBUFS || sys == ENOMEM;
}

static void on_listener(struct ev_io *io, unsigned ready)
{
    struct http_listener *l = CONTAINER_OF(io, struct http_listener, io);
    struct http_server *s = l->server;
    bool evicted = false;

    (void)ready;
    for (int i = 0; i < ACCEPTS_PER_TURN && l->io.loop; i++) {
        if (at_limit(s, l->kind)) {
            if (i > 0) /* perhaps nobody waits: see in the next turn */
                return;
            if (!evict_idle(s, l->kind)) {
                pause_listener(l, "too many are open");
                return;
            }
        }
        int fd = accept4(io->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            conn_open(s, fd, l->kind);
        } else if (errno == EAGAIN) {
            return;
        } else if (out_of_resources(errno)) {
            int sys = errno;
            if (evicted || !evict_idle(s, HTTP_UNIX)) {
                pause_listener(l, strerror(sys));
                return;
            }
            evicted = true;
        } /* else: an error of the one connection (accept(2)), or EINTR */
    }
}

/* --- what was put off --- */

/* The application is not called from here: see http_conn.h. */
static void on_hook(struct ev_hook *h)
{
    struct http_server *s = CONTAINER_OF(h, struct http_server, hook);

    ev_hook_remove(h);
    while (!list_empty(&s->settle)) {
        struct http_conn *c = CONTAINER_OF(s->settle.next, struct http_conn, settle);
        list_remove(&c->settle);
        conn_finish(c, IN_HOOK);
    }
}

static void on_later(struct ev_timer *t)
{
    struct http_server *s = CONTAINER_OF(t, struct http_server, later_timer);
    struct list batch;

    /* What is added meanwhile waits for the next turn. */
    list_init(&batch);
    while (!list_empty(&s->later)) {
        struct list *it = s->later.next;
        list_remove(it);
        list_append(&batch, it);
    }
    while (!list_empty(&batch)) {
        struct http_conn *c = CONTAINER_OF(batch.next, struct http_conn, later);
        list_remove(&c->later);
        conn_resume(c);
    }
}

/* --- the server --- */

struct http_server *http_server_create(struct ev_loop *loop, const struct log *log,
                                       const struct http_server_hooks *hooks)
{
    struct http_server *s = mem_alloc(sizeof(*s));

    s->loop = loop;
    s->log = log;
    s->hooks = *hooks;
    s->date_s = -1;
    s->scratch = mem_alloc(HTTP_SCRATCH);
    s->accept_timer.fn = on_accept_timer;
    s->later_timer.fn = on_later;
    s->hook.fn = on_hook;
    list_init(&s->listeners);
    list_init(&s->conns);
    list_init(&s->idle);
    list_init(&s->settle);
    list_init(&s->later);
    list_init(&s->pool);
    return s;
}

static void close_listeners(struct http_server *s)
{
    LIST_FOR_EACH(it, &s->listeners) {
        struct http_listener *l = CONTAINER_OF(it, struct http_listener, link);
        if (l->io.loop) {
            ev_io_remove(&l->io);
            close(l->io.fd);
        }
    }
}

void http_server_destroy(struct http_server *s)
{
    if (!s)
        return;
    s->stopping = true;
    close_listeners(s);
    while (!list_empty(&s->conns))
        conn_close(CONTAINER_OF(s->conns.next, struct http_conn, link));
    while (!list_empty(&s->pool)) {
        struct http_conn *c = CONTAINER_OF(s->pool.next, struct http_conn, link);
        list_remove(&c->link);
        conn_free(c);
    }
    LIST_FOR_EACH_SAFE(it, &s->listeners)
        free(CONTAINER_OF(it, struct http_listener, link));
    ev_timer_clear(&s->accept_timer);
    ev_timer_clear(&s->later_timer);
    ev_hook_remove(&s->hook);
    free(s->scratch);
    free(s);
}

void http_server_stop_accepting(struct http_server *s)
{
    s->stopping = true;
    close_listeners(s); /* the structs stay: we may have been called from within on_listener() */
    LIST_FOR_EACH_SAFE(it, &s->idle) {
        struct http_conn *c = CONTAINER_OF(it, struct http_conn, idle);
        if (conn_unsent(c) == 0 && buf_len(&c->in) == 0)
            conn_close(c);
        else
            conn_set_state(c, CONN_CLOSING);
    }
}

int http_server_listen(struct http_server *s, int fd, enum http_listener_kind kind, struct err *err)
{
    struct http_listener *l = mem_alloc(sizeof(*l));

    l->server = s;
    l->kind = kind;
    l->io = (struct ev_io){ .fd = fd, .events = EV_READ, .fn = on_listener };
    if (ev_io_add(s->loop, &l->io, err) != 0) {
        free(l);
        return -1;
    }
    list_append(&s->listeners, &l->link);
    return 0;
}

size_t http_server_connections(const struct http_server *s)
{
    return s->count[HTTP_UNIX] + s->count[HTTP_TCP];
}
