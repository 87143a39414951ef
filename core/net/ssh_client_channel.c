/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Channels. Three things about libssh2 that shape this:
 *   - It can open one channel at a time, and so that is the queue's head.
 *   - It enlarges a channel's window whenever it is read from. We want to read at once, so that its
 *     one queue for all channels stays short, and enlarge only as far as the application consumes.
 *     So windows begin at 0, for then it leaves them alone, and are adjusted from here.
 *   - Nothing but a call for a channel makes it read. Without channels, and when the host is silent,
 *     we ask for one of a type that doesn't exist: the refusal is the answer.
 */
#include "base/mem.h"

#include "base/clock.h"
#include "base/str.h"
#include "net/ssh_client_priv.h"

#define PACKET_SIZE 32768
#define WRITE_MAX 32000
#define READ_SIZE ((size_t)64 * 1024)
#define PING_TYPE "keepalive@hive"
#define PING_GAP_NS (NS_PER_S / 2)
#define MSG_OPEN_CONFIRMATION 91
#define MSG_OPEN_FAILURE 92

static struct ssh_channel *channel_of(struct list *link)
{
    return CONTAINER_OF(link, struct ssh_channel, link);
}

/* --- from the application ----------------------------------------------------------------------- */

static struct ssh_channel *channel_create(struct ssh_client *c, enum channel_kind kind)
{
    struct ssh_channel *ch = mem_alloc(sizeof *ch);

    ch->client = c;
    ch->kind = kind;
    list_append(&c->channels, &ch->link);
    c->channel_count++;
    return ch;
}

static struct ssh_channel *channel_ask(struct ssh_client *c, enum channel_kind kind,
                                       ssh_channel_event_fn *event, void *arg, struct err *err)
{
    struct ssh_channel *ch;

    if (c->state == SSH_CLIENT_FAILED) {
        if (err)
            *err = c->err;
        return NULL;
    }
    if (c->state == SSH_CLIENT_CLOSED || c->goodbye || c->doomed) {
        err_set(err, ERR_UNAVAILABLE, "the connection to %s is closed", c->name);
        return NULL;
    }
    if (c->channel_count >= SSH_CLIENT_CHANNELS_MAX) {
        err_set(err, ERR_UNAVAILABLE, "%s: %d commands run over one connection already", c->name,
                SSH_CLIENT_CHANNELS_MAX);
        err_hint(err, "wait for one to end");
        return NULL;
    }
    ch = channel_create(c, kind);
    ch->event = event;
    ch->arg = arg;
    client_run_soon(c);
    return ch;
}

struct ssh_channel *ssh_client_exec(struct ssh_client *c, const char *command,
                                    ssh_channel_event_fn *event, void *arg, struct err *err)
{
    struct ssh_channel *ch;

    if (strlen(command) > SSH_CHANNEL_COMMAND_MAX) {
        err_set(err, ERR_TOO_LARGE, "a command for %s has %zu bytes; %zu can be sent", c->name,
                strlen(command), SSH_CHANNEL_COMMAND_MAX);
        return NULL;
    }
    ch = channel_ask(c, CHANNEL_EXEC, event, arg, err);
    if (ch)
        ch->command = mem_strdup(command);
    return ch;
}

struct ssh_channel *ssh_client_dial(struct ssh_client *c, const char *host, uint16_t port,
                                    ssh_channel_event_fn *event, void *arg, struct err *err)
{
    struct ssh_channel *ch = channel_ask(c, CHANNEL_DIAL, event, arg, err);

    if (!ch)
        return NULL;
    ssh_put_text(&ch->message, host);
    ssh_put_u32(&ch->message, port);
    ssh_put_text(&ch->message, "127.0.0.1");
    ssh_put_u32(&ch->message, 0);
    return ch;
}

static void channel_free(struct ssh_channel *ch)
{
    list_remove(&ch->link);
    ch->client->channel_count--;
    free(ch->command);
    buf_fini(&ch->message);
    buf_fini(&ch->in);
    buf_fini(&ch->out[0]);
    buf_fini(&ch->out[1]);
    free(ch);
}

void ssh_channel_close(struct ssh_channel *ch)
{
    if (!ch)
        return;
    ch->closed = true;
    ch->events = 0;
    buf_fini(&ch->in);
    if (ch->client->busy == 0 && !ch->lib && ch->client->opening != ch) {
        channel_free(ch);
        return;
    }
    client_run_soon(ch->client);
}

size_t ssh_channel_room(const struct ssh_channel *ch)
{
    if (ch->eof_wanted || ch->closed || ch->phase == CHANNEL_DONE)
        return 0;
    return buf_len(&ch->in) < SSH_CHANNEL_INPUT_MAX ? SSH_CHANNEL_INPUT_MAX - buf_len(&ch->in) : 0;
}

size_t ssh_channel_write(struct ssh_channel *ch, const void *data, size_t len)
{
    size_t room = ssh_channel_room(ch), n = len < room ? len : room;

    if (n < len)
        ch->told_full = true;
    if (n > 0) {
        buf_append(&ch->in, data, n);
        client_run_soon(ch->client);
    }
    return n;
}

void ssh_channel_write_eof(struct ssh_channel *ch)
{
    ch->eof_wanted = true;
    client_run_soon(ch->client);
}

const char *ssh_channel_output(const struct ssh_channel *ch, enum ssh_channel_stream stream,
                               size_t *len, bool *eof)
{
    *len = buf_len(&ch->out[stream]);
    if (eof)
        *eof = ch->host_eof || ch->phase == CHANNEL_DONE;
    return buf_data(&ch->out[stream]);
}

void ssh_channel_consume(struct ssh_channel *ch, enum ssh_channel_stream stream, size_t len)
{
    buf_consume(&ch->out[stream], len);
    if (ch->lib && ch->phase == CHANNEL_OPEN)
        client_run_soon(ch->client);
}

int ssh_channel_signal(struct ssh_channel *ch, const char *name, struct err *err)
{
    if (ch->kind != CHANNEL_EXEC || ch->phase == CHANNEL_DONE)
        return err_set(err, ERR_CONFLICT, "the command has ended");
    if (ch->signal[0])
        return err_set(err, ERR_CONFLICT, "a signal is on its way already");
    if (!*name || !str_copy(ch->signal, sizeof ch->signal, name)) {
        ch->signal[0] = 0;
        return err_set(err, ERR_INVALID, "\"%s\" is no name of a signal", name);
    }
    client_run_soon(ch->client);
    return 0;
}

const struct ssh_channel_result *ssh_channel_result(const struct ssh_channel *ch)
{
    return &ch->result;
}

/* --- what the host says ------------------------------------------------------------------------- */

static bool signal_name_ok(struct ssh_span name)
{
    for (size_t i = 0; i < name.len; i++) {
        unsigned char b = name.data[i];

        if (!((b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9')))
            return false;
    }
    return name.len > 0 && name.len < sizeof((struct ssh_channel *)0)->result.signal;
}

static void take_exit(struct ssh_channel *ch, struct ssh_span type, struct ssh_cursor *cursor)
{
    struct ssh_span name;
    uint32_t code;
    bool core;

    if (ch->said != SSH_CHANNEL_RUNNING)
        return;
    if (ssh_span_is(type, "exit-status")) {
        code = ssh_get_u32(cursor);
        if (cursor->bad)
            return;
        ch->result.code = code;
        ch->said = SSH_CHANNEL_EXITED;
    } else if (ssh_span_is(type, "exit-signal")) {
        name = ssh_get_string(cursor);
        core = ssh_get_u8(cursor) != 0;
        if (cursor->bad)
            return;
        if (!signal_name_ok(name))
            name = (struct ssh_span){ (const unsigned char *)"UNKNOWN", 7 };
        memcpy(ch->result.signal, name.data, name.len);
        ch->result.core_dumped = core;
        ch->said = SSH_CHANNEL_SIGNALED;
    }
}

void client_channel_message(struct ssh_client *c, const unsigned char *data, size_t len)
{
    struct ssh_cursor cursor = ssh_cursor(data + 1, len - 1);
    uint32_t id = ssh_get_u32(&cursor);
    struct ssh_span type;

    if (cursor.bad)
        return;
    if (data[0] == MSG_OPEN_CONFIRMATION) {
        c->opened_id = id;
    } else if (data[0] == MSG_OPEN_FAILURE) {
        struct buf text = BUF_INIT;

        ssh_get_u32(&cursor);
        type = ssh_get_string(&cursor);
        str_append_safe(&text, (const char *)type.data, type.len < 150 ? type.len : 150);
        str_copy(c->refusal, sizeof c->refusal, buf_data(&text));
        buf_fini(&text);
    } else {
        type = ssh_get_string(&cursor);
        ssh_get_u8(&cursor); /* wants a reply */
        LIST_FOR_EACH(it, &c->channels) {
            struct ssh_channel *ch = channel_of(it);

            if (ch->lib && ch->id == id)
                take_exit(ch, type, &cursor);
        }
    }
}

/* --- the end of one ----------------------------------------------------------------------------- */

static void channel_ended(struct ssh_channel *ch)
{
    ch->phase = CHANNEL_DONE;
    ch->result.end = ch->said;
    if (ch->said == SSH_CHANNEL_RUNNING) {
        ch->result.end = SSH_CHANNEL_LOST;
        if (ch->result.err.kind == ERR_NONE)
            err_set(&ch->result.err, ERR_UNAVAILABLE, "%s ended the %s without saying how",
                    ch->client->name, ch->kind == CHANNEL_DIAL ? "connection" : "command");
    }
    ch->events |= SSH_CHANNEL_ENDED;
}

void client_channels_lost(struct ssh_client *c, const struct err *err)
{
    c->opening = NULL;
    LIST_FOR_EACH(it, &c->channels) {
        struct ssh_channel *ch = channel_of(it);

        ch->lib = NULL;
        if (ch->phase == CHANNEL_DONE)
            continue;
        /* Half of the output and a good status would look like all of it. */
        if (!ch->host_eof || ch->kind == CHANNEL_DIAL)
            ch->said = SSH_CHANNEL_RUNNING;
        ch->result.err = *err;
        channel_ended(ch);
    }
}

static void channel_refused(struct ssh_channel *ch, const char *what)
{
    struct ssh_client *c = ch->client;

    err_set(&ch->result.err, ERR_UNAVAILABLE, "%s refuses %s%s%s", c->name, what,
            c->refusal[0] ? ": " : "", c->refusal);
    if (ch->kind == CHANNEL_EXEC)
        err_hint(&ch->result.err,
                 "MaxSessions in its sshd_config may be too low, or the user may run no commands");
    channel_ended(ch);
}

/* --- opening ------------------------------------------------------------------------------------ */

/* False: failed. */
static bool open_step(struct ssh_client *c)
{
    static const char *const types[] = {
        [CHANNEL_EXEC] = "session", [CHANNEL_DIAL] = "direct-tcpip", [CHANNEL_PING] = PING_TYPE
    };
    struct ssh_channel *ch = c->opening;
    const char *type = types[ch->kind];
    int code;

    ch->lib = libssh2_channel_open_ex(c->session, type, (unsigned)strlen(type), 0, PACKET_SIZE,
                                      buf_data(&ch->message), (unsigned)buf_len(&ch->message));
    if (!ch->lib) {
        code = libssh2_session_last_errno(c->session);
        if (code == LIBSSH2_ERROR_EAGAIN)
            return true;
        if (code != LIBSSH2_ERROR_CHANNEL_FAILURE) {
            client_fail_lib(c, "opening a channel");
            return false;
        }
        c->opening = NULL;
        if (ch->kind == CHANNEL_PING)
            ch->closed = true;
        else
            channel_refused(ch, ch->kind == CHANNEL_DIAL ? "to connect" : "to open a channel");
        return true;
    }
    c->opening = NULL;
    ch->id = c->opened_id;
    if (ch->kind == CHANNEL_PING)
        ch->closed = true;
    ch->phase = ch->kind == CHANNEL_EXEC ? CHANNEL_STARTING : CHANNEL_OPEN;
    if (ch->kind == CHANNEL_DIAL) {
        ch->events |= SSH_CHANNEL_STARTED;
        ch->said = SSH_CHANNEL_EXITED; /* closing it is all there is to say */
    }
    return true;
}

static struct ssh_channel *next_to_open(struct ssh_client *c)
{
    LIST_FOR_EACH(it, &c->channels) {
        struct ssh_channel *ch = channel_of(it);

        if (ch->phase == CHANNEL_WAITING && !ch->closed)
            return ch;
    }
    return NULL;
}

/* Of a ping not before a silent host is given up anyway. */
static int64_t open_limit_ns(const struct ssh_client *c)
{
    int64_t silence = (c->opt.alive_max + 2) * c->opt.alive_ns;

    return c->opening->kind == CHANNEL_PING && silence > c->opt.start_ns ? silence
                                                                         : c->opt.start_ns;
}

static bool open_all(struct ssh_client *c)
{
    for (;;) {
        if (!c->opening) {
            c->opening = next_to_open(c);
            if (!c->opening)
                return true;
            c->refusal[0] = 0;
            c->opening->phase = CHANNEL_OPENING;
            c->opening->deadline_ns = ev_now_ns(c->loop) + open_limit_ns(c);
        }
        if (!open_step(c))
            return false;
        if (c->opening)
            return true;
    }
}

static void start_step(struct ssh_channel *ch)
{
    struct ssh_client *c = ch->client;
    int rc = libssh2_channel_process_startup(ch->lib, "exec", 4, ch->command,
                                             (unsigned)strlen(ch->command));

    if (rc == LIBSSH2_ERROR_EAGAIN)
        return;
    if (rc == LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED) {
        c->refusal[0] = 0;
        channel_refused(ch, "to run the command");
        return;
    }
    if (rc != 0) {
        client_fail_lib(c, "starting a command");
        return;
    }
    ch->phase = CHANNEL_OPEN;
    ch->events |= SSH_CHANNEL_STARTED;
}

void client_channels_ping(struct ssh_client *c)
{
    if (c->state != SSH_CLIENT_READY || c->opening || next_to_open(c))
        return;
    channel_create(c, CHANNEL_PING);
    c->pinged_ns = ev_now_ns(c->loop);
}

bool client_channels_asking(const struct ssh_client *c)
{
    return c->opening != NULL;
}

/* --- moving data -------------------------------------------------------------------------------- */

/* Lets the host send as much as the application may still leave unread. */
static void adjust_step(struct ssh_channel *ch)
{
    size_t window = libssh2_channel_window_read(ch->lib);
    size_t held = window + buf_len(&ch->out[0]) + buf_len(&ch->out[1]);

    if (ch->adjust == 0) {
        if (ch->closed || ch->phase == CHANNEL_DONE || held > SSH_CHANNEL_WINDOW / 2)
            return;
        ch->adjust = (uint32_t)(SSH_CHANNEL_WINDOW - held);
    }
    /* Once begun, it must be called with the same number again. */
    if (libssh2_channel_receive_window_adjust2(ch->lib, ch->adjust, 1, NULL) == 0)
        ch->adjust = 0;
}

/* Reads one stream to its end; false on an error. */
static bool read_stream(struct ssh_channel *ch, int stream)
{
    struct ssh_client *c = ch->client;

    if (!c->scratch)
        c->scratch = mem_alloc(READ_SIZE);
    for (;;) {
        size_t window = libssh2_channel_window_read(ch->lib);
        size_t want = window < READ_SIZE ? window : READ_SIZE;
        ssize_t n = libssh2_channel_read_ex(ch->lib, stream, c->scratch, want);

        if (n == LIBSSH2_ERROR_EAGAIN || n == 0)
            return true;
        if (n < 0)
            return false;
        if (ch->closed)
            continue;
        buf_append(&ch->out[stream], c->scratch, (size_t)n);
        ch->events |= SSH_CHANNEL_OUTPUT;
    }
}

/* One packet, so that all channels have their turn. True: something was sent. False too on an
 * error, of which reading tells. */
static bool write_step(struct ssh_channel *ch)
{
    struct ssh_client *c = ch->client;
    size_t len = buf_len(&ch->in) < WRITE_MAX ? buf_len(&ch->in) : WRITE_MAX;
    ssize_t n;

    if (len == 0 || buf_len(&c->out) >= CLIENT_OUT_HIGH)
        return false;
    n = libssh2_channel_write(ch->lib, buf_data(&ch->in), len);
    if (n <= 0)
        return false;
    buf_consume(&ch->in, (size_t)n);
    if (ch->told_full && buf_len(&ch->in) <= SSH_CHANNEL_INPUT_MAX / 2) {
        ch->told_full = false;
        ch->events |= SSH_CHANNEL_ROOM;
    }
    return true;
}

static void control_step(struct ssh_channel *ch)
{
    if (ch->signal[0] &&
        libssh2_channel_signal_ex(ch->lib, ch->signal, strlen(ch->signal)) != LIBSSH2_ERROR_EAGAIN)
        ch->signal[0] = 0;
    if (ch->eof_wanted && !ch->eof_sent && buf_len(&ch->in) == 0)
        ch->eof_sent = libssh2_channel_send_eof(ch->lib) == 0;
}

static void eof_step(struct ssh_channel *ch)
{
    if (!libssh2_channel_eof(ch->lib))
        return;
    if (!ch->host_eof) {
        ch->host_eof = true;
        ch->events |= SSH_CHANNEL_OUTPUT;
    }
    if (libssh2_channel_wait_closed(ch->lib) == 0)
        channel_ended(ch);
}

static void let_go(struct ssh_channel *ch)
{
    if (libssh2_channel_free(ch->lib) != LIBSSH2_ERROR_EAGAIN)
        ch->lib = NULL;
}

/* One round for one channel. False: the connection has failed. */
static bool channel_step(struct ssh_channel *ch, bool *more)
{
    struct ssh_client *c = ch->client;

    if (ch->phase != CHANNEL_DONE && (!read_stream(ch, 0) || !read_stream(ch, 1))) {
        client_fail_lib(c, "reading");
        return false;
    }
    adjust_step(ch);
    if (ch->phase == CHANNEL_STARTING && !ch->closed)
        start_step(ch);
    if (c->state != SSH_CLIENT_READY)
        return false;
    if (ch->phase == CHANNEL_OPEN && !ch->closed) {
        *more |= write_step(ch);
        control_step(ch);
        eof_step(ch);
    }
    if (ch->closed || ch->phase == CHANNEL_DONE)
        let_go(ch);
    return true;
}

static bool channel_round(struct ssh_client *c, bool *more, bool *pumped)
{
    if (!open_all(c))
        return false;
    *pumped = c->opening != NULL;
    LIST_FOR_EACH_SAFE(it, &c->channels) {
        struct ssh_channel *ch = channel_of(it);

        if (!ch->lib)
            continue;
        *pumped = true;
        if (!channel_step(ch, more))
            return false;
    }
    return true;
}

bool client_channels_step(struct ssh_client *c)
{
    bool more, pumped;

    do {
        size_t before = buf_len(&c->in);

        more = false;
        if (!channel_round(c, &more, &pumped))
            return false;
        /* What came for an earlier channel while a later one was served */
        more |= buf_len(&c->in) < before;
    } while (more);
    client_channels_reap(c, false);
    /* Nobody reads: a ping does, now or soon. */
    if (!pumped && buf_len(&c->in) > 0) {
        if (c->peer_eof || ev_now_ns(c->loop) - c->pinged_ns >= PING_GAP_NS) {
            client_channels_ping(c);
            return client_channels_step(c);
        }
        ev_timer_set(c->loop, &c->later, c->pinged_ns + PING_GAP_NS);
    }
    return true;
}

/* --- telling, deadlines ------------------------------------------------------------------------- */

void client_channels_tell(struct ssh_client *c)
{
    bool again;

    do {
        again = false;
        LIST_FOR_EACH(it, &c->channels) {
            struct ssh_channel *ch = channel_of(it);
            unsigned events = ch->events;

            ch->events = 0;
            if (events == 0 || ch->closed || !ch->event)
                continue;
            ch->event(ch, events, ch->arg);
            if (c->doomed)
                return;
            again = true;
        }
    } while (again);
}

void client_channels_reap(struct ssh_client *c, bool all)
{
    LIST_FOR_EACH_SAFE(it, &c->channels) {
        struct ssh_channel *ch = channel_of(it);

        if (all || (ch->closed && !ch->lib && c->opening != ch))
            channel_free(ch);
    }
}

int64_t client_channels_deadline(const struct ssh_client *c)
{
    int64_t due = INT64_MAX;

    LIST_FOR_EACH(it, &c->channels) {
        struct ssh_channel *ch = channel_of(it);

        if ((ch == c->opening || (ch->phase == CHANNEL_STARTING && !ch->closed)) &&
            ch->deadline_ns < due)
            due = ch->deadline_ns;
    }
    return due;
}

/* False: the opening of a channel isn't answered, and with libssh2 no other can be tried. */
bool client_channels_expire(struct ssh_client *c)
{
    int64_t now = ev_now_ns(c->loop);

    if (c->opening && c->opening->deadline_ns <= now)
        return false;
    LIST_FOR_EACH(it, &c->channels) {
        struct ssh_channel *ch = channel_of(it);

        if (ch->phase != CHANNEL_STARTING || ch->closed || ch->deadline_ns > now)
            continue;
        err_set(&ch->result.err, ERR_TIMEOUT, "%s doesn't answer the request to run a command",
                c->name);
        channel_ended(ch);
    }
    return true;
}
