/* SPDX-License-Identifier: BSD-2-Clause */
/* One attempt in a shim, from the claim to its end. */
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "node/shim.h"
#include "node/shim_exec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define KILL_PATIENCE_NS (10 * NS_PER_S) /* then a process is taken for unkillable */
#define KILL_AGAIN_NS NS_PER_S
#define FORK_AGAIN_NS NS_PER_S
#define FORK_TRIES 60
#define BEGIN_AGAIN_NS NS_PER_S

static int64_t now_mono(void)
{
    return clock_mono_ns(&clock_system);
}

static int64_t now_wall(void)
{
    int64_t t = clock_wall_ns(&clock_system);

    return t > 0 ? t : 1; /* 0 stands for "unknown" */
}

static int64_t after(int64_t t, int64_t delay)
{
    return delay > INT64_MAX - t ? INT64_MAX : t + delay;
}

/* Path of a file of the attempt, relative to the state folder; valid until the next call. */
static const char *job_path(struct shim *s, const char *suffix)
{
    buf_clear(&s->path);
    attempt_prefix(&s->job.msg.key, &s->path);
    buf_append_str(&s->path, suffix);
    return buf_data(&s->path);
}

static void reset_job(struct shim *s)
{
    struct shim_job *j = &s->job;

    if (j->out >= 0)
        close(j->out);
    if (j->err >= 0 && j->err != j->out)
        close(j->err);
    free(j->script);
    free(j->argv);
    shim_msg_fini(&j->msg);
    memset(j, 0, sizeof *j);
    j->out = j->err = -1;
}

/* Reports an attempt that did not come to run, and is ready for the next. */
static void not_run(struct shim *s, int code, bool record, const struct err *err)
{
    struct attempt_end *end = &s->job.end;

    end->key = s->job.msg.key;
    end->outcome = s->job.cancelled ? ATTEMPT_CANCELLED : ATTEMPT_NOT_RUN;
    end->code = s->job.cancelled ? -1 : code;
    end->finished_ns = now_wall();
    str_copy(end->message, sizeof end->message, s->job.cancelled ? "" : err->msg);
    shim_report_end(s, end, record);
    reset_job(s);
}

/* --- beginning -------------------------------------------------------------------------------- */

/* An error of what hive itself needs, in its own folder. */
static int own_failure(struct shim *s, struct err *err, int sys, const char *what)
{
    s->job.own_failed = true;
    return err_sys(err, sys, "%s", what);
}

static int link_claim(struct shim *s)
{
    const char *path = job_path(s, ".claim");
    int rc = linkat(s->state_fd, s->identity.path, s->state_fd, path, 0);

    if (rc != 0 && errno == ENOENT && attempt_make_folder(s->state_fd, &s->job.msg.key) == 0)
        rc = linkat(s->state_fd, s->identity.path, s->state_fd, path, 0);
    return rc;
}

static int renew_identity(struct shim *s, struct err *err)
{
    if (s->unwritten_count > 0)
        return own_failure(s, err, EAGAIN, "cannot write the results of earlier jobs yet");
    if (shim_identity_renew(&s->identity, s->state_fd, err) == 0)
        return 0;
    s->job.own_failed = true;
    return -1;
}

/* 1: it is ours; 0: somebody else's; -1: error. */
static int claim(struct shim *s, struct err *err)
{
    if (s->identity.size >= SHIM_IDENTITY_FULL && s->unwritten_count == 0 &&
        renew_identity(s, err) != 0)
        return -1;
    for (int tries = 0; tries < 3; tries++) {
        if (link_claim(s) == 0)
            return 1;
        if (errno == EEXIST)
            return 0;
        /* Too many links, or the file was removed under us. */
        if (errno != EMLINK && errno != ENOENT)
            break;
        if (renew_identity(s, err) != 0)
            return -1;
    }
    return own_failure(s, err, errno, "cannot claim the job in the state folder (link)");
}

static int open_own(struct shim *s, const char *suffix, mode_t mode)
{
    int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW;
    const char *path = job_path(s, suffix);
    int fd = openat(s->state_fd, path, flags, mode);

    if (fd < 0 && errno == ENOENT && attempt_make_folder(s->state_fd, &s->job.msg.key) == 0)
        fd = openat(s->state_fd, path, flags, mode);
    return fd;
}

static int open_output(struct shim *s, const char *path, const char *own, struct err *err)
{
    int fd;

    if (!path) {
        fd = open_own(s, own, 0600);
        return fd >= 0 ? fd : own_failure(s, err, errno, "cannot write the job's own output file");
    }
    /* Not blocking: a FIFO nobody reads must not stop the shim. */
    fd = open(path,
              O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK |
                  (s->job.msg.run.append ? O_APPEND : O_TRUNC),
              0666);
    if (fd < 0)
        return err_sys(err, errno, "cannot write output %s", path);
    fcntl(fd, F_SETFL, s->job.msg.run.append ? O_APPEND : 0);
    return fd;
}

static int open_outputs(struct shim *s, struct err *err)
{
    const struct node_run *run = &s->job.msg.run;
    bool same = run->stdout_path && run->stderr_path && str_eq(run->stdout_path, run->stderr_path);

    if (s->job.out < 0)
        s->job.out = open_output(s, run->stdout_path, ".out", err);
    if (s->job.out < 0)
        return -1;
    s->job.err = same ? s->job.out : open_output(s, run->stderr_path, ".err", err);
    return s->job.err < 0 ? -1 : 0;
}

static int write_script(struct shim *s, struct err *err)
{
    struct shim_job *j = &s->job;
    const char *text = j->msg.run.script;
    size_t argc = 0;
    int fd;

    if (!text)
        return 0;
    fd = open_own(s, ".script", 0700);
    if (fd < 0 || fs_write_all(fd, text, strlen(text)) != 0 || fchmod(fd, 0700) != 0) {
        int saved = errno;
        if (fd >= 0)
            close(fd);
        return own_failure(s, err, saved, "cannot write the job's script");
    }
    close(fd);
    j->script = fs_join(s->setup->state_dir, job_path(s, ".script"));
    while (j->msg.run.argv[argc])
        argc++;
    j->argv = mem_alloc_array(argc + 1, sizeof *j->argv);
    for (size_t i = 0; i < argc; i++)
        j->argv[i] = str_eq(j->msg.run.argv[i], "{script}") ? j->script : j->msg.run.argv[i];
    return 0;
}

/* The group is made when a limit is first asked for, and kept. */
static int prepare_limit(struct shim *s, struct err *err)
{
    int64_t bytes = s->job.msg.run.memory_bytes;
    char name[64];

    if (bytes <= 0 || s->setup->caps->memory == CGROUP_MEMORY_NONE)
        return 0;
    if (s->group_made && !cgroup_alive(&s->group)) {
        cgroup_destroy(&s->group);
        s->group_made = false;
    }
    if (!s->group_made) {
        cgroup_shim_name(s->pid, name, sizeof name);
        if (cgroup_create(&s->group, s->setup->caps, name, err) != 0)
            return -1;
        s->group_made = true;
    }
    if (cgroup_set_memory(&s->group, bytes, err) != 0)
        return -1;
    s->job.limited = true;
    return 0;
}

/* The state folder's disk is full: that passes, and is no fault of the job's. EAGAIN is what
 * renew_identity() says while it is. */
static bool is_shortage(int sys)
{
    return sys == ENOSPC || sys == EDQUOT || sys == ENFILE || sys == EMFILE || sys == ENOMEM ||
           sys == EAGAIN;
}

/* Gets ready for the start: 1 done, 0 somebody else has the attempt, -1 error. What a former call has
 * done is not done again. */
static int get_ready(struct shim *s, struct err *err)
{
    struct shim_job *j = &s->job;
    int claimed = j->claimed ? 1 : claim(s, err);

    if (claimed <= 0)
        return claimed;
    j->claimed = true;
    if ((!j->script && write_script(s, err) != 0) || open_outputs(s, err) != 0)
        return -1;
    return prepare_limit(s, err) == 0 ? 1 : -1;
}

void shim_job_begin(struct shim *s)
{
    struct shim_job *j = &s->job;
    struct err err = ERR_INIT;

    j->active = true;
    j->start_at_ns = 0;
    j->own_failed = false;
    switch (get_ready(s, &err)) {
    case 1:
        j->ready = true;
        shim_job_start(s);
        break;
    case 0: {
        struct shim_msg m = { .type = SHIM_REFUSED, .key = j->msg.key };
        shim_drop_next(s); /* whoever has this one has its place, too */
        shim_send(s, &m);
        reset_job(s);
        break;
    }
    default:
        if (j->own_failed && is_shortage(err.sys))
            j->start_at_ns = after(now_mono(), BEGIN_AGAIN_NS);
        else
            not_run(s, 125, j->claimed, &err);
        break;
    }
}

/* --- starting --------------------------------------------------------------------------------- */

static int exec_failure(const struct shim_exec *x, struct err *err)
{
    const char *program = x->argv[0];

    switch (x->failed) {
    case EXEC_FORK:
        err_sys(err, x->sys, "cannot make a process");
        return 125;
    case EXEC_PREPARE:
        err_sys(err, x->sys, "cannot prepare the job's process");
        return 125;
    case EXEC_CGROUP:
        err_sys(err, x->sys, "cannot put the job into its control group");
        return 125;
    case EXEC_WORKDIR:
        err_sys(err, x->sys, "cannot enter the working folder %s", x->workdir);
        return 125;
    case EXEC_PROGRAM:
        break;
    }
    if (x->sys != ENOENT && x->sys != ENOTDIR) {
        err_sys(err, x->sys, "cannot run %s", program);
        return 126;
    }
    if (shim_exec_exists(x)) {
        err_set(err, ERR_NOT_FOUND,
                "cannot run %s: the interpreter or loader it asks for was not found", program);
        return 126;
    }
    if (strchr(program, '/'))
        err_sys(err, x->sys, "cannot run %s", program);
    else
        err_set(err, ERR_NOT_FOUND, "cannot run %s: not found in PATH", program);
    return 127;
}

/* A shortage of processes, or a group that was removed at the last moment. */
static bool may_pass(const struct shim_exec *x)
{
    return (x->failed == EXEC_FORK && (x->sys == EAGAIN || x->sys == ENOMEM)) ||
           (x->failed == EXEC_CGROUP && (x->sys == ENOENT || x->sys == ENODEV));
}

static void started(struct shim *s, pid_t pid)
{
    struct shim_job *j = &s->job;

    j->started = true;
    j->pid = pid;
    j->reaped = (struct sys_reaped){ .watch = pid };
    j->start_at_ns = 0;
    j->timeout_at_ns =
        j->msg.run.timeout_ns > 0 ? after(j->started_mono_ns, j->msg.run.timeout_ns) : 0;
    if (j->err != j->out)
        close(j->err);
    close(j->out);
    j->out = j->err = -1;
}

void shim_job_start(struct shim *s)
{
    struct shim_job *j = &s->job;
    const struct node_run *run = &j->msg.run;
    struct shim_exec x = {
        .argv = j->argv ? j->argv : run->argv,
        .env = run->env,
        .workdir = run->workdir,
        .self = s->pid,
        .in = s->null_fd,
        .out = j->out,
        .err = j->err,
        .group = j->limited ? &s->group : NULL,
        .stack = s->stack,
    };
    struct err err = ERR_INIT;
    pid_t pid;

    /* Somebody may have removed the group, since it is empty. */
    if (j->limited && !cgroup_alive(&s->group) && prepare_limit(s, &err) != 0) {
        not_run(s, 125, true, &err);
        return;
    }
    j->started_mono_ns = now_mono();
    j->end.started_ns = now_wall();
    pid = shim_exec(&x);
    if (pid > 0) {
        started(s, pid);
        return;
    }
    j->end.started_ns = 0;
    if (may_pass(&x) && ++j->fork_tries < FORK_TRIES) {
        j->start_at_ns = after(j->started_mono_ns, FORK_AGAIN_NS);
        return;
    }
    int code = exec_failure(&x, &err);
    not_run(s, code, true, &err);
}

/* --- ending ----------------------------------------------------------------------------------- */

static void note_memory(struct shim *s, struct attempt_end *end)
{
    int64_t kills, peak;

    if (!s->job.limited)
        return;
    peak = cgroup_memory_peak(&s->group);
    if (peak > end->max_rss)
        end->max_rss = peak;
    kills = cgroup_oom_kills(&s->group);
    if (kills <= 0 || (end->outcome == ATTEMPT_EXITED && end->code == 0) ||
        end->outcome == ATTEMPT_CANCELLED || end->outcome == ATTEMPT_TIMEOUT)
        return;
    if (end->outcome == ATTEMPT_SIGNALED && end->signal == SIGKILL)
        str_copy(end->message, sizeof end->message, "killed at its memory limit");
    else
        str_copy(end->message, sizeof end->message,
                 "failed after one of its processes was killed at the memory limit");
    end->outcome = ATTEMPT_OOM;
}

static void ended(struct shim *s)
{
    struct shim_job *j = &s->job;
    struct attempt_end *end = &j->end;
    int status = j->reaped.status;

    end->key = j->msg.key;
    end->code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    end->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    end->outcome = j->cancelled        ? ATTEMPT_CANCELLED
                   : j->timed_out      ? ATTEMPT_TIMEOUT
                   : WIFEXITED(status) ? ATTEMPT_EXITED
                                       : ATTEMPT_SIGNALED;
    end->finished_ns = now_wall();
    end->duration_ns = now_mono() - j->started_mono_ns;
    end->user_ns = j->reaped.user_ns;
    end->system_ns = j->reaped.system_ns;
    end->max_rss = j->reaped.max_rss;
    note_memory(s, end);
    /* With something left that can't be killed it is no clean place for the next job; the spawner
     * goes on trying when the shim is gone. */
    if (j->stuck) {
        s->quit = true;
        shim_drop_next(s);
    }
    shim_report_end(s, end, true);
    reset_job(s);
}

/* Kills what is left of the tree. The attempt is over when its first process is. */
static void kill_tree(struct shim *s)
{
    struct shim_job *j = &s->job;

    /* One call for all that stayed in the job's own process group, before any can fork again. */
    if (!j->reaped.seen)
        kill(-j->pid, SIGKILL);
    if (j->limited)
        cgroup_kill(&s->group);
    j->stuck = sys_kill_descendants(after(now_mono(), KILL_PATIENCE_NS), NULL, 0, &j->reaped) != 0;
    if (j->reaped.seen)
        ended(s);
    else
        j->kill_at_ns = after(now_mono(), KILL_AGAIN_NS);
}

void shim_job_reap(struct shim *s)
{
    struct shim_job *j = &s->job;
    bool left;

    if (!j->started)
        return;
    left = sys_reap(&j->reaped);
    if (!j->reaped.seen)
        return;
    if (left)
        kill_tree(s);
    else
        ended(s);
}

static void terminate(struct shim *s, int64_t grace_ns)
{
    struct shim_job *j = &s->job;
    int64_t at = after(now_mono(), grace_ns);

    if (grace_ns <= 0) {
        kill_tree(s);
        return;
    }
    if (j->kill_at_ns == 0) {
        sys_signal_descendants(SIGTERM);
        sys_signal_descendants(SIGCONT); /* a stopped process would get it only when continued */
    }
    if (j->kill_at_ns == 0 || at < j->kill_at_ns)
        j->kill_at_ns = at;
}

void shim_job_kill(struct shim *s, int64_t grace_ns)
{
    struct shim_job *j = &s->job;

    shim_job_reap(s); /* it may have ended by itself just now */
    if (!j->active)
        return;
    j->cancelled = true;
    if (!j->started)
        not_run(s, 125, j->claimed, NULL);
    else
        terminate(s, grace_ns);
}

void shim_job_tick(struct shim *s, int64_t now_ns)
{
    struct shim_job *j = &s->job;

    if (j->active && j->start_at_ns != 0 && now_ns >= j->start_at_ns) {
        if (j->ready)
            shim_job_start(s);
        else
            shim_job_begin(s);
    }
    if (j->active && j->timeout_at_ns != 0 && now_ns >= j->timeout_at_ns) {
        j->timeout_at_ns = 0;
        if (!j->cancelled) {
            j->timed_out = true;
            terminate(s, j->msg.run.grace_ns);
        }
    }
    if (j->active && j->kill_at_ns != 0 && now_ns >= j->kill_at_ns)
        kill_tree(s);
}
