/* SPDX-License-Identifier: BSD-2-Clause */
#include "head/beowulf.h"

#include "base/mem.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "base/str.h"
#include "ev/ev.h"
#include "head/head_allocate.h"
#include "net/beowulf_wire.h"
#include "net/sock.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE ((size_t)16 * 1024)
#define PAUSE_NS NS_PER_S /* before the next try when there are no descriptors left */

struct beowulf {
    struct ev_loop *loop;
    const struct log *log;
    struct head *head;
    struct ev_io io;
    struct ev_timer pause;
    struct list clients;
    size_t count;
};

struct client {
    struct list link; /* beowulf.clients */
    struct beowulf *owner;
    struct ev_io io;
    struct ev_timer idle;
    struct beowulf_wire wire;
    struct buf out;
    bool over; /* nothing more is read; closed when all is written */
};

static void listen_again(struct beowulf *b)
{
    ev_io_change(&b->io,
                 b->count < BEOWULF_CLIENTS_MAX && !ev_timer_armed(&b->pause) ? EV_READ : 0);
}

static void client_close(struct client *c)
{
    ev_timer_clear(&c->idle);
    ev_io_remove(&c->io);
    close(c->io.fd);
    list_remove(&c->link);
    c->owner->count--;
    listen_again(c->owner);
    beowulf_wire_fini(&c->wire);
    buf_fini(&c->out);
    free(c);
}

/* ---- answers ---- */

static void answer_allocate(struct client *c)
{
    struct head *h = c->owner->head;
    struct head_allocate_request request = { .command = c->wire.request.app, .far = true };
    struct head_allocated a;
    struct err err = ERR_INIT;

    if (head_allocate(h, &request, &a, &err) != 0) {
        beowulf_write_error(&c->out, &err);
    } else {
        const struct choose_rank *first = &a.result.ranks[0];
        const struct choose_host *host = &a.hosts[first->host];
        beowulf_write_allocated(&c->out, head_allocate_address(h, host->id), first->why);
        log_info(c->owner->log, "Allocated %s to %s: %s", a.app, host->name, first->why);
    }
    head_allocated_fini(&a);
}

static void answer_report(struct client *c)
{
    const struct beowulf_request *r = &c->wire.request;

    /* A report is of use to us, not to who makes it: a host that was removed meanwhile is no error. */
    if (r->host)
        head_allocate_started(c->owner->head, r->app, r->host, r->pid);
    beowulf_write_reported(&c->out);
}

static void answer(struct client *c, enum beowulf_event event)
{
    switch (event) {
    case BEOWULF_NEED_MORE:
        return;
    case BEOWULF_REQUEST:
        if (c->wire.request.cmd == BEOWULF_ALLOCATE)
            answer_allocate(c);
        else
            answer_report(c);
        break;
    case BEOWULF_BROKEN:
        c->over = true;
        beowulf_write_error(&c->out, &c->wire.err);
        break;
    case BEOWULF_REFUSED:
        beowulf_write_error(&c->out, &c->wire.err);
        break;
    }
    beowulf_wire_next(&c->wire);
}

/* ---- bytes ---- */

/* False: it was closed. */
static bool flush(struct client *c)
{
    while (buf_len(&c->out) > 0) {
        ssize_t n = send(c->io.fd, buf_data(&c->out), buf_len(&c->out), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) {
            client_close(c);
            return false;
        }
        buf_consume(&c->out, (size_t)n);
    }
    if (c->over && buf_len(&c->out) == 0) {
        client_close(c);
        return false;
    }
    /* Nothing is read from who doesn't take its answers. */
    ev_io_change(&c->io, buf_len(&c->out) > 0 ? EV_WRITE : EV_READ);
    return true;
}

static void client_end(struct client *c)
{
    answer(c, beowulf_wire_end(&c->wire));
    c->over = true;
}

static void client_read(struct client *c)
{
    char piece[PIECE];
    ssize_t n = recv(c->io.fd, piece, sizeof(piece), 0);
    size_t at = 0, used;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0) {
        buf_clear(&c->out);
        c->over = true;
    } else if (n == 0) {
        client_end(c);
    }
    while (n > 0 && at < (size_t)n && !c->over) {
        answer(c, beowulf_wire_feed(&c->wire, piece + at, (size_t)n - at, &used));
        at += used;
    }
}

static void on_client(struct ev_io *io, unsigned ready)
{
    struct client *c = CONTAINER_OF(io, struct client, io);

    ev_timer_set_after(c->owner->loop, &c->idle, BEOWULF_IDLE_NS);
    if (!c->over && (ready & EV_READ) && buf_len(&c->out) == 0)
        client_read(c);
    flush(c);
}

static void on_idle(struct ev_timer *t)
{
    struct client *c = CONTAINER_OF(t, struct client, idle);

    /* What came without an end is a message; who doesn't read gets nothing more. */
    if (buf_len(&c->out) > 0)
        buf_clear(&c->out);
    else
        client_end(c);
    c->over = true;
    if (flush(c))
        client_close(c);
}

/* ---- clients ---- */

static bool may_ask(struct beowulf *b, int fd)
{
    struct err err = ERR_INIT;
    uid_t uid;

    if (sock_peer_uid(fd, &uid, NULL, &err) != 0) {
        log_warning(b->log, "Beowulf's socket: %s", err.msg);
        return false;
    }
    if (uid == getuid() || uid == 0)
        return true;
    log_warning(b->log, "Beowulf's socket: a process of uid %u is not served", (unsigned)uid);
    return false;
}

static void client_open(struct beowulf *b, int fd)
{
    struct client *c = mem_alloc(sizeof(*c));

    c->owner = b;
    c->io.fd = fd;
    c->io.events = EV_READ;
    c->io.fn = on_client;
    c->idle.fn = on_idle;
    beowulf_wire_init(&c->wire);
    list_append(&b->clients, &c->link);
    b->count++;
    if (!may_ask(b, fd) || ev_io_add(b->loop, &c->io, NULL) != 0) {
        client_close(c);
        return;
    }
    ev_timer_set_after(b->loop, &c->idle, BEOWULF_IDLE_NS);
    listen_again(b);
}

static void on_pause(struct ev_timer *t)
{
    listen_again(CONTAINER_OF(t, struct beowulf, pause));
}

static void on_listener(struct ev_io *io, unsigned ready)
{
    struct beowulf *b = CONTAINER_OF(io, struct beowulf, io);
    int fd = accept4(io->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)ready;
    if (fd >= 0) {
        client_open(b, fd);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        log_warning(b->log, "Beowulf's socket: %s", strerror(errno));
        ev_timer_set_after(b->loop, &b->pause, PAUSE_NS);
        listen_again(b);
    }
}

struct beowulf *beowulf_create(struct ev_loop *loop, const struct log *log, struct head *head,
                               int fd, struct err *err)
{
    struct beowulf *b = mem_alloc(sizeof(*b));

    b->loop = loop;
    b->log = log;
    b->head = head;
    list_init(&b->clients);
    b->io.fd = fd;
    b->io.events = EV_READ;
    b->io.fn = on_listener;
    b->pause.fn = on_pause;
    if (ev_io_add(loop, &b->io, err) != 0) {
        close(fd);
        free(b);
        return NULL;
    }
    return b;
}

void beowulf_destroy(struct beowulf *b)
{
    if (!b)
        return;
    while (!list_empty(&b->clients))
        client_close(CONTAINER_OF(b->clients.next, struct client, link));
    ev_timer_clear(&b->pause);
    ev_io_remove(&b->io);
    close(b->io.fd);
    free(b);
}
