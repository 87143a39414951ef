/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The agent's connection: lines in, lines out, over two descriptors that are somebody else's too
 * (O_NONBLOCK would change them for everybody): what is read is known to be there, and no more is
 * written at once than a pipe that can be written takes.
 */
#include "base/mem.h"

#include "node/agent_priv.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_PIECE (64 * 1024)

/* --- out -------------------------------------------------------------------------------------- */

bool link_has_room(const struct agent *a)
{
    return a->connected && buf_len(&a->outbuf) < AGENT_OUT_HIGH;
}

void link_send(struct agent *a, const struct link_msg *m)
{
    struct err err = ERR_INIT;

    if (!a->connected)
        return;
    if (link_msg_encode(m, &a->outbuf, &err) != 0)
        log_error(a->log, "%s", err.msg);
    else
        buf_append_char(&a->outbuf, '\n');
}

void link_error(struct agent *a, const struct link_msg *about, const struct err *err)
{
    struct link_msg m = { .type = LINK_ERROR,
                          .message = err->msg,
                          .kind = err_kind_name(err->kind) };

    if (about) {
        m.about = link_type_name(about->type);
        m.key = about->key;
        m.id = about->id;
    }
    m.key.fence = a->fence;
    link_send(a, &m);
}

/* As much as can be written now. -1 with errno; EAGAIN: not now. */
static ssize_t write_some(struct agent *a, const char *data, size_t len)
{
    struct pollfd p = { .fd = a->out.fd, .events = POLLOUT };

    if (a->out_is_socket)
        return send(a->out.fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (poll(&p, 1, 0) == 0) {
        errno = EAGAIN;
        return -1;
    }
    return write(a->out.fd, data, len < PIPE_BUF ? len : PIPE_BUF);
}

void link_flush(struct agent *a)
{
    while (a->connected && buf_len(&a->outbuf) > 0) {
        ssize_t n = write_some(a, buf_data(&a->outbuf), buf_len(&a->outbuf));
        if (n >= 0) {
            buf_consume(&a->outbuf, (size_t)n);
        } else if (errno == EAGAIN) {
            break;
        } else if (errno != EINTR) {
            agent_lost(a);
            return;
        }
    }
    if (a->connected && a->out_watched)
        ev_io_change(&a->out, buf_len(&a->outbuf) > 0 ? EV_WRITE : 0);
    if (buf_len(&a->outbuf) == 0)
        buf_clear(&a->outbuf);
}

/* There is room, or nobody reads any more: the end of the turn writes. */
static void out_ready(struct ev_io *io, unsigned ready)
{
    struct agent *a = CONTAINER_OF(io, struct agent, out);

    if (ready & EV_HANGUP)
        agent_lost(a);
}

/* --- in --------------------------------------------------------------------------------------- */

static bool may_handle(const struct agent *a)
{
    return a->connected && (a->state == AGENT_GREETING || a->state == AGENT_SERVING) &&
           buf_len(&a->outbuf) < AGENT_OUT_MAX;
}

static void handle_line(struct agent *a, const char *line, size_t len)
{
    struct link_msg m;
    struct err err = ERR_INIT;

    if (len > 0 && line[len - 1] == '\r')
        len--;
    if (len == 0)
        return;
    if (link_msg_decode(line, len, &m, &err) != 0) {
        link_error(a, NULL, &err);
        return;
    }
    if (m.type == LINK_WELCOME && a->state == AGENT_GREETING)
        take_welcome(a, &m);
    else
        serve_message(a, &m);
    link_msg_fini(&m);
}

static void too_long(struct agent *a)
{
    struct err err = ERR_INIT;

    if (!a->skipping) {
        err_set(&err, ERR_TOO_LARGE, "a message is over %d KiB", LINK_LINE_MAX / 1024);
        link_error(a, NULL, &err);
    }
    a->skipping = true;
    buf_clear(&a->inbuf);
}

void link_handle(struct agent *a)
{
    while (may_handle(a) && buf_len(&a->inbuf) > 0) {
        const char *line = buf_data(&a->inbuf);
        const char *nl = memchr(line, '\n', buf_len(&a->inbuf));

        if (!nl) {
            if (buf_len(&a->inbuf) > LINK_LINE_MAX)
                too_long(a);
            break;
        }
        /* What handles it may go on reading: the line is its own then. */
        size_t len = (size_t)(nl - line);
        char *copy = a->skipping ? NULL : mem_strndup(line, len);
        buf_consume(&a->inbuf, len + 1);
        a->skipping = false;
        if (copy)
            handle_line(a, copy, len);
        free(copy);
    }
    if (buf_len(&a->inbuf) == 0)
        buf_clear(&a->inbuf);
    if (a->ended_input && !memchr(buf_data(&a->inbuf), '\n', buf_len(&a->inbuf)) &&
        (a->state == AGENT_GREETING || a->state == AGENT_SERVING)) {
        /* Whoever asked by a pipe still reads. */
        serve_pump(a);
        link_flush(a);
        agent_lost(a);
    }
    if (!a->connected)
        return;
    if (a->in_watched)
        ev_io_change(&a->in, may_handle(a) && !a->ended_input ? EV_READ : 0);
    else if (may_handle(a) && !a->ended_input && !ev_timer_armed(&a->in_again))
        ev_timer_set_after(a->loop, &a->in_again, 0);
}

static void read_more(struct agent *a)
{
    ssize_t n;

    do
        n = read(a->in.fd, buf_reserve(&a->inbuf, READ_PIECE), READ_PIECE);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n > 0)
        buf_added(&a->inbuf, (size_t)n);
    else
        a->ended_input = true;
    link_handle(a);
}

static void in_ready(struct ev_io *io, unsigned ready)
{
    struct agent *a = CONTAINER_OF(io, struct agent, in);

    /* A hang-up comes whether it was asked for or not: what is there waits until it can be
     * handled, and the watch would only burn time meanwhile. */
    if (!may_handle(a) || a->ended_input) {
        ev_io_remove(io);
        a->in_watched = false;
        return;
    }
    if (ready & (EV_READ | EV_HANGUP))
        read_more(a);
}

static void in_again_due(struct ev_timer *t)
{
    struct agent *a = CONTAINER_OF(t, struct agent, in_again);
    struct pollfd p = { .fd = a->in.fd, .events = POLLIN };

    if (may_handle(a) && !a->ended_input && poll(&p, 1, 0) > 0)
        read_more(a);
}

/* --- life ------------------------------------------------------------------------------------- */

int link_open(struct agent *a, int in_fd, int out_fd, struct err *err)
{
    struct stat st;

    if (fstat(in_fd, &st) != 0 || fstat(out_fd, &st) != 0)
        return err_sys(err, errno, "standard input or output is closed");
    a->out_is_socket = S_ISSOCK(st.st_mode);
    a->in = (struct ev_io){ .fd = in_fd, .events = EV_READ, .fn = in_ready };
    a->out = (struct ev_io){ .fd = out_fd, .fn = out_ready };
    a->in_again.fn = in_again_due;
    a->connected = true;
    /* Files can't be watched, and never make anybody wait. */
    a->in_watched = ev_io_add(a->loop, &a->in, NULL) == 0;
    a->out_watched = ev_io_add(a->loop, &a->out, NULL) == 0;
    if (!a->in_watched)
        ev_timer_set_after(a->loop, &a->in_again, 0);
    return 0;
}

void link_close(struct agent *a)
{
    ev_io_remove(&a->in);
    ev_io_remove(&a->out);
    ev_timer_clear(&a->in_again);
    buf_fini(&a->inbuf);
    buf_fini(&a->outbuf);
    a->connected = a->in_watched = a->out_watched = false;
}
