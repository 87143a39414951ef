/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/str.h"
#include "ev/ev.h"
#include "net/sock.h"
#include "net/ssh_link_client.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define REACH_NS (10 * NS_PER_S)
#define AGAIN_NS (20 * NS_PER_MS)
#define STARTS_MAX 3

struct ssh_link_run {
    struct list link;
    struct ssh_link_client *client;
    uint32_t id;
    bool sent, told;
    struct buf packet;
    int fds[SSH_LINK_FDS]; /* copies, until they are sent */
    struct ssh_link_result result;
    ssh_link_event_fn *event;
    void *arg;
};

/* A message without descriptors */
struct note {
    struct list link;
    struct buf packet;
};

struct ssh_link_client {
    struct ev_loop *loop;
    struct ssh_link_client_options opt;
    char *runtime_dir, *word, *path;
    struct ev_io io;
    struct ev_timer timer; /* to try to reach the link process */
    bool reaching, greeted;
    unsigned starts;
    int64_t until_ns;
    uint32_t last_id;
    struct list runs, notes;
    struct ssh_link_status status;
    char *via, *server, *methods;
    struct buf packet;
    unsigned busy;
    bool doomed;
};

static struct ssh_link_run *run_of(struct list *l)
{
    return CONTAINER_OF(l, struct ssh_link_run, link);
}

/* --- state -------------------------------------------------------------------------------------- */

static void set_text(char **mine, const char **shown, const char *text)
{
    free(*mine);
    *mine = mem_strdup(text ? text : "");
    *shown = *mine;
}

static void take_state(struct ssh_link_client *c, const struct ssh_link_msg *m)
{
    struct ssh_link_status *s = &c->status;

    s->state = m->state;
    s->err = m->result.err;
    s->since_ns = m->since_ns;
    s->retry_ns = m->retry_ns;
    set_text(&c->via, &s->via, m->via);
    set_text(&c->server, &s->server, m->server);
    set_text(&c->methods, &s->methods, m->methods);
    if (c->opt.changed)
        c->opt.changed(c, s, c->opt.arg);
}

/* --- the end of what runs ----------------------------------------------------------------------- */

static void run_free(struct ssh_link_run *run)
{
    list_remove(&run->link);
    ssh_link_close_fds(run->fds);
    buf_fini(&run->packet);
    free(run);
}

static struct ssh_link_run *next_untold(struct ssh_link_client *c)
{
    LIST_FOR_EACH(it, &c->runs)
        if (!run_of(it)->told)
            return run_of(it);
    return NULL;
}

static void drop_notes(struct ssh_link_client *c)
{
    LIST_FOR_EACH_SAFE(it, &c->notes) {
        struct note *n = CONTAINER_OF(it, struct note, link);

        list_remove(it);
        buf_fini(&n->packet);
        free(n);
    }
}

static void hang_up(struct ssh_link_client *c)
{
    ev_timer_clear(&c->timer);
    ev_io_remove(&c->io);
    if (c->io.fd >= 0)
        close(c->io.fd);
    c->io.fd = -1;
    c->reaching = c->greeted = false;
}

static void client_free(struct ssh_link_client *c)
{
    hang_up(c);
    LIST_FOR_EACH_SAFE(it, &c->runs)
        run_free(run_of(it));
    drop_notes(c);
    buf_fini(&c->packet);
    free(c->via);
    free(c->server);
    free(c->methods);
    free(c->runtime_dir);
    free(c->word);
    free(c->path);
    free(c);
}

/* True: it goes on. After it was doomed in a callback it is freed here. */
static bool leave(struct ssh_link_client *c)
{
    c->busy--;
    if (c->busy > 0 || !c->doomed)
        return !c->doomed;
    client_free(c);
    return false;
}

/* There is no link process any more, or none could be reached. */
static void lost(struct ssh_link_client *c, const struct err *err)
{
    struct ssh_link_run *run;
    struct ssh_link_msg m = { .state = SSH_LINK_STOPPED, .result = { .err = *err } };
    bool known = c->status.state == SSH_LINK_STOPPED && c->greeted;

    hang_up(c);
    drop_notes(c);
    c->busy++;
    while (!c->doomed && (run = next_untold(c)) != NULL) {
        run->told = true;
        run->result.end = SSH_LINK_FAILED;
        run->result.err = *err;
        ssh_link_close_fds(run->fds);
        run->event(run, SSH_LINK_EV_ENDED, run->arg);
    }
    if (!c->doomed && !known)
        take_state(c, &m);
    leave(c);
}

/* --- sending ------------------------------------------------------------------------------------ */

static void broken(struct ssh_link_client *c);

/* 1: sent, 0: later, -1: broken, and all has been told */
static int send_one(struct ssh_link_client *c, const struct buf *packet, const int *fds,
                    size_t count)
{
    int rc = ssh_link_send(c->io.fd, buf_data(packet), buf_len(packet), fds, count);

    if (rc == 0)
        ev_io_change(&c->io, EV_READ | EV_WRITE);
    return rc;
}

static size_t fd_count(const struct ssh_link_run *run)
{
    size_t n = 0;

    while (n < SSH_LINK_FDS && run->fds[n] >= 0)
        n++;
    return n;
}

/* In the order in which it was asked for: notes are about what was sent before. False: broken. */
static bool flush(struct ssh_link_client *c)
{
    int rc;

    if (c->io.fd < 0 || !c->greeted)
        return true;
    LIST_FOR_EACH(it, &c->runs) {
        struct ssh_link_run *run = run_of(it);

        if (run->sent || run->told)
            continue;
        rc = send_one(c, &run->packet, run->fds, fd_count(run));
        if (rc <= 0)
            return rc == 0;
        run->sent = true;
        ssh_link_close_fds(run->fds);
        buf_fini(&run->packet);
    }
    while (!list_empty(&c->notes)) {
        struct note *n = CONTAINER_OF(c->notes.next, struct note, link);

        rc = send_one(c, &n->packet, NULL, 0);
        if (rc <= 0)
            return rc == 0;
        list_remove(&n->link);
        buf_fini(&n->packet);
        free(n);
    }
    ev_io_change(&c->io, EV_READ);
    return true;
}

/* From the loop: an error of sending is told in a callback. */
static void flush_soon(struct ssh_link_client *c)
{
    if (c->io.fd >= 0)
        ev_io_change(&c->io, EV_READ | EV_WRITE);
}

static void note(struct ssh_link_client *c, const struct ssh_link_msg *m)
{
    struct note *n = mem_alloc(sizeof *n);

    ssh_link_msg_encode(m, &n->packet);
    list_append(&c->notes, &n->link);
    flush_soon(c);
}

/* --- receiving ---------------------------------------------------------------------------------- */

static struct ssh_link_run *find_run(struct ssh_link_client *c, uint32_t id)
{
    LIST_FOR_EACH(it, &c->runs)
        if (run_of(it)->id == id && !run_of(it)->told)
            return run_of(it);
    return NULL;
}

static void handle(struct ssh_link_client *c, const struct ssh_link_msg *m)
{
    struct ssh_link_run *run = m->id > 0 ? find_run(c, m->id) : NULL;

    switch (m->type) {
    case SSH_LINK_HELLO:
        c->greeted = true;
        c->starts = 0;
        c->status.pid = m->pid;
        flush_soon(c);
        break;
    case SSH_LINK_STATE:
        take_state(c, m);
        break;
    case SSH_LINK_STARTED:
        if (run)
            run->event(run, SSH_LINK_EV_STARTED, run->arg);
        break;
    case SSH_LINK_ENDED:
        if (!run)
            break;
        run->told = true;
        run->result = m->result;
        run->event(run, SSH_LINK_EV_ENDED, run->arg);
        break;
    case SSH_LINK_ERROR: /* of a signal that can't be sent, or of a version that is not ours */
        if (m->id == 0)
            lost(c, &m->result.err);
        break;
    case SSH_LINK_EXEC:
    case SSH_LINK_DIAL:
    case SSH_LINK_SIGNAL:
    case SSH_LINK_CLOSE:
    case SSH_LINK_WATCH:
    case SSH_LINK_CONNECT:
    case SSH_LINK_STOP:
    case SSH_LINK_UNKNOWN:
        break;
    }
}

/* False: there is no more, or it is over. */
static bool receive(struct ssh_link_client *c)
{
    struct ssh_link_msg m;
    struct err err = ERR_INIT;
    int fds[SSH_LINK_FDS];
    int rc = ssh_link_receive(c->io.fd, &c->packet, fds, &err);

    ssh_link_close_fds(fds);
    if (rc == 0)
        return false;
    if (rc < 0 || ssh_link_msg_decode(buf_data(&c->packet), buf_len(&c->packet), &m, &err) != 0) {
        broken(c);
        return false;
    }
    handle(c, &m);
    ssh_link_msg_fini(&m);
    return !c->doomed && c->io.fd >= 0;
}

static void on_io(struct ev_io *io, unsigned ready)
{
    struct ssh_link_client *c = CONTAINER_OF(io, struct ssh_link_client, io);

    c->busy++;
    while ((ready & EV_READ) && receive(c))
        ;
    buf_fini(&c->packet);
    if (!c->doomed && (ready & EV_WRITE) && !flush(c))
        broken(c);
    else if (!c->doomed && !c->greeted)
        ev_io_change(&c->io, EV_READ);
    leave(c);
}

/* --- reaching the link process ------------------------------------------------------------------ */

static void reach(struct ssh_link_client *c)
{
    c->reaching = true;
    c->until_ns = ev_now_ns(c->loop) + REACH_NS;
    ev_timer_set_after(c->loop, &c->timer, 0);
}

static void broken(struct ssh_link_client *c)
{
    struct err err = ERR_INIT;

    /* It was just ending when we came. */
    if (!c->greeted && c->opt.start && c->starts < STARTS_MAX) {
        hang_up(c);
        reach(c);
        return;
    }
    err_set(&err, ERR_UNAVAILABLE, "the link process of %s has ended", c->word);
    lost(c, &err);
}

static int connected(struct ssh_link_client *c, int fd, struct err *err)
{
    struct ssh_link_msg hello = { .type = SSH_LINK_HELLO, .version = SSH_LINK_VERSION };
    struct ssh_link_msg ask = { .type = c->opt.watch ? SSH_LINK_WATCH : SSH_LINK_STATE };
    struct buf packet = BUF_INIT;
    int rc;

    c->reaching = false;
    c->io = (struct ev_io){ .fd = fd, .events = EV_READ, .fn = on_io };
    if (ev_io_add(c->loop, &c->io, err) != 0)
        return -1;
    ssh_link_msg_encode(&hello, &packet);
    rc = ssh_link_send(fd, buf_data(&packet), buf_len(&packet), NULL, 0);
    buf_clear(&packet);
    if (rc > 0) {
        ssh_link_msg_encode(&ask, &packet);
        rc = ssh_link_send(fd, buf_data(&packet), buf_len(&packet), NULL, 0);
    }
    buf_fini(&packet);
    if (rc <= 0)
        broken(c);
    return 0;
}

static void on_reach(struct ev_timer *t)
{
    struct ssh_link_client *c = CONTAINER_OF(t, struct ssh_link_client, timer);
    struct err err = ERR_INIT;
    int fd = sock_connect_unix(c->path, SOCK_SEQPACKET, 0, &err);

    if (fd < 0 && err.kind == ERR_UNAVAILABLE && c->opt.start && c->starts < STARTS_MAX) {
        c->starts++;
        if (c->opt.start(c->opt.start_arg, c->runtime_dir, c->word, &err) != 0) {
            lost(c, &err);
            return;
        }
        fd = sock_connect_unix(c->path, SOCK_SEQPACKET, 0, &err);
    }
    if (fd >= 0) {
        if (connected(c, fd, &err) != 0)
            lost(c, &err);
    } else if (c->opt.start && ev_now_ns(c->loop) < c->until_ns &&
               (err.kind == ERR_UNAVAILABLE || err.kind == ERR_TIMEOUT)) {
        ev_timer_set_after(c->loop, &c->timer, AGAIN_NS);
    } else {
        lost(c, &err);
    }
}

static void reach_if_gone(struct ssh_link_client *c)
{
    if (c->io.fd >= 0 || c->reaching)
        return;
    c->starts = 0;
    reach(c);
}

/* --- for the application ------------------------------------------------------------------------ */

struct ssh_link_client *ssh_link_client_open(struct ev_loop *loop,
                                             const struct ssh_link_client_options *options,
                                             struct err *err)
{
    struct ssh_link_client *c;

    if (ssh_link_check_word(options->word, err) != 0)
        return NULL;
    c = mem_alloc(sizeof *c);
    c->loop = loop;
    c->opt = *options;
    c->word = mem_strdup(options->word);
    c->runtime_dir = mem_strdup(options->runtime_dir);
    c->path = ssh_link_path(c->runtime_dir, c->word, ".sock");
    c->io.fd = -1;
    c->timer.fn = on_reach;
    c->status.via = c->status.server = c->status.methods = "";
    list_init(&c->runs);
    list_init(&c->notes);
    reach(c);
    return c;
}

void ssh_link_client_destroy(struct ssh_link_client *c)
{
    if (!c)
        return;
    if (c->busy > 0)
        c->doomed = true;
    else
        client_free(c);
}

const struct ssh_link_status *ssh_link_client_status(const struct ssh_link_client *c)
{
    return &c->status;
}

void ssh_link_client_connect(struct ssh_link_client *c)
{
    struct ssh_link_msg m = { .type = SSH_LINK_CONNECT };

    reach_if_gone(c);
    note(c, &m);
}

void ssh_link_client_stop(struct ssh_link_client *c)
{
    struct ssh_link_msg m = { .type = SSH_LINK_STOP };

    note(c, &m);
}

static struct ssh_link_run *run_create(struct ssh_link_client *c, struct ssh_link_msg *m,
                                       const int *fds, size_t count, ssh_link_event_fn *event,
                                       void *arg, struct err *err)
{
    struct ssh_link_run *run = mem_alloc(sizeof *run);

    for (size_t i = 0; i < SSH_LINK_FDS; i++)
        run->fds[i] = i < count ? fcntl(fds[i], F_DUPFD_CLOEXEC, 3) : -1;
    list_init(&run->link);
    if (fd_count(run) < count) {
        err_sys(err, errno, "cannot duplicate a descriptor");
        run_free(run);
        return NULL;
    }
    c->last_id = c->last_id < INT32_MAX ? c->last_id + 1 : 1;
    run->client = c;
    run->id = m->id = c->last_id;
    run->event = event;
    run->arg = arg;
    ssh_link_msg_encode(m, &run->packet);
    list_append(&c->runs, &run->link);
    reach_if_gone(c);
    flush_soon(c);
    return run;
}

struct ssh_link_run *ssh_link_client_exec(struct ssh_link_client *c, const char *command,
                                          const int fds[3], int64_t wait_ns,
                                          ssh_link_event_fn *event, void *arg, struct err *err)
{
    struct ssh_link_msg m = { .type = SSH_LINK_EXEC, .text = command, .wait_ns = wait_ns };

    if (strlen(command) > SSH_LINK_COMMAND_MAX || !*command) {
        err_set(err, *command ? ERR_TOO_LARGE : ERR_INVALID,
                "a command for %s has %zu bytes; 1 to %zu can be sent", c->word, strlen(command),
                SSH_LINK_COMMAND_MAX);
        return NULL;
    }
    return run_create(c, &m, fds, 3, event, arg, err);
}

struct ssh_link_run *ssh_link_client_dial(struct ssh_link_client *c, const char *host,
                                          uint16_t port, int fd, int64_t wait_ns,
                                          ssh_link_event_fn *event, void *arg, struct err *err)
{
    struct ssh_link_msg m = {
        .type = SSH_LINK_DIAL, .text = host, .port = port, .wait_ns = wait_ns
    };

    if (strlen(host) > SSH_LINK_HOST_MAX || !*host || !port) {
        err_set(err, ERR_INVALID, "no host or no port to connect to");
        return NULL;
    }
    return run_create(c, &m, &fd, 1, event, arg, err);
}

void ssh_link_run_signal(struct ssh_link_run *run, const char *name)
{
    struct ssh_link_msg m = { .type = SSH_LINK_SIGNAL, .id = run->id, .text = name };

    if (!run->told)
        note(run->client, &m);
}

const struct ssh_link_result *ssh_link_run_result(const struct ssh_link_run *run)
{
    return &run->result;
}

void ssh_link_run_close(struct ssh_link_run *run)
{
    struct ssh_link_msg m;

    if (!run)
        return;
    m = (struct ssh_link_msg){ .type = SSH_LINK_CLOSE, .id = run->id };
    if (run->sent && !run->told)
        note(run->client, &m);
    run_free(run);
}
