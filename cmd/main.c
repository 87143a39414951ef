/* SPDX-License-Identifier: BSD-2-Clause */
/* Finds the command by the name hive was called by (hive-submit, workload-manager) or by
 * argv[1]. */
#include "base/mem.h"

#include "cmd/cmd.h"

#include "base/buf.h"
#include "base/str.h"
#include "cmd/later.h"
#include "version.h"

#include <fcntl.h>
#include <unistd.h>

/* A descriptor 0, 1 or 2 that is closed would be given to the next file opened, and output would
 * end up in a socket or database. Opened the wrong way round, reads and writes still fail as
 * they should. */
static void keep_standard_fds(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
            _exit(CMD_FAILED);
}

static int print_version(void)
{
    struct buf b = BUF_INIT;
    buf_append_str(&b, "hive " HIVE_VERSION "\n");
    cmd_out(&b);
    buf_fini(&b);
    return CMD_OK;
}

static int print_help(const struct cmd *cmd)
{
    struct buf b = BUF_INIT;
    if (cmd)
        cmd_help_one(cmd, &b, cmd_width());
    else
        cmd_help_all(&b);
    cmd_out(&b);
    buf_fini(&b);
    return CMD_OK;
}

static int run(const struct cmd *cmd, int argc, char **argv)
{
    switch (cmd_wants(cmd, argc, argv)) {
    case 'h':
        return print_help(cmd);
    case 'V':
        return print_version();
    default:
        return cmd->run(cmd, argc, argv);
    }
}

static int unknown_command(const char *name)
{
    struct err err = ERR_INIT;
    const char *near = cmd_suggest(name);
    if (later_has(name, NULL)) {
        later_err(&err, name);
        err_hint(&err, "all commands: hive help");
        return cmd_fail(&err);
    }
    err_set(&err, ERR_USAGE, name[0] == '-' ? "unknown option '%s'" : "unknown command '%s'", name);
    if (near && name[0] != '-')
        err_hint(&err, "did you mean '%s'? All commands: hive help", near);
    else
        err_hint(&err, "all commands: hive help");
    return cmd_fail(&err);
}

static int dispatch(int argc, char **argv)
{
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *self = argc > 0 ? (slash ? slash + 1 : argv[0]) : "hive";
    const struct cmd *cmd;

    if (str_starts(self, "hive-") && (cmd = cmd_find(self + 5)) != NULL)
        return run(cmd, argc, argv);
    if ((cmd = cmd_find(self)) != NULL && cmd->seed)
        return run(cmd, argc, argv);
    if (str_starts(self, "hive-") && later_has(self + 5, NULL))
        return unknown_command(self + 5);
    if (argc < 2) {
        print_help(NULL);
        return CMD_USAGE;
    }
    if (str_eq(argv[1], "--help") || str_eq(argv[1], "-h"))
        return print_help(NULL);
    if (str_eq(argv[1], "--version") || str_eq(argv[1], "-V"))
        return print_version();
    cmd = cmd_find(argv[1]);
    return cmd ? run(cmd, argc - 1, argv + 1) : unknown_command(argv[1]);
}

int main(int argc, char **argv)
{
    keep_standard_fds();
    int code = dispatch(argc, argv);
    cmd_conf_free();
    return cmd_finish(code);
}
