/* SPDX-License-Identifier: BSD-2-Clause */
/* Internal: the process that owns the SSH connection to one host (net/ssh_link.h), and a client of
 * it by hand. */
#include "base/mem.h"

#include "cmd/cmd.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/fs.h"
#include "base/jsonx.h"
#include "base/log.h"
#include "base/str.h"
#include "ev/ev.h"
#include "net/ssh_link.h"
#include "net/ssh_link_client.h"
#include "sys/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_MAX ((off_t)256 * 1024) /* of the log; as much again is kept of what was before */
#define FILES_WANTED 8192

struct args {
    const char *runtime, *ssh;
    int64_t idle_ns, wait_ns;
    bool foreground, exec, state, watch, connect, stop;
};

static const struct opt options[] = {
    { 0, "ssh", OPT_STR, "WAY", "auto, builtin or system (default: link.ssh)",
      .dest = offsetof(struct args, ssh), .complete = "=auto builtin system" },
    { 0, "idle", OPT_DURATION, "TIME", "end after this time without a client (default: link.idle)",
      .dest = offsetof(struct args, idle_ns) },
    { 0, "foreground", OPT_FLAG, NULL, "stay, and log to stderr",
      .dest = offsetof(struct args, foreground) },
    { 0, "exec", OPT_FLAG, NULL, "run COMMAND there over the link process, starting it if need be",
      .dest = offsetof(struct args, exec) },
    { 0, "wait", OPT_DURATION, "TIME", "exec: how long to wait for the connection (default 15s)",
      .dest = offsetof(struct args, wait_ns) },
    { 0, "state", OPT_FLAG, NULL, "print its state as JSON", .dest = offsetof(struct args, state) },
    { 0, "watch", OPT_FLAG, NULL, "print a line of JSON for each change of state",
      .dest = offsetof(struct args, watch) },
    { 0, "connect", OPT_FLAG, NULL, "try to reach the host now, and print what came of it as JSON",
      .dest = offsetof(struct args, connect) },
    { 0, "stop", OPT_FLAG, NULL, "end it", .dest = offsetof(struct args, stop) },
    { 0, "runtime", OPT_STR, "DIR", "folder of its socket", .dest = offsetof(struct args, runtime),
      .complete = "dir", .hidden = true },
    OPT_END,
};

/* --- the process itself ------------------------------------------------------------------------- */

struct process {
    struct ev_loop *loop;
    struct ssh_link *link;
    struct log log;
    struct ev_signal term, intr;
    char *log_path; /* NULL: stderr, as it is */
    int stderr_fd;
};

static int open_log(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static void write_log(void *arg, enum log_level level, const char *line)
{
    struct process *p = arg;
    struct stat st;
    char *old;
    int fd;

    log_write_fd(&p->stderr_fd, level, line);
    if (!p->log_path || fstat(STDERR_FILENO, &st) != 0 || st.st_size < LOG_MAX)
        return;
    old = mem_printf("%s.old", p->log_path);
    if (rename(p->log_path, old) == 0 && (fd = open_log(p->log_path)) >= 0) {
        dup2(fd, STDERR_FILENO);
        close(fd);
    }
    free(old);
}

static void on_ended(void *arg)
{
    struct process *p = arg;

    ev_stop(p->loop);
}

static void on_signal(struct ev_signal *s)
{
    struct process *p = s->signo == SIGTERM ? CONTAINER_OF(s, struct process, term)
                                            : CONTAINER_OF(s, struct process, intr);

    log_info(&p->log, "stopping");
    ssh_link_stop(p->link);
}

static int run_loop(struct process *p, struct ssh_link_options *o, int fd, struct err *err)
{
    int rc = -1;

    p->loop = ev_loop_create(&clock_system, err);
    if (!p->loop) {
        close(fd);
        return -1;
    }
    o->log = &p->log;
    o->ended = on_ended;
    o->arg = p;
    p->term = (struct ev_signal){ .signo = SIGTERM, .fn = on_signal };
    p->intr = (struct ev_signal){ .signo = SIGINT, .fn = on_signal };
    p->link = ssh_link_create(p->loop, o, fd, err);
    if (p->link && ev_signal_add(p->loop, &p->term, err) == 0 &&
        ev_signal_add(p->loop, &p->intr, err) == 0) {
        log_info(&p->log, "link process of %s, pid %ld", o->word, (long)getpid());
        rc = ev_run(p->loop, err);
        log_info(&p->log, "ended");
    }
    ssh_link_destroy(p->link);
    ev_signal_remove(&p->term);
    ev_signal_remove(&p->intr);
    ev_loop_destroy(p->loop);
    return rc;
}

/* Its memory has keys in it; and each command takes three descriptors. */
static void set_limits(void)
{
    struct rlimit none = { 0, 0 }, files;

    setrlimit(RLIMIT_CORE, &none);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < FILES_WANTED) {
        files.rlim_cur = files.rlim_max < FILES_WANTED ? files.rlim_max : FILES_WANTED;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

/* A session of its own, with nothing of the caller's open. False: in the parent, or not at all. */
static bool to_background(struct process *p, const struct ssh_link_options *o, struct err *err)
{
    int log_fd, null;
    pid_t pid;

    p->log_path = ssh_link_path(o->runtime_dir, o->word, ".log");
    log_fd = open_log(p->log_path);
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (log_fd < 0 || null < 0) {
        err_sys(err, errno, "cannot open %s", log_fd < 0 ? p->log_path : "/dev/null");
        return false;
    }
    pid = fork();
    if (pid < 0)
        err_sys(err, errno, "cannot make a process");
    if (pid != 0)
        return false;
    setsid();
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(log_fd, STDERR_FILENO);
    close(null);
    close(log_fd);
    return chdir("/") == 0;
}

static int serve(const struct args *a, struct ssh_link_options *o)
{
    struct process p = { .log = { .level = LOG_INFO, .write = write_log },
                         .stderr_fd = STDERR_FILENO };
    struct err err = ERR_INIT;
    int rc = 0, fd = ssh_link_listen(o->runtime_dir, o->word, &err);

    if (fd < 0 && err.kind == ERR_CONFLICT) {
        cmd_msg("a link process of %s is there already", o->word);
        return CMD_OK;
    }
    if (fd < 0)
        return cmd_fail(&err);
    p.log.arg = &p;
    signal(SIGPIPE, SIG_IGN);
    if (a->foreground || to_background(&p, o, &err)) {
        set_limits();
        sys_wake_soon();
        rc = run_loop(&p, o, fd, &err);
        if (rc != 0)
            log_error(&p.log, "%s", err.msg);
    } else {
        close(fd);
    }
    free(p.log_path);
    if (err.kind != ERR_NONE && !a->foreground)
        return cmd_fail(&err);
    return rc == 0 ? CMD_OK : CMD_FAILED;
}

/* --- a client by hand --------------------------------------------------------------------------- */

struct client {
    const struct args *args;
    struct ev_loop *loop;
    struct ssh_link_client *link;
    struct ssh_link_run *run;
    struct ev_signal term, intr, hup;
    bool passed_on, told;
    int code;
};

static void put_status(const struct ssh_link_status *s)
{
    struct buf b = BUF_INIT;
    struct jsonw w;

    jsonw_init(&w, &b);
    jsonw_obj_open(&w, NULL);
    jsonw_int(&w, "api", 1);
    jsonw_str(&w, "state", ssh_link_state_word(s->state));
    jsonw_int(&w, "pid", s->pid);
    jsonw_str(&w, "via", *s->via ? s->via : NULL);
    jsonw_time(&w, "since", s->since_ns);
    jsonw_time(&w, "retry_at", s->retry_ns);
    jsonw_str(&w, "server", *s->server ? s->server : NULL);
    jsonw_str(&w, "methods", *s->methods ? s->methods : NULL);
    jsonw_str(&w, "error", s->err.kind == ERR_NONE ? NULL : s->err.msg);
    jsonw_str(&w, "error_kind", s->err.kind == ERR_NONE ? NULL : err_kind_name(s->err.kind));
    jsonw_str(&w, "hint", s->err.hint[0] ? s->err.hint : NULL);
    jsonw_obj_close(&w);
    buf_append_char(&b, '\n');
    cmd_out(&b);
    buf_fini(&b);
}

static int exit_status(const struct ssh_link_result *r)
{
    static const struct {
        const char *name;
        int number;
    } signals[] = { { "HUP", SIGHUP },   { "INT", SIGINT },   { "QUIT", SIGQUIT },
                    { "ILL", SIGILL },   { "TRAP", SIGTRAP }, { "ABRT", SIGABRT },
                    { "FPE", SIGFPE },   { "KILL", SIGKILL }, { "USR1", SIGUSR1 },
                    { "SEGV", SIGSEGV }, { "USR2", SIGUSR2 }, { "PIPE", SIGPIPE },
                    { "ALRM", SIGALRM }, { "TERM", SIGTERM }, { "BUS", SIGBUS } };

    if (r->end == SSH_LINK_CODE)
        return (int)(r->code & 255);
    for (size_t i = 0; i < ARRAY_LEN(signals) && r->end == SSH_LINK_SIGNALED; i++)
        if (str_eq(signals[i].name, r->signal))
            return 128 + signals[i].number;
    return 255;
}

static void on_run(struct ssh_link_run *run, unsigned event, void *arg)
{
    struct client *c = arg;
    const struct ssh_link_result *r = ssh_link_run_result(run);

    if (event != SSH_LINK_EV_ENDED)
        return;
    c->code = exit_status(r);
    if (r->end == SSH_LINK_FAILED)
        cmd_fail(&r->err);
    ev_stop(c->loop);
}

/* Of the attempt that was asked for; the first state that is told may be older. */
static bool is_outcome(struct client *c, const struct ssh_link_status *s)
{
    if (s->state == SSH_LINK_UP || s->state == SSH_LINK_STOPPED)
        return true;
    if (s->state == SSH_LINK_WAITING && c->told)
        return true;
    c->told = true;
    return false;
}

static void on_changed(struct ssh_link_client *link, const struct ssh_link_status *s, void *arg)
{
    struct client *c = arg;
    const struct args *a = c->args;

    (void)link;
    if (a->exec)
        return;
    if (a->stop) {
        c->code = CMD_OK;
        if (s->state == SSH_LINK_STOPPED)
            ev_stop(c->loop);
        return;
    }
    if (a->connect && !is_outcome(c, s))
        return;
    put_status(s);
    if (s->state == SSH_LINK_STOPPED || (a->connect && s->state != SSH_LINK_UP)) {
        c->code = CMD_FAILED;
        ev_stop(c->loop);
    } else if (!a->watch || cmd_out_failed()) {
        c->code = CMD_OK;
        ev_stop(c->loop);
    }
}

static void on_client_signal(struct ev_signal *s)
{
    struct client *c = s->signo == SIGTERM  ? CONTAINER_OF(s, struct client, term)
                       : s->signo == SIGINT ? CONTAINER_OF(s, struct client, intr)
                                            : CONTAINER_OF(s, struct client, hup);

    /* Once; who asks again doesn't want to wait for it. */
    if (c->run && !c->passed_on) {
        c->passed_on = true;
        ssh_link_run_signal(c->run, s->signo == SIGTERM  ? "TERM"
                                    : s->signo == SIGINT ? "INT"
                                                         : "HUP");
        return;
    }
    c->code = 128 + s->signo;
    ev_stop(c->loop);
}

/* What a caller has closed is /dev/null by now, open for the other direction (main.c). */
static void standard_fds(int fds[3])
{
    for (int fd = 0; fd < 3; fd++) {
        int mode = fcntl(fd, F_GETFL) & O_ACCMODE;

        fds[fd] = fd;
        if (mode != O_RDWR && mode != (fd == 0 ? O_RDONLY : O_WRONLY))
            fds[fd] = open("/dev/null", O_RDWR | O_CLOEXEC);
    }
}

static int ask(struct client *c, const char *command, struct err *err)
{
    const struct args *a = c->args;
    int fds[3];

    if (a->stop)
        ssh_link_client_stop(c->link);
    if (a->connect)
        ssh_link_client_connect(c->link);
    if (!a->exec)
        return 0;
    standard_fds(fds);
    c->run = ssh_link_client_exec(c->link, command, fds, a->wait_ns, on_run, c, err);
    return c->run ? 0 : -1;
}

static int use(const struct args *a, const struct ssh_link_options *o, const char *command)
{
    struct client c = { .args = a, .code = CMD_FAILED };
    char *ssh = a->ssh ? mem_printf("--ssh=%s", a->ssh) : NULL;
    struct err err = ERR_INIT;
    struct ssh_link_client_options co = { .runtime_dir = o->runtime_dir,
                                          .word = o->word,
                                          .start = a->exec || a->connect ? ssh_link_start : NULL,
                                          .start_arg = ssh,
                                          .watch = a->watch || a->stop || a->connect,
                                          .changed = on_changed,
                                          .arg = &c };
    int rc = -1;

    signal(SIGPIPE, SIG_IGN);
    c.loop = ev_loop_create(&clock_system, &err);
    c.link = c.loop ? ssh_link_client_open(c.loop, &co, &err) : NULL;
    c.term = (struct ev_signal){ .signo = SIGTERM, .fn = on_client_signal };
    c.intr = (struct ev_signal){ .signo = SIGINT, .fn = on_client_signal };
    c.hup = (struct ev_signal){ .signo = SIGHUP, .fn = on_client_signal };
    if (c.link && ask(&c, command, &err) == 0 && ev_signal_add(c.loop, &c.term, &err) == 0 &&
        ev_signal_add(c.loop, &c.intr, &err) == 0 && ev_signal_add(c.loop, &c.hup, &err) == 0)
        rc = ev_run(c.loop, &err);
    ssh_link_run_close(c.run);
    ssh_link_client_destroy(c.link);
    ev_signal_remove(&c.term);
    ev_signal_remove(&c.intr);
    ev_signal_remove(&c.hup);
    ev_loop_destroy(c.loop);
    free(ssh);
    return rc == 0 ? c.code : cmd_fail(&err);
}

/* --- both --------------------------------------------------------------------------------------- */

static int read_way(const struct args *a, struct ssh_link_options *o, struct err *err)
{
    static const char *const ways[] = {
        [SSH_LINK_AUTO] = "auto", [SSH_LINK_BUILTIN] = "builtin", [SSH_LINK_SYSTEM] = "system"
    };
    const char *word = a->ssh ? a->ssh : conf_str(cmd_conf(), CONF_link_ssh);

    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        if (str_eq(ways[i], word)) {
            o->via = (enum ssh_link_via)i;
            return 0;
        }
    }
    return err_set(err, ERR_USAGE, "--ssh is auto, builtin or system, not '%s'", word);
}

/* As ssh does: the words with blanks between. */
static char *join(char **words)
{
    struct buf b = BUF_INIT;

    for (char **w = words; *w; w++) {
        if (w != words)
            buf_append_char(&b, ' ');
        buf_append_str(&b, *w);
    }
    return buf_take(&b, NULL);
}

static int run(const struct cmd *cmd, int argc, char **argv)
{
    struct args a = { .idle_ns = -1, .wait_ns = -1 };
    struct ssh_link_options o = { 0 };
    struct err err = ERR_INIT;
    int first, code;

    if (!cmd_parse(cmd, &a, argc, argv, &first, NULL, &code))
        return code;
    if (first >= argc)
        return cmd_usage(cmd, "which host?");
    if (a.exec + a.state + a.watch + a.connect + a.stop > 1)
        return cmd_usage(cmd, "--exec, --state, --watch, --connect and --stop exclude each other");
    if (a.exec != (first + 1 < argc))
        return cmd_usage(cmd, a.exec ? "which command?" : "a command goes with --exec");
    if (read_way(&a, &o, &err) != 0 || ssh_link_check_word(argv[first], &err) != 0)
        return cmd_fail(&err);
    char *runtime = a.runtime ? fs_absolute(a.runtime) : fs_runtime_dir();
    char *command = join(argv + first + 1);
    o.word = argv[first];
    o.runtime_dir = runtime;
    o.idle_ns = a.idle_ns >= 0 ? a.idle_ns : conf_int(cmd_conf(), CONF_link_idle);
    code =
        a.exec || a.state || a.watch || a.connect || a.stop ? use(&a, &o, command) : serve(&a, &o);
    free(runtime);
    free(command);
    return code;
}

static const char *const synopsis[] = {
    "[--ssh=WAY] [--idle=TIME] [--foreground] HOST",
    "--exec [--wait=TIME] HOST COMMAND…",
    "--state|--watch|--connect|--stop HOST",
    NULL,
};

static const struct cmd_example examples[] = {
    { "hive link --state alpha", "is there a connection to alpha, and if not, why" },
    { "hive link --exec alpha uname -a", "run a command over it" },
    { NULL, NULL },
};

const struct cmd cmd_link = {
    .name = "link",
    .group = CMD_GROUP_DAEMON,
    .summary = "internal: owns the SSH connection to one host",
    .synopsis = synopsis,
    .description =
        "Started by hive itself. One process for each host that is reached with SSH owns the "
        "connection, connects again when it is lost, and outlives who uses it; it ends when nobody "
        "has used it for a while. Its log is RUNTIME/links/HOST.log.",
    .options = options,
    .examples = examples,
    .opt_flags = OPT_STOP_AT_ARG,
    .hidden = true,
    .run = run,
};
