/* SPDX-License-Identifier: BSD-2-Clause */
#include "sys/getent_process.h"

#include "base/clock.h"
#include "base/mem.h"
#include "sys/getent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAUSE_MIN_NS NS_PER_MS
#define PAUSE_MAX_NS (500 * NS_PER_MS)

static int set_up(posix_spawn_file_actions_t *fa, posix_spawnattr_t *attr, int out)
{
    sigset_t none, all;
    int rc;

    sigemptyset(&none);
    sigfillset(&all);
    if ((rc = posix_spawn_file_actions_addopen(fa, 0, "/dev/null", O_RDWR, 0)) != 0 ||
        (rc = posix_spawn_file_actions_adddup2(fa, out, 1)) != 0 ||
        (rc = posix_spawn_file_actions_adddup2(fa, 0, 2)) != 0 ||
        (rc = posix_spawnattr_setpgroup(attr, 0)) != 0 ||
        (rc = posix_spawnattr_setsigmask(attr, &none)) != 0 ||
        (rc = posix_spawnattr_setsigdefault(attr, &all)) != 0)
        return rc;
    return posix_spawnattr_setflags(attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETSIGDEF);
}

static int spawn(pid_t *pid, const char *program, const char *const *argv, int out)
{
    char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    char locale[] = "LC_ALL=C";
    char *env[] = { path, locale, NULL };
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    int rc;

    posix_spawn_file_actions_init(&fa);
    posix_spawnattr_init(&attr);
    rc = set_up(&fa, &attr, out);
    if (rc == 0)
        rc = posix_spawn(pid, program, &fa, &attr, (char *const *)(uintptr_t)argv, env);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&fa);
    return rc;
}

/* The pid stays reserved, for the group as well, until we reap: only then it could be another's. */
static void kill_group(const struct getent_process *p)
{
    siginfo_t info;

    if (waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0)
        kill(-p->pid, SIGKILL);
}

static void close_output(struct getent_process *p)
{
    ev_io_remove(&p->io);
    if (p->io.fd >= 0)
        close(p->io.fd);
    p->io.fd = -1;
}

/* True when it has ended. -1 as status: somebody else has reaped it. */
static bool reap(const struct getent_process *p, int *status)
{
    pid_t pid;

    do {
        pid = waitpid(p->pid, status, WNOHANG);
    } while (pid < 0 && errno == EINTR);
    if (pid < 0)
        *status = -1;
    return pid != 0;
}

static void release(struct getent_process *p)
{
    close_output(p);
    ev_timer_clear(&p->timer);
    buf_fini(&p->text);
}

/* Old kernels have no descriptor to wait for the end with. But it is near. */
static void look_again(struct getent_process *p, void (*fn)(struct ev_timer *t), int64_t until_ns)
{
    int64_t due_ns = ev_now_ns(p->loop) + p->pause_ns;

    p->timer.fn = fn;
    ev_timer_set(p->loop, &p->timer, due_ns < until_ns ? due_ns : until_ns);
    if (p->pause_ns < PAUSE_MAX_NS)
        p->pause_ns *= 2;
}

static void on_dying(struct ev_timer *t)
{
    struct getent_process *p = CONTAINER_OF(t, struct getent_process, timer);
    int status;

    if (!reap(p, &status)) {
        look_again(p, on_dying, INT64_MAX);
        return;
    }
    release(p);
    p->gone(p);
}

void getent_process_kill(struct getent_process *p)
{
    kill_group(p);
    close_output(p);
    p->pause_ns = PAUSE_MIN_NS;
    look_again(p, on_dying, INT64_MAX);
}

static void give_up(struct getent_process *p, enum getent_end why)
{
    getent_process_kill(p);
    p->done(p, why, 0, "", 0);
}

static void on_late(struct ev_timer *t)
{
    give_up(CONTAINER_OF(t, struct getent_process, timer), GETENT_LATE);
}

static void finish(struct getent_process *p, int status)
{
    enum getent_end how = GETENT_EXITED;

    if (status != -1 && WIFSIGNALED(status)) {
        how = GETENT_SIGNALLED;
        status = WTERMSIG(status);
    } else if (status != -1) {
        status = WEXITSTATUS(status);
    }
    ev_timer_clear(&p->timer);
    p->done(p, how, status, buf_data(&p->text), buf_len(&p->text));
    release(p);
    p->gone(p);
}

/* It said all it has to say. */
static void on_silent(struct ev_timer *t)
{
    struct getent_process *p = CONTAINER_OF(t, struct getent_process, timer);
    int status;

    if (reap(p, &status))
        finish(p, status);
    else if (ev_now_ns(p->loop) >= p->deadline_ns)
        give_up(p, GETENT_LATE);
    else
        look_again(p, on_silent, p->deadline_ns);
}

static void on_output(struct ev_io *io, unsigned ready)
{
    struct getent_process *p = CONTAINER_OF(io, struct getent_process, io);
    ssize_t n = read(io->fd, buf_reserve(&p->text, 4096), 4096);

    (void)ready;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        close_output(p);
        on_silent(&p->timer);
        return;
    }
    buf_added(&p->text, (size_t)n);
    if (buf_len(&p->text) > GETENT_OUTPUT_MAX)
        give_up(p, GETENT_TOO_MUCH);
}

int getent_process_start(struct getent_process *p, struct ev_loop *loop, const char *program,
                         const char *const *argv, int64_t deadline_ns)
{
    int ends[2], out, rc;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return errno;
    /* Above the descriptors that are set up, so that dup2 makes one without close-on-exec. */
    out = fcntl(ends[1], F_DUPFD_CLOEXEC, 10);
    rc = out < 0 ? errno : 0;
    close(ends[1]);
    p->loop = loop;
    p->io = (struct ev_io){ .fd = ends[0], .events = EV_READ, .fn = on_output };
    p->deadline_ns = deadline_ns;
    p->pause_ns = PAUSE_MIN_NS;
    if (rc == 0 && (fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0 || ev_io_add(loop, &p->io, NULL) != 0))
        rc = errno ? errno : ENOMEM;
    if (rc == 0)
        rc = spawn(&p->pid, program, argv, out);
    if (out >= 0)
        close(out);
    if (rc != 0) {
        close_output(p);
        return rc;
    }
    p->timer.fn = on_late;
    ev_timer_set(loop, &p->timer, deadline_ns);
    return 0;
}

void getent_process_abandon(struct getent_process *p)
{
    kill_group(p);
    release(p);
}

bool getent_process_reap(const struct getent_process *p)
{
    int status;

    return reap(p, &status);
}
