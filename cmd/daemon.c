/* SPDX-License-Identifier: BSD-2-Clause */
/* hive daemon: holds the queue and runs the jobs of this machine. */
#include "cmd/cmd.h"

#include "cmd/daemon.h"
#include "cmd/later.h"
#include "cmd/workload_manager.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/fs.h"
#include "base/hosts_file.h"
#include "base/log.h"
#include "base/str.h"
#include "ev/ev.h"
#include "head/api.h"
#include "head/beowulf.h"
#include "head/head.h"
#include "net/sock.h"
#include "node/node.h"
#include "sys/sys.h"
#include "version.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

struct args {
    const char *role, *listen, *config;
    int64_t threads, memory;
    int64_t ready_fd;
};

static const struct opt options[] = {
    { 0, "role", OPT_STR, "ROLE", "standalone (default): queue and run jobs on this machine",
      .dest = offsetof(struct args, role), .complete = "=standalone" },
    { 0, "listen", OPT_STR, "ADDR:PORT",
      "where the REST API listens (default 127.0.0.1:8080; none: the socket only)",
      .dest = offsetof(struct args, listen) },
    { 0, "threads", OPT_INT, "N", "threads jobs may use together (default: the usable CPUs)",
      .dest = offsetof(struct args, threads), .min = 1, .max = 65536 },
    { 0, "memory", OPT_SIZE, "SIZE",
      "memory jobs may use together, such as 8G (default: all that is installed)",
      .dest = offsetof(struct args, memory) },
    { 'c', "config", OPT_STR, "FILE",
      "read settings from FILE as well (hive.conf, or the workload manager's JSON)",
      .dest = offsetof(struct args, config), .complete = "file" },
    { 0, "ready-fd", OPT_INT, "FD", "write a newline to this descriptor when ready, then close it",
      .dest = offsetof(struct args, ready_fd), .min = 1, .max = 1 << 20 },
    OPT_END,
};

struct daemon {
    struct conf *conf;
    struct log log;
    int log_fd;
    struct ev_loop *loop;
    struct head *head;
    struct api *api;
    struct beowulf *beowulf;
    const struct daemon_as *as;
    struct ev_signal term, intr, hup;
    char *state_dir, *runtime_dir, *socket, *beowulf_socket;
    struct sock_addr addr;
    bool failed;
};

static void on_stop(struct ev_signal *s)
{
    struct daemon *d = s->signo == SIGTERM ? CONTAINER_OF(s, struct daemon, term)
                                           : CONTAINER_OF(s, struct daemon, intr);
    log_info(&d->log, "stopping; running jobs go on and are taken up again at the next start");
    ev_stop(d->loop);
}

static void on_hup(struct ev_signal *s)
{
    log_info(&CONTAINER_OF(s, struct daemon, hup)->log,
             "SIGHUP is ignored; restart the daemon to read new settings");
}

static void on_changed(void *arg, int64_t job, bool final)
{
    struct daemon *d = arg;
    if (d->api)
        api_job_changed(d->api, job, final);
}

static void on_broken(void *arg, const struct err *err)
{
    struct daemon *d = arg;
    (void)err;
    d->failed = true;
    ev_stop(d->loop);
}

static int open_folders(struct daemon *d, struct err *err)
{
    d->state_dir = fs_state_dir();
    d->runtime_dir = fs_runtime_dir();
    d->socket = fs_join(d->runtime_dir, "hive.sock");
    if (fs_private_dir(d->state_dir, err) != 0)
        return err_hint(err, "set HIVE_STATE_DIR to a folder of your own");
    if (fs_private_dir(d->runtime_dir, err) != 0)
        return err_hint(err, "set HIVE_RUNTIME_DIR to a folder of your own");
    return 0;
}

static int parse_listen(struct daemon *d, bool *tcp, struct err *err)
{
    const char *text = conf_str(d->conf, CONF_daemon_listen);
    *tcp = !str_eq(text, "none");
    if (!*tcp)
        return 0;
    if (!*text) {
        err_set(err, ERR_INVALID, "daemon.listen is empty");
        return err_hint(err, "expected an address such as 127.0.0.1:8080, or none");
    }
    if (sock_parse_addr(text, &d->addr, err) != 0)
        return err_prefix(err, "daemon.listen");
    if (d->addr.loopback)
        return 0;
    err_set(err, ERR_INVALID,
            "daemon.listen: %s can be reached from other machines; that needs TLS and a token, "
            "which this version does not have",
            text);
    return err_hint(
        err, "listen on 127.0.0.1:%u and reach it through: ssh -L %u:127.0.0.1:%u THIS-MACHINE",
        d->addr.port, d->addr.port, d->addr.port);
}

static int listen_all(struct daemon *d, bool tcp, struct err *err)
{
    int fd = sock_listen_unix(d->socket, SOCK_STREAM, err);
    if (fd < 0)
        return -1;
    if (api_listen_unix(d->api, fd, err) != 0)
        return -1;
    if (!tcp)
        return 0;
    fd = sock_listen_tcp(&d->addr, err);
    if (fd < 0)
        return err_hint(err, "another program has that port; choose one with --listen "
                             "127.0.0.1:PORT, or --listen none");
    return api_listen_tcp(d->api, fd, err);
}

static void address_text(const struct daemon *d, bool tcp, struct buf *b)
{
    if (tcp)
        buf_printf(b, strchr(d->addr.host, ':') ? "[%s]:%u" : "%s:%u", d->addr.host, d->addr.port);
    else
        buf_append_str(b, "local");
}

/* ---- as Beowulf's daemon ---- */

static int serve_beowulf(struct daemon *d, struct err *err)
{
    const char *env = getenv("HOME");
    char *home = env && *env ? mem_strdup(env) : sys_user_home(getuid());
    char *folder = fs_join(home, ".beowulf/run"), *path = fs_join(folder, "daemon");
    int fd = fs_mkdir_p(folder, 0700, err) == 0 ? sock_listen_unix(path, SOCK_STREAM, err) : -1;

    if (fd >= 0 && (d->beowulf = beowulf_create(d->loop, &d->log, d->head, fd, err)) != NULL) {
        d->beowulf_socket = mem_strdup(path);
        log_info(&d->log, "Socket server listening on %s", path);
    } else {
        err_prefix(err, "Beowulf's socket");
        err_hint(err,
                 "does another beowulfd run? Without that socket: hive config launch.beowulf no");
    }
    free(path);
    free(folder);
    free(home);
    return d->beowulf ? 0 : -1;
}

struct host_op {
    struct head_op op;
    const struct log *log;
    char *name;
};

static void host_done(struct head_op *op, const struct err *err)
{
    struct host_op *h = CONTAINER_OF(op, struct host_op, op);

    if (err)
        log_error(h->log, "host %s is not added: %s", h->name, err->msg);
    free(h->name);
    free(h);
}

static void add_hosts(struct daemon *d)
{
    const struct hosts_file *hosts = d->as->hosts;

    for (size_t i = 0; i < hosts->count; i++) {
        struct buf word = BUF_INIT;
        struct err err = ERR_INIT;
        struct host_op *h = mem_alloc(sizeof(*h));
        hosts_entry_format(&hosts->entries[i], &word);
        h->op.done = host_done;
        h->log = &d->log;
        h->name = buf_take(&word, NULL);
        struct head_node_spec spec = { .name = h->name, .host = h->name };
        if (head_node_add(d->head, &spec, &h->op, &err) == 0)
            continue;
        if (err.kind != ERR_CONFLICT) /* it is a node already */
            log_error(&d->log, "host %s is not added: %s", h->name, err.msg);
        free(h->name);
        free(h);
    }
    log_info(&d->log, "Loaded %zu hosts", hosts->count);
}

static int start(struct daemon *d, int spawner_fd, bool tcp, struct err *err)
{
    struct buf address = BUF_INIT;
    struct head_hooks hooks = { on_changed, on_broken, d };

    address_text(d, tcp, &address);
    struct head_config cfg = { .conf = d->conf,
                               .state_dir = d->state_dir,
                               .runtime_dir = d->runtime_dir,
                               .address = buf_data(&address),
                               .spawner_fd = spawner_fd };
    d->head = head_create(d->loop, &d->log, &cfg, &hooks, err);
    buf_fini(&address);
    if (!d->head)
        return -1;
    d->api = api_create(d->loop, &d->log, d->conf, err);
    if (!d->api || listen_all(d, tcp, err) != 0)
        return -1;
    address_text(d, tcp, &address);
    head_set_address(d->head, buf_data(&address));
    if (conf_bool(d->conf, CONF_launch_beowulf) && serve_beowulf(d, err) != 0) {
        buf_fini(&address);
        return -1;
    }
    if (d->as && d->as->hosts)
        add_hosts(d);
    api_set_head(d->api, d->head);
    log_info(&d->log, "hive %s is ready: socket %s%s%s", HIVE_VERSION, d->socket,
             tcp ? ", API at http://" : "", tcp ? buf_data(&address) : "");
    buf_fini(&address);
    return 0;
}

static int add_signals(struct daemon *d, struct err *err)
{
    d->term.signo = SIGTERM;
    d->intr.signo = SIGINT;
    d->hup.signo = SIGHUP;
    d->term.fn = d->intr.fn = on_stop;
    d->hup.fn = on_hup;
    signal(SIGPIPE, SIG_IGN);
    return ev_signal_add(d->loop, &d->term, err) || ev_signal_add(d->loop, &d->intr, err) ||
                   ev_signal_add(d->loop, &d->hup, err)
               ? -1
               : 0;
}

static void say_ready(int64_t fd)
{
    if (fd <= 0)
        return;
    if (write((int)fd, "\n", 1) != 1)
        cmd_msg("nobody reads descriptor %d", (int)fd);
    close((int)fd);
}

static int run(struct daemon *d, int64_t ready_fd, struct err *err)
{
    bool tcp = false;
    if (!str_eq(conf_str(d->conf, CONF_daemon_role), "standalone")) {
        char *what = mem_printf("role %s", conf_str(d->conf, CONF_daemon_role));
        later_err(err, what);
        free(what);
        return err_hint(err, "use --role standalone: queue and run jobs on this machine");
    }
    if (parse_listen(d, &tcp, err) != 0 || open_folders(d, err) != 0)
        return -1;
    int spawner_fd = spawner_start(d->state_dir, d->runtime_dir, err);
    if (spawner_fd < 0)
        return -1;
    d->loop = ev_loop_create(&clock_system, err);
    if (!d->loop || add_signals(d, err) != 0) {
        close(spawner_fd);
        return -1;
    }
    if (start(d, spawner_fd, tcp, err) != 0)
        return -1;
    say_ready(ready_fd);
    int rc = ev_run(d->loop, err);
    api_stop(d->api);
    return rc;
}

static void tear_down(struct daemon *d)
{
    beowulf_destroy(d->beowulf);
    api_destroy(d->api);
    head_destroy(d->head);
    if (d->loop) {
        ev_signal_remove(&d->term);
        ev_signal_remove(&d->intr);
        ev_signal_remove(&d->hup);
        ev_loop_destroy(d->loop);
    }
    if (d->head && d->socket)
        unlink(d->socket);
    if (d->beowulf_socket)
        unlink(d->beowulf_socket);
    free(d->beowulf_socket);
    free(d->state_dir);
    free(d->runtime_dir);
    free(d->socket);
}

static int run_daemon(struct conf *conf, int64_t ready_fd, const struct daemon_as *as)
{
    static const char levels[] = "ewid";
    struct daemon d = { .conf = conf, .log_fd = STDERR_FILENO, .as = as };
    struct err err = ERR_INIT;

    d.log.write = as ? as->log_write : log_write_fd;
    d.log.arg = &d.log_fd;
    d.log.level =
        (enum log_level)(strchr(levels, conf_str(conf, CONF_daemon_log_level)[0]) - levels);
    sys_wake_soon();
    int rc = run(&d, ready_fd, &err);
    tear_down(&d);
    if (rc != 0)
        return cmd_fail(&err);
    return d.failed ? CMD_FAILED : CMD_OK;
}

int daemon_run(struct conf *conf)
{
    return run_daemon(conf, 0, NULL);
}

int daemon_run_as(struct conf *conf, const struct daemon_as *as)
{
    return run_daemon(conf, 0, as);
}

/* -c FILE: hive.conf syntax, or the Go workload manager's JSON by its first character. */
static int read_config(struct conf *conf, const char *path, struct err *err)
{
    struct buf text = BUF_INIT, warnings = BUF_INIT;
    int rc = fs_read_file(path, 1 << 20, &text, err);
    if (rc == 0) {
        const char *p = buf_data(&text);
        p += strspn(p, " \t\r\n");
        rc = *p == '{' ? workload_manager_read(conf, path, buf_data(&text), buf_len(&text),
                                               &warnings, err)
                       : conf_load_file(conf, path, CONF_FROM_USER, &warnings, err);
    }
    if (buf_len(&warnings))
        cmd_msg("%s", buf_data(&warnings));
    buf_fini(&text);
    buf_fini(&warnings);
    return rc;
}

static int daemon_main(const struct cmd *cmd, int argc, char **argv)
{
    struct args a = { 0 };
    struct err err = ERR_INIT;
    struct conf *conf = cmd_conf();
    char number[32];
    int first, code;

    if (!cmd_parse(cmd, &a, argc, argv, &first, NULL, &code))
        return code;
    if (first < argc)
        return cmd_usage(cmd, "unexpected '%s'", argv[first]);
    int rc = a.config ? read_config(conf, a.config, &err) : 0;
    if (rc == 0 && a.role)
        rc = conf_set(conf, CONF_daemon_role, a.role, CONF_FROM_FLAG, &err);
    if (rc == 0 && a.listen)
        rc = conf_set(conf, CONF_daemon_listen, a.listen, CONF_FROM_FLAG, &err);
    if (rc == 0 && a.threads) {
        snprintf(number, sizeof(number), "%lld", (long long)a.threads);
        rc = conf_set(conf, CONF_daemon_threads, number, CONF_FROM_FLAG, &err);
    }
    if (rc == 0 && a.memory) {
        snprintf(number, sizeof(number), "%lldB", (long long)a.memory);
        rc = conf_set(conf, CONF_daemon_memory, number, CONF_FROM_FLAG, &err);
    }
    return rc == 0 ? run_daemon(conf, a.ready_fd, NULL) : cmd_fail(&err);
}

static const char *const synopsis[] = {
    "[--listen ADDR:PORT] [--threads N] [--memory SIZE] [-c FILE]",
    NULL,
};

static const struct cmd_example examples[] = {
    { "hive daemon", "start on this machine; the API is at http://127.0.0.1:8080" },
    { "hive daemon --listen none --threads 4", "only the Unix socket; at most 4 threads at once" },
    { NULL, NULL },
};

const struct cmd cmd_daemon = {
    .name = "daemon",
    .group = CMD_GROUP_DAEMON,
    .summary = "hold the queue and run jobs",
    .synopsis = synopsis,
    .description = "Runs in the foreground and writes its log to stderr. Everything it knows is in "
                   "its state folder: it can be killed "
                   "at any moment, upgraded and started again; jobs that were running meanwhile "
                   "are taken up again.\n\n"
                   "Only the user who started it, and root, can use it. It listens on a Unix "
                   "socket and, for programs that speak "
                   "HTTP, on a loopback address.",
    .options = options,
    .examples = examples,
    .run = daemon_main,
};
