/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A shell there, our own or that of a host over its link process, is told what to say. First it says
 * that it is ready: the time between the next question and its answer is then that of the way there
 * and back alone, and says how exactly the clocks were compared.
 */
#include "base/mem.h"

#include "cmd/doctor.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "ev/ev.h"
#include "net/ssh_link_client.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#define PARALLEL 16

enum phase { HELLO, TIME, FACTS };

struct visitor;

struct trip {
    struct visitor *all;
    struct doctor_visit *visit;
    bool running;
    enum phase phase;
    struct ssh_link_starting *starting;
    struct ssh_link_client *client;
    struct ssh_link_run *run;
    pid_t pid;         /* our own shell; 0: none */
    int to;            /* its input */
    struct ev_io from; /* its output */
    struct buf text;
    size_t looked; /* up to here `text` has no line that is waited for */
    int64_t asked_ns, asked_wall_ns;
    struct ev_timer timer;
};

struct visitor {
    struct ev_loop *loop;
    char *runtime_dir;
    struct trip *trips;
    size_t count, next, active;
    int64_t timeout_ns;
    bool starting;
};

static void visit_more(struct visitor *all);

/* --- the end of one ----------------------------------------------------------------------------- */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void end_shell(struct trip *t)
{
    if (t->pid <= 0)
        return;
    kill(-t->pid, SIGKILL); /* it is not reaped yet, so that number is its own */
    while (waitpid(t->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    t->pid = 0;
}

static void let_go(struct trip *t)
{
    ev_timer_clear(&t->timer);
    ev_io_remove(&t->from);
    close_fd(&t->from.fd);
    close_fd(&t->to);
    ssh_link_start_cancel(t->starting);
    ssh_link_run_close(t->run);
    ssh_link_client_destroy(t->client);
    t->starting = NULL;
    t->run = NULL;
    t->client = NULL;
    end_shell(t);
}

/* `err` is NULL where it came to an end by itself. */
static void finish(struct trip *t, const struct err *err)
{
    struct doctor_visit *v = t->visit;

    if (!t->running)
        return;
    t->running = false;
    doctor_facts_read(&v->facts, buf_data(&t->text), buf_len(&t->text));
    if (!v->facts.complete && err)
        v->err = *err;
    else if (v->facts.count == 0)
        err_set(&v->err, ERR_UNPROCESS, "its shell said nothing that can be understood");
    if (t->client)
        v->via = mem_strdup(ssh_link_client_status(t->client)->via);
    let_go(t);
    buf_fini(&t->text);
    t->all->active--;
    visit_more(t->all);
}

static void on_timeout(struct ev_timer *timer)
{
    struct trip *t = CONTAINER_OF(timer, struct trip, timer);
    struct buf time = BUF_INIT;
    struct err err = ERR_INIT;

    if (t->client)
        err = ssh_link_client_status(t->client)->err;
    if (err.kind == ERR_NONE) {
        str_format_duration(&time, t->all->timeout_ns);
        err_set(&err, ERR_TIMEOUT, "not done within %s", buf_data(&time));
        err_hint(&err, "is it overloaded, or does --timeout need to be longer?");
        buf_fini(&time);
    }
    finish(t, &err);
}

/* --- talking ------------------------------------------------------------------------------------ */

/* Little enough for a pipe: it doesn't wait. False: nobody reads it any more; that will be told. */
static bool tell(struct trip *t, const char *text, size_t len)
{
    return t->to >= 0 && fs_write_all(t->to, text, len) == 0;
}

static void ask_all(struct trip *t)
{
    struct buf text = BUF_INIT;

    doctor_script(t->visit->sha256, &text);
    t->asked_wall_ns = clock_wall_ns(&clock_system);
    t->asked_ns = clock_mono_ns(&clock_system);
    (void)!tell(t, buf_data(&text), buf_len(&text));
    close_fd(&t->to);
    buf_fini(&text);
}

/* The clock there was read between question and answer. */
static void compare_clocks(struct trip *t, const char *said)
{
    int64_t took = clock_mono_ns(&clock_system) - t->asked_ns, there, exact;
    struct doctor_visit *v = t->visit;

    if (!doctor_read_time(said, &there, &exact))
        return;
    v->timed = true;
    v->ahead_ns = there + (exact - 1) / 2 - (t->asked_wall_ns + took / 2);
    v->uncertainty_ns = (took + exact) / 2;
}

static void look_for(struct trip *t, const char *mark)
{
    const char *text = buf_data(&t->text) + t->looked, *found = strstr(text, mark);
    size_t mark_len = strlen(mark);

    while (found && found != text && found[-1] != '\n')
        found = strstr(found + 1, mark);
    if (!found || !strchr(found, '\n'))
        return;
    t->looked = (size_t)(found - buf_data(&t->text));
    if (t->phase == HELLO)
        ask_all(t);
    else
        compare_clocks(t, found + mark_len);
    t->phase++;
}

static void on_output(struct ev_io *io, unsigned ready)
{
    struct trip *t = CONTAINER_OF(io, struct trip, from);
    struct err err = ERR_INIT;
    char data[4096];
    ssize_t n = read(io->fd, data, sizeof data);

    (void)ready;
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) {
        /* Over a link its end, which follows, says more. */
        ev_io_remove(io);
        if (!t->run)
            finish(t, NULL);
        return;
    }
    if (buf_len(&t->text) + (size_t)n > DOCTOR_ANSWER_MAX) {
        err_set(&err, ERR_TOO_LARGE, "its shell says more than it was asked");
        finish(t, &err);
        return;
    }
    buf_append(&t->text, data, (size_t)n);
    if (t->phase == HELLO)
        look_for(t, DOCTOR_READY);
    if (t->phase == TIME)
        look_for(t, DOCTOR_TIME);
}

/* What it has said lies in the pipe still. */
static void on_run(struct ssh_link_run *run, unsigned event, void *arg)
{
    struct trip *t = arg;
    const struct ssh_link_result *r = ssh_link_run_result(run);
    struct err err = r->err;

    if (!(event & SSH_LINK_EV_ENDED))
        return;
    while (t->running && t->from.loop && buf_len(&t->text) < DOCTOR_ANSWER_MAX)
        on_output(&t->from, EV_READ);
    if (r->end == SSH_LINK_SIGNALED)
        err_set(&err, ERR_UNPROCESS, "its shell was ended by SIG%s", r->signal);
    else if (r->end == SSH_LINK_CODE)
        err_set(&err, ERR_UNPROCESS, "its shell ended with status %u", (unsigned)r->code);
    finish(t, &err);
}

/* --- beginning ---------------------------------------------------------------------------------- */

static int open_pipes(struct trip *t, int fds[3], struct err *err)
{
    int in[2] = { -1, -1 }, out[2] = { -1, -1 };

    fds[2] = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fds[2] < 0 || pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 ||
        fcntl(out[0], F_SETFL, O_NONBLOCK) != 0)
        err_sys(err, errno, "cannot make a pipe");
    fds[0] = in[0];
    t->to = in[1];
    fds[1] = out[1];
    t->from = (struct ev_io){ .fd = out[0], .events = EV_READ, .fn = on_output };
    if (out[0] < 0 || err->kind != ERR_NONE || ev_io_add(t->all->loop, &t->from, err) != 0)
        return -1;
    return 0;
}

static void close_pipes(int fds[3])
{
    for (int i = 0; i < 3; i++)
        close_fd(&fds[i]);
}

static int spawn_shell(struct trip *t, const int fds[3], struct err *err)
{
    static const char *const argv[] = { "sh", NULL };
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    sigset_t all;
    int rc;

    sigfillset(&all);
    posix_spawn_file_actions_init(&fa);
    posix_spawnattr_init(&attr);
    for (int i = 0; i < 3; i++)
        posix_spawn_file_actions_adddup2(&fa, fds[i], i);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
    rc = posix_spawn(&t->pid, "/bin/sh", &fa, &attr, (char *const *)(uintptr_t)argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&fa);
    if (rc != 0)
        t->pid = 0;
    return rc == 0 ? 0 : err_sys(err, rc, "cannot start /bin/sh");
}

static int open_shell(struct trip *t, struct err *err)
{
    int fds[3] = { -1, -1, -1 };
    int rc = open_pipes(t, fds, err);

    if (rc == 0 && !t->client)
        rc = spawn_shell(t, fds, err);
    if (rc == 0 && t->client) {
        t->run =
            ssh_link_client_exec(t->client, "exec sh", fds, t->all->timeout_ns, on_run, t, err);
        rc = t->run ? 0 : -1;
    }
    close_pipes(fds);
    if (rc == 0)
        (void)!tell(t, DOCTOR_HELLO, sizeof DOCTOR_HELLO - 1);
    return rc;
}

/* Its status is looked at when it is needed. */
static void on_changed(struct ssh_link_client *client, const struct ssh_link_status *status,
                       void *arg)
{
    (void)client;
    (void)status;
    (void)arg;
}

static void on_started(void *arg, const struct err *why)
{
    struct trip *t = arg;
    struct ssh_link_client_options o = { .runtime_dir = t->all->runtime_dir,
                                         .word = t->visit->word,
                                         .watch = true,
                                         .changed = on_changed };
    struct err err = ERR_INIT;

    t->starting = NULL;
    if (why) {
        finish(t, why);
        return;
    }
    t->client = ssh_link_client_open(t->all->loop, &o, &err);
    if (t->client)
        ssh_link_client_connect(t->client);
    if (!t->client || open_shell(t, &err) != 0)
        finish(t, &err);
}

static void set_out(struct trip *t)
{
    struct err err = ERR_INIT;
    int rc = 0;

    t->running = true;
    t->all->active++;
    t->to = t->from.fd = -1;
    t->timer.fn = on_timeout;
    /* Later than the link's own deadline, which knows more to say. */
    ev_timer_set_after(t->all->loop, &t->timer, t->all->timeout_ns + NS_PER_S);
    if (!t->visit->word) {
        rc = open_shell(t, &err);
    } else {
        t->starting = ssh_link_start_begin(t->all->loop, t->all->runtime_dir, t->visit->word, NULL,
                                           on_started, t, &err);
        rc = t->starting ? 0 : -1;
    }
    if (rc != 0)
        finish(t, &err);
}

static void visit_more(struct visitor *all)
{
    /* One that ends at once comes back to here; the loop below goes on then. */
    if (all->starting)
        return;
    all->starting = true;
    while (all->next < all->count && all->active < PARALLEL)
        set_out(&all->trips[all->next++]);
    all->starting = false;
    if (all->active == 0)
        ev_stop(all->loop);
}

int doctor_visit_all(struct doctor_visit *visits, size_t count, int64_t timeout_ns, struct err *err)
{
    struct visitor all = { .count = count, .timeout_ns = timeout_ns };
    int rc;

    all.loop = ev_loop_create(&clock_system, err);
    if (!all.loop)
        return -1;
    signal(SIGPIPE, SIG_IGN);
    all.runtime_dir = fs_runtime_dir();
    all.trips = mem_alloc_array(count, sizeof *all.trips);
    for (size_t i = 0; i < count; i++) {
        all.trips[i].all = &all;
        all.trips[i].visit = &visits[i];
    }
    visit_more(&all);
    rc = ev_run(all.loop, err);
    for (size_t i = 0; i < count; i++)
        if (all.trips[i].running)
            let_go(&all.trips[i]);
    free(all.trips);
    free(all.runtime_dir);
    ev_loop_destroy(all.loop);
    return rc;
}

void doctor_visit_fini(struct doctor_visit *v)
{
    doctor_facts_fini(&v->facts);
    MEM_FREE(v->via);
}
