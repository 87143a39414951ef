/* SPDX-License-Identifier: BSD-2-Clause */
/* The connection of a link process: attempts, the pauses between them, and what is known of it. */
#include "base/mem.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/ssh_link_priv.h"

#include <errno.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAUSE_MAX_S 60
#define PAUSE_MIN_NS (250 * NS_PER_MS)
#define DOUBT_NS (NS_PER_S / 2)
#define STEADY_NS (30 * NS_PER_S) /* a connection that lasted so long was a good one */

/* --- pauses ------------------------------------------------------------------------------------- */

static bool is_hopeless(enum err_kind kind)
{
    return kind == ERR_DENIED || kind == ERR_UNAUTH || kind == ERR_INVALID || kind == ERR_UNPROCESS;
}

/* Anything from nothing to `max_ns`, so that hosts that went down together don't come back
 * together. */
static int64_t random_below(int64_t max_ns)
{
    uint64_t r = 0;

    if (getrandom(&r, sizeof r, 0) != sizeof r)
        r = UINT64_MAX / 2;
    return (int64_t)(r % (uint64_t)max_ns);
}

static int64_t pause_ns(const struct ssh_link *link)
{
    int64_t s = 1, ns;

    if (link->hopeless)
        return LINK_HOPELESS_NS;
    for (unsigned i = 1; i < link->tries && s < PAUSE_MAX_S; i++)
        s *= 2;
    if (s > PAUSE_MAX_S)
        s = PAUSE_MAX_S;
    ns = random_below(s * NS_PER_S);
    return ns < PAUSE_MIN_NS ? PAUSE_MIN_NS : ns;
}

/* --- states ------------------------------------------------------------------------------------- */

enum ssh_link_state link_conn_state(const struct ssh_link *link)
{
    if (link->state != SSH_LINK_CONNECTING || !link->client)
        return link->state;
    switch (ssh_client_state(link->client)) {
    case SSH_CLIENT_HANDSHAKE:
        return SSH_LINK_HANDSHAKE;
    case SSH_CLIENT_AUTH:
        return SSH_LINK_AUTH;
    case SSH_CLIENT_CONNECTING:
    case SSH_CLIENT_READY:
    case SSH_CLIENT_FAILED:
    case SSH_CLIENT_CLOSED:
        break;
    }
    return SSH_LINK_CONNECTING;
}

void link_conn_message(const struct ssh_link *link, struct ssh_link_msg *m)
{
    m->state = link_conn_state(link);
    m->via = link->by_system ? "system" : "builtin";
    m->since_ns = link->since_ns;
    m->retry_ns = m->state == SSH_LINK_WAITING ? link->retry_ns : 0;
    if (m->state == SSH_LINK_WAITING)
        m->result.err = link->err;
    if (m->state == SSH_LINK_UP && link->client) {
        m->server = ssh_client_server(link->client);
        m->methods = ssh_client_methods(link->client);
    }
}

/* A change that looks like none: from waiting to waiting, with another error. */
static void state_changed(struct ssh_link *link)
{
    link->told_state = SSH_LINK_NONE;
}

static void hang_up(struct ssh_link *link)
{
    ssh_client_destroy(link->client);
    link->client = NULL;
    ssh_link_client_destroy(link->jump);
    link->jump = NULL;
    link_system_close(link);
    MEM_FREE(link->jump_word);
    if (link->configured)
        ssh_config_fini(&link->config);
    link->configured = false;
}

/* In a turn of its own: the client's channels have told how they ended by then. */
static void on_clear(struct ev_timer *t)
{
    struct ssh_link *link = CONTAINER_OF(t, struct ssh_link, clear);

    if (link->state == SSH_LINK_WAITING || link->state == SSH_LINK_STOPPED)
        hang_up(link);
    if (link->state == SSH_LINK_STOPPED)
        link_ended(link);
}

void link_conn_up(struct ssh_link *link)
{
    link->state = SSH_LINK_UP;
    link->up_ns = ev_now_ns(link->loop);
    link->err = (struct err)ERR_INIT;
    link->hopeless = false;
    log_info(link->opt.log, "connected%s%s", link->client ? ": " : " by the system's ssh",
             link->client ? ssh_client_methods(link->client) : "");
    state_changed(link);
    link_pumps_begin(link);
}

void link_conn_failed(struct ssh_link *link, const struct err *err)
{
    int64_t pause;

    if (link->state == SSH_LINK_STOPPED || link->state == SSH_LINK_WAITING)
        return;
    link->doubt = false;
    link->err = *err;
    link->hopeless = is_hopeless(err->kind);
    if (link->state == SSH_LINK_UP && ev_now_ns(link->loop) - link->up_ns >= STEADY_NS)
        link->tries = 0;
    link->tries++;
    link->state = SSH_LINK_WAITING;
    pause = pause_ns(link);
    link->retry_ns = clock_wall_ns(ev_clock(link->loop)) + pause;
    ev_timer_set_after(link->loop, &link->retry, pause);
    ev_timer_set_after(link->loop, &link->clear, 0);
    log_warning(link->opt.log, "%s%s%s%s", err->msg, err->hint[0] ? " (" : "", err->hint,
                err->hint[0] ? ")" : "");
    state_changed(link);
    link_pumps_failed(link);
}

/* --- attempts ----------------------------------------------------------------------------------- */

static void use_system(struct ssh_link *link)
{
    struct err err = ERR_INIT;

    link->by_system = true;
    if (link_system_open(link, &err) != 0)
        link_conn_failed(link, &err);
}

/* What only the system's ssh can do is tried with it next, from a turn of its own. */
static void on_client_failed(struct ssh_link *link)
{
    struct err err = *ssh_client_error(link->client);

    if (ssh_client_needs_system(link->client) && link->opt.via == SSH_LINK_AUTO &&
        link->state != SSH_LINK_UP) {
        log_info(link->opt.log, "%s; trying the system's ssh", err.msg);
        link->by_system = true;
        ev_timer_set_after(link->loop, &link->retry, 0);
        return;
    }
    /* What became of the way there says more, and comes a moment later. */
    if (link->jump && !link->jump_ended) {
        link->state = SSH_LINK_CONNECTING;
        link->doubt = true;
        link->err = err;
        ev_timer_set_after(link->loop, &link->retry, DOUBT_NS);
        return;
    }
    link_conn_failed(link, &err);
}

static void on_changed(struct ssh_client *client, void *arg)
{
    struct ssh_link *link = arg;

    switch (ssh_client_state(client)) {
    case SSH_CLIENT_READY:
        link_conn_up(link);
        break;
    case SSH_CLIENT_FAILED:
        if (link->state == SSH_LINK_STOPPED)
            ev_timer_set_after(link->loop, &link->clear, 0);
        else
            on_client_failed(link);
        break;
    case SSH_CLIENT_CLOSED:
        ev_timer_set_after(link->loop, &link->clear, 0);
        break;
    case SSH_CLIENT_CONNECTING:
    case SSH_CLIENT_HANDSHAKE:
    case SSH_CLIENT_AUTH:
        break;
    }
}

static int open_client(struct ssh_link *link, int fd, struct err *err)
{
    struct ssh_client_options options = { .config = &link->config,
                                          .name = link->name,
                                          .has_fd = fd >= 0,
                                          .fd = fd,
                                          .changed = on_changed,
                                          .arg = link };

    link->client = ssh_client_open(link->loop, &options, err);
    return link->client ? 0 : -1;
}

/* Our connection is the jump host's business, and ends with it: what is said about it there is what
 * there is to say here. */
static void on_jump_event(struct ssh_link_run *run, unsigned event, void *arg)
{
    struct ssh_link *link = arg;
    const struct ssh_link_result *r = ssh_link_run_result(run);
    struct err err = r->err;

    if (event != SSH_LINK_EV_ENDED || link->state == SSH_LINK_STOPPED)
        return;
    if (r->end != SSH_LINK_FAILED)
        err_set(&err, ERR_UNAVAILABLE, "the connection to %s was closed", link->name);
    link->jump_ended = true;
    err_prefix(&err, "%s, through %s", link->name, link->jump_word);
    link_conn_failed(link, &err);
}

static int open_jump(struct ssh_link *link, struct err *err)
{
    struct ssh_link_client_options options = { .runtime_dir = link->runtime_dir,
                                               .word = link->jump_word,
                                               .start = ssh_link_start,
                                               .arg = link };
    int pair[2], rc = -1;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return err_sys(err, errno, "cannot make a socket pair");
    link->jump = ssh_link_client_open(link->loop, &options, err);
    if (link->jump && ssh_link_client_dial(link->jump, link->config.host, link->config.port,
                                           pair[1], -1, on_jump_event, link, err))
        rc = open_client(link, pair[0], err);
    else
        close(pair[0]);
    close(pair[1]);
    return rc;
}

static int attempt(struct ssh_link *link, struct err *err)
{
    if (link->opt.via == SSH_LINK_SYSTEM)
        link->by_system = true;
    if (link->by_system)
        return link_system_open(link, err);
    if (link_way_find(link, err) != 0)
        return -1;
    if (link->config.needs_system && link->opt.via == SSH_LINK_AUTO) {
        link->by_system = true;
        return link_system_open(link, err);
    }
    return link->jump_word ? open_jump(link, err) : open_client(link, -1, err);
}

static void begin(struct ssh_link *link)
{
    struct err err = ERR_INIT;

    ev_timer_clear(&link->retry);
    ev_timer_clear(&link->clear);
    hang_up(link);
    link->doubt = link->jump_ended = false;
    link->state = SSH_LINK_CONNECTING;
    link->tried_ns = ev_now_ns(link->loop);
    state_changed(link);
    if (attempt(link, &err) != 0)
        link_conn_failed(link, &err);
}

static void on_retry(struct ev_timer *t)
{
    struct ssh_link *link = CONTAINER_OF(t, struct ssh_link, retry);

    struct err err = link->err;

    if (link->doubt) {
        link_conn_failed(link, &err);
    } else if (link->state == SSH_LINK_CONNECTING && link->by_system && !link->sys) {
        hang_up(link);
        use_system(link);
    } else {
        begin(link);
    }
}

void link_conn_now(struct ssh_link *link)
{
    if (link->stopping || (link->state != SSH_LINK_WAITING && link->state != SSH_LINK_NONE))
        return;
    link->tries = 0;
    /* Perhaps things have changed, and ours will do. */
    link->by_system = false;
    /* Not from within a call: whoever asks may be in the midst of the old connection's end. */
    ev_timer_set_after(link->loop, &link->retry, 0);
}

void link_conn_wanted(struct ssh_link *link)
{
    if (link->state == SSH_LINK_WAITING && ev_now_ns(link->loop) - link->tried_ns > LINK_FRESH_NS)
        ev_timer_set_after(link->loop, &link->retry, 0);
}

static void on_late(struct ev_timer *t)
{
    link_pumps_late(CONTAINER_OF(t, struct ssh_link, late));
}

void link_conn_init(struct ssh_link *link)
{
    link->retry.fn = on_retry;
    link->clear.fn = on_clear;
    link->late.fn = on_late;
    link->tried_ns = ev_now_ns(link->loop) - LINK_FRESH_NS;
}

void link_conn_stop(struct ssh_link *link)
{
    bool up = link->state == SSH_LINK_UP && link->client;

    link->state = SSH_LINK_STOPPED;
    ev_timer_clear(&link->retry);
    state_changed(link);
    if (up)
        ssh_client_disconnect(link->client);
    else
        ev_timer_set_after(link->loop, &link->clear, 0);
}

void link_conn_fini(struct ssh_link *link)
{
    hang_up(link);
    ev_timer_clear(&link->retry);
    ev_timer_clear(&link->clear);
    ev_timer_clear(&link->late);
}
