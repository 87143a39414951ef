/* SPDX-License-Identifier: BSD-2-Clause */
/* The daemon's side of the spawner: how many shims there should be. */
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "node/node_internal.h"
#include "node/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define READY_NS (10 * NS_PER_S)
#define PACE_NS NS_PER_S         /* between failed forks, and starts of the spawner */
#define HELLO_NS (10 * NS_PER_S) /* a shim that was asked for must have come */
#define FORK_BATCH 64

static void spawner_ready(struct ev_io *io, unsigned ready);

static void pause_ms(long ms)
{
    struct timespec ts = { 0, ms * 1000000 };

    nanosleep(&ts, NULL);
}

/* Waits for the end of the process for at most so long. */
static void reap_spawner(struct node *n, int patience_ms)
{
    for (int i = 0; n->spawner_pid > 0 && i < patience_ms; i++) {
        pid_t pid = waitpid(n->spawner_pid, NULL, WNOHANG);
        if (pid != 0 && !(pid < 0 && errno == EINTR))
            break;
        pause_ms(1);
    }
    n->spawner_pid = 0;
}

void spawner_detach(struct node *n, int patience_ms)
{
    if (n->spawner.fd < 0)
        return;
    ev_io_remove(&n->spawner);
    close(n->spawner.fd);
    n->spawner.fd = -1;
    reap_spawner(n, patience_ms);
}

static void note_ready(struct node *n, const struct spawner_msg *m)
{
    n->spawner_pid = m->value;
    snprintf(n->memory_note, sizeof n->memory_note, "%.*s", (int)sizeof m->text - 1, m->text);
}

static int wait_ready(struct node *n, struct err *err)
{
    int64_t deadline = clock_mono_ns(&clock_system) + READY_NS, left;
    struct pollfd p = { .fd = n->spawner.fd, .events = POLLIN };
    struct spawner_msg m;

    while ((left = deadline - clock_mono_ns(&clock_system)) > 0) {
        if (poll(&p, 1, (int)(left / NS_PER_MS) + 1) <= 0)
            continue;
        if (recv(p.fd, &m, sizeof m, MSG_DONTWAIT) != (ssize_t)sizeof m || m.type != SPAWNER_READY)
            return err_set(err, ERR_UNAVAILABLE, "the spawner ended as soon as it was started");
        note_ready(n, &m);
        return 0;
    }
    return err_set(err, ERR_TIMEOUT, "the spawner was not ready within %d s",
                   (int)(READY_NS / NS_PER_S));
}

static int watch(struct node *n, struct err *err)
{
    n->spawner.events = EV_READ;
    n->spawner.fn = spawner_ready;
    return ev_io_add(n->loop, &n->spawner, err);
}

int spawner_attach(struct node *n, int fd, struct err *err)
{
    n->spawner.fd = fd;
    n->spawner_started_ns = ev_now_ns(n->loop);
    if (wait_ready(n, err) != 0)
        return -1;
    return watch(n, err);
}

/* A new one can be had at any time: it is not forked from this process but executed anew. */
static void restart(struct node *n)
{
    struct err err = ERR_INIT;

    n->spawner_started_ns = ev_now_ns(n->loop);
    n->spawner.fd = spawner_start(n->state_dir, n->runtime_dir, &err);
    if (n->spawner.fd >= 0 && watch(n, &err) == 0) {
        log_info(n->log, "the spawner was started again");
        return;
    }
    log_error(n->log, "the spawner can't be started again: %s", err.msg);
    if (n->spawner.fd >= 0)
        close(n->spawner.fd);
    n->spawner.fd = -1;
}

static void lost(struct node *n)
{
    log_error(n->log, "the spawner (process %ld) died; running jobs are not affected",
              (long)n->spawner_pid);
    spawner_detach(n, SPAWNER_PATIENCE_MS);
    n->starting = 0;
    shims_tend(n);
}

static void fork_failed(struct node *n, int sys)
{
    struct err err = ERR_INIT;

    if (n->starting > 0)
        n->starting--;
    n->fork_blocked_ns = ev_now_ns(n->loop) + PACE_NS;
    if (!n->fork_failed) {
        err_sys(&err, sys, "cannot make a process for a job, trying again each second");
        log_error(n->log, "%s", err.msg);
    }
    n->fork_failed = true;
    shims_tend(n);
}

static void spawner_ready(struct ev_io *io, unsigned ready)
{
    struct node *n = CONTAINER_OF(io, struct node, spawner);
    struct spawner_msg m;
    ssize_t len;

    (void)ready;
    while ((len = recv(io->fd, &m, sizeof m, MSG_DONTWAIT)) == (ssize_t)sizeof m) {
        if (m.type == SPAWNER_READY)
            note_ready(n, &m);
        else if (m.type == SPAWNER_DIED)
            runs_shim_died(n, m.value);
        else if (m.type == SPAWNER_FAILED)
            fork_failed(n, m.value);
    }
    if (len >= 0 || (errno != EAGAIN && errno != EINTR))
        lost(n);
}

static void ask(struct node *n, size_t count)
{
    struct spawner_msg m = { .type = SPAWNER_FORK, .value = (int32_t)count };

    if (send(n->spawner.fd, &m, sizeof m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return; /* it is gone, which comes as an event, or too busy: asked again later */
    n->starting += count;
    n->starting_ns = ev_now_ns(n->loop);
}

static size_t shims_wanted(const struct node *n)
{
    size_t work = n->busy_count + n->waiting_count, slots = n->slots > 0 ? (size_t)n->slots : 0;
    size_t spare = n->idle_shims > 0 ? (size_t)n->idle_shims : 0;

    if (work >= slots)
        spare = 0;
    else if (spare > slots - work)
        spare = slots - work;
    return n->waiting_count + spare;
}

void shims_tend(struct node *n)
{
    int64_t now = ev_now_ns(n->loop);
    size_t want, have;

    if (n->spawner.fd < 0 && now >= n->spawner_started_ns + PACE_NS)
        restart(n);
    if (n->starting > 0 && now >= n->starting_ns + HELLO_NS) {
        log_warning(n->log, "%zu job starters did not come up", n->starting);
        n->starting = 0;
    }
    want = shims_wanted(n);
    have = n->idle_count + n->starting;
    if (want > have && n->spawner.fd >= 0 && now >= n->fork_blocked_ns &&
        n->starting < FORK_BATCH) {
        size_t count = want - have;
        ask(n, count < FORK_BATCH - n->starting ? count : FORK_BATCH - n->starting);
        have = n->idle_count + n->starting;
    }
    if ((n->spawner.fd < 0 || n->starting > 0 || want > have || n->listener_paused ||
         n->idle_count > (n->idle_shims > 0 ? (size_t)n->idle_shims : 0)) &&
        !ev_timer_armed(&n->tend))
        ev_timer_set_after(n->loop, &n->tend, PACE_NS);
}
