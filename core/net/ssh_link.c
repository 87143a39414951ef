/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "net/sock.h"
#include "net/ssh_link_priv.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

struct link_packet {
    struct list link;
    struct buf data;
};

static struct link_client *client_of(struct list *l)
{
    return CONTAINER_OF(l, struct link_client, link);
}

/* --- what is sent ------------------------------------------------------------------------------- */

static void drop_unsent(struct link_client *c)
{
    LIST_FOR_EACH_SAFE(it, &c->unsent) {
        struct link_packet *p = CONTAINER_OF(it, struct link_packet, link);

        list_remove(it);
        buf_fini(&p->data);
        free(p);
    }
    c->unsent_count = 0;
}

static void client_gone(struct link_client *c);

/* -1: the client is gone, and freed */
static int client_flush(struct link_client *c)
{
    while (!list_empty(&c->unsent)) {
        struct link_packet *p = CONTAINER_OF(c->unsent.next, struct link_packet, link);
        int rc = ssh_link_send(c->io.fd, buf_data(&p->data), buf_len(&p->data), NULL, 0);

        if (rc < 0) {
            client_gone(c);
            return -1;
        }
        if (rc == 0)
            break;
        list_remove(&p->link);
        buf_fini(&p->data);
        free(p);
        c->unsent_count--;
    }
    if (c->closing && list_empty(&c->unsent)) {
        client_gone(c);
        return -1;
    }
    ev_io_change(&c->io, EV_READ | (list_empty(&c->unsent) ? 0 : EV_WRITE));
    return 0;
}

/* Sent at the end of the turn: whoever tells something is in the middle of it, and a client that
 * turns out to be gone takes its commands along. */
void link_tell(struct link_client *c, const struct ssh_link_msg *m)
{
    struct link_packet *p;

    if (!c || c->closing)
        return;
    p = mem_alloc(sizeof *p);
    ssh_link_msg_encode(m, &p->data);
    list_append(&c->unsent, &p->link);
    c->unsent_count++;
}

static void tell_error(struct link_client *c, uint32_t id, const struct err *err)
{
    struct ssh_link_msg m = { .type = SSH_LINK_ERROR, .id = id, .result = { .err = *err } };

    link_tell(c, &m);
}

static void tell_state(struct link_client *c)
{
    struct ssh_link_msg m = { .type = SSH_LINK_STATE };

    link_conn_message(c->owner, &m);
    link_tell(c, &m);
}

/* Before the loop sleeps: what has changed is told, and all that was told is sent. */
static void on_turn_end(struct ev_hook *h)
{
    struct ssh_link *link = CONTAINER_OF(h, struct ssh_link, hook);
    enum ssh_link_state state = link_conn_state(link);
    bool changed = state != link->told_state;

    if (changed) {
        link->told_state = state;
        link->since_ns = clock_wall_ns(ev_clock(link->loop));
    }
    LIST_FOR_EACH_SAFE(it, &link->clients) {
        struct link_client *c = client_of(it);

        if (changed && c->watches)
            tell_state(c);
        if (c->unsent_count > SSH_LINK_UNSENT_MAX) {
            log_warning(link->opt.log, "a client reads nothing and is cut off");
            client_gone(c);
        } else {
            client_flush(c);
        }
    }
    if (link->scratch && list_empty(&link->pumps))
        MEM_FREE(link->scratch);
}

char *link_scratch(struct ssh_link *link)
{
    if (!link->scratch)
        link->scratch = mem_alloc(LINK_SCRATCH);
    return link->scratch;
}

/* --- clients ------------------------------------------------------------------------------------ */

static void client_gone(struct link_client *c)
{
    struct ssh_link *link = c->owner;

    LIST_FOR_EACH_SAFE(it, &link->pumps) {
        struct link_pump *p = CONTAINER_OF(it, struct link_pump, link);

        if (p->client == c)
            link_pump_orphan(p);
    }
    list_remove(&c->link);
    link->client_count--;
    ev_io_remove(&c->io);
    close(c->io.fd);
    drop_unsent(c);
    free(c);
    if (link->client_count == 0 && link->opt.idle_ns > 0)
        ev_timer_set_after(link->loop, &link->idle, link->opt.idle_ns);
}

static void refuse(struct link_client *c, const struct err *err)
{
    tell_error(c, 0, err);
    c->closing = true;
}

static void greet(struct link_client *c, const struct ssh_link_msg *m)
{
    struct ssh_link_msg hello = {
        .type = SSH_LINK_HELLO, .version = SSH_LINK_VERSION, .pid = getpid(), .text = c->owner->word
    };
    struct err err = ERR_INIT;

    if (m->type != SSH_LINK_HELLO) {
        err_set(&err, ERR_INVALID, "'hello' has to come first");
        refuse(c, &err);
        return;
    }
    /* A newer client knows what we know. */
    c->greeted = true;
    link_tell(c, &hello);
}

static void handle_about(struct link_client *c, const struct ssh_link_msg *m)
{
    struct link_pump *p = link_pump_find(c, m->id);
    struct err err = ERR_INIT;

    if (!p) {
        err_set(&err, ERR_NOT_FOUND, "nothing with the number %u runs", (unsigned)m->id);
        tell_error(c, m->id, &err);
    } else if (m->type == SSH_LINK_SIGNAL) {
        link_pump_signal(p, m->text);
    } else {
        link_pump_orphan(p);
    }
}

static void handle(struct link_client *c, const struct ssh_link_msg *m, int fds[SSH_LINK_FDS])
{
    struct ssh_link *link = c->owner;
    struct err err = ERR_INIT;

    if (!c->greeted) {
        greet(c, m);
        return;
    }
    switch (m->type) {
    case SSH_LINK_EXEC:
    case SSH_LINK_DIAL:
        link_pump_create(c, m, fds);
        break;
    case SSH_LINK_SIGNAL:
    case SSH_LINK_CLOSE:
        handle_about(c, m);
        break;
    case SSH_LINK_WATCH:
        c->watches = true;
        tell_state(c);
        break;
    case SSH_LINK_STATE:
        tell_state(c);
        break;
    case SSH_LINK_CONNECT:
        link_conn_now(link);
        break;
    case SSH_LINK_STOP:
        log_info(link->opt.log, "a client asks to stop");
        ssh_link_stop(link);
        break;
    case SSH_LINK_HELLO:
    case SSH_LINK_STARTED:
    case SSH_LINK_ENDED:
    case SSH_LINK_ERROR:
    case SSH_LINK_UNKNOWN:
        err_set(&err, ERR_INVALID, "the link process knows no message '%.40s'",
                m->text ? m->text : "");
        tell_error(c, m->id, &err);
        break;
    }
}

/* One packet; false: there is no more, or the client is gone. */
static bool client_receive(struct link_client *c)
{
    struct ssh_link *link = c->owner;
    struct ssh_link_msg m;
    struct err err = ERR_INIT;
    int fds[SSH_LINK_FDS];
    int rc = ssh_link_receive(c->io.fd, &link->packet, fds, &err);

    if (rc == 0)
        return false;
    if (rc < 0 && err.kind == ERR_NONE) {
        client_gone(c);
        return false;
    }
    if (rc < 0) {
        refuse(c, &err);
        return false;
    }
    if (ssh_link_msg_decode(buf_data(&link->packet), buf_len(&link->packet), &m, &err) == 0) {
        handle(c, &m, fds);
        ssh_link_msg_fini(&m);
    } else if (c->greeted) {
        tell_error(c, 0, &err);
    } else {
        refuse(c, &err);
    }
    ssh_link_close_fds(fds); /* those that nobody took */
    return !c->closing && !link->stopping;
}

static void on_client(struct ev_io *io, unsigned ready)
{
    struct link_client *c = CONTAINER_OF(io, struct link_client, io);
    struct ssh_link *link = c->owner;

    if ((ready & EV_WRITE) && client_flush(c) != 0)
        return;
    if (c->closing) {
        if (ready & EV_HANGUP)
            client_gone(c);
        else if (ready & EV_READ)
            ev_io_change(&c->io, EV_WRITE);
        return;
    }
    /* A few at a time, so that no client keeps the others waiting. */
    for (int i = 0; i < 16 && (ready & EV_READ); i++)
        if (!client_receive(c))
            break;
    buf_fini(&link->packet);
}

static void client_create(struct ssh_link *link, int fd)
{
    struct link_client *c = mem_alloc(sizeof *c);

    c->owner = link;
    c->io = (struct ev_io){ .fd = fd, .events = EV_READ, .fn = on_client };
    list_init(&c->unsent);
    if (ev_io_add(link->loop, &c->io, NULL) != 0) {
        close(fd);
        free(c);
        return;
    }
    list_append(&link->clients, &c->link);
    link->client_count++;
    ev_timer_clear(&link->idle);
}

static void on_listen(struct ev_io *io, unsigned ready)
{
    struct ssh_link *link = CONTAINER_OF(io, struct ssh_link, listen);
    uid_t uid;
    int fd;

    (void)ready;
    while ((fd = accept4(io->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        if (sock_peer_uid(fd, &uid, NULL, NULL) != 0 || (uid != geteuid() && uid != 0) ||
            link->client_count >= SSH_LINK_CLIENTS_MAX) {
            log_warning(link->opt.log, "a client is refused");
            close(fd);
        } else {
            client_create(link, fd);
        }
    }
}

/* --- life --------------------------------------------------------------------------------------- */

static void on_idle(struct ev_timer *t)
{
    struct ssh_link *link = CONTAINER_OF(t, struct ssh_link, idle);

    log_info(link->opt.log, "no client any more");
    ssh_link_stop(link);
}

int ssh_link_listen(const char *runtime_dir, const char *word, struct err *err)
{
    char *folder = fs_join(runtime_dir, "links");
    char *path = ssh_link_path(runtime_dir, word, ".sock");
    int fd = -1;

    if (ssh_link_check_word(word, err) == 0 && fs_private_dir(runtime_dir, err) == 0 &&
        fs_private_dir(folder, err) == 0)
        fd = sock_listen_unix(path, SOCK_SEQPACKET, err);
    free(folder);
    free(path);
    return fd;
}

static int open_listener(struct ssh_link *link, struct err *err)
{
    if (nss_user_by_uid(geteuid(), NULL, &link->me, err) != 0) {
        err_prefix(err, "who are you?");
        return err_hint(err, "your user has to be one that `getent passwd %ld` shows",
                        (long)geteuid());
    }
    if (gethostname(link->local_host, sizeof link->local_host - 1) != 0)
        str_copy(link->local_host, sizeof link->local_host, "localhost");
    return ev_io_add(link->loop, &link->listen, err);
}

struct ssh_link *ssh_link_create(struct ev_loop *loop, const struct ssh_link_options *options,
                                 int listen_fd, struct err *err)
{
    struct ssh_link *link = mem_alloc(sizeof *link);

    link->loop = loop;
    link->opt = *options;
    link->word = mem_strdup(options->word);
    link->runtime_dir = mem_strdup(options->runtime_dir);
    link->name = mem_strdup(ssh_link_last(options->word));
    link->path = ssh_link_path(options->runtime_dir, options->word, ".sock");
    list_init(&link->clients);
    list_init(&link->pumps);
    link->listen = (struct ev_io){ .fd = listen_fd, .events = EV_READ, .fn = on_listen };
    link->idle.fn = on_idle;
    link->hook.fn = on_turn_end;
    link_conn_init(link);
    ev_hook_add(loop, &link->hook);
    if (open_listener(link, err) != 0) {
        ssh_link_destroy(link);
        return NULL;
    }
    if (link->opt.idle_ns > 0)
        ev_timer_set_after(loop, &link->idle, link->opt.idle_ns);
    link_conn_now(link);
    return link;
}

/* The file goes before the descriptor: it is ours only as long as we listen. */
static void close_listener(struct ssh_link *link)
{
    if (link->listen.fd < 0)
        return;
    ev_io_remove(&link->listen);
    unlink(link->path);
    close(link->listen.fd);
    link->listen.fd = -1;
}

void ssh_link_stop(struct ssh_link *link)
{
    struct err err = ERR_INIT;

    if (link->stopping)
        return;
    link->stopping = true;
    ev_timer_clear(&link->idle);
    close_listener(link);
    err_set(&err, ERR_UNAVAILABLE, "the connection to %s was closed", link->name);
    link_pumps_end(link, &err);
    link_conn_stop(link);
}

void link_ended(struct ssh_link *link)
{
    if (link->ended || !link->stopping)
        return;
    link->ended = true;
    if (link->opt.ended)
        link->opt.ended(link->opt.arg);
}

void ssh_link_destroy(struct ssh_link *link)
{
    if (!link)
        return;
    close_listener(link);
    LIST_FOR_EACH_SAFE(it, &link->clients)
        client_gone(client_of(it));
    LIST_FOR_EACH_SAFE(it, &link->pumps)
        link_pump_free(CONTAINER_OF(it, struct link_pump, link));
    link_conn_fini(link);
    ev_timer_clear(&link->idle);
    ev_hook_remove(&link->hook);
    buf_fini(&link->packet);
    nss_user_fini(&link->me);
    free(link->scratch);
    free(link->word);
    free(link->runtime_dir);
    free(link->name);
    free(link->path);
    free(link);
}
