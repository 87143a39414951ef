/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The system's ssh in place of the builtin client: for security keys, certificates, ProxyCommand and
 * whatever else only it can do. The first ssh becomes a ControlMaster in the background, which
 * outlives it; the others run over it, one process for each command, with the client's descriptors
 * as they are. All ask nothing (BatchMode): there is nobody to answer.
 */
#include "base/mem.h"

#include "base/clock.h"
#include "base/hosts_file.h"
#include "base/str.h"
#include "net/ssh_link_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAID_MAX 2048
#define ARGS_MAX 24
#define SSH_FAILED 255

/* The ssh that connects: `exec true` there, and the master stays. */
struct link_system {
    struct ssh_link *owner;
    pid_t pid;
    struct ev_io child, said;
    struct buf text;
};

struct args {
    char *arg[ARGS_MAX];
    size_t count;
};

/* --- words -------------------------------------------------------------------------------------- */

static void add(struct args *a, const char *text)
{
    if (a->count < ARGS_MAX - 1)
        a->arg[a->count++] = mem_strdup(text);
}

static void args_fini(struct args *a)
{
    for (size_t i = 0; i < a->count; i++)
        free(a->arg[i]);
}

/* '%' begins a token in paths of ssh's settings. */
static void add_control_path(struct args *a, const struct ssh_link *link)
{
    char *path = ssh_link_path(link->runtime_dir, link->word, ".cm");
    struct buf b = BUF_INIT;

    buf_append_str(&b, "-oControlPath=");
    for (const char *p = path; *p; p++)
        buf_printf(&b, *p == '%' ? "%%%%" : "%c", *p);
    add(a, buf_data(&b));
    buf_fini(&b);
    free(path);
}

/* Up to the host; what comes behind it is the caller's. */
static int add_common(struct args *a, const struct ssh_link *link, const char *master,
                      const char *more, struct err *err)
{
    const char *comma = strrchr(link->word, ',');
    struct hosts_entry host;
    char number[16];

    if (hosts_entry_parse(link->name, &host, err) != 0)
        return -1;
    add(a, "ssh");
    add(a, "-oBatchMode=yes");
    add(a, master);
    add(a, more);
    add_control_path(a, link);
    if (comma) {
        char *jumps = mem_strndup(link->word, (size_t)(comma - link->word));

        add(a, "-J");
        add(a, jumps);
        free(jumps);
    }
    if (host.user) {
        add(a, "-l");
        add(a, host.user);
    }
    if (host.port) {
        snprintf(number, sizeof number, "%u", (unsigned)host.port);
        add(a, "-p");
        add(a, number);
    }
    add(a, "--");
    add(a, host.host);
    hosts_entry_fini(&host);
    return 0;
}

/* --- processes ---------------------------------------------------------------------------------- */

static int spawn(const struct args *a, const int fds[3], pid_t *pid, struct err *err)
{
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    sigset_t none, all;
    int rc = 0, high[3];

    /* Above those that are set up: none is overwritten before it is used. */
    for (int i = 0; i < 3; i++)
        high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 10);
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&fa);
    posix_spawnattr_init(&attr);
    for (int i = 0; i < 3 && rc == 0; i++)
        rc = high[i] < 0 ? EMFILE : posix_spawn_file_actions_adddup2(&fa, high[i], i);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    if (rc == 0)
        rc = posix_spawnp(pid, "ssh", &fa, &attr, a->arg, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&fa);
    for (int i = 0; i < 3; i++)
        if (high[i] >= 0)
            close(high[i]);
    if (rc == 0)
        return 0;
    err_sys(err, rc, "cannot run ssh");
    return err_hint(err, "install OpenSSH's client, or set link.ssh to builtin");
}

/* A descriptor that is readable when the child has ended. */
static int watch_child(struct ssh_link *link, pid_t pid, struct ev_io *io, struct err *err)
{
    io->fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (io->fd < 0)
        return err_sys(err, errno, "cannot watch a process");
    fcntl(io->fd, F_SETFD, FD_CLOEXEC);
    io->events = EV_READ;
    return ev_io_add(link->loop, io, err);
}

static void unwatch(struct ev_io *io)
{
    if (io->fd < 0)
        return;
    ev_io_remove(io);
    close(io->fd);
    io->fd = -1;
}

static void end_child(pid_t pid)
{
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* --- connecting --------------------------------------------------------------------------------- */

static void read_said(struct link_system *s)
{
    ssize_t n;

    while (buf_len(&s->text) < SAID_MAX) {
        n = read(s->said.fd, buf_reserve(&s->text, SAID_MAX), SAID_MAX - buf_len(&s->text));
        if (n <= 0)
            break;
        buf_added(&s->text, (size_t)n);
    }
}

static void on_said(struct ev_io *io, unsigned ready)
{
    struct link_system *s = CONTAINER_OF(io, struct link_system, said);
    char drop[512];

    read_said(s);
    if ((ready & EV_HANGUP) || read(io->fd, drop, sizeof drop) == 0)
        ev_io_remove(io);
}

/* The last line that ssh said is the reason. */
static void connecting_failed(struct link_system *s, int status)
{
    struct ssh_link *link = s->owner;
    struct err err = ERR_INIT;
    struct buf safe = BUF_INIT;
    char *text, *line;
    enum err_kind kind = ERR_UNAVAILABLE;

    text = buf_take(&s->text, NULL);
    line = str_trim(text);
    if (strstr(line, "Host key verification failed"))
        kind = ERR_DENIED;
    else if (strstr(line, "Permission denied"))
        kind = ERR_UNAUTH;
    if (strrchr(line, '\n'))
        line = strrchr(line, '\n') + 1;
    str_append_safe(&safe, line, SIZE_MAX);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SSH_FAILED)
        err_set(&err, kind, "the system's ssh doesn't reach %s: %.300s", link->name,
                buf_len(&safe) ? buf_data(&safe) : "it doesn't say why");
    else
        err_set(&err, ERR_UNPROCESS, "%s: logged in, but `true` fails there: %.300s", link->name,
                buf_data(&safe));
    err_hint(&err, "try: ssh -o BatchMode=yes %.100s true", link->name);
    buf_fini(&safe);
    free(text);
    link_conn_failed(link, &err);
}

static void on_connected(struct ev_io *io, unsigned ready)
{
    struct link_system *s = CONTAINER_OF(io, struct link_system, child);
    int status = 0;

    (void)ready;
    if (waitpid(s->pid, &status, WNOHANG) != s->pid)
        return;
    s->pid = 0;
    unwatch(io);
    /* The master holds the other end for as long as it lives: nothing more is waited for. */
    read_said(s);
    unwatch(&s->said);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        link_conn_up(s->owner);
    else
        connecting_failed(s, status);
}

static int start_connecting(struct link_system *s, struct err *err)
{
    struct ssh_link *link = s->owner;
    struct args a = { .count = 0 };
    int ends[2], null, rc;

    if (add_common(&a, link, "-oControlMaster=auto", "-oControlPersist=yes", err) != 0)
        return -1;
    add(&a, "exec true");
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        close(null);
        args_fini(&a);
        return err_sys(err, errno, "cannot make a pipe");
    }
    rc = spawn(&a, (const int[]){ null, null, ends[1] }, &s->pid, err);
    args_fini(&a);
    close(null);
    close(ends[1]);
    s->said = (struct ev_io){ .fd = ends[0], .events = EV_READ, .fn = on_said };
    if (rc == 0 && ev_io_add(link->loop, &s->said, err) == 0 &&
        watch_child(link, s->pid, &s->child, err) == 0)
        return 0;
    return -1;
}

int link_system_open(struct ssh_link *link, struct err *err)
{
    struct link_system *s = mem_alloc(sizeof *s);

    s->owner = link;
    s->said.fd = s->child.fd = -1;
    s->child.fn = on_connected;
    link->sys = s;
    return start_connecting(s, err);
}

/* Ends the master. Its answer is not waited for, and neither is its end. */
static void end_master(struct ssh_link *link)
{
    struct args a = { .count = 0 };
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    pid_t pid;

    if (null >= 0 && add_common(&a, link, "-Oexit", "-q", NULL) == 0 &&
        spawn(&a, (const int[]){ null, null, null }, &pid, NULL) == 0)
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
    args_fini(&a);
    if (null >= 0)
        close(null);
}

void link_system_close(struct ssh_link *link)
{
    struct link_system *s = link->sys;

    if (!s)
        return;
    link->sys = NULL;
    unwatch(&s->child);
    unwatch(&s->said);
    if (s->pid > 0)
        end_child(s->pid);
    end_master(link);
    buf_fini(&s->text);
    free(s);
}

/* --- commands ----------------------------------------------------------------------------------- */

static void on_ended(struct ev_io *io, unsigned ready)
{
    struct link_pump *p = CONTAINER_OF(io, struct link_pump, child);
    struct ssh_link *link = p->owner;
    struct err err = ERR_INIT;
    int status = 0;
    bool wanted;

    (void)ready;
    if (waitpid(p->pid, &status, WNOHANG) != p->pid)
        return;
    p->pid = 0;
    unwatch(io);
    if (WIFEXITED(status) && WEXITSTATUS(status) != SSH_FAILED) {
        p->result.end = SSH_LINK_CODE;
        p->result.code = (uint32_t)WEXITSTATUS(status);
        link_pump_finish(p);
        return;
    }
    err_set(&err, ERR_UNAVAILABLE,
            "the system's ssh lost the connection to %s, or the command ended with status 255 or "
            "by a signal",
            link->name);
    p->result.end = SSH_LINK_FAILED;
    p->result.err = err;
    wanted = p->client != NULL;
    link_pump_finish(p);
    /* One of the two: whether there still is a connection shows when it is made anew. */
    if (link->state == SSH_LINK_UP && wanted)
        link_conn_failed(link, &err);
}

int link_system_run(struct link_pump *p, struct err *err)
{
    struct ssh_link *link = p->owner;
    struct ssh_link_msg m = { .type = SSH_LINK_STARTED, .id = p->id };
    struct args a = { .count = 0 };
    int rc = -1, null = -1, fds[3] = { p->fds[0], p->fds[1], p->fds[2] };
    char *more = mem_strdup("-T");

    if (p->dial) {
        null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        fds[1] = p->fds[0];
        fds[2] = null;
        free(more);
        more =
            mem_printf(strchr(p->text, ':') ? "-W[%s]:%u" : "-W%s:%u", p->text, (unsigned)p->port);
    }
    if (add_common(&a, link, "-oControlMaster=no", more, err) == 0) {
        if (!p->dial)
            add(&a, p->text);
        rc = spawn(&a, fds, &p->pid, err);
    }
    free(more);
    args_fini(&a);
    if (null >= 0)
        close(null);
    if (rc != 0)
        return -1;
    ssh_link_close_fds(p->fds);
    p->child = (struct ev_io){ .fd = -1, .fn = on_ended };
    if (watch_child(link, p->pid, &p->child, err) != 0) {
        end_child(p->pid);
        p->pid = 0;
        return -1;
    }
    p->started = true;
    link_tell(p->client, &m);
    return 0;
}

/* ssh passes no signals on; ending it closes the channel, which is what they are mostly for. */
void link_system_kill(struct link_pump *p, const char *signal_name)
{
    kill(p->pid, str_eq(signal_name, "KILL") ? SIGKILL : SIGTERM);
}

void link_system_forget(struct link_pump *p)
{
    if (p->pid <= 0)
        return;
    unwatch(&p->child);
    end_child(p->pid);
    p->pid = 0;
}
