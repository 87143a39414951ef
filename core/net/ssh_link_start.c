/* SPDX-License-Identifier: BSD-2-Clause */
/* Starts a link process: this program, run again, which goes to the background when it listens. Once
 * for those who may wait, and once for an event loop. */
#include "base/mem.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "ev/ev.h"
#include "net/ssh_link_client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_NS (10 * NS_PER_S)
#define SAID_MAX 1024

static int spawn(const char *option, const char *runtime_dir, const char *word, int said,
                 pid_t *pid)
{
    char *argv[8] = { mem_strdup("hive"), mem_strdup("link"),
                      mem_printf("--runtime=%s", runtime_dir) };
    size_t n = 3;
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    sigset_t none, all;
    int rc;

    if (option)
        argv[n++] = mem_strdup(option);
    argv[n++] = mem_strdup("--");
    argv[n++] = mem_strdup(word);
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&fa);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    rc = posix_spawn_file_actions_adddup2(&fa, said, 2);
    if (rc == 0)
        rc = posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDWR, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&fa, 0, 1);
    if (rc == 0)
        rc = posix_spawn(pid, "/proc/self/exe", &fa, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&fa);
    while (n > 0)
        free(argv[--n]);
    return rc;
}

/* What it says, until it is in the background: false when that doesn't come. */
static bool listen_to(int fd, struct buf *text)
{
    int64_t until = clock_mono_ns(&clock_system) + START_NS;
    struct pollfd p = { .fd = fd, .events = POLLIN };
    char part[256];

    for (;;) {
        int64_t left = until - clock_mono_ns(&clock_system);
        ssize_t n;

        if (left <= 0)
            return false;
        if (poll(&p, 1, (int)(left / NS_PER_MS) + 1) <= 0)
            continue;
        n = read(fd, part, sizeof part);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return true;
        if (buf_len(text) < SAID_MAX)
            buf_append(text, part, (size_t)n);
    }
}

/* "hive: MESSAGE\n  HINT\n" */
static int failed(struct buf *said, const char *word, struct err *err)
{
    char *text = buf_take(said, NULL), *hint = strchr(text, '\n');
    char *message = text;

    if (hint)
        *hint++ = '\0';
    if (str_starts(message, "hive: "))
        message += 6;
    message = str_trim(message);
    err_set(err, ERR_UNAVAILABLE, "cannot start the link process of %s: %s", word,
            *message ? message : "it ended without a word");
    if (hint && *str_trim(hint)) {
        hint[strcspn(hint, "\n")] = '\0';
        err_hint(err, "%s", str_trim(hint));
    }
    free(text);
    return -1;
}

/* Starts it, and opens the pipe that ends when it is in the background. */
static int start(const char *option, const char *runtime_dir, const char *word, int *said,
                 pid_t *pid, struct err *err)
{
    int ends[2], high, rc;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_sys(err, errno, "cannot make a pipe");
    /* Above those that are set up, and a copy loses close-on-exec only if it is another number. */
    high = fcntl(ends[1], F_DUPFD_CLOEXEC, 10);
    rc = high < 0 ? errno : 0;
    close(ends[1]);
    if (rc == 0)
        rc = spawn(option, runtime_dir, word, high, pid);
    if (high >= 0)
        close(high);
    if (rc != 0) {
        close(ends[0]);
        return err_sys(err, rc, "cannot start the link process of %s", word);
    }
    *said = ends[0];
    return 0;
}

static bool is_fine(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return false;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int ssh_link_start(void *arg, const char *runtime_dir, const char *word, struct err *err)
{
    struct buf said = BUF_INIT;
    int fd, rc;
    bool told;
    pid_t pid;

    if (start(arg, runtime_dir, word, &fd, &pid, err) != 0)
        return -1;
    told = listen_to(fd, &said);
    close(fd);
    if (!told)
        kill(pid, SIGKILL);
    rc = is_fine(pid) && told ? 0 : failed(&said, word, err);
    buf_fini(&said);
    return rc;
}

/* --- in an event loop --------------------------------------------------------------------------- */

struct ssh_link_starting {
    struct ev_io io;
    struct ev_timer timer;
    struct buf said;
    char *word;
    pid_t pid;
    void (*done)(void *arg, const struct err *err);
    void *arg;
};

static void starting_free(struct ssh_link_starting *s)
{
    ev_timer_clear(&s->timer);
    ev_io_remove(&s->io);
    close(s->io.fd);
    buf_fini(&s->said);
    free(s->word);
    free(s);
}

/* It has closed the pipe or was killed: its end is a matter of microseconds. */
static void starting_over(struct ssh_link_starting *s, bool told)
{
    void (*done)(void *arg, const struct err *err) = s->done;
    void *arg = s->arg;
    struct err err = ERR_INIT;
    bool fine;

    if (!told)
        kill(s->pid, SIGKILL);
    fine = is_fine(s->pid) && told;
    if (!fine)
        failed(&s->said, s->word, &err);
    starting_free(s);
    done(arg, fine ? NULL : &err);
}

static void on_said(struct ev_io *io, unsigned ready)
{
    struct ssh_link_starting *s = CONTAINER_OF(io, struct ssh_link_starting, io);
    char part[256];
    ssize_t n = read(io->fd, part, sizeof part);

    (void)ready;
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0)
        starting_over(s, true);
    else if (buf_len(&s->said) < SAID_MAX)
        buf_append(&s->said, part, (size_t)n);
}

static void on_late(struct ev_timer *t)
{
    starting_over(CONTAINER_OF(t, struct ssh_link_starting, timer), false);
}

struct ssh_link_starting *ssh_link_start_begin(struct ev_loop *loop, const char *runtime_dir,
                                               const char *word, const char *option,
                                               void (*done)(void *arg, const struct err *err),
                                               void *arg, struct err *err)
{
    struct ssh_link_starting *s;
    pid_t pid;
    int fd;

    if (start(option, runtime_dir, word, &fd, &pid, err) != 0)
        return NULL;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    s = mem_alloc(sizeof *s);
    s->io = (struct ev_io){ .fd = fd, .events = EV_READ, .fn = on_said };
    s->timer.fn = on_late;
    s->word = mem_strdup(word);
    s->pid = pid;
    s->done = done;
    s->arg = arg;
    if (ev_io_add(loop, &s->io, err) != 0) {
        kill(pid, SIGKILL);
        is_fine(pid);
        starting_free(s);
        return NULL;
    }
    ev_timer_set_after(loop, &s->timer, START_NS);
    return s;
}

void ssh_link_start_cancel(struct ssh_link_starting *s)
{
    if (!s)
        return;
    kill(s->pid, SIGKILL);
    is_fine(s->pid);
    starting_free(s);
}
