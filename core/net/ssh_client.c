/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "base/clock.h"
#include "base/str.h"
#include "net/ssh_client_priv.h"

#include <errno.h>
#include <unistd.h>

#define CONNECT_NS (15 * NS_PER_S)
#define HANDSHAKE_NS (20 * NS_PER_S)
#define AUTH_NS (60 * NS_PER_S)
#define START_NS (30 * NS_PER_S)
#define AGENT_NS (60 * NS_PER_S)
#define ALIVE_NS (15 * NS_PER_S)
#define ALIVE_MAX 3
#define GOODBYE_NS (2 * NS_PER_S)

enum ssh_client_state ssh_client_state(const struct ssh_client *c)
{
    return c->state;
}

const char *ssh_client_state_text(enum ssh_client_state state)
{
    static const char *const text[] = {
        [SSH_CLIENT_CONNECTING] = "connecting", [SSH_CLIENT_HANDSHAKE] = "exchanging keys",
        [SSH_CLIENT_AUTH] = "logging in",       [SSH_CLIENT_READY] = "connected",
        [SSH_CLIENT_FAILED] = "failed",         [SSH_CLIENT_CLOSED] = "closed",
    };

    return text[state];
}

const struct err *ssh_client_error(const struct ssh_client *c)
{
    return &c->err;
}

bool ssh_client_needs_system(const struct ssh_client *c)
{
    return c->state == SSH_CLIENT_FAILED && c->needs_system;
}

bool ssh_client_host_key(const struct ssh_client *c, struct ssh_span *key)
{
    *key = (struct ssh_span){ c->host_key, c->host_key_len };
    return c->host_key != NULL;
}

const char *ssh_client_tried(const struct ssh_client *c)
{
    return buf_data(&c->auth.tried);
}

const char *ssh_client_methods(const struct ssh_client *c)
{
    return c->methods;
}

const char *ssh_client_server(const struct ssh_client *c)
{
    return c->hello.software;
}

int64_t ssh_client_heard_ns(const struct ssh_client *c)
{
    return c->heard_ns;
}

static bool is_final(const struct ssh_client *c)
{
    return c->state >= SSH_CLIENT_FAILED;
}

/* --- the end ------------------------------------------------------------------------------------ */

/* Nothing of the connection is left; what is known about it stays. */
static void client_hang_up(struct ssh_client *c)
{
    ev_timer_clear(&c->deadline);
    ev_timer_clear(&c->alive);
    ssh_connect_cancel(c->connect);
    c->connect = NULL;
    client_session_destroy(c);
    ev_io_remove(&c->io);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    buf_fini(&c->in);
    buf_fini(&c->out);
    c->released = 0;
}

int client_fail(struct ssh_client *c, const struct err *err)
{
    struct err copy = *err; /* may be ours */

    if (is_final(c))
        return -1;
    c->err = copy;
    c->state = SSH_CLIENT_FAILED;
    c->tell = true;
    client_channels_lost(c, &copy);
    client_hang_up(c);
    return -1;
}

static int client_fail_lost(struct ssh_client *c)
{
    struct err err = ERR_INIT;

    if (c->hello.state == SSH_HELLO_VERSION && c->hello.said[0])
        err_set(&err, ERR_UNAVAILABLE, "%s closed the connection; it said: %s", c->name,
                c->hello.said);
    else if (buf_len(&c->last_words) > 0)
        err_set(&err, ERR_UNAVAILABLE, "%s ended the connection: %s", c->name,
                buf_data(&c->last_words));
    else if (c->io_errno)
        err_set(&err, ERR_UNAVAILABLE, "lost the connection to %s while %s: %s", c->name,
                ssh_client_state_text(c->state), strerror(c->io_errno));
    else if (c->state == SSH_CLIENT_READY)
        err_set(&err, ERR_UNAVAILABLE, "%s closed the connection", c->name);
    else
        err_set(&err, ERR_UNAVAILABLE, "%s closed the connection while %s", c->name,
                ssh_client_state_text(c->state));
    err.sys = c->io_errno;
    err_hint(&err, "the log of its SSH server may say why");
    return client_fail(c, &err);
}

int client_fail_lib(struct ssh_client *c, const char *doing)
{
    struct err err = ERR_INIT;
    struct buf text = BUF_INIT;
    char *message = NULL;
    int code = libssh2_session_last_error(c->session, &message, NULL, 0);

    if (c->disconnected)
        return client_fail_lost(c);
    if (code == LIBSSH2_ERROR_ALLOC || c->pool.used > SSH_CLIENT_MEMORY_MAX / 8 * 7) {
        err_set(&err, ERR_TOO_LARGE, "%s: the server wants more than %zu MiB of memory", c->name,
                SSH_CLIENT_MEMORY_MAX >> 20);
    } else if (c->flooded) {
        err_set(&err, ERR_TOO_LARGE, "%s: the server asks and doesn't read the answers", c->name);
    } else {
        str_append_safe(&text, message ? message : "", SIZE_MAX);
        err_set(&err, code == LIBSSH2_ERROR_TIMEOUT ? ERR_TIMEOUT : ERR_CORRUPT,
                "%s: %s failed: %s", c->name, doing, buf_data(&text));
        err_hint(&err, "if that stays so: use the system's ssh for this host");
    }
    buf_fini(&text);
    return client_fail(c, &err);
}

static void client_fail_timeout(struct ssh_client *c)
{
    static const char *const what[] = {
        [SSH_CLIENT_CONNECTING] = "no connection",
        [SSH_CLIENT_HANDSHAKE] = "connected, but there is no complete key exchange",
        [SSH_CLIENT_AUTH] = "no answer while logging in",
        [SSH_CLIENT_READY] = "no answer to the request for a channel",
    };
    struct err err = ERR_INIT;

    if (is_final(c))
        return;
    if (c->hello.state == SSH_HELLO_VERSION && c->hello.said[0])
        err_set(&err, ERR_TIMEOUT, "%s doesn't speak SSH; it says: %s", c->name, c->hello.said);
    else if (c->state == SSH_CLIENT_HANDSHAKE && c->hello.state == SSH_HELLO_VERSION)
        err_set(&err, ERR_TIMEOUT, "%s accepts the connection and says nothing", c->name);
    else
        err_set(&err, ERR_TIMEOUT, "%s: %s in time", c->name, what[c->state]);
    err_hint(&err, "is the machine overloaded, or is that no SSH server?");
    client_fail(c, &err);
}

static void client_close(struct ssh_client *c)
{
    struct err err = ERR_INIT;

    err_set(&err, ERR_UNAVAILABLE, "the connection to %s was closed", c->name);
    c->state = SSH_CLIENT_CLOSED;
    c->tell = true;
    client_channels_lost(c, &err);
    client_hang_up(c);
}

static void client_free(struct ssh_client *c)
{
    client_hang_up(c);
    ev_timer_clear(&c->later);
    client_channels_reap(c, true);
    client_auth_fini(c);
    ssh_known_hosts_destroy(c->own_known);
    for (size_t i = 0; i < SSH_METHOD_COUNT; i++)
        free(c->offer[i]);
    buf_fini(&c->last_words);
    free(c->scratch);
    free(c->host_key);
    free(c->name);
    free(c);
}

static bool say_goodbye(struct ssh_client *c)
{
    if (!c->session || c->state < SSH_CLIENT_AUTH || is_final(c))
        return false;
    return libssh2_session_disconnect(c->session, "goodbye") != LIBSSH2_ERROR_EAGAIN;
}

void ssh_client_destroy(struct ssh_client *c)
{
    if (!c)
        return;
    if (c->busy > 0) {
        c->doomed = true;
        return;
    }
    if (!c->goodbye && say_goodbye(c))
        client_flush(c);
    client_free(c);
}

void ssh_client_disconnect(struct ssh_client *c)
{
    if (is_final(c) || c->goodbye)
        return;
    c->goodbye = true;
    client_set_deadline(c, GOODBYE_NS);
    client_run_soon(c);
}

/* --- deadlines and silence ---------------------------------------------------------------------- */

void client_set_deadline(struct ssh_client *c, int64_t timeout_ns)
{
    /* Not from the start of the turn: asking for a passphrase may have taken long. */
    ev_timer_set(c->loop, &c->deadline, clock_mono_ns(ev_clock(c->loop)) + timeout_ns);
}

static void client_on_deadline(struct ev_timer *t)
{
    struct ssh_client *c = CONTAINER_OF(t, struct ssh_client, deadline);

    c->busy++;
    if (c->goodbye)
        client_close(c);
    else if (c->state != SSH_CLIENT_READY)
        client_fail_timeout(c);
    else if (!client_channels_expire(c))
        client_fail_timeout(c);
    c->busy--;
    client_run(c);
}

static void client_on_alive(struct ev_timer *t)
{
    struct ssh_client *c = CONTAINER_OF(t, struct ssh_client, alive);
    struct err err = ERR_INIT;

    ev_timer_set_after(c->loop, &c->alive, c->opt.alive_ns);
    if (c->heard)
        c->silent = 0;
    else if (client_channels_asking(c))
        c->silent++;
    if (c->silent >= c->opt.alive_max) {
        struct buf text = BUF_INIT;

        str_format_duration(&text, ev_now_ns(c->loop) - c->heard_ns);
        err_set(&err, ERR_TIMEOUT, "%s doesn't answer: nothing heard for %s", c->name,
                buf_data(&text));
        buf_fini(&text);
        err_hint(&err, "is the machine on, and is the network between up?");
        c->busy++;
        client_fail(c, &err);
        c->busy--;
    } else if (!c->heard) {
        client_channels_ping(c);
    }
    c->heard = false;
    client_run(c);
}

static void client_on_later(struct ev_timer *t)
{
    client_run(CONTAINER_OF(t, struct ssh_client, later));
}

void client_run_soon(struct ssh_client *c)
{
    if (c->busy > 0)
        c->again = true;
    else
        ev_timer_set_after(c->loop, &c->later, 0);
}

/* --- states ------------------------------------------------------------------------------------- */

static const char *method_text(struct ssh_client *c, int method)
{
    const char *text = libssh2_session_methods(c->session, method);

    return text ? text : "-";
}

static void client_handshake_step(struct ssh_client *c)
{
    const char *cipher;
    struct err err = ERR_INIT;
    int rc;

    if (c->hello.state < SSH_HELLO_DONE)
        ssh_hello_feed(&c->hello, &c->in, &c->released, &err);
    if (c->hello.state == SSH_HELLO_BAD) {
        c->needs_system = c->hello.needs_system;
        client_fail(c, &err);
        return;
    }
    if (c->hello.state == SSH_HELLO_DONE)
        c->released = buf_len(&c->in);
    rc = libssh2_session_handshake(c->session, c->fd);
    if (rc == LIBSSH2_ERROR_EAGAIN)
        return;
    if (rc != 0) {
        client_fail_lib(c, "the key exchange");
        return;
    }
    cipher = method_text(c, LIBSSH2_METHOD_CRYPT_CS);
    snprintf(c->methods, sizeof c->methods, "%s %s %s %s", method_text(c, LIBSSH2_METHOD_KEX),
             method_text(c, LIBSSH2_METHOD_HOSTKEY), cipher,
             strstr(cipher, "-gcm@") ? "-" : method_text(c, LIBSSH2_METHOD_MAC_CS));
    if (client_check_host_key(c) != 0)
        return;
    c->state = SSH_CLIENT_AUTH;
    client_set_deadline(c, c->opt.auth_ns);
}

void client_ready(struct ssh_client *c)
{
    c->state = SSH_CLIENT_READY;
    c->tell = true;
    ev_timer_clear(&c->deadline);
    c->heard = true;
    ev_timer_set_after(c->loop, &c->alive, c->opt.alive_ns);
}

static void client_ready_step(struct ssh_client *c)
{
    if (!client_channels_step(c))
        return;
    if (!client_host_key_same(c)) {
        struct err err = ERR_INIT;

        err_set(&err, ERR_DENIED, "%s shows another host key in the middle of a connection",
                c->name);
        client_fail(c, &err);
    } else if (c->peer_eof && buf_len(&c->in) == 0) {
        client_fail_lost(c);
    }
}

static void client_step(struct ssh_client *c)
{
    enum ssh_client_state before;

    do {
        before = c->state;
        if (c->hello.state == SSH_HELLO_DONE)
            c->released = buf_len(&c->in);
        if (c->state == SSH_CLIENT_HANDSHAKE)
            client_handshake_step(c);
        else if (c->state == SSH_CLIENT_AUTH)
            client_auth_step(c);
        else if (c->state == SSH_CLIENT_READY)
            client_ready_step(c);
    } while (c->state != before);
    if (c->flooded && !is_final(c))
        client_fail_lib(c, "answering");
    if (c->peer_eof && c->released == 0 &&
        (c->state == SSH_CLIENT_HANDSHAKE || c->state == SSH_CLIENT_AUTH))
        client_fail_lost(c);
}

static void client_say_bye(struct ssh_client *c)
{
    if (c->state < SSH_CLIENT_AUTH) {
        client_close(c);
        return;
    }
    c->released = buf_len(&c->in);
    if (!c->cut && say_goodbye(c))
        c->cut = true;
    client_flush(c);
    if (c->cut && (buf_len(&c->out) == 0 || c->io_errno))
        client_close(c);
}

static void client_set_timer(struct ssh_client *c)
{
    int64_t due;

    if (c->state != SSH_CLIENT_READY || c->goodbye)
        return;
    due = client_channels_deadline(c);
    if (due == INT64_MAX)
        ev_timer_clear(&c->deadline);
    else
        ev_timer_set(c->loop, &c->deadline, due);
}

void client_run(struct ssh_client *c)
{
    if (c->busy > 0)
        return;
    c->busy = 1;
    ev_timer_clear(&c->later);
    if (c->goodbye && !is_final(c))
        client_say_bye(c);
    else if (c->fd >= 0)
        client_step(c);
    if (c->fd >= 0)
        client_flush(c);
    while (c->tell && !c->doomed) {
        c->tell = false;
        if (c->opt.changed)
            c->opt.changed(c, c->opt.arg);
    }
    if (!c->doomed)
        client_channels_tell(c);
    client_channels_reap(c, false);
    c->busy = 0;
    if (c->again)
        ev_timer_set_after(c->loop, &c->later, 0);
    c->again = false;
    if (c->doomed) {
        ssh_client_destroy(c);
        return;
    }
    client_set_timer(c);
    if (c->fd >= 0)
        ev_io_change(&c->io, (buf_len(&c->in) < CLIENT_IN_MAX && !c->peer_eof ? EV_READ : 0) |
                                 (buf_len(&c->out) > 0 ? EV_WRITE : 0));
}

/* --- the beginning ------------------------------------------------------------------------------ */

static void client_on_io(struct ev_io *io, unsigned ready)
{
    struct ssh_client *c = CONTAINER_OF(io, struct ssh_client, io);

    if (ready & (EV_READ | EV_HANGUP))
        client_receive(c);
    /* A hang-up is told again in each turn; what can still be read is. */
    if ((ready & EV_HANGUP) && c->peer_eof)
        ev_io_remove(io);
    client_run(c);
}

static void client_start_session(struct ssh_client *c)
{
    struct err err = ERR_INIT;

    c->state = SSH_CLIENT_HANDSHAKE;
    c->heard_ns = ev_now_ns(c->loop);
    client_set_deadline(c, c->opt.handshake_ns);
    c->io = (struct ev_io){ .fd = c->fd, .events = EV_READ, .fn = client_on_io };
    if (client_session_create(c, &err) != 0 || ev_io_add(c->loop, &c->io, &err) != 0)
        client_fail(c, &err);
}

static void client_connected(void *arg, int fd, const struct err *err)
{
    struct ssh_client *c = arg;
    struct err copy;

    c->connect = NULL;
    c->fd = fd;
    c->busy++;
    if (fd >= 0) {
        client_start_session(c);
    } else {
        copy = *err;
        err_prefix(&copy, "can't connect to %s", c->name);
        client_fail(c, &copy);
    }
    c->busy--;
    client_run(c);
}

/* In the loop's first turn. */
static void client_begin(struct ev_timer *t)
{
    struct ssh_client *c = CONTAINER_OF(t, struct ssh_client, later);
    const struct ssh_config *config = c->opt.config;
    struct err err = ERR_INIT;

    c->later.fn = client_on_later;
    if (c->goodbye) {
        client_run(c);
        return;
    }
    c->busy++;
    if (config->needs_system) {
        c->needs_system = true;
        err_set(&err, ERR_UNPROCESS, "%s: only the system's ssh can do what is asked for: %s",
                c->name, config->why ? config->why : "see ssh_config");
        err_hint(&err, "use the system's ssh for this host");
        client_fail(c, &err);
    } else if (client_load_known(c) == 0 && client_choose_methods(c) == 0) {
        struct ssh_connect_target target = { .host = config->host,
                                             .port = config->port,
                                             .family = config->family,
                                             .bind_address = config->bind_address,
                                             .resolve = c->opt.resolve,
                                             .resolve_arg = c->opt.resolve_arg };

        if (c->fd >= 0)
            client_start_session(c);
        else
            c->connect =
                ssh_connect_start(c->loop, &target, c->opt.connect_ns, client_connected, c);
    }
    c->busy--;
    client_run(c);
}

static int64_t pick_ns(int64_t option_ns, int config_s, int64_t fallback_ns)
{
    if (option_ns > 0)
        return option_ns;
    return config_s > 0 ? config_s * NS_PER_S : fallback_ns;
}

static void client_set_options(struct ssh_client *c, const struct ssh_client_options *options)
{
    const struct ssh_config *config = options->config;
    struct ssh_client_options *o = &c->opt;

    *o = *options;
    o->connect_ns = pick_ns(o->connect_ns, config->connect_timeout_s, CONNECT_NS);
    o->handshake_ns = pick_ns(o->handshake_ns, 0, HANDSHAKE_NS);
    o->auth_ns = pick_ns(o->auth_ns, 0, AUTH_NS);
    o->start_ns = pick_ns(o->start_ns, 0, START_NS);
    o->agent_ns = pick_ns(o->agent_ns, 0, AGENT_NS);
    o->alive_ns = pick_ns(o->alive_ns, config->server_alive_interval_s, ALIVE_NS);
    if (o->alive_max <= 0)
        o->alive_max = config->server_alive_interval_s > 0 && config->server_alive_count_max > 0
                           ? config->server_alive_count_max
                           : ALIVE_MAX;
}

struct ssh_client *ssh_client_open(struct ev_loop *loop, const struct ssh_client_options *options,
                                   struct err *err)
{
    const struct ssh_config *config = options->config;
    struct ssh_client *c;

    if (!config->host || !*config->host || !config->user || !*config->user) {
        if (options->has_fd)
            close(options->fd);
        err_set(err, ERR_INVALID, "no host or no user to connect to");
        return NULL;
    }
    c = mem_alloc(sizeof *c);
    c->loop = loop;
    client_set_options(c, options);
    c->fd = options->has_fd ? options->fd : -1;
    c->name = str_safe(options->name ? options->name : config->host);
    c->opt.name = c->name;
    c->hello.host = c->name;
    list_init(&c->channels);
    list_init(&c->auth.keys);
    c->deadline.fn = client_on_deadline;
    c->alive.fn = client_on_alive;
    c->later.fn = client_begin;
    ev_timer_set_after(loop, &c->later, 0);
    return c;
}
