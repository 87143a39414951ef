/* SPDX-License-Identifier: BSD-2-Clause */
#include "head/reach.h"

#include "base/mem.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "ev/ev.h"
#include "head/reach_shell.h"
#include "net/ssh_deploy.h"
#include "net/ssh_link_client.h"
#include "version.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAUSE_MIN_NS NS_PER_S
#define PAUSE_MAX_NS (60 * NS_PER_S)
#define SETTLED_NS (60 * NS_PER_S) /* an agent that lived so long had no trouble in starting */
#define REFRESH_NS (20 * 3600 * NS_PER_S) /* unused copies of hive go after 30 days */
#define STOP_NS (3 * NS_PER_S)            /* the link process was asked to end */
#define WORDS_MAX 400                     /* of what an agent says on its stderr, in one line */

struct reach {
    struct ev_loop *loop;
    const struct log *log;
    struct reach_hooks hooks;
    struct ssh_deploy_program *program; /* borrowed; NULL: nothing can be copied */
    char *runtime_dir, *host, *id;

    struct ssh_link_starting *starting;
    struct ssh_link_client *client;
    struct ssh_deploy *deploy;
    struct ssh_link_run *run;  /* the agent */
    struct reach_shell *shell; /* instead of an agent */
    bool shell_over;
    int64_t interval_s;
    int agent_fd;       /* our end, until it is handed over */
    int64_t began_ns;   /* when the agent was started */
    struct ev_io words; /* the agent's stderr; fd -1: none */
    struct ev_timer again, refresh;
    int64_t pause_ns;

    struct reach_status status;
    struct err err;
    char via[16], server[128];

    bool leaving, stopping;
    void (*left)(void *arg, const struct err *err);
    void *left_arg;
};

/* ---- telling ---- */

static void become(struct reach *r, enum reach_state state)
{
    r->status.state = state;
    if (state != REACH_WAITING && state != REACH_CONNECTING)
        r->status.retry_ns = 0; /* nobody waits for it */
    if (state == REACH_TALKING)
        r->err = (struct err)ERR_INIT;
    r->status.copied_percent = -1;
    r->hooks.changed(r->hooks.arg);
}

const struct reach_status *reach_status(const struct reach *r)
{
    return &r->status;
}

void reach_text(const struct reach *r, char *out, size_t size)
{
    static const char *const words[] = { "starting",
                                         "connecting",
                                         "looking for hive there",
                                         "connected",
                                         "measured by its shell alone",
                                         "waiting" };

    if (r->status.state == REACH_COPYING && r->status.copied_percent >= 0)
        snprintf(out, size, "copying hive (%d %%)", r->status.copied_percent);
    else
        str_copy(out, size, words[r->status.state]);
}

/* ---- letting go ---- */

static void drop_agent(struct reach *r)
{
    ssh_link_run_close(r->run);
    r->run = NULL;
    if (r->agent_fd >= 0)
        close(r->agent_fd);
    r->agent_fd = -1;
    if (r->words.fd >= 0) {
        ev_io_remove(&r->words);
        close(r->words.fd);
    }
    r->words.fd = -1;
}

static void drop_shell(struct reach *r)
{
    reach_shell_destroy(r->shell);
    r->shell = NULL;
    r->shell_over = false;
}

/* All that is done over the link, or to get one. */
static void drop_steps(struct reach *r)
{
    ssh_link_start_cancel(r->starting);
    ssh_deploy_cancel(r->deploy);
    r->starting = NULL;
    r->deploy = NULL;
    drop_agent(r);
    drop_shell(r);
}

static void drop_all(struct reach *r)
{
    drop_steps(r);
    ssh_link_client_destroy(r->client);
    r->client = NULL;
    ev_timer_clear(&r->again);
}

/* Half to whole: many that failed together don't come back together. */
static int64_t with_jitter(int64_t ns)
{
    uint32_t x = 0;

    if (getrandom(&x, sizeof x, GRND_NONBLOCK) != (ssize_t)sizeof x)
        x = (uint32_t)ns;
    return ns / 2 + (int64_t)((double)(ns / 2) * ((double)x / UINT32_MAX));
}

static void wait_after(struct reach *r, const struct err *err)
{
    int64_t pause;

    if (r->leaving)
        return;
    pause = with_jitter(r->pause_ns);
    r->pause_ns = r->pause_ns * 2 < PAUSE_MAX_NS ? r->pause_ns * 2 : PAUSE_MAX_NS;
    if (err && err != &r->err)
        r->err = *err;
    ev_timer_set_after(r->loop, &r->again, pause);
    r->status.retry_ns = clock_wall_ns(ev_clock(r->loop)) + pause;
    become(r, REACH_WAITING);
}

/* ---- the agent ---- */

/* What it says on stderr: for the log. */
static void on_words(struct ev_io *io, unsigned ready)
{
    struct reach *r = CONTAINER_OF(io, struct reach, words);
    char text[WORDS_MAX + 1];
    ssize_t n = read(io->fd, text, sizeof text - 1);

    (void)ready;
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) {
        ev_io_remove(io);
        close(io->fd);
        io->fd = -1;
        return;
    }
    text[n] = '\0';
    text[strcspn(text, "\n")] = '\0';
    char *safe = str_safe(text);
    if (*safe)
        log_info(r->log, "%s: agent: %s", r->host, safe);
    free(safe);
}

static void agent_over(struct reach *r, const struct ssh_link_result *result)
{
    struct err err = ERR_INIT;

    if (result->end == SSH_LINK_FAILED)
        err = result->err;
    else if (result->end == SSH_LINK_SIGNALED)
        err_set(&err, ERR_UNAVAILABLE, "the agent was killed (SIG%s)", result->signal);
    else
        err_set(&err, ERR_UNAVAILABLE, "the agent ended with exit code %u", result->code);
    if (ev_now_ns(r->loop) - r->began_ns >= SETTLED_NS)
        r->pause_ns = PAUSE_MIN_NS;
    drop_agent(r);
    wait_after(r, &err);
}

static void on_run(struct ssh_link_run *run, unsigned event, void *arg)
{
    struct reach *r = arg;
    int fd = r->agent_fd;

    if (event & SSH_LINK_EV_ENDED) {
        struct ssh_link_result result = *ssh_link_run_result(run);
        agent_over(r, &result);
        return;
    }
    if (!(event & SSH_LINK_EV_STARTED) || fd < 0)
        return;
    r->agent_fd = -1;
    become(r, REACH_TALKING);
    r->hooks.agent(fd, r->hooks.arg);
}

/* Our ends: agent_fd, and words. `theirs` are to be closed by the caller. */
static int make_ends(struct reach *r, int theirs[3], struct err *err)
{
    int talk[2], say[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, talk) != 0)
        return err_sys(err, errno, "cannot make a socket");
    if (pipe2(say, O_CLOEXEC | O_NONBLOCK) != 0) {
        int saved = errno;
        close(talk[0]);
        close(talk[1]);
        return err_sys(err, saved, "cannot make a pipe");
    }
    r->agent_fd = talk[0];
    theirs[0] = theirs[1] = talk[1];
    theirs[2] = say[1];
    r->words = (struct ev_io){ .fd = say[0], .events = EV_READ, .fn = on_words };
    if (ev_io_add(r->loop, &r->words, err) == 0)
        return 0;
    close(say[0]);
    r->words.fd = -1;
    close(talk[1]);
    close(say[1]);
    return -1;
}

static void start_agent(struct reach *r, const char *command)
{
    struct err err = ERR_INIT;
    int theirs[3];

    if (make_ends(r, theirs, &err) == 0) {
        r->run = ssh_link_client_exec(r->client, command, theirs, -1, on_run, r, &err);
        close(theirs[0]);
        close(theirs[2]);
    }
    r->began_ns = ev_now_ns(r->loop);
    if (r->run)
        return;
    drop_agent(r);
    wait_after(r, &err);
}

/* ---- its shell instead ---- */

static void on_shell_sample(const struct sample *s, void *arg)
{
    struct reach *r = arg;

    r->hooks.sample(s, r->hooks.arg);
}

static void on_shell_ended(const struct err *err, void *arg)
{
    struct reach *r = arg;

    r->shell_over = true;
    wait_after(r, err);
}

/* `why`: what keeps hive from running there. */
static void start_shell(struct reach *r, const struct err *why)
{
    struct reach_shell_hooks hooks = { on_shell_sample, on_shell_ended, r };
    struct err err = ERR_INIT;

    r->err = *why;
    r->shell = reach_shell_start(r->loop, r->client, r->interval_s, &hooks, &err);
    if (r->shell)
        become(r, REACH_MEASURING);
    else
        wait_after(r, &err);
}

/* ---- hive on the host ---- */

static void on_progress(struct ssh_deploy *deploy, int64_t sent, int64_t total, void *arg)
{
    struct reach *r = arg;

    (void)deploy;
    r->status.copied_percent = total > 0 ? (int)(sent * 100 / total) : 0;
    r->hooks.changed(r->hooks.arg);
}

static void on_deployed(const struct ssh_deploy_result *result, void *arg)
{
    struct reach *r = arg;

    r->deploy = NULL;
    if (result->kind != SSH_DEPLOY_AGENT) {
        struct err err = result->err;
        if (!r->program) {
            err_set(&err, ERR_UNPROCESS, "this hive can't be copied to other machines");
            err_hint(&err, "the daemon's log says why; run the static binary (build/hive)");
        }
        if (result->kind == SSH_DEPLOY_SHELL)
            start_shell(r, &err);
        else
            wait_after(r, &err);
        return;
    }
    if (result->copied)
        log_info(r->log, "hive was copied to %s: %s", r->host, result->path);
    start_agent(r, result->command);
}

static void begin_deploy(struct reach *r)
{
    struct ssh_deploy_options o = { .program = r->program,
                                    .version = HIVE_VERSION,
                                    .id = r->id,
                                    .shell_only = !r->program,
                                    .progress = on_progress,
                                    .done = on_deployed,
                                    .arg = r };
    struct err err = ERR_INIT;

    ssh_deploy_cancel(r->deploy);
    become(r, REACH_COPYING);
    r->deploy = ssh_deploy_start(r->loop, r->client, &o, &err);
    if (!r->deploy)
        wait_after(r, &err);
}

/* The file there is in use: somebody has to say so once in a while. */
static void on_refreshed(const struct ssh_deploy_result *result, void *arg)
{
    struct reach *r = arg;

    r->deploy = NULL;
    if (result->err.kind != ERR_NONE)
        log_info(r->log, "%s: %s", r->host, result->err.msg);
}

static void on_refresh(struct ev_timer *t)
{
    struct reach *r = CONTAINER_OF(t, struct reach, refresh);
    struct ssh_deploy_options o = {
        .program = r->program, .version = HIVE_VERSION, .id = r->id, .done = on_refreshed, .arg = r
    };

    ev_timer_set_after(r->loop, t, REFRESH_NS);
    if (r->run && !r->deploy && r->program)
        r->deploy = ssh_deploy_start(r->loop, r->client, &o, NULL);
}

/* ---- the link ---- */

static void say_left(struct reach *r)
{
    void (*left)(void *arg, const struct err *err) = r->left;

    r->left = NULL;
    ev_timer_clear(&r->again);
    if (left)
        left(r->left_arg, r->err.kind == ERR_NONE ? NULL : &r->err);
}

static void on_link(struct ssh_link_client *client, const struct ssh_link_status *s, void *arg)
{
    struct reach *r = arg;

    str_copy(r->via, sizeof r->via, s->via);
    str_copy(r->server, sizeof r->server, s->server);
    if (r->leaving) {
        if (s->state == SSH_LINK_STOPPED && r->stopping)
            say_left(r);
        return;
    }
    if (s->state == SSH_LINK_STOPPED) {
        struct err err = s->err;
        if (err.kind == ERR_NONE)
            err_set(&err, ERR_UNAVAILABLE, "the link process ended");
        drop_steps(r);
        ssh_link_client_destroy(client);
        r->client = NULL;
        wait_after(r, &err);
        return;
    }
    if (s->state == SSH_LINK_UP) {
        if (!r->deploy && !r->run && !r->shell && !ev_timer_armed(&r->again))
            begin_deploy(r);
        return;
    }
    if (r->run || r->deploy || r->shell || ev_timer_armed(&r->again))
        return; /* what fails with the connection says so itself */
    if (s->err.kind != ERR_NONE)
        r->err = s->err;
    r->status.retry_ns = s->retry_ns;
    become(r, REACH_CONNECTING);
}

static void on_link_started(void *arg, const struct err *failed)
{
    struct reach *r = arg;
    struct ssh_link_client_options o = {
        .runtime_dir = r->runtime_dir, .word = r->host, .watch = true, .changed = on_link, .arg = r
    };
    struct err err = ERR_INIT;

    r->starting = NULL;
    if (failed) {
        wait_after(r, failed);
        return;
    }
    r->client = ssh_link_client_open(r->loop, &o, &err);
    if (r->client)
        become(r, REACH_CONNECTING);
    else
        wait_after(r, &err);
}

static void begin(struct reach *r)
{
    struct err err = ERR_INIT;

    become(r, REACH_STARTING);
    r->starting =
        ssh_link_start_begin(r->loop, r->runtime_dir, r->host, NULL, on_link_started, r, &err);
    if (!r->starting)
        wait_after(r, &err);
}

static void on_again(struct ev_timer *t)
{
    struct reach *r = CONTAINER_OF(t, struct reach, again);

    if (r->shell_over)
        drop_shell(r);
    if (!r->client)
        begin(r);
    else if (ssh_link_client_status(r->client)->state == SSH_LINK_UP)
        begin_deploy(r);
    else
        become(r, REACH_CONNECTING);
}

/* ---- interface ---- */

struct reach *reach_create(struct ev_loop *loop, const struct log *log,
                           const struct reach_config *cfg, const struct reach_hooks *hooks)
{
    struct reach *r = mem_alloc(sizeof *r);

    r->loop = loop;
    r->log = log;
    r->hooks = *hooks;
    r->program = cfg->program;
    r->runtime_dir = mem_strdup(cfg->runtime_dir);
    r->host = mem_strdup(cfg->host);
    r->id = mem_printf("%s %s", cfg->id, cfg->host);
    r->refresh.fn = on_refresh;
    ev_timer_set_after(loop, &r->refresh, REFRESH_NS);
    r->agent_fd = r->words.fd = -1;
    r->pause_ns = PAUSE_MIN_NS;
    r->interval_s = 10;
    r->again.fn = on_again;
    r->err = (struct err)ERR_INIT;
    r->status = (struct reach_status){ .state = REACH_STARTING,
                                       .err = &r->err,
                                       .copied_percent = -1,
                                       .via = r->via,
                                       .server = r->server };
    ev_timer_set_after(loop, &r->again, 0);
    return r;
}

void reach_destroy(struct reach *r)
{
    if (!r)
        return;
    drop_all(r);
    ev_timer_clear(&r->refresh);
    free(r->runtime_dir);
    free(r->host);
    free(r->id);
    free(r);
}

void reach_measure(struct reach *r, int64_t interval_s)
{
    r->interval_s = interval_s;
    if (r->shell && !r->shell_over)
        reach_shell_measure(r->shell, interval_s);
}

void reach_again(struct reach *r)
{
    r->pause_ns = PAUSE_MIN_NS;
    if (r->leaving)
        return;
    if (ev_timer_armed(&r->again))
        ev_timer_set_after(r->loop, &r->again, 0);
    if (r->client && ssh_link_client_status(r->client)->state != SSH_LINK_UP)
        ssh_link_client_connect(r->client);
}

void reach_failed(struct reach *r, const struct err *err)
{
    if (!r->run)
        return; /* that is known already */
    if (ev_now_ns(r->loop) - r->began_ns >= SETTLED_NS)
        r->pause_ns = PAUSE_MIN_NS;
    drop_agent(r);
    wait_after(r, err);
}

/* ---- leaving ---- */

static void on_late(struct ev_timer *t)
{
    say_left(CONTAINER_OF(t, struct reach, again));
}

/* The link process goes last; it says so, or is given up. */
static void stop_link(struct reach *r, const struct err *err)
{
    r->err = err ? *err : (struct err)ERR_INIT;
    r->stopping = true;
    if (r->client)
        ssh_link_client_stop(r->client);
    r->again.fn = on_late;
    ev_timer_set_after(r->loop, &r->again, r->client ? STOP_NS : 0);
}

static void on_removed(const struct ssh_deploy_removed *removed, void *arg)
{
    struct reach *r = arg;
    struct err err = removed->err;

    r->deploy = NULL;
    if (err.kind == ERR_NONE && *removed->stuck)
        err_set(&err, ERR_IO, "left behind there: %.200s", removed->stuck);
    stop_link(r, err.kind == ERR_NONE ? NULL : &err);
}

void reach_leave(struct reach *r, void (*done)(void *arg, const struct err *err), void *arg)
{
    struct ssh_deploy_remove_options o = {
        .program = r->program, .all = true, .done = on_removed, .arg = r
    };
    bool up = r->client && ssh_link_client_status(r->client)->state == SSH_LINK_UP;

    r->leaving = true;
    r->left = done;
    r->left_arg = arg;
    drop_steps(r);
    ev_timer_clear(&r->again);
    if (up)
        r->deploy = ssh_deploy_remove(r->loop, r->client, &o, NULL);
    if (!r->deploy)
        stop_link(r, NULL);
}
