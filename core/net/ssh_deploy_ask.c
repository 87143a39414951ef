/* SPDX-License-Identifier: BSD-2-Clause */
/* One command on the host, with a deadline, and what it prints. */
#include "base/mem.h"

#include "base/clock.h"
#include "net/ssh_deploy_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define WAIT_NS (15 * NS_PER_S) /* as of ssh_link_client_exec() */
#define LOOK_NS (NS_PER_S / 4)  /* how far the file is */
#define CHUNK 4096

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void deploy_ask_stop(struct deploy_question *q)
{
    if (!q->run)
        return;
    ev_timer_clear(&q->timer);
    ev_io_remove(&q->io);
    close_fd(&q->io.fd);
    close_fd(&q->file);
    ssh_link_run_close(q->run);
    q->run = NULL;
}

void deploy_ask_fini(struct deploy_question *q)
{
    deploy_ask_stop(q);
    buf_fini(&q->answer);
}

static void over(struct deploy_question *q, const struct err *err)
{
    struct err copy = *err;

    deploy_ask_stop(q);
    q->ended(q, &copy);
}

/* --- what it prints ----------------------------------------------------------------------------- */

/* False: it prints more than any answer has. */
static bool hear(struct deploy_question *q)
{
    while (q->io.fd >= 0 && buf_len(&q->answer) <= DEPLOY_ANSWER_MAX) {
        ssize_t n = read(q->io.fd, buf_reserve(&q->answer, CHUNK), CHUNK);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0) {
            ev_io_remove(&q->io);
            close_fd(&q->io.fd);
            break;
        }
        buf_added(&q->answer, (size_t)n);
    }
    return buf_len(&q->answer) <= DEPLOY_ANSWER_MAX;
}

static void too_much(struct err *err)
{
    err_set(err, ERR_TOO_LARGE, "commands there print more than %zu KiB before they run",
            DEPLOY_ANSWER_MAX / 1024);
    err_hint(err, "login scripts should print nothing where there is no terminal");
}

static void on_output(struct ev_io *io, unsigned ready)
{
    struct deploy_question *q = CONTAINER_OF(io, struct deploy_question, io);
    struct err err = ERR_INIT;

    (void)ready;
    if (!hear(q)) {
        too_much(&err);
        over(q, &err);
    } else if (deploy_answer_ended(buf_data(&q->answer), buf_len(&q->answer))) {
        /* What the login shell started may hold on to the output. */
        over(q, &err);
    }
}

static void on_run(struct ssh_link_run *run, unsigned event, void *arg)
{
    struct deploy_question *q = arg;
    const struct ssh_link_result *r = ssh_link_run_result(run);
    struct err err = ERR_INIT;

    if (event == SSH_LINK_EV_STARTED) {
        q->started = true;
        q->moved_ns = ev_now_ns(q->loop);
        ev_timer_set_after(q->loop, &q->timer, q->file >= 0 ? LOOK_NS : q->answer_ns);
        return;
    }
    /* All output is in the pipe. */
    if (!hear(q))
        too_much(&err);
    else if (r->end == SSH_LINK_FAILED &&
             !deploy_answer_ended(buf_data(&q->answer), buf_len(&q->answer)))
        err = r->err;
    q->code = r->end == SSH_LINK_CODE ? r->code : 0;
    over(q, &err);
}

/* --- time --------------------------------------------------------------------------------------- */

static void late(struct deploy_question *q)
{
    struct err err = ERR_INIT;

    if (q->started && q->file >= 0)
        err_set(&err, ERR_TIMEOUT, "the copy came no further for %d s",
                (int)(q->stall_ns / NS_PER_S));
    else
        err_set(&err, ERR_TIMEOUT, "no answer from a shell there within %d s",
                (int)(q->answer_ns / NS_PER_S));
    err_hint(&err, q->started ? "does a login script there wait for something, or a file system?"
                              : "the link process does not answer; see its log");
    over(q, &err);
}

/* The position in the file belongs to whoever reads it, too. */
static void on_timer(struct ev_timer *t)
{
    struct deploy_question *q = CONTAINER_OF(t, struct deploy_question, timer);
    int64_t now = ev_now_ns(q->loop), sent;

    if (!q->started || q->file < 0) {
        late(q);
        return;
    }
    sent = lseek(q->file, 0, SEEK_CUR);
    if (sent == q->sent && now - q->moved_ns >= q->stall_ns) {
        late(q);
        return;
    }
    ev_timer_set_after(q->loop, t, LOOK_NS);
    if (sent == q->sent)
        return;
    q->sent = sent;
    q->moved_ns = now;
    q->progress(q, sent);
}

/* --- asking ------------------------------------------------------------------------------------- */

static int begin(struct deploy_question *q, const char *command, int in, int out, struct err *err)
{
    int fds[3] = { in, out, out };

    if (ev_io_add(q->loop, &q->io, err) != 0)
        return -1;
    q->run = ssh_link_client_exec(q->client, command, fds, q->wait_ns, on_run, q, err);
    if (!q->run) {
        ev_io_remove(&q->io);
        return -1;
    }
    ev_timer_set_after(q->loop, &q->timer, (q->wait_ns >= 0 ? q->wait_ns : WAIT_NS) + q->answer_ns);
    return 0;
}

int deploy_ask(struct deploy_question *q, const char *command, int file, struct err *err)
{
    int ends[2] = { -1, -1 }, rc = -1;
    int in = file >= 0 ? file : open("/dev/null", O_RDONLY | O_CLOEXEC);

    buf_clear(&q->answer);
    q->file = file;
    q->started = false;
    q->sent = 0;
    q->code = 0;
    q->timer.fn = on_timer;
    if (in < 0 || pipe2(ends, O_CLOEXEC) != 0) {
        err_sys(err, errno, "cannot make a pipe");
    } else if (fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) {
        err_sys(err, errno, "cannot read from a pipe");
    } else {
        q->io = (struct ev_io){ .fd = ends[0], .events = EV_READ, .fn = on_output };
        rc = begin(q, command, in, ends[1], err);
    }
    close_fd(&ends[1]);
    if (file < 0)
        close_fd(&in);
    if (rc == 0)
        return 0;
    close_fd(&ends[0]);
    close_fd(&q->file);
    q->io.fd = -1;
    return -1;
}
