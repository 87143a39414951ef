/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One command, or one connection, of a client's: bytes between its descriptors and its channel.
 *
 * A pump waits for the connection without a channel, then has one, and at last has none again: when
 * the host has said how the command ended, what is left of its output is kept here until the client
 * takes it, so that a connection that broke can be forgotten.
 */
#include "base/mem.h"

#include "base/clock.h"
#include "base/str.h"
#include "net/ssh_link_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define AGAIN_NS (NS_PER_S / 4)
#define REFUSALS_MAX 3
#define LINGER_NS (10 * NS_PER_S)

static void set_late(struct ssh_link *link);
static void begin_next(struct ssh_link *link);

static struct link_pump *pump_of(struct list *l)
{
    return CONTAINER_OF(l, struct link_pump, link);
}

static bool is_ready(const struct ssh_link *link)
{
    return link->state == SSH_LINK_UP && link->client &&
           ssh_client_state(link->client) == SSH_CLIENT_READY;
}

/* --- the end ------------------------------------------------------------------------------------ */

static bool is_last_of_its_file(const struct link_pump *p, size_t stream)
{
    const struct link_stream *other = &p->out[!stream];

    return !link_stream_is_open(other) || !link_stream_same_file(other, &p->out[stream]);
}

/* The reader sees the end of it now: also of a socket, of which others have copies. */
static void close_output(struct link_pump *p, size_t stream)
{
    link_stream_close(&p->out[stream], is_last_of_its_file(p, stream));
}

void link_pump_free(struct link_pump *p)
{
    ssh_channel_close(p->channel);
    link_system_forget(p);
    link_stream_close(&p->in, false);
    link_stream_close(&p->out[0], false);
    link_stream_close(&p->out[1], false);
    ssh_link_close_fds(p->fds);
    buf_fini(&p->rest[0]);
    buf_fini(&p->rest[1]);
    list_remove(&p->link);
    p->owner->pump_count--;
    free(p->text);
    free(p);
}

static void tell_ended(struct link_pump *p)
{
    struct ssh_link_msg m = { .type = SSH_LINK_ENDED, .id = p->id, .result = p->result };

    link_tell(p->client, &m);
}

void link_pump_finish(struct link_pump *p)
{
    struct ssh_link *link = p->owner;
    bool started = p->started;

    link_stream_close(&p->in, false);
    close_output(p, 0);
    close_output(p, 1);
    tell_ended(p);
    link_pump_free(p);
    /* There may be room for another one now. */
    if (started)
        begin_next(link);
}

static void finish_with(struct link_pump *p, const struct err *err)
{
    p->result.end = SSH_LINK_FAILED;
    p->result.err = *err;
    link_pump_finish(p);
}

/* False: it is gone. */
static bool finish_if_done(struct link_pump *p)
{
    if (p->result.end == SSH_LINK_RUNNING || buf_len(&p->rest[0]) > 0 || buf_len(&p->rest[1]) > 0)
        return true;
    link_pump_finish(p);
    return false;
}

/* --- output ------------------------------------------------------------------------------------- */

static const char *output(const struct link_pump *p, size_t stream, size_t *len, bool *eof)
{
    if (p->channel)
        return ssh_channel_output(p->channel, (enum ssh_channel_stream)stream, len, eof);
    *len = buf_len(&p->rest[stream]);
    *eof = p->result.end != SSH_LINK_RUNNING;
    return buf_data(&p->rest[stream]);
}

static void consume(struct link_pump *p, size_t stream, size_t len)
{
    if (p->channel)
        ssh_channel_consume(p->channel, (enum ssh_channel_stream)stream, len);
    else
        buf_consume(&p->rest[stream], len);
}

/*
 * Nobody reads it any more. Of a connection both directions are closed then; the host has a moment
 * to take what was sent. A command is told when it writes, much as on this machine: OpenSSH passes
 * no SIGPIPE on, and no signal at all to root's commands, but those get a real one when the channel
 * is closed.
 */
static void nobody_reads(struct link_pump *p, size_t stream)
{
    int64_t now = ev_now_ns(p->owner->loop);

    link_stream_close(&p->out[stream], false);
    if (p->piped || !p->channel || !p->client)
        return;
    p->piped = true;
    if (p->dial) {
        ssh_channel_write_eof(p->channel);
        p->linger_ns = now + LINGER_NS;
    } else {
        ssh_channel_signal(p->channel, "HUP", NULL);
        p->linger_ns = stream == 0 ? now + LINK_ORPHAN_NS : 0;
    }
    set_late(p->owner);
}

/* False: it is full. */
static bool write_output(struct link_pump *p, size_t stream)
{
    size_t len;
    bool eof;
    const char *data = output(p, stream, &len, &eof);

    while (len > 0 && link_stream_is_open(&p->out[stream])) {
        ssize_t n = link_stream_write(&p->out[stream], data, len);

        if (n < 0 && errno == EAGAIN)
            return false;
        if (n < 0) {
            nobody_reads(p, stream);
            break;
        }
        consume(p, stream, (size_t)n);
        data = output(p, stream, &len, &eof);
    }
    output(p, stream, &len, &eof);
    /* Left alone where the command is let go of soon: it shall not run on as if all were well. */
    if (len > 0 && !(p->channel && (p->linger_ns > 0 || !p->client) && !p->dial))
        consume(p, stream, len);
    if (eof)
        close_output(p, stream);
    return true;
}

/* False: the pump is gone. */
static bool pump_output(struct link_pump *p)
{
    for (size_t i = 0; i < ARRAY_LEN(p->out); i++) {
        bool full = !write_output(p, i);

        if (link_stream_is_open(&p->out[i]))
            link_stream_watch(&p->out[i], full);
    }
    return finish_if_done(p);
}

static void on_writable(struct link_stream *s, unsigned events)
{
    (void)events;
    pump_output(s->arg);
}

/* --- input -------------------------------------------------------------------------------------- */

static void end_input(struct link_pump *p)
{
    p->input_ended = true;
    ssh_channel_write_eof(p->channel);
    /* A connection whose client has closed both directions is not to be held open by the host. */
    if (p->dial)
        link_stream_watch_hangup(&p->in);
    else
        link_stream_close(&p->in, false);
}

static void pump_input(struct link_pump *p)
{
    char *scratch = link_scratch(p->owner);

    while (link_stream_is_open(&p->in) && p->channel && !p->input_ended) {
        size_t room = ssh_channel_room(p->channel);
        ssize_t n;

        if (room == 0) {
            link_stream_watch(&p->in, false);
            ssh_channel_write(p->channel, "", 1); /* SSH_CHANNEL_ROOM is told then */
            return;
        }
        n = link_stream_read(&p->in, scratch, room < LINK_SCRATCH ? room : LINK_SCRATCH);
        if (n < 0 && errno == EAGAIN) {
            link_stream_watch(&p->in, true);
            return;
        }
        if (n <= 0) {
            end_input(p);
            return;
        }
        ssh_channel_write(p->channel, scratch, (size_t)n);
    }
}

static void on_readable(struct link_stream *s, unsigned events)
{
    struct link_pump *p = s->arg;

    if (p->input_ended) {
        if (!(events & EV_HANGUP))
            return;
        link_stream_close(&p->in, false);
        nobody_reads(p, 0);
        return;
    }
    pump_input(p);
}

/* --- the channel -------------------------------------------------------------------------------- */

/* The server has as many sessions as it allows: it may take another one when one has ended, and its
 * own idea of that may come a moment after ours. */
static bool wait_for_room(struct link_pump *p)
{
    struct ssh_link *link = p->owner;
    bool others = false;

    LIST_FOR_EACH(it, &link->pumps)
        others = others || (pump_of(it) != p && pump_of(it)->started);
    if (p->started || p->dial || !p->client || !is_ready(link) ||
        ev_now_ns(link->loop) >= p->deadline_ns || (!others && p->refusals >= REFUSALS_MAX))
        return false;
    p->refusals++;
    p->again_ns = ev_now_ns(link->loop) + AGAIN_NS;
    return true;
}

/* Lost before it began, with its connection: the next one will do. */
static bool wait_for_connection(const struct link_pump *p)
{
    const struct ssh_link *link = p->owner;

    return !p->started && p->client && !is_ready(link) && !link->stopping && !link->hopeless &&
           ev_now_ns(link->loop) < p->deadline_ns;
}

static void take_result(struct link_pump *p, const struct ssh_channel_result *r)
{
    p->result.code = r->code;
    switch (r->end) {
    case SSH_CHANNEL_EXITED:
        p->result.end = SSH_LINK_CODE;
        break;
    case SSH_CHANNEL_SIGNALED:
        p->result.end = SSH_LINK_SIGNALED;
        str_copy(p->result.signal, sizeof p->result.signal, r->signal);
        break;
    case SSH_CHANNEL_RUNNING:
    case SSH_CHANNEL_LOST:
        p->result.end = SSH_LINK_FAILED;
        p->result.err = r->err;
        break;
    }
}

static void channel_ended(struct link_pump *p)
{
    struct ssh_channel *channel = p->channel;
    const struct ssh_channel_result *r = ssh_channel_result(channel);

    if (r->end == SSH_CHANNEL_LOST && (wait_for_room(p) || wait_for_connection(p))) {
        p->channel = NULL;
        ssh_channel_close(channel);
        set_late(p->owner);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(p->rest); i++) {
        size_t len;
        const char *data = ssh_channel_output(channel, (enum ssh_channel_stream)i, &len, NULL);

        if (link_stream_is_open(&p->out[i]))
            buf_append(&p->rest[i], data, len);
    }
    take_result(p, r);
    p->channel = NULL;
    ssh_channel_close(channel);
    link_stream_close(&p->in, false);
    pump_output(p);
}

static void channel_started(struct link_pump *p)
{
    struct ssh_link_msg m = { .type = SSH_LINK_STARTED, .id = p->id };

    p->started = true;
    link_tell(p->client, &m);
    pump_input(p);
}

static void on_channel(struct ssh_channel *channel, unsigned events, void *arg)
{
    struct link_pump *p = arg;

    (void)channel;
    if (events & SSH_CHANNEL_STARTED)
        channel_started(p);
    if (events & SSH_CHANNEL_ENDED) {
        channel_ended(p);
        return;
    }
    if ((events & SSH_CHANNEL_OUTPUT) && !pump_output(p))
        return;
    if ((events & SSH_CHANNEL_ROOM) && p->channel)
        pump_input(p);
}

/* --- beginning ---------------------------------------------------------------------------------- */

static int take_streams(struct link_pump *p, struct err *err)
{
    struct ev_loop *loop = p->owner->loop;
    int rc = 0;

    if (p->fds[0] < 0)
        return 0;
    if (p->dial) {
        /* Each direction is watched for itself, and epoll has a descriptor once. */
        p->fds[1] = fcntl(p->fds[0], F_DUPFD_CLOEXEC, 0);
        if (p->fds[1] < 0)
            return err_sys(err, errno, "cannot duplicate a descriptor");
    }
    p->in.ready = on_readable;
    p->in.arg = p;
    rc = link_stream_open(&p->in, loop, p->fds[0], false, err);
    p->fds[0] = -1;
    for (size_t i = 0; i < ARRAY_LEN(p->out) && p->fds[1 + i] >= 0 && rc == 0; i++) {
        p->out[i].ready = on_writable;
        p->out[i].arg = p;
        rc = link_stream_open(&p->out[i], loop, p->fds[1 + i], true, err);
        p->fds[1 + i] = -1;
    }
    return rc;
}

static void pump_begin(struct link_pump *p)
{
    struct ssh_link *link = p->owner;
    struct err err = ERR_INIT;

    p->again_ns = 0;
    if (link->by_system) {
        if (link_system_run(p, &err) != 0)
            finish_with(p, &err);
        return;
    }
    if (take_streams(p, &err) != 0) {
        finish_with(p, &err);
        return;
    }
    p->channel = p->dial ? ssh_client_dial(link->client, p->text, p->port, on_channel, p, &err)
                         : ssh_client_exec(link->client, p->text, on_channel, p, &err);
    if (p->channel)
        return;
    /* All channels are taken, or the connection is just breaking: it waits on. */
    if (err.kind == ERR_UNAVAILABLE && ev_now_ns(link->loop) < p->deadline_ns)
        p->again_ns = ev_now_ns(link->loop) + AGAIN_NS;
    else
        finish_with(p, &err);
}

static bool waits(const struct link_pump *p)
{
    return p->client && !p->channel && p->pid == 0 && p->result.end == SSH_LINK_RUNNING;
}

void link_pumps_begin(struct ssh_link *link)
{
    /* Beginning one ends none but itself. */
    LIST_FOR_EACH_SAFE(it, &link->pumps)
        if (waits(pump_of(it)) && link->state == SSH_LINK_UP)
            pump_begin(pump_of(it));
    set_late(link);
}

/* One has ended: one that was refused may begin. */
static void begin_next(struct ssh_link *link)
{
    LIST_FOR_EACH(it, &link->pumps) {
        struct link_pump *p = pump_of(it);

        if (!waits(p) || p->again_ns == 0)
            continue;
        p->again_ns = ev_now_ns(link->loop);
        set_late(link);
        return;
    }
}

void link_pump_create(struct link_client *c, const struct ssh_link_msg *m, int fds[SSH_LINK_FDS])
{
    struct ssh_link *link = c->owner;
    struct link_pump *p = mem_alloc(sizeof *p);
    struct err err = ERR_INIT;
    size_t want = m->type == SSH_LINK_DIAL ? 1 : SSH_LINK_FDS;
    bool known = link_pump_find(c, m->id) != NULL;

    p->owner = link;
    p->client = c;
    p->id = m->id;
    p->dial = m->type == SSH_LINK_DIAL;
    p->text = mem_strdup(m->text);
    p->port = m->port;
    p->deadline_ns = ev_now_ns(link->loop) + (m->wait_ns >= 0 ? m->wait_ns : LINK_WAIT_NS);
    p->in.io.fd = p->out[0].io.fd = p->out[1].io.fd = p->pidfd = -1;
    for (size_t i = 0; i < SSH_LINK_FDS; i++) {
        p->fds[i] = i < want ? fds[i] : -1;
        fds[i] = i < want ? -1 : fds[i];
    }
    list_append(&link->pumps, &p->link);
    link->pump_count++;
    if (known)
        err_set(&err, ERR_CONFLICT, "something with the number %u runs already", (unsigned)m->id);
    else if (p->fds[want - 1] < 0)
        err_set(&err, ERR_INVALID, "%zu descriptors have to come with it", want);
    else if (link->pump_count > SSH_LINK_COMMANDS_MAX)
        err_set(&err, ERR_UNAVAILABLE, "%d commands run or wait for %s already",
                SSH_LINK_COMMANDS_MAX, link->name);
    else if (link->state == SSH_LINK_UP)
        pump_begin(p);
    else
        link_conn_wanted(link);
    if (err.kind == ERR_NONE && link->state == SSH_LINK_WAITING && link->hopeless &&
        link->retry.due_ns > ev_now_ns(link->loop))
        err = link->err;
    if (err.kind != ERR_NONE)
        finish_with(p, &err);
    set_late(link);
}

struct link_pump *link_pump_find(struct link_client *c, uint32_t id)
{
    LIST_FOR_EACH(it, &c->owner->pumps)
        if (pump_of(it)->client == c && pump_of(it)->id == id)
            return pump_of(it);
    return NULL;
}

/* --- from outside ------------------------------------------------------------------------------- */

void link_pump_signal(struct link_pump *p, const char *name)
{
    struct ssh_link_msg m = { .type = SSH_LINK_ERROR, .id = p->id };
    struct err err = ERR_INIT;

    if (waits(p)) {
        err_set(&err, ERR_CONFLICT, "given up before it began");
        finish_with(p, &err);
    } else if (p->pid > 0) {
        link_system_kill(p, name);
    } else if (p->channel && ssh_channel_signal(p->channel, name, &m.result.err) != 0) {
        link_tell(p->client, &m);
    }
}

void link_pump_orphan(struct link_pump *p)
{
    bool running = p->channel || p->pid > 0;

    p->client = NULL;
    link_stream_close(&p->in, false);
    link_stream_close(&p->out[0], true);
    link_stream_close(&p->out[1], true);
    if (!running) {
        link_pump_free(p);
        return;
    }
    p->orphaned_ns = ev_now_ns(p->owner->loop);
    if (p->channel) {
        ssh_channel_write_eof(p->channel);
        if (!p->dial)
            ssh_channel_signal(p->channel, "HUP", NULL);
    } else {
        link_system_kill(p, "HUP");
    }
    set_late(p->owner);
}

void link_pumps_failed(struct ssh_link *link)
{
    struct err err = link->err;

    LIST_FOR_EACH_SAFE(it, &link->pumps) {
        struct link_pump *p = pump_of(it);

        if (waits(p) && (link->hopeless || ev_now_ns(link->loop) >= p->deadline_ns))
            finish_with(p, &err);
    }
    set_late(link);
}

void link_pumps_end(struct ssh_link *link, const struct err *err)
{
    LIST_FOR_EACH_SAFE(it, &link->pumps)
        finish_with(pump_of(it), err);
}

/* --- what is late ------------------------------------------------------------------------------- */

/* When to look at it again; INT64_MAX: something else will say. */
static int64_t pump_due(const struct link_pump *p)
{
    if (!p->client)
        return p->orphaned_ns + LINK_ORPHAN_NS;
    if (p->linger_ns > 0 && p->channel)
        return p->linger_ns;
    if (!waits(p))
        return INT64_MAX;
    /* An attempt that is under way decides. */
    if (p->owner->state == SSH_LINK_WAITING)
        return p->deadline_ns;
    return p->again_ns > 0 ? p->again_ns : INT64_MAX;
}

static void set_late(struct ssh_link *link)
{
    int64_t due = INT64_MAX;

    LIST_FOR_EACH(it, &link->pumps)
        if (pump_due(pump_of(it)) < due)
            due = pump_due(pump_of(it));
    if (due == INT64_MAX)
        ev_timer_clear(&link->late);
    else
        ev_timer_set(link->loop, &link->late, due);
}

static void pump_late(struct link_pump *p)
{
    struct err err = p->owner->err;

    if (!p->client) {
        link_pump_free(p);
    } else if (p->dial && p->linger_ns > 0) {
        p->result.end = SSH_LINK_CODE;
        link_pump_finish(p);
    } else if (p->linger_ns > 0) {
        err_set(&err, ERR_UNAVAILABLE, "nobody reads what the command on %s writes: let go of it",
                p->owner->name);
        finish_with(p, &err);
    } else if (p->owner->state == SSH_LINK_WAITING) {
        finish_with(p, &err);
    } else if (p->owner->state == SSH_LINK_UP) {
        pump_begin(p);
    } else {
        p->again_ns = 0;
    }
}

void link_pumps_late(struct ssh_link *link)
{
    int64_t now = ev_now_ns(link->loop);

    LIST_FOR_EACH_SAFE(it, &link->pumps)
        if (pump_due(pump_of(it)) <= now)
            pump_late(pump_of(it));
    set_late(link);
}
