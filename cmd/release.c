/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/cmd.h"
#include "cmd/job_action.h"

#include "cmd/job_view.h"

static const char *done(const struct job_view *job)
{
    return job->status == JOB_QUEUED ? "queued" : job->status_text;
}

static int run(const struct cmd *cmd, int argc, char **argv)
{
    return job_action_plain(cmd, done, argc, argv);
}

static const struct cmd_example examples[] = {
    { "hive release 12", "job 12 starts when there is room for it" },
    { NULL, NULL },
};

const struct cmd cmd_release = {
    .name = "release",
    .group = CMD_GROUP_JOBS,
    .summary = "let held jobs start",
    .synopsis = job_action_synopsis,
    .description = "Takes back hive hold, or the --hold of hive submit.",
    .options = job_action_options,
    .examples = examples,
    .operands = "job",
    .run = run,
};
