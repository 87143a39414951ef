/* SPDX-License-Identifier: BSD-2-Clause */
#include "head/reach_shell.h"

#include "base/mem.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "ev/ev.h"
#include "net/ssh_link_client.h"
#include "sys/sample.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_NS (60 * NS_PER_S) /* for an answer; a busy host may take seconds */

struct reach_shell {
    struct ev_loop *loop;
    struct reach_shell_hooks hooks;
    struct sampler *sampler;
    struct ssh_link_run *run;
    struct ev_io io; /* its stdin and stdout */
    struct ev_timer timer;
    struct buf text;
    int64_t interval_ns, asked_ns;
    bool waiting; /* for an answer */
};

static void fail(struct reach_shell *r, const struct err *err)
{
    ev_timer_clear(&r->timer);
    ssh_link_run_close(r->run);
    r->run = NULL;
    r->hooks.ended(err, r->hooks.arg);
}

static void on_timer(struct ev_timer *t)
{
    struct reach_shell *r = CONTAINER_OF(t, struct reach_shell, timer);
    struct err err = ERR_INIT;

    if (r->waiting) {
        err_set(&err, ERR_TIMEOUT, "the host's shell doesn't answer");
        fail(r, &err);
        return;
    }
    /* An answer to each line; one byte always fits. */
    if (write(r->io.fd, "\n", 1) != 1) {
        err_sys(&err, errno, "cannot ask the host's shell");
        fail(r, &err);
        return;
    }
    r->waiting = true;
    r->asked_ns = ev_now_ns(r->loop);
    ev_timer_set_after(r->loop, t, PATIENCE_NS);
}

static void next_round(struct reach_shell *r)
{
    int64_t due = r->asked_ns + r->interval_ns, now = ev_now_ns(r->loop);

    r->waiting = false;
    ev_timer_set(r->loop, &r->timer, due > now ? due : now);
}

static void take_samples(struct reach_shell *r)
{
    struct err err = ERR_INIT;
    size_t len;

    while ((len = sample_text_end(buf_data(&r->text), buf_len(&r->text))) > 0) {
        const struct sample *s = sampler_read_text(r->sampler, buf_data(&r->text), len, &err);
        if (!s) {
            fail(r, &err);
            return;
        }
        r->hooks.sample(s, r->hooks.arg);
        buf_consume(&r->text, len);
        next_round(r);
    }
    if (buf_len(&r->text) >= SAMPLE_TEXT_MAX) {
        err_set(&err, ERR_TOO_LARGE, "the host's shell says too much");
        fail(r, &err);
    }
}

static void on_text(struct ev_io *io, unsigned ready)
{
    struct reach_shell *r = CONTAINER_OF(io, struct reach_shell, io);
    struct err err = ERR_INIT;
    ssize_t n = read(io->fd, buf_reserve(&r->text, 16384), 16384);

    (void)ready;
    if (n > 0) {
        buf_added(&r->text, (size_t)n);
        take_samples(r);
    } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
        ev_io_change(io, 0);
        err_set(&err, ERR_UNAVAILABLE, "the host's shell ended");
        fail(r, &err);
    }
}

static void on_run(struct ssh_link_run *run, unsigned event, void *arg)
{
    struct reach_shell *r = arg;
    struct err err = ERR_INIT;

    if (!(event & SSH_LINK_EV_ENDED))
        return;
    if (ssh_link_run_result(run)->end == SSH_LINK_FAILED)
        err = ssh_link_run_result(run)->err;
    else
        err_set(&err, ERR_UNAVAILABLE, "the host's shell ended");
    fail(r, &err);
}

static int start(struct reach_shell *r, struct ssh_link_client *client, struct err *err)
{
    const char *folders[] = { "/", NULL };
    struct buf command = BUF_INIT;
    int ends[2], null, rc = -1;

    if (sample_script_command(folders, &command, err) != 0)
        return -1;
    null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
        err_sys(err, errno, "cannot make a socket");
    } else {
        r->io = (struct ev_io){ .fd = ends[0], .events = EV_READ, .fn = on_text };
        int fds[3] = { ends[1], ends[1], null };
        r->run = ssh_link_client_exec(client, buf_data(&command), fds, -1, on_run, r, err);
        close(ends[1]);
        if (r->run && ev_io_add(r->loop, &r->io, err) == 0)
            rc = 0;
    }
    if (null >= 0)
        close(null);
    buf_fini(&command);
    return rc;
}

struct reach_shell *reach_shell_start(struct ev_loop *loop, struct ssh_link_client *client,
                                      int64_t interval_s, const struct reach_shell_hooks *hooks,
                                      struct err *err)
{
    struct reach_shell *r = mem_alloc(sizeof *r);

    r->loop = loop;
    r->hooks = *hooks;
    r->io.fd = -1;
    r->timer.fn = on_timer;
    r->interval_ns = interval_s * NS_PER_S;
    const char *folders[] = { "/", NULL };
    r->sampler = sampler_create(&(struct sampler_options){ .text = true, .folders = folders }, err);
    if (!r->sampler || start(r, client, err) != 0) {
        reach_shell_destroy(r);
        return NULL;
    }
    ev_timer_set_after(loop, &r->timer, 0);
    return r;
}

void reach_shell_destroy(struct reach_shell *r)
{
    if (!r)
        return;
    ev_timer_clear(&r->timer);
    ssh_link_run_close(r->run);
    if (r->io.fd >= 0) {
        ev_io_remove(&r->io);
        close(r->io.fd);
    }
    sampler_destroy(r->sampler);
    buf_fini(&r->text);
    free(r);
}

void reach_shell_measure(struct reach_shell *r, int64_t interval_s)
{
    r->interval_ns = interval_s * NS_PER_S;
    if (!r->waiting && r->run)
        next_round(r);
}
