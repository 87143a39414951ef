/* SPDX-License-Identifier: BSD-2-Clause */
/* Internal: looks up a host for a system that has no getent (net/resolve.h). */
#include "base/mem.h"

#include "cmd/cmd.h"

#include "base/buf.h"
#include "base/str.h"
#include "net/resolve.h"

static int run(const struct cmd *cmd, int argc, char **argv)
{
    struct buf out = BUF_INIT;
    int code;

    if (argc != 3 || !str_eq(argv[1], "--internal"))
        return cmd_usage(cmd, "it is of no use by hand");
    code = resolve_helper(argv[2], &out);
    if (code == CMD_OK)
        cmd_out(&out);
    buf_fini(&out);
    return code;
}

static const char *const synopsis[] = { "--internal NAME", NULL };

const struct cmd cmd_resolve = {
    .name = "resolve",
    .group = CMD_GROUP_DAEMON,
    .summary = "internal: looks up a host where there is no getent",
    .synopsis = synopsis,
    .description = "Started by hive itself; of no use by hand.",
    .hidden = true,
    .run = run,
};
