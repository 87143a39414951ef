/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "ev/ev.h"
#include "net/ssh_connect.h"

#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

struct ssh_connect {
    struct ev_loop *loop;
    struct resolve_address address[SSH_CONNECT_ADDRESSES_MAX];
    size_t count, next;
    uint16_t port;
    char *bind_address; /* or NULL */
    int64_t deadline_ns;
    int fd;
    struct ev_io io;
    struct ev_timer timer; /* of the address that is tried, or to go on in the next turn */
    struct err err;        /* what became of the address before */
    void (*done)(void *arg, int fd, const struct err *err);
    void *arg;
};

void ssh_connect_address_text(const struct sockaddr_storage *addr, char *out, size_t size)
{
    socklen_t len =
        addr->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);

    if ((addr->ss_family != AF_INET && addr->ss_family != AF_INET6) ||
        getnameinfo((const struct sockaddr *)addr, len, out, (socklen_t)size, NULL, 0,
                    NI_NUMERICHOST) != 0)
        str_copy(out, size, "?");
}

int ssh_connect_resolve(void *arg, const char *host, uint16_t port, int family,
                        struct resolve_address *out, struct err *err)
{
    struct err why = ERR_INIT;
    int count = resolve_wait(host, port, family, NULL, out, SSH_CONNECT_ADDRESSES_MAX, &why);

    (void)arg;
    if (count >= 0)
        return count;
    if (why.kind == ERR_UNAVAILABLE)
        err_hint(&why, "check the network, or give HostName an address");
    else if (why.kind == ERR_NOT_FOUND)
        err_hint(&why, "check the name, or set HostName for it in ~/.ssh/config");
    if (err)
        *err = why;
    return -1;
}

static void connect_free(struct ssh_connect *c)
{
    ev_timer_clear(&c->timer);
    ev_io_remove(&c->io);
    if (c->fd >= 0)
        close(c->fd);
    free(c->bind_address);
    free(c);
}

void ssh_connect_cancel(struct ssh_connect *c)
{
    if (c)
        connect_free(c);
}

static void connect_done(struct ssh_connect *c, int fd)
{
    void (*done)(void *arg, int fd, const struct err *err) = c->done;
    void *arg = c->arg;
    struct err err = c->err;

    c->fd = -1;
    connect_free(c);
    done(arg, fd, fd >= 0 ? NULL : &err);
}

static void connect_next(struct ssh_connect *c);

/* The address that is tried is no good: c->err says why. */
static void connect_failed(struct ssh_connect *c)
{
    ev_timer_clear(&c->timer);
    ev_io_remove(&c->io);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    connect_next(c);
}

static void connect_set_error(struct ssh_connect *c, int sys)
{
    char text[80];

    ssh_connect_address_text(&c->address[c->next - 1].addr, text, sizeof text);
    err_set(&c->err, sys == ETIMEDOUT ? ERR_TIMEOUT : ERR_UNAVAILABLE, "%s port %u: %s", text,
            (unsigned)c->port, sys == ETIMEDOUT ? "no answer" : strerror(sys));
    c->err.sys = sys;
    if (sys == ECONNREFUSED)
        err_hint(&c->err, "is an SSH server running there, and on this port?");
    else
        err_hint(&c->err, "is the machine on, and is the network between up?");
}

static void connect_on_io(struct ev_io *io, unsigned ready)
{
    struct ssh_connect *c = CONTAINER_OF(io, struct ssh_connect, io);
    int sys = 0, one = 1, fd = c->fd;
    socklen_t len = sizeof sys;

    (void)ready;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &sys, &len) != 0)
        sys = errno;
    if (sys != 0) {
        connect_set_error(c, sys);
        connect_failed(c);
        return;
    }
    ev_io_remove(&c->io);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    connect_done(c, fd);
}

static void connect_on_timer(struct ev_timer *t)
{
    struct ssh_connect *c = CONTAINER_OF(t, struct ssh_connect, timer);

    if (c->fd >= 0)
        connect_set_error(c, ETIMEDOUT);
    connect_failed(c);
}

static int connect_bind(struct ssh_connect *c, int fd, int family)
{
    struct addrinfo hints = { .ai_family = family, .ai_flags = AI_NUMERICHOST };
    struct addrinfo *found;
    int rc;

    if (getaddrinfo(c->bind_address, NULL, &hints, &found) != 0) {
        err_set(&c->err, ERR_INVALID, "BindAddress %s is no address of this kind of network",
                c->bind_address);
        return err_hint(&c->err, "correct BindAddress in ~/.ssh/config");
    }
    rc = bind(fd, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    if (rc != 0)
        return err_set(&c->err, ERR_INVALID, "can't connect from BindAddress %s: %s",
                       c->bind_address, strerror(errno));
    return 0;
}

/* 0: under way. */
static int connect_try(struct ssh_connect *c, const struct resolve_address *a)
{
    int64_t now = ev_now_ns(c->loop), left = c->deadline_ns - now;

    c->fd = socket(a->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        connect_set_error(c, errno);
        return -1;
    }
    if (c->bind_address && connect_bind(c, c->fd, a->addr.ss_family) != 0)
        return -1;
    if (connect(c->fd, (const struct sockaddr *)&a->addr, a->len) != 0 && errno != EINPROGRESS) {
        connect_set_error(c, errno);
        return -1;
    }
    c->io = (struct ev_io){ .fd = c->fd, .events = EV_WRITE, .fn = connect_on_io };
    if (ev_io_add(c->loop, &c->io, &c->err) != 0)
        return -1;
    ev_timer_set(c->loop, &c->timer, now + left / (int64_t)(c->count - c->next + 1));
    return 0;
}

static void connect_next(struct ssh_connect *c)
{
    while (c->next < c->count) {
        if (connect_try(c, &c->address[c->next++]) == 0)
            return;
        if (c->fd >= 0)
            close(c->fd);
        c->fd = -1;
    }
    connect_done(c, -1);
}

struct ssh_connect *ssh_connect_start(struct ev_loop *loop, const struct ssh_connect_target *target,
                                      int64_t timeout_ns,
                                      void (*done)(void *arg, int fd, const struct err *err),
                                      void *arg)
{
    static const int families[] = {
        [SSH_FAMILY_ANY] = AF_UNSPEC, [SSH_FAMILY_INET] = AF_INET, [SSH_FAMILY_INET6] = AF_INET6
    };
    struct ssh_connect *c = mem_alloc(sizeof *c);
    int count;

    c->loop = loop;
    c->fd = -1;
    c->port = target->port;
    c->bind_address = mem_strdup(target->bind_address);
    c->timer.fn = connect_on_timer;
    c->done = done;
    c->arg = arg;
    count = (target->resolve ? target->resolve
                             : ssh_connect_resolve)(target->resolve_arg, target->host, target->port,
                                                    families[target->family], c->address, &c->err);
    if (count == 0)
        err_set(&c->err, ERR_NOT_FOUND, "%s has no address of the kind that AddressFamily asks for",
                target->host);
    c->count = count > 0 ? (size_t)count : 0;
    /* The lookup took time that isn't the addresses'. */
    c->deadline_ns = clock_mono_ns(ev_clock(loop)) + timeout_ns;
    ev_timer_set_after(loop, &c->timer, 0);
    return c;
}
