/* SPDX-License-Identifier: BSD-2-Clause */
/* The connection to a far node. What comes from it is somebody else's: a node that misbehaves loses
 * its connection, and nothing more. */
#include "head/remote_priv.h"

#include "base/str.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_PIECE (256 * 1024)
#define OUT_MAX (64 * 1024 * 1024) /* it doesn't take what it is told */
#define PING_MAX_NS (20 * NS_PER_S)
#define SILENCE_PINGS 3
#define COMPLAINTS_LOGGED 20
#define COMPLAINTS_MAX 1000
#define SHOWN_LINE 160 /* bytes of a line that are shown */

static const char hello_begin[] = "{\"type\":\"hello\"";

/* --- its end ---------------------------------------------------------------------------------- */

void remote_conn_close(struct remote *r)
{
    if (r->phase == PHASE_NONE)
        return;
    r->phase = PHASE_NONE;
    ev_io_remove(&r->io);
    close(r->io.fd);
    r->io.fd = -1;
    buf_fini(&r->in);
    buf_fini(&r->out);
    MEM_FREE(r->preface_line);
    ev_timer_clear(&r->ping);
    ev_timer_clear(&r->silence);
    remote_attempts_away(r);
    remote_note_change(r);
}

void remote_conn_drop(struct remote *r, const char *fmt, ...)
{
    struct buf b = BUF_INIT;
    va_list ap;

    if (r->phase == PHASE_NONE)
        return;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    free(r->error);
    r->error = buf_take(&b, NULL);
    log_warning(r->log, "node %s is away: %s", r->name, r->error);
    remote_conn_close(r);
}

void remote_conn_complain(struct remote *r, const char *fmt, ...)
{
    struct buf b = BUF_INIT;
    va_list ap;

    r->complaints++;
    if (r->complaints > COMPLAINTS_MAX) {
        remote_conn_drop(r, "it said %d things that make no sense", COMPLAINTS_MAX);
    } else if (r->complaints <= COMPLAINTS_LOGGED) {
        va_start(ap, fmt);
        buf_vprintf(&b, fmt, ap);
        va_end(ap);
        log_warning(r->log, "node %s: %s", r->name, buf_data(&b));
        buf_fini(&b);
    }
}

/* The connection was closed there. */
static void lost(struct remote *r, const char *how)
{
    if (r->phase != PHASE_GREETING)
        remote_conn_drop(r, "the connection %s", how);
    else if (r->preface_line)
        remote_conn_drop(r, "the connection %s before hive said hello there; the last line was: %s",
                         how, r->preface_line);
    else
        remote_conn_drop(r, "the connection %s before hive said hello there", how);
}

/* --- out -------------------------------------------------------------------------------------- */

/* Once per turn: what the head says in one goes out in one. */
static void flush(struct remote *r)
{
    while (r->phase != PHASE_NONE && buf_len(&r->out) > 0) {
        ssize_t n =
            send(r->io.fd, buf_data(&r->out), buf_len(&r->out), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n >= 0)
            buf_consume(&r->out, (size_t)n);
        else if (errno == EAGAIN)
            break;
        else if (errno != EINTR) {
            /* What it said before is still to be read; the end comes behind it. */
            buf_clear(&r->out);
            if (errno != EPIPE && errno != ECONNRESET)
                remote_conn_drop(r, "cannot write to the connection: %s", strerror(errno));
            break;
        }
    }
    if (r->phase == PHASE_NONE)
        return;
    if (buf_len(&r->out) > OUT_MAX) {
        remote_conn_drop(r, "it doesn't read what it is told");
        return;
    }
    if (buf_len(&r->out) == 0)
        buf_clear(&r->out);
    ev_io_change(&r->io, EV_READ | (buf_len(&r->out) > 0 ? EV_WRITE : 0));
}

static void turn_end(struct ev_hook *h)
{
    struct remote *r = CONTAINER_OF(h, struct remote, turn_end);

    remote_output_pump(r);
    flush(r);
}

void remote_conn_send_line(struct remote *r, const struct buf *line)
{
    if (r->phase == PHASE_NONE)
        return;
    buf_append(&r->out, buf_data(line), buf_len(line));
    buf_append_char(&r->out, '\n');
    ev_again(r->loop); /* our hook may have been called in this turn already */
}

void remote_conn_send(struct remote *r, const struct link_msg *m)
{
    struct buf line = BUF_INIT;
    struct err err = ERR_INIT;

    if (link_msg_encode(m, &line, &err) == 0)
        remote_conn_send_line(r, &line);
    else
        log_error(r->log, "node %s: %s", r->name, err.msg);
    buf_fini(&line);
}

void remote_conn_about(struct remote *r, enum link_type type, const struct attempt_key *key)
{
    struct link_msg m = { .type = type, .key = *key };

    m.key.fence = r->fence;
    remote_conn_send(r, &m);
}

/* --- pings ------------------------------------------------------------------------------------ */

static void ping_due(struct ev_timer *t)
{
    struct remote *r = CONTAINER_OF(t, struct remote, ping);
    struct link_msg m = { .type = LINK_PING, .id = ++r->ping_id, .stamp = r->stamp };

    remote_conn_send(r, &m);
    r->renewed_ns = ev_now_ns(r->loop);
    ev_timer_set_after(r->loop, t, r->ping_ns);
}

/* Both for a connection on which nothing comes, and for one that doesn't get to an agreement. */
static void silence_due(struct ev_timer *t)
{
    struct remote *r = CONTAINER_OF(t, struct remote, silence);
    bool up = r->phase == PHASE_UP;
    int64_t due = up ? r->heard_ns + SILENCE_PINGS * r->ping_ns : r->began_ns + REMOTE_GREETING_NS;
    struct buf b = BUF_INIT;

    if (ev_now_ns(r->loop) < due) {
        ev_timer_set(r->loop, t, due);
        return;
    }
    str_format_duration(&b, up ? SILENCE_PINGS * r->ping_ns : REMOTE_GREETING_NS);
    if (up)
        remote_conn_drop(r, "nothing was heard of it for %s", buf_data(&b));
    else if (r->phase == PHASE_AGREEING)
        remote_conn_drop(r, "it didn't say in %s what runs there", buf_data(&b));
    else
        remote_conn_drop(r, "hive didn't say hello there in %s%s%s", buf_data(&b),
                         r->preface_line ? "; the last line was: " : "",
                         r->preface_line ? r->preface_line : "");
    buf_fini(&b);
}

/* --- greeting --------------------------------------------------------------------------------- */

static void say_welcome(struct remote *r)
{
    struct link_msg m = { .type = LINK_WELCOME,
                          .v = LINK_VERSION,
                          .head = r->head_id,
                          .key = { .fence = r->fence },
                          .sample_interval_s = r->interval_s,
                          .lease_s = r->lease_ns / NS_PER_S };
    struct attempt_key *keys;

    m.attempts = keys = remote_attempts_name(r, &m.attempt_count);
    remote_conn_send(r, &m);
    free(keys);
    r->renewed_ns = ev_now_ns(r->loop);
    r->phase = PHASE_AGREEING;
}

static void on_hello(struct remote *r, const struct link_msg *m)
{
    if (m->v != LINK_VERSION) {
        remote_conn_drop(r,
                         "hive %s there speaks version %" PRId64 " of the link protocol, not %d; "
                         "install the same hive on both machines",
                         m->version ? m->version : "", m->v, LINK_VERSION);
        return;
    }
    remote_set_fact(r, FACT_NAME, m->name);
    remote_set_fact(r, FACT_VERSION, m->version);
    remote_set_fact(r, FACT_ARCH, m->arch);
    remote_set_fact(r, FACT_OS, m->os);
    remote_set_fact(r, FACT_BOOT, m->boot_id);
    r->facts.threads = m->threads;
    r->facts.memory_total_bytes = m->memory_total_bytes;
    r->heard_ns = ev_now_ns(r->loop);
    say_welcome(r);
}

static void note_preface(struct remote *r, const char *line, size_t len)
{
    char *text = mem_strndup(line, len < SHOWN_LINE ? len : SHOWN_LINE), *trimmed = str_trim(text);

    if (*trimmed) {
        free(r->preface_line);
        r->preface_line = mem_strdup(trimmed);
    }
    free(text);
}

/* A line before the hello; the end of one that the shell didn't end may be it. */
static void greet(struct remote *r, const char *line, size_t len)
{
    const char *at = memmem(line, len, hello_begin, sizeof hello_begin - 1);
    struct err err = ERR_INIT;
    struct link_msg m;

    if (!at) {
        note_preface(r, line, len);
        r->preface += len + 1;
        return;
    }
    r->preface += (size_t)(at - line);
    if (r->preface > REMOTE_PREFACE_MAX)
        return;
    if (link_msg_decode(at, len - (size_t)(at - line), &m, &err) != 0) {
        remote_conn_drop(r, "its hello makes no sense: %s", err.msg);
        return;
    }
    on_hello(r, &m);
    link_msg_fini(&m);
}

static void on_agreed(struct remote *r, const struct link_msg *m)
{
    if (r->phase != PHASE_AGREEING) {
        remote_conn_complain(r, "it agrees once more");
        return;
    }
    remote_set_fact(r, FACT_NOTE, m->memory_note);
    remote_set_fact(r, FACT_STATE, m->state_dir);
    for (size_t i = 0; i < m->unwanted_count && i < COMPLAINTS_LOGGED; i++)
        log_warning(r->log,
                    "node %s: job %" PRId64 " attempt %" PRId32 " ran there unasked and is ended",
                    r->name, m->unwanted[i].job, m->unwanted[i].number);
    log_info(r->log, "node %s is up: %s, hive %s", r->name, r->facts.name, r->facts.version);
    r->phase = PHASE_UP;
    r->stamp = 0;
    ev_timer_set(r->loop, &r->silence, r->heard_ns + SILENCE_PINGS * r->ping_ns);
    ev_timer_set_after(r->loop, &r->ping, 0);
    remote_attempts_up(r);
}

/* --- messages --------------------------------------------------------------------------------- */

static void on_sample(struct remote *r, struct link_msg *m)
{
    if (!r->sample)
        r->sample = mem_alloc(sizeof *r->sample);
    else
        link_msg_fini(r->sample);
    *r->sample = *m;
    m->owned = NULL;
    remote_tell_soon(r);
}

static void on_pong(struct remote *r, struct link_msg *m)
{
    if (m->stamp > r->stamp)
        r->stamp = m->stamp;
}

static void on_error(struct remote *r, struct link_msg *m)
{
    if (r->phase == PHASE_AGREEING) {
        remote_conn_drop(r, "it refuses: %s", m->message);
        return;
    }
    if (++r->complaints <= COMPLAINTS_LOGGED)
        log_warning(r->log, "node %s%s%s%s: %s", r->name, m->about ? " (" : "",
                    m->about ? m->about : "", m->about ? ")" : "", m->message);
    if (str_eq(m->about, link_type_name(LINK_RUN)))
        remote_attempt_on_refused(r, m);
    else if (str_eq(m->about, link_type_name(LINK_READ)))
        remote_output_on_refused(r, m);
}

static void on_ended(struct remote *r, struct link_msg *m)
{
    remote_attempt_on_ended(r, m);
}

static void on_never_started(struct remote *r, struct link_msg *m)
{
    remote_attempt_on_never_started(r, m);
}

static void on_data(struct remote *r, struct link_msg *m)
{
    remote_output_on_data(r, m);
}

/* What a node may say once both agree; nothing is ever taken back at present. */
static void (*const handlers[LINK_TYPE_COUNT])(struct remote *r, struct link_msg *m) = {
    [LINK_SAMPLE] = on_sample, [LINK_ENDED] = on_ended, [LINK_NEVER_STARTED] = on_never_started,
    [LINK_DATA] = on_data,     [LINK_PONG] = on_pong,   [LINK_ERROR] = on_error,
};

static void on_message(struct remote *r, struct link_msg *m)
{
    bool early = r->phase == PHASE_AGREEING && m->type != LINK_ERROR && m->type != LINK_PONG;

    if (m->type == LINK_AGREED)
        on_agreed(r, m);
    else if (!handlers[m->type] || early)
        remote_conn_complain(r, "it says \"%s\", which it has no reason to",
                             link_type_name(m->type));
    else
        handlers[m->type](r, m);
}

static void on_line(struct remote *r, const char *line, size_t len)
{
    struct link_msg m;
    struct err err = ERR_INIT;

    if (len > 0 && line[len - 1] == '\r')
        len--;
    if (r->phase == PHASE_GREETING) {
        greet(r, line, len);
    } else if (len == 0) {
        return;
    } else if (link_msg_decode(line, len, &m, &err) != 0) {
        remote_conn_complain(r, "a message makes no sense: %s", err.msg);
    } else {
        on_message(r, &m);
        link_msg_fini(&m);
    }
}

/* --- in --------------------------------------------------------------------------------------- */

static void handle_lines(struct remote *r)
{
    size_t used = 0;

    while (r->phase != PHASE_NONE) {
        const char *line = buf_data(&r->in) + used;
        size_t left = buf_len(&r->in) - used;
        const char *nl = memchr(line, '\n', left);
        size_t len = nl ? (size_t)(nl - line) : left;

        if (r->phase == PHASE_GREETING && !nl && r->preface + len > REMOTE_PREFACE_MAX)
            r->preface += len;
        if (r->phase == PHASE_GREETING && r->preface > REMOTE_PREFACE_MAX) {
            remote_conn_drop(r,
                             "over %d KiB came before hive said hello there; the last line was: %s",
                             REMOTE_PREFACE_MAX / 1024, r->preface_line ? r->preface_line : "");
            return;
        }
        if (len > LINK_LINE_MAX) {
            remote_conn_drop(r, "a message is over %d KiB", LINK_LINE_MAX / 1024);
            return;
        }
        if (!nl)
            break;
        on_line(r, line, len); /* nothing but an end of the connection touches r->in */
        used += len + 1;
    }
    if (r->phase != PHASE_NONE)
        buf_consume(&r->in, used);
}

static void io_ready(struct ev_io *io, unsigned ready)
{
    struct remote *r = CONTAINER_OF(io, struct remote, io);
    ssize_t n;

    if (!(ready & EV_READ))
        return; /* room to write: the end of the turn does that */
    do
        n = recv(io->fd, buf_reserve(&r->in, READ_PIECE), READ_PIECE, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n < 0) {
        lost(r, "broke");
    } else if (n == 0) {
        lost(r, "ended");
    } else {
        buf_added(&r->in, (size_t)n);
        if (r->phase != PHASE_GREETING) /* before, it may be anybody */
            r->heard_ns = ev_now_ns(r->loop);
        handle_lines(r);
    }
}

/* --- life ------------------------------------------------------------------------------------- */

int remote_connect(struct remote *r, int fd, struct err *err)
{
    struct stat st;

    remote_disconnect(r);
    r->io = (struct ev_io){ .fd = fd, .events = EV_READ, .fn = io_ready };
    if (fstat(fd, &st) != 0 || !S_ISSOCK(st.st_mode)) {
        close(fd);
        return err_set(err, ERR_INVALID, "the connection to a node must be a socket");
    }
    if (ev_io_add(r->loop, &r->io, err) != 0) {
        close(fd);
        return -1;
    }
    r->phase = PHASE_GREETING;
    r->preface = 0;
    r->complaints = 0;
    r->first_id = r->next_id;
    r->began_ns = ev_now_ns(r->loop);
    ev_timer_set_after(r->loop, &r->silence, REMOTE_GREETING_NS);
    return 0;
}

void remote_disconnect(struct remote *r)
{
    MEM_FREE(r->error);
    remote_conn_close(r);
}

void remote_conn_init(struct remote *r)
{
    r->io.fd = -1;
    r->ping_ns = r->lease_ns / 4 < PING_MAX_NS ? r->lease_ns / 4 : PING_MAX_NS;
    r->heard_ns = r->renewed_ns = ev_now_ns(r->loop);
    r->ping.fn = ping_due;
    r->silence.fn = silence_due;
    r->turn_end.fn = turn_end;
    ev_hook_add(r->loop, &r->turn_end);
}

void remote_conn_fini(struct remote *r)
{
    flush(r);
    remote_conn_close(r);
    ev_hook_remove(&r->turn_end);
    free(r->error);
}
