/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/cmd.h"
#include "cmd/job_action.h"

#include "cmd/job_view.h"

static const char *done(const struct job_view *job)
{
    (void)job;
    return "held";
}

static int run(const struct cmd *cmd, int argc, char **argv)
{
    return job_action_plain(cmd, done, argc, argv);
}

static const struct cmd_example examples[] = {
    { "hive hold 12 13", "two jobs" },
    { NULL, NULL },
};

const struct cmd cmd_hold = {
    .name = "hold",
    .group = CMD_GROUP_JOBS,
    .summary = "keep queued jobs from starting",
    .synopsis = job_action_synopsis,
    .description = "A held job stays in the queue, keeps its place, and does not start until it is "
                   "released. A job "
                   "that runs already can not be held.",
    .options = job_action_options,
    .examples = examples,
    .operands = "job",
    .run = run,
};
