/* SPDX-License-Identifier: BSD-2-Clause */
/* Connections of shims. */
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "net/sock.h"
#include "node/node_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/socket.h>
#include <unistd.h>

#define IDLE_NS (3 * NS_PER_S) /* a shim over the number of idle ones stays so long */
#define OUT_MAX 64             /* packets kept for a shim that doesn't read */

struct packet {
    struct list link;
    size_t len;
    char data[];
};

/* --- sending ---------------------------------------------------------------------------------- */

static int send_now(struct shim_conn *c, const void *data, size_t len)
{
    ssize_t n;

    do
        n = send(c->io.fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? errno : 0;
}

/* When it fails the connection is given up, which shows as an event of its own. */
static void conn_send(struct shim_conn *c, const void *data, size_t len)
{
    struct packet *p;
    int sys = list_empty(&c->out) ? send_now(c, data, len) : EAGAIN;

    if (sys == 0)
        return;
    if (sys != EAGAIN || c->out_count == OUT_MAX) {
        shutdown(c->io.fd, SHUT_RDWR);
        return;
    }
    p = mem_alloc(sizeof *p + len);
    p->len = len;
    memcpy(p->data, data, len);
    list_append(&c->out, &p->link);
    c->out_count++;
    ev_io_change(&c->io, EV_READ | EV_WRITE);
}

static void conn_flush(struct shim_conn *c)
{
    LIST_FOR_EACH_SAFE(it, &c->out) {
        struct packet *p = CONTAINER_OF(it, struct packet, link);
        if (send_now(c, p->data, p->len) == EAGAIN)
            return;
        list_remove(&p->link);
        c->out_count--;
        free(p);
    }
    ev_io_change(&c->io, EV_READ);
}

static void send_msg(struct shim_conn *c, const struct shim_msg *m)
{
    struct buf b = BUF_INIT;

    if (shim_msg_encode(m, &b, NULL) == 0)
        conn_send(c, buf_data(&b), buf_len(&b));
    buf_fini(&b);
}

void conn_kill(struct shim_conn *c, const struct attempt_key *key, int64_t grace_ns)
{
    struct shim_msg m = { .type = SHIM_KILL, .key = *key, .grace_ns = grace_ns };

    send_msg(c, &m);
}

void conn_signal(struct shim_conn *c, const struct attempt_key *key, int signo)
{
    struct shim_msg m = { .type = SHIM_SIGNAL, .key = *key, .signo = signo };

    send_msg(c, &m);
}

void conn_drop(struct shim_conn *c, const struct attempt_key *key)
{
    struct shim_msg m = { .type = SHIM_DROP, .key = *key };

    send_msg(c, &m);
}

static void conn_quit(struct shim_conn *c)
{
    struct shim_msg m = { .type = SHIM_QUIT };

    if (c->quitting)
        return;
    c->quitting = true;
    send_msg(c, &m);
}

/* --- idle and busy ---------------------------------------------------------------------------- */

static void leave_idle(struct shim_conn *c)
{
    if (list_empty(&c->idle_link))
        return;
    list_remove(&c->idle_link);
    c->node->idle_count--;
}

static void become_idle(struct shim_conn *c)
{
    struct node *n = c->node;

    if (c->attempts >= NODE_SHIM_ATTEMPTS)
        conn_quit(c);
    if (c->quitting)
        return;
    c->idle_since_ns = ev_now_ns(n->loop);
    list_insert_before(n->idle.next, &c->idle_link);
    n->idle_count++;
}

static void release(struct shim_conn *c)
{
    if (c->run) {
        c->run->conn = NULL;
        c->run = NULL;
        c->node->busy_count--;
    }
}

static struct run *release_next(struct shim_conn *c)
{
    struct run *r = c->next;

    if (r)
        r->conn = NULL;
    c->next = NULL;
    return r;
}

void conn_bind(struct shim_conn *c, struct run *r)
{
    struct node *n = c->node;

    if (r->state == RUN_WAITING)
        n->waiting_count--;
    list_remove(&r->link);
    r->state = RUN_RUNNING;
    r->conn = c;
    c->run = r;
    c->stranger.job = 0;
    r->wanted_back = false;
    n->busy_count++;
    if (r->grace_ns >= 0)
        conn_kill(c, &r->key, r->grace_ns);
}

void conn_send_next(struct shim_conn *c)
{
    struct run *r = c->run ? c->run->behind : NULL;

    if (!r || c->next || c->quitting || c->attempts >= NODE_SHIM_ATTEMPTS)
        return;
    c->next = r;
    r->conn = c;
    c->attempts++;
    conn_send(c, buf_data(&r->packet), buf_len(&r->packet));
}

void conns_assign(struct node *n)
{
    while (n->waiting_count > 0 && n->idle_count > 0) {
        struct shim_conn *c = CONTAINER_OF(n->idle.next, struct shim_conn, idle_link);
        struct run *r = CONTAINER_OF(n->waiting.next, struct run, link);
        leave_idle(c);
        conn_bind(c, r);
        c->attempts++;
        conn_send(c, buf_data(&r->packet), buf_len(&r->packet));
        conn_send_next(c);
    }
}

void conns_trim(struct node *n)
{
    int64_t now = ev_now_ns(n->loop);
    size_t keep = n->idle_shims > 0 ? (size_t)n->idle_shims : 0;

    while (n->idle_count > keep) {
        struct shim_conn *c = CONTAINER_OF(n->idle.prev, struct shim_conn, idle_link);
        if (now < c->idle_since_ns + IDLE_NS)
            break;
        leave_idle(c);
        conn_quit(c);
    }
}

struct shim_conn *conns_find_stranger(const struct node *n, const struct attempt_key *key)
{
    LIST_FOR_EACH(it, &n->conns) {
        struct shim_conn *c = CONTAINER_OF(it, struct shim_conn, link);
        if (c->stranger.job == key->job && c->stranger.number == key->number)
            return c;
    }
    return NULL;
}

static void conn_destroy(struct shim_conn *c)
{
    ev_io_remove(&c->io);
    close(c->io.fd);
    leave_idle(c);
    release(c);
    release_next(c);
    list_remove(&c->link);
    LIST_FOR_EACH_SAFE(it, &c->out) {
        free(CONTAINER_OF(it, struct packet, link));
    }
    free(c);
}

/* --- receiving -------------------------------------------------------------------------------- */

static void on_hello(struct shim_conn *c, const struct shim_msg *m)
{
    struct node *n = c->node;
    struct run *r = m->key.job != 0 ? run_find(n, &m->key) : NULL;

    if (c->greeted)
        return;
    c->greeted = true;
    runs_shim_seen(n, c->pid, &m->key);
    if (m->key.job == 0) {
        if (n->starting > 0)
            n->starting--;
        if (n->fork_failed)
            log_info(n->log, "processes for jobs can be made again");
        n->fork_failed = false;
        become_idle(c);
        conns_assign(n);
        shims_tend(n);
        return;
    }
    /* One of an earlier daemon: it ends after its attempt. */
    if (r && (r->state == RUN_LOOSE || r->state == RUN_WAITING)) {
        conn_bind(c, r);
    } else {
        c->stranger = m->key;
        log_warning(n->log,
                    "process %ld still runs attempt %" PRId32 " of job %" PRId64
                    ", which is not expected to run",
                    (long)c->pid, m->key.number, m->key.job);
    }
    conn_quit(c);
}

static void on_ended(struct shim_conn *c, const struct shim_msg *m)
{
    struct node *n = c->node;
    struct run *r = run_find(n, &m->key);
    struct attempt_end end = m->end;

    if (c->stranger.job == m->key.job && c->stranger.number == m->key.number)
        c->stranger.job = 0;
    if (!r || (r->state == RUN_RUNNING && r->conn != c) || r->state == RUN_DONE)
        return;
    if (c->run == r) {
        struct run *next = release_next(c);
        release(c);
        run_leave_line(n, r);
        if (next) { /* it has begun */
            conn_bind(c, next);
            conn_send_next(c);
        } else {
            become_idle(c);
            conns_assign(n);
            shims_tend(n);
        }
    }
    end.key = r->key;
    run_finish(n, r, &end);
}

static void on_dropped(struct shim_conn *c, const struct shim_msg *m)
{
    struct run *r = c->next;

    if (!r || r->key.job != m->key.job || r->key.number != m->key.number)
        return;
    release_next(c);
    run_dropped(c->node, r);
}

static void on_refused(struct shim_conn *c, const struct shim_msg *m)
{
    struct node *n = c->node;
    struct run *r = run_find(n, &m->key);

    if (!r || c->run != r)
        return;
    release(c);
    release_next(c); /* nobody, for DROPPED comes first */
    become_idle(c);
    r->refused = true;
    run_loosen(n, r, 0);
    conns_assign(n);
}

static void conn_gone(struct shim_conn *c)
{
    struct node *n = c->node;
    struct run *r = c->run, *next = c->next;
    pid_t pid = c->pid;

    conn_destroy(c);
    if (r)
        run_loosen(n, r, pid);
    if (next) { /* it may have begun */
        run_leave_line(n, next);
        run_loosen(n, next, pid);
    }
    shims_tend(n);
}

static void conn_ready(struct ev_io *io, unsigned ready)
{
    struct shim_conn *c = CONTAINER_OF(io, struct shim_conn, io);
    char data[4096];
    struct shim_msg m;
    ssize_t len;

    if (ready & EV_WRITE)
        conn_flush(c);
    if (!(ready & (EV_READ | EV_HANGUP)))
        return;
    len = recv(io->fd, data, sizeof data, MSG_DONTWAIT);
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len <= 0) {
        conn_gone(c);
        return;
    }
    if (shim_msg_decode(data, (size_t)len, &m, NULL) != 0) {
        log_warning(c->node->log, "malformed message from process %ld", (long)c->pid);
        return;
    }
    if (m.type == SHIM_HELLO)
        on_hello(c, &m);
    else if (m.type == SHIM_ENDED)
        on_ended(c, &m);
    else if (m.type == SHIM_REFUSED)
        on_refused(c, &m);
    else if (m.type == SHIM_DROPPED)
        on_dropped(c, &m);
    shim_msg_fini(&m);
}

/* --- accepting -------------------------------------------------------------------------------- */

static void accept_shim(struct node *n, int fd)
{
    struct shim_conn *c;
    struct err err = ERR_INIT;
    int size = 2 * SHIM_PACKET_MAX;
    uid_t uid;
    pid_t pid;

    if (sock_peer_uid(fd, &uid, &pid, &err) != 0 || (uid != geteuid() && uid != 0)) {
        close(fd);
        return;
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    c = mem_alloc(sizeof *c);
    c->node = n;
    c->pid = pid;
    c->io = (struct ev_io){ .fd = fd, .events = EV_READ, .fn = conn_ready };
    list_init(&c->idle_link);
    list_init(&c->out);
    if (ev_io_add(n->loop, &c->io, &err) != 0) {
        log_error(n->log, "a job starter was turned away: %s", err.msg);
        close(fd);
        free(c);
        return;
    }
    list_append(&n->conns, &c->link);
}

static void listener_ready(struct ev_io *io, unsigned ready)
{
    struct node *n = CONTAINER_OF(io, struct node, listener);

    (void)ready;
    for (;;) {
        int fd = accept4(io->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            accept_shim(n, fd);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        if (errno != EAGAIN) {
            /* No descriptors: those who wait go on waiting. */
            log_error(n->log, "cannot accept a job starter: %s", strerror(errno));
            n->listener_paused = true;
            ev_io_change(io, 0);
            shims_tend(n);
        }
        return;
    }
}

int conns_listen(struct node *n, struct err *err)
{
    n->listener.fd = sock_listen_unix(n->socket_path, SOCK_SEQPACKET, err);
    if (n->listener.fd < 0)
        return -1;
    fcntl(n->listener.fd, F_SETFL, O_NONBLOCK);
    n->listener.events = EV_READ;
    n->listener.fn = listener_ready;
    return ev_io_add(n->loop, &n->listener, err);
}

void conns_close(struct node *n)
{
    LIST_FOR_EACH_SAFE(it, &n->conns) {
        conn_destroy(CONTAINER_OF(it, struct shim_conn, link));
    }
    if (n->listener.fd < 0)
        return;
    ev_io_remove(&n->listener);
    unlink(n->socket_path);
    close(n->listener.fd);
    n->listener.fd = -1;
}
