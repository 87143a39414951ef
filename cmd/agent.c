/* SPDX-License-Identifier: BSD-2-Clause */
/* Internal: the node side of a link, on another machine (node/agent.h). */
#include "base/mem.h"

#include "cmd/cmd.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "ev/ev.h"
#include "node/agent.h"
#include "sys/sys.h"
#include "version.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

struct args {
    bool stdio;
    const char *state, *runtime;
};

static const struct opt options[] = {
    { 0, "stdio", OPT_FLAG, NULL, "speak the link protocol on standard input and output",
      .dest = offsetof(struct args, stdio) },
    { 0, "state", OPT_STR, "DIR", "state folder (default: as of the daemon)",
      .dest = offsetof(struct args, state), .complete = "file" },
    { 0, "runtime", OPT_STR, "DIR", "folder for sockets (default: as of the daemon)",
      .dest = offsetof(struct args, runtime), .complete = "file" },
    OPT_END,
};

struct run {
    struct ev_loop *loop;
    struct ev_signal term, intr;
    struct err err;
    int rc;
};

static void on_done(int rc, const struct err *err, void *arg)
{
    struct run *r = arg;

    r->rc = rc;
    r->err = *err;
    ev_stop(r->loop);
}

/* So that the session the connection came in with can end. */
static void on_alone(void *arg)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    (void)arg;
    for (int fd = 0; null >= 0 && fd <= 2; fd++)
        dup2(null, fd);
    if (null > 2)
        close(null);
}

static void on_stop(struct ev_signal *s)
{
    ev_stop(s->loop);
}

static int serve(struct run *r, const struct log *log, const struct agent_config *cfg)
{
    struct agent *agent;

    r->loop = ev_loop_create(&clock_system, &r->err);
    if (!r->loop)
        return -1;
    r->term = (struct ev_signal){ .signo = SIGTERM, .fn = on_stop };
    r->intr = (struct ev_signal){ .signo = SIGINT, .fn = on_stop };
    agent = ev_signal_add(r->loop, &r->term, &r->err) == 0 &&
                    ev_signal_add(r->loop, &r->intr, &r->err) == 0
                ? agent_create(r->loop, log, cfg, &r->err)
                : NULL;
    if (!agent || ev_run(r->loop, &r->err) != 0)
        r->rc = -1;
    agent_destroy(agent);
    ev_signal_remove(&r->term);
    ev_signal_remove(&r->intr);
    ev_loop_destroy(r->loop);
    return r->rc;
}

static int agent_main(const struct cmd *cmd, int argc, char **argv)
{
    struct args a = { 0 };
    struct run r = { .rc = 0 };
    int log_fd = STDERR_FILENO, first, code, rc;
    struct log log = { .level = LOG_INFO, .write = log_write_fd, .arg = &log_fd };

    if (!cmd_parse(cmd, &a, argc, argv, &first, NULL, &code))
        return code;
    if (first < argc)
        return cmd_usage(cmd, "unexpected '%s'", argv[first]);
    if (!a.stdio)
        return cmd_usage(cmd, "--stdio is missing");
    char *state = a.state ? fs_absolute(a.state) : fs_state_dir();
    char *runtime = a.runtime ? fs_absolute(a.runtime) : fs_runtime_dir();
    struct agent_config cfg = { .state_dir = state,
                                .runtime_dir = runtime,
                                .version = HIVE_VERSION,
                                .in_fd = STDIN_FILENO,
                                .out_fd = STDOUT_FILENO,
                                .idle_shims = 1,
                                .done = on_done,
                                .alone = on_alone,
                                .arg = &r };
    /* The end of the session that it came in with is not its own. */
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    if (getpgrp() != getpid())
        setsid();
    sys_wake_soon();
    rc = serve(&r, &log, &cfg);
    free(state);
    free(runtime);
    return rc == 0 ? CMD_OK : cmd_fail(&r.err);
}

static const char *const synopsis[] = { "--stdio [--state DIR] [--runtime DIR]", NULL };

const struct cmd cmd_agent = {
    .name = "agent",
    .group = CMD_GROUP_DAEMON,
    .summary = "internal: runs jobs on this machine for a daemon elsewhere",
    .synopsis = synopsis,
    .description = "Started by a daemon over SSH; of no use by hand.",
    .options = options,
    .hidden = true,
    .run = agent_main,
};
