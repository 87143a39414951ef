/* SPDX-License-Identifier: BSD-2-Clause */
/* beowulfd, as Beowulf's daemon was started: its hosts, its settings, its socket, its log. */
#include "base/mem.h"

#include "cmd/cmd.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/fs.h"
#include "base/hosts_file.h"
#include "base/str.h"
#include "cmd/daemon.h"
#include "sys/sys.h"

#include <inttypes.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

struct args {
    const char *host;
    int64_t port;
    bool disable;
};

static const struct opt options[] = {
    { 0, "http-host", OPT_STR, "HOST", "where the dashboard and the REST API listen (127.0.0.1)",
      .dest = offsetof(struct args, host) },
    { 0, "http-port", OPT_INT, "PORT", "their port (8080)", .dest = offsetof(struct args, port),
      .min = 0, .max = 65535 },
    { 0, "disable-http", OPT_FLAG, NULL, "no dashboard, no REST API but on hive's own socket",
      .dest = offsetof(struct args, disable) },
    OPT_END,
};

/* "2026-11-20 18:13:14 - beowulfd - INFO - TEXT", local time. */
static void write_log(void *arg, enum log_level level, const char *line)
{
    static const char *const names[] = { "ERROR", "WARNING", "INFO", "DEBUG" };
    time_t now = (time_t)(clock_wall_ns(&clock_system) / NS_PER_S);
    struct buf out = BUF_INIT;
    char stamp[32] = "";
    struct tm tm;

    if (localtime_r(&now, &tm))
        strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S", &tm);
    buf_printf(&out, "%s - beowulfd - %s - ", stamp,
               (unsigned)level < ARRAY_LEN(names) ? names[level] : "ERROR");
    str_append_safe(&out, line, SIZE_MAX);
    buf_append_char(&out, '\n');
    (void)!fs_write_all(*(const int *)arg, buf_data(&out), buf_len(&out));
    buf_fini(&out);
}

/* Each line of what is wrong in a file, and that nothing more comes of it than a line less. */
static void say_warnings(struct buf *warnings)
{
    for (const char *p = buf_data(warnings); *p;) {
        size_t len = strcspn(p, "\n");
        cmd_msg("warning: %.*s", (int)len, p);
        p += len + (p[len] == '\n');
    }
    buf_fini(warnings);
}

/* One of Beowulf's files. A missing one is empty. */
static int read_file(const char *path, struct buf *text, struct err *err)
{
    struct err why = ERR_INIT;

    if (fs_read_file(path, HOSTS_FILE_MAX, text, &why) == 0 || why.kind == ERR_NOT_FOUND)
        return 0;
    *err = why;
    return -1;
}

static int read_hosts(const char *path, struct hosts_file *hosts, struct err *err)
{
    struct buf text = BUF_INIT, warnings = BUF_INIT;
    int rc = read_file(path, &text, err);

    if (rc == 0)
        rc = hosts_file_parse(path, buf_data(&text), buf_len(&text), hosts, &warnings, err);
    say_warnings(&warnings);
    if (rc == 0 && hosts->count == 0)
        cmd_msg("warning: there are no hosts in %s; write one host or host:port in each line",
                path);
    buf_fini(&text);
    return rc;
}

/* hive's own setting comes first, and so wins. */
static int set_sticky(struct conf *conf, const struct beowulf_rc *rc, struct err *err)
{
    struct buf value = BUF_INIT;

    buf_append_str(&value, conf_str(conf, CONF_launch_sticky));
    for (size_t i = 0; i < rc->count; i++) {
        buf_printf(&value, "%s%s=", buf_len(&value) ? ", " : "", rc->sticky[i].app);
        hosts_entry_format(&rc->sticky[i].host, &value);
    }
    int set = conf_set(conf, CONF_launch_sticky, buf_data(&value), CONF_FROM_FLAG, err);
    buf_fini(&value);
    return set;
}

static int read_rc(const char *path, struct conf *conf, struct err *err)
{
    struct buf text = BUF_INIT, warnings = BUF_INIT;
    struct beowulf_rc rc = { 0 };
    int result = read_file(path, &text, err);

    if (result == 0)
        result = beowulf_rc_parse(path, buf_data(&text), buf_len(&text), &rc, &warnings, err);
    if (result == 0 && rc.interval_ns != BEOWULF_INTERVAL_DEFAULT_NS)
        buf_printf(&warnings,
                   "%s: polling_interval has no effect: hosts are measured every 10 seconds, and "
                   "every 2 while somebody looks\n",
                   path);
    say_warnings(&warnings);
    if (result == 0)
        result = set_sticky(conf, &rc, err);
    beowulf_rc_fini(&rc);
    buf_fini(&text);
    return result;
}

static int set_listen(struct conf *conf, const struct args *a, struct err *err)
{
    const char *host = a->host ? a->host : "127.0.0.1";
    int64_t port = a->port >= 0 ? a->port : 8080;
    char *listen;

    if (!a->disable && !a->host && a->port < 0)
        return 0;
    if (a->disable)
        listen = mem_strdup("none");
    else if (strchr(host, ':') && host[0] != '[')
        listen = mem_printf("[%s]:%" PRId64, host, port);
    else
        listen = mem_printf("%s:%" PRId64, host, port);
    int rc = conf_set(conf, CONF_daemon_listen, listen, CONF_FROM_FLAG, err);
    free(listen);
    return rc;
}

static int configure(struct conf *conf, const struct args *a, struct hosts_file *hosts,
                     struct err *err)
{
    const char *env = getenv("HOME");
    char *home = env && *env ? mem_strdup(env) : sys_user_home(getuid());
    char *list = fs_join(home, ".beowulf/hosts"), *rc = fs_join(home, ".beowulf/beowulfdrc");
    int result = set_listen(conf, a, err);

    if (result == 0)
        result = conf_set(conf, CONF_launch_beowulf, "yes", CONF_FROM_FLAG, err);
    if (result == 0)
        result = read_rc(rc, conf, err);
    if (result == 0)
        result = read_hosts(list, hosts, err);
    free(rc);
    free(list);
    free(home);
    return result;
}

static int run(const struct cmd *cmd, int argc, char **argv)
{
    struct args a = { .port = -1 };
    struct err err = ERR_INIT;
    struct hosts_file hosts = { 0 };
    struct daemon_as as = { write_log, &hosts };
    int first, code;

    if (!cmd_parse(cmd, &a, argc, argv, &first, NULL, &code))
        return code;
    if (first < argc)
        return cmd_usage(cmd, "unexpected argument '%s'", argv[first]);
    if (configure(cmd_conf(), &a, &hosts, &err) != 0)
        code = cmd_fail(&err);
    else
        code = daemon_run_as(cmd_conf(), &as);
    hosts_file_fini(&hosts);
    return code;
}

static const char *const synopsis[] = { "[--http-host HOST] [--http-port PORT] [--disable-http]",
                                        NULL };

static const struct cmd_example examples[] = {
    { "beowulfd", "with the hosts of ~/.beowulf/hosts, as Beowulf's daemon was started" },
    { NULL, NULL },
};

const struct cmd cmd_beowulfd = {
    .name = "beowulfd",
    .group = CMD_GROUP_DAEMON,
    .summary = "start the daemon in place of Beowulf's",
    .synopsis = synopsis,
    .description = "Starts hive's daemon as Beowulf's was: the hosts of ~/.beowulf/hosts become "
                   "nodes where they "
                   "are none yet (hive hosts remove takes one out until the next start), "
                   "~/.beowulf/beowulfdrc is "
                   "read, and Beowulf's clients are answered on ~/.beowulf/run/daemon. The setting "
                   "launch.beowulf "
                   "does the last of it for hive daemon too.\n\n"
                   "Only loopback addresses are served without encryption and a token.",
    .options = options,
    .examples = examples,
    .hidden = true,
    .seed = true,
    .run = run,
};
