/* SPDX-License-Identifier: BSD-2-Clause */
/* Internal: the process beside the daemon that starts jobs (node/spawner.h). */
#include "base/mem.h"

#include "cmd/cmd.h"

#include "node/spawner.h"

static int run(const struct cmd *cmd, int argc, char **argv)
{
    (void)cmd;
    return spawner_main(argc, argv);
}

static const char *const synopsis[] = { "--internal", NULL };

const struct cmd cmd_spawner = {
    .name = "spawner",
    .group = CMD_GROUP_DAEMON,
    .summary = "internal: starts jobs for the daemon",
    .synopsis = synopsis,
    .description = "Started by the daemon; of no use by hand.",
    .hidden = true,
    .run = run,
};
